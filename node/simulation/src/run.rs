//! One run: a storm, then calm, then the accounts are settled.

use purlin_capabilities::{Allocation, RuntimeConfig};
use purlin_chain::Executor;
use purlin_execution::NodeExecutor;
use purlin_primitives::Height;
use std::sync::{Arc, OnceLock};

use crate::app;
use crate::bug::Bug;
use crate::ledger::{Checked, Violation};
use crate::plan::Plan;
use crate::report::{Failure, Report, Statistics};
use crate::trace::{Detail, Trace};
use crate::world::World;

/// Longest that three blocks take once everything healed, in milliseconds: rounds that grew long are waited out.
const HEALED_MS_MAX: u64 = 30_000;
/// Longest until every transaction's fate is clear after that, in milliseconds.
const SETTLED_MS_MAX: u64 = 60_000;
/// Longest until evidence is in a block, in milliseconds.
const SLASHED_MS_MAX: u64 = 120_000;
/// How long a node is deaf while everything else is healthy, in milliseconds: longer than it may be behind.
const DEAF_MS: u64 = 16_000;
/// Time for those behind to have the last block too, in milliseconds.
const LEVEL_MS_MAX: u64 = 30_000;

/// How to run a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A deliberate mistake of the honest nodes.
    pub bug: Option<Bug>,
    /// What is put into words.
    pub detail: Detail,
}

impl Default for Options {
    fn default() -> Self {
        Self { bug: None, detail: Detail::Number }
    }
}

/// Runs a seed. Needs a stack of [`purlin_service::thread_stack_bytes`], or every block costs a thread.
pub fn run(seed: u64, options: Options) -> Report {
    let plan = Plan::draw(seed);
    let text = plan.to_string();
    let trace = Trace::new(options.detail);
    let failed = |violation, tail| Failure { seed, violation, plan: text.clone(), tail };
    let world = executor().and_then(|executor| World::new(plan, executor, options.bug, trace));
    let mut world = match world {
        Ok(world) => world,
        Err(violation) => {
            let failure = Some(failed(violation, Vec::new()));
            return Report { statistics: Statistics::default(), trace_hash: 0, failure };
        }
    };
    let outcome = world.live();
    let mut statistics = std::mem::take(&mut world.statistics);
    statistics.seeds = 1;
    statistics.simulated_ms = world.now_ms();
    statistics.blocks = world.ledger.height().get();
    statistics.transactions = world.ledger.transactions() as u64;
    statistics.acknowledged = world.clients.iter().map(|client| client.acknowledged.len() as u64).sum();
    statistics.dropped = world.clients.iter().map(|client| client.dropped).sum();
    let trace_hash = world.trace.hash();
    let tail = world.trace.into_lines();
    Report { statistics, trace_hash, failure: outcome.err().map(|violation| failed(violation, tail)) }
}

/// The real executor, one for all nodes of the process: it keeps nothing that blocks could tell.
fn executor() -> Result<Arc<dyn Executor>, Violation> {
    static EXECUTOR: OnceLock<Result<NodeExecutor, String>> = OnceLock::new();
    let config =
        RuntimeConfig { allocation: Allocation::OnDemand, instances_max: 16, ..RuntimeConfig::default() };
    let made = EXECUTOR.get_or_init(|| NodeExecutor::new(&config).map_err(|error| error.to_string()));
    match made {
        Ok(executor) => Ok(Arc::new(executor.clone())),
        Err(error) => Err(Violation::new("start", error.clone())),
    }
}

impl World {
    fn live(&mut self) -> Checked {
        self.run_until(self.plan.storm_ms, |_| false)?;
        self.heal()?;
        let (_, highest) = self.heights();
        let target = highest.saturating_add(Height::new(3));
        self.must("progress", HEALED_MS_MAX, |world| world.heights().0 >= target)?;
        if let Some(node) = self.plan.deaf {
            self.live_deaf(node)?;
        }
        self.begins = false;
        self.must("settled", SETTLED_MS_MAX, |world| {
            world.clients.iter().all(crate::client::Client::is_done)
        })?;
        self.must("slashing", SLASHED_MS_MAX, Self::all_slashed)?;
        let (_, highest) = self.heights();
        self.must("level", LEVEL_MS_MAX, |world| world.heights().0 >= highest)?;
        self.settle()
    }

    /// Lets a node hear no gossip for a while. It must not fall far behind, and the others must go on.
    fn live_deaf(&mut self, node: usize) -> Checked {
        let (from_ms, from) = (self.now_ms(), self.ledger.height());
        self.statistics.fault("deaf");
        self.trace.line(self.now_us, || format!("node {node} is deaf from now on"));
        self.wires.deafen(node);
        self.deaf = Some((node, from_ms));
        self.run_until(DEAF_MS, |_| false)?;
        if self.ledger.height() < from.saturating_add(Height::new(3)) {
            let detail = format!("from {from_ms} ms on, with node {node} deaf, from height {from}");
            return Err(Violation::new("progress", detail));
        }
        self.deaf = None;
        self.wires.open_ears(node);
        Ok(())
    }

    fn must(&mut self, invariant: &'static str, ms_max: u64, done: impl Fn(&Self) -> bool) -> Checked {
        let from = self.now_ms();
        if self.run_until(ms_max, done)? {
            return Ok(());
        }
        let heights: Vec<u64> = self.nodes.iter().map(|node| node.reported.0.get()).collect();
        let waiting: Vec<String> =
            self.clients.iter().filter_map(|client| client.waits_for()).map(|id| id.to_string()).collect();
        let detail = format!(
            "not within {ms_max} ms of calm, from {from} ms on; heights {heights:?}; transactions without a fate: \
             [{}]",
            waiting.join(", ")
        );
        Err(Violation::new(invariant, detail))
    }

    /// Compares what was promised with what there is.
    fn settle(&mut self) -> Checked {
        for client in &self.clients {
            if let Some(id) = client.acknowledged.iter().find(|id| self.ledger.place(id).is_none()) {
                let detail = format!("transaction {id} was acknowledged and is in no block");
                return Err(Violation::new("acknowledged", detail));
            }
        }
        let executor = executor()?;
        let honest: Vec<usize> =
            self.nodes.iter().filter(|node| node.is_honest()).map(|node| node.index).collect();
        let replays = *self.random.pick(&honest);
        for node in self.nodes.iter().filter(|node| node.is_honest()) {
            let Some(running) = &node.running else { continue };
            let chain = running.node.chain();
            if node.index + 1 == self.plan.validators {
                self.statistics.apps += u64::from(app::runs(&*chain.state()));
            }
            let verified = if node.index == replays {
                self.statistics.replays += 1;
                chain.verify_from_blocks(&*executor, |_| {}).map(drop)
            } else {
                chain.verify_state().map(drop)
            };
            verified.map_err(|error| Violation::new("replay", format!("node {}: {error}", node.index)))?;
        }
        Ok(())
    }
}
