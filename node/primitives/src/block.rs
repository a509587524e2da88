//! Blocks and the proof that validators agreed on them.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_abi::{AccountId, Hash32, Height, TimestampMs};

use crate::{BlockId, ChainId, Transaction, hash_domain, merkle_root};

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
    /// What the engine of the chain needs to know of how it was made.
    pub seal: Seal,
}

/// What a header says to the consensus engine.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, serde::Serialize, serde::Deserialize,
)]
#[serde(tag = "engine", rename_all = "lowercase")]
pub enum Seal {
    /// Proof of stake.
    Pos {
        /// Round in which it was first proposed; those whose turn it was in the rounds before missed it.
        round: u32,
    },
    /// Proof of work.
    Pow {
        /// Largest hash allowed, in the compact form of Bitcoin's `nBits`.
        target: u32,
        /// What was searched for.
        nonce: u64,
    },
}

impl Seal {
    /// The seal of a block proposed in the first round.
    pub const FIRST_ROUND: Self = Self::Pos { round: 0 };
}

impl BlockHeader {
    /// Returns the block's id.
    pub fn id(&self) -> BlockId {
        BlockId::new(hash_domain("purlin.block.v1", &self.bytes()))
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
