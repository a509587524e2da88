//! `cargo xtask sim`: many nodes under a seeded clock, network and disk.

use anyhow::Result;
use std::process::Command;

use crate::command::{Programs, run as run_command};

/// Arguments of `cargo xtask sim`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Seeds to run: the first, and the one after the last
    #[arg(long, value_name = "A..B")]
    seeds: Option<String>,
    /// Threads; as many as there are processors unless given
    #[arg(long)]
    jobs: Option<usize>,
    /// Give the honest nodes a deliberate mistake
    #[arg(long, value_name = "NAME")]
    bug: Option<String>,
    /// Run until each deliberate mistake is caught, and print by what
    #[arg(long, conflicts_with_all = ["bug", "trace"])]
    bugs: bool,
    /// Print everything that happens
    #[arg(long)]
    trace: bool,
}

/// Builds the simulation and runs it; it prints what it found.
pub(crate) fn run(args: &Args) -> Result<()> {
    let binaries = args.programs.folder(&["purlin-simulation"])?;
    let mut command = Command::new(binaries.join("purlin-simulation"));
    let jobs = args.jobs.map(|jobs| jobs.to_string());
    for (name, value) in [("--seeds", &args.seeds), ("--jobs", &jobs), ("--bug", &args.bug)] {
        if let Some(value) = value {
            command.args([name, value]);
        }
    }
    for (name, given) in [("--bugs", args.bugs), ("--trace", args.trace)] {
        if given {
            command.arg(name);
        }
    }
    run_command(command)
}
