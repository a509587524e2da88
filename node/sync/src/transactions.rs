//! Spreads transactions: announces what was submitted here, fetches what others announce, and compares pools now
//! and then, so that a node whose mesh is broken still gets them.

mod announced;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use purlin_primitives::{Transaction, TransactionId, VerifiedTransaction};

use crate::limits::{GOSSIP_TRANSACTIONS_MAX, TRANSACTION_IDS_MAX};
use crate::message::{EncodedTransaction, Request, Response, TransactionGossip};
use crate::network::{GossipId, GossipVerdict, Offence, PeerId, RequestFailure, RequestId, Topic};
use crate::requests::{Planner, RequestIds};
use announced::Announced;
use wanted::Wanted;

/// Largest transaction that is gossiped whole, in bytes; of larger ones the id.
pub const WHOLE_BYTES_MAX: usize = 32 * 1024;
/// Bytes at which a batch is sent.
pub const BATCH_BYTES: usize = 64 * 1024;
/// Time that a transaction waits for others to be sent with, in milliseconds.
pub const BATCH_MS: u64 = 20;
/// Most transactions that wait to be announced; further ones are left to the digests.
pub const WAITING_MAX: usize = 16_384;
/// Most ids remembered as refused, and separately as seen. The oldest are forgotten.
pub const REMEMBERED_MAX: usize = 65_536;
/// Most transactions that are to be fetched; further announcements are left to the digests.
pub const WANTED_MAX: usize = 16_384;
/// Most peers remembered as having one of them.
pub const HOLDERS_MAX: usize = 4;
/// Time between two looks into a peer's pool, in milliseconds.
pub const DIGEST_INTERVAL_MS: u64 = 15_000;
/// Most peers that are looked at.
pub const RELAY_PEERS_MAX: usize = 256;
/// Time after which an answer is no longer waited for, in milliseconds.
pub const FETCH_TIMEOUT_MS: u64 = 10_000;
/// Most ids in one request for transactions.
const IDS_PER_REQUEST: usize = 256;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayOutput {
    /// Gossip it.
    Publish(TransactionGossip),
    /// Ask a peer.
    Ask {
        /// Whom.
        peer: PeerId,
        /// For the answer.
        id: RequestId,
        /// What.
        request: Request,
    },
    /// Verify and admit these, and say what became of each by [`TransactionRelay::admitted`],
    /// [`TransactionRelay::refused`] or [`TransactionRelay::postponed`]. Their signatures were not checked.
    Admit {
        /// Who sent them.
        from: PeerId,
        /// The gossip that they came in, whose verdict is up to what becomes of them.
        gossip: Option<GossipId>,
        /// None of them was seen before.
        transactions: Vec<Transaction>,
        /// What came with them and was seen before, though maybe with another signature: a gossip is fit to be passed
        /// on only when these are right too.
        known: Vec<Transaction>,
    },
    /// Say what to do with a gossip.
    Judge {
        /// Which.
        gossip: GossipId,
        /// What.
        verdict: GossipVerdict,
    },
    /// Hold something against a peer.
    Report {
        /// Whom.
        peer: PeerId,
        /// What.
        offence: Offence,
    },
}

/// Where an admitted transaction came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client of this node: it is announced.
    Client,
    /// A peer: gossip has spread it already, or digests will.
    Peer,
}

/// Ids, of which the oldest are forgotten.
#[derive(Debug, Default)]
struct Memory {
    ages: BTreeMap<TransactionId, u64>,
    by_age: BTreeMap<u64, TransactionId>,
    count: u64,
}

impl Memory {
    /// Says whether it is new.
    fn insert(&mut self, id: TransactionId) -> bool {
        if self.contains(&id) {
            return false;
        }
        self.count += 1;
        self.ages.insert(id, self.count);
        self.by_age.insert(self.count, id);
        if self.ages.len() > REMEMBERED_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.ages.remove(&oldest);
        }
        true
    }

    fn remove(&mut self, id: &TransactionId) {
        if let Some(age) = self.ages.remove(id) {
            self.by_age.remove(&age);
        }
    }

    fn contains(&self, id: &TransactionId) -> bool {
        self.ages.contains_key(id)
    }
}

#[derive(Debug, Default)]
struct RelayPeer {
    digest_due_ms: u64,
    /// Where the next digest goes on.
    cursor: TransactionId,
    fetching: bool,
}

#[derive(Debug)]
struct Fetch {
    peer: PeerId,
    at_ms: u64,
    /// `None` for a digest.
    ids: Option<Vec<TransactionId>>,
}

/// Spreads transactions. Pure; `now_ms` is a clock that does not go back. [`TransactionRelay::tick`] is to be called
/// every [`BATCH_MS`] while something waits, and a few times a second otherwise.
#[derive(Debug)]
pub struct TransactionRelay {
    peers: BTreeMap<PeerId, RelayPeer>,
    /// Given out for admission, or admitted: not asked for and not given out again.
    seen: Memory,
    /// Never announced, fetched or given out.
    refused: Memory,
    waiting: Vec<EncodedTransaction>,
    waiting_bytes: usize,
    waiting_ids: Vec<TransactionId>,
    waiting_since_ms: Option<u64>,
    wanted: Wanted,
    announced: Announced,
    fetches: BTreeMap<RequestId, Fetch>,
    requests: RequestIds,
    out: Vec<RelayOutput>,
}

impl Default for TransactionRelay {
    fn default() -> Self {
        Self::new()
    }
}

impl TransactionRelay {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self {
            peers: BTreeMap::new(),
            seen: Memory::default(),
            refused: Memory::default(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            waiting_ids: Vec::new(),
            waiting_since_ms: None,
            wanted: Wanted::default(),
            announced: Announced::default(),
            fetches: BTreeMap::new(),
            requests: RequestIds::new(Planner::Transactions),
            out: Vec::new(),
        }
    }

    /// A peer can be talked to; its pool is looked into.
    pub fn connected(&mut self, now_ms: u64, peer: PeerId) -> Vec<RelayOutput> {
        if self.peers.len() < RELAY_PEERS_MAX {
            self.peers.entry(peer).or_default();
        }
        self.finish(now_ms)
    }

    /// A peer is gone.
    pub fn disconnected(&mut self, now_ms: u64, peer: &PeerId) -> Vec<RelayOutput> {
        self.peers.remove(peer);
        self.fetches.retain(|_, fetch| fetch.peer != *peer);
        for id in self.wanted.gone(peer) {
            self.give_up(&id);
        }
        self.finish(now_ms)
    }

    /// The pool took a transaction.
    pub fn admitted(
        &mut self,
        now_ms: u64,
        transaction: &VerifiedTransaction,
        origin: Origin,
    ) -> Vec<RelayOutput> {
        let id = transaction.id();
        self.wanted.remove(&id);
        let complete = self.announced.arrived(&id);
        self.judge(complete, GossipVerdict::Relay);
        let room = self.waiting.len() + self.waiting_ids.len() < WAITING_MAX;
        if self.seen.insert(id) && origin == Origin::Client && room && !self.refused.contains(&id) {
            self.waiting_since_ms.get_or_insert(now_ms);
            if transaction.size_bytes() <= WHOLE_BYTES_MAX {
                let encoded = EncodedTransaction::new(transaction.transaction());
                self.waiting_bytes += encoded.size_bytes();
                self.waiting.push(encoded);
            } else {
                self.waiting_ids.push(id);
            }
        }
        self.finish(now_ms)
    }

    /// The pool will never take a transaction: it expired, or its nonce is used.
    pub fn refused(&mut self, id: TransactionId) {
        self.wanted.remove(&id);
        self.refused.insert(id);
        self.give_up(&id);
    }

    /// The pool has no room or cannot take it yet, or this copy was forged: it may come again.
    pub fn postponed(&mut self, id: TransactionId) {
        self.seen.remove(&id);
        self.give_up(&id);
    }

    /// A peer sent on what was gossiped. Exactly one verdict follows, now or later: by [`RelayOutput::Judge`], or by
    /// whoever carries out [`RelayOutput::Admit`]. Ids are passed on when all that they name was admitted here, so that
    /// made-up ones go no further than one node.
    pub fn gossiped(
        &mut self,
        now_ms: u64,
        from: &PeerId,
        id: GossipId,
        gossip: TransactionGossip,
    ) -> Vec<RelayOutput> {
        match gossip {
            TransactionGossip::Whole(list) => self.give_out(from, Some(id), &list, None),
            TransactionGossip::Ids(ids) => {
                let missing: BTreeSet<TransactionId> =
                    ids.into_iter().filter(|id| !self.seen.contains(id)).collect();
                let useless = missing.iter().any(|id| self.refused.contains(id));
                for one in &missing {
                    self.want(*one, from);
                }
                // Known ones were passed on when they came.
                let dropped = if missing.is_empty() || useless || !self.peers.contains_key(from) {
                    Some(id)
                } else {
                    self.announced.keep(now_ms, id, missing)
                };
                self.judge(dropped, GossipVerdict::Ignore);
            }
        }
        self.finish(now_ms)
    }

    /// A request of this planner ended; see [`Planner::of`].
    pub fn answered(
        &mut self,
        now_ms: u64,
        id: RequestId,
        outcome: Result<Response, RequestFailure>,
    ) -> Vec<RelayOutput> {
        if let Some(fetch) = self.fetches.remove(&id) {
            self.take_answer(now_ms, fetch, outcome);
        }
        self.finish(now_ms)
    }

    /// Time passes.
    pub fn tick(&mut self, now_ms: u64) -> Vec<RelayOutput> {
        let late = |fetch: &Fetch| now_ms >= fetch.at_ms.saturating_add(FETCH_TIMEOUT_MS);
        let ids: Vec<RequestId> =
            self.fetches.iter().filter(|(_, fetch)| late(fetch)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(fetch) = self.fetches.remove(&id) {
                self.take_answer(now_ms, fetch, Err(RequestFailure::Timeout));
            }
        }
        let late = self.announced.expire(now_ms);
        self.judge(late, GossipVerdict::Ignore);
        self.finish(now_ms)
    }

    /// Returns how many wait to be announced, and how many to be fetched.
    pub fn held(&self) -> (usize, usize) {
        (self.waiting.len() + self.waiting_ids.len(), self.wanted.len())
    }

    fn judge(&mut self, gossips: impl IntoIterator<Item = GossipId>, verdict: GossipVerdict) {
        self.out.extend(gossips.into_iter().map(|gossip| RelayOutput::Judge { gossip, verdict }));
    }

    /// A transaction does not come, or not now: whatever named it is not passed on.
    fn give_up(&mut self, id: &TransactionId) {
        let failed = self.announced.failed(id);
        self.judge(failed, GossipVerdict::Ignore);
    }

    fn report(&mut self, peer: &PeerId, offence: Offence) {
        self.out.push(RelayOutput::Report { peer: peer.clone(), offence });
    }

    fn want(&mut self, id: TransactionId, holder: &PeerId) {
        let known = self.seen.contains(&id) || self.refused.contains(&id);
        if !known && self.peers.contains_key(holder) {
            self.wanted.add(id, holder);
        }
    }

    /// A peer does not have these after all.
    fn lacks(&mut self, peer: &PeerId, ids: &[TransactionId]) {
        for id in ids {
            if self.wanted.lacks(peer, id) {
                self.give_up(id);
            }
        }
    }

    /// Gives out what was not seen. Asked-for ones must be among `asked`.
    fn give_out(
        &mut self,
        from: &PeerId,
        gossip: Option<GossipId>,
        list: &[EncodedTransaction],
        asked: Option<&[TransactionId]>,
    ) {
        // All before any is marked as seen: what comes with garbage must be able to come again.
        let Ok(list) = list.iter().map(EncodedTransaction::decode).collect::<Result<Vec<_>, _>>() else {
            self.judge(gossip, GossipVerdict::Ignore);
            return self.report(from, Offence::Malformed);
        };
        let (mut transactions, mut known) = (Vec::new(), Vec::new());
        for transaction in list {
            let id = transaction.body.id();
            if asked.is_some_and(|asked| !asked.contains(&id)) {
                self.report(from, Offence::Lied);
                break;
            }
            self.wanted.remove(&id);
            let new = !self.refused.contains(&id) && self.seen.insert(id);
            if new { &mut transactions } else { &mut known }.push(transaction);
        }
        if transactions.is_empty() {
            return self.judge(gossip, GossipVerdict::Ignore);
        }
        self.out.push(RelayOutput::Admit { from: from.clone(), gossip, transactions, known });
    }

    fn take_answer(&mut self, now_ms: u64, fetch: Fetch, outcome: Result<Response, RequestFailure>) {
        let Fetch { peer, ids, .. } = fetch;
        if ids.is_some()
            && let Some(peer) = self.peers.get_mut(&peer)
        {
            peer.fetching = false;
        }
        match (ids, outcome) {
            (Some(ids), Ok(Response::Transactions(list))) => {
                let whole = list.is_empty() || list.len() == ids.len();
                self.give_out(&peer, None, &list, Some(&ids));
                // A part of them may be all that fitted; an answer without any means that the rest is gone.
                if whole {
                    self.lacks(&peer, &ids);
                }
            }
            (None, Ok(Response::PoolDigest { ids, next })) => {
                if !ids.is_sorted_by(|a, b| a < b) {
                    return self.report(&peer, Offence::Malformed);
                }
                for id in ids {
                    self.want(id, &peer);
                }
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.cursor = next.unwrap_or(TransactionId::ZERO);
                    known.digest_due_ms = now_ms.saturating_add(DIGEST_INTERVAL_MS);
                }
            }
            (Some(ids), Err(_) | Ok(Response::Unavailable)) => {
                self.lacks(&peer, &ids);
            }
            (None, Err(_) | Ok(Response::Unavailable)) => {}
            (_, Ok(_)) => self.report(&peer, Offence::Lied),
        }
    }

    /// Ends every input: announces what is due, fetches, looks into pools.
    fn finish(&mut self, now_ms: u64) -> Vec<RelayOutput> {
        let due = self.waiting_since_ms.is_some_and(|since| now_ms >= since.saturating_add(BATCH_MS));
        let full = self.waiting_bytes >= BATCH_BYTES
            || self.waiting.len() >= GOSSIP_TRANSACTIONS_MAX
            || self.waiting_ids.len() >= TRANSACTION_IDS_MAX;
        if due || full {
            self.publish();
        }
        self.look_and_fetch(now_ms);
        std::mem::take(&mut self.out)
    }

    fn publish(&mut self) {
        self.waiting_since_ms = None;
        self.waiting_bytes = 0;
        self.waiting_ids.retain(|id| !self.refused.contains(id));
        for ids in self.waiting_ids.chunks(TRANSACTION_IDS_MAX) {
            self.out.push(RelayOutput::Publish(TransactionGossip::Ids(ids.to_vec())));
        }
        self.waiting_ids.clear();
        let mut batch: Vec<EncodedTransaction> = Vec::new();
        let mut bytes = 0;
        for encoded in std::mem::take(&mut self.waiting) {
            let room = Topic::Transactions.bytes_max() / 2;
            if bytes + encoded.size_bytes() > room || batch.len() == GOSSIP_TRANSACTIONS_MAX {
                let whole = TransactionGossip::Whole(std::mem::take(&mut batch));
                self.out.push(RelayOutput::Publish(whole));
                bytes = 0;
            }
            bytes += encoded.size_bytes();
            batch.push(encoded);
        }
        if !batch.is_empty() {
            self.out.push(RelayOutput::Publish(TransactionGossip::Whole(batch)));
        }
    }

    fn look_and_fetch(&mut self, now_ms: u64) {
        let mut asks = Vec::new();
        for (id, peer) in &mut self.peers {
            if now_ms >= peer.digest_due_ms {
                // Also when the answer is lost.
                peer.digest_due_ms = now_ms.saturating_add(DIGEST_INTERVAL_MS);
                asks.push((id.clone(), None, Request::PoolDigest { from: peer.cursor }));
            }
            if !peer.fetching {
                let ids = self.wanted.next_of(id, IDS_PER_REQUEST);
                if !ids.is_empty() {
                    peer.fetching = true;
                    asks.push((id.clone(), Some(ids.clone()), Request::Transactions { ids }));
                }
            }
        }
        for (peer, ids, request) in asks {
            let id = self.requests.give();
            self.fetches.insert(id, Fetch { peer: peer.clone(), at_ms: now_ms, ids });
            self.out.push(RelayOutput::Ask { peer, id, request });
        }
    }
}

#[cfg(test)]
mod tests;
