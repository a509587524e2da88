use purlin_sdk::prelude::*;

#[derive(State)]
struct Counter {
    count: Item<u64>,
}

#[app]
impl Counter {
    #[query]
    fn count(&self) -> Result<u64, String> {
        Ok(1)
    }
}

fn main() {}
