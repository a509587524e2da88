//! What becomes of transactions between the pool and a durable block, and who waits to hear of it.

use purlin_chain::Head;
use purlin_mempool::{Removal, Removed};
use purlin_primitives::{Block, BlockId, Receipt, TransactionId, VerifiedTransaction};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Most reasons kept of transactions that were dropped; the oldest are forgotten first, and asking for those
/// answers that they are unknown.
const DROPPED_MAX: usize = 10_000;

/// A durable, signed block with what it did.
#[derive(Debug)]
pub(crate) struct FinalBlock {
    pub(crate) id: BlockId,
    pub(crate) head: Arc<Head>,
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
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    in_blocks: HashMap<TransactionId, VerifiedTransaction>,
    waiters: HashMap<TransactionId, Vec<oneshot::Sender<Ending>>>,
    dropped: HashMap<TransactionId, String>,
    dropped_order: VecDeque<TransactionId>,
}

impl Tracker {
    /// Notes that a block which is being stored has them.
    pub(crate) fn included(&mut self, transactions: &[VerifiedTransaction]) {
        self.in_blocks.extend(transactions.iter().map(|transaction| (transaction.id(), transaction.clone())));
    }

    /// Returns a transaction that is in a block which is not final yet.
    pub(crate) fn in_block(&self, id: &TransactionId) -> Option<&VerifiedTransaction> {
        self.in_blocks.get(id)
    }

    /// Returns why a transaction was dropped, when that was not long ago.
    pub(crate) fn dropped(&self, id: &TransactionId) -> Option<&String> {
        self.dropped.get(id)
    }

    /// Tells those who wait that a block is final.
    pub(crate) fn finalized(&mut self, block: &Arc<FinalBlock>) {
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
    use purlin_primitives::Hash32;

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
