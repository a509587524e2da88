use purlin_sdk::prelude::*;

#[derive(AppError)]
struct Wrong;

#[derive(AppError)]
enum Silent {
    Wrong,
}

#[derive(AppError)]
enum Same {
    /// one
    #[error(code = 2)]
    One,
    /// two
    #[error(code = 2)]
    Two,
}

#[derive(AppError)]
enum Option {
    #[error(number = 2)]
    One,
}

#[derive(AppError)]
enum Message {
    #[error("{count} is too many")]
    One { counted: u64 },
}

fn main() {}
