use purlin_sdk::prelude::*;

#[derive(State)]
struct Counter {
    count: Item<u64>,
}

#[app]
impl Counter {
    fn helper(&self) {}
}

fn main() {}
