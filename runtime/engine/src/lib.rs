//! Runs untrusted wasm under metering; the only crate that names wasmtime.
//!
//! ```
//! use purlin_abi::{Gas, Hash32};
//! use purlin_engine::{Engine, EngineConfig, Invocation};
//!
//! // A host that keeps one number per call, and a guest that adds to it.
//! let engine = Engine::<u32>::new(&EngineConfig::default(), |host| {
//!     host.function("host", "add", |guest: &mut purlin_engine::Guest<'_, u32>, by: u32| {
//!         guest.charge(100)?;
//!         *guest.data_mut() += by;
//!         Ok(())
//!     });
//! })?;
//! let wasm = wat::parse_str(
//!     r#"(module
//!         (import "host" "add" (func $add (param i32)))
//!         (func (export "run") (call $add (i32.const 2))))"#,
//! )?;
//! let module = engine.module(&Hash32::new([1; 32]), || Ok::<_, std::io::Error>(wasm))?;
//! let invocation = Invocation {
//!     export: "run",
//!     gas: Gas::new(1_000),
//!     instantiate_price: 10,
//!     page_price: 10,
//!     memory_pages_max: 16,
//! };
//! let (sum, report) = engine.call(&module, &invocation, 40);
//! assert_eq!(sum, 42);
//! assert!(report?.end.is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nouns: an [`Engine`] lives as long as the node and owns a pool of instances, a compiler thread and a
//! watchdog; a [`Module`] is compiled once and kept in memory and on disk; a call makes a fresh instance
//! from it, and ends in a [`Report`] (a verdict, the same on every machine) or an [`EngineFault`] (trouble
//! of this machine, never a verdict).
//!
//! What makes verdicts equal everywhere: fuel counts wasm instructions before code generation; the stack is
//! metered by a rewrite of the module; memory and table growth are capped before the system is asked; NaNs
//! are canonical; features with machine-dependent behaviour are refused; messages carry no addresses.

mod code_cache;
mod compiler;
mod config;
mod engine;
mod fault;
#[doc(hidden)]
pub mod floor;
mod guest;
mod metering;
mod module;
mod registry;
mod settings;
mod stack;
mod trap;
mod turns;
mod watchdog;

pub use config::{Allocation, AllocationMode, Backend, Backtraces, CacheConfig, EngineConfig};
pub use engine::{Engine, Invocation, Report};
pub use fault::{BoxedError, EngineFault, HostFault};
pub use guest::{Guest, GuestMemory};
pub use module::Module;
pub use registry::{GuestResult, GuestValue, HostFunction, HostRegistry, RegisteredFunction};
pub use settings::wasm_features;
pub use stack::on_guest_stack;
