//! Reading blocks, transactions, receipts and proofs.

use purlin_primitives::{
    Block, BlockHeader, BlockId, Certificate, Height, Receipt, Transaction, TransactionId,
};
use purlin_state::{Column, KeyValueStore, Order, StateProof, StateTree, StoreError};

use borsh::BorshDeserialize;

use crate::chain::Chain;
use crate::error::ChainError;
use crate::records::{self, RUN_LENGTH};

/// A transaction of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionRecord {
    /// Of the block.
    pub height: Height,
    /// Zero-based position in the block.
    pub position: u32,
    /// What was signed, and the signature.
    pub transaction: Transaction,
}

/// A receipt of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRecord {
    /// Of the block.
    pub height: Height,
    /// Zero-based position in the block.
    pub position: u32,
    /// What the transaction did.
    pub receipt: Receipt,
}

/// A transaction and what came of it, all of one branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionRecord {
    /// Of the block.
    pub header: BlockHeader,
    /// Zero-based position in the block.
    pub position: u32,
    /// What was signed, and the signature.
    pub transaction: Transaction,
    /// What it did.
    pub receipt: Receipt,
    /// What this node noted for a person when it executed it; kept for a while only.
    pub diagnostic: Option<String>,
}

impl<S: KeyValueStore> Chain<S> {
    /// Returns the header at a height; `None` at 0 and above the head, [`StoreError::BlockPruned`] below the oldest
    /// that is kept, as for blocks, receipts and events.
    pub fn header(&self, height: Height) -> Result<Option<BlockHeader>, StoreError> {
        let oldest = self.history().oldest_header;
        if height > Height::ZERO && height < oldest {
            return Err(StoreError::BlockPruned { height, oldest });
        }
        let key = records::header_key(height);
        self.read(Column::Blocks, &key)
    }

    /// Returns the block at a height; `None` at 0 and above the head.
    pub fn block(&self, height: Height) -> Result<Option<Block>, StoreError> {
        let _stable = self.stable();
        self.block_unlocked(height)
    }

    /// As [`Chain::block`], for a caller under whom the chain is not reorganised.
    pub(crate) fn block_unlocked(&self, height: Height) -> Result<Option<Block>, StoreError> {
        self.check_block_kept(height)?;
        let Some(header) = self.header(height)? else { return Ok(None) };
        let (from, to) = (records::transactions_key(height, 0), records::header_key(height.next()));
        let transactions = self.runs(Column::Blocks, &from, &to)?;
        Ok(Some(Block { header, transactions }))
    }

    /// Returns the block at a height and its receipts, of one branch; `None` at 0 and above the head.
    pub fn block_and_receipts(&self, height: Height) -> Result<Option<(Block, Vec<Receipt>)>, StoreError> {
        let _stable = self.stable();
        let Some(block) = self.block_unlocked(height)? else { return Ok(None) };
        Ok(Some((block, self.receipts_unlocked(height)?)))
    }

    /// Returns the header at a height and the block's receipts, of one branch; `None` at 0 and above the head.
    pub fn header_and_receipts(
        &self,
        height: Height,
    ) -> Result<Option<(BlockHeader, Vec<Receipt>)>, StoreError> {
        let _stable = self.stable();
        let Some(header) = self.header(height)? else { return Ok(None) };
        Ok(Some((header, self.receipts_unlocked(height)?)))
    }

    /// Returns the height of a block.
    pub fn block_height(&self, block: &BlockId) -> Result<Option<Height>, StoreError> {
        let key = records::block_index_key(block);
        self.read(Column::Index, &key)
    }

    /// Returns the certificate of a height, when there is one.
    pub fn certificate(&self, height: Height) -> Result<Option<Certificate>, StoreError> {
        self.read(Column::Certificates, &records::height_key(height))
    }

    /// Returns height and position of a transaction.
    pub fn transaction_place(&self, id: &TransactionId) -> Result<Option<(Height, u32)>, StoreError> {
        self.read(Column::Index, &records::transaction_index_key(id))
    }

    /// Returns a transaction; `None` also for one of a block that is not kept.
    pub fn transaction(&self, id: &TransactionId) -> Result<Option<TransactionRecord>, StoreError> {
        let _stable = self.stable();
        let Some((height, position)) = self.transaction_place(id)? else { return Ok(None) };
        let transaction = self.transaction_at(height, position)?;
        Ok(Some(TransactionRecord { height, position, transaction }))
    }

    /// Returns a transaction with all that is known of it, of one branch; `None` also for one of a block that is not
    /// kept.
    pub fn inclusion(&self, id: &TransactionId) -> Result<Option<InclusionRecord>, StoreError> {
        let _stable = self.stable();
        let Some((height, position)) = self.transaction_place(id)? else { return Ok(None) };
        let missing = || {
            let key = records::header_key(height);
            records::damaged(Column::Blocks, &key, "the header of a block with transactions is missing")
        };
        Ok(Some(InclusionRecord {
            header: self.header(height)?.ok_or_else(missing)?,
            position,
            transaction: self.transaction_at(height, position)?,
            receipt: self.receipt_at(height, position)?,
            diagnostic: self.diagnostic_at(height, position)?,
        }))
    }

    fn transaction_at(&self, height: Height, position: u32) -> Result<Transaction, StoreError> {
        let key = records::transactions_key(height, run_start(position));
        self.in_run(Column::Blocks, &key, position)
    }

    fn receipt_at(&self, height: Height, position: u32) -> Result<Receipt, StoreError> {
        let key = records::run_key(height, run_start(position));
        self.in_run(Column::Receipts, &key, position)
    }

    fn diagnostic_at(&self, height: Height, position: u32) -> Result<Option<String>, StoreError> {
        let key = records::run_key(height, position as usize);
        let bytes = self.store.get(Column::Diagnostics, &key)?;
        bytes
            .map(String::from_utf8)
            .transpose()
            .map_err(|error| records::damaged(Column::Diagnostics, &key, error.to_string()))
    }

    /// Returns the receipt of a transaction.
    pub fn receipt(&self, id: &TransactionId) -> Result<Option<ReceiptRecord>, StoreError> {
        let _stable = self.stable();
        let Some((height, position)) = self.transaction_place(id)? else { return Ok(None) };
        let receipt = self.receipt_at(height, position)?;
        Ok(Some(ReceiptRecord { height, position, receipt }))
    }

    /// Returns the receipts of a block, one per transaction.
    pub fn receipts(&self, height: Height) -> Result<Vec<Receipt>, StoreError> {
        let _stable = self.stable();
        self.receipts_unlocked(height)
    }

    fn receipts_unlocked(&self, height: Height) -> Result<Vec<Receipt>, StoreError> {
        self.check_block_kept(height)?;
        let (from, to) = (records::run_key(height, 0), records::height_key(height.next()));
        self.runs(Column::Receipts, &from, &to)
    }

    /// Returns what this node noted for a person when it executed a transaction; kept for a while only.
    pub fn diagnostic(&self, id: &TransactionId) -> Result<Option<String>, StoreError> {
        let _stable = self.stable();
        let Some((height, position)) = self.transaction_place(id)? else { return Ok(None) };
        self.diagnostic_at(height, position)
    }

    /// Proves what state held under a key after the block of `height`; without a height, at the newest that can
    /// be proven, which is the one before the head. The proof is checked before it is returned.
    pub fn proof(&self, key: &[u8], height: Option<Height>) -> Result<StateProof, ChainError> {
        let _stable = self.stable();
        let head = self.head();
        let height = height.unwrap_or(head.height.saturating_sub(Height::new(1)));
        if height > head.height {
            return Err(ChainError::NotYet { height, head: head.height });
        }
        if height == head.height {
            return Err(ChainError::NotProvableYet { height, next: height.next() });
        }
        let oldest = head.oldest_proof;
        if height < oldest {
            return Err(StoreError::Pruned { height, oldest }.into());
        }
        self.collect_proof(key, height).map_err(|error| {
            // Pruning may have overtaken us: then what looks like damage is not.
            let oldest = self.head().oldest_proof;
            if height < oldest { StoreError::Pruned { height, oldest }.into() } else { error }
        })
    }

    fn collect_proof(&self, key: &[u8], height: Height) -> Result<StateProof, ChainError> {
        let missing = |what: &str| ChainError::Inconsistent {
            detail: format!("the {what} of height {height} is missing inside the window"),
        };
        let value = self.state_at(height)?.get(key)?;
        let version = self.tree.open(height)?.ok_or_else(|| missing("tree"))?;
        let path = self.tree.prove(&version, key)?;
        let header = self.header(height.next())?.ok_or_else(|| missing("next header"))?;
        path.verify(&header.state_root, key, value.as_deref()).map_err(|error| ChainError::Inconsistent {
            detail: format!("the tree of height {height} and its values disagree: {error}"),
        })?;
        let certificate = self.certificate(height.next())?;
        Ok(StateProof { key: key.to_vec(), value, path, header, certificate })
    }

    /// Reads one record.
    pub(crate) fn read<T: BorshDeserialize>(
        &self,
        column: Column,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        let bytes = self.store.get(column, key)?;
        bytes.map(|bytes| records::decode(column, key, &bytes)).transpose()
    }

    /// Reads one entry of a run.
    fn in_run<T: BorshDeserialize>(
        &self,
        column: Column,
        key: &[u8],
        position: u32,
    ) -> Result<T, StoreError> {
        let run: Option<Vec<T>> = self.read(column, key)?;
        let entry = run.and_then(|run| run.into_iter().nth(position as usize % RUN_LENGTH));
        entry.ok_or_else(|| {
            records::damaged(column, key, format!("there is no entry for position {position}"))
        })
    }

    /// Reads all runs of a block.
    fn runs<T: BorshDeserialize>(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
    ) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        for (key, bytes) in self.store.scan(column, from, Some(to), Order::Ascending, usize::MAX)? {
            all.extend(records::decode::<Vec<T>>(column, &key, &bytes)?);
        }
        Ok(all)
    }
}

fn run_start(position: u32) -> usize {
    let position = position as usize;
    position - position % RUN_LENGTH
}
