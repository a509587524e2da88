//! Everything that is checked of a module before it is ever compiled.

mod effort;
mod error;
mod features;
mod imports;
mod schema;
mod summary;

use purlin_abi::{Manifest, host, limits};
use wasmparser::ExternalKind;

pub use error::{UngrantedImport, WasmError};
pub use features::FEATURES;
use imports::check_imports;
pub(crate) use schema::check_schema;
use summary::{Summary, export_kind};

/// The header of every core module.
const MODULE_HEADER: &[u8] = b"\0asm\x01\0\0\0";
/// The header of a component: same magic, layer 1.
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
/// Prefixes of exports that the engine adds when it prepares a module for metering.
const RESERVED_PREFIXES: &[&str] = &["purlin:", "purlin_stack_"];

/// What is known of a module that passed all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFacts {
    /// Methods that may write, without life-cycle steps, sorted.
    pub calls: Vec<String>,
    /// Methods that only read, without the `query_` prefix, sorted.
    pub queries: Vec<String>,
    /// Has `initialize`.
    pub initialize: bool,
    /// Has `migrate`.
    pub migrate: bool,
    /// Has `stop`.
    pub stop: bool,
    /// Import modules it uses, in the order of the ABI.
    pub capabilities: Vec<&'static str>,
    /// Functions it defines.
    pub functions: u32,
    /// Memory at start, in pages.
    pub memory_pages: u32,
    /// Work that it makes for a compiler beside its size, in steps of at most 0.4 us on the reference machine.
    pub compile_steps: u64,
    /// The custom section `purlin.schema`: JSON.
    pub schema_json: Option<Vec<u8>>,
}

/// Checks a module against the rules of ABI version 1 and against what its manifest grants. The module is
/// read, never run or compiled; the time is linear in its size.
pub fn check_wasm(wasm: &[u8], manifest: &Manifest) -> Result<ModuleFacts, WasmError> {
    check_size(wasm)?;
    check_header(wasm)?;
    features::validate(wasm)?;
    let module = Summary::read(wasm)?;
    check_counts(&module)?;
    check_locals(&module)?;
    check_tables(&module)?;
    check_start(&module)?;
    check_imports(&module, manifest)?;
    check_memory(&module, manifest)?;
    check_export_names(&module)?;
    check_methods(&module)?;
    check_one_schema(&module)?;
    let compile_steps = effort::compile_steps(wasm)
        .map_err(|error| WasmError::Invalid { offset: error.offset(), reason: error.message().to_owned() })?;
    let facts = ModuleFacts { compile_steps, ..facts(&module) };
    if let Some(schema) = &facts.schema_json {
        check_schema(schema, &facts)?;
    }
    Ok(facts)
}

fn check_size(wasm: &[u8]) -> Result<(), WasmError> {
    if wasm.len() > limits::WASM_BYTES_MAX {
        return Err(WasmError::TooLarge { bytes: wasm.len() });
    }
    Ok(())
}

fn check_header(wasm: &[u8]) -> Result<(), WasmError> {
    if wasm.starts_with(COMPONENT_HEADER) {
        return Err(WasmError::Component);
    }
    if !wasm.starts_with(MODULE_HEADER) {
        return Err(WasmError::NotWasm);
    }
    Ok(())
}

fn check_counts(module: &Summary<'_>) -> Result<(), WasmError> {
    let counts = [
        ("types", module.types.len() as u64, limits::WASM_TYPES_MAX),
        ("imports", module.imports.len() as u64, limits::WASM_IMPORTS_MAX),
        ("functions", u64::from(module.defined_functions), limits::WASM_FUNCTIONS_MAX),
        ("globals", u64::from(module.globals), limits::WASM_GLOBALS_MAX),
        ("tables", module.tables.len() as u64, limits::WASM_TABLES_MAX),
        ("element segments", u64::from(module.element_segments), limits::WASM_DATA_SEGMENTS_MAX),
        ("data segments", u64::from(module.data_segments), limits::WASM_DATA_SEGMENTS_MAX),
        ("exports", module.exports.len() as u64, limits::WASM_EXPORTS_MAX),
    ];
    match counts.into_iter().find(|(_, found, max)| *found > u64::from(*max)) {
        Some((what, found, max)) => Err(WasmError::TooMany { what, found, max: u64::from(max) }),
        None => Ok(()),
    }
}

fn check_locals(module: &Summary<'_>) -> Result<(), WasmError> {
    let max = u64::from(limits::WASM_LOCALS_MAX);
    match module.locals().find(|(_, found)| *found > max) {
        Some((function, found)) => Err(WasmError::TooManyLocals { function, found, max }),
        None => Ok(()),
    }
}

/// A table without a maximum may grow; the engine stops it at the same cap.
fn check_tables(module: &Summary<'_>) -> Result<(), WasmError> {
    let max = u64::from(limits::WASM_TABLE_ELEMENTS_MAX);
    for (table, ty) in (0..).zip(&module.tables) {
        let found = ty.maximum.unwrap_or(ty.initial).max(ty.initial);
        if found > max {
            return Err(WasmError::TableTooLarge { table, found, max });
        }
    }
    Ok(())
}

fn check_start(module: &Summary<'_>) -> Result<(), WasmError> {
    if module.has_start { Err(WasmError::StartFunction) } else { Ok(()) }
}

/// Imported memories are refused with the other imports, more than one by the feature set.
fn check_memory(module: &Summary<'_>, manifest: &Manifest) -> Result<(), WasmError> {
    let export = module.exports.iter().find(|export| export.name == host::EXPORT_MEMORY);
    match export.map(|export| export.kind) {
        None => return Err(WasmError::NoMemoryExport),
        Some(ExternalKind::Memory) => {}
        Some(other) => return Err(WasmError::MemoryExportKind { found: export_kind(other) }),
    }
    let granted_pages = manifest.limits.memory_pages;
    for memory in &module.memories {
        if memory.initial > u64::from(granted_pages) {
            return Err(WasmError::MemoryTooLarge { found_pages: memory.initial, granted_pages });
        }
        if let Some(found_pages) = memory.maximum.filter(|pages| *pages > u64::from(granted_pages)) {
            return Err(WasmError::MemoryMaximumTooLarge { found_pages, granted_pages });
        }
    }
    Ok(())
}

fn check_export_names(module: &Summary<'_>) -> Result<(), WasmError> {
    let reserved = |name: &str| RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    match module.exports.iter().find(|export| reserved(export.name)) {
        Some(export) => Err(WasmError::ReservedExport { name: export.name.to_owned() }),
        None => Ok(()),
    }
}

/// Every exported function is a method that anybody may call, so each must look like one.
fn check_methods(module: &Summary<'_>) -> Result<(), WasmError> {
    let mut found = false;
    for export in module.exports.iter().filter(|export| export.kind == ExternalKind::Func) {
        found = true;
        if let Some(rule) = broken_name_rule(export.name) {
            return Err(WasmError::MethodName { name: export.name.to_owned(), rule });
        }
        let ty = module.type_of(export.index);
        if ty.is_none_or(|ty| !ty.params().is_empty() || !ty.results().is_empty()) {
            let found = ty.map_or_else(|| "another type".to_owned(), imports::show_type);
            return Err(WasmError::MethodType { name: export.name.to_owned(), found });
        }
    }
    if found { Ok(()) } else { Err(WasmError::NoMethods) }
}

fn broken_name_rule(name: &str) -> Option<&'static str> {
    if name.len() > limits::METHOD_NAME_BYTES_MAX {
        return Some("the names of methods have at most 64 bytes");
    }
    if name == host::QUERY_PREFIX {
        return Some("a query needs a name after `query_`");
    }
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Some(
            "every exported function is a method, named with letters, digits and '_' and starting with a letter",
        );
    }
    None
}

fn check_one_schema(module: &Summary<'_>) -> Result<(), WasmError> {
    if module.schemas.len() > 1 { Err(WasmError::DuplicateSchema) } else { Ok(()) }
}

fn facts(module: &Summary<'_>) -> ModuleFacts {
    let mut facts = ModuleFacts {
        calls: Vec::new(),
        queries: Vec::new(),
        initialize: false,
        migrate: false,
        stop: false,
        capabilities: host::CAPABILITIES
            .iter()
            .copied()
            .filter(|capability| module.imports.iter().any(|import| import.module == *capability))
            .collect(),
        functions: module.defined_functions,
        memory_pages: module.memories.first().map_or(0, |memory| memory.initial as u32),
        compile_steps: 0,
        schema_json: module.schemas.first().map(|schema| schema.to_vec()),
    };
    for export in module.exports.iter().filter(|export| export.kind == ExternalKind::Func) {
        match export.name {
            host::EXPORT_INITIALIZE => facts.initialize = true,
            host::EXPORT_MIGRATE => facts.migrate = true,
            host::EXPORT_STOP => facts.stop = true,
            name => match name.strip_prefix(host::QUERY_PREFIX) {
                Some(query) => facts.queries.push(query.to_owned()),
                None => facts.calls.push(name.to_owned()),
            },
        }
    }
    facts.calls.sort_unstable();
    facts.queries.sort_unstable();
    facts
}
