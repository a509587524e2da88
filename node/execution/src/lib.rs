//! Executes blocks: native modules and wasm applications over one overlay.
//!
//! [`NodeExecutor`] implements the chain's `Executor` port. Each transaction runs in a checkpoint: when one of its
//! actions fails, all it wrote and emitted is undone, and fee, nonce and receipt stay. Each call of an
//! application runs in a checkpoint of its own inside that, so that a failed sub-call undoes itself only. After
//! the last transaction the proposer gets the fees, and then every module does what is due at the block's end.
//!
//! [`TestHost`] is the same executor behind the protocol of application tests.
//!
//! ```
//! use purlin_capabilities::RuntimeConfig;
//! use purlin_chain::Executor;
//! use purlin_execution::NodeExecutor;
//! use purlin_primitives::{
//!     AccountId, Amount, Genesis, GenesisAccount, GenesisValidator, SecretKey, TimestampMs,
//! };
//!
//! let executor = NodeExecutor::new(&RuntimeConfig::default())?;
//! let public_key = SecretKey::from_bytes(&[1; 32])?.public_key();
//! let genesis = Genesis {
//!     chain_id: "dev".parse()?,
//!     time: TimestampMs::ZERO,
//!     validators: vec![GenesisValidator { public_key, power: 1 }],
//!     accounts: vec![GenesisAccount { account: AccountId::new([1; 20]), balance: Amount::new(5) }],
//!     parameters: Default::default(),
//! };
//! let changes = executor.genesis(&genesis)?;
//! assert_eq!(changes.len(), 5, "an account, the supply; a validator, its rank, the set of validators");
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
