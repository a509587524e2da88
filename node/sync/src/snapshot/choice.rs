//! Decides which of the snapshots that peers offer is fetched, and when it is given up.
//!
//! Nothing that one peer says decides alone where it matters: how old the chain is, and that there is a problem.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use purlin_primitives::BlockId;

use super::{
    Distrust, Pace, SNAPSHOT_PACE_CHUNKS_MIN, SNAPSHOT_PACE_MS, SNAPSHOTS_ABANDONED_MAX, SnapshotManifest,
    SnapshotOutput, SnapshotProgress, SnapshotSync, SnapshotTrust,
};
use crate::blocks::believed_height;
use crate::network::{Offence, PeerId};
use crate::trust::TrustProblem;

impl SnapshotSync {
    /// Says whether every connected peer was asked and has no snapshot that can be used; asked twice, because one that
    /// has just started to make one has it soon. Those whose offer this node cannot believe count as well, unless they
    /// are half of all: see [`SnapshotSync::problem`].
    pub fn nobody_offers(&self) -> bool {
        let is_problem = self.problem().is_some();
        let nothing = |peer: &super::SnapshotPeer| {
            peer.empty_handed >= 2 || (peer.considered && peer.problem.is_some() && !is_problem)
        };
        self.progress.is_none() && !self.peers.is_empty() && self.peers.values().all(nothing)
    }

    /// Returns why no offer is believed, when half of the peers or more make one that this node cannot believe.
    pub fn problem(&self) -> Option<&TrustProblem> {
        let problems = || self.peers.values().filter_map(|peer| peer.problem.as_ref());
        let enough = 2 * problems().count() >= self.peers.len();
        problems().next().filter(|_| enough && self.progress.is_none())
    }

    /// Keeps a consistent manifest until the choice; `false` when it is of a snapshot that was given up.
    pub(super) fn offered(&mut self, now_ms: u64, name: &PeerId, manifest: SnapshotManifest) -> bool {
        if self.abandoned.contains(&manifest.next.header.state_root) {
            return false;
        }
        if let Some(peer) = self.peers.get_mut(name) {
            (peer.offer, peer.considered) = (Some(Box::new(manifest)), false);
            peer.empty_handed = 0;
            self.offered_at_ms.get_or_insert(now_ms);
        }
        true
    }

    /// Notes that a peer did not give a manifest when it was asked for one.
    pub(super) fn offers_nothing(&mut self, name: &PeerId, span: Option<usize>) {
        if let Some(peer) = self.peers.get_mut(name)
            && span.is_none()
        {
            (peer.offer, peer.problem) = (None, None);
            peer.empty_handed += 1;
        }
    }

    /// Chooses, when there was time for offers.
    pub(super) fn choose(&mut self, now_ms: u64, trust: &mut dyn SnapshotTrust) {
        let due = |at: u64| now_ms >= at.saturating_add(self.options.choice_ms);
        if self.progress.is_some() || !self.offered_at_ms.is_some_and(due) {
            return;
        }
        self.offered_at_ms = None;
        if let Some(manifest) = self.believed(now_ms, trust) {
            for peer in self.peers.values_mut() {
                (peer.offer, peer.considered, peer.problem) = (None, false, None);
            }
            let progress = SnapshotProgress::new(manifest);
            self.pace = None;
            self.out.push(SnapshotOutput::Begin(Box::new(progress.clone())));
            self.progress = Some(progress);
            return;
        }
        let offering: Vec<PeerId> = self.offers().map(|(name, _)| name.clone()).collect();
        for name in offering {
            self.pause(now_ms, &name);
            if let Some(peer) = self.peers.get_mut(&name) {
                peer.considered = true;
            }
        }
    }

    fn offers(&self) -> impl Iterator<Item = (&PeerId, &SnapshotManifest)> {
        self.peers.iter().filter_map(|(name, peer)| Some((name, &**peer.offer.as_ref()?)))
    }

    /// Returns the manifest that most peers share, or the highest of those, if it is believed; else the next one.
    fn believed(&mut self, now_ms: u64, trust: &mut dyn SnapshotTrust) -> Option<SnapshotManifest> {
        self.peers.values_mut().for_each(|peer| peer.problem = None);
        let height = believed_height(self.offers().map(|(_, offer)| offer.next.header.height))?;
        if let Err(problem) = trust.check_age(height) {
            for peer in self.peers.values_mut() {
                if peer.offer.as_ref().is_some_and(|offer| offer.next.header.height >= height) {
                    peer.problem = Some(problem.clone());
                }
            }
            return None;
        }
        let ids: Vec<(PeerId, BlockId, _)> = self
            .offers()
            .map(|(name, offer)| (name.clone(), offer.next.header.id(), offer.next.header.height))
            .collect();
        let mut sharing = BTreeMap::<BlockId, usize>::new();
        ids.iter().for_each(|(_, id, _)| *sharing.entry(*id).or_default() += 1);
        let mut order: Vec<_> =
            ids.into_iter().map(|(name, id, height)| (Reverse((sharing[&id], height)), name)).collect();
        order.sort();
        for (_, name) in order {
            let Some(peer) = self.peers.get_mut(&name) else { continue };
            let Some(offer) = &peer.offer else { continue };
            match trust.check(offer) {
                Ok(()) => return peer.offer.take().map(|offer| *offer),
                Err(Distrust::Wrong(_)) => {
                    self.failed(now_ms, &name, None);
                    self.out.push(SnapshotOutput::Report { peer: name, offence: Offence::Invalid });
                }
                Err(Distrust::Unproven(problem)) => peer.problem = Some(problem),
            }
        }
        None
    }

    /// Says whether too little of the snapshot came, while others do not have it.
    pub(super) fn is_too_slow(&mut self, now_ms: u64) -> bool {
        let pace = *self.pace.get_or_insert(Pace { since_ms: now_ms, chunks: 0 });
        if now_ms < pace.since_ms.saturating_add(SNAPSHOT_PACE_MS) {
            return false;
        }
        self.pace = Some(Pace { since_ms: now_ms, chunks: 0 });
        pace.chunks < SNAPSHOT_PACE_CHUNKS_MIN && self.peers.values().any(|peer| peer.without)
    }

    /// Gives a snapshot up for good: another one is chosen.
    pub(super) fn abandon(&mut self) {
        let Some(progress) = self.progress.take() else { return };
        if self.abandoned.len() >= SNAPSHOTS_ABANDONED_MAX {
            self.abandoned.pop_front();
        }
        self.abandoned.push_back(progress.manifest.next.header.state_root);
        for peer in self.peers.values_mut() {
            (peer.without, peer.failures, peer.empty_handed) = (false, 0, 0);
        }
    }
}
