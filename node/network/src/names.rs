//! What nodes of one chain call their protocols.

use crate::counters::index;
use libp2p::StreamProtocol;
use libp2p::gossipsub::{IdentTopic, TopicHash};
use purlin_sync::Topic;
use std::fmt;

/// Bytes of the genesis id in protocol names: enough that two chains never meet in the DHT by accident.
const PREFIX_BYTES: usize = 8;
/// What every `protocol_version` of identify starts with.
const VERSION_PREFIX: &str = "purlin/";

/// Names a chain by its genesis id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Genesis([u8; 32]);

impl Genesis {
    pub(crate) const fn new(id: [u8; 32]) -> Self {
        Self(id)
    }

    /// Returns the name of a protocol of this chain: `/purlin/<first 16 hex of the genesis id>/<name>/1`.
    fn protocol(self, name: &str) -> StreamProtocol {
        StreamProtocol::try_from_owned(format!("/purlin/{}/{name}/1", self.prefix()))
            .expect("the name starts with a slash")
    }

    fn prefix(self) -> String {
        hex::encode(&self.0[..PREFIX_BYTES])
    }

    /// Requests and responses.
    pub(crate) fn sync(self) -> StreamProtocol {
        self.protocol("sync")
    }

    /// The distributed hash table.
    pub(crate) fn kad(self) -> StreamProtocol {
        self.protocol("kad")
    }

    pub(crate) fn topic(self, topic: Topic) -> IdentTopic {
        IdentTopic::new(format!("purlin/{}/{}", self.prefix(), topic.name()))
    }

    /// What identify says of this node: carries the whole genesis id.
    pub(crate) fn version(self) -> String {
        format!("{VERSION_PREFIX}{self}")
    }

    /// Judges what identify says of another node.
    pub(crate) fn kinship(self, version: &str) -> Kinship {
        match version.strip_prefix(VERSION_PREFIX) {
            Some(genesis) if genesis == self.to_string() => Kinship::Same,
            Some(_) => Kinship::OtherChain,
            None => Kinship::OtherSoftware,
        }
    }
}

impl fmt::Display for Genesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The names of the topics, made once: they are needed for every message.
#[derive(Debug)]
pub(crate) struct TopicNames([TopicHash; Topic::ALL.len()]);

impl TopicNames {
    pub(crate) fn new(genesis: Genesis) -> Self {
        Self(Topic::ALL.map(|topic| genesis.topic(topic).hash()))
    }

    pub(crate) fn name(&self, topic: Topic) -> TopicHash {
        self.0[index(topic)].clone()
    }

    pub(crate) fn topic(&self, name: &TopicHash) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| self.0[index(*topic)] == *name)
    }
}

/// How another node relates to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinship {
    /// The same chain.
    Same,
    /// Purlin, another genesis.
    OtherChain,
    /// Some libp2p node, for example a tool that walks the DHT.
    OtherSoftware,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_pinned() {
        let genesis = Genesis::new([0xab; 32]);
        assert_eq!(genesis.sync().as_ref(), "/purlin/abababababababab/sync/1");
        assert_eq!(genesis.kad().as_ref(), "/purlin/abababababababab/kad/1");
        assert_eq!(genesis.topic(Topic::Blocks).to_string(), "purlin/abababababababab/blocks");
        assert_eq!(genesis.version(), format!("purlin/{}", "ab".repeat(32)));
        let names = TopicNames::new(genesis);
        for topic in Topic::ALL {
            assert_eq!(names.name(topic), genesis.topic(topic).hash());
            assert_eq!(names.topic(&names.name(topic)), Some(topic));
        }
        assert_eq!(names.topic(&TopicHash::from_raw("other")), None);
    }

    #[test]
    fn kinship_needs_the_whole_genesis_id() {
        let ours = Genesis::new([1; 32]);
        let mut close = [1; 32];
        close[31] = 2;
        assert_eq!(ours.kinship(&ours.version()), Kinship::Same);
        assert_eq!(ours.kinship(&Genesis::new(close).version()), Kinship::OtherChain);
        assert_eq!(ours.kinship("ipfs/0.1.0"), Kinship::OtherSoftware);
    }
}
