//! What the node's threads and its API share.

use parking_lot::{Mutex, RwLock};
use purlin_api::ErrorCode;
use purlin_chain::{BlockContext, Chain, Executor, Head, InclusionError};
use purlin_consensus::Input;
use purlin_mempool::{AdmitError, Mempool};
use purlin_modules::{accounts, staking};
use purlin_primitives::{
    AccountId, ConsensusRules, Height, Transaction, TransactionId, ValidatorSet, VerifiedTransaction,
};
use purlin_rpc::{NodeError, SubmitError};
use purlin_state::{KeyValueStore, StateReader, StoreError};
use purlin_sync::{Checkpoint, SyncProgress, TrustProblem};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Instant;
use tokio::sync::watch;

use super::heads::Heads;
use super::inbox::Event;
use super::peers::Peers;
use super::pipeline::Message;
use super::tracker::Tracker;
use crate::home::HomeLock;
use crate::metrics::{Metrics, Stage, add};
use crate::snapshot::Shelf;

/// Why a node stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// It was asked to.
    Requested,
    /// It could not go on; the message says what failed and what to do.
    Failed(String),
}

/// The state that new transactions are checked against: after the last block that was built.
pub(super) struct View {
    pub(super) state: Arc<dyn StateReader>,
    /// Of the next block.
    pub(super) context: BlockContext,
}

/// The pool and the state it belongs to; they change together.
pub(super) struct Pool {
    pub(super) mempool: Mempool,
    pub(super) view: Arc<View>,
}

pub(super) struct Core<S> {
    pub(super) chain: Chain<S>,
    pub(super) executor: Arc<dyn Executor>,
    /// Locked before `tracker` where both are.
    pub(super) pool: Mutex<Pool>,
    pub(super) tracker: Mutex<Tracker>,
    pub(super) metrics: Arc<Metrics>,
    /// The last block: durable and signed; under proof of work durable, and the end of the heaviest branch.
    pub(super) head: RwLock<Arc<Head>>,
    /// Height of the last final block.
    pub(super) heights: watch::Sender<Height>,
    /// What only proof of work has.
    pub(super) heads: Option<Heads>,
    pub(super) stop: watch::Sender<Option<StopReason>>,
    pub(super) messages: SyncSender<Message>,
    /// Set while the driver has been told of waiting transactions and has not looked yet.
    pub(super) waiting_told: AtomicBool,
    /// The same for a wanted anchor.
    pub(super) anchor_told: AtomicBool,
    /// The round of the height being decided, for those who look at votes before the engine.
    pub(super) round: AtomicU32,
    pub(super) engine: &'static str,
    pub(super) validator: Option<AccountId>,
    /// Hears of admitted transactions, when there are peers.
    pub(super) peers: Option<Peers>,
    /// How far behind this node is.
    pub(super) sync: Mutex<Option<SyncProgress>>,
    /// Why blocks of peers are not taken.
    pub(super) sync_problem: Mutex<Option<TrustProblem>>,
    /// A block that the operator trusts.
    pub(super) trusted: Option<Checkpoint>,
    /// Snapshots for newcomers.
    pub(super) snapshots: Arc<Shelf>,
    /// Who decides the next height, read once per height.
    pub(super) deciding: Mutex<Option<(Height, Arc<ValidatorSet>)>>,
    pub(super) started: Instant,
    /// Last, so that the home is free only when the database is closed.
    pub(super) _lock: Option<HomeLock>,
}

impl<S: KeyValueStore> Core<S> {
    /// Ends the node because it cannot go on. The first reason stays.
    pub(super) fn fail(&self, reason: impl std::fmt::Display) {
        let reason = reason.to_string();
        let first = self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            if first {
                *stop = Some(StopReason::Failed(reason.clone()));
            }
            first
        });
        if first {
            tracing::error!(reason, "the node stops");
        }
        self.tracker.lock().close();
        // The driver may be the one that failed, and its queue full; it looks at `stop` after each message.
        drop(self.messages.try_send(Message::Stop));
    }

    /// Returns the height of the last block that may be shown.
    pub(super) fn newest(&self) -> Height {
        self.head.read().height
    }

    pub(super) fn stopping(&self) -> bool {
        self.stop.borrow().is_some()
    }

    pub(super) fn check_running(&self) -> Result<(), NodeError> {
        if self.stopping() { Err(NodeError::Stopping) } else { Ok(()) }
    }

    /// Turns a read error into an answer. Damaged data stops the node: what it would say next may be wrong.
    pub(super) fn fault(&self, error: impl Into<purlin_chain::ChainError>) -> NodeError {
        let error = error.into();
        if let purlin_chain::ChainError::Store(StoreError::Corrupt { .. }) = &error {
            self.fail(&error);
        }
        if let purlin_chain::ChainError::Store(StoreError::BlockPruned { height, oldest }) = error {
            return NodeError::BlockPruned { height, oldest };
        }
        NodeError::Fault { detail: error.to_string() }
    }

    /// Tells the driver something, once until it has looked.
    fn tell(&self, told: &AtomicBool, input: Input) {
        if !told.swap(true, Ordering::AcqRel) && self.messages.send(Message::Input(input)).is_err() {
            // The driver is gone, and with it everybody who could care.
            told.store(false, Ordering::Release);
        }
    }

    /// Returns who decides a height, which may be at most the one after what is durable. That is not always the one
    /// after the last final block: a block is durable before it is final.
    pub(super) fn validators(&self, height: Height) -> Result<Arc<ValidatorSet>, StoreError> {
        let state = self.chain.state();
        let mut deciding = self.deciding.lock();
        if let Some((known, set)) = &*deciding
            && *known == height
        {
            return Ok(Arc::clone(set));
        }
        let set = staking::validators_at(&mut &*state, height)?;
        // Most heights have the set of the one before.
        let set = match &*deciding {
            Some((_, before)) if **before == set => Arc::clone(before),
            _ => Arc::new(set),
        };
        *deciding = Some((height, Arc::clone(&set)));
        Ok(set)
    }

    /// Returns the newest block that a newcomer can use as a checkpoint: the first of an epoch, and not above what the
    /// newest snapshot reaches, which it could not join by otherwise.
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        let ConsensusRules::Pos(rules) = &self.chain.parameters().consensus else { return None };
        let head = self.head.read().height;
        let reached = self.snapshots.get(None).map_or(head, |file| file.height().next().min(head));
        let epoch = staking::epoch_of(rules, reached);
        let height = Height::new(epoch.checked_mul(rules.epoch_blocks)?.checked_add(1)?);
        let header = if epoch > 0 { self.chain.header(height).ok().flatten() } else { None };
        Some(Checkpoint { height, block: header?.id() })
    }

    pub(super) fn want_anchor(&self) {
        self.tell(&self.anchor_told, Input::AnchorWanted);
    }

    /// Checks the signature: everything that needs no state.
    pub(super) fn verify(&self, transaction: Transaction) -> Result<VerifiedTransaction, SubmitError> {
        let chain_id = &self.chain.genesis().chain_id;
        let verified = self.metrics.timed(Stage::Signature, 1, || transaction.verify(chain_id));
        verified.map_err(|error| {
            add(&self.metrics.refused, 1);
            error.into()
        })
    }

    /// Puts a client's transaction into the pool and tells peers.
    pub(super) fn submit(&self, transaction: VerifiedTransaction) -> Result<TransactionId, SubmitError> {
        let Some(peers) = &self.peers else { return self.admit(transaction) };
        let id = self.admit(transaction.clone())?;
        // When there is no room, peers find it by comparing pools.
        drop(peers.inbox.put(Event::Admitted(transaction)));
        Ok(id)
    }

    /// Puts a transaction into the pool, or says why not.
    pub(super) fn admit(&self, transaction: VerifiedTransaction) -> Result<TransactionId, SubmitError> {
        self.check_running()?;
        let result = self.metrics.timed(Stage::Admission, 1, || self.admit_inner(transaction));
        match result {
            Ok(id) => {
                add(&self.metrics.admitted, 1);
                self.tell(&self.waiting_told, Input::TransactionsWaiting);
                Ok(id)
            }
            Err(error) => {
                add(&self.metrics.refused, 1);
                Err(error)
            }
        }
    }

    fn admit_inner(&self, transaction: VerifiedTransaction) -> Result<TransactionId, SubmitError> {
        let id = transaction.id();
        let sender = transaction.body().sender;
        let view = Arc::clone(&self.pool.lock().view);
        let nonce_in = |view: &View| {
            let record = accounts::account(&mut &*view.state, &sender).map_err(|error| self.fault(error))?;
            Ok::<u64, NodeError>(record.nonce)
        };
        self.executor
            .check_admission(&*view.state, &view.context, &transaction)
            .map_err(|error| self.fault(error))??;
        let nonce = nonce_in(&view)?;
        let mut pool = self.pool.lock();
        // A block was built since: its nonces count.
        let nonce = if Arc::ptr_eq(&view, &pool.view) { nonce } else { nonce_in(&pool.view)? };
        let next = pool.view.context.height;
        let admitted = match pool.mempool.admit(transaction, nonce, next) {
            Ok(admitted) => admitted,
            Err(error) => {
                drop(pool);
                return Err(self.explain_refusal(id, error));
            }
        };
        add(&self.metrics.dropped, admitted.removed.len() as u64);
        let mut tracker = self.tracker.lock();
        tracker.admitted(&id);
        tracker.removed(&admitted.removed, None);
        Ok(id)
    }

    fn explain_refusal(&self, id: TransactionId, error: AdmitError) -> SubmitError {
        if let AdmitError::NonceUsed { nonce, expected } = error {
            // Sent twice is told from a nonce that another transaction used.
            let known = self.tracker.lock().in_block(&id).is_some()
                || self.chain.transaction_place(&id).is_ok_and(|place| place.is_some());
            if !known {
                return InclusionError::NonceUsed { nonce, expected }.into();
            }
            let detail = format!("transaction {id} is in a block already");
            return SubmitError::Refused { code: ErrorCode::KnownTransaction, detail };
        }
        let code = match &error {
            AdmitError::Duplicate { .. } => ErrorCode::KnownTransaction,
            AdmitError::NonceUsed { .. } => ErrorCode::NonceUsed,
            AdmitError::NonceGap { .. } => ErrorCode::NonceGap,
            AdmitError::Expired { .. } => ErrorCode::TransactionExpired,
            AdmitError::ReplacementFee { .. } => ErrorCode::ReplacementUnderpriced,
            AdmitError::SenderFull { .. } => ErrorCode::SenderLimit,
            AdmitError::PoolFull { .. } => ErrorCode::PoolFull,
            // However empty the pool gets.
            AdmitError::TooLarge { .. } => ErrorCode::NotIncludable,
        };
        SubmitError::Refused { code, detail: error.to_string() }
    }
}
