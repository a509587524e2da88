//! What a run was and how it ended.

use std::collections::BTreeMap;
use std::fmt;

use crate::adversary::Kind;
use crate::ledger::Violation;

/// Counts of one run or of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Runs.
    pub seeds: u64,
    /// Simulated time, in milliseconds.
    pub simulated_ms: u64,
    /// Final blocks.
    pub blocks: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Of those, acknowledged to a client.
    pub acknowledged: u64,
    /// Transactions that clients were told were dropped, or saw superseded.
    pub dropped: u64,
    /// Runs that ended with the application installed and running.
    pub apps: u64,
    /// Runs in which an honest node's chain was executed again from the genesis.
    pub replays: u64,
    /// Parcels sent.
    pub messages: u64,
    /// Of those, lost by the weather.
    pub lost: u64,
    /// Of those, lost on a cut way.
    pub cut: u64,
    /// Of those, gossip to deaf nodes.
    pub unheard: u64,
    /// Of those, delivered twice.
    pub twice: u64,
    /// Messages over the size that their topic allows.
    pub oversized: u64,
    /// Gossip that found a full inbox.
    pub overflows: u64,
    /// Requests that failed at once.
    pub request_failures: u64,
    /// Requests without an answer in time.
    pub timeouts: u64,
    /// What nodes held against peers.
    pub offences: u64,
    /// Of those, against honest ones.
    pub blamed_honest: u64,
    /// Peers banned.
    pub bans: u64,
    /// Faults of plans by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Adversaries by kind.
    pub adversaries: BTreeMap<&'static str, u64>,
}

impl Statistics {
    pub(crate) fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    pub(crate) fn adversary(&mut self, kind: Kind) {
        *self.adversaries.entry(kind.name()).or_default() += 1;
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Self) {
        for (own, other) in [
            (&mut self.seeds, other.seeds),
            (&mut self.simulated_ms, other.simulated_ms),
            (&mut self.blocks, other.blocks),
            (&mut self.transactions, other.transactions),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.dropped, other.dropped),
            (&mut self.apps, other.apps),
            (&mut self.replays, other.replays),
            (&mut self.messages, other.messages),
            (&mut self.lost, other.lost),
            (&mut self.cut, other.cut),
            (&mut self.unheard, other.unheard),
            (&mut self.twice, other.twice),
            (&mut self.oversized, other.oversized),
            (&mut self.overflows, other.overflows),
            (&mut self.request_failures, other.request_failures),
            (&mut self.timeouts, other.timeouts),
            (&mut self.offences, other.offences),
            (&mut self.blamed_honest, other.blamed_honest),
            (&mut self.bans, other.bans),
        ] {
            *own += other;
        }
        for (name, count) in &other.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (name, count) in &other.adversaries {
            *self.adversaries.entry(name).or_default() += count;
        }
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: &BTreeMap<&'static str, u64>| {
            let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            parts.join(", ")
        };
        writeln!(
            f,
            "{} seeds, {:.0} simulated seconds, {} blocks, {} transactions ({} acknowledged, {} dropped), {} applications, \
             {} replays",
            self.seeds,
            self.simulated_ms as f64 / 1000.0,
            self.blocks,
            self.transactions,
            self.acknowledged,
            self.dropped,
            self.apps,
            self.replays
        )?;
        writeln!(
            f,
            "messages {}: lost {}, cut {}, unheard {}, twice {}; requests failed {}, timed out {}; oversized {}, overflows {}",
            self.messages,
            self.lost,
            self.cut,
            self.unheard,
            self.twice,
            self.request_failures,
            self.timeouts,
            self.oversized,
            self.overflows
        )?;
        writeln!(
            f,
            "offences {}, of honest peers {}, bans {}",
            self.offences, self.blamed_honest, self.bans
        )?;
        writeln!(f, "faults: {}", list(&self.faults))?;
        write!(f, "adversaries: {}", list(&self.adversaries))
    }
}

/// A rule that did not hold, with everything needed to see it again.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which seed.
    pub seed: u64,
    /// Which rule, and what was seen.
    pub violation: Violation,
    /// What the seed made go wrong.
    pub plan: String,
    /// The last lines of the trace, when they were asked for.
    pub tail: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.tail {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "{}", self.plan)?;
        write!(f, "seed {} breaks \"{}\": {}", self.seed, self.violation.invariant, self.violation.detail)
    }
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Report {
    /// Counts.
    pub statistics: Statistics,
    /// Equal for equal runs.
    pub trace_hash: u64,
    /// What went wrong that must not.
    pub failure: Option<Failure>,
}
