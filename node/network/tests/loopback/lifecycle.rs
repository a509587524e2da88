//! Start, stop, and strangers who speak no protocol at all.

use crate::common::{Node, PATIENCE, config, pair, publish, until};
use purlin_network::{Identity, NetworkConfig, NetworkError, NetworkService};
use purlin_sync::Topic;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn start_error(config: NetworkConfig) -> NetworkError {
    let (sink, _events) = tokio::sync::mpsc::channel(1);
    NetworkService::start(config, Arc::new(sink)).await.err().expect("the start fails")
}

fn socket(node: &Node) -> SocketAddr {
    let address = &node.net.listen_addresses()[0];
    let port = address.rsplit('/').next().expect("it ends in the port");
    format!("127.0.0.1:{port}").parse().expect("it is a socket address")
}

#[tokio::test]
async fn a_port_in_use_is_said_with_what_to_do() {
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let mut first = config();
        first.listen = vec![listen.to_owned()];
        let a = Node::start(first).await;
        let mut second = config();
        second.listen = a.net.listen_addresses();
        let error = start_error(second).await;
        assert!(matches!(error, NetworkError::Listen { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&a.net.listen_addresses()[0]) && text.contains("configure another"), "{text}");
        a.stop().await;
    }
}

#[tokio::test]
async fn addresses_that_are_none_are_named() {
    let mut wrong = config();
    wrong.listen = vec!["localhost:4001".to_owned()];
    assert!(start_error(wrong).await.to_string().contains("localhost:4001"));
    let mut wrong = config();
    wrong.bootstrap = vec!["/ip4/127.0.0.1/tcp/4001".to_owned()];
    assert!(start_error(wrong).await.to_string().contains("peer's id"));
    let mut wrong = config();
    wrong.denied = vec!["nobody".to_owned()];
    assert!(start_error(wrong).await.to_string().contains("deny list"));
}

#[tokio::test]
async fn shutdown_frees_the_ports_and_keeps_the_identity() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.key");
    let mut addresses = vec!["/ip4/127.0.0.1/tcp/0".to_owned(), "/ip4/127.0.0.1/udp/0/quic-v1".to_owned()];
    let mut ids = Vec::new();
    for _ in 0..3 {
        let identity = Identity::load_or_create(&path).unwrap();
        let mut a =
            Node::start(NetworkConfig { listen: addresses.clone(), ..crate::common::config_of(identity) })
                .await;
        addresses = a.net.listen_addresses();
        assert_eq!(addresses.len(), 2);
        ids.push(a.id());
        // A peer on each transport, so that there is something to say goodbye to.
        let mut peers = Vec::new();
        for address in &addresses {
            let mut config = config();
            config.bootstrap = vec![format!("{address}/p2p/{}", a.id())];
            let mut peer = Node::start(config).await;
            peer.connected(&a.id()).await;
            a.connected(&peer.id()).await;
            peers.push(peer);
        }
        a.stop().await;
        for address in &addresses {
            let port: u16 = address.split('/').nth(4).unwrap().parse().unwrap();
            if address.contains("/tcp/") {
                std::net::TcpListener::bind(("127.0.0.1", port)).expect("the TCP port is free");
            } else {
                std::net::UdpSocket::bind(("127.0.0.1", port)).expect("the UDP port is free");
            }
        }
        for peer in peers {
            peer.stop().await;
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn garbage_does_no_harm() {
    let (mut a, b) = pair().await;
    let address = socket(&a);
    let garbage: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 4_096],
        &[0; 4_096],
        b"\x13/multistream/1.0.0\n\xff\xff\xff\xff\xff",
    ];
    for bytes in garbage {
        let mut socket = TcpStream::connect(address).await.unwrap();
        // The node may hang up before all is sent.
        let _ = socket.write_all(bytes).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("it hangs up").ok();
    }
    until("all four are counted", || a.counters().peers.inbound_failures >= 4).await;
    publish(&b, Topic::Blocks, b"still here").await;
    a.gossip(Topic::Blocks, b"still here").await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_slow_loris_holds_no_place() {
    let mut first = config();
    first.limits.pending_max = 2;
    first.limits.handshake_timeout = Duration::from_secs(1);
    let mut a = Node::start(first).await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut socket = TcpStream::connect(socket(&a)).await.unwrap();
        let _ = socket.write_all(b"\x13").await;
        slow.push(socket);
    }
    // Most are turned away at once, the others when their time is over, and then a neighbour gets in.
    until("they are gone", || a.counters().peers.inbound_failures == 20).await;
    for mut socket in slow {
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("it hangs up").ok();
    }
    let mut second = config();
    second.bootstrap = vec![a.address()];
    let mut b = Node::start(second).await;
    b.connected(&a.id()).await;
    a.connected(&b.id()).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_dropped_service_ends_by_itself() {
    let (a, mut b) = pair().await;
    let id = a.id();
    drop(a);
    b.disconnected(&id).await;
    b.stop().await;
}

/// Passes bytes on between a new port and `target` until it is cut: then connections stand and carry nothing.
async fn cable(target: SocketAddr) -> (SocketAddr, tokio::sync::watch::Sender<bool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback works");
    let address = listener.local_addr().expect("loopback works");
    let (cut, is_cut) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut is_cut = is_cut.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(target).await.expect("loopback works");
                let cut = async { drop(is_cut.clone().wait_for(|cut| *cut).await) };
                tokio::select! {
                    // Ended by one of the nodes.
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                    () = cut => {}
                }
                drop(is_cut.wait_for(|cut| !*cut).await);
            });
        }
    });
    (address, cut)
}

#[tokio::test]
async fn a_connection_that_carries_nothing_is_given_up() {
    let limits = |mut config: NetworkConfig| {
        config.limits.silence_timeout = Duration::from_secs(3);
        config
    };
    let mut b = Node::start(limits(config())).await;
    let (address, cut) = cable(socket(&b)).await;
    let mut config = limits(config());
    config.bootstrap = vec![format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", address.port(), b.id())];
    let mut a = Node::start(config).await;
    a.connected(&b.id()).await;
    b.connected(&a.id()).await;
    cut.send(true).unwrap();
    a.disconnected(&b.id()).await;
    b.disconnected(&a.id()).await;
    // Meanwhile one may have been told of the other's own port.
    cut.send(false).unwrap();
    a.connected(&b.id()).await;
    a.stop().await;
    b.stop().await;
}
