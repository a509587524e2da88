//! The snapshots that a node keeps for newcomers.

use parking_lot::RwLock;
use purlin_primitives::{BlockId, Hash32, Height};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::SnapshotFile;
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

    /// Makes the folder, takes in what is there, and removes what is damaged, half-written or of another chain.
    pub(crate) fn load(&self, genesis: BlockId) -> io::Result<()> {
        create_private_directory(&self.folder)?;
        for path in list(&self.folder)? {
            let opened = SnapshotFile::open(&path).and_then(|file| file.check_chain(genesis).map(|()| file));
            match opened {
                Ok(file) => self.add(file)?,
                Err(error) => {
                    tracing::warn!(%error, "a snapshot is removed");
                    std::fs::remove_file(&path)?;
                }
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

    /// Returns the one with a state root.
    pub(crate) fn with_root(&self, root: &Hash32) -> Option<Arc<SnapshotFile>> {
        self.files.read().iter().rev().find(|file| file.root() == *root).cloned()
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
