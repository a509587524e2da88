//! The simulator itself: that a seed decides everything, and that it sees what is wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use purlin_simulation::{Bug, Options, hunt, run};
use std::ops::Range;

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

/// Seeds that fail when what was changed for them is taken back, and why. What changes the course of all seeds may call
/// for others.
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
    (6, "a block with a used nonce stopped whoever checked it"),
    (8, "a certificate was checked by the validators of the height after it"),
    (1_002_027, "blocks fetched again after a lie were kept beside those fetched before"),
    (2_000_819, "a validator whose clock had been behind refused for ever the block that others held on to"),
    (3_006_757, "a forged copy of a known transaction was passed on with new ones, and its bearer blamed"),
    (5_013_862, "a validator one block behind waited ten seconds for a peer that answered nothing"),
    (4_000_319, "the body of a final block with a wrong signature stopped the node that fetched it"),
    (115, "a block of another height than its proposal held up the builder for ever"),
    (236, "a clock that is behind made a node stop at a final block"),
];

/// Runs seeds until the bug is caught, which must be by the invariant that is about it.
#[track_caller]
fn check_caught(bug: Bug, seeds: Range<u64>, invariants: &[&str]) {
    let caught = hunt(bug, seeds.clone(), 1).unwrap();
    let (_, failure) = caught.by.unwrap_or_else(|| panic!("{bug} was not caught by the seeds {seeds:?}"));
    assert!(invariants.contains(&failure.violation.invariant), "{failure}");
    assert!(!failure.tail.is_empty() && failure.plan.contains("everything heals"));
}

#[test]
fn unsynced_blocks_are_noticed() {
    check_caught(Bug::MissingFsync, 0..40, &["final stays final"]);
}

#[test]
fn unsynced_votes_are_noticed() {
    check_caught(Bug::UnsyncedVotes, 0..40, &["one signature"]);
}

#[test]
fn a_signer_that_forgets_is_noticed() {
    check_caught(Bug::DoubleVote, 0..40, &["one signature"]);
}

#[test]
fn transactions_that_may_not_be_in_a_block_are_noticed() {
    check_caught(Bug::SkippedValidity, 0..60, &["exactly once", "nonces"]);
}

#[test]
fn certificates_that_nobody_checked_are_noticed() {
    // Forged ones reach the engine only while a node is far behind: everywhere else they are checked before.
    check_caught(Bug::CertificateUnchecked, 200..210, &["validity", "agreement", "running"]);
}

#[test]
fn certificates_of_half_the_power_are_noticed() {
    check_caught(Bug::QuorumOfHalf, 0..5, &["validity"]);
}

#[test]
fn transactions_passed_over_are_noticed() {
    check_caught(Bug::LostTransaction, 0..20, &["settled"]);
}

#[test]
fn blocks_with_the_time_of_their_parent_are_noticed() {
    check_caught(Bug::StaleProposal, 0..5, &["running"]);
}

#[test]
fn a_pool_without_a_limit_is_noticed() {
    check_caught(Bug::UnboundedQueue, 0..60, &["bounded queues"]);
}

#[test]
fn evidence_thrown_away_is_noticed() {
    check_caught(Bug::EvidenceIgnored, 0..60, &["slashing"]);
}

#[test]
fn values_that_were_not_kept_are_noticed() {
    check_caught(Bug::WrongUndo, 0..5, &["history"]);
}

#[test]
fn a_clock_in_state_is_noticed() {
    check_caught(Bug::ClockInState, 0..5, &["equal roots"]);
}

#[test]
fn an_acknowledgement_of_what_is_not_final_is_noticed() {
    check_caught(Bug::EarlyAcknowledgement, 0..5, &["acknowledged"]);
}
