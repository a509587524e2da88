//! The authenticated tree: one hash for the whole state, and proofs of single keys against it.
//!
//! The tree is a Jellyfish Merkle tree with SHA-256: its root hashes are those of the `jmt` crate, version 0.12,
//! which the tests compare it with, batch for batch. What differs is how it lies in memory and on disk. `jmt`
//! applies a block key by key, keeps leaves as nodes of their own and reads through a flat cache of copied
//! nodes; here a block is applied in one walk, each touched node is hashed once, leaves lie in the node above
//! them, and nodes of the newest version are linked in memory.
//!
//! Hashing (`||` joins bytes):
//!
//! ```text
//! key hash     SHA-256(state key)
//! value hash   SHA-256(value)
//! leaf         SHA-256("JMT::LeafNode" || key hash || value hash)
//! inside       SHA-256("JMT::IntrnalNode" || left || right)
//! nothing      "SPARSE_MERKLE_PLACEHOLDER_HASH__"
//! ```
//!
//! It is a binary tree over the bits of key hashes, most significant first, in which a subtree with one leaf is
//! that leaf and a subtree with none is nothing. A branch node holds four of its levels. The root depends on the
//! set of keys and values only.

mod node;
mod proof;
mod range;
mod update;

use std::sync::Arc;

use purlin_primitives::{Hash32, Height};

pub use proof::{ProofLeaf, TreeProof, TreeProofError};
pub use range::{RANGE_STEPS_MAX, RangeChunk, RangeError, RangeLimits, RangeStep};

use crate::reader::{Changes, Entry};
use crate::store::{Column, KeyValueStore, StoreError, WriteBatch};
use node::{Child, Node};

/// An authenticated map over state, one version per height.
///
/// `update` is called by one thread at a time, in order of height; `prove` by any number beside it.
pub trait StateTree: Send + Sync + 'static {
    /// The tree at one height; cheap to clone. Older ones stay readable while the store keeps their nodes.
    type Version: Clone + Send + Sync + 'static;

    /// Returns the tree with nothing in it.
    fn empty(&self) -> Self::Version;

    /// Returns the stored tree of a height, or `None` when it was never stored or is pruned.
    fn open(&self, height: Height) -> Result<Option<Self::Version>, StoreError>;

    /// Returns the root hash.
    fn root(&self, version: &Self::Version) -> Hash32;

    /// Applies a block's changes and adds what must be stored to `batch`. The new version can be updated again
    /// before `batch` is written, up to [`UNWRITTEN_HEIGHTS_MAX`] heights in all; proofs need it written.
    fn update(
        &self,
        parent: &Self::Version,
        height: Height,
        changes: &Changes,
        batch: &mut WriteBatch,
    ) -> Result<Self::Version, StoreError>;

    /// Adds the removal of everything that only versions before `height` need.
    fn prune(&self, height: Height, batch: &mut WriteBatch) -> Result<(), StoreError>;

    /// Proves what `version` holds under a key, or that it holds nothing.
    fn prove(&self, version: &Self::Version, key: &[u8]) -> Result<TreeProof, StoreError>;
}

/// Most heights that may be updated and not written. Nodes of so many stay in memory: they can be read nowhere else.
pub const UNWRITTEN_HEIGHTS_MAX: u64 = 4;

/// Returns the hash of a state key that decides its place in the tree.
pub fn key_hash(key: &[u8]) -> Hash32 {
    Hash32::new(node::hash_bytes(key))
}

/// Most children that the newest version keeps in memory between blocks, about 110 bytes each. A tree of
/// 100,000 keys fits whole; of larger ones the upper levels stay, and what may not be written yet.
pub const CACHED_CHILDREN_MAX: usize = 200_000;

/// The tree over columns `TreeNodes` and `StaleNodes` of a store.
#[derive(Debug)]
pub struct MerkleTree<S> {
    store: S,
    cached_children_max: usize,
}

/// A version of a [`MerkleTree`].
#[derive(Debug, Clone)]
pub struct TreeVersion {
    /// `None` for the tree that was never stored.
    height: Option<Height>,
    root: Option<Child>,
    /// Children in linked nodes, without those loaded since.
    cached: usize,
}

impl<S: KeyValueStore> MerkleTree<S> {
    /// Keeps the tree in `store`.
    pub fn new(store: S) -> Self {
        Self::with_cache(store, CACHED_CHILDREN_MAX)
    }

    /// Keeps the tree in `store`, and at most `cached_children_max` children in memory between blocks.
    pub fn with_cache(store: S, cached_children_max: usize) -> Self {
        Self { store, cached_children_max }
    }

    /// Makes the tree of a whole state, given entry by entry; about 64 bytes of memory per entry.
    pub fn build<E>(
        &self,
        height: Height,
        entries: impl IntoIterator<Item = Result<Entry, E>>,
        batch: &mut WriteBatch,
    ) -> Result<TreeVersion, E>
    where
        E: From<StoreError>,
    {
        let hashed =
            entries.into_iter().map(|entry| entry.map(|(key, value)| update::Item::new(&key, Some(&value))));
        let items = hashed.collect::<Result<Vec<_>, E>>()?;
        Ok(update::update(self, &self.empty(), height, items, batch)?)
    }

    /// Proves what `version` holds between two key hashes, both included: as much from `from` on as `limits`
    /// allow. `lookup` finds an entry of that version by the hash of its key, which the tree does not keep.
    pub fn prove_range(
        &self,
        version: &TreeVersion,
        from: &Hash32,
        to: &Hash32,
        limits: RangeLimits,
        lookup: &mut dyn FnMut(&Hash32) -> Result<Option<Entry>, StoreError>,
    ) -> Result<RangeChunk, StoreError> {
        range::prove(self, version, (from, to), limits, lookup)
    }

    fn load(&self, key: &[u8], hash: &[u8; 32]) -> Result<Arc<Node>, StoreError> {
        let corrupt = |detail: &str| StoreError::Corrupt {
            place: format!("tree node {}", node::display_key(key)),
            detail: detail.into(),
        };
        let bytes = self.store.get(Column::TreeNodes, key)?.ok_or_else(|| corrupt("it is missing"))?;
        match node::decode(&bytes) {
            Some(node::Stored::Branch(node)) if node.hash() == *hash => Ok(Arc::new(node)),
            Some(_) => Err(corrupt("its hash is not the one its parent names")),
            None => Err(corrupt("its bytes are not a node")),
        }
    }
}

impl<S: KeyValueStore> StateTree for MerkleTree<S> {
    type Version = TreeVersion;

    fn empty(&self) -> TreeVersion {
        TreeVersion { height: None, root: None, cached: 0 }
    }

    fn open(&self, height: Height) -> Result<Option<TreeVersion>, StoreError> {
        let key = node::key(height.get(), &[0; 32], 0);
        let Some(bytes) = self.store.get(Column::TreeNodes, &key)? else { return Ok(None) };
        let (root, cached) = match node::decode(&bytes) {
            Some(node::Stored::Empty) => (None, 0),
            Some(node::Stored::Leaf(leaf)) => (Some(Child::Leaf(leaf)), 0),
            Some(node::Stored::Branch(node)) => {
                let cached = node.len();
                (Some(Child::branch(node, height.get())), cached)
            }
            None => {
                return Err(StoreError::Corrupt {
                    place: format!("root of the state tree at height {height}"),
                    detail: "its bytes are not a node".into(),
                });
            }
        };
        Ok(Some(TreeVersion { height: Some(height), root, cached }))
    }

    fn root(&self, version: &TreeVersion) -> Hash32 {
        Hash32::new(version.root.as_ref().map_or(node::NOTHING, |root| *root.hash()))
    }

    fn update(
        &self,
        parent: &TreeVersion,
        height: Height,
        changes: &Changes,
        batch: &mut WriteBatch,
    ) -> Result<TreeVersion, StoreError> {
        let items = changes.iter().map(|(key, value)| update::Item::new(key, value.as_deref())).collect();
        update::update(self, parent, height, items, batch)
    }

    fn prune(&self, height: Height, batch: &mut WriteBatch) -> Result<(), StoreError> {
        let record = height.get().to_be_bytes();
        let Some(list) = self.store.get(Column::StaleNodes, &record)? else { return Ok(()) };
        let mut rest = list.as_slice();
        while !rest.is_empty() {
            let length = node::key_length(rest).ok_or_else(|| StoreError::Corrupt {
                place: format!("list of tree nodes made obsolete at height {height}"),
                detail: "it ends inside an entry".into(),
            })?;
            let (key, next) = rest.split_at(length);
            batch.delete(Column::TreeNodes, key);
            rest = next;
        }
        batch.delete(Column::StaleNodes, record);
        Ok(())
    }

    fn prove(&self, version: &TreeVersion, key: &[u8]) -> Result<TreeProof, StoreError> {
        proof::prove(self, version, key)
    }
}

#[cfg(test)]
mod tests;
