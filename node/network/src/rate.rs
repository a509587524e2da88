//! How much one peer may ask.

/// A token bucket: refills at a steady rate and holds two seconds' worth.
#[derive(Debug, Clone)]
pub(crate) struct TokenBucket {
    per_second: u64,
    /// In thousandths, so that milliseconds refill slow buckets too.
    tokens_milli: u64,
    updated_ms: u64,
}

impl TokenBucket {
    /// Starts full.
    pub(crate) fn new(per_second: u32, now_ms: u64) -> Self {
        let per_second = u64::from(per_second);
        Self { per_second, tokens_milli: Self::capacity_milli(per_second), updated_ms: now_ms }
    }

    /// Takes tokens, or nothing when there are too few. A charge above the capacity passes when the bucket is full, so
    /// that a low limit slows large messages instead of forbidding them.
    pub(crate) fn take(&mut self, tokens: u64, now_ms: u64) -> bool {
        let capacity = Self::capacity_milli(self.per_second);
        let elapsed_ms = now_ms.saturating_sub(self.updated_ms);
        self.tokens_milli =
            self.tokens_milli.saturating_add(elapsed_ms.saturating_mul(self.per_second)).min(capacity);
        self.updated_ms = now_ms;
        let charge = tokens.saturating_mul(1_000).min(capacity);
        if charge > self.tokens_milli || capacity == 0 {
            return false;
        }
        self.tokens_milli -= charge;
        true
    }

    const fn capacity_milli(per_second: u64) -> u64 {
        per_second * 2 * 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut bucket = TokenBucket::new(10, 0);
        assert_eq!((0..100).filter(|_| bucket.take(1, 0)).count(), 20);
        assert_eq!((0..100).filter(|_| bucket.take(1, 1_000)).count(), 10);
        assert_eq!((0..1_000).filter(|at| bucket.take(1, 1_000 + at)).count(), 9, "10/s over 999 ms");
    }

    #[test]
    fn a_message_above_the_capacity_needs_a_full_bucket() {
        let mut bucket = TokenBucket::new(10, 0);
        assert!(bucket.take(1_000, 0));
        assert!(!bucket.take(1_000, 1_000));
        assert!(bucket.take(1_000, 2_000));
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing() {
        let mut bucket = TokenBucket::new(1, 10_000);
        assert!(bucket.take(2, 10_000));
        assert!(!bucket.take(1, 5_000));
    }
}
