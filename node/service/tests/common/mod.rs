//! A development home, and transactions for it.
#![allow(dead_code, reason = "each test file uses a part")]

use purlin_primitives::{
    AccountId, Action, Amount, ConsensusRules, Gas, Height, PosRules, SecretKey, TimestampMs, Transaction,
    TransactionBody,
};
use purlin_rpc::{Conclusion, TransactionRecord};
use purlin_service::{
    Genesis, Home, NewChain, Node, Origin, PartialSettings, Protection, Settings, StartError,
    development_key, init_home,
};
use std::path::Path;
use std::sync::Arc;

pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) settings: Settings,
    pub(crate) genesis: Genesis,
}

pub(crate) fn settings(home: &Path) -> Settings {
    let mut layer = PartialSettings::new();
    let origin = || Origin::Command { name: "test" };
    for (key, value) in [
        ("api.listen", "127.0.0.1:0"),
        ("chain.anchor_after_ms", "50"),
        ("mempool.signature_threads", "2"),
        ("engine.backend", "cranelift-none"),
        ("engine.instances_max", "16"),
    ] {
        layer.set(key, value, origin()).unwrap();
    }
    Settings::resolve(Home::new(home), &[layer]).unwrap()
}

/// Makes a home of a development chain.
pub(crate) fn fixture() -> Fixture {
    fixture_with(|_| {})
}

/// Makes a home of a development chain with other rules.
pub(crate) fn fixture_with(change: impl FnOnce(&mut PosRules)) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(&directory.path().join("node"));
    let mut chain = NewChain::development("dev".parse().unwrap(), TimestampMs::new(1_700_000_000_000));
    let mut rules = PosRules::default();
    change(&mut rules);
    chain.parameters.consensus = ConsensusRules::Pos(rules);
    let validator = development_key("validator");
    let genesis =
        init_home(&settings.home, &chain, &validator, Protection::Development(&chain.chain_id)).unwrap();
    Fixture { directory, settings, genesis }
}

impl Fixture {
    pub(crate) async fn start(&self) -> Node {
        self.try_start().await.unwrap()
    }

    pub(crate) async fn try_start(&self) -> Result<Node, StartError> {
        Node::start(&self.settings, |_| None).await
    }
}

pub(crate) fn account(name: &str) -> AccountId {
    development_key(name).public_key().account_id()
}

pub(crate) fn transfer(from: &str, to: &str, amount: u128, nonce: u64) -> Transaction {
    transfer_with(from, nonce, 0, vec![Action::Transfer { to: account(to), amount: Amount::new(amount) }])
}

pub(crate) fn transfer_with(from: &str, nonce: u64, fee: u128, actions: Vec<Action>) -> Transaction {
    sign(&development_key(from), nonce, fee, 50_000, actions)
}

pub(crate) fn sign(
    key: &SecretKey,
    nonce: u64,
    fee: u128,
    expires_at: u64,
    actions: Vec<Action>,
) -> Transaction {
    key.sign_transaction(TransactionBody {
        chain_id: "dev".parse().unwrap(),
        sender: key.public_key().account_id(),
        nonce,
        expires_at: Height::new(expires_at),
        gas_limit: Gas::new(1_000_000),
        fee: Amount::new(fee),
        access: vec![],
        actions,
    })
}

pub(crate) type Api = Arc<dyn purlin_rpc::Node>;

/// Submits and waits until it is durable.
pub(crate) async fn commit(api: &Api, transaction: Transaction) -> TransactionRecord {
    let id = api.submit(transaction).await.unwrap();
    match api.wait_committed(id).await.unwrap() {
        Conclusion::Committed(record) => *record,
        other => panic!("not committed: {other:?}"),
    }
}

pub(crate) fn balance(api: &Api, name: &str) -> u128 {
    api.account(&account(name)).unwrap().balance.get()
}

/// Waits until a height is final.
pub(crate) async fn height(api: &Api, height: u64) {
    let mut heights = api.head();
    let reached = heights.wait_for(|now| *now >= Height::new(height));
    tokio::time::timeout(std::time::Duration::from_secs(20), reached).await.unwrap().unwrap();
}
