//! Blocks as their headers and transaction ids.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_primitives::{Block, BlockHeader, BlockId, TransactionId};

use crate::codec;
use crate::limits::BLOCK_TRANSACTIONS_MAX;

/// A header and the ids of its transactions.
///
/// Ids are whole, 32 bytes, not shortened: `transactions_root` commits to them, so an announcement is checked by
/// itself before anything is fetched, one who made up a list is known at once, and no two transactions can collide.
/// A full block of 5,000 is 160 KB.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CompactBlock {
    /// Commits to the ids.
    pub header: BlockHeader,
    /// In execution order.
    #[borsh(deserialize_with = "codec::list::<_, _, { BLOCK_TRANSACTIONS_MAX }>")]
    pub transactions: Vec<TransactionId>,
}

impl CompactBlock {
    /// Returns the block's id. Hashes the header.
    pub fn id(&self) -> BlockId {
        self.header.id()
    }

    /// Says whether the header commits to these ids.
    pub fn is_consistent(&self) -> bool {
        self.transactions.len() <= BLOCK_TRANSACTIONS_MAX
            && Block::transactions_root(&self.transactions) == self.header.transactions_root
    }
}
