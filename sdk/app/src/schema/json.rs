//! Writes the schema as JSON while compiling, so that it costs a running application nothing.
//!
//! The form is that of `purlin_abi::schema`: JSON Schema 2020-12, and `x-borsh`, which says the encoding.

use super::{FieldNode, Known, TypeNode, VariantNode};
use crate::application::StateNode;
use crate::error::ErrorNode;
use crate::event::EventNode;

/// Describes a method in the schema.
#[derive(Debug, Clone, Copy)]
pub struct MethodNode {
    /// Its name: `increment`.
    pub name: &'static str,
    /// `call`, `query`, `init`, `migrate` or `stop`.
    pub kind: &'static str,
    /// Its documentation.
    pub doc: &'static str,
    /// Its parameters, in order.
    pub params: &'static [ParameterNode],
    /// What it returns.
    pub returns: &'static TypeNode,
    /// Its errors.
    pub errors: &'static [ErrorNode],
    /// Whether it takes a deposit.
    pub payable: bool,
}

/// Describes a parameter of a method.
#[derive(Debug, Clone, Copy)]
pub struct ParameterNode {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub schema: &'static TypeNode,
}

/// Everything that a schema says.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Name of the application's struct.
    pub name: &'static str,
    /// Its documentation.
    pub doc: &'static str,
    /// Its methods, in order.
    pub methods: &'static [MethodNode],
    /// Its events, in order.
    pub events: &'static [EventNode],
    /// Its state's fields, in order.
    pub state: &'static [StateNode],
}

/// A JSON text under construction. With a capacity of 0 it only counts.
struct Text<const CAPACITY: usize> {
    bytes: [u8; CAPACITY],
    length: usize,
    /// Whether the next member or element needs no comma.
    first: bool,
}

/// Writes the schema; returns the bytes and how many the whole text has. With a capacity of 0 it only counts.
pub const fn write_app<const CAPACITY: usize>(facts: &Facts) -> ([u8; CAPACITY], usize) {
    let mut text = Text { bytes: [0; CAPACITY], length: 0, first: true };
    text.open(b'{');
    text.key("abi");
    text.number(purlin_abi::ABI_VERSION as u128);
    text.string_member("name", facts.name);
    text.doc_member("doc", facts.doc);
    text.key("methods");
    text.open(b'[');
    let mut index = 0;
    while index < facts.methods.len() {
        text.comma();
        text.method(&facts.methods[index]);
        index += 1;
    }
    text.close(b']');
    text.key("events");
    text.open(b'[');
    let mut index = 0;
    while index < facts.events.len() {
        text.comma();
        text.event(&facts.events[index]);
        index += 1;
    }
    text.close(b']');
    text.key("errors");
    text.open(b'[');
    text.errors(facts.methods);
    text.close(b']');
    text.key("state");
    text.open(b'[');
    let mut index = 0;
    while index < facts.state.len() {
        text.comma();
        text.state(&facts.state[index]);
        index += 1;
    }
    text.close(b']');
    text.close(b'}');
    (text.bytes, text.length)
}

impl<const CAPACITY: usize> Text<CAPACITY> {
    const fn byte(&mut self, byte: u8) {
        if CAPACITY > 0 {
            self.bytes[self.length] = byte;
        }
        self.length += 1;
    }

    const fn raw(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut index = 0;
        while index < bytes.len() {
            self.byte(bytes[index]);
            index += 1;
        }
    }

    const fn comma(&mut self) {
        if !self.first {
            self.byte(b',');
        }
        self.first = false;
    }

    const fn open(&mut self, bracket: u8) {
        self.byte(bracket);
        self.first = true;
    }

    const fn close(&mut self, bracket: u8) {
        self.byte(bracket);
        self.first = false;
    }

    /// Begins a member: comma, name, colon.
    const fn key(&mut self, name: &str) {
        self.comma();
        self.string(name);
        self.byte(b':');
    }

    const fn string(&mut self, text: &str) {
        self.byte(b'"');
        let bytes = text.as_bytes();
        let mut index = 0;
        while index < bytes.len() {
            match bytes[index] {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                b'\n' => self.raw("\\n"),
                b'\r' => self.raw("\\r"),
                b'\t' => self.raw("\\t"),
                control @ 0..=0x1f => {
                    self.raw("\\u00");
                    self.byte(b"0123456789abcdef"[(control >> 4) as usize]);
                    self.byte(b"0123456789abcdef"[(control & 15) as usize]);
                }
                byte => self.byte(byte),
            }
            index += 1;
        }
        self.byte(b'"');
    }

    const fn number(&mut self, value: u128) {
        let mut divisor = 1;
        while value / divisor >= 10 {
            divisor *= 10;
        }
        while divisor > 0 {
            self.byte(b'0' + (value / divisor % 10) as u8);
            divisor /= 10;
        }
    }

    const fn string_member(&mut self, key: &str, text: &str) {
        self.key(key);
        self.string(text);
    }

    const fn doc_member(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.string_member(key, text);
        }
    }

    const fn number_member(&mut self, key: &str, value: u128) {
        self.key(key);
        self.number(value);
    }

    const fn schema_member(&mut self, key: &str, schema: &TypeNode) {
        self.key(key);
        self.schema(schema, "");
    }

    const fn method(&mut self, method: &MethodNode) {
        self.open(b'{');
        self.string_member("name", method.name);
        self.string_member("kind", method.kind);
        self.doc_member("doc", method.doc);
        self.key("params");
        self.open(b'[');
        let mut index = 0;
        while index < method.params.len() {
            self.comma();
            self.open(b'{');
            self.string_member("name", method.params[index].name);
            self.schema_member("schema", method.params[index].schema);
            self.close(b'}');
            index += 1;
        }
        self.close(b']');
        self.schema_member("returns", method.returns);
        self.key("payable");
        self.raw(if method.payable { "true" } else { "false" });
        self.close(b'}');
    }

    const fn event(&mut self, event: &EventNode) {
        self.open(b'{');
        self.string_member("topic", event.topic);
        self.doc_member("doc", event.doc);
        self.schema_member("schema", event.schema);
        self.close(b'}');
    }

    /// Writes each error of any method once, in the order of first use.
    const fn errors(&mut self, methods: &[MethodNode]) {
        let mut method = 0;
        while method < methods.len() {
            let errors = methods[method].errors;
            let mut index = 0;
            while index < errors.len() {
                if !seen(methods, method, &errors[index]) {
                    self.comma();
                    self.open(b'{');
                    self.number_member("code", errors[index].code as u128);
                    self.string_member("name", errors[index].name);
                    self.doc_member("doc", errors[index].doc);
                    self.close(b'}');
                }
                index += 1;
            }
            method += 1;
        }
    }

    const fn state(&mut self, field: &StateNode) {
        self.open(b'{');
        self.string_member("name", field.name);
        self.string_member("kind", field.kind);
        if let Some(key) = field.key {
            self.schema_member("key", key);
        }
        if let Some(value) = field.value {
            self.schema_member("value", value);
        }
        self.close(b'}');
    }

    /// Writes a type; `doc` goes before the type's own documentation.
    const fn schema(&mut self, node: &TypeNode, doc: &str) {
        self.open(b'{');
        match node {
            TypeNode::Unit => {
                self.string_member("type", "null");
                self.string_member("x-borsh", "unit");
            }
            TypeNode::Bool => {
                self.string_member("type", "boolean");
                self.string_member("x-borsh", "bool");
            }
            TypeNode::Unsigned(bits) => self.unsigned(*bits),
            TypeNode::Signed(bits) => self.signed(*bits),
            TypeNode::String => self.text("string"),
            TypeNode::Bytes => self.text("bytes"),
            TypeNode::FixedBytes(length) => {
                self.string_member("type", "string");
                self.sized("bytesN:", *length);
            }
            TypeNode::Known(known) => self.known(*known),
            TypeNode::Option(inner) => {
                self.string_member("x-borsh", "option");
                self.schema_member("x-inner", inner);
            }
            TypeNode::Vec(items) => {
                self.string_member("type", "array");
                self.string_member("x-borsh", "vec");
                self.schema_member("items", items);
            }
            TypeNode::Array(length, items) => {
                self.string_member("type", "array");
                self.sized("array:", *length);
                self.number_member("minItems", *length as u128);
                self.number_member("maxItems", *length as u128);
                self.schema_member("items", items);
            }
            TypeNode::Map(key, value) => {
                self.string_member("x-borsh", "map");
                self.schema_member("x-key", key);
                self.schema_member("x-value", value);
            }
            TypeNode::Tuple(items) => {
                self.string_member("type", "array");
                self.string_member("x-borsh", "tuple");
                self.key("prefixItems");
                self.open(b'[');
                let mut index = 0;
                while index < items.len() {
                    self.comma();
                    self.schema(items[index], "");
                    index += 1;
                }
                self.close(b']');
            }
            TypeNode::Struct { name, doc: own, fields } => {
                self.structure(name, fields);
                if doc.is_empty() {
                    self.doc_member("description", own);
                }
            }
            TypeNode::Enum { name, doc: own, variants } => {
                self.enumeration(name, variants);
                if doc.is_empty() {
                    self.doc_member("description", own);
                }
            }
        }
        self.doc_member("description", doc);
        self.close(b'}');
    }

    const fn text(&mut self, encoding: &str) {
        self.string_member("type", "string");
        self.string_member("x-borsh", encoding);
    }

    const fn sized(&mut self, encoding: &str, length: usize) {
        self.key("x-borsh");
        self.byte(b'"');
        self.raw(encoding);
        self.number(length as u128);
        self.byte(b'"');
    }

    const fn unsigned(&mut self, bits: u32) {
        if bits == 128 {
            return self.text("u128");
        }
        self.string_member("type", "integer");
        self.number_member("minimum", 0);
        self.number_member("maximum", (1 << bits) - 1);
        self.sized("u", bits as usize);
    }

    const fn signed(&mut self, bits: u32) {
        if bits == 128 {
            return self.text("i128");
        }
        self.string_member("type", "integer");
        self.key("minimum");
        self.byte(b'-');
        self.number(1 << (bits - 1));
        self.number_member("maximum", (1 << (bits - 1)) - 1);
        self.sized("i", bits as usize);
    }

    const fn known(&mut self, known: Known) {
        match known {
            Known::Account => self.text("account"),
            Known::AppId => self.text("app_id"),
            Known::DeviceId => self.text("device_id"),
            Known::Hash => self.text("hash"),
            Known::Amount => self.text("amount"),
            Known::Height => self.count("height"),
            Known::Gas => self.count("gas"),
            Known::Timestamp => self.count("timestamp"),
        }
    }

    const fn count(&mut self, encoding: &str) {
        self.string_member("type", "integer");
        self.number_member("minimum", 0);
        self.string_member("x-borsh", encoding);
    }

    const fn structure(&mut self, name: &str, fields: &[FieldNode]) {
        self.string_member("type", "object");
        self.string_member("x-borsh", "struct");
        if !name.is_empty() {
            self.string_member("title", name);
        }
        self.key("properties");
        self.open(b'{');
        let mut index = 0;
        while index < fields.len() {
            self.key(fields[index].name);
            self.schema(fields[index].schema, fields[index].doc);
            index += 1;
        }
        self.close(b'}');
        self.names("required", fields, Listing::Required);
        self.names("x-fields", fields, Listing::All);
    }

    const fn names(&mut self, key: &str, fields: &[FieldNode], listing: Listing) {
        self.key(key);
        self.open(b'[');
        let mut index = 0;
        while index < fields.len() {
            let optional = matches!(fields[index].schema, TypeNode::Option(_));
            if !(optional && matches!(listing, Listing::Required)) {
                self.comma();
                self.string(fields[index].name);
            }
            index += 1;
        }
        self.close(b']');
    }

    const fn enumeration(&mut self, name: &str, variants: &[VariantNode]) {
        self.string_member("x-borsh", "enum");
        self.string_member("title", name);
        self.key("x-variants");
        self.open(b'[');
        let mut index = 0;
        while index < variants.len() {
            self.comma();
            self.open(b'{');
            self.string_member("name", variants[index].name);
            self.doc_member("doc", variants[index].doc);
            if let Some(fields) = variants[index].fields {
                self.schema_member("fields", fields);
            }
            self.close(b'}');
            index += 1;
        }
        self.close(b']');
    }
}

/// Which fields a list names.
#[derive(Clone, Copy)]
enum Listing {
    All,
    Required,
}

/// Says whether a method before this one has the same error. Two different errors with one number do not compile.
const fn seen(methods: &[MethodNode], until: usize, error: &ErrorNode) -> bool {
    let mut method = 0;
    while method < until {
        let errors = methods[method].errors;
        let mut index = 0;
        while index < errors.len() {
            if errors[index].code == error.code {
                assert!(
                    same(errors[index].name, error.name),
                    "two errors of this application have the same code: give one of them #[error(code = ..)]"
                );
                return true;
            }
            index += 1;
        }
        method += 1;
    }
    false
}

const fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}
