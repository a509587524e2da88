//! What a guest does has one outcome: the same code, words, gas and effects on every backend.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod common;

use common::{INSTANTIATE, PAGE, engines, everywhere, everywhere_on, invocation};
use purlin_abi::FailureCode;
use purlin_engine::Invocation;

const GAS: u64 = 1_000_000;

#[test]
fn an_infinite_loop_uses_exactly_its_gas() {
    for gas in [INSTANTIATE, INSTANTIATE + 1, 50_000, GAS] {
        let seen = everywhere(r#"(module (func (export "run") (loop (br 0))))"#, &invocation("run", gas));
        assert_eq!(
            seen.failure,
            Some((FailureCode::OutOfGas, format!("the gas limit of {gas} was reached"))),
        );
        assert_eq!(seen.gas_used, gas);
    }
}

#[test]
fn a_call_may_use_its_gas_to_the_last_unit() {
    let wat = r#"(module
        (import "host" "note" (func $note (param i64)))
        (func (export "run") (call $note (i64.const 1))))"#;
    let engines = engines();
    let used = everywhere_on(&engines, wat, &invocation("run", GAS)).gas_used;
    let exact = everywhere_on(&engines, wat, &invocation("run", used));
    assert_eq!((exact.failure, exact.gas_used), (None, used));
    let short = everywhere_on(&engines, wat, &invocation("run", used - 1));
    assert_eq!((short.code(), short.gas_used), (Some(FailureCode::OutOfGas), used - 1));
    let none = everywhere_on(&engines, wat, &invocation("run", INSTANTIATE - 1));
    assert_eq!((none.code(), none.gas_used), (Some(FailureCode::OutOfGas), INSTANTIATE - 1));
    assert!(none.notes.is_empty());
}

/// Pins the price of plain code, the meter's twelve instructions per call included: a change is a change of
/// consensus.
#[test]
fn the_gas_of_plain_code_is_golden() {
    let wat = r#"(module
        (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
        (func $caller (result i32) (call $leaf (i32.const 1)))
        (func (export "leaf") (drop (call $leaf (i32.const 1))))
        (func (export "nothing"))
        (func (export "caller") (drop (call $caller))))"#;
    let engines = engines();
    let gas = |export| everywhere_on(&engines, wat, &invocation(export, GAS)).gas_used - INSTANTIATE;
    // One unit is for entering a function, and a call costs four.
    assert_eq!([gas("nothing"), gas("leaf"), gas("caller")], [1, 22, 39]);
}

#[test]
fn bulk_operations_cost_a_unit_per_byte() {
    let wat = |operation: &str| {
        format!(
            r#"(module (memory (export "memory") 2) (data $d "{}")
                (func (export "run") {operation}))"#,
            "x".repeat(5000)
        )
    };
    let gas = |operation: &str| everywhere(&wat(operation), &invocation("run", GAS)).gas_used;
    for (name, three) in [
        ("memory.fill", "(i32.const 0) (i32.const 1)"),
        ("memory.copy", "(i32.const 0) (i32.const 9000)"),
        ("memory.init $d", "(i32.const 0) (i32.const 0)"),
    ] {
        let none = gas(&format!("({name} {three} (i32.const 0))"));
        let some = gas(&format!("({name} {three} (i32.const 5000))"));
        assert_eq!(some - none, 5000, "{name}");
    }
}

#[test]
fn each_trap_has_its_code_and_words() {
    let engines = engines();
    for (body, code) in [
        ("unreachable", FailureCode::Unreachable),
        ("(drop (i32.load (i32.const 65536)))", FailureCode::MemoryOutOfBounds),
        ("(drop (i32.load (i32.const -1)))", FailureCode::MemoryOutOfBounds),
        ("(i64.store offset=4294967295 (i32.const -1) (i64.const 0))", FailureCode::MemoryOutOfBounds),
        ("(memory.fill (i32.const 65535) (i32.const 0) (i32.const 2))", FailureCode::MemoryOutOfBounds),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", FailureCode::ArithmeticTrap),
        ("(drop (i64.rem_u (i64.const 1) (i64.const 0)))", FailureCode::ArithmeticTrap),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", FailureCode::ArithmeticTrap),
        ("(drop (i32.trunc_f64_s (f64.const nan)))", FailureCode::ArithmeticTrap),
        ("(drop (i32.trunc_f64_s (f64.const 1e20)))", FailureCode::ArithmeticTrap),
        ("(call_indirect (type $t) (i32.const 1))", FailureCode::BadIndirectCall),
        ("(call_indirect (type $u) (i32.const 1) (i32.const 0))", FailureCode::BadIndirectCall),
        ("(call_indirect (type $t) (i32.const 9))", FailureCode::MemoryOutOfBounds),
    ] {
        let wat = format!(
            r#"(module
                (import "host" "note" (func $note (param i64)))
                (type $t (func)) (type $u (func (param i32)))
                (table 3 funcref) (elem (i32.const 0) $f) (func $f)
                (memory (export "memory") 1)
                (func (export "run") (call $note (i64.const 1)) {body} (call $note (i64.const 2))))"#
        );
        let seen = everywhere_on(&engines, &wat, &invocation("run", GAS));
        assert_eq!(seen.code(), Some(code), "{body}");
        assert_eq!(seen.notes, [1], "{body}");
        let (_, message) = seen.failure.unwrap();
        assert!(!message.contains("0x") && !message.contains("wasm trap"), "{message}");
    }
}

#[test]
fn memory_grows_to_the_cap_for_a_price_and_no_further() {
    let wat = r#"(module
        (import "host" "note" (func $note (param i64)))
        (import "host" "gas_left" (func $gas_left (result i64)))
        (memory (export "memory") 2)
        (func $grow (param i32) (call $note (i64.extend_i32_s (memory.grow (local.get 0)))))
        (func (export "run")
            (call $grow (i32.const 13))
            (call $grow (i32.const 2))
            (call $grow (i32.const 1))
            (call $grow (i32.const 1))
            (call $grow (i32.const 65536))
            (call $grow (i32.const -1))
            (call $grow (i32.const 0)))
        (func (export "priced")
            (call $note (call $gas_left))
            (drop (memory.grow (i32.const 3)))
            (call $note (call $gas_left))))"#;
    let engines = engines();
    let seen = everywhere_on(&engines, wat, &invocation("run", GAS));
    assert_eq!(seen.failure, None);
    assert_eq!(seen.notes, [2, -1, 15, -1, -1, -1, 16]);

    let seen = everywhere_on(&engines, wat, &invocation("priced", GAS));
    // `memory.grow` itself costs 160, as a call into the engine.
    assert!((3 * PAGE + 160..3 * PAGE + 180).contains(&((seen.notes[0] - seen.notes[1]) as u64)), "{seen:?}");

    // Growth is paid for even when nothing runs after it.
    let last = r#"(module (memory 1) (func (export "run") (drop (memory.grow (i32.const 10)))))"#;
    let used = everywhere_on(&engines, last, &invocation("run", GAS)).gas_used;
    assert!(used >= INSTANTIATE + 10 * PAGE);
    let short = everywhere_on(&engines, last, &invocation("run", used - 1));
    assert_eq!((short.code(), short.gas_used), (Some(FailureCode::OutOfGas), used - 1));
}

#[test]
fn a_module_that_starts_above_the_cap_is_refused() {
    let wat = r#"(module (memory 17) (func (export "run")))"#;
    let seen = everywhere(wat, &invocation("run", GAS));
    assert_eq!((seen.code(), seen.gas_used), (Some(FailureCode::MemoryLimit), 0));
    let roomy = Invocation { memory_pages_max: 17, ..invocation("run", GAS) };
    assert_eq!(everywhere(wat, &roomy).failure, None);
}

#[test]
fn tables_grow_to_the_limit_and_no_further() {
    let wat = r#"(module
        (import "host" "note" (func $note (param i64)))
        (table 1 funcref)
        (func $grow (param i32)
            (call $note (i64.extend_i32_s (table.grow (ref.null func) (local.get 0)))))
        (func (export "run")
            (call $grow (i32.const 20000))
            (call $grow (i32.const 19999))
            (call $grow (i32.const 1))
            (call $grow (i32.const -1))))"#;
    let seen = everywhere(wat, &invocation("run", GAS));
    assert_eq!(seen.notes, [-1, 1, -1]);
    // Each element asked for costs a unit, granted or not: the last request is beyond any gas limit.
    assert_eq!(seen.code(), Some(FailureCode::OutOfGas));
}

#[test]
fn nan_bits_are_the_same_everywhere() {
    // NaNs of every sign and payload go through every operation that can give one.
    let nans32 = ["0x7fc00000", "0xffc00000", "0x7f800001", "0xff812345", "0x7fffffff"];
    let nans64 = ["0x7ff8000000000000", "0xfff8000000000000", "0x7ff0000000000001", "0xfff123456789abcd"];
    let mut body = String::new();
    let mut expect = Vec::new();
    for (bits, nans, other) in [(32, &nans32[..], "1.5"), (64, &nans64[..], "1.5")] {
        let canonical = if bits == 32 { 0x7fc0_0000 } else { 0x7ff8_0000_0000_0000_i64 };
        for nan in nans {
            let nan = format!("(f{bits}.reinterpret_i{bits} (i{bits}.const {nan}))");
            let mut note = |value: String, bits: u32, expected: i64| {
                body += &match bits {
                    32 => format!("(call $note (i64.extend_i32_u (i32.reinterpret_f32 {value})))"),
                    _ => format!("(call $note (i64.reinterpret_f64 {value}))"),
                };
                expect.push(expected);
            };
            for operation in ["add", "sub", "mul", "div", "min", "max"] {
                note(format!("(f{bits}.{operation} {nan} (f{bits}.const {other}))"), bits, canonical);
                note(format!("(f{bits}.{operation} (f{bits}.const {other}) {nan})"), bits, canonical);
            }
            for operation in ["sqrt", "ceil", "floor", "trunc", "nearest"] {
                note(format!("(f{bits}.{operation} {nan})"), bits, canonical);
            }
            if bits == 32 {
                note(format!("(f64.promote_f32 {nan})"), 64, 0x7ff8_0000_0000_0000);
            } else {
                note(format!("(f32.demote_f64 {nan})"), 32, 0x7fc0_0000);
            }
        }
        for made in [
            format!("(f{bits}.div (f{bits}.const 0) (f{bits}.const 0))"),
            format!("(f{bits}.sub (f{bits}.const inf) (f{bits}.const inf))"),
            format!("(f{bits}.mul (f{bits}.const inf) (f{bits}.const 0))"),
            format!("(f{bits}.sqrt (f{bits}.const -1))"),
        ] {
            body += &match bits {
                32 => format!("(call $note (i64.extend_i32_u (i32.reinterpret_f32 {made})))"),
                _ => format!("(call $note (i64.reinterpret_f64 {made}))"),
            };
            expect.push(canonical);
        }
    }
    let wat =
        format!(r#"(module (import "host" "note" (func $note (param i64))) (func (export "run") {body}))"#);
    let seen = everywhere(&wat, &invocation("run", GAS));
    assert_eq!(seen.failure, None);
    assert_eq!(seen.notes, expect);
}

#[test]
fn a_program_of_every_kind_of_work_is_the_same_everywhere() {
    // Sieve, floats, 64-bit mixing, memory copies and indirect calls in one run.
    let wat = r#"(module
        (import "host" "note" (func $note (param i64)))
        (import "host" "gas_left" (func $gas_left (result i64)))
        (memory (export "memory") 2)
        (type $step (func (param i64) (result i64)))
        (table funcref (elem $mix $rotate $float))
        (func $mix (type $step)
            (i64.mul (i64.xor (local.get 0) (i64.shr_u (local.get 0) (i64.const 29)))
                     (i64.const 0x9e3779b97f4a7c15)))
        (func $rotate (type $step) (i64.rotl (local.get 0) (i64.and (local.get 0) (i64.const 63))))
        (func $float (type $step)
            (i64.add (local.get 0)
                (i64.reinterpret_f64 (f64.sqrt (f64.div (f64.convert_i64_u (local.get 0)) (f64.const 3))))))
        (func (export "run") (local $i i32) (local $x i64)
            (local.set $x (i64.const 88172645463325252))
            (loop $again
                (local.set $x (call_indirect (type $step) (local.get $x)
                    (i32.rem_u (local.get $i) (i32.const 3))))
                (i64.store (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 0xfff8)) (local.get $x))
                (memory.copy (i32.const 70000) (i32.and (local.get $i) (i32.const 0xffff)) (i32.const 100))
                (local.set $x (i64.add (local.get $x) (i64.load (i32.const 70000))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $i) (i32.const 2000))))
            (call $note (local.get $x))
            (call $note (call $gas_left))
            (unreachable)))"#;
    let seen = everywhere(wat, &invocation("run", 10 * GAS));
    assert_eq!(seen.code(), Some(FailureCode::Unreachable));
    assert_eq!(seen.notes.len(), 2);
}
