//! Domain-separated hashing and the ids it makes.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_abi::{Hash32, ParseIdError};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// Returns SHA-256 of `len(domain) as u8 || domain || bytes`. Two purposes never share a domain, so bytes
/// signed or hashed for one can never be mistaken for the other.
pub fn hash_domain(domain: &'static str, bytes: &[u8]) -> Hash32 {
    let length = u8::try_from(domain.len()).expect("domains are short literals");
    let mut hasher = Sha256::new();
    hasher.update([length]);
    hasher.update(domain.as_bytes());
    hasher.update(bytes);
    Hash32::new(hasher.finalize().into())
}

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, BorshSerialize, BorshDeserialize)]
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(Hash32);

        impl $name {
            /// Thirty-two zero bytes.
            pub const ZERO: Self = Self(Hash32::ZERO);

            /// Wraps a hash that was computed for this purpose.
            pub const fn new(hash: Hash32) -> Self {
                Self(hash)
            }

            /// Returns the hash.
            pub const fn hash(&self) -> &Hash32 {
                &self.0
            }

            /// Returns the raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

hash_id!(
    /// Names a block: the hash of its header.
    BlockId
);
hash_id!(
    /// Names a transaction: the hash of its body, which is also what is signed.
    TransactionId
);
hash_id!(
    /// Names wasm code: plain SHA-256 of the module's bytes.
    CodeHash
);

impl CodeHash {
    /// Hashes a module.
    pub fn of(wasm: &[u8]) -> Self {
        Self(Hash32::new(Sha256::digest(wasm).into()))
    }
}
