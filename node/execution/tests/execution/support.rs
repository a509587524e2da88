//! A chain in memory, keys, packages, and an application that does what it is told.

use purlin_capabilities::{Backend, RuntimeConfig};
use purlin_chain::{BlockContext, ExecutedBlock, ExecutionFault, Executor, Policy, QueryRequest};
use purlin_execution::NodeExecutor;
use purlin_modules::accounts;
use purlin_package::PackageBuilder;
use purlin_primitives::{
    AccountId, Action, Amount, AppId, CallFailure, CallOutcome, ConsensusRules, Event, Gas, Genesis,
    GenesisAccount, GenesisValidator, Hash32, Height, Outcome, Parameters, PowRules, Receipt, Seal,
    SecretKey, TimestampMs, TransactionBody, VerifiedTransaction,
};
use purlin_state::{
    Changes, Column, Durability, FlatState, KeyValueStore, MemoryStore, MerkleTree, StateKey, StateReader,
    StateTree, TreeVersion, WriteBatch,
};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

pub(crate) const FEE: Amount = Amount::new(10);
pub(crate) const FUNDS: Amount = Amount::new(1_000_000);
pub(crate) const PROPOSER: AccountId = AccountId::new([0xfe; 20]);
pub(crate) const GAS: Gas = Gas::new(2_000_000_000);

/// What a finished chain looks like from outside.
pub(crate) type Entries = Vec<(Column, Vec<u8>, Vec<u8>)>;

pub(crate) struct TestChain {
    pub(crate) executor: NodeExecutor,
    store: Arc<MemoryStore>,
    tree: MerkleTree<Arc<MemoryStore>>,
    version: TreeVersion,
    pub(crate) parameters: Arc<Parameters>,
    pub(crate) height: u64,
}

/// Returns a key; number n of few.
pub(crate) fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n + 1; 32]).unwrap()
}

pub(crate) fn account(n: u8) -> AccountId {
    key(n).public_key().account_id()
}

pub(crate) fn app(text: &str) -> AppId {
    text.parse().unwrap()
}

pub(crate) fn executor(backend: Backend) -> NodeExecutor {
    NodeExecutor::new(&RuntimeConfig { backend, instances_max: 32, ..RuntimeConfig::default() }).unwrap()
}

impl TestChain {
    pub(crate) fn new() -> Self {
        static SHARED: OnceLock<NodeExecutor> = OnceLock::new();
        let executor = SHARED.get_or_init(|| executor(Backend::CraneliftNone)).clone();
        Self::with(executor, Parameters::default())
    }

    /// A chain on which nothing happens between transactions: no validators, no rewards.
    pub(crate) fn with(executor: NodeExecutor, parameters: Parameters) -> Self {
        let rules = PowRules { block_reward: Amount::ZERO, ..PowRules::default() };
        let parameters = Parameters { consensus: ConsensusRules::Pow(rules), ..parameters };
        Self::start(executor, &[], parameters)
    }

    pub(crate) fn start(
        executor: NodeExecutor,
        validators: &[GenesisValidator],
        parameters: Parameters,
    ) -> Self {
        let genesis = Genesis {
            chain_id: "test".parse().unwrap(),
            time: TimestampMs::ZERO,
            validators: validators.to_vec(),
            accounts: (0..5).map(|n| GenesisAccount { account: account(n), balance: FUNDS }).collect(),
            parameters: parameters.clone(),
        };
        let changes = executor.genesis(&genesis).unwrap();
        let store = Arc::new(MemoryStore::new());
        let tree = MerkleTree::new(Arc::new(MemoryStore::new()));
        let version = tree.empty();
        let mut chain = Self { executor, store, tree, version, parameters: Arc::new(parameters), height: 0 };
        chain.store(&changes);
        chain
    }

    fn store(&mut self, changes: &Changes) {
        let mut batch = WriteBatch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(Column::of_state(key), key.clone(), value.clone()),
                None => batch.delete(Column::of_state(key), key.clone()),
            }
        }
        self.store.write(batch, Durability::Buffered).unwrap();
        let mut nodes = WriteBatch::default();
        self.version =
            self.tree.update(&self.version, Height::new(self.height), changes, &mut nodes).unwrap();
    }

    pub(crate) fn root(&self) -> Hash32 {
        self.tree.root(&self.version)
    }

    pub(crate) fn entries(&self) -> Entries {
        self.store.dump()
    }

    pub(crate) fn state(&self) -> Arc<dyn StateReader> {
        Arc::new(FlatState::new(self.store.clone()))
    }

    /// Context of the next block.
    pub(crate) fn context(&self) -> BlockContext {
        BlockContext {
            chain_id: "test".parse().unwrap(),
            height: Height::new(self.height + 1),
            time: TimestampMs::new((self.height + 1) * 1_000),
            proposer: PROPOSER,
            seal: Seal::FIRST_ROUND,
            parameters: self.parameters.clone(),
        }
    }

    pub(crate) fn nonce(&self, account: &AccountId) -> u64 {
        accounts::account(&mut &*self.state(), account).unwrap().nonce
    }

    pub(crate) fn balance(&self, account: &AccountId) -> u128 {
        accounts::account(&mut &*self.state(), account).unwrap().balance.get()
    }

    /// Returns a body that is good for the next block.
    pub(crate) fn body(&self, sender: u8, actions: Vec<Action>) -> TransactionBody {
        TransactionBody {
            chain_id: "test".parse().unwrap(),
            sender: account(sender),
            nonce: self.nonce(&account(sender)),
            expires_at: Height::new(self.height + 10),
            gas_limit: GAS,
            fee: FEE,
            access: Vec::new(),
            actions,
        }
    }

    pub(crate) fn execute(
        &self,
        transactions: &[VerifiedTransaction],
        policy: Policy,
    ) -> Result<ExecutedBlock, ExecutionFault> {
        self.executor.execute_block(self.state(), &self.context(), transactions, policy)
    }

    /// Makes a block in which every transaction must be right.
    pub(crate) fn block(&mut self, transactions: &[VerifiedTransaction]) -> ExecutedBlock {
        let block = self.execute(transactions, Policy::Refuse).unwrap();
        self.take(&block.changes);
        block
    }

    /// Makes the changes of the next block those of the chain.
    pub(crate) fn take(&mut self, changes: &Changes) {
        self.height += 1;
        self.store(changes);
    }

    /// Makes a block of one transaction.
    pub(crate) fn send(&mut self, sender: u8, actions: Vec<Action>) -> Receipt {
        let body = self.body(sender, actions);
        self.send_body(sender, body)
    }

    pub(crate) fn send_body(&mut self, sender: u8, body: TransactionBody) -> Receipt {
        self.block(&[signed(sender, body)]).receipts.remove(0)
    }

    /// Sends what must succeed and returns the last action's output.
    pub(crate) fn good(&mut self, sender: u8, actions: Vec<Action>) -> Vec<u8> {
        match self.send(sender, actions).outcome {
            Outcome::Succeeded { mut outputs } => outputs.pop().unwrap(),
            Outcome::Failed { action, failure } => panic!("action {action}: {failure:?}"),
        }
    }

    /// Sends what must fail and returns why; the block's end may change what it likes.
    pub(crate) fn failing(&mut self, sender: u8, actions: Vec<Action>) -> CallFailure {
        match self.send(sender, actions).outcome {
            Outcome::Failed { failure, .. } => failure,
            Outcome::Succeeded { .. } => panic!("it should fail"),
        }
    }

    /// Sends what must fail, and checks that only fee and nonce changed.
    pub(crate) fn bad(&mut self, sender: u8, actions: Vec<Action>) -> CallFailure {
        let body = self.body(sender, actions);
        self.bad_body(sender, body)
    }

    pub(crate) fn bad_body(&mut self, sender: u8, body: TransactionBody) -> CallFailure {
        let state = self.state();
        let touched = [account(sender), PROPOSER].map(|id| StateKey::account(&id));
        let fee = body.fee.get();
        let outer = |entries: Entries| -> Entries {
            entries.into_iter().filter(|(_, key, _)| !touched.contains(key)).collect()
        };
        let records = |id: &AccountId| accounts::account(&mut &*state, id).unwrap();
        let before = (outer(self.entries()), records(&account(sender)), records(&PROPOSER));
        let receipt = self.send_body(sender, body);
        let after = (outer(self.entries()), records(&account(sender)), records(&PROPOSER));
        assert_eq!(before.0, after.0, "a failed transaction changes nothing else");
        assert_eq!(after.1.nonce, before.1.nonce + 1);
        assert_eq!(after.1.balance.get(), before.1.balance.get() - fee);
        assert_eq!(after.2.balance.get(), before.2.balance.get() + fee);
        assert_eq!(receipt.events, Vec::<Event>::new());
        match receipt.outcome {
            Outcome::Failed { failure, .. } => failure,
            Outcome::Succeeded { .. } => panic!("it should fail"),
        }
    }

    pub(crate) fn query(&self, name: &str, method: &str, arguments: &[u8]) -> CallOutcome {
        let request = QueryRequest {
            app: app(name),
            method: method.into(),
            arguments: arguments.to_vec(),
            caller: AccountId::ZERO,
            gas_limit: GAS,
        };
        self.executor.query(self.state(), &self.context(), &request).unwrap().outcome
    }

    /// Installs and starts the obedient application under a name.
    pub(crate) fn install(&mut self, name: &str) {
        self.good(0, vec![install(&package(name, "1.0.0", ""), b"")]);
    }
}

pub(crate) fn signed(sender: u8, body: TransactionBody) -> VerifiedTransaction {
    let chain_id = body.chain_id.clone();
    key(sender).sign_transaction(body).verify(&chain_id).unwrap()
}

pub(crate) fn install(package: &[u8], arguments: &[u8]) -> Action {
    Action::InstallApp { package: package.to_vec(), arguments: arguments.to_vec() }
}

pub(crate) fn upgrade(package: &[u8], arguments: &[u8]) -> Action {
    Action::UpgradeApp { package: package.to_vec(), arguments: arguments.to_vec() }
}

pub(crate) fn call(name: &str, method: &str, arguments: &[u8]) -> Action {
    pay(name, method, arguments, 0)
}

pub(crate) fn pay(name: &str, method: &str, arguments: &[u8], deposit: u128) -> Action {
    Action::CallApp {
        app: app(name),
        method: method.into(),
        arguments: arguments.to_vec(),
        deposit: Amount::new(deposit),
    }
}

/// Encodes what the obedient application's `call` and `query_ask` take.
pub(crate) fn forward(name: &str, method: &str, arguments: &[u8], deposit: u128, gas: u64) -> Vec<u8> {
    let mut bytes = deposit.to_le_bytes().to_vec();
    bytes.extend(gas.to_le_bytes());
    for text in [name, method] {
        bytes.push(u8::try_from(text.len()).unwrap());
        bytes.extend(text.as_bytes());
    }
    bytes.extend(arguments);
    bytes
}

/// Packs the obedient application; `extra` is more of its manifest, starting with a comma.
pub(crate) fn package(name: &str, version: &str, extra: &str) -> Vec<u8> {
    package_of(name, version, extra, OBEDIENT)
}

pub(crate) fn package_of(name: &str, version: &str, extra: &str, wat: &str) -> Vec<u8> {
    // Compiling text takes longer than the tests; it is done once for each.
    static WASM: OnceLock<parking_lot::Mutex<BTreeMap<String, Vec<u8>>>> = OnceLock::new();
    let wasm = WASM
        .get_or_init(Default::default)
        .lock()
        .entry(wat.into())
        .or_insert_with(|| wat::parse_str(wat).unwrap())
        .clone();
    let auto = if extra.contains("auto_start") { "" } else { ", \"auto_start\": true" };
    let manifest = format!(
        r#"{{"id": "{name}", "name": "{name}", "version": "{version}", "abi": 1,
            "permissions": ["storage", "events", "accounts", "apps", "devices"]{auto}{extra}}}"#
    );
    let mut builder = PackageBuilder::new(manifest.as_bytes()).unwrap();
    builder.file("contract.wasm", wasm).unwrap();
    builder.build().unwrap()
}

/// Does what its input says, in plain bytes.
pub(crate) const OBEDIENT: &str = include_str!("obedient.wat");
