//! Native balances and transfers. Needs the permission `accounts`.

use core::fmt;
use purlin_abi::{AccountId, Amount};

use crate::host;

/// Says that the application's account holds less than was to be transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InsufficientBalance;

impl fmt::Display for InsufficientBalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the application's account has too little")
    }
}

impl core::error::Error for InsufficientBalance {}

/// Returns the native balance of an account.
pub fn balance(account: &AccountId) -> Amount {
    host::balance(account)
}

/// Transfers from the application's own account.
pub fn transfer(to: &AccountId, amount: Amount) -> Result<(), InsufficientBalance> {
    if host::transfer(to, amount) { Ok(()) } else { Err(InsufficientBalance) }
}
