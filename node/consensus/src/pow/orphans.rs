//! Headers whose parent has not arrived yet.

use std::collections::{BTreeMap, BTreeSet};

use purlin_primitives::{BlockHeader, BlockId, Height};

use super::tree::Source;

/// Most orphans. A header has at most a few hundred bytes, because its chain id is checked before, so this
/// bounds their bytes below 100 KiB.
pub const ORPHANS_MAX: usize = 256;

/// Most orphans of one peer, so that one cannot push out those of all others.
pub const ORPHANS_PER_PEER_MAX: usize = 16;

/// How far an orphan's height may be from the head's before it leaves: behind, its parent is on no branch that
/// counts; ahead, it will be sent again before it is needed.
pub const ORPHAN_HEIGHTS_MAX: u64 = 512;

#[derive(Debug, Clone)]
struct Orphan {
    header: BlockHeader,
    from: Source,
    sequence: u64,
}

/// Keeps headers until their parents arrive, the newest ones when there are too many.
#[derive(Debug, Default)]
pub struct OrphanPool {
    orphans: BTreeMap<BlockId, Orphan>,
    by_parent: BTreeSet<(BlockId, BlockId)>,
    sequence: u64,
}

impl OrphanPool {
    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.orphans.len()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.orphans.is_empty()
    }

    /// Keeps a header. A peer's oldest orphan goes when it has too many, else the oldest of all when there are.
    pub fn insert(&mut self, header: BlockHeader, from: &Source) {
        let id = header.id();
        if self.orphans.contains_key(&id) {
            return;
        }
        let of_peer = self.orphans.values().filter(|orphan| orphan.from.peer == from.peer).count();
        let mut may_go: Option<&dyn Fn(&Orphan) -> bool> = None;
        let of_this_peer = |orphan: &Orphan| orphan.from.peer == from.peer;
        if of_peer >= ORPHANS_PER_PEER_MAX {
            may_go = Some(&of_this_peer);
        } else if self.orphans.len() >= ORPHANS_MAX {
            may_go = Some(&|_| true);
        }
        if let Some(may_go) = may_go {
            let oldest = self.orphans.iter().filter(|(_, orphan)| may_go(orphan));
            if let Some(id) = oldest.min_by_key(|(_, orphan)| orphan.sequence).map(|(id, _)| *id) {
                self.remove(&id);
            }
        }
        self.sequence += 1;
        self.by_parent.insert((header.parent, id));
        self.orphans.insert(id, Orphan { header, from: from.clone(), sequence: self.sequence });
    }

    /// Takes out the children of a header that has arrived, with who sent them.
    pub fn take_children(&mut self, parent: &BlockId) -> Vec<(BlockHeader, Source)> {
        let last = BlockId::new(purlin_primitives::Hash32::new([0xff; 32]));
        let range = (*parent, BlockId::ZERO)..=(*parent, last);
        let children: Vec<BlockId> = self.by_parent.range(range).map(|(_, child)| *child).collect();
        let orphans = children.iter().filter_map(|child| self.remove(child));
        orphans.map(|orphan| (orphan.header, orphan.from)).collect()
    }

    /// Lets go of those that are far from the head.
    pub fn expire(&mut self, head: Height) {
        let far = |orphan: &Orphan| orphan.header.height.get().abs_diff(head.get()) > ORPHAN_HEIGHTS_MAX;
        let expired: Vec<BlockId> =
            self.orphans.iter().filter(|(_, orphan)| far(orphan)).map(|(id, _)| *id).collect();
        expired.iter().for_each(|id| drop(self.remove(id)));
    }

    fn remove(&mut self, id: &BlockId) -> Option<Orphan> {
        let orphan = self.orphans.remove(id)?;
        self.by_parent.remove(&(orphan.header.parent, *id));
        Some(orphan)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests panic where their assertions would")]

    use super::*;
    use purlin_primitives::{Hash32, Seal, TimestampMs};

    fn header(height: u64, parent: u8, nonce: u64) -> BlockHeader {
        BlockHeader {
            chain_id: "test".parse().unwrap(),
            height: Height::new(height),
            parent: BlockId::new(Hash32::new([parent; 32])),
            time: TimestampMs::new(1),
            proposer: Default::default(),
            transactions_root: Hash32::ZERO,
            state_root: Hash32::ZERO,
            receipts_root: Hash32::ZERO,
            seal: Seal::Pow { target: 1, nonce },
        }
    }

    fn by(peer: &[u8]) -> Source {
        Source { peer: peer.to_vec(), answers: false }
    }

    fn parent(byte: u8) -> BlockId {
        BlockId::new(Hash32::new([byte; 32]))
    }

    #[test]
    fn children_leave_with_their_parent() {
        let mut pool = OrphanPool::default();
        pool.insert(header(5, 1, 1), &by(b"a"));
        pool.insert(header(5, 1, 1), &by(b"b"));
        pool.insert(header(5, 1, 2), &by(b"b"));
        pool.insert(header(5, 2, 3), &by(b"b"));
        assert_eq!(pool.len(), 3);
        let mut children = pool.take_children(&parent(1));
        children.sort_by_key(|(header, _)| borsh::to_vec(&header.seal).unwrap());
        assert_eq!(children, [(header(5, 1, 1), by(b"a")), (header(5, 1, 2), by(b"b"))]);
        assert_eq!(pool.take_children(&parent(1)), []);
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn one_peer_pushes_out_its_own_and_all_together_the_oldest() {
        let mut pool = OrphanPool::default();
        pool.insert(header(5, 9, 0), &by(b"quiet"));
        for nonce in 0..100 {
            pool.insert(header(5, 1, nonce), &by(b"loud"));
        }
        assert_eq!(pool.len(), 1 + ORPHANS_PER_PEER_MAX);
        let left = pool.take_children(&parent(1));
        assert!(left.contains(&(header(5, 1, 99), by(b"loud"))) && left.len() == ORPHANS_PER_PEER_MAX);
        for nonce in 0..1_000u64 {
            pool.insert(header(5, 1, nonce), &by(&(nonce / 8).to_le_bytes()));
        }
        assert_eq!(pool.len(), ORPHANS_MAX);
        assert_eq!(pool.take_children(&parent(9)), [], "the oldest of all went");
        pool.expire(Height::new(5 + ORPHAN_HEIGHTS_MAX));
        assert_eq!(pool.len(), ORPHANS_MAX);
        pool.expire(Height::new(6 + ORPHAN_HEIGHTS_MAX));
        assert!(pool.is_empty());
    }
}
