//! Nodes of the tree: in memory, on disk and their hashes.
//!
//! Key in column `TreeNodes`: `height u64 BE || depth u8 || path`, where `height` is that of the block which
//! wrote the node, `depth` the nibbles of its path and `path` those nibbles, high one first, the last byte filled
//! up with zero. Value:
//!
//! ```text
//! 0x00                                     root of an empty tree
//! 0x01 key hash(32) value hash(32)         root that is a leaf
//! 0x02 present(u16 LE) leaves(u16 LE)      branch; bit n of `present`: child n is there; of `leaves`: it is a leaf
//!      per child, in order:
//!        leaf:   key hash(32) value hash(32)
//!        branch: height(u64 LE) hash(32)
//! ```
//!
//! The root of every height is stored, at depth 0.

use purlin_primitives::Hash32;
use sha2::{Digest, Sha256};
use std::sync::{Arc, OnceLock};

/// Hash of a subtree without leaves.
pub(super) const NOTHING: [u8; 32] = *b"SPARSE_MERKLE_PLACEHOLDER_HASH__";

const EMPTY: u8 = 0;
const LEAF: u8 = 1;
const BRANCH: u8 = 2;

/// A key and its value, by their hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) key_hash: [u8; 32],
    pub(super) value_hash: [u8; 32],
    pub(super) hash: [u8; 32],
}

impl Leaf {
    pub(super) fn new(key_hash: [u8; 32], value_hash: [u8; 32]) -> Self {
        Self { key_hash, value_hash, hash: hash_leaf(&key_hash, &value_hash) }
    }
}

/// What hangs below a branch node.
#[derive(Debug, Clone)]
pub(super) enum Child {
    Leaf(Leaf),
    Branch {
        hash: [u8; 32],
        /// Of the block that wrote it.
        height: u64,
        /// Filled when it has been read.
        node: OnceLock<Arc<Node>>,
    },
}

impl Child {
    pub(super) fn branch(node: Node, height: u64) -> Self {
        Self::Branch { hash: node.hash(), height, node: OnceLock::from(Arc::new(node)) }
    }

    pub(super) fn hash(&self) -> &[u8; 32] {
        match self {
            Self::Leaf(leaf) => &leaf.hash,
            Self::Branch { hash, .. } => hash,
        }
    }
}

/// A branch: four levels of the binary tree with up to sixteen children.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    present: u16,
    leaves: u16,
    /// In order of their nibble.
    children: Vec<Child>,
}

impl Node {
    pub(super) fn with_capacity(children: usize) -> Self {
        Self { present: 0, leaves: 0, children: Vec::with_capacity(children) }
    }

    /// Adds a child; nibbles must come in ascending order.
    pub(super) fn push(&mut self, nibble: u8, child: Child) {
        debug_assert!(u32::from(self.present) < 1 << nibble, "children come in order");
        self.present |= 1 << nibble;
        if matches!(child, Child::Leaf(_)) {
            self.leaves |= 1 << nibble;
        }
        self.children.push(child);
    }

    pub(super) fn len(&self) -> usize {
        self.children.len()
    }

    pub(super) fn child(&self, nibble: u8) -> Option<&Child> {
        let bit = 1u16 << nibble;
        let before = (self.present & (bit - 1)).count_ones() as usize;
        if self.present & bit == 0 { None } else { self.children.get(before) }
    }

    /// Returns children with their nibbles, in order.
    pub(super) fn children(&self) -> impl Iterator<Item = (u8, &Child)> {
        let present = self.present;
        (0..16u8).filter(move |nibble| present & (1 << nibble) != 0).zip(&self.children)
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        self.hash_range(0, 16)
    }

    /// Returns the hash of the subtree over children `start..start + width`; `width` is a power of two.
    pub(super) fn hash_range(&self, start: u8, width: u8) -> [u8; 32] {
        match self.only(start, width) {
            Only::Nothing => NOTHING,
            Only::Child(child) => *child.hash(),
            Only::Several => {
                let half = width / 2;
                hash_inside(&self.hash_range(start, half), &self.hash_range(start + half, half))
            }
        }
    }

    /// Says what stands for children `start..start + width`.
    pub(super) fn only(&self, start: u8, width: u8) -> Only<'_> {
        let mask = (((1u32 << width) - 1) << start) as u16;
        let present = self.present & mask;
        let single = width == 1 || (present.count_ones() == 1 && self.leaves & mask != 0);
        match (present, single) {
            (0, _) => Only::Nothing,
            (_, true) => self.child(present.trailing_zeros() as u8).map_or(Only::Nothing, Only::Child),
            (_, false) => Only::Several,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(5 + self.children.len() * 64);
        out.push(BRANCH);
        out.extend_from_slice(&self.present.to_le_bytes());
        out.extend_from_slice(&self.leaves.to_le_bytes());
        for child in &self.children {
            match child {
                Child::Leaf(leaf) => {
                    out.extend_from_slice(&leaf.key_hash);
                    out.extend_from_slice(&leaf.value_hash);
                }
                Child::Branch { hash, height, .. } => {
                    out.extend_from_slice(&height.to_le_bytes());
                    out.extend_from_slice(hash);
                }
            }
        }
        out
    }
}

/// What stands for a range of children.
pub(super) enum Only<'a> {
    Nothing,
    /// One leaf, or the one child of a range of one.
    Child(&'a Child),
    Several,
}

/// A decoded value of column `TreeNodes`.
pub(super) enum Stored {
    Empty,
    Leaf(Leaf),
    Branch(Node),
}

/// Encodes a root that is no branch.
pub(super) fn encode_small_root(leaf: Option<&Leaf>) -> Vec<u8> {
    match leaf {
        None => vec![EMPTY],
        Some(leaf) => [&[LEAF][..], &leaf.key_hash, &leaf.value_hash].concat(),
    }
}

/// Reads a node; `None` when the bytes are not one.
pub(super) fn decode(bytes: &[u8]) -> Option<Stored> {
    let (kind, mut rest) = bytes.split_first()?;
    let stored = match *kind {
        EMPTY => Stored::Empty,
        LEAF => Stored::Leaf(Leaf::new(take(&mut rest)?, take(&mut rest)?)),
        BRANCH => {
            let present = u16::from_le_bytes(take(&mut rest)?);
            let leaves = u16::from_le_bytes(take(&mut rest)?);
            if leaves & !present != 0 {
                return None;
            }
            let mut node = Node::with_capacity(present.count_ones() as usize);
            for nibble in (0..16).filter(|nibble| present & (1 << nibble) != 0) {
                let child = if leaves & (1 << nibble) != 0 {
                    Child::Leaf(Leaf::new(take(&mut rest)?, take(&mut rest)?))
                } else {
                    let height = u64::from_le_bytes(take(&mut rest)?);
                    Child::Branch { height, hash: take(&mut rest)?, node: OnceLock::new() }
                };
                node.push(nibble, child);
            }
            Stored::Branch(node)
        }
        _ => return None,
    };
    rest.is_empty().then_some(stored)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = bytes.split_first_chunk::<N>()?;
    *bytes = tail;
    Some(*head)
}

/// Returns nibble `depth` of a hash, high ones first.
pub(super) fn nibble(hash: &[u8; 32], depth: usize) -> u8 {
    let byte = hash[depth / 2];
    if depth.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
}

/// Returns the key of the node that block `height` wrote at the first `depth` nibbles of `hash`.
pub(super) fn key(height: u64, hash: &[u8; 32], depth: usize) -> Vec<u8> {
    let bytes = depth.div_ceil(2);
    let mut key = Vec::with_capacity(9 + bytes);
    key.extend_from_slice(&height.to_be_bytes());
    key.push(u8::try_from(depth).expect("a path has at most 64 nibbles"));
    key.extend_from_slice(&hash[..bytes]);
    if !depth.is_multiple_of(2)
        && let Some(last) = key.last_mut()
    {
        *last &= 0xf0;
    }
    key
}

/// Returns the length of the node key that `bytes` starts with, or `None` when it is cut off.
pub(super) fn key_length(bytes: &[u8]) -> Option<usize> {
    let length = 9 + usize::from(*bytes.get(8)?).div_ceil(2);
    (length <= bytes.len()).then_some(length)
}

/// Writes a node key for a person.
pub(super) fn display_key(key: &[u8]) -> String {
    match key.split_first_chunk::<8>() {
        Some((height, [depth, path @ ..])) => {
            let mut digits: String = path.iter().map(|byte| format!("{byte:02x}")).collect();
            digits.truncate(usize::from(*depth));
            format!("written at height {} at path \"{digits}\"", u64::from_be_bytes(*height))
        }
        _ => "with a malformed key".into(),
    }
}

pub(super) fn hash_leaf(key_hash: &[u8; 32], value_hash: &[u8; 32]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"JMT::LeafNode");
    hasher.update(key_hash);
    hasher.update(value_hash);
    hasher.finalize().into()
}

pub(super) fn hash_inside(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    // Sixteen bytes, one letter short; the spelling is part of the format.
    hasher.update(b"JMT::IntrnalNode");
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

pub(super) fn hash_bytes(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

impl From<&Leaf> for super::ProofLeaf {
    fn from(leaf: &Leaf) -> Self {
        Self { key_hash: Hash32::new(leaf.key_hash), value_hash: Hash32::new(leaf.value_hash) }
    }
}
