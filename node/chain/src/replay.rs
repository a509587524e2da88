//! Computing everything again from the blocks.

use purlin_primitives::{Hash32, Height, TransactionId, VerifyTransactionError};
use purlin_state::{KeyValueStore, MemoryStore, MerkleTree, StateTree, WriteBatch};

use crate::chain::{Chain, ChainOptions, WINDOW_BLOCKS_MIN};
use crate::error::ChainError;
use crate::executor::{Executor, Policy};
use crate::install::{Foundation, Installation};
use crate::open;

/// What a replay computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayReport {
    /// The first block that was executed: 1, or the one after the oldest state where older blocks are not kept.
    pub from: Height,
    /// Blocks executed.
    pub blocks: u64,
    /// Transactions executed.
    pub transactions: u64,
    /// Root after the last block, which equals the stored one.
    pub state_root: Hash32,
}

/// Says where stored history and its replay part.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The replay could not go on; an invalid block is the chain's, not the replay's.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A block of the chain is not there.
    #[error("block {height} is missing")]
    MissingBlock {
        /// Which.
        height: Height,
    },
    /// A stored transaction is not valid.
    #[error("transaction {position} of block {height} is invalid: {reason}")]
    Transaction {
        /// Of the block.
        height: Height,
        /// Zero-based.
        position: usize,
        /// Why.
        reason: VerifyTransactionError,
    },
    /// Execution leaves out what the block contains.
    #[error("block {height} has {stored} transactions; executing it includes {executed}")]
    Included {
        /// Of the block.
        height: Height,
        /// In the block.
        stored: usize,
        /// By execution.
        executed: usize,
    },
    /// A stored receipt is not what execution gives.
    #[error(
        "the stored receipt of transaction {transaction} at height {height} is not what executing it gives"
    )]
    Receipt {
        /// Of the block.
        height: Height,
        /// Which.
        transaction: TransactionId,
    },
    /// Number of receipts differs.
    #[error("block {height} has {stored} stored receipts; executing it gives {executed}")]
    ReceiptCount {
        /// Of the block.
        height: Height,
        /// In the store.
        stored: usize,
        /// By execution.
        executed: usize,
    },
    /// The stored end differs from the computed one.
    #[error("the stored {what} of height {height} is {stored}; replaying the blocks gives {computed}")]
    Head {
        /// Which root.
        what: &'static str,
        /// Of the head.
        height: Height,
        /// In the store.
        stored: Hash32,
        /// By replay.
        computed: Hash32,
    },
}

impl<S: KeyValueStore> Chain<S> {
    /// Computes the root of the flat values as they are stored, and compares it with the recorded one.
    /// No block may be committed meanwhile.
    pub fn verify_state(&self) -> Result<Hash32, ReplayError> {
        let head = self.head();
        let tree = MerkleTree::new(MemoryStore::new());
        let entries = open::entries(self.store.clone());
        let version = tree.build(head.height, entries, &mut WriteBatch::default())?;
        let computed = tree.root(&version);
        compare("state root", head.height, head.state_root, computed)?;
        Ok(computed)
    }

    /// Executes every block again from the genesis, in memory, and compares every header, receipt and the final
    /// roots, then the stored values, with what is stored. Where old blocks are not kept, it begins with the oldest
    /// state that is, after comparing its root with the next header. `progress` is told each height. No block may be
    /// committed meanwhile. Takes about as long as the blocks took, and memory for the whole state.
    pub fn verify_from_blocks(
        &self,
        executor: &dyn Executor,
        mut progress: impl FnMut(Height),
    ) -> Result<ReplayReport, ReplayError> {
        let head = self.head();
        let options = ChainOptions { window_blocks: WINDOW_BLOCKS_MIN, diagnostics_blocks: 1 };
        let base = match self.history().oldest_block.get() {
            0 | 1 => Height::ZERO,
            _ => head.oldest_state,
        };
        let store = MemoryStore::new();
        let store = if base == Height::ZERO { store } else { self.install_base(store, base)? };
        let replay = Chain::open(store, (**self.genesis()).clone(), executor, options)?;
        for height in (base.get() + 1..=head.height.get()).map(Height::new) {
            self.replay_block(&replay, executor, height)?;
            progress(height);
        }
        let computed = replay.head();
        compare("state root", head.height, head.state_root, computed.state_root)?;
        compare("receipts root", head.height, head.receipts_root, computed.receipts_root)?;
        self.verify_state()?;
        Ok(ReplayReport {
            from: base.next(),
            blocks: head.height.get() - base.get(),
            transactions: computed.transactions,
            state_root: computed.state_root,
        })
    }

    /// Puts the state of a height into a store of its own, as a snapshot would; its root is compared with the one
    /// that the chain recorded.
    fn install_base(&self, store: MemoryStore, base: Height) -> Result<MemoryStore, ReplayError> {
        let missing = |height| ReplayError::MissingBlock { height };
        let header = |height: Height| self.header(height).map_err(ChainError::from)?.ok_or(missing(height));
        let head = self.head();
        let (state_root, receipts_root) = if base == head.height {
            (head.state_root, head.receipts_root)
        } else {
            let next = header(base.next())?;
            (next.state_root, next.receipts_root)
        };
        let store = std::sync::Arc::new(store);
        let installation = Installation::new(store.clone(), (**self.genesis()).clone())?;
        installation.begin(&[])?;
        let mut part = Vec::new();
        for entry in open::state_entries(self.state_at(base)?) {
            part.push(entry?);
            if part.len() >= 1024 {
                installation.store(std::mem::take(&mut part), &[])?;
            }
        }
        installation.store(part, &[])?;
        installation.finish(Foundation {
            header: header(base)?,
            certificate: None,
            state_root,
            receipts_root,
            transactions: 0,
            turnovers: Vec::new(),
        })?;
        drop(installation);
        Ok(std::sync::Arc::into_inner(store).expect("the installation was the only other owner"))
    }

    fn replay_block(
        &self,
        replay: &Chain<MemoryStore>,
        executor: &dyn Executor,
        height: Height,
    ) -> Result<(), ReplayError> {
        let block =
            self.block(height).map_err(ChainError::from)?.ok_or(ReplayError::MissingBlock { height })?;
        let chain_id = &self.genesis().chain_id;
        let verified = block.transactions.iter().enumerate().map(|(position, transaction)| {
            let verified = transaction.clone().verify(chain_id);
            verified.map_err(|reason| ReplayError::Transaction { height, position, reason })
        });
        let verified = verified.collect::<Result<Vec<_>, _>>()?;
        let header = &block.header;
        let context = replay.context(height, header.time, header.proposer, header.seal);
        let executed = executor
            .execute_block(replay.state(), &context, &verified, Policy::Refuse)
            .map_err(ChainError::from)?;
        if executed.receipts.len() != verified.len() {
            return Err(ReplayError::Included {
                height,
                stored: verified.len(),
                executed: executed.receipts.len(),
            });
        }
        let committed = replay.append(block, executed, None)?;
        let stored = self.receipts(height).map_err(ChainError::from)?;
        if stored.len() != committed.receipts.len() {
            let (stored, executed) = (stored.len(), committed.receipts.len());
            return Err(ReplayError::ReceiptCount { height, stored, executed });
        }
        match stored.iter().zip(&committed.receipts).find(|(stored, computed)| stored != computed) {
            None => Ok(()),
            Some((_, computed)) => Err(ReplayError::Receipt { height, transaction: computed.transaction }),
        }
    }
}

fn compare(what: &'static str, height: Height, stored: Hash32, computed: Hash32) -> Result<(), ReplayError> {
    if stored == computed { Ok(()) } else { Err(ReplayError::Head { what, height, stored, computed }) }
}
