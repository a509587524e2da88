//! Values in the order of their keys.

use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};
use core::marker::PhantomData;
use core::ops::RangeBounds;

use super::key::OrderedKey;
use super::range::{Codec, Range};
use super::{Collection, load, prefix};
use crate::schema::{Schema, TypeNode};
use crate::storage::Order;
use crate::{encoding, host};

/// Stores values by key and iterates in key order, from either end and over any range:
/// `alerts.range((machine, from)..(machine, to)).rev().take(10)`.
#[derive(Debug)]
pub struct OrderedMap<K, V> {
    name: &'static str,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K: OrderedKey + Schema, V: Schema> Collection for OrderedMap<K, V> {
    const KIND: &'static str = "ordered_map";
    const KEY: Option<&'static TypeNode> = Some(K::TYPE);
    const VALUE: Option<&'static TypeNode> = Some(V::TYPE);

    fn at(name: &'static str) -> Self {
        Self { name, entry: PhantomData }
    }
}

/// Keys as bytes that sort as the keys do.
#[derive(Debug)]
pub(super) struct InOrder;

impl<K: OrderedKey> Codec<K> for InOrder {
    fn decode(mut bytes: &[u8]) -> Option<K> {
        let key = K::decode(&mut bytes)?;
        bytes.is_empty().then_some(key)
    }
}

impl<K: OrderedKey, V: BorshSerialize + BorshDeserialize> OrderedMap<K, V> {
    fn key(&self, key: &K) -> Vec<u8> {
        let mut bytes = prefix(self.name);
        key.encode(&mut bytes);
        bytes
    }

    /// Reads a value.
    pub fn get(&self, key: &K) -> Option<V> {
        load(&self.key(key))
    }

    /// Reads a value, or gives the type's default (zero, empty).
    pub fn get_or_default(&self, key: &K) -> V
    where
        V: Default,
    {
        self.get(key).unwrap_or_default()
    }

    /// Says whether there is a value.
    pub fn contains(&self, key: &K) -> bool {
        host::storage_get(&self.key(key)).is_some()
    }

    /// Writes a value.
    pub fn set(&mut self, key: &K, value: &V) {
        host::storage_set(&self.key(key), &encoding::to_bytes(value));
    }

    /// Removes a value; says whether there was one.
    pub fn remove(&mut self, key: &K) -> bool {
        host::storage_remove(&self.key(key))
    }

    /// Reads the entry with the lowest key.
    pub fn first(&self) -> Option<(K, V)> {
        self.page(.., Order::Ascending, 1).pop()
    }

    /// Reads the entry with the highest key.
    pub fn last(&self) -> Option<(K, V)> {
        self.page(.., Order::Descending, 1).pop()
    }

    /// Iterates over all entries in key order, reading as it goes; `.rev()` for the other way.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (K, V)> + use<K, V> {
        Range::<K, V, InOrder>::all(self.name)
    }

    /// Iterates over a range of keys in key order, reading as it goes; `.rev()` for the other way.
    pub fn range<R: RangeBounds<K>>(
        &self,
        keys: R,
    ) -> impl DoubleEndedIterator<Item = (K, V)> + use<K, V, R> {
        Range::<K, V, InOrder>::between(self.name, keys.start_bound(), keys.end_bound())
    }

    /// Returns at most `limit` entries of a range: one page of a listing, in as few reads as can be. The next page
    /// starts behind the last key.
    pub fn page(&self, keys: impl RangeBounds<K>, order: Order, limit: u32) -> Vec<(K, V)> {
        let range = Range::<K, V, InOrder>::between(self.name, keys.start_bound(), keys.end_bound());
        match order {
            Order::Ascending => range.page(limit),
            Order::Descending => range.page_back(limit),
        }
    }
}
