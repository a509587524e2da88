use super::*;

fn gate(limits: NetworkLimits, reserved: &[PeerId]) -> Gate {
    Gate::new(&limits, &[], &[], reserved.iter().copied().collect()).unwrap()
}

fn listener(from: &str) -> ConnectedPoint {
    ConnectedPoint::Listener {
        local_addr: "/ip4/192.0.2.1/tcp/1".parse().unwrap(),
        send_back_addr: from.parse().unwrap(),
    }
}

fn enter(gate: &mut Gate, id: usize, peer: PeerId, from: &str) -> Result<(), Refusal> {
    let endpoint = listener(from);
    gate.check_inbound(&peer, endpoint.get_remote_address())?;
    gate.opened(ConnectionId::new_unchecked(id), peer, &endpoint);
    Ok(())
}

fn leave(gate: &mut Gate, id: usize, peer: PeerId, to: &str, port_use: PortUse) -> Result<(), Refusal> {
    let address: Multiaddr = to.parse().unwrap();
    gate.check_dial(&peer, std::slice::from_ref(&address))?;
    gate.check_outbound(&peer, &address, port_use)?;
    let endpoint = ConnectedPoint::Dialer { address, role_override: Endpoint::Dialer, port_use };
    gate.opened(ConnectionId::new_unchecked(id), peer, &endpoint);
    Ok(())
}

#[test]
fn one_subnet_does_not_fill_the_node() {
    let limits = NetworkLimits { per_subnet_max: 2, ..NetworkLimits::default() };
    let mut gate = gate(limits, &[]);
    assert_eq!(enter(&mut gate, 1, PeerId::random(), "/ip4/203.0.113.1/tcp/1"), Ok(()));
    assert_eq!(enter(&mut gate, 2, PeerId::random(), "/ip4/203.0.113.2/tcp/1"), Ok(()));
    assert_eq!(enter(&mut gate, 3, PeerId::random(), "/ip4/203.0.113.3/tcp/1"), Err(Refusal::Subnet));
    assert_eq!(enter(&mut gate, 4, PeerId::random(), "/ip4/203.0.114.3/tcp/1"), Ok(()));
    for id in 10..20 {
        assert_eq!(enter(&mut gate, id, PeerId::random(), "/ip4/192.168.1.3/tcp/1"), Ok(()), "private");
    }
    gate.closed(&ConnectionId::new_unchecked(1));
    assert_eq!(enter(&mut gate, 5, PeerId::random(), "/ip4/203.0.113.3/tcp/1"), Ok(()));
}

#[test]
fn inbound_connections_are_limited_except_for_reserved_peers() {
    let friend = PeerId::random();
    let limits = NetworkLimits { inbound_max: 1, ..NetworkLimits::default() };
    let mut gate = gate(limits, &[friend]);
    assert_eq!(enter(&mut gate, 1, PeerId::random(), "/ip4/127.0.0.1/tcp/1"), Ok(()));
    assert_eq!(enter(&mut gate, 2, PeerId::random(), "/ip4/127.0.0.1/tcp/1"), Err(Refusal::Inbound));
    assert_eq!(enter(&mut gate, 3, friend, "/ip4/127.0.0.1/tcp/1"), Ok(()));
}

#[test]
fn nothing_is_kept_of_those_who_left() {
    let mut gate = gate(NetworkLimits::default(), &[]);
    for id in 0..100 {
        assert_eq!(enter(&mut gate, id, PeerId::random(), "/ip4/203.0.113.1/tcp/1"), Ok(()));
        gate.closed(&ConnectionId::new_unchecked(id));
        assert_eq!(leave(&mut gate, id, PeerId::random(), "/ip4/203.0.113.1/tcp/1", PortUse::Reuse), Ok(()));
        gate.closed(&ConnectionId::new_unchecked(id));
    }
    assert!(gate.per_peer.is_empty() && gate.links.is_empty());
    assert!(gate.per_subnet.is_empty() && gate.outbound_per_subnet.is_empty());
}

#[test]
fn one_subnet_is_not_all_that_a_node_dials() {
    let friend = PeerId::random();
    let limits = NetworkLimits { outbound_per_subnet_max: 2, ..NetworkLimits::default() };
    let mut gate = gate(limits, &[friend]);
    let mut dial = |id, peer, to| leave(&mut gate, id, peer, to, PortUse::Reuse);
    assert_eq!(dial(1, PeerId::random(), "/ip4/203.0.113.1/tcp/1"), Ok(()));
    assert_eq!(dial(2, PeerId::random(), "/ip4/203.0.113.2/tcp/1"), Ok(()));
    assert_eq!(dial(3, PeerId::random(), "/ip4/203.0.113.3/tcp/1"), Err(Refusal::Subnet));
    assert_eq!(dial(4, friend, "/ip4/203.0.113.3/tcp/1"), Ok(()), "the operator knows it");
    assert_eq!(dial(5, PeerId::random(), "/ip4/203.0.114.3/tcp/1"), Ok(()));
    for id in 10..20 {
        assert_eq!(dial(id, PeerId::random(), "/ip4/192.168.1.3/tcp/1"), Ok(()), "private");
    }
    let full: Multiaddr = "/ip4/203.0.113.9/tcp/1".parse().unwrap();
    let free: Multiaddr = "/ip4/203.0.115.9/tcp/1".parse().unwrap();
    assert!(!gate.is_diverse(&PeerId::random(), std::slice::from_ref(&full)));
    assert!(gate.is_diverse(&friend, std::slice::from_ref(&full)));
    assert!(gate.is_diverse(&PeerId::random(), &[full, free]));
}

#[test]
fn tests_of_addresses_do_not_use_up_the_outbound_quota() {
    let limits = NetworkLimits { outbound_max: 1, ..NetworkLimits::default() };
    let mut gate = gate(limits, &[]);
    for id in 0..10 {
        let peer = PeerId::random();
        assert_eq!(enter(&mut gate, id, peer, "/ip4/192.168.1.3/tcp/1"), Ok(()));
        assert_eq!(leave(&mut gate, id + 100, peer, "/ip4/192.168.1.3/tcp/2", PortUse::New), Ok(()));
    }
    let mut dial = |id| leave(&mut gate, id, PeerId::random(), "/ip4/192.168.1.9/tcp/1", PortUse::Reuse);
    assert_eq!(dial(200), Ok(()));
    assert_eq!(dial(201), Err(Refusal::Outbound));
}

#[test]
fn a_stranger_does_not_choose_whom_this_node_knocks_at() {
    let mut gate = gate(NetworkLimits::default(), &[]);
    let (stranger, neighbour) = (PeerId::random(), PeerId::random());
    enter(&mut gate, 1, stranger, "/ip4/203.0.113.1/tcp/1").unwrap();
    enter(&mut gate, 2, neighbour, "/ip4/192.168.1.3/tcp/1").unwrap();
    let inside: &[Multiaddr] = &["/ip4/192.168.1.9/tcp/22".parse().unwrap()];
    let outside: &[Multiaddr] = &["/ip4/203.0.113.9/tcp/22".parse().unwrap()];
    assert_eq!(gate.check_dial(&stranger, inside), Err(Refusal::Inside));
    assert_eq!(gate.check_dial(&stranger, outside), Ok(()));
    assert_eq!(gate.check_dial(&neighbour, inside), Ok(()));
    assert_eq!(gate.check_dial(&PeerId::random(), inside), Ok(()), "not connected: its own wish");
}

#[test]
fn lists_are_obeyed() {
    let (friend, stranger, enemy) = (PeerId::random(), PeerId::random(), PeerId::random());
    let mut gate = Gate::new(
        &NetworkLimits::default(),
        &[friend.to_base58(), enemy.to_base58()],
        &[enemy.to_base58()],
        BTreeSet::new(),
    )
    .unwrap();
    assert_eq!(gate.check_peer(&friend), Ok(()));
    assert_eq!(gate.check_peer(&stranger), Err(Refusal::NotAllowed));
    assert_eq!(gate.check_peer(&enemy), Err(Refusal::Denied));
    gate.ban(friend);
    assert_eq!(gate.check_peer(&friend), Err(Refusal::Banned));
    gate.pardon(&friend);
    assert_eq!(gate.check_peer(&friend), Ok(()));
}
