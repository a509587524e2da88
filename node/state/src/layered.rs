//! States made of other states.

use std::sync::Arc;

use crate::keys::StatePrefix;
use crate::merge::{ScanLimits, merge_scan};
use crate::reader::{Changes, Entry, Order, StateReader};
use crate::store::{Column, KeyValueStore, StoreError};

/// The state with nothing in it.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmptyState;

impl StateReader for EmptyState {
    fn get(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn scan(&self, _: &[u8], _: &[u8], _: Order, _: usize) -> Result<Vec<Entry>, StoreError> {
        Ok(Vec::new())
    }
}

/// A state and the changes of one block after it: what the next block executes on before this one is stored.
#[derive(Clone)]
pub struct LayeredReader {
    changes: Arc<Changes>,
    base: Arc<dyn StateReader>,
}

impl LayeredReader {
    /// Puts changes over a state.
    pub fn new(changes: Arc<Changes>, base: Arc<dyn StateReader>) -> Self {
        Self { changes, base }
    }
}

impl StateReader for LayeredReader {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.changes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let limits = ScanLimits::entries(limit);
        let scanned =
            merge_scan(&*self.base, &self.changes, from, to, order, limits, |value| Some(value.as_ref()))?;
        Ok(scanned.entries)
    }
}

impl std::fmt::Debug for LayeredReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayeredReader").field("changes", &self.changes.len()).finish_non_exhaustive()
    }
}

/// The flat columns of a store as a state: whatever was written last. It changes under the reader when blocks
/// are stored; readers of one height come from the chain.
#[derive(Debug, Clone)]
pub struct FlatState<S> {
    store: S,
}

impl<S: KeyValueStore> FlatState<S> {
    /// Reads `store`.
    pub fn new(store: S) -> Self {
        Self { store }
    }
}

impl<S: KeyValueStore> StateReader for FlatState<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(Column::of_state(key), key)
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, limit: usize) -> Result<Vec<Entry>, StoreError> {
        const CODE: [u8; 1] = [StatePrefix::AppCode as u8];
        const AFTER_CODE: [u8; 1] = [StatePrefix::AppCode as u8 + 1];
        // Code lies in its own column, so a range has up to three parts.
        let mut parts = [
            (Column::Values, from, to.min(&CODE)),
            (Column::AppCode, from.max(&CODE), to.min(&AFTER_CODE)),
            (Column::Values, from.max(&AFTER_CODE), to),
        ];
        if order == Order::Descending {
            parts.reverse();
        }
        let mut out = Vec::new();
        for (column, from, to) in parts {
            if from < to && out.len() < limit {
                let part = self.store.scan(column, from, Some(to), order, limit - out.len())?;
                if out.is_empty() {
                    out = part;
                } else {
                    out.extend(part);
                }
            }
        }
        Ok(out)
    }
}
