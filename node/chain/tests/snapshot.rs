//! Chains that begin with a snapshot, and chains whose old blocks are gone.
#![allow(clippy::unwrap_used, reason = "a test's helpers panic where its assertions would")]

mod common;

use common::*;
use purlin_chain::{
    Chain, ChainError, Contents, EventCursor, EventFilter, Foundation, History, Installation, Opening,
};
use purlin_primitives::{Hash32, Height};
use purlin_state::{
    Column, Durability, Fault, FaultStore, FlatState, KeyValueStore, MemoryStore, RangeChunk, RangeLimits,
    StateReader, StoreError, WriteBatch,
};
use std::sync::Arc;

type Store = Arc<MemoryStore>;

const LIMITS: RangeLimits = RangeLimits { entries_max: 7, bytes_max: 1_000 };

fn grown(seed: u64, blocks: u64) -> Chain<Store> {
    let chain = open(Store::default());
    (0..blocks).for_each(|_| drop(append(&chain, seed).unwrap()));
    chain
}

/// Reads all of a height's state in chunks.
fn chunks<S: KeyValueStore>(chain: &Chain<S>, height: Height, sorted_bytes_max: usize) -> Vec<RangeChunk> {
    let mut source = chain.chunks_within(height, chain.state_at(height).unwrap(), sorted_bytes_max).unwrap();
    let (mut from, to) = (Hash32::new([0; 32]), Hash32::new([255; 32]));
    let mut all = Vec::new();
    loop {
        let chunk = source.chunk(&from, &to, LIMITS).unwrap();
        chunk.verify(&source.root()).unwrap();
        let end = chunk.to;
        all.push(chunk);
        if end == to {
            return all;
        }
        let mut next = *end.as_bytes();
        for byte in next.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        from = Hash32::new(next);
    }
}

fn foundation<S: KeyValueStore>(chain: &Chain<S>, height: Height) -> Foundation {
    let next = chain.header(height.next()).unwrap().unwrap();
    Foundation {
        header: chain.header(height).unwrap().unwrap(),
        certificate: chain.certificate(height).unwrap(),
        state_root: next.state_root,
        receipts_root: next.receipts_root,
        transactions: 77,
        turnovers: Vec::new(),
    }
}

fn install<S: KeyValueStore>(store: Arc<S>, from: &Chain<Store>, height: Height) -> Result<(), ChainError> {
    let installation = Installation::new(store, genesis())?;
    installation.begin(b"0")?;
    for chunk in chunks(from, height, usize::MAX) {
        installation.store(chunk.entries, b"more")?;
    }
    installation.finish(foundation(from, height)).map(drop)
}

#[test]
fn chunks_hold_every_height_of_the_window_whatever_memory_there_is() {
    let chain = grown(4, 20);
    for height in 14..20 {
        let height = Height::new(height);
        let whole = chunks(&chain, height, usize::MAX);
        let model = read_all(&*chain.state_at(height).unwrap());
        let entries: Model = whole.iter().flat_map(|chunk| chunk.entries.clone()).collect();
        assert_eq!(entries, model);
        for sorted_bytes_max in [1, 500, 5_000] {
            assert_eq!(
                chunks(&chain, height, sorted_bytes_max),
                whole,
                "in walks of {sorted_bytes_max} bytes"
            );
        }
    }
    let state = chain.state();
    assert!(matches!(chain.chunks(Height::new(21), state.clone()), Err(ChainError::NotYet { .. })));
    let pruned = chain.chunks(Height::new(3), state);
    assert!(matches!(pruned, Err(ChainError::Store(StoreError::Pruned { .. }))));
}

#[test]
fn a_chain_goes_on_from_a_snapshot_as_if_it_had_always_been_there() {
    for seed in 1..=3 {
        let full = grown(seed, 20);
        let at = Height::new(15);
        let store = Store::default();
        install(store.clone(), &full, at).unwrap();
        assert_eq!(Installation::look(&*store, &genesis()).unwrap(), Contents::Chain);
        let joined = open(store.clone());
        assert_eq!(*joined.opening(), Opening::Opened);
        assert_eq!((joined.head().height, joined.head().transactions), (at, 77));
        assert_eq!(read_all(&*joined.state()), read_all(&*full.state_at(at).unwrap()));
        for height in 16..=20 {
            append(&joined, seed).unwrap();
            assert_eq!(joined.head().block, full.header(Height::new(height)).unwrap().unwrap().id());
        }
        assert_eq!(joined.head().state_root, full.head().state_root);
        joined.verify_state().unwrap();
        let report = joined.verify_from_blocks(&TestExecutor, |_| {}).unwrap();
        assert_eq!((report.from, report.blocks), (Height::new(16), 5));
        // Reads before it say where it begins.
        let is_pruned = |error: StoreError, oldest: u64| matches!(error, StoreError::BlockPruned { oldest: found, .. } if found == Height::new(oldest));
        assert!(is_pruned(joined.header(Height::new(14)).unwrap_err(), 15));
        assert!(is_pruned(joined.block(at).unwrap_err(), 16));
        assert!(is_pruned(joined.receipts(Height::new(3)).unwrap_err(), 16));
        assert!(joined.header(at).unwrap().is_some() && joined.certificate(at).unwrap().is_some());
        let early = joined.events(EventCursor::start_of(Height::new(9)), &EventFilter::default(), 5);
        assert!(is_pruned(early.unwrap_err(), 16));
        joined.events(EventCursor::start_of(Height::ZERO), &EventFilter::default(), 5).unwrap();
        assert!(matches!(
            joined.state_at(Height::new(14)),
            Err(ChainError::Store(StoreError::Pruned { .. }))
        ));
        let proof = joined.proof(b"x", Some(at)).unwrap();
        assert_eq!(proof.header.height, Height::new(16));
        // And stays so.
        drop(joined);
        let again = open(store.clone());
        assert_eq!(again.history(), History { oldest_header: at, oldest_block: at.next() });
        assert!(matches!(Installation::new(store, genesis()), Err(ChainError::NotEmpty)));
    }
}

#[test]
fn what_is_not_the_state_never_becomes_a_chain() {
    let full = grown(2, 12);
    let at = Height::new(10);
    let store = Store::default();
    let installation = Installation::new(store.clone(), genesis()).unwrap();
    installation.begin(b"begun").unwrap();
    let mut all = chunks(&full, at, usize::MAX);
    all.pop();
    for chunk in all {
        installation.store(chunk.entries, b"half").unwrap();
    }
    let error = installation.finish(foundation(&full, at)).unwrap_err();
    assert!(matches!(error, ChainError::SnapshotRoot { height, .. } if height == at), "{error}");
    let refused = Chain::open(store.clone(), genesis(), &TestExecutor, options(6)).unwrap_err();
    assert!(matches!(refused, ChainError::Unfinished), "{refused}");
    assert_eq!(Installation::look(&*store, &genesis()).unwrap(), Contents::Unfinished(b"half".to_vec()));
    installation.discard().unwrap();
    assert_eq!(store.dump(), Vec::new(), "nothing is left");
    assert_eq!(*open(store).opening(), Opening::Created);
}

#[test]
fn an_installation_survives_a_power_cut_at_every_write() {
    let full = grown(3, 14);
    let at = Height::new(12);
    let reference = Store::default();
    install(reference.clone(), &full, at).unwrap();
    for fault in [Fault::PowerCut, Fault::PowerCutAfterWriting] {
        for n in 0.. {
            let disk = Store::default();
            let store = Arc::new(FaultStore::new(disk.clone()));
            store.fail_write(n, fault);
            let done = install(store, &full, at).is_ok();
            match Installation::look(&*disk, &genesis()).unwrap() {
                Contents::Chain => drop(open(disk.clone())),
                Contents::Empty => {}
                Contents::Unfinished(progress) => {
                    assert!(progress == b"0" || progress == b"more");
                    let opened = Chain::open(disk.clone(), genesis(), &TestExecutor, options(6));
                    assert!(matches!(opened, Err(ChainError::Unfinished)));
                    install(disk.clone(), &full, at).unwrap();
                    assert_eq!(disk.dump(), reference.dump());
                }
            }
            if done {
                assert!(n > 5);
                break;
            }
        }
    }
}

/// After a crash in the middle of removing, the progress said that entries are there which were gone.
#[test]
fn a_crash_while_a_snapshot_is_removed_leaves_no_progress_that_is_not_true() {
    let full = grown(3, 14);
    for fault in [Fault::PowerCut, Fault::PowerCutAfterWriting] {
        for n in 0.. {
            let disk = Store::default();
            let installation = Installation::new(disk.clone(), genesis()).unwrap();
            installation.begin(b"begun").unwrap();
            for chunk in chunks(&full, Height::new(12), usize::MAX) {
                installation.store(chunk.entries, b"stored").unwrap();
            }
            let before = disk.dump();
            let store = Arc::new(FaultStore::new(disk.clone()));
            store.fail_write(n, fault);
            let done = Installation::new(store, genesis()).unwrap().discard().is_ok();
            match Installation::look(&*disk, &genesis()).unwrap() {
                Contents::Chain => panic!("it never was one"),
                Contents::Empty => assert_eq!(disk.dump(), []),
                Contents::Unfinished(progress) if progress.is_empty() => {
                    install(disk.clone(), &full, Height::new(12)).unwrap();
                }
                Contents::Unfinished(progress) => {
                    assert_eq!((progress, disk.dump()), (b"stored".to_vec(), before), "write {n}");
                }
            }
            if done {
                assert!(n > 2);
                break;
            }
        }
    }
}

/// Nothing proves how many transactions a snapshot says there were; the largest number stopped the node at its first block.
#[test]
fn a_snapshot_may_claim_any_number_of_transactions() {
    let full = grown(1, 14);
    let (at, store) = (Height::new(12), Store::default());
    let installation = Installation::new(store.clone(), genesis()).unwrap();
    installation.begin(b"0").unwrap();
    for chunk in chunks(&full, at, usize::MAX) {
        installation.store(chunk.entries, b"more").unwrap();
    }
    let claimed = Foundation { transactions: u64::MAX - 1, ..foundation(&full, at) };
    installation.finish(claimed).unwrap();
    let joined = open(store);
    let count: usize = (0..4).map(|_| append(&joined, 1).unwrap().block.transactions.len()).sum();
    assert!(count > 1);
    assert_eq!(joined.head().transactions, u64::MAX);
}

/// Between the write that removes nodes and the new head, a walk that pruning has overtaken looked like damage, which
/// stops a node.
#[test]
fn a_walk_that_pruning_overtakes_is_told_so_before_the_head_moves() {
    for seed in 1..=5 {
        let store = Arc::new(FaultStore::new(Store::default()));
        let chain = open(store.clone());
        (0..20).for_each(|_| drop(append(&chain, seed).unwrap()));
        let height = chain.head().oldest_proof;
        // The entries of that height, wherever they come from: only the tree is pruned here.
        let mut batch = WriteBatch::default();
        for (key, value) in read_all(&*chain.state_at(height).unwrap()) {
            batch.put(Column::of_state(&key), key, value);
        }
        let entries = Arc::new(MemoryStore::new());
        entries.write(batch, Durability::Synced).unwrap();
        let mut source = chain.chunks(height, Arc::new(FlatState::new(entries))).unwrap();
        // Everything is written, and the head stays where it was.
        store.fail_write(0, Fault::FailedAfterWriting);
        append(&chain, seed).unwrap_err();
        assert_eq!(chain.head().oldest_proof, height);
        let (from, to) = (Hash32::new([0; 32]), Hash32::new([255; 32]));
        let everything = RangeLimits { entries_max: usize::MAX, bytes_max: usize::MAX };
        let error = source.chunk(&from, &to, everything).unwrap_err();
        assert!(matches!(error, ChainError::Store(StoreError::Pruned { .. })), "seed {seed}: {error}");
    }
}

#[test]
fn pruning_removes_whole_blocks_and_nothing_else() {
    let chain = grown(5, 30);
    let full = grown(5, 30);
    assert_eq!(chain.prune_history(Height::new(1)).unwrap(), None);
    let step = chain.prune_history(Height::new(11)).unwrap().unwrap();
    assert_eq!(step.oldest_block, Height::new(11));
    assert!(step.records > 0 && step.bytes > 0);
    assert_eq!(chain.prune_history(Height::new(11)).unwrap(), None);
    for height in (1..=30).map(Height::new) {
        assert_eq!(chain.header(height).unwrap(), full.header(height).unwrap());
        assert_eq!(chain.certificate(height).unwrap(), full.certificate(height).unwrap());
        let block = full.block(height).unwrap().unwrap();
        let ids: Vec<_> = block.transactions.iter().map(|transaction| transaction.body.id()).collect();
        if height < Height::new(11) {
            assert!(matches!(chain.block(height), Err(StoreError::BlockPruned { .. })));
            assert!(matches!(chain.receipts(height), Err(StoreError::BlockPruned { .. })));
            assert!(ids.iter().all(|id| chain.transaction(id).unwrap().is_none()));
        } else {
            assert_eq!(chain.block(height).unwrap().as_ref(), Some(&block));
            assert_eq!(chain.receipts(height).unwrap(), full.receipts(height).unwrap());
            assert!(ids.iter().all(|id| chain.transaction(id).unwrap().is_some()));
        }
    }
    let filter = EventFilter { app: Some(app(1)), topic: None };
    let all = full.events(EventCursor::start_of(Height::new(11)), &filter, 1_000).unwrap();
    let kept = chain.events(EventCursor::start_of(Height::ZERO), &filter, 1_000).unwrap();
    assert_eq!(kept.events, all.events);
    // Never into the window.
    while chain.prune_history(Height::new(29)).unwrap().is_some() {}
    assert_eq!(chain.history().oldest_block, chain.head().oldest_state);
    let report = chain.verify_from_blocks(&TestExecutor, |_| {}).unwrap();
    assert_eq!((report.from, report.blocks), (Height::new(25), 6));
    (0..3).for_each(|_| drop(append(&chain, 5).unwrap()));
}

#[test]
fn pruning_survives_a_power_cut() {
    for fault in [Fault::PowerCut, Fault::PowerCutAfterWriting] {
        let disk = Store::default();
        let store = Arc::new(FaultStore::new(disk.clone()));
        let chain = open(store.clone());
        (0..20).for_each(|_| drop(append(&chain, 6).unwrap()));
        store.fail_write(0, fault);
        chain.prune_history(Height::new(9)).unwrap_err();
        let again = open(disk);
        let oldest = again.history().oldest_block;
        assert_eq!(oldest, Height::new(if fault == Fault::PowerCut { 1 } else { 9 }));
        for height in (oldest.get()..=20).map(Height::new) {
            assert_eq!(
                again.block(height).unwrap().unwrap().transactions.len(),
                again.receipts(height).unwrap().len()
            );
        }
        again.verify_from_blocks(&TestExecutor, |_| {}).unwrap();
        let empty: &dyn StateReader = &purlin_state::EmptyState;
        assert!(read_all(empty).is_empty());
    }
}
