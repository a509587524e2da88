//! What a chain starts from.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_abi::{AccountId, Amount, Gas, TimestampMs};
use serde::{Deserialize, Serialize};

use crate::{BlockId, ChainId, PublicKey, Validator, ValidatorSet, ValidatorSetError, hash_domain};

/// Rules that every node of a chain must share.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Most gas of a block; also of one transaction. A block of the default takes two to three seconds on the reference
    /// machine: with more, proposals of full blocks may not be built, sent and checked before their round ends.
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
    /// Which engine decides, and its rules.
    pub consensus: ConsensusRules,
}

/// Which engine decides, and its rules.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(tag = "engine", rename_all = "lowercase", deny_unknown_fields)]
pub enum ConsensusRules {
    /// Proof of stake: validators vote, a committed block is final.
    Pos(PosRules),
    /// Proof of work: the heaviest chain, final behind the undo window.
    Pow(PowRules),
}

/// Rules of proof of stake.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PosRules {
    /// Blocks of an epoch; the validator set changes between epochs only.
    pub epoch_blocks: u64,
    /// Epochs from unbonding until the stake is back; also how long misbehaviour can be punished.
    pub unbonding_epochs: u64,
    /// Least stake of a validator.
    pub stake_min: Amount,
    /// Native units that one unit of voting power stands for; at least 1.
    pub stake_per_power: Amount,
    /// Most validators; those with the most stake.
    pub validators_max: u32,
    /// Minted for the proposer of each block.
    pub block_reward: Amount,
    /// Part of the stake that signing two conflicting things costs, in ten-thousandths.
    pub slash_equivocation_bp: u32,
    /// Turns to propose that a validator may miss in a row before it is jailed.
    pub missed_turns_max: u32,
    /// Epochs that a jailed validator waits before it may return.
    pub jail_epochs: u64,
}

impl Default for PosRules {
    fn default() -> Self {
        Self {
            epoch_blocks: 600,
            unbonding_epochs: 24,
            stake_min: Amount::new(1),
            stake_per_power: Amount::new(1),
            validators_max: 100,
            block_reward: Amount::ZERO,
            slash_equivocation_bp: 500,
            missed_turns_max: 50,
            jail_epochs: 1,
        }
    }
}

/// Rules of proof of work.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PowRules {
    /// Wanted time from block to block, in milliseconds.
    pub block_time_ms: u64,
    /// Time after which being ahead or behind of schedule by itself doubles or halves the target, in
    /// milliseconds: ASERT's half-life.
    pub half_life_ms: u64,
    /// Target of the first block, in the compact form of Bitcoin's `nBits`; also the easiest.
    pub target_start: u32,
    /// How far a block's time may be ahead of a node's clock, in milliseconds.
    pub future_ms_max: u64,
    /// Minted for the miner of each block.
    pub block_reward: Amount,
    /// Blocks on top after which applications call a block confirmed.
    pub confirmations: u64,
}

impl Default for PowRules {
    fn default() -> Self {
        Self {
            block_time_ms: 10_000,
            half_life_ms: 600_000,
            target_start: 0x1f00_ffff,
            future_ms_max: 15_000,
            block_reward: Amount::new(1_000_000),
            confirmations: 12,
        }
    }
}

impl ConsensusRules {
    /// Returns how many blocks must stand on a block before it counts as final: none under proof of stake.
    pub fn confirmation_depth(&self) -> u64 {
        match self {
            Self::Pos(_) => 0,
            Self::Pow(rules) => rules.confirmations,
        }
    }
}

impl Default for ConsensusRules {
    fn default() -> Self {
        Self::Pos(PosRules::default())
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            block_gas_limit: Gas::new(8_000_000_000),
            block_bytes_max: 16 * 1024 * 1024,
            block_transactions_max: 5_000,
            fee_per_million_gas_min: Amount::ZERO,
            expiry_blocks_max: 100_000,
            gas_schedule: 1,
            consensus: ConsensusRules::default(),
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

    /// Returns who decides the first blocks.
    pub fn validator_set(&self) -> Result<ValidatorSet, ValidatorSetError> {
        let validator = |GenesisValidator { public_key, power }: &GenesisValidator| {
            let account = public_key.try_account_id();
            let account = account.map_err(|_| ValidatorSetError::NoKey { public_key: *public_key })?;
            Ok(Validator { public_key: *public_key, account, power: *power })
        };
        ValidatorSet::new(self.validators.iter().map(validator).collect::<Result<_, _>>()?)
    }
}
