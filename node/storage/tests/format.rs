//! Pins what the chain stores, byte for byte; FORMAT.md draws it.
#![allow(clippy::unwrap_used, reason = "a test's helpers panic where its assertions would")]

#[path = "../../chain/tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use common::*;
use purlin_primitives::{Hash32, Height};
use purlin_state::{Column, KeyValueStore, MemoryStore, Order, StateKey};
use purlin_storage::{RocksStore, StorageOptions};
use sha2::{Digest, Sha256};

/// Hashes `column u8 || key length u32 LE || key || value length u32 LE || value` of every entry, in order.
fn fingerprint(store: &dyn KeyValueStore) -> Vec<(&'static str, usize, String)> {
    Column::ALL
        .iter()
        .map(|column| {
            let entries = store.scan(*column, &[], None, Order::Ascending, usize::MAX).unwrap();
            let mut hasher = Sha256::new();
            for (key, value) in &entries {
                hasher.update([*column as u8]);
                for part in [key, value] {
                    hasher.update((part.len() as u32).to_le_bytes());
                    hasher.update(part);
                }
            }
            let hash = Hash32::new(hasher.finalize().into()).to_string();
            (column.name(), entries.len(), hash[2..18].to_string())
        })
        .collect()
}

#[test]
fn the_format_is_what_format_md_says() {
    let memory = Arc::new(MemoryStore::new());
    let directory = tempfile::tempdir().unwrap();
    let rocks = Arc::new(RocksStore::open(directory.path(), &StorageOptions::default()).unwrap());
    let (in_memory, on_disk) = (open(memory.clone()), open(rocks.clone()));
    for _ in 0..12 {
        append(&in_memory, 5).unwrap();
        append(&on_disk, 5).unwrap();
    }
    let golden = fingerprint(&memory);
    assert_eq!(fingerprint(&rocks), golden, "both stores hold the same");
    assert_eq!(
        golden,
        GOLDEN.map(|(column, entries, hash)| (column, entries, hash.to_string())),
        "a change here is a change of the on-disk format: raise FORMAT_VERSION, and FORMAT.md with it"
    );
}

/// Column, entries, first eight bytes of the fingerprint.
const GOLDEN: [(&str, usize, &str); 13] = [
    ("meta", 4, "658e1ef69fb1819e"),
    ("values", 80, "c7a6d3c110a7e39f"),
    ("app_code", 3, "9430a621980a9f5b"),
    ("tree_nodes", 103, "6242decf1e21be73"),
    ("stale_nodes", 6, "84c03e098b3ab1c7"),
    ("undo", 6, "5c81982ec693da51"),
    ("blocks", 24, "0ab03ef5bc2bc793"),
    ("certificates", 12, "cda5d876c8087b0d"),
    ("receipts", 12, "f8c0d97ef4f821f7"),
    ("index", 199, "227e733c12920799"),
    ("events", 11, "712c4958b6b17d68"),
    ("events_by_app", 30, "82d7bf4a778548d2"),
    ("diagnostics", 29, "460861a172f91a7f"),
];

/// Reads records by hand, as FORMAT.md draws them.
#[test]
fn records_lie_where_format_md_draws_them() {
    let store = Arc::new(MemoryStore::new());
    let chain = open(store.clone());
    (0..9).for_each(|_| drop(append(&chain, 5).unwrap()));
    let height = 8u64;
    let be = height.to_be_bytes();
    let get = |column, key: &[&[u8]]| store.get(column, &key.concat()).unwrap();

    assert_eq!(get(Column::Meta, &[b"format"]), Some(vec![3, 0, 0, 0]));
    let header = chain.header(Height::new(height)).unwrap().unwrap();
    assert_eq!(get(Column::Blocks, &[&be, &[0]]), Some(borsh::to_vec(&header).unwrap()));
    let block = chain.block(Height::new(height)).unwrap().unwrap();
    assert!((1..=64).contains(&block.transactions.len()), "the block has one run");
    let run = borsh::to_vec(&block.transactions).unwrap();
    assert_eq!(get(Column::Blocks, &[&be, &[1], &[0; 4]]), Some(run));
    let receipts = chain.receipts(Height::new(height)).unwrap();
    assert_eq!(get(Column::Receipts, &[&be, &[0; 4]]), Some(borsh::to_vec(&receipts).unwrap()));
    let place = [&height.to_le_bytes()[..], &0u32.to_le_bytes()].concat();
    assert_eq!(get(Column::Index, &[&[0], receipts[0].transaction.as_bytes()]), Some(place));
    assert_eq!(get(Column::Index, &[&[1], header.id().as_bytes()]), Some(height.to_le_bytes().to_vec()));
    assert!(get(Column::Certificates, &[&be]).is_some());
    let root = get(Column::TreeNodes, &[&be, &[0]]).unwrap();
    assert_eq!(root[0], 2, "the root is a branch");
    let account = StateKey::account(&key().public_key().account_id());
    assert_eq!(get(Column::Values, &[&account]).map(|value| value.len()), Some(1));
    let undo = store.scan(Column::Undo, &be, None, Order::Ascending, 1).unwrap().remove(0);
    assert_eq!(undo.0[..8], be);
    assert_eq!(undo.0[8..], undo.1[8..8 + undo.0.len() - 8], "the key ends with the first key of its run");
}
