//! What a unit of gas takes, instruction by instruction: `cargo bench --workspace --profile dev --bench instructions`.
//!
//! Each line is a loop of little else than one instruction. The ratio is to the price's meaning, 0.25 ns: a line far above
//! 1 is an instruction that costs too little, with which a block of little gas takes long. Prices are in `settings.rs`.

use std::error::Error;
use std::time::Instant;

use purlin_abi::{Gas, Hash32};
use purlin_engine::{Engine, EngineConfig, Invocation};

const GAS: u64 = 50_000_000;
const NS_PER_GAS: f64 = 0.25;
const ROUNDS: usize = 3;

/// Names and bodies. Locals: two `i64` (0, 1), an `f64` (2), an `i32` (3).
const LOOPS: &[(&str, &str)] = &[
    ("nothing", ""),
    ("br_if", "(block (br_if 0 (i32.wrap_i64 (local.get 0))))"),
    (
        "br_table",
        "(block (block (block (br_table 0 1 2 0 (i32.and (i32.wrap_i64 (local.get 0)) (i32.const 3))))))
         (local.set 0 (i64.mul (local.get 0) (i64.const 6364136223846793005)))",
    ),
    (
        "if, unpredictable",
        "(local.set 0 (i64.add (i64.mul (local.get 0) (i64.const 6364136223846793005)) (i64.const 144269504)))
         (if (i64.lt_s (local.get 0) (i64.const 0))
            (then (local.set 1 (i64.add (local.get 1) (i64.const 3))))
            (else (local.set 1 (i64.xor (local.get 1) (local.get 0)))))",
    ),
    ("i64.mul", "(local.set 0 (i64.mul (local.get 0) (local.get 0)))"),
    (
        "i64.rem_s",
        "(local.set 0 (i64.or (i64.rem_s (i64.const 9223372036854775) (local.get 0)) (i64.const 12345677)))",
    ),
    (
        "i32.div_u",
        "(local.set 0 (i64.extend_i32_u
            (i32.or (i32.const 7) (i32.div_u (i32.const 2147483647) (i32.wrap_i64 (local.get 0))))))",
    ),
    ("i64.clz, popcnt", "(local.set 0 (i64.add (i64.clz (local.get 0)) (i64.popcnt (local.get 0))))"),
    ("i64.rotl", "(local.set 0 (i64.rotl (local.get 0) (local.get 0)))"),
    ("select", "(local.set 0 (select (local.get 0) (local.get 1) (i32.wrap_i64 (local.get 0))))"),
    ("f64.add", "(local.set 2 (f64.add (local.get 2) (f64.const 1.1)))"),
    ("f64.mul", "(local.set 2 (f64.mul (local.get 2) (f64.const 1.0000001)))"),
    ("f64.div", "(local.set 2 (f64.div (f64.const 3.3) (local.get 2)))"),
    ("f64.sqrt", "(local.set 2 (f64.sqrt (f64.add (local.get 2) (f64.const 3.3))))"),
    ("f64.min", "(local.set 2 (f64.min (local.get 2) (f64.const 3.3)))"),
    ("f64.nearest", "(local.set 2 (f64.nearest (local.get 2)))"),
    ("f64 to i64 and back", "(local.set 2 (f64.convert_i64_s (i64.trunc_sat_f64_s (local.get 2))))"),
    ("f64 to u64 and back", "(local.set 2 (f64.convert_i64_u (i64.trunc_sat_f64_u (local.get 2))))"),
    ("f64 to f32 and back", "(local.set 2 (f64.promote_f32 (f32.demote_f64 (local.get 2))))"),
    ("i64.load", "(local.set 0 (i64.load (i32.and (i32.wrap_i64 (local.get 0)) (i32.const 0xfff8))))"),
    (
        "i32.load, each at the last one's value",
        "(local.set 3 (i32.and (i32.add (i32.load (local.get 3)) (i32.add (local.get 3) (i32.const 77777)))
            (i32.const 0xffff8)))",
    ),
    (
        "i64.store",
        "(i64.store (i32.and (i32.wrap_i64 (local.get 0)) (i32.const 0xfff8)) (local.get 0))
         (local.set 0 (i64.add (local.get 0) (i64.const 4097)))",
    ),
    ("global.set", "(global.set $g (i64.add (global.get $g) (i64.const 1)))"),
    ("call", "(local.set 0 (call $f (local.get 0)))"),
    ("call_indirect", "(local.set 0 (call_indirect (type $t) (local.get 0) (i32.const 1)))"),
    ("memory.size", "(local.set 3 (memory.size))"),
    ("memory.grow 0", "(drop (memory.grow (i32.const 0)))"),
    ("memory.fill 0", "(memory.fill (i32.const 0) (i32.const 1) (i32.const 0))"),
    ("memory.fill 65536", "(memory.fill (i32.const 0) (i32.const 1) (i32.const 65536))"),
    ("memory.copy 0", "(memory.copy (i32.const 0) (i32.const 1000) (i32.const 0))"),
    ("memory.copy n", "(memory.copy (i32.const 0) (i32.const 1000) (i32.and (local.get 3) (i32.const 7)))"),
    ("memory.copy 65536", "(memory.copy (i32.const 0) (i32.const 65536) (i32.const 65536))"),
    ("memory.init 0", "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))"),
    ("data.drop", "(data.drop $d)"),
    ("elem.drop", "(elem.drop $e)"),
    ("table.get", "(drop (table.get (i32.const 1)))"),
    ("table.set", "(table.set (i32.const 1) (table.get (i32.const 2)))"),
    ("table.size", "(drop (table.size))"),
    ("table.grow 0", "(drop (table.grow (ref.null func) (i32.const 0)))"),
    ("table.fill 0", "(table.fill (i32.const 0) (ref.null func) (i32.const 0))"),
    ("table.copy 0", "(table.copy (i32.const 0) (i32.const 1) (i32.const 0))"),
    ("table.init 0", "(table.init $e (i32.const 0) (i32.const 0) (i32.const 0))"),
    ("ref.func", "(drop (ref.func $f))"),
    ("ref.is_null", "(drop (ref.is_null (table.get (i32.const 0))))"),
];

fn module(body: &str) -> Result<Vec<u8>, wat::Error> {
    wat::parse_str(format!(
        r#"(module (memory (export "memory") 16) (data $d "0123456789") (global $g (mut i64) (i64.const 1))
            (table 4 funcref) (elem (i32.const 0) $f $f $f $f) (elem $e func $f $f)
            (type $t (func (param i64) (result i64))) (func $f (param i64) (result i64) (local.get 0))
            (func (export "run") (local i64 i64 f64 i32)
                (local.set 0 (i64.const 77)) (local.set 2 (f64.const 1.5)) (loop {body} (br 0))))"#
    ))
}

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::<()>::new(&EngineConfig::default(), |_| ())?;
    let invocation = Invocation {
        export: "run",
        gas: Gas::new(GAS),
        instantiate_price: 0,
        page_price: 0,
        memory_pages_max: 16,
    };
    println!("a loop of little else than                 ns per gas   of its price");
    for (name, body) in LOOPS {
        let wasm = module(body)?;
        let code = Hash32::new(blake3::hash(&wasm).into());
        let module = engine.module(&code, || Ok::<_, std::io::Error>(wasm))?;
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let (_, report) = engine.call(&module, &invocation, ());
            best = best.min(start.elapsed().as_nanos() as f64 / report?.gas_used.get() as f64);
        }
        println!("{name:40} {best:12.3} {:13.2}x", best / NS_PER_GAS);
    }
    Ok(())
}
