//! Files in memory that a crash takes back to what was synced, or to a torn mixture.

use parking_lot::Mutex;
use purlin_service::{IfMissing, SigningDisk, SigningFile};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::random::Random;

/// What syncing a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syncing {
    /// It makes the content durable.
    Honest,
    /// Nothing: a deliberate bug.
    Ignored,
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug)]
struct Files {
    by_path: BTreeMap<PathBuf, Content>,
    full: bool,
    syncing: Syncing,
}

/// The disk of one node's signatures.
#[derive(Debug, Clone)]
pub(crate) struct SimDisk(Arc<Mutex<Files>>);

impl SimDisk {
    pub(crate) fn new(syncing: Syncing) -> Self {
        Self(Arc::new(Mutex::new(Files { by_path: BTreeMap::new(), full: false, syncing })))
    }

    /// Lets writes fail from now on, or succeed again.
    pub(crate) fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }

    /// Loses what was not synced, or a part of it.
    pub(crate) fn crash(&self, random: &mut Random) {
        for content in self.0.lock().by_path.values_mut() {
            content.now = torn(content, random);
            content.durable = content.now.clone();
        }
    }

    /// Loses everything.
    pub(crate) fn wipe(&self) {
        self.0.lock().by_path.clear();
    }
}

/// Returns what may be left of a file: the old content, or the old with a first part of what was written since.
fn torn(content: &Content, random: &mut Random) -> Vec<u8> {
    let Content { now, durable } = content;
    if now == durable || random.percent(50) {
        return durable.clone();
    }
    if now.len() >= durable.len() {
        let same = now.iter().zip(durable).take_while(|(one, other)| one == other).count();
        let kept = random.between(same as u64, now.len() as u64) as usize;
        let rest = durable.get(kept..).unwrap_or_default();
        return [&now[..kept], rest].concat();
    }
    now.clone()
}

fn full() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "no space left (simulated)")
}

impl SigningDisk for SimDisk {
    fn exists(&self, path: &Path) -> bool {
        self.0.lock().by_path.contains_key(path)
    }

    fn open(&self, path: &Path, if_missing: IfMissing) -> io::Result<Box<dyn SigningFile>> {
        let mut files = self.0.lock();
        if !files.by_path.contains_key(path) {
            if if_missing == IfMissing::Fail {
                return Err(io::Error::from(io::ErrorKind::NotFound));
            }
            files.by_path.insert(path.into(), Content::default());
        }
        Ok(Box::new(SimFile { disk: self.clone(), path: path.into() }))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut files = self.0.lock();
        if files.full {
            return Err(full());
        }
        files.by_path.insert(path.into(), Content { now: content.to_vec(), durable: content.to_vec() });
        Ok(())
    }

    fn sync_names(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }
}

struct SimFile {
    disk: SimDisk,
    path: PathBuf,
}

impl SimFile {
    fn with<T>(&self, change: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        let mut files = self.disk.0.lock();
        if files.full {
            return Err(full());
        }
        files.by_path.get_mut(&self.path).map(change).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl SigningFile for SimFile {
    fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        self.disk.replace(&self.path, content)
    }

    fn read(&mut self, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.with(|content| content.now.iter().take(bytes_max as usize).copied().collect())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|content| {
            let (from, to) = (offset as usize, offset as usize + bytes.len());
            if content.now.len() < to {
                content.now.resize(to, 0);
            }
            content.now[from..to].copy_from_slice(bytes);
        })
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.with(|content| content.now.truncate(bytes as usize))
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.disk.0.lock().syncing == Syncing::Ignored {
            return Ok(());
        }
        self.with(|content| content.durable = content.now.clone())
    }
}
