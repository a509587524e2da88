//! Balances and nonces.
//!
//! ```text
//! 0x01 account(20) -> balance u128 little-endian | nonce u64 little-endian
//! 0x07 "supply"    -> u128 little-endian: sum of all balances and of what validators have at stake; grows by
//!                     block rewards, shrinks by what is slashed
//! ```

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_abi::GasSchedule;
use purlin_primitives::{AccountId, Action, Amount, FailureCode, Gas, Genesis};
use purlin_state::{StateKey, StoreError};

use crate::access::{StateAccess, StateRead, decode, encode};
use crate::module::{ModuleContext, ModuleError, NativeModule};

/// What the chain knows of an account. One that has nothing and never sent anything is not stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AccountRecord {
    /// Native units.
    pub balance: Amount,
    /// Transactions of this account that are in blocks; the next one's nonce.
    pub nonce: u64,
}

/// Says which rule of accounts was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Less than needed.
    #[error("account {account} has {balance}; {needed} is needed")]
    InsufficientBalance {
        /// Whose.
        account: AccountId,
        /// What it has.
        balance: Amount,
        /// What is needed.
        needed: Amount,
    },
    /// More than fits.
    #[error("adding {amount} to account {account} exceeds the largest balance")]
    Overflow {
        /// Whose.
        account: AccountId,
        /// What was to be added.
        amount: Amount,
    },
}

impl AccountError {
    /// Returns the stable code.
    pub fn code(&self) -> FailureCode {
        match self {
            Self::InsufficientBalance { .. } => FailureCode::InsufficientBalance,
            Self::Overflow { .. } => FailureCode::Overflow,
        }
    }
}

/// Reads an account; one that is not stored has nothing.
pub fn account(state: &mut (impl StateRead + ?Sized), id: &AccountId) -> Result<AccountRecord, StoreError> {
    match state.get(&StateKey::account(id))? {
        Some(bytes) => decode("account record", &bytes),
        None => Ok(AccountRecord::default()),
    }
}

/// Writes an account, or removes it when there is nothing to remember.
pub fn put(
    state: &mut (impl StateAccess + ?Sized),
    id: &AccountId,
    record: &AccountRecord,
) -> Result<(), StoreError> {
    let key = StateKey::account(id);
    if *record == AccountRecord::default() {
        return state.remove(&key);
    }
    state.set(&key, encode(record));
    Ok(())
}

/// Adds to a balance.
pub fn credit(
    state: &mut (impl StateAccess + ?Sized),
    id: &AccountId,
    amount: Amount,
) -> Result<(), ModuleError> {
    if amount == Amount::ZERO {
        return Ok(());
    }
    let mut record = account(state, id)?;
    record.balance =
        record.balance.checked_add(amount).ok_or(AccountError::Overflow { account: *id, amount })?;
    Ok(put(state, id, &record)?)
}

/// Takes from a balance.
pub fn debit(
    state: &mut (impl StateAccess + ?Sized),
    id: &AccountId,
    amount: Amount,
) -> Result<(), ModuleError> {
    if amount == Amount::ZERO {
        return Ok(());
    }
    let mut record = account(state, id)?;
    record.balance = record.balance.checked_sub(amount).ok_or(AccountError::InsufficientBalance {
        account: *id,
        balance: record.balance,
        needed: amount,
    })?;
    Ok(put(state, id, &record)?)
}

/// Moves native units; all or nothing. Moving to oneself needs the balance and changes nothing.
pub fn transfer(
    state: &mut (impl StateAccess + ?Sized),
    from: &AccountId,
    to: &AccountId,
    amount: Amount,
) -> Result<(), ModuleError> {
    let mut sender = account(state, from)?;
    let Some(left) = sender.balance.checked_sub(amount) else {
        let balance = sender.balance;
        return Err(AccountError::InsufficientBalance { account: *from, balance, needed: amount }.into());
    };
    if from == to || amount == Amount::ZERO {
        return Ok(());
    }
    let mut receiver = account(state, to)?;
    let sum = receiver.balance.checked_add(amount);
    receiver.balance = sum.ok_or(AccountError::Overflow { account: *to, amount })?;
    sender.balance = left;
    put(state, from, &sender)?;
    Ok(put(state, to, &receiver)?)
}

/// Returns the sum of all balances and of all that is at stake or on its way back from there.
pub fn supply(state: &mut (impl StateRead + ?Sized)) -> Result<Amount, StoreError> {
    match state.get(&StateKey::module("supply"))? {
        Some(bytes) => decode("supply", &bytes),
        None => Ok(Amount::ZERO),
    }
}

/// Makes native units out of nothing: for genesis, block rewards and test hosts only. Fails before it changes
/// anything.
pub fn mint(
    state: &mut (impl StateAccess + ?Sized),
    id: &AccountId,
    amount: Amount,
) -> Result<(), ModuleError> {
    let total = supply(state)?.checked_add(amount).ok_or(AccountError::Overflow { account: *id, amount })?;
    credit(state, id, amount)?;
    put_supply(state, total);
    Ok(())
}

/// Counts native units that no balance has: what the genesis puts at stake for `owner`.
pub(crate) fn issue(
    state: &mut (impl StateAccess + ?Sized),
    owner: &AccountId,
    amount: Amount,
) -> Result<(), ModuleError> {
    let total =
        supply(state)?.checked_add(amount).ok_or(AccountError::Overflow { account: *owner, amount })?;
    put_supply(state, total);
    Ok(())
}

/// Stops counting native units that somebody lost and nobody got.
pub(crate) fn burn(state: &mut (impl StateAccess + ?Sized), amount: Amount) -> Result<(), StoreError> {
    let total = supply(state)?;
    let left = total.checked_sub(amount).ok_or_else(|| StoreError::Corrupt {
        place: "supply".into(),
        detail: format!("it is {total}, and {amount} were at stake"),
    })?;
    put_supply(state, left);
    Ok(())
}

fn put_supply(state: &mut (impl StateAccess + ?Sized), total: Amount) {
    state.set(&StateKey::module("supply"), encode(&total));
}

/// Transfers, and the balances of the genesis.
#[derive(Debug, Clone, Copy)]
pub struct Accounts;

impl NativeModule for Accounts {
    fn name(&self) -> &'static str {
        "accounts"
    }

    fn genesis(&self, state: &mut dyn StateAccess, genesis: &Genesis) -> Result<(), ModuleError> {
        genesis.accounts.iter().try_for_each(|entry| mint(state, &entry.account, entry.balance))
    }

    fn price(&self, schedule: &GasSchedule, action: &Action) -> Option<Gas> {
        matches!(action, Action::Transfer { .. })
            .then(|| Gas::new(2 * schedule.account + 2 * schedule.storage_write))
    }

    fn apply(
        &self,
        state: &mut dyn StateAccess,
        context: &ModuleContext<'_>,
        action: &Action,
    ) -> Result<(), ModuleError> {
        match action {
            Action::Transfer { to, amount } => transfer(state, &context.sender, to, *amount),
            _ => unreachable!("only transfers are priced by this module"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryState;

    const A: AccountId = AccountId::new([1; 20]);
    const B: AccountId = AccountId::new([2; 20]);

    #[test]
    fn refused_transfers_change_nothing() {
        let mut state = MemoryState::default();
        credit(&mut state, &A, Amount::new(10)).unwrap();
        credit(&mut state, &B, Amount::new(u128::MAX - 5)).unwrap();
        let before = state.clone();
        let too_much = transfer(&mut state, &A, &B, Amount::new(11)).unwrap_err();
        assert!(
            matches!(too_much, ModuleError::Account(AccountError::InsufficientBalance { .. })),
            "{too_much}"
        );
        let overflow = transfer(&mut state, &A, &B, Amount::new(6)).unwrap_err();
        assert!(matches!(overflow, ModuleError::Account(AccountError::Overflow { .. })), "{overflow}");
        let to_self = transfer(&mut state, &A, &A, Amount::new(11)).unwrap_err();
        assert_eq!(to_self.into_failure().unwrap().code, FailureCode::InsufficientBalance);
        assert_eq!(state, before);
        transfer(&mut state, &A, &A, Amount::new(10)).unwrap();
        assert_eq!(state, before);
    }

    #[test]
    fn an_account_with_nothing_is_not_stored() {
        let mut state = MemoryState::default();
        credit(&mut state, &A, Amount::new(3)).unwrap();
        transfer(&mut state, &A, &B, Amount::new(3)).unwrap();
        assert_eq!(state.entries().len(), 1);
        assert_eq!(account(&mut state, &B).unwrap().balance, Amount::new(3));
        // The encoding is part of the state root.
        let bytes = state.get(&StateKey::account(&B)).unwrap().unwrap();
        assert_eq!(*bytes, *[&[3][..], &[0; 23]].concat());
    }

    #[test]
    fn damage_is_a_fault_and_not_an_empty_account() {
        let mut state = MemoryState::default();
        state.set(&StateKey::account(&A), vec![1, 2, 3]);
        assert!(matches!(account(&mut state, &A), Err(StoreError::Corrupt { .. })));
    }
}
