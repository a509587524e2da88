use super::*;
use crate::config::{PartialSettings, Settings};
use crate::home::Home;
use crate::init::{NewChain, development_key, init_home};
use crate::keystore::Protection;
use crate::node::{Node, PeerInbox};
use crate::snapshot::{SnapshotFile, create_snapshot, is_fresh};
use purlin_chain::{Chain, ChainOptions};
use purlin_execution::NodeExecutor;
use purlin_primitives::{Action, Amount, Gas, Hash32, TimestampMs, Transaction, TransactionBody};
use purlin_state::{Fault, FaultStore, MemoryStore, StateProof, TreeProof, Turnover};
use purlin_sync::{GossipId, Network, PeerId, PeerInfo, RequestId, SnapshotManifest, Topic};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A chain of some accounts and a snapshot of it.
struct Fixture {
    _directory: tempfile::TempDir,
    settings: Settings,
    genesis: Genesis,
    file: Arc<SnapshotFile>,
}

const ACCOUNTS: u64 = 600;
/// All peers are there at once: no time is needed for more offers.
const OPTIONS: SnapshotOptions =
    SnapshotOptions { limits: purlin_sync::SNAPSHOT_CHUNK_LIMITS, choice_ms: 100 };

fn transfer(nonce: u64) -> Transaction {
    let key = development_key("alice");
    let to = |n: u64| development_key(&format!("account {n}")).public_key().account_id();
    let actions = (0..60).map(|n| Action::Transfer { to: to(nonce * 60 + n), amount: Amount::new(1) });
    key.sign_transaction(TransactionBody {
        chain_id: "dev".parse().unwrap(),
        sender: key.public_key().account_id(),
        nonce,
        expires_at: Height::new(50_000),
        gas_limit: Gas::new(100_000_000),
        fee: Amount::ZERO,
        access: Vec::new(),
        actions: actions.collect(),
    })
}

async fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path().join("node"));
    let chain = NewChain::development("dev".parse().unwrap(), TimestampMs::new(1_700_000_000_000));
    let validator = development_key("validator");
    let genesis = init_home(&home, &chain, &validator, Protection::Development(&chain.chain_id)).unwrap();
    let mut settings = Settings::resolve(home, &[PartialSettings::new()]).unwrap();
    (settings.api_listen, settings.anchor_after_ms) = (None, 20);
    settings.engine_instances_max = 16;
    let node = Node::start(&settings, |_| None).await.unwrap();
    for nonce in 0..ACCOUNTS / 60 {
        let id = node.api().submit(transfer(nonce)).await.unwrap();
        node.api().wait_committed(id).await.unwrap();
    }
    node.shutdown().await;
    let path = directory.path().join("file");
    create_snapshot(&settings, &path, None, |_| {}).unwrap();
    let file = Arc::new(SnapshotFile::open(&path).unwrap());
    Fixture { _directory: directory, settings, genesis, file }
}

/// What a peer does with a request for a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Gives nothing.
    Silent,
    /// Changes a byte of what it gives.
    Liar,
    /// Has a manifest and no parts.
    Empty,
}

/// Peers in memory that have a snapshot.
struct Peered {
    file: Arc<SnapshotFile>,
    manifest: Vec<u8>,
    peers: BTreeMap<PeerId, Manner>,
    inbox: Mutex<Option<Peers>>,
    reports: Mutex<Vec<(PeerId, Offence)>>,
    chunks: AtomicUsize,
}

impl Network for Peered {
    fn publish(&self, _: Topic, _: Vec<u8>) {}
    fn judge(&self, _: GossipId, _: GossipVerdict) {}
    fn respond(&self, _: purlin_sync::InboundId, _: Option<Vec<u8>>) {}

    fn request(&self, peer: &PeerId, id: RequestId, bytes: Vec<u8>) {
        let manner = self.peers[peer];
        let response = match Request::decode(&bytes).unwrap() {
            Request::SnapshotManifest { .. } => Response::SnapshotManifest(self.manifest.clone()),
            Request::SnapshotChunk { from, to, .. } => {
                self.chunks.fetch_add(1, Ordering::SeqCst);
                let mut chunk = self.file.chunk(&from, &to).unwrap().unwrap();
                match manner {
                    Manner::Honest => Response::SnapshotChunk(chunk),
                    Manner::Liar => {
                        // Some byte of the entries: after the version, the bounds and their count.
                        let at = 75.min(chunk.len() - 1);
                        chunk[at] ^= 1;
                        Response::SnapshotChunk(chunk)
                    }
                    Manner::Empty => Response::Unavailable,
                    Manner::Silent => return,
                }
            }
            other => panic!("{other:?}"),
        };
        let event = NetworkEvent::Response { id, from: peer.clone(), outcome: Ok(response.encode()) };
        let peers = self.inbox.lock().clone().unwrap();
        peers.inbox.put(Event::Network(event)).unwrap();
    }

    fn report(&self, peer: &PeerId, offence: Offence) {
        self.reports.lock().push((peer.clone(), offence));
    }

    fn peers(&self) -> Vec<PeerInfo> {
        Vec::new()
    }
}

fn peered(fixture: &Fixture, manners: &[Manner]) -> (Arc<Peered>, Peers) {
    peered_with(fixture, manners, fixture.file.manifest())
}

/// Peers that show another manifest than the file has.
fn peered_with(fixture: &Fixture, manners: &[Manner], manifest: &SnapshotManifest) -> (Arc<Peered>, Peers) {
    let name = |n: usize| PeerId::new(vec![n as u8]).unwrap();
    let network = Arc::new(Peered {
        file: Arc::clone(&fixture.file),
        manifest: manifest.encode(),
        peers: manners.iter().enumerate().map(|(n, manner)| (name(n), *manner)).collect(),
        inbox: Mutex::default(),
        reports: Mutex::default(),
        chunks: AtomicUsize::new(0),
    });
    let peers = PeerInbox::default().connect(network.clone());
    *network.inbox.lock() = Some(peers.clone());
    for peer in network.peers.keys() {
        let connected = NetworkEvent::Connected { peer: peer.clone() };
        peers.inbox.put(Event::Network(connected)).unwrap();
    }
    (network, peers)
}

fn join<S: KeyValueStore>(fixture: &Fixture, store: Arc<S>, peers: Peers) -> Result<Joined, InstallError> {
    join_from(fixture, None, store, peers)
}

fn join_from<S: KeyValueStore>(
    fixture: &Fixture,
    checkpoint: Option<Checkpoint>,
    store: Arc<S>,
    peers: Peers,
) -> Result<Joined, InstallError> {
    let join = Join::new(store, fixture.genesis.clone(), checkpoint, OPTIONS, peers, Arc::default())?;
    let started = Instant::now();
    join.run(|| started.elapsed() > Duration::from_secs(60))
}

fn open<S: KeyValueStore>(fixture: &Fixture, store: S) -> Chain<S> {
    let executor = NodeExecutor::new(&crate::node::runtime_config(&fixture.settings)).unwrap();
    Chain::open(store, fixture.genesis.clone(), &executor, ChainOptions::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_at_any_write_costs_only_what_was_not_stored() {
    let fixture = fixture().await;
    let expected = fixture.file.root();
    let all = fixture.file.chunk_starts().len();
    assert!(all >= 16);
    let mut resumed = 0;
    for n in 0.. {
        let disk = Arc::new(MemoryStore::new());
        let store = Arc::new(FaultStore::new(disk.clone()));
        store.fail_write(n, Fault::PowerCut);
        let (_, peers) = peered(&fixture, &[Manner::Honest]);
        let joined = join(&fixture, store, peers);
        if joined.is_err() {
            // Never a chain before it is one.
            assert!(is_fresh(&*disk, &fixture.genesis).unwrap());
            let (network, peers) = peered(&fixture, &[Manner::Honest]);
            assert_eq!(join(&fixture, disk.clone(), peers).unwrap(), Joined::Snapshot);
            let fetched = network.chunks.load(Ordering::SeqCst);
            assert!(fetched <= all);
            resumed += usize::from(fetched < all);
        }
        let chain = open(&fixture, disk);
        assert_eq!((chain.head().height, chain.head().state_root), (fixture.file.height(), expected));
        chain.verify_state().unwrap();
        if joined.is_ok() {
            break;
        }
    }
    assert!(resumed >= 10, "only {resumed} downloads went on where they were");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_honest_peer_is_enough_and_liars_are_reported() {
    let fixture = fixture().await;
    let manners = [Manner::Liar, Manner::Honest, Manner::Silent, Manner::Empty, Manner::Liar];
    let (network, peers) = peered(&fixture, &manners);
    let disk = Arc::new(MemoryStore::new());
    assert_eq!(join(&fixture, disk.clone(), peers).unwrap(), Joined::Snapshot);
    assert_eq!(open(&fixture, disk).head().state_root, fixture.file.root());
    let reports = network.reports.lock().clone();
    assert!(!reports.is_empty());
    let of = |peer: &PeerId| network.peers[peer];
    assert!(reports.iter().all(|(peer, _)| of(peer) == Manner::Liar), "{reports:?}");
}

/// A disk that was full at the end cost the whole download.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_wrong_snapshot_is_thrown_away() {
    let fixture = fixture().await;
    let counting = Arc::new(FaultStore::new(MemoryStore::new()));
    let (_, peers) = peered(&fixture, &[Manner::Honest]);
    assert_eq!(join(&fixture, counting.clone(), peers).unwrap(), Joined::Snapshot);

    let disk = Arc::new(MemoryStore::new());
    let store = Arc::new(FaultStore::new(disk.clone()));
    store.fail_write(counting.writes() - 1, Fault::Full);
    let (_, peers) = peered(&fixture, &[Manner::Honest]);
    let error = join(&fixture, store.clone(), peers).unwrap_err();
    assert!(matches!(error, InstallError::Chain(ChainError::Store(_))), "{error}");
    let (network, peers) = peered(&fixture, &[Manner::Honest]);
    assert_eq!(join(&fixture, disk.clone(), peers).unwrap(), Joined::Snapshot);
    assert_eq!(network.chunks.load(Ordering::SeqCst), 0, "all of it was there");
    open(&fixture, disk).verify_state().unwrap();
}

/// Who trusts a snapshot by a checkpoint does not know its validators before it has the state. What strangers had signed
/// was kept, and shown to newcomers who then blamed this node.
#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_signed_is_not_kept() {
    let fixture = fixture().await;
    let manifest = fixture.file.manifest();
    let next = &manifest.next.header;
    let checkpoint = Checkpoint { height: next.height, block: next.id() };

    let mut strange = manifest.clone();
    let certificate = strange.certificate.as_mut().unwrap();
    let vote = certificate.vote(&fixture.genesis.chain_id);
    certificate.signatures = vec![development_key("mallory").sign_vote(vote).into()];
    let (_, peers) = peered_with(&fixture, &[Manner::Honest], &strange);
    let disk = Arc::new(MemoryStore::new());
    let error = join_from(&fixture, Some(checkpoint), disk.clone(), peers).unwrap_err();
    let at = manifest.header.height;
    assert!(matches!(error, InstallError::OtherValidators { height } if height == at), "{error}");
    assert!(disk.dump().is_empty());

    // Nor is a handover kept that nobody needed.
    let mut more = manifest.clone();
    let path = TreeProof { other: None, siblings: Vec::new() };
    let header = manifest.header.clone();
    let proof = StateProof { key: vec![1], value: None, path, header, certificate: None };
    more.handovers = vec![borsh::to_vec(&Turnover { proof, none_newer: None }).unwrap()];
    for checkpoint in [None, Some(checkpoint)] {
        let (_, peers) = peered_with(&fixture, &[Manner::Honest], &more);
        let disk = Arc::new(MemoryStore::new());
        assert_eq!(join_from(&fixture, checkpoint, disk.clone(), peers).unwrap(), Joined::Snapshot);
        assert_eq!(open(&fixture, disk).turnovers(Height::ZERO, next.height).unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_checkpoint_stops_the_join_with_both_ids() {
    let fixture = fixture().await;
    let (network, peers) = peered(&fixture, &[Manner::Honest]);
    let next = &fixture.file.manifest().next.header;
    let checkpoint =
        Checkpoint { height: next.height, block: purlin_primitives::BlockId::new(Hash32::new([7; 32])) };
    let progress = Arc::<Mutex<JoinProgress>>::default();
    let disk = Arc::new(MemoryStore::new());
    let join = Join::new(
        disk.clone(),
        fixture.genesis.clone(),
        Some(checkpoint),
        OPTIONS,
        peers,
        Arc::clone(&progress),
    )
    .unwrap();
    let seen = || progress.lock().problem.is_some();
    assert_eq!(join.run(seen).unwrap(), Joined::Stopped);
    let problem = progress.lock().problem.clone().unwrap().to_string();
    assert!(
        problem.contains(&checkpoint.block.to_string()) && problem.contains(&next.id().to_string()),
        "{problem}"
    );
    assert!(disk.dump().is_empty() && network.reports.lock().is_empty());
}
