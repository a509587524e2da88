//! Who decides: choosing validators, and which set is in force at a height.

use purlin_primitives::{
    Amount, GenesisValidator, Height, PosRules, TOTAL_POWER_MAX, Validator, ValidatorSet,
};
use purlin_state::{Order, StateKey, StatePrefix, StoreError};

use super::error::StakingError;
use super::record::{self, Candidate, ValidatorRecord, candidates};
use super::rules;
use crate::access::{StateAccess, StateRead, decode, encode};
use crate::accounts;
use crate::module::ModuleError;

/// First height at which validators decide.
const FIRST: Height = Height::new(1);
/// Most sets that one block removes. One per epoch becomes old.
const PRUNED_MAX: usize = 16;

/// Returns those who decide at `height`. From the state after block `height - 1` the answer is final; a later
/// state answers the same as long as misbehaviour at that height can be punished. Empty on a chain without
/// staking.
pub fn validators_at(
    state: &mut (impl StateRead + ?Sized),
    height: Height,
) -> Result<ValidatorSet, StoreError> {
    let from = [StatePrefix::ValidatorSet as u8];
    let found = state.scan(&from, &StateKey::validator_set(height.next()), Order::Descending, 1)?;
    found.first().map_or(Ok(ValidatorSet::default()), |(_, bytes)| decode("validator set", bytes))
}

/// Makes the validators of the genesis, with the stake that their power stands for.
pub(super) fn start(
    state: &mut dyn StateAccess,
    pos: &PosRules,
    validators: &[GenesisValidator],
) -> Result<(), ModuleError> {
    rules::check(pos)?;
    let problem = |problem: String| StakingError::Genesis { field: "validators", problem };
    if validators.is_empty() {
        return Err(problem("there is none; proof of stake needs at least one".into()).into());
    }
    if validators.len() > pos.validators_max as usize {
        let text = format!("{} are named; validators_max is {}", validators.len(), pos.validators_max);
        return Err(problem(text).into());
    }
    let mut members = Vec::with_capacity(validators.len());
    for GenesisValidator { public_key, power } in validators {
        let account =
            public_key.try_account_id().map_err(|error| problem(format!("{public_key}: {error}")))?;
        members.push(Validator { public_key: *public_key, account, power: *power });
    }
    let set = ValidatorSet::new(members).map_err(|error| problem(error.to_string()))?;
    for Validator { public_key, account, power } in set.validators() {
        let stake = pos.stake_per_power.get().checked_mul(u128::from(*power)).map(Amount::new);
        let stake = stake.ok_or_else(|| {
            problem(format!("{power} times stake_per_power is too much stake for {public_key}"))
        })?;
        if stake < pos.stake_min {
            let text = format!("{public_key} has {stake} at stake, below stake_min, {}", pos.stake_min);
            return Err(problem(text).into());
        }
        accounts::issue(state, account, stake)?;
        let record = ValidatorRecord { stake, ..ValidatorRecord::new(*public_key, *account, Height::ZERO) };
        record::put(state, None, &record)?;
    }
    state.set(&StateKey::validator_set(FIRST), encode(&set));
    Ok(())
}

/// At the end of an epoch's last block: chooses the set that decides two blocks later, and forgets sets that
/// decided before anything that can still be punished.
pub(super) fn turn_over(
    state: &mut dyn StateAccess,
    pos: &PosRules,
    height: Height,
) -> Result<(), StoreError> {
    let chosen = choose(state, pos)?;
    // The last set that was chosen is in force by now or from the next block on.
    if !chosen.validators().is_empty() && chosen != validators_at(state, height.next())? {
        state.set(&StateKey::validator_set(height.next().next()), encode(&chosen));
    }
    prune(state, rules::oldest_evidence(pos, height.next()))
}

/// Chooses those with the most stake.
fn choose(state: &mut dyn StateAccess, pos: &PosRules) -> Result<ValidatorSet, StoreError> {
    let candidates = candidates(state, pos.validators_max as usize)?;
    let stakes: Vec<Amount> = candidates.iter().map(|candidate| candidate.stake).collect();
    let validators = candidates
        .into_iter()
        .zip(powers(&stakes, pos.stake_per_power))
        .map(|(Candidate { public_key, account, .. }, power)| Validator { public_key, account, power })
        .collect();
    Ok(ValidatorSet::new(validators)
        .expect("candidates have one key each and powers fit; the rules of the genesis bound their number"))
}

/// Returns what stakes stand for. Where the sum would leave the range, all are halved until it fits: shares
/// stay what they are, to the precision of one.
pub(super) fn powers(stakes: &[Amount], stake_per_power: Amount) -> Vec<u64> {
    let halved =
        |times: u32| stakes.iter().map(move |stake| ((stake.get() / stake_per_power.get()) >> times).max(1));
    let fits = |times: &u32| {
        halved(*times).try_fold(0u128, u128::checked_add).is_some_and(|sum| sum <= TOTAL_POWER_MAX.into())
    };
    let times = (0..u128::BITS).find(fits).expect("halved often enough every power is 1");
    halved(times).map(|power| u64::try_from(power).expect("the sum fits, so do its parts")).collect()
}

/// Removes the sets that no height from `oldest` on needs.
fn prune(state: &mut dyn StateAccess, oldest: Height) -> Result<(), StoreError> {
    let from = [StatePrefix::ValidatorSet as u8];
    let mut old = state.scan(&from, &StateKey::validator_set(oldest.next()), Order::Ascending, PRUNED_MAX)?;
    // The last of them is in force at `oldest`, or another one that the next epoch's end removes.
    old.pop();
    old.iter().try_for_each(|(key, _)| state.remove(key))
}
