//! Keys.

use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};
use core::marker::PhantomData;

use super::map::ByBorsh;
use super::range::Range;
use super::{Collection, prefix};
use crate::schema::{Schema, TypeNode};
use crate::{encoding, host};

/// Stores keys. Iteration is in the order of the keys' borsh bytes.
#[derive(Debug)]
pub struct Set<K> {
    name: &'static str,
    key: PhantomData<fn() -> K>,
}

impl<K: Schema> Collection for Set<K> {
    const KIND: &'static str = "set";
    const KEY: Option<&'static TypeNode> = Some(K::TYPE);
    const VALUE: Option<&'static TypeNode> = None;

    fn at(name: &'static str) -> Self {
        Self { name, key: PhantomData }
    }
}

impl<K: BorshSerialize + BorshDeserialize> Set<K> {
    fn key(&self, key: &K) -> Vec<u8> {
        let mut bytes = prefix(self.name);
        encoding::append(&mut bytes, key);
        bytes
    }

    /// Says whether the key is there.
    pub fn contains(&self, key: &K) -> bool {
        host::storage_get(&self.key(key)).is_some()
    }

    /// Adds a key; says whether it is new.
    pub fn insert(&mut self, key: &K) -> bool {
        let key = self.key(key);
        let new = host::storage_get(&key).is_none();
        if new {
            host::storage_set(&key, &[]);
        }
        new
    }

    /// Removes a key; says whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        host::storage_remove(&self.key(key))
    }

    /// Iterates over all keys, reading as it goes.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = K> + use<K> {
        Range::<K, (), ByBorsh>::all(self.name).map(|(key, ())| key)
    }

    /// Returns at most `limit` keys after a key, or from the start: one page of a listing.
    pub fn page(&self, after: Option<&K>, limit: u32) -> Vec<K> {
        let after = after.map(|key| encoding::to_bytes(key));
        let page = Range::<K, (), ByBorsh>::after(self.name, after).page(limit);
        page.into_iter().map(|(key, ())| key).collect()
    }
}
