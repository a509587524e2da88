//! The simulation as a program; `cargo xtask sim` builds and runs it.
#![forbid(unsafe_code)]

use anyhow::{Result, bail};
use clap::Parser;
use purlin_simulation::{Bug, Detail, Options, campaign, hunt, run};
use std::ops::Range;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "purlin-simulation", about = "Runs many nodes under a seeded clock, network and disk")]
struct Args {
    /// Seeds to run: the first, and the one after the last
    #[arg(long, value_name = "A..B", default_value = "0..1000", value_parser = seeds)]
    seeds: Range<u64>,
    /// Threads
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    jobs: usize,
    /// Give the honest nodes a deliberate mistake
    #[arg(long, value_name = "NAME")]
    bug: Option<Bug>,
    /// Run until each deliberate mistake is caught, and print by what
    #[arg(long, conflicts_with_all = ["bug", "trace"])]
    bugs: bool,
    /// Print everything that happens; for one seed
    #[arg(long)]
    trace: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parts = text.split_once("..").ok_or_else(|| "expected FIRST..END, like 0..1000".to_owned())?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let range = number(parts.0)?..number(parts.1)?;
    if range.is_empty() { Err("there is no seed in this range".to_owned()) } else { Ok(range) }
}

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<()> {
    if args.bugs {
        return bugs(args);
    }
    if args.trace {
        return trace(args);
    }
    let found = campaign(args.seeds.clone(), args.jobs, args.bug)?;
    let (wall, simulated) = (found.wall.as_secs_f64(), found.statistics.simulated_ms as f64 / 1000.0);
    println!("{}", found.statistics);
    println!(
        "{wall:.1} s of wall time on {} threads: {:.0} simulated seconds per second",
        args.jobs,
        simulated / wall
    );
    let Some(failure) = found.failure else { return Ok(()) };
    println!("\n{failure}");
    let bug = args.bug.map(|bug| format!(" --bug {bug}")).unwrap_or_default();
    let seed = failure.seed;
    println!("again with everything that happens: cargo xtask sim --seeds {seed}..{}{bug} --trace", seed + 1);
    bail!("seed {seed} breaks an invariant")
}

/// Runs seeds one after the other on a thread with the stack that guests need.
fn trace(args: &Args) -> Result<()> {
    let (seeds, bug) = (args.seeds.clone(), args.bug);
    let thread = std::thread::Builder::new().stack_size(purlin_service::thread_stack_bytes());
    let failed = thread.spawn(move || {
        seeds.into_iter().find_map(|seed| {
            let report = run(seed, Options { bug, detail: Detail::All });
            println!("seed {seed}: trace {:016x}", report.trace_hash);
            report.failure
        })
    })?;
    match failed.join() {
        Ok(None) => Ok(()),
        Ok(Some(failure)) => bail!("{}\nseed {} breaks {}", failure.plan, failure.seed, failure.violation),
        Err(_) => bail!("the run panicked"),
    }
}

fn bugs(args: &Args) -> Result<()> {
    println!("{:<24}{:>8}{:>10}  caught by", "bug", "seeds", "seconds");
    let mut missed = 0;
    for bug in Bug::ALL {
        let caught = hunt(*bug, args.seeds.clone(), args.jobs)?;
        let seconds = caught.wall.as_secs_f64();
        match caught.by {
            Some((seeds, failure)) => {
                println!("{:<24}{seeds:>8}{seconds:>10.1}  {}", bug.name(), failure.violation);
            }
            None => {
                missed += 1;
                println!("{:<24}{:>8}{seconds:>10.1}  not caught", bug.name(), "-");
            }
        }
    }
    if missed > 0 { bail!("{missed} bugs were not caught") } else { Ok(()) }
}
