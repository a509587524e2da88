use purlin_sdk::prelude::*;

#[derive(State)]
struct Counter {
    count: u64,
}

fn main() {}
