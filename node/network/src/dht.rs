//! The DHT, with a limit on what one peer asks of it. libp2p bounds the streams of a connection and not how often they
//! ask, and its events do not say who asked.

use crate::names::Genesis;
use crate::rate::TokenBucket;
use crate::{NetworkConfig, Reachability};
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{PeerId, kad};
use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Messages of the DHT per second of one peer; twice that in a burst. A search asks each peer once or twice.
const MESSAGES_PER_SECOND: u32 = 50;

/// What the DHT tells.
#[derive(Debug)]
pub(crate) enum DhtEvent {
    Kad(kad::Event),
    /// A peer is over its limit; what it sends is dropped.
    Flooded(PeerId),
}

/// Kademlia behind a limit.
pub(crate) struct Dht {
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    start: Instant,
    /// Of connected peers.
    messages: BTreeMap<PeerId, TokenBucket>,
    flooded: BTreeSet<PeerId>,
}

impl Dht {
    pub(crate) fn new(config: &NetworkConfig, genesis: Genesis, peer: PeerId) -> Self {
        Self {
            kad: kad(config, genesis, peer),
            start: Instant::now(),
            messages: BTreeMap::new(),
            flooded: BTreeSet::new(),
        }
    }

    fn may_pass(&mut self, peer: PeerId) -> bool {
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let bucket =
            self.messages.entry(peer).or_insert_with(|| TokenBucket::new(MESSAGES_PER_SECOND, now_ms));
        bucket.take(1, now_ms)
    }
}

/// Finds peers only: records of others are not stored, so that nobody fills this node's memory.
fn kad(config: &NetworkConfig, genesis: Genesis, peer: PeerId) -> kad::Behaviour<MemoryStore> {
    let mut settings = kad::Config::new(genesis.kad());
    settings
        .set_query_timeout(Duration::from_secs(20))
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_periodic_bootstrap_interval(None)
        .set_publication_interval(None)
        .set_replication_interval(None)
        .set_provider_publication_interval(None);
    let store = MemoryStore::with_config(
        peer,
        MemoryStoreConfig { max_records: 0, max_provided_keys: 0, ..MemoryStoreConfig::default() },
    );
    let mut kad = kad::Behaviour::with_config(peer, store, settings);
    kad.set_mode(match config.reachability {
        // A server as soon as one address is known to be reachable.
        Reachability::Detect => None,
        Reachability::Reachable => Some(kad::Mode::Server),
        Reachability::Unreachable => Some(kad::Mode::Client),
    });
    kad
}

impl NetworkBehaviour for Dht {
    type ConnectionHandler = THandler<kad::Behaviour<MemoryStore>>;
    type ToSwarm = DhtEvent;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.kad.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.kad.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad.handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(closed) = &event
            && closed.remaining_established == 0
        {
            self.messages.remove(&closed.peer_id);
        }
        self.kad.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        if self.may_pass(peer) {
            self.kad.on_connection_handler_event(peer, id, event);
        } else {
            self.flooded.insert(peer);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<DhtEvent, THandlerInEvent<Self>>> {
        if let Some(peer) = self.flooded.pop_first() {
            return Poll::Ready(ToSwarm::GenerateEvent(DhtEvent::Flooded(peer)));
        }
        self.kad.poll(context).map(|event| event.map_out(DhtEvent::Kad))
    }
}
