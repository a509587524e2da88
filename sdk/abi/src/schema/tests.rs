use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use borsh::BorshSerialize;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{AccountId, Amount};

/// Reads a type from its JSON, through the parser that packages go through.
fn type_of(schema: Value) -> TypeSchema {
    let app = json!({"abi": 1, "name": "T", "events": [{"topic": "t", "schema": schema}]});
    let app = AppSchema::parse(app.to_string().as_bytes()).unwrap();
    app.events[0].schema.clone()
}

fn refusal(app: Value) -> String {
    AppSchema::parse(app.to_string().as_bytes()).unwrap_err().to_string()
}

fn method(params: Value) -> Method {
    let app = json!({"abi": 1, "name": "T", "methods": [
        {"name": "m", "kind": "call", "params": params, "returns": {"x-borsh": "unit"}}
    ]});
    AppSchema::parse(app.to_string().as_bytes()).unwrap().methods[0].clone()
}

fn pair() -> Value {
    json!({"type": "object", "x-borsh": "struct", "title": "Pair", "x-fields": ["b", "a"],
        "properties": {"a": {"x-borsh": "u8"}, "b": {"x-borsh": "option", "x-inner": {"x-borsh": "string"}}}})
}

fn choice() -> Value {
    json!({"x-borsh": "enum", "title": "Choice", "x-variants": [
        {"name": "None"}, {"name": "One", "fields": {"x-borsh": "u16"}}, {"name": "Two", "fields": pair()}]})
}

#[test]
fn values_are_encoded_as_borsh_does_it() {
    fn check(schema: Value, value: Value, expected: &impl BorshSerialize) {
        let schema = type_of(schema);
        let bytes = schema.encode(&value, "x").unwrap();
        assert_eq!(bytes, borsh::to_vec(expected).unwrap(), "{schema} {value}");
        assert_eq!(schema.decode(&bytes).unwrap(), value, "{schema}");
    }
    let borsh = |name: &str| json!({"x-borsh": name});
    check(borsh("unit"), json!(null), &());
    check(borsh("bool"), json!(true), &true);
    check(borsh("u64"), json!(u64::MAX), &u64::MAX);
    check(borsh("i16"), json!(-2), &-2i16);
    check(borsh("i64"), json!(i64::MIN), &i64::MIN);
    check(borsh("u128"), json!(u128::MAX.to_string()), &u128::MAX);
    check(borsh("i128"), json!(i128::MIN.to_string()), &i128::MIN);
    check(borsh("amount"), json!("12"), &Amount::new(12));
    check(borsh("string"), json!("größe"), &"größe");
    check(borsh("bytes"), json!("0x00ff"), &vec![0u8, 255]);
    check(borsh("bytesN:2"), json!("0x00ff"), &[0u8, 255]);
    check(borsh("timestamp"), json!(5), &5u64);
    let account = AccountId::new([7; 20]);
    check(borsh("account"), json!(account), &account);
    check(json!({"x-borsh": "vec", "items": {"x-borsh": "u16"}}), json!([1, 2]), &vec![1u16, 2]);
    check(json!({"x-borsh": "array:2", "items": {"x-borsh": "u16"}}), json!([1, 2]), &[1u16, 2]);
    check(
        json!({"x-borsh": "tuple", "prefixItems": [{"x-borsh": "u8"}, {"x-borsh": "bool"}]}),
        json!([1, false]),
        &(1u8, false),
    );
    check(pair(), json!({"b": "x", "a": 1}), &(Some("x"), 1u8));
    check(choice(), json!("None"), &0u8);
    check(choice(), json!({"One": 5}), &(1u8, 5u16));
    check(choice(), json!({"Two": {"b": null, "a": 9}}), &(2u8, None::<String>, 9u8));
    let nested = json!({"x-borsh": "option", "x-inner": {"x-borsh": "option", "x-inner": {"x-borsh": "u8"}}});
    check(nested.clone(), json!(null), &None::<Option<u8>>);
    check(nested.clone(), json!({"Some": null}), &Some(None::<u8>));
    check(nested, json!({"Some": 3}), &Some(Some(3u8)));
}

#[test]
fn maps_are_encoded_in_the_order_of_their_keys() {
    let map = |key: &str| {
        type_of(json!({"x-borsh": "map", "x-key": {"x-borsh": key}, "x-value": {"x-borsh": "u8"}}))
    };
    let signed = alloc::collections::BTreeMap::from([(-300i32, 1u8), (-1, 2), (0, 3), (258, 4)]);
    let value = json!({"258": 4, "-1": 2, "0": 3, "-300": 1});
    let bytes = map("i32").encode(&value, "x").unwrap();
    assert_eq!(bytes, borsh::to_vec(&signed).unwrap());
    assert_eq!(map("i32").decode(&bytes).unwrap(), value);
    let texts = alloc::collections::BTreeMap::from([("aaa".to_string(), 1u8), ("b".to_string(), 2)]);
    assert_eq!(
        map("string").encode(&json!({"b": 2, "aaa": 1}), "x").unwrap(),
        borsh::to_vec(&texts).unwrap()
    );
    let error = map("u32").encode(&json!({"1": 1, "0_1": 1}), "x").unwrap_err();
    assert_eq!(error.to_string(), "a key of `x` is given twice");
}

#[test]
fn a_wrong_value_is_named_with_what_was_expected() {
    fn check(params: Value, arguments: Value, expected: &str) {
        assert_eq!(method(params).encode_arguments(&arguments).unwrap_err().to_string(), expected);
    }
    let by = |name: &str| json!([{"name": "by", "schema": {"x-borsh": name}}]);
    check(
        by("u64"),
        json!({"by": "two"}),
        "argument `by`: expected a whole number from 0 to 18446744073709551615, got \"two\"",
    );
    check(by("u8"), json!({"by": 256}), "argument `by`: expected a whole number from 0 to 255, got 256");
    check(by("u8"), json!({"by": 1.5}), "argument `by`: expected a whole number from 0 to 255, got 1.5");
    check(by("i8"), json!({"by": -129}), "argument `by`: expected a whole number from -128 to 127, got -129");
    check(by("u8"), json!({}), "argument `by` is missing: expected a whole number from 0 to 255");
    check(by("u8"), json!({"by": 1, "to": 2}), "argument `to` is unknown; expected `by`");
    check(by("u8"), json!([1, 2]), "got 2 arguments; `m` takes 1: m(by: u8)");
    check(
        by("bytesN:2"),
        json!(["0x01"]),
        "argument `by`: expected 2 bytes as 0x and 4 hexadecimal digits, got \"0x01\"",
    );
    check(
        by("account"),
        json!(["0x12"]),
        "argument `by`: expected an account: 0x and 40 hexadecimal digits, got \"0x12\" \
         (account has 4 characters; expected 0x and 40 hexadecimal digits)",
    );
    let order = json!([{"name": "order", "schema": {"x-borsh": "vec", "items": pair()}}]);
    check(
        order.clone(),
        json!({"order": [{"a": 1}, {"a": "x"}]}),
        "argument `order[1].a`: expected a whole number from 0 to 255, got \"x\"",
    );
    check(order.clone(), json!([[{"a": 1, "c": 1}]]), "argument `order[0].c` is unknown; expected `b`, `a`");
    check(
        order,
        json!([[{"b": "y"}]]),
        "argument `order[0].a` is missing: expected a whole number from 0 to 255",
    );
    let which = json!([{"name": "which", "schema": choice()}]);
    check(
        which.clone(),
        json!(["Three"]),
        "argument `which`: expected one of `None`, `One`, `Two`, got \"Three\"",
    );
    check(
        which,
        json!([{"None": 1}]),
        "argument `which.None`: expected nothing, because this variant has no fields, got 1",
    );
}

#[test]
fn flags_are_read_by_type() {
    let method = method(json!([
        {"name": "count_max", "schema": {"x-borsh": "u64"}},
        {"name": "name", "schema": {"x-borsh": "option", "x-inner": {"x-borsh": "string"}}},
        {"name": "on", "schema": {"x-borsh": "bool"}},
        {"name": "list", "schema": {"x-borsh": "vec", "items": {"x-borsh": "i8"}}},
        {"name": "which", "schema": choice()},
    ]));
    let flags = [("count-max", "2"), ("on", "true"), ("list", "[-1, 2]"), ("which", "None"), ("name", "12")];
    let expected = (2u64, Some("12"), true, vec![-1i8, 2], 0u8);
    assert_eq!(method.encode_flags(&flags).unwrap(), borsh::to_vec(&expected).unwrap());
    let check = |name, text, expected: &str| {
        assert_eq!(method.encode_flags(&[(name, text)]).unwrap_err().to_string(), expected);
    };
    check(
        "count-max",
        "-1",
        "argument `count_max`: expected a whole number from 0 to 18446744073709551615, got \"-1\"",
    );
    check("size", "1", "argument `size` is unknown; expected `count_max`, `name`, `on`, `list`, `which`");
    let error = method.encode_flags(&[("list", "1,2")]).unwrap_err().to_string();
    assert!(error.starts_with("argument `list`: expected an array of i8 as JSON, got \"1,2\" ("), "{error}");
    let twice = method.encode_flags(&[("on", "true"), ("on", "true")]).unwrap_err();
    assert_eq!(twice.to_string(), "argument `on` is given twice");
}

#[test]
fn methods_are_found_by_kind() {
    let app = json!({"abi": 1, "name": "T", "methods": [
        {"name": "add", "kind": "call", "returns": {"x-borsh": "unit"}},
        {"name": "sum", "kind": "query", "returns": {"x-borsh": "unit"}}]});
    let app = AppSchema::parse(app.to_string().as_bytes()).unwrap();
    assert_eq!(app.call("add").unwrap().to_string(), "add()");
    assert_eq!(app.call("sum").unwrap_err().to_string(), "no call named `sum` (it is a query); it has `add`");
    assert_eq!(app.query("total").unwrap_err().to_string(), "no query named `total`; it has `sum`");
    assert!(app.init().is_none());
}

#[test]
fn malformed_schemas_are_refused_with_the_place() {
    let with = |schema: Value| json!({"abi": 1, "name": "T", "events": [{"topic": "t", "schema": schema}]});
    let check = |app: Value, expected: &str| {
        assert_eq!(refusal(app), format!("the schema is malformed at {expected}"))
    };
    check(json!({"abi": 2, "name": "T"}), "abi: expected 1");
    check(
        json!({"abi": 1, "name": "\u{1b}[31m"}),
        "name: expected 1 to 128 letters, digits, '_', '-' and '.'",
    );
    check(json!({"abi": 1, "name": "T", "methods": 1}), "methods: expected an array");
    check(with(json!({})), "events[0].schema.x-borsh: expected a text");
    check(with(json!({"x-borsh": "f64"})), "events[0].schema.x-borsh: expected an encoding of ABI version 1");
    check(with(json!({"x-borsh": "vec"})), "events[0].schema.items: expected a schema");
    check(
        with(json!({"x-borsh": "enum", "x-variants": []})),
        "events[0].schema.x-variants: expected 1 to 256 variants",
    );
    let mut twice = pair();
    twice["x-fields"] = json!(["a", "a"]);
    check(with(twice), "events[0].schema.x-fields: expected each name once");
    let mut deep = json!({"x-borsh": "u8"});
    for _ in 0..SCHEMA_DEPTH_MAX {
        deep = json!({"x-borsh": "option", "x-inner": deep});
    }
    assert!(refusal(with(deep)).ends_with("expected at most 32 types inside each other"));
    let large = vec![b' '; SCHEMA_BYTES_MAX + 1];
    assert!(matches!(AppSchema::parse(&large), Err(SchemaError::SchemaTooLarge { .. })));
    assert!(matches!(AppSchema::parse(&vec![b'['; 100_000]), Err(SchemaError::SchemaNotJson { .. })));
}

#[test]
fn a_few_bytes_cannot_stand_for_much_json() {
    // Four bytes of length, four thousand million values of no bytes.
    let units = type_of(json!({"x-borsh": "vec", "items": {"x-borsh": "unit"}}));
    assert!(matches!(units.decode(&[0xff; 4]), Err(SchemaError::DecodedTooLarge { .. })));
    // Values of one answer share what may be made.
    let mut budget = 10_000;
    let hundred = 100u32.to_le_bytes();
    assert!(units.decode_within(&hundred, &mut budget).is_ok() && budget < 10_000 - 100 * 32);
    while units.decode_within(&hundred, &mut budget).is_ok() {}
    assert!(budget < 100 * 32);
    let mut grid = json!({"x-borsh": "unit"});
    for _ in 0..4 {
        grid = json!({"x-borsh": "array:262144", "items": grid});
    }
    assert!(matches!(type_of(grid).decode(&[]), Err(SchemaError::DecodedTooLarge { .. })));
    // A forged length allocates nothing and is refused at the first missing byte.
    let bytes = type_of(json!({"x-borsh": "bytes"}));
    assert!(matches!(bytes.decode(&[0xff; 4]), Err(SchemaError::Bytes { .. })));
    let trailing = bytes.decode(&[0, 0, 0, 0, 1]).unwrap_err();
    assert_eq!(trailing.to_string(), "`value`: 1 bytes are left after the value");
}

#[test]
fn arguments_larger_than_the_input_of_a_call_are_refused() {
    let method = method(json!([{"name": "text", "schema": {"x-borsh": "string"}}]));
    let fits = "x".repeat(crate::limits::INPUT_BYTES_MAX - 4);
    assert!(method.encode_arguments(&json!([fits])).is_ok());
    let error = method.encode_arguments(&json!([format!("{fits}x")])).unwrap_err();
    assert_eq!(error.to_string(), "argument `text`: the encoded value has more than 262144 bytes");
}

/// A module of three sections; the schema's is the last.
fn module(name: &str, content: &[u8]) -> Vec<u8> {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    wasm.extend_from_slice(&[0, 5, 4, b'n', b'a', b'm', b'e']);
    wasm.extend_from_slice(&[1, 1, 0]);
    let length = 1 + name.len() + content.len();
    wasm.extend_from_slice(&[0, (length & 0x7f) as u8 | 0x80, (length >> 7) as u8, name.len() as u8]);
    wasm.extend_from_slice(name.as_bytes());
    wasm.extend_from_slice(content);
    wasm
}

#[test]
fn the_section_is_found_and_truncation_is_not_followed() {
    let json = br#"{"abi":1,"name":"Counter"}"#;
    let wasm = module("purlin.schema", json);
    assert_eq!(section(&wasm), Some(&json[..]));
    assert_eq!(AppSchema::from_wasm(&wasm).unwrap().unwrap().name, "Counter");
    assert_eq!(section(&module("purlin.other", json)), None);
    for end in 0..wasm.len() {
        assert_eq!(section(&wasm[..end]), None, "cut at {end}");
    }
    // A length of more than 32 bits.
    assert_eq!(section(b"\0asm\x01\0\0\0\0\xff\xff\xff\xff\xff\x01"), None);
}

#[test]
fn storage_keys_find_their_field() {
    let app = json!({"abi": 1, "name": "T", "state": [
        {"name": "count", "kind": "item", "value": {"x-borsh": "u8"}},
        {"name": "counts", "kind": "map", "key": {"x-borsh": "u8"}, "value": {"x-borsh": "u8"}}]});
    let app = AppSchema::parse(app.to_string().as_bytes()).unwrap();
    let name = |key: &[u8]| app.state_field(key).map(|field| field.name.as_str());
    assert_eq!(name(b"count"), Some("count"));
    assert_eq!(name(b"counts:\x01"), Some("counts"));
    assert_eq!(name(b"counts"), None);
    assert_eq!(name(b"other"), None);
}

/// Types of every shape, with a value of each.
fn typed_value() -> impl Strategy<Value = (TypeSchema, Value)> {
    let plain = prop_oneof![
        Just((Shape::Unit, Value::Null)),
        any::<bool>().prop_map(|v| (Shape::Bool, json!(v))),
        any::<u64>().prop_map(|v| (Shape::Unsigned(64), json!(v))),
        any::<u8>().prop_map(|v| (Shape::Unsigned(8), json!(v))),
        any::<i32>().prop_map(|v| (Shape::Signed(32), json!(v))),
        any::<i64>().prop_map(|v| (Shape::Signed(64), json!(v))),
        any::<u128>().prop_map(|v| (Shape::Unsigned(128), json!(v.to_string()))),
        any::<i128>().prop_map(|v| (Shape::Signed(128), json!(v.to_string()))),
        any::<String>().prop_map(|v| (Shape::String, json!(v))),
        any::<[u8; 20]>().prop_map(|v| (Shape::Account, json!(AccountId::new(v)))),
        "[a-z][a-z0-9-]{1,20}".prop_map(|v| (Shape::AppId, json!(v))),
    ];
    let plain = plain.prop_map(|(shape, value)| (TypeSchema::new(shape), value));
    plain.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            (inner.clone(), any::<bool>()).prop_map(|((schema, value), some)| {
                let value = match (some, schema.is_nullable()) {
                    (false, _) => Value::Null,
                    (true, true) => json!({"Some": value}),
                    (true, false) => value,
                };
                (TypeSchema::new(Shape::Option(Box::new(schema))), value)
            }),
            (inner.clone(), 0..4usize).prop_map(|((schema, value), count)| {
                (TypeSchema::new(Shape::Vec(Box::new(schema))), json!(vec![value; count]))
            }),
            prop::collection::vec(inner.clone(), 0..4).prop_map(|parts| {
                let (types, values): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
                (TypeSchema::new(Shape::Tuple(types)), json!(values))
            }),
            prop::collection::vec(inner.clone(), 0..4).prop_map(|parts| {
                let mut object = serde_json::Map::new();
                let mut fields = Vec::new();
                for (index, (schema, value)) in parts.into_iter().enumerate() {
                    object.insert(format!("f{index}"), value);
                    fields.push(Field { name: format!("f{index}"), schema });
                }
                (TypeSchema::new(Shape::Struct { name: String::new(), fields }), Value::Object(object))
            }),
            inner.prop_map(|(schema, value)| {
                let variant = |name: &str, fields| Variant { name: name.into(), doc: String::new(), fields };
                let variants = vec![variant("A", None), variant("B", Some(schema))];
                (TypeSchema::new(Shape::Enum { name: String::new(), variants }), json!({"B": value}))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself((schema, value) in typed_value()) {
        let bytes = schema.encode(&value, "x").unwrap();
        prop_assert_eq!(schema.decode(&bytes).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused((schema, _) in typed_value(), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(value) = schema.decode(&bytes) {
            prop_assert_eq!(schema.encode(&value, "x").unwrap(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_a_schema_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
        let _ = AppSchema::parse(&bytes);
        let _ = AppSchema::from_wasm(&bytes);
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        wasm.extend_from_slice(&bytes);
        let _ = section(&wasm);
    }
}
