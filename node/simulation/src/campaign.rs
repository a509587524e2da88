//! Many seeds on several threads.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::bug::Bug;
use crate::report::{Failure, Report, Statistics};
use crate::run::{Options, run};
use crate::trace::Detail;

/// What a campaign was and found.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// Counts over all seeds that were run.
    pub statistics: Statistics,
    /// The failing seed that is lowest of those run, with the tail of its trace.
    pub failure: Option<Failure>,
    /// How long it took.
    pub wall: Duration,
}

/// How a deliberate bug was caught.
#[derive(Debug, Clone)]
pub struct Caught {
    /// Which bug.
    pub bug: Bug,
    /// Seeds until it was, and how; `None` when it was not.
    pub by: Option<(u64, Failure)>,
    /// How long it took.
    pub wall: Duration,
}

/// Runs seeds on `jobs` threads until one fails.
///
/// # Errors
/// When a thread cannot be started.
pub fn campaign(seeds: Range<u64>, jobs: usize, bug: Option<Bug>) -> std::io::Result<Campaign> {
    let started = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let found: Mutex<(Statistics, Option<Failure>)> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || found.lock().1.is_some() {
                return;
            }
            let Report { statistics, failure, .. } = run(seed, Options { bug, detail: Detail::Number });
            let mut found = found.lock();
            found.0.add(&statistics);
            if let Some(failure) = failure
                && found.1.as_ref().is_none_or(|other| failure.seed < other.seed)
            {
                found.1 = Some(failure);
            }
        }
    };
    let mut outcome = Ok(());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let thread = std::thread::Builder::new().stack_size(purlin_service::thread_stack_bytes());
            if let Err(error) = thread.spawn_scoped(scope, work) {
                outcome = Err(error);
            }
        }
    });
    outcome?;
    let (statistics, failure) = found.into_inner();
    let failure = failure.map(|failure| with_tail(failure, bug));
    Ok(Campaign { statistics, failure, wall: started.elapsed() })
}

/// Runs a failing seed again for the tail of its trace.
fn with_tail(failure: Failure, bug: Option<Bug>) -> Failure {
    let options = Options { bug, detail: Detail::Tail };
    run(failure.seed, options).failure.unwrap_or(failure)
}

/// Runs seeds until a deliberate bug is caught.
///
/// # Errors
/// As [`campaign`].
pub fn hunt(bug: Bug, seeds: Range<u64>, jobs: usize) -> std::io::Result<Caught> {
    let first = seeds.start;
    let Campaign { failure, wall, .. } = campaign(seeds, jobs, Some(bug))?;
    Ok(Caught { bug, by: failure.map(|failure| (failure.seed - first + 1, failure)), wall })
}
