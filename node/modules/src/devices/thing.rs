//! Checks a W3C Web of Things Thing Description 1.1 and takes from it what the registry shows.
//!
//! Checked is what the registry, gateways and applications rely on: context, title, security and its
//! definitions, the three kinds of interaction, their data schemas and forms. Two deviations are on purpose:
//! `forms` may be missing, because a gateway binds a device to a protocol after its registration, and terms of
//! other vocabularies are let through unread, as the recommendation asks.

use purlin_abi::limits;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

use super::error::DeviceError;
use super::label;

/// Contexts of which one must come first, newest first: TD 1.1 and TD 1.0.
const CONTEXTS: [&str; 2] = ["https://www.w3.org/2022/wot/td/v1.1", "https://www.w3.org/2019/wot/td/v1"];
const DATA_TYPES: [&str; 7] = ["boolean", "integer", "number", "string", "object", "array", "null"];
const THING_OPERATIONS: [&str; 9] = [
    "readallproperties",
    "writeallproperties",
    "readmultipleproperties",
    "writemultipleproperties",
    "observeallproperties",
    "unobserveallproperties",
    "queryallactions",
    "subscribeallevents",
    "unsubscribeallevents",
];
const PROPERTY_OPERATIONS: [&str; 4] =
    ["readproperty", "writeproperty", "observeproperty", "unobserveproperty"];
const ACTION_OPERATIONS: [&str; 3] = ["invokeaction", "queryaction", "cancelaction"];
const EVENT_OPERATIONS: [&str; 2] = ["subscribeevent", "unsubscribeevent"];

/// What the registry keeps of a description beside its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thing {
    /// `title`.
    pub(super) title: String,
    /// First `@type` that is not `Thing`; `Thing` when there is none.
    pub(super) kind: String,
    /// Names of properties, actions and events; sorted, each once.
    pub(super) capabilities: Vec<String>,
}

type Checked<T = ()> = Result<T, DeviceError>;

/// Reads a description.
pub(super) fn read(text: &str) -> Checked<Thing> {
    let mut reader = Reader::default();
    if text.len() > limits::THING_DESCRIPTION_BYTES_MAX {
        let max = limits::THING_DESCRIPTION_BYTES_MAX;
        return Err(reader.refuse(format!("has {} bytes; at most {max} are allowed", text.len())));
    }
    let value: Value =
        serde_json::from_str(text).map_err(|error| reader.refuse(format!("is not JSON: {error}")))?;
    let Value::Object(thing) = &value else {
        return Err(reader.refuse(format!("is {}; expected an object", name_of(&value))));
    };
    reader.thing(thing)
}

/// Walks a document and knows where it is.
#[derive(Default)]
struct Reader {
    path: Vec<String>,
    security: BTreeSet<String>,
}

impl Reader {
    fn refuse(&self, problem: impl Into<String>) -> DeviceError {
        // RFC 6901.
        let pointer =
            self.path.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect();
        DeviceError::Description { pointer, problem: problem.into() }
    }

    fn expected<T>(&self, what: &str, found: &Value) -> Checked<T> {
        Err(self.refuse(format!("expected {what}, got {}", name_of(found))))
    }

    /// Runs `check` one level deeper.
    fn at<T>(&mut self, part: impl Into<String>, check: impl FnOnce(&mut Self) -> Checked<T>) -> Checked<T> {
        self.path.push(part.into());
        let result = check(self)?;
        self.path.pop();
        Ok(result)
    }

    /// Checks a field when it is there.
    fn field(
        &mut self,
        object: &Map<String, Value>,
        name: &str,
        check: impl FnOnce(&mut Self, &Value) -> Checked,
    ) -> Checked {
        match object.get(name) {
            Some(value) => self.at(name, |reader| check(reader, value)),
            None => Ok(()),
        }
    }

    fn required<T>(
        &mut self,
        object: &Map<String, Value>,
        name: &str,
        check: impl FnOnce(&mut Self, &Value) -> Checked<T>,
    ) -> Checked<T> {
        self.at(name, |reader| match object.get(name) {
            Some(value) => check(reader, value),
            None => Err(reader.refuse("is missing")),
        })
    }

    fn fields(
        &mut self,
        object: &Map<String, Value>,
        names: &[&str],
        check: fn(&mut Self, &Value) -> Checked,
    ) -> Checked {
        names.iter().try_for_each(|name| self.field(object, name, check))
    }

    fn thing(&mut self, thing: &Map<String, Value>) -> Checked<Thing> {
        self.required(thing, "@context", Self::context)?;
        let title = self.required(thing, "title", |reader, value| {
            let title = value.as_str().map_or_else(|| reader.expected("a string", value), Ok)?;
            match label::problem(title) {
                Some(problem) => Err(reader.refuse(problem)),
                None => Ok(title.to_string()),
            }
        })?;
        let kind = match thing.get("@type") {
            Some(value) => self.at("@type", |reader| reader.kind(value))?,
            None => "Thing".into(),
        };
        self.fields(thing, &["id", "description", "support", "base", "created", "modified"], Self::string)?;
        self.fields(thing, &["titles", "descriptions", "schemaDefinitions"], Self::object)?;
        self.field(thing, "version", |reader, value| {
            let version = reader.as_object(value)?;
            reader.required(version, "instance", Self::string)
        })?;
        self.required(thing, "securityDefinitions", Self::security_definitions)?;
        self.required(thing, "security", Self::security)?;
        let mut capabilities = BTreeSet::new();
        self.interactions(thing, "properties", &mut capabilities, Self::property)?;
        self.interactions(thing, "actions", &mut capabilities, Self::action)?;
        self.interactions(thing, "events", &mut capabilities, Self::event)?;
        if capabilities.len() > limits::DEVICE_LABELS_MAX {
            let max = limits::DEVICE_LABELS_MAX;
            return Err(self.refuse(format!(
                "has {} properties, actions and events; at most {max} names are allowed",
                capabilities.len()
            )));
        }
        self.field(thing, "forms", |reader, value| reader.forms(value, &THING_OPERATIONS))?;
        self.field(thing, "links", |reader, value| {
            reader.each(value, |reader, link| {
                let link = reader.as_object(link)?;
                reader.required(link, "href", Self::string)
            })
        })?;
        Ok(Thing { title, kind, capabilities: capabilities.into_iter().collect() })
    }

    fn context(&mut self, value: &Value) -> Checked {
        let first = match value {
            Value::Array(entries) => entries.first().unwrap_or(&Value::Null),
            other => other,
        };
        let known = first.as_str().is_some_and(|text| CONTEXTS.contains(&text));
        // TD 1.1 section 5.3.1.1 lets the 1.0 context come first when 1.1 follows; both are known here.
        known
            .then_some(())
            .ok_or_else(|| self.refuse(format!("expected \"{}\", alone or first in an array", CONTEXTS[0])))
    }

    fn kind(&mut self, value: &Value) -> Checked<String> {
        let mut names = Vec::new();
        self.one_or_many(value, |reader, name| {
            match name.as_str() {
                Some(text) => match label::problem(text) {
                    Some(problem) => return Err(reader.refuse(problem)),
                    None => names.push(text.to_string()),
                },
                None => return reader.expected("a string", name),
            }
            Ok(())
        })?;
        let first = names.iter().find(|name| *name != "Thing").or(names.first()).cloned();
        Ok(first.unwrap_or_else(|| "Thing".into()))
    }

    fn security_definitions(&mut self, value: &Value) -> Checked {
        let definitions = self.as_object(value)?;
        if definitions.is_empty() {
            return Err(
                self.refuse("is empty; expected at least one definition, such as {\"scheme\": \"nosec\"}")
            );
        }
        self.security = definitions.keys().cloned().collect();
        for (name, definition) in definitions {
            self.at(name, |reader| {
                let definition = reader.as_object(definition)?;
                let scheme = reader.required(definition, "scheme", |reader, scheme| {
                    reader.string(scheme)?;
                    Ok(scheme.as_str().unwrap_or_default().to_string())
                })?;
                if scheme == "combo" {
                    let given =
                        ["oneOf", "allOf"].iter().filter(|key| definition.contains_key(**key)).count();
                    if given != 1 {
                        return Err(reader.refuse("a combo scheme needs either oneOf or allOf"));
                    }
                }
                for key in ["oneOf", "allOf"] {
                    reader.field(definition, key, Self::security)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Checks one name or several, each of a security definition.
    fn security(&mut self, value: &Value) -> Checked {
        self.one_or_many(value, |reader, name| match name.as_str() {
            Some(text) if reader.security.contains(text) => Ok(()),
            Some(text) => Err(reader.refuse(format!("{text:?} is not in securityDefinitions"))),
            None => reader.expected("the name of a security definition", name),
        })
    }

    fn interactions(
        &mut self,
        thing: &Map<String, Value>,
        field: &str,
        capabilities: &mut BTreeSet<String>,
        check: fn(&mut Self, &Map<String, Value>) -> Checked,
    ) -> Checked {
        self.field(thing, field, |reader, value| {
            for (name, interaction) in reader.as_object(value)? {
                reader.at(name, |reader| {
                    if let Some(problem) = label::problem(name) {
                        return Err(reader.refuse(format!("its name {problem}")));
                    }
                    let interaction = reader.as_object(interaction)?;
                    reader.fields(interaction, &["title", "description"], Self::string)?;
                    reader.fields(interaction, &["titles", "descriptions"], Self::object)?;
                    reader.field(interaction, "uriVariables", Self::schemas)?;
                    check(reader, interaction)
                })?;
                capabilities.insert(name.clone());
            }
            Ok(())
        })
    }

    fn property(&mut self, property: &Map<String, Value>) -> Checked {
        self.schema_fields(property)?;
        self.field(property, "observable", Self::boolean)?;
        self.field(property, "forms", |reader, value| reader.forms(value, &PROPERTY_OPERATIONS))
    }

    fn action(&mut self, action: &Map<String, Value>) -> Checked {
        self.fields(action, &["input", "output"], Self::schema)?;
        self.fields(action, &["safe", "idempotent", "synchronous"], Self::boolean)?;
        self.field(action, "forms", |reader, value| reader.forms(value, &ACTION_OPERATIONS))
    }

    fn event(&mut self, event: &Map<String, Value>) -> Checked {
        self.fields(event, &["subscription", "data", "dataResponse", "cancellation"], Self::schema)?;
        self.field(event, "forms", |reader, value| reader.forms(value, &EVENT_OPERATIONS))
    }

    fn forms(&mut self, value: &Value, operations: &[&str]) -> Checked {
        self.each(value, |reader, form| {
            let form = reader.as_object(form)?;
            reader.required(form, "href", Self::string)?;
            reader.fields(form, &["contentType", "contentCoding", "subprotocol"], Self::string)?;
            reader.field(form, "security", Self::security)?;
            reader.field(form, "op", |reader, op| {
                reader.one_or_many(op, |reader, name| match name.as_str() {
                    Some(text) if operations.contains(&text) => Ok(()),
                    _ => Err(reader.refuse(format!("expected one of {}", operations.join(", ")))),
                })
            })
        })
    }

    fn schema(&mut self, value: &Value) -> Checked {
        let schema = self.as_object(value)?;
        self.schema_fields(schema)
    }

    fn schemas(&mut self, value: &Value) -> Checked {
        let schemas = self.as_object(value)?;
        schemas.iter().try_for_each(|(name, schema)| self.at(name, |reader| reader.schema(schema)))
    }

    /// Checks the terms of a data schema. Nesting is bounded by the JSON parser's own depth limit.
    fn schema_fields(&mut self, schema: &Map<String, Value>) -> Checked {
        self.field(schema, "type", |reader, value| match value.as_str() {
            Some(text) if DATA_TYPES.contains(&text) => Ok(()),
            Some(text) => {
                let text: String = text.chars().take(80).collect();
                Err(reader.refuse(format!("expected one of {}, got {text:?}", DATA_TYPES.join(", "))))
            }
            None => reader.expected("a string", value),
        })?;
        let texts =
            ["title", "description", "unit", "format", "pattern", "contentEncoding", "contentMediaType"];
        self.fields(schema, &texts, Self::string)?;
        self.fields(schema, &["readOnly", "writeOnly"], Self::boolean)?;
        if schema.get("readOnly") == Some(&Value::Bool(true))
            && schema.get("writeOnly") == Some(&Value::Bool(true))
        {
            return Err(self.refuse("is both readOnly and writeOnly"));
        }
        let numbers = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
        self.fields(schema, &numbers, Self::number)?;
        self.fields(schema, &["minLength", "maxLength", "minItems", "maxItems"], Self::count)?;
        self.field(schema, "enum", |reader, value| reader.each(value, |_, _| Ok(())))?;
        self.field(schema, "oneOf", |reader, value| reader.each(value, Self::schema))?;
        self.field(schema, "items", |reader, value| reader.one_or_many(value, Self::schema))?;
        self.field(schema, "properties", Self::schemas)?;
        self.field(schema, "required", |reader, value| match value {
            Value::Array(names) if names.is_empty() => Ok(()),
            _ => reader.each(value, Self::string),
        })
    }

    /// Checks a non-empty array.
    fn each(&mut self, value: &Value, mut check: impl FnMut(&mut Self, &Value) -> Checked) -> Checked {
        let Value::Array(entries) = value else { return self.expected("an array", value) };
        if entries.is_empty() {
            return Err(self.refuse("is empty; expected at least one entry"));
        }
        entries
            .iter()
            .enumerate()
            .try_for_each(|(index, entry)| self.at(index.to_string(), |reader| check(reader, entry)))
    }

    fn one_or_many(&mut self, value: &Value, mut check: impl FnMut(&mut Self, &Value) -> Checked) -> Checked {
        match value {
            Value::Array(_) => self.each(value, check),
            _ => check(self, value),
        }
    }

    fn as_object<'v>(&self, value: &'v Value) -> Checked<&'v Map<String, Value>> {
        value.as_object().map_or_else(|| self.expected("an object", value), Ok)
    }

    fn object(&mut self, value: &Value) -> Checked {
        self.as_object(value).map(|_| ())
    }

    fn string(&mut self, value: &Value) -> Checked {
        match value.as_str() {
            Some("") => Err(self.refuse("is empty")),
            Some(_) => Ok(()),
            None => self.expected("a string", value),
        }
    }

    fn boolean(&mut self, value: &Value) -> Checked {
        if value.is_boolean() { Ok(()) } else { self.expected("true or false", value) }
    }

    fn number(&mut self, value: &Value) -> Checked {
        if value.is_number() { Ok(()) } else { self.expected("a number", value) }
    }

    fn count(&mut self, value: &Value) -> Checked {
        if value.is_u64() { Ok(()) } else { self.expected("a whole number from 0", value) }
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
#[path = "thing_tests.rs"]
mod tests;
