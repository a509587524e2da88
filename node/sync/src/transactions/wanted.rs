//! Transactions that are to be fetched, and who has them.

use purlin_primitives::TransactionId;
use std::collections::{BTreeMap, BTreeSet};

use super::{HOLDERS_MAX, WANTED_MAX};
use crate::network::PeerId;

/// Ids and holders. Every step takes time in the logarithm of what is wanted, except that a peer is gone.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    holders: BTreeMap<TransactionId, Vec<PeerId>>,
    /// Of each peer what it is asked for next: the ids whose first holder it is.
    queues: BTreeMap<PeerId, BTreeSet<TransactionId>>,
}

impl Wanted {
    pub(super) fn len(&self) -> usize {
        self.holders.len()
    }

    /// Notes that a peer has a transaction; when too much is wanted, nothing.
    pub(super) fn add(&mut self, id: TransactionId, holder: &PeerId) {
        if self.holders.len() >= WANTED_MAX && !self.holders.contains_key(&id) {
            return;
        }
        let holders = self.holders.entry(id).or_default();
        if holders.len() >= HOLDERS_MAX || holders.contains(holder) {
            return;
        }
        holders.push(holder.clone());
        if holders.len() == 1 {
            self.queues.entry(holder.clone()).or_default().insert(id);
        }
    }

    /// A transaction is wanted no more.
    pub(super) fn remove(&mut self, id: &TransactionId) {
        if let Some(holders) = self.holders.remove(id)
            && let Some(first) = holders.first()
        {
            self.unqueue(first, id);
        }
    }

    /// A peer does not have a transaction after all; says whether nobody else does, so that it is wanted no more.
    pub(super) fn lacks(&mut self, peer: &PeerId, id: &TransactionId) -> bool {
        let Some(holders) = self.holders.get_mut(id) else { return false };
        let Some(at) = holders.iter().position(|holder| holder == peer) else { return false };
        holders.remove(at);
        let next = holders.first().cloned();
        if at == 0 {
            self.unqueue(peer, id);
            match &next {
                Some(next) => drop(self.queues.entry(next.clone()).or_default().insert(*id)),
                None => drop(self.holders.remove(id)),
            }
        }
        next.is_none()
    }

    /// A peer is gone; returns what nobody else has.
    pub(super) fn gone(&mut self, peer: &PeerId) -> Vec<TransactionId> {
        let held = self.holders.iter().filter(|(_, holders)| holders.contains(peer));
        let mut ids: Vec<TransactionId> = held.map(|(id, _)| *id).collect();
        ids.retain(|id| self.lacks(peer, id));
        ids
    }

    /// Returns what a peer is asked for next.
    pub(super) fn next_of(&self, peer: &PeerId, most: usize) -> Vec<TransactionId> {
        self.queues.get(peer).into_iter().flatten().take(most).copied().collect()
    }

    fn unqueue(&mut self, peer: &PeerId, id: &TransactionId) {
        if let Some(queue) = self.queues.get_mut(peer) {
            queue.remove(id);
            if queue.is_empty() {
                self.queues.remove(peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::peer;
    use proptest::prelude::*;
    use purlin_primitives::Hash32;

    proptest! {
        /// Against a plain list: who is asked for what, and what nobody has.
        #[test]
        fn queues_agree_with_holders(steps in prop::collection::vec((0..4_u8, 0..6_u8, 0..5_u8), 0..200)) {
            let mut wanted = Wanted::default();
            let mut plain: BTreeMap<TransactionId, Vec<PeerId>> = BTreeMap::new();
            for (what, id, holder) in steps {
                let (id, holder) = (TransactionId::new(Hash32::new([id; 32])), peer(holder));
                match what {
                    0 => {
                        wanted.add(id, &holder);
                        let holders = plain.entry(id).or_default();
                        if holders.len() < HOLDERS_MAX && !holders.contains(&holder) {
                            holders.push(holder);
                        }
                    }
                    1 => {
                        wanted.remove(&id);
                        plain.remove(&id);
                    }
                    2 => {
                        let had = plain.get(&id).is_some_and(|holders| holders.contains(&holder));
                        plain.entry(id).or_default().retain(|one| *one != holder);
                        plain.retain(|_, holders| !holders.is_empty());
                        prop_assert_eq!(wanted.lacks(&holder, &id), had && !plain.contains_key(&id));
                    }
                    _ => {
                        let before: BTreeSet<_> = plain.keys().copied().collect();
                        plain.values_mut().for_each(|holders| holders.retain(|one| *one != holder));
                        plain.retain(|_, holders| !holders.is_empty());
                        let lost: Vec<_> = before.into_iter().filter(|id| !plain.contains_key(id)).collect();
                        prop_assert_eq!(wanted.gone(&holder), lost);
                    }
                }
                prop_assert_eq!(&wanted.holders, &plain);
                for number in 0..5 {
                    let first = plain.iter().filter(|(_, holders)| holders[0] == peer(number));
                    let first: Vec<_> = first.map(|(id, _)| *id).collect();
                    prop_assert_eq!(wanted.next_of(&peer(number), usize::MAX), first);
                }
                prop_assert!(wanted.queues.values().all(|queue| !queue.is_empty()));
            }
        }
    }
}
