//! What the consensus engine must find again after a crash: the votes and locks of the height being decided.
//!
//! ```text
//! 0  8  "PURLREC1"
//! then entries: length u32 | height u64 | kind u8 | bytes | first 8 bytes of SHA-256 of all before it in the entry
//! length counts kind and bytes; kind 1 is a record of the engine, 2 the borsh of a block
//! ```
//!
//! Integers are little-endian. An entry torn by a power cut, and everything after it, was never relied on: what
//! it records is published only after a sync. Entries of a decided height are dropped with the first of the next.

use purlin_primitives::{Block, Height};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::files::sync_directory;

const MAGIC: &[u8; 8] = b"PURLREC1";
const PREFIX_BYTES: usize = 4 + 8;
const CHECKSUM_BYTES: usize = 8;
/// Longest record: a block.
const RECORD_BYTES_MAX: usize = 32 << 20;
/// Most bytes of one height; a height that needs more has failed for hours.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// What a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Of the engine, for [`purlin_consensus::Input::Started`].
    Engine(Vec<u8>),
    /// A block that was voted for: whoever precommitted must be able to show it.
    Body(Box<Block>),
}

impl Record {
    /// Returns the kind and the bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Engine(bytes) => [&[ENGINE], bytes.as_slice()].concat(),
            Self::Body(block) => {
                [&[BODY], borsh::to_vec(block).expect("writing to memory cannot fail").as_slice()].concat()
            }
        }
    }

    /// Reads what [`Record::encode`] gave.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&ENGINE, bytes) => Some(Self::Engine(bytes.to_vec())),
            (&BODY, bytes) => borsh::from_slice(bytes).ok().map(Self::Body),
            _ => None,
        }
    }
}

const ENGINE: u8 = 1;
const BODY: u8 = 2;

/// Keeps an engine's records. The node's is a file; a simulation's is memory that can lose what was not synced.
pub trait RecordLog: Send {
    /// Adds a record; it may be lost in a crash until [`RecordLog::sync`]. Records of lower heights go.
    fn append(&mut self, height: Height, record: &Record) -> io::Result<()>;

    /// Makes everything durable; quick when it is already.
    fn sync(&mut self) -> io::Result<()>;
}

/// Keeps nothing: for engines that need nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRecords;

impl RecordLog for NoRecords {
    fn append(&mut self, _height: Height, _record: &Record) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Records in a file.
#[derive(Debug)]
pub(crate) struct FileRecords {
    file: File,
    height: Height,
    bytes: u64,
    dirty: bool,
}

impl FileRecords {
    /// Opens or makes the file; returns the records of `height`, oldest first.
    pub(crate) fn open(path: &Path, height: Height) -> io::Result<(Self, Vec<Record>)> {
        let made = !path.exists();
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut content = Vec::new();
        (&mut file).take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
        let mut found = Vec::new();
        let mut end = MAGIC.len();
        if content.starts_with(MAGIC) {
            while let Some((entry_height, bytes, length)) = entry(&content[end..]) {
                end += length;
                if entry_height == height {
                    let record = Record::decode(bytes);
                    let unknown = || io::Error::new(io::ErrorKind::InvalidData, "it has a record of unknown kind");
                    found.push(record.ok_or_else(unknown)?);
                }
            }
        } else if content.len() >= MAGIC.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not start with PURLREC1"));
        }
        let mut log = Self { file, height, bytes: end as u64, dirty: true };
        if found.is_empty() {
            log.clear()?;
        } else {
            log.file.set_len(log.bytes)?;
            log.file.seek(SeekFrom::Start(log.bytes))?;
        }
        log.sync()?;
        if made && let Some(directory) = path.parent() {
            sync_directory(directory)?;
        }
        Ok((log, found))
    }

    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(MAGIC)?;
        self.bytes = MAGIC.len() as u64;
        self.dirty = true;
        Ok(())
    }
}

impl RecordLog for FileRecords {
    fn append(&mut self, height: Height, record: &Record) -> io::Result<()> {
        let bytes = record.encode();
        if height > self.height {
            self.clear()?;
            self.height = height;
        }
        let too_long = |what| io::Error::new(io::ErrorKind::FileTooLarge, what);
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(too_long("a record is over 32 MiB"));
        }
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut entry = Vec::with_capacity(PREFIX_BYTES + bytes.len() + CHECKSUM_BYTES);
        entry.extend_from_slice(&length.to_le_bytes());
        entry.extend_from_slice(&height.get().to_le_bytes());
        entry.extend_from_slice(&bytes);
        let checksum = Sha256::digest(&entry);
        entry.extend_from_slice(&checksum[..CHECKSUM_BYTES]);
        if self.bytes + entry.len() as u64 > FILE_BYTES_MAX {
            return Err(too_long("the records of one height exceed 512 MiB: it is not being decided"));
        }
        self.file.write_all(&entry)?;
        self.bytes += entry.len() as u64;
        self.dirty = true;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty) {
            self.file.sync_data()?;
        }
        Ok(())
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

    const FIVE: Height = Height::new(5);
    const SIX: Height = Height::new(6);

    fn engine(text: &str) -> Record {
        Record::Engine(text.into())
    }

    #[test]
    fn records_of_a_height_come_back_until_the_next_has_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records");
        let (mut log, found) = FileRecords::open(&path, FIVE).unwrap();
        assert!(found.is_empty());
        log.append(FIVE, &engine("one")).unwrap();
        log.append(FIVE, &engine("two")).unwrap();
        log.sync().unwrap();
        let (mut log, found) = FileRecords::open(&path, FIVE).unwrap();
        assert_eq!(found, [engine("one"), engine("two")]);
        log.append(FIVE, &engine("three")).unwrap();
        log.append(SIX, &engine("four")).unwrap();
        log.sync().unwrap();
        assert_eq!(FileRecords::open(&path, SIX).unwrap().1, [engine("four")]);
        assert!(FileRecords::open(&path, FIVE).unwrap().1.is_empty());
    }

    #[test]
    fn a_torn_end_is_cut_off_and_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records");
        let (mut log, _) = FileRecords::open(&path, FIVE).unwrap();
        log.append(FIVE, &engine("whole")).unwrap();
        log.append(FIVE, &engine("torn")).unwrap();
        log.sync().unwrap();
        let whole = std::fs::read(&path).unwrap();
        for end in 0..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let (mut log, found) = FileRecords::open(&path, FIVE).unwrap();
            assert!(found.len() < 2 && found.iter().all(|one| *one == engine("whole")), "cut to {end}");
            log.append(FIVE, &engine("next")).unwrap();
            log.sync().unwrap();
            let (_, again) = FileRecords::open(&path, FIVE).unwrap();
            assert_eq!(again.last().unwrap(), &engine("next"), "cut to {end}");
            assert_eq!(again.len(), found.len() + 1);
        }
        let mut flipped = whole;
        flipped[MAGIC.len() + PREFIX_BYTES] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        assert!(FileRecords::open(&path, FIVE).unwrap().1.is_empty());
        std::fs::write(&path, b"something else").unwrap();
        assert!(FileRecords::open(&path, FIVE).is_err());
    }
}
