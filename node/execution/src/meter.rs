//! Gas of one transaction.

use purlin_abi::GasSchedule;
use purlin_primitives::{CallFailure, FailureCode, Gas};

/// Counts what a transaction used against its limit.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: u64,
    used: u64,
}

impl Meter {
    pub(crate) fn new(limit: Gas) -> Self {
        Self { limit: limit.get(), used: 0 }
    }

    /// Takes gas. When there is too little all of it is used, so that running out costs the same wherever it
    /// happens.
    pub(crate) fn charge(&mut self, amount: u64) -> Result<(), CallFailure> {
        if amount > self.left() {
            self.used = self.limit;
            let message = format!("the gas limit of {} was reached; raise it", self.limit);
            return Err(CallFailure::new(FailureCode::OutOfGas, message));
        }
        self.used += amount;
        Ok(())
    }

    /// Takes what a call reported; a call never uses more than it was given.
    pub(crate) fn take(&mut self, used: Gas) {
        self.used = self.used.saturating_add(used.get()).min(self.limit);
    }

    pub(crate) fn left(&self) -> u64 {
        self.limit - self.used
    }

    pub(crate) fn used(&self) -> Gas {
        Gas::new(self.used)
    }
}

/// Returns what a transaction costs before its first action.
pub(crate) fn intrinsic(schedule: &GasSchedule, size_bytes: usize) -> u64 {
    schedule.transaction_base.saturating_add(schedule.transaction_byte.saturating_mul(size_bytes as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_uses_all_of_it() {
        let mut meter = Meter::new(Gas::new(100));
        meter.charge(60).unwrap();
        assert_eq!(meter.charge(41).unwrap_err().code, FailureCode::OutOfGas);
        assert_eq!((meter.left(), meter.used()), (0, Gas::new(100)));
        let mut meter = Meter::new(Gas::new(100));
        meter.charge(100).unwrap();
        meter.take(Gas::new(5));
        assert_eq!(meter.used(), Gas::new(100));
    }
}
