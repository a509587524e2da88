//! The store that a node runs on.

use std::path::{Path, PathBuf};

use purlin_state::{Column, Durability, Entry, KeyValueStore, Order, StoreError, WriteBatch};
use rocksdb::{Cache, ColumnFamily, DB, Error, ErrorKind, ReadOptions, WriteOptions};

use crate::directory::{self, OpenError};
use crate::options::StorageOptions;

/// A RocksDB database; one column family per [`Column`]. Closed when dropped; whatever happens to the process,
/// synced writes stay.
pub struct RocksStore {
    database: DB,
    cache: Cache,
    path: PathBuf,
}

/// What a store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreUsage {
    /// Table files, in bytes.
    pub disk_bytes: u64,
    /// Writes in memory, in bytes.
    pub write_buffer_bytes: u64,
    /// Read cache, in bytes.
    pub block_cache_bytes: u64,
}

impl RocksStore {
    /// Opens the store in a directory, or makes it there. One process at a time.
    pub fn open(path: impl AsRef<Path>, options: &StorageOptions) -> Result<Self, OpenError> {
        let path = path.as_ref().to_path_buf();
        let place = directory::prepare(&path)?;
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let columns = options.columns(&cache);
        let database =
            DB::open_cf_descriptors(&options.database(&cache), &place, columns).map_err(|error| {
                let detail = error.to_string();
                if is_lock(&detail) {
                    OpenError::InUse { path: path.clone(), detail }
                } else {
                    OpenError::Store {
                        path: path.clone(),
                        source: store_error("opening the database", error),
                    }
                }
            })?;
        Ok(Self { database, cache, path })
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what the store takes now.
    pub fn usage(&self) -> Result<StoreUsage, StoreError> {
        let sum = |property: &str| {
            Column::ALL.iter().try_fold(0, |sum, column| {
                let value = self.database.property_int_value_cf(self.family(*column)?, property);
                let value = value.map_err(|error| store_error("reading a property", error))?;
                Ok::<u64, StoreError>(sum + value.unwrap_or(0))
            })
        };
        Ok(StoreUsage {
            disk_bytes: sum("rocksdb.total-sst-files-size")?,
            write_buffer_bytes: sum("rocksdb.cur-size-all-mem-tables")?,
            block_cache_bytes: self.cache.get_usage() as u64,
        })
    }

    fn family(&self, column: Column) -> Result<&ColumnFamily, StoreError> {
        self.database.cf_handle(column.name()).ok_or_else(|| StoreError::Backend {
            operation: "finding a column",
            detail: format!("column {} was not opened", column.name()),
        })
    }
}

impl KeyValueStore for RocksStore {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.get_cf(self.family(column)?, key).map_err(|error| read_error(column, error))
    }

    fn get_many(&self, column: Column, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let values = self.database.batched_multi_get_cf(self.family(column)?, keys.iter().copied(), false);
        let copy = |value: Result<Option<rocksdb::DBPinnableSlice<'_>>, Error>| match value {
            Ok(value) => Ok(value.map(|slice| slice.to_vec())),
            Err(error) => Err(read_error(column, error)),
        };
        values.into_iter().map(copy).collect()
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        if limit == 0 || to.is_some_and(|to| from >= to) {
            return Ok(Vec::new());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        if let Some(to) = to {
            options.set_iterate_upper_bound(to);
        }
        let mut iterator = self.database.raw_iterator_cf_opt(self.family(column)?, options);
        match order {
            Order::Ascending => iterator.seek_to_first(),
            Order::Descending => iterator.seek_to_last(),
        }
        let mut entries = Vec::new();
        while let Some((key, value)) = iterator.item() {
            entries.push((key.to_vec(), value.to_vec()));
            if entries.len() == limit {
                return Ok(entries);
            }
            match order {
                Order::Ascending => iterator.next(),
                Order::Descending => iterator.prev(),
            }
        }
        // An iterator ends at the end, and at an error.
        iterator.status().map_err(|error| read_error(column, error))?;
        Ok(entries)
    }

    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let mut writes = rocksdb::WriteBatch::default();
        for operation in &batch.operations {
            let family = self.family(operation.column)?;
            match &operation.value {
                Some(value) => writes.put_cf(family, &operation.key, value),
                None => writes.delete_cf(family, &operation.key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        self.database.write_opt(writes, &options).map_err(|error| store_error("writing", error))
    }

    fn disk_bytes(&self) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.usage()?.disk_bytes))
    }

    fn reclaim(&self, column: Column, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        let family = self.family(column)?;
        self.database.flush_cf(family).map_err(|error| store_error("flushing a column", error))?;
        self.database.compact_range_cf(family, Some(from), Some(to));
        Ok(())
    }
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore").field("path", &self.path).finish_non_exhaustive()
    }
}

fn read_error(column: Column, error: Error) -> StoreError {
    match store_error("reading", error) {
        StoreError::Corrupt { detail, .. } => {
            StoreError::Corrupt { place: format!("column {}", column.name()), detail }
        }
        other => other,
    }
}

/// RocksDB reports errors as text: a kind, a colon, details.
fn store_error(operation: &'static str, error: Error) -> StoreError {
    let detail = error.to_string();
    match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt { place: "the database".into(), detail },
        _ if is_full(&detail) => StoreError::Full { detail },
        _ => StoreError::Backend { operation, detail },
    }
}

fn is_full(detail: &str) -> bool {
    ["No space left on device", "NoSpace", "Disk quota exceeded"].iter().any(|text| detail.contains(text))
}

fn is_lock(detail: &str) -> bool {
    ["While lock file", "lock hold by current process"].iter().any(|text| detail.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        for text in [
            "IO error: No space left on device: While appending to file: db/000008.log: No space left on device",
            "IO error: While open a file for appending: db/1.sst: Disk quota exceeded",
        ] {
            assert!(is_full(text), "{text}");
        }
        for text in ["IO error: While fsync: db/000008.log: Input/output error", "Corruption: bad block"] {
            assert!(!is_full(text), "{text}");
        }
    }
}
