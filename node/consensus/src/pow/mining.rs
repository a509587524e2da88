//! Which block is being built and searched a nonce for.

use purlin_primitives::{Block, BlockHeader, BlockId, Seal, TimestampMs};

use super::port::PowEffect;
use super::tree::{HeaderEntry, HeaderTree};
use crate::port::{Effect, Notice, TimerId, WhenEmpty};

/// Renews the block that is being mined.
pub(super) const RENEW: TimerId = TimerId(1);

/// Whether a node mines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mining {
    /// It only follows.
    Off,
    /// It builds blocks and searches nonces for them.
    On {
        /// How long a nonce is searched for one block before it is built again, with the transactions that
        /// arrived since and a later time, in milliseconds.
        renew_after_ms: u64,
    },
}

/// What a node's miners are doing.
#[derive(Debug)]
enum Stage {
    Idle,
    /// A block on this parent is being built.
    Building(BlockId),
    /// A nonce is being searched for this header.
    Searching(Box<BlockHeader>),
}

/// Keeps a block on top of the head in the hands of the miners.
#[derive(Debug)]
pub(super) struct Miner {
    mining: Mining,
    stage: Stage,
    /// A build was asked for and not answered; it may be for an older head.
    build_asked: bool,
    clock_reported: bool,
}

impl Miner {
    pub(super) fn new(mining: Mining) -> Self {
        Self { mining, stage: Stage::Idle, build_asked: false, clock_reported: false }
    }

    /// Starts on the head, unless that is what is being done.
    pub(super) fn follow(&mut self, tree: &HeaderTree, now: TimestampMs, effects: &mut Vec<Effect>) {
        if self.mining == Mining::Off {
            return;
        }
        let head = tree.head_entry();
        match &self.stage {
            Stage::Building(parent) if *parent == head.id => return,
            Stage::Searching(header) if header.parent == head.id => return,
            Stage::Searching(_) => effects.push(Effect::Pow(PowEffect::StopMining)),
            _ => {}
        }
        self.stage = Stage::Idle;
        self.build(tree, head, now, effects);
    }

    /// Builds again on the same head.
    pub(super) fn renew(&mut self, tree: &HeaderTree, now: TimestampMs, effects: &mut Vec<Effect>) {
        if self.mining != Mining::Off && !matches!(self.stage, Stage::Building(_)) {
            // The search goes on meanwhile: a nonce of the old block is as good.
            self.build(tree, tree.head_entry(), now, effects);
        }
    }

    fn build(&mut self, tree: &HeaderTree, head: &HeaderEntry, now: TimestampMs, effects: &mut Vec<Effect>) {
        if self.build_asked {
            return;
        }
        let earliest = tree.time_bound(head).get().saturating_add(1);
        let time = now.get().max(earliest);
        let ahead = time - now.get().min(time);
        let allowed = tree.rules().rules.future_ms_max;
        if ahead > allowed {
            // Others would not take it yet.
            if !self.clock_reported {
                effects.push(Effect::Report(Notice::ClockBehind { by_ms: ahead }));
            }
            self.clock_reported = true;
            effects.push(Effect::SetTimer { timer: RENEW, after_ms: ahead - allowed });
            return;
        }
        self.clock_reported = false;
        self.build_asked = true;
        if matches!(self.stage, Stage::Idle) {
            self.stage = Stage::Building(head.id);
        }
        effects.push(Effect::BuildProposal {
            height: head.height.next(),
            time: TimestampMs::new(time),
            seal: Seal::Pow { target: tree.next_target(head), nonce: 0 },
            when_empty: WhenEmpty::Build,
        });
    }

    /// A block was built.
    pub(super) fn built(
        &mut self,
        header: BlockHeader,
        tree: &HeaderTree,
        now: TimestampMs,
        effects: &mut Vec<Effect>,
    ) {
        self.build_asked = false;
        let Mining::On { renew_after_ms } = self.mining else { return };
        if header.parent != tree.head_entry().id {
            // The head has moved on meanwhile.
            self.stage = Stage::Idle;
            self.follow(tree, now, effects);
            return;
        }
        self.stage = Stage::Searching(Box::new(header.clone()));
        effects.push(Effect::Pow(PowEffect::Mine { header: Box::new(header) }));
        effects.push(Effect::SetTimer { timer: RENEW, after_ms: renew_after_ms });
    }

    /// Nothing was built, although an empty block was asked for; it is asked for again later.
    pub(super) fn skipped(&mut self, effects: &mut Vec<Effect>) {
        self.build_asked = false;
        if let Mining::On { renew_after_ms } = self.mining {
            if matches!(self.stage, Stage::Building(_)) {
                self.stage = Stage::Idle;
            }
            effects.push(Effect::SetTimer { timer: RENEW, after_ms: renew_after_ms });
        }
    }

    /// Says whether the block being mined has no transaction, so that one that arrives should not wait.
    pub(super) fn searches_empty_block(&self) -> bool {
        let empty = Block::transactions_root(&[]);
        matches!(&self.stage, Stage::Searching(header) if header.transactions_root == empty)
    }

    /// A nonce was found: the search is over until the head has moved.
    pub(super) fn found(&mut self) {
        self.stage = Stage::Idle;
    }
}
