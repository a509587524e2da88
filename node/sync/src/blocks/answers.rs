//! Takes answers: what is right goes into slots, what is wrong is blamed.

use purlin_primitives::{Block, BlockId, Height, Transaction};

use super::{
    BUFFER_BYTES_MAX, BlockSync, Body, Checked, HEADERS_AHEAD_MAX, HeaderCheck, Partial, Slot, SyncRule,
};
use crate::limits::BLOCK_TRANSACTIONS_MAX;
use crate::message::{BodyPart, CertifiedHeader, Response};
use crate::network::{Offence, PeerId, RequestFailure, RequestId};

/// Time for which headers are not asked of a peer whose unverified headers contradict those of another, in
/// milliseconds: by then it is known which of them lied.
const CONFLICT_PAUSE_MS: u64 = 5_000;

/// A request under way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) peer: PeerId,
    pub(super) at_ms: u64,
    pub(super) what: Wanted,
}

#[derive(Debug)]
pub(super) enum Wanted {
    Status,
    Headers { from: Height, count: usize },
    Bodies { blocks: Vec<BlockId>, partial: Partial },
}

impl BlockSync {
    /// Forgets a request; what it was to bring is wanted again.
    pub(super) fn take_back(&mut self, id: RequestId) -> Option<Asked> {
        let asked = self.asked.remove(&id)?;
        if let Wanted::Bodies { partial, .. } = &asked.what {
            self.buffered_bytes -= partial.bytes;
        }
        if let Some(peer) = self.peers.get_mut(&asked.peer) {
            match &asked.what {
                Wanted::Status => peer.status_asked = None,
                Wanted::Headers { .. } => {}
                Wanted::Bodies { .. } => peer.bodies_asked = peer.bodies_asked.saturating_sub(1),
            }
        }
        if let Wanted::Bodies { .. } = &asked.what {
            for slot in &mut self.slots {
                if matches!(&slot.body, Body::Asked { id: other, .. } if *other == id) {
                    slot.body = Body::Wanted;
                }
            }
        }
        Some(asked)
    }

    pub(super) fn take_answer(
        &mut self,
        now_ms: u64,
        id: RequestId,
        outcome: Result<Response, RequestFailure>,
        check: &mut dyn HeaderCheck,
    ) {
        // Unknown ids are of requests given up before.
        let Some(Asked { peer, at_ms, what }) = self.take_back(id) else { return };
        let response = match outcome {
            Ok(response) => response,
            Err(failure) => return self.note_failure(now_ms, &peer, failure),
        };
        let took_ms = now_ms.saturating_sub(at_ms);
        match (what, response) {
            (Wanted::Status, Response::Status(status)) => self.note_status(now_ms, &peer, status),
            (Wanted::Headers { from, count }, Response::Headers(headers)) => {
                match self.take_headers(now_ms, &peer, from, count, headers, check) {
                    Ok(()) => {}
                    Err(offence) => self.distrust(now_ms, &peer, offence),
                }
            }
            (Wanted::Headers { from, .. }, Response::Unavailable) => {
                self.note_broken_promise(now_ms, &peer, from);
            }
            (Wanted::Bodies { blocks, partial }, Response::Blocks(parts)) => {
                match self.take_bodies(now_ms, &peer, &blocks, partial, parts) {
                    Ok(()) => {
                        if let Some(peer) = self.peers.get_mut(&peer) {
                            peer.succeeded(took_ms);
                        }
                    }
                    Err(offence) => {
                        self.note_failure(now_ms, &peer, RequestFailure::Protocol);
                        self.report(&peer, offence);
                    }
                }
            }
            (Wanted::Bodies { blocks, .. }, Response::Unavailable) => {
                self.note_without(now_ms, &peer, &blocks);
            }
            (_, _) => {
                self.note_failure(now_ms, &peer, RequestFailure::Protocol);
                self.report(&peer, Offence::Lied);
            }
        }
    }

    fn take_headers(
        &mut self,
        now_ms: u64,
        source: &PeerId,
        from: Height,
        count: usize,
        headers: Vec<CertifiedHeader>,
        check: &mut dyn HeaderCheck,
    ) -> Result<(), Offence> {
        if headers.is_empty() || headers.len() > count {
            return Err(Offence::Lied);
        }
        let headers = self.linked(from, headers)?;
        if let Some(peer) = self.peers.get_mut(source) {
            peer.broken_promises = 0;
        }
        if self.options.rule == SyncRule::Heaviest
            && self.slots.is_empty()
            && !self.find_fork(now_ms, source, from, &headers, check)?
        {
            return Ok(());
        }
        let (tip_height, tip_id) = self.tip();
        let mut new: Vec<(BlockId, CertifiedHeader)> = headers;
        new.retain(|(_, certified)| certified.header.height > tip_height);
        let Some((_, first)) = new.first() else { return Ok(()) };
        if first.header.height != tip_height.next() {
            // The slots it was to follow are gone.
            return Ok(());
        }
        if first.header.parent != tip_id {
            let doubtful = self.slots.back().is_some_and(|slot| slot.checked == Checked::Later);
            if !doubtful && self.options.rule == SyncRule::Certified {
                return Err(Offence::Invalid);
            }
            if let Some(peer) = self.peers.get_mut(source) {
                peer.no_headers_until_ms = now_ms.saturating_add(CONFLICT_PAUSE_MS);
            }
            return Ok(());
        }
        new.truncate(HEADERS_AHEAD_MAX.saturating_sub(self.slots.len()));
        let checked = self.check_headers(&new, check)?;
        if checked == Checked::Verified {
            self.slots.iter_mut().for_each(|slot| slot.checked = Checked::Verified);
        }
        for (id, certified) in new {
            let empty = certified.header.transactions_root == self.no_transactions_root;
            let body = match empty {
                true => Body::Ready { from: source.clone(), transactions: Vec::new(), bytes: 0 },
                false => Body::Wanted,
            };
            let source = source.clone();
            self.slots.push_back(Slot { id, certified, source, checked, body, without: Vec::new() });
        }
        Ok(())
    }

    /// Checks what needs no knowledge of the chain: that headers follow each other and certificates are about them.
    fn linked(
        &self,
        from: Height,
        headers: Vec<CertifiedHeader>,
    ) -> Result<Vec<(BlockId, CertifiedHeader)>, Offence> {
        let mut linked: Vec<(BlockId, CertifiedHeader)> = Vec::with_capacity(headers.len());
        for certified in headers {
            let header = &certified.header;
            let (height, follows) = match linked.last() {
                None => (from, true),
                Some((id, before)) => (before.header.height.next(), header.parent == *id),
            };
            if header.height != height || !follows || header.chain_id != self.options.chain_id {
                return Err(Offence::Lied);
            }
            let id = header.id();
            let certificate = certified.certificate.as_ref();
            let fits = match self.options.rule {
                SyncRule::Certified => certificate.is_some_and(|c| c.block == id && c.height == height),
                SyncRule::Heaviest => true,
            };
            if !fits {
                return Err(Offence::Invalid);
            }
            linked.push((id, certified));
        }
        Ok(linked)
    }

    fn check_headers(
        &self,
        headers: &[(BlockId, CertifiedHeader)],
        check: &mut dyn HeaderCheck,
    ) -> Result<Checked, Offence> {
        let first = match self.options.rule {
            // Each shows the ones before it.
            SyncRule::Certified => headers.len().saturating_sub(1),
            SyncRule::Heaviest => 0,
        };
        let mut result = Checked::Later;
        for (_, certified) in &headers[first..] {
            let certificate = certified.certificate.as_ref();
            result = check.check(&certified.header, certificate).map_err(|_| Offence::Invalid)?;
        }
        Ok(result)
    }

    /// Sets the base to where the peer's branch leaves this node's chain; `false` when that lies further back.
    fn find_fork(
        &mut self,
        now_ms: u64,
        source: &PeerId,
        from: Height,
        headers: &[(BlockId, CertifiedHeader)],
        check: &dyn HeaderCheck,
    ) -> Result<bool, Offence> {
        let Some((_, first)) = headers.first() else { return Ok(false) };
        let before = Height::new(from.get().saturating_sub(1));
        let Some(peer) = self.peers.get_mut(source) else { return Ok(false) };
        let parent = (before, first.header.parent);
        if check.id_at(before) != Some(parent.1) && parent != self.base {
            if before <= self.head.final_height {
                // It left before what is final here: its branch is of no use, however heavy.
                return Err(Offence::Invalid);
            }
            peer.back = (peer.back * 2).max(1);
            return Ok(false);
        }
        let known = headers
            .iter()
            .take_while(|(id, certified)| check.id_at(certified.header.height) == Some(*id))
            .last();
        self.base = match known {
            None => (before, first.header.parent),
            Some((id, certified)) => (certified.header.height, *id),
        };
        let all_known = known.is_some_and(|(id, _)| headers.last().is_some_and(|(last, _)| last == id));
        if all_known && self.base.0 >= peer.claimed {
            // Nothing new up to what it claims, although it claims more work.
            self.note_broken_promise(now_ms, source, from);
        } else if let Some(peer) = self.peers.get_mut(source) {
            peer.back = 0;
        }
        Ok(true)
    }

    fn take_bodies(
        &mut self,
        now_ms: u64,
        source: &PeerId,
        blocks: &[BlockId],
        mut partial: Partial,
        parts: Vec<BodyPart>,
    ) -> Result<(), Offence> {
        let count = parts.len();
        if count == 0 || count > blocks.len() {
            return Err(Offence::Lied);
        }
        for (position, (part, block)) in parts.into_iter().zip(blocks).enumerate() {
            let (first, total) = (part.first as usize, part.total as usize);
            let is_next = part.block == *block && first == partial.transactions.len();
            if !is_next || total > BLOCK_TRANSACTIONS_MAX {
                return Err(Offence::Lied);
            }
            if part.transactions.is_empty() && first < total {
                return Err(Offence::Lied);
            }
            for encoded in &part.transactions {
                partial.bytes += encoded.as_bytes().len();
                if partial.bytes > self.options.block_bytes_max {
                    return Err(Offence::Lied);
                }
                let transaction = encoded.decode().map_err(|_| Offence::Malformed)?;
                partial.ids.push(transaction.body.id());
                partial.transactions.push(transaction);
            }
            let have = partial.transactions.len();
            if have > total || (have < total && position + 1 < count) {
                return Err(Offence::Lied);
            }
            if have < total {
                self.ask_rest(now_ms, source, blocks[position..].to_vec(), partial);
                return Ok(());
            }
            self.fill(source, block, std::mem::take(&mut partial))?;
        }
        Ok(())
    }

    /// Puts a whole body where it belongs.
    fn fill(&mut self, source: &PeerId, block: &BlockId, body: Partial) -> Result<(), Offence> {
        let root = Block::transactions_root(&body.ids);
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == *block) else { return Ok(()) };
        if slot.certified.header.transactions_root != root {
            return Err(Offence::Lied);
        }
        if matches!(slot.body, Body::Wanted | Body::Asked { .. }) {
            self.buffered_bytes += body.bytes;
            let transactions: Vec<Transaction> = body.transactions;
            slot.body = Body::Ready { from: source.clone(), transactions, bytes: body.bytes };
        }
        Ok(())
    }

    /// A peer does not have the first of these bodies.
    fn note_without(&mut self, now_ms: u64, peer: &PeerId, blocks: &[BlockId]) {
        let Some(block) = blocks.first() else { return };
        let Some(at) = self.slots.iter().position(|slot| slot.id == *block) else { return };
        let slot = &mut self.slots[at];
        if !slot.without.contains(peer) {
            slot.without.push(peer.clone());
        }
        if slot.source == *peer && slot.checked == Checked::Later {
            // It sent the header as one of its own chain.
            self.drop_from(at);
            self.distrust(now_ms, peer, Offence::Lied);
        }
    }

    /// Says whether another body may be asked for: the earliest always, others while there is room.
    pub(super) fn has_room(&self, position: usize) -> bool {
        position == 0 || self.buffered_bytes < BUFFER_BYTES_MAX
    }
}
