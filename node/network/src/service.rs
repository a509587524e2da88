//! Starts a network and stops it.

use crate::behaviour::Behaviour;
use crate::book::{Book, Role};
use crate::convert::{parse, parse_peer};
use crate::handle::Shared;
use crate::inbox::NetworkSink;
use crate::names::Genesis;
use crate::outbox::Outbox;
use crate::task::{Listener, Task};
use crate::{NetworkConfig, NetworkError, NetworkHandle, transport};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, Swarm};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

/// Connections that nothing uses are kept: peers are wanted, and the gate limits them.
const IDLE: Duration = Duration::from_secs(3600);
/// Streams of one connection that negotiate at one time.
const NEGOTIATING_MAX: usize = 64;

/// A running network: one task that owns the swarm.
///
/// Dropping it stops the task without waiting; [`shutdown`](Self::shutdown) waits.
pub struct NetworkService {
    handle: NetworkHandle,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl NetworkService {
    /// Starts to listen and to connect. When it returns, [`NetworkHandle::listen_addresses`] is complete.
    ///
    /// # Errors
    /// When the configuration contradicts itself, or an address cannot be listened on.
    pub async fn start(config: NetworkConfig, sink: Arc<dyn NetworkSink>) -> Result<Self, NetworkError> {
        config.limits.check()?;
        let genesis = Genesis::new(config.genesis);
        let plan = Plan::new(&config)?;
        for address in &plan.listen {
            transport::probe(address).map_err(|source| listen_error(address, source))?;
        }
        let (transport, relay_client) = transport::build(&config)?;
        let behaviour = Behaviour::new(&config, genesis, plan.reserved.clone(), relay_client)?;
        let settings = libp2p::swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(IDLE)
            .with_max_negotiating_inbound_streams(NEGOTIATING_MAX);
        let own_id = config.identity.keypair().public().to_peer_id();
        let mut swarm = Swarm::new(transport, behaviour, own_id, settings);
        for address in &plan.external {
            swarm.add_external_address(address.clone());
        }
        let mut listeners = Vec::new();
        for address in plan.listen {
            let id = swarm
                .listen_on(address.clone())
                .map_err(|error| listen_error(&address, io::Error::other(error.to_string())))?;
            listeners.push(Listener::started(address, id));
        }
        listeners.extend(plan.relays.into_iter().map(Listener::planned));

        let outbox = Outbox::new(config.limits.queued_max, config.limits.queued_bytes_max);
        let shared = Arc::new(Shared::new(outbox, Arc::clone(&sink)));
        let handle = NetworkHandle { shared: Arc::clone(&shared), peer_id: config.identity.peer_id() };
        let mut task = Task::new(swarm, &config, shared, sink, plan.book, listeners);
        task.listen().await;
        tracing::info!(peer = %handle.peer_id(), addresses = ?handle.listen_addresses(), "network is up");
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(task.run(stopped));
        Ok(Self { handle, stop, task })
    }

    /// Returns the port for its users.
    pub fn handle(&self) -> NetworkHandle {
        self.handle.clone()
    }

    /// Says goodbye, keeps what is known of peers, and returns when the ports are free: at once as a rule, after three
    /// seconds when a QUIC handshake was cut off, within ten at worst.
    ///
    /// # Errors
    /// When the task had panicked.
    pub async fn shutdown(self) -> Result<(), JoinError> {
        // A task that has ended already has nothing to be told.
        let _ = self.stop.send(());
        self.task.await
    }
}

/// The addresses of a configuration, parsed.
struct Plan {
    listen: Vec<Multiaddr>,
    external: Vec<Multiaddr>,
    relays: Vec<Multiaddr>,
    reserved: BTreeSet<PeerId>,
    book: Book,
}

impl Plan {
    fn new(config: &NetworkConfig) -> Result<Self, NetworkError> {
        let mut book = Book::default();
        let mut reserved = BTreeSet::new();
        for address in &config.reserved {
            let (peer, address) = parse_peer(address, "a reserved peer")?;
            reserved.insert(peer);
            book.add(peer, address, Role::Reserved);
        }
        for address in &config.bootstrap {
            let (peer, address) = parse_peer(address, "a bootstrap peer")?;
            book.add(peer, address, Role::Bootstrap);
        }
        let mut relays = Vec::new();
        for address in &config.relays {
            let (peer, address) = parse_peer(address, "a relay")?;
            book.add(peer, address.clone(), Role::Bootstrap);
            relays.push(address.with(Protocol::P2p(peer)).with(Protocol::P2pCircuit));
        }
        let listen = parse_all(&config.listen, "listening")?;
        if config.pre_shared_key.is_some()
            && let Some(address) = listen.iter().find(|address| transport::is_quic(address))
        {
            return Err(NetworkError::Address {
                address: address.to_string(),
                purpose: "listening",
                reason: "QUIC cannot carry the key of a private network".to_owned(),
                example: "/ip4/0.0.0.0/tcp/4001",
            });
        }
        Ok(Self {
            listen,
            external: parse_all(&config.external, "reaching this node")?,
            relays,
            reserved,
            book,
        })
    }
}

fn parse_all(addresses: &[String], purpose: &'static str) -> Result<Vec<Multiaddr>, NetworkError> {
    addresses.iter().map(|address| parse(address, purpose)).collect()
}

fn listen_error(address: &Multiaddr, source: io::Error) -> NetworkError {
    let hint = match source.kind() {
        io::ErrorKind::AddrInUse => "stop the program that uses the port, or configure another one",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; use one it has, or 0.0.0.0",
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; use a higher one",
        _ => "check the address in the configuration",
    };
    NetworkError::Listen { address: address.to_string(), source, hint }
}
