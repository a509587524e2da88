//! Who is connected, who may stay, and who else is out there.

use super::Task;
use super::session::{Session, Stage};
use crate::Reachability;
use crate::book::Role;
use crate::convert::{ip_of, is_plausible, is_relayed, split_peer, to_peer_id};
use crate::names::Kinship;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId, identify, kad, mdns, ping};
use purlin_sync::{NetworkEvent, Offence};

/// A node of another chain is not dialled again for this long.
const OTHER_CHAIN_MS: u64 = 300_000;
/// Addresses that are believed of one peer's list.
const CLAIMED_MAX: usize = 16;

impl Task {
    pub(super) fn is_ours(&self, peer: &PeerId) -> bool {
        self.sessions.get(peer).is_some_and(|session| session.stage == Stage::Ours)
    }

    pub(super) fn on_opened(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let now_ms = self.now_ms();
        let session = self.sessions.entry(peer).or_insert_with(|| Session::new(&self.limits, now_ms));
        let is_punched = session.is_relayed();
        session.open(id, endpoint, now_ms);
        tracing::debug!(peer = %peer, address = %endpoint.get_remote_address(), "connection opened");
        self.show(&peer);
        if self.reachability == Reachability::Detect
            && !is_punched
            && let Some(address) = reached_at(endpoint)
        {
            self.is_reached_at(address.clone());
        }
    }

    pub(super) fn on_closed(&mut self, peer: PeerId, id: ConnectionId, left: u32) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        session.links.remove(&id);
        if left > 0 {
            self.show(&peer);
            return;
        }
        let now_ms = self.now_ms();
        let stage = self.sessions.remove(&peer).map(|session| session.stage);
        if stage == Some(Stage::Ours) {
            self.book.left(&peer, now_ms);
            self.shared.view.write().peers.remove(&to_peer_id(&peer));
            self.inbox.owe(NetworkEvent::Disconnected { peer: to_peer_id(&peer) });
            self.upkeep.is_dirty = true;
        } else {
            // It hung up before it said who it is: it has no room, or does not want us.
            self.book.failed(&peer, now_ms, random());
        }
    }

    /// Takes a peer for one of this chain; returns whether it is. Who speaks a protocol that has the genesis in its name
    /// has proved enough, so that its first message is not lost while identify is still under way.
    pub(super) fn admit(&mut self, peer: PeerId) -> bool {
        let now_ms = self.now_ms();
        let Some(session) = self.sessions.get_mut(&peer) else { return false };
        match session.stage {
            Stage::Ours => true,
            Stage::Foreign => false,
            Stage::Unidentified => {
                session.stage = Stage::Ours;
                let dialled: Vec<Multiaddr> = session.dialled().cloned().collect();
                for address in dialled {
                    self.learn(peer, address);
                }
                self.book.seen(&peer, now_ms);
                let score = self.standing.score(&peer, now_ms);
                self.swarm.behaviour_mut().gossip.set_application_score(&peer, f64::from(score));
                self.show(&peer);
                self.inbox.owe(NetworkEvent::Connected { peer: to_peer_id(&peer) });
                self.upkeep.is_dirty = true;
                true
            }
        }
    }

    pub(super) fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id: peer, info, .. } = event else { return };
        if !self.sessions.contains_key(&peer) {
            return;
        }
        match self.genesis.kinship(&info.protocol_version) {
            Kinship::OtherChain => return self.turn_away(peer, &info.protocol_version),
            Kinship::OtherSoftware => {
                if !self.tolerate(peer) {
                    return;
                }
            }
            Kinship::Same => {
                self.admit(peer);
            }
        }
        let now_ms = self.now_ms();
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let serves_kad = info.protocols.contains(&self.genesis.kad());
        let is_news = session.identify(&info.agent_version, serves_kad);
        let seen: Vec<Multiaddr> = session.links.values().map(|link| link.address.clone()).collect();
        let is_ours = session.stage == Stage::Ours;
        for address in info.listen_addrs.into_iter().take(CLAIMED_MAX) {
            let address = match split_peer(address.clone()) {
                Some((id, rest)) if id == peer => rest,
                // An address through a relay ends in this peer's id; one that ends in another's leads elsewhere.
                Some(_) => continue,
                None => address,
            };
            if !seen.iter().any(|seen| is_plausible(&address, seen)) {
                continue;
            }
            if serves_kad {
                self.swarm.behaviour_mut().dht.kad.add_address(&peer, address.clone());
            }
            if is_ours {
                self.learn(peer, address);
            }
        }
        if is_ours {
            self.book.seen(&peer, now_ms);
        }
        if is_news {
            self.upkeep.search_soon(now_ms);
        }
        self.show(&peer);
    }

    /// Disconnects a node of another chain.
    fn turn_away(&mut self, peer: PeerId, version: &str) {
        let theirs: String = version.chars().filter(|c| !c.is_control()).take(80).collect();
        tracing::warn!(
            peer = %peer, ours = %self.genesis.version(), theirs,
            "a node of another chain was disconnected: the genesis ids differ; check the genesis file or the address"
        );
        self.shared.counts.peers.other_chain.one();
        self.drop_peer(peer, self.now_ms() + OTHER_CHAIN_MS);
    }

    /// Lets other software stay, within a limit; returns whether it may.
    fn tolerate(&mut self, peer: PeerId) -> bool {
        let foreign = self
            .sessions
            .iter()
            .filter(|(other, session)| session.stage == Stage::Foreign && **other != peer)
            .count();
        let Some(session) = self.sessions.get_mut(&peer) else { return false };
        if session.stage == Stage::Ours {
            return true;
        }
        session.stage = Stage::Foreign;
        if foreign < self.limits.foreign_max as usize {
            return true;
        }
        tracing::debug!(peer = %peer, "a node of other software was disconnected: there are enough of them");
        self.drop_peer(peer, self.now_ms() + OTHER_CHAIN_MS);
        false
    }

    /// Ends all connections with a peer and does not dial it for a while.
    pub(super) fn drop_peer(&mut self, peer: PeerId, avoid_until_ms: u64) {
        self.book.avoid(&peer, avoid_until_ms);
        self.swarm.behaviour_mut().dht.kad.remove_peer(&peer);
        // An error says that it is gone already.
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    pub(super) fn on_ping(&mut self, event: &ping::Event) {
        let now_ms = self.now_ms();
        let Some(session) = self.sessions.get_mut(&event.peer) else { return };
        let Some(link) = session.links.get_mut(&event.connection) else { return };
        if let Err(ping::Failure::Unsupported) = event.result {
            link.answers = false;
        }
        if let Ok(time) = event.result {
            link.heard_ms = now_ms;
            session.ping_us = Some(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
            self.show(&event.peer);
        }
    }

    /// Shows people the present state of a peer.
    pub(super) fn show(&self, peer: &PeerId) {
        let Some(session) = self.sessions.get(peer).filter(|session| session.stage == Stage::Ours) else {
            return;
        };
        let info = session.info(peer, self.standing.score(peer, self.now_ms()));
        self.shared.view.write().peers.insert(info.id.clone(), info);
    }

    /// Holds an offence against a peer, and bans it when it is one too many. Reserved peers are not banned: cutting off
    /// one of four validators for a mistaken report would stop the chain.
    pub(super) fn charge(&mut self, peer: PeerId, offence: Offence) {
        let now_ms = self.now_ms();
        let score = self.standing.charge(peer, offence, now_ms);
        self.shared.counts.peers.offences.one();
        tracing::debug!(peer = %peer, ?offence, score, "an offence");
        self.show(&peer);
        if self.swarm.behaviour().gate.is_reserved(&peer) {
            // Gossip below its threshold is as good as a ban.
            return;
        }
        self.swarm.behaviour_mut().gossip.set_application_score(&peer, f64::from(score));
        if self.standing.deserves_ban(score) {
            let until_ms = self.standing.ban(peer, now_ms);
            tracing::info!(peer = %peer, ?offence, seconds = (until_ms - now_ms) / 1_000, "a peer is banned");
            self.shared.counts.peers.bans.one();
            self.swarm.behaviour_mut().gate.ban(peer);
            self.drop_peer(peer, until_ms);
            self.upkeep.save_now();
        }
    }

    /// Holds going over a limit against a peer, once a second.
    pub(super) fn charge_flood(&mut self, peer: PeerId) {
        let now_ms = self.now_ms();
        if self.sessions.get_mut(&peer).is_some_and(|session| session.begins_flood(now_ms)) {
            self.charge(peer, Offence::Flooded);
        }
    }

    /// Notes where a peer can be found.
    fn learn(&mut self, peer: PeerId, address: Multiaddr) {
        let address = match split_peer(address.clone()) {
            Some((id, rest)) if id == peer => rest,
            Some(_) => return,
            None => address,
        };
        if peer != *self.swarm.local_peer_id() {
            self.book.add(peer, address, Role::Known);
        }
    }

    pub(super) fn on_kad(&mut self, event: kad::Event) {
        let kad::Event::OutboundQueryProgressed {
            id,
            result: kad::QueryResult::GetClosestPeers(result),
            step,
            ..
        } = event
        else {
            return;
        };
        let found = match result {
            Ok(found) => found.peers,
            Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
        };
        for peer in found {
            for address in peer.addrs {
                self.learn(peer.peer_id, address);
            }
        }
        if step.last && self.search == Some(id) {
            self.search = None;
        }
    }

    pub(super) fn on_mdns(&mut self, event: mdns::Event) {
        if let mdns::Event::Discovered(found) = event {
            for (peer, address) in found {
                self.learn(peer, address);
            }
        }
    }

    pub(super) fn on_dial_failure(&mut self, peer: PeerId, error: &DialError) {
        match error {
            DialError::DialPeerConditionFalse(_) => {}
            error => {
                self.shared.counts.peers.dial_failures.one();
                tracing::debug!(peer = %peer, %error, "a dial failed");
                if !self.sessions.contains_key(&peer) {
                    self.book.failed(&peer, self.now_ms(), random());
                }
            }
        }
    }
}

/// Returns the own address that somebody dialled, which is then known to be one that can be dialled. AutoNAT finds out
/// about others, those of a router for example; but it asks only peers this node dialled, and a seed may dial nobody.
fn reached_at(endpoint: &ConnectedPoint) -> Option<&Multiaddr> {
    let ConnectedPoint::Listener { local_addr, send_back_addr } = endpoint else { return None };
    let is_direct = !is_relayed(local_addr) && ip_of(local_addr).is_some();
    (is_direct && is_plausible(local_addr, send_back_addr)).then_some(local_addr)
}

/// Returns a number nobody needs to guess or repeat: it spreads dials in time.
pub(super) fn random() -> u32 {
    getrandom::u32().unwrap_or_default()
}
