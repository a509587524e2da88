//! What an operator can get wrong: each is refused clearly, with nothing changed.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{commit, fixture, settings, transfer};
use purlin_chain::ChainError;
use purlin_primitives::TimestampMs;
use purlin_rpc::BindError;
use purlin_service::{
    Home, Keystore, KeystoreError, LockError, NewChain, Node, Protection, SignStateError, StartError,
    init_home, recreate_sign_state, write_genesis,
};
use std::path::Path;
use zeroize::Zeroizing;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_refused() {
    let fixture = fixture();
    let node = fixture.start().await;
    let error = fixture.try_start().await.unwrap_err();
    assert!(matches!(error, StartError::Lock(LockError::InUse { .. })), "{error}");
    assert!(error.to_string().contains("in use by another purlin process"), "{error}");
    node.shutdown().await;
    fixture.start().await.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_refused_before_the_database_is_opened() {
    let mut fixture = fixture();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    fixture.settings.api_listen = Some(taken.local_addr().unwrap());
    let error = fixture.try_start().await.unwrap_err();
    assert!(matches!(error, StartError::Bind(BindError::PortInUse { .. })), "{error}");
    assert!(!fixture.settings.home.data().exists());
    drop(taken);
    fixture.start().await.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_passphrase_starts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let chain = NewChain::development("real".parse().unwrap(), TimestampMs::new(1_700_000_000_000));
    let validator = Keystore::generate().unwrap();
    init_home(&settings.home, &chain, &validator, Protection::Passphrase("correct horse")).unwrap();
    let with = |text: &str| Some(Zeroizing::new(text.to_owned()));
    let error = Node::start(&settings, |_| with("battery")).await.unwrap_err();
    assert!(matches!(error, StartError::Keystore(KeystoreError::WrongPassphrase { .. })), "{error}");
    let error = Node::start(&settings, |_| None).await.unwrap_err();
    assert!(matches!(error, StartError::Keystore(KeystoreError::PassphraseNeeded { .. })), "{error}");
    assert!(!settings.home.data().exists());
    Node::start(&settings, |_| with("correct horse")).await.unwrap().shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_another_chain_is_refused() {
    let fixture = fixture();
    fixture.start().await.shutdown().await;
    let mut other = fixture.genesis.clone();
    other.time = TimestampMs::new(1);
    write_genesis(&fixture.settings.home.genesis(), &other).unwrap();
    let error = fixture.try_start().await.unwrap_err();
    assert!(matches!(error, StartError::Chain(ChainError::OtherChain { .. })), "{error}");
    write_genesis(&fixture.settings.home.genesis(), &fixture.genesis).unwrap();
    fixture.start().await.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_without_genesis_says_how_to_make_one() {
    let directory = tempfile::tempdir().unwrap();
    let error = Node::start(&settings(directory.path()), |_| None).await.unwrap_err();
    assert!(error.to_string().contains("purlin init"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_no_validator_is_refused() {
    let mut fixture = fixture();
    fixture.settings.validator_key = Some("alice".parse().unwrap());
    let error = fixture.try_start().await.unwrap_err();
    assert!(matches!(error, StartError::NotValidator { .. }), "{error}");
    fixture.settings.validator_key = None;
    let node = fixture.start().await;
    assert_eq!(node.api().status().engine, "pos");
    node.shutdown().await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_old_data_does_not_make_the_validator_sign_twice() {
    let fixture = fixture();
    let node = fixture.start().await;
    commit(node.api(), transfer("alice", "bob", 1, 0)).await;
    node.shutdown().await;
    let (data, backup) = (fixture.settings.home.data(), fixture.directory.path().join("backup"));
    copy(&data, &backup);
    let node = fixture.start().await;
    commit(node.api(), transfer("alice", "bob", 2, 1)).await;
    node.shutdown().await;

    std::fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data);
    let error = fixture.try_start().await.unwrap_err();
    assert!(matches!(error, StartError::SignState(SignStateError::AheadOfChain { .. })), "{error}");

    std::fs::remove_file(fixture.settings.home.sign_state()).unwrap();
    let error = fixture.try_start().await.unwrap_err();
    assert!(matches!(error, StartError::SignState(SignStateError::Missing { .. })), "{error}");
    let settings = fixture.settings.clone();
    tokio::task::spawn_blocking(move || recreate_sign_state(&settings)).await.unwrap().unwrap();
    fixture.start().await.shutdown().await;
}

/// The file that `init_home` writes has every table and no value; its empty tables were once refused as unknown.
#[test]
fn the_written_settings_can_be_read() {
    let fixture = fixture();
    let layer = purlin_service::PartialSettings::from_file(&fixture.settings.home.config()).unwrap();
    assert_eq!(layer, purlin_service::PartialSettings::new());
}

#[test]
fn the_home_names_its_files() {
    let home = Home::new("/somewhere");
    assert_eq!(home.sign_state(), Path::new("/somewhere/sign_state"));
    assert_eq!(home.tokens(), Path::new("/somewhere/tokens.json"));
}
