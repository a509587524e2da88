//! Messages of the consensus engine: which are passed on, which peers are asked for, and when signing may begin.

use purlin_consensus::{Input, PeerMessage, ROUNDS_AHEAD_MAX};
use purlin_primitives::{BlockId, Height};
use purlin_state::KeyValueStore;
use purlin_sync::{
    CompactBlock, GossipId, GossipVerdict, Offence, PeerId, Request, RequestFailure, RequestId, Response,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;

use super::{AHEAD_MAX, Exchange, Pooled};
use crate::node::driver::Halt;
use crate::node::pipeline::Message;

/// Quiet time after which votes are asked for, in milliseconds.
pub(super) const PULL_MS: u64 = 2_000;
/// Most announced blocks that wait for the proposal that names them. Proposals are sent first and are smaller.
const UNSIGNED_MAX: usize = 16;
/// Most of them that one peer passed on.
const UNSIGNED_PER_PEER_MAX: usize = 2;
/// Most blocks remembered that validators proposed.
const PROPOSED_MAX: usize = 64;
/// Longest time from the first word of a peer until this node signs, in milliseconds: who claims a height that nobody
/// can show must not silence a validator.
const CATCH_UP_MS: u64 = 30_000;
/// Time without any peer after which a validator signs that decides without the others, in milliseconds.
const ALONE_MS: u64 = 10_000;

/// When nothing was decided for a while, peers are asked in turn for the votes that they have.
#[derive(Default)]
pub(super) struct Pull {
    pub(super) due_ms: u64,
    last: Option<PeerId>,
    asked: BTreeMap<RequestId, PeerId>,
}

/// Which blocks validators proposed. Announcements carry no signature: one is passed on, and its transactions are asked
/// for, when a validator's proposal names it.
#[derive(Default)]
pub(super) struct Proposals {
    named: VecDeque<(Height, BlockId)>,
    unsigned: VecDeque<(GossipId, PeerId, CompactBlock)>,
}

impl Proposals {
    /// Notes what a validator proposed; returns the announcements that it makes good.
    fn name(&mut self, height: Height, block: BlockId) -> Vec<(GossipId, PeerId, CompactBlock)> {
        if !self.is_named(&block) {
            if self.named.len() >= PROPOSED_MAX {
                self.named.pop_front();
            }
            self.named.push_back((height, block));
        }
        let waiting = std::mem::take(&mut self.unsigned);
        let (good, rest) =
            waiting.into_iter().partition::<Vec<_>, _>(|(_, _, compact)| compact.id() == block);
        self.unsigned = rest.into();
        good
    }

    fn is_named(&self, block: &BlockId) -> bool {
        self.named.iter().any(|(_, named)| named == block)
    }

    /// Keeps an announcement until its proposal comes; returns what there is no room for.
    fn keep(&mut self, id: GossipId, from: &PeerId, compact: CompactBlock) -> Vec<GossipId> {
        let mut dropped = Vec::new();
        if self.unsigned.iter().filter(|(_, by, _)| by == from).count() >= UNSIGNED_PER_PEER_MAX
            && let Some(oldest) = self.unsigned.iter().position(|(_, by, _)| by == from)
        {
            dropped.extend(self.unsigned.remove(oldest).map(|(id, _, _)| id));
        }
        if self.unsigned.len() >= UNSIGNED_MAX {
            dropped.extend(self.unsigned.pop_front().map(|(id, _, _)| id));
        }
        self.unsigned.push_back((id, from.clone(), compact));
        dropped
    }

    /// Forgets what a decision made useless; returns the announcements that nobody will name.
    pub(super) fn decided(&mut self, height: Height) -> Vec<GossipId> {
        self.named.retain(|(named, _)| *named > height);
        let waiting = std::mem::take(&mut self.unsigned);
        let (old, rest) =
            waiting.into_iter().partition::<Vec<_>, _>(|(_, _, compact)| compact.header.height <= height);
        self.unsigned = rest.into();
        old.into_iter().map(|(id, _, _)| id).collect()
    }

    /// Returns how many announcements wait, and how many blocks are remembered.
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.unsigned.len(), self.named.len())
    }
}

impl<S: KeyValueStore> Exchange<S> {
    /// Asks the next peer for the votes of the height being decided, when that takes long.
    pub(super) fn pull_votes(&mut self, now_ms: u64) {
        if now_ms < self.pull.due_ms || self.reporter.is_none() {
            return;
        }
        self.pull.due_ms = now_ms + PULL_MS;
        let last = &self.pull.last;
        let after = self.peers.iter().find(|peer| last.as_ref().is_none_or(|last| *peer > last));
        let Some(peer) = after.or_else(|| self.peers.first()).cloned() else { return };
        let height = self.core.head.read().height.next();
        let id = self.pulls.give();
        self.ask(&peer, id, &Request::Consensus { height });
        self.pull.asked.insert(id, peer.clone());
        self.pull.last = Some(peer);
    }

    pub(super) fn pulled(
        &mut self,
        now_ms: u64,
        id: RequestId,
        outcome: Result<Response, RequestFailure>,
    ) -> Result<(), Halt> {
        let Some(peer) = self.pull.asked.remove(&id) else { return Ok(()) };
        let Ok(Response::Consensus(messages)) = outcome else { return Ok(()) };
        for bytes in messages {
            if self.take_vote(now_ms, &peer, &bytes)? == GossipVerdict::Reject {
                self.network.report(&peer, Offence::Invalid);
                break;
            }
        }
        Ok(())
    }

    /// Gives a message of the engine to the driver when its signatures hold, and says whether to pass it on.
    pub(super) fn take_vote(
        &mut self,
        now_ms: u64,
        from: &PeerId,
        bytes: &[u8],
    ) -> Result<GossipVerdict, Halt> {
        let wrong = |reason: &str| {
            tracing::debug!(%from, reason, "a peer sent a wrong vote");
            Ok(GossipVerdict::Reject)
        };
        let message = match PeerMessage::decode(bytes) {
            Ok(message) => message,
            Err(reason) => return wrong(&reason),
        };
        // Signatures cost most and are looked at last. Votes of the head's height matter as evidence; older ones came
        // late, and newer ones than these are for nodes that are further.
        let (head, height) = (self.core.head.read().height, message.height());
        if height < head || height.get() > head.get() + AHEAD_MAX {
            return Ok(GossipVerdict::Ignore);
        }
        // A validator can sign for as many rounds as it likes: what the engine takes no notice of is not passed on.
        let round = if height == head.next() { self.core.round.load(Ordering::Relaxed) } else { 0 };
        let last = round.saturating_add(ROUNDS_AHEAD_MAX);
        if height > head && message.lone_round().is_some_and(|round| round > last) {
            return Ok(GossipVerdict::Ignore);
        }
        // Keys of long ago could sign another past.
        if self.core.sync_problem.lock().is_some() {
            return Ok(GossipVerdict::Ignore);
        }
        let Ok(validators) = self.core.validators(height) else { return Ok(GossipVerdict::Ignore) };
        let chain_id = &self.core.chain.genesis().chain_id;
        let checked = message.check(chain_id, &validators).and_then(|()| message.verify(chain_id));
        if let Err(reason) = checked {
            return wrong(&reason);
        }
        if let Some(block) = message.proposed() {
            for (id, from, compact) in self.proposals.name(height, block) {
                self.network.judge(id, GossipVerdict::Relay);
                self.assemble(now_ms, &from, compact)?;
            }
        }
        if height.get() <= head.get() + 1 {
            if height > head {
                self.recent.keep_message(height, bytes);
            }
            // A full queue drops it; it is sent again.
            let input = Input::Message { from: from.as_bytes().to_vec(), bytes: bytes.to_vec() };
            drop(self.core.messages.try_send(Message::Input(input)));
        }
        Ok(if height > head { GossipVerdict::Relay } else { GossipVerdict::Ignore })
    }

    /// Takes the announcement of a proposed block; `None` when the verdict comes later.
    pub(super) fn proposed(
        &mut self,
        now_ms: u64,
        id: GossipId,
        from: &PeerId,
        compact: CompactBlock,
    ) -> Result<Option<GossipVerdict>, Halt> {
        let (head, height) = (self.core.head.read().height, compact.header.height);
        if height <= head || height.get() > head.get() + AHEAD_MAX {
            return Ok(Some(GossipVerdict::Ignore));
        }
        // After the height: it hashes every id.
        if !compact.is_consistent() || compact.header.chain_id != self.core.chain.genesis().chain_id {
            return Ok(Some(GossipVerdict::Reject));
        }
        if !self.proposals.is_named(&compact.id()) {
            for dropped in self.proposals.keep(id, from, compact) {
                self.network.judge(dropped, GossipVerdict::Ignore);
            }
            return Ok(None);
        }
        self.assemble(now_ms, from, compact)?;
        Ok(Some(GossipVerdict::Relay))
    }

    fn assemble(&mut self, now_ms: u64, from: &PeerId, compact: CompactBlock) -> Result<(), Halt> {
        if self.recent.block(&compact.id()).is_some() {
            return Ok(());
        }
        let pool = Pooled { core: &*self.core };
        let out = self.assemblies.announced(now_ms, from, compact, &pool);
        self.assembled(now_ms, out)
    }

    /// Tells the driver once that the engine may sign: when a peer said where it is and nobody is ahead. A validator
    /// that starts from an old copy of its folder, or whose key another node uses, learns that before it signs.
    pub(super) fn allow_signing(&mut self, now_ms: u64) {
        if self.signing.allowed {
            return;
        }
        let started_ms = *self.signing.started_ms.get_or_insert(now_ms);
        let head = self.core.head.read().height;
        // What half of the peers say: one that claims too much silences nobody.
        let may = if let Some(believed) = self.blocks.believed_height() {
            // Whoever is still catching up learns something with every block.
            if self.signing.head != Some(head) {
                self.signing.head = Some(head);
                self.signing.heard_ms = None;
            }
            let heard_ms = *self.signing.heard_ms.get_or_insert(now_ms);
            believed <= head || now_ms.saturating_sub(heard_ms) >= CATCH_UP_MS
        } else {
            now_ms.saturating_sub(started_ms) >= ALONE_MS && self.decides_without_others(head.next())
        };
        // A full queue is tried again at the next tick.
        self.signing.allowed = may
            && self
                .core
                .messages
                .try_send(Message::Input(Input::SigningAllowed { above: Height::ZERO }))
                .is_ok();
    }

    fn decides_without_others(&self, height: Height) -> bool {
        let Ok(validators) = self.core.validators(height) else { return false };
        let own = validators.validators().iter().find(|one| Some(one.account) == self.core.validator);
        own.is_some_and(|own| u128::from(own.power) * 3 > u128::from(validators.total_power()) * 2)
    }
}

/// Whether the engine may sign yet.
#[derive(Default)]
pub(super) struct Signing {
    allowed: bool,
    started_ms: Option<u64>,
    /// When a peer first said where it is, or this node last came further.
    heard_ms: Option<u64>,
    head: Option<Height>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_primitives::{AccountId, BlockHeader, Hash32, Seal, TimestampMs};

    fn peer(number: u8) -> PeerId {
        PeerId::new(vec![number; 4]).unwrap()
    }

    fn compact(height: u64, number: u64) -> CompactBlock {
        let header = BlockHeader {
            chain_id: "test".parse().unwrap(),
            height: Height::new(height),
            parent: BlockId::ZERO,
            time: TimestampMs::new(number),
            proposer: AccountId::ZERO,
            transactions_root: Hash32::ZERO,
            state_root: Hash32::ZERO,
            receipts_root: Hash32::ZERO,
            seal: Seal::FIRST_ROUND,
        };
        CompactBlock { header, transactions: Vec::new() }
    }

    #[test]
    fn an_announcement_waits_for_its_proposal() {
        let mut proposals = Proposals::default();
        let (good, other) = (compact(5, 1), compact(5, 2));
        assert!(proposals.keep(GossipId(1), &peer(1), good.clone()).is_empty());
        assert!(proposals.keep(GossipId(2), &peer(2), other).is_empty());
        let freed = proposals.name(Height::new(5), good.id());
        assert_eq!(freed, [(GossipId(1), peer(1), good.clone())]);
        assert!(proposals.is_named(&good.id()));
        assert_eq!(proposals.decided(Height::new(5)), [GossipId(2)]);
        assert_eq!(proposals.lengths(), (0, 0));
    }

    #[test]
    fn a_flood_pushes_out_its_own_first() {
        let mut proposals = Proposals::default();
        let good = compact(5, 0);
        proposals.keep(GossipId(0), &peer(0), good.clone());
        let mut dropped = 0;
        for number in 1..1_000 {
            dropped += proposals.keep(GossipId(number), &peer(1), compact(5, number)).len();
        }
        assert_eq!(dropped, 997);
        assert_eq!(proposals.name(Height::new(5), good.id()).len(), 1);
        for number in 0..1_000 {
            proposals.keep(GossipId(number), &peer((number % 250) as u8), compact(5, number));
            proposals.name(Height::new(5), compact(6, number).id());
        }
        assert!(proposals.lengths() <= (UNSIGNED_MAX, PROPOSED_MAX));
    }
}
