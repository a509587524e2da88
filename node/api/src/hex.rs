//! Bytes as hexadecimal text.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Bytes, in JSON `0x` and two hexadecimal digits each.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HexBytes(pub Vec<u8>);

/// Says why a text is not bytes in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseHexError {
    /// What is wrong.
    reason: &'static str,
}

impl fmt::Display for ParseHexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; expected 0x and an even number of hexadecimal digits", self.reason)
    }
}

impl std::error::Error for ParseHexError {}

impl HexBytes {
    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for HexBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for HexBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl FromStr for HexBytes {
    type Err = ParseHexError;

    fn from_str(text: &str) -> Result<Self, ParseHexError> {
        let digits = text.strip_prefix("0x").ok_or(ParseHexError { reason: "bytes do not start with 0x" })?;
        if digits.len() % 2 != 0 {
            return Err(ParseHexError { reason: "bytes have an odd number of digits" });
        }
        let digit = |character: u8| (character as char).to_digit(16).map(|value| value as u8);
        digits
            .as_bytes()
            .chunks_exact(2)
            .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
            .collect::<Option<Vec<u8>>>()
            .map(Self)
            .ok_or(ParseHexError { reason: "bytes have a character that is no hexadecimal digit" })
    }
}

impl fmt::Display for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(2 + self.0.len() * 2);
        text.push_str("0x");
        for byte in &self.0 {
            text.push(DIGITS[usize::from(byte >> 4)] as char);
            text.push(DIGITS[usize::from(byte & 15)] as char);
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl PartialSchema for HexBytes {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("Bytes as 0x and two hexadecimal digits each"))
            .pattern(Some("^0x([0-9a-fA-F]{2})*$"))
            .into()
    }
}

impl ToSchema for HexBytes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_refuses_the_rest() {
        let bytes = HexBytes((0..=255).collect());
        assert_eq!(bytes.to_string().parse(), Ok(bytes));
        assert_eq!("0x".parse(), Ok(HexBytes(Vec::new())));
        for bad in ["", "00", "0x0", "0xzz", "0x é", "0X00"] {
            assert!(bad.parse::<HexBytes>().is_err(), "{bad:?} must be refused");
        }
    }
}
