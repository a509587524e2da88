use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use jmt::storage::{LeafNode, Node as JmtNode, NodeKey, TreeReader};
use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, SimpleHasher};
use sha2::Digest;

use super::*;
use crate::store::Durability;
use crate::{MemoryStore, Order};

struct Sha(sha2::Sha256);

impl SimpleHasher for Sha {
    fn new() -> Self {
        Self(sha2::Sha256::new())
    }
    fn update(&mut self, data: &[u8]) {
        Digest::update(&mut self.0, data);
    }
    fn finalize(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// The `jmt` crate over maps.
#[derive(Default)]
struct Reference {
    nodes: Mutex<HashMap<NodeKey, JmtNode>>,
    values: Mutex<HashMap<KeyHash, OwnedValue>>,
}

impl TreeReader for Reference {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<JmtNode>> {
        Ok(self.nodes.lock().unwrap().get(key).cloned())
    }
    fn get_value_option(&self, _: u64, key: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        Ok(self.values.lock().unwrap().get(&key).cloned())
    }
    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        Ok(None)
    }
}

impl Reference {
    fn apply(&self, version: u64, changes: &Changes) -> [u8; 32] {
        let set = changes.iter().map(|(key, value)| (KeyHash(Sha::hash(key)), value.clone()));
        let tree = JellyfishMerkleTree::<_, Sha>::new(self);
        let (root, batch) = tree.put_value_set(set, version).unwrap();
        self.nodes.lock().unwrap().extend(batch.node_batch.nodes().clone());
        for ((_, key), value) in batch.node_batch.values() {
            match value {
                Some(value) => self.values.lock().unwrap().insert(*key, value.clone()),
                None => self.values.lock().unwrap().remove(key),
            };
        }
        root.0
    }

    /// Sibling hashes of jmt's proof, through its borsh form: the fields are private.
    fn siblings(&self, version: u64, key: &[u8]) -> Vec<[u8; 32]> {
        let tree = JellyfishMerkleTree::<_, Sha>::new(self);
        let (_, proof) = tree.get_with_proof(KeyHash(Sha::hash(key)), version).unwrap();
        let bytes = borsh::to_vec(&proof).unwrap();
        let mut rest = if bytes[0] == 1 { &bytes[65..] } else { &bytes[1..] };
        let count = u32::from_le_bytes(rest[..4].try_into().unwrap());
        rest = &rest[4..];
        let mut siblings = Vec::new();
        for _ in 0..count {
            let pair = |rest: &[u8]| (rest[1..33].try_into().unwrap(), rest[33..65].try_into().unwrap());
            let (hash, length) = match rest[0] {
                0 => (node::NOTHING, 1),
                1 => (node::hash_inside(&pair(rest).0, &pair(rest).1), 65),
                _ => (node::hash_leaf(&pair(rest).0, &pair(rest).1), 65),
            };
            siblings.push(hash);
            rest = &rest[length..];
        }
        siblings
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end
    }
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn random_changes(random: &mut Random, model: &Model, keys: u64, most: u64) -> Changes {
    (0..random.below(most + 1))
        .map(|_| {
            let key = random.below(keys).to_be_bytes().to_vec();
            let value = match random.below(5) {
                0 | 1 => None,
                // Writes what is there: the tree must not mind.
                2 => model.get(&key).cloned(),
                _ => Some(vec![random.below(3) as u8; random.below(40) as usize]),
            };
            (key, value)
        })
        .collect()
}

fn apply(model: &mut Model, changes: &Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
}

fn commit(
    tree: &MerkleTree<std::sync::Arc<MemoryStore>>,
    parent: &TreeVersion,
    height: u64,
    changes: &Changes,
) -> TreeVersion {
    let mut batch = WriteBatch::default();
    let version = tree.update(parent, Height::new(height), changes, &mut batch).unwrap();
    tree.store.write(batch, Durability::Synced).unwrap();
    version
}

fn tree(cached: usize) -> MerkleTree<std::sync::Arc<MemoryStore>> {
    MerkleTree::with_cache(std::sync::Arc::new(MemoryStore::new()), cached)
}

#[test]
fn equals_the_jmt_crate_and_a_fresh_build_batch_for_batch() {
    for seed in 1..=60 {
        let mut random = Random(seed);
        let reference = Reference::default();
        // Small caches exercise trimming and loading; zero keeps the root only.
        let tree = tree([0, 20, 1000][random.below(3) as usize]);
        let mut version = tree.empty();
        let mut model = Model::new();
        let keys = [3, 40, 500][random.below(3) as usize];
        for height in 0..40u64 {
            let most = [0, 2, 30, 200][random.below(4) as usize];
            let changes = random_changes(&mut random, &model, keys, most);
            apply(&mut model, &changes);
            if random.below(4) == 0 {
                version = height
                    .checked_sub(1)
                    .map_or(version, |height| tree.open(Height::new(height)).unwrap().unwrap());
            }
            version = commit(&tree, &version, height, &changes);
            let root = tree.root(&version);
            let at = format!("seed {seed} height {height}");
            assert_eq!(root.as_bytes(), &reference.apply(height, &changes), "{at}: jmt");
            let whole: Changes = model.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
            let mut scratch = WriteBatch::default();
            let fresh = tree.update(&tree.empty(), Height::new(height), &whole, &mut scratch).unwrap();
            assert_eq!(tree.root(&fresh), root, "{at}: independent of history");
            for _ in 0..5 {
                let key = random.below(keys * 2).to_be_bytes();
                let proof = tree.prove(&version, &key).unwrap();
                let siblings: Vec<[u8; 32]> = proof.siblings.iter().map(|hash| *hash.as_bytes()).collect();
                assert_eq!(siblings, reference.siblings(height, &key), "{at}: jmt's proof");
                let value = model.get(key.as_slice()).map(Vec::as_slice);
                assert_eq!(proof.verify(&root, &key, value), Ok(()), "{at}");
                let wrong = if value.is_some() { None } else { Some(&b"x"[..]) };
                assert!(proof.verify(&root, &key, wrong).is_err(), "{at}");
                assert!(proof.verify(&root, &key, Some(b"other")).is_err(), "{at}");
            }
        }
    }
}

#[test]
fn pruned_store_holds_exactly_the_window() {
    let mut random = Random(5);
    let tree = tree(50);
    let mut versions = vec![commit(&tree, &tree.empty(), 0, &Changes::new())];
    let mut models = vec![Model::new()];
    const WINDOW: u64 = 4;
    for height in 1..60 {
        let mut model = models[models.len() - 1].clone();
        let changes = random_changes(&mut random, &model, 300, 60);
        apply(&mut model, &changes);
        let parent = versions[versions.len() - 1].clone();
        versions.push(commit(&tree, &parent, height, &changes));
        models.push(model);
        if let Some(oldest) = height.checked_sub(WINDOW) {
            let mut batch = WriteBatch::default();
            tree.prune(Height::new(oldest), &mut batch).unwrap();
            tree.store.write(batch, Durability::Synced).unwrap();
            if let Some(gone) = oldest.checked_sub(1) {
                assert!(tree.open(Height::new(gone)).unwrap().is_none(), "height {gone} is pruned");
            }
            for readable in oldest..=height {
                // A stranger's tree over the same store has nothing in memory.
                let cold = MerkleTree::new(tree.store.clone());
                let version = cold.open(Height::new(readable)).unwrap().unwrap();
                assert_eq!(cold.root(&version), tree.root(&versions[readable as usize]));
                for key in 0..300u64 {
                    let key = key.to_be_bytes();
                    let value = models[readable as usize].get(key.as_slice()).map(Vec::as_slice);
                    let proof = cold.prove(&version, &key).unwrap();
                    assert_eq!(proof.verify(&cold.root(&version), &key, value), Ok(()));
                }
            }
        }
    }
    // Nothing leaks: with the whole window pruned away, what is left is one version, node for node.
    let mut batch = WriteBatch::default();
    (1..60).for_each(|height| tree.prune(Height::new(height), &mut batch).unwrap());
    tree.store.write(batch, Durability::Synced).unwrap();
    assert!(tree.store.scan(Column::StaleNodes, &[], None, Order::Ascending, 10).unwrap().is_empty());
    let left = tree.store.scan(Column::TreeNodes, &[], None, Order::Ascending, usize::MAX).unwrap().len();
    let whole: Changes = models[59].iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
    let mut fresh = WriteBatch::default();
    tree.update(&tree.empty(), Height::ZERO, &whole, &mut fresh).unwrap();
    assert_eq!(left, fresh.operations.len());
}

/// What a full cache let go of was looked for in the store, where the batch had not been written yet.
#[test]
fn what_is_not_written_yet_stays_in_memory() {
    for seed in 1..=20 {
        let mut random = Random(seed);
        let tree = tree(0);
        let mut model: Model = (0..500u64).map(|n| (n.to_be_bytes().to_vec(), vec![9])).collect();
        let start: Changes = model.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        let mut version = commit(&tree, &tree.empty(), 0, &start);
        let mut waiting = std::collections::VecDeque::new();
        for height in 1..30 {
            let changes = random_changes(&mut random, &model, 500, 60);
            apply(&mut model, &changes);
            let mut batch = WriteBatch::default();
            version = tree.update(&version, Height::new(height), &changes, &mut batch).unwrap();
            waiting.push_back(batch);
            while waiting.len() as u64 >= UNWRITTEN_HEIGHTS_MAX - random.below(2) {
                tree.store.write(waiting.pop_front().unwrap(), Durability::Synced).unwrap();
            }
        }
        waiting.into_iter().for_each(|batch| tree.store.write(batch, Durability::Synced).unwrap());
        let whole: Changes = model.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
        let fresh = tree.update(&tree.empty(), Height::ZERO, &whole, &mut WriteBatch::default()).unwrap();
        assert_eq!(tree.root(&fresh), tree.root(&version), "seed {seed}");
        // Nothing written long ago stays: the cache is bounded all the same.
        for height in 30..40 {
            version = commit(&tree, &version, height, &Changes::new());
        }
        let one: Changes = [(vec![1], Some(vec![1]))].into();
        let version = commit(&tree, &version, 40, &one);
        assert!(version.cached <= 64, "{} children", version.cached);
    }
}

#[test]
fn damaged_nodes_are_noticed() {
    let tree = tree(0);
    let changes: Changes = (0..500u64).map(|n| (n.to_be_bytes().to_vec(), Some(vec![1]))).collect();
    commit(&tree, &tree.empty(), 0, &changes);
    for (key, mut value) in tree.store.scan(Column::TreeNodes, &[], None, Order::Ascending, 10_000).unwrap() {
        if key[8] == 0 {
            continue;
        }
        let original = value.clone();
        let last = value.len() - 1;
        value[last] ^= 1;
        let mut batch = WriteBatch::default();
        batch.put(Column::TreeNodes, key.clone(), value);
        tree.store.write(batch, Durability::Synced).unwrap();
        let cold = MerkleTree::new(tree.store.clone());
        let version = cold.open(Height::ZERO).unwrap().unwrap();
        let touch: Changes = (0..500u64).map(|n| (n.to_be_bytes().to_vec(), Some(vec![2]))).collect();
        let error = cold.update(&version, Height::new(1), &touch, &mut WriteBatch::default()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        let mut batch = WriteBatch::default();
        batch.put(Column::TreeNodes, key, original);
        tree.store.write(batch, Durability::Synced).unwrap();
    }
}

#[test]
fn roots_are_pinned() {
    // Computed with a second implementation, twenty lines of Python over hashlib.
    let tree = tree(0);
    let root = |entries: &[(&str, &str)]| {
        let changes: Changes =
            entries.iter().map(|(k, v)| (k.as_bytes().to_vec(), Some(v.as_bytes().to_vec()))).collect();
        let version = tree.update(&tree.empty(), Height::ZERO, &changes, &mut WriteBatch::default()).unwrap();
        tree.root(&version).to_string()
    };
    assert_eq!(root(&[]), "0x5350415253455f4d45524b4c455f504c414345484f4c4445525f484153485f5f");
    assert_eq!(root(&[("a", "1")]), "0x7d9d282a9389c7d2ad4b73b5e924aca19080fd5f8a1c93347f7b824138d00c59");
    assert_eq!(
        root(&[("a", "1"), ("b", "2"), ("c", "3")]),
        "0xb367f6e649bb2cdadfdcb9ea0bbc50e624d893cd7e1783097a64b77a7bef7250"
    );
}

#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_updates() {
    let keys = 100_000u64;
    let tree = tree(CACHED_CHILDREN_MAX);
    let all: Changes = (0..keys).map(|n| (n.to_be_bytes().to_vec(), Some(vec![1; 40]))).collect();
    let start = std::time::Instant::now();
    let mut version = commit(&tree, &tree.empty(), 0, &all);
    println!("build: {:.2} us per key", start.elapsed().as_micros() as f64 / keys as f64);
    let mut random = Random(1);
    for (height, size) in (1..).zip([100, 1_000, 1_000, 4_000, 10_000, 10_000]) {
        let changes: Changes = (0..size)
            .map(|_| (random.below(keys).to_be_bytes().to_vec(), Some(vec![height as u8; 40])))
            .collect();
        let mut batch = WriteBatch::default();
        let start = std::time::Instant::now();
        version = tree.update(&version, Height::new(height), &changes, &mut batch).unwrap();
        let spent = start.elapsed().as_micros() as f64 / changes.len() as f64;
        let bytes: usize =
            batch.operations.iter().map(|o| o.key.len() + o.value.as_ref().map_or(0, Vec::len)).sum();
        println!(
            "{size} keys: {spent:.2} us per key, {:.2} records and {} bytes per key, {} cached",
            batch.operations.len() as f64 / changes.len() as f64,
            bytes / changes.len(),
            version.cached
        );
        tree.store.write(batch, Durability::Synced).unwrap();
    }
    let reference = Reference::default();
    reference.apply(0, &all);
    let changes: Changes =
        (0..1000).map(|_| (random.below(keys).to_be_bytes().to_vec(), Some(vec![9; 40]))).collect();
    let start = std::time::Instant::now();
    reference.apply(1, &changes);
    println!("jmt crate, all in memory: {:.2} us per key", start.elapsed().as_micros() as f64 / 1000.0);
}

#[test]
fn a_leaf_in_the_wrong_place_proves_no_absence() {
    // Even where a root was made over such a tree: the leaf's own key says where it must lie.
    let key_hash = node::hash_bytes(b"key");
    let mut other_key = key_hash;
    other_key[0] ^= 0x80;
    let other = ProofLeaf { key_hash: Hash32::new(other_key), value_hash: Hash32::ZERO };
    let leaf = node::hash_leaf(&other_key, &[0; 32]);
    let root = match key_hash[0] >> 7 {
        1 => node::hash_inside(&node::NOTHING, &leaf),
        _ => node::hash_inside(&leaf, &node::NOTHING),
    };
    let proof = TreeProof { other: Some(other), siblings: vec![Hash32::new(node::NOTHING)] };
    assert_eq!(proof.verify(&Hash32::new(root), b"key", None), Err(TreeProofError::WrongLeaf));
    let itself = ProofLeaf { key_hash: Hash32::new(key_hash), value_hash: Hash32::ZERO };
    let proof = TreeProof { other: Some(itself), siblings: Vec::new() };
    let root = Hash32::new(node::hash_leaf(&key_hash, &[0; 32]));
    assert_eq!(proof.verify(&root, b"key", None), Err(TreeProofError::WrongLeaf));
}
