//! Executes blocks: native modules and wasm applications over one overlay.
//!
//! [`NodeExecutor`] implements the chain's `Executor` port. Each transaction runs in a checkpoint: when one of its
//! actions fails, all it wrote and emitted is undone, and fee, nonce and receipt stay. Each call of an
//! application runs in a checkpoint of its own inside that, so that a failed sub-call undoes itself only.
//!
//! [`TestHost`] is the same executor behind the protocol of application tests.
//!
//! ```
//! use purlin_capabilities::RuntimeConfig;
//! use purlin_chain::Executor;
//! use purlin_execution::NodeExecutor;
//! use purlin_primitives::{AccountId, Amount, Genesis, GenesisAccount, TimestampMs};
//!
//! let executor = NodeExecutor::new(&RuntimeConfig::default())?;
//! let genesis = Genesis {
//!     chain_id: "dev".parse()?,
//!     time: TimestampMs::ZERO,
//!     validators: Vec::new(),
//!     accounts: vec![GenesisAccount { account: AccountId::new([1; 20]), balance: Amount::new(5) }],
//!     parameters: Default::default(),
//! };
//! assert_eq!(executor.genesis(&genesis)?.len(), 2, "one account and the supply");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod call;
mod diagnostics;
mod entry;
mod executor;
mod host;
mod lifecycle;
mod meter;
mod session;
mod test_host;
mod transaction;

pub use executor::NodeExecutor;
pub use test_host::TestHost;
