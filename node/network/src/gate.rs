//! Decides who may connect, before anything else sees the connection.
//!
//! One behaviour instead of libp2p's limits and lists: a subnet limit needs the same bookkeeping, and libp2p's limits
//! keep an entry for every peer id they ever saw.

use crate::convert::{ip_of, is_local};
use crate::{NetworkError, NetworkLimits};
use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint, Multiaddr};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};

/// Why a connection was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the peer is banned")]
    Banned,
    #[error("the peer is on the deny list")]
    Denied,
    #[error("the peer is not on the allow list")]
    NotAllowed,
    #[error("too many handshakes are under way")]
    Pending,
    #[error("too many inbound connections")]
    Inbound,
    #[error("too many outbound connections")]
    Outbound,
    #[error("too many connections with this peer")]
    PerPeer,
    #[error("too many connections from this subnet")]
    Subnet,
}

/// An IPv4 /24 or an IPv6 /48.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Subnet([u8; 6]);

impl Subnet {
    /// Returns the subnet; `None` for what is not counted: names, relayed, loopback and private addresses.
    fn of(address: &Multiaddr) -> Option<Self> {
        let ip = ip_of(address)?;
        if is_local(ip) || crate::convert::is_relayed(address) {
            return None;
        }
        let mut bytes = [0; 6];
        match ip {
            // The first bytes of no global unicast IPv6 address are zero, so the two kinds never meet.
            IpAddr::V4(ip) => bytes[3..].copy_from_slice(&ip.octets()[..3]),
            IpAddr::V6(ip) => bytes.copy_from_slice(&ip.octets()[..6]),
        }
        Some(Self(bytes))
    }
}

#[derive(Debug)]
struct Link {
    peer: PeerId,
    inbound: bool,
    subnet: Option<Subnet>,
}

/// Counts connections and knows the lists.
pub(crate) struct Gate {
    limits: NetworkLimits,
    allowed: BTreeSet<PeerId>,
    denied: BTreeSet<PeerId>,
    reserved: BTreeSet<PeerId>,
    banned: BTreeSet<PeerId>,
    pending_inbound: HashSet<ConnectionId>,
    pending_outbound: HashSet<ConnectionId>,
    links: HashMap<ConnectionId, Link>,
    per_peer: BTreeMap<PeerId, u32>,
    per_subnet: BTreeMap<Subnet, u32>,
    inbound: u32,
    outbound: u32,
}

impl Gate {
    pub(crate) fn new(
        limits: &NetworkLimits,
        allowed: &[String],
        denied: &[String],
        reserved: BTreeSet<PeerId>,
    ) -> Result<Self, NetworkError> {
        Ok(Self {
            limits: limits.clone(),
            allowed: parse_ids(allowed, "the allow list")?,
            denied: parse_ids(denied, "the deny list")?,
            reserved,
            banned: BTreeSet::new(),
            pending_inbound: HashSet::new(),
            pending_outbound: HashSet::new(),
            links: HashMap::new(),
            per_peer: BTreeMap::new(),
            per_subnet: BTreeMap::new(),
            inbound: 0,
            outbound: 0,
        })
    }

    pub(crate) fn ban(&mut self, peer: PeerId) {
        self.banned.insert(peer);
    }

    pub(crate) fn pardon(&mut self, peer: &PeerId) {
        self.banned.remove(peer);
    }

    pub(crate) fn is_reserved(&self, peer: &PeerId) -> bool {
        self.reserved.contains(peer)
    }

    /// Judges who it is.
    fn check_peer(&self, peer: &PeerId) -> Result<(), Refusal> {
        if self.denied.contains(peer) {
            return Err(Refusal::Denied);
        }
        if self.reserved.contains(peer) {
            return Ok(());
        }
        if self.banned.contains(peer) {
            return Err(Refusal::Banned);
        }
        if !self.allowed.is_empty() && !self.allowed.contains(peer) {
            return Err(Refusal::NotAllowed);
        }
        Ok(())
    }

    fn check_subnet(&self, address: &Multiaddr) -> Result<(), Refusal> {
        match Subnet::of(address).and_then(|subnet| self.per_subnet.get(&subnet)) {
            Some(count) if *count >= self.limits.per_subnet_max => Err(Refusal::Subnet),
            _ => Ok(()),
        }
    }

    fn check_per_peer(&self, peer: &PeerId) -> Result<(), Refusal> {
        let count = self.per_peer.get(peer).copied().unwrap_or(0);
        if count < self.limits.per_peer_max { Ok(()) } else { Err(Refusal::PerPeer) }
    }

    fn check_inbound(&self, peer: &PeerId, address: &Multiaddr) -> Result<(), Refusal> {
        self.check_peer(peer)?;
        self.check_per_peer(peer)?;
        if self.reserved.contains(peer) {
            return Ok(());
        }
        if self.inbound >= self.limits.inbound_max {
            return Err(Refusal::Inbound);
        }
        self.check_subnet(address)
    }

    fn check_outbound(&self, peer: &PeerId) -> Result<(), Refusal> {
        self.check_peer(peer)?;
        self.check_per_peer(peer)?;
        if self.outbound >= self.limits.outbound_max && !self.reserved.contains(peer) {
            return Err(Refusal::Outbound);
        }
        Ok(())
    }

    fn opened(&mut self, id: ConnectionId, peer: PeerId, endpoint: &ConnectedPoint) {
        let inbound = endpoint.is_listener();
        let subnet = inbound.then(|| Subnet::of(endpoint.get_remote_address())).flatten();
        *self.per_peer.entry(peer).or_default() += 1;
        if let Some(subnet) = subnet {
            *self.per_subnet.entry(subnet).or_default() += 1;
        }
        if inbound {
            self.inbound += 1;
        } else {
            self.outbound += 1;
        }
        self.links.insert(id, Link { peer, inbound, subnet });
    }

    fn closed(&mut self, id: &ConnectionId) {
        let Some(link) = self.links.remove(id) else { return };
        decrement(&mut self.per_peer, &link.peer);
        if let Some(subnet) = link.subnet {
            decrement(&mut self.per_subnet, &subnet);
        }
        if link.inbound {
            self.inbound -= 1;
        } else {
            self.outbound -= 1;
        }
    }
}

fn decrement<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn parse_ids(ids: &[String], purpose: &'static str) -> Result<BTreeSet<PeerId>, NetworkError> {
    let parse = |id: &String| {
        id.parse().map_err(|error: libp2p::identity::ParseError| NetworkError::Address {
            address: id.clone(),
            purpose,
            reason: error.to_string(),
            example: "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
        })
    };
    ids.iter().map(parse).collect()
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.pending_inbound.len() >= self.limits.pending_max as usize {
            return Err(ConnectionDenied::new(Refusal::Pending));
        }
        self.check_subnet(remote).map_err(ConnectionDenied::new)?;
        self.pending_inbound.insert(id);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending_inbound.remove(&id);
        self.check_inbound(&peer, remote).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let is_reserved = peer.is_some_and(|peer| self.reserved.contains(&peer));
        if self.pending_outbound.len() >= self.limits.pending_max as usize && !is_reserved {
            return Err(ConnectionDenied::new(Refusal::Pending));
        }
        if let Some(peer) = peer {
            self.check_outbound(&peer).map_err(ConnectionDenied::new)?;
        }
        self.pending_outbound.insert(id);
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending_outbound.remove(&id);
        self.check_outbound(&peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                self.opened(event.connection_id, event.peer_id, event.endpoint);
            }
            FromSwarm::ConnectionClosed(event) => self.closed(&event.connection_id),
            FromSwarm::DialFailure(event) => {
                self.pending_outbound.remove(&event.connection_id);
            }
            FromSwarm::ListenFailure(event) => {
                self.pending_inbound.remove(&event.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(limits: NetworkLimits, reserved: &[PeerId]) -> Gate {
        Gate::new(&limits, &[], &[], reserved.iter().copied().collect()).unwrap()
    }

    fn listener(from: &str) -> ConnectedPoint {
        ConnectedPoint::Listener {
            local_addr: "/ip4/192.0.2.1/tcp/1".parse().unwrap(),
            send_back_addr: from.parse().unwrap(),
        }
    }

    fn enter(gate: &mut Gate, id: usize, peer: PeerId, from: &str) -> Result<(), Refusal> {
        let endpoint = listener(from);
        gate.check_inbound(&peer, endpoint.get_remote_address())?;
        gate.opened(ConnectionId::new_unchecked(id), peer, &endpoint);
        Ok(())
    }

    #[test]
    fn one_subnet_does_not_fill_the_node() {
        let limits = NetworkLimits { per_subnet_max: 2, ..NetworkLimits::default() };
        let mut gate = gate(limits, &[]);
        assert_eq!(enter(&mut gate, 1, PeerId::random(), "/ip4/203.0.113.1/tcp/1"), Ok(()));
        assert_eq!(enter(&mut gate, 2, PeerId::random(), "/ip4/203.0.113.2/tcp/1"), Ok(()));
        assert_eq!(enter(&mut gate, 3, PeerId::random(), "/ip4/203.0.113.3/tcp/1"), Err(Refusal::Subnet));
        assert_eq!(enter(&mut gate, 4, PeerId::random(), "/ip4/203.0.114.3/tcp/1"), Ok(()));
        for id in 10..20 {
            assert_eq!(enter(&mut gate, id, PeerId::random(), "/ip4/192.168.1.3/tcp/1"), Ok(()), "private");
        }
        gate.closed(&ConnectionId::new_unchecked(1));
        assert_eq!(enter(&mut gate, 5, PeerId::random(), "/ip4/203.0.113.3/tcp/1"), Ok(()));
    }

    #[test]
    fn inbound_connections_are_limited_except_for_reserved_peers() {
        let friend = PeerId::random();
        let limits = NetworkLimits { inbound_max: 1, ..NetworkLimits::default() };
        let mut gate = gate(limits, &[friend]);
        assert_eq!(enter(&mut gate, 1, PeerId::random(), "/ip4/127.0.0.1/tcp/1"), Ok(()));
        assert_eq!(enter(&mut gate, 2, PeerId::random(), "/ip4/127.0.0.1/tcp/1"), Err(Refusal::Inbound));
        assert_eq!(enter(&mut gate, 3, friend, "/ip4/127.0.0.1/tcp/1"), Ok(()));
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let mut gate = gate(NetworkLimits::default(), &[]);
        for id in 0..100 {
            assert_eq!(enter(&mut gate, id, PeerId::random(), "/ip4/203.0.113.1/tcp/1"), Ok(()));
            gate.closed(&ConnectionId::new_unchecked(id));
        }
        assert!(gate.per_peer.is_empty() && gate.per_subnet.is_empty() && gate.links.is_empty());
    }

    #[test]
    fn lists_are_obeyed() {
        let (friend, stranger, enemy) = (PeerId::random(), PeerId::random(), PeerId::random());
        let mut gate = Gate::new(
            &NetworkLimits::default(),
            &[friend.to_base58(), enemy.to_base58()],
            &[enemy.to_base58()],
            BTreeSet::new(),
        )
        .unwrap();
        assert_eq!(gate.check_peer(&friend), Ok(()));
        assert_eq!(gate.check_peer(&stranger), Err(Refusal::NotAllowed));
        assert_eq!(gate.check_peer(&enemy), Err(Refusal::Denied));
        gate.ban(friend);
        assert_eq!(gate.check_peer(&friend), Err(Refusal::Banned));
        gate.pardon(&friend);
        assert_eq!(gate.check_peer(&friend), Ok(()));
    }
}
