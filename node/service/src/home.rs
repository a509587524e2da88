//! A node's directory: what lies where, and who uses it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::sign_state::SigningFiles;

/// Names the files of one node.
///
/// ```text
/// config.toml    settings
/// genesis.json   what the chain starts from
/// keys/          NAME.age or NAME.dev, with NAME.pub
/// data/          the database
/// snapshots/     states of recent blocks for newcomers; may be deleted
/// cache/         compiled code; may be deleted while the node is stopped
/// sign_state     what this node's validator key signed last
/// network/       this node's identity among peers, and what is known of them
/// votes          votes and locks of the height being decided
/// bodies         blocks that were voted for and are not in the chain
/// tokens.json    hashes of the tokens that the HTTP API accepts
/// purlin.sock    socket for the command line, while the node runs
/// lock           held while the node runs; contains its process id
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// Names a directory, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of the settings.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Returns the path of the genesis.
    pub fn genesis(&self) -> PathBuf {
        self.root.join("genesis.json")
    }

    /// Returns the directory of the keys.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// Returns the directory of the database.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Returns the directory of the snapshots that are served.
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// Returns the directory of compiled code.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Returns the path of the sign state.
    pub fn sign_state(&self) -> PathBuf {
        self.root.join("sign_state")
    }

    /// Returns the directory of the identity among peers and what is known of them.
    pub fn network(&self) -> PathBuf {
        self.root.join("network")
    }

    /// Returns the path of the key that names the node among peers.
    pub fn identity(&self) -> PathBuf {
        self.network().join("identity")
    }

    /// Returns the path of the votes and locks of the height being decided.
    pub fn votes(&self) -> PathBuf {
        self.root.join("votes")
    }

    /// Returns the path of the blocks that were voted for and are not in the chain.
    pub fn bodies(&self) -> PathBuf {
        self.root.join("bodies")
    }

    /// Returns the files of a validator's signatures.
    pub fn signing(&self) -> SigningFiles {
        SigningFiles { state: self.sign_state(), votes: self.votes() }
    }

    /// Returns the path of the API's tokens.
    pub fn tokens(&self) -> PathBuf {
        self.root.join("tokens.json")
    }

    /// Returns the path of the socket unless the settings name another.
    pub fn socket(&self) -> PathBuf {
        self.root.join("purlin.sock")
    }

    /// Returns the path of the lock file.
    pub fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Takes the directory for this process until the lock is dropped or the process ends, however it ends.
    pub fn lock(&self) -> Result<HomeLock, LockError> {
        let path = self.lock_file();
        let failed = |source| LockError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // The owner's number only makes the message better.
                if file.read_to_string(&mut owner).is_err() {
                    owner.clear();
                }
                let process = owner.trim().parse().ok();
                return Err(LockError::InUse { home: self.root.clone(), process });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(HomeLock { _file: file })
    }
}

/// Keeps other processes out of a home. The operating system releases it when the process ends.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

/// Says why a home cannot be used by this process.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process runs there.
    #[error(
        "{} is in use by another purlin process{}; stop that one first, or use another home",
        home.display(),
        process.map(|id| format!(" (process {id})")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        home: PathBuf,
        /// The other process, when it could be read.
        process: Option<u32>,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {}: {source}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_has_one_user() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let lock = home.lock().unwrap();
        let error = home.lock().unwrap_err();
        assert!(
            matches!(error, LockError::InUse { process: Some(id), .. } if id == std::process::id()),
            "{error}"
        );
        drop(lock);
        home.lock().unwrap();
    }
}
