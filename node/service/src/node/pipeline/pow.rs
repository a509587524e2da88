//! The builder's and the committer's part of proof of work: blocks beside the chain, and going over to them.

use purlin_chain::{Branch, ChainError, ExecutedBlock, ExecutionFault, Policy, Reorganized};
use purlin_consensus::Proposal;
use purlin_modules::accounts;
use purlin_primitives::{
    AccountId, Block, BlockHeader, BlockId, Height, Transaction, TransactionId, VerifiedTransaction,
};
use purlin_state::{KeyValueStore, StateReader, StoreError};
use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Builder, CommitJob, Message, Sealed, difference};
use crate::metrics::{Stage, add};
use crate::node::core::{Core, View};
use crate::node::heads::{Candidate, Heads};

/// Blocks by which a branch that is kept may begin below where it could: each is a layer that reads pass through.
const BRANCH_LAYERS_MAX: u64 = 32;

/// What the driver is told about proof of work.
pub(in crate::node) enum PowMessage {
    /// A block to be mined was built.
    Template(Arc<Candidate>),
    /// A nonce was found; the header has it.
    Mined(Box<BlockHeader>),
    /// A block of somebody else was executed and is among the candidates, or breaks a rule.
    Judged { block: BlockId, verdict: Result<Box<BlockHeader>, String> },
    /// Nothing is known of a block's parent, or not yet.
    Unplaced(Box<Block>),
    /// A body that is not what the header commits to, or has wrong signatures, which ids do not cover: another
    /// copy may be right.
    BadBody { block: Box<Block>, reason: String },
    /// The chain went over to another branch.
    Reorganized(Box<Reorganized>),
    /// The chain stays as it was: going over to the branch takes more memory than a node may use for it.
    TooLarge { ancestor: Height, reason: String },
}

/// What only proof of work has the builder do.
pub(in crate::node) enum PowJob {
    /// Check and execute a block of somebody else on its parent.
    Judge(Box<Block>),
    /// The chain is another one.
    Switch(Box<Switch>),
}

/// What the builder and the pool must know of a reorganisation.
pub(in crate::node) struct Switch {
    /// The new head.
    pub(in crate::node) header: BlockHeader,
    /// After it.
    pub(in crate::node) state: Arc<dyn StateReader>,
    /// Blocks that left the chain.
    pub(in crate::node) removed: Vec<BlockId>,
    /// Their transactions that wait again, in their old order.
    pub(in crate::node) returned: Vec<Transaction>,
    /// Blocks of the new branch with their transactions, lowest first.
    pub(in crate::node) added: Vec<(BlockId, Arc<[VerifiedTransaction]>)>,
}

impl<S: KeyValueStore> Builder<S> {
    pub(super) fn take_pow(&mut self, job: PowJob) -> Result<Option<Message>, ChainError> {
        let core = Arc::clone(&self.core);
        // Only a node with these shared makes such jobs.
        let Some(heads) = &core.heads else { return Ok(None) };
        match job {
            PowJob::Judge(block) => self.judge_branch(heads, *block).map(|one| Some(Message::Pow(one))),
            PowJob::Switch(switch) => self.switch(*switch).map(|()| None),
        }
    }

    /// Makes a block that was built into one that can be mined.
    pub(super) fn template(
        &self,
        block: Block,
        executed: ExecutedBlock,
        transactions: Vec<VerifiedTransaction>,
    ) -> Message {
        let transactions = transactions.into();
        let candidate = Candidate { block, executed: Arc::new(executed), transactions };
        Message::Pow(PowMessage::Template(Arc::new(candidate)))
    }

    fn judge_branch(&mut self, heads: &Heads, block: Block) -> Result<PowMessage, ChainError> {
        let id = block.header.id();
        let parameters = self.core.chain.parameters();
        // What the header commits to cannot be made right by another body.
        if block.transactions.len() > parameters.block_transactions_max as usize {
            let reason = format!("it has {} transactions", block.transactions.len());
            return Ok(PowMessage::Judged { block: id, verdict: Err(reason) });
        }
        let ids: Vec<TransactionId> = block.transactions.iter().map(|one| one.body.id()).collect();
        if Block::transactions_root(&ids) != block.header.transactions_root {
            let reason = "its transactions are not those of its header".to_owned();
            return Ok(PowMessage::BadBody { block: Box::new(block), reason });
        }
        let verified = match self.verify_transactions(&block) {
            Ok(verified) => verified,
            Err(reason) => return Ok(PowMessage::BadBody { block: Box::new(block), reason }),
        };
        // What was kept of a branch is of no use after a reorganisation; then it is made again.
        let mut judged = self.judge_on_parent(heads, &block, &ids, &verified);
        if matches!(&judged, Err(error) if is_outdated(error)) {
            self.branch = None;
            judged = self.judge_on_parent(heads, &block, &ids, &verified);
        }
        let executed = match judged {
            Ok(Some(Ok(executed))) => executed,
            Ok(Some(Err(reason))) => return Ok(PowMessage::Judged { block: id, verdict: Err(reason) }),
            Ok(None) => return Ok(PowMessage::Unplaced(Box::new(block))),
            Err(error) if is_outdated(&error) => return Ok(PowMessage::Unplaced(Box::new(block))),
            Err(error) => return Err(error),
        };
        let header = Box::new(block.header.clone());
        let candidate = Candidate { block, executed: Arc::new(executed), transactions: verified.into() };
        heads.candidates.lock().insert(id, Arc::new(candidate));
        Ok(PowMessage::Judged { block: id, verdict: Ok(header) })
    }

    /// Checks and executes a block on its parent; `None` when that is neither of the chain nor a candidate, an
    /// error text when it breaks a rule.
    fn judge_on_parent(
        &mut self,
        heads: &Heads,
        block: &Block,
        ids: &[TransactionId],
        verified: &[VerifiedTransaction],
    ) -> Result<Option<Result<ExecutedBlock, String>>, ChainError> {
        let header = &block.header;
        let core = Arc::clone(&self.core);
        let Some(branch) = self.branch_to(heads, header.parent)? else { return Ok(None) };
        let parent = branch.head();
        let expected = BlockHeader {
            chain_id: core.chain.genesis().chain_id.clone(),
            height: parent.height.next(),
            parent: parent.block,
            time: header.time,
            proposer: header.proposer,
            transactions_root: Block::transactions_root(ids),
            state_root: parent.state_root,
            receipts_root: parent.receipts_root,
            seal: header.seal,
        };
        if *header != expected {
            return Ok(Some(Err(difference(header, &expected))));
        }
        let context = core.chain.context(header.height, header.time, header.proposer, header.seal);
        let executed = core.metrics.timed(Stage::Execution, verified.len(), || {
            core.executor.execute_block(branch.state(), &context, verified, Policy::Refuse)
        });
        let executed = match executed {
            Err(ExecutionFault::InvalidBlock { transaction, reason }) => {
                return Ok(Some(Err(format!("its transaction {transaction}: {reason}"))));
            }
            other => other?,
        };
        if let Some(rejected) = executed.rejected.first() {
            let reason = format!("its transaction {}: {}", rejected.position, rejected.reason);
            return Ok(Some(Err(reason)));
        }
        if executed.receipts.len() != verified.len() {
            let (has, fit) = (verified.len(), executed.receipts.len());
            return Ok(Some(Err(format!("{fit} of its {has} transactions may be in it"))));
        }
        Ok(Some(Ok(executed)))
    }

    /// Returns a branch that ends with a block, of the chain and the candidates on top of it.
    fn branch_to(&mut self, heads: &Heads, tip: BlockId) -> Result<Option<&Branch<S>>, ChainError> {
        let chain = &self.core.chain;
        let kept = self.branch.take();
        let mut above: Vec<Arc<Candidate>> = Vec::new();
        let mut at = tip;
        {
            let candidates = heads.candidates.lock();
            while kept.as_ref().is_none_or(|kept| kept.head().block != at)
                && let Some(candidate) = candidates.get(&at)
            {
                above.push(Arc::clone(candidate));
                at = candidate.block.header.parent;
            }
        }
        let fork = above.last().map_or(at, |lowest| lowest.block.header.parent);
        let kept = kept.filter(|kept| kept.head().block == fork);
        // One that begins far below where it could has many layers.
        let head = chain.head().height;
        let long = |kept: &Branch<S>| {
            let layers = kept.head().height.get().saturating_sub(kept.ancestor().get());
            layers > BRANCH_LAYERS_MAX && kept.head().height <= head
        };
        let of_chain = match chain.block_height(&fork)? {
            Some(height) => Some(height),
            None => (fork == chain.genesis_id()).then_some(Height::ZERO),
        };
        let mut branch = match (kept, of_chain) {
            (Some(kept), None) => kept,
            (Some(kept), Some(_)) if !long(&kept) => kept,
            (_, Some(height)) => match chain.branch(height) {
                Ok(branch) => branch,
                Err(ChainError::ReorganizationTooDeep { .. } | ChainError::NotYet { .. }) => return Ok(None),
                Err(error) => return Err(error),
            },
            (None, None) => return Ok(None),
        };
        for candidate in above.iter().rev() {
            chain.extend_branch(&mut branch, &candidate.block, &candidate.executed)?;
        }
        Ok(Some(self.branch.insert(branch)))
    }

    /// Makes the pool belong to the other branch.
    fn switch(&mut self, switch: Switch) -> Result<(), ChainError> {
        let Switch { header, state, removed, returned, added } = switch;
        let core = Arc::clone(&self.core);
        self.branch = None;
        self.state = Arc::clone(&state);
        self.parent = header.id();
        self.next = header.height.next();
        let next = self.next;
        let context = core.chain.context(next, header.time, self.proposer, header.seal);
        let chain_id = &core.chain.genesis().chain_id;
        let verified = returned.into_iter().map(|one| one.verify(chain_id)).collect::<Result<Vec<_>, _>>();
        let returned = verified.map_err(|error| ChainError::Inconsistent {
            detail: format!("a transaction of a block that left the chain is not valid: {error}"),
        })?;
        let nonce = |sender: &AccountId| accounts::account(&mut &*state, sender).map(|record| record.nonce);
        let mut pool = core.pool.lock();
        let mut tracker = core.tracker.lock();
        let mut gone = pool.mempool.restart(returned, nonce, next)?;
        let included: BTreeSet<TransactionId> =
            added.iter().flat_map(|(_, transactions)| transactions.iter().map(|one| one.id())).collect();
        gone.retain(|one| !included.contains(&one.id));
        tracker.taken_back(&removed);
        for (block, transactions) in &added {
            tracker.included(*block, transactions);
        }
        add(&core.metrics.dropped, gone.len() as u64);
        tracker.removed(&gone, None);
        pool.view = Arc::new(View { state, context });
        Ok(())
    }
}

/// Says whether something was read from a state that a reorganisation or pruning has overtaken.
fn is_outdated(error: &ChainError) -> bool {
    let outdated =
        |error: &StoreError| matches!(error, StoreError::Reorganized { .. } | StoreError::Pruned { .. });
    match error {
        ChainError::Store(error) => outdated(error),
        ChainError::Execution(ExecutionFault::Store(error)) => outdated(error),
        _ => false,
    }
}

/// Describes a block to be mined to the engine.
pub(in crate::node) fn proposal_of(candidate: &Candidate) -> Proposal {
    let header = candidate.block.header.clone();
    Proposal { id: header.id(), anchored: candidate.transactions.is_empty(), header }
}

/// Goes over to another branch and tells the driver; an error when nobody listens or the node stops.
pub(super) fn reorganize<S: KeyValueStore>(
    core: &Core<S>,
    sealed: &Sealed,
    ancestor: Height,
    branch: Vec<Arc<Candidate>>,
) -> Result<(), ()> {
    let count = branch.iter().map(|candidate| candidate.transactions.len()).sum();
    let blocks = branch.iter().map(|one| (one.block.clone(), (*one.executed).clone())).collect();
    let done = core.metrics.timed(Stage::Write, count, || core.chain.reorganize(ancestor, blocks));
    match done {
        Ok(reorganized) => {
            sealed.set(core.chain.head().height);
            let message = PowMessage::Reorganized(Box::new(reorganized));
            core.messages.send(Message::Pow(message)).map_err(drop)
        }
        // Nothing has changed. A node that stopped would meet the same branch after its next start.
        Err(error @ ChainError::ReorganizationTooLarge { .. }) => {
            let message = PowMessage::TooLarge { ancestor, reason: error.to_string() };
            core.messages.send(Message::Pow(message)).map_err(drop)
        }
        Err(error) => {
            core.fail(format_args!(
                "the chain could not go over to the branch after height {ancestor}: {error}"
            ));
            Err(())
        }
    }
}

impl CommitJob {
    /// Returns the job of going over to a branch.
    pub(in crate::node) fn reorganize(ancestor: Height, branch: Vec<Arc<Candidate>>) -> Self {
        Self::Reorganize { ancestor, branch }
    }
}
