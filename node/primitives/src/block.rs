//! Blocks and the proof that validators agreed on them.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_abi::{AccountId, Hash32, Height, TimestampMs};

use crate::{BlockId, ChainId, PublicKey, Signature, Transaction, hash_domain, merkle_root};

/// Commits to a block and to everything before it.
#[derive(
    Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, serde::Serialize, serde::Deserialize,
)]
pub struct BlockHeader {
    /// Which chain.
    pub chain_id: ChainId,
    /// Position; genesis is 0 and has no header.
    pub height: Height,
    /// The block before; for height 1 the genesis id.
    pub parent: BlockId,
    /// When it was proposed; later than the parent's.
    pub time: TimestampMs,
    /// Who proposed it and receives the fees.
    pub proposer: AccountId,
    /// RFC 9162 Merkle root of the transaction ids.
    pub transactions_root: Hash32,
    /// Root of the state *before* this block's transactions: what the parent left behind.
    pub state_root: Hash32,
    /// RFC 9162 Merkle root of the borsh receipts of the *parent*.
    pub receipts_root: Hash32,
}

impl BlockHeader {
    /// Returns the block's id.
    pub fn id(&self) -> BlockId {
        BlockId::new(hash_domain("purlin.block.v1", &self.bytes()))
    }

    /// Returns the digest that validators sign.
    pub(crate) fn signing_hash(&self) -> Hash32 {
        hash_domain("purlin.block.signature.v1", &self.bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("writing to memory cannot fail")
    }
}

/// A header and the transactions it commits to.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Block {
    /// Commits to all the rest.
    pub header: BlockHeader,
    /// In execution order.
    pub transactions: Vec<Transaction>,
}

impl Block {
    /// Returns what `transactions_root` must be for these ids.
    pub fn transactions_root(ids: &[crate::TransactionId]) -> Hash32 {
        let leaves: Vec<&[u8; 32]> = ids.iter().map(|id| id.as_bytes()).collect();
        merkle_root(&leaves)
    }
}

/// One validator's signature of a block.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BlockSignature {
    /// Whose.
    pub public_key: PublicKey,
    /// Over the header, in a domain of its own.
    pub signature: Signature,
}

impl BlockSignature {
    /// Checks the signature and returns the validator's account.
    pub fn verify(&self, header: &BlockHeader) -> Option<AccountId> {
        self.public_key.verify_digest(&header.signing_hash(), &self.signature)
    }
}

/// Shows that enough validators signed a block; kept beside it, not in it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certificate {
    /// Which block.
    pub block: BlockId,
    /// Its height.
    pub height: Height,
    /// In order of public key, none twice.
    pub signatures: Vec<BlockSignature>,
}
