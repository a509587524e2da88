//! Engines for nodes and tests that must not decide by themselves, and a signer for tests that do.

use purlin_primitives::{
    BlockProposal, Height, PublicKey, SecretKey, SignedProposal, SignedVote, TimestampMs, Vote, VoteKind,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::port::{ConsensusEngine, Effect, Input, SignError, VoteSigner};

/// Decides nothing: the node serves what it has.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEngine;

impl ConsensusEngine for NoEngine {
    fn name(&self) -> &'static str {
        "none"
    }

    fn handle(&mut self, _now: TimestampMs, _input: Input) -> Vec<Effect> {
        Vec::new()
    }
}

/// What a [`ScriptedEngine`] was told, in order; shared with the test.
pub type ScriptLog = Arc<Mutex<Vec<Input>>>;

/// Answers with prepared effects, one list per input, and remembers the inputs: for tests of a driver.
#[derive(Debug, Default)]
pub struct ScriptedEngine {
    script: VecDeque<Vec<Effect>>,
    log: ScriptLog,
}

impl ScriptedEngine {
    /// Makes an engine that answers the n-th input with the n-th list, and nothing after the last.
    pub fn new(script: impl IntoIterator<Item = Vec<Effect>>) -> Self {
        Self { script: script.into_iter().collect(), log: ScriptLog::default() }
    }

    /// Returns what it was told so far; stays connected.
    pub fn log(&self) -> ScriptLog {
        Arc::clone(&self.log)
    }
}

impl ConsensusEngine for ScriptedEngine {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn handle(&mut self, _now: TimestampMs, input: Input) -> Vec<Effect> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(input);
        self.script.pop_front().unwrap_or_default()
    }
}

/// What a [`MemorySigner`] signed: height, round, and which vote; `None` is a proposal.
type SignedAt = (Height, u32, Option<VoteKind>);

#[derive(Debug, Default)]
struct Signed {
    at: BTreeMap<SignedAt, Vec<u8>>,
    refusal: Option<SignError>,
    /// With their heights, oldest first.
    records: Vec<(Height, Vec<u8>)>,
    /// How many of them a signature made durable.
    durable: usize,
}

/// Signs with a key and remembers in memory what it signed and records of the last height, without bound: for
/// tests. Clones share the memory, as a restarted process shares its file.
#[derive(Debug, Clone)]
pub struct MemorySigner {
    key: SecretKey,
    signed: Arc<Mutex<Signed>>,
}

impl MemorySigner {
    /// Makes a signer that has signed nothing.
    pub fn new(key: SecretKey) -> Self {
        Self { key, signed: Arc::default() }
    }

    /// Makes every later signature fail.
    pub fn refuse_with(&self, error: SignError) {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner).refusal = Some(error);
    }

    /// Loses what no signature made durable, as a crash does, and returns the other records.
    pub fn crash(&self) -> Vec<Vec<u8>> {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        let durable = signed.durable;
        signed.records.truncate(durable);
        signed.records.iter().map(|(_, bytes)| bytes.clone()).collect()
    }

    fn remember(&self, at: SignedAt, bytes: Vec<u8>) -> Result<(), SignError> {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &signed.refusal {
            return Err(error.clone());
        }
        if *signed.at.entry(at).or_insert_with(|| bytes.clone()) != bytes {
            return Err(SignError::Conflict { detail: format!("something else at {at:?}") });
        }
        signed.durable = signed.records.len();
        Ok(())
    }
}

impl VoteSigner for MemorySigner {
    fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    fn record(&mut self, height: Height, bytes: Vec<u8>) {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        if signed.records.last().is_some_and(|(last, _)| *last < height) {
            signed.records.clear();
            signed.durable = 0;
        }
        signed.records.push((height, bytes));
    }

    fn sign_vote(&mut self, vote: Vote) -> Result<SignedVote, SignError> {
        let digest = vote.signing_hash().as_bytes().to_vec();
        self.remember((vote.height, vote.round, Some(vote.kind)), digest)?;
        Ok(self.key.sign_vote(vote))
    }

    fn sign_proposal(&mut self, proposal: BlockProposal) -> Result<SignedProposal, SignError> {
        let digest = proposal.signing_hash().as_bytes().to_vec();
        self.remember((proposal.height, proposal.round, None), digest)?;
        Ok(self.key.sign_proposal(proposal))
    }
}
