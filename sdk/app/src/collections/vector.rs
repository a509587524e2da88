//! Values in the order they were added.

use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};
use core::fmt;
use core::marker::PhantomData;
use core::ops::RangeBounds;

use super::ordered_map::InOrder;
use super::range::Range;
use super::{Collection, load, prefix};
use crate::schema::{Schema, TypeNode};
use crate::{encoding, host};

/// Stores values under the indices 0, 1, 2, ...
#[derive(Debug)]
pub struct Vector<T> {
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

/// Says that an index is not below the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange {
    /// The index.
    pub index: u64,
    /// The length.
    pub length: u64,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index {} is not below the length {}", self.index, self.length)
    }
}

impl core::error::Error for OutOfRange {}

impl<T: Schema> Collection for Vector<T> {
    const KIND: &'static str = "vector";
    const KEY: Option<&'static TypeNode> = None;
    const VALUE: Option<&'static TypeNode> = Some(T::TYPE);

    fn at(name: &'static str) -> Self {
        Self { name, value: PhantomData }
    }
}

impl<T: BorshSerialize + BorshDeserialize> Vector<T> {
    fn key(&self, index: u64) -> Vec<u8> {
        let mut key = prefix(self.name);
        key.extend_from_slice(&index.to_be_bytes());
        key
    }

    fn length_key(&self) -> Vec<u8> {
        [self.name.as_bytes(), b"#len"].concat()
    }

    fn set_len(&mut self, length: u64) {
        host::storage_set(&self.length_key(), &encoding::to_bytes(&length));
    }

    /// Returns how many values there are.
    pub fn len(&self) -> u64 {
        load(&self.length_key()).unwrap_or(0)
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads a value.
    pub fn get(&self, index: u64) -> Option<T> {
        load(&self.key(index))
    }

    /// Adds a value at the end; returns its index.
    pub fn push(&mut self, value: &T) -> u64 {
        let index = self.len();
        host::storage_set(&self.key(index), &encoding::to_bytes(value));
        self.set_len(index + 1);
        index
    }

    /// Removes the last value.
    pub fn pop(&mut self) -> Option<T> {
        let last = self.len().checked_sub(1)?;
        let key = self.key(last);
        let value = load(&key);
        host::storage_remove(&key);
        self.set_len(last);
        value
    }

    /// Replaces a value.
    pub fn set(&mut self, index: u64, value: &T) -> Result<(), OutOfRange> {
        let length = self.len();
        if index >= length {
            return Err(OutOfRange { index, length });
        }
        host::storage_set(&self.key(index), &encoding::to_bytes(value));
        Ok(())
    }

    /// Iterates over all values, reading as it goes.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = T> + use<T> {
        self.range(..).map(|(_, value)| value)
    }

    /// Iterates over the values in a range of indices, with their indices.
    pub fn range<R: RangeBounds<u64>>(
        &self,
        indices: R,
    ) -> impl DoubleEndedIterator<Item = (u64, T)> + use<T, R> {
        Range::<u64, T, InOrder>::between(self.name, indices.start_bound(), indices.end_bound())
    }
}
