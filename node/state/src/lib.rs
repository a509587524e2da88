//! Keeps state: an overlay for execution, an authenticated tree, proofs and the key-value port.
#![forbid(unsafe_code)]

mod fault;
mod keys;
mod layered;
mod memory;
mod merge;
mod overlay;
mod proof;
mod reader;
mod store;
mod tree;
mod turnover;

pub use fault::{Fault, FaultStore};
pub use keys::{StateKey, StatePrefix};
pub use layered::{EmptyState, FlatState, LayeredReader};
pub use memory::MemoryStore;
pub use merge::{ScanLimits, Scanned};
pub use overlay::{Checkpoint, Overlay};
pub use proof::{ProofError, StateProof, Trust, VerifiedValue};
pub use reader::{Changes, Entry, Order, StateReader};
pub use store::{Column, Durability, FORMAT_VERSION, KeyValueStore, StoreError, WriteBatch, WriteOperation};
pub use tree::{
    CACHED_CHILDREN_MAX, MerkleTree, ProofLeaf, RANGE_STEPS_MAX, RangeChunk, RangeError, RangeLimits,
    RangeStep, StateTree, TreeProof, TreeProofError, TreeVersion, UNWRITTEN_HEIGHTS_MAX, key_hash,
};
pub use turnover::{Turnover, TurnoverError};
