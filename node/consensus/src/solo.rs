//! One validator, who decides alone.

use purlin_primitives::{BlockHeader, BlockId, BlockSignature, Certificate, Height, TimestampMs};

use crate::port::{
    Announcement, ConsensusEngine, Effect, Head, Input, Notice, Proposal, SigningRequest, TimerId, WhenEmpty,
};

/// Sets how a single validator makes blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoloConfig {
    /// Least time from one block to the next, in milliseconds; 0 makes a block as soon as a transaction waits.
    pub interval_ms_min: u64,
    /// How long the chain is quiet before an empty block anchors the last state in a header, in milliseconds.
    pub anchor_after_ms: u64,
}

impl Default for SoloConfig {
    fn default() -> Self {
        Self { interval_ms_min: 0, anchor_after_ms: 500 }
    }
}

/// How far the clock may be behind the last block before the engine stops waiting for it. Two blocks in one
/// millisecond or a small correction of the clock are waited out; a clock set back by an hour must not stop the
/// chain for an hour.
pub const CLOCK_WAIT_MS_MAX: u64 = 2_000;

/// A new block may be built while this many before it are not durable yet: one is executed while the one before
/// is hashed and written. More would only add memory and latency, because writing is as slow on average.
const UNDURABLE_MAX: u64 = 1;

const PROPOSE: TimerId = TimerId(0);
const ANCHOR: TimerId = TimerId(1);

/// Makes a block whenever transactions wait, and one empty block after it when all is quiet, so that the newest
/// state is in a header and can be proven. Then it is silent.
///
/// A block is durable before it is signed: whatever was signed can be shown, and after a crash in between the
/// same block is signed again.
#[derive(Debug)]
pub struct SoloEngine {
    config: SoloConfig,
    /// Last block built, durable or not; `None` before [`Input::Started`].
    tip: Option<Head>,
    /// Height up to which blocks are durable.
    durable: Height,
    /// Whether a build is under way.
    building: bool,
    /// Whether transactions wait.
    waiting: bool,
    /// Whether the next block is wanted even when it is empty.
    anchor_due: bool,
    /// When the last block was built, by the machine's clock.
    built_at: Option<TimestampMs>,
    /// Whether the clock was already reported as behind.
    clock_reported: bool,
}

impl SoloEngine {
    /// Makes an engine; it acts after [`Input::Started`].
    pub fn new(config: SoloConfig) -> Self {
        Self {
            config,
            tip: None,
            durable: Height::ZERO,
            building: false,
            waiting: false,
            anchor_due: false,
            built_at: None,
            clock_reported: false,
        }
    }

    /// Asks for the next block if one is wanted and may start; else sets the timer for when it may.
    fn propose(&mut self, now: TimestampMs, effects: &mut Vec<Effect>) {
        let Some(tip) = self.tip else { return };
        let wanted = self.waiting || (self.anchor_due && !tip.anchored);
        let undurable = tip.height.get().saturating_sub(self.durable.get());
        if !wanted || self.building || undurable > UNDURABLE_MAX {
            return;
        }
        let interval_left = self.built_at.map_or(0, |built_at| {
            let since = now.get().checked_sub(built_at.get());
            // A clock that went backwards says nothing about how long ago the last block was.
            since.map_or(0, |since| self.config.interval_ms_min.saturating_sub(since))
        });
        let earliest = tip.time.get().saturating_add(1);
        let behind = earliest.saturating_sub(now.get());
        let clock_wait = if behind <= CLOCK_WAIT_MS_MAX { behind } else { 0 };
        let wait = interval_left.max(clock_wait);
        if wait > 0 {
            effects.push(Effect::SetTimer { timer: PROPOSE, after_ms: wait });
            return;
        }
        if behind > CLOCK_WAIT_MS_MAX && !self.clock_reported {
            effects.push(Effect::Report(Notice::ClockBehind { by_ms: behind }));
        }
        self.clock_reported = behind > CLOCK_WAIT_MS_MAX;
        self.building = true;
        effects.push(Effect::CancelTimer { timer: ANCHOR });
        effects.push(Effect::BuildProposal {
            height: tip.height.next(),
            time: TimestampMs::new(now.get().max(earliest)),
            when_empty: if self.anchor_due && !tip.anchored { WhenEmpty::Build } else { WhenEmpty::Skip },
        });
    }

    /// Starts the idle time after which an empty block anchors the state.
    fn schedule_anchor(&self, effects: &mut Vec<Effect>) {
        let unanchored = self.tip.is_some_and(|tip| !tip.anchored);
        if unanchored && !self.building && !self.waiting {
            effects.push(Effect::SetTimer { timer: ANCHOR, after_ms: self.config.anchor_after_ms });
        }
    }

    fn sign(header: Box<BlockHeader>, id: BlockId) -> Effect {
        Effect::Sign(SigningRequest::Block { header, id })
    }

    fn built(&mut self, now: TimestampMs, proposal: &Proposal, more_waiting: bool) -> Effect {
        self.building = false;
        self.waiting = more_waiting;
        self.anchor_due = false;
        self.built_at = Some(now);
        self.tip = Some(proposal.head());
        Effect::Commit { block: proposal.id, certificate: None }
    }

    fn certify(block: BlockId, height: Height, signature: BlockSignature) -> [Effect; 2] {
        let certificate = Certificate { block, height, signatures: vec![signature] };
        [
            Effect::Certify { certificate: certificate.clone() },
            Effect::Publish(Announcement::Certified { certificate }),
        ]
    }
}

impl ConsensusEngine for SoloEngine {
    fn name(&self) -> &'static str {
        "solo"
    }

    fn handle(&mut self, now: TimestampMs, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Started { head, uncertified } => {
                self.tip = Some(head);
                self.durable = head.height;
                effects.extend(uncertified.map(|header| Self::sign(header, head.id)));
            }
            Input::TransactionsWaiting => self.waiting = true,
            Input::AnchorWanted => self.anchor_due = true,
            Input::ProposalBuilt { proposal, more_waiting } => {
                effects.push(self.built(now, &proposal, more_waiting));
            }
            Input::ProposalSkipped { more_waiting, .. } => {
                self.building = false;
                self.waiting = more_waiting;
            }
            Input::Signed { block, height, signature } => {
                effects.extend(Self::certify(block, height, signature));
                return effects;
            }
            Input::Committed { head, header } => {
                self.durable = head.height;
                effects.push(Self::sign(header, head.id));
            }
            Input::TimerElapsed { timer } => self.anchor_due |= timer == ANCHOR,
            // Nobody else takes part.
            Input::Message { .. } | Input::BlockValidated { .. } => return effects,
        }
        self.propose(now, &mut effects);
        self.schedule_anchor(&mut effects);
        effects
    }
}

#[cfg(test)]
mod tests;
