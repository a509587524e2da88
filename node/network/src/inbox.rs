//! What the network tells its user: never waits, and never loses what is owed.

use purlin_sync::NetworkEvent;
use std::collections::VecDeque;
use std::sync::Arc;

/// Takes the events of a network.
///
/// Implemented for the sender of a bounded tokio channel; the receiver's owner then is the user of the network.
pub trait NetworkSink: Send + Sync + 'static {
    /// Takes an event at once, or gives it back when there is no room. Called from the network's task: must not wait.
    ///
    /// A gossiped message that is given back is ignored, a request is answered "busy"; a response, a connection or a
    /// disconnection is offered again until it is taken, in order.
    ///
    /// # Errors
    /// The event, when there is no room for it.
    fn deliver(&self, event: NetworkEvent) -> Result<(), NetworkEvent>;
}

impl NetworkSink for tokio::sync::mpsc::Sender<NetworkEvent> {
    fn deliver(&self, event: NetworkEvent) -> Result<(), NetworkEvent> {
        use tokio::sync::mpsc::error::TrySendError;
        match self.try_send(event) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(event)) => Err(event),
            // Nobody will ever ask again.
            Err(TrySendError::Closed(_)) => Ok(()),
        }
    }
}

/// Delivers, and holds what must not be lost. Bounded by what is outstanding: one response for each request, and one
/// change of connection for each peer.
pub(crate) struct Inbox {
    sink: Arc<dyn NetworkSink>,
    held: VecDeque<NetworkEvent>,
}

impl Inbox {
    pub(crate) fn new(sink: Arc<dyn NetworkSink>) -> Self {
        Self { sink, held: VecDeque::new() }
    }

    /// Delivers what may be lost; returns whether it was taken.
    pub(crate) fn offer(&mut self, event: NetworkEvent) -> bool {
        self.flush() && self.sink.deliver(event).is_ok()
    }

    /// Delivers what is owed, now or later.
    pub(crate) fn owe(&mut self, event: NetworkEvent) {
        if self.flush() {
            if let Err(event) = self.sink.deliver(event) {
                self.held.push_back(event);
            }
            return;
        }
        // A peer that comes and goes while nobody listens leaves no trail: the change undoes the one that waits.
        let undone = match &event {
            NetworkEvent::Connected { peer } => self
                .position(|held| matches!(held, NetworkEvent::Disconnected { peer: other } if other == peer)),
            NetworkEvent::Disconnected { peer } => {
                self.position(|held| matches!(held, NetworkEvent::Connected { peer: other } if other == peer))
            }
            _ => None,
        };
        match undone {
            Some(at) => {
                self.held.remove(at);
            }
            None => self.held.push_back(event),
        }
    }

    fn position(&self, is_it: impl Fn(&NetworkEvent) -> bool) -> Option<usize> {
        self.held.iter().position(is_it)
    }

    /// Delivers what waits; returns whether nothing waits any more.
    pub(crate) fn flush(&mut self) -> bool {
        while let Some(event) = self.held.pop_front() {
            if let Err(event) = self.sink.deliver(event) {
                self.held.push_front(event);
                return false;
            }
        }
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_sync::{GossipId, PeerId, RequestFailure, RequestId, Topic};
    use tokio::sync::mpsc;

    fn peer(id: u8) -> PeerId {
        PeerId::new(vec![id]).unwrap()
    }

    fn connected(id: u8) -> NetworkEvent {
        NetworkEvent::Connected { peer: peer(id) }
    }

    fn disconnected(id: u8) -> NetworkEvent {
        NetworkEvent::Disconnected { peer: peer(id) }
    }

    fn response(id: u64) -> NetworkEvent {
        let outcome = Err(RequestFailure::Timeout);
        NetworkEvent::Response { id: RequestId(id), from: peer(1), outcome }
    }

    fn gossip() -> NetworkEvent {
        NetworkEvent::Gossip { topic: Topic::Blocks, from: peer(1), id: GossipId(1), bytes: vec![] }
    }

    fn drain(receiver: &mut mpsc::Receiver<NetworkEvent>) -> Vec<NetworkEvent> {
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    #[test]
    fn what_is_owed_arrives_in_order_and_hints_are_lost() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut inbox = Inbox::new(Arc::new(sender));
        inbox.owe(connected(1));
        inbox.owe(response(1));
        inbox.owe(response(2));
        assert!(!inbox.offer(gossip()));
        assert_eq!(drain(&mut receiver), [connected(1)]);
        assert!(!inbox.offer(gossip()), "a response goes first");
        assert_eq!(drain(&mut receiver), [response(1)]);
        inbox.flush();
        assert_eq!(drain(&mut receiver), [response(2)]);
        assert!(inbox.is_empty() && inbox.offer(gossip()));
    }

    #[test]
    fn a_flapping_peer_leaves_no_trail() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut inbox = Inbox::new(Arc::new(sender));
        inbox.owe(connected(1));
        for _ in 0..1_000 {
            inbox.owe(disconnected(1));
            inbox.owe(connected(1));
            inbox.owe(connected(2));
            inbox.owe(disconnected(2));
        }
        inbox.owe(disconnected(1));
        assert_eq!(inbox.held.len(), 1);
        assert_eq!(drain(&mut receiver), [connected(1)]);
        inbox.flush();
        assert_eq!(drain(&mut receiver), [disconnected(1)]);
    }

    #[test]
    fn a_listener_that_is_gone_blocks_nothing() {
        let (sender, receiver) = mpsc::channel(1);
        drop(receiver);
        let mut inbox = Inbox::new(Arc::new(sender));
        for id in 0..100 {
            inbox.owe(response(id));
        }
        assert!(inbox.is_empty());
    }
}
