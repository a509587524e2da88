//! Joining by replay and by snapshot, files of snapshots, and pruning, with real nodes on loopback.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{balance, commit, fixture, fixture_with, height, settings, transfer};
use purlin_api::SyncState;
use purlin_primitives::{ConsensusRules, Height, PosRules};
use purlin_rpc::{BlockSelector, NodeError};
use purlin_service::{
    Checkpoint, Examination, Level, NewChain, Node, Settings, SnapshotError, SnapshotFileError, SyncMethod,
    create_snapshot, development_pow_rules, doctor, join_home, restore_snapshot,
};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A chain of one validator that others can reach, with snapshots every ten blocks.
struct Network {
    fixture: common::Fixture,
    validator: Node,
    sent: u64,
}

impl Network {
    async fn start(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with(common::fixture(), change).await
    }

    async fn with(mut fixture: common::Fixture, change: impl FnOnce(&mut Settings)) -> Self {
        fixture.settings.network_listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        fixture.settings.snapshot_blocks = Some(10);
        change(&mut fixture.settings);
        let validator = fixture.start().await;
        Self { fixture, validator, sent: 0 }
    }

    /// Commits transfers, one block or more for each.
    async fn send(&mut self, count: u64) {
        for _ in 0..count {
            commit(self.validator.api(), transfer("alice", "bob", 1, self.sent)).await;
            self.sent += 1;
        }
    }

    /// Makes the home of a node that follows.
    fn follower(&self, name: &str, sync: SyncMethod) -> Settings {
        let mut settings = settings(&self.fixture.directory.path().join(name));
        join_home(&settings.home, &self.fixture.genesis, None, &[]).unwrap();
        settings.validator_key = None;
        settings.network_peers = self.validator.network_addresses();
        settings.network_sync = sync;
        settings
    }

    /// Waits until the validator serves a snapshot that is at least this high.
    async fn snapshot(&self, at_least: u64) -> u64 {
        let folder = self.fixture.settings.home.snapshots();
        let newest = || {
            let names = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let heights = names.filter_map(|entry| {
                entry.file_name().to_str()?.strip_suffix(".snapshot")?.parse::<u64>().ok()
            });
            heights.max().unwrap_or(0)
        };
        let waiting = async {
            while newest() < at_least {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
        newest()
    }
}

async fn start(settings: &Settings) -> Node {
    tokio::time::timeout(Duration::from_secs(60), Node::start(settings, |_| None)).await.unwrap().unwrap()
}

/// Header of a height, which has the root of the state before it.
async fn header_at(node: &Node, wanted: u64) -> String {
    height(node.api(), wanted).await;
    let block = node.api().block(BlockSelector::Height(Height::new(wanted))).unwrap().unwrap();
    format!("{} {}", block.id, block.block.header.state_root)
}

async fn stop(node: Node) {
    tokio::time::timeout(Duration::from_secs(30), node.shutdown()).await.unwrap();
}

/// Stops a node and looks at its home.
async fn examine(node: Node, settings: &Settings) -> String {
    stop(node).await;
    let mut settings = settings.clone();
    settings.api_listen = None;
    let findings =
        tokio::task::spawn_blocking(move || doctor(&settings, Examination::Replay, |_| {})).await.unwrap();
    assert!(findings.iter().all(|finding| finding.level != Level::Error), "{findings:?}");
    findings.into_iter().find(|finding| finding.check == "replay").unwrap().message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_node_joins_by_replay_and_by_snapshot() {
    // Epochs of seven blocks: who decides must be proven across several of them.
    let mut network = Network::with(fixture_with(|rules| rules.epoch_blocks = 7), |_| {}).await;
    network.send(40).await;
    let from = network.snapshot(30).await;
    let (replays, joins) =
        (network.follower("replays", SyncMethod::Replay), network.follower("joins", SyncMethod::Snapshot));
    let replaying = start(&replays).await;
    let joined = start(&joins).await;
    network.send(3).await;
    let last = network.validator.api().status().height.get();
    let expected = header_at(&network.validator, last).await;
    for node in [&replaying, &joined] {
        assert_eq!(header_at(node, last).await, expected);
        assert_eq!(balance(node.api(), "bob"), balance(network.validator.api(), "bob"));
        let synced = async {
            while node.api().status().sync != SyncState::Synced {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), synced).await.unwrap();
    }
    // What it never had, it says so.
    let status = joined.api().status();
    let oldest = status.oldest_block;
    assert!(oldest.get() > from.min(30) && (oldest.get() - 1).is_multiple_of(10), "{oldest}");
    let error = joined.api().block(BlockSelector::Height(Height::new(3))).unwrap_err();
    assert!(matches!(error, NodeError::BlockPruned { oldest: found, .. } if found == oldest), "{error}");
    assert_eq!(joined.api().blocks(None, 100).unwrap().last().unwrap().height, oldest);
    assert_eq!(replaying.api().status().oldest_block, Height::new(1));
    // It takes part.
    let record = commit(joined.api(), transfer("bob", "carol", 5, 0)).await;
    height(network.validator.api(), record.inclusion.unwrap().height.get()).await;
    assert_eq!(balance(network.validator.api(), "carol"), balance(joined.api(), "carol"));
    // It stays so after a restart, and a replay begins where its chain does.
    stop(joined).await;
    let again = start(&joins).await;
    assert_eq!(again.api().status().oldest_block, oldest);
    let report = examine(again, &joins).await;
    assert!(report.contains(&format!("from {oldest} on")), "{report}");
    let report = examine(replaying, &replays).await;
    assert!(!report.contains(" on "), "{report}");
    stop(network.validator).await;
}

/// Asks a node over its socket, which may not answer yet.
async fn status_text(settings: &Settings) -> std::io::Result<String> {
    let mut socket = tokio::net::UnixStream::connect(settings.home.socket()).await?;
    socket.write_all(b"GET /api/v1/status HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_unbonding_period_takes_a_checkpoint() {
    let rules = |rules: &mut PosRules| (rules.epoch_blocks, rules.unbonding_epochs) = (6, 3);
    let mut network = Network::with(fixture_with(rules), |_| {}).await;
    network.send(45).await;
    network.snapshot(40).await;
    let checkpoint = network.validator.api().status().checkpoint.unwrap();
    let last = network.validator.api().status().height.get();
    let expected = header_at(&network.validator, last).await;

    let mut joins = network.follower("joins", SyncMethod::Snapshot);
    let settings = joins.clone();
    let refused = tokio::spawn(async move { Node::start(&settings, |_| None).await.map(drop) });
    let told = async {
        loop {
            match status_text(&joins).await {
                Ok(text) if text.contains("unbonding period of 18 blocks") => return text,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let text = tokio::time::timeout(Duration::from_secs(30), told).await.unwrap();
    assert!(text.contains("network.checkpoint") && text.contains("\"sync\":\"snapshot\""), "{text}");
    // Whoever does not want it any more need not wait.
    refused.abort();
    assert!(refused.await.unwrap_err().is_cancelled());

    let mut replays = network.follower("replays", SyncMethod::Replay);
    let replaying = start(&replays).await;
    let told = async {
        while replaying.api().status().sync_problem.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.unwrap();
    assert_eq!(replaying.api().status().height, Height::ZERO);
    stop(replaying).await;

    // A wrong one is named with both ids.
    let right: Checkpoint = checkpoint.parse().unwrap();
    let wrong = Checkpoint { block: network.fixture.genesis.id(), ..right };
    replays.network_checkpoint = Some(wrong);
    let replaying = start(&replays).await;
    let told = async {
        loop {
            match replaying.api().status().sync_problem {
                Some(problem) if problem.contains("checkpoint says") => return problem,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let problem = tokio::time::timeout(Duration::from_secs(30), told).await.unwrap();
    assert!(
        problem.contains(&wrong.block.to_string()) && problem.contains(&right.block.to_string()),
        "{problem}"
    );
    stop(replaying).await;
    for settings in [&mut replays, &mut joins] {
        settings.network_checkpoint = Some(right);
        let node = start(settings).await;
        assert_eq!(header_at(&node, last).await, expected);
        stop(node).await;
    }
    // A chain that has another block there does not start.
    replays.network_checkpoint = Some(wrong);
    let error = Node::start(&replays, |_| None).await.unwrap_err().to_string();
    assert!(error.contains(&wrong.block.to_string()) && error.contains(&right.block.to_string()), "{error}");
    stop(network.validator).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_anybody_who_has_a_snapshot_replays() {
    let mut network = Network::start(|settings| settings.snapshot_blocks = None).await;
    network.send(3).await;
    let node = start(&network.follower("joins", SyncMethod::Snapshot)).await;
    let last = network.validator.api().status().height.get();
    assert_eq!(header_at(&node, last).await, header_at(&network.validator, last).await);
    assert_eq!(node.api().status().oldest_block, Height::new(1));
    stop(node).await;
    stop(network.validator).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_proof_of_work_has_no_snapshots() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(&directory.path().join("node"));
    let mut chain =
        NewChain::development("dev".parse().unwrap(), purlin_primitives::TimestampMs::new(1_700_000_000_000));
    chain.parameters.consensus = ConsensusRules::Pow(development_pow_rules(1));
    join_home(&settings.home, &chain.genesis_of(Vec::new()), None, &[]).unwrap();
    settings.network_sync = SyncMethod::Snapshot;
    let error = Node::start(&settings, |_| None).await.unwrap_err().to_string();
    assert!(error.contains("proof of work") && error.contains("`network.sync` to `replay`"), "{error}");
    let file = directory.path().join("file");
    let error = create_snapshot(&settings, &file, None, |_| {}).unwrap_err();
    assert!(matches!(error, SnapshotError::ProofOfWork), "{error}");
    let error = restore_snapshot(&settings, &file, None, |_| {}).unwrap_err();
    assert!(matches!(error, SnapshotError::ProofOfWork), "{error}");
    assert!(!settings.home.data().exists());
}

fn files(folder: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_go_through_files_and_every_byte_is_checked() {
    let mut network = Network::start(|_| {}).await;
    network.send(25).await;
    let served = network.snapshot(20).await;
    let folder = network.fixture.directory.path().to_path_buf();
    let (running, stopped) = (folder.join("running.snapshot"), folder.join("stopped.snapshot"));
    let source = network.fixture.settings.clone();
    // Of the running node: a copy of what it serves.
    let made = create_snapshot(&source, &running, Some(Height::new(served)), |_| {}).unwrap();
    assert_eq!(made.height.get(), served);
    let missing = create_snapshot(&source, &folder.join("x"), Some(Height::new(3)), |_| {}).unwrap_err();
    assert!(matches!(missing, SnapshotError::NotServed { height: Some(_) }), "{missing}");
    let joins = network.follower("restored", SyncMethod::Replay);
    let bob = balance(network.validator.api(), "bob");
    stop(network.validator).await;
    let made = create_snapshot(&source, &stopped, None, |_| {}).unwrap();
    let exists = create_snapshot(&source, &stopped, None, |_| {}).unwrap_err();
    assert!(matches!(exists, SnapshotError::Exists { .. }), "{exists}");
    assert!(made.entries.unwrap() > 4 && made.height.get() > served);

    // Damage anywhere is found, and leaves nothing.
    let good = std::fs::read(&stopped).unwrap();
    let before = files(joins.home.root());
    let bad = folder.join("bad.snapshot");
    let refused = |bytes: &[u8]| {
        std::fs::write(&bad, bytes).unwrap();
        let error = restore_snapshot(&joins, &bad, None, |_| {}).unwrap_err();
        let left = files(joins.home.root());
        let left: Vec<_> = left.into_iter().filter(|name| name != "lock").collect();
        assert_eq!(left, before, "{error}");
        error
    };
    for at in (0..good.len()).step_by(good.len() / 97) {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        let error = refused(&bytes);
        assert!(matches!(error, SnapshotError::File(_)), "byte {at}: {error}");
    }
    for length in [0, 10, 60, good.len() / 2, good.len() - 1] {
        let error = refused(&good[..length]);
        assert!(
            matches!(
                error,
                SnapshotError::File(
                    SnapshotFileError::Truncated { .. } | SnapshotFileError::NotASnapshot { .. }
                )
            ),
            "{length} bytes: {error}"
        );
    }
    assert!(refused(&[&good[..], b"x"].concat()).to_string().contains("after its end"));
    // Nor does it fit another chain.
    let other = fixture();
    let mut genesis = other.genesis.clone();
    genesis.chain_id = "dev2".parse().unwrap();
    let foreign = settings(&folder.join("foreign"));
    join_home(&foreign.home, &genesis, None, &[]).unwrap();
    let error = restore_snapshot(&foreign, &stopped, None, |_| {}).unwrap_err();
    assert!(matches!(error, SnapshotError::File(SnapshotFileError::OtherChain { .. })), "{error}");
    // A checkpoint that says something else names both blocks.
    let wrong = Checkpoint { block: made.block, ..made.checkpoint };
    let error = restore_snapshot(&joins, &stopped, Some(wrong), |_| {}).unwrap_err().to_string();
    assert!(
        error.contains(&made.block.to_string()) && error.contains(&made.checkpoint.block.to_string()),
        "{error}"
    );

    // A home without a chain has no snapshot, and stays one in which a chain can begin.
    let none = create_snapshot(&joins, &folder.join("none"), None, |_| {}).unwrap_err();
    assert!(matches!(none, SnapshotError::NoChain { .. }), "{none}");
    assert!(!joins.home.data().exists() && !folder.join("none").exists());
    for (file, checkpoint) in [(&stopped, None), (&running, None), (&stopped, Some(made.checkpoint))] {
        let restored = restore_snapshot(&joins, file, checkpoint, |_| {}).unwrap();
        let again = restore_snapshot(&joins, file, None, |_| {}).unwrap_err();
        assert!(matches!(again, SnapshotError::NotEmpty { .. }), "{again}");
        let node = start(&joins).await;
        assert_eq!(node.api().status().height, restored.height);
        if file == &stopped {
            assert_eq!(balance(node.api(), "bob"), bob);
        }
        stop(node).await;
        std::fs::remove_dir_all(joins.home.data()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_blocks_are_removed_and_others_are_asked_for_them() {
    let mut network = Network::start(|_| {}).await;
    let mut keeps_less = network.follower("keeps-less", SyncMethod::Replay);
    keeps_less.keep_blocks = Some(20);
    let pruned = start(&keeps_less).await;
    network.send(290).await;
    // Blocks of the window stay, however little is to be kept.
    let last = network.validator.api().status().height.get();
    assert!(last > 285, "at least a block for each transfer: {last}");
    height(pruned.api(), last).await;
    let waiting = async {
        while pruned.api().status().oldest_block.get() < last - 256 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
    let oldest = pruned.api().status().oldest_block;
    assert!(oldest.get() <= last - 255);
    let error = pruned.api().block(BlockSelector::Height(Height::new(1))).unwrap_err();
    assert!(error.to_string().contains(&format!("oldest kept is {oldest}")), "{error}");
    // A newcomer that knows both gets the old blocks from the one that has them.
    let mut replays = network.follower("replays", SyncMethod::Replay);
    replays.network_peers.extend(pruned.network_addresses());
    let node = start(&replays).await;
    assert_eq!(header_at(&node, last).await, header_at(&network.validator, last).await);
    stop(node).await;
    let report = examine(pruned, &keeps_less).await;
    assert!(report.contains(" on "), "{report}");
    stop(network.validator).await;
}
