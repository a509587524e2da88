//! Turns blocks into history: pipeline, head, receipts, event log; ports Executor and BlockStore.
//!
//! A [`Chain`] keeps blocks, what they did and the state they left behind in one
//! [`KeyValueStore`](purlin_state::KeyValueStore), one synced batch per block: after a power cut it ends with the
//! old head or the new one, never between. [`Chain::reorganize`] goes over to another [`Branch`] the same way, in
//! one batch. An [`Executor`] says what blocks do.
//!
//! What is stored where is drawn in node/storage/FORMAT.md.
#![forbid(unsafe_code)]

mod branch;
mod chain;
mod chunks;
mod error;
mod events;
mod executor;
mod history;
mod install;
mod open;
mod reads;
mod records;
mod reorganize;
mod replay;
mod snapshot;
mod staged;
mod turnovers;
mod write;

pub use branch::Branch;
pub use chain::{
    Chain, ChainOptions, CommittedBlock, PendingBlock, SealedBlock, WAITING_BLOCKS_MAX,
    WINDOW_BLOCKS_DEFAULT, WINDOW_BLOCKS_MIN,
};
pub use chunks::{SORTED_BYTES_MAX, StateChunks};
pub use error::{BlockFault, ChainError};
pub use events::{EVENTS_EXAMINED_MAX, EVENTS_PAGE_MAX, EventCursor, EventFilter, EventPage, EventRecord};
pub use executor::{
    BlockContext, CallReport, Diagnostic, ExecutedBlock, ExecutionFault, Executor, InclusionError, Policy,
    QueryRequest, Rejected,
};
pub use history::{History, PRUNE_RECORDS, PruneStep};
pub use install::{Contents, Foundation, Installation};
pub use open::Opening;
pub use reads::{InclusionRecord, ReceiptRecord, TransactionRecord};
pub use records::Head;
pub use reorganize::{REORGANIZATION_BYTES_MAX, RemovedBlock, Reorganized};
pub use replay::{ReplayError, ReplayReport};
