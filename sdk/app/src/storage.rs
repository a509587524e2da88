//! Raw access to the application's keys, under the collections. Needs the permission `storage`.
//!
//! Limits are in [`purlin_abi::limits`]: keys of at most 256 bytes, values of at most 64 KiB, scans of at most 256
//! entries or 256 KiB; going over one ends the call.

use alloc::vec::Vec;
use purlin_abi::StorageEntry;

use crate::host;

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Order {
    /// From the lowest key up.
    Ascending = 0,
    /// From the highest key down.
    Descending = 1,
}

/// Reads a key.
pub fn get(key: &[u8]) -> Option<Vec<u8>> {
    host::storage_get(key)
}

/// Writes a key.
pub fn set(key: &[u8], value: &[u8]) {
    host::storage_set(key, value);
}

/// Removes a key; says whether it was there.
pub fn remove(key: &[u8]) -> bool {
    host::storage_remove(key)
}

/// Returns at most `limit` entries with `from <= key < to`; an empty `to` means no upper end. May return fewer
/// when they are large; only an empty result means that there are none.
pub fn scan(from: &[u8], to: &[u8], limit: u32, order: Order) -> Vec<StorageEntry> {
    host::storage_scan(from, to, limit, order)
}
