//! What nodes say to each other and how one catches up: messages, the [`Network`] port, download plans.
#![forbid(unsafe_code)]

mod network;

pub use network::{
    GossipId, GossipVerdict, InboundId, Network, NetworkEvent, Offence, PEER_ID_BYTES_MAX, PeerId, PeerInfo,
    RequestFailure, RequestId, Topic,
};
