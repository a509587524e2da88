//! One validator, who decides alone.

use purlin_primitives::{BlockHeader, BlockId, Certificate, Height, Seal, TimestampMs, Vote, VoteKind};

use crate::port::{
    Announcement, ConsensusEngine, Effect, Head, Input, Notice, Proposal, SignError, TimerId, VoteSigner,
    WhenEmpty,
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

/// Timers of this engine; others use larger numbers.
const PROPOSE: TimerId = TimerId(0);
const ANCHOR: TimerId = TimerId(1);

/// Makes a block whenever transactions wait, and one empty block after it when all is quiet, so that the newest
/// state is in a header and can be proven. Then it is silent.
///
/// A block is durable before its precommit of round 0, which alone is its certificate, is signed: whatever was
/// signed can be shown, and after a crash in between the same block is signed again. The validators that the
/// driver names are not looked at: where they can change, [`crate::PosEngine`] decides when this engine's rules
/// apply.
pub struct SoloEngine {
    core: SoloCore,
    signer: Box<dyn VoteSigner>,
}

impl SoloEngine {
    /// Makes an engine that signs with `signer`; it acts after [`Input::Started`].
    pub fn new(config: SoloConfig, signer: Box<dyn VoteSigner>) -> Self {
        Self { core: SoloCore::new(config), signer }
    }
}

impl std::fmt::Debug for SoloEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SoloEngine").field("core", &self.core).finish_non_exhaustive()
    }
}

impl ConsensusEngine for SoloEngine {
    fn name(&self) -> &'static str {
        "solo"
    }

    fn handle(&mut self, now: TimestampMs, input: Input) -> Vec<Effect> {
        self.core.handle(now, input, &mut *self.signer)
    }
}

/// The engine without its key, which [`crate::PosEngine`] lends it while there is one validator.
#[derive(Debug)]
pub(crate) struct SoloCore {
    config: SoloConfig,
    /// Last block built, durable or not; `None` before [`Input::Started`].
    tip: Option<Head>,
    /// Height up to which blocks are durable.
    durable: Height,
    /// The tip, when it was built before its parent was durable: who decides its height is known only then.
    uncommitted: Option<BlockId>,
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
    /// Whether it asked to stop.
    halted: bool,
}

impl SoloCore {
    /// Makes a core; it acts after [`Input::Started`].
    pub(crate) fn new(config: SoloConfig) -> Self {
        Self {
            config,
            tip: None,
            durable: Height::ZERO,
            uncommitted: None,
            building: false,
            waiting: false,
            anchor_due: false,
            built_at: None,
            clock_reported: false,
            halted: false,
        }
    }

    /// Makes a core that takes over at `head` from another engine.
    pub(crate) fn take_over(config: SoloConfig, head: Head, building: bool, waiting: bool) -> Self {
        Self { tip: Some(head), durable: head.height, building, waiting, ..Self::new(config) }
    }

    /// Starts after a take-over.
    pub(crate) fn wake(&mut self, now: TimestampMs, effects: &mut Vec<Effect>) {
        self.propose(now, effects);
        self.schedule_anchor(effects);
    }

    /// Says whether a build is under way.
    pub(crate) fn is_building(&self) -> bool {
        self.building
    }

    /// Says whether transactions wait.
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting
    }

    /// Says whether no block of its own is on the way.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.building && self.tip.is_some_and(|tip| tip.height == self.durable)
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
            seal: Seal::FIRST_ROUND,
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

    /// Takes a built block, unless it was asked for before a take-over and does not fit any more.
    fn built(&mut self, now: TimestampMs, proposal: &Proposal, effects: &mut Vec<Effect>) {
        let Some(tip) = self.tip else { return };
        let header = &proposal.header;
        if header.parent != tip.id || header.seal != Seal::FIRST_ROUND {
            return;
        }
        self.anchor_due = false;
        self.built_at = Some(now);
        self.tip = Some(proposal.head());
        if self.durable == tip.height {
            effects.push(Effect::Commit { block: proposal.id, certificate: None });
        } else {
            self.uncommitted = Some(proposal.id);
        }
    }

    /// Signs the precommit of a durable block and reports its certificate.
    pub(crate) fn certify(
        &mut self,
        header: &BlockHeader,
        id: BlockId,
        signer: &mut dyn VoteSigner,
        effects: &mut Vec<Effect>,
    ) {
        let vote = Vote {
            chain_id: header.chain_id.clone(),
            height: header.height,
            round: 0,
            kind: VoteKind::Precommit,
            block: Some(id),
        };
        match signer.sign_vote(vote) {
            Ok(signed) => {
                let (height, signatures) = (header.height, vec![signed.into()]);
                let certificate = Certificate { block: id, height, round: 0, signatures };
                effects.push(Effect::Certify { certificate: certificate.clone() });
                effects.push(Effect::Publish(Announcement::Certified { certificate }));
            }
            Err(error) => {
                self.halted = true;
                let height = header.height;
                let reason = match error {
                    SignError::Conflict { detail } => format!(
                        "block {id} of height {height} is stored and cannot be signed, because this validator \
                         signed something else before ({detail}); the data folder may be an old copy, or another \
                         node uses the same key"
                    ),
                    SignError::Failed { detail } => {
                        format!("the record of signatures could not be written: {detail}; check the disk")
                    }
                };
                effects.push(Effect::Halt { reason });
            }
        }
    }

    /// Takes one input; see [`ConsensusEngine::handle`].
    pub(crate) fn handle(
        &mut self,
        now: TimestampMs,
        input: Input,
        signer: &mut dyn VoteSigner,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.halted {
            return effects;
        }
        match input {
            Input::Started { head, uncertified, .. } => {
                self.tip = Some(head);
                self.durable = head.height;
                if let Some(header) = uncertified {
                    self.certify(&header, head.id, signer, &mut effects);
                }
            }
            Input::TransactionsWaiting => self.waiting = true,
            Input::AnchorWanted => self.anchor_due = true,
            Input::ProposalBuilt { proposal, more_waiting } => {
                self.building = false;
                self.waiting = more_waiting;
                self.built(now, &proposal, &mut effects);
            }
            Input::ProposalSkipped { more_waiting, .. } => {
                self.building = false;
                self.waiting = more_waiting;
            }
            Input::Committed { head, header, .. } => {
                self.durable = head.height;
                self.certify(&header, head.id, signer, &mut effects);
                if !self.halted
                    && let Some(block) = self.uncommitted.take()
                {
                    effects.push(Effect::Commit { block, certificate: None });
                }
            }
            Input::TimerElapsed { timer } => self.anchor_due |= timer == ANCHOR,
            // Nobody else takes part.
            Input::Message { .. }
            | Input::SigningAllowed { .. }
            | Input::BlockValidated { .. }
            | Input::Certified { .. }
            | Input::Pow(_) => return effects,
        }
        if self.halted {
            return effects;
        }
        self.propose(now, &mut effects);
        self.schedule_anchor(&mut effects);
        effects
    }
}

#[cfg(test)]
mod tests;
