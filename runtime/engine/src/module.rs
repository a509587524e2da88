//! Modules ready to run, and the bounded set of them kept in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use purlin_abi::Hash32;
use purlin_abi::host::EXPORT_MEMORY;
use wasmtime::{ExternType, InstancePre, Linker, ModuleExport};

use crate::EngineFault;
use crate::guest::CallState;

/// A compiled module with its imports resolved; cheap to clone, and kept alive by its clones.
pub struct Module<T: 'static>(pub(crate) Arc<Prepared<T>>);

impl<T> Clone for Module<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What is looked up once, so that a call looks nothing up by name in wasmtime.
pub(crate) struct Prepared<T: 'static> {
    pub(crate) instance: InstancePre<CallState<T>>,
    pub(crate) memory: Option<ModuleExport>,
    /// Linear memory that an instance starts with, in pages.
    pub(crate) memory_pages: u64,
    /// Exports of type `() -> ()`.
    pub(crate) functions: BTreeMap<Box<str>, ModuleExport>,
    /// The global of the stack meter.
    pub(crate) stack: Option<ModuleExport>,
    code: Hash32,
    bytes: usize,
}

impl<T: Send + 'static> Module<T> {
    pub(crate) fn prepare(
        code: &Hash32,
        module: &wasmtime::Module,
        linker: &Linker<CallState<T>>,
        stack_export: &str,
    ) -> Result<Self, EngineFault> {
        let instance = linker
            .instantiate_pre(module)
            .map_err(|error| EngineFault::Compile { code: *code, reason: format!("{error:#}") })?;
        let mut functions = BTreeMap::new();
        for export in module.exports() {
            match export.ty() {
                ExternType::Func(ty) if ty.params().len() == 0 && ty.results().len() == 0 => {
                    if let Some(index) = module.get_export_index(export.name()) {
                        functions.insert(export.name().into(), index);
                    }
                }
                _ => {}
            }
        }
        let memory_pages = module.resources_required().max_initial_memory_size.unwrap_or(0);
        let memory = module
            .get_export(EXPORT_MEMORY)
            .filter(|ty| matches!(ty, ExternType::Memory(_)))
            .and_then(|_| module.get_export_index(EXPORT_MEMORY));
        let range = module.image_range();
        Ok(Self(Arc::new(Prepared {
            instance,
            memory,
            memory_pages,
            functions,
            stack: module.get_export_index(stack_export),
            code: *code,
            bytes: range.end as usize - range.start as usize,
        })))
    }

    /// Returns the key under which the engine knows the module.
    pub fn code(&self) -> &Hash32 {
        &self.0.code
    }

    /// Returns the size of the compiled code in bytes.
    pub fn compiled_bytes(&self) -> usize {
        self.0.bytes
    }

    /// Tells whether a call can name this export.
    pub fn has_function(&self, export: &str) -> bool {
        self.0.functions.contains_key(export)
    }
}

/// Modules in memory, at most so many bytes of code; the least recently used go first.
pub(crate) struct Modules<T: 'static> {
    bytes_max: usize,
    clock: AtomicU64,
    kept: RwLock<Kept<T>>,
}

struct Kept<T: 'static> {
    /// Looked up by key only; its order is never seen.
    modules: HashMap<Hash32, (Module<T>, AtomicU64)>,
    bytes: usize,
}

impl<T: Send + 'static> Modules<T> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            clock: AtomicU64::new(0),
            kept: RwLock::new(Kept { modules: HashMap::new(), bytes: 0 }),
        }
    }

    pub(crate) fn get(&self, code: &Hash32) -> Option<Module<T>> {
        let kept = self.kept.read();
        let (module, used) = kept.modules.get(code)?;
        used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(module.clone())
    }

    pub(crate) fn insert(&self, module: Module<T>) {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept.write();
        kept.bytes += module.compiled_bytes();
        if let Some((old, _)) = kept.modules.insert(*module.code(), (module, AtomicU64::new(now))) {
            kept.bytes -= old.compiled_bytes();
        }
        while kept.bytes > self.bytes_max && kept.modules.len() > 1 {
            let oldest = kept
                .modules
                .iter()
                .min_by_key(|(_, (_, used))| used.load(Ordering::Relaxed))
                .map(|(code, _)| *code)
                .expect("there is more than one");
            if let Some((old, _)) = kept.modules.remove(&oldest) {
                kept.bytes -= old.compiled_bytes();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.read().modules.len()
    }
}
