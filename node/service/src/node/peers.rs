//! The node's connection to others: the network below, the exchange above, and what is between them.

use purlin_network::{
    Identity, NetworkConfig, NetworkError, NetworkService, NetworkSink, Reachability, Switch,
};
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

/// Who says where others reach this node says that they do.
fn reachability(settings: &Settings) -> Reachability {
    match settings.network_reachable {
        Reachability::Detect if !settings.network_external.is_empty() => Reachability::Reachable,
        reachable => reachable,
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
        allowed: settings.network_allowed.clone(),
        denied: settings.network_denied.clone(),
        reachability: reachability(settings),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Origin, PartialSettings};
    use crate::home::Home;
    use purlin_network::NetworkHandle;
    use std::path::Path;

    /// Everything waited for happens in a fraction of it.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Settings of a node of its own folder; without any it listens on loopback.
    fn settings(folder: &Path, name: &str, values: &[(&str, String)]) -> Settings {
        let mut layer = PartialSettings::new();
        let origin = || Origin::Command { name: "test" };
        layer.set("network.listen", "/ip4/127.0.0.1/tcp/0", origin()).unwrap();
        for (key, value) in values {
            layer.set(key, value, origin()).unwrap();
        }
        Settings::resolve(Home::new(folder.join(name)), &[layer]).unwrap()
    }

    async fn start(settings: &Settings) -> NetworkService {
        let (service, _) = start_network(settings, BlockId::ZERO).await.unwrap().unwrap();
        service
    }

    fn address(handle: &NetworkHandle) -> String {
        format!("{}/p2p/{}", handle.listen_addresses()[0], handle.peer_id())
    }

    async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        let waiting = async {
            while !is_so() {
                look.tick().await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "not in time: {what}");
    }

    fn knows(handle: &NetworkHandle, other: &NetworkHandle) -> bool {
        handle.peers().iter().any(|peer| peer.id == *other.peer_id())
    }

    #[tokio::test]
    async fn with_default_settings_a_newcomer_that_names_one_node_finds_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let a = start(&settings(folder.path(), "a", &[])).await;
        let names = |node: &NetworkService| [("network.peers", address(&node.handle()))];
        let b = start(&settings(folder.path(), "b", &names(&a))).await;
        let c = start(&settings(folder.path(), "c", &names(&b))).await;
        until("c knows a", || knows(&c.handle(), &a.handle())).await;
        for service in [a, b, c] {
            service.shutdown().await.unwrap();
        }
    }

    #[tokio::test]
    async fn lists_of_the_settings_are_obeyed() {
        let folder = tempfile::tempdir().unwrap();
        let identity = |name: &str| {
            let home = Home::new(folder.path().join(name));
            create_private_directory(&home.network()).unwrap();
            Identity::load_or_create(&home.identity()).unwrap().peer_id().to_string()
        };
        let (friend, enemy) = (identity("friend"), identity("enemy"));
        let lists = [("network.allowed", format!("{friend}, {enemy}")), ("network.denied", enemy)];
        let a = start(&settings(folder.path(), "a", &lists)).await;
        for (turned_away, name) in [(1, "enemy"), (2, "stranger")] {
            let other = settings(folder.path(), name, &[("network.peers", address(&a.handle()))]);
            let other = start(&other).await;
            until("it is turned away", || a.handle().counters().peers.inbound_failures >= turned_away).await;
            assert!(a.handle().peers().is_empty());
            other.shutdown().await.unwrap();
        }
        let other =
            start(&settings(folder.path(), "friend", &[("network.peers", address(&a.handle()))])).await;
        until("the friend is in", || knows(&a.handle(), &other.handle())).await;
        other.shutdown().await.unwrap();
        a.shutdown().await.unwrap();
    }

    #[test]
    fn an_external_address_says_that_the_node_is_reachable() {
        let of = |values: &[(&str, String)]| reachability(&settings(Path::new("/nowhere"), "node", values));
        let external = ("network.external", "/ip4/192.0.2.1/tcp/7421".to_owned());
        assert_eq!(of(&[]), Reachability::Detect);
        assert_eq!(of(std::slice::from_ref(&external)), Reachability::Reachable);
        assert_eq!(of(&[("network.reachable", "yes".to_owned())]), Reachability::Reachable);
        assert_eq!(of(&[external, ("network.reachable", "no".to_owned())]), Reachability::Unreachable);
    }
}
