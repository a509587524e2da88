//! What a node chooses about its engine; nothing here changes a result.

use std::path::PathBuf;
use std::time::Duration;

/// Selects how guest code is executed. Gas, results and state are the same under all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// Native code, optimised: slower to compile, fastest to run.
    #[default]
    CraneliftSpeed,
    /// Native code without optimisation: fast to compile.
    CraneliftNone,
    /// A portable interpreter, for machines without a code generator and for the conformance check.
    Pulley,
}

impl Backend {
    /// All backends, for conformance checks.
    pub const ALL: [Self; 3] = [Self::CraneliftNone, Self::CraneliftSpeed, Self::Pulley];
}

/// Selects how instances get their memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Allocation {
    /// A pool when the machine has the address space, else on demand.
    #[default]
    Automatic,
    /// Always on demand: less address space, slower calls.
    OnDemand,
}

/// Says how instances get their memory on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllocationMode {
    /// From a pool of this many instances.
    Pooling {
        /// Instances that can exist at once.
        instances: u32,
    },
    /// Mapped for each call.
    OnDemand,
}

/// Selects whether failed calls carry a symbolised backtrace for the node's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backtraces {
    /// Collected for traps and panics; an error that the application returns has none.
    #[default]
    On,
    /// Never collected.
    Off,
}

/// Places the compiled-code cache on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// Directory of the cache; made when missing. Nobody but the node may write to it.
    pub directory: PathBuf,
    /// Most bytes of compiled code kept; the least recently used go first.
    pub bytes_max: u64,
}

impl CacheConfig {
    /// Places the cache in a directory, with at most 1 GiB.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), bytes_max: 1 << 30 }
    }
}

/// Configures an engine. All of it is local to the node: none of it may change gas or results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// How guest code is executed.
    pub backend: Backend,
    /// How instances get their memory.
    pub allocation: Allocation,
    /// Most instances at once, nested ones included. Outermost calls wait for their turn, so that the
    /// instances of a deepest chain of calls are always there.
    pub instances_max: u32,
    /// Where compiled code is kept over restarts; `None` compiles after each start.
    pub cache: Option<CacheConfig>,
    /// Most bytes of compiled code kept in memory.
    pub modules_bytes_max: usize,
    /// How long one outermost or nested call may take before the node gives up on it.
    pub watchdog: Duration,
    /// How long compiling one module may take.
    pub compile_timeout: Duration,
    /// Whether failures carry a backtrace.
    pub backtraces: Backtraces,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            allocation: Allocation::default(),
            instances_max: 256,
            cache: None,
            modules_bytes_max: 64 << 20,
            watchdog: Duration::from_secs(60),
            compile_timeout: Duration::from_secs(60),
            backtraces: Backtraces::default(),
        }
    }
}

impl EngineConfig {
    /// Stack, in bytes, of a thread that runs guests without handing each call to another thread. Most of it
    /// is address space only: pages are used when a guest recurses.
    pub const fn thread_stack_bytes() -> usize {
        crate::stack::THREAD_STACK_BYTES
    }
}
