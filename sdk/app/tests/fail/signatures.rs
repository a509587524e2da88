use purlin_sdk::prelude::*;

#[derive(State)]
struct Counter {
    count: Item<u64>,
}

#[app]
impl Counter {
    #[call]
    fn borrowed(&mut self, name: &str, keys: &[u8], count: &u64) {}

    #[call]
    fn pattern(&mut self, (a, b): (u64, u64)) {}

    #[call]
    fn some(&mut self, values: impl Into<u64>) {}

    #[call]
    fn generic<T>(&mut self, value: T) {}

    #[call]
    async fn later(&mut self) {}

    #[call]
    unsafe fn danger(&mut self) {}

    #[call]
    #[cfg(debug_assertions)]
    fn sometimes(&mut self) {}

    #[migrate]
    fn migrate(&mut self, count: u64) {}

    #[stop]
    fn halt(&mut self, reason: String) {}
}

fn main() {}
