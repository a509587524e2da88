//! Reads what peers ask for.

use purlin_chain::ChainError;
use purlin_primitives::{Block, BlockId, Hash32, Height, TransactionId};
use purlin_state::{KeyValueStore, StoreError};
use purlin_sync::{
    BlockSource, BodySlice, CertifiedHeader, CompactBlock, EncodedTransaction, SourceError, Status,
};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use super::core::Core;
use super::exchange::own_status;

/// Most undecided blocks that are kept to be shown.
const BLOCKS_MAX: usize = 8;
/// Most messages of the engine that are kept to be shown.
const MESSAGES_MAX: usize = 512;

/// What is not in the chain yet, and peers may ask for.
#[derive(Debug, Default)]
pub(super) struct Recent {
    blocks: VecDeque<(BlockId, Arc<Block>)>,
    height: Height,
    messages: VecDeque<Vec<u8>>,
}

impl Recent {
    /// Keeps a proposed block.
    pub(super) fn keep(&mut self, block: Arc<Block>) {
        let id = block.header.id();
        if self.block(&id).is_some() {
            return;
        }
        if self.blocks.len() >= BLOCKS_MAX {
            self.blocks.pop_front();
        }
        self.blocks.push_back((id, block));
    }

    /// Returns a proposed block.
    pub(super) fn block(&self, id: &BlockId) -> Option<Arc<Block>> {
        self.blocks.iter().find(|(known, _)| known == id).map(|(_, block)| Arc::clone(block))
    }

    /// Returns how many blocks and messages are kept.
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.blocks.len(), self.messages.len())
    }

    /// Forgets a block that turned out wrong.
    pub(super) fn forget(&mut self, id: &BlockId) {
        self.blocks.retain(|(known, _)| known != id);
    }

    /// Keeps a message of the engine about the height being decided.
    pub(super) fn keep_message(&mut self, height: Height, bytes: &[u8]) {
        if height > self.height {
            self.height = height;
            self.messages.clear();
        }
        if height < self.height || self.messages.iter().any(|known| known == bytes) {
            return;
        }
        if self.messages.len() >= MESSAGES_MAX {
            self.messages.pop_front();
        }
        self.messages.push_back(bytes.to_vec());
    }

    /// Forgets what a decision made useless.
    pub(super) fn decided(&mut self, height: Height) {
        self.blocks.retain(|(_, block)| block.header.height > height);
    }
}

/// The chain, the pool and what is recent.
pub(super) struct Source<'a, S> {
    pub(super) core: &'a Core<S>,
    pub(super) recent: &'a Recent,
    /// The header given last: what follows it must be of the same branch, which may change in between.
    pub(super) last_header: Cell<Option<(Height, BlockId)>>,
}

fn failed(error: impl Into<ChainError>) -> SourceError {
    let error: ChainError = error.into();
    SourceError { detail: error.to_string() }
}

/// What is not kept any more is not here, as what never was.
fn unless_pruned<T>(read: Result<Option<T>, StoreError>) -> Result<Option<T>, SourceError> {
    match read {
        Err(StoreError::BlockPruned { .. }) => Ok(None),
        other => other.map_err(failed),
    }
}

impl<S: KeyValueStore> Source<'_, S> {
    fn block(&self, id: &BlockId) -> Result<Option<Arc<Block>>, SourceError> {
        if let Some(block) = self.recent.block(id) {
            return Ok(Some(block));
        }
        let read = || -> Result<_, StoreError> {
            let Some(height) = self.core.chain.block_height(id)? else { return Ok(None) };
            // Another block may have taken its place just now.
            Ok(self.core.chain.block(height)?.filter(|block| block.header.id() == *id))
        };
        Ok(unless_pruned(read())?.map(Arc::new))
    }
}

impl<S: KeyValueStore> BlockSource for Source<'_, S> {
    fn status(&self) -> Status {
        own_status(self.core)
    }

    fn header(&self, height: Height) -> Result<Option<CertifiedHeader>, SourceError> {
        if height > self.core.head.read().height {
            return Ok(None);
        }
        let chain = &self.core.chain;
        let Some(header) = unless_pruned(chain.header(height))? else { return Ok(None) };
        let id = header.id();
        if let Some((before, last)) = self.last_header.replace(Some((height, id)))
            && before.next() == height
            && header.parent != last
        {
            return Ok(None);
        }
        let certificate = chain.certificate(height).map_err(failed)?;
        Ok(Some(CertifiedHeader { header, certificate }))
    }

    fn body(
        &self,
        block: &BlockId,
        first: usize,
        bytes_max: usize,
    ) -> Result<Option<BodySlice>, SourceError> {
        let Some(block) = self.block(block)? else { return Ok(None) };
        let total = block.transactions.len();
        let mut transactions = Vec::new();
        let mut bytes = 0;
        for transaction in block.transactions.iter().skip(first) {
            let encoded = EncodedTransaction::new(transaction);
            bytes += encoded.size_bytes();
            if bytes > bytes_max && !transactions.is_empty() {
                break;
            }
            transactions.push(encoded);
        }
        Ok(Some(BodySlice { total, transactions }))
    }

    fn transactions(
        &self,
        block: &BlockId,
        positions: &[u32],
        bytes_max: usize,
    ) -> Result<Vec<EncodedTransaction>, SourceError> {
        let Some(block) = self.block(block)? else { return Ok(Vec::new()) };
        let (mut found, mut bytes) = (Vec::new(), 0);
        for transaction in positions.iter().map_while(|at| block.transactions.get(*at as usize)) {
            let encoded = EncodedTransaction::new(transaction);
            bytes += encoded.size_bytes();
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(encoded);
        }
        Ok(found)
    }

    fn compact(&self, block: &BlockId) -> Result<Option<CompactBlock>, SourceError> {
        let Some(block) = self.block(block)? else { return Ok(None) };
        let transactions = block.transactions.iter().map(|one| one.body.id()).collect();
        Ok(Some(CompactBlock { header: block.header.clone(), transactions }))
    }

    fn pooled(&self, id: &TransactionId) -> Option<EncodedTransaction> {
        let pool = self.core.pool.lock();
        pool.mempool.get(id).map(|one| EncodedTransaction::new(one.transaction()))
    }

    fn pooled_ids(&self, from: &TransactionId, limit: usize) -> Vec<TransactionId> {
        self.core.pool.lock().mempool.ids_from(from, limit)
    }

    fn snapshot_manifest(&self, height: Option<Height>) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.core.snapshots.get(height).map(|file| file.encoded_manifest().to_vec()))
    }

    fn snapshot_chunk(
        &self,
        root: &Hash32,
        from: &Hash32,
        to: &Hash32,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.core.snapshots.chunk(root, from, to))
    }

    fn consensus(&self, height: Height) -> Vec<Vec<u8>> {
        let messages = &self.recent.messages;
        if height == self.recent.height { messages.iter().cloned().collect() } else { Vec::new() }
    }
}
