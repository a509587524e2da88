//! What is due at the end of a block: absence, reward, releases, the next set.

use purlin_primitives::{AccountId, Amount, PosRules, Seal};
use purlin_state::{Order, StateKey, StatePrefix, StoreError};
use std::collections::BTreeMap;

use super::record::{self, ValidatorRecord, ValidatorStatus, has_other_candidate, validator};
use super::rules;
use super::set::{turn_over, validators_at};
use crate::access::{StateAccess, decode};
use crate::accounts::{self, AccountError};
use crate::module::{BlockEnd, ModuleError};

/// Most rounds of one height whose proposers are counted as absent: bounds the work that one header makes.
pub const MISSED_ROUNDS_MAX: u32 = 1_024;
/// Most accounts that get stake back at the end of one block; the others get it in the blocks after.
pub const RELEASES_MAX: usize = 1_024;

pub(super) fn run(
    state: &mut dyn StateAccess,
    pos: &PosRules,
    end: &BlockEnd<'_>,
) -> Result<(), ModuleError> {
    note_turns(state, pos, end)?;
    reward(state, &end.proposer, pos.block_reward)?;
    release(state, end)?;
    if rules::is_epoch_end(pos, end.height) {
        turn_over(state, pos, end.height)?;
    }
    Ok(())
}

/// Mints a reward, unless the supply has no room for it: a chain does not stop because of that.
pub(super) fn reward(
    state: &mut dyn StateAccess,
    proposer: &AccountId,
    amount: Amount,
) -> Result<(), ModuleError> {
    if amount == Amount::ZERO {
        return Ok(());
    }
    match accounts::mint(state, proposer, amount) {
        Err(ModuleError::Account(AccountError::Overflow { .. })) => Ok(()),
        other => other,
    }
}

/// Counts the turns that were missed before this block, and jails who missed too many.
fn note_turns(state: &mut dyn StateAccess, pos: &PosRules, end: &BlockEnd<'_>) -> Result<(), StoreError> {
    // Headers of another engine do not get here: its rules check the seal.
    let Seal::Pos { round } = end.seal else { return Ok(()) };
    let mut missed = BTreeMap::<AccountId, u32>::new();
    if round > 0 {
        let validators = validators_at(state, end.height)?;
        let turns = (0..round.min(MISSED_ROUNDS_MAX)).filter_map(|r| validators.proposer(end.height, r));
        turns.for_each(|absent| *missed.entry(absent.account).or_default() += 1);
    }
    // Whoever proposed this block is here, whatever it missed before.
    missed.remove(&end.proposer);
    for (account, turns) in missed {
        let Some(before) = validator(state, &account)?.filter(ValidatorRecord::is_candidate) else {
            continue;
        };
        let mut record =
            ValidatorRecord { missed_turns: before.missed_turns.saturating_add(turns), ..before.clone() };
        if record.missed_turns > pos.missed_turns_max && has_other_candidate(state, &account)? {
            let until_epoch = rules::epoch_of(pos, end.height).saturating_add(pos.jail_epochs);
            record.status = ValidatorStatus::Jailed { until_epoch };
        }
        record::put(state, Some(&before), &record)?;
    }
    match validator(state, &end.proposer)? {
        Some(before) if before.missed_turns > 0 => {
            let record = ValidatorRecord { missed_turns: 0, ..before.clone() };
            record::put(state, Some(&before), &record)
        }
        _ => Ok(()),
    }
}

/// Gives back the stake whose time has come.
fn release(state: &mut dyn StateAccess, end: &BlockEnd<'_>) -> Result<(), ModuleError> {
    let from = [StatePrefix::Unbonding as u8];
    let due =
        state.scan(&from, &StateKey::unbonding(end.height.next(), None), Order::Ascending, RELEASES_MAX)?;
    for (key, _) in due {
        let (release_at, account): ([u8; 8], AccountId) = decode("unbonding key", &key[1..])?;
        let release_at = u64::from_be_bytes(release_at);
        let before = validator(state, &account)?.ok_or_else(|| StoreError::Corrupt {
            place: "unbonding queue".into(),
            detail: format!("it names {account}, which has no record"),
        })?;
        let mut record = before.clone();
        let mut sum = Amount::ZERO;
        record.unbonding.retain(|entry| {
            let is_due = entry.release_at.get() == release_at;
            if is_due {
                sum = sum.saturating_add(entry.amount);
            }
            !is_due
        });
        accounts::credit(state, &account, sum)?;
        record::put(state, Some(&before), &record)?;
        state.remove(&key)?;
    }
    Ok(())
}
