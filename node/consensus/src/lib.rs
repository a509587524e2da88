//! Decides which block comes next: the engine port and its implementations.
//!
//! A [`ConsensusEngine`] is a pure state machine: it is given the time and an [`Input`] and answers with
//! [`Effect`]s. The driver, in `purlin-service`, carries them out: it executes and stores blocks, signs, keeps
//! timers, talks to peers. So an engine can be replayed and simulated, and never waits for anything.
//!
//! ```
//! use purlin_consensus::{BlockId, ConsensusEngine, Effect, Head, Height, Input, MemorySigner, TimestampMs};
//! use purlin_consensus::{SoloConfig, SoloEngine, WhenEmpty};
//! use purlin_primitives::{Seal, SecretKey};
//! let head = Head {
//!     height: Height::ZERO, id: BlockId::ZERO, time: TimestampMs::new(1_000), anchored: false,
//! };
//! let signer = MemorySigner::new(SecretKey::from_bytes(&[1; 32])?);
//! let mut engine = SoloEngine::new(SoloConfig::default(), Box::new(signer));
//! let now = TimestampMs::new(5_000);
//! let validators = Default::default();
//! engine.handle(now, Input::Started { head, uncertified: None, validators, records: vec![] });
//! let effects = engine.handle(now, Input::TransactionsWaiting);
//! let (height, time, seal) = (Height::new(1), now, Seal::FIRST_ROUND);
//! assert!(effects.contains(&Effect::BuildProposal { height, time, seal, when_empty: WhenEmpty::Skip }));
//! # Ok::<(), purlin_primitives::KeyError>(())
//! ```
//!
//! Engines: [`PosEngine`], proof of stake with final blocks; [`SoloEngine`], its rules for one validator alone;
//! [`PowEngine`](pow::PowEngine), proof of work with the heaviest chain; [`NoEngine`], which decides nothing, for a node that only serves what it has; [`ScriptedEngine`], for tests of a
//! driver. What the next ones need of this port is told in [`ConsensusEngine`].
#![forbid(unsafe_code)]

mod port;
mod pos;
pub mod pow;
mod solo;
mod twins;

pub use port::{
    Announcement, ConsensusEngine, Effect, EngineLengths, Head, Input, Notice, Proposal, SignError, TimerId,
    Verdict, VoteSigner, WhenEmpty,
};
pub use pos::{
    MESSAGE_BYTES_MAX, PeerMessage, PosConfig, PosEngine, ROUNDS_AHEAD_MAX, SignedAt, TIMEOUT_MS_MAX,
};
pub use purlin_primitives::{BlockId, Height, TimestampMs};
pub use solo::{CLOCK_WAIT_MS_MAX, SoloConfig, SoloEngine};
pub use twins::{MemorySigner, NoEngine, ScriptLog, ScriptedEngine};
