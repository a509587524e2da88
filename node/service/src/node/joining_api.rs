//! The API of a node that joins by snapshot: it says how far it is, and that everything else takes until then.

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use purlin_abi::{DeviceFilter, DeviceRecord};
use purlin_api::{
    AppView, BlockSummary, ChainParameters, EventCursor, MempoolStatus, PeerView, SnapshotProgressView,
    Status, SyncState, ValidatorPage,
};
use purlin_chain::QueryRequest;
use purlin_primitives::{
    AccountId, AppId, CodeHash, DeviceId, Genesis, Hash32, Height, Transaction, TransactionBody,
    TransactionId,
};
use purlin_rpc::{
    AccountRecord, BlockRecord, BlockSelector, Conclusion, DeviceDetails, EventFilter, EventRecords,
    NodeError, ProvenStateRecord, QueryRecord, SimulationRecord, StateRecord, SubmitError, TransactionRecord,
};
use purlin_sync::Network;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

use super::join::JoinProgress;
use super::views::peer_view;

pub(super) struct JoiningApi {
    genesis: Genesis,
    network: Arc<dyn Network>,
    progress: Arc<Mutex<JoinProgress>>,
    heights: watch::Sender<Height>,
    started: Instant,
}

impl JoiningApi {
    pub(super) fn new(
        genesis: Genesis,
        network: Arc<dyn Network>,
        progress: Arc<Mutex<JoinProgress>>,
    ) -> Self {
        Self {
            genesis,
            network,
            progress,
            heights: watch::Sender::new(Height::ZERO),
            started: Instant::now(),
        }
    }

    fn not_ready<T>(&self) -> Result<T, NodeError> {
        let detail = match self.progress.lock().snapshot {
            Some((height, permille)) => format!(
                "it fetches the state of block {height}, {}.{} % are there",
                permille / 10,
                permille % 10
            ),
            None => "it looks for a snapshot of the chain".to_owned(),
        };
        Err(NodeError::NotReady { detail })
    }

    fn not_ready_later<T: Send + 'static>(&self) -> BoxFuture<'_, Result<T, NodeError>> {
        ready(self.not_ready()).boxed()
    }
}

impl purlin_rpc::Node for JoiningApi {
    fn status(&self) -> Status {
        let progress = self.progress.lock();
        let genesis_id = self.genesis.id();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            chain_id: self.genesis.chain_id.clone(),
            genesis_id,
            height: Height::ZERO,
            final_height: Height::ZERO,
            pow: None,
            head_id: genesis_id,
            head_time: self.genesis.time,
            state_root: Hash32::ZERO,
            engine: "pos".into(),
            validator: None,
            sync: SyncState::Snapshot,
            sync_target: None,
            snapshot: progress.snapshot.map(|(height, permille)| SnapshotProgressView { height, permille }),
            sync_problem: progress.problem.as_ref().map(ToString::to_string),
            oldest_block: Height::new(1),
            checkpoint: None,
            peers: self.network.peers().len() as u32,
            uptime_seconds: self.started.elapsed().as_secs(),
            mempool: MempoolStatus::default(),
            parameters: ChainParameters::from(&self.genesis.parameters),
        }
    }

    fn head(&self) -> watch::Receiver<Height> {
        self.heights.subscribe()
    }

    fn readiness(&self) -> Result<(), NodeError> {
        self.not_ready()
    }

    fn peers(&self) -> Vec<PeerView> {
        let mut views: Vec<PeerView> = self.network.peers().into_iter().map(peer_view).collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }

    fn validators(&self, _: Option<&AccountId>, _: usize) -> Result<ValidatorPage, NodeError> {
        self.not_ready()
    }

    fn metrics(&self, out: &mut String) {
        let permille = self.progress.lock().snapshot.map_or(0, |(_, permille)| permille);
        crate::metrics::gauge(out, "purlin_snapshot_permille", "Snapshot stored.", u64::from(permille));
    }

    fn submit(&self, _: Transaction) -> BoxFuture<'_, Result<TransactionId, SubmitError>> {
        ready(self.not_ready().map_err(SubmitError::Node)).boxed()
    }

    fn submit_batch(
        &self,
        transactions: Vec<Transaction>,
    ) -> BoxFuture<'_, Vec<Result<TransactionId, SubmitError>>> {
        let answers = transactions.iter().map(|_| self.not_ready().map_err(SubmitError::Node));
        ready(answers.collect()).boxed()
    }

    fn wait_committed(&self, _: TransactionId) -> BoxFuture<'_, Result<Conclusion, NodeError>> {
        self.not_ready_later()
    }

    fn block(&self, _: BlockSelector) -> Result<Option<BlockRecord>, NodeError> {
        self.not_ready()
    }

    fn blocks(&self, _: Option<Height>, _: usize) -> Result<Vec<BlockSummary>, NodeError> {
        self.not_ready()
    }

    fn block_summary(&self, _: Height) -> Result<Option<BlockSummary>, NodeError> {
        self.not_ready()
    }

    fn transaction(&self, _: TransactionId) -> Result<Option<TransactionRecord>, NodeError> {
        self.not_ready()
    }

    fn simulate(&self, _: TransactionBody) -> Result<SimulationRecord, NodeError> {
        self.not_ready()
    }

    fn account(&self, _: &AccountId) -> Result<AccountRecord, NodeError> {
        self.not_ready()
    }

    fn apps(&self, _: Option<&AppId>, _: usize) -> Result<Vec<AppView>, NodeError> {
        self.not_ready()
    }

    fn app(&self, _: &AppId) -> Result<Option<AppView>, NodeError> {
        self.not_ready()
    }

    fn app_code_hash(&self, _: &AppId) -> Result<Option<CodeHash>, NodeError> {
        self.not_ready()
    }

    fn app_schema(&self, _: &AppId) -> Result<Option<Vec<u8>>, NodeError> {
        self.not_ready()
    }

    fn query(&self, _: &QueryRequest, _: Option<Height>) -> Result<QueryRecord, NodeError> {
        self.not_ready()
    }

    fn events(&self, _: &EventFilter, _: EventCursor, _: usize) -> Result<EventRecords, NodeError> {
        self.not_ready()
    }

    fn state(&self, _: &AppId, _: &[u8]) -> Result<StateRecord, NodeError> {
        self.not_ready()
    }

    fn prove_state(&self, _: &AppId, _: &[u8]) -> BoxFuture<'_, Result<ProvenStateRecord, NodeError>> {
        self.not_ready_later()
    }

    fn devices(&self, _: &DeviceFilter) -> Result<Vec<DeviceRecord>, NodeError> {
        self.not_ready()
    }

    fn device(&self, _: &DeviceId) -> Result<Option<DeviceDetails>, NodeError> {
        self.not_ready()
    }
}
