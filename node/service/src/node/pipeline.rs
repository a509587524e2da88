//! The threads that make blocks.
//!
//! ```text
//! driver     one input at a time into the consensus engine, carries out its effects, signs, reports final blocks
//! builder    takes from the pool and executes, on a stack that guests need      -> Built
//! committer  computes roots and writes                                          -> Committed
//! ```
//!
//! While the committer hashes and writes block N, the builder executes N+1 on the state that N left behind. Its
//! header needs the root of N, so it is made when N is sealed. Channels are bounded; what is in them is bounded by
//! the engine, which asks for one build at a time and runs one block ahead of the disk.

use parking_lot::{Condvar, Mutex};
use purlin_chain::{CommittedBlock, ExecutedBlock, InclusionError, PendingBlock, Policy};
use purlin_consensus::{Input, Proposal, WhenEmpty};
use purlin_mempool::Budget;
use purlin_primitives::{
    AccountId, Block, Certificate, Gas, Height, TimestampMs, TransactionId, VerifiedTransaction,
};
use purlin_state::{KeyValueStore, StateReader};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use super::core::{Core, View};
use crate::metrics::{Stage, add};

/// Most messages to the driver that wait. Signals are sent once until looked at and answers are one per job, so
/// this is never reached.
pub(super) const MESSAGES_MAX: usize = 256;

/// What the driver is told.
pub(super) enum Message {
    /// For the engine.
    Input(Input),
    /// The builder's answer.
    Built(Box<Built>),
    /// The builder's other answer.
    Skipped { height: Height, stuck: bool },
    /// The committer's answer.
    Committed(Box<CommittedBlock>),
    /// Finish what is being stored and end.
    Stop,
}

/// A block that was executed and can be committed.
pub(super) struct Built {
    pub(super) pending: PendingBlock,
    pub(super) proposal: Proposal,
    pub(super) diagnostics: BTreeMap<TransactionId, String>,
}

pub(super) struct BuildJob {
    pub(super) height: Height,
    pub(super) time: TimestampMs,
    pub(super) when_empty: WhenEmpty,
}

pub(super) struct CommitJob {
    pub(super) pending: PendingBlock,
    /// Stored with the block, when the engine has it before.
    pub(super) certificate: Option<Certificate>,
}

/// Height of the last sealed block, for the builder to wait for.
#[derive(Default)]
pub(super) struct Sealed {
    height: Mutex<Height>,
    changed: Condvar,
}

impl Sealed {
    pub(super) fn at(height: Height) -> Self {
        Self { height: Mutex::new(height), changed: Condvar::new() }
    }

    fn set(&self, height: Height) {
        *self.height.lock() = height;
        self.changed.notify_all();
    }

    /// Lets the builder go although nothing was sealed: the node stops.
    pub(super) fn release(&self) {
        self.set(Height::MAX);
    }

    fn wait_for(&self, height: Height) {
        let mut sealed = self.height.lock();
        while *sealed < height {
            self.changed.wait(&mut sealed);
        }
    }
}

pub(super) struct Builder<S> {
    pub(super) core: Arc<Core<S>>,
    pub(super) proposer: AccountId,
    pub(super) sealed: Arc<Sealed>,
    /// After the last block built here.
    pub(super) state: Arc<dyn StateReader>,
}

impl<S: KeyValueStore> Builder<S> {
    /// Builds until the driver is gone.
    pub(super) fn run(mut self, jobs: &Receiver<BuildJob>) {
        while let Ok(job) = jobs.recv() {
            match self.build(&job) {
                Ok(message) => {
                    if self.core.messages.send(message).is_err() {
                        return;
                    }
                }
                // Whatever failed first is the reason.
                Err(_) if self.core.stopping() => return,
                Err(error) => {
                    return self.core.fail(format_args!("building block {} failed: {error}", job.height));
                }
            }
        }
    }

    fn build(&mut self, job: &BuildJob) -> Result<Message, purlin_chain::ChainError> {
        let core = Arc::clone(&self.core);
        let parameters = core.chain.parameters();
        // What fits is known when the gas of those before is; the executor passes over the rest.
        let budget = Budget {
            gas: Gas::MAX,
            bytes: usize::try_from(parameters.block_bytes_max).unwrap_or(usize::MAX),
            transactions: parameters.block_transactions_max as usize,
        };
        let taken = core.pool.lock().mempool.take(budget);
        if taken.is_empty() && job.when_empty == WhenEmpty::Skip {
            return Ok(Message::Skipped { height: job.height, stuck: false });
        }
        let context = core.chain.context(job.height, job.time, self.proposer);
        let mut executed = core.metrics.timed(Stage::Execution, taken.len(), || {
            core.executor.execute_block(Arc::clone(&self.state), &context, &taken, Policy::LeaveOut)
        })?;
        let removed = self.drop_rejected(&taken, &executed);
        if executed.included.is_empty() && job.when_empty == WhenEmpty::Skip {
            return Ok(Message::Skipped { height: job.height, stuck: !removed });
        }
        let included: Vec<VerifiedTransaction> =
            executed.included.iter().map(|position| taken[*position].clone()).collect();
        let diagnostics =
            executed.diagnostics.iter().map(|one| (one.transaction, one.text.clone())).collect();
        if let Some(parent) = job.height.checked_sub(Height::new(1)) {
            self.sealed.wait_for(parent);
        }
        let ids: Vec<TransactionId> = included.iter().map(VerifiedTransaction::id).collect();
        let header = core.chain.next_header(job.time, self.proposer, &ids);
        let transactions = included.iter().map(|transaction| transaction.transaction().clone()).collect();
        executed.rejected.clear();
        let proposal = Proposal { id: header.id(), anchored: included.is_empty(), header: header.clone() };
        let pending = core.chain.begin(Block { header, transactions }, executed)?;
        self.state = pending.state();
        self.advance_pool(job, &included);
        Ok(Message::Built(Box::new(Built { pending, proposal, diagnostics })))
    }

    /// Takes out of the pool what can never be included, and says whether there was any.
    fn drop_rejected(&self, taken: &[VerifiedTransaction], executed: &ExecutedBlock) -> bool {
        let mut postponed = BTreeSet::new();
        let mut any = false;
        for rejected in &executed.rejected {
            let sender = taken[rejected.position].body().sender;
            let waits = match rejected.reason {
                InclusionError::BlockFull => true,
                // Its predecessor did not fit into this block either.
                InclusionError::NonceGap { .. } => postponed.contains(&sender),
                _ => false,
            };
            if waits {
                postponed.insert(sender);
                continue;
            }
            let removed = self.core.pool.lock().mempool.reject(&rejected.transaction);
            any |= !removed.is_empty();
            add(&self.core.metrics.dropped, removed.len() as u64);
            let detail = format!("refused when its block was built: {}", rejected.reason);
            self.core.tracker.lock().removed(&removed, Some(&detail));
        }
        any
    }

    /// Makes the pool belong to the state after this block, before it is durable: new transactions follow on it,
    /// and if the write fails the node stops and the pool with it.
    fn advance_pool(&self, job: &BuildJob, included: &[VerifiedTransaction]) {
        let next = job.height.next();
        let context = self.core.chain.context(next, job.time, self.proposer);
        let mut pool = self.core.pool.lock();
        let mut tracker = self.core.tracker.lock();
        tracker.included(included);
        let mut removed = pool.mempool.committed(included);
        removed.extend(pool.mempool.expire(next));
        add(&self.core.metrics.dropped, removed.len() as u64);
        tracker.removed(&removed, None);
        pool.view = Arc::new(View { state: Arc::clone(&self.state), context });
    }
}

/// Seals and stores blocks until the driver is gone.
pub(super) fn commit<S: KeyValueStore>(core: &Core<S>, sealed: &Sealed, jobs: &Receiver<CommitJob>) {
    while let Ok(CommitJob { pending, certificate }) = jobs.recv() {
        let (height, count) = (pending.block().header.height, pending.block().transactions.len());
        let stored = core.metrics.timed(Stage::Root, count, || core.chain.seal(pending)).and_then(|block| {
            sealed.set(height);
            core.metrics.timed(Stage::Write, count, || core.chain.commit(block, certificate.as_ref()))
        });
        match stored {
            Ok(block) => {
                if core.messages.send(Message::Committed(Box::new(block))).is_err() {
                    return;
                }
            }
            Err(error) => {
                core.fail(format_args!("block {height} could not be stored: {error}"));
                return sealed.release();
            }
        }
    }
    sealed.release();
}

/// Runs a thread's work and turns a panic into a stop of the node.
pub(super) fn guarded<S: KeyValueStore>(core: &Core<S>, name: &str, work: impl FnOnce()) {
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        core.fail(format_args!("the {name} thread panicked: {message}; this is a defect, please report it"));
    }
}

/// Makes the channel of one kind of job; one is under way and one may wait.
pub(super) fn jobs<T>() -> (SyncSender<T>, Receiver<T>) {
    std::sync::mpsc::sync_channel(2)
}
