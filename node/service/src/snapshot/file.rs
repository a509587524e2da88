//! A snapshot in one file: what nodes serve to newcomers, and what `purlin snapshot` writes and reads.
//!
//! ```text
//! "purlin snapshot 1\n"
//! genesis id(32)
//! length u32 LE, encoded SnapshotManifest
//! length u32 LE, encoded chunk           as often as there are chunks, in the order of key hashes
//! 0xff 0xff 0xff 0xff, SHA-256 of everything before
//! ```
//!
//! Encodings are those of the network (purlin-sync). Chunks are proven one by one against the root in the manifest;
//! the hash at the end finds damage, truncation and trailing bytes before anything is used.

use purlin_primitives::{BlockId, Hash32, Height};
use purlin_sync::limits::{SNAPSHOT_CHUNK_BYTES_MAX, SNAPSHOT_MANIFEST_BYTES_MAX};
use purlin_sync::{SnapshotManifest, encode_chunk};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::files::sync_directory;

const MAGIC: &[u8] = b"purlin snapshot 1\n";
const MAGIC_START: &[u8] = b"purlin snapshot ";
const END: u32 = u32::MAX;
/// Most chunks of a file; at a quarter of a mebibyte each a state of 16 TiB.
const CHUNKS_MAX: usize = 1 << 26;

/// Says why a snapshot file cannot be used. Nothing of it was used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFileError {
    /// The system refuses.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Something else.
    #[error("{} is no snapshot", path.display())]
    NotASnapshot {
        /// Which file.
        path: PathBuf,
    },
    /// By another version of the program.
    #[error("{} is a snapshot of another format; this program reads format 1", path.display())]
    OtherFormat {
        /// Which file.
        path: PathBuf,
    },
    /// It ends too early.
    #[error("{} is cut off after {bytes} bytes; copy it again", path.display())]
    Truncated {
        /// Which file.
        path: PathBuf,
        /// What there is.
        bytes: u64,
    },
    /// Not what was written.
    #[error("{} is damaged: {detail}; copy it again, or get another one", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Of another chain.
    #[error("{} is a snapshot of the chain with genesis {found}; this node's genesis is {expected}", path.display())]
    OtherChain {
        /// Which file.
        path: PathBuf,
        /// In the file.
        found: BlockId,
        /// Of the node.
        expected: BlockId,
    },
}

/// Writes a file; it has its name only when it is whole and durable.
pub(crate) struct SnapshotWriter {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    hasher: Sha256,
    bytes: u64,
    finished: bool,
}

impl SnapshotWriter {
    /// Begins a file beside the place where it will be.
    pub(crate) fn create(
        path: &Path,
        genesis: BlockId,
        manifest: &SnapshotManifest,
    ) -> Result<Self, SnapshotFileError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".new");
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(io_error(&temporary, "create"))?;
        let mut writer = Self {
            path: path.into(),
            temporary,
            file: BufWriter::with_capacity(1 << 20, file),
            hasher: Sha256::new(),
            bytes: 0,
            finished: false,
        };
        writer.put(MAGIC)?;
        writer.put(genesis.as_bytes())?;
        writer.frame(&manifest.encode())?;
        Ok(writer)
    }

    /// Adds a chunk.
    pub(crate) fn chunk(&mut self, chunk: &purlin_state::RangeChunk) -> Result<(), SnapshotFileError> {
        self.frame(&encode_chunk(chunk))
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<(), SnapshotFileError> {
        let length = u32::try_from(bytes.len()).expect("parts of a snapshot are bounded");
        self.put(&length.to_le_bytes())?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), SnapshotFileError> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(io_error(&self.temporary, "write"))
    }

    /// Ends the file, makes it durable and gives it its name. Returns its size in bytes.
    pub(crate) fn finish(mut self) -> Result<u64, SnapshotFileError> {
        self.put(&END.to_le_bytes())?;
        let hash = self.hasher.clone().finalize();
        let failed = io_error(&self.temporary, "write");
        self.file.write_all(&hash).map_err(&failed)?;
        self.file.flush().map_err(&failed)?;
        self.file.get_ref().sync_all().map_err(&failed)?;
        std::fs::rename(&self.temporary, &self.path).map_err(io_error(&self.path, "rename to"))?;
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        sync_directory(folder).map_err(io_error(folder, "sync"))?;
        self.finished = true;
        Ok(self.bytes + hash.len() as u64)
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished && self.temporary.exists() {
            // The error that led here is the one to report.
            drop(std::fs::remove_file(&self.temporary));
        }
    }
}

/// A whole, undamaged file.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    path: PathBuf,
    file: File,
    genesis: BlockId,
    manifest: SnapshotManifest,
    encoded: Vec<u8>,
    /// Where the chunk is that begins with a key hash: offset, length and the key hash that it ends with.
    chunks: BTreeMap<Hash32, (u64, u32, Hash32)>,
    bytes: u64,
}

impl SnapshotFile {
    /// Reads a file once, checks its hash and remembers where chunks are. What they prove is not looked at.
    pub(crate) fn open(path: &Path) -> Result<Self, SnapshotFileError> {
        let file = File::open(path).map_err(io_error(path, "open"))?;
        let mut scan =
            Scan { path, file: BufReader::with_capacity(1 << 20, &file), hasher: Sha256::new(), bytes: 0 };
        let magic = scan.take(MAGIC.len()).map_err(|error| match error {
            SnapshotFileError::Truncated { path, .. } => SnapshotFileError::NotASnapshot { path },
            other => other,
        })?;
        if magic != MAGIC {
            let path = path.into();
            return Err(if magic.starts_with(MAGIC_START) {
                SnapshotFileError::OtherFormat { path }
            } else {
                SnapshotFileError::NotASnapshot { path }
            });
        }
        let genesis: [u8; 32] = scan.take(32)?.try_into().expect("32 bytes were taken");
        let Some(encoded) = scan.frame(SNAPSHOT_MANIFEST_BYTES_MAX)? else {
            return Err(scan.damaged("there is no manifest"));
        };
        let manifest =
            SnapshotManifest::decode(&encoded).map_err(|error| scan.damaged(&error.to_string()))?;
        let mut chunks = BTreeMap::new();
        loop {
            let offset = scan.bytes + 4;
            let Some(chunk) = scan.frame(SNAPSHOT_CHUNK_BYTES_MAX)? else { break };
            // A version byte, then the bounds of the range.
            let bound = |at: usize| chunk.get(at..at + 32).and_then(|hash| <[u8; 32]>::try_from(hash).ok());
            let (Some(from), Some(to)) = (bound(1), bound(33)) else {
                return Err(scan.damaged("a chunk is too short"));
            };
            let place = (offset, chunk.len() as u32, Hash32::new(to));
            if chunks.insert(Hash32::new(from), place).is_some() || chunks.len() > CHUNKS_MAX {
                return Err(scan.damaged("a chunk is there twice"));
            }
        }
        scan.end()?;
        let bytes = scan.bytes;
        let genesis = BlockId::new(Hash32::new(genesis));
        Ok(Self { path: path.into(), file, genesis, manifest, encoded, chunks, bytes })
    }

    /// Refuses a file of another chain.
    pub(crate) fn check_chain(&self, expected: BlockId) -> Result<(), SnapshotFileError> {
        if self.genesis == expected {
            return Ok(());
        }
        Err(SnapshotFileError::OtherChain { path: self.path.clone(), found: self.genesis, expected })
    }

    /// Copies the file, which has been read; the copy has its name only when it is whole and durable.
    pub(crate) fn copy_to(&self, path: &Path) -> Result<(), SnapshotFileError> {
        let mut writer = SnapshotWriter::create(path, self.genesis, &self.manifest)?;
        for from in self.chunks.keys() {
            let chunk = self.chunk(from, &Hash32::new([0xff; 32])).map_err(io_error(&self.path, "read"))?;
            writer.frame(&chunk.unwrap_or_default())?;
        }
        writer.finish().map(drop)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn manifest(&self) -> &SnapshotManifest {
        &self.manifest
    }

    /// Returns the manifest as it is sent.
    pub(crate) fn encoded_manifest(&self) -> &[u8] {
        &self.encoded
    }

    pub(crate) fn height(&self) -> Height {
        self.manifest.header.height
    }

    pub(crate) fn root(&self) -> Hash32 {
        self.manifest.next.header.state_root
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the beginnings of all chunks, in order.
    pub(crate) fn chunk_starts(&self) -> Vec<Hash32> {
        self.chunks.keys().copied().collect()
    }

    /// Reads the encoded chunk that begins with `from`, when there is one and it ends with or before `to`. One read of
    /// bounded size.
    pub(crate) fn chunk(&self, from: &Hash32, to: &Hash32) -> io::Result<Option<Vec<u8>>> {
        let Some((offset, length, end)) = self.chunks.get(from) else { return Ok(None) };
        if end > to {
            return Ok(None);
        }
        let mut bytes = vec![0; *length as usize];
        self.file.read_exact_at(&mut bytes, *offset)?;
        Ok(Some(bytes))
    }
}

/// Reads a file from front to end and hashes it.
struct Scan<'a> {
    path: &'a Path,
    file: BufReader<&'a File>,
    hasher: Sha256,
    bytes: u64,
}

impl Scan<'_> {
    fn damaged(&self, detail: &str) -> SnapshotFileError {
        SnapshotFileError::Damaged { path: self.path.into(), detail: detail.into() }
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, SnapshotFileError> {
        let bytes = self.take_unhashed(length)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    fn take_unhashed(&mut self, length: usize) -> Result<Vec<u8>, SnapshotFileError> {
        let mut bytes = Vec::new();
        let read = (&mut self.file).take(length as u64).read_to_end(&mut bytes);
        read.map_err(io_error(self.path, "read"))?;
        self.bytes += bytes.len() as u64;
        if bytes.len() < length {
            return Err(SnapshotFileError::Truncated { path: self.path.into(), bytes: self.bytes });
        }
        Ok(bytes)
    }

    /// Reads the next part; `None` at the mark of the end.
    fn frame(&mut self, most: usize) -> Result<Option<Vec<u8>>, SnapshotFileError> {
        let length = self.take(4)?;
        let length = u32::from_le_bytes(length.try_into().expect("4 bytes were taken"));
        match length {
            END => Ok(None),
            length if length as usize > most => {
                Err(self.damaged(&format!("a part of {length} bytes, where {most} are possible")))
            }
            length => self.take(length as usize).map(Some),
        }
    }

    /// Compares the hash, and sees that nothing follows it.
    fn end(&mut self) -> Result<(), SnapshotFileError> {
        let expected = self.hasher.clone().finalize();
        let found = self.take_unhashed(32)?;
        if found[..] != expected[..] {
            return Err(self.damaged("its bytes do not give the hash at its end"));
        }
        let mut more = [0];
        match self.file.read(&mut more).map_err(io_error(self.path, "read"))? {
            0 => Ok(()),
            _ => Err(self.damaged("there are bytes after its end")),
        }
    }
}

fn io_error<'a>(path: &'a Path, operation: &'static str) -> impl Fn(io::Error) -> SnapshotFileError + use<> {
    let path = path.to_path_buf();
    move |source| SnapshotFileError::Io { path: path.clone(), operation, source }
}
