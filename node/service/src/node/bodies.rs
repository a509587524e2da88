//! Keeps the bodies of blocks that were voted for, for after a crash.

use purlin_primitives::{Block, Height};
use std::io;
use std::path::Path;

use crate::signing_disk::SigningDisk;
use crate::vote_log::VoteLog;

/// Keeps bodies. The node's is a file; a simulation's is memory that can lose what was not synced.
pub trait BodyLog: Send {
    /// Adds a body; it may be lost in a crash until [`BodyLog::sync`]. Those of lower heights may go.
    fn keep(&mut self, block: &Block) -> io::Result<()>;

    /// Makes everything durable; quick when it is already.
    fn sync(&mut self) -> io::Result<()>;
}

/// Keeps nothing: for engines that need nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBodies;

impl BodyLog for NoBodies {
    fn keep(&mut self, _block: &Block) -> io::Result<()> {
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
        Ok((Self { log, height }, found.map(decode).collect::<io::Result<_>>()?))
    }
}

impl BodyLog for FileBodies {
    fn keep(&mut self, block: &Block) -> io::Result<()> {
        let height = block.header.height;
        if height > self.height {
            self.height = height;
            if self.log.is_large() {
                self.log.clear()?;
            }
        }
        self.log.append(height, &borsh::to_vec(block)?)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.log.sync()
    }
}
