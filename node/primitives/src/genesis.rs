//! What a chain starts from.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_abi::{AccountId, Amount, Gas, TimestampMs};
use serde::{Deserialize, Serialize};

use crate::{BlockId, ChainId, PublicKey, hash_domain};

/// Rules that every node of a chain must share.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Most gas of a block; also of one transaction.
    pub block_gas_limit: Gas,
    /// Most bytes of a block's transactions.
    pub block_bytes_max: u64,
    /// Most transactions of a block.
    pub block_transactions_max: u32,
    /// Least fee per million gas of a transaction's limit; zero in a consortium.
    pub fee_per_million_gas_min: Amount,
    /// How far ahead a transaction's expiry may lie, in blocks.
    pub expiry_blocks_max: u64,
    /// Version of [`purlin_abi::GasSchedule`].
    pub gas_schedule: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            block_gas_limit: Gas::new(20_000_000_000),
            block_bytes_max: 16 * 1024 * 1024,
            block_transactions_max: 5_000,
            fee_per_million_gas_min: Amount::ZERO,
            expiry_blocks_max: 100_000,
            gas_schedule: 1,
        }
    }
}

/// A validator at the start.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// Its signing key.
    pub public_key: PublicKey,
    /// Its weight.
    pub power: u64,
}

/// An account at the start.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisAccount {
    /// Whose.
    pub account: AccountId,
    /// How much.
    pub balance: Amount,
}

/// What a chain starts from; two nodes with different genesis ids are on different chains.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The chain's name.
    pub chain_id: ChainId,
    /// Not before this.
    pub time: TimestampMs,
    /// Who decides.
    pub validators: Vec<GenesisValidator>,
    /// Who has what.
    #[serde(default)]
    pub accounts: Vec<GenesisAccount>,
    /// The rules.
    #[serde(default)]
    pub parameters: Parameters,
}

impl Genesis {
    /// Returns the id that block 1 names as its parent.
    pub fn id(&self) -> BlockId {
        let bytes = borsh::to_vec(self).expect("writing to memory cannot fail");
        BlockId::new(hash_domain("purlin.genesis.v1", &bytes))
    }
}
