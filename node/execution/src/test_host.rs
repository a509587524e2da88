//! The host side of application tests: the executor of nodes, over a store in memory.

use purlin_abi::test_host::{
    Answer, BLOCK_INTERVAL_MS, EmittedEvent, FRAME_BYTES_MAX, FrameError, GAS_LIMIT_DEFAULT, GENESIS_TIME,
    PAGE_ENTRIES_MAX, PROTOCOL_VERSION, Report, Request, Response, read_frame, write_frame,
};
use purlin_abi::{Hash32, StorageEntry, limits};
use purlin_capabilities::{EngineFault, RuntimeConfig};
use purlin_chain::{BlockContext, ExecutionFault, Executor, QueryRequest};
use purlin_modules::accounts;
use purlin_package::PackageBuilder;
use purlin_primitives::{
    AccountId, Action, Amount, AppId, ChainId, ConsensusRules, Gas, Height, Outcome, Parameters, PowRules,
    Receipt, Seal, TimestampMs, TransactionBody, app_account,
};
use purlin_state::{
    Changes, Column, Durability, FlatState, KeyValueStore, MemoryStore, Order, Overlay, StateKey,
    StateReader, WriteBatch,
};
use std::io::{Read, Write};
use std::sync::Arc;

use crate::executor::{NodeExecutor, Unsigned};

/// Most bytes of storage entries or events in one response, well below a frame.
const PAGE_BYTES_MAX: usize = FRAME_BYTES_MAX / 4;

/// A chain in memory that makes a block for each request; see [`purlin_abi::test_host`].
pub struct TestHost {
    executor: NodeExecutor,
    name: String,
    store: Arc<MemoryStore>,
    state: Arc<dyn StateReader>,
    chain_id: ChainId,
    parameters: Arc<Parameters>,
    head: Block,
    /// Chosen by [`Request::SetBlock`] for the next block.
    next: Option<Block>,
    events: Vec<EmittedEvent>,
}

/// Where in time a block is.
#[derive(Debug, Clone, Copy)]
struct Block {
    height: Height,
    time: TimestampMs,
}

/// Why a request has no report.
enum Refusal {
    Refused(String),
    Fault(String),
}

impl From<ExecutionFault> for Refusal {
    fn from(fault: ExecutionFault) -> Self {
        Self::Fault(fault.to_string())
    }
}

impl From<purlin_state::StoreError> for Refusal {
    fn from(error: purlin_state::StoreError) -> Self {
        Self::Fault(error.to_string())
    }
}

impl TestHost {
    /// Starts an empty chain. `name` is what [`Response::Hello`] tells: name and version of the binary.
    ///
    /// # Errors
    /// When this machine cannot run guests.
    pub fn new(config: &RuntimeConfig, name: impl Into<String>) -> Result<Self, EngineFault> {
        let store = Arc::new(MemoryStore::new());
        Ok(Self {
            executor: NodeExecutor::new(config)?,
            name: name.into(),
            state: Arc::new(FlatState::new(store.clone())),
            store,
            chain_id: "test".parse().expect("a valid chain id"),
            parameters: Arc::new(Parameters::default()),
            head: Block { height: Height::ZERO, time: GENESIS_TIME },
            next: None,
            events: Vec::new(),
        })
    }

    /// Answers requests from `reader` on `writer` until the pipe is closed or the host cannot go on.
    ///
    /// # Errors
    /// When the pipe fails or carries something else than the protocol.
    pub fn serve(&mut self, mut reader: impl Read, mut writer: impl Write) -> Result<(), FrameError> {
        while let Some(request) = read_frame::<_, Request>(&mut reader)? {
            let response = self.handle(request);
            write_frame(&mut writer, &response)?;
            if matches!(response, Response::Fault { .. }) {
                break;
            }
        }
        Ok(())
    }

    /// Answers one request. After [`Response::Fault`] the host is of no more use.
    pub fn handle(&mut self, request: Request) -> Response {
        match self.answer(request) {
            Ok(response) => response,
            Err(Refusal::Refused(message)) => Response::Refused { message },
            Err(Refusal::Fault(message)) => Response::Fault { message },
        }
    }

    fn answer(&mut self, request: Request) -> Result<Response, Refusal> {
        let default = GAS_LIMIT_DEFAULT;
        // Compiling is priced by size, so a large module needs more than the default.
        let whole_block = self.parameters.block_gas_limit;
        match request {
            Request::Hello { version } if version != PROTOCOL_VERSION => Err(Refusal::Refused(format!(
                "the tests speak protocol version {version}, this host ({}) speaks {PROTOCOL_VERSION}; use a matching purlin and purlin-testing",
                self.name
            ))),
            Request::Hello { .. } => {
                Ok(Response::Hello { version: PROTOCOL_VERSION, host: self.name.clone() })
            }
            Request::Install { owner, manifest, wasm, arguments } => {
                let (app, package) = pack(&manifest, wasm)?;
                let actions = vec![Action::InstallApp { package, arguments }, Action::StartApp { app }];
                self.transact(owner, whole_block, actions)
            }
            Request::Upgrade { owner, manifest, wasm, arguments } => {
                let (_, package) = pack(&manifest, wasm)?;
                self.transact(owner, whole_block, vec![Action::UpgradeApp { package, arguments }])
            }
            Request::Start { owner, app } => self.transact(owner, default, vec![Action::StartApp { app }]),
            Request::Stop { owner, app } => self.transact(owner, default, vec![Action::StopApp { app }]),
            Request::Uninstall { owner, app } => {
                self.transact(owner, whole_block, vec![Action::UninstallApp { app }])
            }
            Request::Call { caller, app, method, arguments, deposit, gas_limit } => {
                let action = Action::CallApp { app, method, arguments, deposit };
                self.transact(caller, gas_limit.unwrap_or(default), vec![action])
            }
            Request::Query { caller, app, method, arguments, gas_limit } => {
                let gas_limit = gas_limit.unwrap_or(default);
                self.query(&QueryRequest { app, method, arguments, caller, gas_limit })
            }
            Request::Fund { account, amount } => self.fund(&account, amount),
            Request::Balance { account } => {
                Ok(Response::Balance(accounts::account(&mut &*self.state, &account)?.balance))
            }
            Request::AppAccount { app } => Ok(Response::Account(app_account(&app))),
            Request::SetBlock { height, time } => self.set_block(height, time),
            Request::SetConfirmationDepth { blocks } => {
                let rules =
                    PowRules { confirmations: blocks, block_reward: Amount::ZERO, ..PowRules::default() };
                let parameters =
                    Parameters { consensus: ConsensusRules::Pow(rules), ..(*self.parameters).clone() };
                self.parameters = Arc::new(parameters);
                Ok(Response::Done)
            }
            Request::Advance { blocks } => self.advance(blocks),
            Request::Block => Ok(self.visible().into()),
            Request::Events { from, limit } => Ok(Response::Events(self.events_page(from, limit))),
            Request::RegisterDevice { owner, id, description, area, tags, key } => {
                let action = Action::RegisterDevice { id, description, area, tags, key };
                self.transact(owner, default, vec![action])
            }
            Request::TransferDevice { owner, id, to } => {
                self.transact(owner, default, vec![Action::TransferDevice { id, to }])
            }
            Request::RevokeDevice { owner, id } => {
                self.transact(owner, default, vec![Action::RevokeDevice { id }])
            }
            Request::StorageGet { app, key } => {
                Ok(Response::Value(self.state.get(&StateKey::app_storage(&app, &key))?))
            }
            Request::StorageScan { app, from, limit } => self.storage_page(&app, &from, limit),
        }
    }

    /// Makes a block of one transaction.
    fn transact(
        &mut self,
        sender: AccountId,
        gas_limit: Gas,
        actions: Vec<Action>,
    ) -> Result<Response, Refusal> {
        let block = match self.next {
            Some(block) => block,
            None => self.head.next()?,
        };
        let body = TransactionBody {
            chain_id: self.chain_id.clone(),
            sender,
            nonce: accounts::account(&mut &*self.state, &sender)?.nonce,
            expires_at: block.height,
            gas_limit,
            fee: Amount::ZERO,
            access: Vec::new(),
            actions,
        };
        let executed = self.executor.execute_unsigned(self.state.clone(), &self.context(block), &body)?;
        let Unsigned { receipt, changes, diagnostic } =
            executed.map_err(|reason| Refusal::Refused(reason.to_string()))?;
        self.write(changes)?;
        self.head = block;
        self.next = None;
        for event in &receipt.events {
            let position = self.events.len() as u64;
            let Block { height, time } = block;
            self.events.push(EmittedEvent { position, height, time, event: event.clone() });
        }
        let Receipt { outcome, gas_used, events, .. } = receipt;
        let outcome = match outcome {
            Outcome::Succeeded { mut outputs } => Ok(outputs.pop().unwrap_or_default()),
            Outcome::Failed { failure, .. } => Err(failure),
        };
        let Block { height, time } = block;
        Ok(Response::Report(Report { outcome, gas_used, events, height, time, diagnostic }))
    }

    fn query(&self, request: &QueryRequest) -> Result<Response, Refusal> {
        let report = self.executor.query(self.state.clone(), &self.context(self.visible()), request)?;
        let (outcome, gas_used, diagnostic) = (report.outcome, report.gas_used, report.diagnostic);
        Ok(Response::Answer(Answer { outcome, gas_used, diagnostic }))
    }

    fn fund(&mut self, account: &AccountId, amount: Amount) -> Result<Response, Refusal> {
        let mut overlay = Overlay::new(self.state.clone());
        accounts::mint(&mut overlay, account, amount).map_err(|error| match error.into_failure() {
            Ok(failure) => Refusal::Refused(failure.message),
            Err(error) => error.into(),
        })?;
        self.write(overlay.into_changes()?)?;
        Ok(Response::Done)
    }

    fn write(&self, changes: Changes) -> Result<(), Refusal> {
        let mut batch = WriteBatch::default();
        for (key, value) in changes {
            let column = Column::of_state(&key);
            match value {
                Some(value) => batch.put(column, key, value),
                None => batch.delete(column, key),
            }
        }
        Ok(self.store.write(batch, Durability::Buffered)?)
    }

    fn context(&self, block: Block) -> BlockContext {
        BlockContext {
            chain_id: self.chain_id.clone(),
            height: block.height,
            time: block.time,
            proposer: AccountId::ZERO,
            seal: Seal::FIRST_ROUND,
            parameters: self.parameters.clone(),
        }
    }

    /// Returns the block that queries see.
    fn visible(&self) -> Block {
        self.next.unwrap_or(self.head)
    }

    fn set_block(&mut self, height: Option<Height>, time: Option<TimestampMs>) -> Result<Response, Refusal> {
        let planned = match self.next {
            Some(block) => block,
            None => self.head.next()?,
        };
        let block = Block { height: height.unwrap_or(planned.height), time: time.unwrap_or(planned.time) };
        if block.height <= self.head.height {
            let (found, head) = (block.height, self.head.height);
            return Err(Refusal::Refused(format!("height {found} is not above the head's {head}")));
        }
        if block.time < self.head.time {
            let (found, head) = (block.time, self.head.time);
            return Err(Refusal::Refused(format!("time {found} is before the head's {head}")));
        }
        self.next = Some(block);
        Ok(block.into())
    }

    fn advance(&mut self, blocks: u64) -> Result<Response, Refusal> {
        if blocks > 0 {
            let first = match self.next {
                Some(block) => block,
                None => self.head.next()?,
            };
            self.head = first.after(blocks - 1)?;
            self.next = None;
        }
        Ok(self.head.into())
    }

    fn events_page(&self, from: u64, limit: u32) -> Vec<EmittedEvent> {
        let start = usize::try_from(from).map_or(self.events.len(), |from| from.min(self.events.len()));
        let mut left = PAGE_BYTES_MAX;
        let fits = |event: &&EmittedEvent| {
            let size = limits::APP_ID_LENGTH_MAX + event.event.topic.len() + event.event.payload.len() + 64;
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        };
        self.events[start..].iter().take(page(limit)).take_while(fits).cloned().collect()
    }

    fn storage_page(&self, app: &AppId, from: &[u8], limit: u32) -> Result<Response, Refusal> {
        let prefix = StateKey::app_storage(app, &[]);
        let start = StateKey::app_storage(app, from);
        let entries = self.state.scan(&start, &StateKey::end_of(&prefix), Order::Ascending, page(limit))?;
        let mut left = PAGE_BYTES_MAX;
        let mut found = Vec::new();
        for (key, value) in entries {
            let size = key.len() + value.len();
            if size > left && !found.is_empty() {
                break;
            }
            left = left.saturating_sub(size);
            found.push(StorageEntry { key: key[prefix.len()..].to_vec(), value });
        }
        Ok(Response::Entries(found))
    }
}

impl std::fmt::Debug for TestHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestHost").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Block {
    fn next(self) -> Result<Self, Refusal> {
        self.after(1)
    }

    /// Returns the block that many blocks later.
    fn after(self, blocks: u64) -> Result<Self, Refusal> {
        let height = self.height.get().checked_add(blocks);
        let time = blocks.checked_mul(BLOCK_INTERVAL_MS).and_then(|ms| self.time.get().checked_add(ms));
        match (height, time) {
            (Some(height), Some(time)) => {
                Ok(Self { height: Height::new(height), time: TimestampMs::new(time) })
            }
            _ => {
                Err(Refusal::Refused(format!("{blocks} blocks after height {} is out of range", self.height)))
            }
        }
    }
}

impl From<Block> for Response {
    fn from(block: Block) -> Self {
        Self::Block { height: block.height, time: block.time }
    }
}

fn page(limit: u32) -> usize {
    (if limit == 0 { PAGE_ENTRIES_MAX } else { limit.min(PAGE_ENTRIES_MAX) }) as usize
}

/// Makes a package of a manifest and a module; the host computes what the manifest says of files.
fn pack(manifest: &str, wasm: Vec<u8>) -> Result<(AppId, Vec<u8>), Refusal> {
    let refuse = |error: purlin_package::PackageError| Refusal::Refused(error.to_string());
    let mut manifest = purlin_package::parse_manifest(manifest.as_bytes())
        .map_err(|error| Refusal::Refused(format!("manifest.json: {error}")))?;
    manifest.files = std::collections::BTreeMap::<String, Hash32>::new();
    let app = manifest.id.clone();
    let mut builder = PackageBuilder::from_manifest(manifest);
    builder.file(purlin_package::WASM_PATH, wasm).map_err(refuse)?;
    Ok((app, builder.build().map_err(refuse)?))
}
