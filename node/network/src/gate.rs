//! Decides who may connect, before anything else sees the connection.
//!
//! One behaviour instead of libp2p's limits and lists: a subnet limit needs the same bookkeeping, and libp2p's limits
//! keep an entry for every peer id they ever saw.

use crate::convert::{ip_of, is_local, is_relayed, parse_id};
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
    #[error("too many connections with this subnet")]
    Subnet,
    #[error("the peer is outside, and the address inside this network")]
    Inside,
}

/// Connections by which this node tests addresses for its peers at one time. Above what a seed needs whose peers all
/// come back at once: a refused test tells a peer that it cannot be reached.
const DIAL_BACKS_MAX: u32 = 128;

/// An IPv4 /24 or an IPv6 /48.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Subnet([u8; 6]);

impl Subnet {
    /// Returns the subnet; `None` for what is not counted: names, relayed, loopback and private addresses.
    fn of(address: &Multiaddr) -> Option<Self> {
        let ip = ip_of(address)?;
        if is_local(ip) || is_relayed(address) {
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
    kind: Kind,
    subnet: Option<Subnet>,
    /// Whether the peer was seen at a public address.
    is_outside: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inbound,
    Outbound,
    /// Tests an address for the peer. It has a count of its own, so that peers cannot use up the outbound quota.
    DialBack,
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
    outbound_per_subnet: BTreeMap<Subnet, u32>,
    inbound: u32,
    outbound: u32,
    dial_backs: u32,
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
            outbound_per_subnet: BTreeMap::new(),
            inbound: 0,
            outbound: 0,
            dial_backs: 0,
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

    /// Judges a dial before it begins. A second connection to a peer tests an address or replaces a relay; which, is
    /// known when it stands.
    fn check_dial(&self, peer: &PeerId, addresses: &[Multiaddr]) -> Result<(), Refusal> {
        self.check_peer(peer)?;
        self.check_per_peer(peer)?;
        if !self.per_peer.contains_key(peer) {
            return self.check_outbound_quota(peer);
        }
        // Otherwise a stranger could have this node knock at the doors of its own neighbours.
        let is_outside = self.links.values().filter(|link| link.peer == *peer).all(|link| link.is_outside);
        let leads_inside = |address: &Multiaddr| ip_of(address).is_some_and(is_local);
        if is_outside && !addresses.is_empty() && addresses.iter().all(leads_inside) {
            return Err(Refusal::Inside);
        }
        Ok(())
    }

    fn check_outbound_quota(&self, peer: &PeerId) -> Result<(), Refusal> {
        if self.outbound >= self.limits.outbound_max && !self.reserved.contains(peer) {
            return Err(Refusal::Outbound);
        }
        Ok(())
    }

    fn check_outbound(&self, peer: &PeerId, address: &Multiaddr, port: PortUse) -> Result<(), Refusal> {
        self.check_peer(peer)?;
        self.check_per_peer(peer)?;
        if port == PortUse::New {
            return if self.dial_backs < DIAL_BACKS_MAX { Ok(()) } else { Err(Refusal::Outbound) };
        }
        self.check_outbound_quota(peer)?;
        let is_free = self.has_room_outbound(address) || self.reserved.contains(peer);
        if is_free { Ok(()) } else { Err(Refusal::Subnet) }
    }

    fn has_room_outbound(&self, address: &Multiaddr) -> bool {
        let count = Subnet::of(address).and_then(|subnet| self.outbound_per_subnet.get(&subnet));
        count.is_none_or(|count| *count < self.limits.outbound_per_subnet_max)
    }

    /// Returns whether a dial to one of the addresses would leave the outbound peers diverse enough.
    pub(crate) fn is_diverse(&self, peer: &PeerId, addresses: &[Multiaddr]) -> bool {
        self.reserved.contains(peer) || addresses.iter().any(|address| self.has_room_outbound(address))
    }

    fn opened(&mut self, id: ConnectionId, peer: PeerId, endpoint: &ConnectedPoint) {
        let kind = match endpoint {
            ConnectedPoint::Listener { .. } => Kind::Inbound,
            ConnectedPoint::Dialer { port_use: PortUse::New, .. } => Kind::DialBack,
            ConnectedPoint::Dialer { .. } => Kind::Outbound,
        };
        let address = endpoint.get_remote_address();
        let subnet = Subnet::of(address);
        let is_outside = ip_of(address).is_some_and(|ip| !is_local(ip)) && !is_relayed(address);
        *self.per_peer.entry(peer).or_default() += 1;
        let (count, per_subnet) = self.counts(kind);
        *count += 1;
        if let (Some(per_subnet), Some(subnet)) = (per_subnet, subnet) {
            *per_subnet.entry(subnet).or_default() += 1;
        }
        self.links.insert(id, Link { peer, kind, subnet, is_outside });
    }

    fn counts(&mut self, kind: Kind) -> (&mut u32, Option<&mut BTreeMap<Subnet, u32>>) {
        match kind {
            Kind::Inbound => (&mut self.inbound, Some(&mut self.per_subnet)),
            Kind::Outbound => (&mut self.outbound, Some(&mut self.outbound_per_subnet)),
            Kind::DialBack => (&mut self.dial_backs, None),
        }
    }

    fn closed(&mut self, id: &ConnectionId) {
        let Some(link) = self.links.remove(id) else { return };
        decrement(&mut self.per_peer, &link.peer);
        let (count, per_subnet) = self.counts(link.kind);
        *count -= 1;
        if let (Some(per_subnet), Some(subnet)) = (per_subnet, link.subnet) {
            decrement(per_subnet, &subnet);
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
    ids.iter().map(|id| parse_id(id, purpose)).collect()
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
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let is_reserved = peer.is_some_and(|peer| self.reserved.contains(&peer));
        if self.pending_outbound.len() >= self.limits.pending_max as usize && !is_reserved {
            return Err(ConnectionDenied::new(Refusal::Pending));
        }
        if let Some(peer) = peer {
            self.check_dial(&peer, addresses).map_err(ConnectionDenied::new)?;
        }
        self.pending_outbound.insert(id);
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending_outbound.remove(&id);
        self.check_outbound(&peer, address, port).map_err(ConnectionDenied::new)?;
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
mod tests;
