//! The one archive format: POSIX ustar, regular files only.
//!
//! ```text
//! offset size  field      written                     accepted
//!      0  100  name       path, or its last part      bytes up to the first NUL, then only NUL
//!    100    8  mode       0000644 NUL                 anything
//!    108    8  uid        0000000 NUL                 anything
//!    116    8  gid        0000000 NUL                 anything
//!    124   12  size       11 octal digits NUL         octal digits, then NUL or blanks
//!    136   12  mtime      00000000000 NUL             anything
//!    148    8  checksum   6 octal digits NUL blank    octal digits, then NUL or blanks; must be right
//!    156    1  type       '0'                         '0' or NUL
//!    157  100  link name  NUL                         NUL
//!    257    6  magic      "ustar" NUL                 the same
//!    263    2  version    "00"                        the same
//!    265   80  owner, group, device numbers: NUL      anything
//!    345  155  prefix     path before the name        as name
//!    500   12  padding    NUL                         NUL
//! ```
//! Each header is followed by the content, padded with NUL to 512 bytes; two blocks of NUL end the archive.

use crate::archive::ArchiveError;
use crate::path::PathError;

/// Unit of the format, in bytes.
pub(crate) const BLOCK_BYTES: usize = 512;

const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const UID: std::ops::Range<usize> = 108..116;
const GID: std::ops::Range<usize> = 116..124;
const SIZE: std::ops::Range<usize> = 124..136;
const MTIME: std::ops::Range<usize> = 136..148;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
const LINK_NAME: std::ops::Range<usize> = 157..257;
const MAGIC: std::ops::Range<usize> = 257..263;
const VERSION: std::ops::Range<usize> = 263..265;
const PREFIX: std::ops::Range<usize> = 345..500;
const PADDING: std::ops::Range<usize> = 500..512;

/// What a package uses of a header.
#[derive(Debug)]
pub(crate) struct Header {
    /// Path as written; not checked.
    pub(crate) path: Vec<u8>,
    /// Bytes of content.
    pub(crate) size_bytes: u64,
}

impl Header {
    /// Reads the header of entry `entry` (counted from 1), which must be a plain regular file.
    pub(crate) fn parse(block: &[u8; BLOCK_BYTES], entry: usize) -> Result<Self, ArchiveError> {
        let stated = octal(&block[CHECKSUM]).ok_or(ArchiveError::BadHeader { entry, field: "checksum" })?;
        let computed = checksum(block);
        if stated != computed {
            return Err(ArchiveError::HeaderChecksum { entry, stated, computed });
        }
        match (&block[MAGIC], &block[VERSION]) {
            (b"ustar\0", b"00") => {}
            (b"ustar ", b" \0") => {
                return Err(ArchiveError::GnuExtension { entry, what: "its own header format" });
            }
            _ => return Err(ArchiveError::NotUstar { entry }),
        }
        let path = path_bytes(block, entry)?;
        let shown = || String::from_utf8_lossy(&path).into_owned();
        match block[TYPE] {
            b'0' | 0 => {}
            b'1' => return Err(ArchiveError::Link { path: shown(), kind: "hard" }),
            b'2' => return Err(ArchiveError::Link { path: shown(), kind: "symbolic" }),
            b'3' => return Err(ArchiveError::Device { path: shown(), kind: "character device" }),
            b'4' => return Err(ArchiveError::Device { path: shown(), kind: "block device" }),
            b'5' => return Err(ArchiveError::Folder { path: shown() }),
            b'6' => return Err(ArchiveError::Device { path: shown(), kind: "named pipe" }),
            b'S' => return Err(ArchiveError::Sparse { path: shown() }),
            b'x' | b'g' => return Err(ArchiveError::PaxExtension { entry }),
            b'L' | b'K' => return Err(ArchiveError::GnuExtension { entry, what: "a long name" }),
            b'D' | b'M' | b'N' | b'V' => {
                return Err(ArchiveError::GnuExtension { entry, what: "an entry type" });
            }
            other => return Err(ArchiveError::EntryType { path: shown(), found: other }),
        }
        if block[SIZE][0] & 0x80 != 0 {
            return Err(ArchiveError::GnuExtension { entry, what: "a binary size" });
        }
        let size_bytes = octal(&block[SIZE]).ok_or(ArchiveError::BadHeader { entry, field: "size" })?;
        for (field, range) in [("link name", LINK_NAME), ("padding", PADDING)] {
            if block[range].iter().any(|byte| *byte != 0) {
                return Err(ArchiveError::BadHeader { entry, field });
            }
        }
        Ok(Self { path, size_bytes })
    }

    /// Writes the header of a regular file: no time, no owner, mode 0644.
    pub(crate) fn encode(path: &str, size_bytes: usize) -> Result<[u8; BLOCK_BYTES], PathError> {
        let (prefix, name) = split(path).ok_or_else(|| PathError::Unsplittable { path: path.to_owned() })?;
        let mut block = [0; BLOCK_BYTES];
        let mut put = |range: std::ops::Range<usize>, bytes: &[u8]| {
            block[range.start..range.start + bytes.len()].copy_from_slice(bytes);
        };
        put(NAME, name.as_bytes());
        put(MODE, b"0000644");
        put(UID, b"0000000");
        put(GID, b"0000000");
        put(SIZE, format!("{size_bytes:011o}").as_bytes());
        put(MTIME, b"00000000000");
        put(TYPE..TYPE + 1, b"0");
        put(MAGIC, b"ustar\0");
        put(VERSION, b"00");
        put(PREFIX, prefix.as_bytes());
        let sum = format!("{:06o}\0 ", checksum(&block));
        block[CHECKSUM].copy_from_slice(sum.as_bytes());
        Ok(block)
    }
}

/// Bytes that fill the last block of a content.
pub(crate) fn padding_bytes(size_bytes: usize) -> usize {
    size_bytes.next_multiple_of(BLOCK_BYTES) - size_bytes
}

/// Splits a path into prefix and name, the shortest prefix that works.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= NAME.len() {
        return Some(("", path));
    }
    path.match_indices('/')
        .map(|(slash, _)| (&path[..slash], &path[slash + 1..]))
        .find(|(prefix, name)| prefix.len() <= PREFIX.len() && name.len() <= NAME.len())
}

/// Sums the header's bytes, its checksum field taken as blanks.
fn checksum(block: &[u8; BLOCK_BYTES]) -> u64 {
    let blanks = CHECKSUM.len() as u64 * u64::from(b' ');
    let others = block[..CHECKSUM.start].iter().chain(&block[CHECKSUM.end..]);
    blanks + others.map(|byte| u64::from(*byte)).sum::<u64>()
}

/// Reads octal digits that are followed only by NUL or blanks; at least one digit.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    if digits == 0 || !field[digits..].iter().all(|byte| matches!(byte, 0 | b' ')) {
        return None;
    }
    // At most 12 digits of 3 bits: never overflows.
    Some(field[..digits].iter().fold(0, |sum, digit| sum * 8 + u64::from(digit - b'0')))
}

fn path_bytes(block: &[u8; BLOCK_BYTES], entry: usize) -> Result<Vec<u8>, ArchiveError> {
    let name = text(&block[NAME]).ok_or(ArchiveError::BadHeader { entry, field: "name" })?;
    let prefix = text(&block[PREFIX]).ok_or(ArchiveError::BadHeader { entry, field: "prefix" })?;
    if prefix.is_empty() {
        return Ok(name.to_vec());
    }
    Ok([prefix, b"/", name].concat())
}

/// Returns the bytes before the first NUL, if only NUL follows.
fn text(field: &[u8]) -> Option<&[u8]> {
    let length = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    field[length..].iter().all(|byte| *byte == 0).then_some(&field[..length])
}
