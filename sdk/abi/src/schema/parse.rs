//! Reads a schema's JSON, which anybody may have written.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde_json::{Map, Value};

use super::{
    AppSchema, ErrorSchema, EventSchema, Field, Method, MethodKind, NAME_BYTES_MAX, Parameter,
    SCHEMA_BYTES_MAX, SCHEMA_DEPTH_MAX, SchemaError, Shape, StateField, StateKind, TypeSchema, Variant,
};
use crate::ABI_VERSION;
use crate::limits::INPUT_BYTES_MAX;

type Object = Map<String, Value>;

/// Most variants of an enum: borsh numbers them in one byte.
const VARIANTS_MAX: usize = 256;

pub(super) fn schema(json: &[u8]) -> Result<AppSchema, SchemaError> {
    if json.len() > SCHEMA_BYTES_MAX {
        return Err(SchemaError::SchemaTooLarge { length: json.len() });
    }
    let value: Value = serde_json::from_slice(json)
        .map_err(|error| SchemaError::SchemaNotJson { detail: error.to_string() })?;
    let root = At { object: as_object(&value, "the root")?, path: String::new() };
    if root.number("abi")? != u64::from(ABI_VERSION) {
        return Err(root.malformed("abi", &format!("{ABI_VERSION}")));
    }
    let schema = AppSchema {
        name: root.name("name")?,
        doc: root.doc("doc")?,
        methods: root.each("methods", method)?,
        events: root.each("events", event)?,
        errors: root.each("errors", error)?,
        state: root.each("state", state_field)?,
    };
    let methods =
        schema.methods.iter().map(|method| (method.kind == MethodKind::Query, method.name.as_str()));
    unique(methods, "methods", "a name once among queries, and once among the others")?;
    unique(schema.events.iter().map(|event| &event.topic), "events", "each topic once")?;
    unique(schema.errors.iter().map(|error| error.code), "errors", "each code once")?;
    unique(schema.state.iter().map(|field| &field.name), "state", "each name once")?;
    Ok(schema)
}

fn method(at: &At<'_>) -> Result<Method, SchemaError> {
    let kind = match at.text("kind")? {
        "call" => MethodKind::Call,
        "query" => MethodKind::Query,
        "init" => MethodKind::Init,
        "migrate" => MethodKind::Migrate,
        "stop" => MethodKind::Stop,
        _ => return Err(at.malformed("kind", "call, query, init, migrate or stop")),
    };
    let params =
        at.each("params", |at| Ok(Parameter { name: at.name("name")?, schema: at.schema("schema")? }))?;
    unique(params.iter().map(|parameter| &parameter.name), &at.place("params"), "each name once")?;
    let payable = match at.object.get("payable") {
        None => false,
        Some(value) => value.as_bool().ok_or_else(|| at.malformed("payable", "true or false"))?,
    };
    Ok(Method {
        name: at.name("name")?,
        kind,
        doc: at.doc("doc")?,
        params,
        returns: at.schema("returns")?,
        payable,
    })
}

fn event(at: &At<'_>) -> Result<EventSchema, SchemaError> {
    Ok(EventSchema { topic: at.name("topic")?, doc: at.doc("doc")?, schema: at.schema("schema")? })
}

fn error(at: &At<'_>) -> Result<ErrorSchema, SchemaError> {
    let code = u32::try_from(at.number("code")?).map_err(|_| at.malformed("code", "a number below 2^32"))?;
    Ok(ErrorSchema { code, name: at.name("name")?, doc: at.doc("doc")? })
}

fn state_field(at: &At<'_>) -> Result<StateField, SchemaError> {
    let kind = match at.text("kind")? {
        "item" => StateKind::Item,
        "map" => StateKind::Map,
        "set" => StateKind::Set,
        "vector" => StateKind::Vector,
        "ordered_map" => StateKind::OrderedMap,
        _ => return Err(at.malformed("kind", "item, map, set, vector or ordered_map")),
    };
    let optional = |name| at.object.contains_key(name).then(|| at.schema(name)).transpose();
    let (key, value) = (optional("key")?, optional("value")?);
    let keyed = matches!(kind, StateKind::Map | StateKind::Set | StateKind::OrderedMap);
    if keyed != key.is_some() {
        return Err(at.malformed("key", if keyed { "a schema" } else { "nothing" }));
    }
    if (kind == StateKind::Set) == value.is_some() {
        return Err(at.malformed("value", if value.is_some() { "nothing" } else { "a schema" }));
    }
    Ok(StateField { name: at.name("name")?, kind, key, value })
}

fn type_schema(at: &At<'_>, depth: usize) -> Result<TypeSchema, SchemaError> {
    if depth == SCHEMA_DEPTH_MAX {
        return Err(at.malformed("", &format!("at most {SCHEMA_DEPTH_MAX} types inside each other")));
    }
    let inner = |name: &str| at.type_schema(name, depth + 1).map(Box::new);
    let encoding = at.text("x-borsh")?;
    let shape = match encoding {
        "unit" => Shape::Unit,
        "bool" => Shape::Bool,
        "u8" => Shape::Unsigned(8),
        "u16" => Shape::Unsigned(16),
        "u32" => Shape::Unsigned(32),
        "u64" => Shape::Unsigned(64),
        "u128" => Shape::Unsigned(128),
        "i8" => Shape::Signed(8),
        "i16" => Shape::Signed(16),
        "i32" => Shape::Signed(32),
        "i64" => Shape::Signed(64),
        "i128" => Shape::Signed(128),
        "string" => Shape::String,
        "bytes" => Shape::Bytes,
        "account" => Shape::Account,
        "app_id" => Shape::AppId,
        "device_id" => Shape::DeviceId,
        "hash" => Shape::Hash,
        "amount" => Shape::Amount,
        "height" => Shape::Height,
        "gas" => Shape::Gas,
        "timestamp" => Shape::Timestamp,
        "option" => Shape::Option(inner("x-inner")?),
        "vec" => Shape::Vec(inner("items")?),
        "map" => Shape::Map(inner("x-key")?, inner("x-value")?),
        "tuple" => Shape::Tuple(at.each("prefixItems", |at| type_schema(at, depth + 1))?),
        "struct" => structure(at, depth)?,
        "enum" => enumeration(at, depth)?,
        sized => match sized.split_once(':').map(|(name, length)| (name, length.parse::<usize>())) {
            Some(("bytesN", Ok(length))) if length <= INPUT_BYTES_MAX => Shape::FixedBytes(length),
            Some(("array", Ok(length))) if length <= INPUT_BYTES_MAX => Shape::Array(length, inner("items")?),
            _ => return Err(at.malformed("x-borsh", "an encoding of ABI version 1")),
        },
    };
    Ok(TypeSchema { shape, doc: at.doc("description")? })
}

fn structure(at: &At<'_>, depth: usize) -> Result<Shape, SchemaError> {
    let malformed = |expected| at.malformed("x-fields", expected);
    let names = at.object.get("x-fields").and_then(Value::as_array).ok_or_else(|| malformed("an array"))?;
    let object = at.object.get("properties").ok_or_else(|| at.malformed("properties", "an object"))?;
    let path = at.place("properties");
    let properties = At { object: as_object(object, &path)?, path };
    let mut fields = Vec::new();
    for name in names {
        let name = name.as_str().filter(|name| is_name(name)).ok_or_else(|| malformed("names"))?;
        let schema = properties.type_schema(name, depth + 1)?;
        fields.push(Field { name: name.to_string(), schema });
    }
    unique(fields.iter().map(|field| &field.name), &at.place("x-fields"), "each name once")?;
    if fields.len() != properties.object.len() {
        return Err(malformed("every property"));
    }
    Ok(Shape::Struct { name: at.title()?, fields })
}

fn enumeration(at: &At<'_>, depth: usize) -> Result<Shape, SchemaError> {
    let variants = at.each("x-variants", |at| {
        let fields =
            at.object.contains_key("fields").then(|| at.type_schema("fields", depth + 1)).transpose()?;
        Ok(Variant { name: at.name("name")?, doc: at.doc("doc")?, fields })
    })?;
    unique(variants.iter().map(|variant| &variant.name), &at.place("x-variants"), "each name once")?;
    if variants.is_empty() || variants.len() > VARIANTS_MAX {
        return Err(at.malformed("x-variants", &format!("1 to {VARIANTS_MAX} variants")));
    }
    Ok(Shape::Enum { name: at.title()?, variants })
}

/// An object of the schema, and where it is.
struct At<'a> {
    object: &'a Object,
    path: String,
}

impl<'a> At<'a> {
    fn place(&self, name: &str) -> String {
        match (self.path.is_empty(), name.is_empty()) {
            (true, _) => name.to_string(),
            (_, true) => self.path.clone(),
            _ => format!("{}.{}", self.path, super::path::shorten(name)),
        }
    }

    fn malformed(&self, name: &str, expected: &str) -> SchemaError {
        SchemaError::SchemaMalformed { path: self.place(name), expected: expected.to_string() }
    }

    fn text(&self, name: &str) -> Result<&'a str, SchemaError> {
        self.object.get(name).and_then(Value::as_str).ok_or_else(|| self.malformed(name, "a text"))
    }

    fn number(&self, name: &str) -> Result<u64, SchemaError> {
        self.object.get(name).and_then(Value::as_u64).ok_or_else(|| self.malformed(name, "a whole number"))
    }

    fn name(&self, name: &str) -> Result<String, SchemaError> {
        match self.text(name)? {
            text if is_name(text) => Ok(text.to_string()),
            _ => Err(self.malformed(name, &name_rule())),
        }
    }

    fn title(&self) -> Result<String, SchemaError> {
        if self.object.contains_key("title") { self.name("title") } else { Ok(String::new()) }
    }

    fn doc(&self, name: &str) -> Result<String, SchemaError> {
        if self.object.contains_key(name) { self.text(name).map(str::to_string) } else { Ok(String::new()) }
    }

    fn schema(&self, name: &str) -> Result<TypeSchema, SchemaError> {
        self.type_schema(name, 0)
    }

    fn type_schema(&self, name: &str, depth: usize) -> Result<TypeSchema, SchemaError> {
        let value = self.object.get(name).ok_or_else(|| self.malformed(name, "a schema"))?;
        let path = self.place(name);
        type_schema(&At { object: as_object(value, &path)?, path }, depth)
    }

    /// Reads an array of objects; a missing one is empty.
    fn each<T>(
        &self,
        name: &str,
        read: impl Fn(&At<'_>) -> Result<T, SchemaError>,
    ) -> Result<Vec<T>, SchemaError> {
        let Some(value) = self.object.get(name) else {
            return Ok(Vec::new());
        };
        let values = value.as_array().ok_or_else(|| self.malformed(name, "an array"))?;
        let mut items = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let path = format!("{}[{index}]", self.place(name));
            items.push(read(&At { object: as_object(value, &path)?, path })?);
        }
        Ok(items)
    }
}

fn as_object<'a>(value: &'a Value, path: &str) -> Result<&'a Object, SchemaError> {
    value.as_object().ok_or_else(|| SchemaError::SchemaMalformed {
        path: path.to_string(),
        expected: "an object".to_string(),
    })
}

/// Names end up in help texts, terminals and web pages.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
}

fn name_rule() -> String {
    format!("1 to {NAME_BYTES_MAX} letters, digits, '_', '-' and '.'")
}

fn unique<T: Ord>(items: impl Iterator<Item = T>, path: &str, expected: &str) -> Result<(), SchemaError> {
    let mut items: Vec<T> = items.collect();
    items.sort();
    match items.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err(SchemaError::SchemaMalformed { path: path.to_string(), expected: expected.to_string() }),
        false => Ok(()),
    }
}
