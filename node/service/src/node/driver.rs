//! Carries out what the consensus engine wants.

use purlin_chain::CommittedBlock;
use purlin_consensus::{
    Announcement, ConsensusEngine, Effect, Head, Input, Notice, SigningRequest, TimerId, Verdict,
};
use purlin_primitives::{BlockId, Certificate, Height, TransactionId};
use purlin_state::KeyValueStore;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::core::{Core, StopReason};
use super::pipeline::{BuildJob, Built, CommitJob, Message, Sealed};
use super::tracker::FinalBlock;
use crate::clock::system_time;
use crate::metrics::{Stage, add};
use crate::sign_state::Signer;

/// Takes what an engine wants peers to know. The network implements it; [`NoPeers`] is its twin.
pub trait Announcer: Send + 'static {
    /// Sends to every peer, soon. May drop under pressure: gossip is a hint.
    fn announce(&self, announcement: &Announcement);
}

/// Announces to nobody: a node alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

impl Announcer for NoPeers {
    fn announce(&self, _announcement: &Announcement) {}
}

/// Says that the node must stop, and why.
struct Halt(String);

/// A block between `Commit` and being final.
struct Storing {
    diagnostics: BTreeMap<TransactionId, String>,
    /// Whether the certificate is stored with the block.
    certified: bool,
    committed: Option<CommittedBlock>,
}

pub(super) struct Driver<S> {
    core: Arc<Core<S>>,
    engine: Box<dyn ConsensusEngine>,
    announcer: Box<dyn Announcer>,
    signer: Option<Signer>,
    builds: SyncSender<BuildJob>,
    commits: SyncSender<CommitJob>,
    sealed: Arc<Sealed>,
    timers: BTreeMap<TimerId, Instant>,
    built: BTreeMap<BlockId, Built>,
    storing: BTreeMap<Height, Storing>,
    /// Answers that are known at once, given to the engine next.
    inputs: VecDeque<Input>,
    stopping: bool,
}

impl<S: KeyValueStore> Driver<S> {
    pub(super) fn new(
        core: Arc<Core<S>>,
        engine: Box<dyn ConsensusEngine>,
        announcer: Box<dyn Announcer>,
        signer: Option<Signer>,
        (builds, commits): (SyncSender<BuildJob>, SyncSender<CommitJob>),
        sealed: Arc<Sealed>,
    ) -> Self {
        Self {
            core,
            engine,
            announcer,
            signer,
            builds,
            commits,
            sealed,
            timers: BTreeMap::new(),
            built: BTreeMap::new(),
            storing: BTreeMap::new(),
            inputs: VecDeque::new(),
            stopping: false,
        }
    }

    /// Runs until the node stops. Blocks that are being stored are finished and signed before a wanted stop.
    pub(super) fn run(mut self, started: Input, messages: &Receiver<Message>) {
        self.inputs.push_back(started);
        if let Err(Halt(reason)) = self.drive(messages) {
            self.core.fail(reason);
        }
        self.core.tracker.lock().close();
        // Lets the builder go if it waits for a block that is never sealed.
        self.sealed.release();
    }

    fn drive(&mut self, messages: &Receiver<Message>) -> Result<(), Halt> {
        loop {
            while let Some(input) = self.inputs.pop_front() {
                for effect in self.engine.handle(system_time(), input) {
                    self.carry_out(effect)?;
                }
            }
            match &*self.core.stop.borrow() {
                Some(StopReason::Failed(_)) => return Ok(()),
                Some(StopReason::Requested) => self.stopping = true,
                None => {}
            }
            if self.stopping {
                self.timers.clear();
                // What is durable and not certified by now is certified at the next start.
                if self.storing.values().all(|storing| storing.committed.is_some()) {
                    return Ok(());
                }
            }
            match self.next_message(messages) {
                Some(message) => self.take_in(message)?,
                None => return Ok(()),
            }
        }
    }

    /// Waits for a message or a timer; `None` when nobody can send any more.
    fn next_message(&mut self, messages: &Receiver<Message>) -> Option<Message> {
        let timer = self.timers.iter().min_by_key(|(_, at)| **at).map(|(timer, at)| (*timer, *at));
        let Some((timer, at)) = timer else { return messages.recv().ok() };
        match messages.recv_timeout(at.saturating_duration_since(Instant::now())) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => {
                self.timers.remove(&timer);
                Some(Message::Input(Input::TimerElapsed { timer }))
            }
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn take_in(&mut self, message: Message) -> Result<(), Halt> {
        let core = Arc::clone(&self.core);
        // Looked at here, not where the answer was made: a transaction that came in between would be overlooked.
        let more_waiting = || !core.pool.lock().mempool.is_empty();
        let input = match message {
            // Only wakes `drive`, which knows why.
            Message::Stop => return Ok(()),
            Message::Input(input) => {
                match input {
                    Input::TransactionsWaiting => core.waiting_told.store(false, Ordering::Release),
                    Input::AnchorWanted => core.anchor_told.store(false, Ordering::Release),
                    _ => {}
                }
                input
            }
            Message::Skipped { height, stuck } => {
                Input::ProposalSkipped { height, more_waiting: !stuck && more_waiting() }
            }
            Message::Built(built) => {
                let proposal = built.proposal.clone();
                self.built.insert(proposal.id, *built);
                Input::ProposalBuilt { proposal, more_waiting: more_waiting() }
            }
            Message::Committed(committed) => {
                let height = committed.head.height;
                let header = Box::new(committed.block.header.clone());
                let head = Head {
                    height,
                    id: committed.head.block,
                    time: committed.head.time,
                    anchored: committed.block.transactions.is_empty(),
                };
                let storing = self.storing.get_mut(&height);
                let Some(storing) = storing else {
                    return Err(Halt(format!("block {height} was stored without being asked for")));
                };
                storing.committed = Some(*committed);
                if storing.certified {
                    self.finalize(height)?;
                }
                Input::Committed { head, header }
            }
        };
        self.inputs.push_back(input);
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), Halt> {
        match effect {
            // Nothing new is begun during a stop.
            Effect::BuildProposal { .. } | Effect::SetTimer { .. } if self.stopping => {}
            Effect::BuildProposal { height, time, when_empty } => {
                // The builder is gone only when the node fails, which `drive` sees.
                drop(self.builds.send(BuildJob { height, time, when_empty }));
            }
            Effect::ValidateBlock { block } => {
                let reason = "this node has no peers to fetch it from".to_owned();
                self.inputs.push_back(Input::BlockValidated { block, verdict: Verdict::Invalid { reason } });
            }
            Effect::Commit { .. } if self.stopping => {}
            Effect::Commit { block, certificate } => self.commit(block, certificate)?,
            Effect::Sign(SigningRequest::Block { header, id }) => {
                let Some(signer) = &mut self.signer else {
                    return Err(Halt(format!(
                        "block {id} was to be signed, and this node has no validator key"
                    )));
                };
                let signed = self.core.metrics.timed(Stage::Sign, 0, || signer.sign_block(&header));
                let signature = signed.map_err(|error| Halt(error.to_string()))?;
                self.inputs.push_back(Input::Signed { block: id, height: header.height, signature });
            }
            Effect::Certify { certificate } => self.certify(&certificate)?,
            Effect::SetTimer { timer, after_ms } => {
                self.timers.insert(timer, Instant::now() + Duration::from_millis(after_ms));
            }
            Effect::CancelTimer { timer } => {
                self.timers.remove(&timer);
            }
            Effect::Publish(announcement) => self.announcer.announce(&announcement),
            Effect::Report(Notice::ClockBehind { by_ms }) => {
                tracing::warn!(
                    by_ms,
                    "the clock is behind the last block; block times run ahead of it meanwhile"
                );
            }
        }
        Ok(())
    }

    fn commit(&mut self, block: BlockId, certificate: Option<Certificate>) -> Result<(), Halt> {
        let Some(built) = self.built.remove(&block) else {
            return Err(Halt(format!(
                "the consensus engine chose block {block}, which this node does not have"
            )));
        };
        // Whatever else was built at this height lost.
        let height = built.proposal.header.height;
        self.built.retain(|_, other| other.proposal.header.height > height);
        let certified = certificate.is_some();
        self.storing.insert(height, Storing { diagnostics: built.diagnostics, certified, committed: None });
        // The committer is gone only when the node fails, which `drive` sees.
        drop(self.commits.send(CommitJob { pending: built.pending, certificate }));
        Ok(())
    }

    /// Keeps the certificate, then the block is final.
    fn certify(&mut self, certificate: &Certificate) -> Result<(), Halt> {
        let height = certificate.height;
        let stored = self.core.chain.certify(certificate);
        stored.map_err(|error| {
            Halt(format!("the certificate of block {height} could not be stored: {error}"))
        })?;
        self.finalize(height)
    }

    /// Reports a block as final. Does nothing for the head that was signed again at start.
    fn finalize(&mut self, height: Height) -> Result<(), Halt> {
        let Some(storing) = self.storing.remove(&height) else { return Ok(()) };
        let Some(CommittedBlock { head, block, receipts }) = storing.committed else {
            return Err(Halt(format!("block {height} was certified before it was durable")));
        };
        let metrics = &self.core.metrics;
        add(&metrics.blocks, 1);
        add(&metrics.committed, receipts.len() as u64);
        add(&metrics.failed, receipts.iter().filter(|receipt| !receipt.succeeded()).count() as u64);
        let gas = receipts.iter().fold(0u64, |sum, receipt| sum.saturating_add(receipt.gas_used.get()));
        add(&metrics.gas_used, gas);
        tracing::debug!(%height, id = %head.block, transactions = receipts.len(), gas, "block is final");
        let id = head.block;
        *self.core.head.write() = Arc::clone(&head);
        let block = Arc::new(FinalBlock { id, head, block, receipts, diagnostics: storing.diagnostics });
        self.core.tracker.lock().finalized(&block);
        self.core.heights.send_replace(height);
        Ok(())
    }
}
