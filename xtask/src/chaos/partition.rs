//! The network falls into two halves of which neither may decide.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::{Duration, Instant};

use super::load::Load;
use super::namespaces::{Lan, address, iptables, on, peer_id};
use super::verify;
use crate::cluster::{Cluster, wait};

/// Port of every host for peers.
const PORT: u16 = 7421;
/// How soon the halves must go on together.
const HEAL_MAX: Duration = Duration::from_secs(15);
/// What was on its way when the cable was cut arrives by then.
const SETTLE: Duration = Duration::from_secs(3);

/// Arguments of `cargo xtask chaos partition`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long the halves are apart
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Makes a network whose nodes live on the hosts of a LAN, one each; `more` are options of `purlin net new`.
pub(crate) fn lan_cluster(lan: &Lan, program: &Path, folder: &Path, more: &[&str]) -> Result<Cluster> {
    let options = [&["--json"], more].concat();
    let (mut cluster, printed) = Cluster::new(program, folder, lan.hosts.len() as u16, &options)?;
    let made: serde_json::Value = serde_json::from_str(&printed)?;
    let mut addresses = Vec::new();
    for (number, node) in (1..).zip(made["nodes"].as_array().context("net new lists the nodes")?) {
        let peer = peer_id(node["address"].as_str().context("a node has an address")?)?;
        addresses.push(format!("/ip4/{}/tcp/{PORT}/p2p/{peer}", address(number)));
    }
    for (index, host) in lan.hosts.iter().enumerate() {
        let others: Vec<&str> =
            addresses.iter().filter(|other| **other != addresses[index]).map(String::as_str).collect();
        let purlin = cluster.purlin_mut(index + 1);
        purlin.launch_with(on(host));
        purlin.set("PURLIN_NETWORK_LISTEN", format!("/ip4/{}/tcp/{PORT}", address(index + 1)));
        purlin.set("PURLIN_NETWORK_RESERVED", others.join(","));
    }
    Ok(cluster)
}

pub(super) fn run(args: &Args, program: &Path, folder: &Path) -> Result<()> {
    println!("four hosts, cut into two and two for {} s", args.seconds);
    let lan = Lan::new(4)?;
    let mut cluster = lan_cluster(&lan, program, folder, &[])?;
    cluster.start_all()?;
    cluster.reach(3, Duration::from_secs(60))?;
    let clients: Vec<_> = (1..=4).map(|node| cluster.client(node)).collect();
    let load = Load::start(&clients, 8)?;
    std::thread::sleep(SETTLE);

    let halves = [[1usize, 2], [3, 4]];
    let rules = || {
        let pairs = halves[0].iter().flat_map(|one| halves[1].iter().map(move |other| (*one, *other)));
        pairs.flat_map(|(one, other)| [(one, other), (other, one)])
    };
    for (host, from) in rules() {
        iptables(&lan.hosts[host - 1], &["-A", "INPUT", "-s", &address(from), "-j", "DROP"])?;
    }
    std::thread::sleep(SETTLE);
    let highest = |cluster: &Cluster| -> Result<u64> {
        (1..=4).map(|node| cluster.height(node)).try_fold(0, |highest, height| Ok(highest.max(height?)))
    };
    let before = highest(&cluster)?;
    std::thread::sleep(Duration::from_secs(args.seconds).saturating_sub(SETTLE));
    let after = highest(&cluster)?;
    ensure!(after == before, "half of the power went from {before} to {after} alone");
    println!("apart for {} s: the chain stood at {after}", args.seconds);

    for (host, from) in rules() {
        iptables(&lan.hosts[host - 1], &["-D", "INPUT", "-s", &address(from), "-j", "DROP"])?;
    }
    let start = Instant::now();
    let waited = wait(HEAL_MAX * 8, "a block after the cable was back", || Ok(highest(&cluster)? > after));
    let healed = start.elapsed();
    println!("together again: the next block after {:.1} s", healed.as_secs_f64());
    waited?;
    std::thread::sleep(SETTLE);
    let acknowledged = load.finish()?;
    verify(&mut cluster, &acknowledged)?;
    ensure!(healed <= HEAL_MAX, "healing took {:.1} s, more than {HEAL_MAX:?}", healed.as_secs_f64());
    println!(
        "partition of {} s: no conflicting blocks, healed in {:.1} s",
        args.seconds,
        healed.as_secs_f64()
    );
    Ok(())
}
