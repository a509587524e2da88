//! Composes the node: builder, event loop, configuration and shutdown.
//!
//! [`init_home`] makes a directory into a node's [`Home`]; [`Settings::resolve`] merges flags, environment, file and
//! defaults; [`Node::start`] runs it until [`Node::shutdown`]. Only the command line reads environment and terminal.
//!
//! ```no_run
//! use purlin_service::{Home, NewChain, Node, Protection, Settings, development_key, init_home, system_time};
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::resolve(Home::new("node"), &[])?;
//! let chain = NewChain::development("dev".parse()?, system_time());
//! init_home(&settings.home, &chain, &development_key("validator"), Protection::Development(&chain.chain_id))?;
//! let node = Node::start(&settings, |_key| None).await?;
//! println!("{:?}", node.api().status().height);
//! node.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! What is durable when: a block's batch is synced, then the sign state, then the block is signed, then it is
//! reported. After a crash in between, the next start signs the same block again.
#![forbid(unsafe_code)]

mod clock;
mod config;
mod doctor;
mod files;
mod home;
mod init;
mod keystore;
mod local_network;
mod metrics;
mod node;
mod sign_state;
mod signing_disk;
mod snapshot;
mod vote_log;

pub use clock::system_time;
pub use config::{
    ConfigError, EngineBackend, LogFormat, MemoryAllocation, Origin, PartialSettings, ResolvedSetting,
    SETTINGS, SettingSpec, Settings, SyncMethod, environment_name, find_setting, set_in_file,
};
pub use doctor::{Examination, Finding, Level, doctor, recreate_sign_state};
pub use home::{Home, HomeLock, LockError};
pub use init::{
    DEVELOPMENT_ACCOUNTS, DEVELOPMENT_BALANCE, DEVELOPMENT_HASHES_PER_S, GenesisError, InitError, NewChain,
    VALIDATOR_KEY, development_key, development_pow_rules, init_home, join_home, read_genesis, write_genesis,
};
pub use keystore::{KeyEntry, KeyKind, KeyName, Keystore, KeystoreError, Protection, is_development};
pub use local_network::{
    LOCAL_API_PORT_OFFSET, LOCAL_VALIDATORS_MAX, LocalEngine, LocalNetwork, LocalNetworkError, LocalNode,
    local_network,
};
pub use metrics::{MetricsSnapshot, Stage, StageSnapshot};
pub use node::{
    BodyLog, Fate, Miner, NoBodies, NoMiner, NoPeers, Node, NodeParts, Outbox, Outgoing, Part, PeerInbox,
    Peers, QueueLengths, StartError, StepMiner, StepTime, SteppedNode, StopReason, Waiting, WrapEngine,
    thread_stack_bytes,
};
pub use purlin_network::check_peer_address;
pub use purlin_primitives::Genesis;
pub use purlin_sync::Checkpoint;
pub use sign_state::{LastSigned, SignStateError, SignStep, Signer, SigningFiles, SigningTerms};
pub use signing_disk::{IfMissing, SigningDisk, SigningFile, SystemDisk};
pub use snapshot::{
    InstallError, Made, MakeError, SnapshotError, SnapshotFileError, SnapshotSummary, create_snapshot,
    restore_snapshot,
};
