//! Packets get lost.

use anyhow::{Result, ensure};
use std::path::Path;
use std::time::Duration;

use super::load::Load;
use super::namespaces::{Lan, dropped, iptables};
use super::partition::lan_cluster;
use super::verify;
use super::watch::Watch;

/// Arguments of `cargo xtask chaos loss`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Packets that each host drops, of 100
    #[arg(long, default_value_t = 5.0)]
    percent: f64,
    /// How long
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Longest time without a block, in seconds
    #[arg(long, default_value_t = 15)]
    gap_max: u64,
}

pub(super) fn run(args: &Args, program: &Path, folder: &Path) -> Result<()> {
    println!(
        "four hosts that drop {} % of the packets that reach them, for {} s",
        args.percent, args.seconds
    );
    let lan = Lan::new(4)?;
    let mut cluster = lan_cluster(&lan, program, folder, &[])?;
    let share = format!("{}", args.percent / 100.0);
    for host in &lan.hosts {
        iptables(
            host,
            &[
                "-A",
                "INPUT",
                "-i",
                "eth0",
                "-m",
                "statistic",
                "--mode",
                "random",
                "--probability",
                &share,
                "-j",
                "DROP",
            ],
        )?;
    }
    cluster.start_all()?;
    let clients: Vec<_> = (1..=4).map(|node| cluster.client(node)).collect();
    let watch = Watch::start(clients.clone());
    let load = Load::start(&clients, 8)?;
    std::thread::sleep(Duration::from_secs(args.seconds));
    let seen = watch.finish()?;
    let acknowledged = load.finish()?;
    println!(
        "{} blocks and {} transactions in {:.0} s, no new block for at most {:.1} s",
        seen.blocks,
        acknowledged.len(),
        seen.time.as_secs_f64(),
        seen.longest_gap.as_secs_f64()
    );
    let lost: u64 = lan.hosts.iter().map(|host| dropped(host)).sum::<Result<u64>>()?;
    println!("{lost} packets were dropped");
    ensure!(lost > 0, "no packet was dropped, so nothing was tested");
    verify(&mut cluster, &acknowledged)?;
    ensure!(seen.longest_gap <= Duration::from_secs(args.gap_max), "the chain stood still for too long");
    println!("{} % of the packets lost: blocks kept coming", args.percent);
    Ok(())
}
