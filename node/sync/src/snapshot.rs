//! Fetches the whole state at one height instead of executing every block before it.
//!
//! The header after the snapshot's block names the root of the state that the block left behind, so it is the
//! header that must be trusted; [`SnapshotTrust`] decides that. Each chunk is then proven by itself against the root,
//! whoever sends it, in any order. What is stored can be resumed after a restart from [`SnapshotProgress`].

mod choice;
mod manifest;

use std::collections::{BTreeMap, VecDeque};

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_primitives::{ChainId, Hash32, Height};
use purlin_state::{Entry, RangeChunk, RangeLimits};

pub use manifest::{SnapshotHead, SnapshotManifest};

use crate::blocks::HeaderFault;
use crate::codec::{self, DecodeError};
use crate::limits::SNAPSHOT_CHUNK_BYTES_MAX;
use crate::message::{Request, Response};
use crate::network::{Offence, PeerId, RequestFailure, RequestId};
use crate::requests::{Planner, RequestIds};
use crate::trust::TrustProblem;

/// Parts of the space of key hashes that are fetched beside each other.
pub const SNAPSHOT_SPANS: usize = 16;
/// Time after which an answer is no longer waited for, in milliseconds.
pub const SNAPSHOT_TIMEOUT_MS: u64 = 20_000;
/// Time that a peer is left alone after a failure, in milliseconds.
pub const SNAPSHOT_PAUSE_MS: u64 = 5_000;
/// Failures after which a peer is taken for one that does not have the snapshot.
pub const SNAPSHOT_FAILURES_MAX: u32 = 3;
/// Time from the first manifest to the choice among those that came until then, in milliseconds. Whoever answers first
/// must not decide alone what this node believes.
pub const SNAPSHOT_CHOICE_MS: u64 = 3_000;
/// Time in which [`SNAPSHOT_PACE_CHUNKS_MIN`] chunks must be stored, in milliseconds.
pub const SNAPSHOT_PACE_MS: u64 = 120_000;
/// Chunks without which a snapshot that some peers do not have is given up: its only holder may give just enough not to
/// be dropped.
pub const SNAPSHOT_PACE_CHUNKS_MIN: u32 = 8;
/// Most snapshots that are remembered as given up; the oldest is forgotten.
pub const SNAPSHOTS_ABANDONED_MAX: usize = 64;
/// Most peers that are asked. Each may offer a manifest, which is kept until the choice.
pub const SNAPSHOT_PEERS_MAX: usize = 64;
/// Most handovers in a manifest; one for each change of the validators since the trusted ones.
pub const HANDOVERS_MAX: usize = 4_096;
/// Where a chunk ends: every node cuts a snapshot at the same places, so that a part that one gave is followed by what
/// any other has. Small enough that with one more value of the largest size it fits into an answer.
pub const SNAPSHOT_CHUNK_LIMITS: RangeLimits = RangeLimits { entries_max: 4_096, bytes_max: 256 * 1024 };
/// Largest handover, in bytes.
pub const HANDOVER_BYTES_MAX: usize = 128 * 1024;

/// Decides whether a manifest's `next` header is part of the chain: by a checkpoint that the operator gave, or by the
/// validators of the genesis and the handovers since.
pub trait SnapshotTrust {
    /// Checks signatures and handovers; the manifest is consistent. Called for the one that is taken last.
    fn check(&mut self, manifest: &SnapshotManifest) -> Result<(), Distrust>;

    /// Says why this node must not join a chain that is at `height`, when what it trusts is too old for that.
    fn check_age(&self, height: Height) -> Result<(), TrustProblem>;
}

/// Says why a manifest is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// No honest peer sends it.
    #[error(transparent)]
    Wrong(#[from] HeaderFault),
    /// It may be right, and this node cannot know.
    #[error(transparent)]
    Unproven(#[from] TrustProblem),
}

/// How far a snapshot is; to be stored in the batch of the entries that came with it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SnapshotProgress {
    /// Which snapshot. It was trusted when it was chosen.
    pub manifest: SnapshotManifest,
    spans: Vec<SnapshotSpan>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct SnapshotSpan {
    /// Lowest key hash that is missing; `None` when none is.
    next: Option<Hash32>,
    to: Hash32,
}

impl SnapshotProgress {
    /// Starts with nothing stored.
    pub fn new(manifest: SnapshotManifest) -> Self {
        let spans = snapshot_spans().map(|(from, to)| SnapshotSpan { next: Some(from), to }).collect();
        Self { manifest, spans }
    }

    /// Notes that everything up to `chunk`'s end is stored, in the span where it begins; `false` when it does not
    /// begin where something is missing. For those who read chunks from a file.
    pub fn note(&mut self, chunk: &RangeChunk) -> bool {
        let span = self.spans.iter_mut().find(|span| span.next == Some(chunk.from) && chunk.to <= span.to);
        let Some(span) = span else { return false };
        span.next = if chunk.to == span.to { None } else { successor(&chunk.to) };
        true
    }

    /// Says how much is stored, in thousandths: key hashes are spread evenly.
    pub fn permille(&self) -> u32 {
        let part = |span: &SnapshotSpan| match span.next {
            None => 4096,
            Some(next) => {
                let bytes = next.as_bytes();
                u32::from(u16::from_be_bytes([bytes[0], bytes[1]])) % 4096
            }
        };
        self.spans.iter().map(part).sum::<u32>() * 1000 / (4096 * SNAPSHOT_SPANS as u32)
    }

    /// Says whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.spans.iter().all(|span| span.next.is_none())
    }
}

/// Returns the parts of the space of key hashes that a snapshot is made of, each by its first and last hash. Chunks are
/// cut from the beginning of each by [`SNAPSHOT_CHUNK_LIMITS`]; none reaches into two of them.
pub fn snapshot_spans() -> impl Iterator<Item = (Hash32, Hash32)> {
    let bound = |at: usize, low: u8| {
        let mut bytes = [low; 32];
        bytes[0] = (at * 256 / SNAPSHOT_SPANS) as u8 | low >> SNAPSHOT_SPANS.ilog2();
        Hash32::new(bytes)
    };
    (0..SNAPSHOT_SPANS).map(move |at| (bound(at, 0), bound(at, 255)))
}

/// Returns where the chunk after one begins, unless that one ends its span.
pub fn chunk_after(chunk: &RangeChunk, span_end: &Hash32) -> Option<Hash32> {
    if chunk.to >= *span_end { None } else { successor(&chunk.to) }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotOutput {
    /// Ask a peer.
    Ask {
        /// Whom.
        peer: PeerId,
        /// For the answer.
        id: RequestId,
        /// What.
        request: Request,
    },
    /// A snapshot was chosen: store its progress. Whatever was stored of another one is to be removed.
    Begin(Box<SnapshotProgress>),
    /// Store these proven entries, and the progress in the same batch.
    Store {
        /// State keys and values.
        entries: Vec<Entry>,
        /// To resume from.
        progress: Box<SnapshotProgress>,
    },
    /// Everything is stored. Build the tree of the stored entries, compare its root, and make this the head.
    Complete(Box<SnapshotManifest>),
    /// Hold something against a peer.
    Report {
        /// Whom.
        peer: PeerId,
        /// What.
        offence: Offence,
    },
}

/// What a plan goes by; peers of a network agree on all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotOptions {
    /// Where chunks end.
    pub limits: RangeLimits,
    /// Time from the first manifest to the choice, in milliseconds.
    pub choice_ms: u64,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self { limits: SNAPSHOT_CHUNK_LIMITS, choice_ms: SNAPSHOT_CHOICE_MS }
    }
}

#[derive(Debug, Default)]
struct SnapshotPeer {
    /// The request under way, since when, and for which span; `None` for the manifest.
    asked: Option<(RequestId, u64, Option<usize>)>,
    quiet_until_ms: u64,
    /// The manifest that it sent last, until one is chosen.
    offer: Option<Box<SnapshotManifest>>,
    /// The offer was not chosen; it may have another one later.
    considered: bool,
    /// Why its offer is not believed, which may not be its fault.
    problem: Option<TrustProblem>,
    /// It does not have this snapshot, or does not give it.
    without: bool,
    /// Times that it failed to give a part of this snapshot.
    failures: u32,
    /// Times in a row that it offered no snapshot that can be used.
    empty_handed: u32,
}

/// How many chunks were stored since when.
#[derive(Debug, Clone, Copy)]
struct Pace {
    since_ms: u64,
    chunks: u32,
}

/// Plans the download of a snapshot. Pure; `now_ms` is a clock that does not go back. One request is under way to a
/// peer at a time, and one for a span.
#[derive(Debug)]
pub struct SnapshotSync {
    chain_id: ChainId,
    options: SnapshotOptions,
    progress: Option<SnapshotProgress>,
    complete: bool,
    peers: BTreeMap<PeerId, SnapshotPeer>,
    /// When the first offer came that was not considered.
    offered_at_ms: Option<u64>,
    /// State roots of snapshots that were given up.
    abandoned: VecDeque<Hash32>,
    /// Of the chosen snapshot.
    pace: Option<Pace>,
    requests: RequestIds,
    out: Vec<SnapshotOutput>,
}

impl SnapshotSync {
    /// Starts, or goes on with what was stored.
    pub fn new(chain_id: ChainId, progress: Option<SnapshotProgress>, options: SnapshotOptions) -> Self {
        Self {
            chain_id,
            options,
            progress,
            complete: false,
            peers: BTreeMap::new(),
            offered_at_ms: None,
            abandoned: VecDeque::new(),
            pace: None,
            requests: RequestIds::new(Planner::Snapshots),
            out: Vec::new(),
        }
    }

    /// Returns how far it is.
    pub fn progress(&self) -> Option<&SnapshotProgress> {
        self.progress.as_ref()
    }

    /// A peer can be talked to.
    pub fn connected(&mut self, now_ms: u64, peer: PeerId) -> Vec<SnapshotOutput> {
        if self.peers.len() < SNAPSHOT_PEERS_MAX {
            self.peers.entry(peer).or_default();
        }
        self.finish(now_ms)
    }

    /// A peer is gone.
    pub fn disconnected(&mut self, now_ms: u64, peer: &PeerId) -> Vec<SnapshotOutput> {
        self.peers.remove(peer);
        self.finish(now_ms)
    }

    /// Time passes. Chooses a snapshot when there was time for offers.
    pub fn tick(&mut self, now_ms: u64, trust: &mut dyn SnapshotTrust) -> Vec<SnapshotOutput> {
        self.choose(now_ms, trust);
        self.finish(now_ms)
    }

    /// A request of this planner ended; see [`Planner::of`].
    pub fn answered(
        &mut self,
        now_ms: u64,
        id: RequestId,
        outcome: Result<Response, RequestFailure>,
    ) -> Vec<SnapshotOutput> {
        let asked = |peer: &SnapshotPeer| peer.asked.is_some_and(|(other, ..)| other == id);
        let found = self.peers.iter_mut().find(|(_, peer)| asked(peer));
        if let Some((name, peer)) = found
            && let Some((_, _, span)) = peer.asked.take()
        {
            let name = name.clone();
            match self.take_answer(now_ms, &name, span, outcome) {
                Ok(true) => {}
                Ok(false) => {
                    if let Some(peer) = self.peers.get_mut(&name) {
                        peer.without |= span.is_some();
                    }
                    self.offers_nothing(&name, span);
                    self.pause(now_ms, &name);
                }
                Err(offence) => {
                    self.failed(now_ms, &name, span);
                    if let Some(offence) = offence {
                        self.out.push(SnapshotOutput::Report { peer: name, offence });
                    }
                }
            }
        }
        self.finish(now_ms)
    }

    fn pause(&mut self, now_ms: u64, peer: &PeerId) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.quiet_until_ms = now_ms.saturating_add(SNAPSHOT_PAUSE_MS);
        }
    }

    /// Notes a failure; who fails again and again must not hold on to a snapshot that nobody else has.
    fn failed(&mut self, now_ms: u64, peer: &PeerId, span: Option<usize>) {
        self.pause(now_ms, peer);
        self.offers_nothing(peer, span);
        if let Some(peer) = self.peers.get_mut(peer)
            && span.is_some()
        {
            peer.failures += 1;
            peer.without |= peer.failures >= SNAPSHOT_FAILURES_MAX;
        }
    }

    /// Returns whether the peer had it; an error when it failed, with what it is to be blamed for.
    fn take_answer(
        &mut self,
        now_ms: u64,
        name: &PeerId,
        span: Option<usize>,
        outcome: Result<Response, RequestFailure>,
    ) -> Result<bool, Option<Offence>> {
        match (span, outcome) {
            (_, Err(_)) => Err(None),
            (_, Ok(Response::Unavailable)) => Ok(false),
            // Trust goes with the one that was chosen: others are not looked at any more.
            (None, Ok(Response::SnapshotManifest(_))) if self.progress.is_some() => Ok(true),
            (None, Ok(Response::SnapshotManifest(bytes))) => {
                let manifest = SnapshotManifest::decode(&bytes).map_err(|_| Offence::Malformed)?;
                if !manifest.is_consistent(&self.chain_id) {
                    return Err(Some(Offence::Invalid));
                }
                Ok(self.offered(now_ms, name, manifest))
            }
            (Some(at), Ok(Response::SnapshotChunk(bytes))) => {
                let Some(progress) = &mut self.progress else { return Ok(true) };
                let root = progress.manifest.next.header.state_root;
                let Some(span) = progress.spans.get_mut(at) else { return Ok(true) };
                let Some(from) = span.next else { return Ok(true) };
                let chunk = decode_chunk(&bytes).map_err(|_| Offence::Malformed)?;
                if chunk.from != from || chunk.to > span.to {
                    return Err(Some(Offence::Lied));
                }
                chunk.verify(&root).map_err(|_| Offence::Invalid)?;
                // After another cut, honest peers would have nothing that begins where it ends.
                if !chunk.is_cut_by(self.options.limits, &span.to) {
                    return Err(Some(Offence::Lied));
                }
                span.next = if chunk.to == span.to { None } else { successor(&chunk.to) };
                let progress = Box::new(progress.clone());
                if let Some(pace) = &mut self.pace {
                    pace.chunks = pace.chunks.saturating_add(1);
                }
                self.out.push(SnapshotOutput::Store { entries: chunk.entries, progress });
                Ok(true)
            }
            (_, Ok(_)) => Err(Some(Offence::Lied)),
        }
    }

    /// Ends every input: gives up what takes too long, asks for what is missing.
    fn finish(&mut self, now_ms: u64) -> Vec<SnapshotOutput> {
        let late = |peer: &SnapshotPeer| {
            let (_, at, span) = peer.asked?;
            (now_ms >= at.saturating_add(SNAPSHOT_TIMEOUT_MS)).then_some(span)
        };
        let late: Vec<(PeerId, Option<usize>)> =
            self.peers.iter().filter_map(|(name, peer)| Some((name.clone(), late(peer)?))).collect();
        for (name, span) in late {
            self.failed(now_ms, &name, span);
            if let Some(peer) = self.peers.get_mut(&name) {
                peer.asked = None;
            }
        }
        if let Some(progress) = &self.progress
            && progress.is_complete()
        {
            if !self.complete {
                self.complete = true;
                self.out.push(SnapshotOutput::Complete(Box::new(progress.manifest.clone())));
            }
            return std::mem::take(&mut self.out);
        }
        let nobody_has_it = !self.peers.is_empty() && self.peers.values().all(|peer| peer.without);
        if self.progress.is_some() && (nobody_has_it || self.is_too_slow(now_ms)) {
            self.abandon();
        }
        self.ask(now_ms);
        std::mem::take(&mut self.out)
    }

    fn ask(&mut self, now_ms: u64) {
        let mut under_way: Vec<Option<usize>> =
            self.peers.values().filter_map(|peer| peer.asked.map(|(_, _, span)| span)).collect();
        for (name, peer) in &mut self.peers {
            if peer.asked.is_some() || peer.without || now_ms < peer.quiet_until_ms {
                continue;
            }
            if self.progress.is_none() && peer.offer.is_some() && !peer.considered {
                continue;
            }
            let (span, request) = match &self.progress {
                None => (None, Request::SnapshotManifest { height: None }),
                Some(progress) => {
                    let free = |(at, span): &(usize, &SnapshotSpan)| {
                        span.next.is_some() && !under_way.contains(&Some(*at))
                    };
                    let Some((at, span)) = progress.spans.iter().enumerate().find(free) else { continue };
                    let Some(from) = span.next else { continue };
                    let root = progress.manifest.next.header.state_root;
                    (Some(at), Request::SnapshotChunk { root, from, to: span.to })
                }
            };
            let id = self.requests.give();
            peer.asked = Some((id, now_ms, span));
            under_way.push(span);
            self.out.push(SnapshotOutput::Ask { peer: name.clone(), id, request });
        }
    }
}

/// Returns the bytes for [`Response::SnapshotChunk`].
pub fn encode_chunk(chunk: &RangeChunk) -> Vec<u8> {
    codec::encode(chunk)
}

/// Reads a chunk that a peer sent; nothing is verified.
pub fn decode_chunk(bytes: &[u8]) -> Result<RangeChunk, DecodeError> {
    codec::decode(bytes, SNAPSHOT_CHUNK_BYTES_MAX)
}

fn successor(hash: &Hash32) -> Option<Hash32> {
    let mut bytes = *hash.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (next, carry) = byte.overflowing_add(1);
        *byte = next;
        if !carry {
            return Some(Hash32::new(bytes));
        }
    }
    None
}

#[cfg(test)]
mod tests;
