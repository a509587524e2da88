//! Proofs of single keys.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_primitives::Hash32;
use std::sync::Arc;

use super::node::{self, Child, NOTHING, Only};
use super::{MerkleTree, TreeVersion};
use crate::store::{KeyValueStore, StoreError};

/// Most siblings on a path: one per bit of a key hash.
const SIBLINGS_MAX: usize = 256;

/// A leaf, by the hashes of its key and value.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, serde::Serialize, serde::Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct ProofLeaf {
    /// SHA-256 of the state key.
    pub key_hash: Hash32,
    /// SHA-256 of the value.
    pub value_hash: Hash32,
}

/// The way from a key's place in the tree up to the root.
#[derive(
    Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, serde::Serialize, serde::Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct TreeProof {
    /// For an absent key, the one leaf whose subtree it would lie in; `None` when that subtree is empty, and for
    /// a present key.
    pub other: Option<ProofLeaf>,
    /// Hashes beside the path, lowest first, at most 256.
    pub siblings: Vec<Hash32>,
}

/// Says why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeProofError {
    /// More siblings than bits.
    #[error("the path has {siblings} hashes; at most 256 are possible")]
    TooLong {
        /// How many there are.
        siblings: usize,
    },
    /// A proof of presence that shows another leaf.
    #[error("the proof is of a present key, but names another leaf")]
    Contradiction,
    /// A proof of absence whose leaf is the key itself, or lies elsewhere.
    #[error("the leaf that is shown for absence does not lie where the key would")]
    WrongLeaf,
    /// The path ends at another root.
    #[error("the path leads to root {found}; the root to be matched is {expected}")]
    WrongRoot {
        /// Computed from the proof.
        found: Hash32,
        /// Trusted.
        expected: Hash32,
    },
}

impl TreeProof {
    /// Checks that the tree with this root holds `value` under `key`, or nothing for `None`.
    pub fn verify(&self, root: &Hash32, key: &[u8], value: Option<&[u8]>) -> Result<(), TreeProofError> {
        let length = self.siblings.len();
        if length > SIBLINGS_MAX {
            return Err(TreeProofError::TooLong { siblings: length });
        }
        let key_hash = node::hash_bytes(key);
        let start = match (value, &self.other) {
            (Some(_), Some(_)) => return Err(TreeProofError::Contradiction),
            (Some(value), None) => node::hash_leaf(&key_hash, &node::hash_bytes(value)),
            (None, None) => NOTHING,
            (None, Some(other)) => {
                let other_key = other.key_hash.as_bytes();
                if *other_key == key_hash || common_bits(other_key, &key_hash) < length {
                    return Err(TreeProofError::WrongLeaf);
                }
                node::hash_leaf(other_key, other.value_hash.as_bytes())
            }
        };
        let found = self.siblings.iter().zip((0..length).rev()).fold(start, |hash, (sibling, depth)| {
            if bit(&key_hash, depth) {
                node::hash_inside(sibling.as_bytes(), &hash)
            } else {
                node::hash_inside(&hash, sibling.as_bytes())
            }
        });
        let found = Hash32::new(found);
        if found == *root { Ok(()) } else { Err(TreeProofError::WrongRoot { found, expected: *root }) }
    }
}

fn bit(hash: &[u8; 32], index: usize) -> bool {
    hash[index / 8] >> (7 - index % 8) & 1 == 1
}

fn common_bits(a: &[u8; 32], b: &[u8; 32]) -> usize {
    (0..256).take_while(|index| bit(a, *index) == bit(b, *index)).count()
}

/// Collects the proof for `key`. What is read stays out of the cache, which only blocks fill.
pub(super) fn prove<S: KeyValueStore>(
    tree: &MerkleTree<S>,
    version: &TreeVersion,
    key: &[u8],
) -> Result<TreeProof, StoreError> {
    let key_hash = node::hash_bytes(key);
    let mut siblings = Vec::new();
    let mut current = version.root.clone();
    let mut depth = 0;
    while let Some(Child::Branch { hash, height, node }) = current {
        let node = match node.get() {
            Some(node) => Arc::clone(node),
            None => tree.load(&node::key(height, &key_hash, depth), &hash)?,
        };
        let nibble = node::nibble(&key_hash, depth);
        current = None;
        for level in (0..4).rev() {
            let width = 1u8 << level;
            let start = nibble & !(width - 1);
            siblings.push(Hash32::new(node.hash_range(start ^ width, width)));
            match node.only(start, width) {
                Only::Nothing => break,
                Only::Child(child) => {
                    current = Some(child.clone());
                    break;
                }
                Only::Several => {}
            }
        }
        depth += 1;
    }
    siblings.reverse();
    let other = match &current {
        Some(Child::Leaf(leaf)) if leaf.key_hash != key_hash => Some(leaf.into()),
        _ => None,
    };
    Ok(TreeProof { other, siblings })
}
