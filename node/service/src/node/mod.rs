//! The node: composition, start and stop.

mod bodies;
mod components;
mod core;
mod driver;
mod engine;
mod evidence;
mod exchange;
mod heads;
mod inbox;
mod join;
mod joining_api;
mod mining;
mod peers;
mod pipeline;
mod serve;
mod source;
mod stepped;
mod tracker;
mod upkeep;
mod views;
mod workers;

pub use self::core::StopReason;
pub use bodies::{BodyLog, NoBodies};
pub use driver::{NoPeers, Outbox, Outgoing};
pub use mining::{Miner, NoMiner, StepMiner};
pub use peers::{PeerInbox, Peers};
pub use stepped::{Fate, Part, QueueLengths, StepTime, SteppedNode, Waiting, WrapEngine};

use parking_lot::Mutex;
use purlin_capabilities::{Allocation, Backend, CacheConfig, EngineFault, RuntimeConfig};
use purlin_chain::{Chain, ChainError, Executor};
use purlin_consensus::ConsensusEngine;
use purlin_consensus::pow::DoubleSha256;
use purlin_execution::NodeExecutor;
use purlin_network::{NetworkError, NetworkService};
use purlin_primitives::{ConsensusRules, Genesis, Height, PublicKey, SecretKey, TimestampMs};
use purlin_rpc::{BindError, RpcLimits, Server, ServerConfig};
use purlin_state::KeyValueStore;
use purlin_storage::{OpenError, RocksStore, StorageOptions};
use purlin_sync::TrustProblem;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use tokio::sync::watch;
use zeroize::Zeroizing;

use self::components::{Components, Frame};
use self::core::Core;
use self::driver::Driver;
use self::exchange::Exchange;
use self::inbox::Inbox;
use self::mining::{Effort, MinerThreads};
use self::pipeline::{BuildJob, Builder, CommitJob, Message, PowMessage, Sealed};
use self::serve::ApiNode;
use self::tracker::Tracker;
use self::upkeep::UpkeepRules;
use self::workers::Workers;
use crate::config::{EngineBackend, MemoryAllocation, Settings, SyncMethod};
use crate::home::{HomeLock, LockError};
use crate::init::{GenesisError, read_genesis};
use crate::keystore::{KeyName, Keystore, KeystoreError};
use crate::metrics::MetricsSnapshot;
use crate::sign_state::SignStateError;
use crate::signing_disk::SystemDisk;
use crate::snapshot::{InstallError, is_fresh};

/// Says why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the home.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No genesis, or a bad one.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The validator key cannot be used.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The key is not a validator of this chain.
    #[error(
        "key {key} ({public_key}) is not a validator of chain {chain_id}; set `chain.validator_key` to the right \
         key, or to `off` for a node that makes no blocks"
    )]
    NotValidator {
        /// The key's name.
        key: KeyName,
        /// Its public half.
        public_key: PublicKey,
        /// The chain.
        chain_id: purlin_primitives::ChainId,
    },
    /// The API cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The database does not open.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// The wasm engine does not start.
    #[error("the wasm engine does not start: {0}")]
    Engine(#[from] EngineFault),
    /// The chain does not open.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Signing would not be safe.
    #[error(transparent)]
    SignState(#[from] SignStateError),
    /// The votes cast before are not readable.
    #[error("the record of votes {} cannot be used: {source}", path.display())]
    Votes {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The headers of a proof-of-work chain cannot be followed from.
    #[error(transparent)]
    Headers(purlin_consensus::pow::HistoryError),
    /// The network does not start.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The node's chain is not the one of the checkpoint.
    #[error("{0}")]
    Checkpoint(TrustProblem),
    /// The chain has no snapshots to join by.
    #[error("the node is set to join by a snapshot: {0}")]
    SyncMethod(TrustProblem),
    /// A snapshot did not become a chain.
    #[error("joining by snapshot failed: {0}")]
    Join(#[from] InstallError),
    /// It was told to stop before it had started.
    #[error("the node was stopped while it joined the chain")]
    Stopped,
    /// The system gives no threads.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// Stack, in bytes, that threads need which run guests: give it to the async runtime too, so that queries need
/// no thread of their own.
pub const fn thread_stack_bytes() -> usize {
    RuntimeConfig::thread_stack_bytes()
}

/// A running node. Dropping it asks it to stop and does not wait; [`Node::shutdown`] does.
pub struct Node {
    api: Arc<dyn purlin_rpc::Node>,
    metrics: Arc<dyn Fn() -> MetricsSnapshot + Send + Sync>,
    stop: watch::Sender<Option<StopReason>>,
    wake: Arc<dyn Fn() + Send + Sync>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    server: Mutex<Option<tokio::task::JoinHandle<()>>>,
    network: Mutex<Option<NetworkService>>,
    api_address: Option<SocketAddr>,
    api_socket: Option<PathBuf>,
}

/// What a node is made of, for those who replace a part of it.
pub struct NodeParts<S> {
    /// Where everything is kept.
    pub store: S,
    /// What the chain starts from.
    pub genesis: Genesis,
    /// What blocks do.
    pub executor: Arc<dyn Executor>,
    /// Who decides; `None` for the engine that fits the key.
    pub engine: Option<Box<dyn ConsensusEngine>>,
    /// The connection to others; `None` for a node alone.
    pub peers: Option<Peers>,
    /// Signs blocks, or is paid for mining them; `None` makes none.
    pub validator: Option<SecretKey>,
    /// Searches nonces under proof of work; `None` for the threads of the settings.
    pub miner: Option<Box<dyn Miner>>,
    /// Keeps other processes out; `None` when the store does.
    pub lock: Option<HomeLock>,
}

impl Node {
    /// Starts the node of a home. `passphrase` is asked when the validator key is encrypted. Needs a tokio runtime,
    /// which must live until the node has stopped.
    ///
    /// # Errors
    /// Nothing is left running on an error.
    pub async fn start(
        settings: &Settings,
        passphrase: impl FnOnce(&KeyName) -> Option<Zeroizing<String>>,
    ) -> Result<Self, StartError> {
        let home = &settings.home;
        // Before the lock, which needs the directory.
        let genesis = read_genesis(&home.genesis())?;
        check_sync_method(settings.network_sync, &genesis).map_err(StartError::SyncMethod)?;
        let lock = home.lock()?;
        let validator = match &settings.validator_key {
            Some(name) => Some(unlock_validator(settings, name, &genesis, passphrase)?),
            None => None,
        };
        // Before the database, so that a port in use is answered at once.
        let server = bind(settings)?;
        let (network, peers) = peers::start_network(settings, genesis.id()).await?.unzip();
        let options =
            StorageOptions { block_cache_bytes: settings.storage_cache_bytes, ..Default::default() };
        let data = home.data();
        let (store, executor) = {
            let runtime = runtime_config(settings);
            let opened = tokio::task::spawn_blocking(move || -> Result<_, StartError> {
                Ok((RocksStore::open(data, &options)?, NodeExecutor::new(&runtime)?))
            });
            opened.await.map_err(|error| StartError::Thread(std::io::Error::other(error)))??
        };
        let joins = settings.network_sync == SyncMethod::Snapshot && is_fresh(&store, &genesis)?;
        let (store, server) = match &peers {
            Some(peers) if joins => join::join_by_snapshot(settings, store, &genesis, peers, server).await?,
            _ => (store, server),
        };
        let parts = NodeParts {
            store,
            genesis,
            executor: Arc::new(executor),
            engine: None,
            peers,
            validator,
            miner: None,
            lock: Some(lock),
        };
        let settings = settings.clone();
        let started = tokio::task::spawn_blocking(move || Self::assemble(&settings, parts));
        let mut node = started.await.map_err(|error| StartError::Thread(std::io::Error::other(error)))??;
        node.network = Mutex::new(network);
        node.serve(server);
        Ok(node)
    }

    /// Starts a node of given parts, without a server; for tests and for nodes inside other programs. Blocks while
    /// the chain opens.
    pub fn start_parts<S: KeyValueStore>(
        settings: &Settings,
        parts: NodeParts<S>,
    ) -> Result<Self, StartError> {
        Self::assemble(settings, parts)
    }

    fn assemble<S: KeyValueStore>(settings: &Settings, parts: NodeParts<S>) -> Result<Self, StartError> {
        let workers = Arc::new(Workers::start(settings.signature_threads).map_err(StartError::Thread)?);
        let frame = Frame {
            disk: &SystemDisk,
            workers: Arc::clone(&workers),
            jobs_max: pipeline::JOBS_MAX,
            wrap_engine: None,
        };
        let Components { core, driver, messages, builder, build_jobs, commit_jobs, sealed, exchange, mining } =
            Components::new(settings, parts, frame)?;
        let mut threads = mining;
        threads.extend(start_threads(&core, sealed, (builder, build_jobs), commit_jobs, (driver, messages))?);
        if let Some((exchange, inbox)) = exchange {
            threads.push(start_exchange(&core, exchange, inbox)?);
        }
        threads.push(upkeep::start(&core, UpkeepRules::of(settings))?);
        let wake = {
            let messages = core.messages.clone();
            let peers = core.peers.clone();
            Arc::new(move || {
                // A full queue means that the driver is awake.
                drop(messages.try_send(Message::Stop));
                if let Some(peers) = &peers {
                    peers.inbox.close();
                }
            })
        };
        let metrics = {
            let core = Arc::downgrade(&core);
            Arc::new(move || core.upgrade().map(|core| core.metrics.snapshot()).unwrap_or_default())
        };
        let stop = core.stop.clone();
        Ok(Self {
            api: Arc::new(ApiNode::new(core, workers)),
            metrics,
            stop,
            wake,
            threads: Mutex::new(threads),
            server: Mutex::new(None),
            network: Mutex::new(None),
            api_address: None,
            api_socket: None,
        })
    }

    /// Answers API requests until the node stops.
    fn serve(&mut self, server: Server) {
        self.api_address = server.tcp_address();
        self.api_socket = server.unix_path().map(Path::to_path_buf);
        let mut stop = self.stop.subscribe();
        let api = Arc::clone(&self.api);
        let task = tokio::spawn(async move {
            // The sender lives in the node's core, which the server holds.
            let stopped = async move { drop(stop.wait_for(Option::is_some).await) };
            server.serve(api, stopped).await;
        });
        *self.server.lock() = Some(task);
    }

    /// Returns the node as the API sees it.
    pub fn api(&self) -> &Arc<dyn purlin_rpc::Node> {
        &self.api
    }

    /// Returns the TCP address of the API, with the real port.
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.api_address
    }

    /// Returns where peers can reach this node, as multiaddresses that name it; empty without a network.
    pub fn network_addresses(&self) -> Vec<String> {
        let network = self.network.lock();
        let Some(network) = &*network else { return Vec::new() };
        let handle = network.handle();
        let addresses = handle.listen_addresses().into_iter();
        addresses.map(|address| format!("{address}/p2p/{}", handle.peer_id())).collect()
    }

    /// Returns the path of the API's unix socket.
    pub fn api_socket(&self) -> Option<&Path> {
        self.api_socket.as_deref()
    }

    /// Returns what was counted since the start.
    pub fn metrics(&self) -> MetricsSnapshot {
        (self.metrics)()
    }

    /// Returns what peers call this node, in base58; `None` without a network.
    pub fn peer_id(&self) -> Option<String> {
        self.network.lock().as_ref().map(|network| network.handle().peer_id().to_string())
    }

    /// Waits until the node stops or fails, and says why. It is not down yet then: call [`Self::shutdown`].
    pub async fn stopped(&self) -> StopReason {
        let mut stop = self.stop.subscribe();
        let reason = stop.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or(StopReason::Requested)
    }

    /// Asks the node to stop; returns at once.
    pub fn request_stop(&self) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            if first {
                *stop = Some(StopReason::Requested);
            }
            first
        });
        (self.wake)();
    }

    /// Stops the node: no request is taken, the block that is being stored is finished and signed, the database
    /// is closed. Says why the node stopped, which may have been before.
    pub async fn shutdown(self) -> StopReason {
        self.request_stop();
        let server = self.server.lock().take();
        if let Some(server) = server
            && let Err(error) = server.await
        {
            tracing::error!(%error, "the API server panicked");
        }
        let network = self.network.lock().take();
        if let Some(network) = network
            && let Err(error) = network.shutdown().await
        {
            tracing::error!(%error, "the network panicked");
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the node panicked while it stopped");
                }
            }
        });
        if let Err(error) = joined.await {
            tracing::error!(%error, "waiting for the node's threads failed");
        }
        let reason = self.stopped().await;
        let api = Arc::clone(&self.api);
        drop(self);
        // Closes the database, which may write, off the async threads.
        if let Err(error) = tokio::task::spawn_blocking(move || drop(api)).await {
            tracing::error!(%error, "closing the database failed");
        }
        reason
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.request_stop();
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("api_address", &self.api_address).finish_non_exhaustive()
    }
}

/// Refuses snapshots for a chain that has none.
fn check_sync_method(sync: SyncMethod, genesis: &Genesis) -> Result<(), TrustProblem> {
    match (sync, &genesis.parameters.consensus) {
        (SyncMethod::Snapshot, ConsensusRules::Pow(_)) => Err(TrustProblem::NoCertificates),
        _ => Ok(()),
    }
}

fn unlock_validator(
    settings: &Settings,
    name: &KeyName,
    genesis: &Genesis,
    passphrase: impl FnOnce(&KeyName) -> Option<Zeroizing<String>>,
) -> Result<SecretKey, StartError> {
    let keystore = Keystore::new(settings.home.keys());
    // Told before the passphrase is asked for.
    let public_key = keystore.get(name)?.public_key;
    let listed = genesis.validators.iter().any(|validator| validator.public_key == public_key);
    if let ConsensusRules::Pow(_) = genesis.parameters.consensus {
        // Anybody may mine.
    } else if !listed && settings.has_network() {
        // It may have bonded since, or be about to.
        tracing::info!(key = %name, %public_key, "the key is not a validator of the genesis");
    } else if !listed {
        let chain_id = genesis.chain_id.clone();
        return Err(StartError::NotValidator { key: name.clone(), public_key, chain_id });
    }
    Ok(keystore.unlock(name, &genesis.chain_id, passphrase)?)
}

fn bind(settings: &Settings) -> Result<Server, BindError> {
    Server::bind(ServerConfig {
        tcp: settings.api_listen,
        unix: settings.api_socket.clone(),
        tokens: settings.home.tokens(),
        limits: RpcLimits::default(),
    })
}

/// Translates the operator's choices for the engine.
pub(crate) fn runtime_config(settings: &Settings) -> RuntimeConfig {
    RuntimeConfig {
        backend: match settings.engine_backend {
            EngineBackend::CraneliftSpeed => Backend::CraneliftSpeed,
            EngineBackend::CraneliftNone => Backend::CraneliftNone,
            EngineBackend::Pulley => Backend::Pulley,
        },
        allocation: match settings.engine_allocation {
            MemoryAllocation::Automatic => Allocation::Automatic,
            MemoryAllocation::OnDemand => Allocation::OnDemand,
        },
        instances_max: settings.engine_instances_max,
        modules_bytes_max: settings.engine_modules_bytes_max,
        cache: Some(CacheConfig {
            directory: settings.home.cache(),
            bytes_max: settings.engine_cache_bytes_max,
        }),
        ..RuntimeConfig::default()
    }
}

fn start_threads<S: KeyValueStore>(
    core: &Arc<Core<S>>,
    sealed: Arc<Sealed>,
    (builder, build_jobs): (Builder<S>, Receiver<BuildJob>),
    commit_jobs: Receiver<CommitJob>,
    (driver, inbox): (Driver<S>, Receiver<Message>),
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let spawn = |name: &'static str, stack_bytes: usize, work: Box<dyn FnOnce() + Send>| {
        let core = Arc::clone(core);
        let thread = std::thread::Builder::new().name(format!("purlin-{name}")).stack_size(stack_bytes);
        thread.spawn(move || pipeline::guarded(&core, name, work)).map_err(StartError::Thread)
    };
    const SMALL_STACK_BYTES: usize = 2 << 20;
    let committing = Arc::clone(core);
    Ok(vec![
        spawn("builder", thread_stack_bytes(), Box::new(move || builder.run(&build_jobs)))?,
        spawn(
            "committer",
            SMALL_STACK_BYTES,
            Box::new(move || pipeline::commit(&committing, &sealed, &commit_jobs)),
        )?,
        spawn("driver", SMALL_STACK_BYTES, Box::new(move || driver.run(&inbox)))?,
    ])
}

/// Threads that end when what they work for is dropped.
type Threads = Vec<JoinHandle<()>>;

/// Starts the threads that mine, when the settings and the key say so.
fn start_miner<S: KeyValueStore>(
    settings: &Settings,
    core: &Arc<Core<S>>,
) -> Result<(Box<dyn Miner>, Threads), StartError> {
    if core.validator.is_none() || settings.mining_threads == 0 {
        return Ok((Box::new(NoMiner), Vec::new()));
    }
    let effort = Effort { threads: settings.mining_threads, rate_max: settings.mining_hashes_per_second_max };
    let messages = core.messages.clone();
    let found = move |header| {
        // The driver is gone when the node stops.
        drop(messages.send(Message::Pow(PowMessage::Mined(Box::new(header)))));
    };
    let (miner, threads) =
        MinerThreads::start(Arc::new(DoubleSha256), effort, found).map_err(StartError::Thread)?;
    Ok((Box::new(miner), threads))
}

/// Has those who wait for a transaction of the last blocks wait until it is final, though the node was restarted.
fn track_unconfirmed<S: KeyValueStore>(
    chain: &Chain<S>,
    confirmed: Height,
    tracker: &mut Tracker,
) -> Result<(), ChainError> {
    let head = chain.head().height;
    for height in (confirmed.get() + 1..=head.get()).map(Height::new) {
        let Some(block) = chain.block(height)? else { continue };
        let chain_id = &chain.genesis().chain_id;
        let verified = block.transactions.into_iter().map(|one| one.verify(chain_id));
        let verified = verified.collect::<Result<Vec<_>, _>>().map_err(|error| {
            let detail = format!("block {height} has a transaction that is not valid: {error}");
            ChainError::Inconsistent { detail }
        })?;
        tracker.included(block.header.id(), &verified);
    }
    Ok(())
}

fn start_exchange<S: KeyValueStore>(
    core: &Arc<Core<S>>,
    exchange: Exchange<S>,
    inbox: Arc<Inbox>,
) -> Result<JoinHandle<()>, StartError> {
    let core = Arc::clone(core);
    let thread = std::thread::Builder::new().name("purlin-exchange".to_owned());
    let work = move || pipeline::guarded(&core, "exchange", || peers::run(&core, exchange, &inbox));
    thread.spawn(work).map_err(StartError::Thread)
}

/// Returns the clock's time, but not before the block that came last.
pub(crate) fn time_after(last: TimestampMs) -> TimestampMs {
    crate::clock::system_time().max(TimestampMs::new(last.get().saturating_add(1)))
}
