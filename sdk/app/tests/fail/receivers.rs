use purlin_sdk::prelude::*;

#[derive(State)]
struct Counter {
    count: Item<u64>,
}

#[app]
impl Counter {
    #[call]
    fn reads(&self) {}

    #[query]
    fn writes(&mut self) {}

    #[call]
    fn none(by: u64) {}

    #[query]
    fn owned(self) {}

    #[init]
    fn shared(&self) {}
}

fn main() {}
