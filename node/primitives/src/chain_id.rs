//! The name of a chain.

use borsh::{BorshDeserialize, BorshSerialize};
use std::fmt;
use std::str::FromStr;

/// Names a chain, `[a-z][a-z0-9-]{0,31}`; part of every signature, so nothing can be replayed elsewhere.
#[derive(Clone, PartialEq, Eq, Hash, BorshSerialize)]
pub struct ChainId(String);

/// Says that a text is not a chain id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a chain id; expected 1 to 32 of a-z, 0-9 and '-', starting with a letter")]
pub struct ParseChainIdError {
    /// What was read.
    pub text: String,
}

impl ChainId {
    /// Most characters.
    pub const LENGTH_MAX: usize = 32;

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChainId {
    type Err = ParseChainIdError;

    fn from_str(text: &str) -> Result<Self, ParseChainIdError> {
        let valid = text.len() <= Self::LENGTH_MAX
            && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
            && text.bytes().next().is_some_and(|c| c.is_ascii_lowercase());
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(ParseChainIdError { text: text.chars().take(64).collect() })
        }
    }
}

impl BorshDeserialize for ChainId {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let invalid = || borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, "bad chain id");
        let length = u32::deserialize_reader(reader)? as usize;
        if length > Self::LENGTH_MAX {
            return Err(invalid());
        }
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| invalid())?.parse().map_err(|_| invalid())
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for ChainId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for ChainId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
