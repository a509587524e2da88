//! The engine: prepares modules, runs calls, and says how they ended.

use std::hash::{Hash, Hasher};

use parking_lot::Mutex;
use purlin_abi::limits::CALL_DEPTH_MAX;
use purlin_abi::{CallFailure, FailureCode, Gas, Hash32};
use sha2::{Digest, Sha256};
use wasmtime::{AsContextMut, Extern, Linker, Store, TypedFunc};

use crate::code_cache::{CacheKey, CodeCache};
use crate::compiler::Compiler;
use crate::guest::CallState;
use crate::metering::{self, METERING_VERSION};
use crate::module::{Module, Modules};
use crate::registry::{HostRegistry, RegisteredFunction};
use crate::stack::{Level, Position, on_guest_stack};
use crate::trap::{self, Meaning};
use crate::turns::Turns;
use crate::watchdog::Watchdog;
use crate::{AllocationMode, Backtraces, BoxedError, EngineConfig, EngineFault, HostFault, settings};

/// What to run, and within which limits.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The export to call.
    pub export: &'a str,
    /// Gas that the call may use.
    pub gas: Gas,
    /// Price of the instance, taken first.
    pub instantiate_price: u64,
    /// Price of each page that memory grows by.
    pub page_price: u64,
    /// Largest linear memory, in pages.
    pub memory_pages_max: u32,
}

/// How a call ended.
#[derive(Debug)]
pub struct Report {
    /// `Ok` when the export returned.
    pub end: Result<(), CallFailure>,
    /// Gas used; never more than was given.
    pub gas_used: Gas,
    /// The guest's call stack at a trap, for the node's log; not deterministic.
    pub backtrace: Option<String>,
}

/// Runs guests. `T` is what the host keeps for one call. Make one per process: a pool of instances and a
/// thread or two belong to it.
pub struct Engine<T: Send + 'static> {
    engine: wasmtime::Engine,
    linker: Linker<CallState<T>>,
    functions: Vec<RegisteredFunction>,
    mode: AllocationMode,
    backtraces: Backtraces,
    modules: Modules<T>,
    /// Held while a module is loaded, so that two callers do not compile it twice.
    loading: Mutex<()>,
    cache: Option<CodeCache>,
    compiler: Compiler,
    watchdog: Watchdog,
    turns: Turns,
}

impl<T: Send + 'static> Engine<T> {
    /// Makes an engine whose guests may import what `register` adds.
    ///
    /// # Errors
    /// A fault when the machine has no room for it, the cache cannot be opened, or two functions have one
    /// name.
    pub fn new(
        config: &EngineConfig,
        register: impl FnOnce(&mut HostRegistry<T>),
    ) -> Result<Self, EngineFault> {
        let (engine, mode) = settings::build(config)?;
        let mut registry = HostRegistry::new(&engine);
        register(&mut registry);
        let (linker, functions) = registry.finish()?;
        let instances = match mode {
            AllocationMode::Pooling { instances } => instances,
            AllocationMode::OnDemand => config.instances_max,
        };
        Ok(Self {
            linker,
            functions,
            mode,
            backtraces: config.backtraces,
            modules: Modules::new(config.modules_bytes_max),
            loading: Mutex::new(()),
            cache: config.cache.as_ref().map(CodeCache::open).transpose()?,
            compiler: Compiler::start(engine.clone(), config.compile_timeout)?,
            watchdog: Watchdog::start(&engine, config.watchdog)?,
            turns: Turns::new((instances / CALL_DEPTH_MAX as u32).max(1)),
            engine,
        })
    }

    /// Says how instances get their memory on this machine.
    pub fn allocation_mode(&self) -> AllocationMode {
        self.mode
    }

    /// Returns the functions that guests may import, in order of registration.
    pub fn functions(&self) -> &[RegisteredFunction] {
        &self.functions
    }

    /// Returns how many modules are kept in memory.
    pub fn modules_in_memory(&self) -> usize {
        self.modules.len()
    }

    /// Returns a module: from memory, from the disk's cache of compiled code, or compiled from what `wasm`
    /// loads. Different wasm must have different `code`.
    ///
    /// # Errors
    /// A fault when the bytes cannot be loaded, or what was loaded cannot be compiled: the checks at install
    /// let nothing through that cannot, so this is never a verdict.
    pub fn module<E: Into<BoxedError>>(
        &self,
        code: &Hash32,
        wasm: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Module<T>, EngineFault> {
        if let Some(module) = self.modules.get(code) {
            return Ok(module);
        }
        let _loading = self.loading.lock();
        if let Some(module) = self.modules.get(code) {
            return Ok(module);
        }
        let module = match self.load_cached(code)? {
            Some(module) => module,
            None => {
                let wasm = wasm().map_err(|error| EngineFault::Load { code: *code, source: error.into() })?;
                self.compile(code, wasm)?
            }
        };
        self.modules.insert(module.clone());
        Ok(module)
    }

    fn compile(&self, code: &Hash32, wasm: Vec<u8>) -> Result<Module<T>, EngineFault> {
        let compiled = self.compiler.compile(code, wasm)?;
        let module = Module::prepare(code, &compiled.module, &self.linker, &compiled.stack_export)?;
        if let Some(cache) = &self.cache {
            let image = compiled.module.serialize().map_err(EngineFault::internal)?;
            cache.put(&self.cache_key(code), &encode_entry(&compiled.stack_export, &image));
        }
        Ok(module)
    }

    fn load_cached(&self, code: &Hash32) -> Result<Option<Module<T>>, EngineFault> {
        let Some(cache) = &self.cache else { return Ok(None) };
        let key = self.cache_key(code);
        let Some(entry) = cache.get(&key) else { return Ok(None) };
        let Some((stack_export, image)) = decode_entry(entry.code()) else { return Ok(None) };
        // SAFETY: `deserialize` runs whatever it is given. The bytes were written by `serialize` on this
        // node: their tag was made with a key that only this node has, over these bytes and a cache key that
        // names this wasmtime, its configuration and this CPU's features.
        #[allow(unsafe_code, reason = "the one way to load compiled code; see SAFETY")]
        let module = unsafe { wasmtime::Module::deserialize(&self.engine, image) };
        match module {
            Ok(module) => Module::prepare(code, &module, &self.linker, stack_export).map(Some),
            Err(error) => {
                tracing::warn!(%code, error = %format_args!("{error:#}"), "compiling again");
                cache.remove(&key);
                Ok(None)
            }
        }
    }

    /// Names compiled code by everything that goes into it.
    fn cache_key(&self, code: &Hash32) -> CacheKey {
        /// Feeds what wasmtime hashes - version, features, compiler flags, CPU features - to SHA-256.
        struct Sink(Sha256);

        impl Hasher for Sink {
            fn write(&mut self, bytes: &[u8]) {
                self.0.update((bytes.len() as u64).to_le_bytes());
                self.0.update(bytes);
            }

            fn finish(&self) -> u64 {
                0
            }
        }

        let mut sink = Sink(Sha256::new());
        sink.write(b"purlin compiled code");
        sink.write_u32(METERING_VERSION);
        sink.write(code.as_bytes());
        self.engine.precompile_compatibility_hash().hash(&mut sink);
        sink.0.finalize().into()
    }

    /// Runs an export in a fresh instance, and gives the host's state back whatever happens.
    ///
    /// On a thread without a guest stack each call costs a new thread; run many inside [`on_guest_stack`].
    pub fn call(
        &self,
        module: &Module<T>,
        invocation: &Invocation<'_>,
        data: T,
    ) -> (T, Result<Report, EngineFault>) {
        let mut slot = Some(data);
        let ran = on_guest_stack(|| {
            let data = slot.take().expect("the work runs once");
            self.call_here(module, invocation, data)
        });
        match ran {
            Ok(result) => result,
            Err(fault) => (slot.expect("the work did not run"), Err(fault)),
        }
    }

    fn call_here(
        &self,
        module: &Module<T>,
        invocation: &Invocation<'_>,
        data: T,
    ) -> (T, Result<Report, EngineFault>) {
        let Some((_level, position)) = Level::enter() else {
            return (data, Err(EngineFault::Nesting { limit: CALL_DEPTH_MAX }));
        };
        // Only outermost calls wait: a nested one that waited could wait for its own caller.
        let _turn = (position == Position::Outermost).then(|| self.turns.take());

        let limit = invocation.gas.get().min(i64::MAX as u64 - 1);
        let refuse = |code, message: String, gas_used| Report {
            end: Err(CallFailure::new(code, message)),
            gas_used: Gas::new(gas_used),
            backtrace: None,
        };
        let prepared = &module.0;
        let Some(function) = prepared.functions.get(invocation.export) else {
            let message = format!("the application has no method `{}`", invocation.export);
            return (data, Ok(refuse(FailureCode::UnknownMethod, message, 0)));
        };
        if prepared.memory_pages > u64::from(invocation.memory_pages_max) {
            let message = format!(
                "the module starts with {} pages of memory; its limit is {}",
                prepared.memory_pages, invocation.memory_pages_max
            );
            return (data, Ok(refuse(FailureCode::MemoryLimit, message, 0)));
        }
        if limit < invocation.instantiate_price {
            let message = format!("the gas limit of {limit} was reached");
            return (data, Ok(refuse(FailureCode::OutOfGas, message, limit)));
        }

        let state = CallState::new(data, invocation.memory_pages_max, invocation.page_price);
        let mut store = Store::new(&self.engine, state);
        let result = self.run(&mut store, module, function, limit, invocation);
        (store.into_data().data, result)
    }

    fn run(
        &self,
        store: &mut Store<CallState<T>>,
        module: &Module<T>,
        function: &wasmtime::ModuleExport,
        limit: u64,
        invocation: &Invocation<'_>,
    ) -> Result<Report, EngineFault> {
        store.limiter(|state| &mut state.limiter);
        store.set_epoch_deadline(self.watchdog.ticks());
        // One more than the limit: wasmtime stops at zero left, and a call may use its limit to the last.
        store.set_fuel(limit - invocation.instantiate_price + 1).map_err(EngineFault::internal)?;

        let ended = execute(store, module, function);
        if let Some(reason) = store.data_mut().limiter.trouble.take() {
            return Err(EngineFault::Resources { reason });
        }
        let mut fuel = store.get_fuel().map_err(EngineFault::internal)?;
        let pages = std::mem::take(&mut store.data_mut().limiter.pages_unpaid);
        fuel = fuel.saturating_sub(invocation.page_price.saturating_mul(pages));

        let mut backtrace = None;
        let mut end = match ended {
            Ok(()) => Ok(()),
            Err(Stop { error, stack_exhausted }) => {
                if self.backtraces == Backtraces::On && !ended_by_the_application(store.data()) {
                    backtrace = trap::backtrace(&error);
                }
                Err(self.verdict(store, error, stack_exhausted)?)
            }
        };
        if fuel == 0 && end.is_ok() {
            end = Err(CallFailure::new(FailureCode::OutOfGas, ""));
        }
        let mut gas_used = limit.min(limit + 1 - fuel);
        if let Err(failure) = &mut end {
            if failure.code == FailureCode::OutOfGas {
                gas_used = limit;
            }
            trap::describe_out_of_gas(failure, limit);
        }
        Ok(Report { end, gas_used: Gas::new(gas_used), backtrace })
    }

    /// Decides what an error of the guest means.
    #[cold]
    fn verdict(
        &self,
        store: &mut Store<CallState<T>>,
        error: wasmtime::Error,
        stack_exhausted: bool,
    ) -> Result<CallFailure, EngineFault> {
        match store.data_mut().ending.take() {
            Some(HostFault::Failure(failure)) => return Ok(failure),
            Some(HostFault::Node(error)) => return Err(EngineFault::Host(error)),
            None => {}
        }
        match trap::meaning(error, self.watchdog.limit()) {
            Meaning::Failure(code, message) => Ok(CallFailure::new(code, message)),
            Meaning::Unreachable if stack_exhausted => {
                Ok(CallFailure::new(FailureCode::StackOverflow, "calls inside the guest went too deep"))
            }
            Meaning::Unreachable => {
                Ok(CallFailure::new(FailureCode::Unreachable, "the guest aborted without a message"))
            }
            Meaning::Fault(fault) => Err(fault),
        }
    }
}

/// Tells whether the application returned an error of its own: ordinary, and not worth a backtrace.
fn ended_by_the_application<T>(state: &CallState<T>) -> bool {
    matches!(&state.ending, Some(HostFault::Failure(failure)) if failure.code == FailureCode::AppError)
}

/// An error of the guest, and whether the stack meter made it.
struct Stop {
    error: wasmtime::Error,
    stack_exhausted: bool,
}

fn execute<T: Send + 'static>(
    store: &mut Store<CallState<T>>,
    module: &Module<T>,
    function: &wasmtime::ModuleExport,
) -> Result<(), Stop> {
    let plain = |error| Stop { error, stack_exhausted: false };
    let prepared = &module.0;
    let instance = prepared.instance.instantiate(store.as_context_mut()).map_err(plain)?;
    if let Some(export) = &prepared.memory
        && let Some(Extern::Memory(memory)) = instance.get_module_export(store.as_context_mut(), export)
    {
        store.data_mut().memory = Some(memory);
    }
    let Some(Extern::Func(function)) = instance.get_module_export(store.as_context_mut(), function) else {
        return Err(plain(wasmtime::Error::msg("an export changed its kind")));
    };
    let function: TypedFunc<(), ()> = function.typed(store.as_context_mut()).map_err(plain)?;
    function.call(store.as_context_mut(), ()).map_err(|error| {
        let exhausted = prepared.stack.as_ref().is_some_and(|export| {
            match instance.get_module_export(store.as_context_mut(), export) {
                Some(Extern::Global(units)) => {
                    units.get(store.as_context_mut()).i32() == Some(metering::EXHAUSTED)
                }
                _ => false,
            }
        });
        Stop { error, stack_exhausted: exhausted }
    })
}

/// Puts the name of the stack meter before the code: one byte of length, the name, the code.
fn encode_entry(stack_export: &str, image: &[u8]) -> Vec<u8> {
    let length = u8::try_from(stack_export.len()).unwrap_or(0);
    let mut entry = Vec::with_capacity(1 + stack_export.len() + image.len());
    entry.push(length);
    entry.extend_from_slice(&stack_export.as_bytes()[..usize::from(length)]);
    entry.extend_from_slice(image);
    entry
}

fn decode_entry(entry: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = entry.split_first()?;
    let (name, image) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(name).ok()?, image))
}
