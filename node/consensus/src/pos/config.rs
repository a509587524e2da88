//! How fast blocks follow each other, and how long is waited for others.

use crate::solo::SoloConfig;

use super::tendermint::TimerKind;

/// Sets the pace of a proof-of-stake network. All validators must have equal figures: one that waits less than the
/// others gives up on proposers that the others still wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PosConfig {
    /// Least time from one block to the next, in milliseconds.
    pub interval_ms_min: u64,
    /// How long a proposer waits for a transaction before it proposes an empty block, in milliseconds.
    pub idle_ms: u64,
    /// As `idle_ms`, when the newest state is in no header yet and cannot be proven; should be less.
    pub anchor_after_ms: u64,
    /// How long a proposal may take to be built, sent and checked, in milliseconds; what a proposer may wait before
    /// it builds is added in the first round.
    pub propose_ms: u64,
    /// How long is waited for more prevotes once two thirds have prevoted differently, in milliseconds.
    pub prevote_ms: u64,
    /// The same for precommits.
    pub precommit_ms: u64,
    /// How much longer each of these is with every round, in milliseconds.
    pub round_step_ms: u64,
    /// How often the own proposal and votes of a round are sent again, in milliseconds.
    pub rebroadcast_ms: u64,
}

/// Longest that a round waits for anything: with more, a network that was partitioned for hours would take as long
/// to come back.
pub const TIMEOUT_MS_MAX: u64 = 60_000;

impl Default for PosConfig {
    fn default() -> Self {
        Self {
            interval_ms_min: 200,
            idle_ms: 5_000,
            anchor_after_ms: 500,
            propose_ms: 2_000,
            prevote_ms: 500,
            precommit_ms: 500,
            round_step_ms: 500,
            rebroadcast_ms: 1_000,
        }
    }
}

impl PosConfig {
    /// Returns the pace of the case of one validator.
    pub(super) fn solo(&self) -> SoloConfig {
        SoloConfig { interval_ms_min: self.interval_ms_min, anchor_after_ms: self.anchor_after_ms }
    }

    /// Returns how long a timer of a round runs, in milliseconds.
    pub(super) fn timeout_ms(&self, kind: TimerKind, round: u32) -> u64 {
        let base = match kind {
            TimerKind::Propose if round == 0 => {
                let wait = self.idle_ms.max(self.anchor_after_ms).max(self.interval_ms_min);
                // Not capped: cutting the wait short would fail every first round.
                return wait.saturating_add(self.propose_ms);
            }
            TimerKind::Propose => self.propose_ms,
            TimerKind::Prevote => self.prevote_ms,
            TimerKind::Precommit => self.precommit_ms,
            TimerKind::Rebroadcast => return self.rebroadcast_ms.max(1),
        };
        base.saturating_add(self.round_step_ms.saturating_mul(u64::from(round))).min(TIMEOUT_MS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_grow_and_leave_the_proposer_time_to_wait() {
        let config = PosConfig::default();
        let first = config.timeout_ms(TimerKind::Propose, 0);
        assert!(first >= config.idle_ms + config.propose_ms && first >= config.interval_ms_min);
        assert_eq!(config.timeout_ms(TimerKind::Prevote, 3), 500 + 3 * 500);
        assert_eq!(config.timeout_ms(TimerKind::Precommit, u32::MAX), TIMEOUT_MS_MAX);
        assert_eq!(config.timeout_ms(TimerKind::Rebroadcast, 9), config.rebroadcast_ms);
    }
}
