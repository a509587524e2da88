//! What a transaction pays per unit of gas.

use purlin_primitives::{Amount, Gas, TransactionBody};
use std::cmp::Ordering;

/// Fee per gas as an exact fraction; ordered by value, so one half equals two quarters.
#[derive(Debug, Clone, Copy)]
pub struct Price {
    fee: u128,
    /// At least 1: a gas limit of zero, which execution refuses, must not divide by zero here.
    gas: u64,
}

impl Price {
    /// Returns what a transaction pays.
    pub fn of(body: &TransactionBody) -> Self {
        Self { fee: body.fee.get(), gas: body.gas_limit.get().max(1) }
    }

    /// Returns the least fee that beats this price with a gas limit of `gas`; saturates at the largest amount.
    pub fn fee_above(self, gas: Gas) -> Amount {
        let floor = scale(self.fee, gas.get().max(1), self.gas, Rounding::Down);
        Amount::new(floor.saturating_add(1))
    }

    /// Returns the least fee that may replace a transaction of this price by one with a gas limit of `gas`: a
    /// tenth more than what the old one would pay for the larger of the two limits, and at least one unit more.
    pub fn fee_to_replace(self, gas: Gas) -> Amount {
        let base = scale(self.fee, gas.get().max(self.gas), self.gas, Rounding::Up);
        let step = base.div_ceil(REPLACEMENT_STEP_DIVISOR).max(1);
        Amount::new(base.saturating_add(step))
    }
}

/// A replacement pays one tenth more. A smaller step lets a sender make every node of a network re-check and
/// relay the same transaction for next to nothing.
const REPLACEMENT_STEP_DIVISOR: u128 = 10;

enum Rounding {
    Down,
    Up,
}

/// Returns `value * by / per`, stopping at the largest number.
fn scale(value: u128, by: u64, per: u64, rounding: Rounding) -> u128 {
    let (by, per) = (u128::from(by), u128::from(per));
    let (quotient, remainder) = (value / per, value % per);
    // remainder < per < 2^64 and by < 2^64, so this product fits.
    let rest = remainder * by;
    let rest = match rounding {
        Rounding::Down => rest / per,
        Rounding::Up => rest.div_ceil(per),
    };
    quotient.saturating_mul(by).saturating_add(rest)
}

/// Returns the 192-bit product as (upper 128 bits, lower 64 bits).
fn product(a: u128, b: u64) -> (u128, u64) {
    const LOWER: u128 = u64::MAX as u128;
    let lower = (a & LOWER) * u128::from(b);
    // (2^64-1)^2 + 2^64 - 1 is below 2^128.
    let upper = (a >> 64) * u128::from(b) + (lower >> 64);
    (upper, lower as u64)
}

impl Ord for Price {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.gas == other.gas {
            return self.fee.cmp(&other.fee);
        }
        product(self.fee, other.gas).cmp(&product(other.fee, self.gas))
    }
}

impl PartialOrd for Price {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Price {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Price {}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(fee: u128, gas: u64) -> Price {
        Price { fee, gas }
    }

    #[test]
    fn orders_by_value_up_to_the_largest_numbers() {
        assert_eq!(price(1, 2), price(2, 4));
        assert!(price(1, 3) < price(1, 2));
        assert!(price(u128::MAX, u64::MAX) > price(u128::MAX - 1, u64::MAX));
        assert!(price(u128::MAX, u64::MAX) < price(u128::MAX, u64::MAX - 1));
        assert!(price(0, 1) < price(1, u64::MAX));
        // Differs from its neighbour only beyond 128 bits of the product.
        assert!(price(u128::MAX, 3) > price(u128::MAX - 1, 3));
    }

    #[test]
    fn fee_above_is_the_least_that_beats() {
        for (fee, gas, other) in [(0, 1, 1), (10, 3, 7), (1, 1_000, 1), (999, 1_000, 333), (7, 7, 7)] {
            let old = price(fee, gas);
            let needed = old.fee_above(Gas::new(other)).get();
            assert!(price(needed, other) > old, "{fee}/{gas} for {other}");
            assert!(needed == 0 || price(needed - 1, other) <= old, "{fee}/{gas} for {other}");
        }
        assert_eq!(price(u128::MAX, 1).fee_above(Gas::new(2)), Amount::MAX);
    }

    #[test]
    fn a_replacement_pays_a_tenth_more_and_never_less_per_gas() {
        assert_eq!(price(0, 100).fee_to_replace(Gas::new(100)), Amount::new(1));
        assert_eq!(price(100, 100).fee_to_replace(Gas::new(100)), Amount::new(110));
        assert_eq!(price(101, 100).fee_to_replace(Gas::new(100)), Amount::new(112));
        // Half the gas does not make it cheaper, twice the gas makes it twice as dear.
        assert_eq!(price(100, 100).fee_to_replace(Gas::new(50)), Amount::new(110));
        assert_eq!(price(100, 100).fee_to_replace(Gas::new(200)), Amount::new(220));
        assert_eq!(price(u128::MAX, 1).fee_to_replace(Gas::new(2)), Amount::MAX);
    }
}
