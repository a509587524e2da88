//! What is done from time to time: listeners, dials, searches, the file of peers, and the end.

use super::Task;
use super::session::Stage;
use crate::Reachability;
use crate::book::Role;
use crate::convert::ip_of;
use crate::store::{Kept, KeptBan, KeptPeer, Store};
use crate::transport;
use futures::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use purlin_sync::RequestFailure;
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Time in which listeners must be up at the start.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a listener is tried again.
const LISTEN_RETRY_MS: u64 = 10_000;
/// Time between searches of the DHT, and the least time after a new peer appeared.
const SEARCH_MS: u64 = 30_000;
const SEARCH_SOON_MS: u64 = 500;
/// Time between writes of the file of peers.
const SAVE_MS: u64 = 30_000;
/// Outbound peers to return to first after a restart.
const ANCHORS_MAX: usize = 8;
/// Time for goodbyes, and for a user who does not take the last answers.
const GOODBYE: Duration = Duration::from_secs(2);
/// Time for the ports: QUIC keeps its socket for 3 s after a handshake that was cut off.
const PORTS_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between looks at whether a port is free.
const PORT_RETRY: Duration = Duration::from_millis(10);

/// An address to listen on, now or later.
#[derive(Debug)]
pub(crate) struct Listener {
    address: Multiaddr,
    id: Option<ListenerId>,
    is_up: bool,
    retry_ms: u64,
}

impl Listener {
    /// One that was started.
    pub(crate) fn started(address: Multiaddr, id: ListenerId) -> Self {
        Self { address, id: Some(id), is_up: false, retry_ms: 0 }
    }

    /// One to start later: a relay need not be there yet.
    pub(crate) fn planned(address: Multiaddr) -> Self {
        Self { address, id: None, is_up: false, retry_ms: 0 }
    }
}

/// What is due when.
pub(crate) struct Upkeep {
    listeners: Vec<Listener>,
    store: Option<Store>,
    saving: Option<JoinHandle<io::Result<()>>>,
    pub(super) is_dirty: bool,
    next_save_ms: u64,
    next_search_ms: u64,
}

impl Upkeep {
    pub(super) fn new(listeners: Vec<Listener>, store: Option<Store>, now_ms: u64) -> Self {
        Self {
            listeners,
            store,
            saving: None,
            is_dirty: false,
            next_save_ms: now_ms + SAVE_MS,
            next_search_ms: now_ms + SEARCH_SOON_MS,
        }
    }

    /// Writes at the next tick: a ban should survive a crash.
    pub(super) fn save_now(&mut self) {
        self.is_dirty = true;
        self.next_save_ms = 0;
    }

    /// Searches soon: the DHT has a new peer to ask.
    pub(super) fn search_soon(&mut self, now_ms: u64) {
        self.next_search_ms = self.next_search_ms.min(now_ms + SEARCH_SOON_MS);
    }
}

impl Task {
    /// Waits until the listeners of the configuration are up.
    pub(crate) async fn listen(&mut self) {
        let waiting = async {
            while self.upkeep.listeners.iter().any(|listener| listener.id.is_some() && !listener.is_up) {
                let event = self.swarm.select_next_some().await;
                self.on_swarm_event(event);
            }
        };
        if tokio::time::timeout(LISTEN_TIMEOUT, waiting).await.is_err() {
            tracing::warn!("not all listen addresses are up yet; going on");
        }
    }

    /// Takes over what the last run knew.
    pub(super) fn restore(&mut self) {
        let Some(store) = &self.upkeep.store else { return };
        let kept = store.load(self.genesis);
        let now_ms = self.clock.now_ms();
        for peer in kept.peers {
            let Ok(id) = peer.id.parse::<PeerId>() else { continue };
            let addresses = peer.addresses.iter().filter_map(|address| address.parse().ok()).collect();
            let role = if peer.anchor { Role::Anchor } else { Role::Known };
            self.book.restore(id, addresses, peer.seen_ms, role);
        }
        for ban in kept.bans.into_iter().take(crate::standing::BANS_MAX) {
            let Ok(id) = ban.id.parse::<PeerId>() else { continue };
            if ban.until_ms > now_ms {
                self.standing.restore(id, ban.until_ms);
                self.swarm.behaviour_mut().gate.ban(id);
                self.book.avoid(&id, ban.until_ms);
            }
        }
    }

    pub(super) fn on_tick(&mut self) {
        let now_ms = self.now_ms();
        self.inbox.flush();
        self.expire_gossip(now_ms);
        self.expire_requests(now_ms);
        for peer in self.standing.expire(now_ms) {
            tracing::info!(peer = %peer, "a ban is over");
            self.swarm.behaviour_mut().gate.pardon(&peer);
            self.upkeep.is_dirty = true;
        }
        self.drop_silent(now_ms);
        self.close_dead(now_ms);
        self.close_dial_backs(now_ms);
        self.restart_listeners(now_ms);
        self.dial(now_ms);
        self.search(now_ms);
        self.save(now_ms);
    }

    /// Ends connections of peers that do not say who they are.
    fn drop_silent(&mut self, now_ms: u64) {
        let timeout_ms = super::millis(self.limits.handshake_timeout);
        let silent: Vec<PeerId> = self
            .sessions
            .iter()
            .filter(|(_, session)| {
                session.stage == Stage::Unidentified && session.since_ms + timeout_ms <= now_ms
            })
            .map(|(peer, _)| *peer)
            .collect();
        for peer in silent {
            tracing::debug!(peer = %peer, "a peer did not identify itself in time");
            // An error says that it is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Closes connections that stand and carry nothing.
    fn close_dead(&mut self, now_ms: u64) {
        let timeout_ms = super::millis(self.limits.silence_timeout);
        let links = self
            .sessions
            .iter()
            .flat_map(|(peer, session)| session.links.iter().map(move |(id, link)| (*peer, *id, link)));
        let dead: Vec<_> = links
            .filter(|(_, _, link)| link.answers && link.heard_ms + timeout_ms <= now_ms)
            .map(|(peer, id, _)| (peer, id))
            .collect();
        for (peer, connection) in dead {
            tracing::info!(peer = %peer, "a connection answers no ping any more; it is closed");
            self.swarm.close_connection(connection);
        }
    }

    /// Closes connections that have served to test an address: each costs memory on both sides. Not while requests are
    /// under way, which may be on any connection with the peer.
    fn close_dial_backs(&mut self, now_ms: u64) {
        let idle = self.sessions.iter().filter(|(peer, _)| !self.requests.are_under_way(peer));
        let spent: Vec<_> = idle.flat_map(|(_, session)| session.spent_dial_backs(now_ms)).collect();
        for connection in spent {
            self.swarm.close_connection(connection);
        }
    }

    fn restart_listeners(&mut self, now_ms: u64) {
        for listener in &mut self.upkeep.listeners {
            if listener.id.is_some() || listener.retry_ms > now_ms {
                continue;
            }
            listener.retry_ms = now_ms + LISTEN_RETRY_MS;
            match self.swarm.listen_on(listener.address.clone()) {
                Ok(id) => listener.id = Some(id),
                Err(error) => {
                    tracing::warn!(address = %listener.address, %error, "cannot listen; trying again later");
                }
            }
        }
    }

    fn dial(&mut self, now_ms: u64) {
        let outbound = self.sessions.values().filter(|session| session.is_outbound()).count();
        let missing = (self.limits.outbound_wanted as usize).saturating_sub(outbound);
        let sessions = &self.sessions;
        let gate = &self.swarm.behaviour().gate;
        let is_out = |peer: &PeerId, addresses: &[Multiaddr]| {
            sessions.contains_key(peer) || !gate.is_diverse(peer, addresses)
        };
        let due = self.book.due(now_ms, missing, is_out);
        let patience_ms = super::millis(self.limits.handshake_timeout) + 5_000;
        for (peer, addresses) in due {
            self.book.dialling(&peer, now_ms + patience_ms);
            self.shared.counts.peers.dials.one();
            let dial = DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(addresses)
                .build();
            if let Err(error) = self.swarm.dial(dial) {
                self.on_dial_failure(peer, &error);
            }
        }
    }

    /// Looks for peers around a random place of the DHT while there are too few.
    fn search(&mut self, now_ms: u64) {
        let known = self.sessions.values().filter(|session| session.stage == Stage::Ours).count();
        let is_enough = known >= self.limits.peers_wanted as usize;
        if self.search.is_some() || now_ms < self.upkeep.next_search_ms || is_enough {
            return;
        }
        self.upkeep.next_search_ms = now_ms + SEARCH_MS;
        self.shared.counts.peers.searches.one();
        self.search = Some(self.swarm.behaviour_mut().dht.kad.get_closest_peers(PeerId::random()));
    }

    fn save(&mut self, now_ms: u64) {
        if let Some(saving) = self.upkeep.saving.take_if(|saving| saving.is_finished()) {
            tokio::spawn(report(saving));
        }
        if !self.upkeep.is_dirty || now_ms < self.upkeep.next_save_ms || self.upkeep.saving.is_some() {
            return;
        }
        self.upkeep.is_dirty = false;
        self.upkeep.next_save_ms = now_ms + SAVE_MS;
        self.upkeep.saving = self.begin_save();
    }

    /// Writes on another thread: disks are slow.
    fn begin_save(&self) -> Option<JoinHandle<io::Result<()>>> {
        let store = self.upkeep.store.clone()?;
        let kept = self.kept();
        Some(tokio::task::spawn_blocking(move || store.save(&kept)))
    }

    fn kept(&self) -> Kept {
        let anchors: BTreeSet<PeerId> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.stage == Stage::Ours && session.is_outbound())
            .map(|(peer, _)| *peer)
            .take(ANCHORS_MAX)
            .collect();
        let peers = self.book.proven().map(|(peer, entry)| KeptPeer {
            id: peer.to_base58(),
            addresses: entry.addresses.iter().map(ToString::to_string).collect(),
            seen_ms: entry.seen_ms,
            anchor: anchors.contains(peer),
        });
        let bans = self.standing.bans().map(|(peer, until_ms)| KeptBan { id: peer.to_base58(), until_ms });
        Kept::new(self.genesis, peers.collect(), bans.collect())
    }

    pub(super) fn on_listening(&mut self, id: ListenerId, address: Multiaddr) {
        tracing::info!(%address, "listening");
        if let Some(listener) = self.upkeep.listeners.iter_mut().find(|listener| listener.id == Some(id)) {
            listener.is_up = true;
        }
        if self.reachability == Reachability::Reachable && ip_of(&address).is_some() {
            self.is_reached_at(address.clone());
        }
        let address = address.to_string();
        let mut view = self.shared.view.write();
        if !view.listening.contains(&address) {
            view.listening.push(address);
        }
    }

    pub(super) fn on_not_listening(&mut self, address: &Multiaddr) {
        let text = address.to_string();
        self.shared.view.write().listening.retain(|known| *known != text);
        self.swarm.remove_external_address(address);
        self.show_external();
    }

    /// Notes an address at which others reach this node.
    pub(super) fn is_reached_at(&mut self, address: Multiaddr) {
        if self.swarm.external_addresses().any(|known| *known == address) {
            return;
        }
        self.swarm.add_external_address(address);
        self.show_external();
    }

    /// Shows people the addresses at which others reach this node.
    pub(super) fn show_external(&self) {
        let mut external: Vec<String> = self.swarm.external_addresses().map(ToString::to_string).collect();
        external.sort_unstable();
        if self.shared.view.read().external != external {
            tracing::info!(addresses = ?external, "addresses at which others reach this node");
            self.shared.view.write().external = external;
        }
    }

    pub(super) fn on_listener_closed(
        &mut self,
        id: ListenerId,
        addresses: &[Multiaddr],
        reason: Result<(), io::Error>,
    ) {
        for address in addresses {
            self.on_not_listening(address);
        }
        let now_ms = self.now_ms();
        if let Some(listener) = self.upkeep.listeners.iter_mut().find(|listener| listener.id == Some(id)) {
            tracing::warn!(address = %listener.address, ?reason, "a listener ended; trying again later");
            listener.id = None;
            listener.is_up = false;
            listener.retry_ms = now_ms + LISTEN_RETRY_MS;
        }
    }

    /// Ends everything: at once as a rule, within ten seconds at worst.
    pub(super) async fn shut_down(mut self) {
        // Before the connections end, so that outbound peers become anchors.
        let kept = self.kept();
        if let Some(mut left) = self.shared.close() {
            loop {
                let batch = left.take();
                for (peer, id) in batch.refused {
                    self.refuse(peer, id, RequestFailure::Disconnected);
                }
                for command in batch.commands {
                    if let crate::outbox::Command::Request { peer, id, .. } = command {
                        self.refuse(peer, id, RequestFailure::Disconnected);
                    }
                }
                if !batch.is_full {
                    break;
                }
            }
        }
        let ports: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        for listener in self.upkeep.listeners.drain(..) {
            if let Some(id) = listener.id {
                self.swarm.remove_listener(id);
            }
        }
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error says that it is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let goodbye = async {
            while self.swarm.network_info().num_peers() > 0 {
                let event = self.swarm.select_next_some().await;
                self.on_swarm_event(event);
            }
        };
        if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
            tracing::debug!("some peers were left without a goodbye");
        }
        self.abandon_requests();
        let last_words = async {
            while !self.inbox.flush() {
                tokio::time::sleep(PORT_RETRY).await;
            }
        };
        if tokio::time::timeout(GOODBYE, last_words).await.is_err() {
            tracing::warn!("the last events of the network were not taken");
        }
        if let Some(saving) = self.upkeep.saving.take() {
            report(saving).await;
        }
        if let Some(store) = self.upkeep.store.take() {
            report(tokio::task::spawn_blocking(move || store.save(&kept))).await;
        }
        self.shared.view.write().peers.clear();
        self.shared.view.write().listening.clear();
        drop(self);
        wait_for_ports(&ports).await;
        tracing::info!("network is down");
    }
}

/// The sockets of a dropped swarm close in tasks of their own.
async fn wait_for_ports(ports: &[Multiaddr]) {
    let free = async {
        while ports.iter().any(|port| transport::probe(port).is_err()) {
            tokio::time::sleep(PORT_RETRY).await;
        }
    };
    if tokio::time::timeout(PORTS_TIMEOUT, free).await.is_err() {
        tracing::warn!(?ports, "the listen ports are not free yet");
    }
}

async fn report(saving: JoinHandle<io::Result<()>>) {
    match saving.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot keep the known peers; check the disk and the folder's permissions");
        }
        Err(error) => tracing::error!(%error, "writing the known peers panicked"),
    }
}
