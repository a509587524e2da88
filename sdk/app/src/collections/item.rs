//! One value.

use borsh::{BorshDeserialize, BorshSerialize};
use core::marker::PhantomData;

use super::{Collection, load};
use crate::schema::{Schema, TypeNode};
use crate::{encoding, host};

/// Stores one value, or none.
#[derive(Debug)]
pub struct Item<T> {
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T: Schema> Collection for Item<T> {
    const KIND: &'static str = "item";
    const KEY: Option<&'static TypeNode> = None;
    const VALUE: Option<&'static TypeNode> = Some(T::TYPE);

    fn at(name: &'static str) -> Self {
        Self { name, value: PhantomData }
    }
}

impl<T: BorshSerialize + BorshDeserialize> Item<T> {
    /// Reads the value.
    pub fn get(&self) -> Option<T> {
        load(self.name.as_bytes())
    }

    /// Reads the value, or gives the type's default (zero, empty).
    pub fn get_or_default(&self) -> T
    where
        T: Default,
    {
        self.get().unwrap_or_default()
    }

    /// Says whether there is a value.
    pub fn exists(&self) -> bool {
        host::storage_get(self.name.as_bytes()).is_some()
    }

    /// Writes the value.
    pub fn set(&mut self, value: &T) {
        host::storage_set(self.name.as_bytes(), &encoding::to_bytes(value));
    }

    /// Removes the value; says whether there was one.
    pub fn remove(&mut self) -> bool {
        host::storage_remove(self.name.as_bytes())
    }
}
