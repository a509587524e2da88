//! Several nodes on loopback, over the real network.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{account, balance, commit, height, settings, transfer};
use purlin_primitives::{Genesis, GenesisValidator, Height, SecretKey, TimestampMs};
use purlin_service::{NewChain, Node, Protection, Settings, development_key, init_home, write_genesis};
use std::time::Duration;

/// Homes of one network.
struct Network {
    _directory: tempfile::TempDir,
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
            .map(|index| GenesisValidator { public_key: validator(index).public_key(), power: 10 })
            .collect();
        let mut homes = Vec::new();
        for index in 0..validators + followers {
            let mut settings = settings(&directory.path().join(format!("node{index}")));
            settings.network_listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
            settings.idle_ms = 1_000;
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
        Self { _directory: directory, homes, addresses: Vec::new() }
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
