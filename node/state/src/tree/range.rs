//! Proofs of ranges of key hashes: the entries between two of them, and that there are no others.
//!
//! The tree is walked from the root, halves from left to right. Where a subtree lies outside the range, the proof has
//! its hash. Where all of it lies inside, its hash follows from the entries. Where a bound runs through it, the proof
//! says whether it has two halves, or is one leaf or nothing; so at most [`RANGE_STEPS_MAX`] steps.

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_primitives::Hash32;

use super::node::{self, Child, Leaf, NOTHING, Node, Only};
use super::{MerkleTree, ProofLeaf, TreeVersion};
use crate::reader::Entry;
use crate::store::{KeyValueStore, StoreError};

/// Most steps of a range proof: two bounds, on each a step and a hash for every bit, and the root.
pub const RANGE_STEPS_MAX: usize = 4 * 256 + 2;

/// Bounds a chunk. The first entry is always taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeLimits {
    /// Most entries.
    pub entries_max: usize,
    /// Bytes of keys and values after which it ends.
    pub bytes_max: usize,
}

impl RangeLimits {
    /// Says whether a chunk of so many entries ends with the last of them.
    fn are_reached(self, entries: usize, bytes: usize) -> bool {
        entries >= self.entries_max || bytes >= self.bytes_max
    }
}

/// What a walk meets at the edge of a range.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum RangeStep {
    /// A subtree outside the range, by its hash.
    Outside(Hash32),
    /// A subtree that a bound runs through, with two halves.
    Halves,
    /// A subtree that a bound runs through, with one entry of the range and nothing else, or nothing at all.
    Only,
    /// A subtree that a bound runs through, with one leaf outside the range and nothing else.
    Other(ProofLeaf),
}

/// All entries of a tree whose key hashes are from `from` to `to`, both included, and the proof of it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RangeChunk {
    /// Lowest key hash of the range.
    pub from: Hash32,
    /// Highest key hash of the range.
    pub to: Hash32,
    /// State keys and values in ascending order of the key's hash.
    pub entries: Vec<Entry>,
    /// In the order of the walk, at most [`RANGE_STEPS_MAX`].
    #[borsh(deserialize_with = "read_steps")]
    pub steps: Vec<RangeStep>,
}

/// Refuses a count over the cap: a step takes a byte on the wire and many in memory.
fn read_steps<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Vec<RangeStep>> {
    let count = u32::deserialize_reader(reader)? as usize;
    if count > RANGE_STEPS_MAX {
        let reason = format!("{count} steps; at most {RANGE_STEPS_MAX}");
        return Err(borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, reason));
    }
    (0..count).map(|_| RangeStep::deserialize_reader(reader)).collect()
}

/// Says why a range proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The lower bound is above the upper one.
    #[error("the range ends before it begins")]
    Empty,
    /// An entry is out of order, there twice, or outside the range.
    #[error("entry {position} is out of order or outside the range")]
    Misplaced {
        /// Which.
        position: usize,
    },
    /// A step that cannot be there, one too few or one too many.
    #[error("step {position} of the proof does not fit the entries")]
    Step {
        /// Which.
        position: usize,
    },
    /// The walk ends at another root.
    #[error("the range leads to root {found}; the root to be matched is {expected}")]
    WrongRoot {
        /// Computed from the chunk.
        found: Hash32,
        /// Trusted.
        expected: Hash32,
    },
}

/// A subtree by the first and last key hash that can lie in it.
#[derive(Clone, Copy)]
struct Span {
    low: [u8; 32],
    high: [u8; 32],
    bits: usize,
}

enum Place {
    Inside,
    Outside,
    Edge,
}

impl Span {
    const ALL: Self = Self { low: [0; 32], high: [255; 32], bits: 0 };

    fn halves(&self) -> [Self; 2] {
        let (byte, mask) = (self.bits / 8, 0x80u8 >> (self.bits % 8));
        let (mut left, mut right) = (*self, *self);
        left.high[byte] &= !mask;
        right.low[byte] |= mask;
        left.bits += 1;
        right.bits += 1;
        [left, right]
    }

    fn place(&self, from: &[u8; 32], to: &[u8; 32]) -> Place {
        if self.low >= *from && self.high <= *to {
            Place::Inside
        } else if self.high < *from || self.low > *to {
            Place::Outside
        } else {
            Place::Edge
        }
    }

    fn holds(&self, key_hash: &[u8; 32]) -> bool {
        (self.low..=self.high).contains(key_hash)
    }
}

impl RangeChunk {
    /// Says whether it ends where [`MerkleTree::prove_range`] with these limits ends it: at the entry that reaches them,
    /// or at `to`. What it proves is not looked at.
    pub fn is_cut_by(&self, limits: RangeLimits, to: &Hash32) -> bool {
        let mut bytes = 0;
        for (position, (key, value)) in self.entries.iter().enumerate() {
            bytes += key.len() + value.len();
            if limits.are_reached(position + 1, bytes) {
                return position + 1 == self.entries.len() && self.to == super::key_hash(key);
            }
        }
        self.to == *to
    }

    /// Checks that the tree with this root has exactly these entries in the range.
    pub fn verify(&self, root: &Hash32) -> Result<(), RangeError> {
        let (from, to) = (*self.from.as_bytes(), *self.to.as_bytes());
        if from > to {
            return Err(RangeError::Empty);
        }
        let hash = |(key, value): &Entry| Leaf::new(node::hash_bytes(key), node::hash_bytes(value));
        let leaves: Vec<Leaf> = self.entries.iter().map(hash).collect();
        for (position, leaf) in leaves.iter().enumerate() {
            let ascending = position == 0 || leaves[position - 1].key_hash < leaf.key_hash;
            if !ascending || leaf.key_hash < from || leaf.key_hash > to {
                return Err(RangeError::Misplaced { position });
            }
        }
        let mut walk = Verifier { from, to, steps: &self.steps, at: 0 };
        let found = Hash32::new(walk.subtree(Span::ALL, &leaves)?);
        if walk.at != self.steps.len() {
            return Err(RangeError::Step { position: walk.at });
        }
        if found == *root { Ok(()) } else { Err(RangeError::WrongRoot { found, expected: *root }) }
    }
}

struct Verifier<'a> {
    from: [u8; 32],
    to: [u8; 32],
    steps: &'a [RangeStep],
    at: usize,
}

impl Verifier<'_> {
    fn subtree(&mut self, span: Span, leaves: &[Leaf]) -> Result<[u8; 32], RangeError> {
        let place = span.place(&self.from, &self.to);
        if let Place::Inside = place {
            return Ok(hash_leaves(span, leaves));
        }
        let wrong = RangeError::Step { position: self.at };
        let step = self.steps.get(self.at).ok_or(wrong.clone())?;
        self.at += 1;
        match (place, step, leaves) {
            (Place::Outside, RangeStep::Outside(hash), []) => Ok(*hash.as_bytes()),
            (Place::Edge, RangeStep::Only, []) => Ok(NOTHING),
            (Place::Edge, RangeStep::Only, [leaf]) => Ok(leaf.hash),
            (Place::Edge, RangeStep::Other(other), []) => {
                let key_hash = other.key_hash.as_bytes();
                if !span.holds(key_hash) || (self.from..=self.to).contains(key_hash) {
                    return Err(wrong);
                }
                Ok(node::hash_leaf(key_hash, other.value_hash.as_bytes()))
            }
            (Place::Edge, RangeStep::Halves, _) if span.bits < 256 => {
                let [left, right] = span.halves();
                let (below, above) = leaves.split_at(leaves.partition_point(|l| l.key_hash <= left.high));
                let left = self.subtree(left, below)?;
                Ok(node::hash_inside(&left, &self.subtree(right, above)?))
            }
            _ => Err(wrong),
        }
    }
}

/// Hashes a subtree of sorted leaves of distinct keys.
fn hash_leaves(span: Span, leaves: &[Leaf]) -> [u8; 32] {
    match leaves {
        [] => NOTHING,
        [leaf] => leaf.hash,
        _ => {
            let [left, right] = span.halves();
            let (below, above) = leaves.split_at(leaves.partition_point(|leaf| leaf.key_hash <= left.high));
            node::hash_inside(&hash_leaves(left, below), &hash_leaves(right, above))
        }
    }
}

/// A subtree of a stored tree.
enum Subtree {
    Nothing,
    Leaf(Leaf),
    /// Children `start..start + width` of a node whose path has `depth` nibbles; several leaves.
    Several {
        node: Arc<Node>,
        depth: usize,
        start: u8,
        width: u8,
    },
}

struct Prover<'a, S> {
    tree: &'a MerkleTree<S>,
    from: [u8; 32],
    to: [u8; 32],
}

/// Collects a chunk. What is read stays out of the cache.
pub(super) fn prove<S: KeyValueStore>(
    tree: &MerkleTree<S>,
    version: &TreeVersion,
    (from, to): (&Hash32, &Hash32),
    limits: RangeLimits,
    lookup: &mut dyn FnMut(&Hash32) -> Result<Option<Entry>, StoreError>,
) -> Result<RangeChunk, StoreError> {
    let mut prover = Prover { tree, from: *from.as_bytes(), to: *to.as_bytes() };
    let root = prover.open(version.root.as_ref(), &[0; 32], 0)?;
    let mut collector = Collector { limits, lookup, entries: Vec::new(), bytes: 0, stopped_at: None };
    prover.collect(&root, Span::ALL, &mut collector)?;
    if let Some(last) = collector.stopped_at {
        prover.to = last;
    }
    let mut steps = Vec::new();
    prover.steps(&root, Span::ALL, &mut steps)?;
    Ok(RangeChunk { from: *from, to: Hash32::new(prover.to), entries: collector.entries, steps })
}

struct Collector<'a> {
    limits: RangeLimits,
    lookup: &'a mut dyn FnMut(&Hash32) -> Result<Option<Entry>, StoreError>,
    entries: Vec<Entry>,
    bytes: usize,
    /// The last key hash that was taken, when there is no room for the next.
    stopped_at: Option<[u8; 32]>,
}

impl Collector<'_> {
    fn take(&mut self, leaf: &Leaf) -> Result<(), StoreError> {
        let corrupt = |detail: &str| StoreError::Corrupt {
            place: format!("state entry with key hash {}", Hash32::new(leaf.key_hash)),
            detail: detail.into(),
        };
        let entry = (self.lookup)(&Hash32::new(leaf.key_hash))?;
        let (key, value) = entry.ok_or_else(|| corrupt("it is in the tree and not in the state"))?;
        if node::hash_bytes(&key) != leaf.key_hash || node::hash_bytes(&value) != leaf.value_hash {
            return Err(corrupt("tree and state do not agree"));
        }
        self.bytes += key.len() + value.len();
        self.entries.push((key, value));
        if self.limits.are_reached(self.entries.len(), self.bytes) {
            self.stopped_at = Some(leaf.key_hash);
        }
        Ok(())
    }
}

impl<S: KeyValueStore> Prover<'_, S> {
    /// Reads what hangs at the first `depth` nibbles of `path`.
    fn open(&self, child: Option<&Child>, path: &[u8; 32], depth: usize) -> Result<Subtree, StoreError> {
        Ok(match child {
            None => Subtree::Nothing,
            Some(Child::Leaf(leaf)) => Subtree::Leaf(leaf.clone()),
            Some(Child::Branch { hash, height, node: cell }) => {
                let node = match cell.get() {
                    Some(node) => Arc::clone(node),
                    None => self.tree.load(&node::key(*height, path, depth), hash)?,
                };
                Subtree::Several { node, depth, start: 0, width: 16 }
            }
        })
    }

    /// Splits a subtree; `span` is that of the half.
    fn half(
        &self,
        (node, depth): (&Arc<Node>, usize),
        (start, width): (u8, u8),
        span: &Span,
    ) -> Result<Subtree, StoreError> {
        match node.only(start, width) {
            Only::Nothing => Ok(Subtree::Nothing),
            Only::Child(child) => self.open(Some(child), &span.low, depth + 1),
            Only::Several => Ok(Subtree::Several { node: Arc::clone(node), depth, start, width }),
        }
    }

    /// Gives the entries of the range to `collector`, in order, until it has enough.
    fn collect(
        &self,
        subtree: &Subtree,
        span: Span,
        collector: &mut Collector<'_>,
    ) -> Result<(), StoreError> {
        if collector.stopped_at.is_some() || matches!(span.place(&self.from, &self.to), Place::Outside) {
            return Ok(());
        }
        match subtree {
            Subtree::Nothing => Ok(()),
            Subtree::Leaf(leaf) if (self.from..=self.to).contains(&leaf.key_hash) => collector.take(leaf),
            Subtree::Leaf(_) => Ok(()),
            Subtree::Several { node, depth, start, width } => {
                for (span, start) in span.halves().into_iter().zip([*start, *start + *width / 2]) {
                    let outside = matches!(span.place(&self.from, &self.to), Place::Outside);
                    if !outside && collector.stopped_at.is_none() {
                        let half = self.half((node, *depth), (start, *width / 2), &span)?;
                        self.collect(&half, span, collector)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Writes the steps along the edges; `subtree` is not outside the range.
    fn steps(&self, subtree: &Subtree, span: Span, steps: &mut Vec<RangeStep>) -> Result<(), StoreError> {
        if let Place::Inside = span.place(&self.from, &self.to) {
            return Ok(());
        }
        match subtree {
            Subtree::Nothing => steps.push(RangeStep::Only),
            Subtree::Leaf(leaf) if (self.from..=self.to).contains(&leaf.key_hash) => {
                steps.push(RangeStep::Only);
            }
            Subtree::Leaf(leaf) => steps.push(RangeStep::Other(leaf.into())),
            Subtree::Several { node, depth, start, width } => {
                steps.push(RangeStep::Halves);
                for (span, start) in span.halves().into_iter().zip([*start, *start + *width / 2]) {
                    match span.place(&self.from, &self.to) {
                        Place::Outside => {
                            let hash = node.hash_range(start, *width / 2);
                            steps.push(RangeStep::Outside(Hash32::new(hash)));
                        }
                        Place::Inside => {}
                        Place::Edge => {
                            let half = self.half((node, *depth), (start, *width / 2), &span)?;
                            self.steps(&half, span, steps)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "range_tests.rs"]
mod tests;
