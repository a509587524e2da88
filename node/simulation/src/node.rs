//! One node of the simulation: what survives a crash, and what is running.

use purlin_chain::Executor;
use purlin_primitives::{BlockId, Genesis, Height, SecretKey, TimestampMs};
use purlin_service::{
    Home, NodeParts, PartialSettings, PeerInbox, Settings, Signer, StepTime, SteppedNode, development_key,
};
use purlin_state::MemoryStore;
use purlin_sync::{GossipId, RequestId, Topic};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::adversary::{Adversary, Kind};
use crate::bug::Bug;
use crate::disk::{SimDisk, Syncing};
use crate::faulty::{FaultyEngine, FaultyExecutor};
use crate::link::Link;
use crate::plan::Plan;
use crate::random::Random;
use crate::store::SimStore;

/// Time of day at the start of the simulation, in milliseconds.
pub(crate) const START_MS: u64 = 1_700_000_010_000;
/// How long the network remembers what it has seen, as gossipsub is set up.
const SEEN_US: u64 = 30_000_000;
/// How long a message waits for its verdict.
const UNJUDGED_US: u64 = 8_000_000;
/// Most transactions of a pool; small enough that a spammer fills it.
pub(crate) const POOL_MAX: usize = 200;
/// Most bytes of a pool.
pub(crate) const POOL_BYTES_MAX: usize = 256 * 1024;

pub(crate) type Stepped = SteppedNode<Arc<SimStore>>;

/// A gossiped message that waits for its verdict.
pub(crate) struct Unjudged {
    pub(crate) from: usize,
    pub(crate) topic: Topic,
    pub(crate) bytes: Arc<Vec<u8>>,
    at_us: u64,
}

/// The part of a node that ends with a crash.
pub(crate) struct Running {
    pub(crate) node: Stepped,
    pub(crate) store: Arc<SimStore>,
    pub(crate) inbox: PeerInbox,
    pub(crate) link: Arc<Link>,
    pub(crate) booted_us: u64,
    /// Which parts have a step ahead of them.
    pub(crate) scheduled: [bool; 5],
    pub(crate) timer_us: Option<u64>,
    pub(crate) asked: BTreeMap<RequestId, usize>,
    unjudged: BTreeMap<GossipId, Unjudged>,
    seen: BTreeMap<u64, u64>,
    seen_order: VecDeque<(u64, u64)>,
}

impl Running {
    /// Notes a message; `false` when it was seen before, not long ago.
    pub(crate) fn sees(&mut self, now_us: u64, digest: u64) -> bool {
        while self.seen_order.front().is_some_and(|(at, _)| at + SEEN_US < now_us) {
            if let Some((_, old)) = self.seen_order.pop_front() {
                self.seen.remove(&old);
            }
        }
        if self.seen.insert(digest, now_us).is_some() {
            return false;
        }
        self.seen_order.push_back((now_us, digest));
        true
    }

    pub(crate) fn unjudged(
        &mut self,
        now_us: u64,
        id: GossipId,
        from: usize,
        topic: Topic,
        bytes: Arc<Vec<u8>>,
    ) {
        while self.unjudged.first_key_value().is_some_and(|(_, one)| one.at_us + UNJUDGED_US < now_us) {
            self.unjudged.pop_first();
        }
        self.unjudged.insert(id, Unjudged { from, topic, bytes, at_us: now_us });
    }

    pub(crate) fn judged(&mut self, id: GossipId) -> Option<Unjudged> {
        self.unjudged.remove(&id)
    }
}

/// A node, running or not.
pub(crate) struct SimNode {
    pub(crate) index: usize,
    pub(crate) key: Option<SecretKey>,
    pub(crate) adversary: Option<Adversary>,
    settings: Settings,
    data: Arc<MemoryStore>,
    pub(crate) disk: SimDisk,
    pub(crate) running: Option<Running>,
    /// Counts starts and crashes, so that what was meant for an earlier life is told apart.
    pub(crate) life: u64,
    pub(crate) skew_ms: i64,
    pub(crate) stalled_until_us: u64,
    pub(crate) write_us: u64,
    pub(crate) full: bool,
    /// The last block that it reported as final.
    pub(crate) reported: (Height, BlockId),
    clock: Arc<AtomicU64>,
    bug: Option<Bug>,
}

/// Returns the key of a validator.
pub(crate) fn validator_key(index: usize) -> SecretKey {
    development_key(&format!("simulation-validator-{index}"))
}

impl SimNode {
    pub(crate) fn new(
        plan: &Plan,
        genesis: &Genesis,
        index: usize,
        bug: Option<Bug>,
    ) -> Result<Self, String> {
        let home = Home::new(format!("simulation/node{index}"));
        let mut settings =
            Settings::resolve(home, &[PartialSettings::new()]).map_err(|error| error.to_string())?;
        settings.block_interval_ms = plan.interval_ms;
        settings.idle_ms = plan.idle_ms;
        settings.anchor_after_ms = plan.idle_ms / 3;
        if bug != Some(Bug::UnboundedQueue) {
            settings.mempool.transactions_max = POOL_MAX;
            settings.mempool.bytes_max = POOL_BYTES_MAX;
            settings.mempool.per_sender_max = POOL_MAX / 2;
        }
        let syncing = if bug == Some(Bug::UnsyncedVotes) { Syncing::Ignored } else { Syncing::Honest };
        let key = (index < plan.validators).then(|| validator_key(index));
        let adversary = match (plan.adversary(index), &key) {
            (Some(kind), Some(key)) => Some(Adversary::new(kind, index, key.clone(), plan.seed)),
            _ => None,
        };
        let node = Self {
            index,
            key,
            adversary,
            settings,
            data: Arc::default(),
            disk: SimDisk::new(syncing),
            running: None,
            life: 0,
            skew_ms: plan.skew_ms[index],
            stalled_until_us: 0,
            write_us: 0,
            full: false,
            reported: (Height::ZERO, genesis.id()),
            clock: Arc::default(),
            bug,
        };
        node.create_sign_state(genesis)?;
        Ok(node)
    }

    fn create_sign_state(&self, genesis: &Genesis) -> Result<(), String> {
        let Some(key) = &self.key else { return Ok(()) };
        let path = self.settings.home.sign_state();
        Signer::create_on(&self.disk, &path, genesis.id(), &key.public_key())
            .map_err(|error| error.to_string())
    }

    /// Says whether the invariants are about this node.
    pub(crate) fn is_honest(&self) -> bool {
        self.adversary.is_none()
    }

    pub(crate) fn kind(&self) -> Option<Kind> {
        self.adversary.as_ref().map(|adversary| adversary.kind)
    }

    /// Starts it from what is on its disks.
    pub(crate) fn start(
        &mut self,
        now_us: u64,
        genesis: &Genesis,
        executor: &Arc<dyn Executor>,
    ) -> Result<(), String> {
        let forgets =
            self.kind() == Some(Kind::Amnesiac) || (self.bug == Some(Bug::DoubleVote) && self.is_honest());
        if self.life > 0 && forgets {
            self.disk.wipe();
            self.create_sign_state(genesis)?;
        }
        self.life += 1;
        self.tell_clock(now_us);
        let store = Arc::new(SimStore::new(Arc::clone(&self.data), self.bug.filter(|_| self.is_honest())));
        let inbox = PeerInbox::default();
        let link = Arc::new(Link::default());
        let executor: Arc<dyn Executor> = match self.bug {
            Some(bug @ (Bug::ClockInState | Bug::LostTransaction | Bug::SkippedValidity))
                if self.is_honest() =>
            {
                Arc::new(FaultyExecutor { inner: Arc::clone(executor), bug, clock: Arc::clone(&self.clock) })
            }
            _ => Arc::clone(executor),
        };
        let wrap: Option<purlin_service::WrapEngine> = match self.bug {
            Some(
                bug @ (Bug::EvidenceIgnored
                | Bug::StaleProposal
                | Bug::QuorumOfHalf
                | Bug::CertificateUnchecked),
            ) if self.is_honest() => Some(Box::new(move |inner| Box::new(FaultyEngine::new(inner, bug)))),
            _ => None,
        };
        let parts = NodeParts {
            store: Arc::clone(&store),
            genesis: genesis.clone(),
            executor,
            engine: None,
            peers: Some(inbox.clone().connect(Arc::<Link>::clone(&link))),
            validator: self.key.clone(),
            miner: None,
            lock: None,
        };
        let node =
            SteppedNode::open(&self.settings, parts, &self.disk, wrap).map_err(|error| error.to_string())?;
        self.running = Some(Running {
            node,
            store,
            inbox,
            link,
            booted_us: now_us,
            scheduled: [false; 5],
            timer_us: None,
            asked: BTreeMap::new(),
            unjudged: BTreeMap::new(),
            seen: BTreeMap::new(),
            seen_order: VecDeque::new(),
        });
        Ok(())
    }

    /// Ends it without warning; what was not synced is lost.
    pub(crate) fn crash(&mut self, random: &mut Random) -> Result<(), String> {
        self.life += 1;
        let Some(running) = self.running.take() else { return Ok(()) };
        running.store.crash().map_err(|error| error.to_string())?;
        self.disk.crash(random);
        Ok(())
    }

    /// Returns the node's own time.
    pub(crate) fn time(&self, now_us: u64) -> StepTime {
        let booted = self.running.as_ref().map_or(now_us, |running| running.booted_us);
        StepTime {
            wall: TimestampMs::new(self.wall_ms(now_us)),
            elapsed: Duration::from_micros(now_us.saturating_sub(booted)),
        }
    }

    /// Lets an executor with a mistake know the time.
    pub(crate) fn tell_clock(&self, now_us: u64) {
        self.clock.store(self.wall_ms(now_us), Ordering::Relaxed);
    }

    fn wall_ms(&self, now_us: u64) -> u64 {
        (START_MS + now_us / 1000).saturating_add_signed(self.skew_ms)
    }
}
