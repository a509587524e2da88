//! What waits to be done by the network task, by priority.

use crate::counters::index;
use purlin_sync::{GossipId, GossipVerdict, InboundId, Offence, PeerId, RequestId, Topic};
use std::collections::VecDeque;

/// Commands taken at one time, so that the swarm gets its turn.
const BATCH: usize = 64;
/// Messages published at one time.
const PUBLISH_BATCH: usize = 16;

/// A command that is no gossip.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Judge { id: GossipId, verdict: GossipVerdict },
    Request { peer: PeerId, id: RequestId, bytes: Vec<u8> },
    Respond { id: InboundId, bytes: Option<Vec<u8>> },
    Report { peer: PeerId, offence: Offence },
}

impl Command {
    fn bytes(&self) -> usize {
        match self {
            Self::Request { bytes, .. } => bytes.len(),
            Self::Respond { bytes, .. } => bytes.as_ref().map_or(0, Vec::len),
            Self::Judge { .. } | Self::Report { .. } => 0,
        }
    }
}

/// What [`Outbox::command`] could not take.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full(pub(crate) Command);

/// Queues with a common limit for gossip and one of the same size for commands.
#[derive(Debug)]
pub(crate) struct Outbox {
    count_max: usize,
    bytes_max: usize,
    lanes: [VecDeque<Vec<u8>>; Topic::ALL.len()],
    lanes_bytes: usize,
    commands: VecDeque<Command>,
    commands_bytes: usize,
    /// Requests that found the queue full: only who and which, for an answer is owed.
    refused: Vec<(PeerId, RequestId)>,
}

/// What the task does next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) refused: Vec<(PeerId, RequestId)>,
    pub(crate) commands: Vec<Command>,
    pub(crate) gossip: Vec<(Topic, Vec<u8>)>,
    /// Whether more waits.
    pub(crate) is_full: bool,
}

impl Outbox {
    pub(crate) fn new(count_max: usize, bytes_max: usize) -> Self {
        Self {
            count_max,
            bytes_max,
            lanes: Default::default(),
            lanes_bytes: 0,
            commands: VecDeque::new(),
            commands_bytes: 0,
            refused: Vec::new(),
        }
    }

    /// Takes a message to publish. When there is no room, the oldest of the lowest priority gives way, or the message
    /// itself when everything waiting is of higher priority. Returns what was dropped, by topic.
    pub(crate) fn publish(&mut self, topic: Topic, bytes: Vec<u8>) -> Vec<Topic> {
        let mut dropped = Vec::new();
        while !self.has_room(bytes.len()) {
            let lowest = Topic::ALL.into_iter().rev().find(|topic| !self.lanes[index(*topic)].is_empty());
            match lowest {
                Some(lowest) if lowest >= topic => {
                    if let Some(old) = self.lanes[index(lowest)].pop_front() {
                        self.lanes_bytes -= old.len();
                    }
                    dropped.push(lowest);
                }
                _ => {
                    dropped.push(topic);
                    return dropped;
                }
            }
        }
        self.lanes_bytes += bytes.len();
        self.lanes[index(topic)].push_back(bytes);
        dropped
    }

    fn has_room(&self, bytes: usize) -> bool {
        let count: usize = self.lanes.iter().map(VecDeque::len).sum();
        count < self.count_max && self.lanes_bytes + bytes <= self.bytes_max
    }

    /// Takes a command.
    pub(crate) fn command(&mut self, command: Command) -> Result<(), Full> {
        let bytes = command.bytes();
        if self.commands.len() >= self.count_max || self.commands_bytes + bytes > self.bytes_max {
            return Err(Full(command));
        }
        self.commands_bytes += bytes;
        self.commands.push_back(command);
        Ok(())
    }

    /// Notes a request that gets no answer but "busy".
    pub(crate) fn refuse(&mut self, peer: PeerId, id: RequestId) {
        self.refused.push((peer, id));
    }

    /// Takes what is to be done next: commands in order, then gossip by priority.
    pub(crate) fn take(&mut self) -> Batch {
        let count = BATCH.min(self.commands.len());
        let commands: Vec<Command> = self.commands.drain(..count).collect();
        self.commands_bytes -= commands.iter().map(Command::bytes).sum::<usize>();
        let mut gossip = Vec::new();
        for topic in Topic::ALL {
            let lane = &mut self.lanes[index(topic)];
            let count = (PUBLISH_BATCH - gossip.len()).min(lane.len());
            gossip.extend(lane.drain(..count).map(|bytes| (topic, bytes)));
        }
        self.lanes_bytes -= gossip.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        let is_full = !self.commands.is_empty() || self.lanes.iter().any(|lane| !lane.is_empty());
        Batch { refused: std::mem::take(&mut self.refused), commands, gossip, is_full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_priority_gives_way() {
        let mut outbox = Outbox::new(3, 1_000);
        for at in 0..3 {
            assert_eq!(outbox.publish(Topic::Transactions, vec![at]), []);
        }
        assert_eq!(outbox.publish(Topic::Blocks, vec![3]), [Topic::Transactions]);
        assert_eq!(outbox.publish(Topic::Consensus, vec![4]), [Topic::Transactions]);
        assert_eq!(outbox.publish(Topic::Transactions, vec![5]), [Topic::Transactions], "the oldest");
        assert_eq!(outbox.publish(Topic::Consensus, vec![6]), [Topic::Transactions]);
        assert_eq!(outbox.publish(Topic::Transactions, vec![7]), [Topic::Transactions], "itself");
        let batch = outbox.take();
        let expected = [(Topic::Consensus, vec![4]), (Topic::Consensus, vec![6]), (Topic::Blocks, vec![3])];
        assert_eq!(batch.gossip, expected);
        assert_eq!(outbox.lanes_bytes, 0);
    }

    #[test]
    fn bytes_count_too() {
        let mut outbox = Outbox::new(100, 10);
        assert_eq!(outbox.publish(Topic::Transactions, vec![0; 6]), []);
        assert_eq!(outbox.publish(Topic::Transactions, vec![0; 4]), []);
        assert_eq!(outbox.publish(Topic::Consensus, vec![0; 9]), [Topic::Transactions; 2]);
        assert_eq!(outbox.publish(Topic::Consensus, vec![0; 11]), [Topic::Consensus; 2], "it never fits");
    }

    #[test]
    fn commands_keep_their_order_and_are_bounded() {
        let mut outbox = Outbox::new(2, 10);
        let judge = |id| Command::Judge { id: GossipId(id), verdict: GossipVerdict::Relay };
        outbox.command(judge(1)).unwrap();
        outbox.command(judge(2)).unwrap();
        assert_eq!(outbox.command(judge(3)), Err(Full(judge(3))));
        assert_eq!(outbox.take().commands, [judge(1), judge(2)]);
        let respond = Command::Respond { id: InboundId(1), bytes: Some(vec![0; 11]) };
        assert!(outbox.command(respond).is_err());
        assert_eq!(outbox.take(), Batch::default());
    }

    #[test]
    fn a_long_queue_comes_in_batches() {
        let mut outbox = Outbox::new(1_000, 1_000);
        for at in 0..40 {
            outbox.publish(Topic::Blocks, vec![at]);
        }
        let sizes: Vec<(usize, bool)> = (0..4)
            .map(|_| {
                let batch = outbox.take();
                (batch.gossip.len(), batch.is_full)
            })
            .collect();
        assert_eq!(sizes, [(16, true), (16, true), (8, false), (0, false)]);
    }
}
