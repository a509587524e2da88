//! Decides which block comes next: the engine port and its implementations.
//!
//! A [`ConsensusEngine`] is a pure state machine: it is given the time and an [`Input`] and answers with
//! [`Effect`]s. The driver, in `purlin-service`, carries them out: it executes and stores blocks, signs, keeps
//! timers, talks to peers. So an engine can be replayed and simulated, and never waits for anything.
//!
//! ```
//! use purlin_consensus::{BlockId, ConsensusEngine, Effect, Head, Input, SoloConfig, SoloEngine, WhenEmpty};
//! use purlin_consensus::{Height, TimestampMs};
//! let genesis = Head {
//!     height: Height::ZERO, id: BlockId::ZERO, time: TimestampMs::new(1_000), anchored: false,
//! };
//! let mut engine = SoloEngine::new(SoloConfig::default());
//! let now = TimestampMs::new(5_000);
//! engine.handle(now, Input::Started { head: genesis, uncertified: None });
//! let effects = engine.handle(now, Input::TransactionsWaiting);
//! let (height, time) = (Height::new(1), now);
//! assert!(effects.contains(&Effect::BuildProposal { height, time, when_empty: WhenEmpty::Skip }));
//! ```
//!
//! Engines: [`SoloEngine`], one validator; [`NoEngine`], which decides nothing, for a node that only serves what
//! it has; [`ScriptedEngine`], for tests of a driver. What the next ones need of this port is told in
//! [`ConsensusEngine`].
#![forbid(unsafe_code)]

mod port;
mod solo;
mod twins;

pub use port::{
    Announcement, ConsensusEngine, Effect, Head, Input, Notice, Proposal, SignError, TimerId, Verdict,
    VoteSigner, WhenEmpty,
};
pub use purlin_primitives::{BlockId, Height, TimestampMs};
pub use solo::{CLOCK_WAIT_MS_MAX, SoloConfig, SoloEngine};
pub use twins::{NoEngine, ScriptLog, ScriptedEngine};
