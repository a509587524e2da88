//! What a node says about itself and its chain.

use purlin_primitives::{AccountId, Amount, BlockId, ChainId, Gas, Hash32, Height, Parameters, TimestampMs};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether a node has all blocks that it knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// Nothing is known to be missing.
    Synced,
    /// Blocks are being fetched.
    Syncing,
    /// The state of a recent block is being fetched; nothing can be asked of it yet.
    Snapshot,
}

/// How far a snapshot is that is being fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SnapshotProgressView {
    /// Height of its block.
    #[schema(value_type = u64)]
    pub height: Height,
    /// Thousandths that are stored.
    pub permille: u32,
}

/// What waits for a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MempoolStatus {
    /// Transactions waiting.
    pub transactions: u64,
    /// Their canonical bytes.
    pub bytes: u64,
}

/// Rules of the chain that clients need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainParameters {
    /// Most gas of a block; also of one transaction.
    #[schema(value_type = u64)]
    pub block_gas_limit: Gas,
    /// Most bytes of a block's transactions.
    pub block_bytes_max: u64,
    /// Most transactions of a block.
    pub block_transactions_max: u32,
    /// Least fee per million gas of a transaction's limit, in native units.
    #[schema(value_type = String, example = "0")]
    pub fee_per_million_gas_min: Amount,
    /// How far ahead a transaction's expiry may lie, in blocks.
    pub expiry_blocks_max: u64,
    /// Version of the gas prices.
    pub gas_schedule: u32,
}

impl From<&Parameters> for ChainParameters {
    fn from(parameters: &Parameters) -> Self {
        Self {
            block_gas_limit: parameters.block_gas_limit,
            block_bytes_max: parameters.block_bytes_max,
            block_transactions_max: parameters.block_transactions_max,
            fee_per_million_gas_min: parameters.fee_per_million_gas_min,
            expiry_blocks_max: parameters.expiry_blocks_max,
            gas_schedule: parameters.gas_schedule,
        }
    }
}

fn first_block() -> Height {
    Height::new(1)
}

/// Proof of work, as a node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PowStatus {
    /// Work of the whole chain in hashes, `0x` and 64 hexadecimal digits: of two chains the one with more counts.
    pub work: String,
    /// Target of the last block, in the compact form of Bitcoin's `nBits`, hexadecimal.
    #[schema(example = "0x1f00ffff")]
    pub target: String,
    /// Hashes that such a block takes on average, decimal.
    #[schema(example = "65537")]
    pub difficulty: String,
    /// Wanted time from block to block, in milliseconds.
    pub block_time_ms: u64,
    /// Blocks on top after which a block counts as final.
    pub confirmations: u64,
}

/// What a node says about itself and its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of the node's software.
    pub version: String,
    /// Name of the chain.
    #[schema(value_type = String)]
    pub chain_id: ChainId,
    /// Id of the genesis; two nodes with different ones are on different chains.
    #[schema(value_type = String)]
    pub genesis_id: BlockId,
    /// Height of the last durable block; 0 right after genesis.
    #[schema(value_type = u64)]
    pub height: Height,
    /// Its id; the genesis id at height 0.
    #[schema(value_type = String)]
    pub head_id: BlockId,
    /// Its time in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub head_time: TimestampMs,
    /// Root of the state after it.
    #[schema(value_type = String)]
    pub state_root: Hash32,
    /// Height up to which blocks count as final: that of the last block under proof of stake; under proof of work
    /// so many blocks below it as the chain asks for.
    #[serde(default)]
    #[schema(value_type = u64)]
    pub final_height: Height,
    /// Consensus engine: `pos` or `pow`.
    pub engine: String,
    /// More about proof of work, when that is the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pow: Option<PowStatus>,
    /// Account of this node's validator key, when it has one.
    #[schema(value_type = Option<String>)]
    pub validator: Option<AccountId>,
    /// Whether blocks are missing.
    pub sync: SyncState,
    /// Height up to which blocks are known and being fetched, when some are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub sync_target: Option<Height>,
    /// How far the snapshot is, while one is being fetched and was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotProgressView>,
    /// Why blocks are not taken although there are some, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_problem: Option<String>,
    /// Oldest block whose transactions, receipts and events are kept; 1 when all are.
    #[serde(default = "first_block")]
    #[schema(value_type = u64)]
    pub oldest_block: Height,
    /// What to give to a newcomer as `network.checkpoint`: `HEIGHT:BLOCKID` of a recent block; none in the first epoch,
    /// and under proof of work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Connected nodes.
    pub peers: u32,
    /// Seconds since the node started.
    pub uptime_seconds: u64,
    /// What waits for a block.
    pub mempool: MempoolStatus,
    /// Rules of the chain.
    pub parameters: ChainParameters,
}
