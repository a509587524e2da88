//! What belongs to the node: faults, the cache of compiled code, threads, backtraces.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{Notes, code, config, engine, invocation, run, try_run};
use purlin_abi::limits::CALL_DEPTH_MAX;
use purlin_abi::{FailureCode, Gas, Hash32};
use purlin_engine::{
    Allocation, AllocationMode, Backend, Backtraces, CacheConfig, Engine, EngineConfig, EngineFault, Guest,
    HostFault, Invocation, Module, on_guest_stack,
};

const FOREVER: &str = r#"(module (func (export "run") (loop (br 0))))"#;

#[test]
fn the_watchdog_ends_in_a_fault_and_not_a_verdict() {
    let engine = engine(&EngineConfig { watchdog: Duration::from_millis(40), ..config(Backend::Pulley) });
    let (_, report) = try_run(&engine, FOREVER, &invocation("run", u64::MAX));
    assert!(matches!(report, Err(EngineFault::Watchdog { .. })), "{report:?}");
}

#[test]
fn a_fault_of_the_host_is_not_a_verdict() {
    let engine = Engine::<Notes>::new(&config(Backend::CraneliftSpeed), |host| {
        host.function("host", "read", |_: &mut Guest<'_, Notes>| {
            Err::<(), _>(HostFault::Node("the disk is gone".into()))
        });
    })
    .unwrap();
    let wat = r#"(module (import "host" "read" (func $read)) (func (export "run") (call $read)))"#;
    let (_, report) = try_run(&engine, wat, &invocation("run", 10_000));
    assert_eq!(report.unwrap_err().to_string(), "the disk is gone");
}

#[test]
fn two_functions_of_one_name_are_refused() {
    let made = Engine::<Notes>::new(&config(Backend::CraneliftSpeed), |host| {
        for _ in 0..2 {
            host.function("host", "note", |_: &mut Guest<'_, Notes>| Ok(()));
        }
    });
    assert!(matches!(made, Err(EngineFault::Setup { .. })));
}

#[test]
fn a_module_beyond_the_features_is_a_fault_with_the_reason() {
    let engine = engine(&config(Backend::CraneliftSpeed));
    for (wat, reason) in [
        (r#"(module (func (result v128) (v128.const i64x2 0 0)))"#, "SIMD"),
        (r#"(module (memory 1 1 shared))"#, "threads"),
        (r#"(module (func return_call 0))"#, "tail calls"),
        (r#"(module (memory i64 1))"#, "memory64"),
        (r#"(module (memory 1) (memory 1))"#, "multi"),
        (r#"(module (func (import "nowhere" "f")))"#, "unknown import"),
    ] {
        let wasm = wat::parse_str(wat).unwrap();
        let fault = engine.module(&code(&wasm), || Ok::<_, std::io::Error>(wasm)).err().unwrap();
        assert!(matches!(fault, EngineFault::Compile { .. }));
        assert!(fault.to_string().contains(reason), "{wat}: {fault}");
    }
}

#[test]
fn a_loader_that_fails_is_a_fault() {
    let engine = engine(&config(Backend::CraneliftSpeed));
    let fault = engine.module(&Hash32::ZERO, || Err(std::io::Error::other("no such code"))).err().unwrap();
    assert!(matches!(fault, EngineFault::Load { .. }));
}

#[test]
fn compiled_code_survives_a_restart_and_a_corrupt_file_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let config =
        EngineConfig { cache: Some(CacheConfig::new(directory.path())), ..config(Backend::CraneliftSpeed) };
    let wat = r#"(module
        (import "host" "note" (func $note (param i64)))
        (memory (export "memory") 1) (data (i32.const 8) "\07")
        (func (export "run") (call $note (i64.load (i32.const 8)))))"#;
    let wasm = wat::parse_str(wat).unwrap();
    let compiled = AtomicU32::new(0);
    let start = |config: &EngineConfig| {
        let engine = engine(config);
        let module = engine.module(&code(&wasm), || {
            compiled.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(wasm.clone())
        });
        let (notes, report) = engine.call(&module.unwrap(), &invocation("run", 10_000), Notes::new());
        assert_eq!(notes, [7]);
        report.unwrap().gas_used
    };
    let cold = start(&config);
    assert_eq!(compiled.load(Ordering::Relaxed), 1);
    assert_eq!(start(&config), cold);
    assert_eq!(compiled.load(Ordering::Relaxed), 1, "the second start finds the code on disk");

    let file = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "code"))
        .unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(start(&config), cold);
    assert_eq!(compiled.load(Ordering::Relaxed), 2, "the corrupt file is not used");
    assert_eq!(start(&config), cold);
    assert_eq!(compiled.load(Ordering::Relaxed), 2, "it was replaced");

    // Another backend has other code, under another key.
    start(&EngineConfig { backend: Backend::CraneliftNone, ..config.clone() });
    assert_eq!(compiled.load(Ordering::Relaxed), 3);
}

#[test]
fn modules_in_memory_are_bounded() {
    let engine = engine(&EngineConfig { modules_bytes_max: 1, ..config(Backend::CraneliftSpeed) });
    for number in 0..3 {
        let wat = format!(r#"(module (func (export "run") (drop (i32.const {number}))))"#);
        run(&engine, &wat, &invocation("run", 10_000));
        assert_eq!(engine.modules_in_memory(), 1);
    }
}

#[test]
fn the_allocation_mode_is_told() {
    let on_demand = EngineConfig { allocation: Allocation::OnDemand, ..config(Backend::CraneliftSpeed) };
    assert_eq!(engine(&on_demand).allocation_mode(), AllocationMode::OnDemand);
    let mode = engine(&config(Backend::CraneliftSpeed)).allocation_mode();
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        assert_eq!(mode, AllocationMode::Pooling { instances: 16 });
    }
}

#[cfg(unix)]
#[test]
fn without_address_space_instances_are_made_on_demand() {
    const CHILD: &str = "PURLIN_TEST_WITHOUT_ADDRESS_SPACE";
    if std::env::var_os(CHILD).is_some() {
        let engine = engine(&config(Backend::CraneliftSpeed));
        assert_eq!(engine.allocation_mode(), AllocationMode::OnDemand);
        let wat = r#"(module
            (import "host" "note" (func $note (param i64)))
            (memory 2)
            (func (export "run") (call $note (i64.extend_i32_s (memory.grow (i32.const 14))))))"#;
        assert_eq!(run(&engine, wat, &invocation("run", 100_000)).notes, [2]);
        return;
    }
    let status = std::process::Command::new("sh")
        .arg("-c")
        .arg("ulimit -v 4000000 && exec \"$0\" --exact without_address_space_instances_are_made_on_demand")
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_backtrace_names_functions_and_the_verdict_does_not() {
    let wat = r#"(module
        (func $_ZN5token8transfer17h0123456789abcdefE (unreachable))
        (func (export "run") (call $_ZN5token8transfer17h0123456789abcdefE)))"#;
    for backend in Backend::ALL {
        let (_, report) = try_run(&engine(&config(backend)), wat, &invocation("run", 10_000));
        let report = report.unwrap();
        let backtrace = report.backtrace.unwrap();
        assert!(backtrace.contains("token::transfer"), "{backtrace}");
        assert!(!report.end.unwrap_err().message.contains("transfer"));
        let off = EngineConfig { backtraces: Backtraces::Off, ..config(backend) };
        let (_, report) = try_run(&engine(&off), wat, &invocation("run", 10_000));
        assert_eq!(report.unwrap().backtrace, None);
    }
}

/// A host whose guests call themselves again through the host.
struct Nest {
    engine: Option<(Arc<Engine<Nest>>, Module<Nest>)>,
    depth: usize,
    deepest: usize,
    overflows: usize,
}

fn nest(guest: &mut Guest<'_, Nest>) -> Result<(), HostFault> {
    let gas = guest.gas_left().get() / 2;
    let nest = guest.data_mut();
    if nest.depth == CALL_DEPTH_MAX {
        return Ok(());
    }
    let (engine, module) = nest.engine.clone().expect("set before the first call");
    let inner =
        Nest { engine: nest.engine.clone(), depth: nest.depth + 1, deepest: nest.depth + 1, overflows: 0 };
    let (inner, report) = engine.call(&module, &invocation("run", gas), inner);
    let report = report.map_err(|fault| HostFault::Node(Box::new(fault)))?;
    let nest = guest.data_mut();
    nest.deepest = inner.deepest;
    nest.overflows =
        inner.overflows + usize::from(report.end.unwrap_err().code == FailureCode::StackOverflow);
    Ok(())
}

#[test]
fn the_deepest_chain_of_calls_fits_with_every_stack_full() {
    // Each guest recurses with large frames almost to its limit, then calls the next, then goes over it.
    let locals = "(local i64)".repeat(500);
    let wat = format!(
        r#"(module
            (import "host" "nest" (func $nest))
            (func $deeper (param i32) {locals}
                (if (i32.eqz (local.get 0)) (then (call $nest)))
                (call $deeper (i32.sub (local.get 0) (i32.const 1))))
            (func (export "run") (call $deeper (i32.const 60))))"#
    );
    let wasm = wat::parse_str(&wat).unwrap();
    for backend in Backend::ALL {
        let engine = Engine::<Nest>::new(&config(backend), |host| {
            host.function("host", "nest", nest);
        })
        .unwrap();
        let engine = Arc::new(engine);
        let module = engine.module(&code(&wasm), || Ok::<_, std::io::Error>(wasm.clone())).unwrap();
        let host =
            Nest { engine: Some((engine.clone(), module.clone())), depth: 1, deepest: 1, overflows: 0 };
        let (host, report) = engine.call(&module, &invocation("run", 1 << 40), host);
        assert_eq!(report.unwrap().end.unwrap_err().code, FailureCode::StackOverflow);
        assert_eq!((host.deepest, host.overflows), (CALL_DEPTH_MAX, CALL_DEPTH_MAX - 1));
    }
}

#[test]
fn more_threads_than_instances_wait_for_their_turn() {
    let engine = engine(&EngineConfig { instances_max: 8, ..config(Backend::CraneliftSpeed) });
    let wasm = wat::parse_str(r#"(module (memory 1) (func (export "run")))"#).unwrap();
    let module = engine.module(&code(&wasm), || Ok::<_, std::io::Error>(wasm)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                on_guest_stack(|| {
                    for _ in 0..50 {
                        let (_, report) = engine.call(&module, &invocation("run", 10_000), Notes::new());
                        report.unwrap().end.unwrap();
                    }
                })
                .unwrap();
            });
        }
    });
}

#[test]
fn memory_of_one_call_is_not_seen_by_the_next() {
    let wat = r#"(module
        (import "host" "note" (func $note (param i64)))
        (memory (export "memory") 2) (data (i32.const 16) "\05")
        (func (export "run")
            (call $note (i64.load (i32.const 16)))
            (call $note (i64.load (i32.const 100000)))
            (call $note (i64.extend_i32_s (memory.grow (i32.const 8))))
            (call $note (i64.load (i32.const 600000)))
            (i64.store (i32.const 16) (i64.const 77))
            (i64.store (i32.const 100000) (i64.const 78))
            (i64.store (i32.const 600000) (i64.const 79))))"#;
    for backend in Backend::ALL {
        let engine = engine(&config(backend));
        for _ in 0..3 {
            assert_eq!(run(&engine, wat, &invocation("run", 100_000)).notes, [5, 0, 2, 0]);
        }
    }
}

#[test]
fn gas_of_any_size_can_be_given() {
    let engine = engine(&config(Backend::CraneliftSpeed));
    for gas in [0, 1, u64::MAX] {
        let invocation = Invocation { gas: Gas::new(gas), ..invocation("run", 0) };
        let (_, report) = try_run(&engine, r#"(module (func (export "run")))"#, &invocation);
        assert_eq!(report.unwrap().end.is_ok(), gas > 1);
    }
}
