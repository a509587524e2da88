use purlin_sdk::prelude::*;

#[derive(State)]
struct Counter {
    count: Item<u64>,
}

#[app(event(Incremented))]
impl Counter {
    #[call]
    fn increment(&mut self) {}
}

fn main() {}
