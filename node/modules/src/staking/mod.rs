//! Staking: who validates, what they risk, what they earn.
//!
//! ```text
//! 0x08 account(20)                  -> ValidatorRecord
//! 0x09 !stake u128, public key(33)  -> account(20); active validators with stake, most stake first
//! 0x0a height u64, account(20)      -> 0x01; this account has stake that is released at the end of that block
//! 0x0b height u64                   -> ValidatorSet that decides from this height on
//! ```
//! Numbers in keys are big-endian.
//!
//! **Epochs.** Block `h` is in epoch `(h - 1) / epoch_blocks`. At the end of an epoch's last block `E` the
//! `validators_max` active validators with the most stake are the new set; it decides from block `E + 2` on.
//! So block `E + 1` is still signed by the old set, and its header has the root of a state that already holds
//! the new one: whoever trusts the old set learns the new set from it. Between epochs nothing changes who
//! decides, not even a slash. When nobody qualifies the old set stays, so that no set is ever empty.
//!
//! **Stake** is debited from the validator's own account, whose key is also the signing key. What is taken out
//! waits until `unbonding_epochs` whole epochs have passed after the one in which that was asked for. That is
//! as long as misbehaviour can be reported, and what waits can be slashed as well.
//!
//! **Double signing.** The first proof slashes a part of everything, at stake and waiting, which nobody gets,
//! and tombstones the validator: its key never validates again. Therefore no list of evidence is needed; a
//! second proof finds a tombstone. Which sets decided within the window is kept, older sets are removed.
//!
//! **Absence.** A block that was first proposed in round `r` says that those whose turn it was in the rounds
//! before did not propose. Who misses more than `missed_turns_max` turns, without proposing a block in between,
//! is jailed: not chosen at the next epoch's end, until it asks to return after `jail_epochs`. The last active
//! validator is never jailed; of several at once, accounts are taken in ascending order.
//!
//! **Rewards** are minted to the proposer's account at the end of each block, also under proof of work. A reward
//! for which the supply has no room is not paid.

mod actions;
mod block_end;
mod error;
#[cfg(test)]
mod properties;
mod record;
mod rules;
mod set;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tests;

use purlin_abi::GasSchedule;
use purlin_primitives::{Action, ConsensusRules, Gas, Genesis};

pub use block_end::{MISSED_ROUNDS_MAX, RELEASES_MAX};
pub use error::StakingError;
pub use record::{Candidate, Unbonding, ValidatorRecord, ValidatorStatus, candidates, list, validator};
pub use rules::{EPOCH_BLOCKS_MAX, JAIL_EPOCHS_MAX, UNBONDING_EPOCHS_MAX, epoch_of, is_epoch_end};
pub use set::validators_at;

use crate::access::StateAccess;
use crate::module::{BlockEnd, ModuleContext, ModuleError, NativeModule};

/// Bonds, slashes, jails and rewards; chooses validators.
#[derive(Debug, Clone, Copy)]
pub struct Staking;

impl NativeModule for Staking {
    fn name(&self) -> &'static str {
        "staking"
    }

    fn genesis(&self, state: &mut dyn StateAccess, genesis: &Genesis) -> Result<(), ModuleError> {
        match &genesis.parameters.consensus {
            ConsensusRules::Pos(rules) => set::start(state, rules, &genesis.validators),
            ConsensusRules::Pow(_) => Ok(rules::check_no_validators(&genesis.validators)?),
        }
    }

    fn price(&self, schedule: &GasSchedule, action: &Action) -> Option<Gas> {
        // Writes: the record, its place among the candidates before and after, and the account or the release.
        let (account, write) = (schedule.account, schedule.storage_write);
        Some(Gas::new(match action {
            Action::Bond { .. } => account + 4 * write,
            Action::Unbond { .. } => account + 4 * write,
            Action::Unjail => 2 * write,
            // Also the supply.
            Action::ReportEquivocation { .. } => 2 * schedule.secp256k1_verify + 3 * write,
            _ => return None,
        }))
    }

    fn apply(
        &self,
        state: &mut dyn StateAccess,
        context: &ModuleContext<'_>,
        action: &Action,
    ) -> Result<(), ModuleError> {
        let ConsensusRules::Pos(rules) = &context.parameters.consensus else {
            return Err(StakingError::NoStaking.into());
        };
        match action {
            Action::Bond { validator, amount } => actions::bond(state, context, rules, validator, *amount),
            Action::Unbond { amount } => actions::unbond(state, context, rules, *amount),
            Action::Unjail => actions::unjail(state, context, rules),
            Action::ReportEquivocation { evidence } => actions::report(state, context, rules, evidence),
            _ => unreachable!("only actions of staking are priced by this module"),
        }
    }

    fn end_block(&self, state: &mut dyn StateAccess, end: &BlockEnd<'_>) -> Result<(), ModuleError> {
        match &end.parameters.consensus {
            ConsensusRules::Pos(rules) => block_end::run(state, rules, end),
            ConsensusRules::Pow(rules) => block_end::reward(state, &end.proposer, rules.block_reward),
        }
    }
}
