//! The task that owns the swarm. It does no work: it checks sizes and rates, forwards, and keeps the books.

mod gossip;
mod peers;
mod requests;
mod session;
mod upkeep;

use crate::behaviour::{Behaviour, BehaviourEvent};
use crate::book::Book;
use crate::dht::DhtEvent;
use crate::handle::Shared;
use crate::inbox::{Inbox, NetworkSink};
use crate::names::{Genesis, TopicNames};
use crate::outbox::Command;
use crate::standing::Standing;
use crate::store::Store;
use crate::{NetworkConfig, NetworkLimits, Reachability};
use futures::StreamExt;
use gossip::Unjudged;
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, Swarm, kad};
use purlin_sync::RequestFailure;
use requests::Requests;
use session::Session;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
pub(crate) use upkeep::Listener;
use upkeep::Upkeep;

/// Time between looks at what is due.
const TICK: Duration = Duration::from_millis(100);
/// Time between offers of an event that found no room.
const HELD_RETRY: Duration = Duration::from_millis(5);

/// Unix time that does not step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    start_ms: u64,
}

impl Clock {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_ms: millis(since) }
    }

    fn now_ms(&self) -> u64 {
        self.start_ms.saturating_add(millis(self.start.elapsed()))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Everything the network is while it runs.
pub(crate) struct Task {
    swarm: Swarm<Behaviour>,
    shared: Arc<Shared>,
    limits: NetworkLimits,
    genesis: Genesis,
    topics: TopicNames,
    reachability: Reachability,
    clock: Clock,
    inbox: Inbox,
    standing: Standing,
    book: Book,
    sessions: BTreeMap<PeerId, Session>,
    unjudged: Unjudged,
    requests: Requests,
    search: Option<kad::QueryId>,
    upkeep: Upkeep,
}

impl Task {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        config: &NetworkConfig,
        shared: Arc<Shared>,
        sink: Arc<dyn NetworkSink>,
        book: Book,
        listeners: Vec<Listener>,
    ) -> Self {
        let limits = config.limits.clone();
        let clock = Clock::new();
        let mut task = Self {
            swarm,
            shared,
            genesis: Genesis::new(config.genesis),
            topics: TopicNames::new(Genesis::new(config.genesis)),
            reachability: config.reachability,
            clock,
            inbox: Inbox::new(sink),
            standing: Standing::new(
                limits.ban_score,
                millis(limits.ban_duration),
                millis(limits.score_recovery).max(1),
            ),
            book,
            sessions: BTreeMap::new(),
            unjudged: Unjudged::default(),
            requests: Requests::default(),
            search: None,
            upkeep: Upkeep::new(listeners, config.folder.clone().map(Store::new), clock.now_ms()),
            limits,
        };
        task.restore();
        task.show_external();
        task
    }

    /// Runs until it is told to stop, or nobody is left to tell.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let shared = Arc::clone(&self.shared);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut stop => break,
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                () = shared.wake.notified() => self.on_commands(),
                _ = tick.tick() => self.on_tick(),
                () = tokio::time::sleep(HELD_RETRY), if !self.inbox.is_empty() => {
                    self.inbox.flush();
                }
            }
        }
        self.shut_down().await;
    }

    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    fn on_commands(&mut self) {
        let batch = self.shared.take();
        if batch.is_full {
            self.shared.wake.notify_one();
        }
        for (peer, id) in batch.refused {
            self.refuse(peer, id, RequestFailure::Busy);
        }
        for command in batch.commands {
            match command {
                Command::Judge { id, verdict } => self.judge(id, verdict),
                Command::Request { peer, id, bytes } => self.request(peer, id, bytes),
                Command::Respond { id, bytes } => self.respond(id, bytes),
                Command::Report { peer, offence } => {
                    if let Some(peer) = crate::convert::from_peer_id(&peer) {
                        self.charge(peer, offence);
                    }
                }
            }
        }
        for (topic, bytes) in batch.gossip {
            self.publish(topic, bytes);
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let counts = &self.shared.counts.peers;
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                counts.connections.one();
                self.on_opened(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, left = num_established, "connection closed");
                self.on_closed(peer_id, connection_id, num_established);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                counts.inbound_failures.one();
                tracing::debug!(from = %send_back_addr, %error, "inbound connection failed");
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                self.on_dial_failure(peer, &error);
            }
            SwarmEvent::NewListenAddr { listener_id, address } => self.on_listening(listener_id, address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.on_not_listening(&address),
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                self.on_listener_closed(listener_id, &addresses, reason);
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener reports an error; it goes on");
            }
            SwarmEvent::ExternalAddrConfirmed { .. } | SwarmEvent::ExternalAddrExpired { .. } => {
                self.show_external();
            }
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gate(never) => match never {},
            BehaviourEvent::Identify(event) => self.on_identify(event),
            BehaviourEvent::Ping(event) => self.on_ping(&event),
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Requests(event) => self.on_request_event(event),
            BehaviourEvent::Dht(DhtEvent::Kad(event)) => self.on_kad(event),
            BehaviourEvent::Dht(DhtEvent::Flooded(peer)) => self.charge_flood(peer),
            BehaviourEvent::Mdns(event) => self.on_mdns(event),
            BehaviourEvent::RelayClient(event) => tracing::info!(?event, "relay"),
            BehaviourEvent::RelayServer(event) => tracing::debug!(?event, "relaying for others"),
            BehaviourEvent::Dcutr(event) => {
                tracing::info!(peer = %event.remote_peer_id, direct = event.result.is_ok(), "hole punching ended");
            }
            BehaviourEvent::AutonatClient(event) => {
                tracing::debug!(address = %event.tested_addr, reachable = event.result.is_ok(), "dialled back");
            }
            BehaviourEvent::AutonatServer(event) => {
                self.shared.counts.peers.dial_backs.one();
                tracing::debug!(client = %event.client, address = %event.tested_addr, "dialled back for another");
            }
            BehaviourEvent::Upnp(event) => tracing::info!(?event, "port forwarding"),
        }
    }
}
