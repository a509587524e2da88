//! Caps on what one message may hold. Each belongs to the protocol: a node that raises one is cut off by the others.

use purlin_abi::limits::TRANSACTION_BYTES_MAX;
use purlin_primitives::VALIDATORS_MAX;

/// First byte of every message; another one is refused. Raised with any change of an encoding.
pub const PROTOCOL_VERSION: u8 = 1;

/// Largest request, in bytes: a full list of transaction ids and some room.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Largest response, in bytes. One transaction of the largest size must fit, with room for what is beside it;
/// longer answers are split by who gives them.
pub const RESPONSE_BYTES_MAX: usize = TRANSACTION_BYTES_MAX + 512 * 1024;

/// Most headers in one response; with full certificates they are 6 MiB.
pub const HEADERS_MAX: usize = 256;
/// Most blocks of which one response holds a part.
pub const BLOCKS_MAX: usize = 128;
/// Most transactions of a block that is announced in compact form: their ids must fit into a gossiped message,
/// beside a certificate of [`VALIDATORS_MAX`] signatures. A chain's `block_transactions_max` must not be larger.
pub const BLOCK_TRANSACTIONS_MAX: usize = 15_000;
/// Most transactions asked for, or announced by id, at once.
pub const TRANSACTION_IDS_MAX: usize = 1_024;
/// Most ids of a digest of the pool.
pub const DIGEST_IDS_MAX: usize = 8_192;
/// Most transactions in one gossiped message.
pub const GOSSIP_TRANSACTIONS_MAX: usize = 512;
/// Most signatures of a certificate.
pub const SIGNATURES_MAX: usize = VALIDATORS_MAX;
/// Most messages of the consensus engine in one response.
pub const CONSENSUS_MESSAGES_MAX: usize = 1_024;
/// Largest message of the consensus engine, in bytes; what gossip takes.
pub const CONSENSUS_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Largest encoded part of a snapshot, in bytes. One state value of the largest size must fit.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = RESPONSE_BYTES_MAX - 1024;
/// Largest encoded snapshot manifest, in bytes.
pub const SNAPSHOT_MANIFEST_BYTES_MAX: usize = 1024 * 1024;
