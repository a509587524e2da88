//! Why the token refuses.

use purlin_sdk::prelude::*;

/// Says why a call was refused.
#[derive(AppError, Debug, Clone, PartialEq, Eq)]
pub enum TokenError {
    /// Only the owner may do this.
    #[error("only the owner {owner} may do this")]
    NotOwner {
        /// Who may.
        owner: AccountId,
    },
    /// The account has too few units.
    #[error("{account} has {balance}, which is less than {amount}")]
    InsufficientBalance {
        /// Whose units.
        account: AccountId,
        /// What it has.
        balance: u128,
        /// What was asked for.
        amount: u128,
    },
    /// The spender may move fewer units.
    #[error("{spender} may move {allowance} of {owner}, which is less than {amount}")]
    InsufficientAllowance {
        /// Whose units.
        owner: AccountId,
        /// Who tried.
        spender: AccountId,
        /// What it may move.
        allowance: u128,
        /// What was asked for.
        amount: u128,
    },
    /// The supply would leave the range of 128 bits.
    #[error("a supply of {supply} and {amount} more is above 2^128-1")]
    SupplyOverflow {
        /// What there is.
        supply: u128,
        /// What was to come.
        amount: u128,
    },
    /// The name is empty, too long, or has spaces around it.
    #[error("the name must have 1 to {max_bytes} bytes, no control characters and no spaces around it")]
    BadName {
        /// Longest allowed.
        max_bytes: u32,
    },
    /// The symbol is empty, too long, or has spaces around it.
    #[error("the symbol must have 1 to {max_bytes} bytes, no control characters and no spaces around it")]
    BadSymbol {
        /// Longest allowed.
        max_bytes: u32,
    },
    /// Amounts cannot have so many digits after the point.
    #[error("at most {max} decimals are allowed")]
    TooManyDecimals {
        /// Most allowed.
        max: u8,
    },
}
