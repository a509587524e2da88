use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use purlin_primitives::Height;

use super::*;
use crate::MemoryStore;
use crate::reader::Changes;
use crate::store::{Durability, WriteBatch};
use crate::tree::StateTree;

type Index = BTreeMap<Hash32, Entry>;
const END: Hash32 = Hash32::new([255; 32]);
const NO_LIMIT: RangeLimits = RangeLimits { entries_max: usize::MAX, bytes_max: usize::MAX };

fn fixture(keys: u64) -> (MerkleTree<Arc<MemoryStore>>, TreeVersion, Index) {
    let store = Arc::new(MemoryStore::new());
    let tree = MerkleTree::new(store.clone());
    let entry = |n: u64| (n.to_be_bytes().to_vec(), vec![n as u8; (n % 9) as usize]);
    let changes: Changes = (0..keys).map(|n| (entry(n).0, Some(entry(n).1))).collect();
    let mut batch = WriteBatch::default();
    tree.update(&tree.empty(), Height::ZERO, &changes, &mut batch).unwrap();
    store.write(batch, Durability::Synced).unwrap();
    let index = (0..keys).map(|n| (Hash32::new(node::hash_bytes(&entry(n).0)), entry(n))).collect();
    // Opened again: nothing but the root is in memory.
    let version = tree.open(Height::ZERO).unwrap().unwrap();
    (tree, version, index)
}

fn prove_at(
    (tree, version, index): &(MerkleTree<Arc<MemoryStore>>, TreeVersion, Index),
    from: Hash32,
    to: Hash32,
    limits: RangeLimits,
) -> RangeChunk {
    let mut lookup = |hash: &Hash32| Ok(index.get(hash).cloned());
    tree.prove_range(version, &from, &to, limits, &mut lookup).unwrap()
}

fn after(hash: &Hash32) -> Option<Hash32> {
    let mut bytes = *hash.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (next, carry) = byte.overflowing_add(1);
        *byte = next;
        if !carry {
            return Some(Hash32::new(bytes));
        }
    }
    None
}

#[test]
fn chunks_of_any_size_make_up_the_whole() {
    for keys in [0, 1, 2, 3, 17, 300] {
        let fixture = fixture(keys);
        let root = fixture.0.root(&fixture.1);
        for entries_max in [1, 2, 7, 1000] {
            let mut from = Some(Hash32::ZERO);
            let mut all = Vec::new();
            while let Some(start) = from {
                let chunk = prove_at(&fixture, start, END, RangeLimits { entries_max, ..NO_LIMIT });
                assert_eq!(chunk.verify(&root), Ok(()), "{keys} keys by {entries_max}");
                assert!(chunk.steps.len() <= RANGE_STEPS_MAX);
                from = after(&chunk.to);
                all.extend(chunk.entries);
            }
            let expected: Vec<Entry> = fixture.2.values().cloned().collect();
            assert_eq!(all, expected);
            // What was received makes the same tree.
            let tree = MerkleTree::new(MemoryStore::new());
            let entries = all.into_iter().map(Ok::<_, StoreError>);
            let built = tree.build(Height::ZERO, entries, &mut WriteBatch::default()).unwrap();
            assert_eq!(tree.root(&built), root);
        }
    }
}

#[test]
fn a_state_that_is_not_the_trees_is_noticed() {
    let (tree, version, index) = fixture(20);
    let mut gone = |_: &Hash32| Ok(None);
    assert!(tree.prove_range(&version, &Hash32::ZERO, &END, NO_LIMIT, &mut gone).is_err());
    let mut other = |hash: &Hash32| Ok(index.get(hash).map(|(key, _)| (key.clone(), b"other".to_vec())));
    assert!(tree.prove_range(&version, &Hash32::ZERO, &END, NO_LIMIT, &mut other).is_err());
}

fn hash() -> impl Strategy<Value = Hash32> {
    any::<[u8; 32]>().prop_map(Hash32::new)
}

proptest! {
    #[test]
    fn every_omission_insertion_change_and_reorder_is_refused(
        keys in 1u64..120,
        a in hash(),
        b in hash(),
        exact in any::<(bool, bool)>(),
        at in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        step in any::<prop::sample::Index>(),
    ) {
        let fixture = fixture(keys);
        let root = fixture.0.root(&fixture.1);
        let known: Vec<Hash32> = fixture.2.keys().copied().collect();
        // Bounds that are keys themselves, and ones that are not.
        let a = if exact.0 { *at.get(&known) } else { a };
        let b = if exact.1 { *other.get(&known) } else { b };
        let (from, to) = (a.min(b), a.max(b));
        let chunk = prove_at(&fixture, from, to, NO_LIMIT);
        prop_assert_eq!(chunk.verify(&root), Ok(()));
        let expected: Vec<Entry> = fixture.2.range(from..=to).map(|(_, entry)| entry.clone()).collect();
        prop_assert_eq!(&chunk.entries, &expected);
        let refused = |chunk: &RangeChunk| chunk.verify(&root).is_err();

        if !chunk.entries.is_empty() {
            let at = at.index(chunk.entries.len());
            let mut less = chunk.clone();
            less.entries.remove(at);
            prop_assert!(refused(&less));
            let mut twice = chunk.clone();
            twice.entries.insert(at, chunk.entries[at].clone());
            prop_assert!(refused(&twice));
            let mut changed = chunk.clone();
            changed.entries[at].1.push(1);
            prop_assert!(refused(&changed));
            let mut renamed = chunk.clone();
            renamed.entries[at].0.push(1);
            prop_assert!(refused(&renamed));
            let with = other.index(chunk.entries.len());
            if with != at {
                let mut swapped = chunk.clone();
                swapped.entries.swap(at, with);
                prop_assert!(refused(&swapped));
            }
        }
        // An entry that was never there, in its right place.
        let mut more = chunk.clone();
        let added = (b"new".to_vec(), b"value".to_vec());
        let hash = node::hash_bytes(&added.0);
        let place = more.entries.partition_point(|(key, _)| node::hash_bytes(key) < hash);
        more.entries.insert(place, added);
        prop_assert!(refused(&more));
        if !chunk.steps.is_empty() {
            let step = step.index(chunk.steps.len());
            let mut fewer = chunk.clone();
            fewer.steps.remove(step);
            prop_assert!(refused(&fewer));
            for new in [RangeStep::Only, RangeStep::Halves, RangeStep::Outside(Hash32::new([1; 32]))] {
                let mut changed = chunk.clone();
                if changed.steps[step] != new {
                    changed.steps[step] = new;
                    prop_assert!(refused(&changed));
                }
            }
        }
        let mut longer = chunk.clone();
        longer.steps.push(RangeStep::Only);
        prop_assert!(refused(&longer));
        prop_assert!(chunk.verify(&Hash32::ZERO).is_err());
        // The same proof claims nothing about a range that holds another entry.
        let mut wider = chunk.clone();
        wider.to = END;
        prop_assert!(fixture.2.range(from..).count() == chunk.entries.len() || refused(&wider));
        let bytes = borsh::to_vec(&chunk).unwrap();
        prop_assert_eq!(borsh::from_slice::<RangeChunk>(&bytes).unwrap(), chunk);
    }
}
