//! Writes that fail: the node stops with the reason, and what it acknowledged is there afterwards.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Fixture, account, balance, fixture, transfer};
use purlin_capabilities::RuntimeConfig;
use purlin_consensus::{ConsensusEngine, Effect, Height, Input, ScriptedEngine, TimestampMs, WhenEmpty};
use purlin_execution::NodeExecutor;
use purlin_primitives::Seal;
use purlin_rpc::{BlockSelector, Conclusion};
use purlin_service::{DEVELOPMENT_BALANCE, Node, NodeParts, StopReason, development_key};
use purlin_state::{Fault, FaultStore, KeyValueStore, MemoryStore};
use std::sync::{Arc, OnceLock};

fn executor() -> NodeExecutor {
    static EXECUTOR: OnceLock<NodeExecutor> = OnceLock::new();
    let config = RuntimeConfig { instances_max: 16, ..RuntimeConfig::default() };
    EXECUTOR.get_or_init(|| NodeExecutor::new(&config).unwrap()).clone()
}

fn start<S: KeyValueStore>(fixture: &Fixture, store: S, engine: Option<Box<dyn ConsensusEngine>>) -> Node {
    let parts = NodeParts {
        store,
        genesis: fixture.genesis.clone(),
        executor: Arc::new(executor()),
        engine,
        peers: None,
        validator: Some(development_key("validator")),
        miner: None,
        lock: None,
    };
    Node::start_parts(&fixture.settings, parts).unwrap()
}

/// Sends transfers of 1 to bob one after the other until the node stops; returns how many were acknowledged.
async fn stream(node: &Node) -> u128 {
    let mut acknowledged = 0;
    for nonce in 0..40 {
        let Ok(id) = node.api().submit(transfer("alice", "bob", 1, nonce)).await else { break };
        match node.api().wait_committed(id).await {
            Ok(Conclusion::Committed(_)) => acknowledged += 1,
            _ => break,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failing_write_stops_the_node_and_loses_nothing_acknowledged() {
    for fault in
        [Fault::Full, Fault::Failed, Fault::FailedAfterWriting, Fault::PowerCut, Fault::PowerCutAfterWriting]
    {
        for write in 0..6 {
            let fixture = fixture();
            let disk = Arc::new(MemoryStore::new());
            let store = Arc::new(FaultStore::new(Arc::clone(&disk)));
            let node = start(&fixture, Arc::clone(&store), None);
            store.fail_write(write, fault);
            let acknowledged = stream(&node).await;
            let reason = node.stopped().await;
            let StopReason::Failed(reason) = reason else { panic!("{fault:?} at {write}: {reason:?}") };
            assert!(reason.contains("could not be stored"), "{reason}");
            if fault == Fault::Full {
                assert!(reason.contains("disk is full"), "{reason}");
            }
            assert!(node.api().submit(transfer("bob", "alice", 1, 0)).await.is_err());
            node.shutdown().await;
            // A process that ends takes unsynced writes along only when the power goes too; the worst case is both.
            store.cut_power().ok();

            let node = start(&fixture, disk, None);
            let received = balance(node.api(), "bob") - DEVELOPMENT_BALANCE.get();
            assert!(received >= acknowledged, "{fault:?} at {write}: {received} of {acknowledged}");
            // One more may have been stored and not been reported.
            assert!(received <= acknowledged + 1, "{fault:?} at {write}: {received} of {acknowledged}");
            let next = node.api().account(&account("alice")).unwrap().next_nonce;
            common::commit(node.api(), transfer("alice", "bob", 1, next)).await;
            node.shutdown().await;
        }
    }
}

/// Commits one block and never signs it: what a kill between write and signature leaves.
struct UnsignedBlock(bool);

impl ConsensusEngine for UnsignedBlock {
    fn name(&self) -> &'static str {
        "unsigned"
    }

    fn handle(&mut self, now: TimestampMs, input: Input) -> Vec<Effect> {
        match input {
            Input::TransactionsWaiting if !self.0 => {
                self.0 = true;
                let (height, seal) = (Height::new(1), Seal::FIRST_ROUND);
                vec![Effect::BuildProposal { height, time: now, seal, when_empty: WhenEmpty::Skip }]
            }
            Input::ProposalBuilt { proposal, .. } => {
                vec![Effect::Commit { block: proposal.id, certificate: None }]
            }
            _ => vec![],
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_stored_without_signature_is_signed_at_the_next_start() {
    let fixture = fixture();
    let disk = Arc::new(MemoryStore::new());
    let node = start(&fixture, Arc::clone(&disk), Some(Box::new(UnsignedBlock(false))));
    let id = node.api().submit(transfer("alice", "bob", 1, 0)).await.unwrap();
    let wait = tokio::time::timeout(std::time::Duration::from_millis(300), node.api().wait_committed(id));
    assert!(wait.await.is_err(), "acknowledged without a signature");
    drop(node);

    let node = start(&fixture, Arc::clone(&disk), None);
    common::height(node.api(), 2).await;
    let block = node.api().block(BlockSelector::Height(purlin_primitives::Height::new(1))).unwrap().unwrap();
    assert_eq!(block.block.transactions.len(), 1);
    let validators = fixture.genesis.validator_set().unwrap();
    block.certificate.verify(&fixture.genesis.chain_id, &validators).unwrap();
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_chooses_an_unknown_block_stops_the_node() {
    let fixture = fixture();
    let effect = Effect::Commit { block: purlin_consensus::BlockId::ZERO, certificate: None };
    let engine = ScriptedEngine::new([vec![effect]]);
    let log = engine.log();
    let node = start(&fixture, MemoryStore::new(), Some(Box::new(engine)));
    let StopReason::Failed(reason) = node.stopped().await else { panic!("it must fail") };
    assert!(reason.contains("does not have"), "{reason}");
    assert!(matches!(log.lock().unwrap()[0], Input::Started { .. }));
    node.shutdown().await;
}
