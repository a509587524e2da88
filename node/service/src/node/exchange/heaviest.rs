//! The exchange's part of proof of work: announced headers and blocks, branches, and catching up by work.
//!
//! Headers come three ways and all go through the engine: announced by gossip; from a peer whose announcement does not
//! fit, from where its chain leaves this node's; and by the plan, which compares work and fetches bodies in bulk.

use purlin_consensus::Input;
use purlin_consensus::pow::{
    HEADERS_PER_ANSWER_MAX, MESSAGE_BYTES_MAX, PowInput, PowMessage, VALIDATIONS_MAX,
};
use purlin_primitives::{Block, BlockHeader, BlockId, Height};
use purlin_state::KeyValueStore;
use purlin_sync::limits::HEADERS_MAX;
use purlin_sync::{
    ASSEMBLIES_MAX, CertifiedHeader, CompactBlock, GossipVerdict, HeaderCheck, Offence, PeerId, Request,
    RequestFailure, RequestId, Response, SyncOutput, SyncProgress,
};
use std::collections::{BTreeMap, VecDeque};

use super::{Check, Exchange, Halt, Message, Pooled, local_head};

/// Heights above the head up to which the driver is given what the plan delivers.
const PLAN_AHEAD_MAX: u64 = 64;
/// How far below the head a peer's branch is looked for first, and by what that grows.
const BACK_FIRST: u64 = 8;
const BACK_FACTOR: u64 = 4;
/// Most bodies of which it is remembered who gave them.
const GIVERS_MAX: usize = 1_024;

const _: () = assert!(HEADERS_MAX <= HEADERS_PER_ANSWER_MAX, "the engine takes a whole answer");
const _: () = assert!(ASSEMBLIES_MAX >= 2 * VALIDATIONS_MAX, "announced blocks have room beside wanted ones");

/// A question for headers.
struct Asked {
    peer: PeerId,
    from: Height,
    back: u64,
}

/// What the exchange keeps for proof of work.
#[derive(Default)]
pub(super) struct Heaviest {
    asked: BTreeMap<RequestId, Asked>,
    /// Who gave bodies whose signatures were not checked, oldest first.
    givers: VecDeque<(BlockId, PeerId)>,
}

impl<S: KeyValueStore> Exchange<S> {
    /// Gives an announced header to the engine, and says whether to pass it on.
    pub(super) fn take_header(&mut self, from: &PeerId, bytes: Vec<u8>) -> Result<GossipVerdict, Halt> {
        let Some(heads) = &self.core.heads else { return Ok(GossipVerdict::Ignore) };
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Ok(GossipVerdict::Reject);
        }
        let Ok(PowMessage::Header(header)) = borsh::from_slice(&bytes) else {
            return Ok(GossipVerdict::Reject);
        };
        if let Err(reason) = self.check_announced(&header) {
            tracing::debug!(%from, reason, "a peer announced a wrong header");
            return Ok(GossipVerdict::Reject);
        }
        if !self.fits(from, &header)? {
            return Ok(GossipVerdict::Ignore);
        }
        let head = self.core.head.read().height;
        let verdict = if heads.is_news(&header, head) { GossipVerdict::Relay } else { GossipVerdict::Ignore };
        // A full queue drops it; the plan finds the branch by its work.
        let input = Input::Message { from: from.as_bytes().to_vec(), bytes };
        drop(self.core.messages.try_send(Message::Input(input)));
        Ok(verdict)
    }

    /// Says whether an announced header is what its parent demands, or nothing is known of that. It is not held against
    /// who sent it on, who may know less.
    fn fits(&self, from: &PeerId, header: &BlockHeader) -> Result<bool, Halt> {
        let Some(heads) = &self.core.heads else { return Ok(false) };
        let place = heads.check_place(&self.core.chain, header);
        let fits = place.map_err(|error| Halt(error.to_string()))?;
        if let Err(reason) = fits {
            tracing::debug!(%from, reason, "a peer sent on a header that breaks a rule");
        }
        Ok(fits.is_ok())
    }

    fn check_announced(&self, header: &BlockHeader) -> Result<(), &'static str> {
        if header.chain_id != self.core.chain.genesis().chain_id {
            return Err("it is of another chain");
        }
        self.core.heads.as_ref().map_or(Ok(()), |heads| heads.check_work(header))
    }

    /// Completes the body of a block that a peer mined or passed on.
    pub(super) fn mined_announced(
        &mut self,
        now_ms: u64,
        from: &PeerId,
        compact: CompactBlock,
    ) -> Result<GossipVerdict, Halt> {
        let Some(heads) = &self.core.heads else { return Ok(GossipVerdict::Ignore) };
        if !compact.is_consistent() || self.check_announced(&compact.header).is_err() {
            return Ok(GossipVerdict::Reject);
        }
        let head = self.core.head.read().height;
        if !heads.is_news(&compact.header, head) || !self.fits(from, &compact.header)? {
            return Ok(GossipVerdict::Ignore);
        }
        let id = compact.id();
        let stored = self.core.chain.block_height(&id).map_err(|error| Halt(error.to_string()))?;
        if stored.is_none() && self.recent.block(&id).is_none() {
            let pool = Pooled { core: &*self.core };
            let out = self.assemblies.announced(now_ms, from, compact, &pool);
            self.assembled(now_ms, out)?;
        }
        Ok(GossipVerdict::Relay)
    }

    /// Gets a body for the driver, from who announced the block or else from anybody.
    pub(super) fn want_branch(
        &mut self,
        now_ms: u64,
        block: BlockId,
        from: Option<Vec<u8>>,
    ) -> Result<(), Halt> {
        if let Some(known) = self.recent.block(&block) {
            drop(self.core.messages.try_send(Message::Body(Box::new((*known).clone()))));
            return Ok(());
        }
        let first = from.and_then(PeerId::new).filter(|peer| self.peers.contains(peer));
        let others = self.peers.iter().filter(|peer| Some(*peer) != first.as_ref()).cloned();
        let peers: Vec<PeerId> = first.clone().into_iter().chain(others).collect();
        let out = self.assemblies.wanted(now_ms, block, &peers);
        self.assembled(now_ms, out)
    }

    /// Asks a peer for its headers from about where its chain leaves this node's.
    pub(super) fn want_headers(&mut self, from: Vec<u8>) {
        if let Some(peer) = PeerId::new(from) {
            self.ask_headers(peer, BACK_FIRST);
        }
    }

    fn ask_headers(&mut self, peer: PeerId, back: u64) {
        if self.heaviest.asked.values().any(|asked| asked.peer == peer) || !self.peers.contains(&peer) {
            return;
        }
        let head = local_head(&self.core);
        let lowest = head.final_height.next();
        let from = Height::new(head.height.next().get().saturating_sub(back)).max(lowest);
        let id = self.pulls.give();
        self.ask(&peer, id, &Request::Headers { from, count: HEADERS_MAX as u32 });
        self.heaviest.asked.insert(id, Asked { peer, from, back });
    }

    pub(super) fn headers_answered(&mut self, id: RequestId, outcome: Result<Response, RequestFailure>) {
        let Some(Asked { peer, from, back }) = self.heaviest.asked.remove(&id) else { return };
        let lowest = local_head(&self.core).final_height.next();
        let deeper = back.saturating_mul(BACK_FACTOR);
        let headers = match outcome {
            Ok(Response::Headers(headers)) => headers,
            // Its chain ends below, and may be heavier for all that.
            Ok(Response::Unavailable) if from > lowest => return self.ask_headers(peer, deeper),
            Ok(Response::Unavailable) | Err(_) => Vec::new(),
            Ok(_) => return self.network.report(&peer, Offence::Lied),
        };
        if !is_linked(from, &headers) || headers.len() > HEADERS_MAX {
            return self.network.report(&peer, Offence::Lied);
        }
        if let Some(first) = headers.first() {
            let before = Height::new(from.get().saturating_sub(1));
            let fits = Check { core: &*self.core }.id_at(before) == Some(first.header.parent);
            if !fits && from > lowest {
                return self.ask_headers(peer, deeper);
            }
        }
        self.give_headers(&peer, headers.into_iter().map(|one| one.header).collect());
    }

    /// Gives the engine headers; says whether there was room.
    fn give_headers(&self, from: &PeerId, headers: Vec<BlockHeader>) -> bool {
        let input = Input::Pow(PowInput::Headers { from: from.as_bytes().to_vec(), headers });
        self.core.messages.try_send(Message::Input(input)).is_ok()
    }

    /// Gives the driver what the plan delivered: the body, so that it is there when it is wanted, and the header.
    pub(super) fn give_branch(&mut self, now_ms: u64) -> Result<(), Halt> {
        while let Some(next) = self.delivered.front() {
            let head = self.core.head.read().height;
            if next.certified.header.height.get() > head.get().saturating_add(PLAN_AHEAD_MAX) {
                return Ok(());
            }
            let header = next.certified.header.clone();
            let block = Block { header: header.clone(), transactions: next.transactions.clone() };
            let (id, header_from) = (next.id, next.header_from.clone());
            if self.core.messages.try_send(Message::Body(Box::new(block))).is_err()
                || !self.give_headers(&header_from, vec![header])
            {
                // Tried again with the next event or tick.
                return Ok(());
            }
            if let Some(given) = self.delivered.pop_front() {
                self.heaviest.givers.push_back((id, given.body_from));
                while self.heaviest.givers.len() > GIVERS_MAX {
                    self.heaviest.givers.pop_front();
                }
            }
            let own = self.own_status();
            for output in self.blocks.stored(now_ms, &id, &own) {
                match output {
                    SyncOutput::Deliver(block) => self.keep_delivered(*block),
                    SyncOutput::Ask { peer, id, request } => self.ask(&peer, id, &request),
                    SyncOutput::Report { peer, offence } => self.network.report(&peer, offence),
                    SyncOutput::OtherChain { .. } => {}
                }
            }
        }
        Ok(())
    }

    /// The chain's head is another one.
    pub(super) fn moved(&mut self, now_ms: u64) -> Result<(), Halt> {
        let head = local_head(&self.core);
        self.recent.decided(head.final_height);
        self.assemblies.decided(head.final_height);
        let own = self.own_status();
        let out = self.blocks.moved(now_ms, head, &own);
        self.synced(now_ms, out)
    }

    /// Holds a wrong body against who gave it. The block may be right.
    pub(super) fn bad_body(&mut self, block: &BlockId) {
        self.recent.forget(block);
        let at = self.heaviest.givers.iter().position(|(id, _)| id == block);
        if let Some((_, peer)) = at.and_then(|at| self.heaviest.givers.remove(at)) {
            tracing::debug!(%peer, %block, "a peer gave a wrong body");
            self.network.report(&peer, Offence::Invalid);
        }
    }

    /// Holds a wrong header against who gave it as one of its chain.
    pub(super) fn blame(&mut self, now_ms: u64, peer: Vec<u8>, reason: &str) -> Result<(), Halt> {
        let Some(peer) = PeerId::new(peer) else { return Ok(()) };
        tracing::debug!(%peer, reason, "a peer sent what no honest node sends");
        self.delivered.retain(|one| one.header_from != peer);
        let own = self.own_status();
        let out = self.blocks.doubted(now_ms, &peer, &own);
        self.synced(now_ms, out)
    }

    /// Says how far behind this node is. Under proof of work somebody is a block ahead every now and then.
    pub(super) fn progress(&self) -> Option<SyncProgress> {
        let progress = self.blocks.progress()?;
        let near = self.core.heads.is_some() && progress.target <= progress.head.next();
        (!near).then_some(progress)
    }
}

/// Says whether headers begin at a height and follow each other.
fn is_linked(from: Height, headers: &[CertifiedHeader]) -> bool {
    let starts = headers.first().is_none_or(|first| first.header.height == from);
    let follows = |pair: &[CertifiedHeader]| {
        pair[1].header.parent == pair[0].header.id() && pair[1].header.height == pair[0].header.height.next()
    };
    starts && headers.windows(2).all(follows)
}
