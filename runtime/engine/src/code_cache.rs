//! Keeps compiled code on disk.
//!
//! Compiled code is trusted like the node's own: loading a forged entry would run it. So an entry comes from
//! this node only, never from a package or a peer, and each file is authenticated with a key that never
//! leaves the directory. A file that does not fit, for whatever reason, is compiled again and replaced.
//!
//! ```text
//! <directory>/cache.key      32 random bytes, readable by the node only
//! <directory>/<key>.code     offset 0   8  "PURLINC1"
//!                                   8  32  key: see `Engine::cache_key`
//!                                  40  32  BLAKE3, keyed with cache.key, of bytes 8..40 and 72..
//!                                  72   -  compiled code
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::{CacheConfig, EngineFault};

const MAGIC: &[u8; 8] = b"PURLINC1";
const KEY_OFFSET: usize = 8;
const TAG_OFFSET: usize = 40;
const CODE_OFFSET: usize = 72;
const KEY_FILE: &str = "cache.key";
const EXTENSION: &str = "code";

/// Names one entry.
pub(crate) type CacheKey = [u8; 32];

/// Compiled code whose tag was verified.
pub(crate) struct Authenticated(Vec<u8>);

impl Authenticated {
    /// Returns the code.
    pub(crate) fn code(&self) -> &[u8] {
        &self.0[CODE_OFFSET..]
    }
}

/// The cache directory.
pub(crate) struct CodeCache {
    directory: PathBuf,
    bytes_max: u64,
    secret: [u8; 32],
    /// Serialises writes and evictions.
    writing: Mutex<()>,
}

impl CodeCache {
    pub(crate) fn open(config: &CacheConfig) -> Result<Self, EngineFault> {
        let fault = |path: &Path| {
            let path = path.to_owned();
            move |source| EngineFault::Cache { path, source }
        };
        fs::create_dir_all(&config.directory).map_err(fault(&config.directory))?;
        let key_path = config.directory.join(KEY_FILE);
        let secret = read_or_make_secret(&key_path).map_err(fault(&key_path))?;
        Ok(Self {
            directory: config.directory.clone(),
            bytes_max: config.bytes_max,
            secret,
            writing: Mutex::new(()),
        })
    }

    fn path(&self, key: &CacheKey) -> PathBuf {
        self.directory.join(format!("{}.{EXTENSION}", hex::encode(key)))
    }

    fn tag(&self, key: &[u8], code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(key).update(code);
        hasher.finalize()
    }

    /// Returns an entry of this node, or `None`, having removed a file that is not one.
    pub(crate) fn get(&self, key: &CacheKey) -> Option<Authenticated> {
        let path = self.path(key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read compiled code; compiling again");
                return None;
            }
        };
        if !self.is_authentic(key, &bytes) {
            tracing::warn!(path = %path.display(), "compiled code is corrupt or foreign; compiling again");
            self.remove(key);
            return None;
        }
        // The time of the last use decides what is evicted first.
        if let Err(error) = File::open(&path).and_then(|file| file.set_modified(SystemTime::now())) {
            tracing::debug!(path = %path.display(), %error, "cannot note the use of compiled code");
        }
        Some(Authenticated(bytes))
    }

    fn is_authentic(&self, key: &CacheKey, bytes: &[u8]) -> bool {
        bytes.len() > CODE_OFFSET
            && bytes[..KEY_OFFSET] == MAGIC[..]
            && bytes[KEY_OFFSET..TAG_OFFSET] == key[..]
            // `blake3::Hash` compares in constant time.
            && blake3::Hash::from_slice(&bytes[TAG_OFFSET..CODE_OFFSET])
                .is_ok_and(|tag| tag == self.tag(key, &bytes[CODE_OFFSET..]))
    }

    /// Removes an entry, as far as the system lets it.
    pub(crate) fn remove(&self, key: &CacheKey) {
        let path = self.path(key);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove compiled code");
        }
    }

    /// Writes an entry. A failure costs a compilation after the next start, so it is logged and that is all.
    pub(crate) fn put(&self, key: &CacheKey, code: &[u8]) {
        let size = (CODE_OFFSET + code.len()) as u64;
        if size > self.bytes_max {
            tracing::info!(size, limit = self.bytes_max, "compiled code is larger than the cache; not kept");
            return;
        }
        let _writing = self.writing.lock();
        if let Err(error) = self.evict(self.bytes_max - size).and_then(|()| self.write(key, code)) {
            tracing::warn!(directory = %self.directory.display(), %error, "cannot keep compiled code");
        }
    }

    fn write(&self, key: &CacheKey, code: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = (|| {
            let mut file = File::create(&temporary)?;
            file.write_all(MAGIC)?;
            file.write_all(key)?;
            file.write_all(self.tag(key, code).as_bytes())?;
            file.write_all(code)?;
            // A torn file after a crash does not authenticate, so no sync is needed.
            drop(file);
            fs::rename(&temporary, &path)
        })();
        if written.is_err() {
            // Best effort: eviction removes what is left behind.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Removes the least recently used files until the rest is within `bytes`.
    fn evict(&self, bytes: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_name() == KEY_FILE {
                continue;
            }
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        if total <= bytes {
            return Ok(());
        }
        files.sort();
        for (_, size, path) in files {
            if total <= bytes {
                break;
            }
            fs::remove_file(&path)?;
            total -= size;
        }
        Ok(())
    }
}

fn read_or_make_secret(path: &Path) -> io::Result<[u8; 32]> {
    match fs::read(path) {
        Ok(bytes) => {
            if let Ok(secret) = <[u8; 32]>::try_from(bytes) {
                return Ok(secret);
            }
            tracing::warn!(path = %path.display(), "the key of the compiled-code cache is malformed; making a new one");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let temporary = path.with_extension("tmp");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(&temporary)?.write_all(&secret)?;
    fs::rename(&temporary, path)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: CacheKey = [7; 32];

    fn open(directory: &Path, bytes_max: u64) -> CodeCache {
        CodeCache::open(&CacheConfig { directory: directory.to_owned(), bytes_max }).unwrap()
    }

    #[test]
    fn an_entry_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        open(directory.path(), 1 << 20).put(&KEY, b"code");
        let entry = open(directory.path(), 1 << 20).get(&KEY).unwrap();
        assert_eq!(entry.code(), b"code");
    }

    #[test]
    fn any_flipped_byte_is_found_and_the_file_removed() {
        let directory = tempfile::tempdir().unwrap();
        let cache = open(directory.path(), 1 << 20);
        cache.put(&KEY, b"code");
        let path = cache.path(&KEY);
        let good = fs::read(&path).unwrap();
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            fs::write(&path, bad).unwrap();
            assert!(cache.get(&KEY).is_none(), "byte {index}");
            assert!(!path.exists());
        }
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            assert!(cache.get(&KEY).is_none(), "cut to {length}");
        }
        fs::write(&path, &good).unwrap();
        assert!(cache.get(&KEY).is_some());
    }

    #[test]
    fn an_entry_of_another_node_or_another_key_is_foreign() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (cache, other) = (open(here.path(), 1 << 20), open(there.path(), 1 << 20));
        other.put(&KEY, b"code");
        fs::copy(other.path(&KEY), cache.path(&KEY)).unwrap();
        assert!(cache.get(&KEY).is_none());
        cache.put(&KEY, b"code");
        fs::copy(cache.path(&KEY), cache.path(&[8; 32])).unwrap();
        assert!(cache.get(&[8; 32]).is_none());
    }

    #[test]
    fn the_oldest_entries_make_room() {
        let directory = tempfile::tempdir().unwrap();
        let cache = open(directory.path(), 2 * (CODE_OFFSET as u64 + 100));
        for (age, byte) in [(300, 1), (100, 2)] {
            cache.put(&[byte; 32], &[0; 100]);
            let file = File::open(cache.path(&[byte; 32])).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        }
        cache.put(&[3; 32], &[0; 100]);
        assert!(cache.get(&[1; 32]).is_none());
        assert!(cache.get(&[2; 32]).is_some());
        assert!(cache.get(&[3; 32]).is_some());
        cache.put(&[4; 32], &[0; 1000]);
        assert!(cache.get(&[4; 32]).is_none(), "larger than the cache");
    }
}
