//! Who may connect, who stays connected, who is found.

use crate::common::{GENESIS, Node, config, config_of, pair, pair_of, publish, until};
use purlin_network::{Identity, NetworkConfig, NetworkError, NetworkService, Switch};
use purlin_sync::{Network, NetworkEvent, Offence, PeerId, Topic};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn was_connected(node: &mut Node) -> bool {
    !node.events_now(|event| matches!(event, NetworkEvent::Connected { .. }).then_some(())).is_empty()
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_node_of_another_genesis_is_turned_away_with_both_names() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    // The same first 8 bytes: even the protocol names are equal.
    let mut other_genesis = GENESIS;
    other_genesis[31] = 8;
    let mut a = Node::start(config()).await;
    let mut other = NetworkConfig { genesis: other_genesis, ..config() };
    other.reserved = vec![a.address()];
    let mut b = Node::start(other).await;
    until("both notice", || a.counters().peers.other_chain + b.counters().peers.other_chain >= 1).await;
    until("nobody is connected", || a.net.peers().is_empty() && b.net.peers().is_empty()).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = text.lines().find(|line| line.contains("another chain")).expect("a line in the log");
    for genesis in [GENESIS, other_genesis] {
        assert!(line.contains(&hex::encode(genesis)), "{line}");
    }
    assert!(!was_connected(&mut a) && !was_connected(&mut b));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn offences_end_in_a_ban_that_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::generate();
    let first = NetworkConfig { folder: Some(folder.path().to_owned()), ..config_of(identity) };
    let mut a = Node::start(first.clone()).await;
    let mut second = config();
    second.reserved = vec![a.address()];
    let mut b = Node::start(second).await;
    a.connected(&b.id()).await;
    b.connected(&a.id()).await;
    for _ in 0..4 {
        a.net.report(&b.id(), Offence::Lied);
    }
    b.disconnected(&a.id()).await;
    until("it is banned", || a.counters().peers.bans == 1).await;
    until("it is not shown any more", || a.net.peers().is_empty()).await;
    let listen = a.net.listen_addresses();
    a.stop().await;

    // The same node again: it has counted no offence and still turns the peer away.
    let mut a = Node::start(NetworkConfig { listen, ..first }).await;
    until("it is turned away", || a.counters().peers.inbound_failures >= 1).await;
    assert_eq!(a.counters().peers.bans, 0);
    assert!(!was_connected(&mut a));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_banned_peer_comes_back_when_the_ban_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut lenient = config();
    lenient.folder = Some(folder.path().to_owned());
    lenient.limits.ban_duration = Duration::from_secs(2);
    let mut a = Node::start(lenient).await;
    let mut second = config();
    second.reserved = vec![a.address()];
    let mut b = Node::start(second).await;
    a.connected(&b.id()).await;
    b.connected(&a.id()).await;
    for _ in 0..4 {
        a.net.report(&b.id(), Offence::Lied);
    }
    a.disconnected(&b.id()).await;
    until("the door stays shut for a while", || a.counters().peers.inbound_failures >= 1).await;
    a.connected(&b.id()).await;
    assert_eq!(a.peer(&b.id()).unwrap().score, 0, "it starts afresh");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn reserved_peers_are_not_banned_and_come_back() {
    let identity = Identity::generate();
    let mut b = Node::start(config_of(identity.clone())).await;
    let mut first = config();
    first.reserved = vec![b.address()];
    let mut a = Node::start(first).await;
    a.connected(&b.id()).await;
    b.connected(&a.id()).await;
    for _ in 0..10 {
        a.net.report(&b.id(), Offence::Lied);
    }
    until("all are noted", || a.counters().peers.offences == 10).await;
    assert_eq!(a.peer(&b.id()).unwrap().score, -250);
    assert_eq!(a.counters().peers.bans, 0);

    let listen = b.net.listen_addresses();
    let id = b.id();
    b.stop().await;
    a.disconnected(&id).await;
    let mut b = Node::start(NetworkConfig { listen, ..config_of(identity) }).await;
    a.connected(&id).await;
    b.connected(&a.id()).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn anchors_are_dialled_after_a_restart_without_any_other_help() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::generate();
    let mut b = Node::start(config()).await;
    let mut first = config_of(identity.clone());
    first.folder = Some(folder.path().to_owned());
    let mut again = first.clone();
    first.bootstrap = vec![b.address()];
    let mut a = Node::start(first).await;
    a.connected(&b.id()).await;
    let id = a.id();
    b.connected(&id).await;
    a.stop().await;
    b.disconnected(&id).await;
    again.listen = Vec::new();
    let mut a = Node::start(again).await;
    assert_eq!(a.id(), id, "the identity is the same");
    a.connected(&b.id()).await;
    assert!(a.peer(&b.id()).unwrap().outbound);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn inbound_connections_are_limited() {
    let mut first = config();
    first.limits.inbound_max = 2;
    let mut a = Node::start(first).await;
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut config = config();
        config.bootstrap = vec![a.address()];
        config.limits.peers_wanted = 1;
        let mut other = Node::start(config).await;
        other.connected(&a.id()).await;
        a.connected(&other.id()).await;
        others.push(other);
    }
    let mut config = config();
    config.bootstrap = vec![a.address()];
    let mut third = Node::start(config).await;
    until("the third is turned away", || a.counters().peers.inbound_failures >= 1).await;
    assert_eq!(a.net.peers().len(), 2);
    assert!(a.peer(&third.id()).is_none());
    // When one leaves, there is room.
    let gone = others.pop().unwrap();
    let id = gone.id();
    gone.stop().await;
    a.disconnected(&id).await;
    third.connected(&a.id()).await;
    for node in others.into_iter().chain([a, third]) {
        node.stop().await;
    }
}

#[tokio::test]
async fn outbound_connections_have_a_quota() {
    let mut targets = Vec::new();
    for _ in 0..4 {
        let mut config = config();
        config.limits.outbound_wanted = 0;
        targets.push(Node::start(config).await);
    }
    let mut config = config();
    config.bootstrap = targets.iter().map(Node::address).collect();
    config.limits.outbound_wanted = 2;
    config.limits.outbound_max = 2;
    let a = Node::start(config).await;
    until("two are connected", || a.net.peers().len() == 2).await;
    // Nobody dials back: the targets want no outbound peers.
    assert!(a.net.peers().iter().all(|peer| peer.outbound));
    assert_eq!(a.counters().peers.connections, 2);
    for node in targets.into_iter().chain([a]) {
        node.stop().await;
    }
}

#[tokio::test]
async fn the_deny_list_is_obeyed() {
    let identity = Identity::generate();
    let mut first = config();
    first.denied = vec![identity.peer_id().to_string()];
    let mut a = Node::start(first).await;
    let mut second = config_of(identity);
    second.bootstrap = vec![a.address()];
    let mut b = Node::start(second).await;
    until("it is turned away", || a.counters().peers.inbound_failures >= 1).await;
    assert!(!was_connected(&mut a) && !was_connected(&mut b));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_private_network_needs_its_key() {
    let with_key = |key: u8| NetworkConfig { pre_shared_key: Some([key; 32]), ..config() };
    let (a, mut b) = pair_of(with_key(1), with_key(1)).await;
    publish(&a, Topic::Blocks, b"secret").await;
    b.gossip(Topic::Blocks, b"secret").await;
    for mut stranger in [with_key(2), config()] {
        stranger.bootstrap = vec![a.address()];
        stranger.limits.handshake_timeout = Duration::from_secs(1);
        let failures = a.counters().peers.inbound_failures;
        let mut c = Node::start(stranger).await;
        until("the stranger fails", || {
            c.counters().peers.dial_failures >= 1 || a.counters().peers.inbound_failures > failures
        })
        .await;
        assert!(!was_connected(&mut c) && a.peer(&c.id()).is_none());
        c.stop().await;
    }
    let mut quic = with_key(1);
    quic.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".to_owned()];
    let (sink, _events) = tokio::sync::mpsc::channel(1);
    let error = NetworkService::start(quic, Arc::new(sink)).await.err().expect("refused");
    assert!(matches!(error, NetworkError::Address { .. }) && error.to_string().contains("QUIC"), "{error}");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_node_without_an_address_is_reached_through_a_relay() {
    let mut server = config();
    server.relay_server = Switch::On;
    let mut relay = Node::start(server).await;
    let mut hidden = config();
    hidden.listen = Vec::new();
    hidden.hole_punching = Switch::Off;
    hidden.relays = vec![relay.address()];
    let mut a = Node::start(hidden).await;
    relay.connected(&a.id()).await;
    until("the relay holds a place", || !a.net.listen_addresses().is_empty()).await;

    let mut seeking = config();
    seeking.listen = Vec::new();
    seeking.hole_punching = Switch::Off;
    seeking.reserved = vec![format!("{}/p2p-circuit/p2p/{}", relay.address(), a.id())];
    let mut b = Node::start(seeking).await;
    b.connected(&a.id()).await;
    a.connected(&b.id()).await;
    assert!(b.peer(&a.id()).unwrap().relayed);
    b.net.request(&a.id(), purlin_sync::RequestId(1), vec![1; 500_000]);
    let (_, id, bytes) = a.request().await;
    a.net.respond(id, Some(bytes));
    assert_eq!(
        b.response(purlin_sync::RequestId(1)).await,
        Ok(vec![1; 500_000]),
        "more than libp2p's default"
    );
    for node in [a, b, relay] {
        node.stop().await;
    }
}

#[tokio::test]
async fn peers_are_described() {
    let (a, b) = pair().await;
    until("pinged and identified", || {
        b.peer(&a.id()).is_some_and(|peer| peer.ping_us.is_some() && !peer.agent.is_empty())
    })
    .await;
    let peer = b.peer(&a.id()).unwrap();
    assert!(peer.agent.starts_with("purlin/"), "{peer:?}");
    assert!(peer.outbound && !peer.relayed && peer.score == 0);
    assert!(peer.addresses[0].starts_with("/ip4/127.0.0.1/tcp/"), "{peer:?}");
    assert_eq!(peer.id, PeerId::new(a.id().as_bytes().to_vec()).unwrap());
    a.stop().await;
    b.stop().await;
}
