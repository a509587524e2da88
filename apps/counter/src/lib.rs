//! Keeps a count that everybody can raise.
#![no_std]
use purlin_sdk::prelude::*;

/// Counts for everybody.
#[derive(State)]
pub struct Counter {
    count: Item<u64>,
}

#[app]
impl Counter {
    /// Adds to the count and gives the new one.
    #[call]
    pub fn increment(&mut self, by: u64) -> u64 {
        let count = self.count().saturating_add(by);
        self.count.set(&count);
        count
    }
    /// Gives the current count.
    #[query]
    pub fn count(&self) -> u64 {
        self.count.get_or_default()
    }
}
