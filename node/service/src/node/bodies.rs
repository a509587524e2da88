//! Keeps the bodies of blocks that were voted for, for after a crash.

use borsh::BorshDeserialize;
use purlin_primitives::{Block, BlockHeader, BlockId, Height};
use std::collections::VecDeque;
use std::io;
use std::path::Path;

use crate::signing_disk::SigningDisk;
use crate::vote_log::VoteLog;

/// Past this many bytes of one height, bodies go that nobody can need: those of rounds that failed.
const COMPACT_BYTES: u64 = 128 << 20;
/// Bodies that stay in any case: those of this round, and some before it.
const RECENT: usize = 4;

/// Keeps bodies. The node's is a file; a simulation's is memory that can lose what was not synced.
pub trait BodyLog: Send {
    /// Adds a body; it may be lost in a crash until [`BodyLog::sync`]. Those of lower heights may go, and of this one
    /// all but the newest and those named by `beside`.
    fn keep(&mut self, block: &Block, beside: &[BlockId]) -> io::Result<()>;

    /// Makes everything durable; quick when it is already.
    fn sync(&mut self) -> io::Result<()>;
}

/// Keeps nothing: for engines that need nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBodies;

impl BodyLog for NoBodies {
    fn keep(&mut self, _block: &Block, _beside: &[BlockId]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bodies in a file.
#[derive(Debug)]
pub(super) struct FileBodies {
    log: VoteLog,
    height: Height,
    /// Those added last, oldest first.
    recent: VecDeque<BlockId>,
    compact_bytes: u64,
}

impl FileBodies {
    /// Opens or makes the file; returns the bodies of `height`.
    pub(super) fn open(
        disk: &dyn SigningDisk,
        path: &Path,
        height: Height,
    ) -> io::Result<(Self, Vec<Block>)> {
        let (log, found) = VoteLog::open(disk, path)?;
        let found = found.into_iter().filter(|(of, _)| *of == height);
        let decode = |(_, bytes): (Height, Vec<u8>)| borsh::from_slice(&bytes);
        let bodies: Vec<Block> = found.map(decode).collect::<io::Result<_>>()?;
        let newest = bodies.iter().rev().take(RECENT).rev();
        let recent = newest.map(|block| block.header.id()).collect();
        Ok((Self { log, height, recent, compact_bytes: COMPACT_BYTES }, bodies))
    }
}

impl BodyLog for FileBodies {
    fn keep(&mut self, block: &Block, beside: &[BlockId]) -> io::Result<()> {
        let height = block.header.height;
        if height > self.height {
            self.height = height;
            self.recent.clear();
            if self.log.is_large() {
                self.log.clear()?;
            }
        } else if self.log.bytes() > self.compact_bytes {
            let recent = &self.recent;
            self.log.retain(|of, bytes| {
                let id = BlockHeader::deserialize(&mut &*bytes).map(|header| header.id());
                of == height && id.is_ok_and(|id| recent.contains(&id) || beside.contains(&id))
            })?;
        }
        self.recent.push_back(block.header.id());
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        self.log.append(height, &borsh::to_vec(block)?)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.log.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing_disk::SystemDisk;
    use purlin_primitives::{AccountId, Hash32, Seal, TimestampMs};

    fn block(number: u64) -> Block {
        let header = BlockHeader {
            chain_id: "test".parse().unwrap(),
            height: Height::new(1),
            parent: BlockId::ZERO,
            time: TimestampMs::new(number),
            proposer: AccountId::ZERO,
            transactions_root: Hash32::ZERO,
            state_root: Hash32::ZERO,
            receipts_root: Hash32::ZERO,
            seal: Seal::FIRST_ROUND,
        };
        Block { header, transactions: Vec::new() }
    }

    /// A height that failed for hours filled the file, and the node stopped for good.
    #[test]
    fn a_height_of_many_rounds_keeps_what_can_still_be_decided() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bodies");
        let open = || FileBodies::open(&SystemDisk, &path, Height::new(1)).unwrap();
        let (mut bodies, _) = open();
        bodies.compact_bytes = 2_000;
        let locked = block(3);
        for number in 0..1_000 {
            let beside = if number > 3 { vec![locked.header.id()] } else { Vec::new() };
            bodies.keep(&block(number), &beside).unwrap();
            assert!(bodies.log.bytes() < 3_000);
        }
        bodies.sync().unwrap();
        let (_, found) = open();
        assert!(found.contains(&locked), "it was precommitted");
        for number in 996..1_000 {
            assert!(found.contains(&block(number)));
        }
        assert!(found.len() < 20, "{}", found.len());
    }
}
