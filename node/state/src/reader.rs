//! Reading state, wherever it is.

use std::collections::BTreeMap;

use crate::store::StoreError;

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// What a block changes: the new value of every touched key, `None` where it is removed. Ordered, so that
/// everything derived from it is the same on every machine.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Direction of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Lowest key first.
    Ascending,
    /// Highest key first.
    Descending,
}

/// Gives the state at one height.
pub trait StateReader: Send + Sync {
    /// Returns a value, or `None` when the key is not there.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns at most `limit` entries with `from <= key < to`, in order.
    fn scan(&self, from: &[u8], to: &[u8], order: Order, limit: usize) -> Result<Vec<Entry>, StoreError>;
}
