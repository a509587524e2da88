//! What the validator key signed last, on disk before any signature leaves the process.
//!
//! ```text
//! offset      two slots, at 0 and at 4096; a write goes to the one that does not hold the newest
//!    0   8    "PURLSIGN"
//!    8   4    format version, little-endian: 1
//!   12  32    genesis id
//!   44  33    public key
//!   77   8    height, little-endian
//!   85  32    block id
//!  117  32    SHA-256 of bytes 0 to 117
//! ```
//!
//! A slot torn by a power cut fails its checksum. Its signature was not made yet, because signing waits for the
//! sync, so the other slot is the truth then. One data sync per signature, no rename.

use purlin_primitives::{BlockHeader, BlockId, BlockSignature, Hash32, Height, PublicKey, SecretKey};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::files::{Access, sync_directory, write_atomic};

const MAGIC: &[u8; 8] = b"PURLSIGN";
const VERSION: u32 = 1;
/// A disk writes at least this much at once, so a write to one slot cannot damage the other.
const SLOT_BYTES: usize = 4096;
const CHECKED_BYTES: usize = 117;
const RECORD_BYTES: usize = CHECKED_BYTES + 32;

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
    /// Something else was signed at that height.
    #[error(
        "refused to sign block {id} at height {height}: block {signed_id} at height {signed} was signed already"
    )]
    Conflict {
        /// Height asked for.
        height: Height,
        /// Block asked for.
        id: BlockId,
        /// Height signed last.
        signed: Height,
        /// Block signed last.
        signed_id: BlockId,
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

/// Last signature of a key; height 0 and the genesis id before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSigned {
    /// Height of the block.
    pub height: Height,
    /// Its id.
    pub block: BlockId,
}

/// Signs blocks with a validator's key, each height once. The key cannot be used for blocks in any other way.
pub struct Signer {
    key: SecretKey,
    public_key: PublicKey,
    genesis: BlockId,
    last: LastSigned,
    file: File,
    /// Slot that the next record goes to.
    next_slot: u64,
    path: PathBuf,
}

impl Signer {
    /// Writes the state of a key that never signed on this chain. Refuses to replace one.
    pub fn create(path: &Path, genesis: BlockId, public_key: &PublicKey) -> Result<(), SignStateError> {
        if path.exists() {
            let source = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(SignStateError::Io { path: path.into(), operation: "creating", source });
        }
        Self::recreate(path, genesis, public_key, LastSigned { height: Height::ZERO, block: genesis })
    }

    /// Writes the state anew, as signed up to `last`. Safe only when no other copy of the key signs.
    pub fn recreate(
        path: &Path,
        genesis: BlockId,
        public_key: &PublicKey,
        last: LastSigned,
    ) -> Result<(), SignStateError> {
        let mut content = vec![0; SLOT_BYTES * 2];
        content[..RECORD_BYTES].copy_from_slice(&encode(genesis, public_key, last));
        write_atomic(path, &content, Access::OwnerOnly).map_err(|source| SignStateError::Io {
            path: path.into(),
            operation: "creating",
            source,
        })
    }

    /// Reads what was signed last. Changes nothing.
    pub fn inspect(
        path: &Path,
        genesis: BlockId,
        public_key: &PublicKey,
    ) -> Result<LastSigned, SignStateError> {
        read(path, genesis, public_key).map(|(last, _, _)| last)
    }

    /// Opens a key's state and compares it with the chain's head: signed further than stored is refused.
    pub fn open(
        path: &Path,
        genesis: BlockId,
        key: SecretKey,
        head: Height,
        id_at: impl FnOnce(Height) -> Option<BlockId>,
    ) -> Result<Self, SignStateError> {
        let public_key = key.public_key();
        let (last, slot, file) = read(path, genesis, &public_key)?;
        if last.height > head {
            return Err(SignStateError::AheadOfChain { signed: last.height, head });
        }
        if last.height > Height::ZERO
            && let Some(id) = id_at(last.height)
            && id != last.block
        {
            return Err(SignStateError::Conflict {
                height: last.height,
                id,
                signed: last.height,
                signed_id: last.block,
            });
        }
        Ok(Self { key, public_key, genesis, last, file, next_slot: 1 - slot, path: path.into() })
    }

    /// Returns the public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Returns what was signed last.
    pub fn last(&self) -> LastSigned {
        self.last
    }

    /// Records a block durably, then signs it. The same block may be signed again; a different one at the same
    /// or a lower height is refused.
    pub fn sign_block(&mut self, header: &BlockHeader) -> Result<BlockSignature, SignStateError> {
        let wanted = LastSigned { height: header.height, block: header.id() };
        if wanted != self.last {
            if wanted.height <= self.last.height {
                return Err(SignStateError::Conflict {
                    height: wanted.height,
                    id: wanted.block,
                    signed: self.last.height,
                    signed_id: self.last.block,
                });
            }
            self.record(wanted).map_err(|source| SignStateError::Io {
                path: self.path.clone(),
                operation: "recording a signature",
                source,
            })?;
            self.last = wanted;
        }
        Ok(self.key.sign_block(header))
    }

    fn record(&mut self, wanted: LastSigned) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.next_slot * SLOT_BYTES as u64))?;
        self.file.write_all(&encode(self.genesis, &self.public_key, wanted))?;
        self.file.sync_data()?;
        self.next_slot = 1 - self.next_slot;
        Ok(())
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
    out[85..117].copy_from_slice(last.block.as_bytes());
    let checksum: [u8; 32] = Sha256::digest(&out[..CHECKED_BYTES]).into();
    out[CHECKED_BYTES..].copy_from_slice(&checksum);
    out
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
        return Err("it was written by a newer version of purlin");
    }
    let height = u64::from_le_bytes(record[77..85].try_into().expect("eight bytes"));
    let block: [u8; 32] = record[85..117].try_into().expect("thirty-two bytes");
    let last = LastSigned { height: Height::new(height), block: BlockId::new(Hash32::new(block)) };
    Ok(Record { genesis: &record[12..44], public_key: &record[44..77], last })
}

fn read(
    path: &Path,
    genesis: BlockId,
    public_key: &PublicKey,
) -> Result<(LastSigned, u64, File), SignStateError> {
    let failed = |operation| move |source| SignStateError::Io { path: path.into(), operation, source };
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SignStateError::Missing { path: path.into() });
        }
        other => other.map_err(failed("opening"))?,
    };
    let mut content = Vec::new();
    (&mut file).take(SLOT_BYTES as u64 * 2 + 1).read_to_end(&mut content).map_err(failed("reading"))?;
    if content.len() != SLOT_BYTES * 2 {
        let detail = format!("it has {} bytes instead of {}", content.len(), SLOT_BYTES * 2);
        return Err(SignStateError::Damaged { path: path.into(), detail });
    }
    let slots = [decode(&content[..SLOT_BYTES]), decode(&content[SLOT_BYTES..])];
    let newest =
        (0u64..).zip(&slots).filter_map(|(index, slot)| slot.as_ref().ok().map(|record| (index, record)));
    let Some((index, record)) = newest.max_by_key(|(_, record)| record.last.height) else {
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
        sync_directory(directory).map_err(failed("opening"))?;
    }
    Ok((record.last, index, file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_primitives::{AccountId, TimestampMs};

    const GENESIS: BlockId = BlockId::new(Hash32::new([9; 32]));

    fn key() -> SecretKey {
        SecretKey::from_bytes(&[3; 32]).unwrap()
    }

    fn header(height: u64, variant: u64) -> BlockHeader {
        BlockHeader {
            chain_id: "dev".parse().unwrap(),
            height: Height::new(height),
            parent: BlockId::ZERO,
            time: TimestampMs::new(variant),
            proposer: AccountId::ZERO,
            transactions_root: Hash32::ZERO,
            state_root: Hash32::ZERO,
            receipts_root: Hash32::ZERO,
        }
    }

    fn new() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sign_state");
        Signer::create(&path, GENESIS, &key().public_key()).unwrap();
        (directory, path)
    }

    fn open(path: &Path, head: u64) -> Result<Signer, SignStateError> {
        Signer::open(path, GENESIS, key(), Height::new(head), |_| None)
    }

    #[test]
    fn the_record_has_its_documented_bytes() {
        let last = LastSigned { height: Height::new(7), block: BlockId::new(Hash32::new([5; 32])) };
        let hash = Sha256::digest(encode(GENESIS, &key().public_key(), last));
        assert_eq!(hex::encode(hash), "1967cf63f9c8c73bddc723f20731e8cd61e39d92e7312b1f298dee60220c7b86");
    }

    #[test]
    fn nothing_conflicting_is_signed_across_restarts() {
        let (_directory, path) = new();
        let mut signer = open(&path, 0).unwrap();
        for height in 1..=5 {
            signer.sign_block(&header(height, 1)).unwrap();
        }
        drop(signer);
        let mut signer = open(&path, 5).unwrap();
        assert_eq!(signer.last().height, Height::new(5));
        let again = signer.sign_block(&header(5, 1)).unwrap();
        assert!(again.verify(&header(5, 1)).is_some());
        for (height, variant) in [(5, 2), (4, 1), (1, 1)] {
            let error = signer.sign_block(&header(height, variant)).unwrap_err();
            assert!(matches!(error, SignStateError::Conflict { .. }), "{error}");
        }
        signer.sign_block(&header(6, 1)).unwrap();
    }

    #[test]
    fn a_torn_slot_leaves_the_other() {
        let (_directory, path) = new();
        let mut signer = open(&path, 0).unwrap();
        signer.sign_block(&header(1, 1)).unwrap();
        signer.sign_block(&header(2, 1)).unwrap();
        drop(signer);
        let whole = std::fs::read(&path).unwrap();
        // Height 0 was in slot 0, height 1 in slot 1, height 2 in slot 0.
        for byte in 0..RECORD_BYTES {
            let mut torn = whole.clone();
            torn[byte] ^= 0x40;
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(open(&path, 2).unwrap().last().height, Height::new(1), "byte {byte}");
            torn[SLOT_BYTES + byte] ^= 0x40;
            std::fs::write(&path, &torn).unwrap();
            assert!(matches!(open(&path, 2), Err(SignStateError::Damaged { .. })), "byte {byte}");
        }
    }

    #[test]
    fn restored_or_foreign_data_is_refused() {
        let (_directory, path) = new();
        assert!(Signer::create(&path, GENESIS, &key().public_key()).is_err(), "never replaced");
        open(&path, 0).unwrap().sign_block(&header(3, 1)).unwrap();
        assert!(matches!(open(&path, 2), Err(SignStateError::AheadOfChain { .. })));
        let other_block = Signer::open(&path, GENESIS, key(), Height::new(3), |_| Some(header(3, 2).id()));
        assert!(matches!(other_block, Err(SignStateError::Conflict { .. })));
        let other_chain = Signer::open(&path, BlockId::ZERO, key(), Height::new(3), |_| None);
        assert!(matches!(other_chain, Err(SignStateError::Foreign { what: "chain", .. })));
        let other_key = SecretKey::from_bytes(&[4; 32]).unwrap();
        let other_key = Signer::open(&path, GENESIS, other_key, Height::new(3), |_| None);
        assert!(matches!(other_key, Err(SignStateError::Foreign { what: "validator key", .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(open(&path, 3), Err(SignStateError::Missing { .. })));
    }
}
