//! What modules need of state, and a twin in memory.

use borsh::BorshDeserialize;
use purlin_state::{Entry, Order, Overlay, StateReader, StoreError};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Reads state. Takes `&mut self` because an overlay remembers what it read; a reference to a
/// [`StateReader`] is one too: `apps::app(&mut &*reader, &id)`.
pub trait StateRead {
    /// Returns a value, or `None` when the key is not there.
    fn get(&mut self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, StoreError>;

    /// Returns at most `limit` entries with `from <= key < to`, in order.
    fn scan(&mut self, from: &[u8], to: &[u8], order: Order, limit: usize) -> Result<Vec<Entry>, StoreError>;
}

/// Reads and changes state. Changes stay with whoever made the state until they are taken over, so that
/// writing cannot fail.
pub trait StateAccess: StateRead {
    /// Sets a value.
    fn set(&mut self, key: &[u8], value: Vec<u8>);

    /// Removes a key; nothing happens when it is not there.
    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError>;
}

impl<R: StateReader + ?Sized> StateRead for &R {
    fn get(&mut self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, StoreError> {
        Ok((**self).get(key)?.map(Cow::Owned))
    }

    fn scan(&mut self, from: &[u8], to: &[u8], order: Order, limit: usize) -> Result<Vec<Entry>, StoreError> {
        (**self).scan(from, to, order, limit)
    }
}

impl StateRead for Overlay {
    fn get(&mut self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, StoreError> {
        Ok(Self::get(self, key)?.map(Cow::Borrowed))
    }

    fn scan(&mut self, from: &[u8], to: &[u8], order: Order, limit: usize) -> Result<Vec<Entry>, StoreError> {
        Self::scan(self, from, to, order, limit)
    }
}

impl StateAccess for Overlay {
    fn set(&mut self, key: &[u8], value: Vec<u8>) {
        Self::set(self, key, value);
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        Self::remove(self, key).map(|_| ())
    }
}

/// Keeps state in a map: for tests and small tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryState(BTreeMap<Vec<u8>, Vec<u8>>);

impl MemoryState {
    /// Returns every entry, in key order.
    pub fn entries(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.0
    }
}

impl StateRead for MemoryState {
    fn get(&mut self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, StoreError> {
        Ok(self.0.get(key).map(|value| Cow::Borrowed(value.as_slice())))
    }

    fn scan(&mut self, from: &[u8], to: &[u8], order: Order, limit: usize) -> Result<Vec<Entry>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let range = self.0.range(from.to_vec()..to.to_vec()).map(|(key, value)| (key.clone(), value.clone()));
        Ok(match order {
            Order::Ascending => range.take(limit).collect(),
            Order::Descending => range.rev().take(limit).collect(),
        })
    }
}

impl StateAccess for MemoryState {
    fn set(&mut self, key: &[u8], value: Vec<u8>) {
        self.0.insert(key.to_vec(), value);
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.0.remove(key);
        Ok(())
    }
}

/// Decodes a stored record; bytes that were not written by this crate are damage, not a verdict.
pub(crate) fn decode<T: BorshDeserialize>(place: &'static str, bytes: &[u8]) -> Result<T, StoreError> {
    borsh::from_slice(bytes)
        .map_err(|error| StoreError::Corrupt { place: place.into(), detail: error.to_string() })
}

/// Encodes a record.
pub(crate) fn encode<T: borsh::BorshSerialize>(record: &T) -> Vec<u8> {
    borsh::to_vec(record).expect("writing to memory cannot fail")
}
