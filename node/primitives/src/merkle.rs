//! The Merkle root of a list (RFC 9162, section 2.1.1).

use purlin_abi::Hash32;
use sha2::{Digest, Sha256};

/// Returns the RFC 9162 Merkle tree hash of `leaves`: `SHA-256(0x00 || leaf)` for leaves, `SHA-256(0x01 ||
/// left || right)` inside, SHA-256 of nothing for an empty list.
pub fn merkle_root<T: AsRef<[u8]>>(leaves: &[T]) -> Hash32 {
    let mut level: Vec<[u8; 32]> = leaves.iter().map(|leaf| hash(&[&[0], leaf.as_ref()])).collect();
    if level.is_empty() {
        return Hash32::new(hash(&[]));
    }
    // Pairing left to right and carrying an odd node up is the same tree as RFC 9162's recursive split.
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => hash(&[&[1], left, right]),
                [odd] => *odd,
                _ => unreachable!("chunks(2) yields one or two"),
            })
            .collect();
    }
    Hash32::new(level[0])
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9162's definition, word for word.
    fn reference(leaves: &[&[u8]]) -> [u8; 32] {
        match leaves {
            [] => hash(&[]),
            [leaf] => hash(&[&[0], leaf]),
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                hash(&[&[1], &reference(&leaves[..split]), &reference(&leaves[split..])])
            }
        }
    }

    #[test]
    fn matches_the_recursive_definition() {
        let leaves: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; usize::from(n)]).collect();
        for count in 0..leaves.len() {
            let slices: Vec<&[u8]> = leaves[..count].iter().map(Vec::as_slice).collect();
            assert_eq!(merkle_root(&slices).as_bytes(), &reference(&slices), "{count} leaves");
        }
    }
}
