//! Peers, anchors and bans over a restart: `peers.json` in the folder of the configuration.
//!
//! The file is a cache. Losing it costs time, so a broken one is reported and left behind, never fatal.

use crate::names::Genesis;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const FILE: &str = "peers.json";
const VERSION: u32 = 1;
/// A longer file was not written by this program.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What is kept.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    version: u32,
    genesis: String,
    pub(crate) peers: Vec<KeptPeer>,
    pub(crate) bans: Vec<KeptBan>,
}

/// A peer that was connected once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptPeer {
    pub(crate) id: String,
    pub(crate) addresses: Vec<String>,
    /// Unix time.
    pub(crate) seen_ms: u64,
    /// Whether it was an outbound peer at the end.
    pub(crate) anchor: bool,
}

/// A ban that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptBan {
    pub(crate) id: String,
    /// Unix time.
    pub(crate) until_ms: u64,
}

impl Kept {
    pub(crate) fn new(genesis: Genesis, peers: Vec<KeptPeer>, bans: Vec<KeptBan>) -> Self {
        Self { version: VERSION, genesis: genesis.to_string(), peers, bans }
    }
}

/// Knows where the file is.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Reads what the last run kept: nothing when there is no file, or none of use.
    pub(crate) fn load(&self, genesis: Genesis) -> Kept {
        let path = self.folder.join(FILE);
        match read(&path) {
            Ok(kept) if kept.version == VERSION && kept.genesis == genesis.to_string() => kept,
            Ok(kept) => {
                tracing::warn!(
                    path = %path.display(), version = kept.version, genesis = kept.genesis,
                    "the known peers are of another chain or version; starting without them"
                );
                Kept::default()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read the known peers; starting without them");
                Kept::default()
            }
        }
    }

    /// Replaces the file in one step.
    pub(crate) fn save(&self, kept: &Kept) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.as_file().sync_all()?;
        file.persist(self.folder.join(FILE))?;
        std::fs::File::open(&self.folder)?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Kept> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: Genesis = Genesis::new([1; 32]);

    fn kept() -> Kept {
        let peer = KeptPeer { id: "a".into(), addresses: vec!["b".into()], seen_ms: 1, anchor: true };
        Kept::new(GENESIS, vec![peer], vec![KeptBan { id: "c".into(), until_ms: 2 }])
    }

    #[test]
    fn comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("network"));
        assert_eq!(store.load(GENESIS), Kept::default());
        store.save(&kept()).unwrap();
        assert_eq!(store.load(GENESIS), kept());
        assert_eq!(std::fs::read_dir(folder.path().join("network")).unwrap().count(), 1);
    }

    #[test]
    fn other_chains_and_garbage_are_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        store.save(&kept()).unwrap();
        assert_eq!(store.load(Genesis::new([2; 32])), Kept::default());
        for garbage in ["", "{", "[]", "\u{0}"] {
            std::fs::write(folder.path().join(FILE), garbage).unwrap();
            assert_eq!(store.load(GENESIS), Kept::default(), "{garbage:?}");
        }
    }
}
