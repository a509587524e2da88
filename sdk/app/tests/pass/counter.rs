#![no_std]
#![deny(unsafe_code, missing_docs, warnings)]
//! An application that denies what generated code must not trip over.
use purlin_sdk::prelude::*;

/// Counts.
#[derive(State)]
pub struct Counter {
    count: Item<u64>,
}

#[app]
impl Counter {
    /// Adds one.
    #[call]
    pub fn increment(&mut self) {
        let count = self.count.get_or_default();
        self.count.set(&(count + 1));
    }
}

fn main() {}
