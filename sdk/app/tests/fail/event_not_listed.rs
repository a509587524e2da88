use purlin_sdk::prelude::*;

#[derive(State)]
struct Counter {
    count: Item<u64>,
}

#[derive(Event)]
struct Incremented {
    by: u64,
}

#[app]
impl Counter {
    #[call]
    fn increment(&mut self) {
        Incremented { by: 1 }.emit();
    }
}

fn main() {}
