//! The least that a call can cost: wasmtime with a pooled copy-on-write instance, fuel, and host functions
//! that do nothing. Benchmarks measure it beside a call of this engine, so that what the engine, the
//! capabilities and the SDK add is a ratio from one run on one machine. Nothing else uses it.

use wasmtime::{
    Caller, Config, Enabled, Engine, Extern, InstanceAllocationStrategy, InstancePre, Linker, ModuleExport,
    PoolingAllocationConfig, Store, TypedFunc,
};

/// A module ready to be called with nothing of this project around it.
pub struct Floor {
    engine: Engine,
    instance: InstancePre<u64>,
    function: ModuleExport,
}

impl Floor {
    /// Prepares a module that imports only functions of `purlin.core.v1`, `purlin.storage.v1` and
    /// `purlin.events.v1`.
    ///
    /// # Errors
    /// What wasmtime said.
    pub fn new(wasm: &[u8], export: &str) -> Result<Self, String> {
        let text = |error: wasmtime::Error| format!("{error:#}");
        let engine = match Self::engine(Enabled::Yes) {
            Ok(engine) => engine,
            Err(_) => Self::engine(Enabled::No).map_err(text)?,
        };
        let module = wasmtime::Module::from_binary(&engine, wasm).map_err(text)?;
        let linker = Self::linker(&engine).map_err(text)?;
        let instance = linker.instantiate_pre(&module).map_err(text)?;
        let function = module.get_export_index(export).ok_or("the module has no such export")?;
        Ok(Self { engine, instance, function })
    }

    fn engine(pagemap: Enabled) -> wasmtime::Result<Engine> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(8).total_memories(8).total_tables(8);
        pool.linear_memory_keep_resident(512 * 1024).table_keep_resident(16 * 1024).pagemap_scan(pagemap);
        let mut config = Config::new();
        config.consume_fuel(true).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        Engine::new(&config)
    }

    fn linker(engine: &Engine) -> wasmtime::Result<Linker<u64>> {
        let mut linker = Linker::new(engine);
        linker.func_wrap("purlin.core.v1", "input", |_: Caller<'_, u64>, _: u32, _: u32| 36_i32)?;
        linker.func_wrap("purlin.core.v1", "output", |_: Caller<'_, u64>, _: u32, _: u32| ())?;
        linker.func_wrap("purlin.core.v1", "caller", |_: Caller<'_, u64>, _: u32| ())?;
        linker.func_wrap(
            "purlin.core.v1",
            "fail",
            |_: Caller<'_, u64>, _: u32, _: u32, _: u32, _: u32, _: u32| -> wasmtime::Result<()> {
                Err(wasmtime::Error::msg("failed"))
            },
        )?;
        linker.func_wrap("purlin.core.v1", "abort", |_: Caller<'_, u64>, _: u32, _: u32| {
            Err::<(), _>(wasmtime::Error::msg("aborted"))
        })?;
        linker.func_wrap(
            "purlin.storage.v1",
            "get",
            |mut caller: Caller<'_, u64>, _: u32, _: u32, _: u32, _: u32| {
                *caller.data_mut() += 1;
                16_i32
            },
        )?;
        linker.func_wrap(
            "purlin.storage.v1",
            "set",
            |mut caller: Caller<'_, u64>, _: u32, _: u32, _: u32, _: u32| *caller.data_mut() += 1,
        )?;
        linker.func_wrap(
            "purlin.events.v1",
            "emit",
            |mut caller: Caller<'_, u64>, _: u32, _: u32, _: u32, _: u32| *caller.data_mut() += 1,
        )?;
        Ok(linker)
    }

    /// Calls the export once in a fresh instance; returns how many host functions of storage and events ran.
    ///
    /// # Errors
    /// What wasmtime said.
    pub fn call(&self) -> Result<u64, String> {
        let text = |error: wasmtime::Error| format!("{error:#}");
        let mut store = Store::new(&self.engine, 0);
        store.set_fuel(10_000_000).map_err(text)?;
        let instance = self.instance.instantiate(&mut store).map_err(text)?;
        let Some(Extern::Func(function)) = instance.get_module_export(&mut store, &self.function) else {
            return Err("the export is not a function".into());
        };
        let function: TypedFunc<(), ()> = function.typed(&store).map_err(text)?;
        function.call(&mut store, ()).map_err(text)?;
        Ok(store.into_data())
    }
}
