//! A whole node over RocksDB, with its API.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Api, account, balance, commit, fixture, height, sign, transfer, transfer_with};
use purlin_api::ErrorCode;
use purlin_primitives::{Action, Amount, Height, TransactionId};
use purlin_rpc::{BlockSelector, Conclusion, SubmitError};
use purlin_service::{DEVELOPMENT_BALANCE, StopReason, development_key};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const FUNDS: u128 = DEVELOPMENT_BALANCE.get();

fn api(node: &purlin_service::Node) -> Api {
    Arc::clone(node.api())
}

async fn refusal(api: &Api, transaction: purlin_primitives::Transaction) -> ErrorCode {
    match api.submit(transaction).await {
        Err(SubmitError::Refused { code, .. }) => code,
        other => panic!("expected a refusal: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_commits_and_survives_a_restart() {
    let fixture = fixture();
    let node = fixture.start().await;
    let record = commit(&api(&node), transfer("alice", "bob", 5, 0)).await;
    let inclusion = record.inclusion.unwrap();
    assert!(inclusion.receipt.succeeded());
    assert_eq!(balance(&api(&node), "bob"), FUNDS + 5);
    let status = api(&node).status();
    assert_eq!(node.shutdown().await, StopReason::Requested);

    let node = fixture.start().await;
    let again = api(&node);
    assert!(again.status().height >= status.height);
    assert_eq!(balance(&again, "bob"), FUNDS + 5);
    assert_eq!(balance(&again, "alice"), FUNDS - 5);
    let found = again.transaction(record.id).unwrap().unwrap().inclusion.unwrap();
    assert_eq!((found.height, found.receipt), (inclusion.height, inclusion.receipt));
    let block = again.block(BlockSelector::Height(inclusion.height)).unwrap().unwrap();
    assert_eq!(block.certificate.signatures.len(), 1);
    let validators = fixture.genesis.validator_set().unwrap();
    block.certificate.verify(&fixture.genesis.chain_id, &validators).unwrap();
    assert!(matches!(again.wait_committed(record.id).await.unwrap(), Conclusion::Committed(_)));
    commit(&again, transfer("alice", "bob", 1, 1)).await;
    drop(again);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_and_socket_answer_until_the_stop() {
    let fixture = fixture();
    let node = fixture.start().await;
    let address = node.api_address().unwrap();
    let socket = node.api_socket().unwrap().to_path_buf();
    let request = b"GET /livez HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n";
    let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    tcp.write_all(request).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let mut unix = tokio::net::UnixStream::connect(&socket).await.unwrap();
    unix.write_all(b"GET /api/v1/status HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    unix.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"chain_id\":\"dev\""), "{answer}");

    node.shutdown().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_code_and_changes_nothing() {
    let fixture = fixture();
    let node = fixture.start().await;
    let api = api(&node);
    assert_eq!(refusal(&api, transfer("alice", "bob", 1, 3)).await, ErrorCode::NonceGap);
    let first = transfer("alice", "bob", 1, 0);
    commit(&api, first.clone()).await;
    assert_eq!(refusal(&api, first).await, ErrorCode::KnownTransaction);
    assert_eq!(refusal(&api, transfer("alice", "bob", 2, 0)).await, ErrorCode::NonceUsed);

    let mut forged = transfer("alice", "bob", 1, 1);
    forged.body.fee = Amount::new(1);
    assert_eq!(refusal(&api, forged).await, ErrorCode::BadSignature);
    let mut foreign = transfer("alice", "bob", 1, 1).body;
    foreign.chain_id = "main".parse().unwrap();
    let foreign = development_key("alice").sign_transaction(foreign);
    assert_eq!(refusal(&api, foreign).await, ErrorCode::WrongChain);

    let action = || vec![Action::Transfer { to: account("bob"), amount: Amount::new(1) }];
    let late = sign(&development_key("alice"), 1, 0, 1, action());
    height(&api, 2).await;
    assert_eq!(refusal(&api, late).await, ErrorCode::TransactionExpired);
    let far = sign(&development_key("alice"), 1, 0, u64::MAX, action());
    assert_eq!(refusal(&api, far).await, ErrorCode::ExpiryTooFar);
    assert_eq!(refusal(&api, transfer_with("alice", 1, FUNDS + 1, action())).await, ErrorCode::FeeUnpaid);
    assert_eq!(balance(&api, "bob"), FUNDS + 1);
    assert_eq!(api.account(&account("alice")).unwrap().next_nonce, 1);

    // Too little for the transfer is a failed transaction, not a refused one.
    let record = commit(&api, transfer("alice", "bob", FUNDS * 2, 1)).await;
    assert!(!record.inclusion.unwrap().receipt.succeeded());
    let unknown = TransactionId::ZERO;
    assert!(matches!(api.wait_committed(unknown).await.unwrap(), Conclusion::Unknown));
    drop(api);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_transfers_keeps_the_total_and_every_acknowledgement() {
    let fixture = fixture();
    let node = fixture.start().await;
    let api = api(&node);
    let names = ["alice", "bob", "carol", "dave"];
    let mut ids = Vec::new();
    for round in 0..10u64 {
        let batch: Vec<_> = (0..100u64)
            .flat_map(|step| {
                let nonce = round * 25 + step / 4;
                let (from, to) = (step as usize % 4, (step as usize + 1) % 4);
                Some(transfer(names[from], names[to], u128::from(step), nonce))
            })
            .collect();
        let answers = api.submit_batch(batch).await;
        ids.extend(answers.into_iter().map(|answer| answer.unwrap()));
    }
    for id in &ids {
        assert!(matches!(api.wait_committed(*id).await.unwrap(), Conclusion::Committed(_)));
    }
    let total: u128 = names.iter().map(|name| balance(&api, name)).sum();
    assert_eq!(total, FUNDS * 4);
    let metrics = node.metrics();
    assert_eq!((metrics.admitted, metrics.committed, metrics.failed), (1_000, 1_000, 0));
    assert!(metrics.stages.iter().all(|stage| stage.runs > 0), "{metrics:?}");
    let newest = api.blocks(None, 100).unwrap();
    let counted: u32 = newest.iter().map(|block| block.transactions).sum();
    assert_eq!(counted, 1_000);
    drop(api);
    node.shutdown().await;

    let node = fixture.start().await;
    for id in &ids {
        assert!(node.api().transaction(*id).unwrap().unwrap().inclusion.is_some());
    }
    node.shutdown().await;
    let settings = fixture.settings.clone();
    let findings = tokio::task::spawn_blocking(move || {
        purlin_service::doctor(&settings, purlin_service::Examination::Replay, |_| {})
    });
    for finding in findings.await.unwrap() {
        assert_ne!(finding.level, purlin_service::Level::Error, "{finding:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_state_can_be_proven_and_then_it_is_quiet() {
    let fixture = fixture();
    let node = fixture.start().await;
    let api = api(&node);
    commit(&api, transfer("alice", "bob", 1, 0)).await;
    let before = api.status().height;
    let app = "absent".parse().unwrap();
    let proven = api.prove_state(&app, b"key").await.unwrap();
    assert!(proven.entry.height >= before, "the proof is of a state before the transfer");
    assert_eq!(proven.entry.value, None);
    let path: purlin_state::TreeProof = borsh::from_slice(&proven.merkle).unwrap();
    path.verify(&proven.header.state_root, &proven.state_key, None).unwrap();
    assert!(proven.certificate.is_for(&proven.header));
    proven.certificate.verify(&fixture.genesis.chain_id, &fixture.genesis.validator_set().unwrap()).unwrap();

    tokio::time::sleep(Duration::from_millis(300)).await;
    let quiet = api.status().height;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(api.status().height, quiet);
    drop(api);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_transaction_is_told_to_who_waits() {
    let mut fixture = fixture();
    // A long interval keeps transactions in the pool.
    fixture.settings.block_interval_ms = 600_000;
    let node = fixture.start().await;
    let api = api(&node);
    commit(&api, transfer("alice", "bob", 1, 0)).await;
    let cheap = api.submit(transfer("alice", "bob", 1, 1)).await.unwrap();
    let waiting = {
        let api = Arc::clone(&api);
        tokio::spawn(async move { api.wait_committed(cheap).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(refusal(&api, transfer("alice", "bob", 2, 1)).await, ErrorCode::ReplacementUnderpriced);
    let action = Action::Transfer { to: account("bob"), amount: Amount::new(3) };
    api.submit(transfer_with("alice", 1, 10, vec![action])).await.unwrap();
    let conclusion = waiting.await.unwrap().unwrap();
    assert!(
        matches!(&conclusion, Conclusion::Dropped { reason } if reason.contains("replaced")),
        "{conclusion:?}"
    );
    // Also for those who ask later.
    assert!(matches!(api.wait_committed(cheap).await.unwrap(), Conclusion::Dropped { .. }));

    let pending = api.submit(transfer("alice", "bob", 1, 2)).await.unwrap();
    assert!(api.transaction(pending).unwrap().unwrap().inclusion.is_none());
    let waiting = {
        let api = Arc::clone(&api);
        tokio::spawn(async move { api.wait_committed(pending).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(api);
    node.shutdown().await;
    assert!(waiting.await.unwrap().is_err(), "a stop ends the waiting");
}

#[tokio::test(flavor = "multi_thread")]
async fn heights_below_the_first_block_have_no_block() {
    let fixture = fixture();
    let node = fixture.start().await;
    let api = api(&node);
    height(&api, 1).await;
    assert!(api.block(BlockSelector::Height(Height::ZERO)).unwrap().is_none());
    assert!(api.block(BlockSelector::Height(Height::new(1_000))).unwrap().is_none());
    let events = api.events(&Default::default(), Default::default(), 10).unwrap();
    assert!(events.events.is_empty() && !events.more);
    assert_eq!(events.next, purlin_api::EventCursor::end_of(api.status().height));
    drop(api);
    node.shutdown().await;
}
