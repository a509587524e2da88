//! Methods and their arguments.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use serde_json::{Map, Value};

use super::encode::Encoder;
use super::path::Path;
use super::shape::list;
use super::{SchemaError, Shape, TypeSchema};
use crate::limits::INPUT_BYTES_MAX;

/// Describes a method.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    /// Its name, without the `query_` prefix.
    pub name: String,
    /// How it is reached.
    pub kind: MethodKind,
    /// Its documentation.
    pub doc: String,
    /// Its parameters, in order.
    pub params: Vec<Parameter>,
    /// What it returns.
    pub returns: TypeSchema,
    /// Whether it takes a deposit.
    pub payable: bool,
}

/// Describes a parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its type.
    pub schema: TypeSchema,
}

/// How a method is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodKind {
    /// By a transaction or another application; may write.
    Call,
    /// By anybody; only reads.
    Query,
    /// By the first start.
    Init,
    /// By an upgrade.
    Migrate,
    /// By a stop.
    Stop,
}

impl MethodKind {
    /// Returns the text form: `call`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Query => "query",
            Self::Init => "init",
            Self::Migrate => "migrate",
            Self::Stop => "stop",
        }
    }
}

impl fmt::Display for MethodKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Method {
    /// Writes the signature: `increment(by: u64) -> u64`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (index, parameter) in self.params.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{}: {}", parameter.name, parameter.schema)?;
        }
        f.write_str(")")?;
        match self.returns.shape {
            Shape::Unit => Ok(()),
            _ => write!(f, " -> {}", self.returns),
        }
    }
}

impl Method {
    /// Encodes arguments given by name (an object) or in order (an array). Arguments of an `option` type may be left
    /// out; `null` stands for no arguments.
    pub fn encode_arguments(&self, arguments: &Value) -> Result<Vec<u8>, SchemaError> {
        match arguments {
            Value::Object(by_name) => self.encode_named(by_name),
            Value::Array(in_order) => self.encode_ordered(in_order),
            Value::Null => self.encode_ordered(&[]),
            other => Err(SchemaError::Value {
                path: "arguments".to_string(),
                expected: "an object by name, or an array in order".to_string(),
                got: super::path::quote(other),
            }),
        }
    }

    /// Encodes arguments given as command-line flags: `[("by", "2")]` for `--by 2`. In names, `-` stands for `_`.
    /// Texts and numbers are taken as they are; what has parts (arrays, objects) is read as JSON.
    pub fn encode_flags(&self, flags: &[(&str, &str)]) -> Result<Vec<u8>, SchemaError> {
        let mut arguments = Map::new();
        for (name, text) in flags {
            let name = name.replace('-', "_");
            let path = Path::Root("argument ", &name);
            let parameter = self.parameter(&name)?;
            let value = from_flag(&parameter.schema, text, &path)?;
            if arguments.insert(name.clone(), value).is_some() {
                return Err(SchemaError::Twice { path: path.to_string() });
            }
        }
        self.encode_named(&arguments)
    }

    /// Reads arguments back, as an object by name.
    pub fn decode_arguments(&self, bytes: &[u8]) -> Result<Value, SchemaError> {
        super::decode::parameters(&self.params, bytes)
    }

    fn parameter(&self, name: &str) -> Result<&Parameter, SchemaError> {
        self.params.iter().find(|parameter| parameter.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.params.iter().map(|parameter| parameter.name.as_str()).collect();
            SchemaError::Unknown { path: Path::Root("argument ", name).to_string(), known: list(&names) }
        })
    }

    fn encode_named(&self, arguments: &Map<String, Value>) -> Result<Vec<u8>, SchemaError> {
        for name in arguments.keys() {
            self.parameter(name)?;
        }
        self.encode_each(|_, parameter| arguments.get(&parameter.name))
    }

    fn encode_ordered(&self, arguments: &[Value]) -> Result<Vec<u8>, SchemaError> {
        if arguments.len() > self.params.len() {
            return Err(SchemaError::TooManyArguments {
                method: self.name.clone(),
                expected: match self.params.len() {
                    0 => "none".to_string(),
                    count => format!("{count}: {self}"),
                },
                got: arguments.len(),
            });
        }
        self.encode_each(|index, _| arguments.get(index))
    }

    fn encode_each<'v>(
        &self,
        argument: impl Fn(usize, &Parameter) -> Option<&'v Value>,
    ) -> Result<Vec<u8>, SchemaError> {
        let mut encoder = Encoder::new(INPUT_BYTES_MAX);
        for (index, parameter) in self.params.iter().enumerate() {
            let path = Path::Root("argument ", &parameter.name);
            encoder.member(&parameter.schema, argument(index, parameter), &path)?;
        }
        Ok(encoder.finish())
    }
}

/// Turns a flag's text into JSON by its type.
fn from_flag(schema: &TypeSchema, text: &str, path: &Path<'_>) -> Result<Value, SchemaError> {
    match &schema.shape {
        Shape::Bool => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Ok(Value::String(text.to_string())),
        },
        Shape::Option(_) if text == "null" => Ok(Value::Null),
        Shape::Option(inner) if !inner.is_nullable() => from_flag(inner, text, path),
        Shape::Enum { variants, .. } if variants.iter().any(|variant| variant.name == text) => {
            Ok(Value::String(text.to_string()))
        }
        Shape::Unit
        | Shape::Option(_)
        | Shape::Vec(_)
        | Shape::Array(..)
        | Shape::Map(..)
        | Shape::Tuple(_)
        | Shape::Struct { .. }
        | Shape::Enum { .. } => serde_json::from_str(text).map_err(|error| SchemaError::Value {
            path: path.to_string(),
            expected: format!("{} as JSON", schema.expected()),
            got: format!("{:?} ({error})", super::path::shorten(text)),
        }),
        // Encoding reads numbers from texts.
        _ => Ok(Value::String(text.to_string())),
    }
}
