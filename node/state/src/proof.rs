//! Proofs of state that stand on their own: a value, the way to a block header, and who signed that.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_primitives::{
    BlockHeader, BlockId, Certificate, CertificateError, ChainId, Height, TimestampMs, ValidatorSet,
};

use crate::tree::{TreeProof, TreeProofError};

/// Shows what state held under one key when a block began: `header.state_root` is the root of the state that the
/// block's parent left behind.
///
/// Borsh is the form to exchange; JSON is the same with bytes as `0x` hex and the certificate as hex of its
/// borsh form. Every byte of either is bound: what is changed anywhere is refused.
#[derive(
    Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, serde::Serialize, serde::Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct StateProof {
    /// The whole state key; see [`crate::StateKey`].
    #[serde(with = "hex_bytes")]
    pub key: Vec<u8>,
    /// The value; `None` when there is none, which is proven as well.
    #[serde(with = "hex_option")]
    pub value: Option<Vec<u8>>,
    /// The way to the header's root.
    pub path: TreeProof,
    /// Header of the block before which state was so.
    pub header: BlockHeader,
    /// Signatures of the header; needed by [`Trust::Validators`].
    #[serde(with = "hex_certificate")]
    pub certificate: Option<Certificate>,
}

/// What the reader of a proof believes already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// That this block is part of the chain.
    Block(BlockId),
    /// That more than two thirds of these validators' power sign nothing but blocks of this chain.
    Validators(ValidatorSet, ChainId),
}

/// What a proof shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedValue {
    /// The state key.
    pub key: Vec<u8>,
    /// What is under it; `None` for nothing.
    pub value: Option<Vec<u8>>,
    /// Height after whose block state was so: one below the header's.
    pub height: Height,
    /// The block whose header names the root.
    pub block: BlockId,
    /// That block's time.
    pub block_time: TimestampMs,
}

/// Says why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a proof at all.
    #[error("the bytes are not a state proof: {reason}")]
    Malformed {
        /// What the decoder said.
        reason: String,
    },
    /// The path does not lead to the header.
    #[error("the value does not belong to block {block}: {source}")]
    Path {
        /// The header's block.
        block: BlockId,
        /// Why.
        source: TreeProofError,
    },
    /// The header is of another block than the trusted one.
    #[error("the proof is against block {found}; the trusted block is {trusted}")]
    OtherBlock {
        /// In the proof.
        found: BlockId,
        /// Trusted.
        trusted: BlockId,
    },
    /// The header is of another chain.
    #[error("the proof is of chain {found}; expected {expected}")]
    OtherChain {
        /// In the proof.
        found: ChainId,
        /// Trusted.
        expected: ChainId,
    },
    /// Signatures are needed and not there.
    #[error("the proof has no certificate; only one who trusts block {block} by its id can check it")]
    NoCertificate {
        /// The header's block.
        block: BlockId,
    },
    /// The certificate is about another block.
    #[error("the certificate is of block {certified} at height {height}, not of block {block}")]
    OtherCertificate {
        /// What was signed.
        certified: BlockId,
        /// Its height.
        height: Height,
        /// The header's block.
        block: BlockId,
    },
    /// The certificate does not hold.
    #[error("the certificate of block {block} does not hold: {source}")]
    Certificate {
        /// The header's block.
        block: BlockId,
        /// Why.
        source: CertificateError,
    },
}

impl StateProof {
    /// Reads the borsh form; nothing may follow it.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        Self::try_from_slice(bytes).map_err(|error| ProofError::Malformed { reason: error.to_string() })
    }

    /// Returns the borsh form.
    pub fn encode(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("writing to memory cannot fail")
    }

    /// Checks everything in the proof against what is trusted. Needs no node; about 10 us, and 100 us per
    /// signature. A certificate is checked even where trust does not need it.
    pub fn verify(&self, trust: &Trust) -> Result<VerifiedValue, ProofError> {
        let block = self.header.id();
        match trust {
            Trust::Block(trusted) if *trusted != block => {
                return Err(ProofError::OtherBlock { found: block, trusted: *trusted });
            }
            Trust::Block(_) => {}
            Trust::Validators(_, chain_id) if *chain_id != self.header.chain_id => {
                return Err(ProofError::OtherChain {
                    found: self.header.chain_id.clone(),
                    expected: chain_id.clone(),
                });
            }
            Trust::Validators(..) if self.certificate.is_none() => {
                return Err(ProofError::NoCertificate { block });
            }
            Trust::Validators(..) => {}
        }
        if let Some(certificate) = &self.certificate {
            self.verify_certificate(certificate, block, trust)?;
        }
        self.path
            .verify(&self.header.state_root, &self.key, self.value.as_deref())
            .map_err(|source| ProofError::Path { block, source })?;
        Ok(VerifiedValue {
            key: self.key.clone(),
            value: self.value.clone(),
            height: Height::new(self.header.height.get().saturating_sub(1)),
            block,
            block_time: self.header.time,
        })
    }

    fn verify_certificate(
        &self,
        certificate: &Certificate,
        block: BlockId,
        trust: &Trust,
    ) -> Result<(), ProofError> {
        if !certificate.is_for(&self.header) {
            return Err(ProofError::OtherCertificate {
                certified: certificate.block,
                height: certificate.height,
                block,
            });
        }
        // Without a signature its round would be bound by nothing.
        if certificate.signatures.is_empty() {
            return Err(ProofError::NoCertificate { block });
        }
        let held = match trust {
            Trust::Validators(validators, chain_id) => certificate.verify(chain_id, validators),
            Trust::Block(_) => certificate.verify_signatures(&self.header.chain_id),
        };
        held.map_err(|source| ProofError::Certificate { block, source })
    }
}

/// Bytes as `0x` and hexadecimal digits.
mod hex_bytes {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn to_text(bytes: &[u8]) -> String {
        use std::fmt::Write;
        let mut text = String::with_capacity(2 + bytes.len() * 2);
        text.push_str("0x");
        for byte in bytes {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        text
    }

    /// Reads lower-case digits only, so that a proof has one JSON form.
    pub(super) fn from_text(text: &str) -> Option<Vec<u8>> {
        let digits = text.strip_prefix("0x")?.as_bytes();
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let (pairs, odd) = digits.as_chunks::<2>();
        if !odd.is_empty() {
            return None;
        }
        pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?)).collect()
    }

    pub(super) fn parse<E: Error>(text: &str) -> Result<Vec<u8>, E> {
        from_text(text)
            .ok_or_else(|| E::custom("expected 0x and an even number of lower-case hexadecimal digits"))
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_text(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        parse(&String::deserialize(deserializer)?)
    }
}

mod hex_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.as_deref().map(super::hex_bytes::to_text).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|text| super::hex_bytes::parse(&text)).transpose()
    }
}

mod hex_certificate {
    use borsh::BorshDeserialize;
    use purlin_primitives::Certificate;
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        certificate: &Option<Certificate>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let bytes = certificate
            .as_ref()
            .map(|certificate| borsh::to_vec(certificate).expect("writing to memory cannot fail"));
        super::hex_option::serialize(&bytes, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Certificate>, D::Error> {
        let bytes = super::hex_option::deserialize(deserializer)?;
        bytes
            .map(|bytes| Certificate::try_from_slice(&bytes))
            .transpose()
            .map_err(|error| D::Error::custom(format!("not a certificate: {error}")))
    }
}
