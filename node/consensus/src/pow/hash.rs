//! The hash that work is done on, and the search for one that is small enough.

use purlin_primitives::{BlockHeader, Hash32, Seal};
use sha2::{Digest, Sha256};
use std::ops::Range;

use super::target::Target;

/// What the bytes that are hashed begin with, so that a proof of work is never anything else's hash.
const DOMAIN: &[u8] = b"purlin.pow.v1";

/// Bytes of the nonce, which come last.
const NONCE_BYTES: usize = 8;

/// Hashes what miners work on. Every node of a chain must use the same one.
pub trait PowHash: Send + Sync {
    /// Returns the name, for status.
    fn name(&self) -> &'static str;

    /// Hashes `prefix || nonce as u64 LE`; a hash is compared with the target as a big-endian number.
    fn hash(&self, prefix: &[u8], nonce: u64) -> Hash32;

    /// Returns the first nonce of a range whose hash meets the target. Replace it where the work on the prefix
    /// can be done once.
    fn search(&self, prefix: &[u8], target: &Target, mut nonces: Range<u64>) -> Option<u64> {
        nonces.find(|nonce| target.is_met_by(&self.hash(prefix, *nonce)))
    }
}

/// SHA-256 of the SHA-256, as in Bitcoin.
#[derive(Debug, Clone, Copy, Default)]
pub struct DoubleSha256;

impl DoubleSha256 {
    fn finish(mut prefix: Sha256, nonce: u64) -> Hash32 {
        prefix.update(nonce.to_le_bytes());
        Hash32::new(Sha256::digest(prefix.finalize()).into())
    }
}

impl PowHash for DoubleSha256 {
    fn name(&self) -> &'static str {
        "double-sha256"
    }

    fn hash(&self, prefix: &[u8], nonce: u64) -> Hash32 {
        Self::finish(Sha256::new_with_prefix(prefix), nonce)
    }

    fn search(&self, prefix: &[u8], target: &Target, mut nonces: Range<u64>) -> Option<u64> {
        let prefix = Sha256::new_with_prefix(prefix);
        nonces.find(|nonce| target.is_met_by(&Self::finish(prefix.clone(), *nonce)))
    }
}

/// Returns what is hashed before the nonce: `len(domain) as u8 || domain || borsh(header)` without the last eight
/// bytes, which are the nonce; `None` when the seal is not one of proof of work.
pub(super) fn prefix(header: &BlockHeader) -> Option<(Vec<u8>, u64)> {
    let Seal::Pow { nonce, .. } = header.seal else { return None };
    let length = u8::try_from(DOMAIN.len()).expect("the domain is short");
    let mut bytes = vec![length];
    bytes.extend_from_slice(DOMAIN);
    borsh::to_writer(&mut bytes, header).expect("writing to memory cannot fail");
    bytes.truncate(bytes.len() - NONCE_BYTES);
    Some((bytes, nonce))
}

/// Looks for a nonce in a range with which a header meets the target it names; `None` when there is none, or when
/// the header has no target. A miner calls it with short ranges, so that it can stop between them; what the
/// header's own nonce is does not matter.
pub fn search(hash: &dyn PowHash, header: &BlockHeader, nonces: Range<u64>) -> Option<u64> {
    let Seal::Pow { target, .. } = header.seal else { return None };
    let target = Target::from_compact(target).ok()?;
    let (prefix, _) = prefix(header)?;
    hash.search(&prefix, &target, nonces)
}

/// Says whether a header meets the target it names.
pub fn meets_own_target(hash: &dyn PowHash, header: &BlockHeader) -> bool {
    let Seal::Pow { target, .. } = header.seal else { return false };
    match (Target::from_compact(target), prefix(header)) {
        (Ok(target), Some((prefix, nonce))) => target.is_met_by(&hash.hash(&prefix, nonce)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests panic where their assertions would")]

    use super::*;
    use purlin_primitives::{BlockId, Height, TimestampMs};

    fn header(target: u32, nonce: u64) -> BlockHeader {
        BlockHeader {
            chain_id: "test".parse().unwrap(),
            height: Height::new(7),
            parent: BlockId::ZERO,
            time: TimestampMs::new(1_000),
            proposer: Default::default(),
            transactions_root: Hash32::ZERO,
            state_root: Hash32::ZERO,
            receipts_root: Hash32::ZERO,
            seal: Seal::Pow { target, nonce },
        }
    }

    #[test]
    fn the_nonce_is_the_end_of_what_is_hashed() {
        let (prefix, nonce) = prefix(&header(0x2000_ffff, 0x0102_0304_0506_0708)).unwrap();
        assert_eq!(nonce, 0x0102_0304_0506_0708);
        let encoded = borsh::to_vec(&header(0x2000_ffff, nonce)).unwrap();
        let expected = [&[13][..], b"purlin.pow.v1", &encoded].concat();
        assert_eq!([&prefix[..], &nonce.to_le_bytes()].concat(), expected);
        let twice = Sha256::digest(Sha256::digest(&expected));
        assert_eq!(DoubleSha256.hash(&prefix, nonce).as_bytes()[..], twice[..]);
    }

    #[test]
    fn search_finds_the_first_nonce_and_only_in_its_range() {
        struct Plain;
        impl PowHash for Plain {
            fn name(&self) -> &'static str {
                "plain"
            }
            fn hash(&self, prefix: &[u8], nonce: u64) -> Hash32 {
                DoubleSha256.hash(prefix, nonce)
            }
        }
        // One in 256.
        let template = header(0x2000_ffff, 0);
        let found = search(&DoubleSha256, &template, 0..100_000).unwrap();
        assert_eq!(search(&Plain, &template, 0..100_000), Some(found), "with and without a shortcut");
        assert!(meets_own_target(&DoubleSha256, &header(0x2000_ffff, found)));
        assert_eq!(
            (0..found).filter(|n| meets_own_target(&DoubleSha256, &header(0x2000_ffff, *n))).count(),
            0
        );
        assert_eq!(search(&DoubleSha256, &template, 0..found), None);
        assert_eq!(search(&DoubleSha256, &template, found..found + 1), Some(found));
        assert_eq!(search(&DoubleSha256, &template, found..found), None);
        // Another template, another nonce: the old one's work is of no use.
        let mut other = header(0x2000_ffff, found);
        other.time = TimestampMs::new(1_001);
        assert!(!meets_own_target(&DoubleSha256, &other));
        let mut staked = template;
        staked.seal = Seal::FIRST_ROUND;
        assert_eq!(search(&DoubleSha256, &staked, 0..10), None);
        assert!(!meets_own_target(&DoubleSha256, &staked));
        assert_eq!(search(&DoubleSha256, &header(0, 0), 0..10), None, "no target");
    }
}
