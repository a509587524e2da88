//! A small executor and random blocks for it.
#![allow(clippy::unwrap_used, reason = "a test's helpers panic where its assertions would")]
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use purlin_chain::{
    BlockContext, CallReport, Chain, ChainOptions, CommittedBlock, Diagnostic, ExecutedBlock, ExecutionFault,
    Executor, InclusionError, Policy, QueryRequest,
};
use purlin_primitives::{
    AccountId, Action, Amount, AppId, Block, CallFailure, Certificate, Event, FailureCode, Gas, Genesis,
    GenesisValidator, Height, Outcome, Parameters, Receipt, Seal, SecretKey, TimestampMs, Transaction,
    TransactionBody, VerifiedTransaction,
};
use purlin_state::{Changes, EmptyState, KeyValueStore, Order, Overlay, StateKey, StateReader};

/// Understands calls `set` (arguments: key length, key, value), `remove`, `emit` (arguments: topic), `code` and
/// `fail`; each transaction also counts up in its sender's account.
pub(crate) struct TestExecutor;

impl TestExecutor {
    fn action(overlay: &mut Overlay, events: &mut Vec<Event>, action: &Action) -> Result<(), CallFailure> {
        let Action::CallApp { app, method, arguments, .. } = action else { panic!("{action:?}") };
        match method.as_str() {
            "set" => {
                let (key, value) = arguments[1..].split_at(arguments[0].into());
                overlay.set(&StateKey::app_storage(app, key), value);
            }
            "remove" => {
                overlay.remove(&StateKey::app_storage(app, arguments)).unwrap();
            }
            "code" => overlay.set(&StateKey::app_code(app), arguments.as_slice()),
            "emit" => {
                let topic = String::from_utf8(arguments.clone()).unwrap();
                events.push(Event { app: app.clone(), topic, payload: vec![events.len() as u8] });
            }
            _ => return Err(CallFailure::new(FailureCode::Unreachable, "told to fail")),
        }
        Ok(())
    }
}

impl Executor for TestExecutor {
    fn genesis(&self, genesis: &Genesis) -> Result<Changes, ExecutionFault> {
        let balances = genesis.accounts.iter();
        Ok(balances
            .map(|a| (StateKey::account(&a.account), Some(a.balance.get().to_le_bytes().to_vec())))
            .collect())
    }

    fn execute_block(
        &self,
        state: Arc<dyn StateReader>,
        _context: &BlockContext,
        transactions: &[VerifiedTransaction],
        _policy: Policy,
    ) -> Result<ExecutedBlock, ExecutionFault> {
        let mut overlay = Overlay::new(state);
        let mut executed = ExecutedBlock::default();
        for (position, transaction) in transactions.iter().enumerate() {
            let account = StateKey::account(&transaction.body().sender);
            let count = overlay.get(&account)?.map_or(0, |bytes| bytes[0]);
            overlay.set(&account, vec![count.wrapping_add(1)]);
            let before = overlay.checkpoint();
            let mut events = Vec::new();
            let mut outcome = Outcome::Succeeded { outputs: vec![Vec::new()] };
            for (index, action) in transaction.body().actions.iter().enumerate() {
                if let Err(failure) = Self::action(&mut overlay, &mut events, action) {
                    overlay.rollback(before);
                    events.clear();
                    outcome = Outcome::Failed { action: index as u32, failure };
                    executed.diagnostics.push(Diagnostic {
                        transaction: transaction.id(),
                        text: format!("why {}", transaction.id()),
                    });
                    break;
                }
            }
            overlay.settle();
            executed.included.push(position);
            executed.receipts.push(Receipt {
                transaction: transaction.id(),
                outcome,
                gas_used: Gas::new(position as u64),
                fee: Amount::ZERO,
                events,
            });
        }
        (executed.changes, executed.previous) = overlay.into_changes_and_previous()?;
        Ok(executed)
    }

    fn check_admission(
        &self,
        _: &dyn StateReader,
        _: &BlockContext,
        _: &VerifiedTransaction,
    ) -> Result<Result<(), InclusionError>, ExecutionFault> {
        Ok(Ok(()))
    }

    fn query(
        &self,
        _: Arc<dyn StateReader>,
        _: &BlockContext,
        _: &QueryRequest,
    ) -> Result<CallReport, ExecutionFault> {
        Err(ExecutionFault::Engine { detail: "the test executor has no queries".into() })
    }

    fn simulate(
        &self,
        _: Arc<dyn StateReader>,
        _: &BlockContext,
        _: &TransactionBody,
    ) -> Result<(Receipt, Option<String>), ExecutionFault> {
        Err(ExecutionFault::Engine { detail: "the test executor does not simulate".into() })
    }
}

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end
    }
}

pub(crate) fn key() -> SecretKey {
    SecretKey::from_bytes(&[7; 32]).unwrap()
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        chain_id: "test".parse().unwrap(),
        time: TimestampMs::new(1_000),
        validators: vec![GenesisValidator { public_key: key().public_key(), power: 1 }],
        accounts: vec![purlin_primitives::GenesisAccount {
            account: AccountId::new([9; 20]),
            balance: Amount::new(500),
        }],
        // Not the default, which may change: the storage format's test pins every byte.
        parameters: Parameters { block_gas_limit: Gas::new(20_000_000_000), ..Parameters::default() },
    }
}

pub(crate) fn options(window_blocks: u64) -> ChainOptions {
    ChainOptions { window_blocks, ..ChainOptions::default() }
}

pub(crate) fn open<S: KeyValueStore>(store: S) -> Chain<S> {
    Chain::open(store, genesis(), &TestExecutor, options(6)).unwrap()
}

pub(crate) fn app(n: u64) -> AppId {
    ["first-app", "second-app", "z9"][n as usize % 3].parse().unwrap()
}

pub(crate) fn call(app: &AppId, method: &str, arguments: impl Into<Vec<u8>>) -> Action {
    let (app, method, arguments) = (app.clone(), method.into(), arguments.into());
    Action::CallApp { app, method, arguments, deposit: Amount::ZERO }
}

pub(crate) fn transaction(nonce: u64, actions: Vec<Action>) -> Transaction {
    key().sign_transaction(TransactionBody {
        chain_id: "test".parse().unwrap(),
        sender: key().public_key().account_id(),
        nonce,
        expires_at: Height::MAX,
        gas_limit: Gas::new(1),
        fee: Amount::ZERO,
        access: Vec::new(),
        actions,
    })
}

/// Transactions of one block; some blocks are empty.
pub(crate) fn random_transactions(random: &mut Random, height: u64, most: u64) -> Vec<Transaction> {
    (0..random.below(most + 1))
        .map(|n| {
            let actions = (0..1 + random.below(4)).map(|_| {
                let app = app(random.below(3));
                let key = vec![b'k', random.below(40) as u8];
                match random.below(12) {
                    0..=4 => {
                        let value = vec![height as u8; random.below(200) as usize];
                        call(&app, "set", [vec![2], key, value].concat())
                    }
                    5..=6 => call(&app, "remove", key),
                    7..=9 => call(&app, "emit", ["alert", "reading"][random.below(2) as usize]),
                    10 => call(&app, "code", vec![height as u8; 300]),
                    _ => call(&app, "fail", []),
                }
            });
            transaction(height * 1000 + n, actions.collect())
        })
        .collect()
}

/// Makes the next block on the tip.
pub(crate) fn next_block<S: KeyValueStore>(
    chain: &Chain<S>,
    state: Arc<dyn StateReader>,
    transactions: Vec<Transaction>,
) -> (Block, ExecutedBlock) {
    let verified: Vec<_> =
        transactions.iter().map(|t| t.clone().verify(&chain.genesis().chain_id).unwrap()).collect();
    let tip = chain.tip();
    let time = TimestampMs::new(tip.time.get() + 100);
    let proposer = key().public_key().account_id();
    let context = chain.context(tip.height.next(), time, proposer, Seal::FIRST_ROUND);
    let executed = TestExecutor.execute_block(state, &context, &verified, Policy::LeaveOut).unwrap();
    let ids: Vec<_> = verified.iter().map(VerifiedTransaction::id).collect();
    let header = chain.next_header(time, context.proposer, Seal::FIRST_ROUND, &ids);
    (Block { header, transactions }, executed)
}

pub(crate) fn certificate(block: &Block) -> Certificate {
    let (id, height) = (block.header.id(), block.header.height);
    let mut certificate = Certificate { block: id, height, round: 0, signatures: Vec::new() };
    let vote = certificate.vote(&block.header.chain_id);
    certificate.signatures.push(key().sign_vote(vote).into());
    certificate
}

/// Appends the block of a height, always the same one for a seed.
pub(crate) fn append<S: KeyValueStore>(
    chain: &Chain<S>,
    seed: u64,
) -> Result<CommittedBlock, purlin_chain::ChainError> {
    let height = chain.head().height.next().get();
    let mut random = Random(seed * 1_000 + height);
    let transactions = random_transactions(&mut random, height, 30);
    let (block, executed) = next_block(chain, chain.state(), transactions);
    let certificate = certificate(&block);
    chain.append(block, executed, Some(&certificate))
}

pub(crate) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) fn read_all(state: &dyn StateReader) -> Model {
    state.scan(&[], &[0xff], Order::Ascending, usize::MAX).unwrap().into_iter().collect()
}

/// Compares a reader with a model: scans of both orders, page by page, and points.
pub(crate) fn assert_state(state: &dyn StateReader, model: &Model, at: &str) {
    assert_eq!(&read_all(state), model, "{at}: scan");
    let entries: Vec<_> = model.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let mut to = vec![0xff];
    let mut backwards = Vec::new();
    loop {
        let page = state.scan(&[], &to, Order::Descending, 7).unwrap();
        let Some((last, _)) = page.last() else { break };
        to = last.clone();
        backwards.extend(page);
    }
    backwards.reverse();
    assert_eq!(backwards, entries, "{at}: descending pages");
    let mut from = vec![0];
    let mut forwards = Vec::new();
    loop {
        let page = state.scan(&from, &[0xff], Order::Ascending, 3).unwrap();
        let Some((last, _)) = page.last() else { break };
        from = [last.as_slice(), &[0]].concat();
        forwards.extend(page);
    }
    assert_eq!(forwards, entries, "{at}: ascending pages");
    for n in 0..3 {
        for k in 0..40 {
            let key = StateKey::app_storage(&app(n), &[b'k', k]);
            assert_eq!(state.get(&key).unwrap().as_ref(), model.get(&key), "{at}: {key:?}");
        }
        let key = StateKey::app_code(&app(n));
        assert_eq!(state.get(&key).unwrap().as_ref(), model.get(&key), "{at}: code");
    }
}

pub(crate) fn empty() -> Arc<dyn StateReader> {
    Arc::new(EmptyState)
}
