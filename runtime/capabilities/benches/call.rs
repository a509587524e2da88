//! What a call costs beside the bare floor: `cargo bench -p purlin-capabilities --profile dev`.
//!
//! One run prints both and their ratio; the best of several rounds of each, taken in turns, so that other
//! work on the machine disturbs both alike.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use purlin_abi::{AccountId, Gas};
use purlin_capabilities::testing::{MemoryHost, code_of};
use purlin_capabilities::{
    Backend, CacheConfig, GuestCall, HostFault, Module, Runtime, RuntimeConfig, on_guest_stack,
};
use purlin_engine::floor::Floor;

const ROUNDS: usize = 500;
/// Few enough for a round to end within one time slice of a busy machine.
const CALLS: u32 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let wasm = wat::parse_str(include_str!("../tests/guests/transfer.wat"))?;
    let empty = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "transfer")))"#)?;
    on_guest_stack(|| run(&wasm, &empty).map_err(|error| error.to_string()))??;
    load()
}

/// Compares compiling a large module with loading its compiled code from disk.
fn load() -> Result<(), Box<dyn Error>> {
    let mut functions = String::new();
    for number in 0..1_200 {
        functions += &format!("(func (export \"f{number}\") (local i64) (local.set 0 (i64.const {number}))");
        for step in 0..10 {
            functions += &format!(
                "(i64.store offset={step} (i32.wrap_i64 (i64.and (local.get 0) (i64.const 0xfff)))
                    (i64.mul (local.get 0) (i64.const {}))) (local.set 0 (i64.rotl (local.get 0) (i64.const 7)))",
                number * 31 + step
            );
        }
        functions += ")";
    }
    let wasm = wat::parse_str(format!("(module (memory 1) {functions})"))?;
    let directory = tempfile::tempdir()?;
    let config =
        RuntimeConfig { cache: Some(CacheConfig::new(directory.path())), ..RuntimeConfig::default() };
    for name in ["compiled", "loaded from disk"] {
        let runtime = Runtime::<MemoryHost>::new(&config)?;
        let start = Instant::now();
        let module = runtime.module(&code_of(&wasm), || Ok::<_, HostFault>(wasm.clone()))?;
        println!(
            "{} KiB of wasm {name}: {:.1} ms, {} KiB of code",
            wasm.len() / 1024,
            start.elapsed().as_secs_f64() * 1e3,
            module.compiled_bytes() / 1024
        );
    }
    Ok(())
}

fn run(wasm: &[u8], empty: &[u8]) -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::<MemoryHost>::new(&RuntimeConfig::default())?;
    println!("instances: {:?}", runtime.allocation_mode());
    for (name, wasm) in [("empty call", empty), ("token transfer in WAT", wasm)] {
        let floor = Floor::new(wasm, "transfer")?;
        let mut subject = Subject::new(&runtime, wasm)?;
        let (mut best_floor, mut best_ours) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            best_floor = best_floor.min(time(|| floor.call().map(drop).map_err(Into::into))?);
            best_ours = best_ours.min(time(|| subject.transfer())?);
        }
        println!(
            "{name}: floor {best_floor:.2} us, runtime {best_ours:.2} us, ratio {:.2}",
            best_ours / best_floor
        );
    }
    for backend in [Backend::CraneliftNone, Backend::Pulley] {
        let runtime = Runtime::new(&RuntimeConfig { backend, ..RuntimeConfig::default() })?;
        let mut subject = Subject::new(&runtime, wasm)?;
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            best = best.min(time(|| subject.transfer())?);
        }
        println!("token transfer in WAT, {backend:?}: {best:.2} us");
    }
    Ok(())
}

/// Returns microseconds per call.
fn time(mut call: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    for _ in 0..CALLS {
        call()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS))
}

struct Subject<'r> {
    runtime: &'r Runtime<MemoryHost>,
    module: Module<MemoryHost>,
    arguments: Vec<u8>,
    /// Taken while a call runs.
    host: Option<MemoryHost>,
}

impl<'r> Subject<'r> {
    fn new(runtime: &'r Runtime<MemoryHost>, wasm: &[u8]) -> Result<Self, Box<dyn Error>> {
        let module = runtime.module(&code_of(wasm), || Ok::<_, HostFault>(wasm.to_vec()))?;
        let mut host = MemoryHost::default();
        // Among other balances, as in a real state.
        for number in 0..1_000_u32 {
            let mut account = [7; 20];
            account[..4].copy_from_slice(&number.to_be_bytes());
            host.storage.insert(key(&AccountId::new(account)), 5_u128.to_le_bytes().to_vec());
        }
        host.storage.insert(key(&host.caller), u128::from(u64::MAX).to_le_bytes().to_vec());
        let mut arguments = vec![9; 20];
        arguments.extend_from_slice(&3_u128.to_le_bytes());
        Ok(Self { runtime, module, arguments, host: Some(host) })
    }

    fn transfer(&mut self) -> Result<(), Box<dyn Error>> {
        let host = self.host.take().ok_or("the host is in a call")?;
        let call = GuestCall {
            export: "transfer",
            arguments: self.arguments.clone(),
            gas: Gas::new(10_000_000),
            memory_pages_max: 64,
        };
        let (mut host, report) = self.runtime.call(&self.module, call, host);
        host.events.clear();
        self.host = Some(host);
        black_box(report?).outcome.map_err(|failure| failure.message)?;
        Ok(())
    }
}

fn key(account: &AccountId) -> Vec<u8> {
    [b"balances:".as_slice(), account.as_bytes()].concat()
}
