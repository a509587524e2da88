//! What becomes of transactions between the pool and a durable block, and who waits to hear of it.

use purlin_mempool::{Removal, Removed};
use purlin_primitives::{Block, BlockId, Receipt, TransactionId, VerifiedTransaction};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Most reasons kept of transactions that were dropped; the oldest are forgotten first, and asking for those
/// answers that they are unknown.
const DROPPED_MAX: usize = 10_000;

/// A final block with what it did: durable and signed, or with its confirmations.
#[derive(Debug)]
pub(crate) struct FinalBlock {
    pub(crate) id: BlockId,
    pub(crate) block: Arc<Block>,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) diagnostics: BTreeMap<TransactionId, String>,
}

/// How waiting for a transaction ended.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// It is at this index of a final block.
    Final(Arc<FinalBlock>, u32),
    /// It left the pool unused.
    Dropped(String),
}

/// Remembers transactions that are in a block which is not final yet, waiting clients, and recent drops.
///
/// A transaction is in the pool, then in a block, then final. Two threads say so: the builder takes it out of the
/// pool, the driver learns that its block is durable, and either may be first. A block counts as final here when
/// both did, so that whoever begins to wait in between is told.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    in_blocks: HashMap<TransactionId, VerifiedTransaction>,
    /// Blocks whose transactions left the pool and that are not final, with those.
    included: HashMap<BlockId, Vec<TransactionId>>,
    /// Blocks that are final and whose transactions the pool still has.
    early: HashMap<BlockId, Arc<FinalBlock>>,
    waiters: HashMap<TransactionId, Vec<oneshot::Sender<Ending>>>,
    dropped: HashMap<TransactionId, String>,
    dropped_order: VecDeque<TransactionId>,
}

impl Tracker {
    /// Notes that a chosen block has them, when the pool has not any more.
    pub(crate) fn included(&mut self, block: BlockId, transactions: &[VerifiedTransaction]) {
        if let Some(block) = self.early.remove(&block) {
            return self.conclude(&block);
        }
        self.included.insert(block, transactions.iter().map(VerifiedTransaction::id).collect());
        self.in_blocks.extend(transactions.iter().map(|transaction| (transaction.id(), transaction.clone())));
    }

    /// Notes that blocks left the chain before they were final. Their transactions are where the pool says; who
    /// waits for them goes on waiting.
    pub(crate) fn taken_back(&mut self, blocks: &[BlockId]) {
        for block in blocks {
            self.early.remove(block);
            if let Some(ids) = self.included.remove(block) {
                ids.iter().for_each(|id| drop(self.in_blocks.remove(id)));
            }
        }
    }

    /// Returns a transaction that is in a block which is not final yet.
    pub(crate) fn in_block(&self, id: &TransactionId) -> Option<&VerifiedTransaction> {
        self.in_blocks.get(id)
    }

    /// Returns why a transaction was dropped, when that was not long ago.
    pub(crate) fn dropped(&self, id: &TransactionId) -> Option<&String> {
        self.dropped.get(id)
    }

    /// Tells those who wait that a block is final, now or as soon as it was [`Tracker::included`].
    pub(crate) fn finalized(&mut self, block: &Arc<FinalBlock>) {
        if self.included.remove(&block.id).is_some() {
            self.conclude(block);
        } else {
            self.early.insert(block.id, Arc::clone(block));
        }
    }

    fn conclude(&mut self, block: &Arc<FinalBlock>) {
        for (index, receipt) in (0u32..).zip(&block.receipts) {
            self.in_blocks.remove(&receipt.transaction);
            for waiter in self.waiters.remove(&receipt.transaction).unwrap_or_default() {
                // A closed channel is a client that went away.
                drop(waiter.send(Ending::Final(Arc::clone(block), index)));
            }
        }
    }

    /// Tells those who wait that transactions left the pool.
    pub(crate) fn removed(&mut self, removed: &[Removed], detail: Option<&str>) {
        for Removed { id, reason } in removed {
            let reason = describe(*reason, detail);
            for waiter in self.waiters.remove(id).unwrap_or_default() {
                drop(waiter.send(Ending::Dropped(reason.clone())));
            }
            if self.dropped.insert(*id, reason).is_none() {
                self.dropped_order.push_back(*id);
            }
        }
        while self.dropped_order.len() > DROPPED_MAX {
            if let Some(oldest) = self.dropped_order.pop_front() {
                self.dropped.remove(&oldest);
            }
        }
    }

    /// Forgets an old drop of a transaction that is waiting again.
    pub(crate) fn admitted(&mut self, id: &TransactionId) {
        // Its place in the order stays and is skipped when it comes up.
        self.dropped.remove(id);
    }

    /// Registers somebody who waits.
    pub(crate) fn wait(&mut self, id: TransactionId) -> oneshot::Receiver<Ending> {
        let (sender, receiver) = oneshot::channel();
        self.waiters.entry(id).or_default().push(sender);
        receiver
    }

    /// Forgets those who stopped waiting for a transaction.
    pub(crate) fn sweep(&mut self, id: &TransactionId) {
        if let Some(waiters) = self.waiters.get_mut(id) {
            waiters.retain(|waiter| !waiter.is_closed());
            if waiters.is_empty() {
                self.waiters.remove(id);
            }
        }
    }

    /// Returns how many transactions are in blocks, how many reasons are kept, and how many are waited for.
    pub(crate) fn lengths(&self) -> (usize, usize, usize) {
        (self.in_blocks.len(), self.dropped.len(), self.waiters.len())
    }

    /// Ends all waiting without an answer: the node stops.
    pub(crate) fn close(&mut self) {
        self.waiters.clear();
    }
}

fn describe(reason: Removal, detail: Option<&str>) -> String {
    match (reason, detail) {
        (Removal::Replaced { by }, _) => format!("replaced by transaction {by}, which pays more"),
        (Removal::Evicted, _) => "pushed out of the full pool by one that pays more".into(),
        (Removal::Expired, _) => "expired before a block included it".into(),
        (Removal::Rejected, Some(detail)) => detail.to_owned(),
        (Removal::Rejected, None) => "refused by execution".into(),
        (Removal::Orphaned, _) => "a transaction of the same account before it was dropped".into(),
        (Removal::NonceUsed, _) => "another transaction used its nonce".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_primitives::{
        AccountId, Block, BlockHeader, Gas, Hash32, Height, Seal, SecretKey, TimestampMs, TransactionBody,
    };

    fn id(number: u32) -> TransactionId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        TransactionId::new(Hash32::new(bytes))
    }

    #[test]
    fn drops_are_told_and_remembered_within_bounds() {
        let mut tracker = Tracker::default();
        let mut waiting = tracker.wait(id(1));
        tracker.removed(&[Removed { id: id(1), reason: Removal::Rejected }], Some("balance too small"));
        assert!(matches!(waiting.try_recv(), Ok(Ending::Dropped(reason)) if reason == "balance too small"));
        for number in 0..2 * DROPPED_MAX as u32 {
            tracker.removed(&[Removed { id: id(number), reason: Removal::Expired }], None);
        }
        assert!(tracker.dropped.len() <= DROPPED_MAX && tracker.dropped_order.len() <= DROPPED_MAX);
        assert!(tracker.dropped(&id(1)).is_none());
        assert!(tracker.dropped(&id(2 * DROPPED_MAX as u32 - 1)).is_some());
    }

    fn transaction() -> VerifiedTransaction {
        let key = SecretKey::from_bytes(&[7; 32]).unwrap();
        let body = TransactionBody {
            chain_id: "dev".parse().unwrap(),
            sender: key.public_key().account_id(),
            nonce: 0,
            expires_at: Height::new(9),
            gas_limit: Gas::new(1),
            fee: purlin_primitives::Amount::ZERO,
            access: Vec::new(),
            actions: vec![purlin_primitives::Action::Unjail],
        };
        let chain_id = body.chain_id.clone();
        key.sign_transaction(body).verify(&chain_id).unwrap()
    }

    fn final_block(transaction: &VerifiedTransaction) -> Arc<FinalBlock> {
        let header = BlockHeader {
            chain_id: transaction.body().chain_id.clone(),
            height: Height::new(1),
            parent: BlockId::ZERO,
            transactions_root: Hash32::ZERO,
            state_root: Hash32::ZERO,
            receipts_root: Hash32::ZERO,
            time: TimestampMs::new(1),
            proposer: AccountId::ZERO,
            seal: Seal::FIRST_ROUND,
        };
        let receipt = Receipt {
            transaction: transaction.id(),
            outcome: purlin_primitives::Outcome::Succeeded { outputs: Vec::new() },
            gas_used: Gas::ZERO,
            fee: purlin_primitives::Amount::ZERO,
            events: Vec::new(),
        };
        Arc::new(FinalBlock {
            id: header.id(),
            block: Arc::new(Block { header, transactions: vec![transaction.transaction().clone()] }),
            receipts: vec![receipt],
            diagnostics: BTreeMap::new(),
        })
    }

    #[test]
    fn builder_and_driver_may_be_first() {
        let transaction = transaction();
        let block = final_block(&transaction);
        for driver_first in [false, true] {
            let mut tracker = Tracker::default();
            let mut waiting = tracker.wait(transaction.id());
            if driver_first {
                tracker.finalized(&block);
                assert!(waiting.try_recv().is_err(), "the pool still has it: somebody may begin to wait");
                tracker.included(block.id, std::slice::from_ref(&transaction));
            } else {
                tracker.included(block.id, std::slice::from_ref(&transaction));
                assert!(tracker.in_block(&transaction.id()).is_some() && waiting.try_recv().is_err());
                tracker.finalized(&block);
            }
            assert!(matches!(waiting.try_recv(), Ok(Ending::Final(_, 0))), "driver first: {driver_first}");
            assert!(tracker.in_block(&transaction.id()).is_none(), "driver first: {driver_first}");
            assert!(tracker.included.is_empty() && tracker.early.is_empty());
        }
    }

    #[test]
    fn those_who_went_away_are_forgotten() {
        let mut tracker = Tracker::default();
        let (first, second) = (tracker.wait(id(1)), tracker.wait(id(1)));
        drop(first);
        tracker.sweep(&id(1));
        assert_eq!(tracker.waiters[&id(1)].len(), 1);
        drop(second);
        tracker.sweep(&id(1));
        assert!(tracker.waiters.is_empty());
    }
}
