//! The port to the node that the server stands in front of.

use futures::future::BoxFuture;
use purlin_abi::{DeviceFilter, DeviceRecord};
use purlin_api::{AppView, BlockSummary, ErrorCode, EventCursor, PeerView, Status, ValidatorPage};
use purlin_chain::{CallReport, InclusionError, QueryRequest};
use purlin_primitives::{
    AccountId, Amount, AppId, Block, BlockHeader, BlockId, Certificate, CodeHash, DeviceId, Event, Height,
    Receipt, TimestampMs, Transaction, TransactionBody, TransactionId, VerifyTransactionError,
};
use tokio::sync::watch;

/// Says that the node cannot answer; never a verdict about what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NodeError {
    /// Shutting down.
    #[error("the node is stopping")]
    Stopping,
    /// Starting, or behind the chain.
    #[error("the node is not ready: {detail}")]
    NotReady {
        /// What is missing.
        detail: String,
    },
    /// A queue inside the node is full.
    #[error("the node is busy: {detail}")]
    Busy {
        /// Which queue.
        detail: String,
    },
    /// The state of that height was pruned, or is not there yet.
    #[error("state of height {height} is not available: {detail}")]
    HeightUnavailable {
        /// The height asked for.
        height: Height,
        /// Which heights are.
        detail: String,
    },
    /// The block is older than what is kept.
    #[error("block {height} is not kept on this node; the oldest kept is {oldest}")]
    BlockPruned {
        /// The height asked for.
        height: Height,
        /// The oldest one that is kept.
        oldest: Height,
    },
    /// The block that somebody read up to is not of the chain any more, and how it left is not remembered.
    #[error("block {block} at height {height} left the chain")]
    CursorGone {
        /// Its height.
        height: Height,
        /// Which.
        block: BlockId,
    },
    /// Answering would take more work than one question may.
    #[error("{detail}")]
    TooBroad {
        /// What would.
        detail: String,
    },
    /// Storage or engine failed.
    #[error("{detail}")]
    Fault {
        /// What failed; goes to the log, not to the client.
        detail: String,
    },
}

/// Says why a transaction may not wait for a block.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// A verdict about the transaction; the code says which.
    #[error("{detail}")]
    Refused {
        /// Stable code of the API.
        code: ErrorCode,
        /// One sentence for a person.
        detail: String,
    },
    /// The node cannot take any.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl From<VerifyTransactionError> for SubmitError {
    fn from(error: VerifyTransactionError) -> Self {
        let code = match &error {
            VerifyTransactionError::WrongChain { .. } => ErrorCode::WrongChain,
            VerifyTransactionError::BadSignature => ErrorCode::BadSignature,
            VerifyTransactionError::WrongSender { .. } => ErrorCode::WrongSender,
            VerifyTransactionError::ActionCount { .. } | VerifyTransactionError::AccessListLength { .. } => {
                ErrorCode::TransactionLimits
            }
        };
        Self::Refused { code, detail: error.to_string() }
    }
}

impl From<InclusionError> for SubmitError {
    fn from(error: InclusionError) -> Self {
        let code = match &error {
            InclusionError::NonceUsed { .. } => ErrorCode::NonceUsed,
            InclusionError::NonceGap { .. } => ErrorCode::NonceGap,
            InclusionError::Expired { .. } => ErrorCode::TransactionExpired,
            InclusionError::ExpiryTooFar { .. } => ErrorCode::ExpiryTooFar,
            InclusionError::FeeUnpaid { .. } => ErrorCode::FeeUnpaid,
            InclusionError::FeeTooLow { .. } => ErrorCode::FeeTooLow,
            InclusionError::GasLimit { .. } => ErrorCode::GasLimit,
            InclusionError::TooLarge { .. } | InclusionError::BlockFull => ErrorCode::NotIncludable,
        };
        Self::Refused { code, detail: error.to_string() }
    }
}

/// Which block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockSelector {
    /// The last durable one.
    Latest,
    /// At a height.
    Height(Height),
    /// With an id.
    Id(BlockId),
}

/// A block with what it did.
#[derive(Debug, Clone)]
pub struct BlockRecord {
    /// Its id.
    pub id: BlockId,
    /// Header and transactions.
    pub block: Block,
    /// One per transaction, in order.
    pub receipts: Vec<Receipt>,
    /// The validators' signatures.
    pub certificate: Certificate,
}

/// Where a committed transaction is.
#[derive(Debug, Clone)]
pub struct Inclusion {
    /// Height of its block.
    pub height: Height,
    /// Id of its block.
    pub block: BlockId,
    /// Time of its block.
    pub time: TimestampMs,
    /// Zero-based index in its block.
    pub index: u32,
    /// What it did.
    pub receipt: Receipt,
    /// Log lines and a backtrace, when this node has them.
    pub diagnostic: Option<String>,
    /// Blocks on top of its block.
    pub confirmations: u64,
    /// Whether its block stays: always under proof of stake, with enough confirmations under proof of work.
    pub is_final: bool,
}

/// A transaction that the node knows.
#[derive(Debug, Clone)]
pub struct TransactionRecord {
    /// Its id.
    pub id: TransactionId,
    /// The transaction.
    pub transaction: Transaction,
    /// Where it is; `None` while it waits for a block.
    pub inclusion: Option<Inclusion>,
}

/// How waiting for a transaction ended.
#[derive(Debug, Clone)]
pub enum Conclusion {
    /// It is in a final block.
    Committed(Box<TransactionRecord>),
    /// It left the pool without being in a block: expired, replaced or pushed out.
    Dropped {
        /// Why, for a person.
        reason: String,
    },
    /// The node knows no such transaction.
    Unknown,
}

/// An account at the latest height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountRecord {
    /// Native units.
    pub balance: Amount,
    /// Number of its committed transactions.
    pub nonce: u64,
    /// Nonce for its next transaction, after those in the pool.
    pub next_nonce: u64,
}

/// Answer to a query.
#[derive(Debug, Clone)]
pub struct QueryRecord {
    /// Height of the state that was read.
    pub height: Height,
    /// Result and cost.
    pub report: CallReport,
}

/// What a transaction would do.
#[derive(Debug, Clone)]
pub struct SimulationRecord {
    /// Height of the state it ran on.
    pub height: Height,
    /// What it would have done.
    pub receipt: Receipt,
    /// Log lines and a backtrace.
    pub diagnostic: Option<String>,
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only of this application.
    pub app: Option<AppId>,
    /// Only with this topic.
    pub topic: Option<String>,
    /// Of which blocks.
    pub scope: EventScope,
}

/// Whether to wait until an event stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EventScope {
    /// Only events of final blocks.
    #[default]
    Final,
    /// Events of all blocks, and of those that left the chain that they did.
    Unfinalised,
}

/// An event in the log.
#[derive(Debug, Clone)]
pub struct EventRecord {
    /// Its position.
    pub cursor: EventCursor,
    /// Transaction that caused it.
    pub transaction: TransactionId,
    /// The event.
    pub event: Event,
    /// Set when its block left the chain: where to read on.
    pub removed: Option<EventCursor>,
}

/// Some events in order of position.
#[derive(Debug, Clone, Default)]
pub struct EventRecords {
    /// All of them after the cursor asked for.
    pub events: Vec<EventRecord>,
    /// Everything up to here was looked at, events that the filter left out included. Never before the cursor
    /// asked for; at the end of the log it is [`EventCursor::end_of`] the head.
    pub next: EventCursor,
    /// Whether the log goes on after `next` now.
    pub more: bool,
}

/// An application's storage entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRecord {
    /// The entry is as it was after this block.
    pub height: Height,
    /// The value, when something is there.
    pub value: Option<Vec<u8>>,
}

/// A storage entry, or its absence, with a proof that a block commits to it.
#[derive(Debug, Clone)]
pub struct ProvenStateRecord {
    /// The entry; its height is the one before `header`.
    pub entry: StateRecord,
    /// Full key in the state tree.
    pub state_key: Vec<u8>,
    /// Borsh of `purlin_state`'s proof, against `header.state_root`.
    pub merkle: Vec<u8>,
    /// Header of the block after the entry's height.
    pub header: BlockHeader,
    /// Its certificate.
    pub certificate: Certificate,
}

/// A device with its Thing Description.
#[derive(Debug, Clone)]
pub struct DeviceDetails {
    /// What the registry knows.
    pub record: DeviceRecord,
    /// Thing Description, JSON text.
    pub description: String,
}

/// The node that the server stands in front of; `purlin-service` implements it, `testing::FakeNode`
/// is its twin for tests.
///
/// Methods that return plain values may read the disk; the server calls them on the blocking pool. [`Node::head`],
/// [`Node::status`], [`Node::peers`] and [`Node::readiness`] answer from memory and are called on async threads. Futures must be
/// cancel-safe: the server drops them when a client goes away.
pub trait Node: Send + Sync + 'static {
    /// Returns what `GET /status` shows. From memory.
    fn status(&self) -> Status;

    /// Returns the height of the last final block and tells of new ones. When a receiver sees a height, every
    /// read finds that block and its events.
    fn head(&self) -> watch::Receiver<Height>;

    /// Returns the height of the last block, final or not, and tells of every change of it.
    fn tip(&self) -> watch::Receiver<Height> {
        self.head()
    }

    /// Says whether the node can take transactions and answer queries. From memory.
    fn readiness(&self) -> Result<(), NodeError>;

    /// Returns the connected nodes in order of id; none for a node without a network. From memory.
    fn peers(&self) -> Vec<PeerView>;

    /// Returns at most `limit` validators after an account, in account order, with all who decide the next block
    /// among them; none under proof of work. The page says where the next one starts.
    fn validators(&self, after: Option<&AccountId>, limit: usize) -> Result<ValidatorPage, NodeError>;

    /// Appends the node's metrics in Prometheus text format.
    fn metrics(&self, out: &mut String);

    /// Checks a transaction and puts it into the pool. Accepted means that it waits, not that it is durable.
    fn submit(&self, transaction: Transaction) -> BoxFuture<'_, Result<TransactionId, SubmitError>>;

    /// Does the same for several, in order; gives one result for each.
    fn submit_batch(
        &self,
        transactions: Vec<Transaction>,
    ) -> BoxFuture<'_, Vec<Result<TransactionId, SubmitError>>>;

    /// Waits until a transaction is in a final block or gone. Returns at once when it is already.
    fn wait_committed(&self, id: TransactionId) -> BoxFuture<'_, Result<Conclusion, NodeError>>;

    /// Returns a block.
    fn block(&self, selector: BlockSelector) -> Result<Option<BlockRecord>, NodeError>;

    /// Returns at most `limit` blocks below height `before` (`None`: from the head down), newest first.
    fn blocks(&self, before: Option<Height>, limit: usize) -> Result<Vec<BlockSummary>, NodeError>;

    /// Returns a block in short.
    fn block_summary(&self, height: Height) -> Result<Option<BlockSummary>, NodeError>;

    /// Returns a transaction from the chain or the pool.
    fn transaction(&self, id: TransactionId) -> Result<Option<TransactionRecord>, NodeError>;

    /// Runs a transaction's actions and discards the effects.
    fn simulate(&self, body: TransactionBody) -> Result<SimulationRecord, NodeError>;

    /// Returns an account; zeros for one that never received anything.
    fn account(&self, id: &AccountId) -> Result<AccountRecord, NodeError>;

    /// Returns at most `limit` applications after an id, in id order.
    fn apps(&self, after: Option<&AppId>, limit: usize) -> Result<Vec<AppView>, NodeError>;

    /// Returns an application.
    fn app(&self, id: &AppId) -> Result<Option<AppView>, NodeError>;

    /// Returns the hash of an application's code; cheaper than [`Node::app`], because it decides about cached
    /// schemas.
    fn app_code_hash(&self, id: &AppId) -> Result<Option<CodeHash>, NodeError>;

    /// Returns an application's schema: the JSON in its wasm's custom section, or in its package.
    fn app_schema(&self, id: &AppId) -> Result<Option<Vec<u8>>, NodeError>;

    /// Runs a query at a height; `None` is the latest.
    fn query(&self, request: &QueryRequest, height: Option<Height>) -> Result<QueryRecord, NodeError>;

    /// Returns at most `limit` events after a cursor. Bounded work: may return fewer, even none, with `more`. When the
    /// cursor's block left the chain, what was told up to it is given as removed first, newest first; events of
    /// final blocks only when more was taken back than the chain's confirmations.
    fn events(
        &self,
        filter: &EventFilter,
        after: EventCursor,
        limit: usize,
    ) -> Result<EventRecords, NodeError>;

    /// Returns an entry of an application's storage at the latest height.
    fn state(&self, app: &AppId, key: &[u8]) -> Result<StateRecord, NodeError>;

    /// Proves the newest value of an entry, or its absence, that a block header commits to. Because the root of a
    /// block's state is in the header of the next, this makes or awaits a block when the head itself changed
    /// state, so that the answer is never older than the head at the time of the request.
    fn prove_state(&self, app: &AppId, key: &[u8]) -> BoxFuture<'_, Result<ProvenStateRecord, NodeError>>;

    /// Returns devices in id order.
    fn devices(&self, filter: &DeviceFilter) -> Result<Vec<DeviceRecord>, NodeError>;

    /// Returns a device.
    fn device(&self, id: &DeviceId) -> Result<Option<DeviceDetails>, NodeError>;
}
