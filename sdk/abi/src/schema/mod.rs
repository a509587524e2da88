//! An application's schema: what its methods take and give, and JSON forms of all of it.
//!
//! A module carries its schema as JSON in the custom section [`SCHEMA_SECTION`](crate::host::SCHEMA_SECTION):
//!
//! ```text
//! {"abi":1,"name":"Counter","doc":"..",
//!  "methods":[{"name":"increment","kind":"call","doc":"..","params":[{"name":"by","schema":S}],
//!              "returns":S,"payable":false}],
//!  "events":[{"topic":"incremented","doc":"..","schema":S}],
//!  "errors":[{"code":1,"name":"Overflow","doc":".."}],
//!  "state":[{"name":"count","kind":"item","value":S}]}
//! ```
//!
//! `kind` of a method is `call`, `query`, `init`, `migrate` or `stop`; of a state field `item`, `map`, `set`,
//! `vector` or `ordered_map`. `S` is JSON Schema 2020-12 with the keyword `x-borsh`, which alone says the encoding:
//!
//! | `x-borsh` | with | JSON |
//! |---|---|---|
//! | `unit` | | `null` |
//! | `bool` | | `true` |
//! | `u8` .. `u64`, `i8` .. `i64` | | number; a decimal string is accepted |
//! | `u128`, `i128`, `amount` | | decimal string; a number is accepted |
//! | `height`, `gas`, `timestamp` | | as `u64` |
//! | `string`, `account`, `app_id`, `device_id`, `hash` | | string |
//! | `bytes`, `bytesN:32` | | `"0x.."` |
//! | `option` | `x-inner` | `null` or the value; `{"Some":value}` when the value itself may be `null` |
//! | `vec`, `array:4` | `items` | array |
//! | `tuple` | `prefixItems` | array |
//! | `map` | `x-key`, `x-value` | object when keys are texts or numbers, else an array of pairs |
//! | `struct` | `properties`, `x-fields` (names in order) | object; an `option` may be left out |
//! | `enum` | `x-variants`: `[{"name","doc","fields":S}]` | `"Name"`, or `{"Name":fields}` |
//!
//! Schemas come from packages and values from anybody, so both are hostile: see [`SCHEMA_BYTES_MAX`],
//! [`SCHEMA_DEPTH_MAX`], [`NAME_BYTES_MAX`] and [`DECODED_BYTES_MAX`].
//!
//! ```
//! use purlin_abi::schema::AppSchema;
//! let schema = AppSchema::parse(br#"{"abi":1,"name":"Counter","methods":[{"name":"increment","kind":"call",
//!     "params":[{"name":"by","schema":{"x-borsh":"u64"}}],"returns":{"x-borsh":"u64"}}]}"#)?;
//! let method = schema.call("increment")?;
//! assert_eq!(method.encode_arguments(&serde_json::json!({"by": 2}))?, [2, 0, 0, 0, 0, 0, 0, 0]);
//! assert_eq!(method.encode_flags(&[("by", "2")])?, [2, 0, 0, 0, 0, 0, 0, 0]);
//! let error = method.encode_flags(&[("by", "two")]).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "argument `by`: expected a whole number from 0 to 18446744073709551615, got \"two\"",
//! );
//! # Ok::<(), purlin_abi::schema::SchemaError>(())
//! ```

mod decode;
mod encode;
mod method;
mod parse;
mod path;
mod shape;
mod wasm;

#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec::Vec;

pub use method::{Method, MethodKind, Parameter};
pub use shape::{Field, Shape, TypeSchema, Variant};
pub use wasm::section;

/// Largest schema, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 256 * 1024;
/// Deepest nesting of a type.
pub const SCHEMA_DEPTH_MAX: usize = 32;
/// Longest name of a method, parameter, field or variant, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Largest JSON made from borsh, in bytes of text, roughly: a few bytes of borsh can stand for many of JSON.
pub const DECODED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a schema says.
#[derive(Debug, Clone, PartialEq)]
pub struct AppSchema {
    /// Name of the application's type: `Counter`.
    pub name: String,
    /// Its documentation.
    pub doc: String,
    /// Its methods, in the order of its source.
    pub methods: Vec<Method>,
    /// Its events.
    pub events: Vec<EventSchema>,
    /// Its errors.
    pub errors: Vec<ErrorSchema>,
    /// The fields of its state.
    pub state: Vec<StateField>,
}

/// Describes an event.
#[derive(Debug, Clone, PartialEq)]
pub struct EventSchema {
    /// Its topic: `incremented`.
    pub topic: String,
    /// Its documentation.
    pub doc: String,
    /// Its payload.
    pub schema: TypeSchema,
}

/// Describes an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorSchema {
    /// Its number, as in [`CallFailure::app_code`](crate::CallFailure::app_code).
    pub code: u32,
    /// Its name: `NotOwner`.
    pub name: String,
    /// Its documentation.
    pub doc: String,
}

/// Describes a field of the state.
#[derive(Debug, Clone, PartialEq)]
pub struct StateField {
    /// Its name, which is its storage key, or the key's prefix up to `:`.
    pub name: String,
    /// Which collection.
    pub kind: StateKind,
    /// Type of its keys, for `map`, `set` and `ordered_map`.
    pub key: Option<TypeSchema>,
    /// Type of its values, but for `set`.
    pub value: Option<TypeSchema>,
}

/// A collection of the SDK; the keys it makes are in `purlin-sdk`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateKind {
    /// One value.
    Item,
    /// Values by borsh key.
    Map,
    /// Borsh keys.
    Set,
    /// Values by index.
    Vector,
    /// Values by sorting key.
    OrderedMap,
}

impl AppSchema {
    /// Reads a schema's JSON.
    pub fn parse(json: &[u8]) -> Result<Self, SchemaError> {
        parse::schema(json)
    }

    /// Reads the schema that a module carries; `None` when it carries none.
    pub fn from_wasm(wasm: &[u8]) -> Result<Option<Self>, SchemaError> {
        section(wasm).map(Self::parse).transpose()
    }

    /// Finds a call.
    pub fn call(&self, name: &str) -> Result<&Method, SchemaError> {
        self.named(MethodKind::Call, name)
    }

    /// Finds a query, by its name without the `query_` prefix.
    pub fn query(&self, name: &str) -> Result<&Method, SchemaError> {
        self.named(MethodKind::Query, name)
    }

    /// Finds the initialiser; `None` when the application has none, and then takes no arguments.
    pub fn init(&self) -> Option<&Method> {
        self.methods.iter().find(|method| method.kind == MethodKind::Init)
    }

    /// Finds the migration; `None` when the application has none.
    pub fn migrate(&self) -> Option<&Method> {
        self.methods.iter().find(|method| method.kind == MethodKind::Migrate)
    }

    /// Finds an event.
    pub fn event(&self, topic: &str) -> Option<&EventSchema> {
        self.events.iter().find(|event| event.topic == topic)
    }

    /// Finds an error.
    pub fn error(&self, code: u32) -> Option<&ErrorSchema> {
        self.errors.iter().find(|error| error.code == code)
    }

    /// Finds the state field that a storage key belongs to.
    pub fn state_field(&self, key: &[u8]) -> Option<&StateField> {
        self.state.iter().find(|field| match key.strip_prefix(field.name.as_bytes()) {
            Some([]) => field.kind == StateKind::Item,
            Some([b':', ..]) => field.kind != StateKind::Item,
            _ => false,
        })
    }

    fn named(&self, kind: MethodKind, name: &str) -> Result<&Method, SchemaError> {
        let same_kind = || self.methods.iter().filter(|method| method.kind == kind);
        same_kind().find(|method| method.name == name).ok_or_else(|| {
            let names: Vec<&str> = same_kind().map(|method| method.name.as_str()).collect();
            let other = self.methods.iter().find(|method| method.name == name);
            SchemaError::UnknownMethod {
                kind,
                name: path::shorten(name),
                actual: other.map(|method| method.kind),
                known: shape::list(&names),
            }
        })
    }
}

/// Says why a schema or a value was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The schema is larger than [`SCHEMA_BYTES_MAX`].
    #[error("the schema has {length} bytes; at most {SCHEMA_BYTES_MAX} are allowed")]
    SchemaTooLarge {
        /// Its size.
        length: usize,
    },
    /// The schema is not JSON.
    #[error("the schema is not JSON: {detail}")]
    SchemaNotJson {
        /// What the parser said.
        detail: String,
    },
    /// The schema is JSON of another form.
    #[error("the schema is malformed at {path}: expected {expected}")]
    SchemaMalformed {
        /// Where: `methods[0].returns`.
        path: String,
        /// What would have been right.
        expected: String,
    },
    /// There is no such method.
    #[error("no {kind} named `{name}`{}; it has {known}", Self::hint(*.actual))]
    UnknownMethod {
        /// What was looked for.
        kind: MethodKind,
        /// Its name.
        name: String,
        /// What the method of that name is instead.
        actual: Option<MethodKind>,
        /// Those that exist.
        known: String,
    },
    /// A value has the wrong form.
    #[error("{path}: expected {expected}, got {got}")]
    Value {
        /// Which: ``argument `order.items[3]` ``.
        path: String,
        /// What would have been right.
        expected: String,
        /// What was there.
        got: String,
    },
    /// An argument is missing.
    #[error("{path} is missing: expected {expected}")]
    Missing {
        /// Which.
        path: String,
        /// What would have been right.
        expected: String,
    },
    /// There is no such argument or field.
    #[error("{path} is unknown; expected {known}")]
    Unknown {
        /// Which.
        path: String,
        /// Those that exist.
        known: String,
    },
    /// An argument or key was given twice.
    #[error("{path} is given twice")]
    Twice {
        /// Which.
        path: String,
    },
    /// More arguments than parameters.
    #[error("got {got} arguments; `{method}` takes {expected}")]
    TooManyArguments {
        /// Which method.
        method: String,
        /// How many it takes.
        expected: String,
        /// How many were given.
        got: usize,
    },
    /// The encoded value would be too large.
    #[error("{path}: the encoded value has more than {max} bytes")]
    TooLarge {
        /// Which.
        path: String,
        /// The limit, in bytes.
        max: usize,
    },
    /// Bytes do not have the form that the schema says.
    #[error("{path}: the bytes are not {expected}")]
    Bytes {
        /// Which.
        path: String,
        /// What they should be.
        expected: String,
    },
    /// Bytes are left after the value.
    #[error("{path}: {count} bytes are left after the value")]
    Trailing {
        /// Which.
        path: String,
        /// How many.
        count: usize,
    },
    /// The bytes stand for more JSON than [`DECODED_BYTES_MAX`].
    #[error("{path}: the value has more than {DECODED_BYTES_MAX} bytes of JSON")]
    DecodedTooLarge {
        /// Which.
        path: String,
    },
}

impl SchemaError {
    fn hint(actual: Option<MethodKind>) -> String {
        match actual {
            Some(kind) => alloc::format!(" (it is a {kind})"),
            None => String::new(),
        }
    }
}
