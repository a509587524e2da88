//! What is stored of a validator, and the order of candidates.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_primitives::{AccountId, Amount, Height, PublicKey};
use purlin_state::{Order, StateKey, StatePrefix, StoreError};

use crate::access::{StateAccess, StateRead, decode, encode};

/// Whether a validator takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ValidatorStatus {
    /// Is chosen when its stake is large enough.
    Active,
    /// Was absent; is not chosen until it asks to return.
    Jailed {
        /// First epoch in which it may return.
        until_epoch: u64,
    },
    /// Signed two conflicting things; out for good.
    Tombstoned,
}

/// Stake on its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Unbonding {
    /// At the end of this block.
    pub release_at: Height,
    /// How much; a slash takes its part of it.
    pub amount: Amount,
}

/// A validator, or one that was and has stake left, or a tombstone.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ValidatorRecord {
    /// Its signing key.
    pub public_key: PublicKey,
    /// Its account, that of the key: pays the stake, gets rewards and stake back.
    pub account: AccountId,
    /// What is at stake and counts as power. While the status is active: zero, or at least the least stake.
    pub stake: Amount,
    /// Whether it takes part.
    pub status: ValidatorStatus,
    /// Turns to propose that it missed since it last proposed a block.
    pub missed_turns: u32,
    /// Height at which it last began to have something at stake.
    pub bonded_at: Height,
    /// In ascending order of release, one entry per height.
    pub unbonding: Vec<Unbonding>,
}

impl ValidatorRecord {
    pub(super) fn new(public_key: PublicKey, account: AccountId, bonded_at: Height) -> Self {
        Self {
            public_key,
            account,
            stake: Amount::ZERO,
            status: ValidatorStatus::Active,
            missed_turns: 0,
            bonded_at,
            unbonding: Vec::new(),
        }
    }

    /// Says whether it can be chosen at the end of an epoch.
    pub fn is_candidate(&self) -> bool {
        self.status == ValidatorStatus::Active && self.stake > Amount::ZERO
    }

    /// Returns the sum of what is on its way back.
    pub fn unbonding_total(&self) -> Amount {
        self.unbonding.iter().fold(Amount::ZERO, |sum, entry| sum.saturating_add(entry.amount))
    }

    fn candidate_key(&self) -> Option<Vec<u8>> {
        self.is_candidate().then(|| StateKey::validator_by_stake(self.stake, &self.public_key))
    }

    /// Says whether there is nothing to remember.
    fn is_empty(&self) -> bool {
        self.stake == Amount::ZERO && self.unbonding.is_empty() && self.status != ValidatorStatus::Tombstoned
    }
}

/// Reads a validator's record.
pub fn validator(
    state: &mut (impl StateRead + ?Sized),
    account: &AccountId,
) -> Result<Option<ValidatorRecord>, StoreError> {
    state.get(&StateKey::validator(account))?.map(|bytes| decode("validator", &bytes)).transpose()
}

/// Writes a record and its place among the candidates, or removes both when there is nothing to remember.
pub(super) fn put(
    state: &mut dyn StateAccess,
    before: Option<&ValidatorRecord>,
    record: &ValidatorRecord,
) -> Result<(), StoreError> {
    let (old, new) = (before.and_then(ValidatorRecord::candidate_key), record.candidate_key());
    if old != new {
        old.map_or(Ok(()), |key| state.remove(&key))?;
        if let Some(key) = new {
            state.set(&key, encode(&record.account));
        }
    }
    let key = StateKey::validator(&record.account);
    if record.is_empty() {
        return state.remove(&key);
    }
    state.set(&key, encode(record));
    Ok(())
}

/// One who can be chosen at the end of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its signing key.
    pub public_key: PublicKey,
    /// Its account.
    pub account: AccountId,
    /// What it has at stake.
    pub stake: Amount,
}

/// Lists at most `limit` of those who can be chosen, most stake first, equal stake by public key.
pub fn candidates(state: &mut (impl StateRead + ?Sized), limit: usize) -> Result<Vec<Candidate>, StoreError> {
    let prefix = [StatePrefix::ValidatorByStake as u8];
    let entries = state.scan(&prefix, &StateKey::end_of(&prefix), Order::Ascending, limit)?;
    let read = |(key, value): &(Vec<u8>, Vec<u8>)| {
        let (inverse, public_key): ([u8; 16], PublicKey) = decode("candidate key", &key[1..])?;
        let stake = Amount::new(!u128::from_be_bytes(inverse));
        Ok(Candidate { public_key, account: decode("candidate", value)?, stake })
    };
    entries.iter().map(read).collect()
}

/// Lists at most `limit` records in account order, starting after `after`; jailed ones, those on their way out
/// and tombstones too.
pub fn list(
    state: &mut (impl StateRead + ?Sized),
    after: Option<&AccountId>,
    limit: usize,
) -> Result<Vec<ValidatorRecord>, StoreError> {
    let prefix = [StatePrefix::Validator as u8];
    let from = after.map_or(prefix.to_vec(), |account| [&StateKey::validator(account)[..], &[0]].concat());
    let entries = state.scan(&from, &StateKey::end_of(&prefix), Order::Ascending, limit)?;
    entries.iter().map(|(_, bytes)| decode("validator", bytes)).collect()
}

/// Says whether anybody else could be chosen.
pub(super) fn has_other_candidate(
    state: &mut dyn StateAccess,
    account: &AccountId,
) -> Result<bool, StoreError> {
    Ok(candidates(state, 2)?.iter().any(|other| other.account != *account))
}
