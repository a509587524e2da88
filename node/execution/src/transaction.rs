//! One transaction: whether it may be in a block, and what it does there.

use purlin_abi::GasSchedule;
use purlin_chain::{BlockContext, ExecutionFault, InclusionError};
use purlin_modules::{ModuleContext, ModuleError, accounts};
use purlin_primitives::{
    Action, Amount, CallFailure, FailureCode, Gas, Height, Outcome, Parameters, Receipt, TransactionBody,
    TransactionId,
};

use crate::call::{Call, CallKind, Returned, invoke, verdict};
use crate::lifecycle;
use crate::meter::{Meter, intrinsic};
use crate::session::Session;

/// Why an action did not end well: a verdict, or a fault of this node.
#[derive(Debug)]
pub(crate) enum ActionError {
    Failure(CallFailure),
    Fault(ExecutionFault),
}

impl From<CallFailure> for ActionError {
    fn from(failure: CallFailure) -> Self {
        Self::Failure(failure)
    }
}

impl From<ExecutionFault> for ActionError {
    fn from(fault: ExecutionFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<ModuleError> for ActionError {
    fn from(error: ModuleError) -> Self {
        verdict(error).map_or_else(Self::Fault, Self::Failure)
    }
}

/// Holds the session while no guest has it.
pub(crate) struct Slot(Option<Box<Session>>);

impl Slot {
    pub(crate) fn new(session: Box<Session>) -> Self {
        Self(Some(session))
    }

    pub(crate) fn session(&self) -> &Session {
        self.0.as_deref().expect("every guest gives the session back")
    }

    pub(crate) fn session_mut(&mut self) -> &mut Session {
        self.0.as_deref_mut().expect("every guest gives the session back")
    }

    pub(crate) fn into_session(self) -> Box<Session> {
        self.0.expect("every guest gives the session back")
    }

    /// Lends the session to a guest.
    pub(crate) fn run<T>(
        &mut self,
        work: impl FnOnce(Box<Session>) -> Returned<T>,
    ) -> Result<T, ExecutionFault> {
        let (session, result) = work(self.0.take().expect("every guest gives the session back"));
        self.0 = Some(session);
        result
    }
}

/// Checks what does not depend on other transactions: expiry, gas limit, fee.
pub(crate) fn check_terms(
    body: &TransactionBody,
    size_bytes: usize,
    context: &BlockContext,
    schedule: &GasSchedule,
) -> Result<(), InclusionError> {
    let parameters = &context.parameters;
    if body.expires_at < context.height {
        return Err(InclusionError::Expired { expires_at: body.expires_at, height: context.height });
    }
    let max = Height::new(context.height.get().saturating_add(parameters.expiry_blocks_max));
    if body.expires_at > max {
        return Err(InclusionError::ExpiryTooFar { expires_at: body.expires_at, max });
    }
    let (bytes, max) = (size_bytes as u64, parameters.block_bytes_max);
    if bytes > max {
        return Err(InclusionError::TooLarge { bytes, max });
    }
    let (min, max) = (Gas::new(intrinsic(schedule, size_bytes)), parameters.block_gas_limit);
    if body.gas_limit < min || body.gas_limit > max {
        return Err(InclusionError::GasLimit { gas_limit: body.gas_limit, min, max });
    }
    let min = fee_min(parameters, body.gas_limit);
    if body.fee < min {
        return Err(InclusionError::FeeTooLow { fee: body.fee, min, gas_limit: body.gas_limit });
    }
    Ok(())
}

/// Returns the least fee for a gas limit, rounded up; a product that leaves the range is out of reach anyway.
fn fee_min(parameters: &Parameters, gas_limit: Gas) -> Amount {
    let product = parameters.fee_per_million_gas_min.get().saturating_mul(u128::from(gas_limit.get()));
    Amount::new(product.div_ceil(1_000_000))
}

/// Checks nonce and balance, takes the fee and counts the nonce.
pub(crate) fn charge_sender(
    session: &mut Session,
    body: &TransactionBody,
) -> Result<Result<(), InclusionError>, ExecutionFault> {
    let mut account = accounts::account(&mut session.overlay, &body.sender)?;
    if body.nonce < account.nonce {
        return Ok(Err(InclusionError::NonceUsed { nonce: body.nonce, expected: account.nonce }));
    }
    if body.nonce > account.nonce {
        return Ok(Err(InclusionError::NonceGap { nonce: body.nonce, expected: account.nonce }));
    }
    let Some(balance) = account.balance.checked_sub(body.fee) else {
        return Ok(Err(InclusionError::FeeUnpaid { balance: account.balance, fee: body.fee }));
    };
    account.balance = balance;
    account.nonce = account.nonce.checked_add(1).expect("2^64 transactions of one account do not happen");
    accounts::put(&mut session.overlay, &body.sender, &account)?;
    Ok(Ok(()))
}

/// What to do, after every check.
pub(crate) struct Work<'a> {
    pub(crate) id: TransactionId,
    pub(crate) size_bytes: usize,
    pub(crate) body: &'a TransactionBody,
    pub(crate) gas_limit: Gas,
    /// What the receipt says was paid.
    pub(crate) fee: Amount,
}

/// Runs the actions, all or none, and says what they did.
pub(crate) fn run(slot: &mut Slot, work: &Work<'_>) -> Result<Receipt, ExecutionFault> {
    let session = slot.session_mut();
    session.begin(work.body.sender, &work.body.access);
    let checkpoint = session.checkpoint();
    let mut meter = Meter::new(work.gas_limit);
    let outcome = match run_actions(slot, &mut meter, work) {
        Ok(outputs) => Outcome::Succeeded { outputs },
        Err((_, ActionError::Fault(fault))) => return Err(fault),
        Err((action, ActionError::Failure(failure))) => {
            slot.session_mut().rollback(checkpoint);
            Outcome::Failed { action, failure: bounded(failure) }
        }
    };
    let events = std::mem::take(&mut slot.session_mut().events);
    Ok(Receipt { transaction: work.id, outcome, gas_used: meter.used(), fee: work.fee, events })
}

/// Cuts a message to what a receipt keeps.
fn bounded(mut failure: CallFailure) -> CallFailure {
    let max = purlin_abi::limits::MESSAGE_BYTES_MAX;
    if failure.message.len() > max {
        failure.message.truncate(failure.message.floor_char_boundary(max));
    }
    failure
}

fn run_actions(
    slot: &mut Slot,
    meter: &mut Meter,
    work: &Work<'_>,
) -> Result<Vec<Vec<u8>>, (u32, ActionError)> {
    let schedule = slot.session().schedule;
    meter.charge(intrinsic(&schedule, work.size_bytes)).map_err(|failure| (0, failure.into()))?;
    let mut outputs = Vec::with_capacity(work.body.actions.len());
    for (index, action) in (0..).zip(&work.body.actions) {
        let result = meter.charge(schedule.action_base).map_err(ActionError::from);
        outputs.push(result.and_then(|()| run_action(slot, meter, action)).map_err(|error| (index, error))?);
    }
    Ok(outputs)
}

fn run_action(slot: &mut Slot, meter: &mut Meter, action: &Action) -> Result<Vec<u8>, ActionError> {
    let nothing = |()| Vec::new();
    match action {
        Action::CallApp { app, method, arguments, deposit } => {
            let session = slot.session();
            session.check_access(app)?;
            let call = Call {
                app,
                method,
                arguments: arguments.clone(),
                caller: session.sender,
                deposit: *deposit,
                gas: Gas::new(meter.left()),
                kind: CallKind::Call,
            };
            let called = slot.run(|session| invoke(session, call))?;
            meter.take(called.gas_used);
            Ok(called.outcome?)
        }
        Action::InstallApp { package, arguments } => {
            lifecycle::install(slot, meter, package, arguments).map(nothing)
        }
        Action::StartApp { app } => lifecycle::start(slot, meter, app).map(nothing),
        Action::StopApp { app } => lifecycle::stop(slot, meter, app).map(nothing),
        Action::UpgradeApp { package, arguments } => {
            lifecycle::upgrade(slot, meter, package, arguments).map(nothing)
        }
        Action::UninstallApp { app } => lifecycle::uninstall(slot, meter, app).map(nothing),
        native => run_native(slot, meter, native).map(nothing),
    }
}

fn run_native(slot: &mut Slot, meter: &mut Meter, action: &Action) -> Result<(), ActionError> {
    let session = slot.session_mut();
    let shared = session.shared.clone();
    for module in &shared.modules {
        if let Some(price) = module.price(&session.schedule, action) {
            meter.charge(price.get())?;
            let context = ModuleContext {
                chain_id: &session.chain_id,
                parameters: &session.parameters,
                sender: session.sender,
                height: session.height,
                time: session.time,
            };
            return Ok(module.apply(&mut session.overlay, &context, action)?);
        }
    }
    let message = "no module of this chain handles this action";
    Err(CallFailure::new(FailureCode::BadArgument, message).into())
}
