//! JSON to borsh.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;
use serde_json::Value;

use super::path::{Path, quote};
use super::shape::{list, unsigned_max};
use super::{Field, SchemaError, Shape, TypeSchema, Variant};
use crate::limits::INPUT_BYTES_MAX;
use crate::{AccountId, AppId, DeviceId, Hash32};

impl TypeSchema {
    /// Encodes a value; `path` names it in errors.
    pub fn encode(&self, value: &Value, path: &str) -> Result<Vec<u8>, SchemaError> {
        let mut encoder = Encoder::new(INPUT_BYTES_MAX);
        encoder.value(self, value, &Path::Root("", path))?;
        Ok(encoder.finish())
    }
}

/// Collects encoded bytes up to a limit. Depth is bounded by the schema's, see
/// [`SCHEMA_DEPTH_MAX`](super::SCHEMA_DEPTH_MAX).
pub(super) struct Encoder {
    bytes: Vec<u8>,
    max: usize,
}

impl Encoder {
    pub(super) fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), max }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn put(&mut self, bytes: &[u8], path: &Path<'_>) -> Result<(), SchemaError> {
        if bytes.len() > self.max - self.bytes.len() {
            return Err(SchemaError::TooLarge { path: path.to_string(), max: self.max });
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn length(&mut self, length: usize, path: &Path<'_>) -> Result<(), SchemaError> {
        match u32::try_from(length) {
            Ok(length) => self.put(&length.to_le_bytes(), path),
            Err(_) => Err(SchemaError::TooLarge { path: path.to_string(), max: self.max }),
        }
    }

    fn text(&mut self, text: &str, path: &Path<'_>) -> Result<(), SchemaError> {
        self.length(text.len(), path)?;
        self.put(text.as_bytes(), path)
    }

    /// Encodes an argument or field, which may be absent when it is an option.
    pub(super) fn member(
        &mut self,
        schema: &TypeSchema,
        value: Option<&Value>,
        path: &Path<'_>,
    ) -> Result<(), SchemaError> {
        match (value, &schema.shape) {
            (Some(value), _) => self.value(schema, value, path),
            (None, Shape::Option(_)) => self.put(&[0], path),
            (None, Shape::Unit) => Ok(()),
            (None, _) => Err(SchemaError::Missing { path: path.to_string(), expected: schema.expected() }),
        }
    }

    fn value(&mut self, schema: &TypeSchema, value: &Value, path: &Path<'_>) -> Result<(), SchemaError> {
        let wrong = || wrong(schema, value, path);
        match &schema.shape {
            Shape::Unit => value.as_null().ok_or_else(wrong),
            Shape::Bool => self.put(&[u8::from(value.as_bool().ok_or_else(wrong)?)], path),
            Shape::Unsigned(bits) => {
                let number = unsigned(value, unsigned_max(*bits)).ok_or_else(wrong)?;
                self.put(&number.to_le_bytes()[..*bits as usize / 8], path)
            }
            Shape::Signed(bits) => {
                let number = signed(value, *bits).ok_or_else(wrong)?;
                self.put(&number.to_le_bytes()[..*bits as usize / 8], path)
            }
            Shape::Amount => {
                let number = unsigned(value, u128::MAX).ok_or_else(wrong)?;
                self.put(&number.to_le_bytes(), path)
            }
            Shape::Height | Shape::Gas | Shape::Timestamp => {
                let number = unsigned(value, unsigned_max(64)).ok_or_else(wrong)?;
                self.put(&number.to_le_bytes()[..8], path)
            }
            Shape::String => self.text(value.as_str().ok_or_else(wrong)?, path),
            Shape::Bytes => {
                let bytes = value.as_str().and_then(hex).ok_or_else(wrong)?;
                self.length(bytes.len(), path)?;
                self.put(&bytes, path)
            }
            Shape::FixedBytes(length) => {
                let bytes = value.as_str().and_then(hex).ok_or_else(wrong)?;
                if bytes.len() != *length {
                    return Err(wrong());
                }
                self.put(&bytes, path)
            }
            Shape::Account => {
                let account: AccountId = parse(schema, value, path)?;
                self.put(account.as_bytes(), path)
            }
            Shape::Hash => {
                let hash: Hash32 = parse(schema, value, path)?;
                self.put(hash.as_bytes(), path)
            }
            Shape::AppId => {
                let app: AppId = parse(schema, value, path)?;
                self.text(app.as_str(), path)
            }
            Shape::DeviceId => {
                let device: DeviceId = parse(schema, value, path)?;
                self.text(device.as_str(), path)
            }
            Shape::Option(inner) => {
                if value.is_null() {
                    return self.put(&[0], path);
                }
                let value = match inner.is_nullable() {
                    true => single(value).filter(|(name, _)| *name == "Some").ok_or_else(wrong)?.1,
                    false => value,
                };
                self.put(&[1], path)?;
                self.value(inner, value, path)
            }
            Shape::Vec(items) => {
                let values = value.as_array().ok_or_else(wrong)?;
                self.length(values.len(), path)?;
                values
                    .iter()
                    .enumerate()
                    .try_for_each(|(index, v)| self.value(items, v, &Path::Index(path, index)))
            }
            Shape::Array(length, items) => {
                let values = value.as_array().filter(|values| values.len() == *length).ok_or_else(wrong)?;
                values
                    .iter()
                    .enumerate()
                    .try_for_each(|(index, v)| self.value(items, v, &Path::Index(path, index)))
            }
            Shape::Tuple(items) => {
                let values =
                    value.as_array().filter(|values| values.len() == items.len()).ok_or_else(wrong)?;
                let mut pairs = items.iter().zip(values).enumerate();
                pairs.try_for_each(|(index, (item, v))| self.value(item, v, &Path::Index(path, index)))
            }
            Shape::Map(key, item) => self.map(schema, key, item, value, path),
            Shape::Struct { fields, .. } => self.structure(schema, fields, value, path),
            Shape::Enum { variants, .. } => self.variant(schema, variants, value, path),
        }
    }

    fn structure(
        &mut self,
        schema: &TypeSchema,
        fields: &[Field],
        value: &Value,
        path: &Path<'_>,
    ) -> Result<(), SchemaError> {
        let object = value.as_object().ok_or_else(|| wrong(schema, value, path))?;
        if let Some(name) = object.keys().find(|name| !fields.iter().any(|field| field.name == **name)) {
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            return Err(SchemaError::Unknown {
                path: Path::Field(path, name).to_string(),
                known: list(&names),
            });
        }
        for field in fields {
            self.member(&field.schema, object.get(&field.name), &Path::Field(path, &field.name))?;
        }
        Ok(())
    }

    fn variant(
        &mut self,
        schema: &TypeSchema,
        variants: &[Variant],
        value: &Value,
        path: &Path<'_>,
    ) -> Result<(), SchemaError> {
        let (name, content) = match value {
            Value::String(name) => (name.as_str(), None),
            _ => single(value)
                .map(|(name, content)| (name, Some(content)))
                .ok_or_else(|| wrong(schema, value, path))?,
        };
        let Some(number) = variants.iter().position(|variant| variant.name == name) else {
            let got = alloc::format!("{:?}", super::path::shorten(name));
            return Err(SchemaError::Value { path: path.to_string(), expected: schema.expected(), got });
        };
        // Parsing refuses enums with more than 256 variants.
        self.put(&[number as u8], path)?;
        let path = Path::Field(path, name);
        match (&variants[number].fields, content) {
            (Some(fields), content) => self.member(fields, content, &path),
            (None, None | Some(Value::Null)) => Ok(()),
            (None, Some(content)) => Err(SchemaError::Value {
                path: path.to_string(),
                expected: "nothing, because this variant has no fields".to_string(),
                got: quote(content),
            }),
        }
    }

    fn map(
        &mut self,
        schema: &TypeSchema,
        key: &TypeSchema,
        item: &TypeSchema,
        value: &Value,
        path: &Path<'_>,
    ) -> Result<(), SchemaError> {
        let room = self.max - self.bytes.len();
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut add = |k: &Value, v: &Value, path: &Path<'_>| -> Result<(), SchemaError> {
            let (mut left, mut right) = (Self::new(room), Self::new(room));
            left.value(key, k, path)?;
            right.value(item, v, path)?;
            entries.push((left.finish(), right.finish()));
            Ok(())
        };
        match value {
            Value::Object(object) if key.is_object_key() => {
                for (name, item) in object {
                    add(&Value::String(name.clone()), item, &Path::Key(path, name))?;
                }
            }
            Value::Array(pairs) => {
                for (index, pair) in pairs.iter().enumerate() {
                    let path = Path::Index(path, index);
                    match pair.as_array().map(Vec::as_slice) {
                        Some([k, v]) => add(k, v, &path)?,
                        _ => {
                            return Err(SchemaError::Value {
                                path: path.to_string(),
                                expected: alloc::format!("a pair [{key}, {item}]"),
                                got: quote(pair),
                            });
                        }
                    }
                }
            }
            _ => return Err(wrong(schema, value, path)),
        }
        entries.sort_by(|(left, _), (right, _)| key_order(key, left, right));
        if entries.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(SchemaError::Twice { path: alloc::format!("a key of {path}") });
        }
        self.length(entries.len(), path)?;
        entries.iter().try_for_each(|(key, item)| {
            self.put(key, path)?;
            self.put(item, path)
        })
    }
}

/// Compares encoded keys as their type does, so that a map is encoded as the application itself would.
fn key_order(key: &TypeSchema, left: &[u8], right: &[u8]) -> Ordering {
    match key.shape {
        Shape::Unsigned(_) | Shape::Amount | Shape::Height | Shape::Gas | Shape::Timestamp => {
            left.iter().rev().cmp(right.iter().rev())
        }
        Shape::Signed(_) => {
            let flip = |(index, byte): (usize, &u8)| if index == 0 { byte ^ 0x80 } else { *byte };
            left.iter().rev().enumerate().map(flip).cmp(right.iter().rev().enumerate().map(flip))
        }
        // Behind the length.
        Shape::String | Shape::Bytes | Shape::AppId | Shape::DeviceId => left[4..].cmp(&right[4..]),
        _ => left.cmp(right),
    }
}

fn wrong(schema: &TypeSchema, value: &Value, path: &Path<'_>) -> SchemaError {
    SchemaError::Value { path: path.to_string(), expected: schema.expected(), got: quote(value) }
}

/// Reads an id from a text; its own complaint says more than the schema can.
fn parse<T: core::str::FromStr<Err = crate::ParseIdError>>(
    schema: &TypeSchema,
    value: &Value,
    path: &Path<'_>,
) -> Result<T, SchemaError> {
    let text = value.as_str().ok_or_else(|| wrong(schema, value, path))?;
    text.parse().map_err(|error: crate::ParseIdError| SchemaError::Value {
        path: path.to_string(),
        expected: schema.expected(),
        got: alloc::format!("{} ({error})", quote(value)),
    })
}

fn single(value: &Value) -> Option<(&str, &Value)> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.iter().next().map(|(name, content)| (name.as_str(), content))
}

/// Takes out the `_` that may group digits; `None` for what is not digits.
fn digits(text: &str) -> Option<String> {
    let plain: String = text.chars().filter(|character| *character != '_').collect();
    (!plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit())).then_some(plain)
}

fn unsigned(value: &Value, max: u128) -> Option<u128> {
    let number = match value {
        Value::Number(number) => number.as_u64().map(u128::from),
        Value::String(text) => digits(text)?.parse().ok(),
        _ => None,
    };
    number.filter(|number| *number <= max)
}

fn signed(value: &Value, bits: u32) -> Option<i128> {
    let number = match value {
        Value::Number(number) => number.as_i64().map(i128::from).or(number.as_u64().map(i128::from)),
        Value::String(text) => match text.strip_prefix('-') {
            // Parsed with the sign, because the lowest number has no positive twin.
            Some(rest) => alloc::format!("-{}", digits(rest)?).parse().ok(),
            None => digits(text)?.parse().ok(),
        },
        _ => None,
    };
    let max = i128::MAX >> (128 - bits);
    number.filter(|number| (-max - 1..=max).contains(number))
}

/// Reads `0x` and pairs of hexadecimal digits.
fn hex(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix("0x")?.as_bytes();
    let (pairs, []) = text.as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    pairs.iter().map(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8)).collect()
}
