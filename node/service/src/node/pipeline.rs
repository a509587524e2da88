//! The threads that make blocks.
//!
//! ```text
//! driver     one input at a time into the consensus engine, carries out its effects, reports final blocks
//! builder    takes from the pool and executes, or executes what others built    -> Built, Judged
//! committer  computes roots and writes                                          -> Committed
//! ```
//!
//! While the committer hashes and writes block N, the builder may execute N+1 on the state that N left behind. Its
//! header needs the root of N, so it is made when N is sealed. Channels are bounded; what is in them is bounded by
//! the engine, which asks for one build at a time and runs one block ahead of the disk.

mod pow;

pub(super) use pow::{PowJob, PowMessage, Switch, proposal_of};

use parking_lot::{Condvar, Mutex};
use purlin_chain::{
    Branch, ChainError, CommittedBlock, ExecutedBlock, ExecutionFault, InclusionError, PendingBlock, Policy,
};
use purlin_consensus::{Input, Proposal, WhenEmpty};
use purlin_mempool::Budget;
use purlin_primitives::{
    AccountId, Block, BlockHeader, BlockId, Certificate, Gas, Height, Seal, TimestampMs, TransactionId,
    VerifiedTransaction,
};
use purlin_state::{KeyValueStore, StateReader};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use super::core::{Core, View};
use super::heads::Candidate;
use crate::metrics::{Stage, add};

/// Most messages to the driver that wait. Signals are sent once until looked at, answers are one per job, and
/// those who pass on what peers send drop it when the queue is full.
pub(super) const MESSAGES_MAX: usize = 1_024;

/// Transactions whose signatures one thread checks at least: starting one costs about as much as checking one.
const VERIFIED_TOGETHER_MIN: usize = 64;

/// What the driver is told.
pub(super) enum Message {
    /// For the engine.
    Input(Input),
    /// The builder built a block.
    Built(Box<Built>),
    /// The builder found nothing to build.
    Skipped { height: Height, stuck: bool },
    /// The builder looked at a block of somebody else.
    Judged { block: BlockId, verdict: Result<Box<Built>, String> },
    /// The height of a block was decided before the builder could say anything of it.
    Late { block: BlockId },
    /// A block came with transactions whose signatures are wrong, which its id does not cover.
    BadBody { block: Box<Block>, reason: String },
    /// The body of a block that a peer proposed or that is final. Its header commits to the transactions.
    Body(Box<Block>),
    /// A final block from a peer; nothing of it was checked but that the header commits to the transactions.
    Certified { block: Box<Block>, certificate: Certificate, from: Vec<u8> },
    /// The committer's answer.
    Committed(Box<CommittedBlock>),
    /// About proof of work.
    Pow(PowMessage),
    /// Finish what is being stored and end.
    Stop,
}

/// A block that was executed and can be committed.
pub(super) struct Built {
    pub(super) pending: PendingBlock,
    pub(super) proposal: Proposal,
    pub(super) transactions: Vec<VerifiedTransaction>,
    pub(super) diagnostics: BTreeMap<TransactionId, String>,
}

/// What the builder is to do, in order.
pub(super) enum BuildJob {
    /// Build a block of what waits in the pool.
    Build { height: Height, time: TimestampMs, seal: Seal, when_empty: WhenEmpty },
    /// Check and execute a block that somebody else built.
    Judge { block: Box<Block> },
    /// This block was chosen: the next one stands on it, and the pool is without what it has.
    Advance { header: Box<BlockHeader>, state: Arc<dyn StateReader>, transactions: Vec<VerifiedTransaction> },
    /// What only proof of work asks for.
    Pow(PowJob),
}

impl BuildJob {
    /// Returns the height that must be sealed before the job can end.
    pub(super) fn parent(&self) -> Option<Height> {
        let height = match self {
            // A miner builds on what is stored, or not at all.
            Self::Build { seal: Seal::Pow { .. }, .. } => return None,
            Self::Build { height, .. } => *height,
            Self::Judge { block } => block.header.height,
            Self::Advance { .. } | Self::Pow(_) => return None,
        };
        height.checked_sub(Height::new(1))
    }
}

/// What the committer is to store.
pub(super) enum CommitJob {
    /// One block more.
    Append {
        pending: PendingBlock,
        /// Stored with the block, when the engine has it before.
        certificate: Option<Certificate>,
    },
    /// Another branch, in place of everything above `ancestor`.
    Reorganize { ancestor: Height, branch: Vec<Arc<Candidate>> },
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

    /// Says whether a height is sealed.
    pub(super) fn has(&self, height: Height) -> bool {
        *self.height.lock() >= height
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
    /// After the last block that was chosen.
    pub(super) state: Arc<dyn StateReader>,
    /// That block, and the height after it.
    pub(super) parent: BlockId,
    pub(super) next: Height,
    /// Where the last block beside the chain was executed.
    pub(super) branch: Option<Branch<S>>,
}

impl<S: KeyValueStore> Builder<S> {
    /// Works until the driver is gone.
    pub(super) fn run(mut self, jobs: &Receiver<BuildJob>) {
        while let Ok(job) = jobs.recv() {
            if self.take(job).is_err() {
                return;
            }
        }
    }

    /// Does one job and tells the driver; an error when nobody listens or the node stops.
    pub(super) fn take(&mut self, job: BuildJob) -> Result<(), ()> {
        let (what, done) = match job {
            BuildJob::Build { height, time, seal, when_empty } => {
                ("building", self.build(height, time, seal, when_empty).map(Some))
            }
            BuildJob::Judge { block } => ("checking", self.judge(*block).map(Some)),
            BuildJob::Advance { header, state, transactions } => {
                self.advance(&header, state, &transactions);
                ("taking over", Ok(None))
            }
            BuildJob::Pow(job) => ("executing", self.take_pow(job)),
        };
        match done {
            Ok(None) => Ok(()),
            Ok(Some(message)) => self.core.messages.send(message).map_err(drop),
            // Whatever failed first is the reason.
            Err(_) if self.core.stopping() => Err(()),
            Err(error) => {
                self.core.fail(format_args!("{what} a block failed: {error}"));
                Err(())
            }
        }
    }

    fn build(
        &mut self,
        height: Height,
        time: TimestampMs,
        seal: Seal,
        when_empty: WhenEmpty,
    ) -> Result<Message, ChainError> {
        if height != self.next {
            // Asked for before the last block was chosen.
            return Ok(Message::Skipped { height, stuck: false });
        }
        let core = Arc::clone(&self.core);
        let parameters = core.chain.parameters();
        // What fits is known when the gas of those before is; the executor passes over the rest.
        let budget = Budget {
            gas: Gas::MAX,
            bytes: usize::try_from(parameters.block_bytes_max).unwrap_or(usize::MAX),
            transactions: parameters.block_transactions_max as usize,
        };
        let taken = core.pool.lock().mempool.take(budget);
        if taken.is_empty() && when_empty == WhenEmpty::Skip {
            return Ok(Message::Skipped { height, stuck: false });
        }
        let context = core.chain.context(height, time, self.proposer, seal);
        let mut executed = core.metrics.timed(Stage::Execution, taken.len(), || {
            core.executor.execute_block(Arc::clone(&self.state), &context, &taken, Policy::LeaveOut)
        })?;
        let removed = self.drop_rejected(&taken, &executed);
        if executed.included.is_empty() && when_empty == WhenEmpty::Skip {
            return Ok(Message::Skipped { height, stuck: !removed });
        }
        let included: Vec<VerifiedTransaction> =
            executed.included.iter().map(|position| taken[*position].clone()).collect();
        executed.rejected.clear();
        // A miner builds on what is stored; and heights can go down there.
        if !matches!(seal, Seal::Pow { .. }) {
            self.wait_for_parent(height);
        }
        let ids: Vec<TransactionId> = included.iter().map(VerifiedTransaction::id).collect();
        let header = core.chain.next_header(time, self.proposer, seal, &ids);
        let transactions = included.iter().map(|transaction| transaction.transaction().clone()).collect();
        if header.height != height || header.parent != self.parent {
            // Another block of this height was chosen meanwhile.
            return Ok(Message::Skipped { height, stuck: false });
        }
        if let Seal::Pow { .. } = seal {
            return Ok(self.template(Block { header, transactions }, executed, included));
        }
        match self.begin(Block { header, transactions }, executed, included) {
            Ok(built) => Ok(Message::Built(Box::new(built))),
            Err(ChainError::InvalidBlock { .. }) if self.core.chain.tip().height >= height => {
                Ok(Message::Skipped { height, stuck: false })
            }
            Err(error) => Err(error),
        }
    }

    /// Checks and executes a block of somebody else. What is wrong with it is the verdict; an error is this node's.
    fn judge(&mut self, block: Block) -> Result<Message, ChainError> {
        let id = block.header.id();
        let refused = |reason: String| Ok(Message::Judged { block: id, verdict: Err(reason) });
        let header = &block.header;
        // Before anything that takes long: jobs wait here while heights are decided without them.
        if header.height < self.next {
            return Ok(Message::Late { block: id });
        }
        let parameters = self.core.chain.parameters();
        if block.transactions.len() > parameters.block_transactions_max as usize {
            return refused(format!("it has {} transactions", block.transactions.len()));
        }
        let verified = match self.verify_transactions(&block) {
            Ok(verified) => verified,
            Err(reason) => return Ok(Message::BadBody { block: Box::new(block), reason }),
        };
        self.wait_for_parent(header.height);
        // Before executing: a block that stands elsewhere would be executed on the wrong state.
        let ids: Vec<TransactionId> = verified.iter().map(VerifiedTransaction::id).collect();
        let expected = self.core.chain.next_header(header.time, header.proposer, header.seal, &ids);
        if header.height < expected.height {
            return Ok(Message::Late { block: id });
        }
        if *header != expected {
            return refused(difference(header, &expected));
        }
        let context = self.core.chain.context(header.height, header.time, header.proposer, header.seal);
        let executed = self.core.metrics.timed(Stage::Execution, verified.len(), || {
            self.core.executor.execute_block(Arc::clone(&self.state), &context, &verified, Policy::Refuse)
        });
        let executed = match executed {
            // The proposer's fault, not this node's.
            Err(ExecutionFault::InvalidBlock { transaction, reason }) => {
                return refused(format!("its transaction {transaction} may not be in it: {reason}"));
            }
            other => other?,
        };
        if let Some(rejected) = executed.rejected.first() {
            return refused(format!("its transaction {}: {}", rejected.position, rejected.reason));
        }
        if executed.receipts.len() != verified.len() {
            let (has, fit) = (verified.len(), executed.receipts.len());
            return refused(format!("{fit} of its {has} transactions may be in it"));
        }
        let height = block.header.height;
        match self.begin(block, executed, verified) {
            Ok(built) => Ok(Message::Judged { block: id, verdict: Ok(Box::new(built)) }),
            Err(ChainError::InvalidBlock { .. }) if self.core.chain.tip().height >= height => {
                Ok(Message::Late { block: id })
            }
            Err(ChainError::InvalidBlock { fault, .. }) => refused(fault.to_string()),
            Err(error) => Err(error),
        }
    }

    /// Checks signatures, except of transactions that the pool has checked already.
    fn verify_transactions(&self, block: &Block) -> Result<Vec<VerifiedTransaction>, String> {
        let chain_id = &self.core.chain.genesis().chain_id;
        let check = |(position, transaction): (usize, &purlin_primitives::Transaction)| {
            // The id covers the body; key and signature may be others in the pool's copy.
            let pooled = self.core.pool.lock().mempool.get(&transaction.body.id()).cloned();
            if let Some(known) = pooled.filter(|known| known.transaction() == transaction) {
                return Ok(known);
            }
            let verified =
                self.core.metrics.timed(Stage::Signature, 1, || transaction.clone().verify(chain_id));
            verified.map_err(|error| format!("its transaction {position}: {error}"))
        };
        let all: Vec<_> = block.transactions.iter().enumerate().collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let part = all.len().div_ceil(threads).max(VERIFIED_TOGETHER_MIN);
        if all.len() <= part {
            return all.into_iter().map(check).collect();
        }
        std::thread::scope(|scope| {
            let parts: Vec<_> = all
                .chunks(part)
                .map(|part| scope.spawn(|| part.iter().copied().map(check).collect::<Result<Vec<_>, _>>()))
                .collect();
            let join = |part: std::thread::ScopedJoinHandle<'_, _>| {
                part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            let parts: Result<Vec<Vec<VerifiedTransaction>>, String> = parts.into_iter().map(join).collect();
            Ok(parts?.into_iter().flatten().collect())
        })
    }

    fn wait_for_parent(&self, height: Height) {
        if let Some(parent) = height.checked_sub(Height::new(1)) {
            self.sealed.wait_for(parent);
        }
    }

    fn begin(
        &self,
        block: Block,
        executed: ExecutedBlock,
        transactions: Vec<VerifiedTransaction>,
    ) -> Result<Built, ChainError> {
        let diagnostics =
            executed.diagnostics.iter().map(|one| (one.transaction, one.text.clone())).collect();
        let header = block.header.clone();
        let anchored = transactions.is_empty();
        let proposal = Proposal { id: header.id(), anchored, header };
        let pending = self.core.chain.begin(block, executed)?;
        Ok(Built { pending, proposal, transactions, diagnostics })
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

    /// Makes the pool belong to the state after a chosen block, before it is durable: new transactions follow on
    /// it, and if the write fails the node stops and the pool with it.
    fn advance(
        &mut self,
        header: &BlockHeader,
        state: Arc<dyn StateReader>,
        included: &[VerifiedTransaction],
    ) {
        self.state = Arc::clone(&state);
        self.parent = header.id();
        self.next = header.height.next();
        let next = self.next;
        let context = self.core.chain.context(next, header.time, self.proposer, header.seal);
        let mut pool = self.core.pool.lock();
        let mut tracker = self.core.tracker.lock();
        let mut removed = pool.mempool.committed(included);
        tracker.included(header.id(), included);
        removed.extend(pool.mempool.expire(next));
        add(&self.core.metrics.dropped, removed.len() as u64);
        tracker.removed(&removed, None);
        pool.view = Arc::new(View { state, context });
    }
}

/// Says in which field a header differs from what it must be.
fn difference(found: &BlockHeader, expected: &BlockHeader) -> String {
    let fields: [(&str, String, String); 7] = [
        ("chain", found.chain_id.to_string(), expected.chain_id.to_string()),
        ("height", found.height.to_string(), expected.height.to_string()),
        ("parent", found.parent.to_string(), expected.parent.to_string()),
        ("transactions root", found.transactions_root.to_string(), expected.transactions_root.to_string()),
        ("state root", found.state_root.to_string(), expected.state_root.to_string()),
        ("receipts root", found.receipts_root.to_string(), expected.receipts_root.to_string()),
        ("time", found.time.to_string(), expected.time.to_string()),
    ];
    let wrong = fields.into_iter().find(|(_, found, expected)| found != expected);
    wrong.map_or_else(
        || "its header is not what it must be".to_owned(),
        |(field, found, expected)| format!("its {field} is {found}; {expected} is right"),
    )
}

/// Seals and stores blocks until the driver is gone.
pub(super) fn commit<S: KeyValueStore>(core: &Core<S>, sealed: &Sealed, jobs: &Receiver<CommitJob>) {
    while let Ok(job) = jobs.recv() {
        if commit_one(core, sealed, job).is_err() {
            break;
        }
    }
    sealed.release();
}

/// Seals and stores one block and tells the driver; an error when nobody listens or the node stops.
pub(super) fn commit_one<S: KeyValueStore>(
    core: &Core<S>,
    sealed: &Sealed,
    job: CommitJob,
) -> Result<(), ()> {
    let (pending, certificate) = match job {
        CommitJob::Append { pending, certificate } => (pending, certificate),
        CommitJob::Reorganize { ancestor, branch } => return pow::reorganize(core, sealed, ancestor, branch),
    };
    let (height, count) = (pending.block().header.height, pending.block().transactions.len());
    let stored = core.metrics.timed(Stage::Root, count, || core.chain.seal(pending)).and_then(|block| {
        sealed.set(height);
        core.metrics.timed(Stage::Write, count, || core.chain.commit(block, certificate.as_ref()))
    });
    match stored {
        Ok(block) => core.messages.send(Message::Committed(Box::new(block))).map_err(drop),
        Err(error) => {
            core.fail(format_args!("block {height} could not be stored: {error}"));
            Err(())
        }
    }
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

/// Most jobs between two parts. More than engines ask for at once: a driver that waited for the builder, while the
/// builder waits for room to answer the driver, would wait for ever.
pub(super) const JOBS_MAX: usize = 1_024;

/// Makes the channel of one kind of job.
pub(super) fn jobs<T>(max: usize) -> (SyncSender<T>, Receiver<T>) {
    std::sync::mpsc::sync_channel(max)
}

#[cfg(test)]
mod tests;
