//! Guests in WAT with every import at hand, run on every backend.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its share")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use purlin_abi::host::{FUNCTIONS, ValueType};
use purlin_abi::{CallOutcome, FailureCode, Gas};
use purlin_capabilities::testing::{MemoryHost, call_once};
use purlin_capabilities::{Backend, Runtime, RuntimeConfig};

/// Wraps a body in a module that imports everything, as `$<capability>_<name>`, with 2 pages of memory.
pub fn module(body: &str) -> String {
    let mut imports = String::new();
    for function in FUNCTIONS {
        let capability = purlin_abi::host::permission_of(function.module).unwrap();
        let kind = |ty: &ValueType| match ty {
            ValueType::I32 => "i32 ",
            ValueType::I64 => "i64 ",
        };
        let params: String = function.params.iter().map(kind).collect();
        let result = function.result.as_ref().map(|ty| format!("(result {})", kind(ty))).unwrap_or_default();
        imports += &format!(
            "(import \"{}\" \"{}\" (func ${capability}_{} (param {params}) {result}))\n",
            function.module, function.name, function.name
        );
    }
    format!(r#"(module {imports} (memory (export "memory") 2) {body})"#)
}

/// Wraps instructions in an export `run`.
pub fn run_body(body: &str) -> String {
    module(&format!(r#"(func (export "run") {body})"#))
}

pub fn runtimes() -> Vec<(Backend, Runtime<MemoryHost>)> {
    Backend::ALL
        .into_iter()
        .map(|backend| {
            let config = RuntimeConfig { backend, instances_max: 16, ..RuntimeConfig::default() };
            (backend, Runtime::new(&config).unwrap())
        })
        .collect()
}

/// Result of a run, equal on every backend.
pub struct Ran {
    pub host: MemoryHost,
    pub outcome: CallOutcome,
    pub gas: Gas,
}

impl Ran {
    pub fn code(&self) -> Option<FailureCode> {
        self.outcome.as_ref().err().map(|failure| failure.code)
    }

    pub fn message(&self) -> &str {
        &self.outcome.as_ref().unwrap_err().message
    }
}

/// Runs an export everywhere and expects the same outcome, gas, storage and events.
pub fn everywhere(wat: &str, export: &str, arguments: &[u8], host: &MemoryHost) -> Ran {
    let wasm = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
    everywhere_wasm(&wasm, export, arguments, host)
}

pub fn everywhere_wasm(wasm: &[u8], export: &str, arguments: &[u8], host: &MemoryHost) -> Ran {
    let mut first: Option<Ran> = None;
    for (backend, runtime) in runtimes() {
        let (host, report) = call_once(&runtime, wasm, export, arguments, host.clone());
        let ran = Ran { host, outcome: report.outcome, gas: report.gas_used };
        match &first {
            None => first = Some(ran),
            Some(first) => {
                assert_eq!(ran.outcome, first.outcome, "{backend:?}");
                assert_eq!(ran.gas, first.gas, "{backend:?}");
                assert_eq!(ran.host.storage, first.host.storage, "{backend:?}");
                assert_eq!(ran.host.events, first.host.events, "{backend:?}");
                assert_eq!(ran.host.log, first.host.log, "{backend:?}");
            }
        }
    }
    first.unwrap()
}

/// Runs instructions everywhere on a plain host.
pub fn check(body: &str) -> Ran {
    everywhere(&run_body(body), "run", &[], &MemoryHost::default())
}
