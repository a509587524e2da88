//! `cargo xtask bench`: tables that anyone can make again; compare ratios, not machines.

mod anvil;
pub(crate) mod load;
mod network;
mod process;
mod wasm;

use anyhow::Result;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::command::{Programs, build_app, cargo, run as run_command};
use crate::node::Purlin;

/// Size of the module whose cold installation is measured, in bytes.
const INSTALL_WASM_BYTES: usize = 300 * 1024;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Accounts that send token transfers
    #[arg(long, default_value_t = 10_000)]
    accounts: usize,
    /// Connections of the load generator
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Leave out the call tables, which take a minute
    #[arg(long)]
    node_only: bool,
    /// Only the networks of one and of four validators
    #[arg(long)]
    network_only: bool,
    /// Keep the four validators busy for so many minutes and print their memory
    #[arg(long, value_name = "MINUTES")]
    soak: Option<u64>,
    /// Also put the load of one node on this program of the npm package @foundry-rs/anvil
    #[arg(long, value_name = "PROGRAM")]
    anvil: Option<PathBuf>,
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> Result<()> {
    let purlin = args.programs.purlin()?;
    build_app(&purlin, "token")?;
    let folder = tempfile::Builder::new().prefix("purlin-bench-").tempdir()?;
    if args.network_only {
        return network::run(&purlin, folder.path(), args.accounts, args.soak);
    }
    if !args.node_only {
        println!("\n## One call, and the bare floor in the same run\n");
        // The profile of demo and test, and the features of the whole workspace: nothing heavy is compiled again.
        let bench = ["bench", "--quiet", "--locked", "--workspace", "--profile", "dev"];
        run_command(cargo(&[&bench[..], &["--bench", "call", "--bench", "transfer"]].concat()))?;
    }
    start_and_memory(&purlin, folder.path())?;
    install(&purlin, folder.path())?;
    load::run(&purlin, folder.path(), args.accounts, args.connections, args.anvil.as_deref())?;
    network::run(&purlin, folder.path(), args.accounts, args.soak)
}

fn start_and_memory(program: &Path, folder: &Path) -> Result<()> {
    println!("\n## Start and idle memory\n");
    let purlin = Purlin::new(program.to_path_buf(), folder.join("start"));
    let log = folder.join("start.log");
    for what in ["first start (makes the chain)", "later start"] {
        let start = Instant::now();
        let node = purlin.start(&["dev", "--api", "127.0.0.1:0"], &log)?;
        println!("{what:<32} {:>8.0} ms until it answers", start.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(std::time::Duration::from_secs(2));
        println!("{:<32} {:>8.1} MiB resident after 2 s idle", "", process::resident_mib(node.id())?);
        node.stop()?;
    }
    Ok(())
}

fn install(program: &Path, folder: &Path) -> Result<()> {
    println!("\n## Cold installation of a {} KiB module\n", INSTALL_WASM_BYTES / 1024);
    let purlin = Purlin::new(program.to_path_buf(), folder.join("install"));
    let node = purlin.start(&["dev", "--api", "127.0.0.1:0"], &folder.join("install.log"))?;
    let project = folder.join("large");
    let wasm = wasm::write_project(&project, INSTALL_WASM_BYTES)?;
    let project = project.display().to_string();
    purlin.output(&["app", "build", "--path", &project, "--wasm", &wasm.display().to_string()])?;
    let start = Instant::now();
    purlin.output(&["app", "install", "--path", &project])?;
    println!(
        "install: checks, compile, durable block   {:>8.0} ms (command line included)",
        start.elapsed().as_secs_f64() * 1e3
    );
    let start = Instant::now();
    purlin.output(&["app", "call", "large", "touch"])?;
    println!(
        "first call                                {:>8.0} ms (command line included)",
        start.elapsed().as_secs_f64() * 1e3
    );
    let start = Instant::now();
    purlin.output(&["status"])?;
    println!("the command line alone (status)           {:>8.0} ms", start.elapsed().as_secs_f64() * 1e3);
    node.stop()
}
