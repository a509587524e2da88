//! Iterates over stored entries in pages.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use borsh::BorshDeserialize;
use core::marker::PhantomData;
use core::ops::Bound;

use purlin_abi::StorageEntry;
use purlin_abi::limits::{SCAN_BYTES_MAX, SCAN_ENTRIES_MAX, STORAGE_KEY_BYTES_MAX, STORAGE_VALUE_BYTES_MAX};

use super::key::OrderedKey;
use super::{corrupt, decode, prefix};
use crate::host;
use crate::storage::Order;

/// How keys are read from storage.
pub(super) trait Codec<K> {
    /// Reads a whole key.
    fn decode(bytes: &[u8]) -> Option<K>;
}

/// First page of an iteration, in entries; later ones double, because every entry read costs gas, used or not.
const FIRST_PAGE_ENTRIES: u32 = 8;

/// Marks the types of an entry without owning any.
type Types<K, V, C> = PhantomData<fn() -> (K, V, C)>;

/// Entries with `from <= key < to` that are not read yet, and those that are read but not given out.
pub(super) struct Range<K, V, C> {
    /// Bytes of the field's prefix.
    prefix_length: usize,
    from: Vec<u8>,
    to: Vec<u8>,
    /// Entries below `from`, lowest first.
    front: VecDeque<StorageEntry>,
    /// Entries not below `to`, highest first.
    back: VecDeque<StorageEntry>,
    page: u32,
    /// Nothing is left between `from` and `to`.
    exhausted: bool,
    entry: Types<K, V, C>,
}

impl<K, V: BorshDeserialize, C: Codec<K>> Range<K, V, C> {
    /// Takes every entry of a field.
    pub(super) fn all(name: &str) -> Self {
        Self::new(name, None, None)
    }

    /// Takes the entries behind a key.
    pub(super) fn after(name: &str, key: Option<Vec<u8>>) -> Self {
        Self::new(name, key.map(Bound::Excluded), None)
    }

    fn new(name: &str, from: Option<Bound<Vec<u8>>>, to: Option<Bound<Vec<u8>>>) -> Self {
        let low = prefix(name);
        // The first key behind every key of the field: the separator's successor.
        let mut high = low.clone();
        if let Some(separator) = high.last_mut() {
            *separator += 1;
        }
        let prefix_length = low.len();
        // No key is a prefix of another, so a key with a zero byte behind it sorts right behind the key.
        let whole = |key: &[u8], behind: bool| {
            let mut bytes = low.clone();
            bytes.extend_from_slice(key);
            if behind {
                bytes.push(0);
            }
            bytes
        };
        let from = match from {
            Some(Bound::Included(key)) => whole(&key, false),
            Some(Bound::Excluded(key)) => whole(&key, true),
            Some(Bound::Unbounded) | None => low.clone(),
        };
        let to = match to {
            Some(Bound::Included(key)) => whole(&key, true),
            Some(Bound::Excluded(key)) => whole(&key, false),
            Some(Bound::Unbounded) | None => high,
        };
        let exhausted = from >= to;
        let (front, back) = (VecDeque::new(), VecDeque::new());
        Self { prefix_length, from, to, front, back, page: FIRST_PAGE_ENTRIES, exhausted, entry: PhantomData }
    }

    /// Takes the entries between two keys.
    pub(super) fn between(name: &str, from: Bound<&K>, to: Bound<&K>) -> Self
    where
        K: OrderedKey,
    {
        let encode = |key: &K| {
            let mut bytes = Vec::new();
            key.encode(&mut bytes);
            bytes
        };
        Self::new(name, Some(from.map(encode)), Some(to.map(encode)))
    }

    /// Reads at most `limit` entries from the low end.
    pub(super) fn page(mut self, limit: u32) -> Vec<(K, V)> {
        self.page = limit.clamp(1, SCAN_ENTRIES_MAX);
        self.by_ref().take(limit as usize).collect()
    }

    /// Reads at most `limit` entries from the high end.
    pub(super) fn page_back(mut self, limit: u32) -> Vec<(K, V)> {
        self.page = limit.clamp(1, SCAN_ENTRIES_MAX);
        self.by_ref().rev().take(limit as usize).collect()
    }

    fn scan(&mut self, order: Order) -> Vec<StorageEntry> {
        let limit = self.page;
        self.page = (limit * 2).min(SCAN_ENTRIES_MAX);
        let entries = host::storage_scan(&self.from, &self.to, limit, order);
        // A short answer is the end, unless the limit on bytes may have cut it.
        let bytes: usize = entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum();
        let cut = bytes + STORAGE_KEY_BYTES_MAX + STORAGE_VALUE_BYTES_MAX + FRAMING_BYTES > SCAN_BYTES_MAX;
        self.exhausted = entries.is_empty() || (entries.len() < limit as usize && !cut);
        entries
    }

    fn decode(&self, entry: StorageEntry) -> (K, V) {
        match C::decode(&entry.key[self.prefix_length..]) {
            Some(key) => (key, decode(&entry.value, &entry.key)),
            None => corrupt(&entry.key),
        }
    }
}

/// What the encoding of a full scan adds to its keys and values: two lengths an entry, and their number.
const FRAMING_BYTES: usize = 8 * SCAN_ENTRIES_MAX as usize + 4;

impl<K, V: BorshDeserialize, C: Codec<K>> Iterator for Range<K, V, C> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        if self.front.is_empty() && !self.exhausted {
            let entries = self.scan(Order::Ascending);
            if let Some(last) = entries.last() {
                self.from.clone_from(&last.key);
                self.from.push(0);
            }
            self.front = entries.into();
        }
        let entry = self.front.pop_front().or_else(|| self.back.pop_back())?;
        Some(self.decode(entry))
    }
}

impl<K, V: BorshDeserialize, C: Codec<K>> DoubleEndedIterator for Range<K, V, C> {
    fn next_back(&mut self) -> Option<(K, V)> {
        if self.back.is_empty() && !self.exhausted {
            let entries = self.scan(Order::Descending);
            if let Some(last) = entries.last() {
                self.to.clone_from(&last.key);
            }
            self.back = entries.into();
        }
        let entry = self.back.pop_front().or_else(|| self.front.pop_back())?;
        Some(self.decode(entry))
    }
}
