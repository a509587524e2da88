//! The port to execution.

use purlin_primitives::{
    AccountId, Amount, AppId, CallFailure, CallOutcome, ChainId, Gas, Height, Parameters, Receipt, Seal,
    TimestampMs, TransactionId, VerifiedTransaction,
};
use purlin_state::{Changes, StateReader, StoreError};
use std::sync::Arc;

/// What a block's execution may know besides state: all of it is in the header or the genesis.
#[derive(Debug, Clone)]
pub struct BlockContext {
    /// Which chain.
    pub chain_id: ChainId,
    /// The block's height.
    pub height: Height,
    /// The block's time.
    pub time: TimestampMs,
    /// Who receives the fees.
    pub proposer: AccountId,
    /// What the header says to the engine.
    pub seal: Seal,
    /// The chain's rules.
    pub parameters: Arc<Parameters>,
}

/// What to do with a transaction that may not be in this block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Leave it out and go on: the block is being built here.
    LeaveOut,
    /// The whole block is invalid: somebody else built it.
    Refuse,
}

/// Says why a transaction may not be in a block at this point. It pays nothing and leaves no receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InclusionError {
    /// Used before.
    #[error("nonce {nonce} was used already; the next one of this account is {expected}")]
    NonceUsed {
        /// Nonce of the transaction.
        nonce: u64,
        /// Next nonce of the account.
        expected: u64,
    },
    /// An earlier transaction is missing.
    #[error("nonce {nonce} leaves a gap; the next one of this account is {expected}")]
    NonceGap {
        /// Nonce of the transaction.
        nonce: u64,
        /// Next nonce of the account.
        expected: u64,
    },
    /// Too late.
    #[error("transaction expired at height {expires_at}; the chain is at {height}")]
    Expired {
        /// Last height for it.
        expires_at: Height,
        /// Height of the block.
        height: Height,
    },
    /// Expires too far ahead for its id to be remembered.
    #[error("transaction expires at height {expires_at}; at most {max} is allowed now")]
    ExpiryTooFar {
        /// Last height for it.
        expires_at: Height,
        /// Highest allowed.
        max: Height,
    },
    /// Cannot pay the fee.
    #[error("account has {balance}; the fee is {fee}")]
    FeeUnpaid {
        /// What it has.
        balance: Amount,
        /// What is needed.
        fee: Amount,
    },
    /// Offers less than the chain's minimum.
    #[error("fee {fee} is below the minimum {min} for a gas limit of {gas_limit}")]
    FeeTooLow {
        /// Offered.
        fee: Amount,
        /// Least accepted.
        min: Amount,
        /// For this limit.
        gas_limit: Gas,
    },
    /// Asks for more gas than a block has, or less than its bytes cost.
    #[error("gas limit {gas_limit} is outside {min} to {max}")]
    GasLimit {
        /// Asked for.
        gas_limit: Gas,
        /// Cost of its bytes and signature.
        min: Gas,
        /// Gas of a block.
        max: Gas,
    },
    /// Fits into no block.
    #[error("transaction has {bytes} bytes; a block has at most {max}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// That of a block's transactions.
        max: u64,
    },
    /// Does not fit into what is left of this block; may fit the next.
    #[error("block is full")]
    BlockFull,
}

/// A transaction that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its position in the input.
    pub position: usize,
    /// Which.
    pub transaction: TransactionId,
    /// Why.
    pub reason: InclusionError,
}

/// Node-local explanation of what a transaction did: log lines and a symbolised backtrace. Not hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which transaction.
    pub transaction: TransactionId,
    /// Lines for a person.
    pub text: String,
}

/// What executing a block gave.
#[derive(Debug, Clone, Default)]
pub struct ExecutedBlock {
    /// Positions of the included transactions, in execution order.
    pub included: Vec<usize>,
    /// One receipt per included transaction, in the same order.
    pub receipts: Vec<Receipt>,
    /// New values of every key that differs from the parent state; fees are credited.
    pub changes: Changes,
    /// Value of each of those keys in the parent state, from [`purlin_state::Overlay::into_changes_and_previous`].
    /// It is kept for reading older heights; the chain reads what is missing here from its store, which costs
    /// a look-up per key.
    pub previous: Changes,
    /// What was left out; empty under [`Policy::Refuse`].
    pub rejected: Vec<Rejected>,
    /// Node-local explanations.
    pub diagnostics: Vec<Diagnostic>,
    /// Sum over receipts.
    pub gas_used: Gas,
}

/// A read-only call at one height.
#[derive(Debug, Clone)]
pub struct QueryRequest {
    /// Which application.
    pub app: AppId,
    /// Query name without the `query_` prefix.
    pub method: String,
    /// Borsh arguments.
    pub arguments: Vec<u8>,
    /// Who asks; `ZERO` when nobody in particular.
    pub caller: AccountId,
    /// Most gas it may use.
    pub gas_limit: Gas,
}

/// What a call gave, with what a person needs to understand it.
#[derive(Debug, Clone)]
pub struct CallReport {
    /// Result bytes, or why not.
    pub outcome: CallOutcome,
    /// Work done.
    pub gas_used: Gas,
    /// Log lines and backtrace.
    pub diagnostic: Option<String>,
}

/// Says that this node cannot execute; never a verdict about a block or a transaction.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionFault {
    /// State cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine lacks memory, address space or time.
    #[error("the wasm engine failed: {detail}")]
    Engine {
        /// What it said.
        detail: String,
    },
    /// Under [`Policy::Refuse`], a transaction may not be where it is.
    #[error("transaction {transaction} may not be in this block: {reason}")]
    InvalidBlock {
        /// Which.
        transaction: TransactionId,
        /// Why.
        reason: InclusionError,
    },
}

/// Executes blocks; a pure function of state and input.
pub trait Executor: Send + Sync + 'static {
    /// Applies the genesis to empty state.
    fn genesis(&self, genesis: &purlin_primitives::Genesis) -> Result<Changes, ExecutionFault>;

    /// Executes transactions in order on top of `state`.
    fn execute_block(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        transactions: &[VerifiedTransaction],
        policy: Policy,
    ) -> Result<ExecutedBlock, ExecutionFault>;

    /// Checks what can be checked before a transaction waits: fee, gas, expiry, balance; not the nonce.
    fn check_admission(
        &self,
        state: &dyn StateReader,
        context: &BlockContext,
        transaction: &VerifiedTransaction,
    ) -> Result<Result<(), InclusionError>, ExecutionFault>;

    /// Runs a query.
    fn query(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        request: &QueryRequest,
    ) -> Result<CallReport, ExecutionFault>;

    /// Runs a transaction's actions without signature, nonce or fee, and discards every change: what it would
    /// do now, and what gas it would use.
    fn simulate(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        transaction: &purlin_primitives::TransactionBody,
    ) -> Result<(Receipt, Option<String>), ExecutionFault>;
}

impl From<CallFailure> for CallReport {
    fn from(failure: CallFailure) -> Self {
        Self { outcome: Err(failure), gas_used: Gas::ZERO, diagnostic: None }
    }
}
