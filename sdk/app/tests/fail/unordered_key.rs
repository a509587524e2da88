use purlin_sdk::prelude::*;

#[derive(State)]
struct Shop {
    orders: OrderedMap<Option<u64>, u64>,
}

fn main() {}
