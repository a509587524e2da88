//! The settings file.

use std::path::Path;
use toml::Value;

use super::layers::check;
use super::registry::{Kind, SETTINGS};
use super::{ConfigError, Origin};
use crate::files::{Access, write_atomic};

/// Returns the file's values under their full names, as text.
pub(super) fn flatten(text: &str, path: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.into(),
        detail: error.to_string(),
    })?;
    let mut out = Vec::new();
    walk("", table, &mut out);
    Ok(out)
}

fn walk(prefix: &str, table: toml::Table, out: &mut Vec<(String, String)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) if is_table(&key) => walk(&key, inner, out),
            // The first setting in an unknown table tells more about what was meant than the table.
            Value::Table(inner) if !inner.is_empty() => walk(&key, inner, out),
            Value::String(text) => out.push((key, text)),
            other => out.push((key, other.to_string())),
        }
    }
}

fn is_table(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key.starts_with(key) && setting.key[key.len()..].starts_with('.'))
}

/// Returns the text of a new file: every setting with its meaning and default, commented out.
pub(crate) fn template() -> String {
    let mut text = String::from(
        "# Settings of this node. A flag wins over an environment variable, that over this file, that over the\n\
         # default. `purlin config show` prints every value and where it came from.\n",
    );
    let mut table = "";
    for setting in SETTINGS {
        let (new_table, name) = setting.key.split_once('.').expect("every setting is in a table");
        if new_table != table {
            table = new_table;
            text.push_str(&format!("\n[{table}]\n"));
        }
        text.push_str(&format!("# {}\n# {name} = {}\n", setting.doc, literal(setting.kind, setting.default)));
    }
    text
}

fn literal(kind: Kind, value: &str) -> String {
    match kind {
        Kind::Number => value.to_owned(),
        Kind::Text => Value::String(value.to_owned()).to_string(),
    }
}

/// Sets one value in a file and leaves everything else in it as it is, comments included. The file is replaced
/// whole or not at all.
pub fn set_in_file(path: &Path, key: &str, value: &str) -> Result<(), ConfigError> {
    let origin = Origin::Command { name: "config set" };
    let spec = check(key, value, &origin)?;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => template(),
        Err(source) => return Err(ConfigError::Io { path: path.into(), operation: "read", source }),
    };
    // Refuses to write into a file that the node would refuse to read.
    super::PartialSettings::from_toml(&text, path)?;
    let mut document: toml_edit::DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        ConfigError::Syntax { path: path.into(), detail: error.to_string() }
    })?;
    let (table, name) = spec.key.split_once('.').expect("every setting is in a table");
    let number = value.replace('_', "").parse::<i64>().ok().filter(|_| spec.kind == Kind::Number);
    document[table][name] = number.map_or_else(|| toml_edit::value(value), toml_edit::value);
    write_atomic(path, document.to_string().as_bytes(), Access::Readable).map_err(|source| ConfigError::Io {
        path: path.into(),
        operation: "write",
        source,
    })
}
