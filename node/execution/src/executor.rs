//! The executor: blocks, queries, simulation, genesis.

use purlin_abi::GasSchedule;
use purlin_capabilities::{EngineFault, Runtime, RuntimeConfig, on_guest_stack};
use purlin_chain::{
    BlockContext, CallReport, Diagnostic, ExecutedBlock, ExecutionFault, Executor, InclusionError, Policy,
    QueryRequest, Rejected,
};
use purlin_modules::{BlockEnd, ModuleError, NativeModule, accounts};
use purlin_primitives::{
    Amount, Gas, Genesis, Parameters, Receipt, TransactionBody, TransactionId, VerifiedTransaction,
};
use purlin_state::{Changes, EmptyState, Overlay, StateReader};
use std::sync::Arc;

use crate::call::{Call, CallKind, engine_fault, invoke, verdict};
use crate::entry::Entries;
use crate::host::CallHost;
use crate::session::Session;
use crate::transaction::{Slot, Work, charge_sender, check_terms, run};

/// Bytes of a public key and a signature, which a body alone does not have.
const SIGNATURE_BYTES: usize = 33 + 64;

/// What lives as long as the node.
pub(crate) struct Shared {
    pub(crate) runtime: Runtime<CallHost>,
    pub(crate) modules: Vec<Box<dyn NativeModule>>,
    pub(crate) entries: Entries,
}

/// Executes blocks: native modules and wasm applications over one overlay.
///
/// Cheap to clone; clones share the runtime, its pool of instances and its compiled code. Blocks and queries
/// may run at once on several threads. On a thread whose stack is not sized for guests (see
/// `EngineConfig::thread_stack_bytes`) each block or query costs a new thread.
#[derive(Clone)]
pub struct NodeExecutor {
    shared: Arc<Shared>,
}

impl NodeExecutor {
    /// Starts a runtime and uses the standard native modules.
    ///
    /// # Errors
    /// When the machine cannot run guests: no address space, or the cache directory cannot be used.
    pub fn new(config: &RuntimeConfig) -> Result<Self, EngineFault> {
        Self::with_modules(config, purlin_modules::standard())
    }

    /// As [`NodeExecutor::new`], with other native modules. All nodes of a chain need the same ones, in the
    /// same order.
    ///
    /// # Errors
    /// As [`NodeExecutor::new`].
    pub fn with_modules(
        config: &RuntimeConfig,
        modules: Vec<Box<dyn NativeModule>>,
    ) -> Result<Self, EngineFault> {
        let runtime = Runtime::new(config)?;
        Ok(Self { shared: Arc::new(Shared { runtime, modules, entries: Entries::default() }) })
    }

    fn session(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
    ) -> Result<Box<Session>, ExecutionFault> {
        Ok(Session::new(self.shared.clone(), state, context, schedule(&context.parameters)?))
    }

    /// Executes one transaction whose signature nobody checked, in a block of its own.
    pub(crate) fn execute_unsigned(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        body: &TransactionBody,
    ) -> Result<Result<Unsigned, InclusionError>, ExecutionFault> {
        let session = self.session(state, context)?;
        let transaction = Candidate { id: body.id(), size_bytes: size_bytes(body), body };
        guest_stack(move || {
            let mut building = Building::new(session, context);
            match building.add(&transaction)? {
                Err(reason) => Ok(Err(reason)),
                Ok((receipt, diagnostic)) => {
                    let changes = building.finish()?;
                    Ok(Ok(Unsigned { receipt, changes, diagnostic }))
                }
            }
        })
    }
}

impl std::fmt::Debug for NodeExecutor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeExecutor").finish_non_exhaustive()
    }
}

/// Finds the prices of a chain.
fn schedule(parameters: &Parameters) -> Result<GasSchedule, ExecutionFault> {
    match parameters.gas_schedule {
        1 => Ok(GasSchedule::V1),
        version => Err(ExecutionFault::Engine {
            detail: format!("gas schedule {version} is not known to this version of the software; update it"),
        }),
    }
}

fn size_bytes(body: &TransactionBody) -> usize {
    borsh::object_length(body).expect("counting bytes cannot fail") + SIGNATURE_BYTES
}

/// Runs guests on a thread that has the stack for them.
fn guest_stack<R: Send>(
    work: impl FnOnce() -> Result<R, ExecutionFault> + Send,
) -> Result<R, ExecutionFault> {
    on_guest_stack(work).map_err(engine_fault)?
}

/// What one unsigned transaction did.
pub(crate) struct Unsigned {
    pub(crate) receipt: Receipt,
    pub(crate) changes: Changes,
    pub(crate) diagnostic: Option<String>,
}

/// A transaction that wants into a block.
struct Candidate<'a> {
    id: TransactionId,
    size_bytes: usize,
    body: &'a TransactionBody,
}

/// There is nobody to tell that a rule was broken at the end of a block: this node cannot go on.
fn rule_fault(place: &str, error: ModuleError) -> ExecutionFault {
    match verdict(error) {
        Ok(failure) => ExecutionFault::Engine {
            detail: format!("the end of a block breaks a rule of {place}: {}", failure.message),
        },
        Err(fault) => fault,
    }
}

/// A block that grows.
struct Building<'a> {
    slot: Slot,
    context: &'a BlockContext,
    gas_used: u64,
    bytes: u64,
    count: u32,
    fees: Amount,
}

impl<'a> Building<'a> {
    fn new(session: Box<Session>, context: &'a BlockContext) -> Self {
        Self { slot: Slot::new(session), context, gas_used: 0, bytes: 0, count: 0, fees: Amount::ZERO }
    }

    /// Says whether the transaction fits into what is left.
    fn has_room(&self, candidate: &Candidate<'_>) -> bool {
        let parameters = &self.context.parameters;
        let gas = self.gas_used.saturating_add(candidate.body.gas_limit.get());
        let bytes = self.bytes.saturating_add(candidate.size_bytes as u64);
        gas <= parameters.block_gas_limit.get()
            && bytes <= parameters.block_bytes_max
            && self.count < parameters.block_transactions_max
    }

    /// Executes one more transaction, or says why it may not be here.
    fn add(
        &mut self,
        candidate: &Candidate<'_>,
    ) -> Result<Result<(Receipt, Option<String>), InclusionError>, ExecutionFault> {
        let body = candidate.body;
        let schedule = self.slot.session().schedule;
        if let Err(reason) = check_terms(body, candidate.size_bytes, self.context, &schedule) {
            return Ok(Err(reason));
        }
        if !self.has_room(candidate) {
            return Ok(Err(InclusionError::BlockFull));
        }
        if let Err(reason) = charge_sender(self.slot.session_mut(), body)? {
            return Ok(Err(reason));
        }
        let work = Work {
            id: candidate.id,
            size_bytes: candidate.size_bytes,
            body,
            gas_limit: body.gas_limit,
            fee: body.fee,
        };
        let receipt = run(&mut self.slot, &work)?;
        self.gas_used += receipt.gas_used.get();
        self.bytes += candidate.size_bytes as u64;
        self.count += 1;
        self.fees = self.fees.checked_add(body.fee).expect("fees were taken from balances, whose sum fits");
        Ok(Ok((receipt, self.slot.session_mut().diagnostics.take())))
    }

    /// Pays the proposer, lets every module do what is due at the end of a block, and returns what changed.
    fn finish(mut self) -> Result<Changes, ExecutionFault> {
        let session = self.slot.session_mut();
        let BlockContext { height, time, proposer, seal, ref parameters, .. } = *self.context;
        let overlay = &mut session.overlay;
        accounts::credit(overlay, &proposer, self.fees).map_err(|error| rule_fault("the fees", error))?;
        let end = BlockEnd { height, time, proposer, seal, parameters };
        for module in &session.shared.modules {
            module.end_block(overlay, &end).map_err(|error| rule_fault(module.name(), error))?;
        }
        Ok(self.slot.into_session().overlay.into_changes()?)
    }
}

impl Executor for NodeExecutor {
    fn genesis(&self, genesis: &Genesis) -> Result<Changes, ExecutionFault> {
        schedule(&genesis.parameters)?;
        let mut overlay = Overlay::new(Arc::new(EmptyState));
        for module in &self.shared.modules {
            module.genesis(&mut overlay, genesis).map_err(|error| match verdict(error) {
                Ok(failure) => ExecutionFault::Engine {
                    detail: format!("the genesis breaks a rule of {}: {}", module.name(), failure.message),
                },
                Err(fault) => fault,
            })?;
        }
        Ok(overlay.into_changes()?)
    }

    fn execute_block(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        transactions: &[VerifiedTransaction],
        policy: Policy,
    ) -> Result<ExecutedBlock, ExecutionFault> {
        let session = self.session(state, context)?;
        guest_stack(move || {
            let mut block = ExecutedBlock::default();
            let mut building = Building::new(session, context);
            for (position, transaction) in transactions.iter().enumerate() {
                let id = transaction.id();
                let candidate =
                    Candidate { id, size_bytes: transaction.size_bytes(), body: transaction.body() };
                match (building.add(&candidate)?, policy) {
                    (Ok((receipt, text)), _) => {
                        block.included.push(position);
                        block.receipts.push(receipt);
                        block.diagnostics.extend(text.map(|text| Diagnostic { transaction: id, text }));
                    }
                    (Err(reason), Policy::LeaveOut) => {
                        block.rejected.push(Rejected { position, transaction: id, reason });
                    }
                    (Err(reason), Policy::Refuse) => {
                        return Err(ExecutionFault::InvalidBlock { transaction: id, reason });
                    }
                }
            }
            block.gas_used = Gas::new(building.gas_used);
            block.changes = building.finish()?;
            Ok(block)
        })
    }

    fn check_admission(
        &self,
        state: &dyn StateReader,
        context: &BlockContext,
        transaction: &VerifiedTransaction,
    ) -> Result<Result<(), InclusionError>, ExecutionFault> {
        let schedule = schedule(&context.parameters)?;
        let body = transaction.body();
        if let Err(reason) = check_terms(body, transaction.size_bytes(), context, &schedule) {
            return Ok(Err(reason));
        }
        let balance = accounts::account(&mut &*state, &body.sender)?.balance;
        if balance < body.fee {
            return Ok(Err(InclusionError::FeeUnpaid { balance, fee: body.fee }));
        }
        Ok(Ok(()))
    }

    fn query(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        request: &QueryRequest,
    ) -> Result<CallReport, ExecutionFault> {
        let mut session = self.session(state, context)?;
        session.begin(request.caller, &[]);
        guest_stack(move || {
            let mut slot = Slot::new(session);
            let call = Call {
                app: &request.app,
                method: &request.method,
                arguments: request.arguments.clone(),
                caller: request.caller,
                deposit: Amount::ZERO,
                gas: request.gas_limit,
                kind: CallKind::Query,
            };
            let called = slot.run(|session| invoke(session, call))?;
            let diagnostic = slot.session_mut().diagnostics.take();
            Ok(CallReport { outcome: called.outcome, gas_used: called.gas_used, diagnostic })
        })
    }

    fn simulate(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        transaction: &TransactionBody,
    ) -> Result<(Receipt, Option<String>), ExecutionFault> {
        let session = self.session(state, context)?;
        // Nobody has to guess a limit to find one: zero means what a block has.
        let most = context.parameters.block_gas_limit;
        let gas_limit =
            if transaction.gas_limit == Gas::ZERO { most } else { transaction.gas_limit.min(most) };
        let work = Work {
            id: transaction.id(),
            size_bytes: size_bytes(transaction),
            body: transaction,
            gas_limit,
            fee: Amount::ZERO,
        };
        guest_stack(move || {
            let mut slot = Slot::new(session);
            let receipt = run(&mut slot, &work)?;
            Ok((receipt, slot.session_mut().diagnostics.take()))
        })
    }
}
