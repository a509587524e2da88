//! Every way in which a module is refused. Modules are written as text, so that each case shows its reason.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use purlin_abi::schema::MethodKind;
use purlin_abi::{Manifest, limits};
use purlin_package::{ModuleFacts, UngrantedImport, WasmError, check_wasm};
use support::*;

/// What every module here has.
const BASE: &str = r#"(memory (export "memory") 1) (func (export "run"))"#;

fn facts_of(text: &str, manifest: &Manifest) -> Result<ModuleFacts, WasmError> {
    check_wasm(&wat(text), manifest)
}

fn granting(permissions: &[&str]) -> Manifest {
    manifest_with(|manifest| {
        manifest.permissions = permissions.iter().map(|permission| (*permission).to_owned()).collect();
    })
}

/// Checks a module that must be refused with this error, and what its message says.
#[track_caller]
fn check(text: &str, expected: WasmError, message: &str) {
    let error = facts_of(text, &granting(&["storage"])).expect_err(text);
    assert_eq!(error, expected, "{text:.300}");
    let shown = error.to_string();
    assert!(shown.contains(message), "{shown:?} does not say {message:?}");
    assert!(!shown.contains('\n') && shown.len() < 500, "{shown:?} is not one readable line");
}

/// Checks that a module is refused because of this feature alone, by name.
#[track_caller]
fn check_excluded(feature: &str, module: &str) {
    match facts_of(module, &granting(&[])) {
        Err(WasmError::ExcludedFeature { features, .. }) => assert_eq!(features, [feature], "{module}"),
        other => panic!("expected {feature} to be the reason, got {other:?} for {module}"),
    }
}

/// Repeats a declaration.
fn many(count: u32, declaration: impl Fn(u32) -> String) -> String {
    (0..count).map(declaration).collect()
}

#[test]
fn facts_of_an_acceptable_module() {
    let text = r#"(module
        (import "purlin.core.v1" "output" (func (param i32 i32)))
        (import "purlin.storage.v1" "get" (func (param i32 i32 i32 i32) (result i32)))
        (import "purlin.core.v1" "block_height" (func (result i64)))
        (memory (export "memory") 2 64)
        (table (export "__indirect_function_table") 1 1 funcref)
        (global (export "__heap_base") i32 (i32.const 1024))
        (global $depth (mut i32) (i32.const 0))
        (func $method)
        (export "initialize" (func $method)) (export "migrate" (func $method)) (export "stop" (func $method))
        (export "transfer" (func $method)) (export "approve" (func $method))
        (export "query_balance" (func $method)) (export "query_a" (func $method)))"#;
    let facts = facts_of(text, &granting(&["storage"])).unwrap();
    assert_eq!(
        facts,
        ModuleFacts {
            calls: vec!["approve".into(), "transfer".into()],
            queries: vec!["a".into(), "balance".into()],
            initialize: true,
            migrate: true,
            stop: true,
            capabilities: vec!["purlin.core.v1", "purlin.storage.v1"],
            functions: 1,
            memory_pages: 2,
            compile_steps: 4 * 240 + 320,
            schema_json: None,
        }
    );
}

#[test]
fn what_stable_rust_emits_is_accepted() {
    let features = r#"(module
        (memory (export "memory") 1) (data $d "abc") (table 2 4 funcref) (elem $e func 0)
        (global (mut i32) (i32.const 0))
        (func (export "run") (local i64 f64)
            (drop (i32.extend8_s (i32.const 1)))
            (drop (i64.trunc_sat_f64_s (f64.const 1e300)))
            (memory.copy (i32.const 0) (i32.const 1) (i32.const 2))
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))
            (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (data.drop $d)
            (table.init $e (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $e)
            (table.set (i32.const 0) (ref.null func))
            (drop (table.grow (ref.func 0) (i32.const 1)))
            (call $two) drop drop)
        (func $two (result i32 i32) (i32.const 1) (i32.const 2))
        (global (export "g") (mut i32) (i32.const 0)))"#;
    facts_of(features, &granting(&[])).unwrap();
    // `call_indirect` with a table index of five bytes, as LLVM writes it for the linker to fill in.
    let overlong = b"\0asm\x01\0\0\0\
        \x01\x04\x01\x60\0\0\
        \x03\x02\x01\0\
        \x04\x04\x01\x70\0\x01\
        \x05\x03\x01\0\x01\
        \x07\x10\x02\x06memory\x02\0\x03run\0\0\
        \x0a\x0d\x01\x0b\0\x41\0\x11\0\x80\x80\x80\x80\0\x0b";
    check_wasm(overlong, &granting(&[])).unwrap();
}

#[test]
fn excluded_features_are_named() {
    let body = |code: &str| format!("(module {BASE} (func {code}))");
    let module = |items: &str| format!("(module {BASE} {items})");
    for (feature, text) in [
        ("SIMD (128-bit vectors)", body("(drop (i32x4.splat (i32.const 1)))")),
        ("SIMD (128-bit vectors)", body("(local v128)")),
        (
            "threads (atomics and shared memory)",
            body("(drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))"),
        ),
        (
            "threads (atomics and shared memory)",
            r#"(module (memory (export "memory") 1 2 shared) (func (export "run")))"#.into(),
        ),
        ("tail calls", body("(return_call 0)")),
        ("exceptions", module("(tag)")),
        ("external references (externref)", module("(table 1 externref)")),
        ("external references (externref)", body("(local externref)")),
        ("multiple memories", module("(memory 1)")),
        ("64-bit memory", r#"(module (memory (export "memory") i64 1) (func (export "run")))"#.into()),
        ("extended constant expressions", module("(global i32 (i32.add (i32.const 1) (i32.const 2)))")),
        ("typed function references", module("(type $t (func)) (func (param (ref $t)))")),
        (
            "custom page sizes",
            r#"(module (memory (export "memory") 1 (pagesize 1)) (func (export "run")))"#.into(),
        ),
        ("wide arithmetic", body("(i64.mul_wide_u (i64.const 1) (i64.const 2)) drop drop")),
    ] {
        check_excluded(feature, &text);
    }
    for (expected, text) in [
        (
            vec!["relaxed SIMD", "SIMD (128-bit vectors)"],
            body("(drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0)))"),
        ),
        (vec!["SIMD (128-bit vectors)", "tail calls"], module("(func (local v128)) (func (return_call 0))")),
    ] {
        let error = facts_of(&text, &granting(&[])).unwrap_err();
        let shown = error.to_string();
        assert!(
            matches!(&error, WasmError::ExcludedFeature { features, .. } if *features == expected),
            "{error:?}"
        );
        assert!(shown.contains(&expected.join(" and ")) && shown.contains("excluded"), "{shown}");
    }
    let gc = facts_of(&module("(type (struct (field i32)))"), &granting(&[])).unwrap_err();
    assert!(
        matches!(&gc, WasmError::ExcludedFeature { features, .. } if features.contains(&"garbage collection")),
        "{gc:?}"
    );
}

#[test]
fn bytes_that_are_no_valid_module_are_refused() {
    let manifest = granting(&[]);
    assert_eq!(check_wasm(b"", &manifest), Err(WasmError::NotWasm));
    assert_eq!(check_wasm(b"\x7fELF....", &manifest), Err(WasmError::NotWasm));
    assert_eq!(check_wasm(b"\0asm\x02\0\0\0", &manifest), Err(WasmError::NotWasm));
    assert_eq!(check_wasm(&wat("(component)"), &manifest), Err(WasmError::Component));
    let large = [wat(MODULE), vec![0; limits::WASM_BYTES_MAX]].concat();
    assert_eq!(check_wasm(&large, &manifest), Err(WasmError::TooLarge { bytes: large.len() }));
    let ill_typed = facts_of(&format!("(module {BASE} (func (result i32)))"), &manifest).unwrap_err();
    assert!(matches!(ill_typed, WasmError::Invalid { .. }), "{ill_typed:?}");
    let good = wat(MODULE);
    for length in 8..good.len() {
        let result = check_wasm(&good[..length], &manifest);
        assert!(result.is_err(), "{length} of {} bytes: {result:?}", good.len());
    }
}

#[test]
fn imports_are_known_functions_with_their_types() {
    let import = |module: &str, name: &str, item: &str| {
        format!("(module (import \"{module}\" \"{name}\" {item}) {BASE})")
    };
    let text = |text: &str| text.to_owned();
    let unknown_module = |module: &str, name: &str, nearest: Option<&str>, hint| WasmError::UnknownModule {
        module: text(module),
        name: text(name),
        nearest: nearest.map(text),
        hint,
    };
    check(
        &import("purlin.storage.v1", "gett", "(func)"),
        WasmError::UnknownFunction {
            module: text("purlin.storage.v1"),
            name: text("gett"),
            nearest: Some(text("get")),
        },
        "did you mean \"get\"?",
    );
    check(
        &import("purlin.storage.v2", "get", "(func)"),
        unknown_module(
            "purlin.storage.v2",
            "get",
            Some("purlin.storage.v1"),
            "applications import only from the purlin.*.v1 modules",
        ),
        "did you mean \"purlin.storage.v1\"?",
    );
    check(
        &import("wasi_snapshot_preview1", "fd_write", "(func)"),
        unknown_module(
            "wasi_snapshot_preview1",
            "fd_write",
            None,
            "WASI is not offered, so build for wasm32-unknown-unknown",
        ),
        "wasi_snapshot_preview1::fd_write",
    );
    check(
        &import("env", "malloc", "(func)"),
        unknown_module(
            "env",
            "malloc",
            None,
            "a function is declared but defined nowhere, so link what defines it",
        ),
        "defined nowhere",
    );
    check(
        &import("purlin.storage.v1", "get", "(func (param i32 i64) (result i32))"),
        WasmError::ImportType {
            module: text("purlin.storage.v1"),
            name: text("get"),
            found: text("(i32, i64) -> i32"),
            expected: text("(i32, i32, i32, i32) -> i32"),
        },
        "expected (i32, i32, i32, i32) -> i32",
    );
    check(
        &import("purlin.core.v1", "block_height", "(func)"),
        WasmError::ImportType {
            module: text("purlin.core.v1"),
            name: text("block_height"),
            found: text("() -> ()"),
            expected: text("() -> i64"),
        },
        "as () -> ()",
    );
    for (kind, item) in
        [("memory", "(memory 1)"), ("table", "(table 1 funcref)"), ("global", "(global (mut i32))")]
    {
        let base = if kind == "memory" { "(func (export \"run\"))" } else { BASE };
        check(
            &format!("(module (import \"env\" \"it\" {item}) {base})"),
            WasmError::ImportKind { module: text("env"), name: text("it"), kind },
            "only functions can be imported",
        );
    }
}

#[test]
fn ungranted_imports_are_all_listed() {
    let text = format!(
        r#"(module
        (import "purlin.storage.v1" "remove" (func (param i32 i32) (result i32)))
        (import "purlin.events.v1" "emit" (func (param i32 i32 i32 i32)))
        (import "purlin.core.v1" "gas_left" (func (result i64)))
        (import "purlin.accounts.v1" "transfer" (func (param i32 i32) (result i32)))
        (import "purlin.accounts.v1" "balance" (func (param i32 i32)))
        (import "purlin.accounts.v1" "balance" (func (param i32 i32))) {BASE})"#
    );
    let ungranted = |module, name, permission| UngrantedImport { module, name, permission };
    check(
        &text,
        WasmError::NotGranted {
            imports: vec![
                ungranted("purlin.events.v1", "emit", "events"),
                ungranted("purlin.accounts.v1", "transfer", "accounts"),
                ungranted("purlin.accounts.v1", "balance", "accounts"),
            ],
        },
        "\"purlin.events.v1::emit\" (needs \"events\"), \"purlin.accounts.v1::transfer\" (needs \"accounts\"), \
         \"purlin.accounts.v1::balance\" (needs \"accounts\"); add to `permissions`: \"accounts\", \"events\"",
    );
    facts_of(&text, &granting(&["accounts", "storage", "events"])).unwrap();
}

#[test]
fn memory_is_exported_and_within_the_grant() {
    let run = "(func (export \"run\"))";
    check(&format!("(module (memory 1) {run})"), WasmError::NoMemoryExport, "--export-memory");
    check(&format!("(module {run})"), WasmError::NoMemoryExport, "`memory`");
    check(
        &format!("(module (memory 1) (global (export \"memory\") i32 (i32.const 0)) {run})"),
        WasmError::MemoryExportKind { found: "global" },
        "is a global",
    );
    let granted_pages = limits::MEMORY_PAGES_DEFAULT;
    check(
        &format!("(module (memory (export \"memory\") 65) {run})"),
        WasmError::MemoryTooLarge { found_pages: 65, granted_pages },
        "raise limits.memory_pages",
    );
    check(
        &format!("(module (memory (export \"memory\") 1 65) {run})"),
        WasmError::MemoryMaximumTooLarge { found_pages: 65, granted_pages },
        "--max-memory",
    );
    let generous = manifest_with(|manifest| manifest.limits.memory_pages = 65);
    facts_of(&format!("(module (memory (export \"memory\") 65 65) {run})"), &generous).unwrap();
}

#[test]
fn exported_functions_are_methods() {
    let memory = "(memory (export \"memory\") 1)";
    let exporting = |name: &str| format!("(module {memory} (func (export \"{name}\")))");
    check(&format!("(module {memory})"), WasmError::NoMethods, "#[app]");
    check(
        &format!("(module {memory} (func (export \"add\") (param i32 i32) (result i32) (i32.const 0)))"),
        WasmError::MethodType { name: "add".into(), found: "(i32, i32) -> i32".into() },
        "methods are () -> ()",
    );
    check(
        &format!("(module {memory} (func (export \"query_a\") (result i64 i64) unreachable))"),
        WasmError::MethodType { name: "query_a".into(), found: "() -> (i64, i64)".into() },
        "() -> (i64, i64)",
    );
    let letters =
        "every exported function is a method, named with letters, digits and '_' and starting with a letter";
    for (name, rule) in [
        ("", letters),
        ("_start", letters),
        ("__wasm_call_ctors", letters),
        ("a-b", letters),
        ("a b", letters),
        ("naïve", letters),
        ("1st", letters),
        ("query_", "a query needs a name after `query_`"),
        (&"a".repeat(65), "the names of methods have at most 64 bytes"),
    ] {
        check(&exporting(name), WasmError::MethodName { name: name.to_owned(), rule }, rule);
    }
    facts_of(&exporting(&"a".repeat(64)), &granting(&[])).unwrap();
    for name in ["purlin:stack", "purlin_stack_units", "purlin_stack_"] {
        check(
            &exporting(name),
            WasmError::ReservedExport { name: name.to_owned() },
            "reserved for the engine",
        );
        let global = format!("(module {BASE} (global (export \"{name}\") (mut i32) (i32.const 0)))");
        check(&global, WasmError::ReservedExport { name: name.to_owned() }, "reserved for the engine");
    }
}

#[test]
fn a_start_function_is_refused() {
    check(
        &format!("(module {BASE} (func $s) (start $s))"),
        WasmError::StartFunction,
        "outside any call; do that work in `initialize`",
    );
}

#[test]
fn counts_are_capped() {
    let too_many =
        |what, max: u32| WasmError::TooMany { what, found: u64::from(max) + 1, max: u64::from(max) };
    let module = |items: &str| format!("(module {BASE} {items})");
    check(
        &module(&many(limits::WASM_FUNCTIONS_MAX, |_| "(func)".into())),
        too_many("functions", limits::WASM_FUNCTIONS_MAX),
        "20001 functions; at most 20000",
    );
    check(
        &module(&many(limits::WASM_TYPES_MAX, |_| "(type (func (param i32)))".into())),
        too_many("types", limits::WASM_TYPES_MAX),
        "1001 types",
    );
    check(
        &module(&many(limits::WASM_GLOBALS_MAX + 1, |_| "(global i32 (i32.const 0))".into())),
        too_many("globals", limits::WASM_GLOBALS_MAX),
        "1001 globals",
    );
    check(
        &module(&many(limits::WASM_TABLES_MAX + 1, |_| "(table 1 funcref)".into())),
        too_many("tables", limits::WASM_TABLES_MAX),
        "5 tables",
    );
    check(
        &module(&many(limits::WASM_DATA_SEGMENTS_MAX + 1, |_| "(data (i32.const 0) \"\")".into())),
        too_many("data segments", limits::WASM_DATA_SEGMENTS_MAX),
        "10001 data segments",
    );
    check(
        &module(&many(limits::WASM_DATA_SEGMENTS_MAX + 1, |_| "(elem func)".into())),
        too_many("element segments", limits::WASM_DATA_SEGMENTS_MAX),
        "10001 element segments",
    );
    check(
        &module(&many(limits::WASM_EXPORTS_MAX - 1, |n| format!("(export \"m{n}\" (func 0))"))),
        too_many("exports", limits::WASM_EXPORTS_MAX),
        "1001 exports",
    );
    let import = r#"(import "purlin.core.v1" "gas_left" (func (result i64)))"#;
    check(
        &format!("(module {} {BASE})", many(limits::WASM_IMPORTS_MAX + 1, |_| import.into())),
        too_many("imports", limits::WASM_IMPORTS_MAX),
        "201 imports",
    );
    for (table, found) in [("(table 20001 funcref)", 20_001), ("(table 1 30000 funcref)", 30_000)] {
        check(&module(table), WasmError::TableTooLarge { table: 0, found, max: 20_000 }, "at most 20000");
    }
    facts_of(&module("(table 20000 20000 funcref)"), &granting(&[])).unwrap();
}

#[test]
fn locals_are_capped_with_parameters() {
    let function = |params: usize, locals: usize| {
        format!("(module {BASE} (func (param {}) (local {})))", "i64 ".repeat(params), "i32 ".repeat(locals))
    };
    check(
        &function(501, 1_500),
        WasmError::TooManyLocals { function: 1, found: 2_001, max: 2_000 },
        "function 1 has 2001 locals",
    );
    facts_of(&function(500, 1_500), &granting(&[])).unwrap();
    // The index counts imported functions first, as every tool does.
    let text = format!(
        "(module (import \"purlin.core.v1\" \"gas_left\" (func (result i64))) {BASE} (func (local {})))",
        "i32 ".repeat(2_001)
    );
    check(&text, WasmError::TooManyLocals { function: 2, found: 2_001, max: 2_000 }, "function 2");
}

#[test]
fn a_schema_describes_exports_that_exist() {
    let with_schema = |schema: &str| {
        let schema = schema.replace('"', "\\\"");
        format!("(module {BASE} (func (export \"query_get\")) (@custom \"purlin.schema\" \"{schema}\"))")
    };
    let method = |name: &str, kind: &str| {
        let unit = r#"{"x-borsh":"unit"}"#;
        format!(r#"{{"abi":1,"name":"T","methods":[{{"name":"{name}","kind":"{kind}","returns":{unit}}}]}}"#)
    };
    for (name, kind) in [("run", "call"), ("get", "query")] {
        let schema = method(name, kind);
        let facts = facts_of(&with_schema(&schema), &granting(&[])).unwrap();
        assert_eq!(facts.schema_json.unwrap(), schema.as_bytes());
    }
    let missing = |method: &str, kind: MethodKind, export: &str| WasmError::SchemaWithoutExport {
        method: method.into(),
        kind,
        export: export.into(),
    };
    for (name, kind, export) in [
        ("walk", MethodKind::Call, "walk"),
        ("run", MethodKind::Query, "query_run"),
        ("get", MethodKind::Call, "get"),
        ("query_get", MethodKind::Call, "query_get"),
        ("new", MethodKind::Init, "initialize"),
        ("upgrade", MethodKind::Migrate, "migrate"),
        ("halt", MethodKind::Stop, "stop"),
    ] {
        check(
            &with_schema(&method(name, kind.as_str())),
            missing(name, kind, export),
            &format!("no export \"{export}\""),
        );
    }
    for (schema, reason) in [
        ("{", "not JSON: EOF while parsing an object"),
        ("[]", "malformed at the root: expected an object"),
        (r#"{"methods":[]}"#, "malformed at abi"),
        (r#"{"abi":1,"name":"T","methods":1}"#, "malformed at methods"),
    ] {
        let error = facts_of(&with_schema(schema), &granting(&[])).unwrap_err();
        assert!(matches!(error, WasmError::BadSchema(_)), "{error:?}");
        let shown = error.to_string();
        assert!(shown.contains(reason) && shown.contains("build the application again"), "{shown}");
    }
    let twice =
        format!("(module {BASE} (@custom \"purlin.schema\" \"{{}}\") (@custom \"purlin.schema\" \"{{}}\"))");
    check(&twice, WasmError::DuplicateSchema, "more than one");
}
