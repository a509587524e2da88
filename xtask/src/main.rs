//! Is the repository's task runner: `cargo xtask demo | test | bench | crash | join | chaos | pow | sim`.
#![forbid(unsafe_code)]

mod bench;
mod chaos;
mod cluster;
mod command;
mod crash;
mod demo;
mod join;
mod node;
mod pow;
mod setup;
mod sim;
mod test;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Builds, tests, measures and shows Purlin")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show the whole journey on four nodes: install, call, stream, lose one, restart, prove
    Demo(demo::Args),
    /// Run every check: format, lints, unit, integration, wasm and doc tests, then the demo
    Test(test::Args),
    /// Measure: the floor and a token transfer, a node end to end, install, start, memory
    Bench(bench::Args),
    /// Kill a node during a stream of transactions, many times, and see that nothing was lost
    Crash(crash::Args),
    /// Commit many transactions, then let fresh nodes join by replay and by snapshot, and compare
    Join(join::Args),
    /// Run a network of processes under faults: kills, partitions, packet loss, NAT
    Chaos(chaos::Args),
    /// Part three miners into two and one for some blocks, heal, and see that all follow the heavier branch
    Pow(pow::Args),
    /// Run many nodes under a seeded clock, network and disk, with faults and adversaries
    Sim(sim::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Crash(args) => crash::run(&args),
        Task::Join(args) => join::run(&args),
        Task::Chaos(args) => chaos::run(&args),
        Task::Pow(args) => pow::run(&args),
        Task::Sim(args) => sim::run(&args),
    }
}
