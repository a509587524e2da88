//! Borsh to JSON.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use borsh::BorshDeserialize;
use serde_json::{Map, Value};

use super::path::Path;
use super::{DECODED_BYTES_MAX, Field, Parameter, SchemaError, Shape, TypeSchema, Variant};
use crate::{AccountId, AppId, DeviceId, Hash32};

impl TypeSchema {
    /// Decodes a value and nothing behind it.
    pub fn decode(&self, bytes: &[u8]) -> Result<Value, SchemaError> {
        self.decode_within(bytes, &mut { DECODED_BYTES_MAX })
    }

    /// As [`TypeSchema::decode`], taking what it makes from `budget`, in bytes, which several values can share. What was
    /// made before a failure is taken too.
    pub fn decode_within(&self, bytes: &[u8], budget: &mut usize) -> Result<Value, SchemaError> {
        let path = Path::Root("", "value");
        let mut decoder = Decoder { rest: bytes, budget: *budget };
        let value = decoder.value(self, &path);
        *budget = decoder.budget;
        let value = value?;
        decoder.end(&path)?;
        Ok(value)
    }
}

/// Decodes arguments as an object by name.
pub(super) fn parameters(params: &[Parameter], bytes: &[u8]) -> Result<Value, SchemaError> {
    let mut decoder = Decoder { rest: bytes, budget: DECODED_BYTES_MAX };
    let mut arguments = Map::new();
    for parameter in params {
        let value = decoder.value(&parameter.schema, &Path::Root("argument ", &parameter.name))?;
        arguments.insert(parameter.name.clone(), value);
    }
    decoder.end(&Path::Root("", "arguments"))?;
    Ok(Value::Object(arguments))
}

/// Bytes of JSON that every value counts for at least: what its node costs in memory.
const VALUE_BYTES: usize = 32;

/// Reads bytes front to back. Nothing is allocated for a length before its bytes are seen, every value made is taken
/// from the budget, and depth is bounded by the schema's, see [`SCHEMA_DEPTH_MAX`](super::SCHEMA_DEPTH_MAX).
struct Decoder<'a> {
    rest: &'a [u8],
    budget: usize,
}

impl<'a> Decoder<'a> {
    fn end(&self, path: &Path<'_>) -> Result<(), SchemaError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(SchemaError::Trailing { path: path.to_string(), count }),
        }
    }

    fn spend(&mut self, bytes: usize, path: &Path<'_>) -> Result<(), SchemaError> {
        match self.budget.checked_sub(bytes) {
            Some(budget) => {
                self.budget = budget;
                Ok(())
            }
            None => Err(SchemaError::DecodedTooLarge { path: path.to_string() }),
        }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<u128> {
        let mut number = [0; 16];
        number[..bytes].copy_from_slice(self.take(bytes)?);
        Some(u128::from_le_bytes(number))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number(4)?).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.length()?;
        core::str::from_utf8(self.take(length)?).ok()
    }

    fn read<T: BorshDeserialize>(&mut self) -> Option<T> {
        T::deserialize(&mut self.rest).ok()
    }

    fn value(&mut self, schema: &TypeSchema, path: &Path<'_>) -> Result<Value, SchemaError> {
        self.spend(VALUE_BYTES, path)?;
        match &schema.shape {
            Shape::Option(inner) => self.option(schema, inner, path),
            Shape::Vec(items) => {
                let length = self.length().ok_or_else(|| malformed(schema, path))?;
                self.items(length, items, path)
            }
            Shape::Array(length, items) => self.items(*length, items, path),
            Shape::Tuple(items) => {
                let mut values = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    values.push(self.value(item, &Path::Index(path, index))?);
                }
                Ok(Value::Array(values))
            }
            Shape::Map(key, item) => self.map(schema, key, item, path),
            Shape::Struct { fields, .. } => self.structure(fields, path),
            Shape::Enum { variants, .. } => self.variant(schema, variants, path),
            _ => {
                let value = self.plain(&schema.shape).ok_or_else(|| malformed(schema, path))?;
                if let Value::String(text) = &value {
                    self.spend(text.len(), path)?;
                }
                Ok(value)
            }
        }
    }

    /// Decodes what has no parts.
    fn plain(&mut self, shape: &Shape) -> Option<Value> {
        Some(match shape {
            Shape::Unit => Value::Null,
            Shape::Bool => Value::Bool(self.read()?),
            Shape::Unsigned(128) | Shape::Amount => Value::String(self.number(16)?.to_string()),
            Shape::Unsigned(bits) => Value::from(u64::try_from(self.number(*bits as usize / 8)?).ok()?),
            Shape::Signed(128) => Value::String(self.number(16)?.cast_signed().to_string()),
            Shape::Signed(bits) => {
                // Moves the sign bit to the top and back, which spreads it.
                let spread = self.number(*bits as usize / 8)?.cast_signed() << (128 - bits) >> (128 - bits);
                Value::from(i64::try_from(spread).ok()?)
            }
            Shape::Height | Shape::Gas | Shape::Timestamp => {
                Value::from(u64::try_from(self.number(8)?).ok()?)
            }
            Shape::String => Value::String(self.text()?.to_string()),
            Shape::Bytes => {
                let length = self.length()?;
                Value::String(hex(self.take(length)?))
            }
            Shape::FixedBytes(length) => Value::String(hex(self.take(*length)?)),
            Shape::Account => Value::String(self.read::<AccountId>()?.to_string()),
            Shape::AppId => Value::String(self.read::<AppId>()?.to_string()),
            Shape::DeviceId => Value::String(self.read::<DeviceId>()?.to_string()),
            Shape::Hash => Value::String(self.read::<Hash32>()?.to_string()),
            Shape::Option(_)
            | Shape::Vec(_)
            | Shape::Array(..)
            | Shape::Map(..)
            | Shape::Tuple(_)
            | Shape::Struct { .. }
            | Shape::Enum { .. } => return None,
        })
    }

    fn items(&mut self, length: usize, items: &TypeSchema, path: &Path<'_>) -> Result<Value, SchemaError> {
        let mut values = Vec::new();
        for index in 0..length {
            values.push(self.value(items, &Path::Index(path, index))?);
        }
        Ok(Value::Array(values))
    }

    fn option(
        &mut self,
        schema: &TypeSchema,
        inner: &TypeSchema,
        path: &Path<'_>,
    ) -> Result<Value, SchemaError> {
        match self.number(1) {
            Some(0) => Ok(Value::Null),
            Some(1) => {
                let value = self.value(inner, path)?;
                Ok(if inner.is_nullable() { object("Some", value) } else { value })
            }
            _ => Err(malformed(schema, path)),
        }
    }

    fn structure(&mut self, fields: &[Field], path: &Path<'_>) -> Result<Value, SchemaError> {
        let mut object = Map::new();
        for field in fields {
            self.spend(field.name.len(), path)?;
            let value = self.value(&field.schema, &Path::Field(path, &field.name))?;
            object.insert(field.name.clone(), value);
        }
        Ok(Value::Object(object))
    }

    fn variant(
        &mut self,
        schema: &TypeSchema,
        variants: &[Variant],
        path: &Path<'_>,
    ) -> Result<Value, SchemaError> {
        let number = self.number(1).ok_or_else(|| malformed(schema, path))?;
        let variant = variants.get(number as usize).ok_or_else(|| malformed(schema, path))?;
        self.spend(variant.name.len(), path)?;
        match &variant.fields {
            None => Ok(Value::String(variant.name.clone())),
            Some(fields) => Ok(object(&variant.name, self.value(fields, &Path::Field(path, &variant.name))?)),
        }
    }

    fn map(
        &mut self,
        schema: &TypeSchema,
        key: &TypeSchema,
        item: &TypeSchema,
        path: &Path<'_>,
    ) -> Result<Value, SchemaError> {
        let length = self.length().ok_or_else(|| malformed(schema, path))?;
        let (mut object, mut pairs) = (Map::new(), Vec::new());
        for index in 0..length {
            let path = Path::Index(path, index);
            let k = self.value(key, &path)?;
            let v = self.value(item, &path)?;
            if key.is_object_key() {
                let name = match k {
                    Value::String(text) => text,
                    number => number.to_string(),
                };
                if object.insert(name, v).is_some() {
                    return Err(malformed(schema, &path));
                }
            } else {
                pairs.push(Value::Array(alloc::vec![k, v]));
            }
        }
        Ok(if key.is_object_key() { Value::Object(object) } else { Value::Array(pairs) })
    }
}

fn malformed(schema: &TypeSchema, path: &Path<'_>) -> SchemaError {
    SchemaError::Bytes { path: path.to_string(), expected: schema.expected() }
}

fn object(name: &str, value: Value) -> Value {
    let mut object = Map::new();
    object.insert(name.to_string(), value);
    Value::Object(object)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("0x");
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(crate::id::HEX[usize::from(nibble)]));
        }
    }
    text
}
