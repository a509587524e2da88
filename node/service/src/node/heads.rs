//! What proof of work adds to what a node's threads share: work, blocks beside the chain, and what left it.

use parking_lot::{Mutex, RwLock};
use purlin_api::PowStatus;
use purlin_chain::{Chain, ChainError, EventRecord, ExecutedBlock, RemovedBlock};
use purlin_consensus::pow::{DoubleSha256, Schedule, Target, Work, meets_own_target};
use purlin_primitives::{
    Block, BlockHeader, BlockId, Height, PowRules, Seal, TimestampMs, VerifiedTransaction,
};
use purlin_state::{KeyValueStore, StoreError};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::watch;

/// Most blocks that left the chain and are remembered for those who were told of their events.
const REMOVED_BLOCKS_MAX: usize = 1_024;
/// Most events of such blocks that are remembered, and their bytes; the oldest blocks go first.
const REMOVED_EVENTS_MAX: usize = 100_000;
const REMOVED_BYTES_MAX: usize = 32 << 20;

/// Heights above the head whose headers are passed on: this node may be a little behind.
const AHEAD_MAX: u64 = 8;

/// A block that was executed on its parent, wherever that is.
pub(super) struct Candidate {
    pub(super) block: Block,
    pub(super) executed: Arc<ExecutedBlock>,
    pub(super) transactions: Arc<[VerifiedTransaction]>,
}

impl Candidate {
    /// Returns the same block with another header, which differs in the nonce only.
    pub(super) fn with_header(&self, header: BlockHeader) -> Self {
        Self {
            block: Block { header, transactions: self.block.transactions.clone() },
            executed: Arc::clone(&self.executed),
            transactions: Arc::clone(&self.transactions),
        }
    }
}

/// A reorganisation, for those who were told of what it took back.
struct Removal {
    /// Last block that both branches have.
    ancestor: (Height, BlockId),
    /// Lowest first.
    blocks: Vec<(BlockId, Arc<[EventRecord]>)>,
    /// Of the events.
    bytes: usize,
}

impl Removal {
    fn events(&self) -> usize {
        self.blocks.iter().map(|(_, events)| events.len()).sum()
    }
}

/// Remembers reorganisations within bounds.
#[derive(Default)]
pub(super) struct Journal {
    removals: VecDeque<Removal>,
    blocks: usize,
    events: usize,
    bytes: usize,
}

/// What somebody must be told who has seen the chain up to a block that left it.
#[derive(Debug)]
pub(super) struct TakenBack {
    /// The block that they share with the chain of then.
    pub(super) ancestor: (Height, BlockId),
    /// Blocks that left it, up to the one seen, newest first.
    pub(super) blocks: Vec<(BlockId, Arc<[EventRecord]>)>,
}

impl Journal {
    fn note(&mut self, ancestor: (Height, BlockId), removed: Vec<RemovedBlock>) {
        let blocks: Vec<(BlockId, Arc<[EventRecord]>)> =
            removed.into_iter().map(|one| (one.id, one.events.into())).collect();
        let bytes = blocks.iter().flat_map(|(_, events)| events.iter()).map(bytes_of).sum();
        let removal = Removal { ancestor, blocks, bytes };
        self.blocks += removal.blocks.len();
        self.events += removal.events();
        self.bytes += removal.bytes;
        self.removals.push_back(removal);
        while self.blocks > REMOVED_BLOCKS_MAX
            || self.events > REMOVED_EVENTS_MAX
            || self.bytes > REMOVED_BYTES_MAX
        {
            let Some(oldest) = self.removals.pop_front() else { return };
            self.blocks -= oldest.blocks.len();
            self.events -= oldest.events();
            self.bytes -= oldest.bytes;
        }
    }

    /// Says how a block left the chain last; `None` when that is not remembered.
    pub(super) fn taken_back(&self, block: &BlockId) -> Option<TakenBack> {
        let (removal, at) = self.removals.iter().rev().find_map(|removal| {
            let at = removal.blocks.iter().position(|(id, _)| id == block)?;
            Some((removal, at))
        })?;
        let blocks = removal.blocks[..=at].iter().rev().cloned().collect();
        Some(TakenBack { ancestor: removal.ancestor, blocks })
    }
}

/// Returns about how much memory an event takes.
fn bytes_of(record: &EventRecord) -> usize {
    std::mem::size_of::<EventRecord>() + record.event.topic.len() + record.event.payload.len()
}

/// Work of the chain up to its last blocks.
struct Works {
    /// By height, ascending and without a gap; the last is the head's.
    by_height: BTreeMap<Height, Work>,
    /// Target of the head, in compact form; the genesis' at height 0.
    target: u32,
}

/// What a node of a proof-of-work chain shares.
pub(super) struct Heads {
    pub(super) rules: PowRules,
    /// Blocks that can be taken back.
    pub(super) window_blocks: u64,
    /// Tells of every change of the head; the height alone says little, because a head may be replaced.
    pub(super) tips: watch::Sender<Height>,
    /// Blocks that were found valid and are not stored, as the engine bounds them.
    pub(super) candidates: Mutex<BTreeMap<BlockId, Arc<Candidate>>>,
    pub(super) journal: Mutex<Journal>,
    works: RwLock<Works>,
}

fn target_of(header: &BlockHeader) -> Option<u32> {
    match header.seal {
        Seal::Pow { target, .. } => Some(target),
        Seal::Pos { .. } => None,
    }
}

fn work_of(header: &BlockHeader) -> Work {
    let target = target_of(header).and_then(|bits| Target::from_compact(bits).ok());
    target.map_or(Work::ZERO, |target| target.work())
}

impl Heads {
    /// Reads the headers of the whole chain, about a microsecond each.
    pub(super) fn open<S: KeyValueStore>(chain: &Chain<S>, rules: PowRules) -> Result<Self, ChainError> {
        let head = chain.head().height;
        let window_blocks = chain.options().window_blocks;
        let mut works = Works { by_height: BTreeMap::new(), target: rules.target_start };
        works.by_height.insert(Height::ZERO, Work::ZERO);
        let heads = Self {
            rules,
            window_blocks,
            tips: watch::Sender::new(head),
            candidates: Mutex::default(),
            journal: Mutex::default(),
            works: RwLock::new(works),
        };
        for height in (1..=head.get()).map(Height::new) {
            // Work of blocks that were pruned is not counted; it is a hint for peers, and no rule hangs on it.
            if let Some(header) = chain.header(height)? {
                heads.extend(&header);
            }
        }
        Ok(heads)
    }

    /// The chain has one block more.
    pub(super) fn extend(&self, header: &BlockHeader) {
        let mut works = self.works.write();
        let before = works.by_height.last_key_value().map_or(Work::ZERO, |(_, work)| *work);
        works.by_height.insert(header.height, before.plus(work_of(header)));
        works.target = target_of(header).unwrap_or(works.target);
        let lowest = header.height.saturating_sub(Height::new(self.window_blocks));
        while works.by_height.len() > 1
            && let Some(entry) = works.by_height.first_entry()
            && *entry.key() < lowest
        {
            entry.remove();
        }
    }

    /// The chain is another one above `ancestor`.
    pub(super) fn replace<'a>(
        &self,
        ancestor: (Height, BlockId),
        removed: Vec<RemovedBlock>,
        added: impl IntoIterator<Item = &'a BlockHeader>,
    ) {
        self.works.write().by_height.split_off(&ancestor.0.next());
        added.into_iter().for_each(|header| self.extend(header));
        self.journal.lock().note(ancestor, removed);
    }

    /// Returns the work of the whole chain.
    pub(super) fn work(&self) -> Work {
        self.works.read().by_height.last_key_value().map_or(Work::ZERO, |(_, work)| *work)
    }

    /// Returns the target of the head, in compact form.
    pub(super) fn target(&self) -> u32 {
        self.works.read().target
    }

    /// Describes it for clients.
    pub(super) fn status(&self) -> PowStatus {
        let works = self.works.read();
        let work = works.by_height.last_key_value().map_or(Work::ZERO, |(_, work)| *work);
        let difficulty = Target::from_compact(works.target).map_or(Work::ZERO, |target| target.work());
        PowStatus {
            work: format!("0x{}", hex::encode(work.to_be_bytes())),
            target: format!("{:#010x}", works.target),
            difficulty: decimal(difficulty),
            block_time_ms: self.rules.block_time_ms,
            confirmations: self.rules.confirmations,
        }
    }

    /// Returns the height up to which the chain cannot be reverted when it ends at `head`.
    pub(super) fn irreversible(&self, head: Height) -> Height {
        head.saturating_sub(Height::new(self.window_blocks))
    }

    /// Checks that a header shows some work; where it stands, and so whether it is enough, is for the engine.
    pub(super) fn check_work(&self, header: &BlockHeader) -> Result<(), &'static str> {
        let target = target_of(header).ok_or("it has no proof of work")?;
        let target = Target::from_compact(target).map_err(|_| "its target means nothing")?;
        // The genesis was read by the engine before.
        let easiest = Target::from_compact(self.rules.target_start).unwrap_or(Target::MIN);
        if target > easiest {
            return Err("its target is easier than the easiest of the chain");
        }
        if meets_own_target(&DoubleSha256, header) { Ok(()) } else { Err("it does not meet its target") }
    }

    /// Checks height, target and time of a header whose parent is of the chain; of others nothing is known here. What
    /// is wrong need not be the fault of who sent it, because not everybody knows the parent.
    pub(super) fn check_place<S: KeyValueStore>(
        &self,
        chain: &Chain<S>,
        header: &BlockHeader,
    ) -> Result<Result<(), &'static str>, StoreError> {
        let place = if header.parent == chain.genesis_id() {
            (Height::ZERO, chain.genesis().time, TimestampMs::default())
        } else {
            let Some(height) = chain.block_height(&header.parent)? else { return Ok(Ok(())) };
            let (Some(parent), Some(first)) = (chain.header(height)?, chain.header(Height::new(1))?) else {
                return Ok(Ok(()));
            };
            if parent.id() != header.parent {
                // It has just left the chain.
                return Ok(Ok(()));
            }
            (height, parent.time, first.time)
        };
        let (height, time, first_time) = place;
        // The genesis was read by the engine before.
        let Ok(schedule) = Schedule::of(&self.rules) else { return Ok(Ok(())) };
        let target = schedule.target_on(height, time, first_time).to_compact();
        let fault = if header.height != height.next() {
            Some("its height is not one more than its parent's")
        } else if target_of(header) != Some(target) {
            Some("its target is not what the chain demands there")
        } else if header.time <= time {
            Some("it is not after its parent")
        } else {
            None
        };
        Ok(fault.map_or(Ok(()), Err))
    }

    /// Says whether a header may be the chain's next, so that others should see it, or the head's equal: headers
    /// that cost next to nothing are not sent on.
    pub(super) fn is_news(&self, header: &BlockHeader, head: Height) -> bool {
        let near = header.height >= head && header.height.get() <= head.get().saturating_add(AHEAD_MAX);
        let current = Target::from_compact(self.target()).map(|target| target.work());
        let current = current.unwrap_or(Work::ZERO);
        let work = work_of(header);
        // Difficulty moves by far less from block to block.
        near && work.plus(work).plus(work).plus(work) >= current
    }

    /// Returns the height up to which blocks count as final when the chain ends at `head`.
    pub(super) fn final_height(&self, head: Height) -> Height {
        head.saturating_sub(Height::new(self.rules.confirmations))
    }
}

/// Writes a number of hashes for people; what does not fit 128 bits takes longer than any machine lasts.
fn decimal(work: Work) -> String {
    let bytes = work.to_be_bytes();
    let (high, low) = bytes.split_at(16);
    match (high.iter().all(|byte| *byte == 0), <[u8; 16]>::try_from(low)) {
        (true, Ok(low)) => u128::from_be_bytes(low).to_string(),
        _ => format!("0x{}", hex::encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use purlin_primitives::{Event, Hash32};

    fn removed(height: u64, events: usize, bytes: usize) -> RemovedBlock {
        let header = BlockHeader {
            chain_id: "dev".parse().unwrap(),
            height: Height::new(height),
            parent: BlockId::ZERO,
            time: TimestampMs::new(height),
            proposer: Default::default(),
            transactions_root: Hash32::ZERO,
            state_root: Hash32::ZERO,
            receipts_root: Hash32::ZERO,
            seal: Seal::Pow { target: 0x2000_ffff, nonce: 0 },
        };
        let event = |index: usize| EventRecord {
            cursor: purlin_chain::EventCursor { height: Height::new(height), index: index as u32 },
            transaction: Default::default(),
            position: 0,
            event: Event { app: "app".parse().unwrap(), topic: "t".into(), payload: vec![0; bytes] },
        };
        let events = (0..events).map(event).collect();
        RemovedBlock { id: header.id(), block: Block { header, transactions: Vec::new() }, events }
    }

    #[test]
    fn what_left_the_chain_is_remembered_within_bounds() {
        let ancestor = (Height::ZERO, BlockId::ZERO);
        let mut journal = Journal::default();
        let few = removed(1, 2, 10);
        let id = few.id;
        journal.note(ancestor, vec![few, removed(2, 1, 10)]);
        let taken = journal.taken_back(&id).unwrap();
        assert_eq!((taken.ancestor, taken.blocks.len(), taken.blocks[0].1.len()), (ancestor, 1, 2));
        // Large events count by their bytes.
        for height in 3..100 {
            journal.note(ancestor, vec![removed(height, 100, 16 * 1_024)]);
            assert!(journal.bytes <= REMOVED_BYTES_MAX);
        }
        assert!(journal.taken_back(&id).is_none());
        assert_eq!(journal.events, journal.blocks * 100);
        assert!((10..100).contains(&journal.blocks), "{}", journal.blocks);
        // Many empty blocks by their number.
        for height in 100..3_000 {
            journal.note(ancestor, vec![removed(height, 0, 0)]);
            assert!(journal.blocks <= REMOVED_BLOCKS_MAX);
        }
        assert_eq!((journal.events, journal.bytes), (0, 0));
    }
}
