//! The driver's part of proof of work.
//!
//! Blocks are executed by the builder wherever they stand and kept as candidates; the engine says which of them
//! become the chain, one on top of it or a whole branch in its place. A block is final, and waiting clients are told,
//! when as many blocks as the genesis says lie on top of it.

mod hold;

use purlin_chain::{ChainError, CommittedBlock, Reorganized};
use purlin_consensus::pow::{PowEffect, PowInput, PowNotice};
use purlin_consensus::{Input, Proposal, Verdict};
use purlin_primitives::{Block, BlockHeader, BlockId, Height, Seal};
use purlin_state::KeyValueStore;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use self::hold::Hold;
use super::super::core::Core;
use super::super::heads::{Candidate, Heads};
use super::super::mining::Miner;
use super::super::pipeline::{BuildJob, Built, CommitJob, PowJob, PowMessage, Switch, proposal_of};
use super::super::tracker::FinalBlock;
use super::{Driver, Halt, Outgoing};
use crate::metrics::add;

/// Most blocks that the builder is given to execute at once, so that handing over never waits.
const JUDGING_MAX: usize = 4;
/// Most blocks whose body is waited for; the lowest go first. The engine asks for a branch's next 16 at a time.
const WANTED_MAX: usize = 1_024;
/// Most bodies that wait for being executed, and their bytes; the oldest go first and are fetched again.
const BODIES_MAX: usize = 1_024;
const BODIES_BYTES_MAX: usize = 256 << 20;
/// Blocks that were built for mining and may still be found: the last one and the one that it replaced.
const TEMPLATES_MAX: usize = 2;

/// Bodies of blocks beside the chain, oldest first.
#[derive(Default)]
struct Bodies {
    blocks: VecDeque<(BlockId, Block, usize)>,
    bytes: usize,
}

impl Bodies {
    fn put(&mut self, id: BlockId, block: Block) {
        if self.contains(&id) {
            return;
        }
        let bytes = block.transactions.iter().map(|one| borsh::object_length(one).unwrap_or(0)).sum();
        self.bytes += bytes;
        self.blocks.push_back((id, block, bytes));
        while self.blocks.len() > 1 && (self.blocks.len() > BODIES_MAX || self.bytes > BODIES_BYTES_MAX) {
            if let Some((_, _, bytes)) = self.blocks.pop_front() {
                self.bytes -= bytes;
            }
        }
    }

    fn contains(&self, id: &BlockId) -> bool {
        self.blocks.iter().any(|(known, ..)| known == id)
    }

    fn take(&mut self, id: &BlockId) -> Option<Block> {
        let at = self.blocks.iter().position(|(known, ..)| known == id)?;
        let (_, block, bytes) = self.blocks.remove(at)?;
        self.bytes -= bytes;
        Some(block)
    }

    /// Forgets those that can not become the chain any more.
    fn forget_below(&mut self, height: Height) {
        self.blocks.retain(|(_, block, bytes)| {
            let kept = block.header.height >= height;
            if !kept {
                self.bytes -= bytes;
            }
            kept
        });
    }
}

/// A block that the engine wants executed.
struct Wanted {
    header: Box<BlockHeader>,
    /// Counts up: those below are asked for first.
    sequence: u64,
}

/// What a driver keeps for proof of work.
pub(in crate::node) struct PowDriver {
    miner: Box<dyn Miner>,
    hold: Hold,
    templates: VecDeque<Arc<Candidate>>,
    bodies: Bodies,
    /// Whose body is not here.
    wanted: BTreeMap<BlockId, Wanted>,
    sequence: u64,
    /// At the builder.
    judging: BTreeMap<BlockId, Box<BlockHeader>>,
    /// A branch is being made the chain.
    reorganizing: bool,
    /// The last block that counts as final.
    confirmed: Height,
}

impl PowDriver {
    pub(in crate::node) fn new(miner: Box<dyn Miner>, confirmed: Height) -> Self {
        Self {
            miner,
            hold: Hold::default(),
            templates: VecDeque::new(),
            bodies: Bodies::default(),
            wanted: BTreeMap::new(),
            sequence: 0,
            judging: BTreeMap::new(),
            reorganizing: false,
            confirmed,
        }
    }

    /// Stops searching, for good.
    pub(super) fn stop(&mut self) {
        self.miner.stop();
    }

    /// Returns how many bodies and wanted blocks it keeps.
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.bodies.blocks.len(), self.wanted.len())
    }

    /// Says whether the committer has a branch.
    pub(super) fn is_reorganizing(&self) -> bool {
        self.reorganizing
    }
}

/// Returns what a node of proof of work shares; such a node is the only one that gets here.
fn heads<S>(core: &Core<S>) -> Result<&Heads, Halt> {
    core.heads
        .as_ref()
        .ok_or_else(|| Halt("the engine asks for proof of work, which this chain has not".into()))
}

fn read_fault(error: impl Into<ChainError>) -> Halt {
    Halt(format!("a block cannot be read: {}", error.into()))
}

impl<S: KeyValueStore> Driver<S> {
    fn pow(&mut self) -> Result<&mut PowDriver, Halt> {
        let missing = || Halt("the engine asks for proof of work, which this node was not made for".into());
        self.parts.pow.as_mut().ok_or_else(missing)
    }

    pub(super) fn carry_out_pow(&mut self, effect: PowEffect) -> Result<(), Halt> {
        let core = Arc::clone(&self.parts.core);
        let heads = heads(&core)?;
        let stopping = self.stopping;
        match effect {
            PowEffect::Validate { .. } | PowEffect::Mine { .. } | PowEffect::Reorganize { .. }
                if stopping => {}
            PowEffect::Validate { header, from, .. } => {
                let block = header.id();
                if heads.candidates.lock().contains_key(&block) {
                    self.inputs
                        .push_back(Input::BlockValidated { block, verdict: Verdict::Valid { header } });
                    return Ok(());
                }
                if !self.pow()?.judging.contains_key(&block) {
                    self.want(header, from)?;
                }
            }
            PowEffect::Reorganize { ancestor, branch } => {
                let candidates = heads.candidates.lock();
                let branch = branch.iter().map(|block| candidates.get(block).cloned());
                let branch = branch.collect::<Option<Vec<_>>>();
                drop(candidates);
                let Some(branch) = branch else {
                    return Err(Halt("the engine chose a branch that this node does not have".into()));
                };
                self.pow()?.reorganizing = true;
                // The committer is gone only when the node fails, which `drive` sees.
                drop(self.parts.commits.send(CommitJob::reorganize(ancestor, branch)));
            }
            PowEffect::Discard { blocks } => {
                let mut candidates = heads.candidates.lock();
                blocks.iter().for_each(|block| drop(candidates.remove(block)));
            }
            PowEffect::Mine { header } => {
                let (behind, head) = (core.sync.lock().is_some(), core.head.read().time);
                let pow = self.pow()?;
                if behind && pow.hold.holds(&header, head, heads.rules.block_time_ms) {
                    // The engine has it built again soon.
                    pow.miner.stop();
                } else {
                    pow.miner.mine(*header);
                }
            }
            PowEffect::StopMining => self.pow()?.miner.stop(),
            PowEffect::RequestHeaders { from } => {
                self.parts.outbox.put(Outgoing::WantHeaders { from });
            }
        }
        Ok(())
    }

    pub(super) fn take_in_pow(&mut self, message: PowMessage) -> Result<(), Halt> {
        let core = Arc::clone(&self.parts.core);
        match message {
            PowMessage::Template(candidate) => {
                let proposal: Proposal = proposal_of(&candidate);
                let more_waiting = core.pool.lock().mempool.len() > candidate.transactions.len();
                let pow = self.pow()?;
                pow.templates.push_back(candidate);
                if pow.templates.len() > TEMPLATES_MAX {
                    pow.templates.pop_front();
                }
                self.inputs.push_back(Input::ProposalBuilt { proposal, more_waiting });
            }
            PowMessage::Mined(header) => {
                let pow = self.pow()?;
                let template = pow.templates.iter().find(|one| is_template(&one.block.header, &header));
                // Of an older head: too late.
                let Some(template) = template else { return Ok(()) };
                let candidate = Arc::new(template.with_header((*header).clone()));
                heads(&core)?.candidates.lock().insert(header.id(), candidate);
                self.inputs.push_back(Input::Pow(PowInput::Mined { header }));
            }
            PowMessage::Judged { block, verdict } => {
                self.pow()?.judging.remove(&block);
                let verdict = match verdict {
                    Ok(header) => Verdict::Valid { header },
                    Err(reason) => {
                        tracing::warn!(%block, reason, "a block is invalid");
                        Verdict::Invalid { reason }
                    }
                };
                self.inputs.push_back(Input::BlockValidated { block, verdict });
                self.judge_ready()?;
            }
            PowMessage::Unplaced(block) => {
                let id = block.header.id();
                let pow = self.pow()?;
                let Some(header) = pow.judging.remove(&id) else { return Ok(()) };
                // Its parent was executed before it, and another body of that one is on its way. Otherwise it is
                // gone, and the engine asks again when it still wants this one.
                let parent = &header.parent;
                if pow.wanted.contains_key(parent) || pow.judging.contains_key(parent) {
                    pow.bodies.put(id, *block);
                    return self.want(header, None);
                }
                tracing::debug!(block = %id, "the parent of a block is gone");
                self.judge_ready()?;
            }
            PowMessage::BadBody { block, reason } => {
                let id = block.header.id();
                tracing::warn!(block = %id, reason, "the body of a block is wrong; it is fetched again");
                // Whoever gave it is blamed, not who made the block.
                self.parts.outbox.put(Outgoing::BadBody(block));
                if let Some(header) = self.pow()?.judging.remove(&id) {
                    self.want(header, None)?;
                }
            }
            PowMessage::Reorganized(reorganized) => self.reorganized(*reorganized)?,
            PowMessage::TooLarge { ancestor, reason } => {
                tracing::error!(
                    %ancestor, reason,
                    "there is a heavier branch that this node cannot go over to; it stays on its own. To follow the \
                     heavier branch, start it anew with an empty data folder"
                );
                self.pow()?.reorganizing = false;
                self.inputs.push_back(Input::Pow(PowInput::Stayed));
            }
        }
        Ok(())
    }

    /// Has a block executed as soon as its body is here.
    fn want(&mut self, header: Box<BlockHeader>, from: Option<Vec<u8>>) -> Result<(), Halt> {
        let block = header.id();
        let pow = self.pow()?;
        if header.transactions_root == Block::transactions_root(&[]) {
            pow.bodies.put(block, Block { header: (*header).clone(), transactions: Vec::new() });
        }
        pow.sequence += 1;
        let sequence = pow.sequence;
        pow.wanted.insert(block, Wanted { header, sequence });
        while pow.wanted.len() > WANTED_MAX {
            let lowest = pow.wanted.iter().min_by_key(|(_, wanted)| wanted.header.height);
            let Some(lowest) = lowest.map(|(id, _)| *id) else { break };
            pow.wanted.remove(&lowest);
        }
        if !pow.bodies.contains(&block) {
            self.parts.outbox.put(Outgoing::WantBranch { block, from });
        }
        self.judge_ready()
    }

    /// Keeps a body that the engine wants or soon will.
    pub(super) fn keep_branch_body(&mut self, block: Block) -> Result<(), Halt> {
        self.pow()?.bodies.put(block.header.id(), block);
        self.judge_ready()
    }

    /// Gives the builder what can be executed: whose body is here, and whose parent is not waited for.
    fn judge_ready(&mut self) -> Result<(), Halt> {
        loop {
            let pow = self.pow()?;
            if pow.judging.len() >= JUDGING_MAX {
                return Ok(());
            }
            let ready = pow.wanted.iter().filter(|(id, wanted)| {
                pow.bodies.contains(id) && !pow.wanted.contains_key(&wanted.header.parent)
            });
            let next = ready.min_by_key(|(_, wanted)| (wanted.header.height, wanted.sequence));
            let Some(id) = next.map(|(id, _)| *id) else { return Ok(()) };
            let (Some(wanted), Some(block)) = (pow.wanted.remove(&id), pow.bodies.take(&id)) else {
                continue;
            };
            pow.judging.insert(id, wanted.header);
            self.build(BuildJob::Pow(PowJob::Judge(Box::new(block))));
        }
    }

    /// Makes a candidate that stands on the head into one that can be committed.
    pub(super) fn prepare_candidate(&mut self, block: BlockId) -> Result<(), Halt> {
        let core = Arc::clone(&self.parts.core);
        let candidate = heads(&core)?.candidates.lock().get(&block).cloned();
        let Some(candidate) = candidate else { return Ok(()) };
        let proposal = proposal_of(&candidate);
        let executed = (*candidate.executed).clone();
        let diagnostics =
            executed.diagnostics.iter().map(|one| (one.transaction, one.text.clone())).collect();
        let begun = core.chain.begin(candidate.block.clone(), executed);
        let pending = begun.map_err(|error| Halt(format!("block {block} cannot be stored: {error}")))?;
        let transactions = candidate.transactions.to_vec();
        self.built.insert(block, Built { pending, proposal, transactions, diagnostics });
        Ok(())
    }

    /// The chain has one block more.
    pub(super) fn extended(&mut self, committed: &CommittedBlock) -> Result<(), Halt> {
        let core = Arc::clone(&self.parts.core);
        let heads = heads(&core)?;
        let CommittedBlock { head, block, receipts } = committed;
        self.storing.remove(&head.height);
        let metrics = &core.metrics;
        add(&metrics.blocks, 1);
        add(&metrics.committed, receipts.len() as u64);
        add(&metrics.failed, receipts.iter().filter(|receipt| !receipt.succeeded()).count() as u64);
        let gas = receipts.iter().fold(0u64, |sum, receipt| sum.saturating_add(receipt.gas_used.get()));
        add(&metrics.gas_used, gas);
        let (height, id) = (head.height, head.block);
        tracing::debug!(%height, %id, transactions = receipts.len(), gas, "block is stored");
        heads.extend(&block.header);
        heads.candidates.lock().remove(&head.block);
        self.moved(&core, heads)
    }

    fn reorganized(&mut self, reorganized: Reorganized) -> Result<(), Halt> {
        let core = Arc::clone(&self.parts.core);
        let heads = heads(&core)?;
        let Reorganized { ancestor, removed, returned, committed } = reorganized;
        self.pow()?.reorganizing = false;
        let Some(last) = committed.last() else {
            return Err(Halt("the chain went over to an empty branch".into()));
        };
        let (head, header) = (Arc::clone(&last.head), last.block.header.clone());
        let left = removed.last().map_or(ancestor, |block| block.block.header.height);
        tracing::warn!(
            %ancestor, removed = removed.len(), added = committed.len(), from = %left, to = %head.height,
            returned = returned.len(), "the chain went over to a heavier branch"
        );
        let mut added = Vec::with_capacity(committed.len());
        {
            let mut candidates = heads.candidates.lock();
            for block in &committed {
                let Some(candidate) = candidates.remove(&block.head.block) else {
                    return Err(Halt(format!("block {} was stored and is not known", block.head.block)));
                };
                added.push((block.head.block, Arc::clone(&candidate.transactions)));
            }
        }
        let switch = Switch {
            header,
            state: core.chain.tip_state(),
            removed: removed.iter().map(|block| block.id).collect(),
            returned,
            added,
        };
        self.build(BuildJob::Pow(PowJob::Switch(Box::new(switch))));
        let ancestor_id = committed.first().map(|first| first.block.header.parent).unwrap_or_default();
        add(&core.metrics.reorganizations, 1);
        add(&core.metrics.blocks, committed.len() as u64);
        heads.replace((ancestor, ancestor_id), removed, committed.iter().map(|one| &one.block.header));
        // Blocks that counted as final left the chain: the genesis asks for too few on top.
        let pow = self.pow()?;
        if ancestor < pow.confirmed {
            tracing::error!(
                confirmed = %pow.confirmed, %ancestor,
                "blocks that had their confirmations left the chain; raise `confirmations` on a new chain, or wait \
                 longer where it matters"
            );
            pow.confirmed = ancestor;
        }
        self.moved(&core, heads)?;
        self.inputs.push_back(Input::Pow(PowInput::Reorganized { head: head.block }));
        Ok(())
    }

    /// Tells everybody of the new head, and who waits of what is final by it.
    fn moved(&mut self, core: &Core<S>, heads: &Heads) -> Result<(), Halt> {
        let head = core.chain.head();
        *core.head.write() = Arc::clone(&head);
        let confirmed = heads.final_height(head.height);
        let lowest = head.height.saturating_sub(Height::new(heads.window_blocks));
        let pow = self.pow()?;
        pow.bodies.forget_below(lowest);
        pow.wanted.retain(|_, wanted| wanted.header.height > lowest);
        // One that stands on an older head is found too late.
        pow.templates.retain(|one| one.block.header.parent == head.block);
        let mut finals = Vec::new();
        while pow.confirmed < confirmed {
            let height = pow.confirmed.next();
            let block = core.chain.block(height).map_err(read_fault)?;
            let receipts = core.chain.receipts(height).map_err(read_fault)?;
            let Some(block) = block else {
                return Err(Halt(format!("block {height} is missing below the head {}", head.height)));
            };
            let id = block.header.id();
            let diagnostics = BTreeMap::new();
            let block = Arc::new(block);
            finals.push(Arc::new(FinalBlock { id, block, receipts, diagnostics }));
            pow.confirmed = height;
        }
        // Before those who wait are told: what they then ask for must be final.
        core.heights.send_replace(pow.confirmed);
        heads.tips.send_replace(head.height);
        finals.iter().for_each(|block| core.tracker.lock().finalized(block));
        self.parts.outbox.put(Outgoing::Moved);
        Ok(())
    }

    /// Announces a block that was mined here and is the chain's.
    pub(super) fn publish_stored(&self, block: BlockId) -> Result<(), Halt> {
        let chain = &self.parts.core.chain;
        let height = chain.block_height(&block).map_err(read_fault)?;
        let Some(height) = height else { return Ok(()) };
        if let Some(block) = chain.block(height).map_err(read_fault)? {
            self.parts.outbox.put(Outgoing::Proposed(Arc::new(block)));
        }
        Ok(())
    }
}

pub(super) fn report(notice: &PowNotice) {
    match notice {
        PowNotice::FinalBranchRefused { from, height, final_height } => {
            let peer = purlin_sync::PeerId::new(from.clone());
            let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
            tracing::warn!(
                peer, %height, %final_height,
                "a peer follows a branch that leaves this node's chain below where it is final; this node stays. If \
                 most others follow that branch, set this node up anew: it is on the wrong one"
            );
        }
        PowNotice::BranchLeft { ancestor, block } => {
            tracing::warn!(%ancestor, %block, "the engine leaves a heavier branch alone");
        }
        PowNotice::Reorganized { ancestor, removed, added } => {
            tracing::info!(%ancestor, removed, added, "the engine follows another branch");
        }
        PowNotice::InvalidBlock { block, height, reason } => {
            tracing::warn!(%block, %height, reason, "a mined block breaks a rule; its branch is left alone");
        }
        PowNotice::BodyMissing { block, height } => {
            tracing::info!(%block, %height, "nobody gives the body of a block; it is asked for again later");
        }
    }
}

/// Says whether a header is a template with a nonce.
fn is_template(template: &BlockHeader, mined: &BlockHeader) -> bool {
    let (Seal::Pow { target, .. }, Seal::Pow { target: mined_target, .. }) = (template.seal, mined.seal)
    else {
        return false;
    };
    let without = BlockHeader { seal: template.seal, ..mined.clone() };
    target == mined_target && without == *template
}
