//! Counts and times, for operators and for the benchmark.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A step on the way of a transaction into a durable block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Checking signature and sender.
    Signature,
    /// Checking balance, fee and nonce, and entering the pool.
    Admission,
    /// Running transactions.
    Execution,
    /// Computing roots.
    Root,
    /// The synced write.
    Write,
    /// Recording in the sign state and signing.
    Sign,
}

impl Stage {
    /// Every stage, in the order in which they happen.
    pub const ALL: [Self; 6] =
        [Self::Signature, Self::Admission, Self::Execution, Self::Root, Self::Write, Self::Sign];

    /// Returns the name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Admission => "admission",
            Self::Execution => "execution",
            Self::Root => "root",
            Self::Write => "write",
            Self::Sign => "sign",
        }
    }
}

/// Upper ends of the time buckets, in microseconds; one more is without end.
const BUCKETS_US: [u64; 10] = [10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000];

#[derive(Debug, Default)]
struct StageMetrics {
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    nanoseconds: AtomicU64,
    transactions: AtomicU64,
}

/// What a stage took so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageSnapshot {
    /// Which.
    pub stage: Stage,
    /// How often it ran: per transaction or per block.
    pub runs: u64,
    /// Transactions that passed it.
    pub transactions: u64,
    /// Sum over all runs, in microseconds.
    pub total_us: u64,
}

/// What a node counted since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// By stage.
    pub stages: Vec<StageSnapshot>,
    /// Transactions that entered the pool.
    pub admitted: u64,
    /// Transactions that were refused on the way in.
    pub refused: u64,
    /// Transactions that left the pool without being in a block.
    pub dropped: u64,
    /// Transactions in durable blocks.
    pub committed: u64,
    /// Of those, the ones that failed.
    pub failed: u64,
    /// Durable blocks.
    pub blocks: u64,
    /// Gas used by durable blocks.
    pub gas_used: u64,
    /// Times that the chain went over to another branch; only under proof of work.
    pub reorganizations: u64,
}

/// Counts; shared by all threads, never locked.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    stages: [StageMetrics; Stage::ALL.len()],
    pub(crate) admitted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) committed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) blocks: AtomicU64,
    pub(crate) gas_used: AtomicU64,
    pub(crate) reorganizations: AtomicU64,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Metrics {
    /// Runs something and counts its time, for `transactions` at once.
    pub(crate) fn timed<T>(&self, stage: Stage, transactions: usize, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.observe(stage, transactions, start.elapsed());
        result
    }

    fn observe(&self, stage: Stage, transactions: usize, took: Duration) {
        let metrics = &self.stages[stage as usize];
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.iter().position(|end| microseconds <= *end).unwrap_or(BUCKETS_US.len());
        add(&metrics.buckets[bucket], 1);
        add(&metrics.nanoseconds, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        add(&metrics.transactions, transactions as u64);
    }

    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let stage = |stage: &Stage| {
            let metrics = &self.stages[*stage as usize];
            StageSnapshot {
                stage: *stage,
                runs: metrics.buckets.iter().map(get).sum(),
                transactions: get(&metrics.transactions),
                total_us: get(&metrics.nanoseconds) / 1_000,
            }
        };
        MetricsSnapshot {
            stages: Stage::ALL.iter().map(stage).collect(),
            admitted: get(&self.admitted),
            refused: get(&self.refused),
            dropped: get(&self.dropped),
            committed: get(&self.committed),
            failed: get(&self.failed),
            blocks: get(&self.blocks),
            gas_used: get(&self.gas_used),
            reorganizations: get(&self.reorganizations),
        }
    }

    /// Appends Prometheus text.
    pub(crate) fn write(&self, out: &mut String) {
        let snapshot = self.snapshot();
        for (name, help, value) in [
            ("purlin_transactions_admitted_total", "Transactions that entered the pool.", snapshot.admitted),
            ("purlin_transactions_refused_total", "Transactions refused on the way in.", snapshot.refused),
            (
                "purlin_transactions_dropped_total",
                "Transactions that left the pool unused.",
                snapshot.dropped,
            ),
            ("purlin_transactions_committed_total", "Transactions in durable blocks.", snapshot.committed),
            ("purlin_transactions_failed_total", "Committed transactions that failed.", snapshot.failed),
            ("purlin_blocks_total", "Durable blocks made since the start.", snapshot.blocks),
            ("purlin_gas_used_total", "Gas used by those blocks.", snapshot.gas_used),
            (
                "purlin_reorganizations_total",
                "Times that the chain went over to another branch.",
                snapshot.reorganizations,
            ),
        ] {
            line(out, format_args!("# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}"));
        }
        let name = "purlin_stage_seconds";
        line(out, format_args!("# HELP {name} Time of one run of a stage.\n# TYPE {name} histogram"));
        for (stage, metrics) in Stage::ALL.iter().zip(&self.stages) {
            let label = stage.name();
            let mut count = 0;
            for (bucket, end) in metrics.buckets.iter().zip(BUCKETS_US) {
                count += bucket.load(Ordering::Relaxed);
                let end = end as f64 / 1e6;
                line(out, format_args!("{name}_bucket{{stage=\"{label}\",le=\"{end}\"}} {count}"));
            }
            count += metrics.buckets[BUCKETS_US.len()].load(Ordering::Relaxed);
            let seconds = metrics.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
            line(out, format_args!("{name}_bucket{{stage=\"{label}\",le=\"+Inf\"}} {count}"));
            line(out, format_args!("{name}_sum{{stage=\"{label}\"}} {seconds}"));
            line(out, format_args!("{name}_count{{stage=\"{label}\"}} {count}"));
        }
    }
}

/// Appends a gauge.
pub(crate) fn gauge(out: &mut String, name: &str, help: &str, value: u64) {
    line(out, format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_counted_in_its_bucket_with_its_transactions() {
        let metrics = Metrics::default();
        metrics.observe(Stage::Execution, 3, Duration::from_micros(200));
        metrics.observe(Stage::Execution, 4, Duration::from_secs(5));
        let snapshot = metrics.snapshot();
        let execution = snapshot.stages[2];
        assert_eq!((execution.stage, execution.runs, execution.transactions), (Stage::Execution, 2, 7));
        assert_eq!(execution.total_us, 5_000_200);
        let mut text = String::new();
        metrics.write(&mut text);
        for line in [
            "purlin_stage_seconds_bucket{stage=\"execution\",le=\"0.0001\"} 0",
            "purlin_stage_seconds_bucket{stage=\"execution\",le=\"0.0003\"} 1",
            "purlin_stage_seconds_bucket{stage=\"execution\",le=\"1\"} 1",
            "purlin_stage_seconds_bucket{stage=\"execution\",le=\"+Inf\"} 2",
            "purlin_stage_seconds_sum{stage=\"execution\"} 5.0002",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
