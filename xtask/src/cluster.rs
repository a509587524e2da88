//! A local network: several nodes, each a process of its own, on one machine.

use anyhow::{Context, Result, bail, ensure};
use purlin_client::{Client, Endpoint};
use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::command::capture;
use crate::node::{Purlin, RunningNode};

/// A node's API is so far above its port for peers.
const API_PORT_OFFSET: u16 = 100;
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The nodes of a network, numbered from 1.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: PathBuf,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    purlin: Purlin,
    running: Option<RunningNode>,
}

impl Cluster {
    /// Writes the folders of a network with `purlin net new` and returns it with what that printed.
    pub(crate) fn new(
        program: &Path,
        folder: &Path,
        validators: u16,
        more: &[&str],
    ) -> Result<(Self, String)> {
        let base = free_base(validators)?.to_string();
        let net = folder.join("net");
        let mut command = std::process::Command::new(program);
        command.args(["net", "new"]).arg(&net);
        command.args(["--validators", &validators.to_string(), "--base-port", &base]).args(more);
        let printed = capture(command)?;
        let members = (1..=validators)
            .map(|number| Member {
                purlin: Purlin::new(program.to_path_buf(), net.join(format!("node{number}"))),
                running: None,
            })
            .collect();
        Ok((Self { folder: folder.to_path_buf(), members }, printed))
    }

    /// Number of nodes.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The program with the home of node `number`.
    pub(crate) fn purlin(&self, number: usize) -> &Purlin {
        &self.members[number - 1].purlin
    }

    /// The same, to change how the node is started.
    pub(crate) fn purlin_mut(&mut self, number: usize) -> &mut Purlin {
        &mut self.members[number - 1].purlin
    }

    /// A client of node `number`'s API, which answers while the node runs.
    pub(crate) fn client(&self, number: usize) -> Client {
        Client::new(Endpoint::Unix(self.purlin(number).home().join("purlin.sock")), None)
    }

    /// The log of node `number`.
    pub(crate) fn log(&self, number: usize) -> PathBuf {
        self.folder.join(format!("node{number}.log"))
    }

    /// Starts node `number` and waits until it answers.
    pub(crate) fn start(&mut self, number: usize) -> Result<()> {
        let log = self.log(number);
        let member = &mut self.members[number - 1];
        member.running = Some(member.purlin.start(&["run"], &log).with_context(|| format!("node{number}"))?);
        Ok(())
    }

    /// Starts all that do not run.
    pub(crate) fn start_all(&mut self) -> Result<()> {
        let stopped: Vec<usize> = (1..=self.len()).filter(|number| !self.runs(*number)).collect();
        stopped.into_iter().try_for_each(|number| self.start(number))
    }

    /// Says whether node `number` was started and neither killed nor stopped.
    pub(crate) fn runs(&self, number: usize) -> bool {
        self.members[number - 1].running.is_some()
    }

    /// Process id of node `number`.
    pub(crate) fn process(&self, number: usize) -> Option<u32> {
        self.members[number - 1].running.as_ref().map(RunningNode::id)
    }

    /// Kills node `number` the way a power cut would.
    pub(crate) fn kill(&mut self, number: usize) -> Result<()> {
        self.take(number)?.kill()
    }

    /// Stops every node that runs, as a service manager would.
    pub(crate) fn stop_all(&mut self) -> Result<()> {
        self.members.iter_mut().filter_map(|member| member.running.take()).try_for_each(RunningNode::stop)
    }

    /// Leaves all nodes running after this program ends.
    pub(crate) fn leave_running(mut self) {
        self.members
            .iter_mut()
            .filter_map(|member| member.running.take())
            .for_each(RunningNode::leave_running);
    }

    fn take(&mut self, number: usize) -> Result<RunningNode> {
        self.members[number - 1].running.take().with_context(|| format!("node{number} does not run"))
    }

    /// Height of node `number`'s last final block.
    pub(crate) fn height(&self, number: usize) -> Result<u64> {
        self.purlin(number).json(&["status"])?["height"].as_u64().context("status prints the height")
    }

    /// Waits until every node that runs has a final block at `height`.
    pub(crate) fn reach(&self, height: u64, within: Duration) -> Result<()> {
        for number in (1..=self.len()).filter(|number| self.runs(*number)) {
            wait(within, &format!("node{number} at height {height}"), || Ok(self.height(number)? >= height))?;
        }
        Ok(())
    }

    /// Id of block `height` and the state root it left, as node `number` has them.
    pub(crate) fn block(&self, number: usize, height: u64) -> Result<(String, String)> {
        let text = |value: &Value| value.as_str().map(String::from).context("a block has ids in hex");
        let show = |height: u64| self.purlin(number).json(&["block", "show", &height.to_string()]);
        // The root of what a block left is in the header of the next.
        Ok((text(&show(height)?["id"])?, text(&show(height + 1)?["header"]["state_root"])?))
    }

    /// Checks that all that run have the same block at `height` and the same state after it; returns both.
    pub(crate) fn agree(&self, height: u64, within: Duration) -> Result<(String, String)> {
        self.reach(height + 1, within)?;
        let numbers: Vec<usize> = (1..=self.len()).filter(|number| self.runs(*number)).collect();
        let first = self.block(*numbers.first().context("a node runs")?, height)?;
        for number in numbers {
            let other = self.block(number, height)?;
            ensure!(other == first, "at height {height} node{number} has {other:?}, another has {first:?}");
        }
        Ok(first)
    }
}

/// Waits for a condition, at most for a time.
pub(crate) fn wait(within: Duration, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + within;
    loop {
        let last = holds();
        if matches!(last, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            last.with_context(|| format!("waited {within:?} for {what}"))?;
            bail!("waited {within:?} for {what}");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Finds a base whose ports are free now, below those that the system gives to connections.
fn free_base(validators: u16) -> Result<u16> {
    const LOWEST: u32 = 12_000;
    const STEP: u32 = 200;
    const TRIES: u32 = 40;
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    // Processes that run at one time begin at different places.
    let first = std::process::id();
    (0..TRIES)
        .map(|attempt| (LOWEST + first.wrapping_add(attempt) % TRIES * STEP) as u16)
        .find(|base| (1..=validators).all(|node| free(base + node) && free(base + node + API_PORT_OFFSET)))
        .context("no free ports for a local network between 12000 and 20000")
}
