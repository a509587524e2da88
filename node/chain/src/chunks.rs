//! The whole state of a height in proven chunks, in the order of the hashes of its keys.

use purlin_primitives::{Hash32, Height};
use purlin_state::{
    Entry, KeyValueStore, MerkleTree, RangeChunk, RangeLimits, StateReader, StateTree, StoreError,
    TreeVersion, key_hash,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::chain::Chain;
use crate::error::ChainError;
use crate::open;

/// Most bytes of keys and values that are sorted in memory at once. A larger state is walked once for each part of this
/// size, because it lies in the order of its keys.
pub const SORTED_BYTES_MAX: usize = 64 << 20;

/// Reads the state of one height in chunks; see [`Chain::chunks`].
///
/// Nothing is kept in the store for this, so blocks cost nothing: state is walked when a snapshot is made. That takes
/// about a microsecond per entry for hashing and sorting and some ten for reading the tree.
pub struct StateChunks<S> {
    tree: MerkleTree<Arc<S>>,
    version: TreeVersion,
    height: Height,
    /// Of the chain, set before anything older is removed.
    oldest_state: Arc<AtomicU64>,
    state: Arc<dyn StateReader>,
    sorted_bytes_max: usize,
    sorted: Sorted,
}

/// The entries with the lowest key hashes from one on, as many as there is room for.
#[derive(Default)]
struct Sorted {
    from: Option<Hash32>,
    /// Above it nothing was kept; `None` when everything fitted.
    to: Option<Hash32>,
    entries: BTreeMap<Hash32, Entry>,
}

impl<S: KeyValueStore> Chain<S> {
    /// Prepares to read all of the state after block `height` in proven chunks. `state` must be the reader of that
    /// height; one from [`Chain::state_and_head`] stays good however the chain goes on, while the tree is kept for the
    /// window only: a snapshot that takes longer fails with [`StoreError::Pruned`].
    pub fn chunks(&self, height: Height, state: Arc<dyn StateReader>) -> Result<StateChunks<S>, ChainError> {
        self.chunks_within(height, state, SORTED_BYTES_MAX)
    }

    /// As [`Chain::chunks`], with another bound on memory.
    pub fn chunks_within(
        &self,
        height: Height,
        state: Arc<dyn StateReader>,
        sorted_bytes_max: usize,
    ) -> Result<StateChunks<S>, ChainError> {
        let head = self.head();
        if height > head.height {
            return Err(ChainError::NotYet { height, head: head.height });
        }
        let oldest = head.oldest_proof;
        let pruned = || StoreError::Pruned { height, oldest };
        if height < oldest {
            return Err(pruned().into());
        }
        let tree = MerkleTree::new(self.store.clone());
        let version = tree.open(height)?.ok_or_else(pruned)?;
        let oldest_state = self.oldest_state.clone();
        let sorted = Sorted::default();
        Ok(StateChunks { tree, version, height, oldest_state, state, sorted_bytes_max, sorted })
    }
}

impl<S: KeyValueStore> StateChunks<S> {
    /// Returns the root that every chunk is proven against.
    pub fn root(&self) -> Hash32 {
        self.tree.root(&self.version)
    }

    /// Returns entries from the key hash `from` on and not above `to`, as many as `limits` allow, with their proof.
    ///
    /// # Errors
    /// [`StoreError::Pruned`] when the chain has gone on too far.
    pub fn chunk(
        &mut self,
        from: &Hash32,
        to: &Hash32,
        limits: RangeLimits,
    ) -> Result<RangeChunk, ChainError> {
        let Self { tree, version, height, oldest_state, state, sorted_bytes_max, sorted } = self;
        let mut lookup = |hash: &Hash32| {
            if !sorted.covers(hash) {
                *sorted = Sorted::read(state.clone(), *hash, *sorted_bytes_max)?;
            }
            Ok(sorted.entries.get(hash).cloned())
        };
        tree.prove_range(version, from, to, limits, &mut lookup).map_err(|error| {
            // Pruning may have overtaken a long walk: then what looks like damage is not. The head does not say so
            // before the batch that removes is visible.
            let (height, oldest) = (*height, Height::new(oldest_state.load(Ordering::SeqCst)));
            if height < oldest { StoreError::Pruned { height, oldest }.into() } else { error.into() }
        })
    }
}

impl<S> std::fmt::Debug for StateChunks<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateChunks").field("sorted", &self.sorted.entries.len()).finish_non_exhaustive()
    }
}

impl Sorted {
    fn covers(&self, hash: &Hash32) -> bool {
        self.from.is_some_and(|from| from <= *hash) && self.to.is_none_or(|to| *hash <= to)
    }

    fn read(state: Arc<dyn StateReader>, from: Hash32, bytes_max: usize) -> Result<Self, StoreError> {
        let mut sorted = Self { from: Some(from), ..Self::default() };
        let mut bytes = 0;
        for entry in open::state_entries(state) {
            let entry: Entry = entry.map_err(|error| match error {
                ChainError::Store(error) => error,
                other => StoreError::Backend { operation: "walking the state", detail: other.to_string() },
            })?;
            let hash = key_hash(&entry.0);
            if hash < from || sorted.to.is_some_and(|to| hash > to) {
                continue;
            }
            bytes += entry.0.len() + entry.1.len();
            sorted.entries.insert(hash, entry);
            while bytes > bytes_max && sorted.entries.len() > 1 {
                let Some((_, (key, value))) = sorted.entries.pop_last() else { break };
                bytes -= key.len() + value.len();
                sorted.to = sorted.entries.keys().next_back().copied();
            }
        }
        Ok(sorted)
    }
}
