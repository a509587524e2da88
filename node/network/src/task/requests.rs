//! Requests and answers: one end for each request of this node, a bounded number of those of others.

use super::{Task, millis};
use crate::behaviour::Behaviour;
use crate::codec::{Answer, Frame};
use crate::convert::{from_peer_id, to_peer_id};
use libp2p::PeerId;
use libp2p::request_response::{self, Message, OutboundFailure, OutboundRequestId, ResponseChannel};
use libp2p::swarm::Swarm;
use purlin_sync::{InboundId, NetworkEvent, Offence, RequestFailure, RequestId};
use std::collections::{BTreeMap, HashMap};
use std::io;

#[derive(Debug)]
struct Outbound {
    id: RequestId,
    peer: PeerId,
    until_ms: u64,
}

#[derive(Debug)]
struct Inbound {
    peer: PeerId,
    channel: ResponseChannel<Answer>,
}

/// Requests under way in both directions.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    outbound: HashMap<OutboundRequestId, Outbound>,
    outbound_by_peer: BTreeMap<PeerId, u32>,
    inbound: BTreeMap<u64, Inbound>,
    inbound_by_peer: BTreeMap<PeerId, u32>,
    next: u64,
}

impl Requests {
    fn take_outbound(&mut self, id: OutboundRequestId) -> Option<Outbound> {
        let outbound = self.outbound.remove(&id)?;
        decrement(&mut self.outbound_by_peer, &outbound.peer);
        Some(outbound)
    }

    /// Returns whether requests are under way with a peer, in either direction.
    pub(super) fn are_under_way(&self, peer: &PeerId) -> bool {
        self.outbound_by_peer.contains_key(peer) || self.inbound_by_peer.contains_key(peer)
    }

    fn take_inbound(&mut self, id: u64) -> Option<Inbound> {
        let inbound = self.inbound.remove(&id)?;
        decrement(&mut self.inbound_by_peer, &inbound.peer);
        Some(inbound)
    }
}

fn decrement(counts: &mut BTreeMap<PeerId, u32>, peer: &PeerId) {
    if let Some(count) = counts.get_mut(peer) {
        *count -= 1;
        if *count == 0 {
            counts.remove(peer);
        }
    }
}

fn count(counts: &BTreeMap<PeerId, u32>, peer: &PeerId) -> u32 {
    counts.get(peer).copied().unwrap_or(0)
}

impl Task {
    /// Ends a request that was not sent.
    pub(super) fn refuse(&mut self, peer: purlin_sync::PeerId, id: RequestId, failure: RequestFailure) {
        self.shared.counts.peers.requests_failed.one();
        self.inbox.owe(NetworkEvent::Response { id, from: peer, outcome: Err(failure) });
    }

    pub(super) fn request(&mut self, to: purlin_sync::PeerId, id: RequestId, bytes: Vec<u8>) {
        let connected = from_peer_id(&to).filter(|peer| self.is_ours(peer));
        let Some(peer) = connected else {
            return self.refuse(to, id, RequestFailure::Disconnected);
        };
        if bytes.len() > self.limits.request_bytes_max {
            tracing::warn!(bytes = bytes.len(), "a request above the limit is not sent");
            return self.refuse(to, id, RequestFailure::Protocol);
        }
        let under_way = self.requests.outbound.len();
        if under_way >= self.limits.outstanding_max as usize
            || count(&self.requests.outbound_by_peer, &peer) >= self.limits.outstanding_per_peer_max
        {
            return self.refuse(to, id, RequestFailure::Busy);
        }
        self.shared.counts.peers.requests_out.one();
        self.shared.counts.peers.request_bytes_out.add(bytes.len() as u64);
        let sent = self.swarm.behaviour_mut().requests.send_request(&peer, bytes.into());
        // libp2p ends requests by itself; this one is for what it might forget.
        let until_ms = self.now_ms() + 2 * millis(self.limits.request_timeout) + 1_000;
        *self.requests.outbound_by_peer.entry(peer).or_default() += 1;
        self.requests.outbound.insert(sent, Outbound { id, peer, until_ms });
    }

    fn finish(&mut self, id: OutboundRequestId, outcome: Result<Vec<u8>, RequestFailure>) {
        let Some(outbound) = self.requests.take_outbound(id) else { return };
        let counts = &self.shared.counts.peers;
        match &outcome {
            Ok(bytes) => {
                counts.responses_in.one();
                counts.response_bytes_in.add(bytes.len() as u64);
            }
            Err(_) => counts.requests_failed.one(),
        }
        let from = to_peer_id(&outbound.peer);
        self.inbox.owe(NetworkEvent::Response { id: outbound.id, from, outcome });
    }

    pub(super) fn respond(&mut self, id: InboundId, bytes: Option<Vec<u8>>) {
        let Some(inbound) = self.requests.take_inbound(id.0) else { return };
        let counts = &self.shared.counts.peers;
        let answer = match bytes {
            Some(bytes) if bytes.len() <= self.limits.response_bytes_max => {
                counts.responses_out.one();
                counts.response_bytes_out.add(bytes.len() as u64);
                Answer::Bytes(bytes.into())
            }
            Some(bytes) => {
                tracing::warn!(bytes = bytes.len(), "an answer above the limit is not sent");
                Answer::Busy
            }
            None => Answer::Busy,
        };
        send(&mut self.swarm, inbound.channel, answer);
    }

    pub(super) fn on_request_event(&mut self, event: request_response::Event<Frame, Answer>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request { request, channel, .. } => self.on_request(peer, request, channel),
                Message::Response { request_id, response } => {
                    let outcome = match response {
                        Answer::Bytes(frame) => Ok(frame.bytes),
                        Answer::Busy => Err(RequestFailure::Busy),
                    };
                    self.finish(request_id, outcome);
                }
            },
            request_response::Event::OutboundFailure { peer, request_id, error, .. } => {
                tracing::debug!(peer = %peer, %error, "a request failed");
                if is_malformed(&error) {
                    self.charge(peer, Offence::Malformed);
                }
                self.finish(request_id, Err(failure(&error)));
            }
            request_response::Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(peer = %peer, %error, "an answer was not sent");
            }
            request_response::Event::ResponseSent { .. } => {}
        }
    }

    fn on_request(&mut self, peer: PeerId, request: Frame, channel: ResponseChannel<Answer>) {
        let now_ms = self.now_ms();
        let is_ours = self.admit(peer);
        let may = is_ours && self.sessions.get_mut(&peer).is_some_and(|session| session.may_request(now_ms));
        if is_ours && !may {
            self.charge_flood(peer);
        }
        let has_room = self.requests.inbound.len() < self.limits.outstanding_max as usize
            && count(&self.requests.inbound_by_peer, &peer) < self.limits.outstanding_per_peer_max;
        let bytes = request.bytes.len();
        let id = self.requests.next;
        let event =
            NetworkEvent::Request { from: to_peer_id(&peer), id: InboundId(id), bytes: request.bytes };
        if !may || !has_room || !self.inbox.offer(event) {
            self.shared.counts.peers.requests_refused.one();
            send(&mut self.swarm, channel, Answer::Busy);
            return;
        }
        self.shared.counts.peers.requests_in.one();
        self.shared.counts.peers.request_bytes_in.add(bytes as u64);
        self.requests.next += 1;
        *self.requests.inbound_by_peer.entry(peer).or_default() += 1;
        self.requests.inbound.insert(id, Inbound { peer, channel });
    }

    /// Lets go of requests whose time is over.
    pub(super) fn expire_requests(&mut self, now_ms: u64) {
        let late: Vec<OutboundRequestId> = self
            .requests
            .outbound
            .iter()
            .filter(|(_, outbound)| outbound.until_ms <= now_ms)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.finish(id, Err(RequestFailure::Timeout));
        }
        let gone: Vec<u64> = self
            .requests
            .inbound
            .iter()
            .filter(|(_, inbound)| !inbound.channel.is_open())
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.requests.take_inbound(id);
        }
    }

    /// Ends everything that is under way: the network stops.
    pub(super) fn abandon_requests(&mut self) {
        let under_way: Vec<OutboundRequestId> = self.requests.outbound.keys().copied().collect();
        for id in under_way {
            self.finish(id, Err(RequestFailure::Disconnected));
        }
        self.requests.inbound.clear();
        self.requests.inbound_by_peer.clear();
    }
}

fn send(swarm: &mut Swarm<Behaviour>, channel: ResponseChannel<Answer>, answer: Answer) {
    if swarm.behaviour_mut().requests.send_response(channel, answer).is_err() {
        tracing::debug!("who asked is gone");
    }
}

fn is_malformed(error: &OutboundFailure) -> bool {
    matches!(error, OutboundFailure::Io(error) if error.kind() == io::ErrorKind::InvalidData)
}

fn failure(error: &OutboundFailure) -> RequestFailure {
    match error {
        OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => RequestFailure::Disconnected,
        OutboundFailure::Timeout => RequestFailure::Timeout,
        OutboundFailure::UnsupportedProtocols => RequestFailure::Protocol,
        OutboundFailure::Io(error) => match error.kind() {
            // The budget of this node, or libp2p's limit of streams.
            io::ErrorKind::OutOfMemory | io::ErrorKind::Other => RequestFailure::Busy,
            io::ErrorKind::TimedOut => RequestFailure::Timeout,
            io::ErrorKind::NotConnected | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                RequestFailure::Disconnected
            }
            _ => RequestFailure::Protocol,
        },
    }
}
