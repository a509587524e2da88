//! Showing hostile text to people, and guessing what they meant.

use std::fmt::{self, Write};

/// Most characters of hostile text in one message.
const SHOWN_CHARACTERS_MAX: usize = 60;

/// Shows text quoted, escaped and cut, so that a message stays one readable line. Everything beyond ASCII is
/// escaped: messages become part of receipts, and which characters count as printable changes with Unicode.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(SHOWN_CHARACTERS_MAX) {
            match character {
                '\'' => f.write_char(character)?,
                _ => write!(f, "{}", character.escape_default())?,
            }
        }
        let cut = characters.next().is_some();
        f.write_str(if cut { "\"..." } else { "\"" })
    }
}

/// Adds `; did you mean "x"?` when there is a guess.
pub(crate) struct Guess<'a>(pub(crate) &'a Option<String>);

impl fmt::Display for Guess<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(guess) => write!(f, "; did you mean {}?", Shown(guess)),
        }
    }
}

/// Finds the known name nearest to what was written, if any is near: the first of equals, in the order given.
pub(crate) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // Longer than any known name by far: a typing mistake is out of the question, and comparing would cost.
    const COMPARED_BYTES_MAX: usize = 100;
    // Two edits always count as near; a long name may have a third of its letters wrong.
    const EDITS_ALWAYS_NEAR: usize = 2;
    if written.len() > COMPARED_BYTES_MAX {
        return None;
    }
    known
        .into_iter()
        .map(|name| {
            (strsim::damerau_levenshtein(&written.to_ascii_lowercase(), &name.to_ascii_lowercase()), name)
        })
        .filter(|(edits, name)| *edits < name.len() && *edits <= EDITS_ALWAYS_NEAR.max(name.len() / 3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name.to_owned())
}
