//! What the token says happened.

use purlin_sdk::prelude::*;

/// New units were made.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct Minted {
    /// Who has them.
    pub to: AccountId,
    /// How many.
    pub amount: u128,
}

/// Units were destroyed.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct Burned {
    /// Who had them.
    pub from: AccountId,
    /// How many.
    pub amount: u128,
}

/// Units moved.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct Transferred {
    /// Who had them.
    pub from: AccountId,
    /// Who has them.
    pub to: AccountId,
    /// How many.
    pub amount: u128,
}

/// A holder said how many of its units somebody else may move.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// The holder.
    pub owner: AccountId,
    /// Who may move them.
    pub spender: AccountId,
    /// How many, in place of what was approved before.
    pub amount: u128,
}

/// Minting is somebody else's right.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct OwnerChanged {
    /// Who had it.
    pub from: AccountId,
    /// Who has it.
    pub to: AccountId,
}
