use purlin_sdk::prelude::*;

#[derive(Schema)]
struct Name<'a> {
    text: &'a str,
}

fn main() {}
