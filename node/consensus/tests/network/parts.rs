//! Chance, keys and signers of the simulated network.

use purlin_consensus::{SignError, VoteSigner};
use purlin_primitives::{
    BlockProposal, ChainId, Hash32, Height, PublicKey, SecretKey, SignedProposal, SignedVote, Validator,
    ValidatorSet, Vote,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// SplitMix64 (G. Steele, D. Lea, C. Flood, 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }
}

pub(crate) fn chain_id() -> ChainId {
    "test".parse().unwrap()
}

pub(crate) fn key(n: usize) -> SecretKey {
    SecretKey::from_bytes(&[n as u8 + 1; 32]).unwrap()
}

pub(crate) fn validators(powers: &[u64]) -> ValidatorSet {
    let validator = |(n, power): (usize, &u64)| {
        let public_key = key(n).public_key();
        Validator { public_key, account: public_key.account_id(), power: *power }
    };
    ValidatorSet::new(powers.iter().enumerate().map(validator).collect()).unwrap()
}

/// Refuses to contradict itself, durable at once, and counts how often it was asked to.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) key: SecretKey,
    pub(crate) book: Arc<Mutex<Book>>,
}

/// What one key signed and recorded.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) signed: BTreeMap<(Height, u32, u8), Hash32>,
    pub(crate) conflicts: usize,
    /// Written, and not synced.
    pub(crate) unsynced: Vec<Vec<u8>>,
    pub(crate) records: Vec<Vec<u8>>,
    height: Height,
    /// Signatures given during the input being handled, and how many records were durable with each.
    pub(crate) fresh: Vec<((Height, u32, u8), usize)>,
}

impl Signer {
    fn check(&self, at: (Height, u32, u8), digest: Hash32) -> Result<(), SignError> {
        let mut book = self.book.lock().unwrap();
        let again = book.signed.contains_key(&at);
        if *book.signed.entry(at).or_insert(digest) == digest {
            let mut unsynced = std::mem::take(&mut book.unsynced);
            book.records.append(&mut unsynced);
            if !again {
                let durable = book.records.len();
                book.fresh.push((at, durable));
            }
            return Ok(());
        }
        book.conflicts += 1;
        Err(SignError::Conflict { detail: format!("{at:?}") })
    }
}

impl VoteSigner for Signer {
    fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    fn record(&mut self, height: Height, bytes: Vec<u8>) {
        let mut book = self.book.lock().unwrap();
        if book.height < height {
            book.records.clear();
            book.unsynced.clear();
            book.height = height;
            book.fresh.clear();
        }
        book.unsynced.push(bytes);
    }

    fn sign_vote(&mut self, vote: Vote) -> Result<SignedVote, SignError> {
        self.check((vote.height, vote.round, vote.kind as u8), vote.signing_hash())?;
        Ok(self.key.sign_vote(vote))
    }

    fn sign_proposal(&mut self, proposal: BlockProposal) -> Result<SignedProposal, SignError> {
        self.check((proposal.height, proposal.round, 0), proposal.signing_hash())?;
        Ok(self.key.sign_proposal(proposal))
    }
}
