//! The port as its users see it: hands over and returns at once.

use crate::counters::{Counts, NetworkCounters};
use crate::inbox::NetworkSink;
use crate::outbox::{Batch, Command, Full, Outbox};
use parking_lot::{Mutex, RwLock};
use purlin_sync::{
    GossipId, GossipVerdict, InboundId, Network, NetworkEvent, Offence, PeerId, PeerInfo, RequestFailure,
    RequestId, Topic,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// What the task shows.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) peers: BTreeMap<PeerId, PeerInfo>,
    pub(crate) listening: Vec<String>,
    pub(crate) external: Vec<String>,
}

/// Shared between the task and the handles.
pub(crate) struct Shared {
    /// `None` once the task has ended.
    outbox: Mutex<Option<Outbox>>,
    pub(crate) wake: Notify,
    pub(crate) counts: Counts,
    pub(crate) view: RwLock<View>,
    sink: Arc<dyn NetworkSink>,
}

impl Shared {
    pub(crate) fn new(outbox: Outbox, sink: Arc<dyn NetworkSink>) -> Self {
        Self {
            outbox: Mutex::new(Some(outbox)),
            wake: Notify::new(),
            counts: Counts::default(),
            view: RwLock::default(),
            sink,
        }
    }

    pub(crate) fn take(&self) -> Batch {
        self.outbox.lock().as_mut().map(Outbox::take).unwrap_or_default()
    }

    /// Takes nothing from now on; returns what was left.
    pub(crate) fn close(&self) -> Option<Outbox> {
        self.outbox.lock().take()
    }

    /// Hands over, unless the task has ended.
    fn with_outbox<T>(&self, hand_over: impl FnOnce(&mut Outbox) -> T) -> Option<T> {
        let result = self.outbox.lock().as_mut().map(hand_over);
        self.wake.notify_one();
        result
    }

    fn command(&self, command: Command) {
        if let Some(Err(_)) = self.with_outbox(|outbox| outbox.command(command)) {
            self.counts.peers.commands_dropped.one();
        }
    }
}

/// Talks to a running network. Cheap to clone; outlives the network, and then does nothing.
#[derive(Clone)]
pub struct NetworkHandle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer_id: PeerId,
}

impl NetworkHandle {
    /// Returns what peers call this node.
    pub const fn peer_id(&self) -> &PeerId {
        &self.peer_id
    }

    /// Returns the addresses this node listens on, without its id.
    pub fn listen_addresses(&self) -> Vec<String> {
        self.shared.view.read().listening.clone()
    }

    /// Returns the addresses at which others are known to reach this node.
    pub fn external_addresses(&self) -> Vec<String> {
        self.shared.view.read().external.clone()
    }

    /// Returns what has happened since the start.
    pub fn counters(&self) -> NetworkCounters {
        self.shared.counts.snapshot()
    }
}

impl Network for NetworkHandle {
    /// Gossips to the mesh. Messages are told apart by content: the very same bytes on the same topic are not sent
    /// again within 30 seconds, so who repeats itself on purpose changes a byte.
    fn publish(&self, topic: Topic, bytes: Vec<u8>) {
        if bytes.len() > topic.bytes_max() {
            tracing::warn!(
                topic = topic.name(),
                bytes = bytes.len(),
                "a message above the limit is not sent"
            );
            self.shared.counts.topic(topic).dropped.one();
            return;
        }
        let dropped = self.shared.with_outbox(|outbox| outbox.publish(topic, bytes)).unwrap_or_default();
        for topic in dropped {
            self.shared.counts.topic(topic).dropped.one();
        }
    }

    fn judge(&self, id: GossipId, verdict: GossipVerdict) {
        self.shared.command(Command::Judge { id, verdict });
    }

    /// Asks a peer; ends in one [`NetworkEvent::Response`]. After the network has ended that event comes from the
    /// caller's own thread, once, whether or not there is room for it.
    fn request(&self, peer: &PeerId, id: RequestId, bytes: Vec<u8>) {
        let command = Command::Request { peer: peer.clone(), id, bytes };
        let taken = self.shared.with_outbox(|outbox| {
            if let Err(Full(_)) = outbox.command(command) {
                outbox.refuse(peer.clone(), id);
            }
        });
        if taken.is_none() {
            let outcome = Err(RequestFailure::Disconnected);
            // A sink that is full belongs to a user who has stopped listening to a network that has stopped.
            let _ = self.shared.sink.deliver(NetworkEvent::Response { id, from: peer.clone(), outcome });
        }
    }

    fn respond(&self, id: InboundId, bytes: Option<Vec<u8>>) {
        self.shared.command(Command::Respond { id, bytes });
    }

    fn report(&self, peer: &PeerId, offence: Offence) {
        self.shared.command(Command::Report { peer: peer.clone(), offence });
    }

    fn peers(&self) -> Vec<PeerInfo> {
        self.shared.view.read().peers.values().cloned().collect()
    }
}
