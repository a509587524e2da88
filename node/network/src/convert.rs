//! Between libp2p's types and those of the port.

use crate::NetworkError;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use purlin_sync::PeerId;
use std::net::IpAddr;

/// Converts the id of an authenticated peer.
pub(crate) fn to_peer_id(peer: &libp2p::PeerId) -> PeerId {
    PeerId::new(peer.to_bytes()).expect("a hash of a public key with its header has at most 44 bytes")
}

/// Converts an id that came through the port; `None` when it names nobody.
pub(crate) fn from_peer_id(peer: &PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(peer.as_bytes()).ok()
}

/// Parses an address of the configuration.
pub(crate) fn parse(address: &str, purpose: &'static str) -> Result<Multiaddr, NetworkError> {
    address.parse().map_err(|error: libp2p::multiaddr::Error| NetworkError::Address {
        address: address.to_owned(),
        purpose,
        reason: error.to_string(),
        example: "/ip4/192.0.2.1/tcp/4001",
    })
}

/// Parses an address that ends in `/p2p/<peer id>`; the address is returned without that end.
pub(crate) fn parse_peer(
    address: &str,
    purpose: &'static str,
) -> Result<(libp2p::PeerId, Multiaddr), NetworkError> {
    split_peer(parse(address, purpose)?).ok_or_else(|| NetworkError::Address {
        address: address.to_owned(),
        purpose,
        reason: "it does not end in the peer's id".to_owned(),
        example: "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
    })
}

/// Says whether an address names a peer: a multiaddress that ends in `/p2p/<peer id>`.
///
/// # Errors
/// [`NetworkError::Address`] with what is wrong and a right one.
pub fn check_peer_address(address: &str) -> Result<(), NetworkError> {
    parse_peer(address, "a peer").map(drop)
}

/// Parses an id in base58.
pub(crate) fn parse_id(id: &str, purpose: &'static str) -> Result<libp2p::PeerId, NetworkError> {
    id.parse().map_err(|error: libp2p::identity::ParseError| NetworkError::Address {
        address: id.to_owned(),
        purpose,
        reason: error.to_string(),
        example: "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
    })
}

/// Says whether a text is a peer id in base58.
///
/// # Errors
/// [`NetworkError::Address`] with what is wrong and a right one.
pub fn check_peer_id(id: &str) -> Result<(), NetworkError> {
    parse_id(id, "a peer id").map(drop)
}

/// Takes the id off the end of an address.
pub(crate) fn split_peer(mut address: Multiaddr) -> Option<(libp2p::PeerId, Multiaddr)> {
    match address.pop() {
        Some(Protocol::P2p(peer)) => Some((peer, address)),
        _ => None,
    }
}

/// Returns the IP address at the start of an address.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
        _ => None,
    }
}

/// Returns whether an address leads through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Returns whether an address means something on this machine or in this building only.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified()
        }
    }
}

/// Returns whether an address that a peer claims can lead to it from here. Who speaks to us over a loopback or
/// private address may have others of the kind; a stranger's would make us knock at our own neighbours.
pub(crate) fn is_plausible(claimed: &Multiaddr, seen: &Multiaddr) -> bool {
    let Some(ip) = ip_of(claimed) else { return true };
    if ip.is_unspecified() {
        return false;
    }
    if ip.is_loopback() {
        return ip_of(seen).is_some_and(|ip| ip.is_loopback());
    }
    !is_local(ip) || ip_of(seen).is_some_and(is_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claimed_addresses_fit_where_the_peer_was_seen() {
        let cases = [
            ("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/9", true),
            ("/ip4/127.0.0.1/tcp/1", "/ip4/192.168.0.4/tcp/9", false),
            ("/ip4/192.168.0.4/tcp/1", "/ip4/10.0.0.4/tcp/9", true),
            ("/ip4/192.168.0.4/tcp/1", "/ip4/198.51.100.1/tcp/9", false),
            ("/ip4/198.51.100.1/tcp/1", "/ip4/203.0.113.1/tcp/9", true),
            ("/ip4/0.0.0.0/tcp/1", "/ip4/127.0.0.1/tcp/9", false),
            ("/dns4/example.org/tcp/1", "/ip4/203.0.113.1/tcp/9", true),
        ];
        for (claimed, seen, expected) in cases {
            let (claimed, seen) = (claimed.parse().unwrap(), seen.parse().unwrap());
            assert_eq!(is_plausible(&claimed, &seen), expected, "{claimed} seen at {seen}");
        }
    }

    #[test]
    fn peers_need_an_id() {
        let error = parse_peer("/ip4/127.0.0.1/tcp/1", "bootstrap").unwrap_err().to_string();
        assert!(error.contains("/p2p/12D3"), "{error}");
        let error = check_peer_id("/ip4/127.0.0.1/tcp/1").unwrap_err().to_string();
        assert!(error.contains("12D3KooW"), "{error}");
        check_peer_id("12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp").unwrap();
        assert!(parse("127.0.0.1:1", "listen").unwrap_err().to_string().contains("/ip4/"));
    }
}
