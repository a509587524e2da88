//! One node of a proof-of-work chain and a peer that the test plays: branches, power cuts, and what breaks a rule.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Api, settings, transfer};
use parking_lot::Mutex;
use purlin_api::EventCursor;
use purlin_capabilities::RuntimeConfig;
use purlin_chain::{Chain, Executor, Policy};
use purlin_consensus::pow::{
    Body, DoubleSha256, HeaderRules, HeaderTree, History, Inserted, PowMessage, Target, Work, search,
};
use purlin_execution::NodeExecutor;
use purlin_primitives::{
    AccountId, Block, BlockHeader, BlockId, ConsensusRules, Genesis, Hash32, Height, PowRules, Seal,
    TimestampMs, Transaction,
};
use purlin_rpc::{BlockSelector, Conclusion, EventFilter, EventScope};
use purlin_service::{NewChain, Node, NodeParts, PeerInbox, Settings, StopReason, system_time};
use purlin_state::{Fault, FaultStore, MemoryStore};
use purlin_sync::{
    BodyPart, CertifiedHeader, CompactBlock, EncodedTransaction, GossipId, GossipVerdict, InboundId, Network,
    NetworkEvent, Offence, PeerId, PeerInfo, Request, RequestId, Response, Status, Topic, TransactionGossip,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

fn executor() -> NodeExecutor {
    static EXECUTOR: OnceLock<NodeExecutor> = OnceLock::new();
    let config = RuntimeConfig { instances_max: 16, ..RuntimeConfig::default() };
    EXECUTOR.get_or_init(|| NodeExecutor::new(&config).unwrap()).clone()
}

fn rules() -> PowRules {
    PowRules {
        block_time_ms: 1_000,
        half_life_ms: 60_000,
        // One hash in 256.
        target_start: 0x2000_ffff,
        future_ms_max: 15_000,
        confirmations: 3,
        ..PowRules::default()
    }
}

/// A chain that began long enough ago for all blocks of a test, one a second.
fn genesis() -> Genesis {
    let time = TimestampMs::new(system_time().get() - 10_000_000);
    let mut chain = NewChain::development("dev".parse().unwrap(), time);
    chain.parameters.consensus = ConsensusRules::Pow(rules());
    chain.genesis_of(Vec::new())
}

/// Makes blocks of a branch.
struct Maker {
    chain: Chain<MemoryStore>,
    tree: HeaderTree,
    miner: AccountId,
}

impl Maker {
    fn new(genesis: &Genesis, miner: &str) -> Self {
        let chain =
            Chain::open(MemoryStore::new(), genesis.clone(), &executor(), Default::default()).unwrap();
        let rules = HeaderRules {
            chain_id: genesis.chain_id.clone(),
            genesis: genesis.id(),
            genesis_time: genesis.time,
            rules: rules(),
            window_blocks: 256,
        };
        let tree = HeaderTree::new(rules, History::default()).unwrap();
        Self { chain, tree, miner: common::account(miner) }
    }

    /// Makes a block that follows all rules.
    fn make(&mut self, transactions: Vec<Transaction>) -> Block {
        let block = self.build(transactions, |_| {});
        self.append(&block);
        block
    }

    fn append(&mut self, block: &Block) {
        let context = self.context(&block.header);
        let chain_id = &block.header.chain_id;
        let verified: Vec<_> =
            block.transactions.iter().map(|one| one.clone().verify(chain_id).unwrap()).collect();
        let executed =
            executor().execute_block(self.chain.tip_state(), &context, &verified, Policy::Refuse).unwrap();
        self.chain.append(block.clone(), executed, None).unwrap();
        let now = system_time();
        let inserted = self.tree.insert(&DoubleSha256, &block.header, now, None, Body::Valid);
        assert_eq!(inserted, Inserted::New);
        self.tree.set_head(block.header.id());
    }

    fn context(&self, header: &BlockHeader) -> purlin_chain::BlockContext {
        self.chain.context(header.height, header.time, header.proposer, header.seal)
    }

    /// Builds a block on the head, changes its header, and searches a nonce for what comes of it.
    fn build(&self, transactions: Vec<Transaction>, change: impl FnOnce(&mut BlockHeader)) -> Block {
        let head = self.chain.head();
        let time = TimestampMs::new(head.time.get() + rules().block_time_ms);
        let seal = Seal::Pow { target: self.tree.next_target(self.tree.head_entry()), nonce: 0 };
        let ids: Vec<_> = transactions.iter().map(|one| one.body.id()).collect();
        let mut header = self.chain.next_header(time, self.miner, seal, &ids);
        change(&mut header);
        mine(&mut header);
        Block { header, transactions }
    }

    fn extend(&mut self, count: usize) {
        (0..count).for_each(|_| drop(self.make(Vec::new())));
    }

    fn head(&self) -> BlockId {
        self.chain.head().block
    }

    fn work(&self) -> Work {
        self.tree.head_entry().work
    }

    fn block(&self, id: &BlockId) -> Option<Block> {
        let height = self.chain.block_height(id).unwrap()?;
        self.chain.block(height).unwrap()
    }
}

fn mine(header: &mut BlockHeader) {
    let Seal::Pow { target, .. } = header.seal else { return };
    let nonce = search(&DoubleSha256, header, 0..1 << 24).unwrap();
    header.seal = Seal::Pow { target, nonce };
}

/// The network below the node under test: the test is all of its peers.
struct Wire {
    inbox: PeerInbox,
    asked: Mutex<Vec<(PeerId, RequestId, Vec<u8>)>>,
    verdicts: Mutex<BTreeMap<GossipId, GossipVerdict>>,
    offences: Mutex<Vec<(PeerId, Offence)>>,
    gossips: AtomicU64,
}

impl Network for Wire {
    fn publish(&self, _topic: Topic, _bytes: Vec<u8>) {}

    fn judge(&self, id: GossipId, verdict: GossipVerdict) {
        self.verdicts.lock().insert(id, verdict);
    }

    fn request(&self, peer: &PeerId, id: RequestId, bytes: Vec<u8>) {
        self.asked.lock().push((peer.clone(), id, bytes));
    }

    fn respond(&self, _id: InboundId, _bytes: Option<Vec<u8>>) {}

    fn report(&self, peer: &PeerId, offence: Offence) {
        self.offences.lock().push((peer.clone(), offence));
    }

    fn peers(&self) -> Vec<PeerInfo> {
        Vec::new()
    }
}

fn peer(name: &str) -> PeerId {
    PeerId::new(name.as_bytes().to_vec()).unwrap()
}

type Disk = Arc<FaultStore<Arc<MemoryStore>>>;

/// A node that follows, and its wire.
struct Subject {
    node: Node,
    wire: Arc<Wire>,
    _directory: tempfile::TempDir,
}

impl Subject {
    fn start(genesis: &Genesis, disk: &Disk) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings: Settings = settings(directory.path());
        let inbox = PeerInbox::default();
        let wire = Arc::new(Wire {
            inbox: inbox.clone(),
            asked: Mutex::default(),
            verdicts: Mutex::default(),
            offences: Mutex::default(),
            gossips: AtomicU64::new(0),
        });
        let parts = NodeParts {
            store: Arc::clone(disk),
            genesis: genesis.clone(),
            executor: Arc::new(executor()),
            engine: None,
            peers: Some(inbox.connect(Arc::<Wire>::clone(&wire))),
            validator: None,
            miner: None,
            lock: None,
        };
        let node = Node::start_parts(&settings, parts).unwrap();
        Self { node, wire, _directory: directory }
    }

    fn api(&self) -> &Api {
        self.node.api()
    }

    fn head(&self) -> BlockId {
        self.api().status().head_id
    }

    fn connect(&self, name: &str) {
        self.wire.inbox.deliver(NetworkEvent::Connected { peer: peer(name) }).unwrap();
    }

    fn gossip(&self, from: &str, topic: Topic, bytes: Vec<u8>) -> GossipId {
        let id = GossipId(self.wire.gossips.fetch_add(1, Ordering::Relaxed));
        self.wire.inbox.deliver(NetworkEvent::Gossip { topic, from: peer(from), id, bytes }).unwrap();
        id
    }

    fn announce(&self, from: &str, header: &BlockHeader) -> GossipId {
        self.gossip(from, Topic::Consensus, PowMessage::Header(Box::new(header.clone())).encode())
    }

    /// Answers what the node asks until something holds.
    async fn until(
        &self,
        what: &str,
        answer: impl Fn(&PeerId, Request) -> Response,
        holds: impl Fn() -> bool,
    ) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(60), "waited 60 s until {what}");
            let asked = std::mem::take(&mut *self.wire.asked.lock());
            if asked.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for (from, id, bytes) in asked {
                let response = answer(&from, Request::decode(&bytes).unwrap()).encode();
                let event = NetworkEvent::Response { id, from, outcome: Ok(response) };
                self.wire.inbox.deliver(event).unwrap();
            }
        }
    }

    async fn verdict(&self, id: GossipId) -> GossipVerdict {
        let nothing = |_: &PeerId, _| Response::Unavailable;
        self.until("it is judged", nothing, || self.wire.verdicts.lock().contains_key(&id)).await;
        self.wire.verdicts.lock()[&id]
    }

    fn blamed(&self, name: &str) -> bool {
        self.wire.offences.lock().iter().any(|(who, _)| *who == peer(name))
    }
}

/// Answers as an honest node with a branch.
fn honest(maker: &Maker, request: Request) -> Response {
    let head = maker.chain.head();
    let slice = |block: &Block, first: usize| {
        block.transactions[first..].iter().map(EncodedTransaction::new).collect()
    };
    match request {
        Request::Status(_) => Response::Status(Status {
            genesis: maker.chain.genesis_id(),
            height: head.height,
            head: head.block,
            work: maker.work().to_be_bytes(),
            final_height: Height::ZERO,
            oldest_block: Height::new(1),
            snapshot: None,
        }),
        Request::Headers { from, count } => {
            let heights = (from.get()..=head.height.get()).take(count as usize).map(Height::new);
            let headers: Vec<_> = heights
                .map(|height| CertifiedHeader {
                    header: maker.chain.header(height).unwrap().unwrap(),
                    certificate: None,
                })
                .collect();
            if headers.is_empty() { Response::Unavailable } else { Response::Headers(headers) }
        }
        Request::Blocks { blocks, first } => {
            let parts = blocks.iter().map_while(|id| {
                let block = maker.block(id)?;
                Some(BodyPart {
                    block: *id,
                    first,
                    total: block.transactions.len() as u32,
                    transactions: slice(&block, first as usize),
                })
            });
            let parts: Vec<_> = parts.collect();
            if parts.is_empty() { Response::Unavailable } else { Response::Blocks(parts) }
        }
        Request::Compact { block } => maker.block(&block).map_or(Response::Unavailable, |block| {
            let transactions = block.transactions.iter().map(|one| one.body.id()).collect();
            Response::Compact(CompactBlock { header: block.header, transactions })
        }),
        Request::BlockTransactions { block, positions } => {
            let Some(block) = maker.block(&block) else { return Response::Unavailable };
            let at = |position: &u32| EncodedTransaction::new(&block.transactions[*position as usize]);
            Response::BlockTransactions(positions.iter().map(at).collect())
        }
        Request::PoolDigest { .. } => Response::PoolDigest { ids: Vec::new(), next: None },
        _ => Response::Unavailable,
    }
}

/// Answers as one whose chain ends with a block that breaks a rule.
fn lying(maker: &Maker, wrong: &Block, request: Request) -> Response {
    let (id, header) = (wrong.header.id(), wrong.header.clone());
    let last = CertifiedHeader { header: header.clone(), certificate: None };
    let transactions = || wrong.transactions.iter().map(EncodedTransaction::new).collect();
    match request {
        Request::Blocks { blocks, first } if blocks.first() == Some(&id) => {
            Response::Blocks(vec![BodyPart {
                block: id,
                first,
                total: wrong.transactions.len() as u32,
                transactions: transactions(),
            }])
        }
        Request::Compact { block } if block == id => {
            let transactions = wrong.transactions.iter().map(|one| one.body.id()).collect();
            Response::Compact(CompactBlock { header, transactions })
        }
        Request::BlockTransactions { block, .. } if block == id => {
            Response::BlockTransactions(transactions())
        }
        Request::Headers { from, .. } if from == maker.chain.head().height.next() => {
            Response::Headers(vec![last])
        }
        other => match honest(maker, other) {
            Response::Status(status) => {
                let height = status.height.next();
                Response::Status(Status { height, head: id, work: [0x7f; 32], ..status })
            }
            Response::Headers(mut headers) => {
                headers.push(last);
                Response::Headers(headers)
            }
            answer => answer,
        },
    }
}

fn disk() -> Disk {
    disk_of(&Arc::default())
}

fn disk_of(memory: &Arc<MemoryStore>) -> Disk {
    Arc::new(FaultStore::new(Arc::clone(memory)))
}

/// Two branches with a common beginning; the second is heavier.
fn branches(genesis: &Genesis, common: usize, light: usize, heavy: usize) -> (Maker, Maker) {
    let (mut one, mut other) = (Maker::new(genesis, "alice"), Maker::new(genesis, "bob"));
    for nonce in 0..common {
        let block = one.make(vec![transfer("carol", "dave", 1, nonce as u64)]);
        other.append(&block);
    }
    one.make(vec![transfer("alice", "dave", 10, 0), transfer("bob", "dave", 100, 0)]);
    one.extend(light - 1);
    other.make(vec![transfer("bob", "dave", 100, 0)]);
    other.extend(heavy - 1);
    assert!(other.work() > one.work());
    (one, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heavier_branch_takes_the_place_of_the_chain_and_of_its_pool() {
    let genesis = genesis();
    let (light, heavy) = branches(&genesis, 5, 3, 9);
    let disk = disk();
    let subject = Subject::start(&genesis, &disk);
    subject.connect("light");
    subject
        .until(
            "the light branch is there",
            |_, request| honest(&light, request),
            || subject.head() == light.head(),
        )
        .await;
    let left = transfer("alice", "dave", 10, 0).body.id();
    let waits = {
        let api = Arc::clone(subject.api());
        tokio::spawn(async move { api.wait_committed(left).await })
    };
    subject.connect("heavy");
    let answer = |who: &PeerId, request| {
        if *who == peer("heavy") { honest(&heavy, request) } else { honest(&light, request) }
    };
    subject.until("the heavy branch is the chain", answer, || subject.head() == heavy.head()).await;
    // In the pool again, for whoever mines next; and whoever waits goes on waiting.
    let record = subject.api().transaction(left).unwrap().unwrap();
    assert!(record.inclusion.is_none() && !waits.is_finished());
    waits.abort();
    let kept = subject.api().transaction(transfer("bob", "dave", 100, 0).body.id()).unwrap().unwrap();
    assert_eq!(kept.inclusion.unwrap().height, Height::new(6));
    assert_eq!(subject.api().status().mempool.transactions, 1);
    assert_eq!(subject.api().account(&common::account("alice")).unwrap().next_nonce, 1);
    assert_eq!(subject.api().status().state_root, heavy.chain.head().state_root);
    assert_eq!(subject.node.metrics().reorganizations, 1);
    assert!(!subject.blamed("light") && !subject.blamed("heavy"));
    // What was read before the reorganisation is told apart from what is there now.
    let cursor = format!("8.4294967295@{}", light.head()).parse().unwrap();
    let page = subject.api().events(&EventFilter::default(), cursor, 10).unwrap();
    let fork = heavy.chain.header(Height::new(5)).unwrap().unwrap().id();
    assert_eq!(page.next.to_string(), format!("5.4294967295@{fork}"));
    let unknown = format!("9.0@{}", BlockId::new(Hash32::new([7; 32]))).parse().unwrap();
    let gone = subject.api().events(&EventFilter::default(), unknown, 10).unwrap_err();
    assert!(matches!(gone, purlin_rpc::NodeError::CursorGone { .. }), "{gone}");
    subject.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_longer_than_the_confirmations_takes_back_what_counted_as_final() {
    let genesis = genesis();
    let (light, mut heavy) = branches(&genesis, 2, 5, 9);
    let disk = disk();
    let subject = Subject::start(&genesis, &disk);
    subject.connect("light");
    subject
        .until(
            "the light branch is there",
            |_, request| honest(&light, request),
            || subject.head() == light.head(),
        )
        .await;
    let api = subject.api();
    assert_eq!(api.status().final_height, Height::new(4));
    let left = transfer("alice", "dave", 10, 0).body.id();
    let inclusion = |id| api.transaction(id).unwrap().unwrap().inclusion;
    let before = inclusion(left).unwrap();
    assert!(before.is_final && before.height == Height::new(3) && before.confirmations == 4, "{before:?}");
    let waited = api.wait_committed(left).await.unwrap();
    assert!(matches!(waited, Conclusion::Committed(_)), "{waited:?}");
    let block_at = |maker: &Maker, height| maker.chain.header(Height::new(height)).unwrap().unwrap().id();
    let seen = api.events(&EventFilter::default(), EventCursor::default(), 10).unwrap().next;
    assert_eq!(seen.to_string(), format!("4.4294967295@{}", block_at(&light, 4)));

    subject.connect("heavy");
    let answer = |who: &PeerId, request| {
        if *who == peer("heavy") { honest(&heavy, request) } else { honest(&light, request) }
    };
    subject.until("the heavy branch is the chain", answer, || subject.head() == heavy.head()).await;
    // What is not in the new branch waits again; what is has its new place.
    subject
        .until(
            "it waits again",
            |_, request| honest(&heavy, request),
            || api.status().mempool.transactions == 1,
        )
        .await;
    assert_eq!((api.status().height, api.status().final_height), (Height::new(11), Height::new(8)));
    assert!(inclusion(left).is_none());
    let kept = inclusion(transfer("bob", "dave", 100, 0).body.id()).unwrap();
    assert!(kept.is_final && kept.block == block_at(&heavy, 3), "{kept:?}");
    // Who was told of final events is told that they did not happen, and reads on in the new branch.
    let page = api.events(&EventFilter::default(), seen, 10).unwrap();
    assert_eq!(page.next.to_string(), format!("2.4294967295@{}", block_at(&heavy, 2)));
    assert!(page.more);
    let page = api.events(&EventFilter::default(), page.next, 10).unwrap();
    assert_eq!(page.next.to_string(), format!("8.4294967295@{}", block_at(&heavy, 8)));
    assert!(!page.more);
    // Who waits now is told when it is final in the new branch.
    let waits = {
        let api = Arc::clone(api);
        tokio::spawn(async move { api.wait_committed(left).await })
    };
    let again = heavy.make(vec![transfer("alice", "dave", 10, 0)]);
    heavy.extend(3);
    subject.announce("heavy", &heavy.chain.header(heavy.chain.head().height).unwrap().unwrap());
    subject
        .until(
            "it is final again",
            |_, request| honest(&heavy, request),
            || subject.head() == heavy.head() && waits.is_finished(),
        )
        .await;
    let Conclusion::Committed(record) = waits.await.unwrap().unwrap() else { panic!() };
    let inclusion = record.inclusion.unwrap();
    assert!(inclusion.is_final && inclusion.block == again.header.id(), "{inclusion:?}");
    assert_eq!(api.status().final_height, Height::new(12));
    assert_eq!(subject.node.metrics().reorganizations, 1);
    subject.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_taken_back_to_the_genesis() {
    let genesis = genesis();
    let (light, heavy) = branches(&genesis, 0, 2, 4);
    let disk = disk();
    let subject = Subject::start(&genesis, &disk);
    subject.connect("light");
    subject
        .until(
            "the light branch is there",
            |_, request| honest(&light, request),
            || subject.head() == light.head(),
        )
        .await;
    let filter = EventFilter { scope: EventScope::Unfinalised, ..EventFilter::default() };
    let seen = subject.api().events(&filter, EventCursor::default(), 10).unwrap().next;
    assert_eq!(seen.to_string(), format!("2.4294967295@{}", light.head()));
    subject.connect("heavy");
    let answer = |who: &PeerId, request| {
        if *who == peer("heavy") { honest(&heavy, request) } else { honest(&light, request) }
    };
    subject.until("the heavy branch is the chain", answer, || subject.head() == heavy.head()).await;
    let page = subject.api().events(&filter, seen, 10).unwrap();
    assert_eq!(page.next.to_string(), format!("0.4294967295@{}", genesis.id()));
    let page = subject.api().events(&filter, page.next, 10).unwrap();
    assert_eq!(page.next.to_string(), format!("4.4294967295@{}", heavy.head()));
    subject.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_during_a_reorganisation_leaves_one_branch_or_the_other() {
    let genesis = genesis();
    let (light, heavy) = branches(&genesis, 3, 4, 6);
    for fault in
        [Fault::Full, Fault::Failed, Fault::FailedAfterWriting, Fault::PowerCut, Fault::PowerCutAfterWriting]
    {
        let memory = Arc::default();
        let disk = disk_of(&memory);
        let subject = Subject::start(&genesis, &disk);
        subject.connect("light");
        subject
            .until(
                "the light branch is there",
                |_, request| honest(&light, request),
                || subject.head() == light.head(),
            )
            .await;
        // The next write is the reorganisation: nothing else happens on this chain.
        disk.fail_write(0, fault);
        subject.connect("heavy");
        let answer = |who: &PeerId, request| {
            if *who == peer("heavy") { honest(&heavy, request) } else { honest(&light, request) }
        };
        let stopped = || subject.api().readiness().is_err();
        subject.until("the node stops", answer, stopped).await;
        let StopReason::Failed(reason) = subject.node.stopped().await else { panic!("it must fail") };
        assert!(reason.contains("could not go over to the branch after height 3"), "{reason}");
        let Subject { node, .. } = subject;
        node.shutdown().await;
        disk.cut_power().ok();

        let store = disk_of(&memory);
        let chain =
            Chain::open(Arc::clone(&store), genesis.clone(), &executor(), Default::default()).unwrap();
        let head = chain.head();
        let one_of_them = [light.head(), heavy.chain.header(Height::new(8)).unwrap().unwrap().id()];
        assert!(one_of_them.contains(&head.block), "{fault:?}: {head:?}");
        chain.verify_from_blocks(&executor(), |_| {}).unwrap();
        drop(chain);
        let subject = Subject::start(&genesis, &store);
        subject.connect("heavy");
        subject
            .until(
                "the heavy branch is the chain",
                |_, request| honest(&heavy, request),
                || subject.head() == heavy.head(),
            )
            .await;
        subject.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_is_held_against_who_sent_it() {
    let genesis = genesis();
    let mut maker = Maker::new(&genesis, "alice");
    maker.extend(20);
    let disk = disk();
    let subject = Subject::start(&genesis, &disk);
    subject.connect("good");
    subject
        .until("the chain is there", |_, request| honest(&maker, request), || subject.head() == maker.head())
        .await;
    let head = maker.chain.head();

    // Seen without looking at the chain: refused before they are passed on.
    let easy = 0x207f_ffff;
    assert!(Target::from_compact(easy).unwrap() > Target::from_compact(rules().target_start).unwrap());
    let wrong: [(&str, Block); 4] = [
        (
            "too easy a target",
            maker.build(vec![], |header| header.seal = Seal::Pow { target: easy, nonce: 0 }),
        ),
        ("no work", {
            let mut block = maker.build(vec![], |_| {});
            let Seal::Pow { target, nonce } = block.header.seal else { unreachable!() };
            // The nonces before the first one that is found do not meet it; with none before, another time.
            block.header.seal = Seal::Pow { target, nonce: nonce.wrapping_sub(1) };
            block
        }),
        ("another engine's seal", maker.build(vec![], |header| header.seal = Seal::FIRST_ROUND)),
        ("another chain", maker.build(vec![], |header| header.chain_id = "dev-other".parse().unwrap())),
    ];
    for (what, block) in &wrong {
        let id = subject.announce(what, &block.header);
        assert_eq!(subject.verdict(id).await, GossipVerdict::Reject, "{what}");
    }
    let id = subject.gossip("noise", Topic::Consensus, vec![1, 2, 3]);
    assert_eq!(subject.verdict(id).await, GossipVerdict::Reject);

    // Seen by who knows the ancestors: not passed on, and not the fault of who sent it on, who may not know them.
    let harder = |header: &mut BlockHeader| header.seal = Seal::Pow { target: 0x2000_7fff, nonce: 0 };
    let wrong: [(&str, Block); 4] = [
        ("wrong target", maker.build(vec![], harder)),
        ("not after its parent", maker.build(vec![], |header| header.time = head.time)),
        (
            "before the median",
            maker.build(vec![], |header| header.time = TimestampMs::new(head.time.get() - 12_000)),
        ),
        ("wrong height", maker.build(vec![], |header| header.height = head.height.next().next())),
    ];
    for (what, block) in &wrong {
        let id = subject.announce("relayer", &block.header);
        assert_eq!(subject.verdict(id).await, GossipVerdict::Ignore, "{what}");
    }
    // Seen when it is executed: a miner that pays itself what its parent's state does not have, and a transaction that
    // may not be there. That nobody sees before.
    let executed: [(&str, Block); 2] = [
        ("wrong state", maker.build(vec![], |header| header.state_root = Hash32::new([9; 32]))),
        ("wrong transaction", maker.build(vec![transfer("alice", "bob", 1, 7)], |_| {})),
    ];
    for (what, block) in &executed {
        let id = subject.announce("relayer", &block.header);
        assert_eq!(subject.verdict(id).await, GossipVerdict::Relay, "{what}");
    }
    // Whoever says that it is of its chain has checked it, or should have.
    for (what, block) in wrong.iter().chain(&executed) {
        let answer = |who: &PeerId, request| match *who == peer(what) {
            true => lying(&maker, block, request),
            false => honest(&maker, request),
        };
        subject.connect(what);
        subject.until(what, answer, || subject.blamed(what)).await;
        subject.wire.inbox.deliver(NetworkEvent::Disconnected { peer: peer(what) }).unwrap();
    }
    assert_eq!(subject.head(), maker.head());

    // From the future: nobody's fault, and not taken yet.
    let later = TimestampMs::new(system_time().get() + 60_000);
    let future = maker.build(vec![], |header| header.time = later);
    let id = subject.announce("fast clock", &future.header);
    subject.verdict(id).await;
    // A block that follows the rules is taken all the same, after what was announced before it.
    let next = maker.make(vec![transfer("alice", "bob", 1, 0)]);
    subject.announce("good", &next.header);
    subject
        .until(
            "the chain goes on",
            |_, request| honest(&maker, request),
            || subject.head() == next.header.id(),
        )
        .await;
    for who in ["relayer", "fast clock", "good"] {
        assert!(!subject.blamed(who), "{who}");
    }
    assert_eq!(subject.node.metrics().reorganizations, 0);
    subject.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_copy_of_a_body_does_not_condemn_its_block() {
    let genesis = genesis();
    let mut maker = Maker::new(&genesis, "alice");
    maker.make(vec![transfer("alice", "bob", 1, 0)]);
    maker.extend(9);
    let disk = disk();
    let subject = Subject::start(&genesis, &disk);
    // Ids do not cover signatures, so a copy with another one hashes to the same root.
    let forged = |request| match honest(&maker, request) {
        Response::Blocks(mut parts) => {
            for part in &mut parts {
                for transaction in &mut part.transactions {
                    let mut decoded = transaction.decode().unwrap();
                    decoded.signature = transfer("alice", "bob", 2, 0).signature;
                    *transaction = EncodedTransaction::new(&decoded);
                }
            }
            Response::Blocks(parts)
        }
        other => other,
    };
    subject.connect("forger");
    subject.until("the forger is found out", |_, request| forged(request), || subject.blamed("forger")).await;
    subject.connect("good");
    let answer = |who: &PeerId, request| {
        if *who == peer("good") { honest(&maker, request) } else { forged(request) }
    };
    subject.until("the chain is there", answer, || subject.head() == maker.head()).await;
    assert!(!subject.blamed("good"));
    subject.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_leaves_the_chain_below_the_window_is_refused() {
    let genesis = genesis();
    let (mut light, mut heavy) = branches(&genesis, 2, 260, 300);
    let disk = disk();
    let subject = Subject::start(&genesis, &disk);
    subject.connect("light");
    subject
        .until(
            "the light branch is there",
            |_, request| honest(&light, request),
            || subject.head() == light.head(),
        )
        .await;
    subject.connect("heavy");
    let next = heavy.make(Vec::new());
    subject.announce("heavy", &next.header);
    let mut more = light.make(Vec::new());
    subject.announce("light", &more.header);
    let answer = |who: &PeerId, request| {
        if *who == peer("heavy") { honest(&heavy, request) } else { honest(&light, request) }
    };
    subject.until("the node stays where it is", answer, || subject.head() == more.header.id()).await;
    for _ in 0..5 {
        more = light.make(Vec::new());
        subject.announce("light", &more.header);
    }
    let answer = |who: &PeerId, request| {
        if *who == peer("heavy") { honest(&heavy, request) } else { honest(&light, request) }
    };
    subject.until("and goes on there", answer, || subject.head() == more.header.id()).await;
    assert_eq!(subject.node.metrics().reorganizations, 0);
    let third = subject.api().block(BlockSelector::Height(Height::new(3))).unwrap().unwrap();
    assert_eq!(third.id, light.chain.header(Height::new(3)).unwrap().unwrap().id());
    subject.node.shutdown().await;
}

/// The id is of the body: a copy with a wrong signature has the id of the right one.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_copy_of_a_transaction_harms_neither_it_nor_its_bearer() {
    let subject = Subject::start(&genesis(), &disk());
    let sent = |from: &str, list: &[&Transaction]| {
        let list = list.iter().map(|one| EncodedTransaction::new(one)).collect();
        subject.gossip(from, Topic::Transactions, TransactionGossip::Whole(list).encode())
    };
    let [one, two, three] = ["alice", "bob", "carol"].map(|from| transfer(from, "dave", 1, 0));
    let forged = Transaction { signature: two.signature, ..one.clone() };
    assert_eq!(subject.verdict(sent("liar", &[&forged])).await, GossipVerdict::Reject);
    assert_eq!(subject.verdict(sent("honest", &[&one])).await, GossipVerdict::Relay);
    // Beside a new one nobody looks at its signature, so others are not to be given it.
    assert_eq!(subject.verdict(sent("liar", &[&forged, &two])).await, GossipVerdict::Ignore);
    assert_eq!(subject.verdict(sent("honest", &[&one, &three])).await, GossipVerdict::Relay);
    assert_eq!(subject.api().status().mempool.transactions, 3);
    subject.node.shutdown().await;
}
