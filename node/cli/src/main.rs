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
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error),
    };
    let context = context::Context::new(&cli.global);
    match commands::dispatch(cli.command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            context.output.failure(&error);
            ExitCode::from(error.kind as u8)
        }
    }
}

/// Says what is wrong with the arguments, or shows the help that was asked for. Which format is wanted is not known then
/// but by looking for the switch.
fn misunderstood(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let mut lines =
            text.trim_start_matches("error: ").lines().map(str::trim).filter(|line| !line.is_empty());
        let message = lines.next().unwrap_or_default().to_owned();
        let hint = lines.collect::<Vec<_>>().join("; ");
        let output = output::Output { format: output::Format::Json, quiet: false };
        output.failure(&error::CliError::usage(message).hint(hint));
        return ExitCode::from(error::ExitKind::Usage as u8);
    }
    error.exit()
}
