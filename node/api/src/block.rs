//! Blocks.

use purlin_primitives::{
    AccountId, BlockHeader, BlockId, ChainId, Gas, Hash32, Height, Seal, TimestampMs, TransactionId,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A block in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockSummary {
    /// Its id.
    #[schema(value_type = String)]
    pub id: BlockId,
    /// Its height.
    #[schema(value_type = u64)]
    pub height: Height,
    /// The block before; for height 1 the genesis id.
    #[schema(value_type = String)]
    pub parent: BlockId,
    /// When it was proposed, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub time: TimestampMs,
    /// Who proposed it.
    #[schema(value_type = String)]
    pub proposer: AccountId,
    /// Number of its transactions.
    pub transactions: u32,
    /// Number of its events.
    pub events: u32,
    /// Work done by all of them.
    #[schema(value_type = u64)]
    pub gas_used: Gas,
}

/// A block's header in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeaderView {
    /// Which chain.
    #[schema(value_type = String)]
    pub chain_id: ChainId,
    /// Position.
    #[schema(value_type = u64)]
    pub height: Height,
    /// The block before.
    #[schema(value_type = String)]
    pub parent: BlockId,
    /// When it was proposed, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub time: TimestampMs,
    /// Who proposed it.
    #[schema(value_type = String)]
    pub proposer: AccountId,
    /// Merkle root of the transaction ids.
    #[schema(value_type = String)]
    pub transactions_root: Hash32,
    /// Root of the state before this block: what the parent left behind.
    #[schema(value_type = String)]
    pub state_root: Hash32,
    /// Merkle root of the parent's receipts.
    #[schema(value_type = String)]
    pub receipts_root: Hash32,
    /// For the consensus engine: `{"engine":"pos","round":0}`, or `{"engine":"pow","target":…,"nonce":…}`.
    #[schema(value_type = Object)]
    pub seal: Seal,
}

impl From<&BlockHeader> for HeaderView {
    fn from(header: &BlockHeader) -> Self {
        Self {
            chain_id: header.chain_id.clone(),
            height: header.height,
            parent: header.parent,
            time: header.time,
            proposer: header.proposer,
            transactions_root: header.transactions_root,
            state_root: header.state_root,
            receipts_root: header.receipts_root,
            seal: header.seal,
        }
    }
}

impl From<HeaderView> for BlockHeader {
    fn from(view: HeaderView) -> Self {
        Self {
            chain_id: view.chain_id,
            height: view.height,
            parent: view.parent,
            time: view.time,
            proposer: view.proposer,
            transactions_root: view.transactions_root,
            state_root: view.state_root,
            receipts_root: view.receipts_root,
            seal: view.seal,
        }
    }
}

/// One transaction of a block, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockTransaction {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TransactionId,
    /// Who.
    #[schema(value_type = String)]
    pub sender: AccountId,
    /// Number of its actions.
    pub actions: u32,
    /// Whether it took effect.
    pub succeeded: bool,
    /// Work done.
    #[schema(value_type = u64)]
    pub gas_used: Gas,
}

/// A block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: BlockId,
    /// What its id commits to.
    pub header: HeaderView,
    /// Signers of its certificate.
    #[schema(value_type = Vec<String>)]
    pub signers: Vec<AccountId>,
    /// Its transactions in order.
    pub transactions: Vec<BlockTransaction>,
    /// Number of its events.
    pub events: u32,
    /// Work done by all of them.
    #[schema(value_type = u64)]
    pub gas_used: Gas,
}

/// Some blocks, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockPage {
    /// Newest first.
    pub blocks: Vec<BlockSummary>,
    /// Height to pass as `before` for older ones; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub next: Option<Height>,
}
