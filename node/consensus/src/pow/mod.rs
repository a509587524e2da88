//! Proof of work: the heaviest chain wins.
//!
//! [`PowEngine`] checks headers, keeps the branches within the undo window in a [`HeaderTree`], asks for the
//! bodies of the heaviest one, goes over to it once enough of it was found valid, and has blocks mined on top.
//! The pieces are functions and types of their own: [`Target`] and [`Work`], the difficulty [`Schedule`] (ASERT),
//! [`median_time_past`], the [`PowHash`] with [`search`] for miners, the [`OrphanPool`].
//!
//! There are no certificates: a block is final when it is deeper than the window
//! ([`HeaderTree::final_height`]), and applications call it confirmed after `confirmations` blocks of the rules.
//!
//! ```
//! use purlin_consensus::pow::{DoubleSha256, Target, meets_own_target, search};
//! use purlin_primitives::{BlockHeader, BlockId, Hash32, Height, Seal, TimestampMs};
//! let mut header = BlockHeader {
//!     chain_id: "dev".parse()?,
//!     height: Height::new(1),
//!     parent: BlockId::ZERO,
//!     time: TimestampMs::new(1_000),
//!     proposer: Default::default(),
//!     transactions_root: Hash32::ZERO,
//!     state_root: Hash32::ZERO,
//!     receipts_root: Hash32::ZERO,
//!     seal: Seal::Pow { target: 0x2000_ffff, nonce: 0 },
//! };
//! // A miner searches in short ranges and looks up between them whether it should stop.
//! let nonce = (0..).step_by(1_000).find_map(|from| search(&DoubleSha256, &header, from..from + 1_000));
//! header.seal = Seal::Pow { target: 0x2000_ffff, nonce: nonce.expect("one in 256 is found") };
//! assert!(meets_own_target(&DoubleSha256, &header));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod asert;
mod engine;
mod hash;
mod mining;
mod orphans;
mod port;
mod target;
mod times;
mod tree;

pub use asert::Schedule;
pub use engine::{
    EARLY_HEADERS_MAX, HEADERS_PER_ANSWER_MAX, MESSAGE_BYTES_MAX, PowConfig, PowEngine, PowMessage,
    VALIDATIONS_MAX,
};
pub use hash::{DoubleSha256, PowHash, meets_own_target, search};
pub use mining::Mining;
pub use orphans::{ORPHAN_HEIGHTS_MAX, ORPHANS_MAX, ORPHANS_PER_PEER_MAX, OrphanPool};
pub use port::{PowEffect, PowInput, PowNotice};
pub use target::{CompactTargetError, Target, Work};
pub use times::{MEDIAN_TIME_BLOCKS, median_time_past};
pub use tree::{
    Body, HEADERS_AHEAD_MAX, HEADERS_MAX, HeaderEntry, HeaderFault, HeaderRules, HeaderTree, History,
    HistoryError, Inserted, Source,
};
