//! A host of one function, `host.note(i64)`, and a loop over all backends.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its share")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use purlin_abi::{FailureCode, Gas, Hash32};
use purlin_engine::{Allocation, Backend, Engine, EngineConfig, EngineFault, Guest, Invocation, Report};

/// What a guest noted, in order.
pub type Notes = Vec<i64>;

pub const INSTANTIATE: u64 = 1_000;
pub const PAGE: u64 = 500;

pub fn config(backend: Backend) -> EngineConfig {
    EngineConfig { backend, instances_max: 16, ..EngineConfig::default() }
}

pub fn engine(config: &EngineConfig) -> Engine<Notes> {
    Engine::new(config, |host| {
        host.function("host", "note", |guest: &mut Guest<'_, Notes>, value: i64| {
            guest.data_mut().push(value);
            Ok(())
        });
        host.function("host", "gas_left", |guest: &mut Guest<'_, Notes>| Ok(guest.gas_left().get()));
    })
    .unwrap()
}

pub fn code(wasm: &[u8]) -> Hash32 {
    Hash32::new(blake3::hash(wasm).into())
}

pub fn invocation(export: &str, gas: u64) -> Invocation<'_> {
    Invocation {
        export,
        gas: Gas::new(gas),
        instantiate_price: INSTANTIATE,
        page_price: PAGE,
        memory_pages_max: 16,
    }
}

pub fn try_run(
    engine: &Engine<Notes>,
    wat: &str,
    invocation: &Invocation<'_>,
) -> (Notes, Result<Report, EngineFault>) {
    let wasm = wat::parse_str(wat).unwrap();
    let module = engine.module(&code(&wasm), || Ok::<_, std::io::Error>(wasm)).unwrap();
    engine.call(&module, invocation, Notes::new())
}

/// What must be the same on every backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub notes: Notes,
    pub failure: Option<(FailureCode, String)>,
    pub gas_used: u64,
}

impl Seen {
    pub fn code(&self) -> Option<FailureCode> {
        self.failure.as_ref().map(|(code, _)| *code)
    }
}

pub fn run(engine: &Engine<Notes>, wat: &str, invocation: &Invocation<'_>) -> Seen {
    let (notes, report) = try_run(engine, wat, invocation);
    let report = report.unwrap();
    Seen {
        notes,
        failure: report.end.err().map(|failure| (failure.code, failure.message)),
        gas_used: report.gas_used.get(),
    }
}

/// Every backend, pooled and on demand.
pub fn engines() -> Vec<(String, Engine<Notes>)> {
    let mut engines = Vec::new();
    for backend in Backend::ALL {
        for allocation in [Allocation::Automatic, Allocation::OnDemand] {
            let config = EngineConfig { allocation, ..config(backend) };
            engines.push((format!("{backend:?}, {allocation:?}"), engine(&config)));
        }
    }
    engines
}

/// Runs a module everywhere and expects the same.
pub fn everywhere(wat: &str, invocation: &Invocation<'_>) -> Seen {
    everywhere_on(&engines(), wat, invocation)
}

pub fn everywhere_on(engines: &[(String, Engine<Notes>)], wat: &str, invocation: &Invocation<'_>) -> Seen {
    let mut first: Option<Seen> = None;
    for (name, engine) in engines {
        let seen = run(engine, wat, invocation);
        match &first {
            None => first = Some(seen),
            Some(first) => assert_eq!(&seen, first, "under {name}"),
        }
    }
    first.unwrap()
}
