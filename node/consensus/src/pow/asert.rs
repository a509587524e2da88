//! How hard the next block is.

use crypto_bigint::U512;

use purlin_primitives::{Height, PowRules, TimestampMs};

use super::target::{CompactTargetError, Target};

/// What every block of a chain measures its target by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Target of the anchor block.
    pub anchor: Target,
    /// The easiest target.
    pub limit: Target,
    /// Wanted time from block to block, in milliseconds.
    pub block_time_ms: u64,
    /// How far ahead or behind of schedule halves or doubles the target, in milliseconds; at least 1.
    pub half_life_ms: u64,
}

impl Schedule {
    /// Returns the schedule of a chain with these rules: it begins with its easiest target.
    pub fn of(rules: &PowRules) -> Result<Self, CompactTargetError> {
        let limit = Target::from_compact(rules.target_start)?;
        let (block_time_ms, half_life_ms) = (rules.block_time_ms, rules.half_life_ms);
        Ok(Self { anchor: limit, limit, block_time_ms, half_life_ms })
    }

    /// Returns the target of the block on a parent of this height and time; `first_time` is that of block 1 of its
    /// branch, and counts for nothing on the genesis.
    pub fn target_on(&self, parent: Height, time: TimestampMs, first_time: TimestampMs) -> Target {
        let Some(blocks) = parent.get().checked_sub(1) else { return self.anchor };
        // The schedule starts with block 1, as if its parent had been one block time before it: how long ago the
        // genesis was written says nothing about the hash rate.
        let since = i128::from(time.get()) - i128::from(first_time.get());
        self.target_after(since + i128::from(self.block_time_ms), blocks)
    }

    /// Returns the target of the block after one that came `since_ms` after the anchor's *parent* and `blocks`
    /// blocks after the anchor.
    ///
    /// This is `aserti3-2d` of the Bitcoin Cash specification (2020-11-15-asert.md), integer for integer:
    ///
    /// ```text
    /// exponent = trunc((since - block_time * (blocks + 1)) * 2^16 / half_life)
    /// target   = anchor * 2^(exponent / 2^16)
    /// 2^x, 0 <= x < 1, x = f / 2^16:
    ///            (2^16 + ((195766423245049 f + 971821376 f^2 + 5127 f^3 + 2^47) >> 48)) / 2^16
    /// ```
    ///
    /// The result is between 1 and the limit. Times are in milliseconds here and in seconds there; their ratio
    /// is what counts. What would not fit any register ends at the bounds.
    pub fn target_after(&self, since_ms: i128, blocks: u64) -> Target {
        const RADIX_BITS: u32 = 16;
        let due = i128::from(self.block_time_ms).saturating_mul(i128::from(blocks) + 1);
        let ahead = since_ms.saturating_sub(due);
        // Rust's division rounds to zero, like the specification's.
        let exponent = ahead.saturating_mul(1 << RADIX_BITS) / i128::from(self.half_life_ms.max(1));
        let shift = (exponent >> RADIX_BITS) - i128::from(RADIX_BITS);
        let fraction = (exponent & 0xffff) as u64;
        // At most 2^64 - 2^47.5 for the largest fraction, so it fits.
        let curve = 195_766_423_245_049 * fraction
            + 971_821_376 * fraction * fraction
            + 5_127 * fraction * fraction * fraction
            + (1 << 47);
        let factor = (1 << RADIX_BITS) + (curve >> 48);

        // 256 bits times 17 bits; shifted by less than 240 that fits 512 bits, and shifted by more it is above
        // every limit, because it is at least 2^16.
        let product = self.anchor.number().resize::<{ U512::LIMBS }>().wrapping_mul(&U512::from_u64(factor));
        if shift >= 240 {
            return self.limit;
        }
        let shifted = match u32::try_from(shift) {
            Ok(left) => product.unbounded_shl_vartime(left),
            Err(_) => product.unbounded_shr_vartime(u32::try_from(-shift).unwrap_or(u32::MAX)),
        };
        if shifted.cmp_vartime(&self.limit.number().resize()).is_gt() {
            return self.limit;
        }
        Target::new(shifted.resize())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests panic where their assertions would")]

    use super::*;

    /// Bitcoin Cash: ten minutes, two days, the limit of its main network.
    fn schedule(anchor: u32) -> Schedule {
        Schedule {
            anchor: Target::from_compact(anchor).unwrap(),
            limit: Target::from_compact(0x1d00_ffff).unwrap(),
            block_time_ms: 600_000,
            half_life_ms: 172_800_000,
        }
    }

    fn check(anchor: u32, since_s: i128, blocks: u64, expected: u32) {
        let bits = schedule(anchor).target_after(since_s * 1_000, blocks).to_compact();
        assert_eq!(bits, expected, "{bits:#x}: anchor {anchor:#x}, {since_s} s, {blocks} blocks");
    }

    /// Rows of the specification's test vectors (bchn-sw/qa-assets, test_vectors/aserti3-2d): block number, with
    /// the anchor at 1, and seconds since the anchor's parent.
    #[test]
    fn targets_are_those_of_the_reference_implementation() {
        // run 2 and run 3: on time at an arbitrary and at the hardest target.
        for height in 2..12 {
            check(0x1a2b_3c4d, i128::from(height) * 600, height - 1, 0x1a2b_3c4d);
            check(0x0101_0000, i128::from(height) * 600, height - 1, 0x0101_0000);
        }
        // run 5: no time passes, a half-life of blocks at a time, down to 1.
        for (height, bits) in [
            (2, 0x1d00_fec5),
            (290, 0x1c7f_62c0),
            (578, 0x1c3f_b160),
            (2306, 0x1c00_fec5),
            (2594, 0x1b7f_62c0),
            (32258, 0x0f00_fec5),
            (59906, 0x0300_fec5),
            (60194, 0x027f_6200),
            (61634, 0x0203_fb00),
            (62210, 0x0200_fe00),
            (62498, 0x017f_0000),
            (63938, 0x0103_0000),
            (64226, 0x0101_0000),
            (64514, 0x0101_0000),
        ] {
            check(0x1d00_ffff, 0, height - 1, bits);
        }
        // run 7: a growing hash rate.
        for (height, seconds, bits) in [
            (3, 1_310, 0x1802_ad91),
            (9, 7_099, 0x1802_b39c),
            (25, 13_319, 0x1802_aa4e),
            (100, 20_363, 0x1802_49fb),
            (200, 24_330, 0x1801_d3f3),
            (333, 27_493, 0x1801_5822),
            (461, 29_070, 0x1800_fe7b),
            (500, 29_547, 0x1800_e81f),
            (638, 31_020, 0x1800_a788),
        ] {
            check(0x1802_aee8, seconds, height - 1, bits);
        }
        // run 8: a shrinking one, up to the limit.
        for (height, seconds, bits) in [
            (22, 33_606, 0x1802_e994),
            (100, 333_016, 0x1808_0571),
            (186, 1_073_114, 0x187e_f4ed),
            (187, 1_078_358, 0x1900_8158),
            (281, 2_529_858, 0x1a00_881c),
            (401, 4_883_769, 0x1b13_9eeb),
            (484, 6_930_238, 0x1d00_e688),
            (485, 6_993_399, 0x1d00_ffff),
            (501, 7_462_933, 0x1d00_ffff),
        ] {
            check(0x1802_aee8, seconds, height - 1, bits);
        }
        // run 10: slow blocks after an anchor just below the largest signed height.
        for (blocks, seconds, bits) in [
            (1, 2_147_484_547, 0x1802_afbb),
            (5, 2_147_488_147, 0x1802_b30e),
            (6, 2_147_489_047, 0x1802_b3e5),
            (10, 2_147_492_647, 0x1802_b73d),
        ] {
            check(0x1802_aee8, seconds - 2_147_483_047, blocks, bits);
        }
    }

    #[test]
    fn extremes_end_at_the_bounds() {
        let schedule = schedule(0x1802_aee8);
        for since in [i128::MAX, 1 << 100, i128::from(u64::MAX)] {
            assert_eq!(schedule.target_after(since, 0), schedule.limit);
        }
        for since in [i128::MIN, -(1 << 100), -i128::from(u64::MAX)] {
            assert_eq!(schedule.target_after(since, 0), Target::MIN);
        }
        assert_eq!(schedule.target_after(0, u64::MAX), Target::MIN);
        let everything = Schedule { anchor: Target::MAX, limit: Target::MAX, ..schedule };
        assert_eq!(everything.target_after(600_000, 0), Target::MAX);
        assert_eq!(everything.target_after(600_001, 0), Target::MAX);
        let half = everything.target_after(600_000 - 172_800_000, 0);
        assert_eq!(*half.number(), Target::MAX.number().unbounded_shr_vartime(1));
        // From the hardest to the easiest in one step, at every shift.
        let hardest = Schedule { anchor: Target::MIN, limit: Target::MAX, ..schedule };
        for doublings in 0..256u32 {
            let since = 600_000 + i128::from(doublings) * 172_800_000;
            let expected = crypto_bigint::U256::ONE.unbounded_shl_vartime(doublings);
            assert_eq!(*hardest.target_after(since, 0).number(), expected, "{doublings}");
        }
        assert_eq!(hardest.target_after(600_000 + 256 * 172_800_000, 0), Target::MAX);
        let no_half_life = Schedule { half_life_ms: 0, ..schedule };
        assert_eq!(no_half_life.target_after(600_000, 0), schedule.anchor, "no division by zero");
    }

    #[test]
    fn later_is_never_harder_and_more_blocks_are_never_easier() {
        let schedule = schedule(0x1802_aee8);
        let mut before = Target::MIN;
        for minute in (-600_000..600_000).step_by(997) {
            let target = schedule.target_after(i128::from(minute) * 60_000, 0);
            assert!(target >= before, "minute {minute}");
            before = target;
        }
        let mut before = schedule.limit;
        for blocks in (0..100_000).step_by(97) {
            let target = schedule.target_after(0, blocks);
            assert!(target <= before, "{blocks} blocks");
            before = target;
        }
    }
}
