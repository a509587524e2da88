use purlin_sdk::prelude::*;

#[derive(Event)]
enum Choice {
    A,
}

#[derive(Event)]
struct Positional(u64);

#[derive(Event)]
#[event(topic = "spaces are bad")]
struct Topic {
    by: u64,
}

#[derive(Event)]
#[event(name = "x")]
struct Option {
    by: u64,
}

fn main() {}
