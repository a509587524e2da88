//! Hosts on this machine: network namespaces with cables between them, and rules that drop packets.

use anyhow::{Context, Result, ensure};
use std::process::Command;

use crate::command::capture;

/// The subnet of the hosts of [`Lan`]: host `i` has address `10.77.0.i`.
const SUBNET: &str = "10.77.0";

/// Namespaces that are removed, with what is in them, when this goes out of scope.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    prefix: String,
    names: Vec<String>,
}

impl Namespaces {
    /// Says what is missing, if anything.
    pub(super) fn new() -> Result<Self> {
        let user = capture(command(&["id", "-u"]))?;
        ensure!(user.trim() == "0", "network namespaces need root: run it with sudo");
        for (program, package) in [("ip", "iproute2"), ("iptables", "iptables")] {
            let found = Command::new(program).arg("-V").output();
            ensure!(found.is_ok(), "{program} is missing; on Debian: apt-get install {package}");
        }
        Ok(Self { prefix: format!("pu{}", std::process::id() % 100_000), names: Vec::new() })
    }

    /// Makes a host with a loopback device; returns its name.
    pub(super) fn add(&mut self, host: &str) -> Result<String> {
        let name = format!("{}-{host}", self.prefix);
        run(&["ip", "netns", "add", &name])?;
        self.names.push(name.clone());
        run(&["ip", "-n", &name, "link", "set", "lo", "up"])?;
        Ok(name)
    }

    /// Lays a cable between two hosts; the ends get the names and are up.
    pub(super) fn cable(&self, one: (&str, &str), other: (&str, &str)) -> Result<()> {
        let ((host, end), (other_host, other_end)) = (one, other);
        run(&[
            "ip", "-n", host, "link", "add", end, "type", "veth", "peer", "name", other_end, "netns",
            other_host,
        ])?;
        run(&["ip", "-n", host, "link", "set", end, "up"])?;
        run(&["ip", "-n", other_host, "link", "set", other_end, "up"])
    }

    /// Gives a device of a host an address with its subnet.
    pub(super) fn address(&self, host: &str, device: &str, address: &str) -> Result<()> {
        run(&["ip", "-n", host, "addr", "add", address, "dev", device])
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(error) = run(&["ip", "netns", "del", name]) {
                println!("{error:#}");
            }
        }
    }
}

/// Hosts on one switch.
#[derive(Debug)]
pub(crate) struct Lan {
    pub(super) namespaces: Namespaces,
    pub(super) switch: String,
    pub(crate) hosts: Vec<String>,
}

impl Lan {
    /// Makes a switch and `count` hosts.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let mut namespaces = Namespaces::new()?;
        let switch = namespaces.add("sw")?;
        run(&["ip", "-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        run(&["ip", "-n", &switch, "link", "set", "br0", "up"])?;
        let mut lan = Self { namespaces, switch, hosts: Vec::new() };
        for number in 1..=count {
            lan.join(&format!("h{number}"), number)?;
        }
        Ok(lan)
    }

    /// Adds a host with device `eth0` and the address of `number`.
    pub(super) fn join(&mut self, host: &str, number: usize) -> Result<String> {
        let name = self.namespaces.add(host)?;
        let port = format!("p{number}");
        self.namespaces.cable((&name, "eth0"), (&self.switch, &port))?;
        run(&["ip", "-n", &self.switch, "link", "set", &port, "master", "br0"])?;
        self.namespaces.address(&name, "eth0", &format!("{}/24", address(number)))?;
        self.hosts.push(name.clone());
        Ok(name)
    }
}

/// Address of host `number` of a [`Lan`].
pub(crate) fn address(number: usize) -> String {
    format!("{SUBNET}.{number}")
}

/// Words that run a program on a host.
pub(super) fn on(host: &str) -> Vec<String> {
    ["ip", "netns", "exec", host].map(String::from).to_vec()
}

/// Changes a host's packet rules.
pub(crate) fn iptables(host: &str, rule: &[&str]) -> Result<()> {
    let words = on(host);
    let mut all: Vec<&str> = words.iter().map(String::as_str).collect();
    all.extend(["iptables", "-w"]);
    all.extend(rule);
    run(&all)
}

/// Returns how many packets a host's rules have dropped on their way in.
pub(super) fn dropped(host: &str) -> Result<u64> {
    let listed = capture(command(&["ip", "netns", "exec", host, "iptables", "-w", "-nvxL", "INPUT"]))?;
    let counts = listed.lines().filter(|line| line.contains(" DROP ")).filter_map(|line| {
        // The first column is the number of packets.
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    Ok(counts.sum())
}

/// Runs a command that prints nothing of interest.
pub(super) fn run(words: &[&str]) -> Result<()> {
    capture(command(words)).map(drop)
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// Returns the part of a multiaddress that names the peer.
pub(super) fn peer_id(address: &str) -> Result<String> {
    Ok(address.rsplit_once("/p2p/").context("an address that names its peer")?.1.to_owned())
}
