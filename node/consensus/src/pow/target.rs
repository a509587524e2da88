//! Targets, their compact form, and the work that meeting one shows.

use crypto_bigint::{NonZero, U256};
use purlin_primitives::Hash32;
use std::fmt;

/// The largest hash, read as a big-endian number, that a block may have; at least 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target(U256);

/// Says why a compact target means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompactTargetError {
    /// The sign bit of the mantissa is set.
    #[error("the compact target {0:#010x} is negative")]
    Negative(u32),
    /// More than 256 bits.
    #[error("the compact target {0:#010x} has more than 256 bits")]
    Overflow(u32),
    /// No hash meets it.
    #[error("the compact target {0:#010x} is zero")]
    Zero(u32),
}

impl Target {
    /// What every hash meets.
    pub const MAX: Self = Self(U256::MAX);
    /// What two hashes meet.
    pub const MIN: Self = Self(U256::ONE);

    /// Reads Bitcoin's `nBits`: the first byte is the length of the number in bytes, the other three are its
    /// leading bytes, the highest bit of which is a sign.
    ///
    /// As `arith_uint256::SetCompact` of Bitcoin Core (src/arith_uint256.cpp), with what it flags refused.
    /// Encodings that are not the shortest are read, as there; who compares targets compares what
    /// [`Target::to_compact`] makes.
    pub fn from_compact(bits: u32) -> Result<Self, CompactTargetError> {
        let length = bits >> 24;
        let mantissa = bits & 0x007f_ffff;
        // The sign counts even where the length cuts the mantissa off: Core calls it negative only when
        // something is left, and zero is refused anyway.
        let (mantissa, shift) =
            if length <= 3 { (mantissa >> (8 * (3 - length)), 0) } else { (mantissa, length - 3) };
        if mantissa == 0 {
            return Err(CompactTargetError::Zero(bits));
        }
        if bits & 0x0080_0000 != 0 {
            return Err(CompactTargetError::Negative(bits));
        }
        let used = 32 - mantissa.leading_zeros();
        if used + 8 * shift > U256::BITS {
            return Err(CompactTargetError::Overflow(bits));
        }
        Ok(Self(U256::from_u32(mantissa).unbounded_shl_vartime(8 * shift)))
    }

    /// Writes Bitcoin's `nBits`, rounding down to three bytes; as `arith_uint256::GetCompact` of Bitcoin Core.
    pub fn to_compact(self) -> u32 {
        let mut length = self.0.bits_vartime().div_ceil(8);
        let mut mantissa = if length <= 3 {
            low_u32(&self.0) << (8 * (3 - length))
        } else {
            low_u32(&self.0.unbounded_shr_vartime(8 * (length - 3)))
        };
        // The highest bit is the sign, so a number that begins with it is one byte longer.
        if mantissa & 0x0080_0000 != 0 {
            mantissa >>= 8;
            length += 1;
        }
        mantissa | (length << 24)
    }

    /// Makes a target of a number; zero becomes 1, which is as hard as it gets.
    pub(super) fn new(number: U256) -> Self {
        if number.is_zero_vartime() { Self::MIN } else { Self(number) }
    }

    pub(super) fn number(&self) -> &U256 {
        &self.0
    }

    /// Says whether a hash is small enough.
    pub fn is_met_by(&self, hash: &Hash32) -> bool {
        U256::from_be_slice(hash.as_bytes()).cmp_vartime(&self.0).is_le()
    }

    /// Returns how many hashes it takes on average: 2^256 / (target + 1), rounded down.
    ///
    /// Computed as `~target / (target + 1) + 1`, as `GetBlockProof` of Bitcoin Core (src/chain.cpp), because
    /// 2^256 does not fit.
    pub fn work(&self) -> Work {
        let next = self.0.wrapping_add(&U256::ONE);
        match Option::<NonZero<U256>>::from(NonZero::new(next)) {
            Some(next) => {
                let (quotient, _) = (!self.0).div_rem_vartime(&next);
                Work(quotient.wrapping_add(&U256::ONE))
            }
            // Every hash meets the largest target.
            None => Work(U256::ONE),
        }
    }
}

fn low_u32(number: &U256) -> u32 {
    let bytes = number.to_be_bytes();
    let bytes: &[u8] = bytes.as_ref();
    let last = bytes.last_chunk::<4>().expect("the number has 32 bytes");
    u32::from_be_bytes(*last)
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({:#x})", self.0)
    }
}

/// A number of hashes: of a block, or of a chain of blocks, whose sum decides which chain is the heaviest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work(U256);

impl Work {
    /// No work.
    pub const ZERO: Self = Self(U256::ZERO);

    /// Adds the work of another block. Stops at 2^256 - 1, which no machine ever reaches.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(&other.0))
    }

    /// Returns the number, big-endian, as nodes tell it to each other.
    pub fn to_be_bytes(self) -> [u8; 32] {
        let bytes = self.0.to_be_bytes();
        let bytes: &[u8] = bytes.as_ref();
        *bytes.first_chunk().expect("the number has 32 bytes")
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Work({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests panic where their assertions would")]

    use super::*;

    fn number(hex: &str) -> U256 {
        U256::from_be_hex(&format!("{hex:0>64}"))
    }

    #[test]
    fn compact_targets_are_read_as_bitcoin_core_reads_them() {
        // From src/test/arith_uint256_tests.cpp (bignum_SetCompact) of Bitcoin Core: bits, number, written again.
        for (bits, hex, again) in [
            (0x0112_3456, "12", 0x0112_0000),
            (0x0200_8000, "80", 0x0200_8000),
            (0x0212_3456, "1234", 0x0212_3400),
            (0x0312_3456, "123456", 0x0312_3456),
            (0x0412_3456, "12345600", 0x0412_3456),
            (0x0500_9234, "92340000", 0x0500_9234),
            (0x2012_3456, &format!("123456{}", "00".repeat(29)), 0x2012_3456),
            (0x1d00_ffff, &format!("ffff{}", "00".repeat(26)), 0x1d00_ffff),
            (0x2100_ffff, &format!("ffff{}", "00".repeat(30)), 0x2100_ffff),
            (0x2200_00ff, &format!("ff{}", "00".repeat(31)), 0x2100_ff00),
        ] {
            let target = Target::from_compact(bits).unwrap();
            assert_eq!(target.0, number(hex), "{bits:#x}");
            assert_eq!(target.to_compact(), again, "{bits:#x}");
        }
        type Fault = fn(u32) -> CompactTargetError;
        for (bits, fault) in [
            (0, CompactTargetError::Zero as Fault),
            (0x0012_3456, CompactTargetError::Zero),
            (0x0100_3456, CompactTargetError::Zero),
            (0x0200_0056, CompactTargetError::Zero),
            (0x0300_0000, CompactTargetError::Zero),
            (0x0400_0000, CompactTargetError::Zero),
            (0x0092_3456, CompactTargetError::Zero),
            (0x0180_3456, CompactTargetError::Zero),
            (0x0280_0056, CompactTargetError::Zero),
            (0x0380_0000, CompactTargetError::Zero),
            (0xff00_0000, CompactTargetError::Zero),
            (0x01fe_dcba, CompactTargetError::Negative),
            (0x0492_3456, CompactTargetError::Negative),
            (0x1d80_ffff, CompactTargetError::Negative),
            (0xff12_3456, CompactTargetError::Overflow),
            (0x2300_0001, CompactTargetError::Overflow),
            (0x2200_0100, CompactTargetError::Overflow),
            (0x2101_0000, CompactTargetError::Overflow),
        ] {
            assert_eq!(Target::from_compact(bits), Err(fault(bits)), "{bits:#x}");
        }
    }

    #[test]
    fn compact_form_rounds_down_and_keeps_its_own() {
        assert_eq!(Target::MAX.to_compact(), 0x2100_ffff);
        assert_eq!(Target::MIN.to_compact(), 0x0101_0000);
        for shift in 0..256 {
            for mantissa in
                [1u32, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7f_ffff, 0x80_0000, 0xff_ffff, u32::MAX]
            {
                let target = Target::new(U256::from_u32(mantissa).unbounded_shl_vartime(shift));
                let rounded = Target::from_compact(target.to_compact()).unwrap();
                assert!(rounded <= target, "{target:?}");
                assert_eq!(rounded.to_compact(), target.to_compact(), "{target:?}");
            }
        }
    }

    #[test]
    fn work_is_the_expected_number_of_hashes() {
        assert_eq!(Target::MAX.work(), Work(U256::ONE));
        assert_eq!(Target::MIN.work(), Work(U256::ONE.unbounded_shl_vartime(255)));
        // Half of all hashes meet 2^255 - 1.
        assert_eq!(Target::new(U256::MAX.unbounded_shr_vartime(1)).work(), Work(U256::from_u32(2)));
        // Bitcoin's first block: 2^32 + 2^16 + 1.
        assert_eq!(Target::from_compact(0x1d00_ffff).unwrap().work(), Work(U256::from_u64(0x1_0001_0001)));
        let much = Target::MIN.work();
        assert_eq!(much.plus(much), Work(U256::MAX), "it stops at the end");
    }

    #[test]
    fn a_hash_is_a_big_endian_number() {
        let target = Target::from_compact(0x0301_0000).unwrap();
        let hash = |at: usize, byte: u8| {
            let mut bytes = [0; 32];
            bytes[at] = byte;
            Hash32::new(bytes)
        };
        assert!(target.is_met_by(&hash(29, 1)), "exactly the target");
        assert!(target.is_met_by(&hash(31, 255)));
        assert!(!target.is_met_by(&hash(29, 2)));
        assert!(!target.is_met_by(&hash(0, 1)));
    }
}
