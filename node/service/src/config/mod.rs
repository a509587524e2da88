//! Settings: flag over environment over file over default.
//!
//! Every setting is one row of [`SETTINGS`]. A layer is a [`PartialSettings`]; [`Settings::resolve`] merges them
//! and remembers where each value came from.

mod file;
mod layers;
mod registry;
mod value;

pub use file::set_in_file;
pub(crate) use file::template;
pub use layers::{Origin, PartialSettings, ResolvedSetting};
pub use registry::{SETTINGS, SettingSpec, environment_name, find_setting};
pub use value::{EngineBackend, LogFormat, MemoryAllocation, SyncMethod};

use purlin_mempool::Limits;
use purlin_network::Reachability;
use purlin_sync::Checkpoint;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;

use crate::home::Home;
use crate::keystore::KeyName;
use value as parse;

/// Says why settings cannot be used. Nothing has started then.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A name that no setting has.
    #[error(
        "{origin}: unknown setting `{key}`{}",
        suggestion.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default()
    )]
    UnknownKey {
        /// What was found.
        key: String,
        /// The nearest known name.
        suggestion: Option<&'static str>,
        /// Where.
        origin: Origin,
    },
    /// A value that does not fit its setting.
    #[error("{origin}: `{key}` is {value:?}; expected {expected}")]
    Value {
        /// Which setting.
        key: &'static str,
        /// What was found.
        value: String,
        /// What would have been right.
        expected: String,
        /// Where.
        origin: Origin,
    },
    /// The file is not TOML.
    #[error("{} is not valid TOML: {detail}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// What the parser said, with the line.
        detail: String,
    },
    /// The file cannot be read or written.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Everything that an operator decides about one node; plain values, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The node's directory.
    pub home: Home,
    /// Address of the HTTP API; `None` serves the socket only.
    pub api_listen: Option<SocketAddr>,
    /// Path of the API's unix socket; `None` for none.
    pub api_socket: Option<PathBuf>,
    /// Least time between blocks, in milliseconds; 0 is as soon as a transaction waits.
    pub block_interval_ms: u64,
    /// Quiet time before an empty block anchors the newest state, in milliseconds.
    pub anchor_after_ms: u64,
    /// How long several validators wait for a transaction before an empty block, in milliseconds.
    pub idle_ms: u64,
    /// Key that makes blocks; `None` makes none and serves what there is.
    pub validator_key: Option<KeyName>,
    /// Threads that mine, on a proof-of-work chain and with a key; none mine nothing.
    pub mining_threads: usize,
    /// Most hashes per second of all of them together; without, as many as the machine can.
    pub mining_hashes_per_second_max: Option<NonZeroU64>,
    /// Where peers connect, as multiaddresses; without these, `network_peers` and `network_reserved`
    /// there is no network.
    pub network_listen: Vec<String>,
    /// Nodes to ask first.
    pub network_peers: Vec<String>,
    /// Nodes that are always reconnected.
    pub network_reserved: Vec<String>,
    /// Where others reach this node.
    pub network_external: Vec<String>,
    /// Whether others can dial this node.
    pub network_reachable: Reachability,
    /// Ids of the only nodes that may connect; empty for all.
    pub network_allowed: Vec<String>,
    /// Ids of nodes that may not connect.
    pub network_denied: Vec<String>,
    /// Nodes that carry connections to this one.
    pub network_relays: Vec<String>,
    /// Whether this node carries connections of others.
    pub network_relay_server: bool,
    /// Key of a private network.
    pub network_key: Option<[u8; 32]>,
    /// Whether nodes of the local network are looked for.
    pub network_mdns: bool,
    /// Whether the router is asked to forward a port.
    pub network_upnp: bool,
    /// How a node without data joins.
    pub network_sync: SyncMethod,
    /// A recent block that the operator trusts.
    pub network_checkpoint: Option<Checkpoint>,
    /// Bounds of the pool.
    pub mempool: Limits,
    /// Threads that check signatures.
    pub signature_threads: usize,
    /// How wasm is run.
    pub engine_backend: EngineBackend,
    /// How instances get memory.
    pub engine_allocation: MemoryAllocation,
    /// Most instances at once.
    pub engine_instances_max: u32,
    /// Most compiled code in memory, in bytes.
    pub engine_modules_bytes_max: usize,
    /// Most compiled code on disk, in bytes.
    pub engine_cache_bytes_max: u64,
    /// Memory of the database's block cache, in bytes.
    pub storage_cache_bytes: usize,
    /// Heights at whose multiples a snapshot is made; `None` makes none.
    pub snapshot_blocks: Option<u64>,
    /// Blocks that keep their transactions; `None` for all.
    pub keep_blocks: Option<u64>,
    /// Days for which blocks keep their transactions; `None` for ever.
    pub keep_days: Option<u64>,
    /// Size of the database, in bytes, above which old blocks are pruned; `None` never.
    pub disk_bytes_max: Option<u64>,
    /// Which log lines are written, as in `RUST_LOG`.
    pub log_filter: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl Settings {
    /// Merges layers over the defaults, the first layer winning, and checks every value.
    pub fn resolve(home: Home, layers: &[PartialSettings]) -> Result<Self, ConfigError> {
        let resolved = layers::merge(layers);
        let value = |key: &'static str| {
            let found =
                resolved.iter().find(|setting| setting.key == key).expect("every row of SETTINGS is merged");
            (key, found.value.as_str(), &found.origin)
        };
        Ok(Self {
            api_listen: parse::with(value("api.listen"), parse::address)?,
            api_socket: match parse::with(value("api.socket"), parse::socket)? {
                parse::Socket::Default => Some(home.socket()),
                parse::Socket::Off => None,
                parse::Socket::At(path) => Some(home.root().join(path)),
            },
            block_interval_ms: parse::with(value("chain.block_interval_ms"), parse::milliseconds)?,
            anchor_after_ms: parse::with(value("chain.anchor_after_ms"), parse::milliseconds)?,
            idle_ms: parse::with(value("chain.idle_ms"), parse::milliseconds)?,
            validator_key: parse::with(value("chain.validator_key"), parse::key_name)?,
            mining_threads: parse::with(value("mining.threads"), parse::mining_threads)?,
            mining_hashes_per_second_max: parse::with(
                value("mining.hashes_per_second_max"),
                parse::hash_rate,
            )?,
            network_listen: parse::with(value("network.listen"), parse::addresses)?,
            network_peers: parse::with(value("network.peers"), parse::addresses)?,
            network_reserved: parse::with(value("network.reserved"), parse::addresses)?,
            network_external: parse::with(value("network.external"), parse::addresses)?,
            network_reachable: parse::with(value("network.reachable"), parse::reachable)?,
            network_allowed: parse::with(value("network.allowed"), parse::peer_ids)?,
            network_denied: parse::with(value("network.denied"), parse::peer_ids)?,
            network_relays: parse::with(value("network.relays"), parse::addresses)?,
            network_relay_server: parse::with(value("network.relay_server"), parse::switch)?,
            network_key: parse::with(value("network.key"), parse::network_key)?,
            network_mdns: parse::with(value("network.mdns"), parse::switch)?,
            network_upnp: parse::with(value("network.upnp"), parse::switch)?,
            network_sync: parse::with(value("network.sync"), parse::sync)?,
            network_checkpoint: parse::with(value("network.checkpoint"), parse::checkpoint)?,
            mempool: Limits {
                transactions_max: parse::with(value("mempool.transactions_max"), parse::count)?,
                bytes_max: parse::with(value("mempool.bytes_max"), parse::bytes)?,
                per_sender_max: parse::with(value("mempool.per_sender_max"), parse::count)?,
            },
            signature_threads: parse::with(value("mempool.signature_threads"), parse::threads)?,
            engine_backend: parse::with(value("engine.backend"), parse::backend)?,
            engine_allocation: parse::with(value("engine.allocation"), parse::allocation)?,
            engine_instances_max: parse::with(value("engine.instances_max"), parse::instances)?,
            engine_modules_bytes_max: parse::with(value("engine.modules_bytes_max"), parse::bytes)?,
            engine_cache_bytes_max: parse::with(value("engine.cache_bytes_max"), parse::bytes)? as u64,
            storage_cache_bytes: parse::with(value("storage.cache_bytes"), parse::bytes)?,
            snapshot_blocks: parse::with(value("storage.snapshot_blocks"), parse::blocks)?,
            keep_blocks: parse::with(value("storage.keep_blocks"), parse::blocks)?,
            keep_days: parse::with(value("storage.keep_days"), parse::days)?,
            disk_bytes_max: parse::with(value("storage.disk_bytes_max"), parse::budget)?,
            log_filter: value("log.filter").1.to_owned(),
            log_format: parse::with(value("log.format"), parse::log_format)?,
            home,
        })
    }

    /// Says whether the node talks to others.
    pub fn has_network(&self) -> bool {
        let named = [&self.network_listen, &self.network_peers, &self.network_reserved];
        named.iter().any(|addresses| !addresses.is_empty())
    }

    /// Returns the merged values in the order of [`SETTINGS`], each with its origin, for `purlin config show`.
    pub fn explain(layers: &[PartialSettings]) -> Vec<ResolvedSetting> {
        layers::merge(layers)
    }
}

#[cfg(test)]
mod tests;
