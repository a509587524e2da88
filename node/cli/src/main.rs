//! Is the `purlin` command line: arguments -> settings -> one module per verb.
//!
//! Only this crate reads the environment and the terminal.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod connection;
mod context;
mod error;
mod output;

use clap::Parser;
use std::process::ExitCode;

/// Faster than the system's under many threads, and gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let context = context::Context::new(&cli.global);
    match commands::dispatch(cli.command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            context.output.failure(&error);
            ExitCode::from(error.kind as u8)
        }
    }
}
