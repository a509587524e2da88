//! The chain: opening it, extending it, and the state at its heights.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use purlin_primitives::{
    AccountId, Block, BlockHeader, BlockId, Certificate, Genesis, Hash32, Height, Parameters, Receipt, Seal,
    TimestampMs, TransactionId,
};
use purlin_state::{
    Changes, Column, Durability, KeyValueStore, LayeredReader, MerkleTree, StateReader, TreeVersion,
    WriteBatch,
};

use crate::error::{BlockFault, ChainError};
use crate::executor::{BlockContext, ExecutedBlock, Executor};
use crate::open::{self, Opening};
use crate::records::{self, Head};
use crate::snapshot::{HistoricState, Kept, Link, Snapshot};
use crate::turnovers;
use crate::write;

/// How many heights before the head can be read and proven unless said otherwise.
pub const WINDOW_BLOCKS_DEFAULT: u64 = 256;

/// Most blocks that may be sealed and not committed; each keeps its changes in memory.
pub const WAITING_BLOCKS_MAX: usize = purlin_state::UNWRITTEN_HEIGHTS_MAX as usize;

/// Smallest window. What a block makes obsolete must be stored before a later block looks for it to remove it,
/// so the window is longer than the queue of blocks that wait to be stored.
pub const WINDOW_BLOCKS_MIN: u64 = WAITING_BLOCKS_MAX as u64 + 1;

/// How a chain is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainOptions {
    /// Heights before the head whose state can be read and proven; at least [`WINDOW_BLOCKS_MIN`].
    pub window_blocks: u64,
    /// Blocks whose diagnostics are kept.
    pub diagnostics_blocks: u64,
}

impl Default for ChainOptions {
    fn default() -> Self {
        Self { window_blocks: WINDOW_BLOCKS_DEFAULT, diagnostics_blocks: 10_000 }
    }
}

/// A chain of blocks in a store.
///
/// A block passes three stages, so that each can be timed and the slow ones can overlap the execution of the
/// next block: [`Chain::begin`] checks it and makes its state readable (microseconds), [`Chain::seal`] computes
/// its roots (about 5-10 us per changed key), [`Chain::commit`] writes it in one synced batch. Blocks pass each
/// stage in order; block N+1 can begin when N is sealed. [`Chain::append`] does all three.
///
/// Reads see committed blocks only and run beside all of it.
pub struct Chain<S> {
    pub(crate) store: Arc<S>,
    pub(crate) tree: MerkleTree<Arc<S>>,
    genesis: Arc<Genesis>,
    genesis_id: BlockId,
    parameters: Arc<Parameters>,
    options: ChainOptions,
    opening: Opening,
    committed: RwLock<Committed>,
    tip: Mutex<Tip>,
    /// `Head::oldest_state`, set before anything older is removed.
    pub(crate) oldest_state: Arc<AtomicU64>,
    /// [`crate::History`], raised before anything is removed.
    pub(crate) oldest_header: AtomicU64,
    pub(crate) oldest_block: AtomicU64,
    /// Counts reorganisations; raised before one is written.
    pub(crate) generation: Arc<AtomicU64>,
    /// Held while blocks are stored.
    storing: Mutex<()>,
    /// Held for reading by whoever reads several records that belong together, and for writing while records
    /// are replaced or removed; appending only adds records and does not take it.
    pub(crate) records: RwLock<()>,
    pub(crate) failed: AtomicBool,
}

#[derive(Clone)]
pub(crate) struct Committed {
    pub(crate) head: Arc<Head>,
    pub(crate) link: Arc<Link>,
    tree: TreeVersion,
    generation: u64,
}

/// The last sealed block.
struct Tip {
    head: Arc<Head>,
    tree: TreeVersion,
    /// Changes of sealed blocks that are not committed, oldest first.
    layers: VecDeque<Arc<Changes>>,
}

/// A block that extends the chain, with its state. Dropping it undoes nothing, because nothing was done.
pub struct PendingBlock {
    pub(crate) block: Block,
    pub(crate) executed: ExecutedBlock,
    pub(crate) changes: Arc<Changes>,
    pub(crate) parent_state: Arc<dyn StateReader>,
}

impl PendingBlock {
    pub(crate) fn new(
        block: Block,
        executed: ExecutedBlock,
        changes: Arc<Changes>,
        parent_state: Arc<dyn StateReader>,
    ) -> Self {
        Self { block, executed, changes, parent_state }
    }

    /// Returns the block.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// Returns the receipts.
    pub fn receipts(&self) -> &[Receipt] {
        &self.executed.receipts
    }

    /// Returns the state after the block. Stays readable, and the same, however the chain goes on.
    pub fn state(&self) -> Arc<dyn StateReader> {
        Arc::new(LayeredReader::new(self.changes.clone(), self.parent_state.clone()))
    }
}

/// A block with computed roots, ready to be stored.
pub struct SealedBlock {
    pub(crate) head: Arc<Head>,
    pub(crate) block: Block,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) batch: WriteBatch,
    pub(crate) previous: Arc<Changes>,
    pub(crate) tree: TreeVersion,
}

impl SealedBlock {
    /// Returns what the chain's head will be.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Returns the block.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// Returns the receipts.
    pub fn receipts(&self) -> &[Receipt] {
        &self.receipts
    }
}

/// A block that would survive a power cut.
#[derive(Debug, Clone)]
pub struct CommittedBlock {
    /// The chain's head, which is this block.
    pub head: Arc<Head>,
    /// The block.
    pub block: Block,
    /// One per transaction.
    pub receipts: Vec<Receipt>,
}

impl<S: KeyValueStore> Chain<S> {
    /// Opens the chain in `store`, or starts it there with the genesis. Checks the format version, the chain, and
    /// that head block, recorded root and tree agree; a damaged tree is built again from the values when they
    /// give the recorded root, everything else is refused with the reason.
    pub fn open(
        store: S,
        genesis: Genesis,
        executor: &dyn Executor,
        options: ChainOptions,
    ) -> Result<Self, ChainError> {
        let window_blocks = options.window_blocks.max(WINDOW_BLOCKS_MIN);
        let options = ChainOptions { window_blocks, ..options };
        let store = Arc::new(store);
        let tree = MerkleTree::new(store.clone());
        let (head, version, opening) = open::open(&store, &tree, &genesis, executor)?;
        let oldest_state = Arc::new(AtomicU64::new(head.oldest_state.get()));
        let history = open::history(&*store)?;
        let head = Arc::new(head);
        let link = Arc::default();
        Ok(Self {
            store,
            genesis_id: genesis.id(),
            parameters: Arc::new(genesis.parameters.clone()),
            genesis: Arc::new(genesis),
            options,
            opening,
            committed: RwLock::new(Committed {
                head: head.clone(),
                link,
                tree: version.clone(),
                generation: 0,
            }),
            tip: Mutex::new(Tip { head, tree: version.clone(), layers: VecDeque::new() }),
            oldest_state,
            oldest_header: AtomicU64::new(history.oldest_header.get()),
            oldest_block: AtomicU64::new(history.oldest_block.get()),
            generation: Arc::default(),
            storing: Mutex::default(),
            records: RwLock::default(),
            failed: AtomicBool::new(false),
            tree,
        })
    }

    /// Says what opening found and did.
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Returns the genesis.
    pub fn genesis(&self) -> &Arc<Genesis> {
        &self.genesis
    }

    /// Returns the genesis id: parent of block 1.
    pub fn genesis_id(&self) -> BlockId {
        self.genesis_id
    }

    /// Returns the chain's rules.
    pub fn parameters(&self) -> &Arc<Parameters> {
        &self.parameters
    }

    /// Returns how the chain is kept.
    pub fn options(&self) -> &ChainOptions {
        &self.options
    }

    /// Returns the store, for measurements of it.
    pub fn store(&self) -> &Arc<S> {
        &self.store
    }

    /// Returns the last committed block.
    pub fn head(&self) -> Arc<Head> {
        self.committed().head
    }

    /// Returns the last sealed block, which the next one extends; the head unless a block is being stored.
    pub fn tip(&self) -> Arc<Head> {
        self.lock_tip().head.clone()
    }

    /// Returns the context to execute a block in.
    pub fn context(
        &self,
        height: Height,
        time: TimestampMs,
        proposer: AccountId,
        seal: Seal,
    ) -> BlockContext {
        BlockContext {
            chain_id: self.genesis.chain_id.clone(),
            height,
            time,
            proposer,
            seal,
            parameters: self.parameters.clone(),
        }
    }

    /// Returns the header of a block that extends the tip. `time` must be after [`Head::time`] of the tip.
    pub fn next_header(
        &self,
        time: TimestampMs,
        proposer: AccountId,
        seal: Seal,
        transactions: &[TransactionId],
    ) -> BlockHeader {
        let tip = self.tip();
        BlockHeader {
            chain_id: self.genesis.chain_id.clone(),
            height: tip.height.next(),
            parent: tip.block,
            time,
            proposer,
            transactions_root: Block::transactions_root(transactions),
            state_root: tip.state_root,
            receipts_root: tip.receipts_root,
            seal,
        }
    }

    /// Returns the state at the head. It stays at this height however the chain goes on.
    pub fn state(&self) -> Arc<dyn StateReader> {
        self.state_and_head().0
    }

    /// Returns the state at the head and which head that is.
    pub fn state_and_head(&self) -> (Arc<dyn StateReader>, Arc<Head>) {
        let committed = self.committed();
        (Arc::new(self.snapshot(&committed)), committed.head)
    }

    /// Returns the state after the last sealed block, for building the next one.
    pub fn tip_state(&self) -> Arc<dyn StateReader> {
        self.layered(&self.lock_tip())
    }

    /// Returns the state at a height of the window.
    pub fn state_at(&self, height: Height) -> Result<Arc<dyn StateReader>, ChainError> {
        let committed = self.committed();
        let (head, oldest) = (committed.head.height, committed.head.oldest_state);
        if height > head {
            return Err(ChainError::NotYet { height, head });
        }
        if height < oldest {
            return Err(purlin_state::StoreError::Pruned { height, oldest }.into());
        }
        let newer = self.snapshot(&committed);
        if height == head {
            return Ok(Arc::new(newer));
        }
        let kept = self.kept(&committed);
        Ok(Arc::new(HistoricState::new(self.store.clone(), newer, height, head, kept)))
    }

    /// Tells whether what is read beside the chain is still what it was.
    pub(crate) fn kept(&self, committed: &Committed) -> Kept {
        Kept {
            oldest: self.oldest_state.clone(),
            generation: self.generation.clone(),
            taken: committed.generation,
        }
    }

    /// Checks that a block extends the tip and that its header commits to what it has, and makes its state
    /// readable. Signatures of transactions and of the block are the caller's to check.
    pub fn begin(&self, block: Block, mut executed: ExecutedBlock) -> Result<PendingBlock, ChainError> {
        self.check_running()?;
        let tip = self.lock_tip();
        if tip.layers.len() >= WAITING_BLOCKS_MAX {
            return Err(ChainError::TooManyWaiting { waiting: tip.layers.len() });
        }
        let parent_state = self.layered(&tip);
        let parent = tip.head.clone();
        drop(tip);
        self.check_extends(&block, &executed, &parent)
            .map_err(|fault| ChainError::InvalidBlock { height: block.header.height, fault })?;
        let changes = Arc::new(std::mem::take(&mut executed.changes));
        Ok(PendingBlock { block, executed, changes, parent_state })
    }

    /// Computes the roots of a block and everything that will be written. The tip is this block afterwards.
    pub fn seal(&self, pending: PendingBlock) -> Result<SealedBlock, ChainError> {
        self.check_running()?;
        let (parent, tree) = {
            let tip = self.lock_tip();
            (tip.head.clone(), tip.tree.clone())
        };
        let out_of_order =
            || ChainError::OutOfOrder { height: pending.block.header.height, expected: parent.height.next() };
        if pending.block.header.parent != parent.block {
            return Err(out_of_order());
        }
        let changes = pending.changes.clone();
        let sealed = write::seal(&*self.store, &self.tree, &self.options, pending, &parent, &tree)?;
        let mut tip = self.lock_tip();
        if tip.head != parent {
            return Err(ChainError::OutOfOrder {
                height: sealed.head.height,
                expected: tip.head.height.next(),
            });
        }
        tip.head = sealed.head.clone();
        tip.tree = sealed.tree.clone();
        tip.layers.push_back(changes);
        Ok(sealed)
    }

    /// Writes a sealed block in one synced batch. When it returns, the block survives a power cut. After an
    /// error of the store nothing more is accepted: whether the block is stored is known after the next start.
    pub fn commit(
        &self,
        sealed: SealedBlock,
        certificate: Option<&Certificate>,
    ) -> Result<CommittedBlock, ChainError> {
        self.check_running()?;
        let SealedBlock { head, block, receipts, mut batch, previous, tree } = sealed;
        let _storing = self.lock_storing();
        let before = self.committed();
        if head.height != before.head.height.next() || block.header.parent != before.head.block {
            return Err(ChainError::OutOfOrder { height: head.height, expected: before.head.height.next() });
        }
        if let Some(certificate) = certificate {
            write::certificate(&mut batch, certificate, &head)
                .map_err(|fault| ChainError::InvalidBlock { height: head.height, fault })?;
        }
        let rules = &self.parameters.consensus;
        turnovers::record(&mut batch, (&*self.store, &self.tree), rules, &block.header, &before.tree)?;
        // From here on, readers of the old head look at what this block replaces, and readers of what it prunes
        // are refused, whether or not the write has happened yet.
        let link = before.link.extend(previous);
        self.oldest_state.fetch_max(head.oldest_state.get(), Ordering::SeqCst);
        if let Err(error) = self.store.write(batch, Durability::Synced) {
            self.failed.store(true, Ordering::SeqCst);
            return Err(error.into());
        }
        let mut tip = self.lock_tip();
        tip.layers.pop_front();
        *self.committed.write().unwrap_or_else(PoisonError::into_inner) =
            Committed { head: head.clone(), link, tree, generation: before.generation };
        drop(tip);
        Ok(CommittedBlock { head, block, receipts })
    }

    /// Keeps the certificate of a committed block. Not synced: while the block is durable, whoever signed it can
    /// sign it again.
    pub fn certify(&self, certificate: &Certificate) -> Result<(), ChainError> {
        let height = certificate.height;
        let head = self.head().height;
        if height > head {
            return Err(ChainError::NotYet { height, head });
        }
        if self.header(height)?.map(|header| header.id()) != Some(certificate.block) {
            let fault = BlockFault::Certificate { found: certificate.block };
            return Err(ChainError::InvalidBlock { height, fault });
        }
        let mut batch = WriteBatch::default();
        batch.put(Column::Certificates, records::height_key(height).as_slice(), records::encode(certificate));
        self.store.write(batch, Durability::Buffered)?;
        Ok(())
    }

    /// Begins, seals and commits.
    pub fn append(
        &self,
        block: Block,
        executed: ExecutedBlock,
        certificate: Option<&Certificate>,
    ) -> Result<CommittedBlock, ChainError> {
        self.commit(self.seal(self.begin(block, executed)?)?, certificate)
    }

    /// Forgets blocks that were sealed and not committed: the tip is the head again.
    pub fn abandon(&self) {
        let mut tip = self.lock_tip();
        let committed = self.committed();
        *tip = Tip { head: committed.head, tree: committed.tree, layers: VecDeque::new() };
    }

    /// Writes a batch that makes another branch the chain. Readers see all of it or nothing.
    pub(crate) fn replace(
        &self,
        batch: WriteBatch,
        head: Arc<Head>,
        link: Arc<Link>,
        tree: TreeVersion,
        generation: u64,
    ) -> Result<(), ChainError> {
        let _records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.store.write(batch, Durability::Synced) {
            self.failed.store(true, Ordering::SeqCst);
            return Err(error.into());
        }
        let mut tip = self.lock_tip();
        *tip = Tip { head: head.clone(), tree: tree.clone(), layers: VecDeque::new() };
        *self.committed.write().unwrap_or_else(PoisonError::into_inner) =
            Committed { head, link, tree, generation };
        Ok(())
    }

    /// While this is held, the chain goes over to no other branch. It must not be taken twice by one thread.
    pub(crate) fn stable(&self) -> RwLockReadGuard<'_, ()> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_storing(&self) -> MutexGuard<'_, ()> {
        // Guards no value, only the order of writes.
        self.storing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn check_extends(
        &self,
        block: &Block,
        executed: &ExecutedBlock,
        parent: &Head,
    ) -> Result<(), BlockFault> {
        let header = &block.header;
        if header.chain_id != self.genesis.chain_id {
            let (found, expected) = (header.chain_id.clone(), self.genesis.chain_id.clone());
            return Err(BlockFault::Chain { found, expected });
        }
        if header.height != parent.height.next() {
            return Err(BlockFault::Height { expected: parent.height.next() });
        }
        if header.parent != parent.block {
            return Err(BlockFault::Parent { found: header.parent, expected: parent.block });
        }
        if header.time <= parent.time {
            return Err(BlockFault::Time { found: header.time, parent: parent.time });
        }
        let check = |found: Hash32, expected: Hash32, fault: fn(Hash32, Hash32) -> BlockFault| {
            if found == expected { Ok(()) } else { Err(fault(found, expected)) }
        };
        check(header.state_root, parent.state_root, |found, expected| BlockFault::StateRoot {
            found,
            expected,
        })?;
        check(header.receipts_root, parent.receipts_root, |found, expected| BlockFault::ReceiptsRoot {
            found,
            expected,
        })?;
        let (transactions, receipts) = (block.transactions.len(), executed.receipts.len());
        if transactions != receipts {
            return Err(BlockFault::ReceiptCount { transactions, receipts });
        }
        let ids: Vec<TransactionId> = executed.receipts.iter().map(|receipt| receipt.transaction).collect();
        check(header.transactions_root, Block::transactions_root(&ids), |found, expected| {
            BlockFault::TransactionsRoot { found, expected }
        })
    }

    pub(crate) fn check_running(&self) -> Result<(), ChainError> {
        if self.failed.load(Ordering::SeqCst) { Err(ChainError::Stopped) } else { Ok(()) }
    }

    pub(crate) fn committed(&self) -> Committed {
        self.committed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock_tip(&self) -> MutexGuard<'_, Tip> {
        // Nothing that holds the lock can panic between two writes to it.
        self.tip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self, committed: &Committed) -> Snapshot<S> {
        Snapshot::new(self.store.clone(), committed.link.clone())
    }

    /// Committing takes the tip's lock, so layers and committed state belong together.
    fn layered(&self, tip: &Tip) -> Arc<dyn StateReader> {
        let base: Arc<dyn StateReader> = Arc::new(self.snapshot(&self.committed()));
        tip.layers.iter().fold(base, |base, layer| Arc::new(LayeredReader::new(layer.clone(), base)))
    }
}

impl<S> std::fmt::Debug for Chain<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("chain", &self.genesis.chain_id).finish_non_exhaustive()
    }
}
