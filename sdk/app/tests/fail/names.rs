use purlin_sdk::prelude::*;

#[derive(State)]
struct Counter {
    count: Item<u64>,
}

#[app]
impl Counter {
    #[call]
    fn query_count(&mut self) {}

    #[call]
    fn stop(&mut self) {}

    #[call]
    fn memcpy(&mut self) {}

    #[call]
    fn round(&mut self) {}

    #[query]
    fn with_deposit(&self) {}

    #[query]
    fn größe(&self) {}
}

fn main() {}
