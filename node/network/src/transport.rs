//! How bytes reach other nodes: TCP and QUIC, names resolved, relays; Noise or TLS (QUIC), Yamux.

use crate::{NetworkConfig, NetworkError};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, OrTransport};
use libp2p::core::upgrade::Version;
use libp2p::multiaddr::Protocol;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{Multiaddr, PeerId, Transport, dns, noise, quic, relay, tcp, yamux};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Streams of one TCP connection in both directions; more are refused by the multiplexer.
const STREAMS_MAX: usize = 256;

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// Builds the transport and the half of the relay client that belongs to the behaviour.
pub(crate) fn build(config: &NetworkConfig) -> Result<(Connections, relay::client::Behaviour), NetworkError> {
    let keypair = config.identity.keypair();
    let noise = noise::Config::new(keypair)
        .map_err(|error| NetworkError::Setup { part: "Noise", reason: error.to_string() })?;
    let direct = || direct(config, &noise);
    let resolved = match dns::tokio::Transport::system(direct()) {
        Ok(resolved) => resolved.boxed(),
        Err(error) => {
            tracing::warn!(%error, "cannot read the name servers of this machine; only numeric addresses work");
            direct()
        }
    };
    let (relayed, relay_client) = relay::client::new(keypair.public().to_peer_id());
    let relayed = relayed
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(yamux())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let all = OrTransport::new(relayed, resolved).map(|either, _| either.into_inner());
    Ok((TransportTimeout::new(all, config.limits.handshake_timeout).boxed(), relay_client))
}

fn direct(config: &NetworkConfig, noise: &noise::Config) -> Connections {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default());
    if let Some(key) = config.pre_shared_key {
        return tcp
            .and_then(move |socket, _| PnetConfig::new(PreSharedKey::new(key)).handshake(socket))
            .upgrade(Version::V1Lazy)
            .authenticate(noise.clone())
            .multiplex(yamux())
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .boxed();
    }
    let tcp = tcp.upgrade(Version::V1Lazy).authenticate(noise.clone()).multiplex(yamux());
    let quic = quic::tokio::Transport::new(quic::Config::new(config.identity.keypair()));
    OrTransport::new(
        quic.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))),
        tcp.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))),
    )
    .map(|either, _| either.into_inner())
    .boxed()
}

fn yamux() -> yamux::Config {
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(STREAMS_MAX);
    yamux
}

/// Checks that a listen address is free. libp2p shares TCP ports between sockets (`SO_REUSEPORT`), so a second node on
/// the same port would start without an error and take half of the first one's connections.
pub(crate) fn probe(address: &Multiaddr) -> io::Result<()> {
    match socket_of(address) {
        Some((_, address)) if address.port() == 0 => Ok(()),
        Some((Kind::Tcp, address)) => std::net::TcpListener::bind(address).map(drop),
        Some((Kind::Udp, address)) => std::net::UdpSocket::bind(address).map(drop),
        None => Ok(()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
}

fn socket_of(address: &Multiaddr) -> Option<(Kind, SocketAddr)> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some((Kind::Tcp, SocketAddr::new(ip, port))),
        Protocol::Udp(port) => Some((Kind::Udp, SocketAddr::new(ip, port))),
        _ => None,
    }
}

/// Returns whether an address is one of QUIC.
pub(crate) fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Quic | Protocol::QuicV1))
}
