//! What validators tell each other, and how it is written.
//!
//! ```text
//! message = version (u8, 1) | borsh(Message)
//! ```

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_primitives::{
    BlockId, BlockSignature, ChainId, Height, PublicKey, Signature, SignedProposal, SignedVote,
    VALIDATORS_MAX, Vote, VoteKind,
};

/// Longest message: a round certificate with a vote of every validator has 256 times 132 bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

const VERSION: u8 = 1;

/// Shows that two thirds prevoted a block in one round.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct PolkaCertificate {
    pub(crate) height: Height,
    pub(crate) round: u32,
    pub(crate) block: BlockId,
    pub(crate) signatures: Vec<BlockSignature>,
}

/// What a round certificate justifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub(crate) enum RoundReason {
    /// A third voted in this round: it is entered.
    Skip = 1,
    /// Two thirds precommitted in this round, and not the same: the next one is entered.
    Precommit = 2,
}

/// One vote of a round certificate.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct RoundVote {
    pub(crate) kind: VoteKind,
    pub(crate) block: Option<BlockId>,
    pub(crate) public_key: PublicKey,
    pub(crate) signature: Signature,
}

/// Shows that a round may be entered.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct RoundCertificate {
    pub(crate) height: Height,
    pub(crate) round: u32,
    pub(crate) reason: RoundReason,
    pub(crate) votes: Vec<RoundVote>,
}

impl PolkaCertificate {
    /// Returns the votes that it stands for.
    pub(crate) fn votes(&self, chain_id: &ChainId) -> impl Iterator<Item = SignedVote> {
        let vote = Vote {
            chain_id: chain_id.clone(),
            height: self.height,
            round: self.round,
            kind: VoteKind::Prevote,
            block: Some(self.block),
        };
        self.signatures.iter().map(move |signed| SignedVote {
            vote: vote.clone(),
            public_key: signed.public_key,
            signature: signed.signature,
        })
    }
}

impl RoundCertificate {
    /// Returns the votes that it stands for.
    pub(crate) fn votes(&self, chain_id: &ChainId) -> impl Iterator<Item = SignedVote> {
        self.votes.iter().map(|voted| SignedVote {
            vote: Vote {
                chain_id: chain_id.clone(),
                height: self.height,
                round: self.round,
                kind: voted.kind,
                block: voted.block,
            },
            public_key: voted.public_key,
            signature: voted.signature,
        })
    }
}

/// A message of the engine to the engines of others.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub(crate) enum Message {
    Vote(SignedVote) = 1,
    Proposal(SignedProposal) = 2,
    Polka(PolkaCertificate) = 3,
    Round(RoundCertificate) = 4,
}

/// Says why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("a message of {bytes} bytes; at most {MESSAGE_BYTES_MAX} are allowed")]
    TooLong { bytes: usize },
    #[error("message version {found}; this node speaks version {VERSION}")]
    Version { found: u8 },
    #[error("not a message: {detail}")]
    Malformed { detail: String },
    #[error("a certificate with {count} signatures; at most {VALIDATORS_MAX} are allowed")]
    TooManySignatures { count: usize },
}

impl Message {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        borsh::to_writer(&mut bytes, self).expect("writing to memory cannot fail");
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(DecodeError::TooLong { bytes: bytes.len() });
        }
        let (&found, body) =
            bytes.split_first().ok_or_else(|| DecodeError::Malformed { detail: "no bytes".to_owned() })?;
        if found != VERSION {
            return Err(DecodeError::Version { found });
        }
        let message: Self =
            borsh::from_slice(body).map_err(|error| DecodeError::Malformed { detail: error.to_string() })?;
        let count = match &message {
            Self::Vote(_) | Self::Proposal(_) => 0,
            Self::Polka(certificate) => certificate.signatures.len(),
            Self::Round(certificate) => certificate.votes.len(),
        };
        if count > VALIDATORS_MAX {
            return Err(DecodeError::TooManySignatures { count });
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use purlin_primitives::{BlockProposal, Hash32, SecretKey, hash_domain};

    fn messages() -> Vec<Message> {
        let key = SecretKey::from_bytes(&[7; 32]).unwrap();
        let chain_id: ChainId = "test".parse().unwrap();
        let (height, round, block) = (Height::new(3), 1, BlockId::new(Hash32::new([9; 32])));
        let vote =
            Vote { chain_id: chain_id.clone(), height, round, kind: VoteKind::Prevote, block: Some(block) };
        let proposal = BlockProposal { chain_id, height, round, block, valid_round: Some(0) };
        let signed = key.sign_vote(vote);
        let (public_key, signature) = (signed.public_key, signed.signature);
        vec![
            Message::Vote(signed.clone()),
            Message::Proposal(key.sign_proposal(proposal)),
            Message::Polka(PolkaCertificate { height, round, block, signatures: vec![signed.into()] }),
            Message::Round(RoundCertificate {
                height,
                round,
                reason: RoundReason::Skip,
                votes: vec![RoundVote { kind: VoteKind::Precommit, block: None, public_key, signature }],
            }),
        ]
    }

    #[test]
    fn messages_survive_the_way() {
        for message in messages() {
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    /// A change here makes nodes of different versions deaf to each other: raise the version.
    #[test]
    fn the_encoding_is_pinned() {
        let bytes: Vec<u8> = messages().iter().flat_map(Message::encode).collect();
        let hash = hash_domain("test", &bytes).to_string();
        assert_eq!(hash, "0xad577d22331712709bc4c0f431cf6bf5cd5e095c10bdc76363da70cec9150fc2");
    }

    #[test]
    fn what_is_no_message_is_named() {
        let good = messages()[0].encode();
        let mut longer = good.clone();
        longer.push(0);
        assert!(matches!(Message::decode(&longer), Err(DecodeError::Malformed { .. })));
        assert!(matches!(Message::decode(&[]), Err(DecodeError::Malformed { .. })));
        assert_eq!(Message::decode(&[2, 1]), Err(DecodeError::Version { found: 2 }));
        let bytes = MESSAGE_BYTES_MAX + 1;
        assert_eq!(Message::decode(&vec![1; bytes]), Err(DecodeError::TooLong { bytes }));
        let Message::Polka(mut polka) = messages().remove(2) else { unreachable!() };
        polka.signatures = vec![polka.signatures[0].clone(); VALIDATORS_MAX + 1];
        let count = VALIDATORS_MAX + 1;
        let bytes = Message::Polka(polka).encode();
        assert_eq!(Message::decode(&bytes), Err(DecodeError::TooManySignatures { count }));
    }

    #[test]
    fn the_largest_certificate_fits() {
        let Message::Round(mut round) = messages().remove(3) else { unreachable!() };
        round.votes[0].block = Some(BlockId::ZERO);
        round.votes = vec![round.votes[0].clone(); VALIDATORS_MAX];
        assert!(Message::Round(round).encode().len() <= MESSAGE_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn garbage_never_panics_and_has_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(message) = Message::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
        }

        #[test]
        fn damaged_messages_never_panic(which in 0usize..4, at in any::<proptest::sample::Index>(), to in any::<u8>()) {
            let mut bytes = messages()[which].encode();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(message) = Message::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
        }
    }
}
