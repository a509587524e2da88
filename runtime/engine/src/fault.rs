//! Two kinds of bad ends: what the guest did (a verdict), and what this node could not do (a fault).

use std::path::PathBuf;
use std::time::Duration;

use purlin_abi::{CallFailure, FailureCode, Hash32};

/// An error of the node's own, from a host function.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// Says why a host function ends the guest's call.
#[derive(Debug, thiserror::Error)]
pub enum HostFault {
    /// The guest's doing: the call fails with this verdict, the same on every node.
    #[error("{}", .0.message)]
    Failure(CallFailure),
    /// The node's own trouble, such as a disk that cannot be read: never a verdict.
    #[error(transparent)]
    Node(BoxedError),
}

impl HostFault {
    /// Makes a verdict.
    pub fn failure(code: FailureCode, message: impl Into<String>) -> Self {
        Self::Failure(CallFailure::new(code, message))
    }
}

impl From<CallFailure> for HostFault {
    fn from(failure: CallFailure) -> Self {
        Self::Failure(failure)
    }
}

/// Says what this node could not do. A block must never be decided by one of these: another node, or this
/// one after the trouble is gone, would come to a different result.
#[derive(Debug, thiserror::Error)]
pub enum EngineFault {
    /// The engine cannot be set up on this machine.
    #[error("cannot set up the wasm engine: {reason}")]
    Setup {
        /// What the engine said.
        reason: String,
    },
    /// The compiled-code cache cannot be opened.
    #[error("cannot use the compiled-code cache at {}: {source}; check its permissions or free space", path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The module's bytes could not be loaded.
    #[error("cannot load the code {code}: {source}")]
    Load {
        /// Which code.
        code: Hash32,
        /// What the loader said.
        source: BoxedError,
    },
    /// The module passed the checks at install, and still cannot be prepared.
    #[error("cannot compile the code {code}: {reason}")]
    Compile {
        /// Which code.
        code: Hash32,
        /// What was refused.
        reason: String,
    },
    /// Compiling took longer than this node allows.
    #[error(
        "compiling the code {code} took longer than {limit:?}; raise the compile time limit or use a faster machine"
    )]
    CompileTimeout {
        /// Which code.
        code: Hash32,
        /// The limit.
        limit: Duration,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {source}")]
    Thread {
        /// What the system said.
        source: std::io::Error,
    },
    /// The guest could not be given its memory, tables or instance.
    #[error("cannot make an instance: {reason}")]
    Resources {
        /// What was missing.
        reason: String,
    },
    /// The guest ran longer than the node-local watchdog allows.
    #[error("the guest ran longer than {limit:?}; the machine is too slow for this gas limit, or overloaded")]
    Watchdog {
        /// The limit.
        limit: Duration,
    },
    /// The native stack ended before the metered one, which its size is meant to prevent.
    #[error("the native stack ended before the metered stack")]
    NativeStack,
    /// Calls were nested deeper than the stack of this thread is sized for.
    #[error("more than {limit} calls are nested on one thread")]
    Nesting {
        /// Deepest allowed nesting.
        limit: usize,
    },
    /// A host function reported trouble of the node.
    #[error(transparent)]
    Host(BoxedError),
    /// The engine ended in a way it never should.
    #[error("the wasm engine failed: {reason}")]
    Internal {
        /// What it said.
        reason: String,
    },
}

impl EngineFault {
    pub(crate) fn setup(error: wasmtime::Error) -> Self {
        Self::Setup { reason: format!("{error:#}") }
    }

    pub(crate) fn internal(error: wasmtime::Error) -> Self {
        Self::Internal { reason: format!("{error:#}") }
    }
}
