use super::super::NodeParts;
use super::super::components::{Components, Frame};
use super::super::workers::Workers;
use super::*;
use crate::config::{PartialSettings, Settings};
use crate::home::Home;
use crate::init::{NewChain, development_key};
use crate::signing_disk::SystemDisk;
use purlin_chain::Policy;
use purlin_execution::NodeExecutor;
use purlin_primitives::{
    AccountId, Action, Amount, Block, Gas, Seal, Transaction, TransactionBody, VerifiedTransaction,
};
use purlin_state::{Column, Durability, Entry, MemoryStore, Order, WriteBatch};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts bytes as a log-structured store does: what is removed takes space until it is reclaimed.
struct Measured {
    entries: MemoryStore,
    bytes: AtomicU64,
}

impl Measured {
    fn live(&self) -> u64 {
        self.entries.dump().iter().map(|(_, key, value)| (key.len() + value.len()) as u64).sum()
    }
}

impl KeyValueStore for Measured {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.entries.get(column, key)
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.entries.scan(column, from, to, order, limit)
    }

    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        self.entries.write(batch, durability)
    }

    fn disk_bytes(&self) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.bytes.load(Ordering::SeqCst)))
    }

    fn reclaim(&self, _: Column, _: &[u8], _: &[u8]) -> Result<(), StoreError> {
        self.bytes.store(self.live(), Ordering::SeqCst);
        Ok(())
    }
}

/// Blocks of the test chain; 256 of them are the window.
const BLOCKS: u64 = 600;
const WINDOW: u64 = 256;
/// Between two blocks: four a day.
const INTERVAL_MS: u64 = DAY_MS / 4;
const START_MS: u64 = 1_700_000_000_000;

fn transfer(nonce: u64) -> Transaction {
    let key = development_key("alice");
    key.sign_transaction(TransactionBody {
        chain_id: "dev".parse().unwrap(),
        sender: key.public_key().account_id(),
        nonce,
        expires_at: Height::new(50_000),
        gas_limit: Gas::new(1_000_000),
        fee: Amount::ZERO,
        access: Vec::new(),
        actions: vec![Action::Transfer { to: AccountId::new([9; 20]), amount: Amount::new(1) }],
    })
}

/// A node that does nothing, with a chain of one transfer in each block, four blocks a day.
fn grown() -> (tempfile::TempDir, Arc<Core<Measured>>) {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path().join("node"));
    let settings = Settings::resolve(home, &[PartialSettings::new()]).unwrap();
    let chain = NewChain::development("dev".parse().unwrap(), TimestampMs::new(START_MS));
    let executor = NodeExecutor::new(&crate::node::runtime_config(&settings)).unwrap();
    let parts = NodeParts {
        store: Measured { entries: MemoryStore::new(), bytes: AtomicU64::new(0) },
        genesis: chain.genesis(&development_key("validator")),
        executor: Arc::new(executor),
        engine: None,
        peers: None,
        validator: None,
        miner: None,
        lock: None,
    };
    let frame =
        Frame { disk: &SystemDisk, workers: Arc::new(Workers::stepped()), jobs_max: 1, wrap_engine: None };
    let core = Components::new(&settings, parts, frame).unwrap().core;
    for nonce in 0..BLOCKS {
        let time = TimestampMs::new(START_MS + (nonce + 1) * INTERVAL_MS);
        let transaction = transfer(nonce);
        let chain = &core.chain;
        let verified: VerifiedTransaction = transaction.clone().verify(&chain.genesis().chain_id).unwrap();
        let (proposer, seal) = (AccountId::ZERO, Seal::FIRST_ROUND);
        let header = chain.next_header(time, proposer, seal, &[verified.id()]);
        let context = chain.context(header.height, time, proposer, seal);
        let executed = core.executor.execute_block(chain.state(), &context, &[verified], Policy::Refuse);
        let block = Block { header, transactions: vec![transaction] };
        let committed = chain.append(block, executed.unwrap(), None).unwrap();
        *core.head.write() = committed.head;
    }
    let store = core.chain.store();
    store.bytes.store(store.live(), Ordering::SeqCst);
    (directory, core)
}

/// Prunes by some rules at a time; returns the oldest block that is left.
fn pruned(core: &Arc<Core<Measured>>, rules: UpkeepRules, now_ms: u64) -> u64 {
    let mut upkeep = Upkeep::new(Arc::clone(core), rules);
    upkeep.prune(TimestampMs::new(now_ms)).unwrap();
    let oldest = core.chain.history().oldest_block;
    assert!(core.chain.block(oldest).unwrap().is_some());
    if let Some(gone) = oldest.checked_sub(Height::new(1)).filter(|gone| *gone > Height::ZERO) {
        assert!(matches!(core.chain.block(gone), Err(StoreError::BlockPruned { .. })));
    }
    oldest.get()
}

#[test]
fn blocks_are_kept_for_so_many_days() {
    let (_directory, core) = grown();
    let days = |days: u64| UpkeepRules { keep_days: Some(days), ..UpkeepRules::default() };
    let head_ms = START_MS + BLOCKS * INTERVAL_MS;
    assert_eq!(pruned(&core, days(1_000), head_ms), 1, "everything is younger");
    assert_eq!(pruned(&core, days(125), head_ms), BLOCKS - 4 * 125, "four blocks a day");
    assert_eq!(pruned(&core, days(130), head_ms), BLOCKS - 4 * 125, "nothing comes back");
    assert_eq!(pruned(&core, days(125), head_ms + DAY_MS), BLOCKS - 4 * 124, "a day later");
    assert_eq!(pruned(&core, days(125), 0), BLOCKS - 4 * 124, "a clock that is wrong");
    assert_eq!(pruned(&core, days(1), head_ms), BLOCKS - WINDOW, "blocks of the window stay");
}

#[test]
fn blocks_are_removed_while_the_disk_is_over_its_budget() {
    let (_directory, core) = grown();
    let most = |bytes: u64| UpkeepRules { disk_bytes_max: Some(bytes), ..UpkeepRules::default() };
    let full = core.chain.store().live();
    assert_eq!(pruned(&core, most(full), 0), 1, "it is within the budget");
    let budget = full - full / 20;
    let oldest = pruned(&core, most(budget), 0);
    assert_eq!(oldest % BUDGET_STEP_BLOCKS, 1, "step by step: {oldest}");
    assert!(oldest > 1 && oldest < BLOCKS - WINDOW, "no more than is needed: {oldest}");
    assert!(core.chain.store().live() <= budget);
    assert_eq!(pruned(&core, most(1), 0), BLOCKS - WINDOW, "blocks of the window stay");
}
