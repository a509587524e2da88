//! Where in a value something is wrong.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use serde_json::Value;

/// Characters of a value that a message quotes.
const QUOTE_CHARACTERS_MAX: usize = 60;

/// A place in a value; a list through the stack, so that only an error costs anything.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    /// ``argument `by` ``: a word that may be empty, and a name.
    Root(&'static str, &'a str),
    Field(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
    /// A key of a map, or its value.
    Key(&'a Path<'a>, &'a str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        f.write_str("`")?;
        self.inner(f)?;
        f.write_str("`")
    }
}

impl Path<'_> {
    fn word(&self) -> &'static str {
        match self {
            Self::Root(word, _) => word,
            Self::Field(parent, _) | Self::Index(parent, _) | Self::Key(parent, _) => parent.word(),
        }
    }

    fn inner(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(_, name) => f.write_str(&shorten(name)),
            Self::Field(parent, name) => {
                parent.inner(f)?;
                write!(f, ".{}", shorten(name))
            }
            Self::Index(parent, index) => {
                parent.inner(f)?;
                write!(f, "[{index}]")
            }
            Self::Key(parent, key) => {
                parent.inner(f)?;
                write!(f, "[{:?}]", shorten(key))
            }
        }
    }
}

/// Cuts a text for a message.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(QUOTE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_string(),
    }
}

/// Shows a value in a message.
pub(super) fn quote(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::String(text) => format!("{:?}", shorten(text)),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(_) => "an object".to_string(),
    }
}
