//! Headers that are right, and every way in which one is wrong.
#![allow(clippy::unwrap_used, reason = "tests panic where their assertions would")]

use super::*;
use crate::pow::{DoubleSha256, search};
use purlin_primitives::{Amount, Hash32};

/// One hash in 256 meets it.
pub(in crate::pow) const EASIEST: u32 = 0x2000_ffff;

pub(in crate::pow) fn rules(window_blocks: u64) -> HeaderRules {
    HeaderRules {
        chain_id: "test".parse().unwrap(),
        genesis: BlockId::new(Hash32::new([9; 32])),
        genesis_time: TimestampMs::new(1_000),
        rules: PowRules {
            block_time_ms: 1_000,
            half_life_ms: 60_000,
            target_start: EASIEST,
            future_ms_max: 5_000,
            block_reward: Amount::new(1),
            confirmations: 3,
        },
        window_blocks,
    }
}

/// The clock of most tests: no header is from the future.
const NOW: TimestampMs = TimestampMs::new(1 << 40);

pub(in crate::pow) fn tree(window_blocks: u64) -> HeaderTree {
    HeaderTree::new(rules(window_blocks), History::default()).unwrap()
}

/// A header without work on an entry of a tree.
fn template(tree: &HeaderTree, parent: &BlockId, after_ms: u64, salt: u8) -> BlockHeader {
    let parent = tree.get(parent).unwrap();
    BlockHeader {
        chain_id: "test".parse().unwrap(),
        height: parent.height.next(),
        parent: parent.id,
        time: TimestampMs::new(parent.time.get() + after_ms),
        proposer: Default::default(),
        transactions_root: Hash32::new([salt; 32]),
        state_root: Hash32::ZERO,
        receipts_root: Hash32::ZERO,
        seal: Seal::Pow { target: tree.next_target(parent), nonce: 0 },
    }
}

pub(in crate::pow) fn worked(mut header: BlockHeader) -> BlockHeader {
    let Seal::Pow { target, .. } = header.seal else { panic!("{header:?}") };
    let nonce = search(&DoubleSha256, &header, 0..u64::MAX).unwrap();
    header.seal = Seal::Pow { target, nonce };
    header
}

/// Makes a header on an entry that took so long, with its work done.
pub(in crate::pow) fn child(tree: &HeaderTree, parent: &BlockId, after_ms: u64, salt: u8) -> BlockHeader {
    worked(template(tree, parent, after_ms, salt))
}

fn insert(tree: &mut HeaderTree, header: &BlockHeader) -> Inserted {
    let from = Source { peer: b"peer".to_vec(), answers: true };
    tree.insert(&DoubleSha256, header, NOW, Some(&from), Body::Unknown)
}

/// Adds a branch of `count` headers and returns their ids.
fn grow(tree: &mut HeaderTree, parent: BlockId, count: usize, after_ms: u64, salt: u8) -> Vec<BlockId> {
    let mut ids = vec![parent];
    for _ in 0..count {
        let header = child(tree, ids.last().unwrap(), after_ms, salt);
        assert_eq!(insert(tree, &header), Inserted::New);
        ids.push(header.id());
    }
    ids.split_off(1)
}

fn genesis() -> BlockId {
    rules(0).genesis
}

#[test]
fn every_rule_of_a_header_is_checked() {
    let mut tree = tree(20);
    let ids = grow(&mut tree, genesis(), 15, 1_000, 1);
    let parent = ids[14];
    let good = template(&tree, &parent, 1_000, 2);
    let Seal::Pow { target, .. } = good.seal else { panic!() };
    let time = tree.get(&parent).unwrap().time;
    let refuse = |change: &dyn Fn(&mut BlockHeader)| {
        let mut header = good.clone();
        change(&mut header);
        let mut same = self::tree(20);
        assert_eq!(grow(&mut same, genesis(), ids.len(), 1_000, 1), ids);
        match insert(&mut same, &worked(header)) {
            Inserted::Refused(fault) => fault,
            other => panic!("{other:?}"),
        }
    };
    let harder = Target::from_compact(target).unwrap().to_compact() - 1;
    assert_eq!(refuse(&|h| h.chain_id = "other".parse().unwrap()), HeaderFault::Chain);
    assert_eq!(
        refuse(&|h| h.seal = Seal::Pow { target: harder, nonce: 0 }),
        HeaderFault::Target { found: harder, expected: target }
    );
    assert_eq!(
        refuse(&|h| h.seal = Seal::Pow { target: 0x2100_ffff, nonce: 0 }),
        HeaderFault::TooEasy(0x2100_ffff)
    );
    assert_eq!(
        refuse(&|h| h.height = Height::new(17)),
        HeaderFault::Height { found: Height::new(17), parent: Height::new(15) }
    );
    assert_eq!(refuse(&|h| h.time = time), HeaderFault::Time { found: time, after: time });
    // Without work, or without a target to do work for.
    let mut lazy = good.clone();
    while crate::pow::meets_own_target(&DoubleSha256, &lazy) {
        lazy.time = TimestampMs::new(lazy.time.get() + 1);
    }
    assert_eq!(insert(&mut tree, &lazy), Inserted::Refused(HeaderFault::Work));
    lazy.seal = Seal::FIRST_ROUND;
    assert_eq!(insert(&mut tree, &lazy), Inserted::Refused(HeaderFault::Seal));
    for target in [0, 0x0480_0001, 0xff00_0001] {
        lazy.seal = Seal::Pow { target, nonce: 0 };
        let refused = insert(&mut tree, &lazy);
        assert!(matches!(refused, Inserted::Refused(HeaderFault::CompactTarget(_))), "{refused:?}");
    }
    let good = worked(good);
    let soon = TimestampMs::new(good.time.get() - 5_001);
    assert_eq!(tree.insert(&DoubleSha256, &good, soon, None, Body::Unknown), Inserted::Early);
    let later = TimestampMs::new(good.time.get() - 5_000);
    assert_eq!(tree.insert(&DoubleSha256, &good, later, None, Body::Unknown), Inserted::New);
    assert_eq!(insert(&mut tree, &good), Inserted::Known);
    let mut unconnected = good;
    unconnected.parent = BlockId::new(Hash32::new([77; 32]));
    assert_eq!(insert(&mut tree, &worked(unconnected)), Inserted::Orphan);
}

#[test]
fn a_block_is_after_its_parent_and_after_the_median() {
    let mut tree = tree(20);
    let ids = grow(&mut tree, genesis(), 12, 1_000, 1);
    let entry = tree.get(&ids[11]).unwrap();
    assert_eq!(tree.time_bound(entry), entry.time, "the parent's time is later than the median here");
    assert_eq!(tree.time_bound(tree.get(&genesis()).unwrap()), TimestampMs::new(1_000));
}

#[test]
fn the_difficulty_follows_the_schedule_from_block_1_on() {
    let mut tree = tree(20);
    // The genesis is a day older than the first block: nobody is behind schedule because of that.
    let first = grow(&mut tree, genesis(), 1, 86_400_000, 1)[0];
    assert_eq!(tree.next_target(tree.get(&first).unwrap()), EASIEST);
    let on_time = grow(&mut tree, first, 5, 1_000, 1);
    assert_eq!(tree.next_target(tree.get(&on_time[4]).unwrap()), EASIEST);
    // Sixty blocks at once are one half-life ahead: twice as hard.
    let ahead = grow(&mut tree, on_time[4], 61, 1, 2);
    let target = Target::from_compact(tree.next_target(tree.get(&ahead[60]).unwrap())).unwrap();
    assert!(target < Target::from_compact(0x2000_8040).unwrap(), "{target:?}");
    assert!(target > Target::from_compact(0x1f7e_0000).unwrap(), "{target:?}");
}

#[test]
fn the_heaviest_wins_and_of_equals_the_first() {
    let mut tree = tree(20);
    let one = grow(&mut tree, genesis(), 3, 1_000, 1);
    let other = grow(&mut tree, genesis(), 3, 1_000, 2);
    assert_eq!(tree.best().unwrap().id, one[2]);
    one.iter().for_each(|id| drop(tree.set_head(*id)));
    assert_eq!(tree.best().map(|entry| entry.id), None, "as heavy is not heavier");
    let more = grow(&mut tree, other[2], 1, 1_000, 2)[0];
    let best = tree.best().unwrap();
    assert_eq!(best.id, more);
    let (ancestor, branch) = tree.branch(best);
    assert_eq!(ancestor, Height::ZERO);
    assert_eq!(branch.iter().map(|entry| entry.id).collect::<Vec<_>>(), [&other[..], &[more]].concat());
    assert_eq!(tree.best_valid().map(|entry| entry.id), None);
    // A longer branch of easier blocks may be lighter: work counts, not length.
    tree.set_head(more);
    assert_eq!(tree.get(&one[2]).unwrap().body, Body::Unknown);
    assert_eq!(tree.side_headers(), 3);
    // What is missing, or above it, is not the best.
    let more = grow(&mut tree, one[2], 4, 1_000, 1);
    tree.set_body(&more[1], Body::Missing { until: NOW });
    assert_eq!(tree.best().map(|entry| entry.id), None, "one block is as heavy as the head");
    tree.set_body(&more[1], Body::Unknown);
    assert_eq!(tree.best().unwrap().id, more[3]);
    // Invalid blocks take everything above with them.
    let removed = tree.invalidate(&more[0]);
    assert_eq!(removed.len(), 4);
    assert_eq!(tree.best().map(|entry| entry.id), None);
    let again = *removed.iter().find(|entry| entry.id == more[0]).unwrap().header.clone().unwrap();
    assert_eq!(insert(&mut tree, &again), Inserted::Refused(HeaderFault::Invalid));
    let above = *removed.iter().find(|entry| entry.id == more[1]).unwrap().header.clone().unwrap();
    assert_eq!(insert(&mut tree, &above), Inserted::Refused(HeaderFault::Invalid));
    assert!(tree.invalidate(&other[0]).is_empty(), "the chain is not invalid");
}

#[test]
fn what_the_window_has_left_behind_is_final() {
    let mut tree = tree(4);
    let chain = grow(&mut tree, genesis(), 10, 1_000, 1);
    let early = grow(&mut tree, chain[4], 2, 1_000, 2);
    let late = grow(&mut tree, chain[5], 2, 1_000, 3);
    for id in &chain[..9] {
        assert!(tree.set_head(*id).is_empty());
    }
    assert_eq!(tree.final_height(), Height::new(5));
    let at_the_bound = child(&tree, &chain[4], 1_000, 4);
    let below = child(&tree, &chain[3], 1_000, 4);
    assert_eq!(insert(&mut tree, &at_the_bound), Inserted::New);
    assert_eq!(insert(&mut tree, &below), Inserted::Final);
    let removed: BTreeSet<_> = tree.set_head(chain[9]).into_iter().map(|entry| entry.id).collect();
    assert_eq!(removed, early.iter().copied().chain([at_the_bound.id()]).collect());
    assert!(tree.get(&late[1]).is_some());
    assert_eq!(insert(&mut tree, &at_the_bound), Inserted::Final);
    // A header that connects to nothing and is as low is of a branch that is refused.
    let mut unconnected = below;
    unconnected.parent = BlockId::new(Hash32::new([77; 32]));
    assert_eq!(insert(&mut tree, &worked(unconnected)), Inserted::Final);
    // The chain's own headers: the window and eleven below.
    let more = grow(&mut tree, chain[9], 30, 1_000, 1);
    more.iter().for_each(|id| drop(tree.set_head(*id)));
    assert_eq!(tree.entries.len(), 4 + 1 + MEDIAN_TIME_BLOCKS);
    assert_eq!(tree.active.len(), tree.entries.len());
    assert_eq!(tree.children.len(), tree.entries.len() - 1);
    assert_eq!(tree.side_headers(), 0);
}

#[test]
fn a_tree_of_the_end_of_the_chain_judges_as_the_whole() {
    let mut whole = tree(4);
    // Faster than wanted, so that the target moves.
    let chain = grow(&mut whole, genesis(), 60, 700, 1);
    let headers: Vec<BlockHeader> =
        chain.iter().map(|id| *whole.get(id).unwrap().header.clone().unwrap()).collect();
    chain.iter().for_each(|id| drop(whole.set_head(*id)));
    let first_time = Some(headers[0].time);
    let end = headers[60 - 4 - MEDIAN_TIME_BLOCKS..].to_vec();
    let history = History { headers: end.clone(), first_time, oldest_state: Height::new(57) };
    let mut restarted = HeaderTree::new(rules(4), history).unwrap();
    assert_eq!(restarted.head_entry().id, whole.head_entry().id);
    assert_eq!(restarted.final_height(), Height::new(57), "what the chain says, when it is more");
    let (target, bound) = (whole.next_target(whole.head_entry()), whole.time_bound(whole.head_entry()));
    assert!(target != EASIEST);
    assert_eq!(restarted.next_target(restarted.head_entry()), target);
    assert_eq!(restarted.time_bound(restarted.head_entry()), bound);
    let branch = grow(&mut restarted, chain[57], 4, 700, 9);
    assert_eq!(restarted.best().unwrap().id, branch[3]);

    let without = History { headers: end.clone(), first_time: None, oldest_state: Height::ZERO };
    assert!(matches!(HeaderTree::new(rules(4), without), Err(HistoryError::NoFirstTime { .. })));
    let mut gap = end;
    gap.remove(3);
    let broken = History { headers: gap, first_time, oldest_state: Height::ZERO };
    assert!(matches!(HeaderTree::new(rules(4), broken), Err(HistoryError::Broken { .. })));
    let mut wrong = rules(4);
    wrong.rules.target_start = 0;
    assert!(matches!(HeaderTree::new(wrong, History::default()), Err(HistoryError::Target(_))));
}

#[test]
fn an_invalid_block_is_remembered_longer_than_what_stood_on_it() {
    let mut tree = tree(20);
    let branch = grow(&mut tree, genesis(), INVALID_MAX + 10, 1_000, 1);
    let root = *tree.get(&branch[0]).unwrap().header.clone().unwrap();
    let next = *tree.get(&branch[1]).unwrap().header.clone().unwrap();
    assert_eq!(tree.invalidate(&branch[0]).len(), INVALID_MAX + 10);
    assert_eq!(insert(&mut tree, &root), Inserted::Refused(HeaderFault::Invalid));
    assert_eq!(insert(&mut tree, &next), Inserted::Refused(HeaderFault::Invalid));
}

#[test]
fn a_flood_of_headers_pushes_out_the_lightest() {
    let mut tree = tree(4);
    let chain = grow(&mut tree, genesis(), 3, 1_000, 1);
    chain.iter().for_each(|id| drop(tree.set_head(*id)));
    let heavier = grow(&mut tree, chain[1], 5, 1_000, 2);
    let template = template(&tree, &chain[2], 1_000, 3);
    let mut made = 0u64;
    while made < HEADERS_MAX as u64 + 500 {
        let mut header = template.clone();
        header.transactions_root = Hash32::new({
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&made.to_le_bytes());
            bytes
        });
        made += 1;
        assert_eq!(insert(&mut tree, &worked(header)), Inserted::New);
        assert!(tree.side_headers() <= HEADERS_MAX);
    }
    assert_eq!(tree.best().unwrap().id, heavier[4]);
    // And too far ahead is for later.
    let mut tree = super::tests::tree(4);
    let ahead = grow(&mut tree, genesis(), HEADERS_AHEAD_MAX as usize, 1_000, 1);
    let header = child(&tree, ahead.last().unwrap(), 1_000, 1);
    assert_eq!(insert(&mut tree, &header), Inserted::Ahead);
    tree.set_head(ahead[0]);
    assert_eq!(insert(&mut tree, &header), Inserted::New);
}
