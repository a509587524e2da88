//! Typed handles on the application's storage.
//!
//! A handle is a name. Reading asks the host each time; writing is explicit and at once, and a value that was read
//! is a copy: change it, then `set` it again. Iterators read a page of entries at a time: what is changed meanwhile they may
//! still give as it was, so collect first what is to be changed while going through it. Keys in storage:
//!
//! | field | key |
//! |---|---|
//! | `count: Item<u64>` | `count` |
//! | `balances: Map<K, V>`, `admins: Set<K>` | `balances:` + borsh of the key |
//! | `alerts: OrderedMap<K, V>` | `alerts:` + bytes that sort as the key does, see [`OrderedKey`] |
//! | `log: Vector<V>` | `log:` + index, 8 bytes big-endian; length under `log#len`, 8 bytes little-endian |

mod item;
mod key;
mod map;
mod ordered_map;
mod range;
mod set;
mod vector;

use alloc::vec::Vec;
use borsh::BorshDeserialize;

pub use item::Item;
pub use key::OrderedKey;
pub use map::Map;
pub use ordered_map::OrderedMap;
pub use set::Set;
pub use vector::Vector;

use crate::host;
use crate::schema::TypeNode;

/// A handle on stored values; what the fields of a state are.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field of the state",
    label = "not a collection",
    note = "wrap it: `Item<{Self}>` stores one value; `Map`, `Set`, `Vector` and `OrderedMap` store many"
)]
pub trait Collection {
    /// Its kind in the schema.
    const KIND: &'static str;
    /// Type of its keys, if it has keys.
    const KEY: Option<&'static TypeNode>;
    /// Type of its values, if it has values.
    const VALUE: Option<&'static TypeNode>;

    /// Makes the handle; reads nothing. The name is the key, or its prefix.
    fn at(name: &'static str) -> Self;
}

/// Returns `name:` with room for a key.
fn prefix(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 64);
    key.extend_from_slice(name.as_bytes());
    key.push(b':');
    key
}

/// Reads and decodes a key.
fn load<T: BorshDeserialize>(key: &[u8]) -> Option<T> {
    Some(decode(&host::storage_get(key)?, key))
}

/// Decodes a stored value; aborts the call when the state's type changed without a migration.
fn decode<T: BorshDeserialize>(bytes: &[u8], key: &[u8]) -> T {
    match T::try_from_slice(bytes) {
        Ok(value) => value,
        Err(_) => corrupt(key),
    }
}

fn corrupt(key: &[u8]) -> ! {
    // The field's name is the part before the first separator, and always text.
    let end = key.iter().position(|byte| matches!(byte, b':' | b'#')).unwrap_or(key.len());
    let field = core::str::from_utf8(&key[..end]).unwrap_or_default();
    host::abort(
        &["state field `", field, "` holds another type than the code expects; convert it in #[migrate]"]
            .concat(),
    )
}
