//! The node's connection to others: the network below, the exchange above, and what is between them.

use purlin_network::{Identity, NetworkConfig, NetworkError, NetworkService, NetworkSink, Switch};
use purlin_primitives::BlockId;
use purlin_state::KeyValueStore;
use purlin_sync::{Network, NetworkEvent};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::Core;
use super::driver::{Halt, Outbox, Outgoing};
use super::exchange::Exchange;
use super::inbox::{Event, Inbox};
use crate::config::Settings;
use crate::files::create_private_directory;

/// How often the exchange looks at the time while something waits, and otherwise.
const BUSY_TICK: Duration = Duration::from_millis(10);
const IDLE_TICK: Duration = Duration::from_millis(100);

/// What a node talks to others through.
#[derive(Clone)]
pub struct Peers {
    pub(super) network: Arc<dyn Network>,
    pub(super) inbox: Arc<Inbox>,
}

/// Where a network delivers to; made before the network.
#[derive(Clone, Default)]
pub struct PeerInbox(Arc<Inbox>);

impl PeerInbox {
    /// Joins it with the network that delivers to it.
    pub fn connect(self, network: Arc<dyn Network>) -> Peers {
        Peers { network, inbox: self.0 }
    }

    /// Takes an event, or gives it back when there is no room.
    pub fn deliver(&self, event: NetworkEvent) -> Result<(), NetworkEvent> {
        self.0.put(Event::Network(event)).map_err(|event| match event {
            Event::Network(event) => event,
            _ => unreachable!("what was put comes back"),
        })
    }
}

impl NetworkSink for PeerInbox {
    fn deliver(&self, event: NetworkEvent) -> Result<(), NetworkEvent> {
        Self::deliver(self, event)
    }
}

/// Passes what the driver says to the exchange.
pub(super) struct ExchangeOutbox(pub(super) Arc<Inbox>);

impl Outbox for ExchangeOutbox {
    fn put(&self, outgoing: Outgoing) {
        if self.0.put(Event::Outgoing(outgoing)).is_err() {
            tracing::debug!("the exchange is too busy; a message to peers was dropped");
        }
    }
}

/// Returns how long the exchange may go without looking at the time.
pub(super) fn tick_interval<S: KeyValueStore>(exchange: &Exchange<S>) -> Duration {
    if exchange.is_busy() { BUSY_TICK } else { IDLE_TICK }
}

/// Runs the exchange until the node stops.
pub(super) fn run<S: KeyValueStore>(core: &Core<S>, mut exchange: Exchange<S>, inbox: &Inbox) {
    let start = Instant::now();
    let now_ms = || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut ticked = 0;
    loop {
        let every = tick_interval(&exchange);
        let Ok(event) = inbox.wait(every) else { return };
        if core.stopping() {
            return;
        }
        let mut done = event.map_or(Ok(()), |event| exchange.step(now_ms(), event));
        if done.is_ok() && now_ms() >= ticked + every.as_millis() as u64 {
            ticked = now_ms();
            done = exchange.tick(ticked);
        }
        if let Err(Halt(reason)) = done {
            return core.fail(reason);
        }
    }
}

/// Starts the network that the settings describe; `None` when they describe none.
pub(super) async fn start_network(
    settings: &Settings,
    genesis: BlockId,
) -> Result<Option<(NetworkService, Peers)>, NetworkError> {
    if !settings.has_network() {
        return Ok(None);
    }
    let folder = settings.home.network();
    let path = settings.home.identity();
    create_private_directory(&folder)
        .map_err(|source| NetworkError::IdentityFile { path: path.clone(), source })?;
    let identity = Identity::load_or_create(&path)?;
    let switch = |on: bool| if on { Switch::On } else { Switch::Off };
    let config = NetworkConfig {
        listen: settings.network_listen.clone(),
        external: settings.network_external.clone(),
        bootstrap: settings.network_peers.clone(),
        reserved: settings.network_reserved.clone(),
        relays: settings.network_relays.clone(),
        pre_shared_key: settings.network_key,
        mdns: switch(settings.network_mdns),
        upnp: switch(settings.network_upnp),
        relay_server: switch(settings.network_relay_server),
        folder: Some(folder),
        ..NetworkConfig::new(identity, *genesis.as_bytes())
    };
    let inbox = PeerInbox::default();
    let service = NetworkService::start(config, Arc::new(inbox.clone())).await?;
    let peers = inbox.connect(Arc::new(service.handle()));
    Ok(Some((service, peers)))
}
