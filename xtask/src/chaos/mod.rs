//! `cargo xtask chaos`: real processes of a local network under faults. Long; not part of the test suite.

mod kill;
mod load;
mod lossy;
mod namespaces;
mod nat;
mod partition;
mod watch;

pub(crate) use load::Load;
pub(crate) use namespaces::{Lan, address, iptables};
pub(crate) use partition::lan_cluster;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use purlin_primitives::TransactionId;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::command::{Programs, in_folder};

/// Bound of every wait for agreement after the faults ended.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Acknowledged transactions that are looked up on each node but the first, where all are.
const SAMPLE: usize = 2_000;

/// Arguments of `cargo xtask chaos`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    scenario: Scenario,
    #[command(flatten)]
    programs: Programs,
    /// Chooses victims and moments
    #[arg(long, default_value_t = 1, global = true)]
    seed: u64,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Kill -9 one of four validators at random again and again under load; then two
    Kill(kill::Args),
    /// Cut four validators into two and two, then heal; needs root and iptables
    Partition(partition::Args),
    /// Drop packets between four validators; needs root and iptables
    Loss(lossy::Args),
    /// Put two of three validators behind masquerading routers; needs root and iptables
    Nat(nat::Args),
}

/// Runs a scenario; an error names the invariant that broke.
pub(crate) fn run(args: &Args) -> Result<()> {
    let program = args.programs.purlin()?;
    in_folder("chaos", |folder| match &args.scenario {
        Scenario::Kill(kill) => kill::run(kill, &program, folder, args.seed),
        Scenario::Partition(partition) => partition::run(partition, &program, folder),
        Scenario::Loss(loss) => lossy::run(loss, &program, folder),
        Scenario::Nat(nat) => nat::run(nat, &program, folder),
    })
}

/// Checks what must hold when the faults are over: one chain, nothing acknowledged lost, nobody slashed, and on
/// the first node the same state from executing every block again. Stops the nodes.
fn verify(cluster: &mut Cluster, acknowledged: &[TransactionId]) -> Result<()> {
    ensure!(!acknowledged.is_empty(), "no transaction was acknowledged, so nothing was tested");
    cluster.start_all()?;
    let heights: Vec<u64> = (1..=cluster.len()).map(|node| cluster.height(node)).collect::<Result<_>>()?;
    let highest = heights.iter().copied().max().context("a network has nodes")?;
    let (block, root) = cluster.agree(highest, SETTLE_TIMEOUT)?;
    println!("all {} nodes have block {block} at height {highest}, state root {root}", cluster.len());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for node in 1..=cluster.len() {
        let client = cluster.client(node);
        let step = if node == 1 { 1 } else { (acknowledged.len() / SAMPLE).max(1) };
        runtime.block_on(async {
            for id in acknowledged.iter().step_by(step) {
                let found = client.transaction(id).await.with_context(|| format!("node{node} lost {id}"))?;
                ensure!(found.receipt.is_some_and(|receipt| receipt.succeeded()), "node{node}: {id} failed");
            }
            Ok(())
        })?;
    }
    println!("all {} acknowledged transactions are there", acknowledged.len());

    let status = cluster.purlin(1).json(&["validator", "status"])?;
    for validator in status["validators"].as_array().context("validators are a list")? {
        ensure!(
            validator["status"] == "active" && validator["power"] == status["validators"][0]["power"],
            "a validator was punished: {validator}"
        );
    }
    for node in 1..=cluster.len() {
        let log = std::fs::read_to_string(cluster.log(node))?;
        for words in ["exclude each other", "panicked", "ERROR"] {
            let line = log.lines().find(|line| line.contains(words));
            ensure!(line.is_none(), "node{node} wrote: {}", line.unwrap_or_default());
        }
    }
    println!("nobody signed two things, no node reported an error");

    cluster.stop_all()?;
    let replay = cluster.purlin(1).output(&["doctor", "--replay"])?;
    let line = replay.lines().find(|line| line.contains("give the stored state root"));
    println!("{}", line.context("doctor says what the replay gave")?.trim());
    Ok(())
}
