//! `cargo xtask pow`: three miners on hosts of their own, parted into two and one, then together again.
//!
//! Real processes over real addresses, the cable cut by packet rules; needs root. Both sides have clients whose
//! transactions were acknowledged as final; none of them may be missing afterwards.

use anyhow::{Context, Result, ensure};
use purlin_client::Client;
use purlin_primitives::TransactionId;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::chaos::{Lan, Load, address, iptables, lan_cluster};
use crate::cluster::{Cluster, wait};
use crate::command::{Programs, in_folder};

/// Clients of each side.
const SENDERS: usize = 4;
/// Longest time for one block, on average: one of three miners is left with the easiest target.
const BLOCK_MAX: Duration = Duration::from_secs(10);
/// How soon everybody follows the heavier branch: broken connections are noticed and made again first.
const HEAL_MAX: Duration = Duration::from_secs(120);
/// Blocks on top of one after which all agree on it, and a client is told; of `purlin net new --engine pow`.
const CONFIRMATIONS: u64 = 6;

/// Arguments of `cargo xtask pow`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Blocks that the two mine while the third is apart
    #[arg(long, default_value_t = 50)]
    blocks: u64,
    #[command(flatten)]
    programs: Programs,
}

/// Runs it; an error names what did not hold.
pub(crate) fn run(args: &Args) -> Result<()> {
    let program = args.programs.purlin()?;
    in_folder("pow", |folder| part_and_heal(args.blocks, &program, folder))
}

/// Cuts node 3 off, or connects it again.
fn cable(lan: &Lan, rule: &str) -> Result<()> {
    for (host, from) in [(3, 1), (3, 2), (1, 3), (2, 3)] {
        iptables(&lan.hosts[host - 1], &[rule, "INPUT", "-s", &address(from), "-j", "DROP"])?;
    }
    Ok(())
}

fn part_and_heal(blocks: u64, program: &Path, folder: &Path) -> Result<()> {
    println!("three miners, one of them apart until the others have mined {blocks} blocks");
    let lan = Lan::new(3)?;
    let mut cluster = lan_cluster(&lan, program, folder, &["--engine", "pow"])?;
    cluster.start_all()?;
    cluster.reach(CONFIRMATIONS + 2, BLOCK_MAX * (CONFIRMATIONS as u32 + 2))?;
    let clients: Vec<Client> = (1..=3).map(|node| cluster.client(node)).collect();
    let heavy = Load::start_accounts(&clients[..2], 0..SENDERS)?;
    let light = Load::start_accounts(&clients[2..], SENDERS..2 * SENDERS)?;
    agree(&cluster, 2)?;

    cable(&lan, "-A")?;
    let parted = Instant::now();
    let fork = cluster.height(1)?.max(cluster.height(3)?);
    let enough = || Ok(cluster.height(1)? >= fork + blocks && cluster.height(2)? >= fork + blocks);
    wait(BLOCK_MAX * u32::try_from(blocks)?, "two miners go on", enough)?;
    let before = [show(&cluster, 1)?, show(&cluster, 3)?];
    println!("apart for {:.1} s from height {fork} on:", parted.elapsed().as_secs_f64());
    println!("  two miners:  height {}, work {}", before[0].height, before[0].work);
    println!("  one miner:   height {}, work {}", before[1].height, before[1].work);
    ensure!(before[0].work > before[1].work, "two did no more work than one; try again");
    let last = cluster.block(1, before[0].height - 1)?;

    cable(&lan, "-D")?;
    let healing = Instant::now();
    let together = || Ok(cluster.block(3, before[0].height - 1).is_ok_and(|block| block == last));
    wait(HEAL_MAX, "the third follows the heavier branch", together)?;
    println!("together again: all on the heavier branch after {:.1} s", healing.elapsed().as_secs_f64());
    let removed = deepest(&cluster.log(3))?;
    println!("  the third took back {removed} blocks at once");
    ensure!(removed > 0, "the third mined nothing of its own");
    ensure!(deepest(&cluster.log(1))? < removed, "the first left its branch for the lighter one");

    let confirmed = cluster.height(1)?.max(before[0].height) + CONFIRMATIONS;
    cluster.reach(confirmed, BLOCK_MAX * 3 * (CONFIRMATIONS as u32))?;
    agree(&cluster, before[0].height + 1)?;
    let (heavy, light) = (heavy.finish()?, light.finish()?);
    ensure!(!heavy.is_empty() && !light.is_empty(), "a side acknowledged nothing, so nothing was tested");
    for (side, acknowledged) in [("two", &heavy), ("one", &light)] {
        all_there(&clients, acknowledged)?;
        println!("all {} transactions that the side of {side} acknowledged are there", acknowledged.len());
    }
    for node in 1..=3 {
        let log = std::fs::read_to_string(cluster.log(node))?;
        let line = log.lines().find(|line| line.contains("panicked") || line.contains("the node stops"));
        ensure!(line.is_none(), "node{node} wrote: {}", line.unwrap_or_default());
    }
    cluster.stop_all()?;
    for node in 1..=3 {
        let replay = cluster.purlin(node).output(&["doctor", "--replay"])?;
        let line = replay.lines().find(|line| line.contains("give the stored state root"));
        println!("node{node}: {}", line.context("doctor says what the replay gave")?.trim());
    }
    Ok(())
}

struct Shown {
    height: u64,
    work: String,
}

fn show(cluster: &Cluster, node: usize) -> Result<Shown> {
    let status = cluster.purlin(node).json(&["status"])?;
    let work = status["pow"]["work"].as_str().context("status prints the work")?;
    // All are of one length, so that they compare as numbers do.
    Ok(Shown {
        height: status["height"].as_u64().context("status prints the height")?,
        work: work.to_owned(),
    })
}

/// Waits until all have the same block at a height.
fn agree(cluster: &Cluster, height: u64) -> Result<()> {
    wait(HEAL_MAX, &format!("all agree on block {height}"), || {
        let first = cluster.block(1, height)?;
        Ok(cluster.block(2, height)? == first && cluster.block(3, height)? == first)
    })
}

/// Most blocks that a node took back at once, by its log.
fn deepest(log: &Path) -> Result<u64> {
    let log = std::fs::read_to_string(log)?;
    let lines = log.lines().filter(|line| line.contains("went over to a heavier branch"));
    let removed = lines.filter_map(|line| {
        let after = plain(line).split_once("removed=")?.1.to_owned();
        after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    });
    Ok(removed.max().unwrap_or(0))
}

/// Takes the colours out of a line: an escape, `[`, numbers, `m`.
fn plain(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
}

/// Checks that every node has all of these in its chain; those of the lighter branch wait for a block again.
fn all_there(clients: &[Client], acknowledged: &[TransactionId]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (number, client) in (1..).zip(clients) {
        for id in acknowledged {
            wait(HEAL_MAX, &format!("node{number} has {id}"), || {
                let found = runtime.block_on(client.transaction(id));
                let found = found.with_context(|| format!("node{number} lost {id}"))?;
                Ok(found.receipt.is_some_and(|receipt| receipt.succeeded()))
            })?;
        }
    }
    Ok(())
}
