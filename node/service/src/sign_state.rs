//! What the validator key signed last, on disk before any signature leaves the process.
//!
//! ```text
//! offset      two slots, at 0 and at 4096; a write goes to the one that does not hold the newest
//!    0   8    "PURLSIGN"
//!    8   4    format version, little-endian: 2
//!   12  32    genesis id
//!   44  33    public key
//!   77   8    height, little-endian
//!   85   4    round, little-endian
//!   89   1    step: 1 proposal, 2 prevote, 3 precommit
//!   90  32    digest that was signed
//!  122  32    SHA-256 of bytes 0 to 122
//! ```
//!
//! A slot torn by a power cut fails its checksum; the other slot is the truth then.
//!
//! Beside it lies the log of votes ([`crate::vote_log`]), in which each entry is one byte of kind and then
//!
//! ```text
//! 1  a record of the consensus engine
//! 2  bytes 77 to 122 of a slot: what was signed
//! ```
//!
//! A signature and the records that led to it are one write and one sync of the log. The slots are written before the
//! log is cleared, so the newest of both is what was signed last.

use parking_lot::Mutex;
use purlin_consensus::{SignError, VoteSigner};
use purlin_primitives::{
    BlockId, BlockProposal, Hash32, Height, PublicKey, SecretKey, SignedProposal, SignedVote, Vote, VoteKind,
};
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::signing_disk::{IfMissing, SigningDisk, SigningFile, SystemDisk};
use crate::vote_log::VoteLog;

const MAGIC: &[u8; 8] = b"PURLSIGN";
const VERSION: u32 = 2;
/// A disk writes at least this much at once, so a write to one slot cannot damage the other.
const SLOT_BYTES: usize = 4096;
const CHECKED_BYTES: usize = 122;
const RECORD_BYTES: usize = CHECKED_BYTES + 32;
/// Where what was signed stands in a slot.
const SIGNED_AT: usize = 77;
/// Kinds of entries in the log.
const KIND_RECORD: u8 = 1;
const KIND_SIGNED: u8 = 2;

/// Says why a block may not be signed, or the sign state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SignStateError {
    /// Not there, although the chain may have blocks signed with this key.
    #[error(
        "the sign state {} is missing; restore it from the machine that signed last. Only when no other copy of \
         this validator has ever signed since, write a new one with `purlin doctor --recreate-sign-state`",
        path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Neither slot is whole.
    #[error(
        "the sign state {} is damaged: {detail}; restore it from a backup of the same moment as the key",
        path.display()
    )]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Belongs to another key or another chain.
    #[error("the sign state {} belongs to another {what}: found {found}, expected {expected}", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// `validator key` or `chain`.
        what: &'static str,
        /// In the file.
        found: String,
        /// Here.
        expected: String,
    },
    /// The key signed blocks that the data does not have: it was restored from an older copy.
    #[error(
        "the validator key signed block {signed} but the chain ends at {head}: the data directory was replaced by \
         an older one; put the newer one back, or fetch the blocks from another node, before signing again"
    )]
    AheadOfChain {
        /// Height signed last.
        signed: Height,
        /// Height of the chain.
        head: Height,
    },
    /// Something else was signed there, or further on.
    #[error("refused to sign a {} of height {} in round {}: {last} was signed already", wanted.step, wanted.height, wanted.round)]
    Conflict {
        /// What was asked for.
        wanted: LastSigned,
        /// What was signed last.
        last: LastSigned,
    },
    /// The votes that were cast at that height are not known any more.
    #[error(
        "this node does not sign at height {height}: its record of the votes it cast there is gone; it signs again \
         from the next height on"
    )]
    Forgotten {
        /// Which height.
        height: Height,
    },
    /// The file cannot be read or written.
    #[error("the sign state {} failed while {operation}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Which of the signatures of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum SignStep {
    /// The proposer's.
    Proposal = 1,
    /// The first vote.
    Prevote = 2,
    /// The second vote.
    Precommit = 3,
}

impl From<VoteKind> for SignStep {
    fn from(kind: VoteKind) -> Self {
        match kind {
            VoteKind::Prevote => Self::Prevote,
            VoteKind::Precommit => Self::Precommit,
        }
    }
}

impl std::fmt::Display for SignStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Proposal => "proposal",
            Self::Prevote => "prevote",
            Self::Precommit => "precommit",
        })
    }
}

/// Last signature of a key; height 0 before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSigned {
    /// Height of the block.
    pub height: Height,
    /// Attempt at that height.
    pub round: u32,
    /// Which signature of the round.
    pub step: SignStep,
    /// What was signed.
    pub digest: Hash32,
}

impl LastSigned {
    /// Before the first signature.
    pub const NOTHING: Self =
        Self { height: Height::ZERO, round: 0, step: SignStep::Proposal, digest: Hash32::ZERO };

    /// Describes a vote.
    pub fn vote(vote: &Vote) -> Self {
        let (height, round, step) = (vote.height, vote.round, vote.kind.into());
        Self { height, round, step, digest: vote.signing_hash() }
    }

    /// Describes a proposal.
    pub fn proposal(proposal: &BlockProposal) -> Self {
        let (height, round) = (proposal.height, proposal.round);
        Self { height, round, step: SignStep::Proposal, digest: proposal.signing_hash() }
    }

    /// Returns where it stands among all signatures of a key.
    pub fn position(&self) -> (Height, u32, SignStep) {
        (self.height, self.round, self.step)
    }
}

impl std::fmt::Display for LastSigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a {} of height {} in round {}", self.step, self.height, self.round)
    }
}

/// Says what a key may sign when its state is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigningTerms {
    /// Height of the chain here.
    pub head: Height,
    /// Whether this validator decides alone: then every block it signed was durable here before, and a chain
    /// that ends below is an older copy.
    pub alone: bool,
}

/// Where a validator's signatures are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningFiles {
    /// What was signed last.
    pub state: PathBuf,
    /// What was signed since, and the records that led to it.
    pub votes: PathBuf,
}

/// Signs with a validator's key, never two things that exclude each other. The key cannot be used for consensus
/// in any other way.
pub struct Signer {
    key: SecretKey,
    public_key: PublicKey,
    genesis: BlockId,
    last: LastSigned,
    /// Nothing of this height or below is signed, because the votes cast there are forgotten.
    forgotten: Height,
    file: Box<dyn SigningFile>,
    /// Slot that the next record goes to.
    next_slot: u64,
    votes: VoteLog,
    /// Height of the newest entry of the log.
    height: Height,
    /// The same as `last`, for others to see.
    shown: Arc<Mutex<LastSigned>>,
    /// A record that could not be written; the next signature fails.
    broken: Option<io::Error>,
    path: PathBuf,
}

impl Signer {
    /// Writes the state of a key that never signed on this chain. Refuses to replace one.
    pub fn create(path: &Path, genesis: BlockId, public_key: &PublicKey) -> Result<(), SignStateError> {
        Self::create_on(&SystemDisk, path, genesis, public_key)
    }

    /// As [`Signer::create`], on another disk than the machine's.
    pub fn create_on(
        disk: &dyn SigningDisk,
        path: &Path,
        genesis: BlockId,
        public_key: &PublicKey,
    ) -> Result<(), SignStateError> {
        if disk.exists(path) {
            let source = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(SignStateError::Io { path: path.into(), operation: "creating", source });
        }
        write_new(disk, path, genesis, public_key, LastSigned::NOTHING)
    }

    /// Writes the state anew, as signed up to `last`. Safe only when no other copy of the key signs.
    pub fn recreate(
        path: &Path,
        genesis: BlockId,
        public_key: &PublicKey,
        last: LastSigned,
    ) -> Result<(), SignStateError> {
        write_new(&SystemDisk, path, genesis, public_key, last)
    }

    /// Reads what was signed last. Changes nothing.
    pub fn inspect(
        files: &SigningFiles,
        genesis: BlockId,
        public_key: &PublicKey,
    ) -> Result<LastSigned, SignStateError> {
        let (last, ..) = read(&SystemDisk, &files.state, genesis, public_key)?;
        if !files.votes.exists() {
            return Ok(last);
        }
        let io = |source| SignStateError::Io { path: files.votes.clone(), operation: "reading", source };
        let (_, entries) = VoteLog::open(&SystemDisk, &files.votes).map_err(io)?;
        Ok(newest(last, &entries))
    }

    /// Opens a key's state; returns also what the engine recorded of the height after the head.
    pub fn open(
        files: &SigningFiles,
        genesis: BlockId,
        key: SecretKey,
        terms: SigningTerms,
    ) -> Result<(Self, Vec<Vec<u8>>), SignStateError> {
        Self::open_on(&SystemDisk, files, genesis, key, terms)
    }

    /// As [`Signer::open`], on another disk than the machine's.
    pub fn open_on(
        disk: &dyn SigningDisk,
        files: &SigningFiles,
        genesis: BlockId,
        key: SecretKey,
        terms: SigningTerms,
    ) -> Result<(Self, Vec<Vec<u8>>), SignStateError> {
        let public_key = key.public_key();
        let (last, slot, file) = read(disk, &files.state, genesis, &public_key)?;
        let io = |source| SignStateError::Io { path: files.votes.clone(), operation: "opening", source };
        let (votes, entries) = VoteLog::open(disk, &files.votes).map_err(io)?;
        let last = newest(last, &entries);
        if terms.alone && last.height > terms.head {
            return Err(SignStateError::AheadOfChain { signed: last.height, head: terms.head });
        }
        let next = terms.head.next();
        let records: Vec<Vec<u8>> = entries
            .iter()
            .filter(|(height, _)| *height == next)
            .filter_map(|(_, bytes)| record(bytes))
            .collect();
        // Locks of the height that was signed last are known only when its records are there.
        let known = last.height <= terms.head || (last.height == next && !records.is_empty());
        let signer = Self {
            key,
            public_key,
            genesis,
            last,
            forgotten: if known { Height::ZERO } else { last.height },
            file,
            next_slot: 1 - slot,
            height: entries.last().map_or(Height::ZERO, |(height, _)| *height),
            votes,
            shown: Arc::new(Mutex::new(last)),
            broken: None,
            path: files.state.clone(),
        };
        Ok((signer, records))
    }

    /// Returns the public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Returns what was signed last.
    pub fn last(&self) -> LastSigned {
        self.last
    }

    /// Makes `wanted` durable as the last signature. The same again is fine; anything else at or before the last
    /// is refused.
    fn advance(&mut self, wanted: LastSigned) -> Result<(), SignStateError> {
        if wanted == self.last {
            return Ok(());
        }
        if wanted.position() <= self.last.position() {
            return Err(SignStateError::Conflict { wanted, last: self.last });
        }
        if wanted.height <= self.forgotten {
            return Err(SignStateError::Forgotten { height: wanted.height });
        }
        self.record_signature(wanted).map_err(|source| SignStateError::Io {
            path: self.path.clone(),
            operation: "recording a signature",
            source,
        })?;
        self.last = wanted;
        *self.shown.lock() = wanted;
        Ok(())
    }

    /// Returns what always shows the last signature.
    pub fn watch(&self) -> Arc<Mutex<LastSigned>> {
        Arc::clone(&self.shown)
    }

    fn record_signature(&mut self, wanted: LastSigned) -> io::Result<()> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        self.begin(wanted.height)?;
        let slot = encode(self.genesis, &self.public_key, wanted);
        self.votes.append(wanted.height, &[&[KIND_SIGNED], &slot[SIGNED_AT..CHECKED_BYTES]].concat())?;
        self.votes.sync()
    }

    /// Drops entries of decided heights when there are many, after keeping what was signed.
    fn begin(&mut self, height: Height) -> io::Result<()> {
        if height > self.height {
            self.height = height;
            if self.votes.is_large() {
                self.write_slot(self.last)?;
                self.votes.clear()?;
            }
        }
        Ok(())
    }

    fn write_slot(&mut self, last: LastSigned) -> io::Result<()> {
        let slot = encode(self.genesis, &self.public_key, last);
        self.file.write_at(self.next_slot * SLOT_BYTES as u64, &slot)?;
        self.file.sync()?;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }
}

/// Returns the bytes of an entry that is a record of the engine.
fn record(entry: &[u8]) -> Option<Vec<u8>> {
    entry.split_first().filter(|(kind, _)| **kind == KIND_RECORD).map(|(_, bytes)| bytes.to_vec())
}

/// Returns what was signed last by slot and log.
fn newest(slot: LastSigned, entries: &[(Height, Vec<u8>)]) -> LastSigned {
    let signed = |(_, entry): &(Height, Vec<u8>)| match entry.split_first() {
        Some((&KIND_SIGNED, bytes)) => decode_signed(bytes),
        _ => None,
    };
    entries.iter().filter_map(signed).chain([slot]).max_by_key(LastSigned::position).unwrap_or(slot)
}

impl VoteSigner for Signer {
    fn public_key(&self) -> PublicKey {
        self.public_key
    }

    fn record(&mut self, height: Height, bytes: Vec<u8>) {
        let entry = [&[KIND_RECORD], bytes.as_slice()].concat();
        let written = self.begin(height).and_then(|()| self.votes.append(height, &entry));
        if let Err(error) = written {
            self.broken.get_or_insert(error);
        }
    }

    fn sign_vote(&mut self, vote: Vote) -> Result<SignedVote, SignError> {
        self.advance(LastSigned::vote(&vote))?;
        Ok(self.key.sign_vote(vote))
    }

    fn sign_proposal(&mut self, proposal: BlockProposal) -> Result<SignedProposal, SignError> {
        self.advance(LastSigned::proposal(&proposal))?;
        Ok(self.key.sign_proposal(proposal))
    }
}

impl From<SignStateError> for SignError {
    fn from(error: SignStateError) -> Self {
        let detail = error.to_string();
        match error {
            SignStateError::Conflict { .. } | SignStateError::Forgotten { .. } => Self::Conflict { detail },
            _ => Self::Failed { detail },
        }
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("last", &self.last).finish_non_exhaustive()
    }
}

fn encode(genesis: BlockId, public_key: &PublicKey, last: LastSigned) -> [u8; RECORD_BYTES] {
    let mut out = [0; RECORD_BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..44].copy_from_slice(genesis.as_bytes());
    out[44..77].copy_from_slice(public_key.as_bytes());
    out[77..85].copy_from_slice(&last.height.get().to_le_bytes());
    out[85..89].copy_from_slice(&last.round.to_le_bytes());
    out[89] = last.step as u8;
    out[90..122].copy_from_slice(last.digest.as_bytes());
    let checksum: [u8; 32] = Sha256::digest(&out[..CHECKED_BYTES]).into();
    out[CHECKED_BYTES..].copy_from_slice(&checksum);
    out
}

fn decode_signed(bytes: &[u8]) -> Option<LastSigned> {
    let height = Height::new(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?));
    let round = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?);
    let step = match bytes.get(12)? {
        1 => SignStep::Proposal,
        2 => SignStep::Prevote,
        3 => SignStep::Precommit,
        _ => return None,
    };
    let digest = Hash32::new(bytes.get(13..45)?.try_into().ok()?);
    Some(LastSigned { height, round, step, digest })
}

struct Record<'a> {
    genesis: &'a [u8],
    public_key: &'a [u8],
    last: LastSigned,
}

fn decode(slot: &[u8]) -> Result<Record<'_>, &'static str> {
    let record = slot.get(..RECORD_BYTES).ok_or("the file is too short")?;
    if record[..8] != *MAGIC {
        return Err("a slot does not start with PURLSIGN");
    }
    if Sha256::digest(&record[..CHECKED_BYTES])[..] != record[CHECKED_BYTES..] {
        return Err("a checksum does not match");
    }
    if record[8..12] != VERSION.to_le_bytes() {
        return Err("it was written by another version of purlin");
    }
    let last = decode_signed(&record[SIGNED_AT..CHECKED_BYTES]).ok_or("its step is unknown")?;
    Ok(Record { genesis: &record[12..44], public_key: &record[44..77], last })
}

/// Writes a file whose first slot says what was signed last.
fn write_new(
    disk: &dyn SigningDisk,
    path: &Path,
    genesis: BlockId,
    public_key: &PublicKey,
    last: LastSigned,
) -> Result<(), SignStateError> {
    let mut content = vec![0; SLOT_BYTES * 2];
    content[..RECORD_BYTES].copy_from_slice(&encode(genesis, public_key, last));
    disk.replace(path, &content).map_err(|source| SignStateError::Io {
        path: path.into(),
        operation: "creating",
        source,
    })
}

fn read(
    disk: &dyn SigningDisk,
    path: &Path,
    genesis: BlockId,
    public_key: &PublicKey,
) -> Result<(LastSigned, u64, Box<dyn SigningFile>), SignStateError> {
    let failed = |operation| move |source| SignStateError::Io { path: path.into(), operation, source };
    let mut file = match disk.open(path, IfMissing::Fail) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SignStateError::Missing { path: path.into() });
        }
        other => other.map_err(failed("opening"))?,
    };
    let content = file.read(SLOT_BYTES as u64 * 2 + 1).map_err(failed("reading"))?;
    if content.len() != SLOT_BYTES * 2 {
        let detail = format!("it has {} bytes instead of {}", content.len(), SLOT_BYTES * 2);
        return Err(SignStateError::Damaged { path: path.into(), detail });
    }
    let slots = [decode(&content[..SLOT_BYTES]), decode(&content[SLOT_BYTES..])];
    let newest =
        (0u64..).zip(&slots).filter_map(|(index, slot)| slot.as_ref().ok().map(|record| (index, record)));
    let Some((index, record)) = newest.max_by_key(|(_, record)| record.last.position()) else {
        let detail = slots[0].as_ref().err().copied().unwrap_or_default().into();
        return Err(SignStateError::Damaged { path: path.into(), detail });
    };
    let foreign = |what, found: &[u8], expected: String| SignStateError::Foreign {
        path: path.into(),
        what,
        found: format!("0x{}", hex::encode(found)),
        expected,
    };
    if record.genesis != genesis.as_bytes() {
        return Err(foreign("chain", record.genesis, genesis.to_string()));
    }
    if record.public_key != public_key.as_bytes() {
        return Err(foreign("validator key", record.public_key, public_key.to_string()));
    }
    if let Some(directory) = path.parent() {
        // A rename that made this file may not have been durable when the process ended.
        disk.sync_names(directory).map_err(failed("opening"))?;
    }
    Ok((record.last, index, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: BlockId = BlockId::new(Hash32::new([9; 32]));

    fn key() -> SecretKey {
        SecretKey::from_bytes(&[3; 32]).unwrap()
    }

    fn vote(height: u64, round: u32, kind: VoteKind, block: u8) -> Vote {
        let block = (block > 0).then(|| BlockId::new(Hash32::new([block; 32])));
        Vote { chain_id: "dev".parse().unwrap(), height: Height::new(height), round, kind, block }
    }

    fn precommit(height: u64, block: u8) -> Vote {
        vote(height, 0, VoteKind::Precommit, block)
    }

    fn new() -> (tempfile::TempDir, SigningFiles) {
        let directory = tempfile::tempdir().unwrap();
        let files = SigningFiles {
            state: directory.path().join("sign_state"),
            votes: directory.path().join("votes"),
        };
        Signer::create(&files.state, GENESIS, &key().public_key()).unwrap();
        (directory, files)
    }

    fn terms(head: u64, alone: bool) -> SigningTerms {
        SigningTerms { head: Height::new(head), alone }
    }

    fn open(files: &SigningFiles, head: u64) -> Result<Signer, SignStateError> {
        Signer::open(files, GENESIS, key(), terms(head, true)).map(|(signer, _)| signer)
    }

    fn conflicts(signer: &mut Signer, vote: Vote) -> bool {
        matches!(signer.sign_vote(vote), Err(SignError::Conflict { .. }))
    }

    #[test]
    fn the_record_has_its_documented_bytes() {
        let last = LastSigned {
            height: Height::new(7),
            round: 2,
            step: SignStep::Prevote,
            digest: Hash32::new([5; 32]),
        };
        let hash = Sha256::digest(encode(GENESIS, &key().public_key(), last));
        assert_eq!(hex::encode(hash), "4407cea89a769e7d556dc70f6ffe7488ecd6b8774d351e0d61d3e25effcad2db");
    }

    #[test]
    fn nothing_conflicting_is_signed_across_restarts() {
        let (_directory, files) = new();
        let mut signer = open(&files, 0).unwrap();
        for height in 1..=5 {
            signer.sign_vote(precommit(height, 1)).unwrap();
        }
        drop(signer);
        assert_eq!(Signer::inspect(&files, GENESIS, &key().public_key()).unwrap().height, Height::new(5));
        let mut signer = open(&files, 5).unwrap();
        assert_eq!(signer.last().height, Height::new(5));
        assert!(signer.sign_vote(precommit(5, 1)).unwrap().verify().is_some(), "the same again");
        for (height, block) in [(5, 2), (5, 0), (4, 1), (1, 1)] {
            assert!(conflicts(&mut signer, precommit(height, block)), "{height} {block}");
        }
        signer.sign_vote(precommit(6, 1)).unwrap();
    }

    #[test]
    fn each_step_of_each_round_is_signed_once_and_in_order() {
        let (_directory, files) = new();
        let mut signer = open(&files, 0).unwrap();
        let proposal = |round, block| BlockProposal {
            chain_id: "dev".parse().unwrap(),
            height: Height::new(1),
            round,
            block: BlockId::new(Hash32::new([block; 32])),
            valid_round: None,
        };
        signer.sign_proposal(proposal(0, 1)).unwrap();
        assert!(matches!(signer.sign_proposal(proposal(0, 2)), Err(SignError::Conflict { .. })));
        signer.sign_vote(vote(1, 0, VoteKind::Prevote, 1)).unwrap();
        assert!(conflicts(&mut signer, vote(1, 0, VoteKind::Prevote, 0)));
        signer.sign_vote(vote(1, 0, VoteKind::Precommit, 0)).unwrap();
        assert!(conflicts(&mut signer, vote(1, 0, VoteKind::Prevote, 1)), "an earlier step");
        signer.sign_vote(vote(1, 2, VoteKind::Prevote, 0)).unwrap();
        assert!(conflicts(&mut signer, vote(1, 1, VoteKind::Precommit, 1)), "an earlier round");
        assert!(matches!(signer.sign_proposal(proposal(2, 1)), Err(SignError::Conflict { .. })));
        signer.sign_proposal(proposal(3, 1)).unwrap();
    }

    #[test]
    fn a_height_whose_votes_are_forgotten_is_left_out() {
        let (_directory, files) = new();
        open(&files, 0).unwrap().sign_vote(precommit(3, 1)).unwrap();
        let with = |head| Signer::open(&files, GENESIS, key(), terms(head, false)).unwrap();
        // The lock of height 3 is gone: a later round could vote against it.
        for head in [0, 1, 2] {
            let (mut signer, records) = with(head);
            assert!(records.is_empty());
            assert!(conflicts(&mut signer, vote(3, 1, VoteKind::Prevote, 2)), "head {head}");
        }
        let (mut signer, _) = with(2);
        signer.record(Height::new(4), b"lock".to_vec());
        signer.sign_vote(precommit(4, 1)).unwrap();
        drop(signer);
        let (mut signer, records) = with(3);
        assert_eq!(records, [b"lock"]);
        signer.sign_vote(vote(4, 1, VoteKind::Prevote, 1)).unwrap();
    }

    #[test]
    fn what_was_signed_survives_when_the_log_is_cleared() {
        let (_directory, files) = new();
        let mut signer = open(&files, 0).unwrap();
        for height in 1..=12 {
            signer.record(Height::new(height), vec![7; 1 << 20]);
            signer.sign_vote(precommit(height, 1)).unwrap();
        }
        drop(signer);
        assert!(std::fs::metadata(&files.votes).unwrap().len() < 8 << 20);
        assert_eq!(open(&files, 12).unwrap().last().height, Height::new(12));
        std::fs::remove_file(&files.votes).unwrap();
        let last = open(&files, 12).unwrap().last().height;
        assert!(last >= Height::new(5), "the slots are written before the log is cleared: {last}");
    }

    #[test]
    fn a_torn_slot_leaves_the_other() {
        let (_directory, files) = new();
        let mut signer = open(&files, 0).unwrap();
        for height in [1, 2] {
            let digest = Hash32::ZERO;
            let last =
                LastSigned { height: Height::new(height), round: 0, step: SignStep::Precommit, digest };
            signer.write_slot(last).unwrap();
        }
        drop(signer);
        let whole = std::fs::read(&files.state).unwrap();
        // Nothing was in slot 0, height 1 in slot 1, height 2 in slot 0.
        for byte in 0..RECORD_BYTES {
            let mut torn = whole.clone();
            torn[byte] ^= 0x40;
            std::fs::write(&files.state, &torn).unwrap();
            assert_eq!(open(&files, 2).unwrap().last().height, Height::new(1), "byte {byte}");
            torn[SLOT_BYTES + byte] ^= 0x40;
            std::fs::write(&files.state, &torn).unwrap();
            assert!(matches!(open(&files, 2), Err(SignStateError::Damaged { .. })), "byte {byte}");
        }
    }

    #[test]
    fn restored_or_foreign_data_is_refused() {
        let (_directory, files) = new();
        assert!(Signer::create(&files.state, GENESIS, &key().public_key()).is_err(), "never replaced");
        open(&files, 0).unwrap().sign_vote(precommit(3, 1)).unwrap();
        assert!(matches!(open(&files, 2), Err(SignStateError::AheadOfChain { .. })));
        let other_chain = Signer::open(&files, BlockId::ZERO, key(), terms(3, true));
        assert!(matches!(other_chain, Err(SignStateError::Foreign { what: "chain", .. })));
        let other_key = SecretKey::from_bytes(&[4; 32]).unwrap();
        let other_key = Signer::open(&files, GENESIS, other_key, terms(3, true));
        assert!(matches!(other_key, Err(SignStateError::Foreign { what: "validator key", .. })));
        std::fs::remove_file(&files.state).unwrap();
        assert!(matches!(open(&files, 3), Err(SignStateError::Missing { .. })));
    }
}
