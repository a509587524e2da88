//! The database of one node: memory below, faults and deliberate bugs above.

use purlin_state::{
    Column, Durability, Entry, Fault, FaultStore, KeyValueStore, MemoryStore, Order, StoreError, WriteBatch,
};
use std::sync::Arc;

use crate::bug::Bug;

/// Shared between the node that uses it and the world that crashes it.
#[derive(Debug)]
pub(crate) struct SimStore {
    inner: FaultStore<Arc<MemoryStore>>,
    bug: Option<Bug>,
}

impl SimStore {
    /// Opens what is on a disk.
    pub(crate) fn new(disk: Arc<MemoryStore>, bug: Option<Bug>) -> Self {
        Self { inner: FaultStore::new(disk), bug }
    }

    /// Lets the next write fail for lack of room.
    pub(crate) fn fill(&self) {
        self.inner.fail_write(0, Fault::Full);
    }

    /// Loses what was not synced; whoever still uses it gets errors.
    pub(crate) fn crash(&self) -> Result<(), StoreError> {
        self.inner.cut_power()
    }
}

impl KeyValueStore for SimStore {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(column, key)
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.inner.scan(column, from, to, order, limit)
    }

    fn write(&self, mut batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let durability = match self.bug {
            Some(Bug::MissingFsync) => Durability::Buffered,
            _ => durability,
        };
        if self.bug == Some(Bug::WrongUndo) {
            // As if a value before the block were taken from after it.
            batch.operations.retain(|operation| operation.column != Column::Undo);
        }
        self.inner.write(batch, durability)
    }
}
