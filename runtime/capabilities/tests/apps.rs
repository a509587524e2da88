//! Applications that call applications: the plumbing; depth and re-entrancy are the host's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use borsh::BorshDeserialize;
use common::module;
use purlin_abi::{Amount, AppId, CallFailure, CallOutcome, FailureCode, Gas, GasSchedule};
use purlin_capabilities::testing::{AppCallHandler, MemoryHost, call_once, code_of};
use purlin_capabilities::{
    AppCall, AppCallReport, Backend, EngineFault, GuestCall, HostFault, Runtime, RuntimeConfig,
};

const GAS: GasSchedule = GasSchedule::V1;

/// Calls `callee.method` with the arguments `xyz`, and returns what comes back.
fn caller(function: &str, gas: u64, capacity: u32) -> Vec<u8> {
    let deposit = if function == "call" { "(i32.const 64)" } else { "" };
    let call = |capacity: &str| {
        format!(
            "(call $apps_{function} (i32.const 0) (i32.const 6) (i32.const 6) (i32.const 6) (i32.const 12)
                (i32.const 3) {deposit} (i64.const {gas}) (i32.const 1000) {capacity})"
        )
    };
    let wat = module(&format!(
        r#"(data (i32.const 0) "calleemethodxyz") (data (i32.const 64) "\05")
        (func (export "run") (local $n i32)
            (local.set $n {})
            (if (i32.gt_u (local.get $n) (i32.const {capacity})) (then (local.set $n {})))
            (call $core_output (i32.const 1000) (local.get $n)))"#,
        call(&format!("(i32.const {capacity})")),
        call("(local.get $n)"),
    ));
    wat::parse_str(wat).unwrap()
}

fn runtime(backend: Backend) -> Runtime<MemoryHost> {
    Runtime::new(&RuntimeConfig { backend, instances_max: 16, ..RuntimeConfig::default() }).unwrap()
}

fn outcome_of(report: purlin_capabilities::CallReport) -> CallOutcome {
    CallOutcome::try_from_slice(&report.outcome.unwrap()).unwrap()
}

#[test]
fn a_call_carries_everything_and_is_charged_what_the_callee_used() {
    let seen = Arc::new(parking());
    let handler: AppCallHandler = {
        let seen = seen.clone();
        Arc::new(move |mut host, call: AppCall| {
            host.storage.insert(b"touched".to_vec(), Vec::new());
            *seen.lock().unwrap() = Some(call);
            (host, Ok(AppCallReport { outcome: Ok(b"done".to_vec()), gas_used: Gas::new(12_345) }))
        })
    };
    let host = MemoryHost { on_call: Some(handler), ..MemoryHost::default() };
    for (function, gas) in [("call", 0), ("call", 50_000), ("query", 50_000)] {
        let runtime = runtime(Backend::CraneliftSpeed);
        let (after, report) = call_once(&runtime, &caller(function, gas, 100), "run", &[], host.clone());
        assert!(after.storage.contains_key(b"touched".as_slice()), "the host comes back");
        let used = report.gas_used.get();
        assert_eq!(outcome_of(report), Ok(b"done".to_vec()));
        let call = seen.lock().unwrap().take().unwrap();
        assert_eq!((call.app.as_str(), call.method.as_str()), ("callee", "method"));
        assert_eq!(call.arguments, b"xyz");
        assert_eq!(call.query, function == "query");
        assert_eq!(call.deposit, if call.query { Amount::ZERO } else { Amount::new(5) });
        match gas {
            0 => assert!(call.gas.get() > 9_500_000, "all that is left: {}", call.gas),
            gas => assert_eq!(call.gas, Gas::new(gas)),
        }
        let transfer = if call.query { 0 } else { 2 * (GAS.account + GAS.storage_write) };
        let least = GAS.instantiate + GAS.storage_read + 12_345 + transfer;
        assert!((least..least + 1_000).contains(&used), "{used} is not about {least}");
    }
}

fn parking() -> std::sync::Mutex<Option<AppCall>> {
    std::sync::Mutex::new(None)
}

#[test]
fn a_large_answer_is_fetched_without_calling_twice() {
    let calls = Arc::new(AtomicU64::new(0));
    let counter = calls.clone();
    let handler: AppCallHandler = Arc::new(move |host, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        (host, Ok(AppCallReport { outcome: Ok(vec![9; 5_000]), gas_used: Gas::new(10) }))
    });
    for function in ["call", "query"] {
        calls.store(0, Ordering::Relaxed);
        let host = MemoryHost { on_call: Some(handler.clone()), ..MemoryHost::default() };
        let (_, report) = call_once(&runtime(Backend::Pulley), &caller(function, 0, 8), "run", &[], host);
        assert_eq!(outcome_of(report), Ok(vec![9; 5_000]));
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn a_failed_callee_is_an_answer_and_not_the_callers_end() {
    let failure =
        CallFailure::new(FailureCode::Reentrancy, "callee is running").in_app(&AppId::new("callee").unwrap());
    let answer = failure.clone();
    let handler: AppCallHandler = Arc::new(move |host, _| {
        (host, Ok(AppCallReport { outcome: Err(answer.clone()), gas_used: Gas::new(1) }))
    });
    let host = MemoryHost { on_call: Some(handler), ..MemoryHost::default() };
    let (_, report) = call_once(&runtime(Backend::CraneliftNone), &caller("call", 0, 500), "run", &[], host);
    assert_eq!(outcome_of(report), Err(failure));
}

#[test]
fn a_fault_below_is_a_fault_above() {
    let handler: AppCallHandler =
        Arc::new(|host, _| (host, Err(HostFault::Node(Box::new(EngineFault::NativeStack)))));
    let host = MemoryHost { on_call: Some(handler), ..MemoryHost::default() };
    let runtime = runtime(Backend::CraneliftSpeed);
    let wasm = caller("call", 0, 500);
    let module = runtime.module(&code_of(&wasm), || Ok::<_, HostFault>(wasm)).unwrap();
    let call =
        GuestCall { export: "run", arguments: Vec::new(), gas: Gas::new(1_000_000), memory_pages_max: 64 };
    let (_, report) = runtime.call(&module, call, host);
    assert!(matches!(report, Err(EngineFault::Host(_))));
}

#[test]
fn real_applications_call_each_other_to_the_deepest_level_with_equal_gas() {
    // The callee is the caller, until the host says that it is deep enough.
    let mut gas = Vec::new();
    for backend in Backend::ALL {
        let runtime = Arc::new(runtime(backend));
        let wasm = caller("call", 0, 10);
        let module = runtime.module(&code_of(&wasm), || Ok::<_, HostFault>(wasm)).unwrap();
        let handler: AppCallHandler = {
            let runtime = runtime.clone();
            Arc::new(move |mut host: MemoryHost, call: AppCall| {
                let depth = host.storage.len() + 2;
                if depth > purlin_abi::limits::CALL_DEPTH_MAX {
                    let failure = CallFailure::new(FailureCode::CallDepth, "too deep");
                    return (host, Ok(AppCallReport { outcome: Err(failure), gas_used: Gas::ZERO }));
                }
                host.storage.insert(vec![depth as u8], Vec::new());
                let guest = GuestCall {
                    export: "run",
                    arguments: call.arguments,
                    gas: call.gas,
                    memory_pages_max: 64,
                };
                let (host, report) = runtime.call(&module, guest, host);
                let report = match report {
                    Ok(report) => report,
                    Err(fault) => return (host, Err(HostFault::Node(Box::new(fault)))),
                };
                (host, Ok(AppCallReport { outcome: report.outcome, gas_used: report.gas_used }))
            })
        };
        let host = MemoryHost { on_call: Some(handler), ..MemoryHost::default() };
        let (host, report) = call_once(&runtime, &caller("call", 0, 10), "run", &[], host);
        assert_eq!(host.storage.len(), 7);
        let mut outcome = report.outcome;
        for _ in 0..8 {
            outcome = CallOutcome::try_from_slice(&outcome.unwrap()).unwrap();
        }
        assert_eq!(outcome.unwrap_err().code, FailureCode::CallDepth);
        gas.push(report.gas_used);
    }
    assert!(gas.windows(2).all(|pair| pair[0] == pair[1]), "{gas:?}");
}
