//! Writes that are not on the disk yet, over a store that does not have them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use purlin_state::{Column, Durability, Entry, KeyValueStore, Order, StoreError, WriteBatch, WriteOperation};

type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

#[derive(Debug, Default)]
struct Staged {
    columns: BTreeMap<Column, Writes>,
    /// Of keys and values in `columns`.
    bytes: usize,
}

/// A store as it would be after some batches; they stay in memory. The code that appends a block runs over it
/// unchanged, several blocks long, and what it wrote becomes one batch.
#[derive(Debug)]
pub(crate) struct StagedStore<S> {
    base: Arc<S>,
    staged: RwLock<Staged>,
}

impl<S: KeyValueStore> StagedStore<S> {
    pub(crate) fn new(base: Arc<S>) -> Self {
        Self { base, staged: RwLock::default() }
    }

    /// Returns how many bytes of keys and values are staged.
    pub(crate) fn bytes(&self) -> usize {
        self.read().bytes
    }

    /// Adds a batch.
    pub(crate) fn apply(&self, batch: WriteBatch) {
        let mut staged = self.staged.write().unwrap_or_else(PoisonError::into_inner);
        let Staged { columns, bytes } = &mut *staged;
        for WriteOperation { column, key, value } in batch.operations {
            let size = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
            let key_bytes = key.len();
            *bytes += size(&value);
            match columns.entry(column).or_default().insert(key, value) {
                Some(replaced) => *bytes -= size(&replaced),
                None => *bytes += key_bytes,
            }
        }
    }

    /// Returns the keys that are staged in a column.
    pub(crate) fn keys(&self, column: Column) -> Vec<Vec<u8>> {
        self.read().columns.get(&column).map(|writes| writes.keys().cloned().collect()).unwrap_or_default()
    }

    /// Takes everything out as one batch.
    pub(crate) fn take(&self) -> WriteBatch {
        let mut staged = self.staged.write().unwrap_or_else(PoisonError::into_inner);
        let columns = std::mem::take(&mut *staged).columns;
        let operations = columns.into_iter().flat_map(|(column, writes)| {
            writes.into_iter().map(move |(key, value)| WriteOperation { column, key, value })
        });
        WriteBatch { operations: operations.collect() }
    }

    fn read(&self) -> RwLockReadGuard<'_, Staged> {
        // A batch is applied by code that cannot panic half-way, so a poisoned lock guards whole batches.
        self.staged.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: KeyValueStore> KeyValueStore for StagedStore<S> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.read().columns.get(&column).and_then(|writes| writes.get(key)) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(column, key),
        }
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let staged = self.read();
        let none = Writes::new();
        let writes = staged.columns.get(&column).unwrap_or(&none);
        let (mut from, mut to) = (from.to_vec(), to.map(<[u8]>::to_vec));
        let mut out: Vec<Entry> = Vec::new();
        let mut complete = false;
        while !complete && out.len() < limit && to.as_ref().is_none_or(|to| from < *to) {
            let wanted = limit - out.len();
            let page = self.base.scan(column, &from, to.as_deref(), order, wanted)?;
            complete = page.len() < wanted;
            // The part of the range that this page is about; the rest is for the next round.
            let (mut low, mut high) = (from.clone(), to.clone());
            if let (false, Some((last, _))) = (complete, page.last()) {
                match order {
                    Order::Ascending => {
                        from = [last.as_slice(), &[0]].concat();
                        high = Some(from.clone());
                    }
                    Order::Descending => {
                        low = last.clone();
                        to = Some(low.clone());
                    }
                }
            }
            let upper = high.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut merged: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
                page.into_iter().map(|(key, value)| (key, Some(value))).collect();
            for (key, value) in writes.range::<[u8], _>((Bound::Included(low.as_slice()), upper)) {
                merged.insert(key.clone(), value.clone());
            }
            let present = merged.into_iter().filter_map(|(key, value)| Some((key, value?)));
            match order {
                Order::Ascending => out.extend(present),
                Order::Descending => out.extend(present.rev()),
            }
        }
        out.truncate(limit);
        Ok(out)
    }

    fn write(&self, batch: WriteBatch, _durability: Durability) -> Result<(), StoreError> {
        self.apply(batch);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests panic where their assertions would")]

    use super::*;
    use purlin_state::MemoryStore;

    /// Small, seeded and good enough to pick keys.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % end
        }
    }

    #[test]
    fn reads_are_those_of_a_store_that_has_the_writes() {
        for seed in 1..=40u64 {
            let mut random = Random(seed * 0x9e37_79b9);
            let (base, expected) = (Arc::new(MemoryStore::new()), MemoryStore::new());
            let staged = StagedStore::new(base.clone());
            for round in 0..120 {
                let key = vec![random.below(6) as u8; 1 + random.below(3) as usize];
                let mut batch = WriteBatch::default();
                match random.below(3) {
                    0 => batch.delete(Column::Undo, key),
                    _ => batch.put(Column::Undo, key, vec![round as u8]),
                }
                expected.write(batch.clone(), Durability::Synced).unwrap();
                if round < 50 {
                    base.write(batch, Durability::Synced).unwrap();
                } else {
                    staged.apply(batch);
                }
                let from = vec![random.below(6) as u8];
                let to = [random.below(7) as u8; 2];
                for order in [Order::Ascending, Order::Descending] {
                    for (to, limit) in [(None, 100), (None, 2), (Some(&to[..]), 1), (Some(&to[..]), 50)] {
                        let scan = |store: &dyn KeyValueStore| {
                            store.scan(Column::Undo, &from, to, order, limit).unwrap()
                        };
                        assert_eq!(
                            scan(&staged),
                            scan(&expected),
                            "seed {seed} round {round} {from:?} {to:?}"
                        );
                    }
                }
                assert_eq!(
                    staged.get(Column::Undo, &from).unwrap(),
                    expected.get(Column::Undo, &from).unwrap()
                );
            }
            let batch = staged.take();
            assert_eq!(staged.bytes(), 0);
            base.write(batch, Durability::Synced).unwrap();
            assert_eq!(base.dump(), expected.dump());
        }
    }

    #[test]
    fn staged_bytes_are_those_of_the_batch() {
        let staged = StagedStore::new(Arc::new(MemoryStore::new()));
        for (key, value) in
            [(&b"a"[..], Some(&b"123"[..])), (b"bc", Some(b"1")), (b"a", None), (b"bc", Some(b"12"))]
        {
            let mut batch = WriteBatch::default();
            match value {
                Some(value) => batch.put(Column::Meta, key, value),
                None => batch.delete(Column::Meta, key),
            }
            staged.apply(batch);
        }
        assert_eq!(staged.bytes(), 1 + 2 + 2);
    }
}
