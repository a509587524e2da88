use purlin_sdk::prelude::*;

struct Counter;

trait Counts {
    fn count(&self) -> u64;
}

#[app]
impl Counts for Counter {
    #[query]
    fn count(&self) -> u64 {
        0
    }
}

fn main() {}
