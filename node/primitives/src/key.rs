//! secp256k1 keys. Nothing signs raw bytes: each purpose is a method with a domain of its own.

use borsh::{BorshDeserialize, BorshSerialize};
use k256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use k256::ecdsa::{SigningKey, VerifyingKey};
use purlin_abi::{AccountId, Hash32};
use sha3::{Digest, Keccak256};
use std::fmt;

use crate::transaction::{Transaction, TransactionBody};
use crate::vote::{BlockProposal, SignedProposal, SignedVote, Vote};

/// Says why bytes are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Zero, or not below the group order.
    #[error("not a secp256k1 secret key; expected 32 bytes that make a number from 1 to the group order")]
    Secret,
    /// Not a compressed point of the curve.
    #[error("not a secp256k1 public key; expected 33 bytes that start with 02 or 03 and lie on the curve")]
    Public,
}

/// A compressed secp256k1 point, 33 bytes; not checked until used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct PublicKey([u8; 33]);

/// A compact signature, `r || s`, 64 bytes; `s` must be in the lower half, so that it cannot be altered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Wraps raw bytes, not checked until used.
    pub const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// Returns the raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("0x")?;
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl PublicKey {
    /// Wraps a compressed point after checking that it is one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let array: [u8; 33] = bytes.try_into().map_err(|_| KeyError::Public)?;
        let key = Self(array);
        key.point()?;
        Ok(key)
    }

    /// Returns the compressed point.
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }

    /// Returns the account this key owns. Panics only on a key that was decoded but never checked and is no
    /// point; use [`PublicKey::try_account_id`] for those.
    pub fn account_id(&self) -> AccountId {
        self.try_account_id().expect("the key was checked")
    }

    /// Returns the account this key owns, or why it owns none.
    pub fn try_account_id(&self) -> Result<AccountId, KeyError> {
        Ok(account_of(&self.point()?))
    }

    fn point(&self) -> Result<VerifyingKey, KeyError> {
        // SEC1 readers also take the compact tag 05; a key has one encoding, so that a transaction has one.
        if !matches!(self.0[0], 2 | 3) {
            return Err(KeyError::Public);
        }
        VerifyingKey::from_sec1_bytes(&self.0).map_err(|_| KeyError::Public)
    }

    /// Checks a signature over a digest and returns the account, at one decompression for both.
    pub(crate) fn verify_digest(&self, digest: &Hash32, signature: &Signature) -> Option<AccountId> {
        let point = self.point().ok()?;
        let signature = k256::ecdsa::Signature::from_slice(&signature.0).ok()?;
        // k256 accepts both halves; one form only, so that a transaction has one encoding.
        if signature.normalize_s() != signature {
            return None;
        }
        point.verify_prehash(digest.as_bytes(), &signature).ok()?;
        Some(account_of(&point))
    }
}

fn account_of(point: &VerifyingKey) -> AccountId {
    let uncompressed = point.to_sec1_point(false);
    let hash = Keccak256::digest(&uncompressed.as_bytes()[1..]);
    AccountId::new(hash[12..].try_into().expect("32 - 12 is 20"))
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl std::str::FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if digits.len() != 66 || !digits.is_ascii() {
            return Err(KeyError::Public);
        }
        let mut bytes = [0; 33];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte =
                u8::from_str_radix(&digits[index * 2..index * 2 + 2], 16).map_err(|_| KeyError::Public)?;
        }
        Self::from_bytes(&bytes)
    }
}

impl serde::Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A secp256k1 secret; wiped from memory when dropped, never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Reads 32 big-endian bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        SigningKey::from_slice(bytes).map(Self).map_err(|_| KeyError::Secret)
    }

    /// Returns the 32 big-endian bytes, wiped when dropped.
    pub fn to_bytes(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes().into())
    }

    /// Returns the public half.
    pub fn public_key(&self) -> PublicKey {
        let point = self.0.verifying_key().to_sec1_point(true);
        PublicKey(point.as_bytes().try_into().expect("a compressed point has 33 bytes"))
    }

    /// Signs a transaction.
    pub fn sign_transaction(&self, body: TransactionBody) -> Transaction {
        let signature = self.sign_digest(body.id().hash());
        Transaction { body, public_key: self.public_key(), signature }
    }

    /// Signs a vote. Callers record it durably first (DESIGN 1.4).
    pub fn sign_vote(&self, vote: Vote) -> SignedVote {
        let signature = self.sign_digest(&vote.signing_hash());
        SignedVote { vote, public_key: self.public_key(), signature }
    }

    /// Signs a proposal. Callers record it durably first.
    pub fn sign_proposal(&self, proposal: BlockProposal) -> SignedProposal {
        let signature = self.sign_digest(&proposal.signing_hash());
        SignedProposal { proposal, public_key: self.public_key(), signature }
    }

    fn sign_digest(&self, digest: &Hash32) -> Signature {
        let signature: k256::ecdsa::Signature =
            self.0.sign_prehash(digest.as_bytes()).expect("RFC 6979 signing of 32 bytes cannot fail");
        Signature(signature.normalize_s().to_bytes().into())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_has_one_encoding() {
        let key = SecretKey::from_bytes(&[7; 32]).unwrap().public_key();
        assert!(PublicKey::from_bytes(key.as_bytes()).is_ok());
        let mut compact = *key.as_bytes();
        compact[0] = 5;
        assert_eq!(PublicKey::from_bytes(&compact), Err(KeyError::Public));
        assert!(PublicKey(compact).try_account_id().is_err());
    }
}
