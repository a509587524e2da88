use purlin_sdk::prelude::*;

#[derive(State)]
struct Counter {
    count: Item<u64>,
}

#[app]
impl Counter {
    #[query]
    fn ratio(&self) -> f64 {
        0.5
    }
}

fn main() {}
