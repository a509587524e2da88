//! The port to other nodes. `purlin-network` implements it over libp2p; the simulation implements it in memory.

use std::fmt;

/// Longest peer id, in bytes.
pub const PEER_ID_BYTES_MAX: usize = 64;

/// Names a peer in the network's own encoding, at most [`PEER_ID_BYTES_MAX`] bytes; shown as base58.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(Vec<u8>);

impl PeerId {
    /// Wraps the network's encoding; `None` when it is too long.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= PEER_ID_BYTES_MAX).then_some(Self(bytes))
    }

    /// Returns the network's encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(&self.0).into_string())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is gossiped; each has its own mesh, size limit and priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Messages of the consensus engine: first to be delivered, last to be dropped.
    Consensus,
    /// Proposed and final blocks in compact form.
    Blocks,
    /// Transactions: first to be dropped.
    Transactions,
}

impl Topic {
    /// All, in order of priority.
    pub const ALL: [Self; 3] = [Self::Consensus, Self::Blocks, Self::Transactions];

    /// Returns the name used in protocol names, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Blocks => "blocks",
            Self::Transactions => "transactions",
        }
    }

    /// Returns the most bytes of one message.
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::Consensus => 64 * 1024,
            Self::Blocks => 512 * 1024,
            // A transaction may carry a package: larger ones are announced and fetched.
            Self::Transactions => 256 * 1024,
        }
    }
}

/// A gossiped message that waits for its verdict; valid until judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GossipId(pub u64);

/// A request of a peer that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundId(pub u64);

/// A request of this node; chosen by whoever asks, unique among those under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What to do with a gossiped message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GossipVerdict {
    /// It is new and right: send it on.
    Relay,
    /// It is of no use here, which is nobody's fault: do not send it on.
    Ignore,
    /// No honest node sends it: do not send it on, and hold it against the sender.
    Reject,
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure {
    /// No connection, or it broke.
    #[error("the peer is not connected")]
    Disconnected,
    /// No answer in time.
    #[error("the peer did not answer in time")]
    Timeout,
    /// It speaks other protocols, or sent what is no answer.
    #[error("the peer does not speak the protocol")]
    Protocol,
    /// It has too much to do, or this node asks too much of it.
    #[error("the peer is busy")]
    Busy,
}

/// What a peer did that honest nodes do not do; each lowers its score until it is banned for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offence {
    /// Bytes that are no message of the protocol.
    Malformed,
    /// A message whose signature or content is provably wrong.
    Invalid,
    /// Claimed to have what it does not have, or answered something else than was asked.
    Lied,
    /// Asked for or sent more than its share.
    Flooded,
    /// Repeatedly slow to answer.
    Stalled,
}

/// What the network tells its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkEvent {
    /// A peer of the same chain can be talked to.
    Connected {
        /// Who.
        peer: PeerId,
    },
    /// The last connection to it ended. Requests to it are answered with [`RequestFailure::Disconnected`].
    Disconnected {
        /// Who.
        peer: PeerId,
    },
    /// Somebody gossiped; judge it.
    Gossip {
        /// About what.
        topic: Topic,
        /// Who sent it on.
        from: PeerId,
        /// For [`Network::judge`].
        id: GossipId,
        /// At most [`Topic::bytes_max`].
        bytes: Vec<u8>,
    },
    /// A peer asks; answer with [`Network::respond`].
    Request {
        /// Who.
        from: PeerId,
        /// For the answer.
        id: InboundId,
        /// Encoded by the other side.
        bytes: Vec<u8>,
    },
    /// The end of a request of this node; exactly one for each.
    Response {
        /// Which.
        id: RequestId,
        /// Who was asked.
        from: PeerId,
        /// The answer.
        outcome: Result<Vec<u8>, RequestFailure>,
    },
}

/// What is known of a connected peer, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who.
    pub id: PeerId,
    /// Where, as multiaddresses.
    pub addresses: Vec<String>,
    /// Whether this node dialled.
    pub outbound: bool,
    /// What it says it runs.
    pub agent: String,
    /// Standing: 0 at first, negative after offences.
    pub score: i32,
    /// Round-trip time of the last ping, in microseconds.
    pub ping_us: Option<u64>,
    /// Whether the connection goes through a relay.
    pub relayed: bool,
}

/// Talks to other nodes. No method waits: what cannot be sent now is dropped, lowest priority first, and repaired by
/// asking later.
pub trait Network: Send + Sync {
    /// Gossips to the mesh.
    fn publish(&self, topic: Topic, bytes: Vec<u8>);

    /// Ends the validation of a gossiped message. Each is judged once; unjudged ones are dropped after a while.
    fn judge(&self, id: GossipId, verdict: GossipVerdict);

    /// Asks a peer; ends in one [`NetworkEvent::Response`].
    fn request(&self, peer: &PeerId, id: RequestId, bytes: Vec<u8>);

    /// Answers a peer; `None` when there is too much to do.
    fn respond(&self, id: InboundId, bytes: Option<Vec<u8>>);

    /// Holds something against a peer.
    fn report(&self, peer: &PeerId, offence: Offence);

    /// Returns the connected peers.
    fn peers(&self) -> Vec<PeerInfo>;
}
