//! The network port of one node: keeps what the node wants sent until the world carries it.

use parking_lot::Mutex;
use purlin_sync::{GossipId, GossipVerdict, InboundId, Network, Offence, PeerId, PeerInfo, RequestId, Topic};
use std::collections::BTreeSet;

/// What a node told its network.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    Publish { topic: Topic, bytes: Vec<u8> },
    Judge { id: GossipId, verdict: GossipVerdict },
    Ask { peer: usize, id: RequestId, bytes: Vec<u8> },
    Answer { id: InboundId, bytes: Option<Vec<u8>> },
    Report { peer: usize, offence: Offence },
}

/// The network as one node sees it.
#[derive(Debug, Default)]
pub(crate) struct Link {
    outputs: Mutex<Vec<Output>>,
    connected: Mutex<BTreeSet<usize>>,
}

/// Names a node among peers.
pub(crate) fn peer_id(node: usize) -> PeerId {
    PeerId::new(vec![b'n', node as u8]).expect("two bytes are a short name")
}

/// Returns which node a peer is; none for a name that no node has.
pub(crate) fn node_of(peer: &PeerId) -> Option<usize> {
    match peer.as_bytes() {
        [b'n', node] => Some(usize::from(*node)),
        _ => None,
    }
}

impl Link {
    /// Takes what the node said since.
    pub(crate) fn take(&self) -> Vec<Output> {
        std::mem::take(&mut *self.outputs.lock())
    }

    pub(crate) fn connect(&self, peer: usize) -> bool {
        self.connected.lock().insert(peer)
    }

    pub(crate) fn disconnect(&self, peer: usize) -> bool {
        self.connected.lock().remove(&peer)
    }

    pub(crate) fn connected(&self) -> Vec<usize> {
        self.connected.lock().iter().copied().collect()
    }

    pub(crate) fn is_connected(&self, peer: usize) -> bool {
        self.connected.lock().contains(&peer)
    }

    fn put(&self, output: Output) {
        self.outputs.lock().push(output);
    }
}

impl Network for Link {
    fn publish(&self, topic: Topic, bytes: Vec<u8>) {
        self.put(Output::Publish { topic, bytes });
    }

    fn judge(&self, id: GossipId, verdict: GossipVerdict) {
        self.put(Output::Judge { id, verdict });
    }

    fn request(&self, peer: &PeerId, id: RequestId, bytes: Vec<u8>) {
        // A name that no node has is as good as a node that is not there.
        let peer = node_of(peer).unwrap_or(usize::MAX);
        self.put(Output::Ask { peer, id, bytes });
    }

    fn respond(&self, id: InboundId, bytes: Option<Vec<u8>>) {
        self.put(Output::Answer { id, bytes });
    }

    fn report(&self, peer: &PeerId, offence: Offence) {
        if let Some(peer) = node_of(peer) {
            self.put(Output::Report { peer, offence });
        }
    }

    fn peers(&self) -> Vec<PeerInfo> {
        let info = |peer: usize| PeerInfo {
            id: peer_id(peer),
            addresses: Vec::new(),
            outbound: true,
            agent: "simulation".to_owned(),
            score: 0,
            ping_us: None,
            relayed: false,
        };
        self.connected().into_iter().map(info).collect()
    }
}
