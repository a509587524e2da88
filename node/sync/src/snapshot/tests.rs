use super::*;
use crate::testing::{certify, chain_id, genesis, header, peer};
use purlin_primitives::TimestampMs;
use purlin_state::{
    Changes, Durability, KeyValueStore, MemoryStore, MerkleTree, RangeLimits, StateTree, WriteBatch,
};
use std::sync::Arc;

/// Believes what `0` says, up to a height.
struct Trusting(bool);

const TOO_HIGH: u64 = 1_000;

impl SnapshotTrust for Trusting {
    fn check(&mut self, manifest: &SnapshotManifest) -> Result<(), Distrust> {
        self.check_age(manifest.next.header.height)?;
        if self.0 { Ok(()) } else { Err(HeaderFault { reason: "no".into() }.into()) }
    }

    fn check_age(&self, height: Height) -> Result<(), TrustProblem> {
        let problem = TrustProblem::TooOld { trusted: Height::ZERO, height, window: TOO_HIGH };
        if height.get() > TOO_HIGH { Err(problem) } else { Ok(()) }
    }
}

const LIMITS: RangeLimits = RangeLimits { entries_max: 7, bytes_max: 100_000 };
const OPTIONS: SnapshotOptions = SnapshotOptions { limits: LIMITS, choice_ms: 1_000 };

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
        self.cut(from, to, LIMITS)
    }

    fn cut(&self, from: &Hash32, to: &Hash32, limits: RangeLimits) -> RangeChunk {
        let version = self.tree.open(Height::ZERO).unwrap().unwrap();
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
    let mut sync = SnapshotSync::new(chain_id(), None, OPTIONS);
    let (mut now, mut answers) = (0, 0usize);
    let mut queue: Vec<SnapshotOutput> = (0..peers).flat_map(|n| sync.connected(now, peer(n))).collect();
    loop {
        now += 500;
        assert!(now < 3_000_000, "it ends");
        queue.extend(sync.tick(now, &mut Trusting(true)));
        for output in std::mem::take(&mut queue) {
            match output {
                SnapshotOutput::Ask { peer, id, request } => {
                    if let Some(outcome) = answer(&peer, &request) {
                        answers += 1;
                        queue.extend(sync.answered(now, id, outcome));
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
            sync = SnapshotSync::new(chain_id(), borsh::from_slice(&bytes).unwrap(), OPTIONS);
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
            // Proven, but ends where nothing of an honest peer begins: all would have to be got from the liar.
            9 => chunk = fixture.cut(from, to, RangeLimits { entries_max: 1, ..LIMITS }),
            10 => chunk = fixture.cut(from, to, RangeLimits { entries_max: 8, ..LIMITS }),
            _ => {}
        }
        Some(Ok(Response::SnapshotChunk(encode_chunk(&chunk))))
    };
    let (stored, reports) = fetch(&fixture, 11, 0, |name, request| lie(name.as_bytes()[0], request));
    check_root(&fixture, stored);
    for (number, offence) in [
        (1, Offence::Invalid),
        (2, Offence::Invalid),
        (3, Offence::Lied),
        (5, Offence::Malformed),
        (8, Offence::Lied),
        (9, Offence::Lied),
        (10, Offence::Lied),
    ] {
        assert!(reports.contains(&(peer(number), offence)), "{number}: {reports:?}");
    }
    assert!(!reports.iter().any(|(name, _)| *name == peer(0)));
}

/// Peers that offer manifests; what became of it is asserted.
struct Offers {
    sync: SnapshotSync,
    now: u64,
    asked: BTreeMap<PeerId, (RequestId, Request)>,
    begun: Vec<SnapshotManifest>,
    reports: Vec<(PeerId, Offence)>,
}

impl Offers {
    fn of(peers: u8) -> Self {
        let sync = SnapshotSync::new(chain_id(), None, OPTIONS);
        let (asked, begun, reports) = Default::default();
        let mut offers = Self { sync, now: 0, asked, begun, reports };
        for number in 1..=peers {
            let out = offers.sync.connected(0, peer(number));
            offers.note(out);
        }
        offers
    }

    fn note(&mut self, outputs: Vec<SnapshotOutput>) {
        for output in outputs {
            match output {
                SnapshotOutput::Ask { peer, id, request } => drop(self.asked.insert(peer, (id, request))),
                SnapshotOutput::Begin(progress) => self.begun.push(progress.manifest),
                SnapshotOutput::Report { peer, offence } => self.reports.push((peer, offence)),
                SnapshotOutput::Store { .. } => {}
                SnapshotOutput::Complete(_) => panic!("nothing is complete here"),
            }
        }
    }

    /// A peer answers what it was asked last.
    fn answer(&mut self, number: u8, outcome: Result<Response, RequestFailure>) {
        let (id, _) = self.asked.remove(&peer(number)).unwrap();
        let out = self.sync.answered(self.now, id, outcome);
        self.note(out);
    }

    fn offer(&mut self, number: u8, manifest: &SnapshotManifest) {
        self.answer(number, Ok(Response::SnapshotManifest(manifest.encode())));
    }

    fn wait(&mut self, ms: u64, trusted: bool) {
        self.now += ms;
        let out = self.sync.tick(self.now, &mut Trusting(trusted));
        self.note(out);
    }

    fn choose(&mut self, trusted: bool) {
        self.wait(OPTIONS.choice_ms, trusted);
    }
}

/// The manifest of some state at a height.
fn manifest_at(height: u64, root: u8) -> SnapshotManifest {
    let first = header(height, genesis(), &[]);
    let mut next = header(height + 1, first.id(), &[]);
    (next.state_root, next.time) = (Hash32::new([root; 32]), TimestampMs::new(1));
    let certificate = certify(&first, 1).certificate;
    let next = certify(&next, 1);
    SnapshotManifest { header: first, certificate, next, transactions: 5, handovers: Vec::new() }
}

#[test]
fn a_manifest_must_be_consistent_and_trusted() {
    let fixture = fixture(5);
    let offered = |manifest: &SnapshotManifest, trusted: bool| {
        let mut offers = Offers::of(1);
        offers.offer(1, manifest);
        offers.choose(trusted);
        (offers.begun.len(), offers.reports)
    };
    let blamed = (0, vec![(peer(1), Offence::Invalid)]);
    assert_eq!(offered(&fixture.manifest, true), (1, Vec::new()));
    assert_eq!(offered(&fixture.manifest, false), blamed);
    let mut other = fixture.manifest.clone();
    other.next.header.state_root = Hash32::new([4; 32]);
    assert_eq!(offered(&other, true), blamed, "the certificate is of another header");
    let mut other = fixture.manifest.clone();
    other.header.height = Height::new(8);
    assert_eq!(offered(&other, true), blamed);
}

/// A manifest that came after the choice was checked too, and the validators that it names were compared with the state
/// of the chosen one when all of it had been fetched.
#[test]
fn a_manifest_that_comes_after_the_choice_is_not_looked_at() {
    let mut offers = Offers::of(2);
    offers.offer(1, &manifest_at(9, 1));
    offers.choose(true);
    offers.offer(2, &manifest_at(900, 2));
    offers.choose(true);
    assert_eq!(offers.begun, [manifest_at(9, 1)]);
    assert_eq!(offers.reports, []);
    assert!(
        matches!(offers.asked[&peer(2)].1, Request::SnapshotChunk { .. }),
        "it helps with the chosen one"
    );
}

#[test]
fn most_peers_decide_what_is_taken_and_how_old_it_may_be() {
    let chosen = |heights: &[u64]| {
        let mut offers = Offers::of(heights.len() as u8);
        for (number, height) in (1..).zip(heights) {
            offers.offer(number, &manifest_at(*height, *height as u8));
        }
        assert!(offers.begun.is_empty(), "there is time for others");
        offers.choose(true);
        assert_eq!(offers.reports, []);
        let problem = offers.sync.problem().is_some();
        (offers.begun.first().map(|manifest| manifest.header.height.get()), problem)
    };
    assert_eq!(chosen(&[9]), (Some(9), false));
    assert_eq!(chosen(&[9, 19]), (Some(19), false), "the highest");
    assert_eq!(chosen(&[9, 19, 9]), (Some(9), false), "what most share");
    assert_eq!(chosen(&[9_000]), (None, true));
    assert_eq!(chosen(&[9_000, 9]), (None, true), "of two either may be right");
    assert_eq!(chosen(&[9_000, 9, 19]), (Some(19), false), "one who boasts decides nothing");
    assert_eq!(chosen(&[9_000, 9, 9_001]), (None, true), "an old snapshot of a chain that is far ahead");
}

/// What one peer that never answers, or that nobody can believe, held up for ever.
#[test]
fn silent_and_unbelievable_peers_do_not_prevent_the_replay() {
    let mut offers = Offers::of(3);
    for _ in 0..20 {
        for number in 1..=3 {
            if !offers.asked.contains_key(&peer(number)) {
                continue;
            }
            match number {
                1 => offers.answer(1, Ok(Response::Unavailable)),
                2 => offers.offer(2, &manifest_at(9_000, 3)),
                // Silent.
                _ => {}
            }
        }
        offers.wait(SNAPSHOT_PAUSE_MS, true);
        assert_eq!(offers.sync.problem(), None, "one of three");
    }
    assert!(offers.sync.nobody_offers());
    let mut offers = Offers::of(2);
    for _ in 0..20 {
        if offers.asked.contains_key(&peer(1)) {
            offers.answer(1, Err(RequestFailure::Timeout));
        }
        if offers.asked.contains_key(&peer(2)) {
            offers.offer(2, &manifest_at(9_000, 3));
        }
        offers.wait(SNAPSHOT_PAUSE_MS, true);
        assert!(!offers.sync.nobody_offers(), "half of them may be right");
    }
    assert!(offers.sync.problem().is_some());
}

/// The one peer that had a snapshot, and gave nothing of it, offered it again and again.
#[test]
fn a_snapshot_that_was_given_up_is_not_chosen_again() {
    let mut offers = Offers::of(1);
    let (bad, good) = (manifest_at(9, 1), manifest_at(19, 2));
    offers.offer(1, &bad);
    offers.choose(true);
    while offers.sync.progress().is_some() {
        assert!(offers.now < 600_000, "it is given up");
        if offers.asked.contains_key(&peer(1)) {
            offers.answer(1, Err(RequestFailure::Timeout));
        }
        offers.wait(SNAPSHOT_PAUSE_MS, true);
    }
    for _ in 0..3 {
        offers.offer(1, &bad);
        offers.wait(SNAPSHOT_PAUSE_MS, true);
    }
    assert!(offers.sync.nobody_offers());
    offers.offer(1, &good);
    offers.choose(true);
    assert_eq!(offers.begun, [bad, good]);
}

/// A snapshot that one peer alone has, and gives a chunk of now and then, was never given up.
#[test]
fn a_snapshot_that_comes_too_slowly_is_given_up() {
    let fixture = fixture(600);
    let others = manifest_at(900, 2);
    let mut offers = Offers::of(3);
    (1..=2).for_each(|number| offers.offer(number, &fixture.manifest));
    offers.offer(3, &others);
    offers.choose(true);
    assert_eq!(offers.begun.len(), 1);
    for _ in 0..100 {
        offers.wait(2_000, true);
        for number in 2..=3 {
            if matches!(offers.asked.get(&peer(number)), Some((_, Request::SnapshotChunk { .. }))) {
                offers.answer(number, Ok(Response::Unavailable));
            }
        }
        // Just before its time is over.
        if offers.now % 18_000 < 2_000
            && let Some((_, request @ Request::SnapshotChunk { .. })) = offers.asked.get(&peer(1)).cloned()
        {
            offers.answer(1, Ok(fixture.answer(&request)));
        }
        if offers.sync.progress().is_none() {
            break;
        }
    }
    assert!(offers.sync.progress().is_none(), "given up at {} ms", offers.now);
    assert!(offers.now >= SNAPSHOT_PACE_MS);
}
