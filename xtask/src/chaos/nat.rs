//! Two nodes that nobody can dial, behind routers that masquerade.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::Duration;

use super::load::Load;
use super::namespaces::{Lan, address, iptables, on, peer_id, run as system};
use super::verify;
use super::watch::Watch;
use crate::cluster::{Cluster, wait};

/// Port of every node for peers.
const PORT: u16 = 7421;
/// Places at the relay are asked for at once, but each node learns of the other only by searching the DHT.
const MEET_TIMEOUT: Duration = Duration::from_secs(180);

/// Arguments of `cargo xtask chaos nat`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long blocks are watched after the two have met
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Says which way a connection goes, from the list of a peer's addresses.
fn path(addresses: &str) -> &'static str {
    let has_direct = addresses.split(',').any(|address| !address.contains("/p2p-circuit"));
    if has_direct { "directly (a hole was punched)" } else { "through the relay" }
}

pub(super) fn run(args: &Args, program: &Path, folder: &Path) -> Result<()> {
    println!("a relay on the open network, two validators behind a masquerading router each");
    let mut lan = Lan::new(1)?;
    let relay = lan.hosts[0].clone();
    let mut homes = vec![relay];
    for (number, name) in [(11, "a"), (12, "b")] {
        let router = lan.join(&format!("r{name}"), number)?;
        let home = lan.namespaces.add(name)?;
        lan.namespaces.cable((&home, "eth0"), (&router, "lan0"))?;
        lan.namespaces.address(&router, "lan0", "192.168.1.1/24")?;
        lan.namespaces.address(&home, "eth0", "192.168.1.2/24")?;
        system(&["ip", "-n", &home, "route", "add", "default", "via", "192.168.1.1"])?;
        system(&["ip", "netns", "exec", &router, "sysctl", "-qw", "net.ipv4.ip_forward=1"])?;
        iptables(&router, &["-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE"])?;
        // A router lets in only what belongs to a connection from inside.
        iptables(
            &router,
            &[
                "-A",
                "FORWARD",
                "-i",
                "eth0",
                "-m",
                "conntrack",
                "--ctstate",
                "ESTABLISHED,RELATED",
                "-j",
                "ACCEPT",
            ],
        )?;
        iptables(&router, &["-A", "FORWARD", "-i", "eth0", "-j", "DROP"])?;
        homes.push(home);
    }

    let (mut cluster, printed) = Cluster::new(program, folder, 3, &["--json"])?;
    let made: serde_json::Value = serde_json::from_str(&printed)?;
    let peers: Vec<String> = made["nodes"]
        .as_array()
        .context("net new lists the nodes")?
        .iter()
        .map(|node| peer_id(node["address"].as_str().context("a node has an address")?))
        .collect::<Result<_>>()?;
    let relay = format!("/ip4/{}/tcp/{PORT}/p2p/{}", address(1), peers[0]);
    for (index, host) in homes.iter().enumerate() {
        let purlin = cluster.purlin_mut(index + 1);
        purlin.launch_with(on(host));
        purlin.set("PURLIN_NETWORK_RESERVED", "");
        if index == 0 {
            purlin.set("PURLIN_NETWORK_LISTEN", format!("/ip4/{}/tcp/{PORT}", address(1)));
            purlin.set("PURLIN_NETWORK_EXTERNAL", format!("/ip4/{}/tcp/{PORT}", address(1)));
            purlin.set("PURLIN_NETWORK_RELAY_SERVER", "on");
        } else {
            purlin.set("PURLIN_NETWORK_LISTEN", format!("/ip4/192.168.1.2/tcp/{PORT}"));
            purlin.set("PURLIN_NETWORK_PEERS", relay.as_str());
            purlin.set("PURLIN_NETWORK_RELAYS", relay.as_str());
        }
    }
    cluster.start_all()?;
    cluster.reach(1, Duration::from_secs(60))?;
    println!("all three have blocks, through the relay's gossip");
    let met = |cluster: &Cluster, node: usize, other: usize| -> Result<Option<String>> {
        let list = cluster.purlin(node).json(&["peers"])?;
        let list = list["peers"].as_array().context("peers are a list")?;
        let found = list.iter().find(|peer| peer["id"] == *peers[other - 1]);
        Ok(found.map(|peer| peer["addresses"].to_string()))
    };
    wait(MEET_TIMEOUT, "the two behind routers being connected", || {
        Ok(met(&cluster, 2, 3)?.is_some() && met(&cluster, 3, 2)?.is_some())
    })?;
    for (node, other) in [(2, 3), (3, 2)] {
        let address = met(&cluster, node, other)?.unwrap_or_default();
        println!("node{node} is connected with node{other} {} at {address}", path(&address));
    }
    let clients: Vec<_> = (1..=3).map(|node| cluster.client(node)).collect();
    let watch = Watch::start(clients.clone());
    let load = Load::start(&clients[1..], 8)?;
    std::thread::sleep(Duration::from_secs(args.seconds));
    let seen = watch.finish()?;
    let still = met(&cluster, 2, 3)?.context("the two lost each other")?;
    let acknowledged = load.finish()?;
    println!(
        "{} blocks and {} transactions in {:.0} s, no new block for at most {:.1} s",
        seen.blocks,
        acknowledged.len(),
        seen.time.as_secs_f64(),
        seen.longest_gap.as_secs_f64()
    );
    // Whether a hole can be punched is up to the routers: conntrack masquerades in a way that often lets none through.
    println!("at the end node2 is connected with node3 {} at {still}", path(&still));
    verify(&mut cluster, &acknowledged)?;
    ensure!(seen.blocks > args.seconds / 4, "too few blocks");
    println!("two nodes behind routers met through a relay and kept exchanging blocks");
    Ok(())
}
