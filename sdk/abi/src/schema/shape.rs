//! Types of values.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// A type of values: how they are encoded, and what they mean.
#[derive(Debug, Clone, PartialEq)]
pub struct TypeSchema {
    /// The encoding.
    pub shape: Shape,
    /// The documentation.
    pub doc: String,
}

/// How values of a type are encoded; the module's documentation has the JSON forms.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Nothing.
    Unit,
    /// `true` or `false`.
    Bool,
    /// Whole number from 0, of so many bits: 8, 16, 32, 64 or 128.
    Unsigned(u32),
    /// Whole number, of so many bits.
    Signed(u32),
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// So many bytes.
    FixedBytes(usize),
    /// [`AccountId`](crate::AccountId).
    Account,
    /// [`AppId`](crate::AppId).
    AppId,
    /// [`DeviceId`](crate::DeviceId).
    DeviceId,
    /// [`Hash32`](crate::Hash32).
    Hash,
    /// [`Amount`](crate::Amount).
    Amount,
    /// [`Height`](crate::Height).
    Height,
    /// [`Gas`](crate::Gas).
    Gas,
    /// [`TimestampMs`](crate::TimestampMs).
    Timestamp,
    /// A value or none.
    Option(Box<TypeSchema>),
    /// Any number of values.
    Vec(Box<TypeSchema>),
    /// So many values.
    Array(usize, Box<TypeSchema>),
    /// Values by key.
    Map(Box<TypeSchema>, Box<TypeSchema>),
    /// One value of each type.
    Tuple(Vec<TypeSchema>),
    /// Named values.
    Struct {
        /// Name of the type; may be empty.
        name: String,
        /// The fields, in the order of their encoding.
        fields: Vec<Field>,
    },
    /// One of several variants.
    Enum {
        /// Name of the type; may be empty.
        name: String,
        /// The variants, in the order of their numbers.
        variants: Vec<Variant>,
    },
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub schema: TypeSchema,
}

/// A variant of an enum.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Its documentation.
    pub doc: String,
    /// What it holds, if anything.
    pub fields: Option<TypeSchema>,
}

impl TypeSchema {
    /// Wraps an encoding, without documentation.
    pub fn new(shape: Shape) -> Self {
        Self { shape, doc: String::new() }
    }

    /// Says what a value has to be, for a message: `a whole number from 0 to 255`.
    pub fn expected(&self) -> String {
        let text = self.expected_at_length();
        match text.char_indices().nth(EXPECTED_CHARACTERS_MAX) {
            Some((end, _)) => format!("{}..", &text[..end]),
            None => text,
        }
    }

    fn expected_at_length(&self) -> String {
        match &self.shape {
            Shape::Unit => "null".to_string(),
            Shape::Bool => "true or false".to_string(),
            Shape::Unsigned(bits) => format!("a whole number from 0 to {}", unsigned_max(*bits)),
            Shape::Signed(bits) => {
                let max = i128::MAX >> (128 - bits);
                format!("a whole number from {} to {max}", -max - 1)
            }
            Shape::Amount => format!("a whole number from 0 to {}, as text", u128::MAX),
            Shape::Height | Shape::Gas => format!("a whole number from 0 to {}", u64::MAX),
            Shape::Timestamp => "milliseconds since 1970 as a whole number".to_string(),
            Shape::String => "a text".to_string(),
            Shape::Bytes => "bytes as 0x and hexadecimal digits".to_string(),
            Shape::FixedBytes(length) => {
                format!("{length} bytes as 0x and {} hexadecimal digits", length * 2)
            }
            Shape::Account => "an account: 0x and 40 hexadecimal digits".to_string(),
            Shape::AppId => "an app id: 2 to 63 of a-z, 0-9 and '-', starting with a letter".to_string(),
            Shape::DeviceId => {
                "a device id: 1 to 64 of a-z, 0-9, '.', '_', ':' and '-', starting with a letter or digit"
                    .to_string()
            }
            Shape::Hash => "a hash: 0x and 64 hexadecimal digits".to_string(),
            Shape::Option(inner) if inner.is_nullable() => {
                format!("null, or {{\"Some\": ..}} with {}", inner.expected())
            }
            Shape::Option(inner) => format!("{}, or null", inner.expected()),
            Shape::Vec(items) => format!("an array of {items}"),
            Shape::Array(length, items) => format!("an array of {length} {items}"),
            Shape::Tuple(items) => format!("an array of {}: {self}", items.len()),
            Shape::Map(key, value) if key.is_object_key() => format!("an object from {key} to {value}"),
            Shape::Map(key, value) => format!("an array of pairs [{key}, {value}]"),
            Shape::Struct { fields, .. } => {
                let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
                format!("an object with {}", list(&names))
            }
            Shape::Enum { variants, .. } => {
                let names: Vec<&str> = variants.iter().map(|variant| variant.name.as_str()).collect();
                format!("one of {}", list(&names))
            }
        }
    }

    /// Says whether `null` stands for a value of this type.
    pub(super) fn is_nullable(&self) -> bool {
        matches!(self.shape, Shape::Unit | Shape::Option(_))
    }

    /// Says whether values can be keys of a JSON object.
    pub(super) fn is_object_key(&self) -> bool {
        match &self.shape {
            Shape::Unsigned(_)
            | Shape::Signed(_)
            | Shape::String
            | Shape::Bytes
            | Shape::FixedBytes(_)
            | Shape::Account
            | Shape::AppId
            | Shape::DeviceId
            | Shape::Hash
            | Shape::Amount
            | Shape::Height
            | Shape::Gas
            | Shape::Timestamp => true,
            Shape::Enum { variants, .. } => variants.iter().all(|variant| variant.fields.is_none()),
            _ => false,
        }
    }
}

/// Returns the largest whole number of so many bits.
pub(super) fn unsigned_max(bits: u32) -> u128 {
    u128::MAX >> (128 - bits)
}

impl fmt::Display for TypeSchema {
    /// Writes the type as Rust would: `Option<Vec<Reading>>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shape {
            Shape::Unit => f.write_str("()"),
            Shape::Bool => f.write_str("bool"),
            Shape::Unsigned(bits) => write!(f, "u{bits}"),
            Shape::Signed(bits) => write!(f, "i{bits}"),
            Shape::String => f.write_str("String"),
            Shape::Bytes => f.write_str("Bytes"),
            Shape::FixedBytes(length) => write!(f, "[u8; {length}]"),
            Shape::Account => f.write_str("AccountId"),
            Shape::AppId => f.write_str("AppId"),
            Shape::DeviceId => f.write_str("DeviceId"),
            Shape::Hash => f.write_str("Hash32"),
            Shape::Amount => f.write_str("Amount"),
            Shape::Height => f.write_str("Height"),
            Shape::Gas => f.write_str("Gas"),
            Shape::Timestamp => f.write_str("TimestampMs"),
            Shape::Option(inner) => write!(f, "Option<{inner}>"),
            Shape::Vec(items) => write!(f, "Vec<{items}>"),
            Shape::Array(length, items) => write!(f, "[{items}; {length}]"),
            Shape::Map(key, value) => write!(f, "Map<{key}, {value}>"),
            Shape::Tuple(items) => {
                f.write_str("(")?;
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_str(")")
            }
            Shape::Struct { name, .. } if name.is_empty() => f.write_str("object"),
            Shape::Enum { name, .. } if name.is_empty() => f.write_str("enum"),
            Shape::Struct { name, .. } | Shape::Enum { name, .. } => f.write_str(name),
        }
    }
}

/// Characters of a type that a message spells out.
const EXPECTED_CHARACTERS_MAX: usize = 300;

/// Most names that a message lists.
const LISTED_NAMES_MAX: usize = 12;

/// Lists names for a message.
pub(super) fn list(names: &[&str]) -> String {
    if names.is_empty() {
        return "none".to_string();
    }
    let shown: Vec<String> = names.iter().take(LISTED_NAMES_MAX).map(|name| format!("`{name}`")).collect();
    let mut text = shown.join(", ");
    if names.len() > shown.len() {
        text.push_str(&format!(" and {} more", names.len() - shown.len()));
    }
    text
}
