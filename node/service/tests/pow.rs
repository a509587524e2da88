//! Proof of work on real nodes: over the real network, with a switch above it that parts them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Api, account, balance, settings, transfer};
use parking_lot::Mutex;
use purlin_api::EventCursor;
use purlin_chain::{
    BlockContext, CallReport, ExecutedBlock, ExecutionFault, Executor, InclusionError, Policy, QueryRequest,
};
use purlin_execution::NodeExecutor;
use purlin_network::{Identity, NetworkConfig, NetworkHandle, NetworkService, NetworkSink};
use purlin_primitives::{
    ConsensusRules, Event, Genesis, Height, PowRules, Receipt, SecretKey, TimestampMs, TransactionBody,
    TransactionId, VerifiedTransaction,
};
use purlin_rpc::{BlockSelector, Conclusion, EventFilter, EventScope};
use purlin_service::{
    NewChain, Node, NodeParts, PeerInbox, Protection, Settings, development_key, init_home, write_genesis,
};
use purlin_state::{Changes, StateReader};
use purlin_storage::{RocksStore, StorageOptions};
use purlin_sync::{
    GossipId, GossipVerdict, InboundId, Network, NetworkEvent, Offence, PeerId, PeerInfo, RequestFailure,
    RequestId, Topic,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Hashes per second of each miner: so few that the wanted rate of blocks keeps no processor busy.
const HASHES_PER_S: u64 = 4_000;

fn rules() -> PowRules {
    PowRules {
        block_time_ms: 250,
        half_life_ms: 20_000,
        // One hash in 2,048: a little less work than three miners do in the block time.
        target_start: 0x2000_1fff,
        future_ms_max: 15_000,
        confirmations: 30,
        ..PowRules::default()
    }
}

fn miner(index: usize) -> SecretKey {
    development_key(&format!("miner-{index}"))
}

/// A network with a switch: peers that are blocked are as if they were not connected.
#[derive(Clone)]
struct Switch {
    below: Arc<Mutex<Option<NetworkHandle>>>,
    above: PeerInbox,
    state: Arc<Mutex<SwitchState>>,
}

#[derive(Default)]
struct SwitchState {
    blocked: BTreeSet<PeerId>,
    connected: BTreeSet<PeerId>,
    /// What was asked of a peer and not answered yet.
    asked: BTreeMap<RequestId, PeerId>,
    offences: Vec<(PeerId, Offence)>,
}

impl Switch {
    fn new() -> Self {
        Self { below: Arc::default(), above: PeerInbox::default(), state: Arc::default() }
    }

    fn tell(&self, event: NetworkEvent) {
        let mut event = event;
        // A full inbox is one that is being worked on.
        while let Err(back) = self.above.deliver(event) {
            event = back;
            std::thread::yield_now();
        }
    }

    /// Cuts these off, and nobody else.
    fn block(&self, peers: &[PeerId]) {
        let (before, after, failed) = {
            let mut state = self.state.lock();
            let before = state.blocked.clone();
            state.blocked = peers.iter().cloned().collect();
            let blocked = state.blocked.clone();
            let failed: Vec<_> = state.asked.iter().filter(|(_, peer)| blocked.contains(peer)).collect();
            let failed: Vec<_> = failed.into_iter().map(|(id, peer)| (*id, peer.clone())).collect();
            failed.iter().for_each(|(id, _)| drop(state.asked.remove(id)));
            (before, blocked, failed)
        };
        for (id, from) in failed {
            self.tell(NetworkEvent::Response { id, from, outcome: Err(RequestFailure::Disconnected) });
        }
        let connected = self.state.lock().connected.clone();
        for peer in connected {
            match (before.contains(&peer), after.contains(&peer)) {
                (false, true) => self.tell(NetworkEvent::Disconnected { peer }),
                (true, false) => self.tell(NetworkEvent::Connected { peer }),
                _ => {}
            }
        }
    }

    fn is_blocked(&self, peer: &PeerId) -> bool {
        self.state.lock().blocked.contains(peer)
    }

    fn with_below<T>(&self, work: impl FnOnce(&NetworkHandle) -> T) -> Option<T> {
        self.below.lock().as_ref().map(work)
    }
}

impl NetworkSink for Switch {
    fn deliver(&self, event: NetworkEvent) -> Result<(), NetworkEvent> {
        match &event {
            NetworkEvent::Connected { peer } => {
                let mut state = self.state.lock();
                state.connected.insert(peer.clone());
                if state.blocked.contains(peer) {
                    return Ok(());
                }
            }
            NetworkEvent::Disconnected { peer } => {
                let mut state = self.state.lock();
                state.connected.remove(peer);
                if state.blocked.contains(peer) {
                    return Ok(());
                }
            }
            NetworkEvent::Gossip { from, id, .. } if self.is_blocked(from) => {
                self.with_below(|network| network.judge(*id, GossipVerdict::Ignore));
                return Ok(());
            }
            NetworkEvent::Request { from, id, .. } if self.is_blocked(from) => {
                self.with_below(|network| network.respond(*id, None));
                return Ok(());
            }
            NetworkEvent::Response { id, .. } if self.state.lock().asked.remove(id).is_none() => {
                return Ok(());
            }
            _ => {}
        }
        self.above.deliver(event)
    }
}

impl Network for Switch {
    fn publish(&self, topic: Topic, bytes: Vec<u8>) {
        self.with_below(|network| network.publish(topic, bytes));
    }

    fn judge(&self, id: GossipId, verdict: GossipVerdict) {
        self.with_below(|network| network.judge(id, verdict));
    }

    fn request(&self, peer: &PeerId, id: RequestId, bytes: Vec<u8>) {
        if self.is_blocked(peer) {
            let outcome = Err(RequestFailure::Disconnected);
            return self.tell(NetworkEvent::Response { id, from: peer.clone(), outcome });
        }
        self.state.lock().asked.insert(id, peer.clone());
        self.with_below(|network| network.request(peer, id, bytes));
    }

    fn respond(&self, id: InboundId, bytes: Option<Vec<u8>>) {
        self.with_below(|network| network.respond(id, bytes));
    }

    fn report(&self, peer: &PeerId, offence: Offence) {
        self.state.lock().offences.push((peer.clone(), offence));
        self.with_below(|network| network.report(peer, offence));
    }

    fn peers(&self) -> Vec<PeerInfo> {
        let blocked = self.state.lock().blocked.clone();
        let peers = self.with_below(|network| network.peers()).unwrap_or_default();
        peers.into_iter().filter(|peer| !blocked.contains(&peer.id)).collect()
    }
}

/// A node with its network below the switch.
struct Member {
    node: Node,
    switch: Switch,
    service: NetworkService,
}

impl Member {
    fn api(&self) -> &Api {
        self.node.api()
    }

    fn id(&self) -> PeerId {
        self.service.handle().peer_id().clone()
    }

    fn height(&self) -> u64 {
        self.api().status().height.get()
    }

    fn block_id(&self, height: u64) -> Option<String> {
        let block = self.api().block(BlockSelector::Height(Height::new(height))).unwrap();
        block.map(|block| block.id.to_string())
    }

    fn work(&self) -> String {
        self.api().status().pow.unwrap().work
    }

    async fn stop(self) {
        tokio::time::timeout(Duration::from_secs(60), self.node.shutdown()).await.unwrap();
        self.service.shutdown().await.unwrap();
    }
}

/// Homes of one network of miners.
struct Miners {
    _directory: tempfile::TempDir,
    homes: Vec<Settings>,
    addresses: Vec<String>,
    genesis: Genesis,
}

impl Miners {
    fn new(count: usize, rules: PowRules) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let mut chain =
            NewChain::development("dev".parse().unwrap(), TimestampMs::new(now.as_millis() as u64));
        chain.parameters.consensus = ConsensusRules::Pow(rules);
        let genesis = Genesis { validators: Vec::new(), ..chain.genesis(&miner(0)) };
        let mut homes = Vec::new();
        for index in 0..count {
            let mut settings = settings(&directory.path().join(format!("node{index}")));
            settings.network_listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
            settings.mining_hashes_per_second_max = std::num::NonZeroU64::new(HASHES_PER_S);
            let protection = Protection::Development(&chain.chain_id);
            init_home(&settings.home, &chain, &miner(index), protection).unwrap();
            write_genesis(&settings.home.genesis(), &genesis).unwrap();
            homes.push(settings);
        }
        Self { _directory: directory, homes, addresses: Vec::new(), genesis }
    }

    async fn start(&mut self, index: usize) -> Member {
        let settings = self.homes[index].clone();
        let switch = Switch::new();
        let folder = settings.home.network();
        std::fs::create_dir_all(&folder).unwrap();
        let identity = Identity::load_or_create(&settings.home.identity()).unwrap();
        let config = NetworkConfig {
            listen: settings.network_listen.clone(),
            bootstrap: self.addresses.clone(),
            folder: Some(folder),
            ..NetworkConfig::new(identity, *self.genesis.id().as_bytes())
        };
        let service = NetworkService::start(config, Arc::new(switch.clone())).await.unwrap();
        let handle = service.handle();
        let own = handle.listen_addresses().into_iter();
        self.addresses.extend(own.map(|address| format!("{address}/p2p/{}", handle.peer_id())));
        *switch.below.lock() = Some(handle);
        let peers = switch.above.clone().connect(Arc::new(switch.clone()));
        let parts = NodeParts {
            store: RocksStore::open(settings.home.data(), &StorageOptions::default()).unwrap(),
            genesis: self.genesis.clone(),
            executor: Arc::new(emitting()),
            engine: None,
            peers: Some(peers),
            validator: Some(miner(index)),
            miner: None,
            lock: None,
        };
        let node = tokio::task::spawn_blocking(move || Node::start_parts(&settings, parts));
        Member { node: node.await.unwrap().unwrap(), switch, service }
    }
}

/// Executes as a node does, and has every transaction emit an event: transfers emit none.
struct Emitting(NodeExecutor);

impl Executor for Emitting {
    fn genesis(&self, genesis: &Genesis) -> Result<Changes, ExecutionFault> {
        self.0.genesis(genesis)
    }

    fn execute_block(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        transactions: &[VerifiedTransaction],
        policy: Policy,
    ) -> Result<ExecutedBlock, ExecutionFault> {
        let mut executed = self.0.execute_block(state, context, transactions, policy)?;
        for receipt in &mut executed.receipts {
            let payload = receipt.transaction.as_bytes().to_vec();
            receipt.events.push(Event { app: "ledger".parse().unwrap(), topic: "done".into(), payload });
        }
        Ok(executed)
    }

    fn check_admission(
        &self,
        state: &dyn StateReader,
        context: &BlockContext,
        transaction: &VerifiedTransaction,
    ) -> Result<Result<(), InclusionError>, ExecutionFault> {
        self.0.check_admission(state, context, transaction)
    }

    fn query(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        request: &QueryRequest,
    ) -> Result<CallReport, ExecutionFault> {
        self.0.query(state, context, request)
    }

    fn simulate(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        transaction: &TransactionBody,
    ) -> Result<(Receipt, Option<String>), ExecutionFault> {
        self.0.simulate(state, context, transaction)
    }
}

fn emitting() -> Emitting {
    Emitting(NodeExecutor::new(&runtime()).unwrap())
}

/// Follows events of a node, as a client does.
struct Follower {
    scope: EventScope,
    after: EventCursor,
    /// How often each transaction's event counts by now, and how often it was told and taken back.
    counts: BTreeMap<TransactionId, i32>,
    told: u32,
    removed: u32,
}

impl Follower {
    fn new(scope: EventScope) -> Self {
        let (after, counts) = Default::default();
        Self { scope, after, counts, told: 0, removed: 0 }
    }

    fn read(&mut self, api: &Api) {
        let filter = EventFilter { scope: self.scope, ..EventFilter::default() };
        loop {
            let page = api.events(&filter, self.after, 3).unwrap();
            for event in page.events {
                let count = self.counts.entry(event.transaction).or_default();
                match event.removed {
                    Some(_) => {
                        self.removed += 1;
                        *count -= 1;
                    }
                    None => {
                        self.told += 1;
                        *count += 1;
                    }
                }
                assert!((0..=1).contains(count), "told {count} times");
            }
            self.after = page.next;
            if !page.more {
                return;
            }
        }
    }

    fn has(&self, id: TransactionId) -> bool {
        self.counts.get(&id) == Some(&1)
    }
}

fn runtime() -> purlin_capabilities::RuntimeConfig {
    purlin_capabilities::RuntimeConfig {
        backend: purlin_capabilities::Backend::CraneliftNone,
        allocation: purlin_capabilities::Allocation::OnDemand,
        instances_max: 16,
        ..Default::default()
    }
}

/// Waits until something holds.
async fn until(what: &str, seconds: u64, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(seconds), "waited {seconds} s until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until all have the same block somewhere at or above a height.
async fn agree(members: &[&Member], height: u64) {
    until(&format!("all agree on block {height}"), 120, || {
        let ids: Vec<_> = members.iter().map(|member| member.block_id(height)).collect();
        ids[0].is_some() && ids.iter().all(|id| *id == ids[0])
    })
    .await;
}

async fn submit(api: &Api, to: &str, amount: u128, nonce: u64, from: &str) -> TransactionId {
    api.submit(transfer(from, to, amount, nonce)).await.unwrap()
}

fn included(member: &Member, id: TransactionId) -> Option<u64> {
    member.api().transaction(id).unwrap()?.inclusion.map(|inclusion| inclusion.height.get())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_of_two_and_one_heals_to_the_heavier_branch() {
    let mut network = Miners::new(3, rules());
    let mut members = Vec::new();
    for index in 0..3 {
        members.push(network.start(index).await);
    }
    let all: Vec<&Member> = members.iter().collect();
    until("blocks are mined", 60, || all.iter().all(|one| one.height() >= 2)).await;
    agree(&all, 2).await;

    // Known to all before the partition.
    let early = submit(all[0].api(), "bob", 7, 0, "alice").await;
    until("it is in a block of each", 60, || all.iter().all(|one| included(one, early).is_some())).await;

    // 2 + 1.
    let ids: Vec<PeerId> = all.iter().map(|one| one.id()).collect();
    all[2].switch.block(&ids[..2]);
    all[0].switch.block(&ids[2..]);
    all[1].switch.block(&ids[2..]);
    let parted = all.iter().map(|one| one.height()).max().unwrap();
    let heavy = submit(all[0].api(), "bob", 100, 0, "carol").await;
    let light = submit(all[2].api(), "bob", 1_000, 0, "dave").await;
    // Two do more work than one, sooner or later; by so much that luck while they heal changes nothing.
    until("both sides go on", 120, || {
        let both = all[2].height() >= parted + 3 && all[0].height() >= all[2].height() + 5;
        both && included(all[2], light).is_some() && all[0].work() > all[2].work()
    })
    .await;
    // A client of the lighter side sees its block; one that waits for final blocks does not.
    let (mut newest, mut patient) =
        (Follower::new(EventScope::Unfinalised), Follower::new(EventScope::Final));
    newest.read(all[2].api());
    patient.read(all[2].api());
    assert!(newest.has(early) && newest.has(light) && newest.removed == 0);
    assert!(!patient.has(light));
    let left = included(all[2], light).expect("its block was mined meanwhile");
    let left_block = all[2].block_id(left).unwrap();
    assert!(included(all[0], light).is_none() && included(all[2], heavy).is_none());

    // Heal.
    all.iter().for_each(|one| one.switch.block(&[]));
    let healed = all.iter().map(|one| one.height()).max().unwrap();
    agree(&all, healed + 1).await;
    assert_ne!(all[2].block_id(left).unwrap(), left_block, "the lighter branch was left");
    assert!(all[2].node.metrics().reorganizations >= 1);
    for one in &all {
        until("the lighter branch's transaction is in the chain again", 60, || {
            included(one, light).is_some() && included(one, heavy).is_some() && included(one, early).is_some()
        })
        .await;
    }
    for one in &all {
        let concluded = tokio::time::timeout(Duration::from_secs(90), one.api().wait_committed(light)).await;
        assert!(matches!(concluded.unwrap().unwrap(), Conclusion::Committed(_)));
        let head = one.height();
        let at = included(one, light).unwrap();
        assert!(head >= at + rules().confirmations, "{at} is final at {head}");
    }
    newest.read(all[2].api());
    patient.read(all[2].api());
    for follower in [&newest, &patient] {
        assert!(follower.has(early) && follower.has(light) && follower.has(heavy));
    }
    assert!(newest.removed >= 1, "its first block of the transfer left the chain");
    assert_eq!((patient.removed, patient.told), (0, 3));
    let balances: Vec<_> = all.iter().map(|one| balance(one.api(), "bob")).collect();
    assert!(balances.iter().all(|one| *one == balances[0]));
    for one in &all {
        let state = one.switch.state.lock();
        assert!(state.offences.is_empty(), "nobody did wrong: {:?}", state.offences);
    }
    assert_ne!(account("alice"), account("bob"));
    let homes = network.homes.clone();
    for member in members {
        member.stop().await;
    }
    // The state is what its blocks make of the genesis.
    for settings in &homes {
        let store = RocksStore::open(settings.home.data(), &StorageOptions::default()).unwrap();
        let executor = emitting();
        let chain = purlin_chain::Chain::open(store, network.genesis.clone(), &executor, Default::default());
        let chain = chain.unwrap();
        let report = chain.verify_from_blocks(&executor, |_| {}).unwrap();
        assert_eq!(report.state_root, chain.head().state_root);
    }
}
