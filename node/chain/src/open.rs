//! Opening a chain: what must be true of the store, and what can be repaired.

use std::sync::Arc;

use borsh::BorshDeserialize;
use purlin_primitives::{BlockHeader, Genesis, Height, Receipt};
use purlin_state::{
    Column, Durability, Entry, FORMAT_VERSION, FlatState, KeyValueStore, MerkleTree, Order, StateReader,
    StateTree, StoreError, TreeVersion, WriteBatch,
};

use crate::error::ChainError;
use crate::executor::Executor;
use crate::history::History;
use crate::records::{self, ChainRecord, Head};
use crate::write;

/// What opening a chain found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// The store was empty; the genesis was written.
    Created,
    /// Everything agreed.
    Opened,
    /// The tree was damaged and was built again from the values.
    Repaired {
        /// What was wrong.
        reason: String,
    },
}

pub(crate) fn open<S: KeyValueStore>(
    store: &Arc<S>,
    tree: &MerkleTree<Arc<S>>,
    genesis: &Genesis,
    executor: &dyn Executor,
) -> Result<(Head, TreeVersion, Opening), ChainError> {
    if !check_identity(&**store, genesis)? {
        let (head, version) = create(store, tree, genesis, executor)?;
        return Ok((head, version, Opening::Created));
    }
    if store.get(Column::Meta, records::META_SNAPSHOT)?.is_some() {
        return Err(ChainError::Unfinished);
    }
    let head: Head = required(&**store, records::META_HEAD)?;
    check_head_block(&**store, genesis, &head)?;
    let reason = match tree.open(head.height) {
        Ok(Some(version)) if tree.root(&version) == head.state_root => {
            return Ok((head, version, Opening::Opened));
        }
        Ok(Some(version)) => {
            format!("the tree of height {} has root {}", head.height, tree.root(&version))
        }
        Ok(None) => format!("the tree of height {} is missing", head.height),
        Err(StoreError::Corrupt { place, detail }) => format!("{place}: {detail}"),
        Err(error) => return Err(error.into()),
    };
    let (head, version) = rebuild(store, tree, head, &reason)?;
    Ok((head, version, Opening::Repaired { reason }))
}

/// Checks format version and chain of a store; `false` when it is empty.
pub(crate) fn check_identity<S: KeyValueStore>(store: &S, genesis: &Genesis) -> Result<bool, ChainError> {
    let Some(format) = store.get(Column::Meta, records::META_FORMAT)? else {
        if store.get(Column::Meta, records::META_HEAD)?.is_some() {
            let detail = "there is a head but no format version".into();
            return Err(ChainError::Inconsistent { detail });
        }
        return Ok(false);
    };
    let found: u32 = records::decode(Column::Meta, records::META_FORMAT, &format)?;
    if found != FORMAT_VERSION {
        return Err(ChainError::OtherFormat { found, supported: FORMAT_VERSION });
    }
    let chain: ChainRecord = required(store, records::META_CHAIN)?;
    let (expected, expected_genesis) = (genesis.chain_id.clone(), genesis.id());
    if chain.chain_id != expected || chain.genesis != expected_genesis {
        return Err(ChainError::OtherChain {
            found: chain.chain_id,
            found_genesis: chain.genesis,
            expected,
            expected_genesis,
        });
    }
    Ok(true)
}

/// Reads how far back blocks are kept.
pub(crate) fn history<S: KeyValueStore>(store: &S) -> Result<History, StoreError> {
    match store.get(Column::Meta, records::META_HISTORY)? {
        Some(bytes) => records::decode(Column::Meta, records::META_HISTORY, &bytes),
        None => Ok(History::default()),
    }
}

fn required<S: KeyValueStore, T: BorshDeserialize>(store: &S, key: &[u8]) -> Result<T, ChainError> {
    match store.get(Column::Meta, key)? {
        Some(bytes) => Ok(records::decode(Column::Meta, key, &bytes)?),
        None => {
            let detail = format!("the record \"{}\" is missing", String::from_utf8_lossy(key));
            Err(ChainError::Inconsistent { detail })
        }
    }
}

fn create<S: KeyValueStore>(
    store: &Arc<S>,
    tree: &MerkleTree<Arc<S>>,
    genesis: &Genesis,
    executor: &dyn Executor,
) -> Result<(Head, TreeVersion), ChainError> {
    let changes = executor.genesis(genesis)?;
    let mut batch = WriteBatch::default();
    let version = tree.update(&tree.empty(), Height::ZERO, &changes, &mut batch)?;
    write::values(&mut batch, &changes);
    let head = Head {
        height: Height::ZERO,
        block: genesis.id(),
        time: genesis.time,
        state_root: tree.root(&version),
        receipts_root: Receipt::root(&[]),
        transactions: 0,
        oldest_state: Height::ZERO,
        oldest_proof: Height::ZERO,
    };
    let chain = ChainRecord { chain_id: genesis.chain_id.clone(), genesis: genesis.id() };
    batch.put(Column::Meta, records::META_FORMAT, records::encode(&FORMAT_VERSION));
    batch.put(Column::Meta, records::META_CHAIN, records::encode(&chain));
    batch.put(Column::Meta, records::META_GENESIS, records::encode(genesis));
    batch.put(Column::Meta, records::META_HEAD, records::encode(&head));
    store.write(batch, Durability::Synced)?;
    Ok((head, version))
}

fn check_head_block<S: KeyValueStore>(store: &S, genesis: &Genesis, head: &Head) -> Result<(), ChainError> {
    let inconsistent = |detail| Err(ChainError::Inconsistent { detail });
    if head.height == Height::ZERO {
        return if head.block == genesis.id() {
            Ok(())
        } else {
            inconsistent(format!("the head is at height 0, but names block {}", head.block))
        };
    }
    let key = records::header_key(head.height);
    let Some(bytes) = store.get(Column::Blocks, &key)? else {
        return inconsistent(format!("the head is at height {}, but that block is missing", head.height));
    };
    let header: BlockHeader = records::decode(Column::Blocks, &key, &bytes)?;
    if header.id() != head.block {
        return inconsistent(format!(
            "the head is block {}, but block {} at height {} is stored",
            head.block,
            header.id(),
            head.height
        ));
    }
    let next = records::header_key(head.height.next());
    if !store.scan(Column::Blocks, &next, None, Order::Ascending, 1)?.is_empty() {
        return inconsistent(format!("there are blocks above the head at height {}", head.height));
    }
    Ok(())
}

/// Walks all of state as it is in the flat columns.
pub(crate) fn entries<S: KeyValueStore>(store: Arc<S>) -> impl Iterator<Item = Result<Entry, ChainError>> {
    state_entries(Arc::new(FlatState::new(store)))
}

/// Walks all of a state.
pub(crate) fn state_entries(state: Arc<dyn StateReader>) -> impl Iterator<Item = Result<Entry, ChainError>> {
    const PAGE: usize = 1024;
    let mut cursor = Some(Vec::new());
    let mut page = Vec::new().into_iter();
    std::iter::from_fn(move || {
        if page.len() == 0 {
            let from = cursor.take()?;
            match state.scan(&from, &[0xff], Order::Ascending, PAGE) {
                Ok(entries) => {
                    if let Some((last, _)) = entries.last() {
                        cursor = Some([last.as_slice(), &[0]].concat());
                    }
                    page = entries.into_iter();
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
        page.next().map(Ok)
    })
}

/// Builds the tree again from the values, if they give the recorded root. Earlier heights cannot be proven then.
fn rebuild<S: KeyValueStore>(
    store: &Arc<S>,
    tree: &MerkleTree<Arc<S>>,
    head: Head,
    reason: &str,
) -> Result<(Head, TreeVersion), ChainError> {
    let mut batch = WriteBatch::default();
    let version = tree.build(head.height, entries(store.clone()), &mut batch)?;
    let root = tree.root(&version);
    if root != head.state_root {
        let detail = format!(
            "{reason}; and the values give root {root}, where {} is recorded for height {}",
            head.state_root, head.height
        );
        return Err(ChainError::Inconsistent { detail });
    }
    // What is left of the damaged tree would never be pruned. A crash in between is repaired the same way.
    for column in [Column::TreeNodes, Column::StaleNodes] {
        clear(&**store, column)?;
    }
    let head = Head { oldest_proof: head.height, ..head };
    batch.put(Column::Meta, records::META_HEAD, records::encode(&head));
    store.write(batch, Durability::Synced)?;
    Ok((head, version))
}

/// Removes every record of a column.
pub(crate) fn clear<S: KeyValueStore>(store: &S, column: Column) -> Result<(), StoreError> {
    loop {
        let page = store.scan(column, &[], None, Order::Ascending, 4096)?;
        if page.is_empty() {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        page.into_iter().for_each(|(key, _)| batch.delete(column, key));
        store.write(batch, Durability::Buffered)?;
    }
}
