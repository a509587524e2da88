//! How far back blocks are kept, and removing those that are not wanted any more.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_primitives::{AppId, Height};
use purlin_state::{Column, Durability, KeyValueStore, Order, StoreError, WriteBatch};
use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::chain::Chain;
use crate::error::ChainError;
use crate::records::{self, StoredEvent};

/// Records after which a step of [`Chain::prune_history`] ends; it takes whole blocks and at least one.
pub const PRUNE_RECORDS: usize = 10_000;

/// Records read at once.
const PAGE: usize = 64;

/// How far back a chain is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct History {
    /// Oldest header and certificate; above 1 where the chain began with a snapshot. Headers are never pruned: they
    /// are what later proofs of who decides rest on, and small.
    pub oldest_header: Height,
    /// Oldest block whose transactions, receipts and events are kept.
    pub oldest_block: Height,
}

impl Default for History {
    fn default() -> Self {
        Self { oldest_header: Height::new(1), oldest_block: Height::new(1) }
    }
}

/// What a step of pruning did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneStep {
    /// Oldest block that is kept now.
    pub oldest_block: Height,
    /// Records removed.
    pub records: usize,
    /// Their keys and values, in bytes; the disk has them until the store reclaims them.
    pub bytes: u64,
}

impl<S: KeyValueStore> Chain<S> {
    /// Says how far back blocks are kept.
    pub fn history(&self) -> History {
        History {
            oldest_header: Height::new(self.oldest_header.load(Ordering::SeqCst)),
            oldest_block: Height::new(self.oldest_block.load(Ordering::SeqCst)),
        }
    }

    /// Refuses a block that is older than what is kept. Asked after the lock of [`Chain::stable`] is held, the
    /// answer stays right while it is.
    pub(crate) fn check_block_kept(&self, height: Height) -> Result<(), StoreError> {
        let oldest = self.history().oldest_block;
        if height > Height::ZERO && height < oldest {
            return Err(StoreError::BlockPruned { height, oldest });
        }
        Ok(())
    }

    /// Removes transactions, receipts and events of blocks below `below`, oldest first, in one synced batch of about
    /// [`PRUNE_RECORDS`] records; to be called again until it returns `None`, which says that nothing is left to
    /// remove. Blocks of the window stay. Runs beside reading and storing blocks; after a power cut a block is there
    /// whole or gone.
    pub fn prune_history(&self, below: Height) -> Result<Option<PruneStep>, ChainError> {
        self.check_running()?;
        // Not while blocks are stored: a reorganisation reads the blocks it takes back.
        let _storing = self.lock_storing();
        let history = self.history();
        let window = self.head().oldest_state;
        let end = below.min(window);
        if end <= history.oldest_block {
            return Ok(None);
        }
        let mut batch = WriteBatch::default();
        let mut bytes = 0;
        let mut next = history.oldest_block;
        while next < end && batch.operations.len() < PRUNE_RECORDS {
            bytes += self.remove_block(next, &mut batch)?;
            next = next.next();
        }
        let records = batch.operations.len();
        let kept = History { oldest_block: next, ..history };
        batch.put(Column::Meta, records::META_HISTORY, records::encode(&kept));
        // Readers are refused before anything is gone.
        self.oldest_block.store(next.get(), Ordering::SeqCst);
        let _records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.store.write(batch, Durability::Synced) {
            self.failed.store(true, Ordering::SeqCst);
            return Err(error.into());
        }
        Ok(Some(PruneStep { oldest_block: next, records, bytes }))
    }

    /// Gives back the disk space of blocks from `from` to below `to`, which were pruned.
    pub fn reclaim_history(&self, from: Height, to: Height) -> Result<(), StoreError> {
        let (from, to) = (records::height_key(from), records::height_key(to));
        for column in [Column::Blocks, Column::Receipts, Column::Events] {
            self.store.reclaim(column, &from, &to)?;
        }
        // Their keys begin with something else; the whole column is looked at.
        for column in [Column::Index, Column::EventsByApp] {
            self.store.reclaim(column, &[], &[0xff; 65])?;
        }
        Ok(())
    }

    /// Adds the removal of all of a block but header and certificate; returns the bytes of it.
    fn remove_block(&self, height: Height, batch: &mut WriteBatch) -> Result<u64, StoreError> {
        let mut bytes = 0;
        let mut remove = |column: Column, key: &[u8], value: usize| {
            bytes += (key.len() + value) as u64;
            batch.delete(column, key);
        };
        let mut apps: BTreeSet<AppId> = BTreeSet::new();
        let end = records::height_key(height.next());
        let from = [
            (Column::Receipts, records::height_key(height).to_vec()),
            (Column::Events, records::height_key(height).to_vec()),
            (Column::Diagnostics, records::height_key(height).to_vec()),
            (Column::Blocks, records::transactions_key(height, 0).to_vec()),
        ];
        for (column, mut cursor) in from {
            loop {
                let page = self.store.scan(column, &cursor, Some(&end), Order::Ascending, PAGE)?;
                for (key, value) in &page {
                    match column {
                        Column::Receipts => {
                            let receipts: Vec<purlin_primitives::Receipt> =
                                records::decode(column, key, value)?;
                            for receipt in receipts {
                                let index = records::transaction_index_key(&receipt.transaction);
                                remove(Column::Index, &index, 12);
                            }
                        }
                        Column::Events => {
                            let events: Vec<StoredEvent> = records::decode(column, key, value)?;
                            apps.extend(events.into_iter().map(|stored| stored.event.app));
                        }
                        _ => {}
                    }
                    remove(column, key, value.len());
                }
                match page.last() {
                    Some((last, _)) if page.len() == PAGE => cursor = [last.as_slice(), &[0]].concat(),
                    _ => break,
                }
            }
        }
        for app in apps {
            remove(Column::EventsByApp, &records::app_events_key(&app, height), 8);
        }
        Ok(bytes)
    }
}
