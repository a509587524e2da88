//! Why a module is refused.

use purlin_abi::limits::WASM_BYTES_MAX;
use purlin_abi::schema::{MethodKind, SchemaError};
use std::fmt;

use crate::text::{Guess, Shown};

/// Says why a module is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WasmError {
    /// Larger than [`WASM_BYTES_MAX`].
    #[error(
        "the module has {bytes} bytes; at most {WASM_BYTES_MAX} are allowed, so build it with optimisation for size"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not WebAssembly.
    #[error("these bytes are not a WebAssembly module (no \\0asm header); build for wasm32-unknown-unknown")]
    NotWasm,
    /// A component instead of a core module.
    #[error(
        "this is a WebAssembly component; expected a core module, so build for wasm32-unknown-unknown without a component step"
    )]
    Component,
    /// Uses features that are excluded because they would make execution differ between machines or versions.
    #[error("the module uses {}, which is excluded here (offset {offset}: {reason}); build without it", .features.join(" and "))]
    ExcludedFeature {
        /// Which, by the names of their proposals.
        features: Vec<&'static str>,
        /// Where it shows first, in bytes.
        offset: usize,
        /// What the validator says.
        reason: String,
    },
    /// Not valid under any feature.
    #[error("the module is not valid WebAssembly: {reason} (offset {offset}); build it again")]
    Invalid {
        /// Where, in bytes.
        offset: usize,
        /// What the validator says.
        reason: String,
    },
    /// A start function would run outside any call: nobody has called, and nobody pays.
    #[error(
        "the module has a start function, which would run outside any call; do that work in `initialize`"
    )]
    StartFunction,
    /// More of something than is allowed.
    #[error("the module has {found} {what}; at most {max} are allowed")]
    TooMany {
        /// What.
        what: &'static str,
        /// How many.
        found: u64,
        /// How many are allowed.
        max: u64,
    },
    /// A function with too many locals.
    #[error(
        "function {function} has {found} locals, parameters included; at most {max} are allowed, so split it"
    )]
    TooManyLocals {
        /// Its index.
        function: u32,
        /// How many.
        found: u64,
        /// How many are allowed.
        max: u64,
    },
    /// A table larger than allowed.
    #[error("table {table} has room for {found} elements; at most {max} are allowed")]
    TableTooLarge {
        /// Its index.
        table: u32,
        /// Its size, or the size it may grow to.
        found: u64,
        /// What is allowed.
        max: u64,
    },
    /// Starts with more memory than the manifest grants.
    #[error(
        "the module starts with {found_pages} pages of memory and the manifest grants {granted_pages}; raise limits.memory_pages (at most {}), or lower the stack size or the static data",
        purlin_abi::limits::MEMORY_PAGES_MAX
    )]
    MemoryTooLarge {
        /// Its initial memory, in pages.
        found_pages: u64,
        /// What the manifest grants, in pages.
        granted_pages: u32,
    },
    /// Declares that its memory may grow past what the manifest grants.
    #[error(
        "the module declares up to {found_pages} pages of memory and the manifest grants {granted_pages}; raise limits.memory_pages (at most {}), or link with a smaller --max-memory",
        purlin_abi::limits::MEMORY_PAGES_MAX
    )]
    MemoryMaximumTooLarge {
        /// Its declared maximum, in pages.
        found_pages: u64,
        /// What the manifest grants, in pages.
        granted_pages: u32,
    },
    /// Does not export its memory, so that no argument could be passed.
    #[error(
        "the module does not export its memory as `memory`; link it with --export-memory, or add the export"
    )]
    NoMemoryExport,
    /// Exports something else under the name of the memory.
    #[error("the module's export `memory` is a {found}; it must be the memory")]
    MemoryExportKind {
        /// What it is.
        found: &'static str,
    },
    /// Imports something that is not a function.
    #[error("the module imports the {kind} {}; only functions can be imported", Import(.module, .name))]
    ImportKind {
        /// Import module.
        module: String,
        /// Import name.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// Imports from a module that no host has.
    #[error("the module imports {}, but there is no import module {}{}; {hint}", Import(.module, .name), Shown(.module), Guess(.nearest))]
    UnknownModule {
        /// Import module.
        module: String,
        /// Import name.
        name: String,
        /// The known module nearest to it.
        nearest: Option<String>,
        /// What most likely went wrong.
        hint: &'static str,
    },
    /// Imports a function that its module does not have.
    #[error("the module imports {}, but {module} has no such function{}", Import(.module, .name), Guess(.nearest))]
    UnknownFunction {
        /// Import module.
        module: String,
        /// Import name.
        name: String,
        /// The known function nearest to it.
        nearest: Option<String>,
    },
    /// Imports a function with another type.
    #[error("the module imports {} as {found}; expected {expected}", Import(.module, .name))]
    ImportType {
        /// Import module.
        module: String,
        /// Import name.
        name: String,
        /// Its type in the module.
        found: String,
        /// Its type in the ABI.
        expected: String,
    },
    /// Imports what the manifest does not ask for.
    #[error("the module imports what its manifest does not ask for: {}; add to `permissions`: {}", join(.imports), permissions_of(.imports))]
    NotGranted {
        /// All such imports, each once, in the module's order.
        imports: Vec<UngrantedImport>,
    },
    /// Exports nothing that can be called.
    #[error(
        "the module exports no method; mark the application with #[app], and check that the crate type is cdylib"
    )]
    NoMethods,
    /// Exports a function under a name that no method may have.
    #[error("the module exports the function {}; {rule}", Shown(.name))]
    MethodName {
        /// The export.
        name: String,
        /// Which rule it breaks.
        rule: &'static str,
    },
    /// Exports a function with parameters or results.
    #[error("the module exports the function {} as {found}; methods are () -> (), arguments and result go through `input` and `output`", Shown(.name))]
    MethodType {
        /// The export.
        name: String,
        /// Its type.
        found: String,
    },
    /// Exports a name that the engine keeps for itself.
    #[error("the module exports {}, a name that is reserved for the engine; rename it", Shown(.name))]
    ReservedExport {
        /// The export.
        name: String,
    },
    /// Two schemas in one module.
    #[error("the module has more than one custom section `purlin.schema`; link the application once")]
    DuplicateSchema,
    /// A schema that cannot be read.
    #[error("{0}; build the application again with purlin-sdk")]
    BadSchema(#[from] SchemaError),
    /// A schema that names a method which is not there.
    #[error(
        "the schema names the {kind} {}, but the module has no export {}; build the application again", Shown(.method), Shown(.export)
    )]
    SchemaWithoutExport {
        /// Its name in the schema.
        method: String,
        /// Its kind in the schema.
        kind: MethodKind,
        /// The export it needs.
        export: String,
    },
}

/// An import and the permission it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UngrantedImport {
    /// Import module.
    pub module: &'static str,
    /// Import name.
    pub name: &'static str,
    /// What the manifest's `permissions` would have to name.
    pub permission: &'static str,
}

impl fmt::Display for UngrantedImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (needs \"{}\")", Import(self.module, self.name), self.permission)
    }
}

/// Shows an import as `module::name`.
struct Import<'a>(&'a str, &'a str);

impl fmt::Display for Import<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Shown(&format!("{}::{}", self.0, self.1)))
    }
}

fn join(imports: &[UngrantedImport]) -> String {
    imports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn permissions_of(imports: &[UngrantedImport]) -> String {
    let mut permissions: Vec<_> = imports.iter().map(|import| format!("{:?}", import.permission)).collect();
    permissions.sort_unstable();
    permissions.dedup();
    permissions.join(", ")
}
