//! How nodes that were not told of each other find each other.

use crate::common::{Node, config, until};
use purlin_network::{NetworkConfig, Reachability, Switch};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

/// Where mDNS speaks.
const MDNS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

/// A node that is told nothing about whether it can be dialled.
fn detecting() -> NetworkConfig {
    NetworkConfig { reachability: Reachability::Detect, ..config() }
}

#[tokio::test]
async fn the_third_finds_the_first_through_the_second() {
    let mut a = Node::start(config()).await;
    let mut second = config();
    second.bootstrap = vec![a.address()];
    let mut b = Node::start(second).await;
    b.connected(&a.id()).await;
    let mut third = config();
    third.bootstrap = vec![b.address()];
    let mut c = Node::start(third).await;
    c.connected(&b.id()).await;
    c.connected(&a.id()).await;
    a.connected(&c.id()).await;
    // The DHT may be faster than the search, which begins half a second after a server appears.
    until("one of the two has asked the second", || {
        [&a, &c].iter().any(|node| node.counters().peers.searches >= 1)
    })
    .await;
    for node in [a, b, c] {
        node.stop().await;
    }
}

#[tokio::test]
async fn nodes_find_out_that_they_can_be_dialled_and_serve_newcomers() {
    let a = Node::start(detecting()).await;
    let mut second = detecting();
    second.bootstrap = vec![a.address()];
    let mut b = Node::start(second).await;
    b.connected(&a.id()).await;
    // Somebody reached A, so it can be reached; A dials B back for B's sake.
    until("both know their address", || {
        [&a, &b].iter().all(|node| node.net.external_addresses() == node.net.listen_addresses())
    })
    .await;
    until("the test is counted", || a.counters().peers.dial_backs >= 1).await;
    // What a peer asked for is not a choice of this node.
    assert!(!a.peer(&b.id()).unwrap().outbound);
    until("the connections that served as tests are closed", || {
        a.peer(&b.id()).unwrap().addresses.len() == 1 && b.peer(&a.id()).unwrap().addresses.len() == 1
    })
    .await;

    let mut third = detecting();
    third.bootstrap = vec![b.address()];
    let mut c = Node::start(third).await;
    c.connected(&b.id()).await;
    c.connected(&a.id()).await;
    for node in [a, b, c] {
        node.stop().await;
    }
}

#[tokio::test]
async fn nodes_of_the_local_network_find_each_other_by_multicast() {
    if let Err(reason) = try_multicast() {
        println!("skipped: this machine has no multicast: {reason}");
        return;
    }
    // On every interface: an address of loopback is not announced to others.
    let listen = || vec!["/ip4/0.0.0.0/tcp/0".to_owned()];
    let searching = || NetworkConfig { listen: listen(), mdns: Switch::On, ..config() };
    let mut a = Node::start(searching()).await;
    let mut b = Node::start(searching()).await;
    a.connected(&b.id()).await;
    b.connected(&a.id()).await;
    a.stop().await;
    b.stop().await;
}

/// Hears itself speak.
fn try_multicast() -> std::io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.join_multicast_v4(&MDNS, &Ipv4Addr::UNSPECIFIED)?;
    socket.send_to(b"hello", (MDNS, socket.local_addr()?.port()))?;
    socket.recv(&mut [0; 8]).map(drop)
}
