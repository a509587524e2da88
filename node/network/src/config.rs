//! What a network is told at its start.

use crate::{Identity, NetworkError};
use purlin_sync::Topic;
use std::path::PathBuf;
use std::time::Duration;

/// How a node learns whether others can dial it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reachability {
    /// Find out: an address counts once a node that was asked to dial it did so (AutoNAT), or once anybody connected to
    /// an address of this machine. Loopback and private addresses count for those who live there. Until then the node
    /// is a client of the DHT only.
    #[default]
    Detect,
    /// Every listen address can be dialled: right on one machine, in one LAN and on servers with a public address.
    Reachable,
    /// Nobody can dial it: it never serves the DHT, and does not dial others back for them.
    Unreachable,
}

/// A part that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Runs.
    On,
    /// Does not exist.
    Off,
}

impl Switch {
    pub(crate) fn is_on(self) -> bool {
        self == Self::On
    }
}

/// Everything a network is told. Addresses are multiaddresses such as `/ip4/0.0.0.0/tcp/4001` or
/// `/ip4/0.0.0.0/udp/4001/quic-v1`; those of peers end in `/p2p/<peer id>`.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// The key of this node.
    pub identity: Identity,
    /// The id of the genesis block: nodes of another one are turned away.
    pub genesis: [u8; 32],
    /// What this node says it runs, for people.
    pub agent: String,
    /// Where to listen; port 0 takes a free one. Empty: dials only.
    pub listen: Vec<String>,
    /// Where others reach this node, when that is known (port forwarding).
    pub external: Vec<String>,
    /// Nodes to ask first; dialled while peers are missing.
    pub bootstrap: Vec<String>,
    /// Nodes that are always reconnected, pass the connection limits and are never banned: the operator knows them.
    pub reserved: Vec<String>,
    /// Relays through which this node lets itself be reached. Goes with [`Reachability::Detect`]: a place at a relay
    /// counts as being reachable, so that others find this node through the DHT.
    pub relays: Vec<String>,
    /// Peer ids in base58 that may connect; empty means everybody. Reserved peers always may.
    pub allowed: Vec<String>,
    /// Peer ids in base58 that may not connect.
    pub denied: Vec<String>,
    /// Where peers, anchors and bans are kept over a restart; `None` keeps nothing.
    pub folder: Option<PathBuf>,
    /// The key of a private network: who does not have it cannot even start a handshake. TCP only: QUIC cannot carry
    /// it, so QUIC listen addresses are refused.
    pub pre_shared_key: Option<[u8; 32]>,
    /// Whether others can dial this node.
    pub reachability: Reachability,
    /// Finds nodes of the local network by multicast.
    pub mdns: Switch,
    /// Asks the router to forward a port.
    pub upnp: Switch,
    /// Carries the traffic of nodes that cannot be dialled.
    pub relay_server: Switch,
    /// Tries to replace a relayed connection by a direct one (DCUtR).
    pub hole_punching: Switch,
    /// Limits.
    pub limits: NetworkLimits,
}

impl NetworkConfig {
    /// Returns a quiet configuration: listens nowhere, knows nobody, switches off what talks to strangers or routers.
    pub fn new(identity: Identity, genesis: [u8; 32]) -> Self {
        Self {
            identity,
            genesis,
            agent: concat!("purlin/", env!("CARGO_PKG_VERSION")).to_owned(),
            listen: Vec::new(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            reserved: Vec::new(),
            relays: Vec::new(),
            allowed: Vec::new(),
            denied: Vec::new(),
            folder: None,
            pre_shared_key: None,
            reachability: Reachability::default(),
            mdns: Switch::Off,
            upnp: Switch::Off,
            relay_server: Switch::Off,
            hole_punching: Switch::On,
            limits: NetworkLimits::default(),
        }
    }
}

/// What a network allows others and itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkLimits {
    /// Connections that others opened. Too few and newcomers find no place; each costs about 1 MiB.
    pub inbound_max: u32,
    /// Connections that this node opened: its own quota, so that inbound floods cannot surround it.
    pub outbound_max: u32,
    /// Connections with one peer; a relayed and a direct one exist side by side for a moment, and so do those by which
    /// nodes test each other's addresses (AutoNAT).
    pub per_peer_max: u32,
    /// Handshakes under way in each direction.
    pub pending_max: u32,
    /// Inbound connections from one /24 (IPv4) or /48 (IPv6); loopback and private addresses are not counted.
    pub per_subnet_max: u32,
    /// The same of outbound connections, except with reserved peers: who owns one subnet must not be all that this node
    /// knows of the network.
    pub outbound_per_subnet_max: u32,
    /// Connected nodes that are not of this software; they may use the DHT and nothing else.
    pub foreign_max: u32,
    /// This many outbound peers are kept while addresses are known.
    pub outbound_wanted: u32,
    /// Below this many peers the DHT is searched.
    pub peers_wanted: u32,
    /// Time to shake hands, and then to identify.
    pub handshake_timeout: Duration,
    /// A connection on which no ping was answered for this long is closed, so that the peer is dialled anew: what TCP
    /// thinks of a cable that is back can take minutes. There are three pings in this time.
    pub silence_timeout: Duration,
    /// Time for a request and its answer.
    pub request_timeout: Duration,
    /// Most bytes of a request.
    pub request_bytes_max: usize,
    /// Most bytes of an answer: at least a block with one package in it.
    pub response_bytes_max: usize,
    /// Bytes of requests and answers that are being received at one time, all peers together, each.
    pub buffered_bytes_max: usize,
    /// Requests of this node under way, all peers together; more are answered with `Busy`.
    pub outstanding_max: u32,
    /// Requests under way with one peer, in each direction.
    pub outstanding_per_peer_max: u32,
    /// Requests per second of one peer; twice that in a burst.
    pub requests_per_second: u32,
    /// Gossiped messages per second of one peer, by topic; twice that in a burst.
    pub gossip_messages_per_second: TopicRates,
    /// Gossiped bytes per second of one peer and topic; twice that in a burst.
    pub gossip_bytes_per_second: u32,
    /// Gossiped messages that wait for their verdict.
    pub unjudged_max: usize,
    /// Bytes of gossiped messages that wait for their verdict.
    pub unjudged_bytes_max: usize,
    /// Messages and bytes that wait to be sent; beyond it the lowest priority goes first.
    pub queued_max: usize,
    /// Bytes that wait to be sent.
    pub queued_bytes_max: usize,
    /// At this score a peer is banned.
    pub ban_score: i32,
    /// For this long.
    pub ban_duration: Duration,
    /// A score recovers by one point in this time.
    pub score_recovery: Duration,
}

/// Messages per second, by topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicRates {
    /// Votes and proposals of validators, headers of miners.
    pub consensus: u32,
    /// Announcements of blocks.
    pub blocks: u32,
    /// Transactions, several in a message.
    pub transactions: u32,
}

impl TopicRates {
    /// A hundred validators that vote twice in a round, and five rounds in two seconds, all through one neighbour. A
    /// message costs about 60 us of signature checks: one peer takes at most 3 % of a processor.
    pub const CONSENSUS: u32 = 500;
    /// Two announcements of a block, and more blocks than a disk makes durable in a second.
    pub const BLOCKS: u32 = 500;
    /// More than the transactions a network executes in a second (some 3,000), should each come alone.
    pub const TRANSACTIONS: u32 = 5_000;

    /// Returns the rate of a topic.
    pub const fn of(&self, topic: Topic) -> u32 {
        match topic {
            Topic::Consensus => self.consensus,
            Topic::Blocks => self.blocks,
            Topic::Transactions => self.transactions,
        }
    }
}

impl Default for TopicRates {
    fn default() -> Self {
        Self { consensus: Self::CONSENSUS, blocks: Self::BLOCKS, transactions: Self::TRANSACTIONS }
    }
}

impl Default for NetworkLimits {
    fn default() -> Self {
        Self {
            inbound_max: 64,
            outbound_max: 32,
            per_peer_max: 6,
            pending_max: 64,
            per_subnet_max: 8,
            outbound_per_subnet_max: 4,
            foreign_max: 8,
            outbound_wanted: 8,
            peers_wanted: 16,
            handshake_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(15),
            request_timeout: Duration::from_secs(15),
            request_bytes_max: 1024 * 1024,
            response_bytes_max: 16 * 1024 * 1024,
            buffered_bytes_max: 128 * 1024 * 1024,
            outstanding_max: 512,
            outstanding_per_peer_max: 32,
            requests_per_second: 200,
            gossip_messages_per_second: TopicRates::default(),
            gossip_bytes_per_second: 32 * 1024 * 1024,
            unjudged_max: 16_384,
            unjudged_bytes_max: 64 * 1024 * 1024,
            queued_max: 16_384,
            queued_bytes_max: 64 * 1024 * 1024,
            ban_score: -100,
            ban_duration: Duration::from_secs(3600),
            score_recovery: Duration::from_secs(10),
        }
    }
}

impl NetworkLimits {
    pub(crate) fn check(&self) -> Result<(), NetworkError> {
        let wrong = |setting, value: String, reason| Err(NetworkError::Setting { setting, value, reason });
        if self.outbound_wanted > self.outbound_max {
            return wrong("outbound_wanted", self.outbound_wanted.to_string(), "it is above outbound_max");
        }
        if self.ban_score >= 0 {
            return wrong("ban_score", self.ban_score.to_string(), "it must be below 0, where peers start");
        }
        if self.per_peer_max == 0 {
            return wrong("per_peer_max", "0".to_owned(), "no peer could connect");
        }
        let largest = self.request_bytes_max.max(self.response_bytes_max);
        if self.buffered_bytes_max < largest {
            return wrong(
                "buffered_bytes_max",
                self.buffered_bytes_max.to_string(),
                "the largest message would never fit",
            );
        }
        if u32::try_from(largest).is_err() {
            return wrong("response_bytes_max", largest.to_string(), "lengths have four bytes on the wire");
        }
        let times = [self.handshake_timeout, self.silence_timeout, self.request_timeout, self.score_recovery];
        if times.iter().any(Duration::is_zero) {
            return wrong(
                "handshake_timeout, silence_timeout, request_timeout or score_recovery",
                "0".to_owned(),
                "time passes",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_consistent() {
        NetworkLimits::default().check().unwrap();
    }

    #[test]
    fn contradictions_are_named() {
        let limits = NetworkLimits { outbound_wanted: 99, ..NetworkLimits::default() };
        let error = limits.check().unwrap_err().to_string();
        assert!(error.contains("outbound_wanted") && error.contains("99"), "{error}");
    }
}
