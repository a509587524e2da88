//! Arguments, results, context and the ways to end a call.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod common;

use std::sync::Arc;

use common::{check, everywhere, module, run_body};
use purlin_abi::limits::{INPUT_BYTES_MAX, MESSAGE_BYTES_MAX};
use purlin_abi::{Amount, AppId, FailureCode, Gas, GasSchedule};
use purlin_capabilities::testing::{MemoryHost, call_once, code_of};
use purlin_capabilities::{Backend, EngineFault, GuestCall, HostFault, Runtime, RuntimeConfig};

const GAS: GasSchedule = GasSchedule::V1;

#[test]
fn arguments_go_in_and_a_result_comes_out() {
    let echo = run_body(
        "(local $n i32)
         (local.set $n (call $core_input (i32.const 0) (i32.const 65536)))
         (call $core_output (i32.const 0) (i32.const 0))
         (call $core_output (i32.const 0) (local.get $n))",
    );
    let ran = everywhere(&echo, "run", b"hello", &MemoryHost::default());
    assert_eq!(ran.outcome.unwrap(), b"hello");
    let ran = everywhere(&echo, "run", b"", &MemoryHost::default());
    assert_eq!(ran.outcome.unwrap(), b"");
}

#[test]
fn the_context_is_the_hosts() {
    let body = "
        (call $core_caller (i32.const 0))
        (drop (call $core_app_id (i32.const 20) (i32.const 6)))
        (i64.store (i32.const 26) (call $core_block_height))
        (i64.store (i32.const 34) (call $core_block_time))
        (call $core_deposit (i32.const 42))
        (i32.store (i32.const 100) (i32.const 0x6f6f66))
        (call $core_app_account (i32.const 100) (i32.const 3) (i32.const 58))
        (i64.store (i32.const 78) (call $core_confirmation_depth))
        (call $core_output (i32.const 0) (i32.const 86))";
    let host = MemoryHost { deposit: Amount::new(0x0102), confirmation_depth: 12, ..MemoryHost::default() };
    let result = everywhere(&run_body(body), "run", &[], &host).outcome.unwrap();
    assert_eq!(result[..20], [0xca; 20]);
    assert_eq!(result[20..26], *b"tested");
    assert_eq!(result[26..34], 7_u64.to_le_bytes());
    assert_eq!(result[34..42], 1_700_000_000_000_u64.to_le_bytes());
    assert_eq!(result[42..58], 0x0102_u128.to_le_bytes());
    assert_eq!(result[58..61], *b"foo");
    assert_eq!(result[78..86], 12_u64.to_le_bytes());
}

#[test]
fn gas_left_counts_down_by_what_things_cost() {
    let ran = check(
        "(i64.store (i32.const 0) (call $core_gas_left))
         (call $crypto_sha256 (i32.const 0) (i32.const 100) (i32.const 200))
         (i64.store (i32.const 8) (call $core_gas_left))
         (call $core_output (i32.const 0) (i32.const 16))",
    );
    let gas_used = ran.gas.get();
    let result = ran.outcome.unwrap();
    let left = |at: usize| u64::from_le_bytes(result[at..at + 8].try_into().unwrap());
    // Between the two: seven instructions, of which two are calls, the hash, and the entry of the second `gas_left`.
    let spent = left(0) - left(8);
    assert_eq!(spent, 5 + 2 * 4 + 2 * GAS.host_call + GAS.hash_base + 100 * GAS.hash_byte);
    assert!(10_000_000 - gas_used < left(8));
}

#[test]
fn the_log_is_shortened_and_costs_no_state() {
    let long = "x".repeat(2_000);
    let wat = module(&format!(
        r#"(data (i32.const 0) "caf\c3\a9") (data (i32.const 100) "{long}")
        (func (export "run")
            (call $core_log (i32.const 2) (i32.const 0) (i32.const 5))
            (call $core_log (i32.const 99) (i32.const 100) (i32.const 2000))
            (call $core_log (i32.const 0) (i32.const 0) (i32.const 4)))"#
    ));
    let log = everywhere(&wat, "run", &[], &MemoryHost::default()).host.log;
    assert_eq!(log[0], (2, "café".to_owned()));
    assert_eq!((log[1].0, log[1].1.len()), (4, 1024));
    assert_eq!(log[2].1, "caf\u{fffd}");
}

#[test]
fn a_panic_message_reaches_the_outcome() {
    let wat = module(
        r#"(data (i32.const 0) "index out of bounds")
        (func (export "run") (call $core_abort (i32.const 0) (i32.const 19)) (unreachable))"#,
    );
    let ran = everywhere(&wat, "run", &[], &MemoryHost::default());
    let failure = ran.outcome.unwrap_err();
    assert_eq!((failure.code, failure.message.as_str()), (FailureCode::Panic, "index out of bounds"));
    assert_eq!(failure.app, Some(AppId::new("tested").unwrap()));
}

#[test]
fn an_error_of_the_application_keeps_code_message_and_value() {
    let wat = module(
        r#"(data (i32.const 0) "not the owner") (data (i32.const 50) "\01\02")
        (func (export "run")
            (call $core_fail (i32.const 7) (i32.const 0) (i32.const 13) (i32.const 50) (i32.const 2))
            (unreachable))"#,
    );
    let failure = everywhere(&wat, "run", &[], &MemoryHost::default()).outcome.unwrap_err();
    assert_eq!(failure.code, FailureCode::AppError);
    assert_eq!(failure.app_code, Some(7));
    assert_eq!(failure.message, "not the owner");
    assert_eq!(failure.app_error, [1, 2]);
}

#[test]
fn a_panic_has_a_backtrace_and_an_error_of_the_application_has_none() {
    let runtime = Runtime::new(&RuntimeConfig::default()).unwrap();
    for (call, expected) in [
        ("(call $core_abort (i32.const 0) (i32.const 1))", true),
        ("(call $core_fail (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0))", false),
    ] {
        let wasm =
            wat::parse_str(module(&format!(r#"(func $inner {call}) (func (export "run") (call $inner))"#)));
        let (_, report) = call_once(&runtime, &wasm.unwrap(), "run", &[], MemoryHost::default());
        assert_eq!(report.backtrace.is_some_and(|backtrace| backtrace.contains("inner")), expected, "{call}");
    }
}

#[test]
fn a_long_message_is_cut() {
    let wat = module(&format!(
        r#"(data (i32.const 0) "{}")
        (func (export "run") (call $core_abort (i32.const 0) (i32.const 3000)))"#,
        "é".repeat(1_500)
    ));
    let message = everywhere(&wat, "run", &[], &MemoryHost::default()).outcome.unwrap_err().message;
    assert_eq!(message, "é".repeat(MESSAGE_BYTES_MAX / 2));
}

#[test]
fn what_is_too_large_is_refused_with_the_limit() {
    let too_long = INPUT_BYTES_MAX + 1;
    for body in [
        format!("(call $core_output (i32.const 0) (i32.const {too_long}))"),
        format!("(call $core_abort (i32.const 0) (i32.const {too_long}))"),
        format!("(call $core_log (i32.const 0) (i32.const 0) (i32.const {too_long}))"),
        format!(
            "(call $core_fail (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {too_long}))"
        ),
        "(drop (call $storage_get (i32.const 0) (i32.const 257) (i32.const 0) (i32.const 0)))".into(),
        "(call $storage_set (i32.const 0) (i32.const 257) (i32.const 0) (i32.const 0))".into(),
        "(call $storage_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 65537))".into(),
        "(drop (call $storage_remove (i32.const 0) (i32.const 257)))".into(),
        "(drop (call $storage_scan (i32.const 0) (i32.const 257) (i32.const 0) (i32.const 0)
            (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))"
            .into(),
        "(call $events_emit (i32.const 0) (i32.const 65) (i32.const 0) (i32.const 0))".into(),
        "(call $events_emit (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 16385))".into(),
        "(drop (call $devices_get (i32.const 0) (i32.const 65) (i32.const 0) (i32.const 0)))".into(),
        "(drop (call $devices_list (i32.const 0) (i32.const 4000) (i32.const 0) (i32.const 0)))".into(),
        "(drop (call $apps_call (i32.const 0) (i32.const 64) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))"
            .into(),
        "(drop (call $apps_call (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 65) (i32.const 0)
            (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))"
            .into(),
    ] {
        let ran = check(&body);
        assert_eq!(ran.code(), Some(FailureCode::LimitExceeded), "{body}");
        assert!(ran.message().contains("at most"), "{}", ran.message());
        assert!(ran.host.storage.is_empty() && ran.host.events.is_empty());
    }
}

#[test]
fn oversized_arguments_are_refused_before_the_guest() {
    let runtime = Runtime::new(&RuntimeConfig::default()).unwrap();
    let wasm = wat::parse_str(run_body("")).unwrap();
    let arguments = vec![0; INPUT_BYTES_MAX + 1];
    let (_, report) = call_once(&runtime, &wasm, "run", &arguments, MemoryHost::default());
    assert_eq!(report.outcome.unwrap_err().code, FailureCode::LimitExceeded);
    assert_eq!(report.gas_used, Gas::ZERO);
}

#[test]
fn pointers_outside_memory_are_refused() {
    // Two pages: the last byte is at 131071.
    for body in [
        "(call $core_caller (i32.const 131053))",
        "(call $core_caller (i32.const -1))",
        "(call $core_deposit (i32.const 131057))",
        "(call $core_output (i32.const 131071) (i32.const 2))",
        "(call $core_abort (i32.const -1) (i32.const 1))",
        "(call $core_fail (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 1))",
        "(call $core_log (i32.const 0) (i32.const 131072) (i32.const 1))",
        "(drop (call $core_input (i32.const 131071) (i32.const 100)))",
        "(drop (call $core_app_id (i32.const -5) (i32.const 100)))",
        "(call $core_app_account (i32.const 131071) (i32.const 2) (i32.const 0))",
        "(drop (call $storage_get (i32.const 131071) (i32.const 2) (i32.const 0) (i32.const 0)))",
        "(call $storage_set (i32.const 0) (i32.const 1) (i32.const 131071) (i32.const 2))",
        "(call $storage_set (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 1))",
        "(drop (call $storage_remove (i32.const -1) (i32.const 2)))",
        "(drop (call $storage_scan (i32.const 0) (i32.const 1) (i32.const -1) (i32.const 1)
            (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))",
        "(call $events_emit (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0))",
        "(call $events_emit (i32.const 0) (i32.const 1) (i32.const 131071) (i32.const 2))",
        "(call $accounts_balance (i32.const 131060) (i32.const 0))",
        "(call $accounts_balance (i32.const 0) (i32.const 131060))",
        "(drop (call $accounts_transfer (i32.const 0) (i32.const 131060)))",
        "(drop (call $devices_get (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0)))",
        "(drop (call $devices_list (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0)))",
        "(call $crypto_sha256 (i32.const 131071) (i32.const 2) (i32.const 0))",
        "(call $crypto_keccak256 (i32.const 0) (i32.const 1) (i32.const 131041))",
        "(call $crypto_blake3 (i32.const -1) (i32.const 1) (i32.const 0))",
        "(drop (call $crypto_secp256k1_verify (i32.const 0) (i32.const 131009) (i32.const 0)))",
        "(drop (call $crypto_secp256k1_recover (i32.const 131041) (i32.const 0) (i32.const 0)))",
        "(drop (call $crypto_ed25519_verify (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0)))",
        "(drop (call $crypto_p256_verify (i32.const 0) (i32.const 0) (i32.const 131040)))",
        "(drop (call $apps_query (i32.const -1) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))",
    ] {
        // A topic and an app id that are otherwise good.
        let wat = module(&format!(r#"(data (i32.const 0) "ab") (func (export "run") {body})"#));
        let host = MemoryHost { app: AppId::new("tested").unwrap(), ..MemoryHost::default() };
        let ran = everywhere(&wat, "run", b"arguments", &host);
        assert_eq!(ran.code(), Some(FailureCode::BadPointer), "{body}");
        assert!(ran.host.storage.is_empty() && ran.host.events.is_empty());
    }
}

#[test]
fn a_module_without_memory_gets_a_verdict() {
    let wat = r#"(module
        (import "purlin.core.v1" "caller" (func $caller (param i32)))
        (func (export "run") (call $caller (i32.const 0))))"#;
    assert_eq!(everywhere(wat, "run", &[], &MemoryHost::default()).code(), Some(FailureCode::BadPointer));
}

#[test]
fn bytes_that_cannot_be_read_are_refused() {
    for (data, body) in [
        ("\\ff\\fe", "(call $events_emit (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 0))"),
        ("ab", "(call $events_emit (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))"),
        ("A!", "(call $core_app_account (i32.const 0) (i32.const 2) (i32.const 0))"),
        ("A!", "(drop (call $devices_get (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 0)))"),
        ("\\07\\07", "(drop (call $devices_list (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 0)))"),
        (
            "ab",
            "(drop (call $storage_scan (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 1) (i32.const 2) (i32.const 0) (i32.const 0)))",
        ),
    ] {
        let wat = module(&format!(r#"(data (i32.const 0) "{data}") (func (export "run") {body})"#));
        let ran = everywhere(&wat, "run", &[], &MemoryHost::default());
        assert_eq!(ran.code(), Some(FailureCode::BadArgument), "{body}");
    }
}

#[test]
fn a_query_may_not_write() {
    let writes = [
        "(call $storage_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))",
        "(drop (call $storage_remove (i32.const 0) (i32.const 1)))",
        "(call $events_emit (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 0))",
        "(drop (call $accounts_transfer (i32.const 0) (i32.const 0)))",
        "(drop (call $apps_call (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 2) (i32.const 0)
            (i32.const 0) (i32.const 8) (i64.const 0) (i32.const 0) (i32.const 0)))",
    ];
    for body in writes {
        let wat = module(&format!(r#"(data (i32.const 0) "ab") (func (export "run") {body})"#));
        let query = MemoryHost { read_only: true, ..MemoryHost::default() };
        let ran = everywhere(&wat, "run", &[], &query);
        assert_eq!(ran.code(), Some(FailureCode::WriteInQuery), "{body}");
        assert!(ran.host.storage.is_empty() && ran.host.events.is_empty());
        let ran = everywhere(&wat, "run", &[], &MemoryHost::default());
        assert_eq!(ran.code(), None, "{body}");
    }
}

#[test]
fn what_is_not_a_method_is_unknown() {
    let wat =
        module(r#"(func (export "takes") (param i32)) (func (export "gives") (result i32) (i32.const 1))"#);
    for export in ["missing", "takes", "gives", "memory", "purlin_stack_units"] {
        let ran = everywhere(&wat, export, &[], &MemoryHost::default());
        assert_eq!(ran.code(), Some(FailureCode::UnknownMethod), "{export}");
        assert!(ran.message().contains(export));
        assert_eq!(ran.gas, Gas::ZERO);
    }
}

#[test]
fn trouble_of_the_node_is_no_verdict_and_gives_the_host_back() {
    let runtime = Runtime::new(&RuntimeConfig::default()).unwrap();
    let body = "(drop (call $storage_get (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0)))";
    let wasm = wat::parse_str(run_body(body)).unwrap();
    let module = runtime.module(&code_of(&wasm), || Ok::<_, HostFault>(wasm)).unwrap();
    let call =
        GuestCall { export: "run", arguments: Vec::new(), gas: Gas::new(1_000_000), memory_pages_max: 64 };
    let host = MemoryHost { broken: true, ..MemoryHost::default() };
    let (host, report) = runtime.call(&module, call, host);
    assert!(host.broken);
    match report {
        Err(EngineFault::Host(error)) => assert_eq!(error.to_string(), "the disk is gone"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_runtime_is_shared_between_threads() {
    let config = RuntimeConfig { backend: Backend::CraneliftSpeed, instances_max: 16, ..Default::default() };
    let runtime = Arc::new(Runtime::new(&config).unwrap());
    let wasm = wat::parse_str(run_body(
        "(call $storage_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))",
    ))
    .unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (runtime, wasm) = (runtime.clone(), wasm.clone());
            std::thread::spawn(move || {
                call_once(&runtime, &wasm, "run", &[], MemoryHost::default()).1.gas_used
            })
        })
        .collect();
    let gas: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(gas.windows(2).all(|pair| pair[0] == pair[1]));
}
