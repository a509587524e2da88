//! Nodes on loopback, and what arrived at them.

use purlin_network::{Identity, NetworkConfig, NetworkCounters, NetworkHandle, NetworkService, Reachability};
use purlin_sync::{
    GossipId, GossipVerdict, InboundId, Network, NetworkEvent, PeerId, PeerInfo, RequestFailure, RequestId,
    Topic,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Everything waited for happens in a fraction of it, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const GENESIS: [u8; 32] = [7; 32];
const EVENTS_MAX: usize = 4_096;

/// A configuration that listens on loopback.
pub(crate) fn config() -> NetworkConfig {
    config_of(Identity::generate())
}

pub(crate) fn config_of(identity: Identity) -> NetworkConfig {
    NetworkConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        reachability: Reachability::Reachable,
        ..NetworkConfig::new(identity, GENESIS)
    }
}

/// A running node and the events that nobody has looked at yet.
pub(crate) struct Node {
    pub(crate) service: NetworkService,
    pub(crate) net: NetworkHandle,
    receiver: mpsc::Receiver<NetworkEvent>,
    seen: VecDeque<NetworkEvent>,
}

impl Node {
    pub(crate) async fn start(config: NetworkConfig) -> Self {
        Self::start_with_room(config, EVENTS_MAX).await
    }

    /// Starts with room for so many events at the sink.
    pub(crate) async fn start_with_room(config: NetworkConfig, room: usize) -> Self {
        let (sink, receiver) = mpsc::channel(room);
        let service = NetworkService::start(config, Arc::new(sink)).await.expect("the network starts");
        let net = service.handle();
        Self { service, net, receiver, seen: VecDeque::new() }
    }

    pub(crate) fn id(&self) -> PeerId {
        self.net.peer_id().clone()
    }

    pub(crate) fn address(&self) -> String {
        format!("{}/p2p/{}", self.net.listen_addresses()[0], self.net.peer_id())
    }

    pub(crate) fn counters(&self) -> NetworkCounters {
        self.net.counters()
    }

    pub(crate) fn peer(&self, id: &PeerId) -> Option<PeerInfo> {
        self.net.peers().into_iter().find(|peer| peer.id == *id)
    }

    /// Waits for the first event that `pick` takes; the others stay for later.
    pub(crate) async fn event<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&NetworkEvent) -> Option<T>,
    ) -> T {
        for at in 0..self.seen.len() {
            if let Some(picked) = pick(&self.seen[at]) {
                self.seen.remove(at);
                return picked;
            }
        }
        let waiting = async {
            while let Some(event) = self.receiver.recv().await {
                match pick(&event) {
                    Some(picked) => return picked,
                    None => self.seen.push_back(event),
                }
            }
            panic!("the network ended while waiting for {what}");
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(picked) => picked,
            Err(_) => panic!("no {what} in time; counters {:?}", self.net.counters()),
        }
    }

    /// Returns the events that are there now and that `pick` takes.
    pub(crate) fn events_now<T>(&mut self, pick: impl FnMut(&NetworkEvent) -> Option<T>) -> Vec<T> {
        while let Ok(event) = self.receiver.try_recv() {
            self.seen.push_back(event);
        }
        self.seen.iter().filter_map(pick).collect()
    }

    pub(crate) async fn connected(&mut self, to: &PeerId) {
        self.event("connection", |event| {
            matches!(event, NetworkEvent::Connected { peer } if peer == to).then_some(())
        })
        .await;
    }

    pub(crate) async fn disconnected(&mut self, from: &PeerId) {
        self.event("disconnection", |event| {
            matches!(event, NetworkEvent::Disconnected { peer } if peer == from).then_some(())
        })
        .await;
    }

    /// Waits for a gossiped message; returns who sent it on, and its id.
    pub(crate) async fn gossip(&mut self, about: Topic, content: &[u8]) -> (PeerId, GossipId) {
        self.event("gossip", |event| match event {
            NetworkEvent::Gossip { topic, from, id, bytes } if *topic == about && bytes == content => {
                Some((from.clone(), *id))
            }
            _ => None,
        })
        .await
    }

    pub(crate) async fn request(&mut self) -> (PeerId, InboundId, Vec<u8>) {
        self.event("request", |event| match event {
            NetworkEvent::Request { from, id, bytes } => Some((from.clone(), *id, bytes.clone())),
            _ => None,
        })
        .await
    }

    pub(crate) async fn response(&mut self, to: RequestId) -> Result<Vec<u8>, RequestFailure> {
        self.event("response", |event| match event {
            NetworkEvent::Response { id, outcome, .. } if *id == to => Some(outcome.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) fn judge(&self, id: GossipId, verdict: GossipVerdict) {
        self.net.judge(id, verdict);
    }

    pub(crate) async fn stop(self) {
        tokio::time::timeout(PATIENCE, self.service.shutdown())
            .await
            .expect("ends in time")
            .expect("did not panic");
    }
}

/// Waits until something is so. Looks every few milliseconds, within [`PATIENCE`].
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(5));
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        look.tick().await;
    }
}

/// Starts two nodes and connects the second to the first.
pub(crate) async fn pair() -> (Node, Node) {
    pair_of(config(), config()).await
}

pub(crate) async fn pair_of(first: NetworkConfig, mut second: NetworkConfig) -> (Node, Node) {
    let mut a = Node::start(first).await;
    second.bootstrap.push(a.address());
    let mut b = Node::start(second).await;
    a.connected(&b.id()).await;
    b.connected(&a.id()).await;
    (a, b)
}

/// Publishes until somebody was there to hear it: subscriptions travel after the connection.
pub(crate) async fn publish(node: &Node, topic: Topic, bytes: &[u8]) {
    let start = Instant::now();
    loop {
        let before = *node.counters().topic(topic);
        node.net.publish(topic, bytes.to_vec());
        until("the message leaves the queue", || {
            let now = *node.counters().topic(topic);
            now.messages_out + now.unheard + now.dropped
                > before.messages_out + before.unheard + before.dropped
        })
        .await;
        if node.counters().topic(topic).unheard == before.unheard {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "nobody ever listened");
    }
}
