//! The snapshots that a node keeps for newcomers.

use parking_lot::RwLock;
use purlin_primitives::{BlockId, Hash32, Height};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{SnapshotFile, SnapshotFileError};
use crate::files::create_private_directory;

/// Snapshots that are kept: whoever fetches the one before the newest can finish.
pub(crate) const KEPT: usize = 2;
const EXTENSION: &str = "snapshot";

/// Files in a folder, newest last.
#[derive(Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
    files: RwLock<Vec<Arc<SnapshotFile>>>,
}

impl Shelf {
    /// Names a folder, which need not exist; nothing is read.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, files: RwLock::default() }
    }

    /// Returns the path for the snapshot of a height.
    pub(crate) fn path_of(&self, height: Height) -> PathBuf {
        self.folder.join(format!("{:012}.{EXTENSION}", height.get()))
    }

    /// Makes the folder, takes in what is there, and removes what is damaged, half-written or of another chain. What
    /// cannot be read now, or by this program, stays.
    pub(crate) fn load(&self, genesis: BlockId) -> io::Result<()> {
        create_private_directory(&self.folder)?;
        for path in list(&self.folder)? {
            let opened = SnapshotFile::open(&path).and_then(|file| file.check_chain(genesis).map(|()| file));
            match opened {
                Ok(file) => self.add(file)?,
                Err(error) if is_of_no_use(&error) => {
                    tracing::warn!(%error, "a snapshot is removed");
                    std::fs::remove_file(&path)?;
                }
                Err(error) => tracing::warn!(%error, "a snapshot is not served"),
            }
        }
        // Left by a crash while one was made.
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Takes in a file of the folder, and removes the oldest when there are too many.
    pub(crate) fn add(&self, file: SnapshotFile) -> io::Result<()> {
        let removed: Vec<Arc<SnapshotFile>> = {
            let mut files = self.files.write();
            files.retain(|known| known.height() != file.height());
            files.push(Arc::new(file));
            files.sort_by_key(|file| file.height());
            let excess = files.len().saturating_sub(KEPT);
            files.drain(..excess).collect()
        };
        // Those who read one have it open.
        removed.iter().try_for_each(|file| std::fs::remove_file(file.path()))
    }

    /// Returns the newest, or the one of a height.
    pub(crate) fn get(&self, height: Option<Height>) -> Option<Arc<SnapshotFile>> {
        let files = self.files.read();
        match height {
            None => files.last().cloned(),
            Some(height) => files.iter().find(|file| file.height() == height).cloned(),
        }
    }

    /// Reads the encoded chunk of the snapshot with a state root that begins with `from` and ends with or before `to`.
    /// A file that cannot be read is not served any more; it stays where it is.
    pub(crate) fn chunk(&self, root: &Hash32, from: &Hash32, to: &Hash32) -> Option<Vec<u8>> {
        let file = self.files.read().iter().rev().find(|file| file.root() == *root).cloned()?;
        file.chunk(from, to).unwrap_or_else(|error| {
            // The chain does not need it: no reason to stop.
            tracing::warn!(%error, path = %file.path().display(), "a snapshot cannot be read and is not served any more");
            self.files.write().retain(|known| !Arc::ptr_eq(known, &file));
            None
        })
    }
}

fn is_of_no_use(error: &SnapshotFileError) -> bool {
    use SnapshotFileError::{Damaged, Io, NotASnapshot, OtherChain, OtherFormat, Truncated};
    match error {
        Truncated { .. } | Damaged { .. } | NotASnapshot { .. } | OtherChain { .. } => true,
        Io { .. } | OtherFormat { .. } => false,
    }
}

/// Lists the snapshots of a folder, oldest first; none when there is no folder.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::file::SnapshotWriter;
    use purlin_primitives::{BlockHeader, Seal, TimestampMs};
    use purlin_state::RangeChunk;
    use purlin_sync::{CertifiedHeader, SnapshotManifest};

    const GENESIS: BlockId = BlockId::new(Hash32::new([1; 32]));
    const ROOT: Hash32 = Hash32::new([2; 32]);
    const END: Hash32 = Hash32::new([255; 32]);

    fn header(height: u64) -> BlockHeader {
        BlockHeader {
            chain_id: "dev".parse().unwrap(),
            height: Height::new(height),
            parent: GENESIS,
            time: TimestampMs::new(height),
            proposer: Default::default(),
            transactions_root: Hash32::ZERO,
            state_root: ROOT,
            receipts_root: Hash32::ZERO,
            seal: Seal::FIRST_ROUND,
        }
    }

    /// A snapshot of an empty state; what it proves is not looked at here.
    fn write(path: &Path, height: u64) {
        let next = CertifiedHeader { header: header(height + 1), certificate: None };
        let manifest = SnapshotManifest {
            header: header(height),
            certificate: None,
            next,
            transactions: 0,
            handovers: Vec::new(),
        };
        let mut writer = SnapshotWriter::create(path, GENESIS, &manifest).unwrap();
        let chunk = RangeChunk { from: Hash32::ZERO, to: END, entries: Vec::new(), steps: Vec::new() };
        writer.chunk(&chunk).unwrap();
        writer.finish().unwrap();
    }

    /// Whatever could not be opened at the start, such as for lack of file handles, was deleted.
    #[test]
    fn only_what_is_of_no_use_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(directory.path().into());
        for height in 1..=4 {
            write(&shelf.path_of(Height::new(height)), height);
        }
        let path = |height: u64| shelf.path_of(Height::new(height));
        let mut bytes = std::fs::read(path(1)).unwrap();
        bytes.pop();
        std::fs::write(path(1), &bytes).unwrap();
        std::fs::write(path(2), b"purlin snapshot 2\n, of a newer program").unwrap();
        // A folder can be opened and not read.
        std::fs::remove_file(path(3)).unwrap();
        std::fs::create_dir(path(3)).unwrap();
        shelf.load(GENESIS).unwrap();
        let left: Vec<bool> = (1..=4).map(|height| path(height).exists()).collect();
        assert_eq!(left, [false, true, true, true]);
        assert_eq!(shelf.get(None).unwrap().height(), Height::new(4));
        let other = Shelf::new(directory.path().into());
        other.load(BlockId::new(Hash32::new([9; 32]))).unwrap();
        assert!(!path(4).exists(), "of another chain");
    }

    /// A bad sector in a file that no block needs stopped a validator as soon as a peer asked.
    #[test]
    fn a_file_that_cannot_be_read_is_not_served_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(directory.path().into());
        write(&shelf.path_of(Height::new(4)), 4);
        shelf.load(GENESIS).unwrap();
        assert!(shelf.chunk(&ROOT, &Hash32::ZERO, &END).is_some());
        assert_eq!(shelf.chunk(&END, &Hash32::ZERO, &END), None);
        let file = std::fs::OpenOptions::new().write(true).open(shelf.path_of(Height::new(4))).unwrap();
        file.set_len(30).unwrap();
        assert_eq!(shelf.chunk(&ROOT, &Hash32::ZERO, &END), None);
        assert!(shelf.get(None).is_none());
    }
}
