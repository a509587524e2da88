use purlin_sdk::prelude::*;

#[derive(State)]
struct Counter {
    count: Item<u64>,
}

#[derive(AppError)]
enum One {
    /// one
    First,
}

#[derive(AppError)]
enum Two {
    /// two
    Second,
}

#[app]
impl Counter {
    #[query]
    fn one(&self) -> Result<(), One> {
        Ok(())
    }

    #[query]
    fn two(&self) -> Result<(), Two> {
        Ok(())
    }
}

fn main() {}
