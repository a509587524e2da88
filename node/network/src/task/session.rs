//! What the task knows of a connected peer.

use crate::NetworkLimits;
use crate::convert::is_relayed;
use crate::counters::index;
use crate::rate::TokenBucket;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use purlin_sync::{PeerInfo, Topic};
use std::collections::BTreeMap;

/// Offences of one kind are charged at most once in this time: one burst is one offence.
const FLOOD_MS: u64 = 1_000;
/// Longest text of a peer that is kept.
const AGENT_CHARS_MAX: usize = 64;

/// A connection that tested an address is closed after this time: the test takes a few round trips.
const DIAL_BACK_MS: u64 = 5_000;

/// Returns whether this node dialled to test an address for a peer (AutoNAT): nothing else asks for a port of its own.
pub(crate) fn is_dial_back(endpoint: &ConnectedPoint) -> bool {
    matches!(endpoint, ConnectedPoint::Dialer { port_use: PortUse::New, .. })
}

/// How far a peer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Has not said who it is.
    Unidentified,
    /// Of this chain; announced as connected.
    Ours,
    /// Some other libp2p node.
    Foreign,
}

#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) address: Multiaddr,
    outbound: bool,
    relayed: bool,
    /// Whether this node opened it to test an address for the peer.
    dial_back: bool,
    opened_ms: u64,
    /// When it was opened or last answered a ping.
    pub(crate) heard_ms: u64,
    /// Whether the peer answers pings at all.
    pub(crate) answers: bool,
}

/// A connected peer.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) links: BTreeMap<ConnectionId, Link>,
    pub(crate) since_ms: u64,
    pub(crate) stage: Stage,
    agent: String,
    serves_dht: bool,
    pub(crate) ping_us: Option<u64>,
    messages: [TokenBucket; Topic::ALL.len()],
    bytes: [TokenBucket; Topic::ALL.len()],
    requests: TokenBucket,
    flooded_ms: Option<u64>,
}

impl Session {
    pub(crate) fn new(limits: &NetworkLimits, now_ms: u64) -> Self {
        let messages = |topic| TokenBucket::new(limits.gossip_messages_per_second.of(topic), now_ms);
        let bytes = TokenBucket::new(limits.gossip_bytes_per_second, now_ms);
        Self {
            links: BTreeMap::new(),
            since_ms: now_ms,
            stage: Stage::Unidentified,
            agent: String::new(),
            serves_dht: false,
            ping_us: None,
            messages: Topic::ALL.map(messages),
            bytes: std::array::from_fn(|_| bytes.clone()),
            requests: TokenBucket::new(limits.requests_per_second, now_ms),
            flooded_ms: None,
        }
    }

    pub(crate) fn open(&mut self, id: ConnectionId, endpoint: &ConnectedPoint, now_ms: u64) {
        let address = endpoint.get_remote_address().clone();
        let relayed = endpoint.is_relayed() || is_relayed(&address);
        let outbound = endpoint.is_dialer();
        let dial_back = is_dial_back(endpoint);
        let link = Link {
            address,
            outbound,
            relayed,
            dial_back,
            opened_ms: now_ms,
            heard_ms: now_ms,
            answers: true,
        };
        self.links.insert(id, link);
    }

    /// Returns connections that tested an address for the peer and have no other use.
    pub(crate) fn spent_dial_backs(&self, now_ms: u64) -> impl Iterator<Item = ConnectionId> {
        let has_other = self.links.values().any(|link| !link.dial_back);
        let is_spent = move |link: &Link| {
            has_other && link.dial_back && now_ms.saturating_sub(link.opened_ms) >= DIAL_BACK_MS
        };
        self.links.iter().filter(move |(_, link)| is_spent(link)).map(|(id, _)| *id)
    }

    /// Returns whether a connection leads to the peer through a relay.
    pub(crate) fn is_relayed(&self) -> bool {
        self.links.values().any(|link| link.relayed)
    }

    /// Keeps what a peer says of itself, without what could confuse a terminal; returns whether it serves the DHT and did
    /// not before.
    pub(crate) fn identify(&mut self, agent: &str, serves_dht: bool) -> bool {
        self.agent = agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS_MAX).collect();
        serves_dht && !std::mem::replace(&mut self.serves_dht, serves_dht)
    }

    /// Returns whether this node chose the peer. A dial-back is the peer's wish: it must not fill the outbound quota.
    pub(crate) fn is_outbound(&self) -> bool {
        self.links.values().any(|link| link.outbound && !link.dial_back)
    }

    /// Returns the addresses that led to the peer.
    pub(crate) fn dialled(&self) -> impl Iterator<Item = &Multiaddr> {
        self.links.values().filter(|link| link.outbound).map(|link| &link.address)
    }

    /// Returns whether the peer may gossip that much now.
    pub(crate) fn may_gossip(&mut self, topic: Topic, bytes: usize, now_ms: u64) -> bool {
        let at = index(topic);
        self.messages[at].take(1, now_ms) && self.bytes[at].take(bytes as u64, now_ms)
    }

    /// Returns whether the peer may ask now.
    pub(crate) fn may_request(&mut self, now_ms: u64) -> bool {
        self.requests.take(1, now_ms)
    }

    /// Returns whether going over a limit now is an offence of its own.
    pub(crate) fn begins_flood(&mut self, now_ms: u64) -> bool {
        let begins = self.flooded_ms.is_none_or(|at| now_ms.saturating_sub(at) >= FLOOD_MS);
        if begins {
            self.flooded_ms = Some(now_ms);
        }
        begins
    }

    pub(crate) fn info(&self, peer: &PeerId, score: i32) -> PeerInfo {
        PeerInfo {
            id: crate::convert::to_peer_id(peer),
            addresses: self.links.values().map(|link| link.address.to_string()).collect(),
            outbound: self.is_outbound(),
            agent: self.agent.clone(),
            score,
            ping_us: self.ping_us,
            relayed: self.links.values().all(|link| link.relayed),
        }
    }
}
