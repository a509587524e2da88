//! Going over to other branches: what is left is a chain that only ever had the last one.
#![allow(clippy::unwrap_used, reason = "a test's helpers panic where its assertions would")]

mod common;

use common::*;
use purlin_chain::{
    BlockFault, Branch, Chain, ChainError, EventCursor, EventFilter, EventRecord, ExecutedBlock, Executor,
    Opening, Policy, Reorganized,
};
use purlin_primitives::{Block, BlockHeader, Hash32, Height, Seal, TimestampMs, Transaction};
use purlin_state::{
    Column, Durability, Fault, FaultStore, KeyValueStore, MemoryStore, StateReader, StoreError, Trust,
    WriteBatch,
};
use std::collections::BTreeSet;
use std::sync::Arc;

type Store = Arc<MemoryStore>;

/// A window small enough to be left.
const WINDOW: u64 = 6;

#[derive(Clone)]
struct Made {
    block: Block,
    executed: ExecutedBlock,
}

/// Makes `count` blocks on top of the chain's block at `ancestor`. Some transactions are the same for every
/// seed, so branches share some.
fn fork<S: KeyValueStore>(chain: &Chain<S>, ancestor: u64, count: u64, seed: u64) -> Vec<Made> {
    let mut branch = chain.branch(Height::new(ancestor)).unwrap();
    let mut made = Vec::new();
    for height in ancestor + 1..=ancestor + count {
        let mut transactions = random_transactions(&mut Random(height), height, 4);
        transactions.extend(random_transactions(&mut Random(seed * 7_919 + height), height + seed * 500, 8));
        let mut seen = BTreeSet::new();
        transactions.retain(|transaction| seen.insert(transaction.body.id()));
        let verified: Vec<_> =
            transactions.iter().map(|t| t.clone().verify(&genesis().chain_id).unwrap()).collect();
        let time = TimestampMs::new(branch.head().time.get() + 100 + seed % 7);
        let proposer = key().public_key().account_id();
        let seal = Seal::Pow { target: 0x2000_ffff, nonce: seed };
        let context = chain.context(Height::new(height), time, proposer, seal);
        let executed =
            TestExecutor.execute_block(branch.state(), &context, &verified, Policy::LeaveOut).unwrap();
        let ids: Vec<_> = verified.iter().map(|transaction| transaction.id()).collect();
        let head = branch.head();
        let header = BlockHeader {
            chain_id: genesis().chain_id,
            height: Height::new(height),
            parent: head.block,
            time,
            proposer,
            transactions_root: Block::transactions_root(&ids),
            state_root: head.state_root,
            receipts_root: head.receipts_root,
            seal,
        };
        let block = Block { header, transactions };
        chain.extend_branch(&mut branch, &block, &executed).unwrap();
        assert_eq!((branch.ancestor(), branch.head().height), (Height::new(ancestor), Height::new(height)));
        made.push(Made { block, executed });
    }
    made
}

fn pairs(made: &[Made]) -> Vec<(Block, ExecutedBlock)> {
    made.iter().map(|made| (made.block.clone(), made.executed.clone())).collect()
}

fn append_made<S: KeyValueStore>(chain: &Chain<S>, made: &[Made]) {
    for (block, executed) in pairs(made) {
        chain.append(block, executed, None).unwrap();
    }
}

/// A chain that only ever had these blocks.
fn straight(made: &[Made]) -> (Store, Chain<Store>) {
    let store = Store::default();
    let chain = open(store.clone());
    append_made(&chain, made);
    (store, chain)
}

fn copy(store: &MemoryStore) -> Store {
    let mut batch = WriteBatch::default();
    store.dump().into_iter().for_each(|(column, key, value)| batch.put(column, key, value));
    let copy = Store::default();
    copy.write(batch, Durability::Synced).unwrap();
    copy
}

fn all_events<S: KeyValueStore>(chain: &Chain<S>) -> Vec<EventRecord> {
    let mut events = Vec::new();
    let mut cursor = EventCursor::default();
    loop {
        let page = chain.events(cursor, &EventFilter::default(), 100).unwrap();
        events.extend(page.events);
        cursor = page.next;
        if page.complete {
            return events;
        }
    }
}

/// Says in which entry two stores differ first.
fn assert_same(store: &Store, expected: &Store, at: &str) {
    let (found, expected) = (store.dump(), expected.dump());
    if found != expected {
        let missing = expected.iter().find(|entry| !found.contains(entry));
        let extra = found.iter().find(|entry| !expected.contains(entry));
        panic!("{at}: missing {missing:?}, extra {extra:?}");
    }
}

#[test]
fn back_and_forth_leaves_what_the_last_branch_alone_leaves() {
    let (mut shorter, mut deepest, mut beyond_the_window) = (0, 0, 0);
    for seed in 1..=10u64 {
        let mut random = Random(seed * 0x1234_5678_9abc);
        let store = Store::default();
        let chain = open(store.clone());
        let mut blocks: Vec<Made> = Vec::new();
        let mut highest = 0;
        let mut readers: Vec<(Arc<dyn StateReader>, Model)> = Vec::new();
        for round in 0..24 {
            let at = format!("seed {seed} round {round}");
            readers.push((chain.state(), read_all(&*chain.state())));
            let before = chain.head();
            let head = before.height.get();
            let historic = chain.state_at(before.oldest_state).unwrap();
            let branch_seed = 1 + random.below(1_000);
            if random.below(3) == 0 {
                let made = fork(&chain, head, 1 + random.below(3), branch_seed);
                append_made(&chain, &made);
                blocks.extend(made);
            } else {
                let depth = random.below(1 + (head - before.oldest_state.get()).min(WINDOW));
                let ancestor = head - depth;
                let made = fork(&chain, ancestor, random.below(depth + 4), branch_seed);
                let events = all_events(&chain);
                let writes_nothing = chain.head();
                let Reorganized { ancestor: reported, removed, returned, committed } =
                    chain.reorganize(Height::new(ancestor), pairs(&made)).unwrap();
                assert_eq!(*writes_nothing, *before);
                // What it reports.
                assert_eq!(reported, Height::new(ancestor), "{at}");
                let old = blocks.split_off(ancestor as usize);
                let expected: Vec<_> = old.iter().map(|made| &made.block).collect();
                assert_eq!(removed.iter().map(|r| &r.block).collect::<Vec<_>>(), expected, "{at}");
                assert!(removed.iter().all(|removed| removed.id == removed.block.header.id()));
                let gone: Vec<_> = removed.iter().flat_map(|removed| removed.events.clone()).collect();
                let expected: Vec<_> =
                    events.into_iter().filter(|event| event.cursor.height.get() > ancestor).collect();
                assert_eq!(gone, expected, "{at}: removed events");
                let ids = |made: &[Made]| -> Vec<Transaction> {
                    made.iter().flat_map(|made| made.block.transactions.clone()).collect()
                };
                let kept: BTreeSet<_> = ids(&made).iter().map(|t| t.body.id()).collect();
                let expected: Vec<_> =
                    ids(&old).into_iter().filter(|t| !kept.contains(&t.body.id())).collect();
                assert_eq!(returned, expected, "{at}: returned transactions");
                assert_eq!(committed.len(), made.len());
                if let Some(last) = committed.last() {
                    assert_eq!(last.head, chain.head(), "{at}");
                }
                blocks.extend(made);
                deepest = deepest.max(depth);
                shorter += u64::from(chain.head().height.get() < head);
                // A reader of a height before the head says so, unless it would have been told otherwise.
                let read = historic.get(b"anything");
                assert!(
                    before.oldest_state == before.height
                        || matches!(read, Err(StoreError::Reorganized { .. } | StoreError::Pruned { .. })),
                    "{at}: {read:?}"
                );
            }
            // What is stored.
            highest = highest.max(chain.head().height.get());
            let (expected_store, expected) = straight(&blocks);
            assert_eq!(chain.head().block, expected.head().block, "{at}");
            assert_eq!(chain.head().state_root, expected.head().state_root, "{at}");
            assert_eq!(chain.head().transactions, expected.head().transactions, "{at}");
            assert_eq!(all_events(&chain), all_events(&expected), "{at}");
            if chain.head().height.get() == highest {
                assert_same(&store, &expected_store, &at);
            } else {
                // What the longer branch pruned is missing until the chain is as long again.
                let store = copy(&store);
                let chain = open(store.clone());
                let more = fork(&chain, chain.head().height.get(), highest - chain.head().height.get(), 5);
                append_made(&chain, &more);
                append_made(&expected, &more);
                assert_same(&store, &expected_store, &at);
            }
            // Readers of old heads, on whatever branch, see what they saw.
            for (reader, model) in readers.iter().rev().take(4) {
                assert_eq!(&read_all(&**reader), model, "{at}");
            }
            // And the window of heights is that of the new branch.
            for height in chain.head().oldest_state.get()..=chain.head().height.get() {
                let height = Height::new(height);
                if height >= expected.head().oldest_state {
                    let (state, expected) =
                        (chain.state_at(height).unwrap(), expected.state_at(height).unwrap());
                    assert_eq!(read_all(&*state), read_all(&*expected), "{at}: height {height}");
                }
                if height < chain.head().height {
                    let proof = chain.proof(b"anything", Some(height)).unwrap();
                    let next = chain.header(height.next()).unwrap().unwrap();
                    proof.verify(&Trust::Block(next.id())).unwrap();
                }
            }
            if before.oldest_state > Height::ZERO {
                beyond_the_window += 1;
                let deep =
                    chain.reorganize(chain.head().oldest_state.saturating_sub(Height::new(1)), Vec::new());
                assert!(matches!(deep, Err(ChainError::ReorganizationTooDeep { .. })), "{at}: {deep:?}");
            }
        }
        chain.verify_from_blocks(&TestExecutor, |_| ()).unwrap();
        drop(chain);
        assert_eq!(*open(store).opening(), Opening::Opened);
    }
    assert!(
        shorter > 5 && deepest == WINDOW && beyond_the_window > 20,
        "{shorter} {deepest} {beyond_the_window}"
    );
}

#[test]
fn a_crash_leaves_the_old_branch_or_the_new_one() {
    for seed in 1..=3u64 {
        let prepared = Store::default();
        let chain = open(prepared.clone());
        append_made(&chain, &fork(&chain, 0, 9, seed));
        let made = fork(&chain, 5, 6, seed + 100);
        drop(chain);
        let old = prepared.dump();
        let clean = copy(&prepared);
        open(clean.clone()).reorganize(Height::new(5), pairs(&made)).unwrap();
        let new = clean.dump();
        for (fault, written) in [
            (Fault::Full, false),
            (Fault::Failed, false),
            (Fault::FailedAfterWriting, true),
            (Fault::PowerCut, false),
            (Fault::PowerCutAfterWriting, true),
        ] {
            let at = format!("seed {seed} {fault:?}");
            let disk = copy(&prepared);
            let store = Arc::new(FaultStore::new(disk.clone()));
            let chain = open(store.clone());
            let before = (chain.head(), store.writes());
            store.fail_write(0, fault);
            let error = chain.reorganize(Height::new(5), pairs(&made)).unwrap_err();
            assert!(matches!(error, ChainError::Store(_)), "{at}: {error}");
            assert_eq!(store.writes(), before.1 + 1, "{at}: one write");
            assert_eq!(chain.head(), before.0, "{at}: what was not acknowledged is not the head");
            let again = chain.reorganize(Height::new(5), pairs(&made));
            assert!(matches!(again, Err(ChainError::Stopped)), "{at}: never retried");
            drop(chain);
            assert!(disk.dump() == if written { new.clone() } else { old.clone() }, "{at}");
            let chain = open(disk.clone());
            assert_eq!(*chain.opening(), Opening::Opened, "{at}");
            chain.verify_from_blocks(&TestExecutor, |_| ()).unwrap();
            if !written {
                chain.reorganize(Height::new(5), pairs(&made)).unwrap();
            }
            assert!(disk.dump() == new, "{at}: goes on as if nothing had happened");
        }
    }
}

#[test]
fn certificates_of_the_old_branch_are_gone() {
    let store = Store::default();
    let chain = open(store.clone());
    let made = fork(&chain, 0, 4, 1);
    for (block, executed) in pairs(&made) {
        let certificate = certificate(&block);
        chain.append(block, executed, Some(&certificate)).unwrap();
    }
    let other = fork(&chain, 2, 3, 2);
    chain.reorganize(Height::new(2), pairs(&other)).unwrap();
    let certified = |height| chain.certificate(Height::new(height)).unwrap().is_some();
    assert_eq!([1, 2, 3, 4, 5].map(certified), [true, true, false, false, false]);
    for removed in &made[2..] {
        assert_eq!(chain.block_height(&removed.block.header.id()).unwrap(), None);
    }
}

#[test]
fn a_wrong_branch_changes_nothing() {
    let store = Store::default();
    let chain = open(store.clone());
    append_made(&chain, &fork(&chain, 0, 8, 1));
    let before = store.dump();
    let good = fork(&chain, 5, 4, 2);
    let refuse = |change: &dyn Fn(&mut Vec<Made>)| {
        let mut wrong = good.clone();
        change(&mut wrong);
        let fault = match chain.reorganize(Height::new(5), pairs(&wrong)) {
            Err(ChainError::InvalidBlock { fault, .. }) => fault,
            other => panic!("{other:?}"),
        };
        assert!(store.dump() == before);
        fault
    };
    let zero = Hash32::ZERO;
    assert!(matches!(refuse(&|b| b[0].block.header.state_root = zero), BlockFault::StateRoot { .. }));
    assert!(matches!(refuse(&|b| b[2].block.header.parent = Default::default()), BlockFault::Parent { .. }));
    assert!(matches!(refuse(&|b| drop(b.remove(1))), BlockFault::Height { .. }));
    assert!(matches!(refuse(&|b| drop(b[3].executed.receipts.pop())), BlockFault::ReceiptCount { .. }));
    // Results of another state are found by the next block's root.
    let wrong_result: &dyn Fn(&mut Vec<Made>) =
        &|b| drop(b[1].executed.changes.insert(vec![3, 1, b'x'], Some(vec![1])));
    assert!(matches!(refuse(wrong_result), BlockFault::StateRoot { .. }));
    assert!(matches!(chain.reorganize(Height::new(9), pairs(&good)), Err(ChainError::NotYet { .. })));
    assert!(matches!(
        chain.reorganize(Height::new(1), Vec::new()),
        Err(ChainError::ReorganizationTooDeep { oldest, .. }) if oldest == Height::new(2)
    ));
    assert!(matches!(chain.branch(Height::new(1)), Err(ChainError::ReorganizationTooDeep { .. })));
    // A branch refuses the same, and stays as it was.
    let mut branch = chain.branch(Height::new(5)).unwrap();
    let mut wrong = good[0].clone();
    wrong.block.header.receipts_root = zero;
    let refused = chain.extend_branch(&mut branch, &wrong.block, &wrong.executed);
    assert!(matches!(refused, Err(ChainError::InvalidBlock { .. })));
    chain.extend_branch(&mut branch, &good[0].block, &good[0].executed).unwrap();
    assert!(store.dump() == before);
    chain.reorganize(Height::new(5), pairs(&good)).unwrap();
}

#[test]
fn what_was_sealed_on_the_old_branch_cannot_be_committed() {
    let store = Store::default();
    let chain = open(store.clone());
    append_made(&chain, &fork(&chain, 0, 5, 1));
    let next = fork(&chain, 5, 1, 3).remove(0);
    let pending = chain.begin(next.block.clone(), next.executed.clone()).unwrap();
    let sealed = chain.seal(pending).unwrap();
    let pending = chain.begin(fork_on_tip(&chain), ExecutedBlock::default()).unwrap();
    // The new branch is as long, so the heights fit.
    let made = fork(&chain, 4, 1, 2);
    chain.reorganize(Height::new(4), pairs(&made)).unwrap();
    assert_eq!(chain.tip(), chain.head());
    let before = store.dump();
    assert!(matches!(chain.commit(sealed, None), Err(ChainError::OutOfOrder { .. })));
    assert!(matches!(chain.seal(pending), Err(ChainError::OutOfOrder { .. })));
    assert!(store.dump() == before);
    append_made(&chain, &fork(&chain, 5, 2, 9));
}

/// An empty block on the last sealed one.
fn fork_on_tip<S: KeyValueStore>(chain: &Chain<S>) -> Block {
    let time = TimestampMs::new(chain.tip().time.get() + 1);
    let proposer = key().public_key().account_id();
    Block { header: chain.next_header(time, proposer, Seal::FIRST_ROUND, &[]), transactions: Vec::new() }
}

#[test]
fn a_branch_stays_usable_while_the_chain_grows_and_says_when_it_is_not() {
    let chain = open(Store::default());
    append_made(&chain, &fork(&chain, 0, 5, 1));
    let mut branch = chain.branch(Height::new(3)).unwrap();
    let expected = read_all(&*branch.state());
    let made = fork(&chain, 3, 2, 2);
    append_made(&chain, &fork(&chain, 5, 2, 1));
    assert_eq!(read_all(&*branch.state()), expected, "the chain went on beside it");
    for made in &made {
        chain.extend_branch(&mut branch, &made.block, &made.executed).unwrap();
    }
    let layers: Vec<_> = made.iter().map(|made| Arc::new(made.executed.changes.clone())).collect();
    let state = chain.branch_state(Height::new(3), &layers).unwrap();
    assert_eq!(read_all(&*branch.state()), read_all(&*state));
    chain.reorganize(Height::new(3), pairs(&made)).unwrap();
    assert_eq!(read_all(&*chain.state()), read_all(&*chain.branch_state(Height::new(5), &[]).unwrap()));
    assert!(matches!(branch.state().get(b"unknown"), Err(StoreError::Reorganized { .. })));
    let reorganized = |branch: &mut Branch<Store>, next: &Made| {
        let refused = chain.extend_branch(branch, &next.block, &next.executed);
        matches!(refused, Err(ChainError::Store(StoreError::Reorganized { .. })))
    };
    assert!(reorganized(&mut branch, &fork(&chain, 5, 1, 2)[0]));
    // Its ancestor is of the chain no more: neither are the nodes of its tree.
    for ancestor in [4, 5] {
        let mut branch = chain.branch(Height::new(ancestor)).unwrap();
        let next = fork(&chain, ancestor, 1, 7).remove(0);
        let other = fork(&chain, 3, 3, 30 + ancestor);
        chain.reorganize(Height::new(3), pairs(&other)).unwrap();
        assert!(reorganized(&mut branch, &next), "{ancestor}");
        chain.reorganize(Height::new(3), pairs(&made)).unwrap();
    }

    let mut branch = chain.branch(Height::new(4)).unwrap();
    let next = fork(&chain, 4, 1, 7).remove(0);
    append_made(&chain, &fork(&chain, 5, WINDOW + 1, 1));
    assert!(matches!(branch.state().get(b"unknown"), Err(StoreError::Pruned { .. })));
    let refused = chain.extend_branch(&mut branch, &next.block, &next.executed);
    assert!(matches!(refused, Err(ChainError::Store(StoreError::Pruned { .. }))), "{refused:?}");
}

#[test]
fn a_tree_that_was_built_again_is_made_at_the_ancestor() {
    let (store, chain) = straight(&fork(&open(Store::default()), 0, 9, 1));
    drop(chain);
    let mut batch = WriteBatch::default();
    batch.delete(Column::TreeNodes, [&9u64.to_be_bytes()[..], &[0]].concat());
    store.write(batch, Durability::Synced).unwrap();
    let chain = open(store.clone());
    assert!(matches!(chain.opening(), Opening::Repaired { .. }));
    let made = fork(&chain, 6, 4, 2);
    chain.reorganize(Height::new(6), pairs(&made)).unwrap();
    assert_eq!(chain.head().oldest_proof, Height::new(6));
    for height in 6..10 {
        let next = chain.header(Height::new(height + 1)).unwrap().unwrap();
        let proof = chain.proof(b"anything", Some(Height::new(height))).unwrap();
        proof.verify(&Trust::Block(next.id())).unwrap();
    }
    assert!(matches!(
        chain.proof(b"anything", Some(Height::new(5))),
        Err(ChainError::Store(StoreError::Pruned { .. }))
    ));
    chain.verify_from_blocks(&TestExecutor, |_| ()).unwrap();
    drop(chain);
    let chain = open(store);
    assert_eq!(*chain.opening(), Opening::Opened);
    append_made(&chain, &fork(&chain, 10, 12, 3));
}

#[test]
fn readers_beside_see_one_branch_at_a_time() {
    let chain = Arc::new(open(Store::default()));
    append_made(&chain, &fork(&chain, 0, 8, 1));
    let one = fork(&chain, 4, 5, 1);
    let other = fork(&chain, 4, 6, 2);
    let finished = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let read = |reader: u64| {
        let (chain, finished) = (chain.clone(), finished.clone());
        let of_branches: BTreeSet<_> = one
            .iter()
            .chain(&other)
            .map(|made| (made.block.header.id(), made.block.clone()))
            .map(|(id, _)| id)
            .collect();
        let all: Vec<Made> = one.iter().chain(&other).cloned().collect();
        std::thread::spawn(move || {
            let mut reads = 0u64;
            while !finished.load(std::sync::atomic::Ordering::SeqCst) || reads < 10 {
                reads += 1;
                let height = Height::new(5 + (reads + reader) % 3);
                let block = chain.block(height).unwrap().unwrap();
                let ids: Vec<_> = block.transactions.iter().map(|t| t.body.id()).collect();
                assert_eq!(block.header.transactions_root, Block::transactions_root(&ids), "one block");
                if let Some(transaction) = ids.first()
                    && let Some(record) = chain.receipt(transaction).unwrap()
                {
                    assert_eq!(record.receipt.transaction, *transaction);
                }
                if let Some(transaction) = ids.last()
                    && let Some(record) = chain.inclusion(transaction).unwrap()
                {
                    let found = (record.transaction.body.id(), record.receipt.transaction);
                    assert_eq!(found, (*transaction, *transaction));
                    let made = all.iter().find(|made| made.block.header == record.header).unwrap();
                    assert_eq!(made.block.transactions[record.position as usize], record.transaction);
                }
                let (block, receipts) = chain.block_and_receipts(height).unwrap().unwrap();
                let ids = block.transactions.iter().map(|one| one.body.id());
                assert!(ids.eq(receipts.iter().map(|one| one.transaction)), "of one branch");
                let (header, receipts) = chain.header_and_receipts(height).unwrap().unwrap();
                let ids: Vec<_> = receipts.iter().map(|one| one.transaction).collect();
                assert_eq!(header.transactions_root, Block::transactions_root(&ids), "of one branch");
                let extended = chain.branch(height).and_then(|mut branch| {
                    let parent = branch.head().block;
                    let Some(made) = all.iter().find(|made| made.block.header.parent == parent) else {
                        return Ok(());
                    };
                    chain.extend_branch(&mut branch, &made.block, &made.executed)
                });
                match extended {
                    Ok(()) | Err(ChainError::Store(StoreError::Reorganized { .. })) => {}
                    Err(error) => panic!("{error}"),
                }
                let page = chain.events(EventCursor::start_of(Height::new(5)), &EventFilter::default(), 1000);
                let cursors: Vec<_> = page.unwrap().events.iter().map(|event| event.cursor).collect();
                assert!(cursors.is_sorted_by(|a, b| a < b));
                let (state, head) = chain.state_and_head();
                assert_eq!(read_all(&*state), read_all(&*state), "a reader of {} stays there", head.height);
                match chain.proof(b"anything", Some(height)) {
                    Ok(_) | Err(ChainError::Store(StoreError::Reorganized { .. })) => {}
                    Err(error) => panic!("{error}"),
                }
                match chain.state_at(height).unwrap().get(b"anything") {
                    Ok(None) | Err(StoreError::Reorganized { .. }) => {}
                    other => panic!("{other:?}"),
                }
            }
            assert!(!of_branches.is_empty());
        })
    };
    let readers = [read(0), read(1)];
    for round in 0..60 {
        let branch = if round % 2 == 0 { &one } else { &other };
        chain.reorganize(Height::new(4), pairs(branch)).unwrap();
    }
    finished.store(true, std::sync::atomic::Ordering::SeqCst);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}
