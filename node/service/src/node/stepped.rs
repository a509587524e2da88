//! A node whose threads are stepped by its caller; for simulation.
//!
//! Every part is the one that a running node has. Only what runs them differs: there are no threads, so a part that
//! would wait is not ready yet, and the caller chooses which of those that are ready goes next.

use purlin_chain::Chain;
use purlin_primitives::{BlockHeader, Height, Transaction, TransactionId};
use purlin_rpc::SubmitError;
use purlin_state::KeyValueStore;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use tokio::sync::oneshot;

use super::components::{Components, Frame};
use super::core::{Core, StopReason};
use super::driver::{Driver, Halt};
use super::exchange::Exchange;
use super::inbox::Inbox;
use super::peers::tick_interval;
use super::pipeline::{self, BuildJob, Builder, CommitJob, MESSAGES_MAX, Message, PowMessage, Sealed};
use super::tracker::Ending;
use super::workers::Workers;
use super::{NoMiner, NodeParts, StartError};
use crate::config::Settings;
use crate::signing_disk::SigningDisk;

pub use super::components::WrapEngine;
pub use super::driver::Now as StepTime;

/// A part of a node that can be stepped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Gives the engine one input and carries out what it wants.
    Driver,
    /// Builds or checks one block.
    Builder,
    /// Seals and stores one block.
    Committer,
    /// Takes one event of the network or of the driver.
    Exchange,
    /// Checks a batch of a peer's transactions.
    Checker,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 5] = [Self::Driver, Self::Builder, Self::Committer, Self::Exchange, Self::Checker];
}

/// How much waits inside a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueLengths {
    /// Messages to the driver.
    pub messages: usize,
    /// Events of importance for the exchange.
    pub urgent: usize,
    /// Batches of transactions for the exchange.
    pub bulk: usize,
    /// Batches that wait for a check.
    pub checks: usize,
    /// Jobs of the builder.
    pub builds: usize,
    /// Jobs of the committer.
    pub commits: usize,
    /// Bodies of undecided blocks in the driver.
    pub bodies: usize,
    /// Executed blocks that are not decided.
    pub built: usize,
    /// Blocks that the driver wants and does not have.
    pub wanted: usize,
    /// Transactions in the pool.
    pub pool: usize,
    /// Their bytes.
    pub pool_bytes: usize,
    /// Transactions in blocks that are not final.
    pub in_blocks: usize,
    /// Reasons kept of dropped transactions.
    pub dropped: usize,
    /// Transactions that somebody waits for.
    pub waiters: usize,
    /// Blocks fetched to catch up that the driver was not given, or has not stored.
    pub delivered: usize,
    /// Announced blocks that are being completed.
    pub assemblies: usize,
    /// Transactions that wait to be announced.
    pub announcing: usize,
    /// Transactions to be fetched from peers.
    pub fetching: usize,
    /// Headers that are not applied.
    pub headers: usize,
    /// Bytes of their bodies.
    pub body_bytes: usize,
    /// Undecided blocks kept to be shown to peers.
    pub shown_blocks: usize,
    /// Messages of the engine kept to be shown to peers.
    pub shown_messages: usize,
    /// Announced blocks that wait for their signed proposal.
    pub announced: usize,
    /// Signed proposals that are remembered for announcements.
    pub proposed: usize,
    /// Certified blocks in the driver of heights after the one being decided.
    pub ahead: usize,
    /// Messages in the engine for heights to come.
    pub early: usize,
    /// Signatures in the engine, kept to find those that exclude each other.
    pub evidence: usize,
    /// Proposals in the engine whose block is not known.
    pub proposals: usize,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is in a final block.
    Committed {
        /// Of which height.
        height: Height,
        /// Its place there.
        index: u32,
    },
    /// It left the pool unused.
    Dropped {
        /// Why.
        reason: String,
    },
    /// The node stopped and does not know.
    Unknown,
}

/// Waits for what becomes of a transaction.
#[derive(Debug)]
pub struct Waiting(oneshot::Receiver<Ending>);

impl Waiting {
    /// Returns what became of it, once that is known; a second time after that [`Fate::Unknown`].
    pub fn poll(&mut self) -> Option<Fate> {
        match self.0.try_recv() {
            Ok(Ending::Final(block, index)) => {
                Some(Fate::Committed { height: block.block.header.height, index })
            }
            Ok(Ending::Dropped(reason)) => Some(Fate::Dropped { reason }),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Fate::Unknown),
        }
    }
}

/// A node that stands still until it is stepped. Dropping it is a crash: nothing is finished.
pub struct SteppedNode<S> {
    core: Arc<Core<S>>,
    driver: Driver<S>,
    channel: Receiver<Message>,
    /// Taken out of the channel, so that its length is known.
    messages: VecDeque<Message>,
    builder: Builder<S>,
    build_channel: Receiver<BuildJob>,
    builds: VecDeque<BuildJob>,
    commit_channel: Receiver<CommitJob>,
    commits: VecDeque<CommitJob>,
    sealed: Arc<Sealed>,
    exchange: Option<(Exchange<S>, Arc<Inbox>)>,
    workers: Arc<Workers>,
    /// When the exchange looked at the time last.
    ticked: Duration,
    started: bool,
}

impl<S: KeyValueStore> SteppedNode<S> {
    /// Opens a node. Its signatures are recorded on `disk`, under the paths that the settings name.
    /// `wrap_engine` may put something around the engine, to watch it or to break it.
    ///
    /// # Errors
    /// As for a node that runs.
    pub fn open(
        settings: &Settings,
        parts: NodeParts<S>,
        disk: &dyn SigningDisk,
        wrap_engine: Option<WrapEngine>,
    ) -> Result<Self, StartError> {
        // No threads: who wants to search brings a [`super::StepMiner`].
        let parts = NodeParts { miner: parts.miner.or_else(|| Some(Box::new(NoMiner))), ..parts };
        let workers = Arc::new(Workers::stepped());
        let frame = Frame { disk, workers: Arc::clone(&workers), jobs_max: pipeline::JOBS_MAX, wrap_engine };
        let Components { core, driver, messages, builder, build_jobs, commit_jobs, sealed, exchange, .. } =
            Components::new(settings, parts, frame)?;
        Ok(Self {
            core,
            driver,
            channel: messages,
            messages: VecDeque::new(),
            builder,
            build_channel: build_jobs,
            builds: VecDeque::new(),
            commit_channel: commit_jobs,
            commits: VecDeque::new(),
            sealed,
            exchange,
            workers,
            ticked: Duration::ZERO,
            started: false,
        })
    }

    /// Says whether a part has something to do that does not wait for a time.
    pub fn is_ready(&self, part: Part) -> bool {
        if self.is_stopped() {
            return false;
        }
        // Whoever tells the driver something would wait for room in its queue.
        let room = self.messages.len() < MESSAGES_MAX;
        match part {
            Part::Driver => !self.started || !self.messages.is_empty(),
            Part::Builder => room && self.builds.front().is_some_and(|job| self.is_possible(job)),
            Part::Committer => room && !self.commits.is_empty(),
            Part::Exchange => {
                room && self.exchange.as_ref().is_some_and(|(_, inbox)| inbox.lengths() != (0, 0))
            }
            Part::Checker => room && self.workers.waiting() > 0,
        }
    }

    /// Says whether the block that a job stands on is sealed, for which a thread would wait.
    fn is_possible(&self, job: &BuildJob) -> bool {
        job.parent().is_none_or(|parent| self.sealed.has(parent))
    }

    /// Does one unit of work of a part; nothing when it is not ready. For the driver that includes timers that are
    /// due.
    pub fn step(&mut self, now: StepTime, part: Part) {
        if self.is_stopped() || (part != Part::Driver && !self.is_ready(part)) {
            return;
        }
        match part {
            Part::Driver => {
                self.started = true;
                let message = self.messages.pop_front();
                let done = self.driver.step(now, message);
                self.halted(done);
            }
            Part::Builder => {
                if let Some(job) = self.builds.pop_front() {
                    // An error has stopped the node.
                    let _ = self.builder.take(job);
                }
            }
            Part::Committer => {
                if let Some(job) = self.commits.pop_front() {
                    let _ = pipeline::commit_one(&self.core, &self.sealed, job);
                }
            }
            Part::Exchange => {
                let Some((exchange, inbox)) = &mut self.exchange else { return };
                if let Some(event) = inbox.take() {
                    let done = exchange.step(milliseconds(now.elapsed), event);
                    self.halted(done);
                }
            }
            Part::Checker => self.workers.step(),
        }
        self.collect();
    }

    /// Lets the exchange look at the time, when that is due.
    pub fn tick(&mut self, now: StepTime) {
        if self.is_stopped() || self.next_tick().is_none_or(|at| at > now.elapsed) {
            return;
        }
        let Some((exchange, _)) = &mut self.exchange else { return };
        self.ticked = now.elapsed;
        let done = exchange.tick(milliseconds(now.elapsed));
        self.halted(done);
        self.collect();
    }

    fn halted(&self, done: Result<(), Halt>) {
        if let Err(Halt(reason)) = done {
            self.core.fail(reason);
        }
    }

    /// Takes what parts said to each other out of their channels.
    fn collect(&mut self) {
        while self.messages.len() < MESSAGES_MAX {
            let Ok(message) = self.channel.try_recv() else { break };
            self.messages.push_back(message);
        }
        self.builds.extend(self.build_channel.try_iter());
        self.commits.extend(self.commit_channel.try_iter());
    }

    /// Takes a header with a nonce that meets its target, as [`super::StepMiner::step`] finds it.
    pub fn mined(&mut self, header: BlockHeader) {
        self.messages.push_back(Message::Pow(PowMessage::Mined(Box::new(header))));
    }

    /// Returns when the driver wants to be stepped without a message.
    pub fn next_timer(&self) -> Option<Duration> {
        self.driver.next_timer()
    }

    /// Returns when [`Self::tick`] is due; `None` without a network.
    pub fn next_tick(&self) -> Option<Duration> {
        self.exchange.as_ref().map(|(exchange, _)| self.ticked + tick_interval(exchange))
    }

    /// Takes a client's transaction, as the API does; the second is what to wait with.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn submit(&mut self, transaction: Transaction) -> Result<(TransactionId, Waiting), SubmitError> {
        let id = self.core.submit(self.core.verify(transaction)?)?;
        let waiting = Waiting(self.core.tracker.lock().wait(id));
        self.collect();
        Ok((id, waiting))
    }

    /// Waits for a transaction that is on its way here; `None` when it is not.
    pub fn follow(&self, id: &TransactionId) -> Option<Waiting> {
        let pool = self.core.pool.lock();
        let mut tracker = self.core.tracker.lock();
        let is_known = pool.mempool.get(id).is_some() || tracker.in_block(id).is_some();
        is_known.then(|| Waiting(tracker.wait(*id)))
    }

    /// Says whether a transaction waits here for a block, or is in one that is not final.
    pub fn is_waiting(&self, id: &TransactionId) -> bool {
        let pool = self.core.pool.lock();
        let tracker = self.core.tracker.lock();
        pool.mempool.get(id).is_some() || tracker.in_block(id).is_some()
    }

    /// Returns why a transaction was dropped, when that was not long ago.
    pub fn drop_reason(&self, id: &TransactionId) -> Option<String> {
        self.core.tracker.lock().dropped(id).cloned()
    }

    /// Returns what is durable here.
    pub fn chain(&self) -> &Chain<S> {
        &self.core.chain
    }

    /// Returns the height of the last block that clients are told of as final.
    pub fn final_height(&self) -> Height {
        *self.core.heights.borrow()
    }

    /// Says whether the node stopped: nothing it is told changes it any more.
    pub fn is_stopped(&self) -> bool {
        self.core.stopping()
    }

    /// Says why the node stopped, when it did.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.core.stop.borrow().clone()
    }

    /// Returns how much waits.
    pub fn lengths(&self) -> QueueLengths {
        let (urgent, bulk) = self.exchange.as_ref().map_or((0, 0), |(_, inbox)| inbox.lengths());
        let (pool, pool_bytes) = {
            let pool = self.core.pool.lock();
            (pool.mempool.len(), pool.mempool.bytes())
        };
        let (in_blocks, dropped, waiters) = self.core.tracker.lock().lengths();
        let (bodies, built, wanted) = self.driver.lengths();
        let (ahead, engine) = self.driver.waiting();
        let mut lengths = QueueLengths {
            messages: self.messages.len(),
            urgent,
            bulk,
            checks: self.workers.waiting(),
            builds: self.builds.len(),
            commits: self.commits.len(),
            bodies,
            built,
            wanted,
            pool,
            pool_bytes,
            in_blocks,
            dropped,
            waiters,
            ahead,
            early: engine.early,
            evidence: engine.evidence,
            proposals: engine.held,
            ..QueueLengths::default()
        };
        if let Some((exchange, _)) = &self.exchange {
            exchange.count(&mut lengths);
        }
        lengths
    }
}

impl<S> std::fmt::Debug for SteppedNode<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SteppedNode").field("messages", &self.messages.len()).finish_non_exhaustive()
    }
}

fn milliseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
