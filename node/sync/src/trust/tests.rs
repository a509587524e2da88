use super::*;
use crate::testing::{certify, chain_id, header, key};
use purlin_primitives::{BlockHeader, GenesisValidator, Hash32, Parameters, TimestampMs, Validator};
use purlin_state::{
    Changes, Durability, KeyValueStore, MemoryStore, MerkleTree, StateKey, StateProof, StateTree,
    TreeVersion, WriteBatch,
};

const EPOCH: u64 = 10;
const UNBONDING_EPOCHS: u64 = 6;

/// A chain whose validators change: from which height on which key decides.
struct World {
    sets: Vec<(u64, u8)>,
}

fn set_of(seed: u8) -> ValidatorSet {
    let public_key = key(seed).public_key();
    ValidatorSet::new(vec![Validator { public_key, account: public_key.account_id(), power: 5 }]).unwrap()
}

fn genesis() -> Genesis {
    let rules = PosRules { epoch_blocks: EPOCH, unbonding_epochs: UNBONDING_EPOCHS, ..PosRules::default() };
    Genesis {
        chain_id: chain_id(),
        time: TimestampMs::ZERO,
        validators: vec![GenesisValidator { public_key: key(1).public_key(), power: 5 }],
        accounts: Vec::new(),
        parameters: Parameters { consensus: ConsensusRules::Pos(rules), ..Parameters::default() },
    }
}

impl World {
    fn signer(&self, height: u64) -> u8 {
        self.sets.iter().rev().find(|(from, _)| *from <= height).unwrap().1
    }

    /// The state after a block, as far as it matters here.
    fn tree(&self, after: u64) -> (MerkleTree<MemoryStore>, TreeVersion) {
        let tree = MerkleTree::new(MemoryStore::new());
        let record = |(from, seed): &(u64, u8)| {
            (StateKey::validator_set(Height::new(*from)), Some(borsh::to_vec(&set_of(*seed)).unwrap()))
        };
        let mut changes: Changes =
            self.sets.iter().filter(|(from, _)| *from <= after + 2).map(record).collect();
        changes.insert(StateKey::module("height"), Some(after.to_be_bytes().to_vec()));
        let version =
            tree.update(&tree.empty(), Height::new(after), &changes, &mut WriteBatch::default()).unwrap();
        (tree, version)
    }

    fn header(&self, height: u64) -> BlockHeader {
        let (tree, version) = self.tree(height - 1);
        let parent = BlockId::new(Hash32::new([height as u8; 32]));
        BlockHeader { state_root: tree.root(&version), ..header(height, parent, &[]) }
    }

    fn turnover(&self, height: u64) -> Turnover {
        self.turnover_with(height, height + 1)
    }

    /// Shows the newest set that decides from `newest` on or before.
    fn turnover_with(&self, height: u64, newest: u64) -> Turnover {
        let store = MemoryStore::new();
        let (tree, version) = self.tree(height - 1);
        store.write(WriteBatch::default(), Durability::Synced).unwrap();
        let (from, seed) = *self.sets.iter().rev().find(|(from, _)| *from <= newest).unwrap();
        let key = StateKey::validator_set(Height::new(from));
        let wanted = StateKey::validator_set(Height::new(height + 1));
        let none_newer = (from != height + 1).then(|| tree.prove(&version, &wanted).unwrap());
        let path = tree.prove(&version, &key).unwrap();
        let certified = certify(&self.header(height), self.signer(height));
        let value = Some(borsh::to_vec(&set_of(seed)).unwrap());
        let proof =
            StateProof { key, value, path, header: certified.header, certificate: certified.certificate };
        Turnover { proof, none_newer }
    }

    fn manifest(&self, height: u64) -> SnapshotManifest {
        let heights = (1..).map(|epoch| epoch * EPOCH + 1).take_while(|first| *first <= height);
        let turnovers: Vec<Turnover> = heights.map(|first| self.turnover(first)).collect();
        self.manifest_with(height, &turnovers)
    }

    fn manifest_with(&self, height: u64, turnovers: &[Turnover]) -> SnapshotManifest {
        let first = certify(&self.header(height), self.signer(height));
        SnapshotManifest {
            header: first.header,
            certificate: first.certificate,
            next: certify(&self.header(height + 1), self.signer(height + 1)),
            transactions: 1,
            handovers: turnovers.iter().map(|turnover| borsh::to_vec(turnover).unwrap()).collect(),
        }
    }

    fn checkpoint(&self, height: u64) -> Checkpoint {
        Checkpoint { height: Height::new(height), block: self.header(height).id() }
    }
}

/// Changes at the end of blocks 10 and 30, with an epoch in between that changes nothing.
fn world() -> World {
    World { sets: vec![(1, 1), (12, 2), (32, 3)] }
}

fn judge(manifest: &SnapshotManifest, checkpoint: Option<Checkpoint>) -> Result<(), Distrust> {
    let mut trust = StakeTrust::new(genesis(), checkpoint);
    trust.check(manifest)
}

#[test]
fn every_height_is_reached_from_the_genesis_and_from_every_epoch() {
    let world = world();
    for height in 1..=59 {
        let manifest = world.manifest(height);
        judge(&manifest, None).unwrap_or_else(|error| panic!("{height}: {error}"));
        let mut trust = StakeTrust::new(genesis(), None);
        trust.check(&manifest).unwrap();
        assert_eq!(trust.deciding(), Some(&set_of(world.signer(height + 1))));
        // One that nobody needed is not passed on: it was not looked at.
        let mut more = manifest.clone();
        more.handovers.push(borsh::to_vec(&world.turnover(60 + EPOCH + 1)).unwrap());
        trust.check(&more).unwrap();
        let used: Vec<_> = trust.turnovers().iter().map(|one| borsh::to_vec(one).unwrap()).collect();
        assert_eq!(used, manifest.handovers);
        for first in (1..).map(|epoch| epoch * EPOCH + 1).take_while(|first| *first <= height) {
            let checkpoint = world.checkpoint(first);
            judge(&manifest, Some(checkpoint))
                .unwrap_or_else(|error| panic!("{height} from {first}: {error}"));
        }
        judge(&manifest, Some(world.checkpoint(height + 1))).unwrap();
    }
}

#[test]
fn the_unbonding_period_limits_how_far_trust_reaches() {
    let world = world();
    let window = EPOCH * UNBONDING_EPOCHS;
    assert!(judge(&world.manifest(window - 1), None).is_ok());
    let old = judge(&world.manifest(window), None).unwrap_err();
    let Distrust::Unproven(TrustProblem::TooOld { trusted, height, window: found }) = &old else {
        panic!("{old}")
    };
    assert_eq!((trusted.get(), height.get(), *found), (0, window + 1, window));
    assert!(old.to_string().contains("network.checkpoint"), "{old}");
    assert!(judge(&world.manifest(window), Some(world.checkpoint(11))).is_ok());
    let rules = genesis().parameters.consensus;
    check_age(&rules, Height::new(5), Height::new(5 + window)).unwrap();
    check_age(&rules, Height::new(5), Height::new(6 + window)).unwrap_err();
    check_age(&rules, Height::new(500), Height::new(5)).unwrap();
}

#[test]
fn a_checkpoint_that_peers_contradict_is_named_with_both_ids() {
    let world = world();
    let other = BlockId::new(Hash32::new([8; 32]));
    for (height, found) in
        [(21, world.header(21).id()), (45, world.header(45).id()), (46, world.header(46).id())]
    {
        let checkpoint = Checkpoint { height: Height::new(height), block: other };
        let error = judge(&world.manifest(45), Some(checkpoint)).unwrap_err();
        let expected = TrustProblem::Contradiction { height: Height::new(height), checkpoint: other, found };
        assert_eq!(error, Distrust::Unproven(expected));
        assert!(
            error.to_string().contains(&other.to_string()) && error.to_string().contains(&found.to_string())
        );
    }
    let newer = judge(&world.manifest(25), Some(world.checkpoint(31))).unwrap_err();
    assert!(matches!(newer, Distrust::Unproven(TrustProblem::OlderThanCheckpoint { .. })), "{newer}");
    let between = judge(&world.manifest(25), Some(world.checkpoint(23))).unwrap_err();
    assert!(matches!(between, Distrust::Unproven(TrustProblem::NotShown { .. })), "{between}");
}

#[test]
fn validators_who_left_cannot_go_on_alone() {
    let real = world();
    // The first validator goes on as if nobody had followed it.
    let fork = World { sets: vec![(1, 1)] };
    let honest = real.manifest(25);
    let turnovers = [real.turnover(11), real.turnover(21)];
    let signed_by_first = SnapshotManifest { handovers: honest.handovers.clone(), ..fork.manifest(25) };
    assert!(matches!(judge(&signed_by_first, None), Err(Distrust::Wrong(_))));
    // It leaves out the turnover, or shows the set before it.
    let silent = fork.manifest_with(25, &turnovers[1..]);
    assert!(matches!(judge(&silent, None), Err(Distrust::Unproven(TrustProblem::NotShown { .. }))));
    let mut hidden = real.turnover_with(11, 1);
    assert!(hidden.none_newer.is_some());
    let manifest = fork.manifest_with(25, &[hidden.clone(), turnovers[1].clone()]);
    assert!(
        matches!(judge(&manifest, None), Err(Distrust::Wrong(_))),
        "a path to what is there proves no absence"
    );
    hidden.none_newer = None;
    let manifest = fork.manifest_with(25, &[hidden, turnovers[1].clone()]);
    assert!(matches!(judge(&manifest, None), Err(Distrust::Wrong(_))));
    // Anything else in its place.
    let mut foreign = real.turnover(11);
    foreign.proof.key = StateKey::module("height");
    let manifest = real.manifest_with(25, &[foreign, turnovers[1].clone()]);
    assert!(matches!(judge(&manifest, None), Err(Distrust::Wrong(_))));
    let mut garbage = honest.clone();
    garbage.handovers[0].pop();
    assert!(matches!(judge(&garbage, None), Err(Distrust::Wrong(_))));
    let mut bare = honest;
    bare.certificate = None;
    assert!(matches!(judge(&bare, None), Err(Distrust::Wrong(_))));
}

#[test]
fn checkpoints_are_read_and_written() {
    let checkpoint = world().checkpoint(21);
    assert_eq!(checkpoint.to_string().parse(), Ok(checkpoint));
    for text in [
        "",
        "21",
        "21:",
        ":0x00",
        "x:y",
        "0:0x0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        assert_eq!(text.parse::<Checkpoint>(), Err(ParseCheckpointError), "{text}");
    }
}
