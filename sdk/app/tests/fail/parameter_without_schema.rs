use purlin_sdk::prelude::*;

#[derive(State)]
struct Counter {
    count: Item<u64>,
}

struct Order {
    count: u64,
}

#[app]
impl Counter {
    #[call]
    fn place(&mut self, order: Order) {}
}

fn main() {}
