//! Validators die without warning.

use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::{Duration, Instant};

use super::load::Load;
use super::verify;
use super::watch::Watch;
use crate::cluster::{Cluster, wait};

/// From one kill to the next.
const KILL_EVERY: Duration = Duration::from_secs(10);
/// How long a killed node stays down.
const DOWN: Duration = Duration::from_secs(3);
/// The chain must never stand still longer, nor take longer to go on when it can again.
const GAP_MAX: Duration = Duration::from_secs(15);
/// How long two dead validators are watched not to be outvoted.
const STANDSTILL: Duration = Duration::from_secs(20);

/// Arguments of `cargo xtask chaos kill`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long to go on killing
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Accounts that send at the same time
    #[arg(long, default_value_t = 16)]
    senders: usize,
}

pub(super) fn run(args: &Args, program: &Path, folder: &Path, seed: u64) -> Result<()> {
    println!("four validators, kill -9 every {KILL_EVERY:?} for {} minutes, seed {seed}", args.minutes);
    let (mut cluster, _) = Cluster::new(program, folder, 4, &[])?;
    cluster.start_all()?;
    cluster.reach(1, GAP_MAX)?;
    let clients: Vec<_> = (1..=4).map(|node| cluster.client(node)).collect();
    let watch = Watch::start(clients.clone());
    let load = Load::start(&clients, args.senders)?;
    let end = Instant::now() + Duration::from_secs(args.minutes * 60);
    let mut kills = 0u32;
    let mut next = Instant::now() + KILL_EVERY;
    while next < end {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let victim = choose(seed, kills);
        cluster.kill(victim)?;
        kills += 1;
        println!("kill {kills:>3}: node{victim}, {} acknowledged", load.count());
        std::thread::sleep(DOWN);
        cluster.start(victim)?;
        next += KILL_EVERY;
    }
    let seen = watch.finish()?;
    println!(
        "{kills} kills, {} blocks in {:.0} s, no new block for at most {:.1} s",
        seen.blocks,
        seen.time.as_secs_f64(),
        seen.longest_gap.as_secs_f64()
    );

    for victim in [3, 4] {
        cluster.kill(victim)?;
    }
    // What was on its way arrives.
    std::thread::sleep(Duration::from_secs(2));
    let before = cluster.height(1)?.max(cluster.height(2)?);
    std::thread::sleep(STANDSTILL);
    let after = cluster.height(1)?.max(cluster.height(2)?);
    ensure!(after == before, "two of four validators went from {before} to {after} alone");
    println!("two killed: the chain stood at {after} for {STANDSTILL:?}");
    let start = Instant::now();
    cluster.start(3)?;
    wait(GAP_MAX, "a new block after one came back", || Ok(cluster.height(1)? > after))?;
    println!("one came back: the next block after {:.1} s", start.elapsed().as_secs_f64());

    let acknowledged = load.finish()?;
    verify(&mut cluster, &acknowledged)?;
    ensure!(
        seen.longest_gap <= GAP_MAX,
        "the chain stood still for {:.1} s, more than {GAP_MAX:?}",
        seen.longest_gap.as_secs_f64()
    );
    println!("{kills} kills of one and one of two: nothing lost");
    Ok(())
}

/// Which node dies.
fn choose(seed: u64, kill: u32) -> usize {
    usize::from(Sha256::digest(format!("{seed} {kill}"))[0] % 4) + 1
}
