//! The engine: headers in, the heaviest valid chain out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_primitives::{BlockHeader, BlockId, Height, TimestampMs};

use super::hash::PowHash;
use super::mining::{Miner, Mining, RENEW};
use super::orphans::OrphanPool;
use super::port::{PowEffect, PowInput, PowNotice};
use super::tree::{Body, HeaderEntry, HeaderRules, HeaderTree, History, HistoryError, Inserted, Source};
use crate::port::{Announcement, ConsensusEngine, Effect, Input, Notice, TimerId, Verdict};

/// Most headers that are taken at once; an answer has no more.
pub const HEADERS_PER_ANSWER_MAX: usize = 512;

/// Most bytes of a message between engines: a header has a few hundred.
pub const MESSAGE_BYTES_MAX: usize = 1_024;

/// Most blocks of one branch that are being fetched and executed at once. They are executed in order; more than
/// one is fetched at a time.
pub const VALIDATIONS_MAX: usize = 16;

/// Most headers from the future that wait for their time.
pub const EARLY_HEADERS_MAX: usize = 64;

/// Most peers whose answer is awaited, or whose final branch was reported.
const PEERS_MAX: usize = 64;

/// After how many body timeouts a missing body is asked for again.
const RETRY_TIMEOUTS: u64 = 4;

const BODY: TimerId = TimerId(0);
const RETRY: TimerId = TimerId(2);
const EARLY: TimerId = TimerId(3);

/// What engines say to each other.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum PowMessage {
    /// "I have this block, and it is the end of my chain."
    Header(Box<BlockHeader>),
}

impl PowMessage {
    /// Encodes a message for [`Announcement::Message`].
    pub fn encode(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("writing to memory cannot fail")
    }
}

/// Sets how a node takes part.
#[derive(Debug, Clone)]
pub struct PowConfig {
    /// What of the genesis counts, and the window.
    pub rules: HeaderRules,
    /// Whether it mines.
    pub mining: Mining,
    /// How long a body is waited for before its branch is left alone for a while, in milliseconds.
    pub body_timeout_ms: u64,
}

/// A change of the head that the driver is carrying out.
#[derive(Debug)]
struct Going {
    branch: Vec<BlockId>,
    /// Height of the last common block, and how many blocks are taken back; of a block that extends the chain,
    /// none.
    reorganization: Option<(Height, u64)>,
}

/// Follows the chain with the most work whose blocks are valid, and has blocks mined on top of it.
///
/// It goes over to a branch when the blocks found valid on it have more work than the chain; of two with equal
/// work the one that is the chain stays. Blocks deeper than the window are final: branches that leave the chain
/// below it are refused and reported.
pub struct PowEngine {
    hash: Box<dyn PowHash>,
    body_timeout_ms: u64,
    tree: HeaderTree,
    orphans: OrphanPool,
    /// Headers from the future, with who sent them.
    early: BTreeMap<(TimestampMs, BlockId), (BlockHeader, Source)>,
    miner: Miner,
    started: bool,
    going: Option<Going>,
    /// The lowest block of the best branch whose body is not there.
    waiting_for: Option<BlockId>,
    missing: BTreeMap<BlockId, TimestampMs>,
    /// Blocks mined here and not announced yet.
    own: BTreeSet<BlockId>,
    /// Peers that were asked for headers.
    requested: BTreeSet<Vec<u8>>,
    /// A peer that has headers too far ahead to be kept before.
    resume: Option<Vec<u8>>,
    /// Peers whose final branch was reported.
    reported: VecDeque<Vec<u8>>,
}

impl std::fmt::Debug for PowEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PowEngine").field("head", self.tree.head_entry()).finish_non_exhaustive()
    }
}

impl PowEngine {
    /// Makes an engine on a stored chain; it acts after [`Input::Started`].
    pub fn new(config: PowConfig, hash: Box<dyn PowHash>, history: History) -> Result<Self, HistoryError> {
        Ok(Self {
            hash,
            body_timeout_ms: config.body_timeout_ms,
            tree: HeaderTree::new(config.rules, history)?,
            orphans: OrphanPool::default(),
            early: BTreeMap::new(),
            miner: Miner::new(config.mining),
            started: false,
            going: None,
            waiting_for: None,
            missing: BTreeMap::new(),
            own: BTreeSet::new(),
            requested: BTreeSet::new(),
            resume: None,
            reported: VecDeque::new(),
        })
    }

    /// Returns what it knows of headers: head, final height, branches.
    pub fn headers(&self) -> &HeaderTree {
        &self.tree
    }

    /// Takes headers of a peer, in order.
    fn take_headers(
        &mut self,
        now: TimestampMs,
        from: &Source,
        headers: &[BlockHeader],
        effects: &mut Vec<Effect>,
    ) {
        let answered = from.answers && self.requested.remove(&from.peer);
        let mut orphan = false;
        for header in headers {
            match self.take_header(now, header, from, effects) {
                Inserted::Orphan => orphan = true,
                Inserted::Ahead => {
                    self.resume = Some(from.peer.clone());
                    break;
                }
                Inserted::Refused(_) | Inserted::Final => break,
                // Whatever it followed before, it is on a branch that counts.
                Inserted::New | Inserted::Known => self.reported.retain(|peer| *peer != from.peer),
                Inserted::Early => {}
            }
        }
        // An answer that does not fit is not followed by the same question, nor is there one to whoever follows
        // another chain.
        let strange = self.reported.contains(&from.peer);
        if orphan && !answered && !strange {
            self.request(&from.peer, effects);
        }
    }

    fn take_header(
        &mut self,
        now: TimestampMs,
        header: &BlockHeader,
        from: &Source,
        effects: &mut Vec<Effect>,
    ) -> Inserted {
        let inserted = self.tree.insert(&*self.hash, header, now, Some(from), Body::Unknown);
        match &inserted {
            Inserted::New => self.take_orphans(now, header.id(), effects),
            Inserted::Known => {
                self.found_again(&header.id());
                if from.answers {
                    self.tree.answered_by(&header.id(), from);
                }
            }
            Inserted::Orphan => self.orphans.insert(header.clone(), from),
            // What is only announced may come from one that has just begun and knows no better.
            Inserted::Final if from.answers => self.report_final(&from.peer, header.height, effects),
            Inserted::Final => {}
            Inserted::Early => self.keep_early(now, header, from, effects),
            Inserted::Ahead => {}
            Inserted::Refused(fault) => blame(from, fault.to_string(), effects),
        }
        inserted
    }

    /// Takes in orphans whose parent has arrived, and theirs.
    fn take_orphans(&mut self, now: TimestampMs, parent: BlockId, effects: &mut Vec<Effect>) {
        let mut parents = vec![parent];
        while let Some(parent) = parents.pop() {
            for (header, from) in self.orphans.take_children(&parent) {
                match self.tree.insert(&*self.hash, &header, now, Some(&from), Body::Unknown) {
                    Inserted::New => parents.push(header.id()),
                    Inserted::Early => self.keep_early(now, &header, &from, effects),
                    Inserted::Ahead => self.resume = Some(from.peer),
                    Inserted::Refused(fault) => blame(&from, fault.to_string(), effects),
                    Inserted::Known | Inserted::Orphan | Inserted::Final => {}
                }
            }
        }
    }

    /// Somebody names a block whose body was missing: perhaps there is one now.
    fn found_again(&mut self, id: &BlockId) {
        if self.missing.remove(id).is_some() {
            self.tree.set_body(id, Body::Unknown);
        }
    }

    fn keep_early(
        &mut self,
        now: TimestampMs,
        header: &BlockHeader,
        from: &Source,
        effects: &mut Vec<Effect>,
    ) {
        self.early.insert((header.time, header.id()), (header.clone(), from.clone()));
        if self.early.len() > EARLY_HEADERS_MAX {
            // The farthest ahead; the clock that made it is the most wrong.
            self.early.pop_last();
        }
        self.set_early_timer(now, effects);
    }

    fn set_early_timer(&self, now: TimestampMs, effects: &mut Vec<Effect>) {
        if let Some(((time, _), _)) = self.early.first_key_value() {
            let allowed = now.get().saturating_add(self.tree.rules().rules.future_ms_max);
            let after_ms = time.get().saturating_sub(allowed).max(1);
            effects.push(Effect::SetTimer { timer: EARLY, after_ms });
        }
    }

    fn take_early(&mut self, now: TimestampMs, effects: &mut Vec<Effect>) {
        let allowed = now.get().saturating_add(self.tree.rules().rules.future_ms_max);
        while let Some(entry) = self.early.first_entry() {
            if entry.key().0.get() > allowed {
                break;
            }
            let (header, from) = entry.remove();
            self.take_header(now, &header, &from, effects);
        }
        self.set_early_timer(now, effects);
    }

    fn request(&mut self, from: &[u8], effects: &mut Vec<Effect>) {
        if self.requested.len() >= PEERS_MAX {
            // Who has not answered by now will not.
            self.requested.clear();
        }
        self.requested.insert(from.to_vec());
        effects.push(Effect::Pow(PowEffect::RequestHeaders { from: from.to_vec() }));
    }

    fn report_final(&mut self, from: &[u8], height: Height, effects: &mut Vec<Effect>) {
        if self.reported.iter().any(|peer| peer == from) {
            return;
        }
        if self.reported.len() == PEERS_MAX {
            self.reported.pop_front();
        }
        self.reported.push_back(from.to_vec());
        effects.push(Effect::Report(Notice::Pow(PowNotice::FinalBranchRefused {
            from: from.to_vec(),
            height,
            final_height: self.tree.final_height(),
        })));
    }

    fn validated(&mut self, block: BlockId, verdict: Verdict, effects: &mut Vec<Effect>) {
        let discard = |effects: &mut Vec<Effect>| {
            effects.push(Effect::Pow(PowEffect::Discard { blocks: vec![block] }));
        };
        let Some(entry) = self.tree.get(&block) else { return discard(effects) };
        if self.tree.is_active(entry) || entry.body == Body::Valid {
            return;
        }
        self.missing.remove(&block);
        match verdict {
            Verdict::Valid { .. } if self.holds(&entry.parent) => self.tree.set_body(&block, Body::Valid),
            Verdict::Valid { .. } => {
                // The branch below it was let go meanwhile.
                self.tree.set_body(&block, Body::Unknown);
                discard(effects);
            }
            Verdict::Invalid { reason } => {
                let height = entry.height;
                if let Some(from) = &entry.from {
                    blame(from, format!("block {block}: {reason}"), effects);
                }
                let removed = self.tree.invalidate(&block);
                self.forget(&removed, effects);
                effects.push(Effect::Report(Notice::Pow(PowNotice::InvalidBlock { block, height, reason })));
            }
        }
    }

    /// Says whether a block can be executed on: it is of the chain, or the driver holds it.
    fn holds(&self, id: &BlockId) -> bool {
        self.tree.get(id).is_some_and(|entry| self.tree.is_active(entry) || entry.body == Body::Valid)
    }

    fn mined(&mut self, now: TimestampMs, header: &BlockHeader, effects: &mut Vec<Effect>) {
        let id = header.id();
        let inserted = if self.holds(&header.parent) {
            self.tree.insert(&*self.hash, header, now, None, Body::Valid)
        } else {
            Inserted::Final
        };
        self.miner.found();
        match inserted {
            Inserted::New => {
                self.own.insert(id);
            }
            Inserted::Known => {}
            // Its branch is gone, or the clock was set back.
            _ => effects.push(Effect::Pow(PowEffect::Discard { blocks: vec![id] })),
        }
    }

    /// The driver has moved the head.
    fn moved(&mut self, now: TimestampMs, head: BlockId, effects: &mut Vec<Effect>) {
        let going = self.going.take_if(|going| going.branch.last() == Some(&head));
        let Some(going) = going else {
            let reason =
                format!("block {head} was stored, which the engine had not asked for; this is a bug");
            effects.push(Effect::Halt { reason });
            return;
        };
        if let Some((ancestor, removed)) = going.reorganization {
            let added = going.branch.len() as u64;
            let notice = PowNotice::Reorganized { ancestor, removed, added };
            effects.push(Effect::Report(Notice::Pow(notice)));
        }
        let removed = self.tree.set_head(head);
        self.forget(&removed, effects);
        self.orphans.expire(self.tree.head_entry().height);
        for block in going.branch {
            if self.own.remove(&block)
                && let Some(header) = self.tree.get(&block).and_then(|entry| entry.header.clone())
            {
                let bytes = PowMessage::Header(header).encode();
                effects.push(Effect::Publish(Announcement::Block { block }));
                effects.push(Effect::Publish(Announcement::Message { bytes }));
            }
        }
        self.let_go(effects);
        if let Some(peer) = self.resume.take_if(|_| self.tree.best().is_none()) {
            self.request(&peer, effects);
        }
        self.set_retry_timer(now, effects);
    }

    /// The driver cannot go over to the branch: it is left alone, as is whatever stands on it.
    fn stayed(&mut self, effects: &mut Vec<Effect>) {
        let Some(Going { branch, reorganization: Some((ancestor, _)) }) = self.going.take() else { return };
        let Some(block) = branch.first().copied() else { return };
        let blocks = self.tree.leave(&block);
        effects.push(Effect::Pow(PowEffect::Discard { blocks }));
        effects.push(Effect::Report(Notice::Pow(PowNotice::BranchLeft { ancestor, block })));
    }

    /// Forgets entries that left the tree.
    fn forget(&mut self, removed: &[HeaderEntry], effects: &mut Vec<Effect>) {
        for entry in removed {
            self.missing.remove(&entry.id);
            self.own.remove(&entry.id);
        }
        let blocks: Vec<_> =
            removed.iter().filter(|entry| entry.body == Body::Valid).map(|entry| entry.id).collect();
        if !blocks.is_empty() {
            effects.push(Effect::Pow(PowEffect::Discard { blocks }));
        }
    }

    /// Lets go of validated blocks that are not on the way to the best branch, so that what the driver holds is
    /// bounded by one branch.
    fn let_go(&mut self, effects: &mut Vec<Effect>) {
        let wanted: BTreeSet<BlockId> = match self.tree.best() {
            Some(best) => self.tree.branch(best).1.iter().map(|entry| entry.id).collect(),
            None => BTreeSet::new(),
        };
        let head = self.tree.head_entry().work;
        let unwanted = |entry: &&HeaderEntry| {
            entry.body == Body::Valid && !wanted.contains(&entry.id) && entry.work <= head
        };
        let mut blocks: Vec<BlockId> = self.tree.side().filter(unwanted).map(|entry| entry.id).collect();
        // Nor anything above what is let go, or above a branch that was left.
        loop {
            blocks.iter().for_each(|block| self.tree.set_body(block, Body::Unknown));
            let cut: Vec<BlockId> = self
                .tree
                .side()
                .filter(|entry| entry.body == Body::Valid && !self.holds(&entry.parent))
                .map(|entry| entry.id)
                .collect();
            if cut.is_empty() {
                break;
            }
            cut.iter().for_each(|block| self.tree.set_body(block, Body::Unknown));
            blocks.extend(cut);
        }
        if !blocks.is_empty() {
            effects.push(Effect::Pow(PowEffect::Discard { blocks }));
        }
    }

    fn set_retry_timer(&self, now: TimestampMs, effects: &mut Vec<Effect>) {
        if let Some(until) = self.missing.values().min() {
            let after_ms = until.get().saturating_sub(now.get()).max(1);
            effects.push(Effect::SetTimer { timer: RETRY, after_ms });
        }
    }

    fn timer(&mut self, now: TimestampMs, timer: TimerId, effects: &mut Vec<Effect>) {
        match timer {
            BODY => {
                let Some(block) = self.waiting_for.take() else { return };
                let Some(entry) = self.tree.get(&block) else { return };
                if entry.body != Body::Asked {
                    return;
                }
                let height = entry.height;
                let wait = self.body_timeout_ms.saturating_mul(RETRY_TIMEOUTS);
                let until = TimestampMs::new(now.get().saturating_add(wait));
                self.tree.set_body(&block, Body::Missing { until });
                self.tree.unask_above(&block);
                self.missing.insert(block, until);
                self.set_retry_timer(now, effects);
                effects.push(Effect::Report(Notice::Pow(PowNotice::BodyMissing { block, height })));
            }
            RETRY => {
                let due: Vec<_> =
                    self.missing.iter().filter(|(_, until)| **until <= now).map(|(id, _)| *id).collect();
                due.iter().for_each(|id| self.found_again(id));
                self.set_retry_timer(now, effects);
            }
            EARLY => self.take_early(now, effects),
            RENEW => self.miner.renew(&self.tree, now, effects),
            _ => {}
        }
    }

    /// Asks for bodies of the best branch, and goes over to what is valid and heavier.
    fn advance(&mut self, now: TimestampMs, effects: &mut Vec<Effect>) {
        self.ask(effects);
        self.go(effects);
        if self.going.is_none() {
            self.miner.follow(&self.tree, now, effects);
        }
    }

    fn ask(&mut self, effects: &mut Vec<Effect>) {
        let mut asked = Vec::new();
        let mut lowest = None;
        if let Some(best) = self.tree.best() {
            let (ancestor, branch) = self.tree.branch(best);
            let head = self.tree.head_entry().work;
            // What makes the branch heavier is needed at once; of what follows only so much ahead, because the
            // driver holds it until it is stored.
            let enough = branch.partition_point(|entry| entry.work <= head) + VALIDATIONS_MAX;
            let open = branch.iter().take(enough).filter(|entry| entry.body != Body::Valid);
            for entry in open.take(VALIDATIONS_MAX) {
                lowest = lowest.or(Some(entry.id));
                if let (Body::Unknown, Some(header)) = (entry.body, &entry.header) {
                    asked.push(entry.id);
                    let from = entry.from.as_ref().map(|from| from.peer.clone());
                    let header = header.clone();
                    effects.push(Effect::Pow(PowEffect::Validate { header, ancestor, from }));
                }
            }
        }
        asked.iter().for_each(|id| self.tree.set_body(id, Body::Asked));
        if lowest != self.waiting_for {
            effects.push(match lowest {
                Some(_) => Effect::SetTimer { timer: BODY, after_ms: self.body_timeout_ms },
                None => Effect::CancelTimer { timer: BODY },
            });
            self.waiting_for = lowest;
        }
    }

    fn go(&mut self, effects: &mut Vec<Effect>) {
        if self.going.is_some() {
            return;
        }
        let head = self.tree.head_entry();
        let Some(tip) = self.tree.best_valid() else { return };
        let (ancestor, branch) = self.tree.branch(tip);
        let (effect, going) = if ancestor == head.height {
            let Some(block) = branch.first().map(|entry| entry.id) else { return };
            let going = Going { branch: vec![block], reorganization: None };
            (Effect::Commit { block, certificate: None }, going)
        } else {
            // As few blocks as make it heavier; the rest follows one by one.
            let enough = branch.partition_point(|entry| entry.work <= head.work) + 1;
            let branch: Vec<_> = branch.iter().take(enough).map(|entry| entry.id).collect();
            let reorganization = Some((ancestor, head.height.get() - ancestor.get()));
            let effect = PowEffect::Reorganize { ancestor, branch: branch.clone() };
            (Effect::Pow(effect), Going { branch, reorganization })
        };
        self.going = Some(going);
        effects.push(effect);
    }
}

/// Holds something against who sent it, when it answers for it.
fn blame(from: &Source, reason: String, effects: &mut Vec<Effect>) {
    if from.answers {
        effects.push(Effect::Blame { peer: from.peer.clone(), reason });
    }
}

impl ConsensusEngine for PowEngine {
    fn name(&self) -> &'static str {
        "pow"
    }

    fn handle(&mut self, now: TimestampMs, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Started { head, .. } => {
                if head.id != self.tree.head_entry().id {
                    let reason = format!(
                        "the chain ends with block {}, the headers given to the engine with {}; this is a bug",
                        head.id,
                        self.tree.head_entry().id
                    );
                    effects.push(Effect::Halt { reason });
                    return effects;
                }
                self.started = true;
            }
            Input::TransactionsWaiting => {
                if self.started && self.miner.searches_empty_block() {
                    self.miner.renew(&self.tree, now, &mut effects);
                }
            }
            Input::ProposalBuilt { proposal, .. } => {
                self.miner.built(proposal.header, &self.tree, now, &mut effects);
            }
            Input::ProposalSkipped { .. } => self.miner.skipped(&mut effects),
            Input::BlockValidated { block, verdict } => self.validated(block, verdict, &mut effects),
            Input::Committed { head, .. } => self.moved(now, head.id, &mut effects),
            Input::TimerElapsed { timer } => self.timer(now, timer, &mut effects),
            Input::Message { from, bytes } => match PowMessage::try_from_slice(&bytes) {
                Ok(PowMessage::Header(header)) if bytes.len() <= MESSAGE_BYTES_MAX => {
                    let from = Source { peer: from, answers: false };
                    self.take_headers(now, &from, &[*header], &mut effects);
                }
                Ok(_) => effects.push(Effect::Blame { peer: from, reason: "an oversized message".into() }),
                Err(error) => {
                    effects.push(Effect::Blame { peer: from, reason: format!("not a message: {error}") });
                }
            },
            Input::Pow(PowInput::Headers { from, headers }) => {
                if headers.len() > HEADERS_PER_ANSWER_MAX {
                    let reason = format!("{} headers at once", headers.len());
                    effects.push(Effect::Blame { peer: from, reason });
                } else {
                    let from = Source { peer: from, answers: true };
                    self.take_headers(now, &from, &headers, &mut effects);
                }
            }
            Input::Pow(PowInput::Mined { header }) => self.mined(now, &header, &mut effects),
            Input::Pow(PowInput::Reorganized { head }) => self.moved(now, head, &mut effects),
            Input::Pow(PowInput::Stayed) => self.stayed(&mut effects),
            // The next block, which miners always make, anchors the state; there are no certificates and no votes.
            Input::AnchorWanted | Input::Certified { .. } | Input::SigningAllowed { .. } => {}
        }
        if self.started {
            self.advance(now, &mut effects);
        }
        effects
    }
}

#[cfg(test)]
mod tests;
