//! What goes wrong under a seed, drawn before anything runs.

use std::fmt;

use crate::adversary::Kind;
use crate::random::Random;

/// A fault of the machine or of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A node loses power, with what it has not synced.
    Crash { node: usize, for_ms: u64 },
    /// All nodes do.
    PowerCut { for_ms: u64 },
    /// What one node sends to another is lost.
    OneWayCut { from: usize, to: usize, for_ms: u64 },
    /// Nodes of different groups do not hear each other; connections break or only fall silent.
    Partition { groups: Vec<u8>, for_ms: u64, breaks: bool },
    /// Writing a block takes long.
    SlowDisk { node: usize, for_ms: u64, write_ms: u64 },
    /// Nothing can be written; the node is started again when there is room.
    FullDisk { node: usize, for_ms: u64 },
    /// A clock jumps.
    ClockSkew { node: usize, by_ms: i64 },
    /// A node does nothing for a while.
    Stall { node: usize, for_ms: u64 },
    /// Gossip to a node is lost, as when its mesh is broken; requests work.
    Deaf { node: usize, for_ms: u64 },
}

impl Fault {
    /// Returns its name in statistics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Crash { .. } => "crash",
            Self::PowerCut { .. } => "power-cut",
            Self::OneWayCut { .. } => "one-way-cut",
            Self::Partition { .. } => "partition",
            Self::SlowDisk { .. } => "slow-disk",
            Self::FullDisk { .. } => "full-disk",
            Self::ClockSkew { .. } => "clock-skew",
            Self::Stall { .. } => "stall",
            Self::Deaf { .. } => "deaf",
        }
    }
}

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weather {
    /// Shortest and longest way, in microseconds; a wide range reorders.
    pub(crate) delay_us: (u64, u64),
    /// Of a thousand messages, how many are lost, on each way.
    pub(crate) loss_per_mille: u64,
    /// How many arrive twice.
    pub(crate) twice_per_mille: u64,
    /// How many requests fail at once.
    pub(crate) failed_per_mille: u64,
}

impl Weather {
    /// Nothing is lost.
    pub(crate) const CALM: Self =
        Self { delay_us: (500, 10_000), loss_per_mille: 0, twice_per_mille: 0, failed_per_mille: 0 };
}

/// Kinds of adversaries that the plan's first stream picks from. What was added later is drawn from a stream of its
/// own, so that seeds without it keep their course.
const PICKED: usize = 7;

/// Everything about a run that is decided by its seed alone.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) validators: usize,
    pub(crate) followers: usize,
    /// Who misbehaves, and how.
    pub(crate) adversaries: Vec<(usize, Kind)>,
    pub(crate) weather: Weather,
    /// By time since the start, in milliseconds.
    pub(crate) faults: Vec<(u64, Fault)>,
    /// Of each node's clock at the start, in milliseconds.
    pub(crate) skew_ms: Vec<i64>,
    /// How long faults last, in milliseconds; then everything heals.
    pub(crate) storm_ms: u64,
    pub(crate) interval_ms: u64,
    pub(crate) idle_ms: u64,
    pub(crate) epoch_blocks: u64,
    pub(crate) block_reward: u128,
    pub(crate) missed_turns_max: u32,
    /// Accounts that send.
    pub(crate) clients: usize,
    /// Longest time that a client thinks, in milliseconds.
    pub(crate) think_ms: u64,
    /// Whether they install an application and call it.
    pub(crate) app: bool,
    /// Who is deaf for a while after everything else healed, and must keep up.
    pub(crate) deaf: Option<usize>,
}

impl Plan {
    /// Draws the plan of a seed.
    pub(crate) fn draw(seed: u64) -> Self {
        let random = &mut Random::new(seed, 1);
        let validators = if random.percent(15) { 7 } else { 4 };
        let followers = match random.between(0, 9) {
            0 | 1 => 1,
            2 => 2,
            _ => 0,
        };
        let nodes = validators + followers;
        let mut adversaries = Vec::new();
        if random.percent(65) {
            adversaries.push((0, *random.pick(&Kind::ALL[..PICKED])));
            if validators == 7 && random.percent(50) {
                adversaries.push((1, *random.pick(&Kind::ALL[..PICKED])));
            }
        }
        let storm_ms = random.between(3_000, 8_000);
        let delay_high = [5_000, 30_000, 120_000, 400_000][random.below(4)];
        let rough = random.percent(60);
        let weather = Weather {
            delay_us: (200, delay_high),
            loss_per_mille: if rough { random.between(0, 150) } else { 0 },
            twice_per_mille: if rough { random.between(0, 150) } else { 0 },
            failed_per_mille: if rough { random.between(0, 150) } else { 0 },
        };
        let skew = |random: &mut Random| match random.between(0, 5) {
            0 => random.between(0, 4_000) as i64 - 2_000,
            _ => random.between(0, 100) as i64 - 50,
        };
        let skew_ms = (0..nodes).map(|_| skew(random)).collect();
        let mut faults = Vec::new();
        for _ in 0..random.between(1, 6) {
            let at = random.between(300, storm_ms);
            faults.push((at, draw_fault(random, nodes, storm_ms)));
        }
        for (node, kind) in &adversaries {
            if *kind == Kind::Amnesiac {
                for _ in 0..3 {
                    let at = random.between(300, storm_ms);
                    faults.push((at, Fault::Crash { node: *node, for_ms: random.between(1, 100) }));
                }
            }
        }
        faults.sort_by_key(|(at, _)| *at);
        let jails = adversaries.is_empty() && random.percent(20);
        let mut plan = Self {
            seed,
            validators,
            followers,
            adversaries,
            weather,
            faults,
            skew_ms,
            storm_ms,
            interval_ms: random.between(50, 300),
            idle_ms: random.between(400, 1_500),
            epoch_blocks: random.between(4, 10),
            block_reward: u128::from(random.between(0, 1) * random.between(1, 10)),
            missed_turns_max: if jails { 2 } else { 10_000 },
            clients: random.between(2, 5) as usize,
            think_ms: random.between(200, 1_500),
            app: random.percent(25),
            deaf: None,
        };
        plan.draw_added(&mut Random::new(seed, 6), jails);
        plan
    }

    /// Draws what was added later.
    fn draw_added(&mut self, random: &mut Random, jails: bool) {
        if random.percent(15) {
            let (at, for_ms) = (random.between(300, self.storm_ms), random.between(500, self.storm_ms));
            self.faults.push((at, Fault::Deaf { node: random.below(self.nodes()), for_ms }));
            self.faults.sort_by_key(|(at, _)| *at);
        }
        if !self.adversaries.is_empty() {
            return;
        }
        if !jails && random.percent(30) {
            self.adversaries.push((0, Kind::Flooder));
        } else if random.percent(25) {
            self.deaf = Some(random.below(self.nodes()));
        }
    }

    /// Returns how many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        self.validators + self.followers
    }

    /// Returns how a node misbehaves; `None` for an honest one.
    pub(crate) fn adversary(&self, node: usize) -> Option<Kind> {
        self.adversaries.iter().find(|(one, _)| *one == node).map(|(_, kind)| *kind)
    }
}

fn draw_fault(random: &mut Random, nodes: usize, storm_ms: u64) -> Fault {
    let node = random.below(nodes);
    let for_ms = random.between(50, storm_ms / 2);
    match random.between(0, 99) {
        0..=24 => Fault::Crash { node, for_ms },
        25..=32 => Fault::PowerCut { for_ms: random.between(1, 500) },
        33..=47 => {
            let other = (node + 1 + random.below(nodes - 1)) % nodes;
            Fault::OneWayCut { from: node, to: other, for_ms }
        }
        48..=64 => {
            let groups = (0..nodes).map(|_| random.between(0, 1) as u8).collect();
            Fault::Partition { groups, for_ms, breaks: random.percent(50) }
        }
        65..=74 => Fault::SlowDisk { node, for_ms, write_ms: random.between(20, 1_500) },
        75..=82 => Fault::FullDisk { node, for_ms },
        83..=89 => {
            let by_ms = match random.between(0, 3) {
                0 => random.between(0, 20_000) as i64 - 10_000,
                _ => random.between(0, 2_000) as i64 - 1_000,
            };
            Fault::ClockSkew { node, by_ms }
        }
        _ => Fault::Stall { node, for_ms: random.between(50, 2_000) },
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} validators, {} followers, blocks every {} to {} ms, epochs of {}, reward {}, {} clients{}",
            self.seed,
            self.validators,
            self.followers,
            self.interval_ms,
            self.idle_ms,
            self.epoch_blocks,
            self.block_reward,
            self.clients,
            if self.app { ", an application" } else { "" }
        )?;
        for (node, kind) in &self.adversaries {
            writeln!(f, "  node {node} is the {kind}")?;
        }
        let Weather { delay_us, loss_per_mille, twice_per_mille, failed_per_mille } = self.weather;
        writeln!(
            f,
            "  delay {} to {} us; of a thousand {loss_per_mille} lost, {twice_per_mille} twice, {failed_per_mille} \
             requests failed; clocks off by {:?} ms",
            delay_us.0, delay_us.1, self.skew_ms
        )?;
        for (at, fault) in &self.faults {
            writeln!(f, "  {at:>6} ms  {fault:?}")?;
        }
        write!(f, "  {:>6} ms  everything heals", self.storm_ms)?;
        match self.deaf {
            Some(node) => write!(f, "; later node {node} is deaf"),
            None => Ok(()),
        }
    }
}
