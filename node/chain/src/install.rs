//! Beginning a chain with the state of a later block than the genesis.
//!
//! While a snapshot is installed, the store holds a part of its values and a record that says so; there is no head, so
//! [`Chain::open`](crate::Chain::open) refuses it. The last batch writes the head and removes the record.

use purlin_primitives::{BlockHeader, Certificate, Genesis, Hash32};
use purlin_state::{
    Column, Durability, Entry, FORMAT_VERSION, FlatState, KeyValueStore, MerkleTree, StateTree, Turnover,
    WriteBatch, WriteOperation,
};
use std::sync::Arc;

use crate::error::ChainError;
use crate::history::History;
use crate::open;
use crate::records::{self, ChainRecord, Head};

/// Operations of one batch while the tree is written.
const TREE_BATCH: usize = 20_000;

/// The block that a chain begins with, and what must be known of it. All of it is trusted when it is given here, but
/// for the state, whose root is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foundation {
    /// The block whose state was installed.
    pub header: BlockHeader,
    /// Its certificate under proof of stake.
    pub certificate: Option<Certificate>,
    /// Root of the state after it, from the next header.
    pub state_root: Hash32,
    /// Root of its receipts, from the next header.
    pub receipts_root: Hash32,
    /// Transactions since the genesis.
    pub transactions: u64,
    /// Proofs of who decides, to be shown to newcomers.
    pub turnovers: Vec<Turnover>,
}

/// What a store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// Nothing.
    Empty,
    /// A chain.
    Chain,
    /// A snapshot that is not complete, with the progress that was recorded last; empty while it is being removed.
    Unfinished(Vec<u8>),
}

/// A snapshot on its way into a store.
#[derive(Debug)]
pub struct Installation<S> {
    store: Arc<S>,
    genesis: Genesis,
}

impl<S: KeyValueStore> Installation<S> {
    /// Looks what a store holds.
    ///
    /// # Errors
    /// [`ChainError::OtherFormat`] and [`ChainError::OtherChain`], as when opening a chain.
    pub fn look(store: &S, genesis: &Genesis) -> Result<Contents, ChainError> {
        if !open::check_identity(store, genesis)? {
            return Ok(Contents::Empty);
        }
        Ok(match store.get(Column::Meta, records::META_SNAPSHOT)? {
            Some(progress) => Contents::Unfinished(progress),
            None => Contents::Chain,
        })
    }

    /// Takes a store that holds no chain. Nothing is written.
    ///
    /// # Errors
    /// [`ChainError::NotEmpty`] when there is a chain.
    pub fn new(store: Arc<S>, genesis: Genesis) -> Result<Self, ChainError> {
        match Self::look(&store, &genesis)? {
            Contents::Chain => Err(ChainError::NotEmpty),
            Contents::Empty | Contents::Unfinished(_) => Ok(Self { store, genesis }),
        }
    }

    /// Starts over: removes what is there of another snapshot and records the progress of this one.
    pub fn begin(&self, progress: &[u8]) -> Result<(), ChainError> {
        self.discard()?;
        let chain = ChainRecord { chain_id: self.genesis.chain_id.clone(), genesis: self.genesis.id() };
        let mut batch = WriteBatch::default();
        batch.put(Column::Meta, records::META_FORMAT, records::encode(&FORMAT_VERSION));
        batch.put(Column::Meta, records::META_CHAIN, records::encode(&chain));
        batch.put(Column::Meta, records::META_SNAPSHOT, progress);
        Ok(self.store.write(batch, Durability::Synced)?)
    }

    /// Stores entries that were proven, and how far the snapshot is, in one synced batch.
    pub fn store(&self, entries: Vec<Entry>, progress: &[u8]) -> Result<(), ChainError> {
        let mut batch = WriteBatch::default();
        for (key, value) in entries {
            batch.put(Column::of_state(&key), key, value);
        }
        batch.put(Column::Meta, records::META_SNAPSHOT, progress);
        Ok(self.store.write(batch, Durability::Synced)?)
    }

    /// Returns the entries stored so far as a state.
    pub fn state(&self) -> FlatState<Arc<S>> {
        FlatState::new(self.store.clone())
    }

    /// Builds the tree and compares its root; then one synced batch makes it a chain whose head is this block. May be
    /// repeated after a crash. About 200 bytes of memory per entry.
    ///
    /// # Errors
    /// [`ChainError::SnapshotRoot`]: what was stored is not the state; start over.
    pub fn finish(&self, foundation: Foundation) -> Result<Head, ChainError> {
        let Foundation { header, certificate, state_root, receipts_root, transactions, turnovers } =
            foundation;
        let (height, block) = (header.height, header.id());
        let tree = MerkleTree::new(self.store.clone());
        let mut nodes = WriteBatch::default();
        let version = tree.build(height, open::entries(self.store.clone()), &mut nodes)?;
        let found = tree.root(&version);
        if found != state_root {
            return Err(ChainError::SnapshotRoot { height, found, expected: state_root });
        }
        write_parts(&*self.store, nodes)?;

        let head = Head {
            height,
            block,
            time: header.time,
            state_root,
            receipts_root,
            transactions,
            oldest_state: height,
            oldest_proof: height,
        };
        let history = History { oldest_header: height, oldest_block: height.next() };
        let mut batch = WriteBatch::default();
        batch.put(Column::Meta, records::META_GENESIS, records::encode(&self.genesis));
        batch.put(Column::Meta, records::META_HEAD, records::encode(&head));
        batch.put(Column::Meta, records::META_HISTORY, records::encode(&history));
        for turnover in turnovers {
            let key = records::turnover_key(turnover.height());
            batch.put(Column::Meta, key, records::encode(&turnover));
        }
        batch.put(Column::Blocks, records::header_key(height), records::encode(&header));
        batch.put(Column::Index, records::block_index_key(&block), height.get().to_le_bytes());
        if let Some(certificate) = certificate {
            batch.put(Column::Certificates, records::height_key(height), records::encode(&certificate));
        }
        batch.delete(Column::Meta, records::META_SNAPSHOT);
        self.store.write(batch, Durability::Synced)?;
        Ok(head)
    }

    /// Removes everything: the store is as if it were new.
    pub fn discard(&self) -> Result<(), ChainError> {
        if self.store.get(Column::Meta, records::META_SNAPSHOT)?.is_some() {
            // From here on the progress is not true. After a crash, what does not decode is begun anew.
            let mut batch = WriteBatch::default();
            batch.put(Column::Meta, records::META_SNAPSHOT, []);
            self.store.write(batch, Durability::Synced)?;
        }
        for column in [Column::Values, Column::AppCode, Column::TreeNodes] {
            open::clear(&*self.store, column)?;
        }
        let mut batch = WriteBatch::default();
        for key in [records::META_SNAPSHOT, records::META_CHAIN, records::META_FORMAT] {
            batch.delete(Column::Meta, key);
        }
        Ok(self.store.write(batch, Durability::Synced)?)
    }
}

fn write_parts<S: KeyValueStore>(store: &S, batch: WriteBatch) -> Result<(), ChainError> {
    let mut operations = batch.operations.into_iter();
    loop {
        let part: Vec<WriteOperation> = operations.by_ref().take(TREE_BATCH).collect();
        if part.is_empty() {
            return Ok(());
        }
        // Durable with the head, which is written after them.
        store.write(WriteBatch { operations: part }, Durability::Buffered)?;
    }
}
