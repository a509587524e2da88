//! One height in rounds: carries out what the algorithm wants, and tells it which blocks are good.

use purlin_primitives::{
    BlockHeader, BlockId, Equivocation, Height, Seal, SignedProposal, TimestampMs, ValidatorSet, VoteKind,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::evidence::{ROUNDS_AHEAD_MAX, Signed};
use super::message::{Message, RoundCertificate};
use super::record::{BlockSeal, Entry, Record};
use super::tendermint::{Outcome, Signer, Step, Tendermint, TimerKind};
use super::{AHEAD_MS_MAX, Mode, Origin, PosEngine};
use crate::port::{Announcement, Effect, Notice, Proposal, TimerId, Verdict, VoteSigner, WhenEmpty};
use crate::solo::CLOCK_WAIT_MS_MAX;

/// The proposer has waited long enough for transactions.
const IDLE: TimerId = TimerId(6);
/// The least time since the last block is over.
const INTERVAL: TimerId = TimerId(7);

/// Most blocks that are looked at because of proposals of one round. An honest proposer makes one, and two convict it;
/// without a limit it could have others execute as many as it signs.
const BLOCKS_PER_ROUND_MAX: usize = 2;

/// How many rounds a proposal waits for its block; by then it was proposed again, or is not wanted.
const HELD_ROUNDS_MAX: u32 = 10;

/// Timers 0 and 1 are those of the rules for one validator.
fn timer_id(kind: TimerKind) -> TimerId {
    TimerId(match kind {
        TimerKind::Propose => 2,
        TimerKind::Prevote => 3,
        TimerKind::Precommit => 4,
        TimerKind::Rebroadcast => 5,
    })
}

/// What is known of a block of this height.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Round of the proposal by which it became known.
    proposed: u32,
    /// Round that its header names.
    seal_round: u32,
    /// Whether it may be voted for.
    valid: bool,
    /// Whether it was executed since the process started, so that it can be committed.
    executed: bool,
}

/// One height in rounds.
pub(super) struct Rounds {
    core: Tendermint,
    height: Height,
    validators: Arc<ValidatorSet>,
    round: u32,
    blocks: BTreeMap<BlockId, Known>,
    /// Proposals whose block is not known yet; with those that are, at most [`BLOCKS_PER_ROUND_MAX`] per round.
    held: BTreeMap<u32, Vec<SignedProposal>>,
    /// Timers that run, and for which round.
    timers: BTreeMap<TimerKind, u32>,
    /// Round for which a block is to be built here.
    wanted: Option<u32>,
    idle_over: bool,
    interval_over: bool,
    /// What was proposed here in this round, sent again until the round is over.
    own: Vec<Message>,
    /// Blocks that this node precommitted: others may have decided them.
    precommitted: BTreeSet<BlockId>,
}

impl Rounds {
    pub(super) fn round(&self) -> u32 {
        self.round
    }

    pub(super) fn is_executed(&self, block: &BlockId) -> bool {
        self.blocks.get(block).is_some_and(|known| known.executed)
    }

    /// Returns how many proposals wait for their block.
    pub(super) fn held(&self) -> usize {
        self.held.values().map(Vec::len).sum()
    }

    pub(super) fn take_evidence(&mut self) -> Vec<Equivocation> {
        self.core.take_evidence()
    }

    /// Ends the rounds: the height is decided.
    pub(super) fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.wanted = None;
        let timers = std::mem::take(&mut self.timers);
        let timers = timers.into_keys().map(timer_id).chain([IDLE, INTERVAL]);
        effects.extend(timers.map(|timer| Effect::CancelTimer { timer }));
    }

    /// Says whether a proposal may be for this block: a new one names the round of the proposal, so that nobody is
    /// said to have missed a turn that did not come, and one proposed again was first proposed earlier.
    fn fits(known: Known, proposal: &SignedProposal) -> bool {
        let (round, valid_round) = (proposal.proposal.round, proposal.proposal.valid_round);
        !known.valid || valid_round.map_or(known.seal_round == round, |valid| known.seal_round <= valid)
    }

    /// Checks what the seal and the proposer of a header must be.
    fn seal_round(&self, header: &BlockHeader) -> Result<u32, String> {
        let Seal::Pos { round } = header.seal else {
            return Err("the seal is of another engine".to_owned());
        };
        let turn = self.validators.proposer(self.height, round).map(|validator| validator.account);
        if turn != Some(header.proposer) {
            return Err(format!("{} is not the proposer of round {round}", header.proposer));
        }
        Ok(round)
    }
}

fn lend(signer: &mut Option<Box<dyn VoteSigner>>) -> Signer<'_> {
    match signer {
        Some(signer) => Some(&mut **signer),
        None => None,
    }
}

impl PosEngine {
    /// Starts the rounds of a height, after what was recorded before a crash.
    pub(super) fn start_rounds(
        &mut self,
        height: Height,
        validators: Arc<ValidatorSet>,
        entries: &[Entry],
        interval_ms: Option<u64>,
    ) {
        let (mut steps, mut blocks) = (Vec::new(), BTreeMap::new());
        for entry in entries {
            match entry {
                Entry::Step(step) => steps.push(step.clone()),
                Entry::Block(BlockSeal { block, round, valid }) => {
                    let known =
                        Known { proposed: *round, seal_round: *round, valid: *valid, executed: false };
                    blocks.insert(*block, known);
                }
            }
        }
        // The algorithm must know what is known here, or it would wait for a block that nobody asks for.
        blocks.retain(|block, known| {
            let step = steps.iter().find_map(|step| match step {
                Step::Block { round, block: learned, .. } if learned == block => Some(*round),
                _ => None,
            });
            known.proposed = step.unwrap_or(known.proposed);
            step.is_some()
        });
        // What was executed before the crash is lost; it is needed to commit, or to show to others.
        let lost = blocks.iter().filter(|(_, known)| known.valid);
        let again = lost.map(|(block, _)| Effect::ValidateBlock { block: *block, height });
        self.effects.extend(again);

        let interval_ms = interval_ms.unwrap_or(0);
        if interval_ms > 0 {
            self.effects.push(Effect::SetTimer { timer: INTERVAL, after_ms: interval_ms });
        }
        let key = self.own_key();
        let core = Tendermint::new(self.chain_id.clone(), height, Arc::clone(&validators), key);
        let mut rounds = Box::new(Rounds {
            core,
            height,
            validators,
            round: 0,
            blocks,
            held: BTreeMap::new(),
            timers: BTreeMap::new(),
            wanted: None,
            idle_over: false,
            interval_over: interval_ms == 0,
            own: Vec::new(),
            precommitted: BTreeSet::new(),
        });
        let outcomes = rounds.core.start(&steps, lend(&mut self.signer));
        self.mode = Mode::Rounds(rounds);
        self.carry_out(outcomes, None);
        self.propose_again(&steps);
    }

    /// Sends this node's proposal of the round again after a crash. One that was built and may have been signed, and
    /// is not on record, is proposed again.
    fn propose_again(&mut self, steps: &[Step]) {
        let (Some(own_key), Mode::Rounds(rounds)) = (self.own_key(), &mut self.mode) else { return };
        let now_round = rounds.round;
        let outcomes = if rounds.wanted == Some(now_round) && rounds.core.awaits_proposal() {
            let built = steps.iter().find_map(|step| match step {
                Step::Block { round, proposer, block, valid: true }
                    if (*round, *proposer) == (now_round, own_key) =>
                {
                    Some(*block)
                }
                _ => None,
            });
            let Some(block) = built else { return };
            rounds.wanted = None;
            rounds.core.propose(now_round, block, lend(&mut self.signer))
        } else {
            let proposals = steps.iter().filter_map(|step| match step {
                Step::Proposal(sent) if (sent.proposal.round, sent.public_key) == (now_round, own_key) => {
                    Some(Outcome::Publish(Message::Proposal(sent.clone())))
                }
                _ => None,
            });
            proposals.collect()
        };
        self.carry_out(outcomes, None);
    }

    /// Gives the algorithm a step; `from` is blamed when it is a wrong certificate.
    pub(super) fn feed(&mut self, step: &Step, from: Option<&[u8]>) {
        let Mode::Rounds(rounds) = &mut self.mode else { return };
        let outcomes = rounds.core.step(step, lend(&mut self.signer));
        self.carry_out(outcomes, from);
    }

    pub(super) fn feed_round_certificate(&mut self, certificate: &RoundCertificate, from: &[u8]) {
        let Mode::Rounds(rounds) = &mut self.mode else { return };
        let outcomes = rounds.core.round_certificate(certificate, lend(&mut self.signer));
        self.carry_out(outcomes, Some(from));
    }

    /// Takes a proposal of this height, its signature and its turn checked.
    pub(super) fn proposal(&mut self, proposal: SignedProposal, from: Option<&[u8]>) {
        let Mode::Rounds(rounds) = &mut self.mode else { return };
        let (round, block) = (proposal.proposal.round, proposal.proposal.block);
        if let Some(known) = rounds.blocks.get(&block) {
            if Rounds::fits(*known, &proposal) {
                self.feed(&Step::Proposal(proposal), from);
            }
            return;
        }
        let known = rounds.blocks.values().filter(|known| known.proposed == round).count();
        let held = rounds.held.entry(round).or_default();
        if !held.contains(&proposal) {
            if held.len() + known >= BLOCKS_PER_ROUND_MAX {
                return;
            }
            held.push(proposal);
        }
        // Of rounds to come only when they come. One that is sent again asks again: the body may be there now.
        if round <= rounds.round {
            self.effects.push(Effect::ValidateBlock { block, height: rounds.height });
        }
    }

    pub(super) fn validated_in_rounds(&mut self, now: TimestampMs, block: BlockId, verdict: Verdict) {
        let Mode::Rounds(rounds) = &mut self.mode else { return };
        let (verdict, ahead_ms) = match verdict {
            Verdict::Valid { header } => {
                (rounds.seal_round(&header), header.time.get().saturating_sub(now.get()))
            }
            Verdict::Invalid { reason } => (Err(reason), 0),
        };
        if let Some(known) = rounds.blocks.get_mut(&block) {
            known.executed |= verdict.is_ok();
            if let (true, Err(reason)) = (known.valid, verdict) {
                let detail = format!("block {block} was valid before and is not any more: {reason}");
                self.report(Notice::Fault { detail });
            }
            return;
        }
        let Some(first) = rounds.held.values().flatten().find(|held| held.proposal.block == block).cloned()
        else {
            return;
        };
        // Not for ever: others may hold on to it, and this clock comes closer. Its proposal waits, this round ends without
        // a vote for it, and when it is proposed again it is looked at again.
        if verdict.is_ok() && ahead_ms > AHEAD_MS_MAX {
            self.report(Notice::BlockAhead { block, ahead_ms });
            return;
        }
        let (seal_round, valid) = (*verdict.as_ref().unwrap_or(&0), verdict.is_ok());
        let (round, proposer) = (first.proposal.round, first.public_key);
        self.learn(block, Known { proposed: round, seal_round, valid, executed: valid });
        self.feed(&Step::Block { round, proposer, block, valid }, None);
        self.release(block);
    }

    fn learn(&mut self, block: BlockId, known: Known) {
        let Mode::Rounds(rounds) = &mut self.mode else { return };
        rounds.blocks.insert(block, known);
        let height = rounds.height;
        if let Some(signer) = &mut self.signer {
            let entry = Entry::Block(BlockSeal { block, round: known.seal_round, valid: known.valid });
            signer.record(height, Record { height, entry }.encode());
        }
        if known.valid {
            let beside = rounds.precommitted.iter().copied().collect();
            self.effects.push(Effect::KeepBody { block, height, beside });
        }
    }

    /// Gives the algorithm the proposals that waited for a block.
    fn release(&mut self, block: BlockId) {
        let Mode::Rounds(rounds) = &mut self.mode else { return };
        let mut ready = Vec::new();
        for held in rounds.held.values_mut() {
            ready.extend(held.extract_if(.., |held| held.proposal.block == block));
        }
        for proposal in ready {
            // A decision may be among the consequences.
            if self.decided.is_none() {
                self.proposal(proposal, None);
            }
        }
    }

    /// Asks for a block if it is this node's turn and time.
    pub(super) fn propose_in_rounds(&mut self, now: TimestampMs) {
        let (Mode::Rounds(rounds), Some(head)) = (&mut self.mode, self.head) else { return };
        let Some(round) = rounds.wanted else { return };
        if self.decided.is_some() || self.building || !rounds.core.awaits_proposal() {
            return;
        }
        let anchor = self.anchor_wanted && !head.anchored && rounds.interval_over;
        let when_empty = if round > 0 || rounds.idle_over || anchor {
            WhenEmpty::Build
        } else if self.waiting && rounds.interval_over {
            WhenEmpty::Skip
        } else {
            return;
        };
        let earliest = head.time.get().saturating_add(1);
        let behind = earliest.saturating_sub(now.get());
        let height = rounds.height;
        self.building = true;
        // The others would not wait for this clock: the block's time runs ahead of it.
        if behind > CLOCK_WAIT_MS_MAX && !self.clock_reported {
            self.report(Notice::ClockBehind { by_ms: behind });
        }
        self.clock_reported = behind > CLOCK_WAIT_MS_MAX;
        let time = TimestampMs::new(now.get().max(earliest));
        self.effects.push(Effect::BuildProposal { height, time, seal: Seal::Pos { round }, when_empty });
    }

    /// Proposes what was built, unless its round is over.
    pub(super) fn built_in_rounds(&mut self, proposal: &Proposal) {
        let (Mode::Rounds(rounds), Some(head)) = (&mut self.mode, self.head) else { return };
        let header = &proposal.header;
        let Some(round) = rounds.wanted else { return };
        let fits = header.parent == head.id && header.seal == Seal::Pos { round };
        if self.decided.is_some() || !fits || !rounds.core.awaits_proposal() {
            return;
        }
        if let Err(reason) = rounds.seal_round(header) {
            let detail = format!("the block built here would be refused by others: {reason}");
            return self.report(Notice::Fault { detail });
        }
        rounds.wanted = None;
        self.effects.push(Effect::CancelTimer { timer: IDLE });
        self.learn(proposal.id, Known { proposed: round, seal_round: round, valid: true, executed: true });
        let Mode::Rounds(rounds) = &mut self.mode else { return };
        let outcomes = rounds.core.propose(round, proposal.id, lend(&mut self.signer));
        self.carry_out(outcomes, None);
    }

    pub(super) fn timer_in_rounds(&mut self, timer: TimerId) {
        let Mode::Rounds(rounds) = &mut self.mode else { return };
        if self.decided.is_some() {
            return;
        }
        match timer {
            IDLE => rounds.idle_over = true,
            INTERVAL => rounds.interval_over = true,
            _ => {
                let running = rounds.timers.iter().find(|(kind, _)| timer_id(**kind) == timer);
                let Some((&kind, &round)) = running else { return };
                rounds.timers.remove(&kind);
                if kind == TimerKind::Rebroadcast {
                    self.effects.extend(rounds.own.iter().map(publish));
                }
                self.feed(&Step::Timeout { kind, round }, None);
            }
        }
    }

    fn enter_round(&mut self, round: u32) {
        let Mode::Rounds(rounds) = &mut self.mode else { return };
        let height = rounds.height;
        rounds.round = round;
        rounds.wanted = None;
        rounds.own.clear();
        let near = round.saturating_sub(HELD_ROUNDS_MAX)..=round.saturating_add(ROUNDS_AHEAD_MAX);
        rounds.held.retain(|round, _| near.contains(round));
        let now_due = rounds.held.get(&round).into_iter().flatten().map(|held| held.proposal.block);
        self.effects.extend(now_due.map(|block| Effect::ValidateBlock { block, height }));
        self.evidence.enter_round(height, round);
        if let Some(failed) = round.checked_sub(1) {
            self.report(Notice::RoundFailed { height, round: failed });
        }
    }

    fn carry_out(&mut self, outcomes: Vec<Outcome>, from: Option<&[u8]>) {
        for outcome in outcomes {
            self.carry_out_one(outcome, from);
        }
    }

    fn carry_out_one(&mut self, outcome: Outcome, from: Option<&[u8]>) {
        let own_key = self.own_key();
        let Mode::Rounds(rounds) = &mut self.mode else { return };
        match outcome {
            Outcome::CancelTimers => {
                let timers = std::mem::take(&mut rounds.timers).into_keys();
                self.effects.extend(timers.map(|kind| Effect::CancelTimer { timer: timer_id(kind) }));
            }
            Outcome::CancelTimer { kind } => {
                if rounds.timers.remove(&kind).is_some() {
                    self.effects.push(Effect::CancelTimer { timer: timer_id(kind) });
                }
            }
            Outcome::SetTimer { kind, round } => {
                if self.decided.is_none() {
                    rounds.timers.insert(kind, round);
                    let after_ms = self.config.timeout_ms(kind, round);
                    self.effects.push(Effect::SetTimer { timer: timer_id(kind), after_ms });
                }
            }
            Outcome::RoundStarted { round } => self.enter_round(round),
            Outcome::Publish(message) => {
                if let Message::Vote(signed) = &message
                    && signed.vote.kind == VoteKind::Precommit
                    && own_key == Some(signed.public_key)
                {
                    rounds.precommitted.extend(signed.vote.block);
                }
                // First the proposal: it makes the announcement of the block worth believing.
                self.effects.push(publish(&message));
                if let Message::Proposal(proposal) = &message
                    && own_key == Some(proposal.public_key)
                {
                    let block = proposal.proposal.block;
                    rounds.own.push(message);
                    self.effects.push(Effect::Publish(Announcement::Block { block }));
                }
            }
            Outcome::Announce { block } => {
                self.effects.push(Effect::Publish(Announcement::Block { block }));
            }
            Outcome::Build { round } => {
                rounds.wanted = Some(round);
                if round == 0 {
                    let anchored = self.head.is_some_and(|head| head.anchored);
                    let config = &self.config;
                    let idle_ms = if anchored { config.idle_ms } else { config.anchor_after_ms };
                    let after_ms = idle_ms.max(config.interval_ms_min);
                    self.effects.push(Effect::SetTimer { timer: IDLE, after_ms });
                }
            }
            Outcome::Decided(certificate) => self.decide(certificate, Origin::Rounds),
            Outcome::Refused { detail } => self.report(Notice::SignatureRefused { detail }),
            Outcome::Wrong { reason } => self.blame(from, reason),
            Outcome::Seen(votes) => votes.into_iter().for_each(|vote| self.remember(Signed::Vote(vote))),
            Outcome::Evidence(found) => self.report_evidence(found),
            Outcome::Halt { reason } => self.halt(reason),
            Outcome::Fault { detail } => self.report(Notice::Fault { detail }),
        }
    }
}

fn publish(message: &Message) -> Effect {
    Effect::Publish(Announcement::Message { bytes: message.encode() })
}
