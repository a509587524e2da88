use purlin_sdk::prelude::*;

#[derive(State)]
struct Counter {
    count: Item<u64>,
}

#[app]
impl Counter {
    #[call]
    #[query]
    fn both(&mut self) {}

    #[query(payable)]
    fn paid(&self) {}

    #[call(free)]
    fn free(&mut self) {}

    #[call = "payable"]
    fn equals(&mut self) {}

    #[init]
    fn open(&mut self) {}

    #[init]
    fn open_again(&mut self) {}
}

fn main() {}
