//! Values by key.

use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};
use core::marker::PhantomData;

use super::range::{Codec, Range};
use super::{Collection, load, prefix};
use crate::schema::{Schema, TypeNode};
use crate::{encoding, host};

/// Stores values by key. Iteration is in the order of the keys' borsh bytes, which says nothing about the keys;
/// [`OrderedMap`](crate::OrderedMap) iterates in key order.
#[derive(Debug)]
pub struct Map<K, V> {
    name: &'static str,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K: Schema, V: Schema> Collection for Map<K, V> {
    const KIND: &'static str = "map";
    const KEY: Option<&'static TypeNode> = Some(K::TYPE);
    const VALUE: Option<&'static TypeNode> = Some(V::TYPE);

    fn at(name: &'static str) -> Self {
        Self { name, entry: PhantomData }
    }
}

/// Borsh keys.
#[derive(Debug)]
pub(super) struct ByBorsh;

impl<K: BorshDeserialize> Codec<K> for ByBorsh {
    fn decode(bytes: &[u8]) -> Option<K> {
        K::try_from_slice(bytes).ok()
    }
}

impl<K: BorshSerialize + BorshDeserialize, V: BorshSerialize + BorshDeserialize> Map<K, V> {
    fn key(&self, key: &K) -> Vec<u8> {
        let mut bytes = prefix(self.name);
        encoding::append(&mut bytes, key);
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

    /// Iterates over all entries, reading as it goes.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (K, V)> + use<K, V> {
        Range::<K, V, ByBorsh>::all(self.name)
    }

    /// Returns at most `limit` entries after a key, or from the start: one page of a listing.
    pub fn page(&self, after: Option<&K>, limit: u32) -> Vec<(K, V)> {
        let after = after.map(|key| {
            let mut bytes = Vec::new();
            encoding::append(&mut bytes, key);
            bytes
        });
        Range::<K, V, ByBorsh>::after(self.name, after).page(limit)
    }
}
