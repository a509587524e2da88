//! Calling an application, from a transaction, a query or another application.

use purlin_abi::{host, limits};
use purlin_capabilities::{CallReport, EngineFault, GuestCall};
use purlin_chain::ExecutionFault;
use purlin_modules::{ModuleError, accounts};
use purlin_primitives::{AccountId, Amount, AppId, CallFailure, CallOutcome, FailureCode, Gas};
use purlin_state::{StateKey, StoreError};
use std::borrow::Cow;
use std::sync::Arc;

use crate::entry::AppEntry;
use crate::host::CallHost;
use crate::session::Session;

/// Whether a call may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// It may.
    Call,
    /// It may not, and nothing that it calls may.
    Query,
}

/// What to call, and for whom.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) app: &'a AppId,
    /// Without the prefix of queries.
    pub(crate) method: &'a str,
    pub(crate) arguments: Vec<u8>,
    pub(crate) caller: AccountId,
    /// Moves from the caller to the application inside the call's checkpoint.
    pub(crate) deposit: Amount,
    pub(crate) gas: Gas,
    pub(crate) kind: CallKind,
}

/// What a call gave.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) outcome: CallOutcome,
    pub(crate) gas_used: Gas,
}

impl From<CallFailure> for Called {
    fn from(failure: CallFailure) -> Self {
        Self { outcome: Err(failure), gas_used: Gas::ZERO }
    }
}

/// The session comes back whatever happens, because it travelled through the guest.
pub(crate) type Returned<T> = (Box<Session>, Result<T, ExecutionFault>);

/// Turns a broken rule into a verdict and keeps a storage fault one.
pub(crate) fn verdict(error: ModuleError) -> Result<CallFailure, ExecutionFault> {
    error.into_failure().map_err(ExecutionFault::Store)
}

/// Calls a method or a query of a running application. A failure has no effect but the gas.
pub(crate) fn invoke(mut session: Box<Session>, call: Call<'_>) -> Returned<Called> {
    let found = find(&mut session, &call);
    match found {
        Ok(Ok((entry, export))) => enter(session, entry, &export, call),
        Ok(Err(failure)) => (session, Ok(failure.in_app(call.app).into())),
        Err(error) => (session, Err(error.into())),
    }
}

type Found<'a> = Result<(Arc<AppEntry>, Cow<'a, str>), CallFailure>;

/// Finds the application and the export, or says why the call cannot begin.
fn find<'a>(session: &mut Session, call: &Call<'a>) -> Result<Found<'a>, StoreError> {
    if session.stack.len() >= limits::CALL_DEPTH_MAX {
        let message = format!("calls between apps are nested deeper than {}", limits::CALL_DEPTH_MAX);
        return Ok(Err(CallFailure::new(FailureCode::CallDepth, message)));
    }
    if call.arguments.len() > limits::INPUT_BYTES_MAX {
        let (found, max) = (call.arguments.len(), limits::INPUT_BYTES_MAX);
        let message = format!("arguments have {found} bytes; at most {max} are allowed");
        return Ok(Err(CallFailure::new(FailureCode::LimitExceeded, message)));
    }
    let export = match export_of(call) {
        Ok(export) => export,
        Err(failure) => return Ok(Err(failure)),
    };
    let Some(entry) = session.app(call.app)? else {
        let message = format!("app {} is not installed", call.app);
        return Ok(Err(CallFailure::new(FailureCode::AppNotFound, message)));
    };
    if let Err(error) = entry.record.require_running() {
        return Ok(Err(CallFailure::new(error.code(), error.to_string())));
    }
    Ok(Ok((entry, export)))
}

/// Returns the export of a method. Life-cycle steps and queries cannot be reached as calls.
fn export_of<'a>(call: &Call<'a>) -> Result<Cow<'a, str>, CallFailure> {
    let method = call.method;
    let lifecycle = [host::EXPORT_INITIALIZE, host::EXPORT_MIGRATE, host::EXPORT_STOP];
    let allowed = !method.is_empty() && method.len() <= limits::METHOD_NAME_BYTES_MAX;
    match call.kind {
        CallKind::Query if allowed => Ok(Cow::Owned([host::QUERY_PREFIX, method].concat())),
        CallKind::Call
            if allowed && !lifecycle.contains(&method) && !method.starts_with(host::QUERY_PREFIX) =>
        {
            Ok(Cow::Borrowed(method))
        }
        kind => {
            let kind = if kind == CallKind::Query { "query" } else { "call" };
            let shown: String = method.chars().take(limits::METHOD_NAME_BYTES_MAX).collect();
            let message = format!("{shown:?} is not the name of a {kind}");
            Err(CallFailure::new(FailureCode::UnknownMethod, message))
        }
    }
}

/// Runs an export of an application in a checkpoint of its own, whatever the application's status.
pub(crate) fn enter(
    mut session: Box<Session>,
    entry: Arc<AppEntry>,
    export: &str,
    call: Call<'_>,
) -> Returned<Called> {
    let checkpoint = session.checkpoint();
    if call.deposit > Amount::ZERO {
        // A refused transfer has written nothing.
        if let Err(error) =
            accounts::transfer(&mut session.overlay, &call.caller, &entry.account, call.deposit)
        {
            let failed = verdict(error).map(|failure| failure.in_app(call.app).into());
            return (session, failed);
        }
    }
    if entry.module.get().is_none()
        && let Err(fault) = load(&mut session, &entry)
    {
        return (session, Err(fault));
    }
    let shared = session.shared.clone();
    let module = entry.module.get().expect("it was loaded above");
    let gas = Gas::new(call.gas.get().min(entry.record.limits.gas_per_call));
    let depth = session.stack.len();
    session.stack.push(entry.clone());
    let host =
        CallHost { session, app: entry.clone(), caller: call.caller, deposit: call.deposit, kind: call.kind };
    let memory_pages_max = entry.record.limits.memory_pages;
    let guest_call = GuestCall { export, arguments: call.arguments, gas, memory_pages_max };
    let (host, result) = shared.runtime.call(module, guest_call, host);
    let mut session = host.session;
    session.stack.truncate(depth);
    match result {
        Ok(CallReport { outcome, gas_used, backtrace }) => {
            if outcome.is_err() {
                session.rollback(checkpoint);
                if let Some(text) = backtrace {
                    session.diagnostics.backtrace(&entry.record.id, &text);
                }
            }
            (session, Ok(Called { outcome, gas_used }))
        }
        Err(fault) => (session, Err(engine_fault(fault))),
    }
}

/// Gets an application's compiled code from the runtime, which gets the wasm from state when it has to.
fn load(session: &mut Session, entry: &AppEntry) -> Result<(), ExecutionFault> {
    let shared = session.shared.clone();
    let overlay = &mut session.overlay;
    let id = &entry.record.id;
    let wasm = || match overlay.get(&StateKey::app_code(id))? {
        Some(wasm) => Ok(wasm.to_vec()),
        None => Err(StoreError::Corrupt {
            place: format!("code of app {id}"),
            detail: "the app is installed, but its code is not there".into(),
        }),
    };
    let module = shared.runtime.module(entry.record.code.hash(), wasm).map_err(engine_fault)?;
    // Another thread may have been first; both have the same module.
    let _ = entry.module.set(module);
    Ok(())
}

/// Finds the storage fault inside an engine fault, if it is one: the node reacts to those differently.
pub(crate) fn engine_fault(fault: EngineFault) -> ExecutionFault {
    let source = match fault {
        EngineFault::Host(source) | EngineFault::Load { source, .. } => source,
        other => return ExecutionFault::Engine { detail: other.to_string() },
    };
    match source.downcast::<StoreError>() {
        Ok(error) => ExecutionFault::Store(*error),
        Err(source) => match source.downcast::<ExecutionFault>() {
            Ok(fault) => *fault,
            Err(source) => ExecutionFault::Engine { detail: source.to_string() },
        },
    }
}
