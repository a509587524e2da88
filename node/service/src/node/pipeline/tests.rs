//! Blocks that fail in every way a block can, before a builder.

use super::super::NodeParts;
use super::super::components::{Components, Frame};
use super::super::workers::Workers;
use super::*;
use crate::config::{PartialSettings, Settings};
use crate::home::Home;
use crate::init::{NewChain, development_key};
use crate::signing_disk::SystemDisk;
use purlin_execution::NodeExecutor;
use purlin_primitives::{Action, Amount, Genesis, Hash32, Parameters, Transaction, TransactionBody};
use purlin_state::MemoryStore;

const START_MS: u64 = 1_700_000_000_000;
const TIME: TimestampMs = TimestampMs::new(START_MS + 1_000);

/// A builder of a chain whose blocks hold three transactions, 2,000 bytes and 3,000,000 gas.
struct Bench {
    _directory: tempfile::TempDir,
    builder: Builder<MemoryStore>,
    messages: Receiver<Message>,
}

fn genesis() -> Genesis {
    let chain = NewChain::development("dev".parse().unwrap(), TimestampMs::new(START_MS));
    let mut genesis = chain.genesis(&development_key("validator"));
    genesis.parameters = Parameters {
        block_transactions_max: 3,
        block_bytes_max: 2_000,
        block_gas_limit: Gas::new(3_000_000),
        ..genesis.parameters
    };
    genesis
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings =
            Settings::resolve(Home::new(directory.path().join("node")), &[PartialSettings::new()]).unwrap();
        let executor = NodeExecutor::new(&crate::node::runtime_config(&settings)).unwrap();
        let parts = NodeParts {
            store: MemoryStore::new(),
            genesis: genesis(),
            executor: Arc::new(executor),
            engine: None,
            peers: None,
            validator: None,
            miner: None,
            lock: None,
        };
        let workers = Arc::new(Workers::stepped());
        let frame = Frame { disk: &SystemDisk, workers, jobs_max: 1, wrap_engine: None };
        let Components { builder, messages, .. } = Components::new(&settings, parts, frame).unwrap();
        Self { _directory: directory, builder, messages }
    }

    fn block(&self, transactions: Vec<Transaction>) -> Block {
        let ids: Vec<TransactionId> = transactions.iter().map(|one| one.body.id()).collect();
        let header = self.builder.core.chain.next_header(TIME, AccountId::ZERO, Seal::FIRST_ROUND, &ids);
        Block { header, transactions }
    }

    /// What the builder says of a block.
    fn judge(&mut self, block: Block) -> Message {
        self.builder.take(BuildJob::Judge { block: Box::new(block) }).unwrap();
        self.messages.try_recv().unwrap()
    }

    fn refusal(&mut self, block: Block) -> String {
        let id = block.header.id();
        match self.judge(block) {
            Message::Judged { block, verdict: Err(reason) } if block == id => reason,
            Message::BadBody { block, reason } if block.header.id() == id => format!("body: {reason}"),
            Message::Late { .. } => "late".to_owned(),
            _ => panic!("it was taken"),
        }
    }
}

fn body(nonce: u64) -> TransactionBody {
    TransactionBody {
        chain_id: "dev".parse().unwrap(),
        sender: development_key("alice").public_key().account_id(),
        nonce,
        expires_at: Height::new(50_000),
        gas_limit: Gas::new(1_000_000),
        fee: Amount::ZERO,
        access: Vec::new(),
        actions: vec![Action::Transfer { to: AccountId::new([9; 20]), amount: Amount::new(1) }],
    }
}

fn signed(body: TransactionBody) -> Transaction {
    development_key("alice").sign_transaction(body)
}

fn transfers(count: u64) -> Vec<Transaction> {
    (0..count).map(|nonce| signed(body(nonce))).collect()
}

#[test]
fn a_good_block_is_taken() {
    let mut bench = Bench::new();
    for count in 0..=3 {
        let block = bench.block(transfers(count));
        let id = block.header.id();
        assert!(matches!(bench.judge(block), Message::Judged { block, verdict: Ok(_) } if block == id));
    }
}

/// Breaks one field of a header.
type Spoil = fn(&mut BlockHeader, Hash32);

#[test]
fn every_wrong_header_is_refused_by_its_field() {
    let hash = Hash32::new([7; 32]);
    let spoil: [(&str, Spoil); 7] = [
        ("its chain is", |header, _| header.chain_id = "other".parse().unwrap()),
        ("its parent is", |header, hash| header.parent = BlockId::new(hash)),
        ("its transactions root is", |header, hash| header.transactions_root = hash),
        ("its state root is", |header, hash| header.state_root = hash),
        ("its receipts root is", |header, hash| header.receipts_root = hash),
        ("time", |header, _| header.time = TimestampMs::new(START_MS)),
        ("late", |header, _| header.height = Height::ZERO),
    ];
    let mut bench = Bench::new();
    for (expected, spoil) in spoil {
        let mut block = bench.block(transfers(2));
        spoil(&mut block.header, hash);
        let reason = bench.refusal(block);
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
    assert!(bench.messages.try_recv().is_err(), "one answer for each");
}

#[test]
fn every_wrong_transaction_makes_the_block_wrong() {
    let with = |change: fn(&mut TransactionBody)| {
        let mut body = body(0);
        change(&mut body);
        vec![signed(body)]
    };
    let twice = vec![signed(body(0)), signed(body(0))];
    let mut forged = transfers(1);
    forged[0].signature = signed(body(1)).signature;
    let mut greedy = transfers(2);
    for (nonce, one) in greedy.iter_mut().enumerate() {
        *one = signed(TransactionBody { gas_limit: Gas::new(2_900_000), ..body(nonce as u64) });
    }
    let poor = TransactionBody { fee: Amount::new(u128::MAX), ..body(0) };
    let blocks: [(&str, Vec<Transaction>); 12] = [
        ("it has 4 transactions", transfers(4)),
        ("body: its transaction 0", forged),
        ("body: its transaction 0", with(|body| body.chain_id = "other".parse().unwrap())),
        ("leaves a gap", with(|body| body.nonce = 1)),
        ("leaves a gap", vec![signed(body(1)), signed(body(0))]),
        ("was used already", twice),
        ("expired at height 0", with(|body| body.expires_at = Height::ZERO)),
        ("at most", with(|body| body.expires_at = Height::MAX)),
        ("the fee is", vec![signed(poor)]),
        ("gas limit 3000001 is outside", with(|body| body.gas_limit = Gas::new(3_000_001))),
        ("block is full", greedy),
        (
            "a block has at most 2000",
            with(|body| {
                let one = Action::Transfer { to: AccountId::new([9; 20]), amount: Amount::new(1) };
                body.actions = vec![one; 60];
            }),
        ),
    ];
    let mut bench = Bench::new();
    for (expected, transactions) in blocks {
        let block = bench.block(transactions);
        let reason = bench.refusal(block);
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
    // Nothing of it stays behind.
    let block = bench.block(transfers(3));
    assert!(matches!(bench.judge(block), Message::Judged { verdict: Ok(_), .. }));
}
