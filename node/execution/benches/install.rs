//! What a unit of an install's gas takes, by the shape of the module:
//! `cargo bench --workspace --profile dev --bench install`.
//!
//! Compiling is the one work whose time depends on more than the number of bytes, and nobody can stop it: what does not end in
//! time stops the node. The last column is the ratio to the meaning of gas, 0.25 ns: a line far above 1 is a module that pays
//! too little.

use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use purlin_capabilities::RuntimeConfig;
use purlin_chain::{BlockContext, Executor, Policy};
use purlin_execution::NodeExecutor;
use purlin_package::PackageBuilder;
use purlin_primitives::{
    AccountId, Action, Amount, ChainId, Gas, Genesis, GenesisValidator, Height, Parameters, Seal, SecretKey,
    TimestampMs, TransactionBody,
};
use purlin_state::{Column, Durability, FlatState, KeyValueStore, MemoryStore, WriteBatch};

/// The allocator of the node's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NS_PER_GAS: f64 = 0.25;

/// A function that sets all its locals, does something, and needs them all after it.
fn wide(locals: usize, body: &str) -> String {
    let mut out = format!("(func (local {})", "i64 ".repeat(locals));
    for n in 0..locals {
        let _ = write!(out, "(local.set {n} (i64.load (i32.const {n})))");
    }
    out += body;
    for n in 0..locals {
        let _ = write!(out, "(i64.store (i32.const {n}) (local.get {n}))");
    }
    out + ")"
}

fn shapes() -> Vec<(&'static str, String)> {
    let again = "(br_if 0 (i32.wrap_i64 (local.get 0)))";
    let many = |count: usize, each: &dyn Fn(usize) -> String| (0..count).map(each).collect::<String>();
    let nested = |locals: usize, depth: usize| {
        let sets = many(locals, &|n| format!("(local.set {n} (i64.add (local.get {n}) (i64.const 1)))"));
        wide(locals, &format!("{}{sets}{}", "(loop ".repeat(depth), format!("{again})").repeat(depth)))
    };
    vec![
        ("19,999 functions of nothing", "(func)".repeat(19_999)),
        ("10,000 functions of one call", "(func $f)".to_owned() + &"(func (call $f))".repeat(10_000)),
        ("2,000 functions of 100 instructions", {
            let step = "(local.set 0 (i64.mul (i64.add (local.get 0) (i64.const 3)) (local.get 0)))";
            format!("(func (local i64) {})", step.repeat(17)).repeat(2_000)
        }),
        ("30,000 calls in one function", format!("(func $f) (func {})", "(call $f)".repeat(30_000))),
        ("200,000 instructions in one function", {
            wide(
                10,
                &many(33_000, &|n| format!("(local.set {} (i64.mul (local.get 1) (local.get 2)))", n % 10)),
            )
        }),
        ("500 locals, 500 loops", wide(500, &format!("(loop {again})").repeat(500))),
        ("2,000 locals, 100 loops", wide(2_000, &format!("(loop {again})").repeat(100))),
        ("300 locals, 50 loops in each other", nested(300, 50)),
        ("50 locals, 500 loops in each other", nested(50, 500)),
        ("500 locals, 2,000 ifs", {
            let one = |n: usize| {
                let (n, m) = (n % 500, (n + 1) % 500);
                format!("(if (i32.wrap_i64 (local.get 0)) (then (local.set {n} (local.get {m}))))")
            };
            wide(500, &many(2_000, &one))
        }),
        ("500 locals, 500 jumps out of one block", {
            let one = |n: usize| format!("(local.set {} (i64.const {n})) {again}", n % 499 + 1);
            wide(500, &format!("(block {})", many(500, &one)))
        }),
        ("jump tables of 100,000 targets", {
            let table = format!("(block (br_table {} (i32.wrap_i64 (local.get 0))))", "0 ".repeat(10_000));
            wide(10, &table.repeat(10))
        }),
        ("calls with 500 parameters", {
            let (types, pushed) = ("i64 ".repeat(500), "(local.get 0)".repeat(500));
            format!("(func $f (param {types})) {}", wide(1, &format!("(call $f {pushed})").repeat(50)))
        }),
        ("1,000 operands around 100 loops", {
            let (push, drop) = ("(local.get 0)".repeat(1_000), "(drop)".repeat(1_000));
            wide(1, &format!("{push} {} {drop}", format!("(loop {again})").repeat(100)))
        }),
        ("998 types", {
            let kinds = ["i32", "i64", "f32", "f64"];
            many(998, &|n| {
                let parameters = many(9, &|digit| format!("{} ", kinds[(n >> (2 * digit)) & 3]));
                format!("(type (func (param {parameters})))")
            })
        }),
        ("5,000 data segments", many(5_000, &|n| format!("(data (i32.const {n}) \"x\")"))),
        (
            "20,000 elements",
            format!("(func $f) (table 20000 funcref) (elem (i32.const 0) {})", "$f ".repeat(20_000)),
        ),
        ("1 MB of data", format!("(data (i32.const 0) \"{}\")", "0123456789".repeat(100_000))),
    ]
}

/// What does not pack: packages that pack too well are refused, and a module need not.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    next.take(100_000).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let executor = NodeExecutor::new(&RuntimeConfig::default())?;
    let key = SecretKey::from_bytes(&[7; 32])?;
    let chain_id: ChainId = "bench".parse()?;
    let parameters = Arc::new(Parameters { block_gas_limit: Gas::MAX, ..Parameters::default() });
    let genesis = Genesis {
        chain_id: chain_id.clone(),
        time: TimestampMs::ZERO,
        validators: vec![GenesisValidator { public_key: key.public_key(), power: 1 }],
        accounts: Vec::new(),
        parameters: Parameters::default(),
    };
    let store = Arc::new(MemoryStore::new());
    let mut batch = WriteBatch::default();
    for (key, value) in executor.genesis(&genesis)? {
        if let Some(value) = value {
            batch.put(Column::of_state(&key), key, value);
        }
    }
    store.write(batch, Durability::Buffered)?;
    let state = Arc::new(FlatState::new(store));
    println!("a module of                                    kB    million gas        ms   of its price");
    for (name, inside) in shapes() {
        let wat = format!("(module (memory (export \"memory\") 17) (func (export \"run\")) {inside})");
        let wasm = wat::parse_str(&wat).map_err(|error| format!("{name}: {error}"))?;
        let kilobytes = wasm.len() as f64 / 1e3;
        let manifest = br#"{"id": "bench", "name": "Bench", "version": "1.0.0", "abi": 1}"#;
        let mut builder = PackageBuilder::new(manifest)?;
        builder.file("contract.wasm", wasm)?;
        builder.file("ui/noise.bin", noise())?;
        let package = builder.build()?;
        let body = TransactionBody {
            chain_id: chain_id.clone(),
            sender: key.public_key().account_id(),
            nonce: 0,
            expires_at: Height::new(10),
            gas_limit: Gas::MAX,
            fee: Amount::ZERO,
            access: Vec::new(),
            actions: vec![Action::InstallApp { package, arguments: Vec::new() }],
        };
        let install = key.sign_transaction(body).verify(&chain_id)?;
        let context = BlockContext {
            chain_id: chain_id.clone(),
            height: Height::new(1),
            time: TimestampMs::new(1),
            proposer: AccountId::ZERO,
            seal: Seal::FIRST_ROUND,
            parameters: parameters.clone(),
        };
        let start = Instant::now();
        let done = executor.execute_block(state.clone(), &context, &[install], Policy::Refuse)?;
        let took = start.elapsed();
        let receipt = &done.receipts[0];
        if !receipt.succeeded() {
            println!("{name:42} {kilobytes:8.0}   refused: {:?}", receipt.outcome);
            continue;
        }
        let gas = receipt.gas_used.get() as f64;
        let (ms, ratio) = (took.as_secs_f64() * 1e3, took.as_nanos() as f64 / gas / NS_PER_GAS);
        println!("{name:42} {kilobytes:8.0} {:14.1} {ms:9.1} {ratio:13.2}x", gas / 1e6);
    }
    Ok(())
}
