//! Going over to another branch.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use purlin_primitives::{Block, BlockId, Height, Transaction, TransactionId};
use purlin_state::{
    Changes, Column, FlatState, KeyValueStore, MerkleTree, Order, StateReader, StoreError, WriteBatch,
};
use std::collections::BTreeSet;

use crate::chain::{Chain, CommittedBlock, PendingBlock, SealedBlock};
use crate::error::ChainError;
use crate::events::{EventCursor, EventRecord};
use crate::executor::ExecutedBlock;
use crate::records::{self, StoredEvent, UndoRun};
use crate::staged::StagedStore;
use crate::write;

/// Most bytes of keys and values that going over to another branch writes in its one batch: what the old
/// branch changed and what the new one writes. A node holds about three times as much in memory while it
/// does. A branch that needs more is refused, so a chain of proof of work whose blocks come near a window's
/// share of this cannot be reorganised at full depth.
pub const REORGANIZATION_BYTES_MAX: usize = 1 << 30;

/// Records read at once while a branch is removed.
const PAGE: usize = 64;

/// Columns whose keys begin with the height they are about.
const BY_HEIGHT: [Column; 8] = [
    Column::TreeNodes,
    Column::StaleNodes,
    Column::Undo,
    Column::Blocks,
    Column::Certificates,
    Column::Receipts,
    Column::Events,
    Column::Diagnostics,
];

/// A block that was part of the chain and is not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedBlock {
    /// Its id.
    pub id: BlockId,
    /// The block.
    pub block: Block,
    /// Its events, as they were read before; who was told of them must be told that they did not happen.
    pub events: Vec<EventRecord>,
}

/// What [`Chain::reorganize`] did.
#[derive(Debug, Clone)]
pub struct Reorganized {
    /// Height of the last block that both branches share.
    pub ancestor: Height,
    /// Blocks of the old branch, lowest first.
    pub removed: Vec<RemovedBlock>,
    /// Transactions of the old branch that the new one does not have, in the old order: they wait again.
    pub returned: Vec<Transaction>,
    /// Blocks of the new branch, lowest first. Each names the head as it was after it.
    pub committed: Vec<CommittedBlock>,
}

impl<S: KeyValueStore> Chain<S> {
    /// Goes over to another branch: takes back the blocks above `ancestor` and appends those of `branch`, all
    /// in one synced batch, so that a power cut leaves the old branch or the new one. Afterwards the store is
    /// as if the old branch had never been, but for what was pruned meanwhile. An empty branch only takes back.
    ///
    /// Each block's result must come from executing it on the state after the one before; see
    /// [`Chain::branch`]. Roots are computed and checked here as when appending. Blocks that were sealed and
    /// not committed are forgotten. Whoever seals or commits beside this is refused or waits.
    ///
    /// # Errors
    ///
    /// [`ChainError::ReorganizationTooDeep`] when the ancestor is older than the window,
    /// [`ChainError::ReorganizationTooLarge`], [`ChainError::InvalidBlock`]: nothing has changed. After an
    /// error of writing nothing more is accepted; which branch is stored is known after the next start.
    pub fn reorganize(
        &self,
        ancestor: Height,
        branch: Vec<(Block, ExecutedBlock)>,
    ) -> Result<Reorganized, ChainError> {
        self.check_running()?;
        let _storing = self.lock_storing();
        let before = self.committed();
        self.check_depth(ancestor)?;
        let staged = Arc::new(StagedStore::new(self.store.clone()));
        let tree = MerkleTree::new(staged.clone());

        let removed = self.roll_back(&staged, ancestor, before.head.height)?;
        let mut head = self.head_at(ancestor)?;
        let state: Arc<dyn StateReader> = Arc::new(FlatState::new(staged.clone()));
        let (mut version, made) = self.tree_at(&staged, &tree, &head, &state)?;
        if made {
            head.oldest_proof = ancestor;
        }
        let mut batch = WriteBatch::default();
        batch.put(Column::Meta, records::META_HEAD, records::encode(&head));
        staged.apply(batch);

        let mut head = Arc::new(head);
        let mut committed = Vec::with_capacity(branch.len());
        for (block, mut executed) in branch {
            let height = block.header.height;
            self.check_extends(&block, &executed, &head)
                .map_err(|fault| ChainError::InvalidBlock { height, fault })?;
            let changes = Arc::new(std::mem::take(&mut executed.changes));
            let pending = PendingBlock::new(block, executed, changes, state.clone());
            let sealed = write::seal(&*staged, &tree, self.options(), pending, &head, &version)?;
            let SealedBlock { head: next, block, receipts, batch, tree: next_version, .. } = sealed;
            staged.apply(batch);
            check_size(&staged)?;
            (head, version) = (next, next_version);
            committed.push(CommittedBlock { head: head.clone(), block, receipts });
        }

        let returned = returned(&removed, &committed);
        let previous = Arc::new(self.replaced(&staged)?);
        // From here on, readers of the old head look at what the batch replaces, and readers of heights before
        // it are refused, whether or not the write has happened yet.
        let link = before.link.extend(previous);
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.oldest_state.fetch_max(head.oldest_state.get(), Ordering::SeqCst);
        self.replace(staged.take(), head, link, version, generation)?;
        Ok(Reorganized { ancestor, removed, returned, committed })
    }

    /// Refuses an ancestor above the head or behind the window.
    pub(crate) fn check_depth(&self, ancestor: Height) -> Result<(), ChainError> {
        let head = self.head();
        if ancestor > head.height {
            return Err(ChainError::NotYet { height: ancestor, head: head.height });
        }
        let window_start = head.height.saturating_sub(Height::new(self.options().window_blocks));
        let oldest = head.oldest_state.max(window_start);
        if ancestor < oldest {
            return Err(ChainError::ReorganizationTooDeep { ancestor, oldest });
        }
        Ok(())
    }

    /// Stages the removal of every block above `ancestor` and of all that they did; returns them, lowest first.
    fn roll_back(
        &self,
        staged: &StagedStore<S>,
        ancestor: Height,
        head: Height,
    ) -> Result<Vec<RemovedBlock>, ChainError> {
        let mut removed = Vec::new();
        // Downwards: the value before the lowest block wins.
        for height in (ancestor.get() + 1..=head.get()).rev().map(Height::new) {
            let mut batch = WriteBatch::default();
            self.each_record(Column::Undo, height, |key, bytes| {
                for (key, value) in records::decode::<UndoRun>(Column::Undo, key, bytes)? {
                    match value {
                        Some(value) => batch.put(Column::of_state(&key), key, value),
                        None => batch.delete(Column::of_state(&key), key),
                    }
                }
                Ok(())
            })?;
            let block = self.block_unlocked(height)?.ok_or_else(|| ChainError::Inconsistent {
                detail: format!("block {height} is missing below the head at height {head}"),
            })?;
            let id = block.header.id();
            batch.delete(Column::Index, records::block_index_key(&id));
            for transaction in &block.transactions {
                batch.delete(Column::Index, records::transaction_index_key(&transaction.body.id()));
            }
            let events = self.events_of(height)?;
            let apps: BTreeSet<_> = events.iter().map(|record| &record.event.app).collect();
            for app in apps {
                batch.delete(Column::EventsByApp, records::app_events_key(app, height));
            }
            for column in BY_HEIGHT {
                self.each_record(column, height, |key, _| {
                    batch.delete(column, key);
                    Ok(())
                })?;
            }
            staged.apply(batch);
            check_size(staged)?;
            removed.push(RemovedBlock { id, block, events });
        }
        removed.reverse();
        Ok(removed)
    }

    /// Calls `visit` with every record of a height, page by page.
    fn each_record(
        &self,
        column: Column,
        height: Height,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut cursor = records::height_key(height).to_vec();
        let to = records::height_key(height.next());
        loop {
            let page = self.store.scan(column, &cursor, Some(&to), Order::Ascending, PAGE)?;
            for (key, bytes) in &page {
                visit(key, bytes)?;
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => cursor = [last.as_slice(), &[0]].concat(),
                _ => return Ok(()),
            }
        }
    }

    fn events_of(&self, height: Height) -> Result<Vec<EventRecord>, StoreError> {
        let mut events = Vec::new();
        let mut index = 0;
        self.each_record(Column::Events, height, |key, bytes| {
            for stored in records::decode::<Vec<StoredEvent>>(Column::Events, key, bytes)? {
                let StoredEvent { transaction, position, event } = stored;
                events.push(EventRecord {
                    cursor: EventCursor { height, index },
                    transaction,
                    position,
                    event,
                });
                index += 1;
            }
            Ok(())
        })?;
        Ok(events)
    }

    /// Returns what the store holds under every key of state that is staged.
    fn replaced(&self, staged: &StagedStore<S>) -> Result<Changes, StoreError> {
        let mut replaced = Changes::new();
        for column in [Column::Values, Column::AppCode] {
            for key in staged.keys(column) {
                let value = self.store.get(column, &key)?;
                replaced.insert(key, value);
            }
        }
        Ok(replaced)
    }
}

fn check_size<S: KeyValueStore>(staged: &StagedStore<S>) -> Result<(), ChainError> {
    let bytes = staged.bytes();
    if bytes > REORGANIZATION_BYTES_MAX {
        return Err(ChainError::ReorganizationTooLarge { bytes, max: REORGANIZATION_BYTES_MAX });
    }
    Ok(())
}

fn returned(removed: &[RemovedBlock], committed: &[CommittedBlock]) -> Vec<Transaction> {
    let receipts = committed.iter().flat_map(|committed| &committed.receipts);
    let kept: BTreeSet<TransactionId> = receipts.map(|receipt| receipt.transaction).collect();
    let all = removed.iter().flat_map(|removed| &removed.block.transactions);
    all.filter(|transaction| !kept.contains(&transaction.body.id())).cloned().collect()
}
