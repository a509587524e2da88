//! Everything a block writes, in one batch.

use std::sync::Arc;

use purlin_primitives::{Block, Certificate, Event, Height, Receipt, merkle_root};
use purlin_state::{
    Changes, Column, KeyValueStore, MerkleTree, Order, StateReader, StateTree, StoreError, TreeVersion,
    WriteBatch,
};
use std::collections::BTreeMap;

use crate::chain::{ChainOptions, PendingBlock, SealedBlock};
use crate::error::{BlockFault, ChainError};
use crate::executor::Diagnostic;
use crate::records::{self, Head, RUN_LENGTH, StoredEvent, UNDO_RUN_BYTES, UndoRun};

/// Most heights whose old state one block removes; more than one, so that a smaller window is reached in time.
const PRUNED_HEIGHTS_MAX: u64 = 4;
/// Most diagnostics one block removes.
const PRUNED_DIAGNOSTICS_MAX: usize = 256;

pub(crate) fn seal<S: KeyValueStore, T: KeyValueStore>(
    store: &S,
    tree: &MerkleTree<T>,
    options: &ChainOptions,
    pending: PendingBlock,
    parent: &Head,
    parent_tree: &TreeVersion,
) -> Result<SealedBlock, ChainError> {
    let PendingBlock { block, executed, changes, parent_state } = pending;
    let height = block.header.height;
    let mut batch = WriteBatch::default();

    let version = tree.update(parent_tree, height, &changes, &mut batch)?;
    values(&mut batch, &changes);
    let previous = complete(executed.previous, &changes, &*parent_state)?;
    undo(&mut batch, height, &previous);

    let block_id = block.header.id();
    let encoded: Vec<Vec<u8>> = executed.receipts.iter().map(records::encode).collect();
    let receipts_root = merkle_root(&encoded);
    body(&mut batch, &block);
    for (run, receipts) in encoded.chunks(RUN_LENGTH).enumerate() {
        batch.put(Column::Receipts, records::run_key(height, run * RUN_LENGTH), encode_run(receipts));
    }
    batch.put(Column::Index, records::block_index_key(&block_id), height.get().to_le_bytes());
    for (receipt, position) in executed.receipts.iter().zip(0u32..) {
        let key = records::transaction_index_key(&receipt.transaction);
        batch.put(Column::Index, key, records::encode(&(height, position)));
    }
    events(&mut batch, height, &executed.receipts);
    diagnostics(&mut batch, height, &executed.receipts, &executed.diagnostics);

    let window_start = height.saturating_sub(Height::new(options.window_blocks));
    let oldest_state = prune(store, tree, parent.oldest_state, window_start, &mut batch)?;
    prune_diagnostics(store, height, options.diagnostics_blocks, &mut batch)?;

    let head = Head {
        height,
        block: block_id,
        time: block.header.time,
        state_root: tree.root(&version),
        receipts_root,
        // Of a chain that began with a snapshot it is a claim that nothing proves.
        transactions: parent.transactions.saturating_add(block.transactions.len() as u64),
        oldest_state,
        oldest_proof: parent.oldest_proof.max(oldest_state),
    };
    batch.put(Column::Meta, records::META_HEAD, records::encode(&head));
    Ok(SealedBlock {
        head: Arc::new(head),
        block,
        receipts: executed.receipts,
        batch,
        previous: Arc::new(previous),
        tree: version,
    })
}

pub(crate) fn certificate(
    batch: &mut WriteBatch,
    certificate: &Certificate,
    head: &Head,
) -> Result<(), BlockFault> {
    if certificate.block != head.block || certificate.height != head.height {
        return Err(BlockFault::Certificate { found: certificate.block });
    }
    batch.put(Column::Certificates, records::height_key(head.height), records::encode(certificate));
    Ok(())
}

/// Adds the flat values of state.
pub(crate) fn values(batch: &mut WriteBatch, changes: &Changes) {
    for (key, value) in changes {
        let column = Column::of_state(key);
        match value {
            Some(value) => batch.put(column, key.as_slice(), value.as_slice()),
            None => batch.delete(column, key.as_slice()),
        }
    }
}

/// Adds the old values that execution did not hand over.
fn complete(
    mut previous: Changes,
    changes: &Changes,
    parent_state: &dyn StateReader,
) -> Result<Changes, StoreError> {
    if !previous.keys().eq(changes.keys()) {
        previous.retain(|key, _| changes.contains_key(key));
        for key in changes.keys() {
            if !previous.contains_key(key) {
                previous.insert(key.clone(), parent_state.get(key)?);
            }
        }
    }
    Ok(previous)
}

fn undo(batch: &mut WriteBatch, height: Height, previous: &Changes) {
    let mut entries = previous.iter().peekable();
    while let Some((first, _)) = entries.peek() {
        let key = records::undo_key(height, first);
        let mut run = UndoRun::new();
        let mut bytes = 0;
        while let Some((key, value)) = entries.next_if(|_| bytes < UNDO_RUN_BYTES) {
            bytes += key.len() + value.as_ref().map_or(0, Vec::len) + 9;
            run.push((key.clone(), value.clone()));
        }
        batch.put(Column::Undo, key, records::encode(&run));
    }
}

fn body(batch: &mut WriteBatch, block: &Block) {
    let height = block.header.height;
    batch.put(Column::Blocks, records::header_key(height), records::encode(&block.header));
    for (run, transactions) in block.transactions.chunks(RUN_LENGTH).enumerate() {
        let key = records::transactions_key(height, run * RUN_LENGTH);
        batch.put(Column::Blocks, key, records::encode(transactions));
    }
}

/// Joins encoded entries to what borsh makes of a list of them.
fn encode_run(entries: &[Vec<u8>]) -> Vec<u8> {
    let count = u32::try_from(entries.len()).expect("a run is short");
    let mut run = count.to_le_bytes().to_vec();
    entries.iter().for_each(|entry| run.extend_from_slice(entry));
    run
}

fn events(batch: &mut WriteBatch, height: Height, receipts: &[Receipt]) {
    let of_receipt = |(receipt, position): (&Receipt, u32)| {
        let transaction = receipt.transaction;
        let stored = move |event: &Event| StoredEvent { transaction, position, event: event.clone() };
        receipt.events.iter().map(stored).collect::<Vec<_>>()
    };
    let all: Vec<StoredEvent> = receipts.iter().zip(0u32..).flat_map(of_receipt).collect();
    for (run, events) in all.chunks(RUN_LENGTH).enumerate() {
        batch.put(Column::Events, records::run_key(height, run * RUN_LENGTH), records::encode(events));
    }
    let mut by_app: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for (stored, index) in all.iter().zip(0u32..) {
        by_app.entry(&stored.event.app).or_default().push(index);
    }
    for (app, indexes) in by_app {
        batch.put(Column::EventsByApp, records::app_events_key(app, height), records::encode(&indexes));
    }
}

fn diagnostics(batch: &mut WriteBatch, height: Height, receipts: &[Receipt], diagnostics: &[Diagnostic]) {
    // Both are in execution order.
    let mut positions = receipts.iter().zip(0usize..);
    for diagnostic in diagnostics {
        let found = positions.by_ref().find(|(receipt, _)| receipt.transaction == diagnostic.transaction);
        if let Some((_, position)) = found {
            batch.put(Column::Diagnostics, records::run_key(height, position), diagnostic.text.as_bytes());
        }
    }
}

/// Removes state that is older than the window; returns the oldest height that is left.
fn prune<S: KeyValueStore, T: KeyValueStore>(
    store: &S,
    tree: &MerkleTree<T>,
    oldest: Height,
    window_start: Height,
    batch: &mut WriteBatch,
) -> Result<Height, StoreError> {
    let end = window_start.min(oldest.saturating_add(Height::new(PRUNED_HEIGHTS_MAX)));
    for height in (oldest.get() + 1..=end.get()).map(Height::new) {
        tree.prune(height, batch)?;
        let mut cursor = records::height_key(height).to_vec();
        let to = records::height_key(height.next());
        loop {
            let page = store.scan(Column::Undo, &cursor, Some(&to), Order::Ascending, RUN_LENGTH)?;
            let Some((last, _)) = page.last() else { break };
            cursor = [last.as_slice(), &[0]].concat();
            page.into_iter().for_each(|(key, _)| batch.delete(Column::Undo, key));
        }
    }
    Ok(oldest.max(end))
}

fn prune_diagnostics<S: KeyValueStore>(
    store: &S,
    height: Height,
    kept: u64,
    batch: &mut WriteBatch,
) -> Result<(), StoreError> {
    let to = records::height_key(height.saturating_sub(Height::new(kept)));
    for (key, _) in
        store.scan(Column::Diagnostics, &[], Some(&to), Order::Ascending, PRUNED_DIAGNOSTICS_MAX)?
    {
        batch.delete(Column::Diagnostics, key);
    }
    Ok(())
}
