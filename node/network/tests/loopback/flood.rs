//! A peer that opens thousands of streams, and one that asks too often.

use crate::common::{Node, config, pair_of, until};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::core::Endpoint;
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::upgrade::OutboundConnectionUpgrade;
use libp2p::kad::{self, store::MemoryStore};
use libp2p::{Multiaddr, PeerId, StreamProtocol, SwarmBuilder, Transport, identity, noise, tcp, yamux};
use purlin_sync::{Network, RequestId};
use std::io;
use tokio::task::JoinHandle;

/// Streams the attacker opens in all.
const STREAMS: u32 = 5_000;
/// Streams that one connection may have, and a few less.
const STREAMS_PER_CONNECTION: u32 = 250;

/// Questions to the DHT at once, more than two seconds' worth.
const QUESTIONS: usize = 500;

/// A socket on which Yamux is agreed, spoken by hand: libp2p's own half would keep to the rules.
type Socket = noise::Output<tcp::tokio::TcpStream>;

async fn dial(to: &Node, identity: &identity::Keypair) -> io::Result<Socket> {
    let address = to.net.listen_addresses()[0].parse().expect("a multiaddress");
    let mut tcp = tcp::tokio::Transport::new(tcp::Config::default());
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let mut socket = tcp.dial(address, options).expect("an address of TCP").await?;
    agree(&mut socket, "/noise").await?;
    let noise = noise::Config::new(identity).expect("a key signs");
    let (_, mut socket) = noise.upgrade_outbound(socket, "/noise").await.map_err(io::Error::other)?;
    agree(&mut socket, "/yamux/1.0.0").await?;
    Ok(socket)
}

/// Agrees on a protocol by multistream-select.
async fn agree<S: futures::AsyncRead + futures::AsyncWrite + Unpin>(
    socket: &mut S,
    protocol: &str,
) -> io::Result<()> {
    let mut talk = Vec::new();
    for line in ["/multistream/1.0.0", protocol] {
        talk.push(u8::try_from(line.len() + 1).expect("a short line"));
        talk.extend(line.as_bytes());
        talk.push(b'\n');
    }
    socket.write_all(&talk).await?;
    socket.flush().await?;
    let mut answer = vec![0; talk.len()];
    socket.read_exact(&mut answer).await?;
    if answer == talk { Ok(()) } else { Err(io::Error::other("the node does not agree")) }
}

/// Opens streams as fast as the socket takes them and says nothing on them; ends when the node hangs up.
fn attack(mut socket: Socket, streams: u32) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut frames = Vec::new();
        for at in 0..streams {
            // Version, type "data", flag SYN; an odd stream id; no bytes.
            frames.extend([0, 0, 0, 1]);
            frames.extend((2 * at + 1).to_be_bytes());
            frames.extend([0; 4]);
        }
        // An error is what this waits for.
        let _ = socket.write_all(&frames).await;
        let _ = socket.flush().await;
        let mut seen = [0; 4_096];
        while matches!(socket.read(&mut seen).await, Ok(bytes) if bytes > 0) {}
    })
}

async fn ask(from: &mut Node, to: &mut Node, number: u64) {
    from.net.request(&to.id(), RequestId(number), b"still there?".to_vec());
    let (_, id, bytes) = to.request().await;
    to.net.respond(id, Some(bytes));
    assert_eq!(from.response(RequestId(number)).await, Ok(b"still there?".to_vec()));
}

#[tokio::test]
async fn a_peer_that_opens_thousands_of_streams_is_bounded_and_disturbs_nobody() {
    let first = config();
    let per_peer_max = first.limits.per_peer_max as usize;
    let (mut node, mut friend) = pair_of(first, config()).await;

    // All on one connection: beyond the limit the node hangs up.
    let enemy = identity::Keypair::generate_ed25519();
    let flood = attack(dial(&node, &enemy).await.unwrap(), STREAMS);
    until("the node hangs up", || flood.is_finished()).await;
    ask(&mut friend, &mut node, 1).await;

    // Spread over connections, each within its limit: the connections are limited.
    let mut floods = Vec::new();
    for _ in 0..STREAMS / STREAMS_PER_CONNECTION {
        // The node may hang up before the attacker gets to the streams.
        if let Ok(socket) = dial(&node, &enemy).await {
            floods.push(attack(socket, STREAMS_PER_CONNECTION));
        }
    }
    ask(&mut friend, &mut node, 2).await;
    let open = || floods.iter().filter(|flood| !flood.is_finished()).count();
    until("few connections are left", || open() <= per_peer_max).await;
    assert!(node.counters().peers.inbound_failures > 0);
    ask(&mut friend, &mut node, 3).await;
    // Who never says who it is does not stay.
    until("the attacker is gone", || open() == 0).await;
    ask(&mut friend, &mut node, 4).await;
    assert_eq!(node.net.peers().len(), 1);
    for flood in floods {
        flood.await.unwrap();
    }
    node.stop().await;
    friend.stop().await;
}

#[tokio::test]
async fn a_flood_of_questions_to_the_dht_is_held_against_the_sender() {
    let (mut node, mut friend) = pair_of(config(), config()).await;
    // The genesis of these tests is in the name.
    let settings = kad::Config::new(StreamProtocol::new("/purlin/0707070707070707/kad/1"));
    let mut enemy = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            let id = key.public().to_peer_id();
            kad::Behaviour::with_config(id, MemoryStore::new(id), settings)
        })
        .unwrap()
        .build();
    let id: PeerId = node.net.peer_id().to_string().parse().unwrap();
    let address: Multiaddr = node.net.listen_addresses()[0].parse().unwrap();
    enemy.behaviour_mut().add_address(&id, address);
    for _ in 0..QUESTIONS {
        enemy.behaviour_mut().get_closest_peers(PeerId::random());
    }
    let flood = tokio::spawn(async move {
        loop {
            enemy.select_next_some().await;
        }
    });
    until("it is noticed", || node.counters().peers.offences >= 1).await;
    ask(&mut friend, &mut node, 1).await;
    flood.abort();
    node.stop().await;
    friend.stop().await;
}
