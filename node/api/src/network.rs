//! Connected nodes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A node that is connected to this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerView {
    /// Its id, base58: the last part of its multiaddresses.
    #[schema(example = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp")]
    pub id: String,
    /// Where it is, as multiaddresses.
    pub addresses: Vec<String>,
    /// Whether this node opened the connection.
    pub outbound: bool,
    /// What it says it runs.
    pub agent: String,
    /// Standing: 0 at first, negative after offences; too low and it is banned for a time.
    pub score: i32,
    /// Round-trip time of the last ping in microseconds; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_us: Option<u64>,
    /// Whether the connection goes through a relay.
    pub relayed: bool,
}

/// All connected nodes; connection limits bound their number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerList {
    /// In order of id.
    pub peers: Vec<PeerView>,
}
