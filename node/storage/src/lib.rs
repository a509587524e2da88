//! Keeps bytes on disk; the only crate that names rocksdb.
//!
//! [`RocksStore`] is what a node runs on; [`MemoryStore`] and [`FaultStore`] are its twins for tests. What the
//! chain writes into it is drawn in FORMAT.md beside this crate.
//!
//! ```no_run
//! use purlin_storage::{RocksStore, StorageOptions};
//! let store = RocksStore::open("data/chain", &StorageOptions::default())?;
//! # Ok::<(), purlin_storage::OpenError>(())
//! ```
#![forbid(unsafe_code)]

mod directory;
mod options;
mod rocks;

pub use directory::OpenError;
pub use options::StorageOptions;
pub use purlin_state::{Fault, FaultStore, MemoryStore};
pub use rocks::{RocksStore, StoreUsage};
