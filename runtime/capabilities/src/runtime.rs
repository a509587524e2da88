//! Runs calls of applications over a host.

use purlin_abi::limits::{INPUT_BYTES_MAX, MEMORY_PAGES_MAX};
use purlin_abi::{CallFailure, CallOutcome, FailureCode, Gas, Hash32};
use purlin_engine::{
    AllocationMode, BoxedError, Engine, EngineConfig, EngineFault, HostRegistry, Invocation,
    RegisteredFunction,
};

use crate::context::{Context, GAS};
use crate::{Host, accounts, apps, core, crypto, devices, events, storage};

/// A compiled application, ready to be called; cheap to clone.
pub struct Module<H: Host>(purlin_engine::Module<Context<H>>);

impl<H: Host> Clone for Module<H> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<H: Host> Module<H> {
    /// Returns the key under which the runtime knows the code.
    pub fn code(&self) -> &Hash32 {
        self.0.code()
    }

    /// Tells whether a call can name this export.
    pub fn has_function(&self, export: &str) -> bool {
        self.0.has_function(export)
    }

    /// Returns the size of the compiled code in bytes.
    pub fn compiled_bytes(&self) -> usize {
        self.0.compiled_bytes()
    }
}

/// One call of one export.
#[derive(Debug, Clone)]
pub struct GuestCall<'a> {
    /// The export: `transfer`, `query_balance`, `initialize`.
    pub export: &'a str,
    /// Borsh arguments.
    pub arguments: Vec<u8>,
    /// Gas that the call may use.
    pub gas: Gas,
    /// Largest linear memory by the manifest, in pages; more than the protocol's limit means that limit.
    pub memory_pages_max: u32,
}

/// How a call ended.
#[derive(Debug)]
pub struct CallReport {
    /// The result in borsh, or why there is none. After a failure the host's writes must be discarded.
    pub outcome: CallOutcome,
    /// Gas used: never more than was given, and all of it when it ran out.
    pub gas_used: Gas,
    /// The guest's call stack at a trap, symbolised, for the node's log only: it is not deterministic.
    pub backtrace: Option<String>,
}

/// Runs applications over a host. Make one per process, and share it between threads.
pub struct Runtime<H: Host> {
    engine: Engine<Context<H>>,
}

impl<H: Host> Runtime<H> {
    /// Makes a runtime.
    ///
    /// # Errors
    /// A fault when this machine has no room for it, or the cache cannot be opened.
    pub fn new(config: &EngineConfig) -> Result<Self, EngineFault> {
        Ok(Self { engine: Engine::new(config, register)? })
    }

    /// Returns a module: from memory, from the disk's cache of compiled code, or compiled from what `wasm`
    /// loads. The module must have passed the checks at install; different wasm must have different `code`.
    ///
    /// # Errors
    /// A fault, never a verdict, when the bytes cannot be loaded or compiled.
    pub fn module<E: Into<BoxedError>>(
        &self,
        code: &Hash32,
        wasm: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Module<H>, EngineFault> {
        self.engine.module(code, wasm).map(Module)
    }

    /// Runs an export in a fresh instance, and gives the host back whatever happens.
    ///
    /// On a thread without a guest stack each call costs a new thread, so run a whole block inside
    /// [`crate::on_guest_stack`]; calls nested in [`Host::call_app`] are on such a thread already.
    ///
    /// # Errors
    /// A fault of this node: the call has no outcome, and the block that it is in must not be decided.
    pub fn call(
        &self,
        module: &Module<H>,
        call: GuestCall<'_>,
        host: H,
    ) -> (H, Result<CallReport, EngineFault>) {
        if call.arguments.len() > INPUT_BYTES_MAX {
            let message = format!(
                "the arguments have {} bytes; at most {INPUT_BYTES_MAX} are allowed",
                call.arguments.len()
            );
            let failure = CallFailure::new(FailureCode::LimitExceeded, message).in_app(host.app_id());
            let report = CallReport { outcome: Err(failure), gas_used: Gas::ZERO, backtrace: None };
            return (host, Ok(report));
        }
        let invocation = Invocation {
            export: call.export,
            gas: call.gas,
            instantiate_price: GAS.instantiate,
            page_price: GAS.memory_page,
            memory_pages_max: call.memory_pages_max.min(MEMORY_PAGES_MAX),
        };
        let (context, report) = self.engine.call(&module.0, &invocation, Context::new(host, call.arguments));
        let (host, output) = context.into_parts();
        let report = report.map(|report| CallReport {
            outcome: match report.end {
                Ok(()) => Ok(output),
                Err(failure) => Err(failure.in_app(host.app_id())),
            },
            gas_used: report.gas_used,
            backtrace: report.backtrace,
        });
        (host, report)
    }

    /// Says how instances get their memory on this machine.
    pub fn allocation_mode(&self) -> AllocationMode {
        self.engine.allocation_mode()
    }

    /// Returns the functions that guests may import.
    pub fn functions(&self) -> &[RegisteredFunction] {
        self.engine.functions()
    }
}

fn register<H: Host>(registry: &mut HostRegistry<Context<H>>) {
    core::register(registry);
    storage::register(registry);
    events::register(registry);
    accounts::register(registry);
    apps::register(registry);
    devices::register(registry);
    crypto::register(registry);
}
