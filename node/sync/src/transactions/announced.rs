//! Announcements by id that wait for their verdict: anybody can make up ids.

use purlin_primitives::TransactionId;
use std::collections::{BTreeSet, VecDeque};

use crate::network::GossipId;

/// Most announcements that wait; the oldest goes first.
pub(super) const ANNOUNCED_MAX: usize = 64;
/// Time after which one is not passed on any more, in milliseconds.
pub(super) const ANNOUNCED_MS: u64 = 10_000;

#[derive(Debug, PartialEq, Eq)]
struct Waiting {
    gossip: GossipId,
    at_ms: u64,
    missing: BTreeSet<TransactionId>,
}

/// Announcements of which something is not in the pool yet, oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Announced(VecDeque<Waiting>);

impl Announced {
    /// Keeps an announcement until what is missing was admitted; returns one that there is no more room for.
    pub(super) fn keep(
        &mut self,
        now_ms: u64,
        gossip: GossipId,
        missing: BTreeSet<TransactionId>,
    ) -> Option<GossipId> {
        let dropped = if self.0.len() >= ANNOUNCED_MAX { self.0.pop_front() } else { None };
        self.0.push_back(Waiting { gossip, at_ms: now_ms, missing });
        dropped.map(|one| one.gossip)
    }

    /// A transaction was admitted; returns the announcements that are complete.
    pub(super) fn arrived(&mut self, id: &TransactionId) -> Vec<GossipId> {
        self.take(|one| one.missing.remove(id) && one.missing.is_empty())
    }

    /// A transaction will not be admitted; returns the announcements that named it.
    pub(super) fn failed(&mut self, id: &TransactionId) -> Vec<GossipId> {
        self.take(|one| one.missing.contains(id))
    }

    /// Returns the announcements that waited too long.
    pub(super) fn expire(&mut self, now_ms: u64) -> Vec<GossipId> {
        self.take(|one| now_ms >= one.at_ms.saturating_add(ANNOUNCED_MS))
    }

    fn take(&mut self, mut which: impl FnMut(&mut Waiting) -> bool) -> Vec<GossipId> {
        let mut taken = Vec::new();
        self.0.retain_mut(|one| {
            let take = which(one);
            if take {
                taken.push(one.gossip);
            }
            !take
        });
        taken
    }
}
