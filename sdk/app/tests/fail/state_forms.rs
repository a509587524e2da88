use purlin_sdk::prelude::*;

#[derive(State)]
enum Choice {
    A,
}

#[derive(State)]
struct Positional(Item<u64>);

#[derive(State)]
struct Generic<T> {
    item: Item<T>,
}

fn main() {}
