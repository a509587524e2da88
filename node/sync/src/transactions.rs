//! Spreads transactions: announces what was submitted here, fetches what others announce, and compares pools now
//! and then, so that a node whose mesh is broken still gets them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use purlin_primitives::{Transaction, TransactionId, VerifiedTransaction};

use crate::limits::{GOSSIP_TRANSACTIONS_MAX, TRANSACTION_IDS_MAX};
use crate::message::{EncodedTransaction, Request, Response, TransactionGossip};
use crate::network::{Offence, PeerId, RequestFailure, RequestId, Topic};
use crate::requests::{Planner, RequestIds};

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
        /// None of them was seen before.
        transactions: Vec<Transaction>,
        /// What came with them and was seen before, though maybe with another signature: a gossip is fit to be passed
        /// on only when these are right too.
        known: Vec<Transaction>,
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
    set: BTreeSet<TransactionId>,
    order: VecDeque<TransactionId>,
}

impl Memory {
    /// Says whether it is new.
    fn insert(&mut self, id: TransactionId) -> bool {
        if !self.set.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        true
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
    wanted: BTreeMap<TransactionId, Vec<PeerId>>,
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
            wanted: BTreeMap::new(),
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
        self.drop_holder(peer, |_| true);
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
        let room = self.waiting.len() + self.waiting_ids.len() < WAITING_MAX;
        if self.seen.insert(id) && origin == Origin::Client && room && !self.refused.set.contains(&id) {
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
    }

    /// The pool has no room or cannot take it yet, or this copy was forged: it may come again.
    pub fn postponed(&mut self, id: TransactionId) {
        if self.seen.set.remove(&id) {
            self.seen.order.retain(|other| *other != id);
        }
    }

    /// A peer sent on what was gossiped. The verdict is up to what becomes of the transactions: nothing given out
    /// means that nothing was new.
    pub fn gossiped(&mut self, now_ms: u64, from: &PeerId, gossip: TransactionGossip) -> Vec<RelayOutput> {
        match gossip {
            TransactionGossip::Whole(list) => self.give_out(from, &list, None),
            TransactionGossip::Ids(ids) => ids.into_iter().for_each(|id| self.want(id, from)),
        }
        self.finish(now_ms)
    }

    /// Says whether one of these was neither seen nor refused here.
    pub fn has_new(&self, ids: &[TransactionId]) -> bool {
        ids.iter().any(|id| !self.seen.set.contains(id) && !self.refused.set.contains(id))
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
        self.finish(now_ms)
    }

    /// Returns how many wait to be announced, and how many to be fetched.
    pub fn held(&self) -> (usize, usize) {
        (self.waiting.len() + self.waiting_ids.len(), self.wanted.len())
    }

    fn report(&mut self, peer: &PeerId, offence: Offence) {
        self.out.push(RelayOutput::Report { peer: peer.clone(), offence });
    }

    fn want(&mut self, id: TransactionId, holder: &PeerId) {
        if self.seen.set.contains(&id) || self.refused.set.contains(&id) || !self.peers.contains_key(holder) {
            return;
        }
        if self.wanted.len() >= WANTED_MAX && !self.wanted.contains_key(&id) {
            return;
        }
        let holders = self.wanted.entry(id).or_default();
        if holders.len() < HOLDERS_MAX && !holders.contains(holder) {
            holders.push(holder.clone());
        }
    }

    /// Gives out what was not seen. Asked-for ones must be among `asked`.
    fn give_out(&mut self, from: &PeerId, list: &[EncodedTransaction], asked: Option<&[TransactionId]>) {
        // All before any is marked as seen: what comes with garbage must be able to come again.
        let Ok(list) = list.iter().map(EncodedTransaction::decode).collect::<Result<Vec<_>, _>>() else {
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
            let new = !self.refused.set.contains(&id) && self.seen.insert(id);
            if new { &mut transactions } else { &mut known }.push(transaction);
        }
        if !transactions.is_empty() {
            self.out.push(RelayOutput::Admit { from: from.clone(), transactions, known });
        }
    }

    fn drop_holder(&mut self, peer: &PeerId, which: impl Fn(&TransactionId) -> bool) {
        self.wanted.retain(|id, holders| {
            if which(id) {
                holders.retain(|other| other != peer);
            }
            !holders.is_empty()
        });
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
                self.give_out(&peer, &list, Some(&ids));
                // A part of them may be all that fitted; an answer without any means that the rest is gone.
                if whole {
                    self.drop_holder(&peer, |id| ids.contains(id));
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
                self.drop_holder(&peer, |id| ids.contains(id));
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
        let refused = &self.refused.set;
        self.waiting_ids.retain(|id| !refused.contains(id));
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
                let has = |(_, holders): &(&TransactionId, &Vec<PeerId>)| holders.first() == Some(id);
                let ids: Vec<TransactionId> =
                    self.wanted.iter().filter(has).map(|(id, _)| *id).take(IDS_PER_REQUEST).collect();
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
