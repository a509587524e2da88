//! Plans what nodes say to each other and how one catches up: messages, the [`Network`] port, downloads.
#![forbid(unsafe_code)]

mod assembly;
mod blocks;
mod codec;
mod compact;
pub mod limits;
mod message;
mod network;
mod requests;
mod serve;
mod snapshot;
#[cfg(test)]
mod testing;
mod transactions;
mod trust;

pub use assembly::{
    ASSEMBLIES_MAX, ASSEMBLY_EXPIRY_MS, ASSEMBLY_TIMEOUT_MS, AssembledBlock, Assemblies, AssemblyOutput,
    SOURCES_MAX, TransactionLookup,
};
pub use blocks::{
    BODIES_PER_REQUEST_MAX, BODY_REQUESTS_MAX, BODY_REQUESTS_PER_PEER_MAX, BUFFER_BYTES_MAX, BlockSync,
    BlockSyncOptions, Checked, DELIVERED_MAX, EXCLUSION_MS, GRACE_MS, HEADERS_AHEAD_MAX, HEDGE_MS,
    HeaderCheck, HeaderFault, LocalHead, PEERS_MAX, REQUEST_TIMEOUT_MS, Refusal, STATUS_INTERVAL_MS,
    STATUS_INTERVAL_MS_MIN, SyncOutput, SyncProgress, SyncRule, SyncedBlock,
};
pub use compact::CompactBlock;
pub use message::{
    BlockAnnouncement, BodyPart, CertifiedHeader, DecodeError, EncodedTransaction, Request, Response, Status,
    TransactionGossip,
};
pub use network::{
    GossipId, GossipVerdict, InboundId, Network, NetworkEvent, Offence, PEER_ID_BYTES_MAX, PeerId, PeerInfo,
    RequestFailure, RequestId, Topic,
};
pub use requests::{Planner, RequestIds};
pub use serve::{Answer, BlockSource, BodySlice, Budget, Server, SourceError};
pub use snapshot::{
    Distrust, HANDOVER_BYTES_MAX, HANDOVERS_MAX, SNAPSHOT_CHOICE_MS, SNAPSHOT_CHUNK_LIMITS,
    SNAPSHOT_FAILURES_MAX, SNAPSHOT_PACE_CHUNKS_MIN, SNAPSHOT_PACE_MS, SNAPSHOT_PAUSE_MS, SNAPSHOT_PEERS_MAX,
    SNAPSHOT_SPANS, SNAPSHOT_TIMEOUT_MS, SNAPSHOTS_ABANDONED_MAX, SnapshotHead, SnapshotManifest,
    SnapshotOptions, SnapshotOutput, SnapshotProgress, SnapshotSync, SnapshotTrust, chunk_after,
    decode_chunk, encode_chunk, snapshot_spans,
};
pub use transactions::{
    BATCH_BYTES, BATCH_MS, DIGEST_INTERVAL_MS, FETCH_TIMEOUT_MS, HOLDERS_MAX, Origin, RELAY_PEERS_MAX,
    REMEMBERED_MAX, RelayOutput, TransactionRelay, WAITING_MAX, WANTED_MAX, WHOLE_BYTES_MAX,
};
pub use trust::{Checkpoint, ParseCheckpointError, StakeTrust, TrustProblem, check_age, unbonding_blocks};
