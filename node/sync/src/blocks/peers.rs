//! What is known of the peers that can be asked.

use purlin_primitives::Height;

use super::{
    BODIES_PER_REQUEST_MAX, BlockSync, EXCLUSION_MS, REQUEST_TIMEOUT_MS, STATUS_INTERVAL_MS,
    STATUS_INTERVAL_MS_MIN, SyncOutput, SyncRule,
};
use crate::message::Status;
use crate::network::{Offence, PeerId, RequestFailure, RequestId};

/// Failures in a row after which slowness is held against a peer.
const STRIKES_MAX: u32 = 3;
/// Longest time that a peer is left alone after failures, in milliseconds.
const QUIET_MS_MAX: u64 = 60_000;
/// An answer that takes longer than this, in milliseconds, makes the next question smaller.
const SLOW_MS: u64 = REQUEST_TIMEOUT_MS / 4;

/// A peer, as far as blocks go.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) status: Option<Status>,
    /// The height that its status claims, or what is left of it after it could not show what it claims.
    pub(super) claimed: Height,
    /// Highest block that it announced.
    pub(super) hint: Height,
    pub(super) status_asked: Option<RequestId>,
    pub(super) status_at_ms: Option<u64>,
    /// Requests for bodies under way.
    pub(super) bodies_asked: usize,
    /// Blocks in the next request for bodies.
    pub(super) batch: usize,
    /// Not asked for anything before.
    pub(super) quiet_until_ms: u64,
    /// Not asked for headers before.
    pub(super) no_headers_until_ms: u64,
    /// Times in a row that it did not have what it claimed.
    pub(super) broken_promises: u32,
    /// How far below the head to look for a common block.
    pub(super) back: u64,
    /// When it was last asked, as a count.
    pub(super) used: u64,
    strikes: u32,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            status: None,
            claimed: Height::ZERO,
            hint: Height::ZERO,
            status_asked: None,
            status_at_ms: None,
            bodies_asked: 0,
            batch: 4,
            quiet_until_ms: 0,
            no_headers_until_ms: 0,
            broken_promises: 0,
            back: 0,
            used: 0,
            strikes: 0,
        }
    }
}

impl Peer {
    pub(super) fn is_quiet(&self, now_ms: u64) -> bool {
        now_ms < self.quiet_until_ms
    }

    /// Says whether it claims to have the block of this height.
    pub(super) fn has(&self, height: Height) -> bool {
        let oldest = self.status.as_ref().map(|status| status.oldest_block);
        height <= self.claimed && oldest.is_some_and(|oldest| oldest <= height)
    }

    /// Says whether it is time to ask where it is.
    pub(super) fn is_status_due(&self, now_ms: u64) -> bool {
        let Some(at) = self.status_at_ms else { return true };
        let hinted = self.hint > self.claimed;
        let wait = if hinted { STATUS_INTERVAL_MS_MIN } else { STATUS_INTERVAL_MS };
        self.status_asked.is_none() && now_ms >= at.saturating_add(wait)
    }

    /// Adapts to how long an answer took.
    pub(super) fn succeeded(&mut self, took_ms: u64) {
        self.strikes = 0;
        self.batch = match took_ms {
            0..SLOW_MS => (self.batch * 2).min(BODIES_PER_REQUEST_MAX),
            _ => (self.batch / 2).max(1),
        };
    }

    fn failed(&mut self, now_ms: u64) -> bool {
        self.strikes = self.strikes.saturating_add(1);
        self.batch = (self.batch / 2).max(1);
        let pause = 1_000u64.checked_shl(self.strikes.min(6)).unwrap_or(QUIET_MS_MAX).min(QUIET_MS_MAX);
        self.quiet_until_ms = now_ms.saturating_add(pause);
        self.strikes.is_multiple_of(STRIKES_MAX)
    }
}

impl BlockSync {
    /// Says whether a peer claims to be on a better chain than this node.
    pub(super) fn is_better(&self, peer: &Peer) -> bool {
        match (self.options.rule, &peer.status) {
            (_, None) => false,
            (SyncRule::Certified, Some(_)) => peer.claimed > self.head.height,
            // One that broke its promise claims nothing.
            (SyncRule::Heaviest, Some(status)) => peer.claimed > Height::ZERO && status.work > self.head.work,
        }
    }

    pub(super) fn note_status(&mut self, now_ms: u64, id: &PeerId, status: Status) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        if status.genesis != self.options.genesis {
            let genesis = status.genesis;
            peer.status = None;
            peer.claimed = Height::ZERO;
            // Asked again as rarely as anything: it may be another program at the same address by then.
            peer.quiet_until_ms = now_ms.saturating_add(QUIET_MS_MAX);
            self.out.push(SyncOutput::OtherChain { peer: id.clone(), genesis });
            return;
        }
        peer.claimed = status.height;
        peer.hint = peer.hint.min(status.height);
        peer.status_at_ms = Some(now_ms);
        peer.status = Some(status);
    }

    /// A peer did not answer.
    pub(super) fn note_failure(&mut self, now_ms: u64, id: &PeerId, failure: RequestFailure) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let often = peer.failed(now_ms);
        match failure {
            RequestFailure::Timeout if often => self.report(&id.clone(), Offence::Stalled),
            // The network knows best what was wrong with connections and protocols.
            RequestFailure::Timeout
            | RequestFailure::Busy
            | RequestFailure::Disconnected
            | RequestFailure::Protocol => {}
        }
    }

    /// A peer does not have the headers that it claims to have: once may be chance, it may have pruned them.
    pub(super) fn note_broken_promise(&mut self, now_ms: u64, id: &PeerId, lacking: Height) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.claimed = match self.options.rule {
            SyncRule::Certified => peer.claimed.min(Height::new(lacking.get().saturating_sub(1))),
            SyncRule::Heaviest => Height::ZERO,
        };
        peer.back = 0;
        peer.broken_promises += 1;
        if peer.broken_promises > 1 {
            self.distrust(now_ms, id, Offence::Lied);
        }
    }

    /// Takes no headers from a peer for a time and drops those that are unverified.
    pub(super) fn distrust(&mut self, now_ms: u64, id: &PeerId, offence: Offence) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.no_headers_until_ms = now_ms.saturating_add(EXCLUSION_MS);
            peer.back = 0;
        }
        self.report(id, offence);
        let doubtful = |slot: &super::Slot| slot.source == *id && slot.checked == super::Checked::Later;
        if let Some(at) = self.slots.iter().position(doubtful) {
            self.drop_from(at);
        }
    }
}
