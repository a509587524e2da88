//! Every way in which a manifest is refused, and what the message says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use purlin_abi::{Placement, limits};
use purlin_package::{ManifestError, PackageBuilder, PackageError, parse_manifest, permissions};
use support::*;

/// Adds fields to an acceptable manifest.
fn with(fields: &str) -> String {
    MANIFEST.replace('}', &format!(", {fields}}}"))
}

/// Replaces text in an acceptable manifest.
fn replaced(from: &str, to: &str) -> String {
    assert!(MANIFEST.contains(from), "{from} is not in the manifest");
    MANIFEST.replace(from, to)
}

/// Parses a manifest that must be refused with a message that has all of these parts.
#[track_caller]
fn check(json: impl AsRef<[u8]>, parts: &[&str]) {
    let shown = String::from_utf8_lossy(json.as_ref()).into_owned();
    let error = parse_manifest(json.as_ref()).expect_err(&shown);
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}, for {shown:.200}");
    }
    assert!(!message.contains('\n') && message.len() < 400, "{message:?} is not one readable line");
}

#[test]
fn the_smallest_and_the_largest_manifest_are_read() {
    let manifest = parse_manifest(MANIFEST.as_bytes()).unwrap();
    assert_eq!(manifest.limits.memory_pages, limits::MEMORY_PAGES_DEFAULT);
    assert_eq!(manifest.placement, Placement::Chain);
    assert!(!manifest.auto_start && manifest.permissions.is_empty() && manifest.files.is_empty());

    let full = with(
        r#""description": "D", "author": "A", "license": "MIT", "placement": "edge",
           "permissions": ["storage", "events", "accounts", "apps", "devices", "crypto"],
           "dependencies": [{"id": "token", "version": "^1.2"}, {"id": "other", "version": "*", "optional": true}],
           "auto_start": true, "limits": {"memory_pages": 2, "gas_per_call": 3, "storage_bytes": 0},
           "files": {"ui/x": "0x00000000000000000000000000000000000000000000000000000000000000ff"}"#,
    );
    let manifest = parse_manifest(full.as_bytes()).unwrap();
    assert_eq!(manifest.permissions, permissions());
    assert_eq!(manifest.placement, Placement::Edge, "where it may run is another check than reading");
    assert_eq!(
        (manifest.limits.memory_pages, manifest.limits.gas_per_call, manifest.limits.storage_bytes),
        (2, 3, 0)
    );
    assert!(manifest.dependencies[1].optional && !manifest.dependencies[0].optional);
    assert_eq!(manifest.files["ui/x"].as_bytes()[31], 0xff);
    let again = serde_json::to_vec(&manifest).unwrap();
    assert_eq!(parse_manifest(&again).unwrap(), manifest, "what serde writes is read back");
}

#[test]
fn json_itself_is_strict() {
    check("", &["not JSON", "line 1"]);
    check("{", &["not JSON"]);
    check([MANIFEST, "x"].concat(), &["not JSON", "trailing"]);
    check(b"{\"id\": \"\xff\"}", &["not JSON"]);
    check("[".repeat(100_000), &["not JSON", "recursion"]);
    check("[]", &["`manifest.json` is an array", "an object"]);
    check("null", &["is null", "an object"]);
    check(with(r#""id": "hello""#), &["\"id\" twice"]);
    check(with(r#""limits": {"memory_pages": 1, "memory_pages": 2}"#), &["\"memory_pages\" twice"]);
    check(with(r#""files": {"README.md": "00", "README.md": "00"}"#), &["\"README.md\" twice"]);
    check(vec![b' '; limits::MANIFEST_BYTES_MAX + 1], &["262145 bytes", "262144"]);
}

#[test]
fn unknown_fields_are_refused_with_the_nearest_known_name() {
    check(with(r#""permisions": []"#), &["unknown field \"permisions\"", "did you mean \"permissions\"?"]);
    check(with(r#""dependancies": []"#), &["did you mean \"dependencies\"?"]);
    check(with(r#""AUTO_START": true"#), &["did you mean \"auto_start\"?"]);
    check(with(r#""limits": {"memory_page": 1}"#), &["\"limits.memory_page\"", "\"memory_pages\"?"]);
    check(
        with(r#""dependencies": [{"id": "token", "version": "1", "optinal": true}]"#),
        &["\"dependencies[0].optinal\"", "\"optional\"?"],
    );
    let error = parse_manifest(with(r#""zzzzzzzz": 1"#).as_bytes()).unwrap_err();
    assert_eq!(error, ManifestError::UnknownField { field: "zzzzzzzz".into(), nearest: None });
    check(with(&format!("\"{}\": 1", "x".repeat(100_000))), &["unknown field \"xxx", "\"..."]);
    check(with("\"\\u001b[31m\": 1"), &["unknown field \"\\u{1b}[31m\""]);
}

#[test]
fn missing_fields_are_named_with_an_example() {
    check(replaced("\"id\": \"hello\", ", ""), &["`id` is missing", "energy-market"]);
    check(replaced("\"name\": \"Hello\", ", ""), &["`name` is missing", "Energy market"]);
    check(replaced("\"version\": \"1.0.0\", ", ""), &["`version` is missing", "1.0.0"]);
    check(replaced(", \"abi\": 1", ""), &["`abi` is missing", "\"abi\": 1"]);
    check(with(r#""dependencies": [{"id": "token"}]"#), &["`dependencies[0].version` is missing", "^1.2"]);
    check(with(r#""dependencies": [{"version": "1"}]"#), &["`dependencies[0].id` is missing"]);
}

#[test]
fn wrong_types_say_what_is_there() {
    check(replaced("\"Hello\"", "7"), &["`name` is the number 7", "a string"]);
    check(replaced("\"hello\"", "null"), &["`id` is null", "a string"]);
    check(replaced("\"abi\": 1", "\"abi\": \"1\""), &["`abi` is the string \"1\"", "a whole number"]);
    check(replaced("\"abi\": 1", "\"abi\": 1.0"), &["`abi` is the number 1.0", "a whole number"]);
    check(with(r#""auto_start": "yes""#), &["`auto_start` is the string \"yes\"", "true or false"]);
    check(with(r#""permissions": "storage""#), &["`permissions` is the string", "an array"]);
    check(with(r#""permissions": [7]"#), &["`permissions[0]` is the number 7"]);
    check(with(r#""limits": 7"#), &["`limits` is the number 7", "an object"]);
    check(with(r#""dependencies": ["token"]"#), &["`dependencies[0]` is the string \"token\"", "an object"]);
    check(with(r#""files": []"#), &["`files` is an array", "an object"]);
    check(with(r#""files": {"ui/x": 1}"#), &["`files.ui/x` is the number 1"]);
    check(with(r#""limits": {"memory_pages": -1}"#), &["`limits.memory_pages` is the number -1"]);
}

#[test]
fn texts_are_bounded_and_harmless_to_terminals() {
    check(replaced("\"Hello\"", "\"\""), &["`name` has 0 bytes", "1 to 100"]);
    check(replaced("Hello", &"x".repeat(101)), &["`name` has 101 bytes"]);
    check(with(&format!("\"description\": \"{}\"", "x".repeat(1_001))), &["`description` has 1001 bytes"]);
    check(replaced("Hello", "\\u001b[2J"), &["`name`", "control character", "u{1b}"]);
}

#[test]
fn ids_and_versions_are_checked() {
    check(replaced("\"hello\"", "\"Hello\""), &["`id` is \"Hello\"", "'H' at position 0", "a-z"]);
    check(replaced("\"hello\"", "\"h\""), &["`id` is \"h\"", "1 characters"]);
    check(replaced("\"hello\"", "\"../../etc\""), &["`id`", "'.' at position 0"]);
    for bad in ["1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "", "latest", "99999999999999999999.0.0"] {
        check(replaced("1.0.0", bad), &["`version`"]);
    }
    check(replaced("1.0.0", "1.0"), &["`version` is \"1.0\"", "semantic version", "MAJOR.MINOR.PATCH"]);
    check(replaced("1.0.0", "1.0.0+build.7"), &["build metadata"]);
    assert!(parse_manifest(replaced("1.0.0", "1.0.0-beta.1").as_bytes()).is_ok());
}

#[test]
fn the_abi_must_be_ours() {
    check(replaced("\"abi\": 1", "\"abi\": 2"), &["`abi` is 2", "runs ABI 1", "purlin-sdk"]);
    check(replaced("\"abi\": 1", "\"abi\": 0"), &["`abi` is 0"]);
    check(replaced("\"abi\": 1", "\"abi\": 4294967297"), &["`abi` is 4294967297"]);
    // Before anything else: a later version may have other fields, but their names stay refused.
    let error = parse_manifest(br#"{"abi": 2}"#).unwrap_err();
    assert_eq!(error, ManifestError::WrongAbi { found: 2, expected: 1 });
}

#[test]
fn permissions_are_known_and_named_once() {
    check(
        with(r#""permissions": ["storage", "event"]"#),
        &[
            "`permissions[1]` is \"event\"",
            "storage, events, accounts, apps, devices, crypto",
            "mean \"events\"?",
        ],
    );
    check(with(r#""permissions": ["purlin.storage.v1"]"#), &["did you mean \"storage\"?"]);
    check(with(r#""permissions": ["network"]"#), &["no permission"]);
    check(with(r#""permissions": ["core"]"#), &["every application has"]);
    check(with(r#""permissions": ["apps", "storage", "apps"]"#), &["`permissions[2]`", "\"apps\" again"]);
    check(with(r#""placement": "edg""#), &["`placement` is \"edg\"", "did you mean \"edge\"?"]);
}

#[test]
fn dependencies_are_checked() {
    let on = |id: &str, version: &str| {
        with(&format!(r#""dependencies": [{{"id": "{id}", "version": "{version}"}}]"#))
    };
    check(on("Token", "1"), &["`dependencies[0].id` is \"Token\""]);
    check(on("token", "one"), &["`dependencies[0].version` is \"one\"", "version requirement", "^1.2"]);
    check(on("token", ""), &["`dependencies[0].version`"]);
    check(on("hello", "1"), &["`dependencies[0].id` is \"hello\", the application itself"]);
    check(
        with(r#""dependencies": [{"id": "token", "version": "1"}, {"id": "token", "version": "2"}]"#),
        &["`dependencies[1].id` is \"token\" again"],
    );
    let many: Vec<String> =
        (0..=limits::DEPENDENCIES_MAX).map(|n| format!(r#"{{"id": "app-{n}", "version": "1"}}"#)).collect();
    check(with(&format!("\"dependencies\": [{}]", many.join(","))), &["33 entries", "at most 32"]);
}

#[test]
fn limits_are_within_the_protocol_caps() {
    check(with(r#""limits": {"memory_pages": 0}"#), &["`limits.memory_pages` is 0", "1 to 256"]);
    check(with(r#""limits": {"memory_pages": 257}"#), &["`limits.memory_pages` is 257", "1 to 256"]);
    check(with(r#""limits": {"memory_pages": 4294967297}"#), &["4294967297", "1 to 256"]);
    check(with(r#""limits": {"gas_per_call": 0}"#), &["`limits.gas_per_call` is 0"]);
    check(
        with(r#""limits": {"storage_bytes": 17179869185}"#),
        &["`limits.storage_bytes`", "0 to 17179869184"],
    );
}

#[test]
fn files_are_checked() {
    let listing = |path: &str, hash: &str| with(&format!(r#""files": {{"{path}": "{hash}"}}"#));
    let hash = "0".repeat(64);
    check(listing("../x", &hash), &["`files`", "\"..\""]);
    check(listing("/x", &hash), &["`files`", "absolute"]);
    check(listing("src/lib.rs", &hash), &["`files`", "no place"]);
    check(listing("manifest.json", &hash), &["\"manifest.json\"", "depends on the manifest itself"]);
    check(listing("manifest.sig", &hash), &["\"manifest.sig\"", "depends on the manifest itself"]);
    check(listing("ui/x", "abc"), &["`files.ui/x` is \"abc\"", "SHA-256", "64 hexadecimal digits"]);
    check(listing("ui/x", &"g".repeat(64)), &["`files.ui/x`", "'g'"]);
    let many: Vec<String> =
        (0..=limits::PACKAGE_ENTRIES_MAX).map(|n| format!("\"ui/{n}\": \"{hash}\"")).collect();
    check(with(&format!("\"files\": {{{}}}", many.join(","))), &["1001 entries", "at most 1000"]);
}

#[test]
fn an_edge_application_is_read_but_not_installable() {
    let mut builder = PackageBuilder::new(with(r#""placement": "edge""#).as_bytes()).unwrap();
    let bytes = builder.file("contract.wasm", wat(MODULE)).unwrap().build().unwrap();
    let package = purlin_package::Package::read(&bytes).unwrap();
    let error = package.check_installable().unwrap_err();
    assert_eq!(error, PackageError::EdgePlacement);
    assert!(error.to_string().contains("\"chain\" applications only"), "{error}");
}
