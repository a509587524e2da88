//! Who decides, and what they have at stake.

use purlin_primitives::{AccountId, Amount, Height, PublicKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether a validator takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValidatorState {
    /// Is chosen at an epoch's end when its stake is large enough.
    Active,
    /// Was absent too often; is not chosen until it asks to return.
    Jailed,
    /// Signed two conflicting things; out for good.
    Tombstoned,
}

/// A validator, one that waits to be chosen, or one that left and has stake to get back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValidatorView {
    /// Its account: pays the stake, gets rewards and stake back.
    #[schema(value_type = String)]
    pub account: AccountId,
    /// Its signing key, 0x and 33 bytes in hexadecimal.
    #[schema(value_type = String)]
    pub public_key: PublicKey,
    /// Its weight among those who decide the next block; 0 when it is not one of them.
    pub power: u64,
    /// What it has at stake, in native units; counts as power from the next change of validators on.
    #[schema(value_type = String, example = "1000000")]
    pub stake: Amount,
    /// What it took out of stake and does not have back yet, in native units.
    #[schema(value_type = String, example = "0")]
    pub unbonding: Amount,
    /// Whether it takes part.
    pub status: ValidatorState,
    /// First epoch in which a jailed validator may return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jailed_until_epoch: Option<u64>,
    /// Turns to propose that it missed since it last proposed a block.
    pub missed_turns: u32,
    /// Whether the node that answers signs with this validator's key.
    pub own: bool,
}

/// Some validators in account order, and what holds for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValidatorPage {
    /// Height of the state that was read; powers are those for the block after it.
    #[schema(value_type = u64)]
    pub height: Height,
    /// Epoch of the next block; absent under proof of work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Last block of that epoch: who decides may change behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub epoch_end: Option<Height>,
    /// Sum of the powers of all who decide, on whatever page; 0 under proof of work.
    pub total_power: u64,
    /// In account order.
    pub validators: Vec<ValidatorView>,
    /// Account to pass as `after` for the following ones; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next: Option<AccountId>,
}
