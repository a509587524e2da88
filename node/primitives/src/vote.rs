//! What validators sign: votes, proposals, and the proof that one of them signed two that exclude each other.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_abi::{AccountId, Hash32, Height};

use crate::{BlockId, ChainId, PublicKey, Signature, hash_domain};

/// Which of the two votes of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum VoteKind {
    /// "I saw a valid proposal of this block."
    Prevote = 1,
    /// "I saw two thirds prevote it." Two thirds of these make a block final.
    Precommit = 2,
}

impl std::fmt::Display for VoteKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Prevote => "prevote",
            Self::Precommit => "precommit",
        })
    }
}

/// One validator's opinion in one round.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Vote {
    /// For which chain.
    pub chain_id: ChainId,
    /// About which height.
    pub height: Height,
    /// Attempt at that height, from 0.
    pub round: u32,
    /// Which vote of the round.
    pub kind: VoteKind,
    /// Which block; `None` is the vote for no block in this round.
    pub block: Option<BlockId>,
}

impl Vote {
    /// Returns the digest that is signed.
    pub fn signing_hash(&self) -> Hash32 {
        hash_domain("purlin.vote.v1", &borsh::to_vec(self).expect("writing to memory cannot fail"))
    }
}

/// A vote and who cast it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedVote {
    /// What is signed.
    pub vote: Vote,
    /// Whose.
    pub public_key: PublicKey,
    /// Of [`Vote::signing_hash`].
    pub signature: Signature,
}

impl SignedVote {
    /// Checks the signature and returns the validator's account.
    pub fn verify(&self) -> Option<AccountId> {
        self.public_key.verify_digest(&self.vote.signing_hash(), &self.signature)
    }
}

/// A proposer's offer of one block for one round. The block itself travels beside it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BlockProposal {
    /// For which chain.
    pub chain_id: ChainId,
    /// For which height.
    pub height: Height,
    /// For which round.
    pub round: u32,
    /// Which block.
    pub block: BlockId,
    /// Earlier round in which two thirds prevoted this block, when it is proposed again.
    pub valid_round: Option<u32>,
}

impl BlockProposal {
    /// Returns the digest that is signed.
    pub fn signing_hash(&self) -> Hash32 {
        hash_domain("purlin.proposal.v1", &borsh::to_vec(self).expect("writing to memory cannot fail"))
    }
}

/// A proposal and who made it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedProposal {
    /// What is signed.
    pub proposal: BlockProposal,
    /// Whose.
    pub public_key: PublicKey,
    /// Of [`BlockProposal::signing_hash`].
    pub signature: Signature,
}

impl SignedProposal {
    /// Checks the signature and returns the proposer's account.
    pub fn verify(&self) -> Option<AccountId> {
        self.public_key.verify_digest(&self.proposal.signing_hash(), &self.signature)
    }
}

/// Two signatures of one key that no honest validator gives.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Equivocation {
    /// Two different votes of one kind in one round.
    Votes {
        /// The one with the smaller digest, so that evidence has one encoding.
        first: Box<SignedVote>,
        /// The other.
        second: Box<SignedVote>,
    },
    /// Two different proposals in one round.
    Proposals {
        /// The one with the smaller digest.
        first: Box<SignedProposal>,
        /// The other.
        second: Box<SignedProposal>,
    },
}

/// Says why evidence proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// Signed for another chain.
    #[error("the evidence is from chain {found}, this is {expected}")]
    Chain {
        /// Chain in the evidence.
        found: ChainId,
        /// Chain here.
        expected: ChainId,
    },
    /// Different keys.
    #[error("the two signatures are by different validators")]
    Signers,
    /// Nothing wrong with signing both.
    #[error("the two are no contradiction: they differ in height, round or kind, or are the same")]
    NoConflict,
    /// Not in canonical order.
    #[error("the two are not in ascending order of their digests")]
    Order,
    /// A signature is wrong.
    #[error("a signature of the evidence is not valid")]
    Signature,
}

impl Equivocation {
    /// Puts two votes in order.
    pub fn votes(one: SignedVote, other: SignedVote) -> Self {
        let (first, second) =
            if one.vote.signing_hash() <= other.vote.signing_hash() { (one, other) } else { (other, one) };
        Self::Votes { first: Box::new(first), second: Box::new(second) }
    }

    /// Puts two proposals in order.
    pub fn proposals(one: SignedProposal, other: SignedProposal) -> Self {
        let ordered = one.proposal.signing_hash() <= other.proposal.signing_hash();
        let (first, second) = if ordered { (one, other) } else { (other, one) };
        Self::Proposals { first: Box::new(first), second: Box::new(second) }
    }

    /// Returns whose two signatures these claim to be.
    pub fn offender(&self) -> &PublicKey {
        match self {
            Self::Votes { first, .. } => &first.public_key,
            Self::Proposals { first, .. } => &first.public_key,
        }
    }

    /// Returns the height at which it happened.
    pub fn height(&self) -> Height {
        match self {
            Self::Votes { first, .. } => first.vote.height,
            Self::Proposals { first, .. } => first.proposal.height,
        }
    }

    /// Checks that one key signed both and that they exclude each other; returns the offender's account.
    pub fn verify(&self, chain_id: &ChainId) -> Result<AccountId, EvidenceError> {
        let check = |chain: &ChainId, same_key: bool, conflict: bool, ordered: bool| {
            if chain != chain_id {
                return Err(EvidenceError::Chain { found: chain.clone(), expected: chain_id.clone() });
            }
            match (same_key, conflict, ordered) {
                (false, ..) => Err(EvidenceError::Signers),
                (_, false, _) => Err(EvidenceError::NoConflict),
                (.., false) => Err(EvidenceError::Order),
                _ => Ok(()),
            }
        };
        let (one, other) = match self {
            Self::Votes { first, second } => {
                let (a, b) = (&first.vote, &second.vote);
                let conflict = (&a.chain_id, a.height, a.round, a.kind)
                    == (&b.chain_id, b.height, b.round, b.kind)
                    && a.block != b.block;
                let same_key = first.public_key == second.public_key;
                check(&a.chain_id, same_key, conflict, a.signing_hash() < b.signing_hash())?;
                (first.verify(), second.verify())
            }
            Self::Proposals { first, second } => {
                let (a, b) = (&first.proposal, &second.proposal);
                let conflict = (&a.chain_id, a.height, a.round) == (&b.chain_id, b.height, b.round) && a != b;
                let same_key = first.public_key == second.public_key;
                check(&a.chain_id, same_key, conflict, a.signing_hash() < b.signing_hash())?;
                (first.verify(), second.verify())
            }
        };
        one.and(other).ok_or(EvidenceError::Signature)
    }
}
