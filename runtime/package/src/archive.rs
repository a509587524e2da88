//! Reads an archive entry by entry, without ever touching a disk or trusting a length.

use flate2::bufread::GzDecoder;
use purlin_abi::limits::{
    MANIFEST_BYTES_MAX, PACKAGE_BYTES_MAX, PACKAGE_ENTRIES_MAX, PACKAGE_RATIO_MAX,
    PACKAGE_UNPACKED_BYTES_MAX, WASM_BYTES_MAX,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use crate::path::{MANIFEST_PATH, PathError, SIGNATURE_PATH, WASM_PATH, check_path};
use crate::signature::SIGNATURE_BYTES;
use crate::text::Shown;
use crate::ustar::{BLOCK_BYTES, Header, padding_bytes};

/// Files of a package by path.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Most bytes asked of the decompressor at once: what a forged length can make us allocate.
const CHUNK_BYTES: usize = 64 * 1024;
/// Fixed part of a gzip header.
const GZIP_HEADER_BYTES: usize = 10;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const GZIP_DEFLATE: u8 = 8;

/// Says why bytes are not an acceptable archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// Larger than [`PACKAGE_BYTES_MAX`].
    #[error(
        "the package has {bytes} bytes; at most {PACKAGE_BYTES_MAX} are allowed, so remove files or make the module smaller"
    )]
    CompressedTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Unpacks to more than [`PACKAGE_UNPACKED_BYTES_MAX`].
    #[error("the package unpacks to more than {PACKAGE_UNPACKED_BYTES_MAX} bytes; remove files")]
    UnpackedTooLarge,
    /// Unpacks to more than [`PACKAGE_RATIO_MAX`] times its size.
    #[error(
        "the package unpacks to more than {PACKAGE_RATIO_MAX} times its {compressed_bytes} bytes; it holds mostly filler, so remove that"
    )]
    RatioTooHigh {
        /// Its compressed size.
        compressed_bytes: usize,
    },
    /// Does not start like gzip.
    #[error("these bytes are not a gzip archive; build a package with `purlin app build`")]
    NotGzip,
    /// A gzip header with optional fields: they would carry bytes that nothing checks.
    #[error(
        "the gzip header has optional fields (flags {flags:#04x}); use `purlin app build`, or compress with `gzip -n`"
    )]
    GzipFields {
        /// The header's flags.
        flags: u8,
    },
    /// The compressed data is damaged.
    #[error("the gzip data is damaged: {reason}; build or download the package again")]
    BadGzip {
        /// What the decompressor says.
        reason: String,
    },
    /// Ends inside something.
    #[error("the package ends early, inside {inside}; build or download it again")]
    Truncated {
        /// What is cut.
        inside: &'static str,
    },
    /// A second gzip member follows.
    #[error("a second gzip member follows the archive; a package is exactly one")]
    SecondMember,
    /// Other bytes follow the gzip data.
    #[error("{bytes} bytes follow the compressed data; a package has nothing after it")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// Something follows the end marker inside the archive.
    #[error("the archive has bytes other than zero after its end; build it again with `purlin app build`")]
    GarbageAfterEnd,
    /// The bytes that fill a file's last block are not zero.
    #[error("the archive has bytes other than zero between its files, after {}; build it again with `purlin app build`", Shown(.path))]
    GarbageInPadding {
        /// The file before.
        path: String,
    },
    /// More than [`PACKAGE_ENTRIES_MAX`] files.
    #[error("the package has more than {PACKAGE_ENTRIES_MAX} files; bundle some of them")]
    TooManyEntries,
    /// A header that is not POSIX ustar.
    #[error("entry {entry} is not in ustar format; use `purlin app build`, or `tar --format=ustar`")]
    NotUstar {
        /// Its number, from 1.
        entry: usize,
    },
    /// A header whose sum does not match.
    #[error(
        "the header of entry {entry} is damaged: its checksum says {stated}, its bytes add up to {computed}; build the package again"
    )]
    HeaderChecksum {
        /// Its number, from 1.
        entry: usize,
        /// Sum in the header.
        stated: u64,
        /// Sum of the bytes.
        computed: u64,
    },
    /// A header field that cannot be read, or has bytes that nothing would check.
    #[error("the header of entry {entry} has a malformed {field}; build the package again")]
    BadHeader {
        /// Its number, from 1.
        entry: usize,
        /// Which field.
        field: &'static str,
    },
    /// A hard or symbolic link.
    #[error("{} is a {kind} link; a package holds regular files only, so pack a copy", Shown(.path))]
    Link {
        /// Its path.
        path: String,
        /// `hard` or `symbolic`.
        kind: &'static str,
    },
    /// A device or pipe.
    #[error("{} is a {kind}; a package holds regular files only, so leave it out", Shown(.path))]
    Device {
        /// Its path.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// A folder: implied by the files in it, and not covered by any hash.
    #[error("{} is a folder entry; a package lists files only, so use `purlin app build` or `tar --no-recursion`", Shown(.path))]
    Folder {
        /// Its path.
        path: String,
    },
    /// A sparse file.
    #[error("{} is a sparse file; a package holds regular files only, so pack a full copy", Shown(.path))]
    Sparse {
        /// Its path.
        path: String,
    },
    /// A PAX header.
    #[error("entry {entry} is a PAX header; use `purlin app build`, or `tar --format=ustar`")]
    PaxExtension {
        /// Its number, from 1.
        entry: usize,
    },
    /// Something only GNU tar knows.
    #[error("entry {entry} uses a GNU extension ({what}); use `purlin app build`, or `tar --format=ustar`")]
    GnuExtension {
        /// Its number, from 1.
        entry: usize,
        /// Which.
        what: &'static str,
    },
    /// A type that no standard names.
    #[error("{} has the entry type {found:#04x}; a package holds regular files only", Shown(.path))]
    EntryType {
        /// Its path.
        path: String,
        /// The type byte.
        found: u8,
    },
    /// A path that may not be there.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The same path twice.
    #[error("{} is in the package twice; pack it once", Shown(.path))]
    Duplicate {
        /// The path.
        path: String,
    },
    /// Two paths that some file systems take for one. Only ASCII letters are compared: the rule must not
    /// change with a Unicode version.
    #[error("{} and {} differ only in upper and lower case; rename one", Shown(.path), Shown(.other))]
    CaseCollision {
        /// The later path.
        path: String,
        /// The earlier path.
        other: String,
    },
    /// A path that is a file and also a folder of another.
    #[error("{} is a file, and {} is inside it; rename one", Shown(.file), Shown(.inner))]
    FileAndFolder {
        /// The file.
        file: String,
        /// The path below it.
        inner: String,
    },
    /// A file with a cap of its own.
    #[error("{} has {bytes} bytes; at most {max} are allowed", Shown(.path))]
    FileTooLarge {
        /// Its path.
        path: String,
        /// Its size.
        bytes: u64,
        /// Its cap.
        max: usize,
    },
}

/// Reads all files of an archive.
/// Unpacks at most `unpacked_bytes_max`. Also returns how many bytes were unpacked, whether they are right or not.
pub(crate) fn read_archive(bytes: &[u8], unpacked_bytes_max: usize) -> (usize, Result<Files, ArchiveError>) {
    match Inflate::open(bytes, unpacked_bytes_max.min(PACKAGE_UNPACKED_BYTES_MAX)) {
        Ok(mut stream) => {
            let files = read_files(&mut stream);
            (stream.unpacked_bytes, files)
        }
        Err(error) => (0, Err(error)),
    }
}

fn read_files(stream: &mut Inflate<'_>) -> Result<Files, ArchiveError> {
    let mut files = Files::new();
    let mut paths = Paths::default();
    loop {
        let mut block = [0; BLOCK_BYTES];
        stream.fill(&mut block, "an entry's header")?;
        if is_zero(&block) {
            break;
        }
        let entry = files.len() + 1;
        if entry > PACKAGE_ENTRIES_MAX {
            return Err(ArchiveError::TooManyEntries);
        }
        let header = Header::parse(&block, entry)?;
        let path = check_path(&header.path)?;
        paths.claim(path)?;
        let content = stream.content(path, header.size_bytes)?;
        files.insert(path.to_owned(), content);
    }
    let mut block = [0; BLOCK_BYTES];
    stream.fill(&mut block, "the end marker")?;
    if !is_zero(&block) {
        return Err(ArchiveError::GarbageAfterEnd);
    }
    stream.finish()?;
    Ok(files)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Returns the cap of a file that has one of its own.
pub(crate) fn file_bytes_max(path: &str) -> usize {
    match path {
        MANIFEST_PATH => MANIFEST_BYTES_MAX,
        WASM_PATH => WASM_BYTES_MAX,
        SIGNATURE_PATH => SIGNATURE_BYTES,
        _ => PACKAGE_UNPACKED_BYTES_MAX,
    }
}

/// Paths seen so far: no two may be one on any file system.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paths {
    /// Lower-case form -> form as written.
    folded: BTreeMap<String, String>,
    /// Lower-case folders -> a file in each.
    folders: BTreeMap<String, String>,
    exact: BTreeSet<String>,
}

impl Paths {
    /// Adds a path, or says with which earlier one it collides.
    pub(crate) fn claim(&mut self, path: &str) -> Result<(), ArchiveError> {
        if !self.exact.insert(path.to_owned()) {
            return Err(ArchiveError::Duplicate { path: path.to_owned() });
        }
        let folded = path.to_ascii_lowercase();
        if let Some(other) = self.folded.get(&folded) {
            return Err(ArchiveError::CaseCollision { path: path.to_owned(), other: other.clone() });
        }
        if let Some(inner) = self.folders.get(&folded) {
            return Err(ArchiveError::FileAndFolder { file: path.to_owned(), inner: inner.clone() });
        }
        for (slash, _) in folded.match_indices('/') {
            if let Some(file) = self.folded.get(&folded[..slash]) {
                return Err(ArchiveError::FileAndFolder { file: file.clone(), inner: path.to_owned() });
            }
            self.folders.entry(folded[..slash].to_owned()).or_insert_with(|| path.to_owned());
        }
        self.folded.insert(folded, path.to_owned());
        Ok(())
    }
}

/// Decompresses one gzip member under the limits.
struct Inflate<'a> {
    decoder: GzDecoder<&'a [u8]>,
    compressed_bytes: usize,
    unpacked_bytes: usize,
    unpacked_bytes_max: usize,
}

impl<'a> Inflate<'a> {
    fn open(bytes: &'a [u8], unpacked_bytes_max: usize) -> Result<Self, ArchiveError> {
        if bytes.len() > PACKAGE_BYTES_MAX {
            return Err(ArchiveError::CompressedTooLarge { bytes: bytes.len() });
        }
        if !bytes.starts_with(&GZIP_MAGIC) || bytes.get(2).is_some_and(|method| *method != GZIP_DEFLATE) {
            return Err(ArchiveError::NotGzip);
        }
        if bytes.len() < GZIP_HEADER_BYTES {
            return Err(ArchiveError::Truncated { inside: "the gzip header" });
        }
        if bytes[3] != 0 {
            return Err(ArchiveError::GzipFields { flags: bytes[3] });
        }
        let (decoder, compressed_bytes) = (GzDecoder::new(bytes), bytes.len());
        Ok(Self { decoder, compressed_bytes, unpacked_bytes: 0, unpacked_bytes_max })
    }

    /// Fills as much of `buffer` as there is and returns how much.
    fn read(&mut self, buffer: &mut [u8], inside: &'static str) -> Result<usize, ArchiveError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.decoder.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(ArchiveError::Truncated { inside });
                }
                Err(error) => return Err(ArchiveError::BadGzip { reason: error.to_string() }),
            }
        }
        self.unpacked_bytes += filled;
        if self.unpacked_bytes > self.unpacked_bytes_max {
            return Err(ArchiveError::UnpackedTooLarge);
        }
        if self.unpacked_bytes > self.compressed_bytes.saturating_mul(PACKAGE_RATIO_MAX) {
            return Err(ArchiveError::RatioTooHigh { compressed_bytes: self.compressed_bytes });
        }
        Ok(filled)
    }

    fn fill(&mut self, buffer: &mut [u8], inside: &'static str) -> Result<(), ArchiveError> {
        if self.read(buffer, inside)? < buffer.len() {
            return Err(ArchiveError::Truncated { inside });
        }
        Ok(())
    }

    fn content(&mut self, path: &str, size_bytes: u64) -> Result<Vec<u8>, ArchiveError> {
        let max = file_bytes_max(path);
        if size_bytes > (PACKAGE_UNPACKED_BYTES_MAX - self.unpacked_bytes) as u64 {
            return Err(ArchiveError::UnpackedTooLarge);
        }
        if size_bytes > max as u64 {
            return Err(ArchiveError::FileTooLarge { path: path.to_owned(), bytes: size_bytes, max });
        }
        let size_bytes = size_bytes as usize;
        let mut content = Vec::with_capacity(size_bytes.min(CHUNK_BYTES));
        while content.len() < size_bytes {
            let start = content.len();
            content.resize(size_bytes.min(start + CHUNK_BYTES), 0);
            self.fill(&mut content[start..], "a file's content")?;
        }
        let mut padding = [0; BLOCK_BYTES];
        let padding = &mut padding[..padding_bytes(size_bytes)];
        self.fill(padding, "a file's padding")?;
        if !is_zero(padding) {
            return Err(ArchiveError::GarbageInPadding { path: path.to_owned() });
        }
        Ok(content)
    }

    /// Checks that nothing but zeros follows inside, and nothing at all outside.
    fn finish(&mut self) -> Result<(), ArchiveError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = self.read(&mut chunk, "the gzip trailer")?;
            if !is_zero(&chunk[..count]) {
                return Err(ArchiveError::GarbageAfterEnd);
            }
            if count < chunk.len() {
                break;
            }
        }
        let rest = *self.decoder.get_ref();
        match rest {
            [] => Ok(()),
            _ if rest.starts_with(&GZIP_MAGIC) => Err(ArchiveError::SecondMember),
            _ => Err(ArchiveError::TrailingBytes { bytes: rest.len() }),
        }
    }
}
