use purlin_sdk::prelude::*;

struct Counter;

#[app]
impl Counter {
    #[query]
    fn count(&self) -> u64 {
        0
    }
}

fn main() {}
