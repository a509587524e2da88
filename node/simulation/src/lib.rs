//! Runs many nodes under a seeded clock, network and disk, with named adversaries.
//!
//! A seed decides everything: who takes part and who misbehaves, what is lost, delayed and cut, who loses power with
//! what it has not synced, and in which order the parts of each node do their work. Nodes are
//! [`SteppedNode`](purlin_service::SteppedNode)s: the same driver, builder, committer and exchange as in a running
//! node, with the real engine, executor and chain. After every step the invariants are checked, and at the end, when
//! everything healed, what was promised is compared with what there is.
//!
//! ```
//! use purlin_simulation::{Options, run};
//! let report = run(7, Options::default());
//! assert!(report.failure.is_none() && report.statistics.blocks > 0);
//! assert_eq!(report.trace_hash, run(7, Options::default()).trace_hash);
//! ```
#![forbid(unsafe_code)]

mod adversary;
mod app;
mod bug;
mod campaign;
mod checks;
mod client;
mod disk;
mod faulty;
mod ledger;
mod link;
mod network;
mod node;
mod plan;
mod random;
mod report;
mod run;
mod store;
mod trace;
mod world;

pub use adversary::Kind;
pub use bug::{Bug, UnknownBug};
pub use campaign::{Campaign, Caught, campaign, hunt};
pub use ledger::Violation;
pub use report::{Failure, Report, Statistics};
pub use run::{Options, run};
pub use trace::Detail;
