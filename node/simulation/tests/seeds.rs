//! A slice of the campaign, in parts that run side by side.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use purlin_simulation::campaign;

/// Seeds of one part.
const PART: u64 = 128;

fn part(number: u64) {
    let seeds = number * PART..(number + 1) * PART;
    let found = campaign(seeds, 1, None).unwrap();
    if let Some(failure) = found.failure {
        panic!("{failure}\nagain: cargo xtask sim --seeds {0}..{1} --trace", failure.seed, failure.seed + 1);
    }
    assert_eq!((found.statistics.seeds, found.statistics.replays), (PART, PART));
    // In every part of this size, everything that can go wrong does.
    let statistics = found.statistics;
    assert_eq!(statistics.adversaries.len(), purlin_simulation::Kind::ALL.len(), "{statistics}");
    let kinds = [
        "clock-skew",
        "crash",
        "deaf",
        "full-disk",
        "one-way-cut",
        "partition",
        "power-cut",
        "slow-disk",
        "stall",
    ];
    assert!(statistics.faults.keys().copied().eq(kinds), "{statistics}");
    for (what, count) in [
        ("lost", statistics.lost),
        ("cut", statistics.cut),
        ("unheard", statistics.unheard),
        ("twice", statistics.twice),
        ("failed requests", statistics.request_failures),
        ("bans", statistics.bans),
        ("acknowledged", statistics.acknowledged),
        ("applications", statistics.apps),
    ] {
        assert!(count > 0, "{what}: {statistics}");
    }
}

#[test]
fn seeds_0_to_127() {
    part(0);
}

#[test]
fn seeds_128_to_255() {
    part(1);
}

#[test]
fn seeds_256_to_383() {
    part(2);
}

#[test]
fn seeds_384_to_511() {
    part(3);
}

#[test]
fn seeds_512_to_639() {
    part(4);
}

#[test]
fn seeds_640_to_767() {
    part(5);
}

#[test]
fn seeds_768_to_895() {
    part(6);
}

#[test]
fn seeds_896_to_1023() {
    part(7);
}
