//! Gossip: every message waits for its verdict before it is sent on.

use super::Task;
use crate::behaviour::UNJUDGED_MS;
use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId, PublishError};
use purlin_sync::{GossipId, GossipVerdict, NetworkEvent, Offence, Topic};
use std::collections::BTreeMap;

/// A message that was handed up.
#[derive(Debug)]
struct Waiting {
    message: MessageId,
    from: PeerId,
    topic: Topic,
    bytes: usize,
    until_ms: u64,
}

/// Messages that wait for their verdict, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Unjudged {
    waiting: BTreeMap<u64, Waiting>,
    bytes: usize,
    next: u64,
}

impl Unjudged {
    fn insert(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes;
        self.waiting.insert(self.next, waiting);
        self.next += 1;
    }

    fn remove(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.bytes -= waiting.bytes;
        Some(waiting)
    }

    /// Removes one message whose time is over; the oldest comes first.
    fn expired(&mut self, now_ms: u64) -> Option<Waiting> {
        let (id, waiting) = self.waiting.first_key_value()?;
        let id = *id;
        if waiting.until_ms > now_ms { None } else { self.remove(id) }
    }
}

impl Task {
    pub(super) fn publish(&mut self, topic: Topic, bytes: Vec<u8>) {
        let count = self.shared.counts.topic(topic);
        let length = bytes.len();
        match self.swarm.behaviour_mut().gossip.publish(self.topics.name(topic), bytes) {
            Ok(_) => {
                count.messages_out.one();
                count.bytes_out.add(length as u64);
            }
            Err(PublishError::NoPeersSubscribedToTopic) => count.unheard.one(),
            Err(error) => {
                count.dropped.one();
                tracing::debug!(topic = topic.name(), %error, "a message is not published");
            }
        }
    }

    pub(super) fn judge(&mut self, id: GossipId, verdict: GossipVerdict) {
        let Some(waiting) = self.unjudged.remove(id.0) else { return };
        let acceptance = match verdict {
            GossipVerdict::Relay => MessageAcceptance::Accept,
            GossipVerdict::Ignore => MessageAcceptance::Ignore,
            GossipVerdict::Reject => MessageAcceptance::Reject,
        };
        let is_known = self.conclude(&waiting.message, &waiting.from, acceptance);
        let count = self.shared.counts.topic(waiting.topic);
        match verdict {
            GossipVerdict::Relay if is_known => {
                count.messages_out.one();
                count.bytes_out.add(waiting.bytes as u64);
            }
            GossipVerdict::Relay => count.expired.one(),
            GossipVerdict::Ignore => {}
            GossipVerdict::Reject => {
                count.rejected.one();
                self.charge(waiting.from, Offence::Invalid);
            }
        }
    }

    fn conclude(&mut self, message: &MessageId, from: &PeerId, acceptance: MessageAcceptance) -> bool {
        self.swarm.behaviour_mut().gossip.report_message_validation_result(message, from, acceptance)
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.on_message(propagation_source, message_id, message);
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                tracing::debug!(peer = %peer_id, ?failed_messages, "a peer does not read its gossip in time");
            }
            _ => {}
        }
    }

    fn on_message(&mut self, from: PeerId, id: MessageId, message: gossipsub::Message) {
        let Some(topic) = self.topics.topic(&message.topic) else {
            self.conclude(&id, &from, MessageAcceptance::Ignore);
            return;
        };
        let bytes = message.data;
        let length = bytes.len();
        if length > topic.bytes_max() {
            self.conclude(&id, &from, MessageAcceptance::Reject);
            self.charge(from, Offence::Malformed);
            return;
        }
        if !self.admit(from) {
            self.conclude(&id, &from, MessageAcceptance::Ignore);
            return;
        }
        let now_ms = self.now_ms();
        let may =
            self.sessions.get_mut(&from).is_some_and(|session| session.may_gossip(topic, length, now_ms));
        if !may {
            self.shared.counts.topic(topic).ignored.one();
            self.conclude(&id, &from, MessageAcceptance::Ignore);
            self.charge_flood(from);
            return;
        }
        let is_full = self.unjudged.waiting.len() >= self.limits.unjudged_max
            || self.unjudged.bytes + length > self.limits.unjudged_bytes_max;
        let event = NetworkEvent::Gossip {
            topic,
            from: crate::convert::to_peer_id(&from),
            id: GossipId(self.unjudged.next),
            bytes,
        };
        if is_full || !self.inbox.offer(event) {
            self.shared.counts.topic(topic).ignored.one();
            self.conclude(&id, &from, MessageAcceptance::Ignore);
            return;
        }
        let count = self.shared.counts.topic(topic);
        count.messages_in.one();
        count.bytes_in.add(length as u64);
        self.unjudged.insert(Waiting {
            message: id,
            from,
            topic,
            bytes: length,
            until_ms: now_ms + UNJUDGED_MS,
        });
    }

    /// Lets go of messages nobody judged.
    pub(super) fn expire_gossip(&mut self, now_ms: u64) {
        while let Some(waiting) = self.unjudged.expired(now_ms) {
            self.shared.counts.topic(waiting.topic).expired.one();
            self.conclude(&waiting.message, &waiting.from, MessageAcceptance::Ignore);
        }
    }
}
