//! The simulator itself: that a seed decides everything, and that it sees what is wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use purlin_simulation::{Bug, Options, hunt, run};

/// Runs on the stack that guests need.
fn on_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(purlin_service::thread_stack_bytes());
        thread.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

#[test]
fn a_seed_decides_everything() {
    on_stack(|| {
        let mut hashes = Vec::new();
        for seed in 5_000..5_006 {
            let (one, other) = (run(seed, Options::default()), run(seed, Options::default()));
            assert_eq!(one.trace_hash, other.trace_hash, "seed {seed}");
            assert_eq!(one.statistics, other.statistics, "seed {seed}");
            hashes.push(one.trace_hash);
        }
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 6, "seeds differ");
    });
}

/// Seeds that once failed, and why. The mistakes are told beside what was changed.
#[test]
fn seeds_that_failed_once_pass() {
    on_stack(|| {
        for (seed, why) in REGRESSIONS {
            let report = run(*seed, Options::default());
            if let Some(failure) = report.failure {
                panic!("{why}\n{failure}");
            }
        }
    });
}

const REGRESSIONS: &[(u64, &str)] = &[
    (4, "a block with a used nonce stopped whoever checked it"),
    (105, "a certificate was checked by the validators of the height after it"),
    (115, "a block of another height than its proposal held up the builder for ever"),
    (236, "a clock that is behind made a node stop at a final block"),
];

#[track_caller]
fn check_caught(bug: Bug, seeds_max: u64, invariant: &str) {
    let caught = hunt(bug, 0..seeds_max, 1).unwrap();
    let (_, failure) = caught.by.unwrap_or_else(|| panic!("{bug} was not caught within {seeds_max} seeds"));
    assert_eq!(failure.violation.invariant, invariant, "{failure}");
    assert!(!failure.tail.is_empty() && failure.plan.contains("everything heals"));
}

#[test]
fn unsynced_blocks_are_noticed() {
    check_caught(Bug::MissingFsync, 40, "final stays final");
}

#[test]
fn certificates_of_half_the_power_are_noticed() {
    check_caught(Bug::QuorumOfHalf, 5, "validity");
}

#[test]
fn a_clock_in_state_is_noticed() {
    check_caught(Bug::ClockInState, 5, "equal roots");
}
