//! What a token transfer through the SDK costs in a block, beside the bare floor of the same run:
//! `cargo bench -p purlin-execution --profile dev`, after `purlin app build` in apps/token or with the path of
//! its module in `PURLIN_TOKEN_WASM`.
//!
//! "In one transaction" is the call alone, with real overlay, metering and a fresh instance: 60 of them share a
//! transaction, so that nonce and fee are not counted. "One each" is the whole execution stage of a
//! transaction.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use purlin_capabilities::{RuntimeConfig, on_guest_stack};
use purlin_chain::{BlockContext, Executor, Policy};
use purlin_engine::floor::Floor;
use purlin_execution::NodeExecutor;
use purlin_package::PackageBuilder;
use purlin_primitives::{
    AccountId, Action, Amount, ChainId, Gas, Genesis, GenesisValidator, Height, Parameters, Seal, SecretKey,
    TimestampMs, TransactionBody, VerifiedTransaction,
};
use purlin_state::{
    Changes, Column, Durability, FlatState, KeyValueStore, MemoryStore, StateReader, WriteBatch,
};

/// The allocator of the node's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FLOOR: &str = include_str!("../../../runtime/capabilities/tests/guests/transfer.wat");
const MANIFEST: &[u8] = br#"{"id": "token", "name": "Token", "version": "1.0.0", "abi": 1,
    "permissions": ["storage", "events"], "auto_start": true}"#;
const SENDERS: usize = 200;
const PER_TRANSACTION: usize = 60;
/// Rounds are short, to end within one time slice of a busy machine, and many.
const ROUNDS: usize = 1_000;
const FLOOR_CALLS: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    on_guest_stack(|| run().map_err(|error| error.to_string()))??;
    Ok(())
}

fn token_wasm() -> Result<Vec<u8>, Box<dyn Error>> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../apps/token/target/purlin/token.wasm");
    let path = std::env::var_os("PURLIN_TOKEN_WASM").map_or(built, PathBuf::from);
    std::fs::read(&path).map_err(|error| {
        format!("{}: {error}; run `purlin app build` in apps/token first", path.display()).into()
    })
}

struct Bench {
    executor: NodeExecutor,
    store: Arc<MemoryStore>,
    state: Arc<dyn StateReader>,
    chain_id: ChainId,
    parameters: Arc<Parameters>,
    keys: Vec<SecretKey>,
}

impl Bench {
    fn context(&self) -> BlockContext {
        BlockContext {
            chain_id: self.chain_id.clone(),
            height: Height::new(1),
            time: TimestampMs::new(1),
            proposer: AccountId::ZERO,
            seal: Seal::FIRST_ROUND,
            parameters: self.parameters.clone(),
        }
    }

    fn sign(
        &self,
        sender: usize,
        nonce: u64,
        actions: Vec<Action>,
    ) -> Result<VerifiedTransaction, Box<dyn Error>> {
        let key = &self.keys[sender];
        let body = TransactionBody {
            chain_id: self.chain_id.clone(),
            sender: key.public_key().account_id(),
            nonce,
            expires_at: Height::new(10),
            gas_limit: Gas::new(2_000_000_000),
            fee: Amount::ZERO,
            access: Vec::new(),
            actions,
        };
        Ok(key.sign_transaction(body).verify(&self.chain_id)?)
    }

    fn write(&self, changes: Changes) -> Result<(), Box<dyn Error>> {
        let mut batch = WriteBatch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(Column::of_state(&key), key, value),
                None => batch.delete(Column::of_state(&key), key),
            }
        }
        Ok(self.store.write(batch, Durability::Buffered)?)
    }

    /// Executes a block and fails unless everything in it worked.
    fn execute(&self, block: &[VerifiedTransaction]) -> Result<Changes, Box<dyn Error>> {
        let done = self.executor.execute_block(self.state.clone(), &self.context(), block, Policy::Refuse)?;
        match done.receipts.iter().find(|receipt| !receipt.succeeded()) {
            Some(receipt) => Err(format!("a transaction failed: {:?}", receipt.outcome).into()),
            None => Ok(done.changes),
        }
    }

    fn transfer(&self, to: usize, amount: u128) -> Action {
        let to = self.keys[to % SENDERS].public_key().account_id();
        let arguments = [to.as_bytes().as_slice(), &amount.to_le_bytes()].concat();
        let app = "token".parse().expect("a valid name");
        Action::CallApp { app, method: "transfer".into(), arguments, deposit: Amount::ZERO }
    }

    /// Executes a block and returns the microseconds per transfer.
    fn time(&self, block: &[VerifiedTransaction], transfers: usize) -> Result<f64, Box<dyn Error>> {
        let start = Instant::now();
        self.execute(block)?;
        Ok(start.elapsed().as_secs_f64() * 1e6 / transfers as f64)
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let executor = NodeExecutor::new(&RuntimeConfig::default())?;
    let store = Arc::new(MemoryStore::new());
    let mut keys = Vec::new();
    for n in 1..=SENDERS as u64 {
        let mut secret = [7; 32];
        secret[..8].copy_from_slice(&n.to_le_bytes());
        keys.push(SecretKey::from_bytes(&secret)?);
    }
    let bench = Bench {
        executor,
        state: Arc::new(FlatState::new(store.clone())),
        store,
        chain_id: "bench".parse()?,
        parameters: Arc::new(Parameters { block_gas_limit: Gas::MAX, ..Parameters::default() }),
        keys,
    };
    let genesis = Genesis {
        chain_id: bench.chain_id.clone(),
        time: TimestampMs::ZERO,
        validators: vec![GenesisValidator { public_key: bench.keys[0].public_key(), power: 1 }],
        accounts: Vec::new(),
        parameters: Parameters::default(),
    };
    bench.write(bench.executor.genesis(&genesis)?)?;
    let mut builder = PackageBuilder::new(MANIFEST)?;
    builder.file("contract.wasm", token_wasm()?)?;
    let arguments = borsh::to_vec(&("Bench", "B", 2_u8, 1_000_000_000_000_u128))?;
    let mut setup = vec![Action::InstallApp { package: builder.build()?, arguments }];
    setup.extend((1..PER_TRANSACTION).map(|to| bench.transfer(to, 1_000_000)));
    bench.write(bench.execute(&[bench.sign(0, 0, setup)?])?)?;
    for start in (PER_TRANSACTION..SENDERS).step_by(PER_TRANSACTION) {
        let actions = (start..(start + PER_TRANSACTION).min(SENDERS)).map(|to| bench.transfer(to, 1_000_000));
        let nonce = (start / PER_TRANSACTION) as u64;
        bench.write(bench.execute(&[bench.sign(0, nonce, actions.collect())?])?)?;
    }

    // Between accounts that have a balance already, as most transfers are.
    let shared = (1..3).map(|from| {
        bench.sign(from, 0, (0..PER_TRANSACTION).map(|n| bench.transfer(from + 1 + n, 1)).collect())
    });
    let shared = shared.collect::<Result<Vec<_>, _>>()?;
    let single = (1..120).map(|from| bench.sign(from, 0, vec![bench.transfer(from + 1, 1)]));
    let single = single.collect::<Result<Vec<_>, _>>()?;
    let floor = Floor::new(&wat::parse_str(FLOOR)?, "transfer")?;
    let (mut best_floor, mut best_shared, mut best_single) = (f64::MAX, f64::MAX, f64::MAX);
    // In turns, so that other work on the machine disturbs all alike.
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..FLOOR_CALLS {
            floor.call()?;
        }
        best_floor = best_floor.min(start.elapsed().as_secs_f64() * 1e6 / FLOOR_CALLS as f64);
        best_shared = best_shared.min(bench.time(&shared, shared.len() * PER_TRANSACTION)?);
        best_single = best_single.min(bench.time(&single, single.len())?);
    }
    println!("floor (wasmtime alone, transfer in WAT): {best_floor:.2} us");
    println!(
        "token transfer through the SDK, {PER_TRANSACTION} in one transaction: {best_shared:.2} us, {:.2} x floor",
        best_shared / best_floor
    );
    println!(
        "token transfer through the SDK, one each: {best_single:.2} us, {:.2} x floor",
        best_single / best_floor
    );
    Ok(())
}
