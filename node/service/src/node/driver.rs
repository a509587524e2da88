//! Carries out what the consensus engine wants.
//!
//! The driver has no thread and no clock of its own: whoever runs it tells it the time with each step, so that a
//! simulation runs the same code.

mod key_use;
mod pow;

pub(super) use pow::PowDriver;

use parking_lot::Mutex;
use purlin_chain::CommittedBlock;
use purlin_consensus::{
    Announcement, ConsensusEngine, Effect, EngineLengths, Head, Input, Notice, TimerId, Verdict,
};
use purlin_primitives::{
    Block, BlockHeader, BlockId, Certificate, Equivocation, Height, PublicKey, TimestampMs, TransactionId,
};
use purlin_state::KeyValueStore;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use self::key_use::{KeyUse, WATCH};
use super::bodies::BodyLog;
use super::core::{Core, StopReason};
use super::pipeline::{BuildJob, Built, CommitJob, Message, Sealed};
use super::tracker::FinalBlock;
use crate::clock::system_time;
use crate::metrics::add;
use crate::sign_state::LastSigned;

/// Most bodies of undecided blocks that are kept; the oldest goes first.
const BODIES_MAX: usize = 16;

/// Heights after the one being decided whose certified blocks are taken: one is executed while the one before it is
/// written, and another waits.
pub(super) const AHEAD_MAX: u64 = 3;

/// What the driver wants other nodes to know or to give.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// A message of the consensus engine, for everybody.
    Message(Vec<u8>),
    /// A block that was proposed here; others will ask for its body.
    Proposed(Arc<Block>),
    /// A block is final.
    Final {
        /// Which.
        block: Arc<Block>,
        /// What shows it; none for engines without certificates.
        certificate: Option<Certificate>,
    },
    /// The body of a proposed block is wanted here.
    Want {
        /// Which.
        block: BlockId,
        /// Its height.
        height: Height,
    },
    /// Somebody gave a block with wrong signatures, which its id does not cover: another copy of it may be right.
    BadBody(Box<Block>),
    /// A peer sent what no honest node sends.
    Blame {
        /// Who, as [`Input::Message`] named it.
        peer: Vec<u8>,
        /// What was wrong.
        reason: String,
    },
    /// A validator's misbehaviour should be brought into a block.
    Evidence(Box<Equivocation>),
    /// The body of a block beside the chain is wanted here; only under proof of work, as what follows.
    WantBranch {
        /// Which.
        block: BlockId,
        /// Who announced it.
        from: Option<Vec<u8>>,
    },
    /// A peer's headers are wanted from where its chain leaves this node's.
    WantHeaders {
        /// Whose.
        from: Vec<u8>,
    },
    /// The chain's head is another one.
    Moved,
}

/// Takes what the driver has for other nodes. Called from the driver; must not wait.
pub trait Outbox: Send + 'static {
    /// Passes it on, soon. May drop under pressure: gossip is a hint.
    fn put(&self, outgoing: Outgoing);
}

/// Has nobody to tell: a node alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

impl Outbox for NoPeers {
    fn put(&self, _outgoing: Outgoing) {}
}

/// The time of a step.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Time of day; may go backwards.
    pub wall: TimestampMs,
    /// Since some moment of the past; never goes backwards.
    pub elapsed: Duration,
}

/// Says that the node must stop, and why.
pub(super) struct Halt(pub(super) String);

/// A block between `Commit` and being final.
struct Storing {
    diagnostics: BTreeMap<TransactionId, String>,
    certificate: Option<Certificate>,
    committed: Option<CommittedBlock>,
}

/// Everything a driver needs.
pub(super) struct DriverParts<S> {
    pub(super) core: Arc<Core<S>>,
    pub(super) engine: Box<dyn ConsensusEngine>,
    pub(super) outbox: Box<dyn Outbox>,
    pub(super) kept: Box<dyn BodyLog>,
    /// The key this node signs with and what it signed last, to notice when somebody else uses it.
    pub(super) signing: Option<(PublicKey, Arc<Mutex<LastSigned>>)>,
    pub(super) builds: SyncSender<BuildJob>,
    pub(super) commits: SyncSender<CommitJob>,
    pub(super) sealed: Arc<Sealed>,
    /// What proof of work takes; none for other engines.
    pub(super) pow: Option<PowDriver>,
}

pub(super) struct Driver<S> {
    parts: DriverParts<S>,
    timers: BTreeMap<TimerId, Duration>,
    built: BTreeMap<BlockId, Built>,
    /// Bodies of blocks that are not decided yet, oldest first.
    bodies: VecDeque<(BlockId, Block)>,
    /// Blocks that the engine wants checked and whose body is not here.
    wanted: BTreeMap<BlockId, Height>,
    storing: BTreeMap<Height, Storing>,
    /// Certified blocks of heights that the engine has not come to: header, certificate, and who sent it.
    ahead: BTreeMap<Height, (Box<BlockHeader>, Certificate, Vec<u8>)>,
    /// Blocks of others at the builder, each once, and whether the engine has asked about them.
    judging: BTreeMap<BlockId, bool>,
    /// The last block that was chosen, and the last one of which the engine knows that it is durable.
    chosen: (Height, BlockId),
    entered: Height,
    /// Answers that are known at once, given to the engine next.
    inputs: VecDeque<Input>,
    /// Time of day at the first step.
    started: Option<TimestampMs>,
    stopping: bool,
    key_use: KeyUse,
}

impl<S: KeyValueStore> Driver<S> {
    /// `bodies` are the blocks that were kept for after a crash.
    pub(super) fn new(parts: DriverParts<S>, started: Input, bodies: Vec<Block>) -> Self {
        let head = match &started {
            Input::Started { head, .. } => (head.height, head.id),
            _ => (Height::ZERO, BlockId::ZERO),
        };
        let mut driver = Self {
            parts,
            timers: BTreeMap::new(),
            built: BTreeMap::new(),
            bodies: VecDeque::new(),
            wanted: BTreeMap::new(),
            storing: BTreeMap::new(),
            ahead: BTreeMap::new(),
            judging: BTreeMap::new(),
            chosen: head,
            entered: head.0,
            inputs: VecDeque::from([started]),
            started: None,
            stopping: false,
            key_use: KeyUse::default(),
        };
        bodies.into_iter().for_each(|block| driver.keep_body(block));
        driver
    }

    /// Runs until the node stops. Blocks that are being stored are finished and signed before a wanted stop.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        if let Err(Halt(reason)) = self.drive(messages) {
            self.parts.core.fail(reason);
        }
        if let Some(pow) = &mut self.parts.pow {
            pow.stop();
        }
        self.parts.core.tracker.lock().close();
        // Lets the builder go if it waits for a block that is never sealed.
        self.parts.sealed.release();
    }

    fn drive(&mut self, messages: &Receiver<Message>) -> Result<(), Halt> {
        let start = Instant::now();
        let now = || Now { wall: system_time(), elapsed: start.elapsed() };
        let mut message = None;
        loop {
            self.step(now(), message.take())?;
            match &*self.parts.core.stop.borrow() {
                Some(StopReason::Failed(_)) => return Ok(()),
                Some(StopReason::Requested) => self.stopping = true,
                None => {}
            }
            if self.stopping {
                self.timers.clear();
                // What is durable and not certified by now is certified at the next start.
                let reorganizing = self.parts.pow.as_ref().is_some_and(PowDriver::is_reorganizing);
                if !reorganizing && self.storing.values().all(|storing| storing.committed.is_some()) {
                    return Ok(());
                }
            }
            message = match self.next_timer() {
                None => match messages.recv() {
                    Ok(message) => Some(message),
                    // Nobody can send any more.
                    Err(_) => return Ok(()),
                },
                Some(at) => match messages.recv_timeout(at.saturating_sub(start.elapsed())) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                },
            };
        }
    }

    /// Returns when [`Driver::step`] has something to do without a message.
    pub(super) fn next_timer(&self) -> Option<Duration> {
        self.timers.values().min().copied()
    }

    /// Returns how many bodies, executed blocks and wanted blocks it keeps.
    pub(super) fn lengths(&self) -> (usize, usize, usize) {
        let (bodies, wanted) = self.parts.pow.as_ref().map_or((0, 0), PowDriver::lengths);
        let candidates = self.parts.core.heads.as_ref().map_or(0, |heads| heads.candidates.lock().len());
        (self.bodies.len() + bodies, self.built.len() + candidates, self.wanted.len() + wanted)
    }

    /// Returns how many certified blocks wait for their turn, and how much the engine keeps.
    pub(super) fn waiting(&self) -> (usize, EngineLengths) {
        (self.ahead.len(), self.parts.engine.lengths())
    }

    /// Takes a message, lets timers go off that are due, and carries out everything that follows.
    pub(super) fn step(&mut self, now: Now, message: Option<Message>) -> Result<(), Halt> {
        self.started.get_or_insert(now.wall);
        if let Some(message) = message {
            self.take_in(now, message)?;
        }
        loop {
            while let Some(input) = self.inputs.pop_front() {
                for effect in self.parts.engine.handle(now.wall, input) {
                    self.carry_out(now, effect)?;
                }
            }
            let due = self.timers.iter().filter(|(_, at)| **at <= now.elapsed).min_by_key(|(_, at)| **at);
            let Some((timer, _)) = due else { return Ok(()) };
            let timer = *timer;
            self.timers.remove(&timer);
            if timer == WATCH {
                self.watched(now);
            } else {
                self.inputs.push_back(Input::TimerElapsed { timer });
            }
        }
    }

    fn take_in(&mut self, now: Now, message: Message) -> Result<(), Halt> {
        let core = Arc::clone(&self.parts.core);
        // Looked at here, not where the answer was made: a transaction that came in between would be overlooked.
        let waiting = || core.pool.lock().mempool.len();
        let input = match message {
            // Only wakes `drive`, which knows why.
            Message::Stop => return Ok(()),
            Message::Input(input) => {
                match &input {
                    Input::TransactionsWaiting => core.waiting_told.store(false, Ordering::Release),
                    Input::AnchorWanted => core.anchor_told.store(false, Ordering::Release),
                    Input::Message { bytes, .. } => self.check_own_votes(bytes)?,
                    Input::SigningAllowed { .. } => return self.caught_up(now),
                    _ => {}
                }
                input
            }
            Message::Skipped { height, stuck } => {
                Input::ProposalSkipped { height, more_waiting: !stuck && waiting() > 0 }
            }
            Message::Built(built) => {
                let proposal = built.proposal.clone();
                // Its own transactions stay in the pool until it is chosen.
                let more_waiting = waiting() > built.transactions.len();
                self.built.insert(proposal.id, *built);
                Input::ProposalBuilt { proposal, more_waiting }
            }
            Message::Judged { block, verdict } if self.judging.remove(&block) == Some(false) => {
                // A wrong one is judged again when its certificate was checked: then it is known who is to blame.
                if let Ok(built) = verdict {
                    self.built.insert(block, *built);
                }
                return Ok(());
            }
            // Nobody waits for it any more, and it need not be wrong: maybe it was decided.
            Message::Late { block } => {
                self.judging.remove(&block);
                return Ok(());
            }
            // Whoever gave it is to blame, not who made the block: it may be final.
            Message::BadBody { block, reason } => {
                self.bad_body(block, &reason);
                return Ok(());
            }
            Message::Judged { block, verdict: Err(reason) } => {
                self.refuse(block, reason);
                return Ok(());
            }
            Message::Judged { block, verdict: Ok(built) } => {
                let header = Box::new(built.proposal.header.clone());
                self.built.insert(block, *built);
                Input::BlockValidated { block, verdict: Verdict::Valid { header } }
            }
            Message::Body(block) if self.parts.pow.is_some() => return self.keep_branch_body(*block),
            Message::Body(block) => {
                self.keep_body(*block);
                self.judge_wanted();
                return Ok(());
            }
            Message::Certified { block, certificate, from } => {
                let header = Box::new(block.header.clone());
                self.keep_body(*block);
                self.judge_wanted();
                let height = header.height;
                if height > self.entered.next() {
                    if height.get() <= self.entered.get() + AHEAD_MAX {
                        self.ahead.insert(height, (header, certificate, from));
                        self.speculate();
                    }
                    return Ok(());
                }
                Input::Certified { header, certificate, from }
            }
            Message::Pow(message) => return self.take_in_pow(message),
            Message::Committed(committed) if self.parts.pow.is_some() => {
                self.extended(&committed)?;
                let header = Box::new(committed.block.header.clone());
                Input::Committed { head: head_of(&committed), header, validators: Arc::default() }
            }
            Message::Committed(committed) => {
                let height = committed.head.height;
                let header = Box::new(committed.block.header.clone());
                let head = head_of(&committed);
                let storing = self.storing.get_mut(&height);
                let Some(storing) = storing else {
                    return Err(Halt(format!("block {height} was stored without being asked for")));
                };
                storing.committed = Some(*committed);
                if let Some(certificate) = storing.certificate.take() {
                    self.finalize(height, Some(certificate))?;
                }
                let validators = core.validators(height.next()).map_err(|error| {
                    Halt(format!("the validators after block {height} cannot be read: {error}"))
                })?;
                self.entered = height;
                self.inputs.push_back(Input::Committed { head, header, validators });
                self.ahead.retain(|of, _| *of > height);
                let Some((header, certificate, from)) = self.ahead.remove(&height.next()) else {
                    return Ok(());
                };
                Input::Certified { header, certificate, from }
            }
        };
        self.inputs.push_back(input);
        Ok(())
    }

    fn keep_body(&mut self, block: Block) {
        let id = block.header.id();
        if let Some((_, kept)) = self.bodies.iter_mut().find(|(known, _)| *known == id) {
            // Signatures may differ, and the last one is not known to be wrong yet.
            *kept = block;
            return;
        }
        while self.bodies.len() >= BODIES_MAX {
            self.bodies.pop_front();
        }
        self.bodies.push_back((id, block));
    }

    /// Has the builder check a block that the engine asks about, as soon as the body is here.
    fn want_body(&mut self, block: BlockId, height: Height) {
        self.wanted.insert(block, height);
        self.judge_wanted();
        if self.wanted.contains_key(&block) {
            self.parts.outbox.put(Outgoing::Want { block, height });
        }
    }

    /// Has the builder check what the engine asked about, where the body is here by now.
    fn judge_wanted(&mut self) {
        let bodies = &self.bodies;
        let ready: Vec<BlockId> =
            self.wanted.keys().filter(|id| bodies.iter().any(|(known, _)| known == *id)).copied().collect();
        for id in ready {
            let height = self.wanted.remove(&id);
            let Some((_, block)) = self.bodies.iter().find(|(known, _)| *known == id) else { continue };
            if height != Some(block.header.height) {
                // The builder would wait for a parent that nobody can decide before it goes on.
                let reason = format!("its header is of height {}", block.header.height);
                self.refuse(id, reason);
                continue;
            }
            let block = Box::new(block.clone());
            self.judging.insert(id, true);
            self.build(BuildJob::Judge { block });
        }
    }

    /// Has the builder execute the block after the last chosen one while that is being written. It counts only when the
    /// engine asks for it, after it has checked the certificate.
    fn speculate(&mut self) {
        let (height, id) = self.chosen;
        let Some((header, ..)) = self.ahead.get(&height.next()) else { return };
        let block = header.id();
        if header.parent != id || self.built.contains_key(&block) || self.judging.contains_key(&block) {
            return;
        }
        let Some((_, body)) = self.bodies.iter().find(|(known, _)| *known == block) else { return };
        let body = Box::new(body.clone());
        self.judging.insert(block, false);
        self.build(BuildJob::Judge { block: body });
    }

    /// Looks for another copy of a block: whoever gave this one is to blame, not who made the block, which may be final.
    fn bad_body(&mut self, block: Box<Block>, reason: &str) {
        let (id, height) = (block.header.id(), block.header.height);
        tracing::warn!(block = %id, reason, "the body of a block is wrong; it is fetched again");
        self.bodies.retain(|(known, kept)| *known != id || kept.transactions != block.transactions);
        self.parts.outbox.put(Outgoing::BadBody(block));
        let asked = self.judging.remove(&id) == Some(true);
        if self.stopping {
            return;
        }
        if asked && height > self.chosen.0 {
            self.want_body(id, height);
        } else {
            self.speculate();
        }
    }

    /// Tells the engine that a block is invalid.
    fn refuse(&mut self, block: BlockId, reason: String) {
        tracing::warn!(%block, reason, "a block is invalid");
        self.bodies.retain(|(known, _)| *known != block);
        self.inputs.push_back(Input::BlockValidated { block, verdict: Verdict::Invalid { reason } });
    }

    fn build(&self, job: BuildJob) {
        // The builder is gone only when the node fails, which `drive` sees.
        drop(self.parts.builds.send(job));
    }

    fn carry_out(&mut self, now: Now, effect: Effect) -> Result<(), Halt> {
        match effect {
            // Nothing new is begun during a stop.
            Effect::BuildProposal { .. } | Effect::SetTimer { .. } | Effect::ValidateBlock { .. }
                if self.stopping => {}
            Effect::BuildProposal { height, time, seal, when_empty } => {
                self.build(BuildJob::Build { height, time, seal, when_empty });
            }
            Effect::ValidateBlock { block, height } => {
                if let Some(built) = self.built.get(&block) {
                    let header = Box::new(built.proposal.header.clone());
                    self.inputs
                        .push_back(Input::BlockValidated { block, verdict: Verdict::Valid { header } });
                    return Ok(());
                }
                if let Some(asked) = self.judging.get_mut(&block) {
                    *asked = true;
                    return Ok(());
                }
                self.want_body(block, height);
            }
            Effect::Commit { .. } if self.stopping => {}
            Effect::Commit { block, certificate } => {
                if self.parts.pow.is_some() {
                    self.prepare_candidate(block)?;
                }
                self.commit(block, certificate)?;
            }
            Effect::Certify { certificate } => self.certify(&certificate)?,
            Effect::KeepBody { block, beside, .. } => {
                if let Some(built) = self.built.get(&block) {
                    let kept = self.parts.kept.keep(built.pending.block(), &beside);
                    kept.map_err(|error| {
                        Halt(format!("a block could not be kept: {error}; check the disk"))
                    })?;
                }
            }
            Effect::SetTimer { timer, after_ms } => {
                self.timers.insert(timer, now.elapsed + Duration::from_millis(after_ms));
            }
            Effect::CancelTimer { timer } => {
                self.timers.remove(&timer);
            }
            Effect::Publish(announcement) => self.publish(announcement)?,
            Effect::Blame { peer, reason } => self.parts.outbox.put(Outgoing::Blame { peer, reason }),
            Effect::Evidence(evidence) => {
                let (offender, height) = (evidence.offender(), evidence.height());
                tracing::warn!(%offender, %height, "a validator signed two things that exclude each other");
                self.parts.outbox.put(Outgoing::Evidence(evidence));
            }
            Effect::Pow(effect) => self.carry_out_pow(effect)?,
            Effect::Report(notice) => {
                if let Notice::RoundFailed { round, .. } = &notice {
                    self.parts.core.round.store(round.saturating_add(1), Ordering::Relaxed);
                }
                report(&notice);
            }
            Effect::Halt { reason } => return Err(Halt(reason)),
        }
        Ok(())
    }

    fn publish(&mut self, announcement: Announcement) -> Result<(), Halt> {
        let synced = self.parts.kept.sync();
        synced.map_err(|error| Halt(format!("a block could not be kept: {error}; check the disk")))?;
        match announcement {
            Announcement::Message { bytes } => self.parts.outbox.put(Outgoing::Message(bytes)),
            Announcement::Block { block } => {
                if let Some(built) = self.built.get(&block) {
                    let block = Arc::new(built.pending.block().clone());
                    self.parts.outbox.put(Outgoing::Proposed(block));
                } else if self.parts.pow.is_some() {
                    self.publish_stored(block)?;
                }
            }
            // The block goes with it, when it is final.
            Announcement::Certified { .. } => {}
        }
        Ok(())
    }

    fn commit(&mut self, block: BlockId, certificate: Option<Certificate>) -> Result<(), Halt> {
        let Some(built) = self.built.remove(&block) else {
            return Err(Halt(format!(
                "the consensus engine chose block {block}, which this node does not have"
            )));
        };
        let header = built.proposal.header;
        if let Some(certificate) = &certificate {
            self.check_own_signature(&header, certificate)?;
        }
        // Whatever else there was at this height lost.
        self.built.retain(|_, other| other.proposal.header.height > header.height);
        self.bodies.retain(|(_, other)| other.header.height > header.height);
        self.wanted.retain(|_, height| *height > header.height);
        let storing =
            Storing { diagnostics: built.diagnostics, certificate: certificate.clone(), committed: None };
        self.storing.insert(header.height, storing);
        self.chosen = (header.height, block);
        self.parts.core.round.store(0, Ordering::Relaxed);
        let state = built.pending.state();
        self.build(BuildJob::Advance { header: Box::new(header), state, transactions: built.transactions });
        // The committer is gone only when the node fails, which `drive` sees.
        drop(self.parts.commits.send(CommitJob::Append { pending: built.pending, certificate }));
        if !self.stopping {
            self.speculate();
        }
        Ok(())
    }

    /// Keeps the certificate, then the block is final.
    fn certify(&mut self, certificate: &Certificate) -> Result<(), Halt> {
        let height = certificate.height;
        let stored = self.parts.core.chain.certify(certificate);
        stored.map_err(|error| {
            Halt(format!("the certificate of block {height} could not be stored: {error}"))
        })?;
        self.finalize(height, Some(certificate.clone()))
    }

    /// Reports a block as final. Does nothing for the head that was signed again at start.
    fn finalize(&mut self, height: Height, certificate: Option<Certificate>) -> Result<(), Halt> {
        let Some(storing) = self.storing.remove(&height) else { return Ok(()) };
        let Some(CommittedBlock { head, block, receipts }) = storing.committed else {
            return Err(Halt(format!("block {height} was certified before it was durable")));
        };
        let core = &self.parts.core;
        let metrics = &core.metrics;
        add(&metrics.blocks, 1);
        add(&metrics.committed, receipts.len() as u64);
        add(&metrics.failed, receipts.iter().filter(|receipt| !receipt.succeeded()).count() as u64);
        let gas = receipts.iter().fold(0u64, |sum, receipt| sum.saturating_add(receipt.gas_used.get()));
        add(&metrics.gas_used, gas);
        tracing::debug!(%height, id = %head.block, transactions = receipts.len(), gas, "block is final");
        let id = head.block;
        *core.head.write() = Arc::clone(&head);
        let block = Arc::new(block);
        self.parts.outbox.put(Outgoing::Final { block: Arc::clone(&block), certificate });
        let block = Arc::new(FinalBlock { id, block, receipts, diagnostics: storing.diagnostics });
        // Whoever waited for a transaction and asks what is final must not be told less.
        core.heights.send_replace(height);
        core.tracker.lock().finalized(&block);
        Ok(())
    }
}

/// Describes the chain after a block was stored, for the engine.
fn head_of(committed: &CommittedBlock) -> Head {
    Head {
        height: committed.head.height,
        id: committed.head.block,
        time: committed.head.time,
        anchored: committed.block.transactions.is_empty(),
    }
}

fn report(notice: &Notice) {
    match notice {
        Notice::ClockBehind { by_ms } => {
            tracing::warn!(
                by_ms,
                "the clock is behind the last block; block times run ahead of it meanwhile"
            );
        }
        Notice::BlockAhead { block, ahead_ms } => {
            tracing::warn!(
                %block, ahead_ms,
                "a proposed block's time is ahead of this machine's clock, so it gets no vote now; check the clock"
            );
        }
        Notice::SignatureRefused { detail } => {
            tracing::warn!(detail, "a signature was refused; this validator is silent there");
        }
        Notice::Pow(notice) => pow::report(notice),
        Notice::Fault { detail } => tracing::warn!(detail, "the consensus engine survived a fault"),
        Notice::RoundFailed { height, round } => {
            tracing::info!(%height, round, "a round ended without a decision");
        }
    }
}
