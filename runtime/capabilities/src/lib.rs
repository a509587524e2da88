//! Defines the host functions an application may be granted, one module per interface.
//!
//! The node implements [`Host`]: plain reads and writes on behalf of one call. [`Runtime`] gives guests the
//! functions of `purlin_abi::host` on top of it: it checks pointers, limits and the right to write, charges
//! the gas schedule, and delivers results. Every function is linked for every guest; that a module imports
//! only what its manifest was granted is checked when it is installed, once, where the author sees the names.
//!
//! ```
//! use purlin_abi::{Gas, Hash32};
//! use purlin_capabilities::{GuestCall, Runtime, RuntimeConfig, testing::MemoryHost};
//!
//! let runtime = Runtime::new(&RuntimeConfig::default())?;
//! let wasm = wat::parse_str(
//!     r#"(module
//!         (import "purlin.core.v1" "output" (func $output (param i32 i32)))
//!         (memory (export "memory") 1)
//!         (data (i32.const 8) "\2a")
//!         (func (export "query_answer") (call $output (i32.const 8) (i32.const 1))))"#,
//! )?;
//! let module = runtime.module(&Hash32::new([1; 32]), || Ok::<_, std::io::Error>(wasm))?;
//! let call = GuestCall {
//!     export: "query_answer",
//!     arguments: Vec::new(),
//!     gas: Gas::new(100_000),
//!     memory_pages_max: 64,
//! };
//! let (_host, report) = runtime.call(&module, call, MemoryHost::default());
//! assert_eq!(report?.outcome.unwrap(), [42]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod accounts;
mod apps;
mod context;
mod core;
mod crypto;
mod devices;
mod events;
mod host;
mod runtime;
mod storage;
pub mod testing;

pub use host::{AppCall, AppCallReport, DeviceList, Host, StorageScan};
pub use purlin_engine::{
    Allocation, AllocationMode, Backend, Backtraces, BoxedError, CacheConfig, EngineConfig as RuntimeConfig,
    EngineFault, HostFault, on_guest_stack, wasm_features,
};
pub use runtime::{CallReport, GuestCall, Module, Runtime};
