//! What waits for the thread that talks to peers: bounded, the important first.

use parking_lot::{Condvar, Mutex};
use purlin_primitives::{TransactionId, VerifiedTransaction};
use purlin_sync::{GossipId, NetworkEvent, PeerId, Topic};
use std::collections::VecDeque;
use std::time::Duration;

use super::driver::Outgoing;

/// Most events of importance that wait: votes, blocks, answers, and what this node has to say.
const URGENT_MAX: usize = 4_096;
/// Most batches of transactions that wait; past it gossip is dropped.
const BULK_MAX: usize = 1_024;

/// What became of transactions that a peer sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checked {
    /// Who sent them.
    pub(super) from: PeerId,
    /// The gossip they came in, which waits for its verdict.
    pub(super) gossip: Option<GossipId>,
    /// Taken into the pool.
    pub(super) admitted: Vec<VerifiedTransaction>,
    /// Not wanted now; may come again.
    pub(super) postponed: Vec<TransactionId>,
    /// Never valid, though whoever sent it on may not have known.
    pub(super) stale: Vec<TransactionId>,
    /// Wrong by itself: no honest node sends it on. Another copy may be right.
    pub(super) forged: Vec<TransactionId>,
    /// Whether what was seen before is in the pool just as it came now, so that all of the gossip is known to be right.
    pub(super) same: bool,
}

/// What the exchange is told.
#[derive(Debug)]
pub(super) enum Event {
    /// By the network.
    Network(NetworkEvent),
    /// By the driver.
    Outgoing(Outgoing),
    /// A client's transaction was admitted.
    Admitted(VerifiedTransaction),
    /// A worker looked at what a peer sent.
    Checked(Box<Checked>),
}

impl Event {
    fn is_bulk(&self) -> bool {
        matches!(
            self,
            Self::Admitted(_) | Self::Network(NetworkEvent::Gossip { topic: Topic::Transactions, .. })
        )
    }

    /// Says whether nobody would send it again. There is one at most for each input that the driver took or batch that
    /// a worker checked, so that no peer can fill the queue with them.
    fn is_vital(&self) -> bool {
        match self {
            // Both are sent again while they matter.
            Self::Outgoing(outgoing) => !matches!(outgoing, Outgoing::Message(_) | Outgoing::Proposed(_)),
            Self::Checked(_) => true,
            Self::Network(_) | Self::Admitted(_) => false,
        }
    }
}

#[derive(Default)]
struct Queues {
    urgent: VecDeque<Event>,
    bulk: VecDeque<Event>,
    closed: bool,
}

/// Two bounded queues.
#[derive(Default)]
pub(super) struct Inbox {
    queues: Mutex<Queues>,
    changed: Condvar,
}

impl Inbox {
    /// Takes an event, or gives it back when there is no room. What nobody would send again always has room.
    pub(super) fn put(&self, event: Event) -> Result<(), Event> {
        let mut queues = self.queues.lock();
        let (queue, max) =
            if event.is_bulk() { (&mut queues.bulk, BULK_MAX) } else { (&mut queues.urgent, URGENT_MAX) };
        if queue.len() >= max && !event.is_vital() {
            return Err(event);
        }
        queue.push_back(event);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next event, at most for a time. `Err` when the inbox was closed.
    pub(super) fn wait(&self, at_most: Duration) -> Result<Option<Event>, ()> {
        let mut queues = self.queues.lock();
        if queues.urgent.is_empty() && queues.bulk.is_empty() && !queues.closed {
            self.changed.wait_for(&mut queues, at_most);
        }
        if queues.closed {
            return Err(());
        }
        Ok(queues.urgent.pop_front().or_else(|| queues.bulk.pop_front()))
    }

    /// Takes the next event, when there is one.
    pub(super) fn take(&self) -> Option<Event> {
        let mut queues = self.queues.lock();
        queues.urgent.pop_front().or_else(|| queues.bulk.pop_front())
    }

    /// Returns how many important events wait, and how many others.
    pub(super) fn lengths(&self) -> (usize, usize) {
        let queues = self.queues.lock();
        (queues.urgent.len(), queues.bulk.len())
    }

    /// Ends all waiting.
    pub(super) fn close(&self) {
        self.queues.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_pushes_out_nothing_that_is_said_once() {
        let inbox = Inbox::default();
        let peer = PeerId::new(vec![1; 4]).unwrap();
        let connected = || Event::Network(NetworkEvent::Connected { peer: peer.clone() });
        while inbox.put(connected()).is_ok() {}
        assert_eq!(inbox.lengths(), (URGENT_MAX, 0));
        assert!(inbox.put(Event::Outgoing(Outgoing::Message(Vec::new()))).is_err());
        let blame = Outgoing::Blame { peer: vec![1], reason: String::new() };
        assert!(inbox.put(Event::Outgoing(blame)).is_ok());
        let last = std::iter::from_fn(|| inbox.take()).last().unwrap();
        assert!(matches!(last, Event::Outgoing(Outgoing::Blame { .. })), "{last:?}");
    }
}
