//! Borsh into memory, which cannot fail but for values that borsh itself refuses.

use alloc::vec::Vec;
use borsh::BorshSerialize;

use crate::host;

/// Encodes a value; aborts the call for one that has no encoding (a collection of more than 2^32 entries).
pub(crate) fn to_bytes<T: BorshSerialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(&mut bytes, value);
    bytes
}

/// Encodes a value after what is there.
pub(crate) fn append<T: BorshSerialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) {
    if value.serialize(bytes).is_err() {
        host::abort("a value cannot be encoded: a collection has more than 4294967295 entries")
    }
}
