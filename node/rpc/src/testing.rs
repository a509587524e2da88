//! A node without storage, execution or consensus, for tests of the server and of clients.

use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use purlin_abi::{DeviceFilter, DeviceRecord};
use purlin_api::{
    AppLimits, AppStatus, AppView, BlockSummary, ChainParameters, ErrorCode, EventCursor, MempoolStatus,
    PeerView, Status, SyncState, ValidatorPage, ValidatorView,
};
use purlin_chain::{CallReport, QueryRequest};
use purlin_primitives::{
    AccountId, Action, Amount, AppId, Block, BlockHeader, BlockId, CallFailure, Certificate, ChainId,
    CodeHash, DeviceId, Event, FailureCode, Gas, Hash32, Height, Outcome, Parameters, Receipt, Seal,
    TimestampMs, Transaction, TransactionBody, TransactionId, app_account,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

use crate::node::{
    AccountRecord, BlockRecord, BlockSelector, Conclusion, DeviceDetails, EventFilter, EventRecord,
    EventRecords, EventScope, Inclusion, Node, NodeError, ProvenStateRecord, QueryRecord, SimulationRecord,
    StateRecord, SubmitError, TransactionRecord,
};

/// Schema of the one application that a [`FakeNode`] has, `counter`.
pub const COUNTER_SCHEMA: &str = r#"{
  "abi": 1, "name": "Counter", "doc": "Counts.",
  "methods": [
    {"name": "increment", "kind": "call", "doc": "Adds.", "params": [{"name": "by", "schema": {"x-borsh": "u64"}}],
     "returns": {"x-borsh": "u64"}, "payable": false},
    {"name": "value", "kind": "query", "doc": "Reads.", "params": [], "returns": {"x-borsh": "u64"}, "payable": false},
    {"name": "plus", "kind": "query", "doc": "Adds without writing.",
     "params": [{"name": "by", "schema": {"x-borsh": "u64"}}], "returns": {"x-borsh": "u64"}, "payable": false}
  ],
  "events": [{"topic": "incremented", "doc": "It grew.", "schema": {"x-borsh": "struct", "title": "Incremented",
     "type": "object", "properties": {"by": {"x-borsh": "u64"}}, "required": ["by"], "x-fields": ["by"]}}],
  "errors": [], "state": [{"name": "count", "kind": "item", "value": {"x-borsh": "u64"}}]
}"#;

#[derive(Debug, Default)]
struct Ledger {
    blocks: Vec<BlockRecord>,
    transactions: BTreeMap<TransactionId, TransactionRecord>,
    nonces: BTreeMap<AccountId, u64>,
    count: u64,
    devices: Vec<DeviceDetails>,
    peers: Vec<PeerView>,
    validators: BTreeMap<AccountId, ValidatorView>,
    fault: Option<NodeError>,
    delay: Duration,
    /// Events that are taken back with the next read of what is not final.
    removed: Vec<EventRecord>,
}

/// Whether a [`FakeNode`] makes blocks by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocks {
    /// One for each transaction, at once.
    Instant,
    /// Only by [`FakeNode::make_block`].
    Manual,
}

/// A node in memory with one application, `counter`, that counts and emits an event for each `increment`.
/// Transactions are really verified, nonces really checked; state roots and proofs are zeros.
#[derive(Debug)]
pub struct FakeNode {
    chain_id: ChainId,
    blocks: Mutex<Blocks>,
    ledger: Mutex<Ledger>,
    head: watch::Sender<Height>,
}

impl FakeNode {
    /// Starts a chain with instant blocks. Panics when the name is no chain id.
    pub fn new(chain_id: &str) -> Arc<Self> {
        Arc::new(Self {
            chain_id: chain_id.parse().expect("a chain id"),
            blocks: Mutex::new(Blocks::Instant),
            ledger: Mutex::default(),
            head: watch::channel(Height::ZERO).0,
        })
    }

    /// Chooses who makes blocks.
    pub fn set_blocks(&self, blocks: Blocks) {
        *self.blocks.lock() = blocks;
    }

    /// Makes every answer fail from now on, or work again.
    pub fn set_fault(&self, fault: Option<NodeError>) {
        self.ledger.lock().fault = fault;
    }

    /// Makes queries take this long.
    pub fn set_query_delay(&self, delay: Duration) {
        self.ledger.lock().delay = delay;
    }

    /// Adds a device.
    pub fn add_device(&self, record: DeviceRecord, description: &str) {
        self.ledger.lock().devices.push(DeviceDetails { record, description: description.into() });
    }

    /// Connects a node.
    pub fn add_peer(&self, peer: PeerView) {
        self.ledger.lock().peers.push(peer);
    }

    /// Adds a validator.
    pub fn add_validator(&self, validator: ValidatorView) {
        self.ledger.lock().validators.insert(validator.account, validator);
    }

    /// Says that the events of the last block did not happen, to whoever reads what is not final next.
    pub fn take_back(&self) {
        let mut ledger = self.ledger.lock();
        let Some(block) = ledger.blocks.last() else { return };
        let (height, id) = (block.block.header.height, block.id);
        let resume = EventCursor::end_of(height.saturating_sub(Height::new(1))).in_block(BlockId::ZERO);
        let events =
            block.receipts.iter().flat_map(|receipt| receipt.events.iter().zip(std::iter::repeat(receipt)));
        let removed = events.enumerate().map(|(index, (event, receipt))| EventRecord {
            cursor: EventCursor { height, index: index as u32, block: Some(id) },
            transaction: receipt.transaction,
            event: event.clone(),
            removed: Some(resume),
        });
        ledger.removed = removed.collect();
        drop(ledger);
        self.head.send_modify(|_| {});
    }

    /// Puts every waiting transaction into a block and returns its height.
    pub fn make_block(&self) -> Height {
        let mut ledger = self.ledger.lock();
        let pending: Vec<TransactionRecord> =
            ledger.transactions.values().filter(|record| record.inclusion.is_none()).cloned().collect();
        let height = Height::new(ledger.blocks.len() as u64 + 1);
        let time = TimestampMs::new(height.get() * 1000);
        let ids: Vec<TransactionId> = pending.iter().map(|record| record.id).collect();
        let header = BlockHeader {
            chain_id: self.chain_id.clone(),
            height,
            parent: ledger.blocks.last().map_or(BlockId::ZERO, |block| block.id),
            time,
            proposer: AccountId::ZERO,
            transactions_root: Block::transactions_root(&ids),
            state_root: Hash32::ZERO,
            receipts_root: Hash32::ZERO,
            seal: Seal::FIRST_ROUND,
        };
        let id = header.id();
        let mut receipts = Vec::new();
        for (index, record) in pending.iter().enumerate() {
            let receipt = Self::execute(&mut ledger.count, record.id, &record.transaction.body);
            let inclusion = Inclusion {
                height,
                block: id,
                time,
                index: index as u32,
                receipt: receipt.clone(),
                diagnostic: None,
                confirmations: 0,
                is_final: true,
            };
            *ledger.nonces.entry(record.transaction.body.sender).or_default() += 1;
            if let Some(known) = ledger.transactions.get_mut(&record.id) {
                known.inclusion = Some(inclusion);
            }
            receipts.push(receipt);
        }
        let transactions = pending.into_iter().map(|record| record.transaction).collect();
        ledger.blocks.push(BlockRecord {
            id,
            block: Block { header, transactions },
            receipts,
            certificate: Certificate { block: id, height, round: 0, signatures: Vec::new() },
        });
        drop(ledger);
        self.head.send_replace(height);
        height
    }

    fn execute(count: &mut u64, transaction: TransactionId, body: &TransactionBody) -> Receipt {
        let mut receipt = Receipt {
            transaction,
            outcome: Outcome::Succeeded { outputs: Vec::new() },
            gas_used: Gas::new(1000),
            fee: body.fee,
            events: Vec::new(),
        };
        let mut outputs = Vec::new();
        for (index, action) in body.actions.iter().enumerate() {
            let Action::CallApp { app, method, arguments, .. } = action else {
                outputs.push(Vec::new());
                continue;
            };
            let by = borsh::from_slice::<u64>(arguments);
            match (app.as_str(), method.as_str(), by) {
                ("counter", "increment", Ok(by)) => {
                    *count = count.saturating_add(by);
                    outputs.push(count.to_le_bytes().to_vec());
                    let event = Event {
                        app: app.clone(),
                        topic: "incremented".into(),
                        payload: by.to_le_bytes().into(),
                    };
                    receipt.events.push(event);
                }
                _ => {
                    let failure = CallFailure::new(FailureCode::UnknownMethod, format!("no method {method}"));
                    receipt.outcome = Outcome::Failed { action: index as u32, failure: failure.in_app(app) };
                    receipt.events.clear();
                    return receipt;
                }
            }
        }
        receipt.outcome = Outcome::Succeeded { outputs };
        receipt
    }

    fn ledger(&self) -> Result<parking_lot::MutexGuard<'_, Ledger>, NodeError> {
        let ledger = self.ledger.lock();
        match &ledger.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(ledger),
        }
    }

    fn accept(&self, transaction: Transaction) -> Result<TransactionId, SubmitError> {
        let verified = transaction.verify(&self.chain_id)?;
        let id = verified.id();
        {
            let mut ledger = self.ledger()?;
            if ledger.transactions.contains_key(&id) {
                let detail = format!("transaction {id} is known already");
                return Err(SubmitError::Refused { code: ErrorCode::KnownTransaction, detail });
            }
            let sender = verified.body().sender;
            let waiting = ledger
                .transactions
                .values()
                .filter(|record| record.inclusion.is_none() && record.transaction.body.sender == sender);
            let expected = ledger.nonces.get(&sender).copied().unwrap_or(0) + waiting.count() as u64;
            let nonce = verified.body().nonce;
            if nonce < expected {
                return Err(purlin_chain::InclusionError::NonceUsed { nonce, expected }.into());
            }
            if nonce > expected {
                return Err(purlin_chain::InclusionError::NonceGap { nonce, expected }.into());
            }
            let record =
                TransactionRecord { id, transaction: verified.transaction().clone(), inclusion: None };
            ledger.transactions.insert(id, record);
        }
        if *self.blocks.lock() == Blocks::Instant {
            self.make_block();
        }
        Ok(id)
    }

    fn counter(&self) -> AppView {
        let app = counter_id();
        AppView {
            name: "Counter".into(),
            version: "1.0.0".into(),
            description: "Counts.".into(),
            author: String::new(),
            license: String::new(),
            owner: AccountId::ZERO,
            account: app_account(&app),
            status: AppStatus::Running,
            status_detail: None,
            abi: 1,
            permissions: vec!["events".into(), "storage".into()],
            dependencies: Vec::new(),
            limits: AppLimits::from(purlin_abi::Limits::default()),
            code_hash: CodeHash::of(COUNTER_SCHEMA.as_bytes()),
            package_id: Hash32::ZERO,
            storage_bytes: 13,
            installed_at: Height::ZERO,
            updated_at: Height::ZERO,
            id: app,
        }
    }
}

fn counter_id() -> AppId {
    "counter".parse().expect("a valid app id")
}

fn summary(record: &BlockRecord) -> BlockSummary {
    BlockSummary {
        id: record.id,
        height: record.block.header.height,
        parent: record.block.header.parent,
        time: record.block.header.time,
        proposer: record.block.header.proposer,
        transactions: record.block.transactions.len() as u32,
        events: record.receipts.iter().map(|receipt| receipt.events.len() as u32).sum(),
        gas_used: Gas::new(record.receipts.iter().map(|receipt| receipt.gas_used.get()).sum()),
    }
}

impl Node for FakeNode {
    fn status(&self) -> Status {
        let ledger = self.ledger.lock();
        let last = ledger.blocks.last();
        Status {
            version: "0.0.0-fake".into(),
            chain_id: self.chain_id.clone(),
            genesis_id: BlockId::ZERO,
            height: Height::new(ledger.blocks.len() as u64),
            head_id: last.map_or(BlockId::ZERO, |block| block.id),
            head_time: last.map_or(TimestampMs::ZERO, |block| block.block.header.time),
            state_root: Hash32::ZERO,
            final_height: Height::new(ledger.blocks.len() as u64),
            engine: "fake".into(),
            pow: None,
            validator: None,
            sync: SyncState::Synced,
            sync_target: None,
            snapshot: None,
            sync_problem: None,
            oldest_block: Height::new(1),
            checkpoint: None,
            peers: ledger.peers.len() as u32,
            uptime_seconds: 0,
            mempool: MempoolStatus::default(),
            parameters: ChainParameters::from(&Parameters::default()),
        }
    }

    fn head(&self) -> watch::Receiver<Height> {
        self.head.subscribe()
    }

    fn readiness(&self) -> Result<(), NodeError> {
        self.ledger().map(drop)
    }

    fn peers(&self) -> Vec<PeerView> {
        self.ledger.lock().peers.clone()
    }

    fn validators(&self, after: Option<&AccountId>, limit: usize) -> Result<ValidatorPage, NodeError> {
        let ledger = self.ledger()?;
        let all = ledger.validators.values();
        let mut validators: Vec<ValidatorView> = all
            .clone()
            .filter(|validator| after.is_none_or(|after| validator.account > *after))
            .take(limit + 1)
            .cloned()
            .collect();
        let more = validators.len() > limit;
        validators.truncate(limit);
        Ok(ValidatorPage {
            height: Height::new(ledger.blocks.len() as u64),
            epoch: Some(0),
            epoch_end: Some(Height::new(600)),
            total_power: all.map(|validator| validator.power).sum(),
            next: validators.last().filter(|_| more).map(|last| last.account),
            validators,
        })
    }

    fn metrics(&self, out: &mut String) {
        let height = self.ledger.lock().blocks.len();
        out.push_str(&format!("# TYPE purlin_height gauge\npurlin_height {height}\n"));
    }

    fn submit(&self, transaction: Transaction) -> BoxFuture<'_, Result<TransactionId, SubmitError>> {
        async move { self.accept(transaction) }.boxed()
    }

    fn submit_batch(
        &self,
        transactions: Vec<Transaction>,
    ) -> BoxFuture<'_, Vec<Result<TransactionId, SubmitError>>> {
        async move { transactions.into_iter().map(|transaction| self.accept(transaction)).collect() }.boxed()
    }

    fn wait_committed(&self, id: TransactionId) -> BoxFuture<'_, Result<Conclusion, NodeError>> {
        async move {
            let mut head = self.head.subscribe();
            loop {
                head.borrow_and_update();
                match self.ledger()?.transactions.get(&id) {
                    None => return Ok(Conclusion::Unknown),
                    Some(record) if record.inclusion.is_some() => {
                        return Ok(Conclusion::Committed(Box::new(record.clone())));
                    }
                    Some(_) => {}
                }
                if head.changed().await.is_err() {
                    return Err(NodeError::Stopping);
                }
            }
        }
        .boxed()
    }

    fn block(&self, selector: BlockSelector) -> Result<Option<BlockRecord>, NodeError> {
        let ledger = self.ledger()?;
        let found = match selector {
            BlockSelector::Latest => ledger.blocks.last(),
            BlockSelector::Height(height) => ledger.blocks.iter().find(|b| b.block.header.height == height),
            BlockSelector::Id(id) => ledger.blocks.iter().find(|block| block.id == id),
        };
        Ok(found.cloned())
    }

    fn blocks(&self, before: Option<Height>, limit: usize) -> Result<Vec<BlockSummary>, NodeError> {
        let below = |block: &&BlockRecord| before.is_none_or(|before| block.block.header.height < before);
        Ok(self.ledger()?.blocks.iter().rev().filter(below).take(limit).map(summary).collect())
    }

    fn block_summary(&self, height: Height) -> Result<Option<BlockSummary>, NodeError> {
        Ok(self.ledger()?.blocks.iter().find(|block| block.block.header.height == height).map(summary))
    }

    fn transaction(&self, id: TransactionId) -> Result<Option<TransactionRecord>, NodeError> {
        Ok(self.ledger()?.transactions.get(&id).cloned())
    }

    fn simulate(&self, body: TransactionBody) -> Result<SimulationRecord, NodeError> {
        let ledger = self.ledger()?;
        let mut count = ledger.count;
        let receipt = Self::execute(&mut count, body.id(), &body);
        Ok(SimulationRecord { height: Height::new(ledger.blocks.len() as u64), receipt, diagnostic: None })
    }

    fn account(&self, id: &AccountId) -> Result<AccountRecord, NodeError> {
        let ledger = self.ledger()?;
        let nonce = ledger.nonces.get(id).copied().unwrap_or(0);
        let waiting = ledger
            .transactions
            .values()
            .filter(|record| record.inclusion.is_none() && record.transaction.body.sender == *id)
            .count() as u64;
        Ok(AccountRecord { balance: Amount::new(1_000_000), nonce, next_nonce: nonce + waiting })
    }

    fn apps(&self, after: Option<&AppId>, limit: usize) -> Result<Vec<AppView>, NodeError> {
        drop(self.ledger()?);
        let counter = self.counter();
        Ok(after.is_none_or(|after| *after < counter.id).then_some(counter).into_iter().take(limit).collect())
    }

    fn app(&self, id: &AppId) -> Result<Option<AppView>, NodeError> {
        drop(self.ledger()?);
        Ok((*id == counter_id()).then(|| self.counter()))
    }

    fn app_code_hash(&self, id: &AppId) -> Result<Option<CodeHash>, NodeError> {
        Ok(self.app(id)?.map(|app| app.code_hash))
    }

    fn app_schema(&self, id: &AppId) -> Result<Option<Vec<u8>>, NodeError> {
        Ok(self.app(id)?.map(|_| COUNTER_SCHEMA.into()))
    }

    fn query(&self, request: &QueryRequest, height: Option<Height>) -> Result<QueryRecord, NodeError> {
        let (now, count, delay) = {
            let ledger = self.ledger()?;
            (Height::new(ledger.blocks.len() as u64), ledger.count, ledger.delay)
        };
        std::thread::sleep(delay);
        if let Some(height) = height.filter(|height| *height != now) {
            return Err(NodeError::HeightUnavailable { height, detail: format!("only {now} is here") });
        }
        let outcome = match (request.method.as_str(), borsh::from_slice::<u64>(&request.arguments)) {
            ("value", _) => Ok(count.to_le_bytes().to_vec()),
            ("plus", Ok(by)) => Ok(count.saturating_add(by).to_le_bytes().to_vec()),
            _ => Err(CallFailure::new(FailureCode::UnknownMethod, "no such query").in_app(&request.app)),
        };
        Ok(QueryRecord {
            height: now,
            report: CallReport { outcome, gas_used: Gas::new(500), diagnostic: None },
        })
    }

    fn events(
        &self,
        filter: &EventFilter,
        after: EventCursor,
        limit: usize,
    ) -> Result<EventRecords, NodeError> {
        let mut ledger = self.ledger()?;
        if filter.scope == EventScope::Unfinalised && !ledger.removed.is_empty() {
            let events = std::mem::take(&mut ledger.removed);
            return Ok(EventRecords { events, next: after, more: false });
        }
        let all = ledger.blocks.iter().flat_map(|block| {
            let events = block
                .receipts
                .iter()
                .flat_map(|receipt| receipt.events.iter().map(move |event| (receipt.transaction, event)));
            events.enumerate().map(move |(index, (transaction, event))| EventRecord {
                cursor: EventCursor { height: block.block.header.height, index: index as u32, block: None },
                transaction,
                event: event.clone(),
                removed: None,
            })
        });
        let wanted = |record: &EventRecord| {
            filter.app.as_ref().is_none_or(|app| record.event.app == *app)
                && filter.topic.as_ref().is_none_or(|topic| record.event.topic == *topic)
        };
        let mut found: Vec<EventRecord> =
            all.filter(|record| record.cursor > after && wanted(record)).take(limit + 1).collect();
        let more = found.len() > limit;
        found.truncate(limit);
        let end = EventCursor::end_of(Height::new(ledger.blocks.len() as u64));
        let next = match found.last() {
            Some(last) if more => last.cursor,
            _ => end.max(after),
        };
        Ok(EventRecords { events: found, next, more })
    }

    fn state(&self, app: &AppId, key: &[u8]) -> Result<StateRecord, NodeError> {
        let ledger = self.ledger()?;
        let here = *app == counter_id() && key == b"count";
        let value = here.then(|| ledger.count.to_le_bytes().to_vec());
        Ok(StateRecord { height: Height::new(ledger.blocks.len() as u64), value })
    }

    fn prove_state(&self, app: &AppId, key: &[u8]) -> BoxFuture<'_, Result<ProvenStateRecord, NodeError>> {
        let (app, key) = (app.clone(), key.to_vec());
        async move {
            let entry = self.state(&app, &key)?;
            let height = self.make_block();
            let Some(record) = self.block(BlockSelector::Height(height))? else {
                return Err(NodeError::Stopping);
            };
            let state_key = [app.as_str().as_bytes(), b"/", &key].concat();
            let header = record.block.header;
            Ok(ProvenStateRecord {
                entry,
                state_key,
                merkle: vec![0],
                header,
                certificate: record.certificate,
            })
        }
        .boxed()
    }

    fn devices(&self, filter: &DeviceFilter) -> Result<Vec<DeviceRecord>, NodeError> {
        let ledger = self.ledger()?;
        let mut found: Vec<DeviceRecord> = ledger
            .devices
            .iter()
            .map(|device| device.record.clone())
            .filter(|record| filter.owner.is_none_or(|owner| record.owner == owner))
            .filter(|record| filter.kind.as_ref().is_none_or(|kind| record.kind == *kind))
            .filter(|record| filter.after.as_ref().is_none_or(|after| record.id > *after))
            .collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found.truncate(filter.limit as usize);
        Ok(found)
    }

    fn device(&self, id: &DeviceId) -> Result<Option<DeviceDetails>, NodeError> {
        Ok(self.ledger()?.devices.iter().find(|device| device.record.id == *id).cloned())
    }
}
