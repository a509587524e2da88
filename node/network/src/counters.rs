//! What has happened so far, in numbers.

use purlin_sync::Topic;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($(#[$doc:meta])* $snapshot:ident, $live:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct $snapshot { $($(#[$field_doc])* pub $field: u64,)* }

        #[derive(Debug, Default)]
        pub(crate) struct $live { $(pub(crate) $field: Counter,)* }

        impl $live {
            fn snapshot(&self) -> $snapshot {
                $snapshot { $($field: self.$field.get(),)* }
            }
        }
    };
}

counters! {
    /// Counts of one gossip topic since the start.
    TopicCounters, TopicCount {
        /// Messages received and handed up; duplicates never arrive here.
        messages_in,
        /// Their bytes.
        bytes_in,
        /// Messages published or sent on by this node, each counted once, however many peers got it.
        messages_out,
        /// Their bytes.
        bytes_out,
        /// Judged [`Reject`](purlin_sync::GossipVerdict::Reject).
        rejected,
        /// Published here and not sent: the queue was full, the message too large or a duplicate.
        dropped,
        /// Published here while nobody was subscribed.
        unheard,
        /// Received and ignored because this node or the sender was over its limit.
        ignored,
        /// Never judged in time.
        expired,
    }
}

counters! {
    /// Counts of everything else since the start.
    PeerCounters, PeerCount {
        /// Requests this node sent.
        requests_out,
        /// Their bytes.
        request_bytes_out,
        /// Requests that ended without an answer.
        requests_failed,
        /// Requests of peers that were handed up.
        requests_in,
        /// Their bytes.
        request_bytes_in,
        /// Requests of peers that were answered "busy" without being handed up.
        requests_refused,
        /// Answers received.
        responses_in,
        /// Their bytes.
        response_bytes_in,
        /// Answers sent.
        responses_out,
        /// Their bytes.
        response_bytes_out,
        /// Verdicts, reports and answers that were dropped because the queue to the network was full.
        commands_dropped,
        /// Dials begun by this node's own plan.
        dials,
        /// Dials that failed.
        dial_failures,
        /// Dials to test an address of a peer for it (AutoNAT).
        dial_backs,
        /// Connections opened, in either direction.
        connections,
        /// Inbound connections that failed in the handshake or were turned away.
        inbound_failures,
        /// Nodes of another genesis that were turned away.
        other_chain,
        /// Offences held against peers.
        offences,
        /// Bans.
        bans,
        /// Searches of the DHT.
        searches,
    }
}

/// Counts since the start; see [`NetworkHandle::counters`](crate::NetworkHandle::counters).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct NetworkCounters {
    /// By topic, in the order of [`Topic::ALL`].
    pub topics: [TopicCounters; Topic::ALL.len()],
    /// Everything else.
    pub peers: PeerCounters,
}

impl NetworkCounters {
    /// Returns the counts of a topic.
    pub fn topic(&self, topic: Topic) -> &TopicCounters {
        &self.topics[index(topic)]
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    topics: [TopicCount; Topic::ALL.len()],
    pub(crate) peers: PeerCount,
}

impl Counts {
    pub(crate) fn topic(&self, topic: Topic) -> &TopicCount {
        &self.topics[index(topic)]
    }

    pub(crate) fn snapshot(&self) -> NetworkCounters {
        NetworkCounters {
            topics: std::array::from_fn(|at| self.topics[at].snapshot()),
            peers: self.peers.snapshot(),
        }
    }
}

/// Returns a topic's place in [`Topic::ALL`], which is its priority.
pub(crate) const fn index(topic: Topic) -> usize {
    match topic {
        Topic::Consensus => 0,
        Topic::Blocks => 1,
        Topic::Transactions => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_where_they_say() {
        for (at, topic) in Topic::ALL.into_iter().enumerate() {
            assert_eq!(index(topic), at);
        }
    }
}
