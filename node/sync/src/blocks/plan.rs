//! Decides what to ask of whom, and what to deliver.

use purlin_primitives::{BlockId, Height};

use super::answers::{Asked, Wanted};
use super::{
    BODY_REQUESTS_MAX, BODY_REQUESTS_PER_PEER_MAX, BlockSync, Body, Checked, DELIVERED_MAX, GRACE_MS,
    HEADERS_AHEAD_MAX, HEDGE_MS, Partial, REQUEST_TIMEOUT_MS, SyncOutput, SyncRule, SyncedBlock,
};
use crate::limits::HEADERS_MAX;
use crate::message::{Request, Status};
use crate::network::{PeerId, RequestFailure, RequestId};

impl BlockSync {
    /// Ends every input: gives up what takes too long, asks, delivers.
    pub(super) fn finish(&mut self, now_ms: u64, own: &Status) -> Vec<SyncOutput> {
        self.give_up(now_ms);
        self.ask_statuses(now_ms, own);
        self.drop_unobtainable();
        self.ask_headers(now_ms);
        self.ask_bodies(now_ms);
        self.deliver();
        std::mem::take(&mut self.out)
    }

    fn ask(&mut self, now_ms: u64, peer: &PeerId, what: Wanted, request: Request) -> RequestId {
        let id = self.ids.give();
        self.uses += 1;
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.used = self.uses;
        }
        self.asked.insert(id, Asked { peer: peer.clone(), at_ms: now_ms, what });
        self.out.push(SyncOutput::Ask { peer: peer.clone(), id, request });
        id
    }

    fn give_up(&mut self, now_ms: u64) {
        let late = |asked: &Asked| now_ms >= asked.at_ms.saturating_add(REQUEST_TIMEOUT_MS);
        let ids: Vec<RequestId> =
            self.asked.iter().filter(|(_, asked)| late(asked)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(asked) = self.take_back(id) {
                self.note_failure(now_ms, &asked.peer, RequestFailure::Timeout);
            }
        }
    }

    fn ask_statuses(&mut self, now_ms: u64, own: &Status) {
        let due = |peer: &super::Peer| peer.status_asked.is_none() && peer.is_status_due(now_ms);
        let peers: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| due(peer) && !peer.is_quiet(now_ms))
            .map(|(id, _)| id.clone())
            .collect();
        for id in peers {
            let asked = self.ask(now_ms, &id, Wanted::Status, Request::Status(own.clone()));
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.status_asked = Some(asked);
                peer.status_at_ms = Some(now_ms);
            }
        }
    }

    /// Drops headers whose bodies nobody has: whoever made them up is gone or was never asked for.
    fn drop_unobtainable(&mut self) {
        let hopeless = |slot: &super::Slot| {
            matches!(slot.body, Body::Wanted)
                && slot.checked == Checked::Later
                && !slot.without.is_empty()
                && self.peers.iter().all(|(id, peer)| slot.without.contains(id) || !peer.has(slot.height()))
        };
        if let Some(at) = self.slots.iter().position(hopeless) {
            self.drop_from(at);
        }
        // Those who said that they do not have it may have it by now.
        for slot in &mut self.slots {
            let all = self.peers.keys().all(|id| slot.without.contains(id));
            if all && matches!(slot.body, Body::Wanted) {
                slot.without.clear();
            }
        }
    }

    fn ask_headers(&mut self, now_ms: u64) {
        if !self.peers.values().any(|peer| self.is_better(peer)) {
            self.behind_since_ms = None;
            if self.slots.is_empty() {
                self.started_from = self.head.height;
            }
            return;
        }
        let since = *self.behind_since_ms.get_or_insert(now_ms);
        let gap = self.peers.values().map(|peer| peer.claimed).max().unwrap_or(Height::ZERO);
        let far = gap.get() > self.head.height.get().saturating_add(1);
        if !far && self.slots.is_empty() && now_ms < since.saturating_add(GRACE_MS) {
            return;
        }
        // One peer at a time; a second one when the first is slow.
        let asked: Vec<&Asked> =
            self.asked.values().filter(|asked| matches!(asked.what, Wanted::Headers { .. })).collect();
        let under_way = match asked[..] {
            [] => false,
            [only] => now_ms < only.at_ms.saturating_add(HEDGE_MS),
            _ => true,
        };
        let room = HEADERS_AHEAD_MAX.saturating_sub(self.slots.len());
        // Small questions are not worth it while there is enough to do.
        if under_way || (room < HEADERS_MAX && !self.slots.is_empty()) {
            return;
        }
        let (tip, _) = self.tip();
        let wanted = |peer: &super::Peer| match (self.options.rule, self.slots.is_empty()) {
            (SyncRule::Certified, _) | (SyncRule::Heaviest, false) => peer.has(tip.next()),
            (SyncRule::Heaviest, true) => {
                self.is_better(peer) && (self.base.1 == self.head.id || peer.claimed > self.base.0)
            }
        };
        let chosen = self
            .peers
            .iter()
            .filter(|(_, peer)| wanted(peer) && !peer.is_quiet(now_ms) && now_ms >= peer.no_headers_until_ms)
            .filter(|(id, _)| asked.iter().all(|asked| asked.peer != **id))
            .min_by_key(|(_, peer)| peer.used)
            .map(|(id, peer)| (id.clone(), peer.back, peer.claimed));
        let Some((peer, back, claimed)) = chosen else { return };
        let from = match (self.options.rule, self.slots.is_empty()) {
            (SyncRule::Heaviest, true) => {
                let lowest = self.head.final_height.get().saturating_add(1);
                // Its branch may be heavier and shorter.
                let next = self.base.0.next().min(claimed).get();
                Height::new(next.saturating_sub(back).max(lowest))
            }
            _ => tip.next(),
        };
        let count = room.min(HEADERS_MAX);
        let request = Request::Headers { from, count: count as u32 };
        self.ask(now_ms, &peer, Wanted::Headers { from, count }, request);
    }

    fn ask_bodies(&mut self, now_ms: u64) {
        // Whoever holds up all others gets company.
        if let Some(slot) = self.slots.iter_mut().find(|slot| !matches!(slot.body, Body::Delivered { .. }))
            && let Body::Asked { at_ms, .. } = slot.body
            && now_ms >= at_ms.saturating_add(HEDGE_MS)
        {
            slot.body = Body::Wanted;
        }
        let first = self.slots.iter().position(|slot| !matches!(slot.body, Body::Delivered { .. }));
        let Some(first) = first else { return };
        let mut under_way =
            self.asked.values().filter(|asked| matches!(asked.what, Wanted::Bodies { .. })).count();
        while under_way < BODY_REQUESTS_MAX {
            let Some((peer, blocks)) = self.next_bodies(now_ms, first) else { return };
            let request = Request::Blocks { blocks: blocks.clone(), first: 0 };
            let what = Wanted::Bodies { blocks: blocks.clone(), partial: Partial::default() };
            let id = self.ask(now_ms, &peer, what, request);
            self.mark(&peer, &blocks, id, now_ms);
            under_way += 1;
        }
    }

    fn mark(&mut self, peer: &PeerId, blocks: &[BlockId], id: RequestId, now_ms: u64) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.bodies_asked += 1;
        }
        for slot in &mut self.slots {
            if matches!(slot.body, Body::Wanted) && blocks.contains(&slot.id) {
                slot.body = Body::Asked { id, at_ms: now_ms };
            }
        }
    }

    /// Chooses the earliest bodies that somebody free has.
    fn next_bodies(&self, now_ms: u64, first: usize) -> Option<(PeerId, Vec<BlockId>)> {
        for (at, slot) in self.slots.iter().enumerate().skip(first) {
            if !self.has_room(at - first) {
                return None;
            }
            if !matches!(slot.body, Body::Wanted) {
                continue;
            }
            let free = |id: &PeerId, peer: &super::Peer| {
                peer.bodies_asked < BODY_REQUESTS_PER_PEER_MAX
                    && !peer.is_quiet(now_ms)
                    && peer.has(slot.height())
                    && !slot.without.contains(id)
                    && !self.is_asked(id, &slot.id)
            };
            let chosen = self
                .peers
                .iter()
                .filter(|(id, peer)| free(id, peer))
                .min_by_key(|(_, peer)| (peer.bodies_asked, peer.used));
            let Some((id, peer)) = chosen else { continue };
            let fits = |slot: &&super::Slot| {
                matches!(slot.body, Body::Wanted) && !slot.without.contains(id) && peer.has(slot.height())
            };
            let blocks = self.slots.iter().skip(at).take_while(fits).take(peer.batch);
            return Some((id.clone(), blocks.map(|slot| slot.id).collect()));
        }
        None
    }

    fn is_asked(&self, peer: &PeerId, block: &BlockId) -> bool {
        self.asked.values().any(|asked| {
            asked.peer == *peer
                && matches!(&asked.what, Wanted::Bodies { blocks, .. } if blocks.contains(block))
        })
    }

    /// Asks the same peer for the rest of a block: parts of two peers could not be told apart if one were wrong.
    pub(super) fn ask_rest(&mut self, now_ms: u64, peer: &PeerId, blocks: Vec<BlockId>, partial: Partial) {
        let still_wanted =
            |slot: &super::Slot| blocks.first() == Some(&slot.id) && matches!(slot.body, Body::Wanted);
        if !self.peers.contains_key(peer) || !self.slots.iter().any(still_wanted) {
            return;
        }
        self.buffered_bytes += partial.bytes;
        let request = Request::Blocks { blocks: blocks.clone(), first: partial.transactions.len() as u32 };
        let what = Wanted::Bodies { blocks: blocks.clone(), partial };
        let id = self.ask(now_ms, peer, what, request);
        self.mark(peer, &blocks, id, now_ms);
    }

    fn deliver(&mut self) {
        let mut under_way = 0;
        for slot in &mut self.slots {
            match &slot.body {
                Body::Delivered { .. } => under_way += 1,
                Body::Ready { from, .. } if under_way < DELIVERED_MAX => {
                    let (from, body_from) = (from.clone(), from.clone());
                    let delivered = Body::Delivered { from };
                    let Body::Ready { transactions, bytes, .. } =
                        std::mem::replace(&mut slot.body, delivered)
                    else {
                        return;
                    };
                    self.buffered_bytes -= bytes;
                    under_way += 1;
                    let (id, certified) = (slot.id, slot.certified.clone());
                    let header_from = slot.source.clone();
                    let block = SyncedBlock { id, certified, transactions, header_from, body_from };
                    self.out.push(SyncOutput::Deliver(Box::new(block)));
                }
                _ => return,
            }
        }
    }
}
