//! What accounts can do: bond, unbond, return, report.

use purlin_primitives::{AccountId, Amount, Equivocation, Height, PosRules, PublicKey};
use purlin_state::StateKey;

use super::error::StakingError;
use super::record::{self, Unbonding, ValidatorRecord, ValidatorStatus, has_other_candidate, validator};
use super::rules;
use super::set::validators_at;
use crate::access::StateAccess;
use crate::accounts;
use crate::module::{ModuleContext, ModuleError};

/// Parts of a whole.
pub(super) const BASIS_POINTS: u32 = 10_000;

fn require(state: &mut dyn StateAccess, account: &AccountId) -> Result<ValidatorRecord, ModuleError> {
    Ok(validator(state, account)?.ok_or(StakingError::NotValidator { account: *account })?)
}

/// Puts units of the sender at stake. The next epoch's end counts them.
pub(super) fn bond(
    state: &mut dyn StateAccess,
    context: &ModuleContext<'_>,
    pos: &PosRules,
    public_key: &PublicKey,
    amount: Amount,
) -> Result<(), ModuleError> {
    let sender = context.sender;
    let owner = public_key.try_account_id().map_err(StakingError::from)?;
    if owner != sender {
        return Err(StakingError::ForeignKey { owner, sender }.into());
    }
    if amount == Amount::ZERO {
        return Err(StakingError::NoAmount.into());
    }
    let before = validator(state, &sender)?;
    let mut record =
        before.clone().unwrap_or_else(|| ValidatorRecord::new(*public_key, sender, context.height));
    if record.status == ValidatorStatus::Tombstoned {
        return Err(StakingError::Tombstoned { account: sender }.into());
    }
    if record.stake == Amount::ZERO {
        record.bonded_at = context.height;
    }
    let sum = record.stake.checked_add(amount);
    record.stake = sum.ok_or(StakingError::Overflow { account: sender, amount })?;
    if record.stake < pos.stake_min {
        return Err(StakingError::TooSmall { stake: record.stake, min: pos.stake_min }.into());
    }
    accounts::debit(state, &sender, amount)?;
    Ok(record::put(state, before.as_ref(), &record)?)
}

/// Takes units out of stake: some, or all to leave. They come back after the unbonding time.
pub(super) fn unbond(
    state: &mut dyn StateAccess,
    context: &ModuleContext<'_>,
    pos: &PosRules,
    amount: Amount,
) -> Result<(), ModuleError> {
    let account = context.sender;
    if amount == Amount::ZERO {
        return Err(StakingError::NoAmount.into());
    }
    let before = require(state, &account)?;
    let stake = before.stake;
    let rest =
        stake.checked_sub(amount).ok_or(StakingError::Insufficient { account, stake, asked: amount })?;
    if rest == Amount::ZERO {
        if !has_other_candidate(state, &account)? {
            return Err(StakingError::LastValidator.into());
        }
    } else if rest < pos.stake_min {
        return Err(StakingError::RestTooSmall { rest, min: pos.stake_min, stake }.into());
    }
    let mut record = ValidatorRecord { stake: rest, ..before.clone() };
    let release_at = rules::release_at(pos, context.height);
    match record.unbonding.last_mut() {
        Some(last) if last.release_at == release_at => {
            let sum = last.amount.checked_add(amount);
            last.amount = sum.ok_or(StakingError::Overflow { account, amount })?;
        }
        _ => {
            record.unbonding.push(Unbonding { release_at, amount });
            state.set(&StateKey::unbonding(release_at, Some(&account)), vec![1]);
        }
    }
    Ok(record::put(state, Some(&before), &record)?)
}

/// Ends a jail term that is over.
pub(super) fn unjail(
    state: &mut dyn StateAccess,
    context: &ModuleContext<'_>,
    pos: &PosRules,
) -> Result<(), ModuleError> {
    let account = context.sender;
    let before = require(state, &account)?;
    let until_epoch = match before.status {
        ValidatorStatus::Jailed { until_epoch } => until_epoch,
        ValidatorStatus::Active => return Err(StakingError::NotJailed { account }.into()),
        ValidatorStatus::Tombstoned => return Err(StakingError::Tombstoned { account }.into()),
    };
    if rules::epoch_of(pos, context.height) < until_epoch {
        let from = rules::first_of(pos, until_epoch);
        return Err(StakingError::StillJailed { account, until_epoch, from }.into());
    }
    if before.stake < pos.stake_min {
        return Err(StakingError::TooSmall { stake: before.stake, min: pos.stake_min }.into());
    }
    let record = ValidatorRecord { status: ValidatorStatus::Active, missed_turns: 0, ..before.clone() };
    Ok(record::put(state, Some(&before), &record)?)
}

/// Punishes whoever signed two conflicting things, once.
pub(super) fn report(
    state: &mut dyn StateAccess,
    context: &ModuleContext<'_>,
    pos: &PosRules,
    evidence: &Equivocation,
) -> Result<(), ModuleError> {
    let account = evidence.verify(context.chain_id).map_err(StakingError::from)?;
    let height = evidence.height();
    let (oldest, newest) = (rules::oldest_evidence(pos, context.height), context.height);
    if height < oldest || height > newest {
        return Err(StakingError::EvidenceHeight { height, oldest, newest }.into());
    }
    let public_key = *evidence.offender();
    if validators_at(state, height)?.get(&public_key).is_none() {
        return Err(StakingError::NotValidatorThen { account, height }.into());
    }
    let before = validator(state, &account)?;
    // One without a record is in a set that stayed because nobody else qualified, and took its stake back.
    let mut record =
        before.clone().unwrap_or_else(|| ValidatorRecord::new(public_key, account, Height::ZERO));
    if record.status == ValidatorStatus::Tombstoned {
        return Err(StakingError::Tombstoned { account }.into());
    }
    record.status = ValidatorStatus::Tombstoned;
    let mut burnt = slash(&mut record.stake, pos.slash_equivocation_bp);
    for entry in &mut record.unbonding {
        burnt = burnt.saturating_add(slash(&mut entry.amount, pos.slash_equivocation_bp));
    }
    accounts::burn(state, burnt)?;
    Ok(record::put(state, before.as_ref(), &record)?)
}

/// Takes a part, rounded up, and returns it.
fn slash(amount: &mut Amount, basis_points: u32) -> Amount {
    let (part, whole) = (u128::from(basis_points), u128::from(BASIS_POINTS));
    let (high, low) = (amount.get() / whole, amount.get() % whole);
    // No more than the amount, because a part is no more than the whole.
    let lost = Amount::new(high * part + (low * part).div_ceil(whole));
    *amount = amount.saturating_sub(lost);
    lost
}
