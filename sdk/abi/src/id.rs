//! Identifiers and their text forms.

use alloc::string::String;
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};
use core::fmt;
use core::str::FromStr;

use crate::limits;

/// Says why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// Wrong number of characters.
    #[error("{kind} has {length} characters; expected {expected}")]
    Length {
        /// What was being read.
        kind: &'static str,
        /// Characters found.
        length: usize,
        /// What would have been right.
        expected: &'static str,
    },
    /// A character that may not appear there.
    #[error("{kind} has {character:?} at position {position}; expected {expected}")]
    Character {
        /// What was being read.
        kind: &'static str,
        /// The offending character.
        character: char,
        /// Its zero-based position in characters.
        position: usize,
        /// What would have been right.
        expected: &'static str,
    },
    /// The mixed-case checksum (EIP-55) does not match: most likely a typing mistake.
    #[error("account checksum does not match; check for a typing mistake, or write it all in lower case")]
    Checksum,
}

pub(crate) const HEX: &[u8; 16] = b"0123456789abcdef";

fn parse_hex(
    kind: &'static str,
    text: &str,
    out: &mut [u8],
    expected: &'static str,
) -> Result<(), ParseIdError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let offset = text.len() - digits.len();
    if digits.chars().count() != out.len() * 2 {
        return Err(ParseIdError::Length { kind, length: text.chars().count(), expected });
    }
    for (position, character) in digits.chars().enumerate() {
        let Some(value) = character.to_digit(16) else {
            return Err(ParseIdError::Character {
                kind,
                character,
                position: position + offset,
                expected: "hexadecimal digits",
            });
        };
        let byte = &mut out[position / 2];
        *byte = (*byte << 4) | value as u8;
    }
    Ok(())
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("0x")?;
    for byte in bytes {
        let pair = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        f.write_str(core::str::from_utf8(&pair).expect("hexadecimal digits are ASCII"))?;
    }
    Ok(())
}

/// Names an account: the last 20 bytes of Keccak-256 of an uncompressed secp256k1 public key, or of an
/// application's derived account.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, BorshSerialize, BorshDeserialize)]
pub struct AccountId([u8; 20]);

impl AccountId {
    /// Length in bytes.
    pub const LENGTH: usize = 20;
    /// The account nobody has the key of; burnt amounts go here.
    pub const ZERO: Self = Self([0; 20]);

    /// Wraps raw bytes.
    pub const fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Returns the raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl FromStr for AccountId {
    type Err = ParseIdError;

    /// Reads 40 hexadecimal digits with or without `0x`; mixed case must carry the right EIP-55 checksum.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let mut bytes = [0; 20];
        parse_hex("account", text, &mut bytes, "0x and 40 hexadecimal digits")?;
        #[cfg(feature = "std")]
        {
            let digits = text.strip_prefix("0x").unwrap_or(text);
            let mixed = digits.bytes().any(|c| c.is_ascii_uppercase())
                && digits.bytes().any(|c| c.is_ascii_lowercase());
            if mixed && checksum::digits(&bytes) != digits.as_bytes() {
                return Err(ParseIdError::Checksum);
            }
        }
        Ok(Self(bytes))
    }
}

#[cfg(feature = "std")]
mod checksum {
    use sha3::{Digest, Keccak256};

    /// Returns the 40 digits with EIP-55 capitalisation.
    pub(super) fn digits(bytes: &[u8; 20]) -> [u8; 40] {
        let mut out = [0; 40];
        for (index, byte) in bytes.iter().enumerate() {
            out[index * 2] = super::HEX[usize::from(byte >> 4)];
            out[index * 2 + 1] = super::HEX[usize::from(byte & 15)];
        }
        let hash = Keccak256::digest(out);
        for (index, digit) in out.iter_mut().enumerate() {
            let nibble = hash[index / 2] >> (if index % 2 == 0 { 4 } else { 0 }) & 15;
            if nibble >= 8 {
                digit.make_ascii_uppercase();
            }
        }
        out
    }
}

impl fmt::Display for AccountId {
    /// Writes `0x` and 40 digits: checksummed on the host, lower case in a guest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "std")]
        {
            let digits = checksum::digits(&self.0);
            f.write_str("0x")?;
            f.write_str(core::str::from_utf8(&digits).expect("hexadecimal digits are ASCII"))
        }
        #[cfg(not(feature = "std"))]
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Holds a 32-byte digest; the function that made it is said where it is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, BorshSerialize, BorshDeserialize)]
pub struct Hash32([u8; 32]);

impl Hash32 {
    /// Thirty-two zero bytes: "nothing before this".
    pub const ZERO: Self = Self([0; 32]);

    /// Wraps raw bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Hash32 {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let mut bytes = [0; 32];
        parse_hex("hash", text, &mut bytes, "0x and 64 hexadecimal digits")?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $min:expr, $max:expr, $first:expr, $rest:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps a name.
            pub fn new(text: impl Into<String>) -> Result<Self, ParseIdError> {
                let text = text.into();
                Self::check(&text)?;
                Ok(Self(text))
            }

            /// Returns the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn check(text: &str) -> Result<(), ParseIdError> {
                let length = text.chars().count();
                if !($min..=$max).contains(&length) {
                    return Err(ParseIdError::Length { kind: $kind, length, expected: $expected });
                }
                for (position, character) in text.chars().enumerate() {
                    let allowed: fn(char) -> bool = if position == 0 { $first } else { $rest };
                    if !allowed(character) {
                        return Err(ParseIdError::Character { kind: $kind, character, position, expected: $expected });
                    }
                }
                Ok(())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                Self::check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl BorshDeserialize for $name {
            fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
                // Reads at most the longest legal name, so that a forged length allocates nothing.
                let length = u32::deserialize_reader(reader)? as usize;
                if length > $max {
                    return Err(borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, concat!($kind, " is too long")));
                }
                let mut bytes: Vec<u8> = alloc::vec![0; length];
                reader.read_exact(&mut bytes)?;
                let text = String::from_utf8(bytes)
                    .map_err(|_| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, concat!($kind, " is not UTF-8")))?;
                Self::check(&text)
                    .map_err(|_| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, concat!($kind, " has a bad character or length")))?;
                Ok(Self(text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        #[cfg(feature = "json")]
        text_serde!($name);
    };
}

#[cfg(feature = "json")]
macro_rules! text_serde {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

#[cfg(feature = "json")]
text_serde!(AccountId);
#[cfg(feature = "json")]
text_serde!(Hash32);

name_id!(
    /// Names an application: `[a-z][a-z0-9-]{1,62}`. An upgrade keeps the name, the state and the callers.
    AppId, "app id", limits::APP_ID_LENGTH_MIN, limits::APP_ID_LENGTH_MAX,
    |c| c.is_ascii_lowercase(),
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-',
    "2 to 63 of a-z, 0-9 and '-', starting with a letter"
);

name_id!(
    /// Names a device: `[a-z0-9][a-z0-9._:-]{0,63}`.
    DeviceId, "device id", 1, limits::DEVICE_ID_LENGTH_MAX,
    |c| c.is_ascii_lowercase() || c.is_ascii_digit(),
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | ':' | '-'),
    "1 to 64 of a-z, 0-9, '.', '_', ':' and '-', starting with a letter or digit"
);

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn account_checksum_follows_eip_55() {
        // Vector from the text of EIP-55.
        let text = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
        let account: AccountId = text.parse().unwrap();
        assert_eq!(account.to_string(), text);
        assert_eq!(text.to_lowercase().parse::<AccountId>().unwrap(), account);
        let wrong = text.replace("5aAe", "5AAe");
        assert_eq!(wrong.parse::<AccountId>(), Err(ParseIdError::Checksum));
    }

    #[test]
    fn app_ids_are_checked_in_every_form() {
        for good in ["ab", "a-1", "smart-factory"] {
            assert_eq!(good.parse::<AppId>().unwrap().as_str(), good);
        }
        for bad in ["", "a", "1a", "Aa", "a_b", "a b", "é-app", &"a".repeat(64)] {
            assert!(bad.parse::<AppId>().is_err(), "{bad:?} must be refused");
            let bytes = borsh::to_vec(&bad.to_string()).unwrap();
            assert!(AppId::try_from_slice(&bytes).is_err(), "{bad:?} must be refused in borsh");
        }
    }

    #[test]
    fn a_forged_length_allocates_nothing() {
        assert!(AppId::try_from_slice(&[0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
