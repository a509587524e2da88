//! Taking a JSON object apart field by field, so that every refusal names the field.

use serde_json::{Map, Value};

use super::error::ManifestError;
use crate::text::{Shown, nearest};

/// An object, its place in the manifest, and the fields it may have.
pub(crate) struct Fields<'a> {
    place: String,
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// Opens the object at `place` (empty for the whole manifest), whose fields must all be `known`.
    pub(crate) fn open(value: &'a Value, place: &str, known: &[&str]) -> Result<Self, ManifestError> {
        let object = value.as_object().ok_or_else(|| {
            wrong_type(if place.is_empty() { "manifest.json" } else { place }, "an object", value)
        })?;
        let fields = Self { place: place.to_owned(), object };
        match object.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(fields),
            Some(key) => Err(ManifestError::UnknownField {
                nearest: nearest(key, known.iter().copied()),
                field: fields.name(key),
            }),
        }
    }

    /// Returns the full name of a field.
    pub(crate) fn name(&self, field: &str) -> String {
        if self.place.is_empty() { field.to_owned() } else { format!("{}.{field}", self.place) }
    }

    pub(crate) fn get(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field)
    }

    pub(crate) fn required(&self, field: &str, example: &'static str) -> Result<&'a Value, ManifestError> {
        self.get(field).ok_or_else(|| ManifestError::MissingField { field: self.name(field), example })
    }

    pub(crate) fn bool(&self, field: &str) -> Result<Option<bool>, ManifestError> {
        self.typed(field, "true or false", Value::as_bool)
    }

    pub(crate) fn array(&self, field: &str) -> Result<&'a [Value], ManifestError> {
        Ok(self.typed(field, "an array", |value| value.as_array().map(Vec::as_slice))?.unwrap_or_default())
    }

    /// Reads a whole number in a range.
    pub(crate) fn number(&self, field: &str, min: u64, max: u64) -> Result<Option<u64>, ManifestError> {
        match self.typed(field, "a whole number", Value::as_u64)? {
            Some(value) if !(min..=max).contains(&value) => {
                Err(ManifestError::OutOfRange { field: self.name(field), value, min, max })
            }
            value => Ok(value),
        }
    }

    /// Reads text of a length in bytes, without control characters.
    pub(crate) fn text(&self, field: &str, min: usize, max: usize) -> Result<Option<&'a str>, ManifestError> {
        let Some(text) = self.typed(field, "a string", Value::as_str)? else { return Ok(None) };
        if !(min..=max).contains(&text.len()) {
            return Err(ManifestError::TextLength { field: self.name(field), bytes: text.len(), min, max });
        }
        match text.chars().find(|character| character.is_control()) {
            Some(character) => Err(ManifestError::ControlCharacter { field: self.name(field), character }),
            None => Ok(Some(text)),
        }
    }

    fn typed<T>(
        &self,
        field: &str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ManifestError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| wrong_type(&self.name(field), expected, value))
    }
}

/// Says what is there instead of what was expected.
pub(crate) fn wrong_type(field: &str, expected: &'static str, value: &Value) -> ManifestError {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("{value}"),
        Value::Number(value) => format!("the number {value}"),
        Value::String(value) => format!("the string {}", Shown(value)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    ManifestError::WrongType { field: field.to_owned(), expected, found }
}
