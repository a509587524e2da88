//! Applies a block's changes in one walk.

use std::sync::{Arc, OnceLock};

use purlin_primitives::Height;

use super::node::{self, Child, Leaf, Node};
use super::{MerkleTree, TreeVersion, UNWRITTEN_HEIGHTS_MAX};
use crate::store::{Column, KeyValueStore, StoreError, WriteBatch};

/// A changed key: its hash, and the hash of its value or `None` when it is removed.
pub(super) struct Item {
    key_hash: [u8; 32],
    value_hash: Option<[u8; 32]>,
}

impl Item {
    pub(super) fn new(key: &[u8], value: Option<&[u8]>) -> Self {
        Self { key_hash: node::hash_bytes(key), value_hash: value.map(node::hash_bytes) }
    }
}

/// What became of a subtree.
enum Outcome {
    /// Nothing: the same hash.
    Same,
    /// It is another one now, or none.
    Now(Option<Child>),
}

struct Walk<'a, S> {
    tree: &'a MerkleTree<S>,
    height: u64,
    batch: &'a mut WriteBatch,
    /// Keys of replaced nodes, one after the other.
    stale: Vec<u8>,
    /// Children that came into memory less those that will leave it.
    cached: isize,
}

/// Applies items of distinct keys, in any order.
pub(super) fn update<S: KeyValueStore>(
    tree: &MerkleTree<S>,
    parent: &TreeVersion,
    height: Height,
    mut items: Vec<Item>,
    batch: &mut WriteBatch,
) -> Result<TreeVersion, StoreError> {
    items.sort_unstable_by_key(|item| item.key_hash);
    let mut walk = Walk { tree, height: height.get(), batch, stale: Vec::new(), cached: 0 };
    let root = match walk.subtree(parent.root.as_ref(), 0, &items)? {
        Outcome::Now(root) => root,
        Outcome::Same => parent.root.clone(),
    };
    // The root of every height is stored, even where nothing changed, so that every height can be opened.
    let root_key = node::key(height.get(), &[0; 32], 0);
    let root = match root {
        Some(Child::Branch { hash, node, .. }) => {
            let bytes = node.get().expect("the root is in memory from open or update").encode();
            walk.batch.put(Column::TreeNodes, root_key, bytes);
            Some(Child::Branch { hash, height: height.get(), node })
        }
        Some(Child::Leaf(leaf)) => {
            walk.batch.put(Column::TreeNodes, root_key, node::encode_small_root(Some(&leaf)));
            Some(Child::Leaf(leaf))
        }
        None => {
            walk.batch.put(Column::TreeNodes, root_key, node::encode_small_root(None));
            None
        }
    };
    if let Some(before) = parent.height {
        walk.stale.extend(node::key(before.get(), &[0; 32], 0));
    }
    let (stale, delta) = (walk.stale, walk.cached);
    if !stale.is_empty() {
        batch.put(Column::StaleNodes, height.get().to_be_bytes(), stale);
    }
    let mut version =
        TreeVersion { height: Some(height), root, cached: parent.cached.saturating_add_signed(delta) };
    if version.cached > tree.cached_children_max {
        let written_below = height.get().saturating_sub(UNWRITTEN_HEIGHTS_MAX - 1);
        trim(&mut version, tree.cached_children_max / 2, written_below);
    }
    Ok(version)
}

impl<S: KeyValueStore> Walk<'_, S> {
    /// Applies `items`, all of which lie below `child` at `depth` nibbles.
    fn subtree(
        &mut self,
        child: Option<&Child>,
        depth: usize,
        items: &[Item],
    ) -> Result<Outcome, StoreError> {
        match child {
            None => Ok(self.leaves(None, depth, items)),
            Some(Child::Leaf(leaf)) => Ok(self.leaves(Some(leaf), depth, items)),
            Some(Child::Branch { hash, height, node }) => {
                let key = node::key(*height, &items_path(items), depth);
                let node = self.read(node, &key, hash)?;
                self.branch(&node, key, depth, items)
            }
        }
    }

    fn read(
        &mut self,
        cell: &OnceLock<Arc<Node>>,
        key: &[u8],
        hash: &[u8; 32],
    ) -> Result<Arc<Node>, StoreError> {
        if let Some(node) = cell.get() {
            return Ok(node.clone());
        }
        let node = self.tree.load(key, hash)?;
        self.cached += node.len() as isize;
        Ok(cell.get_or_init(|| node).clone())
    }

    fn branch(
        &mut self,
        old: &Node,
        old_key: Vec<u8>,
        depth: usize,
        items: &[Item],
    ) -> Result<Outcome, StoreError> {
        let mut replaced: [Option<Option<Child>>; 16] = [const { None }; 16];
        let mut changed = false;
        for (nibble, group) in groups(items, depth) {
            if let Outcome::Now(child) = self.subtree(old.child(nibble), depth + 1, group)? {
                replaced[usize::from(nibble)] = Some(child);
                changed = true;
            }
        }
        if !changed {
            return Ok(Outcome::Same);
        }
        self.cached -= old.len() as isize;
        if depth > 0 {
            self.stale.extend(old_key);
        }
        let mut new = Node::with_capacity(16);
        for (nibble, replacement) in (0..16u8).zip(replaced) {
            let child = replacement.unwrap_or_else(|| old.child(nibble).cloned());
            if let Some(child) = child {
                new.push(nibble, child);
            }
        }
        Ok(Outcome::Now(self.finish(new, depth, &items_path(items))))
    }

    /// Applies `items` where there is at most one leaf.
    fn leaves(&mut self, existing: Option<&Leaf>, depth: usize, items: &[Item]) -> Outcome {
        let mut leaves: Vec<Leaf> =
            items.iter().filter_map(|item| Some(Leaf::new(item.key_hash, item.value_hash?))).collect();
        if let Some(leaf) = existing {
            match items.binary_search_by_key(&leaf.key_hash, |item| item.key_hash) {
                Ok(at) if items[at].value_hash == Some(leaf.value_hash) && leaves.len() == 1 => {
                    return Outcome::Same;
                }
                Ok(_) => {}
                Err(_) if leaves.is_empty() => return Outcome::Same,
                Err(_) => {
                    let at = leaves.partition_point(|other| other.key_hash < leaf.key_hash);
                    leaves.insert(at, leaf.clone());
                }
            }
        } else if leaves.is_empty() {
            return Outcome::Same;
        }
        Outcome::Now(self.build(&leaves, depth))
    }

    /// Makes a subtree of sorted leaves.
    fn build(&mut self, leaves: &[Leaf], depth: usize) -> Option<Child> {
        match leaves {
            [] => None,
            [leaf] => Some(Child::Leaf(leaf.clone())),
            [first, ..] => {
                let mut node = Node::with_capacity(leaves.len().min(16));
                let mut rest = leaves;
                while let [next, ..] = rest {
                    let nibble = node::nibble(&next.key_hash, depth);
                    let end = rest.partition_point(|leaf| node::nibble(&leaf.key_hash, depth) <= nibble);
                    let (group, tail) = rest.split_at(end);
                    if let Some(child) = self.build(group, depth + 1) {
                        node.push(nibble, child);
                    }
                    rest = tail;
                }
                self.finish(node, depth, &first.key_hash)
            }
        }
    }

    /// Stores a new branch, unless it came down to one leaf or nothing.
    fn finish(&mut self, node: Node, depth: usize, path: &[u8; 32]) -> Option<Child> {
        if node.len() < 2 {
            match node.children().next() {
                None => return None,
                Some((_, Child::Leaf(leaf))) => return Some(Child::Leaf(leaf.clone())),
                Some((_, Child::Branch { .. })) => {}
            }
        }
        self.cached += node.len() as isize;
        // The root is stored by the caller, changed or not.
        if depth > 0 {
            self.batch.put(Column::TreeNodes, node::key(self.height, path, depth), node.encode());
        }
        Some(Child::branch(node, self.height))
    }
}

/// Returns the path that all items share, followed by more.
fn items_path(items: &[Item]) -> [u8; 32] {
    items.first().map_or([0; 32], |item| item.key_hash)
}

/// Splits sorted items by their nibble at `depth`.
fn groups(items: &[Item], depth: usize) -> impl Iterator<Item = (u8, &[Item])> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let nibble = node::nibble(&rest.first()?.key_hash, depth);
        let end = rest.partition_point(|item| node::nibble(&item.key_hash, depth) <= nibble);
        let (group, tail) = rest.split_at(end);
        rest = tail;
        Some((nibble, group))
    })
}

/// Lets go of the deepest linked nodes until at most `target` children are in memory, but of none that is not below the
/// height `written_below`: it may be in no store yet.
fn trim(version: &mut TreeVersion, target: usize, written_below: u64) {
    let mut per_level = Vec::new();
    if let Some(root) = &version.root {
        count(root, 0, &mut per_level);
    }
    let mut kept = 0;
    let mut depth = 0;
    for children in &per_level {
        if kept + children > target && depth > 0 {
            break;
        }
        kept += children;
        depth += 1;
    }
    if let Some(root) = version.root.take() {
        let root = cut(root, depth, written_below);
        per_level.clear();
        count(&root, 0, &mut per_level);
        version.cached = per_level.iter().sum();
        version.root = Some(root);
    }
}

fn count(child: &Child, depth: usize, per_level: &mut Vec<usize>) {
    if let Child::Branch { node, .. } = child
        && let Some(node) = node.get()
    {
        if per_level.len() <= depth {
            per_level.push(0);
        }
        per_level[depth] += node.len();
        node.children().for_each(|(_, child)| count(child, depth + 1, per_level));
    }
}

/// Keeps `levels` levels of nodes in memory, and those that may not be written. What hangs below a node is not younger
/// than it.
fn cut(child: Child, levels: usize, written_below: u64) -> Child {
    let Child::Branch { hash, height, node } = child else { return child };
    let kept = match node.into_inner() {
        Some(node) if levels > 0 || height >= written_below => {
            let mut copy = Node::with_capacity(node.len());
            let below = levels.saturating_sub(1);
            node.children()
                .for_each(|(nibble, child)| copy.push(nibble, cut(child.clone(), below, written_below)));
            OnceLock::from(Arc::new(copy))
        }
        _ => OnceLock::new(),
    };
    Child::Branch { hash, height, node: kept }
}
