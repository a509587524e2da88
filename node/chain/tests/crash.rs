//! Power cuts and failing disks at every write: the chain ends with the old head or the new one.
#![allow(clippy::unwrap_used, reason = "a test's helpers panic where its assertions would")]

mod common;

use common::*;
use purlin_chain::{Chain, ChainError, Opening};
use purlin_primitives::Height;
use purlin_state::{Column, Durability, Fault, FaultStore, KeyValueStore, MemoryStore, WriteBatch};
use std::sync::Arc;

const BLOCKS: u64 = 12;

#[test]
fn every_write_may_be_the_last() {
    for seed in 1..=3 {
        let clean = Arc::new(MemoryStore::new());
        let chain = open(clean.clone());
        let heads: Vec<_> = std::iter::once(chain.head())
            .chain((0..BLOCKS).map(|_| append(&chain, seed).unwrap().head))
            .collect();
        for fault in [
            Fault::Full,
            Fault::Failed,
            Fault::FailedAfterWriting,
            Fault::PowerCut,
            Fault::PowerCutAfterWriting,
        ] {
            for write in 0..=BLOCKS {
                let at = format!("seed {seed} {fault:?} at write {write}");
                let disk = Arc::new(MemoryStore::new());
                let store = Arc::new(FaultStore::new(disk.clone()));
                store.fail_write(write, fault);
                let acknowledged = run_until_failure(&store, seed, &at);
                assert_eq!(acknowledged, write.checked_sub(1), "{at}: one write per block");

                // Starts again on what the disk holds.
                let chain = open(disk.clone());
                let head = chain.head();
                let written = matches!(fault, Fault::FailedAfterWriting | Fault::PowerCutAfterWriting);
                let expected = if written { write } else { acknowledged.unwrap_or(0) };
                assert_eq!(head.height, Height::new(expected), "{at}: everything acknowledged is there");
                assert_eq!(head, heads[expected as usize], "{at}");
                let created = !written && write == 0;
                assert_eq!(*chain.opening() == Opening::Created, created, "{at}");
                chain.verify_state().unwrap();
                // And goes on as if nothing had happened.
                while chain.head().height < Height::new(BLOCKS) {
                    append(&chain, seed).unwrap();
                }
                assert!(disk.dump() == clean.dump(), "{at}: byte for byte");
            }
        }
    }
}

/// Returns the height that was last acknowledged.
fn run_until_failure(store: &Arc<FaultStore<Arc<MemoryStore>>>, seed: u64, at: &str) -> Option<u64> {
    let chain = match Chain::open(store.clone(), genesis(), &TestExecutor, options(6)) {
        Ok(chain) => chain,
        Err(error) => {
            assert!(matches!(error, ChainError::Store(_)), "{at}: {error}");
            return None;
        }
    };
    loop {
        let before = (chain.head(), chain.state());
        match append(&chain, seed) {
            Ok(committed) => assert!(committed.head.height <= Height::new(BLOCKS), "{at}: no fault happened"),
            Err(error) => {
                assert!(matches!(error, ChainError::Store(_)), "{at}: {error}");
                assert_eq!(chain.head(), before.0, "{at}: what was not acknowledged is not the head");
                // Never retried: whether the write happened is unknown.
                let (block, executed) = next_block(&chain, empty(), Vec::new());
                assert!(matches!(chain.append(block, executed, None), Err(ChainError::Stopped)), "{at}");
                return Some(before.0.height.get());
            }
        }
    }
}

#[test]
fn the_fault_store_loses_exactly_what_was_not_synced() {
    let disk = Arc::new(MemoryStore::new());
    let store = FaultStore::new(disk.clone());
    let write = |key: &[u8], value: Option<&[u8]>, durability| {
        let mut batch = WriteBatch::default();
        match value {
            Some(value) => batch.put(Column::Meta, key, value),
            None => batch.delete(Column::Meta, key),
        }
        store.write(batch, durability).unwrap();
    };
    write(b"a", Some(b"1"), Durability::Synced);
    write(b"b", Some(b"1"), Durability::Buffered);
    write(b"a", Some(b"2"), Durability::Buffered);
    write(b"c", Some(b"1"), Durability::Synced);
    let synced = disk.dump();
    write(b"a", Some(b"3"), Durability::Buffered);
    write(b"a", None, Durability::Buffered);
    write(b"d", Some(b"1"), Durability::Buffered);
    assert_eq!(store.get(Column::Meta, b"d").unwrap(), Some(b"1".to_vec()));
    store.cut_power().unwrap();
    assert_eq!(disk.dump(), synced);
    assert!(store.get(Column::Meta, b"a").is_err());
}
