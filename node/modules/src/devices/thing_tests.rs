use super::*;
use serde_json::json;

fn machine() -> Value {
    json!({
        "@context": ["https://www.w3.org/2022/wot/td/v1.1", {"saref": "https://saref.etsi.org/core/"}],
        "@type": ["Thing", "Press"],
        "id": "urn:dev:ops:32473-press-1",
        "title": "Press 1",
        "version": {"instance": "1.0.0"},
        "securityDefinitions": {
            "none": {"scheme": "nosec"},
            "any": {"scheme": "combo", "oneOf": ["none"]}
        },
        "security": ["none"],
        "properties": {
            "temperature": {
                "type": "number", "unit": "degree celsius", "readOnly": true, "minimum": -40, "maximum": 200.5,
                "forms": [{"href": "mqtt://gateway/press-1/temperature", "op": ["readproperty"]}]
            },
            "limits": {"type": "object", "properties": {"high": {"type": "number"}}, "required": ["high"]}
        },
        "actions": {"stop": {"input": {"type": "string", "enum": ["now", "soon"]}, "safe": false}},
        "events": {"overheated": {"data": {"type": "array", "items": {"type": "number"}}}},
        "links": [{"href": "https://example.com/manual.pdf"}]
    })
}

#[test]
fn a_full_description_gives_what_the_registry_shows() {
    let thing = read(&machine().to_string()).unwrap();
    assert_eq!(thing.title, "Press 1");
    assert_eq!(thing.kind, "Press");
    assert_eq!(thing.capabilities, ["limits", "overheated", "stop", "temperature"]);
    let smallest = json!({
        "@context": "https://www.w3.org/2019/wot/td/v1", "title": "x",
        "securityDefinitions": {"n": {"scheme": "nosec"}}, "security": "n"
    });
    assert_eq!(read(&smallest.to_string()).unwrap().kind, "Thing");
}

/// Sets the value at a pointer of the full description, or removes it, and expects a refusal that names
/// `field`.
fn check(pointer: &str, value: Option<Value>, field: &str, problem: &str) {
    let mut document = machine();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(object), Some(value)) => drop(object.insert(name.into(), value)),
        (Value::Object(object), None) => assert!(object.remove(name).is_some(), "{pointer} must be there"),
        (Value::Array(array), Some(value)) => array[name.parse::<usize>().unwrap()] = value,
        (other, _) => panic!("{pointer} is not in an object but in {other}"),
    }
    match read(&document.to_string()) {
        Err(DeviceError::Description { pointer: found, problem: text }) => {
            assert_eq!(found, field, "{pointer}: {text}");
            assert!(text.contains(problem), "{pointer}: {text:?} should say {problem:?}");
        }
        other => panic!("{pointer}: expected a refusal, got {other:?}"),
    }
}

#[test]
fn the_field_that_is_wrong_is_named() {
    let set =
        |pointer: &str, value: Value, field: &str, problem: &str| check(pointer, Some(value), field, problem);
    check("/@context", None, "/@context", "is missing");
    set("/@context", json!("https://example.com"), "/@context", "td/v1.1");
    set("/@context", json!([]), "/@context", "td/v1.1");
    check("/title", None, "/title", "is missing");
    set("/title", json!(7), "/title", "expected a string, got a number");
    set("/title", json!("a\u{0}b"), "/title", "control character");
    set("/title", json!("x".repeat(65)), "/title", "at most 64");
    set("/@type", json!(["Press", 4]), "/@type/1", "expected a string");
    check("/securityDefinitions", None, "/securityDefinitions", "is missing");
    set("/securityDefinitions", json!({}), "/securityDefinitions", "is empty");
    check("/securityDefinitions/none/scheme", None, "/securityDefinitions/none/scheme", "is missing");
    set("/securityDefinitions/any/oneOf/0", json!("no"), "/securityDefinitions/any/oneOf/0", "\"no\"");
    check("/securityDefinitions/any/oneOf", None, "/securityDefinitions/any", "oneOf or allOf");
    check("/security", None, "/security", "is missing");
    set("/security", json!([]), "/security", "is empty");
    set("/security", json!("basic"), "/security", "\"basic\" is not in securityDefinitions");
    set("/properties", json!([]), "/properties", "expected an object, got an array");
    set("/properties/temperature", json!(1), "/properties/temperature", "expected an object");
    set("/properties/temperature/type", json!("float"), "/properties/temperature/type", "got \"float\"");
    set("/properties/temperature/type", json!(1), "/properties/temperature/type", "expected a string");
    set("/properties/temperature/writeOnly", json!(true), "/properties/temperature", "both readOnly");
    set(
        "/properties/temperature/readOnly",
        json!("yes"),
        "/properties/temperature/readOnly",
        "true or false",
    );
    set("/properties/temperature/minimum", json!("low"), "/properties/temperature/minimum", "a number");
    set("/properties/temperature/forms", json!([]), "/properties/temperature/forms", "is empty");
    set("/properties/temperature/forms/0", json!({}), "/properties/temperature/forms/0/href", "is missing");
    set(
        "/properties/temperature/forms/0/op",
        json!(["invokeaction"]),
        "/properties/temperature/forms/0/op/0",
        "expected one of readproperty",
    );
    set(
        "/properties/limits/properties/high",
        json!({"type": 1}),
        "/properties/limits/properties/high/type",
        "",
    );
    set("/properties/a~1b", json!(null), "/properties/a~01b", "expected an object");
    set("/actions/stop/input/enum", json!([]), "/actions/stop/input/enum", "is empty");
    set("/actions/stop/safe", json!(0), "/actions/stop/safe", "true or false");
    set("/events/overheated/data", json!("x"), "/events/overheated/data", "expected an object");
    set("/links/0", json!({}), "/links/0/href", "is missing");
    set("/version", json!({}), "/version/instance", "is missing");
    let many: Map<String, Value> = (0..40).map(|n| (format!("p{n}"), json!({}))).collect();
    set("/properties", many.into(), "", "at most 32");
    set("/events", json!({"a\u{1}": {}}), "/events/a\u{1}", "its name contains a control character");
}

#[test]
fn what_is_no_object_is_refused_at_the_root() {
    let deep = "[".repeat(200);
    let large = format!("{{\"title\": \"{}\"}}", "x".repeat(limits::THING_DESCRIPTION_BYTES_MAX));
    let cases = [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[]", "is an array"),
        ("{} {}", "is not JSON"),
        (&deep, "is not JSON"),
        (&large, "at most 16384"),
    ];
    for (text, problem) in cases {
        let error = read(text).unwrap_err();
        assert!(error.to_string().contains("the document"), "{error}");
        assert!(error.to_string().contains(problem), "{error} should say {problem:?}");
    }
}
