//! Plans how a node catches up: whom to ask for which headers and bodies, whom to believe, what to apply next.
//!
//! Headers come first, from one peer at a time, and bodies from several in parallel, by block id, so that an
//! answer is right or wrong by itself. Blocks leave in order of height, as [`SyncOutput::Deliver`]. Nothing is kept
//! over a restart but the chain: a plan starts from its head.
//!
//! Under [`SyncRule::Certified`] headers form one chain by their parents' ids, so one good certificate shows all the
//! headers before it. Where the validators are not known yet, because blocks before would change them, headers
//! are taken unverified, within [`HEADERS_AHEAD_MAX`], and whoever applies the block checks its certificate;
//! [`BlockSync::refused`] then blames the one who sent it.

mod answers;
mod peers;
mod plan;

use std::collections::{BTreeMap, VecDeque};

use purlin_primitives::{
    BlockHeader, BlockId, Certificate, ChainId, Hash32, Height, Transaction, TransactionId,
};

use crate::message::{CertifiedHeader, Request, Response, Status};
use crate::network::{Offence, PeerId, RequestFailure, RequestId};
use crate::requests::{Planner, RequestIds};
use answers::Asked;
use peers::Peer;

/// Most headers held that are not applied yet; with full certificates they are 13 MB.
pub const HEADERS_AHEAD_MAX: usize = 512;
/// Most bytes of bodies that wait for an earlier one; past it only the earliest is asked for.
pub const BUFFER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most blocks handed over and not answered for.
pub const DELIVERED_MAX: usize = 8;
/// Most requests for bodies under way; each may bring [`crate::limits::RESPONSE_BYTES_MAX`].
pub const BODY_REQUESTS_MAX: usize = 8;
/// Most requests for bodies under way to one peer.
pub const BODY_REQUESTS_PER_PEER_MAX: usize = 2;
/// Most blocks in one request for bodies.
pub const BODIES_PER_REQUEST_MAX: usize = 64;
/// Most peers that are looked at; later ones are not asked.
pub const PEERS_MAX: usize = 256;
/// Time after which a request counts as failed, in milliseconds. The network has its own limit.
pub const REQUEST_TIMEOUT_MS: u64 = 10_000;
/// Time after which headers, and the block that all others wait for, are asked of a second peer as well, in
/// milliseconds.
pub const HEDGE_MS: u64 = 2_000;
/// Time between two questions where a peer is, in milliseconds.
pub const STATUS_INTERVAL_MS: u64 = 10_000;
/// Least time between two such questions, in milliseconds.
pub const STATUS_INTERVAL_MS_MIN: u64 = 1_000;
/// Time that the node may be one block behind before it asks: gossip is usually quicker, in milliseconds.
pub const GRACE_MS: u64 = 1_000;
/// Time during which no headers are taken from somebody whose headers were wrong, in milliseconds.
pub const EXCLUSION_MS: u64 = 60_000;

/// What makes one chain better than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncRule {
    /// Proof of stake: a certified block is final, the longer chain extends the shorter one.
    Certified,
    /// Proof of work: the branch with more work, which may leave this node's below its head.
    Heaviest,
}

/// What does not change during the life of a plan.
#[derive(Debug, Clone)]
pub struct BlockSyncOptions {
    /// Which chain.
    pub chain_id: ChainId,
    /// Its genesis.
    pub genesis: BlockId,
    /// Which chain is better.
    pub rule: SyncRule,
    /// Most bytes of a block's transactions.
    pub block_bytes_max: usize,
}

/// Where this node's chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalHead {
    /// Height of the last block.
    pub height: Height,
    /// Its id.
    pub id: BlockId,
    /// Work of the chain, big-endian; zero under [`SyncRule::Certified`].
    pub work: [u8; 32],
    /// Last height that cannot be reverted.
    pub final_height: Height,
}

/// What a check of a header showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// It is right.
    Verified,
    /// Who may sign it is known only after blocks before it.
    Later,
}

/// Says what is wrong with a header or its certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct HeaderFault {
    /// For people.
    pub reason: String,
}

/// Knows the rules of the chain and the part of it that is here.
pub trait HeaderCheck {
    /// Checks certificate or work. That headers follow each other and that certificates are about them was checked
    /// before. Under [`SyncRule::Certified`] only the last header of an answer is asked about.
    fn check(
        &mut self,
        header: &BlockHeader,
        certificate: Option<&Certificate>,
    ) -> Result<Checked, HeaderFault>;

    /// Returns the id of the block of this node's chain, the genesis id for 0.
    fn id_at(&self, height: Height) -> Option<BlockId>;
}

/// A block whose transactions are those that its header commits to. Signatures of transactions, and a certificate
/// that could not be checked yet, are unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncedBlock {
    /// The block's id.
    pub id: BlockId,
    /// Header and certificate.
    pub certified: CertifiedHeader,
    /// In order.
    pub transactions: Vec<Transaction>,
    /// Who sent the header, and answers for it once it is [`BlockSync::stored`].
    pub header_from: PeerId,
    /// Who sent the transactions.
    pub body_from: PeerId,
}

/// What a driver has against a block that was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Header or certificate are wrong: whoever sent the header is at fault.
    Header,
    /// A transaction's signature is wrong, which ids do not cover: whoever sent the body is at fault.
    Body,
}

/// What a plan wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncOutput {
    /// Ask a peer.
    Ask {
        /// Whom.
        peer: PeerId,
        /// For the answer.
        id: RequestId,
        /// What.
        request: Request,
    },
    /// Apply a block; its parent was delivered or applied before. Answer with [`BlockSync::moved`],
    /// [`BlockSync::stored`] or [`BlockSync::refused`]. After a refusal, blocks delivered on top of the refused one
    /// are to be ignored: they, or others in their place, are delivered again. So are blocks applied already.
    Deliver(Box<SyncedBlock>),
    /// Hold something against a peer.
    Report {
        /// Whom.
        peer: PeerId,
        /// What.
        offence: Offence,
    },
    /// A peer is on another chain; there is nothing to say to it.
    OtherChain {
        /// Who.
        peer: PeerId,
        /// Its genesis.
        genesis: BlockId,
    },
}

/// How far a plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncProgress {
    /// Where it started from.
    pub from: Height,
    /// Where the node is.
    pub head: Height,
    /// Where others say they are.
    pub target: Height,
}

/// A header on the way to being applied.
#[derive(Debug)]
struct Slot {
    id: BlockId,
    certified: CertifiedHeader,
    /// Who sent the header.
    source: PeerId,
    checked: Checked,
    body: Body,
    /// Who said that it does not have the body.
    without: Vec<PeerId>,
}

impl Slot {
    fn height(&self) -> Height {
        self.certified.header.height
    }
}

#[derive(Debug)]
enum Body {
    /// Nobody was asked.
    Wanted,
    /// Somebody was.
    Asked { id: RequestId, at_ms: u64 },
    /// The whole of it.
    Ready { from: PeerId, transactions: Vec<Transaction>, bytes: usize },
    /// Handed over.
    Delivered { from: PeerId },
}

/// Transactions of a block that did not fit into one answer.
#[derive(Debug, Default)]
struct Partial {
    transactions: Vec<Transaction>,
    ids: Vec<TransactionId>,
    bytes: usize,
}

/// Plans how a node catches up. Pure: answers, statuses and time in, [`SyncOutput`]s out.
///
/// `now_ms` is a clock that does not go back, from any start. [`BlockSync::tick`] is to be called a few times a
/// second.
#[derive(Debug)]
pub struct BlockSync {
    options: BlockSyncOptions,
    head: LocalHead,
    /// What the first slot stands on: the head, or where a heavier branch leaves this node's chain.
    base: (Height, BlockId),
    slots: VecDeque<Slot>,
    peers: BTreeMap<PeerId, Peer>,
    asked: BTreeMap<RequestId, Asked>,
    ids: RequestIds,
    /// Of bodies in slots and of partial ones.
    buffered_bytes: usize,
    /// Since when somebody is better.
    behind_since_ms: Option<u64>,
    started_from: Height,
    /// Counts uses of peers, so that the one used longest ago is asked next.
    uses: u64,
    no_transactions_root: Hash32,
    out: Vec<SyncOutput>,
}

impl BlockSync {
    /// Starts from where the chain is.
    pub fn new(options: BlockSyncOptions, head: LocalHead) -> Self {
        Self {
            options,
            head,
            base: (head.height, head.id),
            slots: VecDeque::new(),
            peers: BTreeMap::new(),
            asked: BTreeMap::new(),
            ids: RequestIds::new(Planner::Blocks),
            buffered_bytes: 0,
            behind_since_ms: None,
            started_from: head.height,
            uses: 0,
            no_transactions_root: purlin_primitives::Block::transactions_root(&[]),
            out: Vec::new(),
        }
    }

    /// A peer can be talked to.
    pub fn connected(&mut self, now_ms: u64, peer: PeerId, own: &Status) -> Vec<SyncOutput> {
        if self.peers.len() < PEERS_MAX {
            self.peers.entry(peer).or_default();
        }
        self.finish(now_ms, own)
    }

    /// A peer is gone. Its requests fail by themselves; see [`crate::NetworkEvent::Disconnected`].
    pub fn disconnected(&mut self, now_ms: u64, peer: &PeerId, own: &Status) -> Vec<SyncOutput> {
        self.peers.remove(peer);
        let lost: Vec<RequestId> =
            self.asked.iter().filter(|(_, asked)| asked.peer == *peer).map(|(id, _)| *id).collect();
        lost.into_iter().for_each(|id| drop(self.take_back(id)));
        self.slots.iter_mut().for_each(|slot| slot.without.retain(|other| other != peer));
        self.finish(now_ms, own)
    }

    /// A peer asked where this node is, and said where it is itself.
    pub fn told(&mut self, now_ms: u64, peer: &PeerId, status: Status, own: &Status) -> Vec<SyncOutput> {
        self.note_status(now_ms, peer, status);
        self.finish(now_ms, own)
    }

    /// A peer sent on that a block is final, or showed otherwise that the block is there. It may not have it yet, so it
    /// is asked where it is.
    pub fn announced(&mut self, now_ms: u64, peer: &PeerId, height: Height, own: &Status) -> Vec<SyncOutput> {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.hint = peer.hint.max(height);
        }
        self.finish(now_ms, own)
    }

    /// A request of this plan ended; see [`Planner::of`]. Bytes that are no response are
    /// [`RequestFailure::Protocol`].
    pub fn answered(
        &mut self,
        now_ms: u64,
        id: RequestId,
        outcome: Result<Response, RequestFailure>,
        check: &mut dyn HeaderCheck,
        own: &Status,
    ) -> Vec<SyncOutput> {
        self.take_answer(now_ms, id, outcome, check);
        self.finish(now_ms, own)
    }

    /// The chain's head is another one, whether by a delivered block or otherwise.
    pub fn moved(&mut self, now_ms: u64, head: LocalHead, own: &Status) -> Vec<SyncOutput> {
        self.head = head;
        match self.options.rule {
            SyncRule::Certified => {
                while let Some(slot) = self.slots.front()
                    && slot.height() <= head.height
                {
                    let wrong = slot.height() == head.height && slot.id != head.id;
                    self.pop_front();
                    if wrong {
                        self.drop_from(0);
                    }
                }
                self.base = (head.height, head.id);
                let follows = |slot: &Slot| slot.certified.header.parent == head.id;
                if !self.slots.front().is_none_or(follows) {
                    self.drop_from(0);
                }
            }
            SyncRule::Heaviest if self.slots.is_empty() => self.base = (head.height, head.id),
            SyncRule::Heaviest => {}
        }
        self.finish(now_ms, own)
    }

    /// A delivered block is kept, though the head may be on another branch still; only under
    /// [`SyncRule::Heaviest`].
    pub fn stored(&mut self, now_ms: u64, block: &BlockId, own: &Status) -> Vec<SyncOutput> {
        if let Some(slot) = self.slots.front()
            && slot.id == *block
        {
            self.base = (slot.height(), slot.id);
            self.pop_front();
        }
        self.finish(now_ms, own)
    }

    /// A delivered block is wrong.
    pub fn refused(
        &mut self,
        now_ms: u64,
        block: &BlockId,
        refusal: Refusal,
        own: &Status,
    ) -> Vec<SyncOutput> {
        if let Some(at) = self.slots.iter().position(|slot| slot.id == *block) {
            match (refusal, &self.slots[at].body) {
                (Refusal::Body, Body::Delivered { from }) => {
                    let from = from.clone();
                    self.report(&from, Offence::Invalid);
                    self.slots[at].without.push(from);
                    self.slots[at].body = Body::Wanted;
                    // What was delivered after it stands on it and is delivered again.
                    self.rewind(at + 1);
                }
                (Refusal::Body, _) => {}
                (Refusal::Header, _) => {
                    let source = self.slots[at].source.clone();
                    self.drop_from(at);
                    self.distrust(now_ms, &source, Offence::Invalid);
                }
            }
        }
        self.finish(now_ms, own)
    }

    /// A header is wrong that is not here any more, because it was [`BlockSync::stored`].
    pub fn doubted(&mut self, now_ms: u64, peer: &PeerId, own: &Status) -> Vec<SyncOutput> {
        self.distrust(now_ms, peer, Offence::Invalid);
        if self.slots.is_empty() {
            // What was stored last may be of the branch that is doubted.
            self.base = (self.head.height, self.head.id);
        }
        self.finish(now_ms, own)
    }

    /// Time passes.
    pub fn tick(&mut self, now_ms: u64, own: &Status) -> Vec<SyncOutput> {
        self.finish(now_ms, own)
    }

    /// Says how far it is; `None` when nobody is known to be ahead.
    pub fn progress(&self) -> Option<SyncProgress> {
        let held = self.slots.back().map(Slot::height);
        let counts = |peer: &&Peer| self.is_better(peer) && !self.is_boast(peer);
        let claimed = self.peers.values().filter(counts).map(|peer| peer.claimed);
        let target = held.into_iter().chain(claimed).max()?;
        (target > self.head.height || self.options.rule == SyncRule::Heaviest).then_some(SyncProgress {
            from: self.started_from,
            head: self.head.height,
            target,
        })
    }

    /// Returns the height at which the chain is by what peers say: the highest that half of them claim or exceed, so that
    /// one who lies among several decides nothing.
    pub fn believed_height(&self) -> Option<Height> {
        believed_height(self.peers.values().filter(|peer| peer.status.is_some()).map(|peer| peer.claimed))
    }

    /// Says whether a peer claims more than is believed and has pruned what would show it: then nothing refutes it, and
    /// it must not make this node look late.
    fn is_boast(&self, peer: &Peer) -> bool {
        let kept = peer.status.as_ref().map_or(Height::ZERO, |status| status.oldest_block);
        kept > self.head.height.next()
            && self.believed_height().is_none_or(|believed| peer.claimed > believed)
    }

    /// Returns the oldest block that peers keep, when all who are ahead have pruned the one that is needed next.
    pub fn oldest_offered(&self) -> Option<Height> {
        // One who claims to be ahead among several who are not is no reason to give up.
        self.believed_height().filter(|believed| *believed > self.head.height)?;
        let mut oldest = None;
        for peer in self.peers.values().filter(|peer| self.is_better(peer)) {
            let kept = peer.status.as_ref().map_or(Height::ZERO, |status| status.oldest_block);
            if kept <= self.head.height.next() {
                return None;
            }
            oldest = Some(oldest.map_or(kept, |oldest: Height| oldest.min(kept)));
        }
        oldest
    }

    /// Returns the number of headers held and the bytes of bodies that wait.
    pub fn held(&self) -> (usize, usize) {
        (self.slots.len(), self.buffered_bytes)
    }

    fn report(&mut self, peer: &PeerId, offence: Offence) {
        self.out.push(SyncOutput::Report { peer: peer.clone(), offence });
    }

    fn tip(&self) -> (Height, BlockId) {
        self.slots.back().map_or(self.base, |slot| (slot.height(), slot.id))
    }

    fn pop_front(&mut self) {
        if let Some(slot) = self.slots.pop_front() {
            self.forget(&slot);
        }
    }

    fn drop_from(&mut self, at: usize) {
        for slot in self.slots.split_off(at.min(self.slots.len())) {
            self.forget(&slot);
        }
    }

    fn forget(&mut self, slot: &Slot) {
        if let Body::Ready { bytes, .. } = &slot.body {
            self.buffered_bytes -= bytes;
        }
    }

    /// Takes back what was delivered: its body is gone, and is fetched again.
    fn rewind(&mut self, from: usize) {
        for slot in self.slots.iter_mut().skip(from) {
            if let Body::Delivered { .. } = slot.body {
                slot.body = Body::Wanted;
            }
        }
    }
}

/// Returns the highest height that half of those who claim one claim or exceed.
pub(crate) fn believed_height(claimed: impl Iterator<Item = Height>) -> Option<Height> {
    let mut claimed: Vec<Height> = claimed.collect();
    claimed.sort_unstable_by(|a, b| b.cmp(a));
    claimed.get(claimed.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests;
