//! Several nodes on loopback, over the real network.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{account, balance, commit, height, settings, transfer};
use purlin_api::ValidatorState;
use purlin_capabilities::RuntimeConfig;
use purlin_consensus::{PosConfig, PosEngine, SignError, VoteSigner};
use purlin_execution::NodeExecutor;
use purlin_network::{Identity, NetworkConfig, NetworkService};
use purlin_primitives::{
    Action, Amount, BlockProposal, Genesis, GenesisValidator, Height, PublicKey, SecretKey, SignedProposal,
    SignedVote, TimestampMs, Vote,
};
use purlin_service::{
    NewChain, Node, NodeParts, PeerInbox, Protection, Settings, StopReason, development_key, init_home,
    write_genesis,
};
use purlin_state::MemoryStore;
use std::sync::Arc;
use std::time::Duration;

/// Of each validator; large enough that a share of it is something.
const POWER: u64 = 1_000_000;

/// Homes of one network.
struct Network {
    directory: tempfile::TempDir,
    homes: Vec<Settings>,
    addresses: Vec<String>,
}

fn validator(index: usize) -> SecretKey {
    development_key(&format!("validator-{index}"))
}

impl Network {
    /// Makes the homes of `validators` validators and of as many nodes without a vote as are asked for.
    fn new(validators: usize, followers: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let chain = NewChain::development("dev".parse().unwrap(), TimestampMs::new(1_700_000_000_000));
        let all: Vec<_> = (0..validators)
            .map(|index| GenesisValidator { public_key: validator(index).public_key(), power: POWER })
            .collect();
        let mut homes = Vec::new();
        for index in 0..validators + followers {
            let mut settings = node_settings(&directory.path().join(format!("node{index}")));
            let key = validator(index);
            init_home(&settings.home, &chain, &key, Protection::Development(&chain.chain_id)).unwrap();
            let genesis = Genesis { validators: all.clone(), ..chain.genesis(&key) };
            write_genesis(&settings.home.genesis(), &genesis).unwrap();
            // It was made for the genesis of one validator.
            std::fs::remove_file(settings.home.sign_state()).unwrap();
            if index < validators {
                let files = settings.home.signing();
                purlin_service::Signer::create(&files.state, genesis.id(), &key.public_key()).unwrap();
            } else {
                settings.validator_key = None;
            }
            homes.push(settings);
        }
        Self { directory, homes, addresses: Vec::new() }
    }

    /// Copies the home of a validator that never ran.
    fn copy(&mut self, index: usize) {
        let folder = self.directory.path().join("copy");
        copy_folder(self.homes[index].home.root(), &folder);
        self.homes.push(node_settings(&folder));
    }

    /// Starts a node that knows all that were started before.
    async fn start(&mut self, index: usize) -> Node {
        let mut settings = self.homes[index].clone();
        settings.network_peers = self.addresses.clone();
        let node = Node::start(&settings, |_| None).await.unwrap();
        self.addresses.extend(node.network_addresses());
        node
    }
}

fn node_settings(folder: &std::path::Path) -> Settings {
    let network_listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    Settings { network_listen, idle_ms: 1_000, ..settings(folder) }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Waits until a node has a height, then returns its state root there.
async fn root_at(node: &Node, wanted: u64) -> String {
    height(node.api(), wanted).await;
    let block = node.api().block(purlin_rpc::BlockSelector::Height(Height::new(wanted))).unwrap().unwrap();
    format!("{} {}", block.id, block.block.header.state_root)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_validators_and_a_follower_agree_and_one_comes_back() {
    let mut network = Network::new(4, 1);
    let mut nodes = Vec::new();
    for index in 0..5 {
        nodes.push(network.start(index).await);
    }
    // Sent to one, known to all.
    let record = commit(nodes[0].api(), transfer("alice", "bob", 7, 0)).await;
    let included = record.inclusion.unwrap().height.get();
    let first = root_at(&nodes[0], included + 1).await;
    for node in &nodes[1..] {
        assert_eq!(root_at(node, included + 1).await, first);
        assert_eq!(balance(node.api(), "bob"), balance(nodes[0].api(), "bob"));
    }
    // Through the node that has no vote.
    commit(nodes[4].api(), transfer("alice", "bob", 8, 1)).await;

    // Three of four go on; the fourth catches up.
    let stopped = nodes.remove(1);
    stopped.shutdown().await;
    let record = commit(nodes[0].api(), transfer("alice", "bob", 9, 2)).await;
    let without = record.inclusion.unwrap().height.get();
    let back = network.start(1).await;
    assert_eq!(root_at(&back, without).await, root_at(&nodes[0], without).await);
    commit(back.api(), transfer("alice", "carol", 1, 3)).await;
    assert_ne!(account("alice"), account("carol"));
    nodes.push(back);
    for node in nodes {
        tokio::time::timeout(Duration::from_secs(30), node.shutdown()).await.unwrap();
    }
}

/// Signs whatever it is asked to and remembers nothing.
struct Careless(SecretKey);

impl VoteSigner for Careless {
    fn public_key(&self) -> PublicKey {
        self.0.public_key()
    }

    fn record(&mut self, _height: Height, _bytes: Vec<u8>) {}

    fn sign_vote(&mut self, vote: Vote) -> Result<SignedVote, SignError> {
        Ok(self.0.sign_vote(vote))
    }

    fn sign_proposal(&mut self, proposal: BlockProposal) -> Result<SignedProposal, SignError> {
        Ok(self.0.sign_proposal(proposal))
    }
}

/// A node of the network's validator `index` that keeps no record of what it signed.
struct Twin {
    node: Node,
    service: NetworkService,
}

impl Twin {
    async fn start(network: &Network, index: usize) -> Self {
        let settings = &network.homes[index];
        let genesis = purlin_service::read_genesis(&settings.home.genesis()).unwrap();
        let config = NetworkConfig {
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            bootstrap: network.addresses.clone(),
            ..NetworkConfig::new(Identity::generate(), *genesis.id().as_bytes())
        };
        let inbox = PeerInbox::default();
        let service = NetworkService::start(config, Arc::new(inbox.clone())).await.unwrap();
        let pace = PosConfig {
            idle_ms: settings.idle_ms,
            anchor_after_ms: settings.anchor_after_ms,
            ..PosConfig::default()
        };
        let signer = Box::new(Careless(validator(index)));
        let parts = NodeParts {
            store: MemoryStore::new(),
            engine: Some(Box::new(PosEngine::new(pace, genesis.chain_id.clone(), signer))),
            genesis,
            executor: Arc::new(
                NodeExecutor::new(&RuntimeConfig { instances_max: 16, ..RuntimeConfig::default() }).unwrap(),
            ),
            peers: Some(inbox.connect(Arc::new(service.handle()))),
            validator: Some(validator(index)),
            miner: None,
            lock: None,
        };
        let settings = settings.clone();
        let node = tokio::task::spawn_blocking(move || Node::start_parts(&settings, parts)).await.unwrap();
        Self { node: node.unwrap(), service }
    }

    async fn stop(self) {
        self.node.shutdown().await;
        self.service.shutdown().await.unwrap();
    }
}

/// Returns at which height a block brings evidence, and of which height it is.
fn evidence(node: &Node) -> Option<(u64, u64)> {
    let head = node.api().status().height.get();
    (1..=head).find_map(|height| {
        let block = node.api().block(purlin_rpc::BlockSelector::Height(Height::new(height))).unwrap()?;
        let actions = block.block.transactions.iter().flat_map(|one| one.body.actions.iter());
        actions
            .filter_map(|action| match action {
                Action::ReportEquivocation { evidence } => Some((height, evidence.height().get())),
                _ => None,
            })
            .next()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_that_runs_twice_is_slashed_on_every_node() {
    let mut network = Network::new(4, 0);
    let mut nodes = Vec::new();
    for index in 0..3 {
        nodes.push(network.start(index).await);
    }
    // Both propose when it is their turn, and not the same.
    let twins = [Twin::start(&network, 3).await, Twin::start(&network, 3).await];
    let offender = validator(3).public_key().account_id();
    let punished = |node: &Node| {
        let page = node.api().validators(None, 100).unwrap();
        let found = page.validators.into_iter().find(|one| one.account == offender).unwrap();
        found.stake < Amount::new(u128::from(POWER)) && found.status != ValidatorState::Active
    };
    let mut heights = nodes[0].api().head();
    // A node's state is there a moment before it tells the height: wait for both.
    let slashed = async {
        while !nodes.iter().all(|node| punished(node) && evidence(node).is_some()) {
            heights.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(120), slashed).await.unwrap();
    let seen: Vec<_> = nodes.iter().map(|node| evidence(node).unwrap()).collect();
    let (reported, signed) = seen[0];
    assert!(reported - signed <= 20, "signed at {signed}, in block {reported}");
    assert!(seen.iter().all(|other| *other == seen[0]), "{seen:?}");
    // The honest three are more than two thirds and go on.
    commit(nodes[1].api(), transfer("alice", "bob", 1, 0)).await;
    for twin in twins {
        tokio::time::timeout(Duration::from_secs(30), twin.stop()).await.unwrap();
    }
    for node in nodes {
        tokio::time::timeout(Duration::from_secs(30), node.shutdown()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_validator_stops_before_it_signs() {
    let mut network = Network::new(4, 0);
    network.copy(3);
    let mut nodes = Vec::new();
    for index in 0..4 {
        nodes.push(network.start(index).await);
    }
    commit(nodes[0].api(), transfer("alice", "bob", 1, 0)).await;
    // Its record of signatures is behind what the original signed meanwhile.
    let copy = network.start(4).await;
    let stopped = tokio::time::timeout(Duration::from_secs(60), copy.stopped()).await.unwrap();
    let StopReason::Failed(reason) = stopped else { panic!("{stopped:?}") };
    assert!(reason.contains("another node uses the key"), "{reason}");
    drop(copy.shutdown().await);

    // Without the original it may take its place. With one more gone, three of four are needed and three are left.
    let original = nodes.remove(3);
    tokio::time::timeout(Duration::from_secs(30), original.shutdown()).await.unwrap();
    commit(nodes[0].api(), transfer("alice", "bob", 1, 1)).await;
    let copy = network.start(4).await;
    let other = nodes.remove(2);
    tokio::time::timeout(Duration::from_secs(30), other.shutdown()).await.unwrap();
    let record = commit(copy.api(), transfer("alice", "bob", 1, 2)).await;
    let height = record.inclusion.unwrap().height.get();
    assert_eq!(root_at(&copy, height).await, root_at(&nodes[0], height).await);
    nodes.push(copy);
    for node in nodes {
        assert_eq!(evidence(&node), None);
        tokio::time::timeout(Duration::from_secs(30), node.shutdown()).await.unwrap();
    }
}
