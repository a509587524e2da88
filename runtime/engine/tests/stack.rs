//! The wasm stack ends at the same depth whatever the native stack does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod common;

use common::{engines, everywhere, everywhere_on, invocation};
use purlin_abi::FailureCode;
use purlin_abi::limits::STACK_UNITS_MAX;

const GAS: u64 = 1_000_000_000;

/// A function that notes how deep it is and calls itself, directly or through a table.
fn recursion(locals: usize, operands: usize, call: &str) -> String {
    let declared = "(local i64)".repeat(locals);
    let pushed = "(i64.const 3)".repeat(operands);
    let dropped = "(drop)".repeat(operands);
    format!(
        r#"(module
            (import "host" "note" (func $note (param i64)))
            (type $t (func))
            (table funcref (elem $deeper))
            (global $depth (mut i64) (i64.const 0))
            (func $deeper (type $t) {declared}
                {pushed}
                (global.set $depth (i64.add (global.get $depth) (i64.const 1)))
                (call $note (global.get $depth))
                {call}
                {dropped})
            (func (export "run") (call $deeper)))"#
    )
}

const DIRECT: &str = "(call $deeper)";
const INDIRECT: &str = "(call_indirect (type $t) (i32.const 0))";

#[test]
fn recursion_ends_at_the_depth_that_the_units_say() {
    let engines = engines();
    for (locals, operands, call, height) in [
        // Two operands are the most that the small body has at once.
        (0, 0, DIRECT, 2),
        (0, 0, INDIRECT, 2),
        (1, 0, DIRECT, 2),
        (2_000, 0, DIRECT, 2),
        (2_000, 0, INDIRECT, 2),
        (0, 1_000, DIRECT, 1_002),
        (1_999, 3_000, INDIRECT, 3_002),
    ] {
        let seen = everywhere_on(&engines, &recursion(locals, operands, call), &invocation("run", GAS));
        assert_eq!(seen.code(), Some(FailureCode::StackOverflow), "{locals} locals, {operands} operands");
        let frame = 64 + 8 * (locals as u32 + height);
        // `run` itself calls, and needs no locals and no operands.
        let depth = (STACK_UNITS_MAX - 64) / frame;
        assert_eq!(
            seen.notes.last().copied(),
            Some(i64::from(depth)),
            "{locals} locals, {operands} operands"
        );
        assert_eq!(seen.notes.len(), depth as usize);
    }
}

#[test]
fn live_values_of_every_kind_fit_the_native_stack() {
    // Each frame keeps many values alive over the call that recurses, computed so that nothing can be
    // folded away or made again: the native frame is as large as code can make it for its units.
    let engines = engines();
    for (values, rounds) in [(10, 1), (200, 1), (1_900, 1), (100, 40), (1_900, 3)] {
        let locals = "(local i64)".repeat(values);
        let mut set = String::new();
        let mut use_all = String::from("(i64.const 0)");
        for round in 0..rounds {
            for index in 0..values {
                set += &format!(
                    "(local.set {index} (i64.mul (global.get $depth) (i64.add (local.get {}) (i64.const {}))))",
                    (index * 7 + round) % values,
                    index + 13 * round + 1
                );
            }
            // A call between the rounds makes each round's values live across it.
            set += "(call $note (i64.const 0))";
        }
        for index in 0..values {
            use_all += &format!("(i64.xor (local.get {index}))");
        }
        let wat = format!(
            r#"(module
                (import "host" "note" (func $note (param i64)))
                (global $depth (mut i64) (i64.const 0))
                (global $sum (mut i64) (i64.const 0))
                (func $deeper {locals}
                    (global.set $depth (i64.add (global.get $depth) (i64.const 1)))
                    {set}
                    (call $deeper)
                    {use_all}
                    (global.set $sum))
                (func (export "run") (call $deeper)))"#
        );
        let seen = everywhere_on(&engines, &wat, &invocation("run", 4 * GAS));
        assert_eq!(seen.code(), Some(FailureCode::StackOverflow), "{values} values, {rounds} rounds");
    }
}

#[test]
fn many_parameters_and_results_fit_the_native_stack() {
    let engines = engines();
    for count in [8, 100, 900] {
        let params = "i64 ".repeat(count);
        let gets: String = (0..count).map(|index| format!("(local.get {index})")).collect();
        let zeros = "(i64.const 5)".repeat(count);
        let drops = "(drop)".repeat(count);
        let wat = format!(
            r#"(module
                (func $deeper (param {params}) (result {params}) {gets} (call $deeper))
                (func (export "run") {zeros} (call $deeper) {drops}))"#
        );
        let seen = everywhere_on(&engines, &wat, &invocation("run", GAS));
        assert_eq!(seen.code(), Some(FailureCode::StackOverflow), "{count} parameters");
    }
}

#[test]
fn every_way_out_of_a_function_gives_its_units_back() {
    // Each function leaves in another way; 100,000 rounds would exhaust the stack if one kept its units.
    let wat = r#"(module
        (import "host" "note" (func $note (param i64)))
        (func $nothing (call $leaf))
        (func $leaf)
        (func $return (param i32) (result i32)
            (call $nothing)
            (block (loop (if (local.get 0) (then (return (i32.const 1))))))
            (i32.const 2))
        (func $branch (param i32) (result i32)
            (call $nothing)
            (i32.const 3)
            (br_if 0 (local.get 0))
            (drop)
            (block (br 1 (i32.const 4)))
            (i32.const 5))
        (func $table (param i32) (result i32)
            (call $nothing)
            (block (result i32)
                (block (result i32)
                    (br_table 0 1 2 (i32.const 6) (local.get 0)))))
        (func $several (param i32) (result i32 i64)
            (call $nothing)
            (if (local.get 0) (then (return (i32.const 7) (i64.const 8))))
            (i32.const 9) (i64.const 10))
        (func (export "run") (local $round i32)
            (loop $again
                (drop (call $return (i32.and (local.get $round) (i32.const 1))))
                (drop (call $branch (i32.and (local.get $round) (i32.const 1))))
                (drop (call $table (i32.and (local.get $round) (i32.const 3))))
                (call $several (i32.and (local.get $round) (i32.const 1))) (drop) (drop)
                (local.set $round (i32.add (local.get $round) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $round) (i32.const 100000))))
            (call $note (i64.extend_i32_u (call $return (i32.const 1))))
            (call $note (i64.extend_i32_u (call $return (i32.const 0))))
            (call $note (i64.extend_i32_u (call $branch (i32.const 1))))
            (call $note (i64.extend_i32_u (call $branch (i32.const 0))))
            (call $note (i64.extend_i32_u (call $table (i32.const 0))))
            (call $several (i32.const 1)) (call $note) (drop)
            (call $several (i32.const 0)) (call $note) (drop)))"#;
    let seen = everywhere(wat, &invocation("run", GAS));
    assert_eq!(seen.failure, None);
    assert_eq!(seen.notes, [1, 2, 3, 4, 6, 8, 10]);
}

#[test]
fn a_module_may_have_what_the_meter_adds() {
    // Its own export of that name, no global or export section, a start function, malformed names.
    let seen = everywhere(
        r#"(module
            (global (export "purlin_stack_units") i32 (i32.const 9))
            (func $deeper (call $deeper))
            (func (export "run") (call $deeper)))"#,
        &invocation("run", GAS),
    );
    assert_eq!(seen.code(), Some(FailureCode::StackOverflow));

    let seen = everywhere(
        r#"(module
            (import "host" "note" (func $note (param i64)))
            (@custom "name" "\ff\ff\ff")
            (@custom "debug" "dropped")
            (start $start)
            (func $start (call $note (i64.const 1)))
            (func (export "run") (call $note (i64.const 2))))"#,
        &invocation("run", GAS),
    );
    assert_eq!(seen.notes, [1, 2]);

    let seen = everywhere("(module (func))", &invocation("run", GAS));
    assert_eq!(seen.code(), Some(FailureCode::UnknownMethod));
    let seen = everywhere("(module)", &invocation("run", GAS));
    assert_eq!(seen.code(), Some(FailureCode::UnknownMethod));
}
