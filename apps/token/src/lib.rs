//! Keeps the balances of one fungible token: minted by its owner, transferred by its holders, or by others up to
//! what a holder approved.
//!
//! Balances add up to the total supply at all times: only minting and burning change it, and they change both.
//! Amounts are in the smallest unit; `decimals` says how many of its digits people see after the point.
#![no_std]

mod error;
mod event;

use purlin_sdk::prelude::*;

pub use error::TokenError;
pub use event::{Approved, Burned, Minted, OwnerChanged, Transferred};

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest symbol, in bytes.
pub const SYMBOL_BYTES_MAX: usize = 16;
/// Most digits after the point; 10^38 is the last power of ten that an amount can hold.
pub const DECIMALS_MAX: u8 = 38;

/// What a token is called and how its amounts are shown.
#[derive(Schema, Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// Its name for people: `Co-op Energy Credit`.
    pub name: String,
    /// Its short name: `CEC`.
    pub symbol: String,
    /// Digits after the point when an amount is shown.
    pub decimals: u8,
}

/// The state of the token.
#[derive(State)]
pub struct Token {
    owner: Item<AccountId>,
    info: Item<TokenInfo>,
    total_supply: Item<u128>,
    /// Holders only: a balance of zero has no entry.
    balances: Map<AccountId, u128>,
    /// What (holder, spender) may still move; an allowance of zero has no entry.
    allowances: Map<(AccountId, AccountId), u128>,
}

#[app(events(Minted, Burned, Transferred, Approved, OwnerChanged))]
impl Token {
    /// Names the token and gives the initial supply to whoever installs it, who becomes the owner.
    #[init]
    pub fn initialize(
        &mut self,
        name: String,
        symbol: String,
        decimals: u8,
        supply: u128,
    ) -> Result<(), TokenError> {
        let readable =
            |text: &str| !text.is_empty() && text.trim() == text && !text.chars().any(char::is_control);
        if !readable(&name) || name.len() > NAME_BYTES_MAX {
            return Err(TokenError::BadName { max_bytes: NAME_BYTES_MAX as u32 });
        }
        if !readable(&symbol) || symbol.len() > SYMBOL_BYTES_MAX {
            return Err(TokenError::BadSymbol { max_bytes: SYMBOL_BYTES_MAX as u32 });
        }
        if decimals > DECIMALS_MAX {
            return Err(TokenError::TooManyDecimals { max: DECIMALS_MAX });
        }
        let owner = context::caller();
        self.owner.set(&owner);
        self.info.set(&TokenInfo { name, symbol, decimals });
        self.total_supply.set(&0);
        self.issue(owner, supply)
    }

    /// Makes new units for an account. Only the owner may.
    #[call]
    pub fn mint(&mut self, to: AccountId, amount: u128) -> Result<(), TokenError> {
        self.require_owner()?;
        self.issue(to, amount)
    }

    /// Destroys units of the caller.
    #[call]
    pub fn burn(&mut self, amount: u128) -> Result<(), TokenError> {
        let from = context::caller();
        self.take(from, amount)?;
        let supply = self.total_supply.get_or_default().checked_sub(amount);
        self.total_supply.set(&supply.expect("no balance is above the supply"));
        Burned { from, amount }.emit();
        Ok(())
    }

    /// Moves units of the caller.
    #[call]
    pub fn transfer(&mut self, to: AccountId, amount: u128) -> Result<(), TokenError> {
        self.shift(context::caller(), to, amount)
    }

    /// Lets a spender move so many units of the caller, instead of what was approved before. A spender can use
    /// the old allowance before the new one stands: when lowering one, set it to zero first and look.
    #[call]
    pub fn approve(&mut self, spender: AccountId, amount: u128) {
        let owner = context::caller();
        self.set_allowance(owner, spender, amount);
        Approved { owner, spender, amount }.emit();
    }

    /// Moves units of `from` that it approved for the caller, and lowers the allowance.
    #[call]
    pub fn transfer_from(&mut self, from: AccountId, to: AccountId, amount: u128) -> Result<(), TokenError> {
        let spender = context::caller();
        let allowance = self.allowances.get_or_default(&(from, spender));
        let Some(rest) = allowance.checked_sub(amount) else {
            return Err(TokenError::InsufficientAllowance { owner: from, spender, allowance, amount });
        };
        self.set_allowance(from, spender, rest);
        self.shift(from, to, amount)
    }

    /// Makes another account the owner. Only the owner may.
    #[call]
    pub fn transfer_ownership(&mut self, to: AccountId) -> Result<(), TokenError> {
        let from = self.require_owner()?;
        self.owner.set(&to);
        OwnerChanged { from, to }.emit();
        Ok(())
    }

    /// Units of an account.
    #[query]
    pub fn balance_of(&self, owner: AccountId) -> u128 {
        self.balances.get_or_default(&owner)
    }

    /// Units of `owner` that `spender` may still move.
    #[query]
    pub fn allowance(&self, owner: AccountId, spender: AccountId) -> u128 {
        self.allowances.get_or_default(&(owner, spender))
    }

    /// All units there are.
    #[query]
    pub fn total_supply(&self) -> u128 {
        self.total_supply.get_or_default()
    }

    /// Name, symbol and decimals.
    #[query]
    pub fn info(&self) -> TokenInfo {
        self.info.get().expect("initialize sets it")
    }

    /// Who may mint.
    #[query]
    pub fn owner(&self) -> AccountId {
        self.owner.get().expect("initialize sets it")
    }
}

impl Token {
    fn require_owner(&self) -> Result<AccountId, TokenError> {
        let owner = self.owner();
        if context::caller() == owner { Ok(owner) } else { Err(TokenError::NotOwner { owner }) }
    }

    fn issue(&mut self, to: AccountId, amount: u128) -> Result<(), TokenError> {
        let supply = self.total_supply.get_or_default();
        let Some(supply) = supply.checked_add(amount) else {
            return Err(TokenError::SupplyOverflow { supply, amount });
        };
        self.total_supply.set(&supply);
        self.give(to, amount);
        Minted { to, amount }.emit();
        Ok(())
    }

    fn shift(&mut self, from: AccountId, to: AccountId, amount: u128) -> Result<(), TokenError> {
        self.take(from, amount)?;
        self.give(to, amount);
        Transferred { from, to, amount }.emit();
        Ok(())
    }

    fn take(&mut self, from: AccountId, amount: u128) -> Result<(), TokenError> {
        let balance = self.balances.get_or_default(&from);
        let Some(rest) = balance.checked_sub(amount) else {
            return Err(TokenError::InsufficientBalance { account: from, balance, amount });
        };
        self.set_balance(from, balance, rest);
        Ok(())
    }

    fn give(&mut self, to: AccountId, amount: u128) {
        let balance = self.balances.get_or_default(&to);
        let sum = balance.checked_add(amount).expect("no balance is above the supply");
        self.set_balance(to, balance, sum);
    }

    fn set_balance(&mut self, account: AccountId, before: u128, after: u128) {
        match after {
            _ if after == before => {}
            0 => {
                self.balances.remove(&account);
            }
            _ => self.balances.set(&account, &after),
        }
    }

    fn set_allowance(&mut self, owner: AccountId, spender: AccountId, amount: u128) {
        match amount {
            0 => {
                self.allowances.remove(&(owner, spender));
            }
            _ => self.allowances.set(&(owner, spender), &amount),
        }
    }
}
