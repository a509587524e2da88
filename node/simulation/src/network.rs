//! Carries what nodes say to each other, or not.
//!
//! Gossip goes to every connected peer and from there on, each message once per node within half a minute, as
//! gossipsub is set up. Requests end in exactly one answer or failure.

use purlin_service::Part;
use purlin_sync::limits::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use purlin_sync::{
    GossipId, GossipVerdict, InboundId, NetworkEvent, Offence, RequestFailure, RequestId, Topic,
};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::adversary::Sent;
use crate::ledger::{Checked, Violation};
use crate::link::{Output, peer_id};
use crate::random::Random;
use crate::world::{Event, World};

/// Time after which a request counts as failed, as the network is set up.
const REQUEST_TIMEOUT_US: u64 = 15_000_000;
/// Requests of a node that wait for its answer.
const INBOUND_MAX: usize = 512;
/// Score at which a peer is banned, and for how long, as the network is set up.
const BAN_SCORE: i64 = -100;
const BAN_US: u64 = 60_000_000;
/// A score recovers by one in this time.
const RECOVERY_US: u64 = 1_000_000;

/// What travels.
#[derive(Debug, Clone)]
pub(crate) enum Parcel {
    Gossip {
        from: usize,
        topic: Topic,
        bytes: Arc<Vec<u8>>,
    },
    Request {
        from: usize,
        id: InboundId,
        bytes: Vec<u8>,
    },
    Response {
        from: usize,
        id: RequestId,
        outcome: Result<Vec<u8>, RequestFailure>,
    },
    /// For the node itself, from its own network.
    Event(NetworkEvent),
}

/// Which ways are open, and what is under way.
pub(crate) struct Wires {
    /// By sender and receiver; counts the faults that cut it.
    cuts: BTreeMap<(usize, usize), u32>,
    /// Nodes that hear no gossip; counts the faults that make them so.
    deaf: BTreeMap<usize, u32>,
    random: Random,
    next_id: u64,
    /// Who asked, in which life, and what the asker calls it.
    inbound: BTreeMap<InboundId, (usize, u64, usize, RequestId)>,
    /// Score of a peer at a node, and when it was that.
    scores: BTreeMap<(usize, usize), (i64, u64)>,
    banned: BTreeSet<(usize, usize)>,
}

impl Wires {
    pub(crate) fn new(_nodes: usize, random: Random) -> Self {
        Self {
            cuts: BTreeMap::new(),
            deaf: BTreeMap::new(),
            random,
            next_id: 0,
            inbound: BTreeMap::new(),
            scores: BTreeMap::new(),
            banned: BTreeSet::new(),
        }
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        *self.cuts.entry((from, to)).or_default() += 1;
    }

    pub(crate) fn mend(&mut self, from: usize, to: usize) {
        if let Some(cuts) = self.cuts.get_mut(&(from, to)) {
            *cuts = cuts.saturating_sub(1);
        }
    }

    pub(crate) fn deafen(&mut self, node: usize) {
        *self.deaf.entry(node).or_default() += 1;
    }

    pub(crate) fn open_ears(&mut self, node: usize) {
        if let Some(faults) = self.deaf.get_mut(&node) {
            *faults = faults.saturating_sub(1);
        }
    }

    pub(crate) fn mend_all(&mut self) {
        self.cuts.clear();
        self.deaf.clear();
    }

    fn is_deaf(&self, node: usize) -> bool {
        self.deaf.get(&node).is_some_and(|faults| *faults > 0)
    }

    pub(crate) fn pardon(&mut self, node: usize, peer: usize) {
        self.banned.remove(&(node, peer));
        self.scores.remove(&(node, peer));
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts.get(&(from, to)).is_some_and(|cuts| *cuts > 0)
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Lowers a score and returns it.
    fn charge(&mut self, now_us: u64, node: usize, peer: usize, offence: Offence) -> i64 {
        let points = match offence {
            Offence::Malformed | Offence::Invalid => 20,
            Offence::Lied => 25,
            Offence::Flooded => 10,
            Offence::Stalled => 5,
        };
        let (score, at) = self.scores.entry((node, peer)).or_insert((0, now_us));
        let recovered = ((now_us - *at) / RECOVERY_US) as i64;
        *score = (*score + recovered).min(0) - points;
        *at = now_us;
        *score
    }
}

fn digest(topic: Topic, bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (topic, bytes).hash(&mut hasher);
    hasher.finish()
}

impl World {
    /// Takes what a node said and sends it.
    pub(crate) fn carry(&mut self, node: usize) -> Checked {
        let one = &mut self.nodes[node];
        let Some(running) = &one.running else { return Ok(()) };
        let outputs = running.link.take();
        if outputs.is_empty() {
            return Ok(());
        }
        match (&mut one.adversary, &one.key) {
            (Some(adversary), _) => {
                let sent = adversary.send(running.node.chain(), &running.link.connected(), outputs);
                self.send_all(node, sent)
            }
            (None, key) => {
                if let Some(key) = key {
                    let own = key.public_key();
                    for output in &outputs {
                        if let Output::Publish { topic: Topic::Consensus, bytes } = output {
                            self.ledger.audit(&own, bytes)?;
                        }
                    }
                }
                outputs.into_iter().try_for_each(|output| self.send(node, output))
            }
        }
    }

    pub(crate) fn send_all(&mut self, node: usize, sent: Vec<Sent>) -> Checked {
        for one in sent {
            match one {
                Sent::Output(output) => self.send(node, output)?,
                Sent::Gossip { to, topic, bytes } => {
                    let bytes = Arc::new(bytes);
                    if bytes.len() > topic.bytes_max() {
                        self.statistics.oversized += 1;
                        continue;
                    }
                    for peer in to {
                        let bytes = Arc::clone(&bytes);
                        self.dispatch(node, peer, Parcel::Gossip { from: node, topic, bytes });
                    }
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, node: usize, output: Output) -> Checked {
        let now = self.now_us;
        let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
        match output {
            Output::Publish { topic, bytes } => {
                if bytes.len() > topic.bytes_max() {
                    self.statistics.oversized += 1;
                    return Ok(());
                }
                if running.sees(now, digest(topic, &bytes)) {
                    self.spread(node, None, topic, &Arc::new(bytes));
                }
            }
            Output::Judge { id, verdict } => {
                let Some(one) = running.judged(id) else { return Ok(()) };
                match verdict {
                    GossipVerdict::Relay => self.spread(node, Some(one.from), one.topic, &one.bytes),
                    GossipVerdict::Ignore => {}
                    GossipVerdict::Reject => return self.charge(node, one.from, Offence::Invalid, "gossip"),
                }
            }
            Output::Ask { peer, id, bytes } => self.ask(node, peer, id, bytes),
            Output::Answer { id, bytes } => {
                let Some((asker, life, _, request)) = self.wires.inbound.remove(&id) else { return Ok(()) };
                let outcome = match bytes {
                    None => Err(RequestFailure::Busy),
                    Some(bytes) if bytes.len() > RESPONSE_BYTES_MAX => Err(RequestFailure::Protocol),
                    Some(bytes) => Ok(bytes),
                };
                if self.nodes[asker].life == life {
                    self.dispatch(node, asker, Parcel::Response { from: node, id: request, outcome });
                }
            }
            Output::Report { peer, offence } => return self.charge(node, peer, offence, "report"),
        }
        Ok(())
    }

    fn spread(&mut self, node: usize, except: Option<usize>, topic: Topic, bytes: &Arc<Vec<u8>>) {
        let Some(running) = &self.nodes[node].running else { return };
        for peer in running.link.connected() {
            if Some(peer) != except {
                let bytes = Arc::clone(bytes);
                self.dispatch(node, peer, Parcel::Gossip { from: node, topic, bytes });
            }
        }
    }

    fn ask(&mut self, node: usize, peer: usize, id: RequestId, bytes: Vec<u8>) {
        let life = self.nodes[node].life;
        let Some(running) = &mut self.nodes[node].running else { return };
        let fails = if !running.link.is_connected(peer) {
            Some(RequestFailure::Disconnected)
        } else if bytes.len() > REQUEST_BYTES_MAX {
            Some(RequestFailure::Protocol)
        } else if self.wires.random.per_mille(self.weather.failed_per_mille) {
            self.statistics.request_failures += 1;
            Some(*self.wires.random.pick(&[RequestFailure::Busy, RequestFailure::Disconnected]))
        } else {
            None
        };
        running.asked.insert(id, peer);
        if let Some(failure) = fails {
            let parcel = Parcel::Response { from: peer, id, outcome: Err(failure) };
            return self.after(1_000, Event::Arrive { node, life, parcel });
        }
        let inbound = InboundId(self.wires.id());
        while self.wires.inbound.len() >= INBOUND_MAX * self.nodes.len() {
            self.wires.inbound.pop_first();
        }
        self.wires.inbound.insert(inbound, (node, life, peer, id));
        self.after(REQUEST_TIMEOUT_US, Event::Expire { node, life, id });
        self.dispatch(node, peer, Parcel::Request { from: node, id: inbound, bytes });
    }

    /// Sends one parcel on its way, unless it is lost.
    fn dispatch(&mut self, from: usize, to: usize, parcel: Parcel) {
        self.statistics.messages += 1;
        let Some(life) = self.nodes.get(to).map(|node| node.life) else { return };
        let random = &mut self.wires.random;
        if random.per_mille(self.weather.loss_per_mille) {
            self.statistics.lost += 1;
            return;
        }
        let copies = if random.per_mille(self.weather.twice_per_mille) { 2 } else { 1 };
        self.statistics.twice += copies - 1;
        if self.wires.is_cut(from, to) {
            self.statistics.cut += 1;
            return;
        }
        if matches!(parcel, Parcel::Gossip { .. }) && self.wires.is_deaf(to) {
            self.statistics.unheard += 1;
            return;
        }
        for _ in 0..copies {
            let (low, high) = self.weather.delay_us;
            let us = self.wires.random.between(low, high);
            self.after(us, Event::Arrive { node: to, life, parcel: parcel.clone() });
        }
    }

    pub(crate) fn arrive(&mut self, node: usize, life: u64, parcel: Parcel) -> Checked {
        let one = &self.nodes[node];
        if one.life != life || one.running.is_none() {
            return Ok(());
        }
        if one.stalled_until_us > self.now_us {
            let until = one.stalled_until_us;
            self.at(until, Event::Arrive { node, life, parcel });
            return Ok(());
        }
        let event = match parcel {
            Parcel::Event(event) => Some(event),
            Parcel::Gossip { from, topic, bytes } => self.hear(node, from, topic, bytes),
            Parcel::Request { from, id, bytes } => {
                if let Some(adversary) = &mut self.nodes[node].adversary {
                    adversary.hear_request(id, &bytes);
                }
                let connected = self.is_connected(node, from);
                connected.then(|| NetworkEvent::Request { from: peer_id(from), id, bytes })
            }
            Parcel::Response { from, id, outcome } => {
                let running = self.nodes[node].running.as_mut();
                let asked = running.and_then(|running| running.asked.remove(&id));
                asked.map(|_| NetworkEvent::Response { id, from: peer_id(from), outcome })
            }
        };
        if let Some(event) = event {
            self.trace.mix(self.now_us, &[node as u64, 10]);
            self.trace.line(self.now_us, || format!("node {node} hears {}", describe(&event)));
            self.deliver(node, event);
            self.poke(node);
        }
        Ok(())
    }

    fn is_connected(&self, node: usize, peer: usize) -> bool {
        self.nodes[node].running.as_ref().is_some_and(|running| running.link.is_connected(peer))
    }

    fn hear(&mut self, node: usize, from: usize, topic: Topic, bytes: Arc<Vec<u8>>) -> Option<NetworkEvent> {
        if !self.is_connected(node, from) {
            return None;
        }
        let (now, id) = (self.now_us, GossipId(self.wires.id()));
        let one = &mut self.nodes[node];
        let running = one.running.as_mut()?;
        if !running.sees(now, digest(topic, &bytes)) {
            return None;
        }
        if let Some(adversary) = &mut one.adversary {
            adversary.hear_gossip(topic, &bytes);
        }
        running.unjudged(now, id, from, topic, Arc::clone(&bytes));
        if topic == Topic::Consensus {
            self.expect_evidence(node, &bytes);
        }
        let from = peer_id(from);
        Some(NetworkEvent::Gossip { topic, from, id, bytes: Arc::unwrap_or_clone(bytes) })
    }

    pub(crate) fn expire(&mut self, node: usize, life: u64, id: RequestId) -> Checked {
        let one = &mut self.nodes[node];
        if one.life != life {
            return Ok(());
        }
        let asked = one.running.as_mut().and_then(|running| running.asked.remove(&id));
        if let Some(peer) = asked {
            self.statistics.timeouts += 1;
            let outcome = Err(RequestFailure::Timeout);
            self.deliver(node, NetworkEvent::Response { id, from: peer_id(peer), outcome });
            self.poke(node);
        }
        Ok(())
    }

    /// Joins two nodes that run, unless the way is broken.
    pub(crate) fn connect(&mut self, node: usize, peer: usize) -> Checked {
        let runs = |node: usize| self.nodes[node].running.is_some();
        let banned = self.wires.banned.contains(&(node, peer)) || self.wires.banned.contains(&(peer, node));
        let cut = self.wires.is_cut(node, peer) || self.wires.is_cut(peer, node);
        if node == peer || !runs(node) || !runs(peer) || banned || cut {
            return Ok(());
        }
        for (one, other) in [(node, peer), (peer, node)] {
            let running = self.nodes[one].running.as_ref();
            if running.is_some_and(|running| running.link.connect(other)) {
                self.deliver(one, NetworkEvent::Connected { peer: peer_id(other) });
                self.poke(one);
            }
        }
        Ok(())
    }

    /// Breaks the connection of two nodes; what one had asked the other fails.
    pub(crate) fn disconnect(&mut self, node: usize, peer: usize) -> Checked {
        for (one, other) in [(node, peer), (peer, node)] {
            let Some(running) = &mut self.nodes[one].running else { continue };
            if !running.link.disconnect(other) {
                continue;
            }
            let asked: Vec<RequestId> =
                running.asked.iter().filter(|(_, peer)| **peer == other).map(|(id, _)| *id).collect();
            running.asked.retain(|_, peer| *peer != other);
            for id in asked {
                let outcome = Err(RequestFailure::Disconnected);
                self.deliver(one, NetworkEvent::Response { id, from: peer_id(other), outcome });
            }
            self.deliver(one, NetworkEvent::Disconnected { peer: peer_id(other) });
            self.poke(one);
        }
        Ok(())
    }

    /// Holds something against a peer, and cuts it off when it was too much.
    fn charge(&mut self, node: usize, peer: usize, offence: Offence, how: &str) -> Checked {
        if self.nodes.get(peer).is_none() {
            return Ok(());
        }
        self.trace.line(self.now_us, || format!("node {node} holds {offence:?} against node {peer} ({how})"));
        self.statistics.offences += 1;
        let honest = self.nodes[node].is_honest() && self.nodes[peer].is_honest();
        if honest && matches!(offence, Offence::Malformed | Offence::Invalid | Offence::Lied) {
            self.statistics.blamed_honest += 1;
            let detail = format!("node {node} holds {offence:?} against the honest node {peer} ({how})");
            return Err(Violation::new("blame", detail));
        }
        if self.wires.charge(self.now_us, node, peer, offence) <= BAN_SCORE
            && self.wires.banned.insert((node, peer))
        {
            self.statistics.bans += 1;
            self.disconnect(node, peer)?;
            self.after(BAN_US, Event::Pardon { node, peer });
        }
        Ok(())
    }
}

fn describe(event: &NetworkEvent) -> String {
    match event {
        NetworkEvent::Gossip { topic, from, bytes, .. } => {
            let what = match crate::ledger::signature(bytes) {
                Some((_, (_, height, round, kind), digest)) => {
                    let kind = ["proposal", "prevote", "precommit"].get(usize::from(kind)).unwrap_or(&"vote");
                    format!("{kind} {height}/{round} {}", &digest.to_string()[..10])
                }
                None => format!("{} bytes", bytes.len()),
            };
            format!("{what} on {} from {:?}", topic.name(), crate::link::node_of(from))
        }
        NetworkEvent::Request { from, bytes, .. } => {
            let request = purlin_sync::Request::decode(bytes);
            format!("{request:.120?} from {:?}", crate::link::node_of(from))
        }
        NetworkEvent::Response { from, outcome, .. } => {
            let size = outcome.as_ref().map(Vec::len);
            format!("an answer of {:?}: {size:?} bytes", crate::link::node_of(from))
        }
        other => format!("{other:?}"),
    }
}

/// Counts the parts, so that an array by part is long enough.
const _: () = assert!(Part::ALL.len() == 5);
