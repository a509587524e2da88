use super::*;
use crate::testing::{certify, chain_id, genesis, header, peer};
use purlin_state::{
    Changes, Durability, KeyValueStore, MemoryStore, MerkleTree, RangeLimits, StateTree, WriteBatch,
};
use std::sync::Arc;

struct Trusting(bool);

impl SnapshotTrust for Trusting {
    fn check(&mut self, _: &SnapshotManifest) -> Result<(), Distrust> {
        if self.0 { Ok(()) } else { Err(HeaderFault { reason: "no".into() }.into()) }
    }
}

struct Fixture {
    tree: MerkleTree<Arc<MemoryStore>>,
    index: BTreeMap<Hash32, Entry>,
    manifest: SnapshotManifest,
}

fn fixture(keys: u64) -> Fixture {
    let store = Arc::new(MemoryStore::new());
    let tree = MerkleTree::new(store.clone());
    let entry = |n: u64| (n.to_be_bytes().to_vec(), vec![n as u8; 20]);
    let changes: Changes = (0..keys).map(|n| (entry(n).0, Some(entry(n).1))).collect();
    let mut batch = WriteBatch::default();
    let version = tree.update(&tree.empty(), Height::ZERO, &changes, &mut batch).unwrap();
    store.write(batch, Durability::Synced).unwrap();
    let first = header(9, genesis(), &[]);
    let mut next = header(10, first.id(), &[]);
    next.state_root = tree.root(&version);
    let manifest = SnapshotManifest {
        certificate: certify(&first, 1).certificate,
        header: first,
        next: certify(&next, 1),
        transactions: 5,
        handovers: vec![vec![1]],
    };
    let index = (0..keys).map(|n| (purlin_state::key_hash(&entry(n).0), entry(n))).collect();
    Fixture { tree, index, manifest }
}

impl Fixture {
    fn chunk(&self, from: &Hash32, to: &Hash32) -> RangeChunk {
        let version = self.tree.open(Height::ZERO).unwrap().unwrap();
        let limits = RangeLimits { entries_max: 7, bytes_max: 100_000 };
        let mut lookup = |hash: &Hash32| Ok(self.index.get(hash).cloned());
        self.tree.prove_range(&version, from, to, limits, &mut lookup).unwrap()
    }

    fn answer(&self, request: &Request) -> Response {
        match request {
            Request::SnapshotManifest { .. } => Response::SnapshotManifest(self.manifest.encode()),
            Request::SnapshotChunk { from, to, .. } => {
                Response::SnapshotChunk(encode_chunk(&self.chunk(from, to)))
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Fetches from peers that answer through `answer`, restarting now and then; returns what was stored and the blame.
fn fetch(
    fixture: &Fixture,
    peers: u8,
    restart_every: usize,
    answer: impl Fn(&PeerId, &Request) -> Option<Result<Response, RequestFailure>>,
) -> (Vec<Entry>, Vec<(PeerId, Offence)>) {
    let (mut stored, mut reports) = (Vec::new(), Vec::new());
    let mut saved: Option<SnapshotProgress> = None;
    let mut sync = SnapshotSync::new(chain_id(), None);
    let (mut now, mut answers) = (0, 0usize);
    let mut queue: Vec<SnapshotOutput> = (0..peers).flat_map(|n| sync.connected(now, peer(n))).collect();
    loop {
        now += 500;
        assert!(now < 3_000_000, "it ends");
        queue.extend(sync.tick(now));
        for output in std::mem::take(&mut queue) {
            match output {
                SnapshotOutput::Ask { peer, id, request } => {
                    if let Some(outcome) = answer(&peer, &request) {
                        answers += 1;
                        queue.extend(sync.answered(now, id, outcome, &mut Trusting(true)));
                    }
                }
                SnapshotOutput::Begin(progress) => {
                    stored.clear();
                    saved = Some(*progress);
                }
                SnapshotOutput::Store { entries, progress } => {
                    stored.extend(entries);
                    assert!(progress.permille() <= 1000);
                    saved = Some(*progress);
                }
                SnapshotOutput::Report { peer, offence } => reports.push((peer, offence)),
                SnapshotOutput::Complete(manifest) => {
                    assert_eq!(*manifest, fixture.manifest);
                    return (stored, reports);
                }
            }
        }
        if restart_every > 0 && answers >= restart_every && queue.is_empty() {
            answers = 0;
            let bytes = borsh::to_vec(&saved).unwrap();
            sync = SnapshotSync::new(chain_id(), borsh::from_slice(&bytes).unwrap());
            queue.extend((0..peers).flat_map(|n| sync.connected(now, peer(n))));
        }
    }
}

#[track_caller]
fn check_root(fixture: &Fixture, stored: Vec<Entry>) {
    assert_eq!(stored.len(), fixture.index.len(), "each once");
    let tree = MerkleTree::new(MemoryStore::new());
    let entries = stored.into_iter().map(Ok::<_, purlin_state::StoreError>);
    let built = tree.build(Height::ZERO, entries, &mut WriteBatch::default()).unwrap();
    assert_eq!(tree.root(&built), fixture.manifest.head().state_root);
}

#[test]
fn a_snapshot_is_fetched_and_resumed() {
    for keys in [0, 1, 5, 600] {
        for restart_every in [0, 9] {
            let fixture = fixture(keys);
            let (stored, reports) =
                fetch(&fixture, 3, restart_every, |_, request| Some(Ok(fixture.answer(request))));
            check_root(&fixture, stored);
            assert_eq!(reports, []);
        }
    }
}

#[test]
fn liars_are_blamed_and_one_honest_peer_is_enough() {
    let fixture = fixture(300);
    let lie = |who: u8, request: &Request| -> Option<Result<Response, RequestFailure>> {
        let Request::SnapshotChunk { from, to, .. } = request else {
            return Some(Ok(fixture.answer(request)));
        };
        let mut chunk = fixture.chunk(from, to);
        match who {
            1 => drop(chunk.entries.pop()),
            2 => chunk.entries.push((b"more".to_vec(), Vec::new())),
            3 => chunk = fixture.chunk(&Hash32::ZERO, to),
            4 => return None,
            5 => return Some(Ok(Response::SnapshotChunk(vec![1, 2, 3]))),
            6 => return Some(Ok(Response::Unavailable)),
            7 => return Some(Err(RequestFailure::Timeout)),
            8 => return Some(Ok(Response::Transactions(Vec::new()))),
            _ => {}
        }
        Some(Ok(Response::SnapshotChunk(encode_chunk(&chunk))))
    };
    let (stored, reports) = fetch(&fixture, 9, 0, |name, request| lie(name.as_bytes()[0], request));
    check_root(&fixture, stored);
    for (number, offence) in [
        (1, Offence::Invalid),
        (2, Offence::Invalid),
        (3, Offence::Lied),
        (5, Offence::Malformed),
        (8, Offence::Lied),
    ] {
        assert!(reports.contains(&(peer(number), offence)), "{number}: {reports:?}");
    }
    assert!(!reports.iter().any(|(name, _)| *name == peer(0)));
}

#[test]
fn a_manifest_must_be_consistent_and_trusted() {
    let fixture = fixture(5);
    let offered = |manifest: &SnapshotManifest, trusted: bool| {
        let mut sync = SnapshotSync::new(chain_id(), None);
        let asks = sync.connected(0, peer(1));
        let [SnapshotOutput::Ask { id, .. }] = asks.as_slice() else { panic!("{asks:?}") };
        let response = Ok(Response::SnapshotManifest(manifest.encode()));
        sync.answered(0, *id, response, &mut Trusting(trusted))
    };
    let blamed = [SnapshotOutput::Report { peer: peer(1), offence: Offence::Invalid }];
    assert!(matches!(offered(&fixture.manifest, true)[0], SnapshotOutput::Begin(_)));
    assert_eq!(offered(&fixture.manifest, false), blamed);
    let mut other = fixture.manifest.clone();
    other.next.header.state_root = Hash32::new([4; 32]);
    assert_eq!(offered(&other, true), blamed, "the certificate is of another header");
    let mut other = fixture.manifest.clone();
    other.header.height = Height::new(8);
    assert_eq!(offered(&other, true), blamed);
}
