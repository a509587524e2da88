//! Epochs, and what rules a chain may have.

use purlin_primitives::{GenesisValidator, Height, PosRules, VALIDATORS_MAX};

use super::error::StakingError;

/// Most blocks of an epoch.
pub const EPOCH_BLOCKS_MAX: u64 = 10_000_000;
/// Most epochs of unbonding: bounds a validator's record and how many old sets are kept.
pub const UNBONDING_EPOCHS_MAX: u64 = 1_024;
/// Most epochs in jail.
pub const JAIL_EPOCHS_MAX: u64 = 1_000_000;

/// Returns the epoch of a block; the first is 0. Genesis counts to the first.
pub fn epoch_of(rules: &PosRules, height: Height) -> u64 {
    height.get().saturating_sub(1) / rules.epoch_blocks
}

/// Says whether a block is the last of its epoch.
pub fn is_epoch_end(rules: &PosRules, height: Height) -> bool {
    height.get() > 0 && height.get().is_multiple_of(rules.epoch_blocks)
}

/// Returns the first block of an epoch.
pub(super) fn first_of(rules: &PosRules, epoch: u64) -> Height {
    Height::new(epoch.saturating_mul(rules.epoch_blocks).saturating_add(1))
}

/// Returns the block at whose end stake is released that is taken out at `height`.
pub(super) fn release_at(rules: &PosRules, height: Height) -> Height {
    let epochs = epoch_of(rules, height).saturating_add(1).saturating_add(rules.unbonding_epochs);
    Height::new(epochs.saturating_mul(rules.epoch_blocks))
}

/// Returns the oldest height whose misbehaviour can be punished in block `height`. All who decided there still
/// have their stake, or have it waiting: whoever takes it out in epoch `e` decides at most until the next
/// epoch's first block, `(e + 1) * epoch_blocks + 1`, and gets it at the end of block
/// `(e + 1 + unbonding_epochs) * epoch_blocks`.
pub(super) fn oldest_evidence(rules: &PosRules, height: Height) -> Height {
    let window = rules.unbonding_epochs.saturating_mul(rules.epoch_blocks);
    Height::new(height.get().saturating_add(1).saturating_sub(window).max(1))
}

fn problem(field: &'static str, problem: String) -> StakingError {
    StakingError::Genesis { field, problem }
}

fn range(field: &'static str, value: u64, min: u64, max: u64) -> Result<(), StakingError> {
    match (min..=max).contains(&value) {
        true => Ok(()),
        false => Err(problem(field, format!("{value} is outside {min} to {max}"))),
    }
}

/// Checks the rules of a proof-of-stake chain.
pub(super) fn check(rules: &PosRules) -> Result<(), StakingError> {
    range("parameters.consensus.epoch_blocks", rules.epoch_blocks, 1, EPOCH_BLOCKS_MAX)?;
    range("parameters.consensus.unbonding_epochs", rules.unbonding_epochs, 1, UNBONDING_EPOCHS_MAX)?;
    range("parameters.consensus.jail_epochs", rules.jail_epochs, 0, JAIL_EPOCHS_MAX)?;
    let validators_max = u64::from(rules.validators_max);
    range("parameters.consensus.validators_max", validators_max, 1, VALIDATORS_MAX as u64)?;
    let slash = u64::from(rules.slash_equivocation_bp);
    range("parameters.consensus.slash_equivocation_bp", slash, 0, super::actions::BASIS_POINTS.into())?;
    if rules.stake_per_power.get() == 0 {
        return Err(problem("parameters.consensus.stake_per_power", "0 is below 1".into()));
    }
    if rules.stake_min < rules.stake_per_power {
        let text = format!(
            "{} is below stake_per_power, {}; a validator with the least stake would have no power",
            rules.stake_min, rules.stake_per_power
        );
        return Err(problem("parameters.consensus.stake_min", text));
    }
    Ok(())
}

/// Checks that a chain without staking names nobody.
pub(super) fn check_no_validators(validators: &[GenesisValidator]) -> Result<(), StakingError> {
    match validators.len() {
        0 => Ok(()),
        count => {
            let text = format!("{count} are named; proof of work has none, remove them");
            Err(problem("validators", text))
        }
    }
}
