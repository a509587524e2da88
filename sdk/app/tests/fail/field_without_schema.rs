use purlin_sdk::prelude::*;

#[derive(Schema)]
struct Reading {
    value: f32,
}

fn main() {}
