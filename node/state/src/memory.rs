//! A store that forgets: for tests, `purlin app test` and replay.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::reader::{Entry, Order};
use crate::store::{Column, Durability, KeyValueStore, StoreError, WriteBatch};

type Columns = BTreeMap<Column, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Keeps everything in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    columns: RwLock<Columns>,
}

impl MemoryStore {
    /// Starts empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns everything in order of column and key; to compare stores and to pin formats.
    pub fn dump(&self) -> Vec<(Column, Vec<u8>, Vec<u8>)> {
        let columns = self.read();
        columns
            .iter()
            .flat_map(|(column, entries)| entries.iter().map(|(k, v)| (*column, k.clone(), v.clone())))
            .collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Columns> {
        // A batch is applied by code that cannot panic half-way, so a poisoned lock guards whole batches.
        self.columns.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyValueStore for MemoryStore {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read().get(&column).and_then(|entries| entries.get(key).cloned()))
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        if to.is_some_and(|to| from >= to) {
            return Ok(Vec::new());
        }
        let columns = self.read();
        let Some(entries) = columns.get(&column) else { return Ok(Vec::new()) };
        let upper = to.map_or(Bound::Unbounded, Bound::Excluded);
        let range = entries.range::<[u8], _>((Bound::Included(from), upper));
        let copy = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(match order {
            Order::Ascending => range.take(limit).map(copy).collect(),
            Order::Descending => range.rev().take(limit).map(copy).collect(),
        })
    }

    fn write(&self, batch: WriteBatch, _durability: Durability) -> Result<(), StoreError> {
        let mut columns = self.columns.write().unwrap_or_else(PoisonError::into_inner);
        for operation in batch.operations {
            let entries = columns.entry(operation.column).or_default();
            match operation.value {
                Some(value) => entries.insert(operation.key, value),
                None => entries.remove(&operation.key),
            };
        }
        Ok(())
    }
}
