//! Strict decoding: a version byte, counts checked before anything is allocated, nothing left over.

use borsh::io::{Error, ErrorKind, Read, Result};
use borsh::{BorshDeserialize, BorshSerialize};
use purlin_primitives::Certificate;

use crate::limits::{PROTOCOL_VERSION, SIGNATURES_MAX};

/// Says why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than any message of the kind may have.
    #[error("the message has {size_bytes} bytes; at most {max_bytes} are allowed")]
    TooLarge {
        /// Found.
        size_bytes: usize,
        /// Allowed.
        max_bytes: usize,
    },
    /// Of another version of the protocol, or empty.
    #[error("the message has protocol version {found:?}; this node speaks {PROTOCOL_VERSION}")]
    Version {
        /// The first byte.
        found: Option<u8>,
    },
    /// Not borsh of a message, over a cap, or followed by other bytes.
    #[error("the message is malformed: {reason}")]
    Malformed {
        /// What the decoder found.
        reason: String,
    },
}

/// Returns `version || borsh`.
pub(crate) fn encode<T: BorshSerialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![PROTOCOL_VERSION];
    value.serialize(&mut bytes).expect("writing to memory cannot fail");
    bytes
}

/// Reads what [`encode`] writes.
pub(crate) fn decode<T: BorshDeserialize>(
    bytes: &[u8],
    max_bytes: usize,
) -> std::result::Result<T, DecodeError> {
    if bytes.len() > max_bytes {
        return Err(DecodeError::TooLarge { size_bytes: bytes.len(), max_bytes });
    }
    match bytes.split_first() {
        Some((&PROTOCOL_VERSION, rest)) => {
            T::try_from_slice(rest).map_err(|error| DecodeError::Malformed { reason: error.to_string() })
        }
        first => Err(DecodeError::Version { found: first.map(|(version, _)| *version) }),
    }
}

/// Reads a list of at most `MAX` entries.
pub(crate) fn list<R: Read, T: BorshDeserialize, const MAX: usize>(reader: &mut R) -> Result<Vec<T>> {
    let count = length::<R, MAX>(reader)?;
    // Entries are read one by one: a count that the bytes do not bear out allocates little.
    let mut list = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        list.push(T::deserialize_reader(reader)?);
    }
    Ok(list)
}

/// Reads at most `MAX` bytes.
pub(crate) fn bytes<R: Read, const MAX: usize>(reader: &mut R) -> Result<Vec<u8>> {
    const STEP: usize = 64 * 1024;
    let count = length::<R, MAX>(reader)?;
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let start = bytes.len();
        bytes.resize(count.min(start + STEP), 0);
        reader.read_exact(&mut bytes[start..])?;
    }
    Ok(bytes)
}

/// Reads a list of at most `MAX` pieces of at most `BYTES_MAX` bytes.
pub(crate) fn pieces<R: Read, const MAX: usize, const BYTES_MAX: usize>(
    reader: &mut R,
) -> Result<Vec<Vec<u8>>> {
    let count = length::<R, MAX>(reader)?;
    let mut list = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        list.push(bytes::<R, BYTES_MAX>(reader)?);
    }
    Ok(list)
}

/// Reads a certificate with at most [`SIGNATURES_MAX`] signatures.
pub(crate) fn certificate<R: Read>(reader: &mut R) -> Result<Option<Certificate>> {
    let certificate = Option::<Certificate>::deserialize_reader(reader)?;
    match &certificate {
        Some(certificate) if certificate.signatures.len() > SIGNATURES_MAX => {
            Err(fault(format!("{} signatures; at most {SIGNATURES_MAX}", certificate.signatures.len())))
        }
        _ => Ok(certificate),
    }
}

fn length<R: Read, const MAX: usize>(reader: &mut R) -> Result<usize> {
    let count = u32::deserialize_reader(reader)? as usize;
    if count > MAX { Err(fault(format!("{count} entries; at most {MAX}"))) } else { Ok(count) }
}

fn fault(reason: String) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}
