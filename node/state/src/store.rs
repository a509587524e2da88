//! The port to durable storage.

use crate::keys::StatePrefix;
use crate::reader::{Entry, Order};

/// Version of everything that is stored: columns, keys and values. A node refuses another one than it knows.
/// 2: headers have a seal, certificates a round. 3: a chain may begin with a snapshot, and old blocks may be gone.
pub const FORMAT_VERSION: u32 = 3;

/// Separates kinds of records; a column family in RocksDB. Numbers are part of the on-disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Column {
    /// Format version, chain identity, head.
    Meta = 0,
    /// Current state, flat: what execution reads.
    Values = 1,
    /// Wasm of installed applications; part of state, kept apart because it is large.
    AppCode = 2,
    /// Nodes of the authenticated tree, by version and path.
    TreeNodes = 3,
    /// Which tree nodes a version made obsolete.
    StaleNodes = 4,
    /// Values before each block, for rollback and for reading recent heights.
    Undo = 5,
    /// Blocks by height.
    Blocks = 6,
    /// Certificates by height.
    Certificates = 7,
    /// Receipts by height and position.
    Receipts = 8,
    /// Height and position by transaction id; height by block id.
    Index = 9,
    /// Events by height and position.
    Events = 10,
    /// Positions of events by application.
    EventsByApp = 11,
    /// Node-local explanations of failures: backtraces and logs. Not hashed, not agreed on.
    Diagnostics = 12,
}

impl Column {
    /// Every column, by number.
    pub const ALL: &'static [Self] = &[
        Self::Meta,
        Self::Values,
        Self::AppCode,
        Self::TreeNodes,
        Self::StaleNodes,
        Self::Undo,
        Self::Blocks,
        Self::Certificates,
        Self::Receipts,
        Self::Index,
        Self::Events,
        Self::EventsByApp,
        Self::Diagnostics,
    ];

    /// Returns the column that holds the value of a state key: code lies apart, because it is large.
    pub fn of_state(key: &[u8]) -> Self {
        if key.first() == Some(&(StatePrefix::AppCode as u8)) { Self::AppCode } else { Self::Values }
    }

    /// Returns the name used on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Values => "values",
            Self::AppCode => "app_code",
            Self::TreeNodes => "tree_nodes",
            Self::StaleNodes => "stale_nodes",
            Self::Undo => "undo",
            Self::Blocks => "blocks",
            Self::Certificates => "certificates",
            Self::Receipts => "receipts",
            Self::Index => "index",
            Self::Events => "events",
            Self::EventsByApp => "events_by_app",
            Self::Diagnostics => "diagnostics",
        }
    }
}

/// When a write may be reported as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After it would survive a power cut.
    Synced,
    /// After it would survive the process; for what can be made again.
    Buffered,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOperation {
    /// Where.
    pub column: Column,
    /// Which key.
    pub key: Vec<u8>,
    /// The new value; `None` removes the key.
    pub value: Option<Vec<u8>>,
}

/// Changes that take effect together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteBatch {
    /// In order; a later one to the same key wins.
    pub operations: Vec<WriteOperation>,
}

impl WriteBatch {
    /// Adds a value.
    pub fn put(&mut self, column: Column, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.operations.push(WriteOperation { column, key: key.into(), value: Some(value.into()) });
    }

    /// Adds a removal.
    pub fn delete(&mut self, column: Column, key: impl Into<Vec<u8>>) {
        self.operations.push(WriteOperation { column, key: key.into(), value: None });
    }
}

/// Says why storage did not answer. None of these may be ignored or retried blindly: after a failed write the
/// node stops. Only [`StoreError::Pruned`], [`StoreError::BlockPruned`] and [`StoreError::Reorganized`] are about the
/// question rather than the storage.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room left.
    #[error("the disk is full: {detail}; free some space, then start the node again")]
    Full {
        /// What the backend said.
        detail: String,
    },
    /// Stored bytes are not what was written.
    #[error("stored data is damaged in {place}: {detail}")]
    Corrupt {
        /// Column and key, as far as known.
        place: String,
        /// What is wrong.
        detail: String,
    },
    /// The height is older than what is kept.
    #[error("state of height {height} is not kept any more; the oldest kept is {oldest}")]
    Pruned {
        /// Asked for.
        height: purlin_primitives::Height,
        /// Oldest there is.
        oldest: purlin_primitives::Height,
    },
    /// The block is older than what is kept.
    #[error("block {height} is not kept here; the oldest kept is {oldest}")]
    BlockPruned {
        /// Asked for.
        height: purlin_primitives::Height,
        /// Oldest there is.
        oldest: purlin_primitives::Height,
    },
    /// The height was read on a branch that is not the chain any more.
    #[error("the chain went over to another branch while height {height} was read; ask again")]
    Reorganized {
        /// Asked for.
        height: purlin_primitives::Height,
    },
    /// Anything else the operating system or backend reports.
    #[error("storage failed while {operation}: {detail}")]
    Backend {
        /// What was being done.
        operation: &'static str,
        /// What the backend said.
        detail: String,
    },
}

/// Stores bytes by column and key, ordered by key.
///
/// Reads see every write that returned. `write` is atomic. Implementations are shared between threads.
pub trait KeyValueStore: Send + Sync + 'static {
    /// Returns a value, or `None` when the key is not there.
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns values for many keys, in their order.
    fn get_many(&self, column: Column, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|key| self.get(column, key)).collect()
    }

    /// Returns at most `limit` entries with `from <= key < to`, from the lower end up or the upper end down.
    /// `to` of `None` means to the end of the column.
    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Applies a batch, whole or not at all.
    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError>;

    /// Returns the bytes that the store takes on the disk, or `None` when it cannot tell.
    fn disk_bytes(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// Gives back the disk space of entries of a column that were removed and whose keys are from `from` to below `to`.
    /// May take seconds. Stores that do so by themselves do nothing here.
    fn reclaim(&self, _column: Column, _from: &[u8], _to: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }
}

impl<S: KeyValueStore + ?Sized> KeyValueStore for std::sync::Arc<S> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).get(column, key)
    }

    fn get_many(&self, column: Column, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        (**self).get_many(column, keys)
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        (**self).scan(column, from, to, order, limit)
    }

    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        (**self).write(batch, durability)
    }

    fn disk_bytes(&self) -> Result<Option<u64>, StoreError> {
        (**self).disk_bytes()
    }

    fn reclaim(&self, column: Column, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        (**self).reclaim(column, from, to)
    }
}
