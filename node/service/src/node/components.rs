//! What a node consists of before anything runs it: its threads do, or whoever steps it.

use parking_lot::{Mutex, RwLock};
use purlin_chain::{Chain, ChainError, ChainOptions, Opening};
use purlin_consensus::ConsensusEngine;
use purlin_mempool::Mempool;
use purlin_modules::staking;
use purlin_primitives::{AccountId, ConsensusRules, Seal};
use purlin_state::KeyValueStore;
use purlin_sync::TrustProblem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::watch;

use super::core::{Core, Pool, View};
use super::driver::{Driver, DriverParts, NoPeers, Outbox, PowDriver};
use super::engine::{self, Prepared};
use super::evidence::Reporter;
use super::exchange::Exchange;
use super::heads::Heads;
use super::inbox::Inbox;
use super::peers::{ExchangeOutbox, Peers};
use super::pipeline::{self, BuildJob, Builder, CommitJob, MESSAGES_MAX, Message, Sealed};
use super::tracker::Tracker;
use super::workers::Workers;
use super::{NodeParts, StartError, start_miner, track_unconfirmed};
use crate::config::Settings;
use crate::metrics::Metrics;
use crate::signing_disk::SigningDisk;
use crate::snapshot::Shelf;

/// Puts something around the engine.
pub type WrapEngine = Box<dyn FnOnce(Box<dyn ConsensusEngine>) -> Box<dyn ConsensusEngine>>;

/// What runs a node's parts.
pub(super) struct Frame<'a> {
    /// Where signatures are recorded.
    pub(super) disk: &'a dyn SigningDisk,
    pub(super) workers: Arc<Workers>,
    /// Jobs that may wait for the builder, and for the committer.
    pub(super) jobs_max: usize,
    pub(super) wrap_engine: Option<WrapEngine>,
}

/// A node that stands still.
pub(super) struct Components<S> {
    pub(super) core: Arc<Core<S>>,
    pub(super) driver: Driver<S>,
    pub(super) messages: Receiver<Message>,
    pub(super) builder: Builder<S>,
    pub(super) build_jobs: Receiver<BuildJob>,
    pub(super) commit_jobs: Receiver<CommitJob>,
    pub(super) sealed: Arc<Sealed>,
    pub(super) exchange: Option<(Exchange<S>, Arc<Inbox>)>,
    /// Threads that search nonces, unless the caller gave a miner.
    pub(super) mining: Vec<JoinHandle<()>>,
}

impl<S: KeyValueStore> Components<S> {
    /// Opens the chain and puts everything together.
    pub(super) fn new(
        settings: &Settings,
        parts: NodeParts<S>,
        frame: Frame<'_>,
    ) -> Result<Self, StartError> {
        let NodeParts { store, genesis, executor, engine, peers, validator, miner, lock } = parts;
        let Frame { disk, workers, jobs_max, wrap_engine } = frame;
        let chain = Chain::open(store, genesis, &*executor, ChainOptions::default())?;
        if let Opening::Repaired { reason } = chain.opening() {
            tracing::warn!(reason, "the state tree was damaged and was built again from the values");
        }
        check_checkpoint(settings, &chain)?;
        let decides = staking::validators_at(&mut &*chain.state(), chain.head().height.next())
            .map_err(ChainError::from)?;
        let metrics = Arc::<Metrics>::default();
        let heads = match &chain.parameters().consensus {
            ConsensusRules::Pow(rules) => Some(Heads::open(&chain, rules.clone())?),
            ConsensusRules::Pos(_) => None,
        };
        // Nobody votes under proof of work, so nobody can be caught.
        let reporter = validator.clone().filter(|_| heads.is_none()).map(Reporter::new);
        let Prepared { engine, kept, bodies, records, public_key, signed } = match engine {
            Some(engine) => Prepared::given(engine, validator.map(|key| key.public_key())),
            None => {
                Prepared::of_genesis(settings, disk, &chain, validator, &decides, &metrics, peers.is_some())?
            }
        };
        let engine = match wrap_engine {
            Some(wrap) => wrap(engine),
            None => engine,
        };

        let account = public_key.map(|key| key.account_id());
        let started = engine::started(&chain, decides, records)?;
        let head = chain.head();
        let proposer = account.unwrap_or(AccountId::ZERO);
        let context = chain.context(head.height.next(), head.time, proposer, Seal::FIRST_ROUND);
        let view = Arc::new(View { state: chain.tip_state(), context });
        let (messages, inbox) = std::sync::mpsc::sync_channel(MESSAGES_MAX);
        let confirmed = heads.as_ref().map_or(head.height, |heads| heads.final_height(head.height));
        let mut tracker = Tracker::default();
        if heads.is_some() {
            track_unconfirmed(&chain, confirmed, &mut tracker)?;
        }
        let core = Arc::new(Core {
            pool: Mutex::new(Pool { mempool: Mempool::new(settings.mempool), view }),
            tracker: Mutex::new(tracker),
            metrics,
            heights: watch::Sender::new(confirmed),
            heads,
            head: RwLock::new(head),
            stop: watch::Sender::new(None),
            messages,
            waiting_told: AtomicBool::new(false),
            anchor_told: AtomicBool::new(false),
            round: AtomicU32::new(0),
            engine: engine.name(),
            validator: account,
            peers: peers.clone(),
            sync: Mutex::default(),
            sync_problem: Mutex::default(),
            trusted: settings.network_checkpoint,
            snapshots: Arc::new(Shelf::new(settings.home.snapshots())),
            deciding: Mutex::default(),
            started: Instant::now(),
            executor,
            chain,
            _lock: lock,
        });
        let outbox: Box<dyn Outbox> = match &peers {
            Some(peers) => Box::new(ExchangeOutbox(Arc::clone(&peers.inbox))),
            None => Box::new(NoPeers),
        };
        let exchange = peers.map(|Peers { network, inbox }| {
            let exchange = Exchange::new(Arc::clone(&core), network, Arc::clone(&inbox), workers, reporter);
            (exchange, inbox)
        });
        let (builds, build_jobs) = pipeline::jobs(jobs_max);
        let (commits, commit_jobs) = pipeline::jobs(jobs_max);
        let head = core.chain.head();
        let sealed = Arc::new(Sealed::at(head.height));
        let builder = Builder {
            core: Arc::clone(&core),
            proposer,
            sealed: Arc::clone(&sealed),
            state: core.chain.tip_state(),
            parent: head.block,
            next: head.height.next(),
            branch: None,
        };
        let (miner, mining) = match miner {
            _ if core.heads.is_none() => (None, Vec::new()),
            Some(miner) => (Some(miner), Vec::new()),
            None => start_miner(settings, &core).map(|(miner, threads)| (Some(miner), threads))?,
        };
        let parts = DriverParts {
            core: Arc::clone(&core),
            engine,
            outbox,
            kept,
            signing: public_key.zip(signed),
            builds,
            commits,
            sealed: Arc::clone(&sealed),
            pow: miner.map(|miner| PowDriver::new(miner, confirmed)),
        };
        let driver = Driver::new(parts, started, bodies);
        Ok(Self { core, driver, messages: inbox, builder, build_jobs, commit_jobs, sealed, exchange, mining })
    }
}

/// Refuses a chain that has another block where the checkpoint is.
fn check_checkpoint<S: KeyValueStore>(settings: &Settings, chain: &Chain<S>) -> Result<(), StartError> {
    let Some(checkpoint) = settings.network_checkpoint else { return Ok(()) };
    let height = checkpoint.height;
    // One that is older than the chain's beginning was looked at when it began.
    if height > chain.head().height || height < chain.history().oldest_header {
        return Ok(());
    }
    let header = chain.header(height).map_err(ChainError::from)?;
    match header.map(|header| header.id()) {
        Some(found) if found != checkpoint.block => {
            let checkpoint = checkpoint.block;
            Err(StartError::Checkpoint(TrustProblem::Contradiction { height, checkpoint, found }))
        }
        _ => Ok(()),
    }
}
