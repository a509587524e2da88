//! Whether a miner waits until its node has caught up.

use purlin_primitives::{BlockHeader, BlockId, TimestampMs};

/// Blocks that could have been made since the head before mining waits for what peers have: a node this far behind would
/// mine a branch of its own. On a chain that goes on, whoever claims work without having it holds up nobody.
const BLOCKS_BEHIND_MIN: u64 = 20;
/// Times that a block on one head is held back. It is built again every few seconds; what peers have does not come.
const TIMES_MAX: u32 = 12;

/// Counts how often mining was held back.
#[derive(Debug, Default)]
pub(super) struct Hold {
    on: Option<(BlockId, u32)>,
}

impl Hold {
    /// Says whether a block that was just built on the head should not be mined, while peers claim to be ahead.
    pub(super) fn holds(&mut self, built: &BlockHeader, head: TimestampMs, block_time_ms: u64) -> bool {
        let age_ms = built.time.get().saturating_sub(head.get());
        if age_ms < block_time_ms.saturating_mul(BLOCKS_BEHIND_MIN) {
            return false;
        }
        let times = match self.on {
            Some((on, times)) if on == built.parent => times.saturating_add(1),
            _ => 1,
        };
        self.on = Some((built.parent, times));
        times <= TIMES_MAX
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use purlin_primitives::{Hash32, Height, Seal};

    #[test]
    fn only_a_node_that_is_far_behind_waits_and_not_for_ever() {
        let built = |parent: u8, time: u64| BlockHeader {
            chain_id: "dev".parse().unwrap(),
            height: Height::new(1),
            parent: BlockId::new(Hash32::new([parent; 32])),
            time: TimestampMs::new(time),
            proposer: Default::default(),
            transactions_root: Hash32::ZERO,
            state_root: Hash32::ZERO,
            receipts_root: Hash32::ZERO,
            seal: Seal::Pow { target: 0x2000_ffff, nonce: 0 },
        };
        let (mut hold, head) = (Hold::default(), TimestampMs::new(5_000));
        assert!(!hold.holds(&built(1, 24_999), head, 1_000));
        for _ in 0..TIMES_MAX {
            assert!(hold.holds(&built(1, 25_000), head, 1_000));
        }
        assert!(!hold.holds(&built(1, 25_000), head, 1_000), "nothing came");
        // It gets on, and may wait for more.
        assert!(hold.holds(&built(2, 25_000), head, 1_000));
    }
}
