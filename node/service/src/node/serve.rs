//! The node as the API sees it.

mod events;

use futures::FutureExt;
use futures::future::BoxFuture;
use purlin_abi::{DeviceFilter, DeviceRecord};
use purlin_api::{
    AppView, BlockSummary, ChainParameters, EventCursor, MempoolStatus, PeerView, Status, SyncState,
    ValidatorPage,
};
use purlin_chain::{ChainError, QueryRequest};
use purlin_modules::{accounts, apps, devices};
use purlin_primitives::{
    AccountId, AppId, BlockId, Certificate, CodeHash, DeviceId, Gas, Height, Receipt, Seal, Transaction,
    TransactionBody, TransactionId,
};
use purlin_rpc::{
    AccountRecord, BlockRecord, BlockSelector, Conclusion, DeviceDetails, EventFilter, EventRecords,
    Inclusion, NodeError, ProvenStateRecord, QueryRecord, SimulationRecord, StateRecord, SubmitError,
    TransactionRecord,
};
use purlin_state::{KeyValueStore, StateKey, StateReader, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

use super::core::Core;
use super::heads::Heads;
use super::time_after;
use super::tracker::{Ending, FinalBlock};
use super::views::{app_view, peer_view, validator_page};
use super::workers::Workers;
use crate::metrics::gauge;

/// Transactions of a batch whose signatures one job checks: small enough to use every processor, large enough that
/// handing over costs nothing beside 32 signatures.
const BATCH_SLICE: usize = 32;
/// How long a proof waits for the block that anchors it.
const ANCHOR_WAIT: Duration = Duration::from_secs(20);

pub(super) struct ApiNode<S> {
    core: Arc<Core<S>>,
    workers: Arc<Workers>,
}

impl<S: KeyValueStore> ApiNode<S> {
    pub(super) fn new(core: Arc<Core<S>>, workers: Arc<Workers>) -> Self {
        Self { core, workers }
    }

    /// Runs something on the checking threads and waits for it.
    fn check<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core<S>) -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, NodeError> {
        let core = Arc::clone(&self.core);
        let (sender, receiver) = oneshot::channel();
        let job = move || {
            // A closed channel is a client that went away; the work was done all the same.
            drop(sender.send(work(&core)));
        };
        self.workers
            .run(job)
            .map_err(|_| NodeError::Busy { detail: "too many transactions wait for a check".into() })?;
        Ok(receiver)
    }

    /// Runs a read that an async method needs on the blocking pool.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core<S>) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, NodeError> {
        let core = Arc::clone(&self.core);
        let result = tokio::task::spawn_blocking(move || work(&core)).await;
        result.unwrap_or_else(|error| Err(NodeError::Fault { detail: error.to_string() }))
    }

    fn fault(&self, error: impl Into<ChainError>) -> NodeError {
        self.core.fault(error)
    }

    fn state_at(&self, height: Height) -> Result<Arc<dyn StateReader>, NodeError> {
        self.core.chain.state_at(height).map_err(|error| match error {
            ChainError::NotYet { head, .. } => {
                NodeError::HeightUnavailable { height, detail: format!("the chain is at {head}") }
            }
            ChainError::Store(StoreError::Pruned { oldest, .. }) => {
                NodeError::HeightUnavailable { height, detail: format!("the oldest height kept is {oldest}") }
            }
            other => self.fault(other),
        })
    }

    async fn submit_one(&self, transaction: Transaction) -> Result<TransactionId, SubmitError> {
        self.core.check_running()?;
        let answer =
            self.check(move |core| core.verify(transaction).and_then(|verified| core.submit(verified)))?;
        answer.await.unwrap_or(Err(SubmitError::Node(NodeError::Stopping)))
    }

    async fn submit_all(&self, transactions: Vec<Transaction>) -> Vec<Result<TransactionId, SubmitError>> {
        let mut slices = Vec::with_capacity(transactions.len().div_ceil(BATCH_SLICE));
        let mut transactions = transactions.into_iter();
        loop {
            let slice: Vec<Transaction> = transactions.by_ref().take(BATCH_SLICE).collect();
            if slice.is_empty() {
                break;
            }
            let count = slice.len();
            let check =
                move |core: &Core<S>| slice.into_iter().map(|one| core.verify(one)).collect::<Vec<_>>();
            slices.push((count, self.check(check)));
        }
        let mut verified = Vec::new();
        for (count, slice) in slices {
            let answers = match slice {
                Ok(slice) => slice.await.map_err(|_| NodeError::Stopping),
                Err(error) => Err(error),
            };
            match answers {
                Ok(answers) => verified.extend(answers),
                Err(error) => verified.extend((0..count).map(|_| Err(SubmitError::Node(error.clone())))),
            }
        }
        let count = verified.len();
        // In order, so that several of one sender follow each other.
        let admit = move |core: &Core<S>| {
            verified.into_iter().map(|one| one.and_then(|one| core.submit(one))).collect::<Vec<_>>()
        };
        let admitted = match self.check(admit) {
            Ok(answer) => answer.await.map_err(|_| NodeError::Stopping),
            Err(error) => Err(error),
        };
        admitted.unwrap_or_else(|error| (0..count).map(|_| Err(SubmitError::Node(error.clone()))).collect())
    }

    async fn wait(&self, id: TransactionId) -> Result<Conclusion, NodeError> {
        self.core.check_running()?;
        // Registered before looking, so that nothing that happens in between is missed.
        let waiter = self.core.tracker.lock().wait(id);
        let _sweep = Sweep { core: &self.core, id };
        let on_its_way = {
            let pool = self.core.pool.lock();
            let tracker = self.core.tracker.lock();
            if pool.mempool.get(&id).is_none() && tracker.in_block(&id).is_none() {
                tracker.dropped(&id).map(|reason| Some(reason.clone())).or(Some(None))
            } else {
                None
            }
        };
        if let Some(dropped) = on_its_way {
            let found = self.read(move |core| committed_record(core, id)).await?;
            return Ok(match (found, dropped) {
                (Some(record), _) => Conclusion::Committed(Box::new(record)),
                (None, Some(reason)) => Conclusion::Dropped { reason },
                (None, None) => Conclusion::Unknown,
            });
        }
        match waiter.await {
            // What was noted for a person is in the chain by now.
            Ok(Ending::Final(..)) if self.core.heads.is_some() => {
                let found = self.read(move |core| committed_record(core, id)).await?;
                Ok(found.map_or(Conclusion::Unknown, |record| Conclusion::Committed(Box::new(record))))
            }
            Ok(Ending::Final(block, index)) => {
                Ok(Conclusion::Committed(Box::new(record_of(&block, index, self.core.newest()))))
            }
            Ok(Ending::Dropped(reason)) => Ok(Conclusion::Dropped { reason }),
            Err(_) => Err(NodeError::Stopping),
        }
    }

    async fn prove(&self, app: AppId, key: Vec<u8>) -> Result<ProvenStateRecord, NodeError> {
        let state_key = StateKey::app_storage(&app, &key);
        if self.core.heads.is_some() {
            // The roots of final blocks are in headers that are there already; newer ones may leave the chain.
            return self.read(move |core| proven(core, state_key, *core.heights.borrow())).await;
        }
        let mut heights = self.core.heights.subscribe();
        let head = *heights.borrow_and_update();
        let anchored = self
            .read(move |core| {
                let header = core.chain.header(head).map_err(|error| core.fault(error))?;
                let newest = core.chain.head();
                Ok(header
                    .is_some_and(|header| newest.height == head && header.state_root == newest.state_root))
            })
            .await?;
        if !anchored {
            if self.core.validator.is_none() {
                let detail = "this node makes no blocks, and the newest state is not in a header yet".into();
                return Err(NodeError::NotReady { detail });
            }
            self.core.want_anchor();
            let next = tokio::time::timeout(ANCHOR_WAIT, heights.wait_for(|height| *height > head)).await;
            match next {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Err(NodeError::Stopping),
                Err(_) => {
                    let detail = "no block came that anchors the newest state".into();
                    return Err(NodeError::NotReady { detail });
                }
            }
        }
        self.read(move |core| {
            let newest = *core.heights.borrow();
            proven(core, state_key, newest.saturating_sub(Height::new(1)))
        })
        .await
    }
}

/// Proves an entry after the block of a height, which is not the last one.
fn proven<S: KeyValueStore>(
    core: &Core<S>,
    state_key: Vec<u8>,
    height: Height,
) -> Result<ProvenStateRecord, NodeError> {
    core.check_running()?;
    let proof = core.chain.proof(&state_key, Some(height)).map_err(|error| match error {
        ChainError::NotProvableYet { .. } => {
            NodeError::NotReady { detail: "no block came yet that anchors the state".into() }
        }
        other => core.fault(other),
    })?;
    let merkle = borsh::to_vec(&proof.path).expect("writing to memory cannot fail");
    let certificate = certificate_or_empty(proof.certificate, proof.header.id(), height.next());
    Ok(ProvenStateRecord {
        entry: StateRecord { height, value: proof.value },
        state_key,
        merkle,
        header: proof.header,
        certificate,
    })
}

/// Forgets a waiter when its future is dropped.
struct Sweep<'a, S> {
    core: &'a Core<S>,
    id: TransactionId,
}

impl<S> Drop for Sweep<'_, S> {
    fn drop(&mut self) {
        self.core.tracker.lock().sweep(&self.id);
    }
}

fn record_of(block: &FinalBlock, index: u32, newest: Height) -> TransactionRecord {
    let receipt = block.receipts[index as usize].clone();
    TransactionRecord {
        id: receipt.transaction,
        transaction: block.block.transactions[index as usize].clone(),
        inclusion: Some(Inclusion {
            height: block.block.header.height,
            block: block.id,
            time: block.block.header.time,
            index,
            diagnostic: block.diagnostics.get(&receipt.transaction).cloned(),
            receipt,
            confirmations: newest.get().saturating_sub(block.block.header.height.get()),
            is_final: true,
        }),
    }
}

/// Reads a transaction of a durable block.
fn committed_record<S: KeyValueStore>(
    core: &Core<S>,
    id: TransactionId,
) -> Result<Option<TransactionRecord>, NodeError> {
    let found = core.chain.inclusion(&id).map_err(|error| core.fault(error))?;
    Ok(found.map(|found| {
        let height = found.header.height;
        let inclusion = Inclusion {
            height,
            block: found.header.id(),
            time: found.header.time,
            index: found.position,
            receipt: found.receipt,
            diagnostic: found.diagnostic,
            confirmations: core.newest().get().saturating_sub(height.get()),
            is_final: height <= *core.heights.borrow(),
        };
        TransactionRecord { id, transaction: found.transaction, inclusion: Some(inclusion) }
    }))
}

/// A block that another engine made, or that a node without key stored last, may have no certificate here.
fn certificate_or_empty(certificate: Option<Certificate>, block: BlockId, height: Height) -> Certificate {
    certificate.unwrap_or(Certificate { block, height, round: 0, signatures: Vec::new() })
}

fn events_of(receipts: &[Receipt]) -> u32 {
    u32::try_from(receipts.iter().map(|receipt| receipt.events.len()).sum::<usize>()).unwrap_or(u32::MAX)
}

impl<S: KeyValueStore> purlin_rpc::Node for ApiNode<S> {
    fn status(&self) -> Status {
        let core = &self.core;
        // Before the head, which may have moved on since, or under proof of work back: a final height above it would be
        // none.
        let final_height = *core.heights.borrow();
        let head = Arc::clone(&core.head.read());
        let final_height = final_height.min(head.height);
        let (transactions, bytes) = {
            let pool = core.pool.lock();
            (pool.mempool.len() as u64, pool.mempool.bytes() as u64)
        };
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            chain_id: core.chain.genesis().chain_id.clone(),
            genesis_id: core.chain.genesis_id(),
            height: head.height,
            head_id: head.block,
            head_time: head.time,
            state_root: head.state_root,
            final_height,
            engine: core.engine.into(),
            pow: core.heads.as_ref().map(Heads::status),
            validator: core.validator,
            sync: if core.sync.lock().is_some() { SyncState::Syncing } else { SyncState::Synced },
            sync_target: core.sync.lock().map(|progress| progress.target),
            snapshot: None,
            sync_problem: core.sync_problem.lock().as_ref().map(ToString::to_string),
            oldest_block: core.chain.history().oldest_block,
            checkpoint: core.checkpoint().map(|checkpoint| checkpoint.to_string()),
            peers: core.peers.as_ref().map_or(0, |peers| peers.network.peers().len() as u32),
            uptime_seconds: core.started.elapsed().as_secs(),
            mempool: MempoolStatus { transactions, bytes },
            parameters: ChainParameters::from(&**core.chain.parameters()),
        }
    }

    fn head(&self) -> watch::Receiver<Height> {
        self.core.heights.subscribe()
    }

    fn tip(&self) -> watch::Receiver<Height> {
        let core = &self.core;
        core.heads.as_ref().map_or_else(|| core.heights.subscribe(), |heads| heads.tips.subscribe())
    }

    fn readiness(&self) -> Result<(), NodeError> {
        self.core.check_running()
    }

    fn peers(&self) -> Vec<PeerView> {
        let Some(peers) = &self.core.peers else { return Vec::new() };
        let mut views: Vec<PeerView> = peers.network.peers().into_iter().map(peer_view).collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }

    fn validators(&self, after: Option<&AccountId>, limit: usize) -> Result<ValidatorPage, NodeError> {
        let (state, head) = self.core.chain.state_and_head();
        let rules = &self.core.chain.parameters().consensus;
        validator_page(&*state, (head.height, rules), self.core.validator, (after, limit))
            .map_err(|error| self.fault(error))
    }

    fn metrics(&self, out: &mut String) {
        let core = &self.core;
        core.metrics.write(out);
        gauge(out, "purlin_height", "Height of the last block.", core.newest().get());
        gauge(out, "purlin_final_height", "Height of the last final block.", core.heights.borrow().get());
        let (transactions, bytes) = {
            let pool = core.pool.lock();
            (pool.mempool.len(), pool.mempool.bytes())
        };
        gauge(out, "purlin_mempool_transactions", "Transactions that wait.", transactions as u64);
        gauge(out, "purlin_mempool_bytes", "Their bytes.", bytes as u64);
        gauge(out, "purlin_uptime_seconds", "Time since the start.", core.started.elapsed().as_secs());
    }

    fn submit(&self, transaction: Transaction) -> BoxFuture<'_, Result<TransactionId, SubmitError>> {
        self.submit_one(transaction).boxed()
    }

    fn submit_batch(
        &self,
        transactions: Vec<Transaction>,
    ) -> BoxFuture<'_, Vec<Result<TransactionId, SubmitError>>> {
        self.submit_all(transactions).boxed()
    }

    fn wait_committed(&self, id: TransactionId) -> BoxFuture<'_, Result<Conclusion, NodeError>> {
        self.wait(id).boxed()
    }

    fn block(&self, selector: BlockSelector) -> Result<Option<BlockRecord>, NodeError> {
        let chain = &self.core.chain;
        let newest = self.core.newest();
        let height = match selector {
            BlockSelector::Latest => newest,
            BlockSelector::Height(height) => height,
            BlockSelector::Id(id) => match chain.block_height(&id).map_err(|error| self.fault(error))? {
                Some(height) => height,
                None => return Ok(None),
            },
        };
        if height > newest {
            return Ok(None);
        }
        let read = || -> Result<_, StoreError> {
            let Some((block, receipts)) = chain.block_and_receipts(height)? else { return Ok(None) };
            let id = block.header.id();
            if matches!(selector, BlockSelector::Id(asked) if asked != id) {
                // It left the chain just now.
                return Ok(None);
            }
            let certificate = certificate_or_empty(chain.certificate(height)?, id, height);
            Ok(Some(BlockRecord { id, receipts, block, certificate }))
        };
        read().map_err(|error| self.fault(error))
    }

    fn blocks(&self, before: Option<Height>, limit: usize) -> Result<Vec<BlockSummary>, NodeError> {
        let newest = self.core.newest();
        let first = before.map_or(newest, |before| newest.min(before.saturating_sub(Height::new(1))));
        let oldest = self.core.chain.history().oldest_block;
        let heights = (oldest.get()..=first.get()).rev().take(limit).map(Height::new);
        heights.filter_map(|height| self.block_summary(height).transpose()).collect()
    }

    fn block_summary(&self, height: Height) -> Result<Option<BlockSummary>, NodeError> {
        if height > self.core.newest() {
            return Ok(None);
        }
        let read = || -> Result<_, StoreError> {
            let Some((header, receipts)) = self.core.chain.header_and_receipts(height)? else {
                return Ok(None);
            };
            let gas_used =
                receipts.iter().fold(Gas::ZERO, |sum, receipt| sum.saturating_add(receipt.gas_used));
            Ok(Some(BlockSummary {
                id: header.id(),
                height,
                parent: header.parent,
                time: header.time,
                proposer: header.proposer,
                transactions: u32::try_from(receipts.len()).unwrap_or(u32::MAX),
                events: events_of(&receipts),
                gas_used,
            }))
        };
        read().map_err(|error| self.fault(error))
    }

    fn transaction(&self, id: TransactionId) -> Result<Option<TransactionRecord>, NodeError> {
        // The pool first: what leaves it is found in the chain afterwards, never the other way round.
        let waiting = {
            let pool = self.core.pool.lock();
            let tracker = self.core.tracker.lock();
            pool.mempool.get(&id).or_else(|| tracker.in_block(&id)).cloned()
        };
        if let Some(waiting) = waiting {
            // Under proof of work its block can be shown before it is final.
            if self.core.heads.is_some()
                && let Some(record) = committed_record(&self.core, id)?
            {
                return Ok(Some(record));
            }
            let transaction = waiting.transaction().clone();
            return Ok(Some(TransactionRecord { id, transaction, inclusion: None }));
        }
        committed_record(&self.core, id)
    }

    fn simulate(&self, body: TransactionBody) -> Result<SimulationRecord, NodeError> {
        let (state, head) = self.core.chain.state_and_head();
        let proposer = self.core.validator.unwrap_or(AccountId::ZERO);
        let context =
            self.core.chain.context(head.height.next(), time_after(head.time), proposer, Seal::FIRST_ROUND);
        let simulated = self.core.executor.simulate(state, &context, &body);
        let (receipt, diagnostic) = simulated.map_err(|error| self.fault(error))?;
        Ok(SimulationRecord { height: head.height, receipt, diagnostic })
    }

    fn account(&self, id: &AccountId) -> Result<AccountRecord, NodeError> {
        let (state, view) = {
            let pool = self.core.pool.lock();
            let view = Arc::clone(&pool.view);
            (self.core.chain.state(), view)
        };
        let record = accounts::account(&mut &*state, id).map_err(|error| self.fault(error))?;
        let ahead = accounts::account(&mut &*view.state, id).map_err(|error| self.fault(error))?;
        let next_nonce = self.core.pool.lock().mempool.next_nonce(id, ahead.nonce);
        Ok(AccountRecord { balance: record.balance, nonce: record.nonce, next_nonce })
    }

    fn apps(&self, after: Option<&AppId>, limit: usize) -> Result<Vec<AppView>, NodeError> {
        let state = self.core.chain.state();
        let read = || -> Result<_, StoreError> {
            let records = apps::list(&mut &*state, after, limit)?;
            records.iter().map(|record| app_view(&*state, record)).collect()
        };
        read().map_err(|error| self.fault(error))
    }

    fn app(&self, id: &AppId) -> Result<Option<AppView>, NodeError> {
        let state = self.core.chain.state();
        let read = || apps::app(&mut &*state, id)?.map(|record| app_view(&*state, &record)).transpose();
        read().map_err(|error: StoreError| self.fault(error))
    }

    fn app_code_hash(&self, id: &AppId) -> Result<Option<CodeHash>, NodeError> {
        let record = apps::app(&mut &*self.core.chain.state(), id).map_err(|error| self.fault(error))?;
        Ok(record.map(|record| record.code))
    }

    fn app_schema(&self, id: &AppId) -> Result<Option<Vec<u8>>, NodeError> {
        let wasm = self.core.chain.state().get(&StateKey::app_code(id)).map_err(|error| self.fault(error))?;
        Ok(wasm.and_then(|wasm| purlin_abi::schema::section(&wasm).map(<[u8]>::to_vec)))
    }

    fn query(&self, request: &QueryRequest, height: Option<Height>) -> Result<QueryRecord, NodeError> {
        let chain = &self.core.chain;
        let (state, height, time) = match height {
            None => {
                let (state, head) = chain.state_and_head();
                (state, head.height, head.time)
            }
            Some(height) => {
                let state = self.state_at(height)?;
                let header = chain.header(height).map_err(|error| self.fault(error))?;
                (state, height, header.map_or(chain.genesis().time, |header| header.time))
            }
        };
        let proposer = self.core.validator.unwrap_or(AccountId::ZERO);
        let context = chain.context(height, time, proposer, Seal::FIRST_ROUND);
        let report = self.core.executor.query(state, &context, request).map_err(|error| self.fault(error))?;
        Ok(QueryRecord { height, report })
    }

    fn events(
        &self,
        filter: &EventFilter,
        after: EventCursor,
        limit: usize,
    ) -> Result<EventRecords, NodeError> {
        match &self.core.heads {
            Some(heads) => events::unstable(&self.core, heads, filter, after, limit),
            None => events::stable(&self.core, filter, after, limit),
        }
    }

    fn state(&self, app: &AppId, key: &[u8]) -> Result<StateRecord, NodeError> {
        let (state, head) = self.core.chain.state_and_head();
        let value = state.get(&StateKey::app_storage(app, key)).map_err(|error| self.fault(error))?;
        Ok(StateRecord { height: head.height, value })
    }

    fn prove_state(&self, app: &AppId, key: &[u8]) -> BoxFuture<'_, Result<ProvenStateRecord, NodeError>> {
        self.prove(app.clone(), key.to_vec()).boxed()
    }

    fn devices(&self, filter: &DeviceFilter) -> Result<Vec<DeviceRecord>, NodeError> {
        let state = self.core.chain.state();
        match devices::list(&mut &*state, filter) {
            Ok(page) => Ok(page.devices),
            Err(error) => match error.into_failure() {
                Ok(failure) => Err(NodeError::TooBroad { detail: failure.message }),
                Err(error) => Err(self.fault(error)),
            },
        }
    }

    fn device(&self, id: &DeviceId) -> Result<Option<DeviceDetails>, NodeError> {
        let entry = devices::entry(&mut &*self.core.chain.state(), id).map_err(|error| self.fault(error))?;
        Ok(entry.map(|entry| DeviceDetails { record: entry.record, description: entry.description }))
    }
}
