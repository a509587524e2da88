//! What must be found again after a crash of the height being decided: votes, locks, and blocks voted for.
//!
//! ```text
//! 0  8  "PURLREC1"
//! then entries: length u32 | height u64 | bytes | first 8 bytes of SHA-256 of all before it in the entry
//! ```
//!
//! Integers are little-endian. An entry torn by a power cut, and everything after it, was never relied on: nothing
//! is published before a sync. Old entries go when the file has grown large.

use purlin_primitives::Height;
use sha2::{Digest, Sha256};
use std::io;
use std::path::Path;

use crate::signing_disk::{IfMissing, SigningDisk, SigningFile};

const MAGIC: &[u8; 8] = b"PURLREC1";
const PREFIX_BYTES: usize = 4 + 8;
const CHECKSUM_BYTES: usize = 8;
/// Longest record: a block.
const RECORD_BYTES_MAX: usize = 32 << 20;
/// Most bytes of one height; a height that needs more has failed for hours.
const FILE_BYTES_MAX: u64 = 512 << 20;
/// Past this old records are dropped.
const LARGE_BYTES: u64 = 4 << 20;

/// A record and the height that it is about.
pub(crate) type Entry = (Height, Vec<u8>);

/// A file of records that grows at its end.
pub(crate) struct VoteLog {
    file: Box<dyn SigningFile>,
    bytes: u64,
    dirty: bool,
}

impl VoteLog {
    /// Opens or makes the file; returns all whole records, oldest first.
    pub(crate) fn open(disk: &dyn SigningDisk, path: &Path) -> io::Result<(Self, Vec<Entry>)> {
        let made = !disk.exists(path);
        let mut file = disk.open(path, IfMissing::Create)?;
        let content = file.read(FILE_BYTES_MAX + 1)?;
        let mut found = Vec::new();
        let mut end = MAGIC.len();
        if content.starts_with(MAGIC) {
            while let Some((height, bytes, length)) = entry(&content[end..]) {
                end += length;
                found.push((height, bytes.to_vec()));
            }
        } else if content.len() >= MAGIC.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not start with PURLREC1"));
        }
        let mut log = Self { file, bytes: end as u64, dirty: true };
        if found.is_empty() {
            log.clear()?;
        } else {
            log.file.truncate(log.bytes)?;
        }
        log.sync()?;
        if made && let Some(directory) = path.parent() {
            disk.sync_names(directory)?;
        }
        Ok((log, found))
    }

    /// Says whether so much has gathered that old records should be dropped when they are of no use.
    pub(crate) fn is_large(&self) -> bool {
        self.bytes > LARGE_BYTES
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.file.truncate(0)?;
        self.file.write_at(0, MAGIC)?;
        self.bytes = MAGIC.len() as u64;
        self.dirty = true;
        Ok(())
    }

    /// Adds a record; it may be lost in a crash until [`VoteLog::sync`].
    pub(crate) fn append(&mut self, height: Height, bytes: &[u8]) -> io::Result<()> {
        let too_long = |what| io::Error::new(io::ErrorKind::FileTooLarge, what);
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(too_long("a record is over 32 MiB"));
        }
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut entry = Vec::with_capacity(PREFIX_BYTES + bytes.len() + CHECKSUM_BYTES);
        entry.extend_from_slice(&length.to_le_bytes());
        entry.extend_from_slice(&height.get().to_le_bytes());
        entry.extend_from_slice(bytes);
        let checksum = Sha256::digest(&entry);
        entry.extend_from_slice(&checksum[..CHECKSUM_BYTES]);
        if self.bytes + entry.len() as u64 > FILE_BYTES_MAX {
            return Err(too_long("the records of one height exceed 512 MiB: it is not being decided"));
        }
        self.file.write_at(self.bytes, &entry)?;
        self.bytes += entry.len() as u64;
        self.dirty = true;
        Ok(())
    }

    /// Returns how long the file is.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Drops the records that are not to be kept, durably; a crash leaves all of them or those.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Height, &[u8]) -> bool) -> io::Result<()> {
        let content = self.file.read(self.bytes)?;
        let mut kept = MAGIC.to_vec();
        let mut rest = content.get(MAGIC.len()..).unwrap_or_default();
        while let Some((height, bytes, length)) = entry(rest) {
            if keep(height, bytes) {
                kept.extend_from_slice(&rest[..length]);
            }
            rest = &rest[length..];
        }
        self.file.replace(&kept)?;
        self.bytes = kept.len() as u64;
        self.dirty = false;
        Ok(())
    }

    /// Makes everything durable; quick when it is already.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.sync()?;
            self.dirty = false;
        }
        Ok(())
    }
}

impl std::fmt::Debug for VoteLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VoteLog").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Reads one whole entry: height, bytes, and how long the entry is.
fn entry(content: &[u8]) -> Option<(Height, &[u8], usize)> {
    let length = u32::from_le_bytes(content.get(..4)?.try_into().ok()?) as usize;
    if length > RECORD_BYTES_MAX {
        return None;
    }
    let height = u64::from_le_bytes(content.get(4..PREFIX_BYTES)?.try_into().ok()?);
    let end = PREFIX_BYTES + length;
    let checksum = content.get(end..end + CHECKSUM_BYTES)?;
    if Sha256::digest(&content[..end])[..CHECKSUM_BYTES] != *checksum {
        return None;
    }
    Some((Height::new(height), &content[PREFIX_BYTES..end], end + CHECKSUM_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing_disk::SystemDisk;

    const FIVE: Height = Height::new(5);

    fn open(path: &Path) -> (VoteLog, Vec<String>) {
        let (log, found) = VoteLog::open(&SystemDisk, path).unwrap();
        (log, found.into_iter().map(|(_, bytes)| String::from_utf8(bytes).unwrap()).collect())
    }

    #[test]
    fn records_come_back_until_they_are_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("votes");
        let (mut log, found) = open(&path);
        assert!(found.is_empty());
        log.append(FIVE, b"one").unwrap();
        log.append(FIVE, b"two").unwrap();
        log.sync().unwrap();
        let (mut log, found) = open(&path);
        assert_eq!(found, ["one", "two"]);
        log.clear().unwrap();
        log.append(FIVE, b"three").unwrap();
        log.sync().unwrap();
        assert_eq!(open(&path).1, ["three"]);
    }

    #[test]
    fn what_is_not_to_be_kept_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("votes");
        let (mut log, _) = open(&path);
        for record in ["one", "two", "three"] {
            log.append(FIVE, record.as_bytes()).unwrap();
        }
        log.retain(|_, bytes| bytes != b"two").unwrap();
        log.append(FIVE, b"four").unwrap();
        log.sync().unwrap();
        assert_eq!(log.bytes(), std::fs::metadata(&path).unwrap().len());
        assert_eq!(open(&path).1, ["one", "three", "four"]);
    }

    #[test]
    fn a_torn_end_is_cut_off_and_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("votes");
        let (mut log, _) = open(&path);
        log.append(FIVE, b"whole").unwrap();
        log.append(FIVE, b"torn").unwrap();
        log.sync().unwrap();
        let whole = std::fs::read(&path).unwrap();
        for end in 0..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let (mut log, found) = open(&path);
            assert!(found.len() < 2 && found.iter().all(|one| one == "whole"), "cut to {end}");
            log.append(FIVE, b"next").unwrap();
            log.sync().unwrap();
            let again = open(&path).1;
            assert_eq!(again.last().unwrap(), "next", "cut to {end}");
            assert_eq!(again.len(), found.len() + 1);
        }
        let mut flipped = whole;
        flipped[MAGIC.len() + PREFIX_BYTES] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        assert!(open(&path).1.is_empty());
        std::fs::write(&path, b"something else").unwrap();
        assert!(VoteLog::open(&SystemDisk, &path).is_err());
    }
}
