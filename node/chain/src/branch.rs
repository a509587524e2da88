//! Blocks beside the chain: checked and executed, not stored.

use std::sync::Arc;

use purlin_primitives::{Block, BlockId, Height, Receipt};
use purlin_state::{
    Changes, Column, KeyValueStore, LayeredReader, MerkleTree, Order, StateReader, StateTree, StoreError,
    TreeVersion, WriteBatch,
};

use crate::chain::Chain;
use crate::error::ChainError;
use crate::executor::ExecutedBlock;
use crate::open;
use crate::records::{self, Head};
use crate::snapshot::Kept;
use crate::staged::StagedStore;

/// A branch that forks off the chain: its roots are computed and checked block by block, so that a block of a
/// branch can be judged before the chain goes over to it. Nothing is written.
///
/// Keeps every block's changes and tree nodes in memory; what lies below them is read from the store. When the ancestor
/// leaves the window or the chain is reorganised, that is gone or another: [`Chain::extend_branch`] and, unless the
/// ancestor was the head, the state are refused from then on with [`StoreError::Pruned`] or
/// [`StoreError::Reorganized`], and the branch has to be made again.
pub struct Branch<S> {
    ancestor: Height,
    /// Whether the store still has what the ancestor's tree is made of.
    kept: Kept,
    head: Head,
    staged: Arc<StagedStore<S>>,
    tree: MerkleTree<Arc<StagedStore<S>>>,
    version: TreeVersion,
    state: Arc<dyn StateReader>,
}

impl<S: KeyValueStore> Branch<S> {
    /// Returns the height of the last block that the branch shares with the chain.
    pub fn ancestor(&self) -> Height {
        self.ancestor
    }

    /// Returns the last block of the branch and its roots, which the header of the next block names.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Returns the state after the last block of the branch, to execute the next one on.
    pub fn state(&self) -> Arc<dyn StateReader> {
        self.state.clone()
    }
}

impl<S> std::fmt::Debug for Branch<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Branch")
            .field("ancestor", &self.ancestor)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

impl<S: KeyValueStore> Chain<S> {
    /// Returns the state that a block of a side branch is executed on: the state after the chain's block at
    /// `ancestor`, with the changes of the branch's blocks before it on top, oldest first.
    pub fn branch_state(
        &self,
        ancestor: Height,
        changes: &[Arc<Changes>],
    ) -> Result<Arc<dyn StateReader>, ChainError> {
        let base = self.state_at(ancestor)?;
        Ok(changes.iter().fold(base, |base, layer| Arc::new(LayeredReader::new(layer.clone(), base))))
    }

    /// Starts a branch after the chain's block at `ancestor`.
    pub fn branch(&self, ancestor: Height) -> Result<Branch<S>, ChainError> {
        let _stable = self.stable();
        self.check_depth(ancestor)?;
        let kept = self.kept(&self.committed());
        // Pruning may overtake it: then what looks like damage is not.
        self.branch_with(ancestor, kept.clone())
            .map_err(|error| kept.outdated(ancestor).map_or(error, ChainError::from))
    }

    fn branch_with(&self, ancestor: Height, kept: Kept) -> Result<Branch<S>, ChainError> {
        let state = self.state_at(ancestor)?;
        let head = self.head_at(ancestor)?;
        let staged = Arc::new(StagedStore::new(self.store.clone()));
        let tree = MerkleTree::new(staged.clone());
        let (version, _) = self.tree_at(&staged, &tree, &head, &state)?;
        Ok(Branch { ancestor, kept, head, staged, tree, version, state })
    }

    /// Adds a block to a branch: checks that it extends it and that its header commits to what it has, and
    /// computes its roots. Signatures and work are the caller's to check, as is that `executed` comes from
    /// executing the block on [`Branch::state`]. After an error the branch is as before.
    ///
    /// # Errors
    ///
    /// [`ChainError::InvalidBlock`], and [`StoreError::Pruned`] or [`StoreError::Reorganized`] when the branch has to be
    /// made again.
    pub fn extend_branch(
        &self,
        branch: &mut Branch<S>,
        block: &Block,
        executed: &ExecutedBlock,
    ) -> Result<(), ChainError> {
        let height = block.header.height;
        self.check_extends(block, executed, &branch.head)
            .map_err(|fault| ChainError::InvalidBlock { height, fault })?;
        let changes = Arc::new(executed.changes.clone());
        let mut nodes = WriteBatch::default();
        let updated = branch.tree.update(&branch.version, height, &changes, &mut nodes);
        // Whether it failed or not: nodes of another branch under the same keys give a wrong root.
        let version = branch.kept.outdated(branch.ancestor).map_or(updated, Err)?;
        branch.staged.apply(nodes);
        branch.head = Head {
            height,
            block: block.header.id(),
            time: block.header.time,
            state_root: branch.tree.root(&version),
            receipts_root: Receipt::root(&executed.receipts),
            transactions: branch.head.transactions.saturating_add(block.transactions.len() as u64),
            ..branch.head
        };
        branch.version = version;
        branch.state = Arc::new(LayeredReader::new(changes, branch.state.clone()));
        Ok(())
    }

    /// Returns what the head was when the chain ended at `height`, but for how far back its state can be read.
    /// The caller sees to it that the chain is not reorganised meanwhile.
    pub(crate) fn head_at(&self, height: Height) -> Result<Head, ChainError> {
        let head = self.head();
        if height == head.height {
            return Ok((*head).clone());
        }
        let missing = |height: Height| ChainError::Inconsistent {
            detail: format!("block {height} is missing below the head at height {}", head.height),
        };
        // The roots that a block left behind are in the header of the next one.
        let next = self.header(height.next())?.ok_or_else(|| missing(height.next()))?;
        let (block, time) = if height == Height::ZERO {
            (self.genesis_id(), self.genesis().time)
        } else {
            let header = self.header(height)?.ok_or_else(|| missing(height))?;
            (header.id(), header.time)
        };
        check_parent(height, block, next.parent)?;
        let later = (height.get() + 1..=head.height.get()).map(Height::new);
        let later = later.map(|height| self.transaction_count(height)).sum::<Result<u64, _>>()?;
        let transactions = head.transactions.checked_sub(later).ok_or_else(|| ChainError::Inconsistent {
            detail: format!(
                "the head counts {} transactions, the blocks above height {height} have {later}",
                head.transactions
            ),
        })?;
        let (state_root, receipts_root) = (next.state_root, next.receipts_root);
        Ok(Head { height, block, time, state_root, receipts_root, transactions, ..(*head).clone() })
    }

    /// Opens the tree of a height that [`Chain::head_at`] has described, in a staged store. Where it is not
    /// kept because the tree was once built again, it is made from the state; the flag says so.
    pub(crate) fn tree_at(
        &self,
        staged: &Arc<StagedStore<S>>,
        tree: &MerkleTree<Arc<StagedStore<S>>>,
        head: &Head,
        state: &Arc<dyn StateReader>,
    ) -> Result<(TreeVersion, bool), ChainError> {
        let stored = if head.height < self.head().oldest_proof { None } else { tree.open(head.height)? };
        let made = stored.is_none();
        let version = match stored {
            Some(version) => version,
            None => {
                let mut nodes = WriteBatch::default();
                let version = tree.build(head.height, open::state_entries(state.clone()), &mut nodes)?;
                staged.apply(nodes);
                version
            }
        };
        let root = tree.root(&version);
        if root != head.state_root {
            let detail = format!(
                "the tree of height {} has root {root}; the next header names {}",
                head.height, head.state_root
            );
            return Err(ChainError::Inconsistent { detail });
        }
        Ok((version, made))
    }

    /// Counts a block's transactions by its last run of receipts.
    fn transaction_count(&self, height: Height) -> Result<u64, StoreError> {
        let (from, to) = (records::run_key(height, 0), records::height_key(height.next()));
        let last = self.store.scan(Column::Receipts, &from, Some(&to), Order::Descending, 1)?.pop();
        let Some((key, bytes)) = last else { return Ok(0) };
        let first = key.last_chunk::<4>().map(|first| u32::from_be_bytes(*first));
        let count = bytes.first_chunk::<4>().map(|count| u32::from_le_bytes(*count));
        match (first, count) {
            (Some(first), Some(count)) => Ok(u64::from(first) + u64::from(count)),
            _ => Err(records::damaged(Column::Receipts, &key, "it is not a run of receipts")),
        }
    }
}

fn check_parent(height: Height, block: BlockId, parent: BlockId) -> Result<(), ChainError> {
    if block == parent {
        return Ok(());
    }
    let detail =
        format!("the block at height {height} is {block}; the one above names {parent} as its parent");
    Err(ChainError::Inconsistent { detail })
}
