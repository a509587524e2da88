//! The steps of an application's life that run guests.

use purlin_abi::{host, limits};
use purlin_chain::ExecutionFault;
use purlin_modules::ModuleError;
use purlin_modules::apps::{self, AppHooks, AppRecord, Release, Start, Stop};
use purlin_package::{Package, PackageError, UnpackedPackage};
use purlin_primitives::{Amount, AppId, CallFailure, FailureCode, Gas};

use crate::call::{Call, CallKind, Called, engine_fault, enter};
use crate::meter::Meter;
use crate::transaction::{ActionError, Slot};

/// Most storage entries removed at once by an uninstall.
const CLEAR_BATCH: usize = 256;

type Step<T = ()> = Result<T, ActionError>;

fn refuse<T>(code: FailureCode, message: impl Into<String>) -> Step<T> {
    Err(CallFailure::new(code, message).into())
}

fn check_arguments(arguments: &[u8]) -> Step {
    if arguments.len() > limits::INPUT_BYTES_MAX {
        let (found, max) = (arguments.len(), limits::INPUT_BYTES_MAX);
        return refuse(
            FailureCode::LimitExceeded,
            format!("arguments have {found} bytes; at most {max} are allowed"),
        );
    }
    Ok(())
}

/// Reads and prices a package.
fn open(slot: &Slot, meter: &mut Meter, bytes: &[u8]) -> Step<Package> {
    let schedule = slot.session().schedule;
    let refused = |error: PackageError| CallFailure::new(FailureCode::BadPackage, error.to_string());
    meter.charge(schedule.hash_byte.saturating_mul(bytes.len() as u64))?;
    // One byte more than the gas left can pay for ends it.
    let affordable = usize::try_from(meter.left() / schedule.hash_byte + 1).unwrap_or(usize::MAX);
    let (unpacked_bytes, unpacked) = UnpackedPackage::read(bytes, affordable);
    meter.charge(schedule.hash_byte.saturating_mul(unpacked_bytes as u64))?;
    let unpacked = unpacked.map_err(refused)?;
    // Before the module is looked at: one that is refused takes as much work as one that is not.
    let per_byte = schedule.compile_byte + schedule.storage_write_byte;
    meter.charge(per_byte.saturating_mul(unpacked.wasm_bytes() as u64) + 4 * schedule.storage_write)?;
    let package = unpacked.check().and_then(|package| package.check_installable().map(|()| package));
    let package = package.map_err(refused)?;
    meter.charge(schedule.compile_step.saturating_mul(package.facts.compile_steps))?;
    Ok(package)
}

fn release(package: Package) -> (purlin_abi::Manifest, impl FnOnce(&purlin_abi::Manifest) -> Release<'_>) {
    let Package { manifest, identity, wasm, facts, .. } = package;
    let hooks = AppHooks { initialize: facts.initialize, migrate: facts.migrate, stop: facts.stop };
    (manifest, move |manifest| Release { manifest, identity, wasm, hooks })
}

/// Installs a package, and starts it when its manifest says so.
pub(crate) fn install(slot: &mut Slot, meter: &mut Meter, package: &[u8], arguments: &[u8]) -> Step {
    check_arguments(arguments)?;
    let (manifest, release) = release(open(slot, meter, package)?);
    slot.session().check_access(&manifest.id)?;
    meter.charge(slot.session().schedule.storage_write_byte.saturating_mul(arguments.len() as u64))?;
    let session = slot.session_mut();
    let (sender, height) = (session.sender, session.height);
    let record = apps::install(&mut session.overlay, &sender, height, release(&manifest), arguments)?;
    session.record_changed(&record.id);
    compile(slot, &record)?;
    if record.auto_start { start(slot, meter, &record.id) } else { Ok(()) }
}

/// Compiles now, so that the first call does not wait, and what cannot be compiled is found in this block.
fn compile(slot: &mut Slot, record: &AppRecord) -> Step {
    let session = slot.session_mut();
    let shared = session.shared.clone();
    let overlay = &mut session.overlay;
    let key = purlin_state::StateKey::app_code(&record.id);
    let wasm = || overlay.get(&key).map(|wasm| wasm.unwrap_or_default().to_vec());
    shared.runtime.module(record.code.hash(), wasm).map_err(engine_fault)?;
    Ok(())
}

/// Starts an application; the first start initialises it.
pub(crate) fn start(slot: &mut Slot, meter: &mut Meter, app: &AppId) -> Step {
    let session = slot.session_mut();
    session.check_access(app)?;
    meter.charge(2 * session.schedule.storage_write)?;
    let sender = session.sender;
    let record = match apps::start(&mut session.overlay, &sender, app)? {
        Start::AlreadyRunning => return Ok(()),
        Start::Resume(record) => record,
        Start::Initialize(record, arguments) => {
            if record.hooks.initialize {
                step(slot, meter, app, host::EXPORT_INITIALIZE, arguments)?.outcome?;
            } else if !arguments.is_empty() {
                let message =
                    format!("app {app} has no `initialize`, and was installed with arguments for it");
                return refuse(FailureCode::BadLifecycle, message);
            }
            record
        }
    };
    let session = slot.session_mut();
    let height = session.height;
    apps::set_running(&mut session.overlay, record, height).map_err(ModuleError::from)?;
    session.record_changed(app);
    Ok(())
}

/// Stops an application. What its `stop` says does not keep it running.
pub(crate) fn stop(slot: &mut Slot, meter: &mut Meter, app: &AppId) -> Step {
    let session = slot.session_mut();
    session.check_access(app)?;
    meter.charge(session.schedule.storage_write)?;
    let sender = session.sender;
    let Stop::Stop(record) = apps::stop(&mut session.overlay, &sender, app)? else { return Ok(()) };
    let mut error = None;
    if record.hooks.stop
        && let Err(failure) = step(slot, meter, app, host::EXPORT_STOP, Vec::new())?.outcome
    {
        slot.session_mut()
            .diagnostics
            .note(format!("{app} is stopped although its `stop` failed: {}", failure.message));
        error = Some(format!("{}: {}", failure.code, failure.message));
    }
    let session = slot.session_mut();
    let height = session.height;
    apps::set_stopped(&mut session.overlay, record, height, error);
    session.record_changed(app);
    Ok(())
}

/// Replaces an application's code and migrates its state.
pub(crate) fn upgrade(slot: &mut Slot, meter: &mut Meter, package: &[u8], arguments: &[u8]) -> Step {
    check_arguments(arguments)?;
    let (manifest, release) = release(open(slot, meter, package)?);
    let session = slot.session_mut();
    session.check_access(&manifest.id)?;
    let (sender, height) = (session.sender, session.height);
    let upgrade = apps::upgrade(&mut session.overlay, &sender, height, release(&manifest))?;
    let record = upgrade.to;
    session.record_changed(&record.id);
    compile(slot, &record)?;
    if record.initialized && record.hooks.migrate {
        let mut input = borsh::to_vec(&upgrade.from.version).expect("writing to memory cannot fail");
        input.extend_from_slice(arguments);
        step(slot, meter, &record.id, host::EXPORT_MIGRATE, input)?.outcome?;
    } else if !arguments.is_empty() {
        let why =
            if record.initialized { "has no `migrate`" } else { "was never started, so nothing migrates" };
        return refuse(
            FailureCode::BadLifecycle,
            format!("app {} {why}; leave the arguments out", record.id),
        );
    }
    Ok(())
}

/// Removes an application with its state. Costs a write for each entry of its storage.
pub(crate) fn uninstall(slot: &mut Slot, meter: &mut Meter, app: &AppId) -> Step {
    let session = slot.session_mut();
    session.check_access(app)?;
    meter.charge(4 * session.schedule.storage_write)?;
    let sender = session.sender;
    let record = apps::check_uninstall(&mut session.overlay, &sender, app)?;
    let mut cursor = Vec::new();
    loop {
        let removed = apps::clear_storage(&mut session.overlay, app, &mut cursor, CLEAR_BATCH)
            .map_err(ModuleError::from)?;
        meter.charge((removed as u64).saturating_mul(session.schedule.storage_write))?;
        if removed < CLEAR_BATCH {
            break;
        }
    }
    apps::finish_uninstall(&mut session.overlay, &record)?;
    session.record_changed(app);
    Ok(())
}

/// Runs one life-cycle export and takes its gas.
fn step(slot: &mut Slot, meter: &mut Meter, app: &AppId, export: &str, arguments: Vec<u8>) -> Step<Called> {
    let session = slot.session_mut();
    let entry = session.app(app).map_err(ExecutionFault::from)?;
    let Some(entry) = entry else {
        return refuse(FailureCode::AppNotFound, format!("app {app} is not installed"));
    };
    let call = Call {
        app,
        method: export,
        arguments,
        caller: session.sender,
        deposit: Amount::ZERO,
        gas: Gas::new(meter.left()),
        kind: CallKind::Call,
    };
    let called = slot.run(|session| enter(session, entry, export, call))?;
    meter.take(called.gas_used);
    Ok(called)
}
