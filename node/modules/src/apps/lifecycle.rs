//! The life cycle as a state machine. Each function checks one step's rules and writes its outcome; what a
//! guest has to do in between is the caller's, inside one checkpoint.
//!
//! ```text
//!            install                  start: `initialize` once
//! (nothing) ---------> Installed ------------------------------> Running
//!     ^                 |  ^  ^                                   |  |
//!     |    uninstall    |  |  '----------- stop: `stop` ----------'  |
//!     '-----------------'  |                                         | stop, and `stop` failed
//!     '------ Error <------+-----------------------------------------'
//! ```
//!
//! An upgrade keeps the status, except that it clears `Error`.

use purlin_abi::Placement;
use purlin_primitives::{AccountId, AppId, Height, app_account};
use purlin_state::{Order, StateKey, StoreError};

use super::dependencies::{check, check_dependents_accept, check_free, link, parse_version, unlink};
use super::error::AppError;
use super::record::{AppRecord, AppStatus, Release, app, arguments_key, put, require, storage_bytes_key};
use crate::access::{StateAccess, StateRead};
use crate::accounts;
use crate::module::ModuleError;

/// What starting an application takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Nothing: it runs.
    AlreadyRunning,
    /// Run `initialize` with these arguments, then call [`set_running`].
    Initialize(AppRecord, Vec<u8>),
    /// Call [`set_running`].
    Resume(AppRecord),
}

/// What stopping an application takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Nothing: it does not run.
    AlreadyStopped,
    /// Run `stop`, then call [`set_stopped`] with its error, if any.
    Stop(AppRecord),
}

/// An upgrade that was written and still has to migrate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The record before.
    pub from: AppRecord,
    /// The record now. `migrate` has to run when it is `initialized`.
    pub to: AppRecord,
}

fn require_owned(
    state: &mut (impl StateRead + ?Sized),
    sender: &AccountId,
    id: &AppId,
) -> Result<AppRecord, ModuleError> {
    let record = require(state, id)?;
    if record.owner == *sender {
        Ok(record)
    } else {
        Err(AppError::NotOwner { id: id.clone(), owner: record.owner, sender: *sender }.into())
    }
}

fn check_release(release: &Release<'_>) -> Result<(), AppError> {
    match release.manifest.placement {
        Placement::Chain => Ok(()),
        Placement::Edge => Err(AppError::EdgePlacement { id: release.manifest.id.clone() }),
    }
}

/// Installs a package; it does not run yet. `arguments` wait for the first start.
pub fn install(
    state: &mut (impl StateAccess + ?Sized),
    sender: &AccountId,
    height: Height,
    release: Release<'_>,
    arguments: &[u8],
) -> Result<AppRecord, ModuleError> {
    check_release(&release)?;
    if let Some(existing) = app(state, &release.manifest.id)? {
        return Err(AppError::Exists { id: existing.id, owner: existing.owner }.into());
    }
    let record = AppRecord::new(&release, *sender, height);
    parse_version(&record.id, &record.version)?;
    check(state, &record)?;
    put(state, &record);
    link(state, &record);
    state.set(&StateKey::app_code(&record.id), release.wasm);
    if !arguments.is_empty() {
        state.set(&arguments_key(&record.id), arguments.to_vec());
    }
    Ok(record)
}

/// Begins a start.
pub fn start(
    state: &mut (impl StateRead + ?Sized),
    sender: &AccountId,
    id: &AppId,
) -> Result<Start, ModuleError> {
    let record = require_owned(state, sender, id)?;
    Ok(match record.status {
        AppStatus::Running => Start::AlreadyRunning,
        _ if record.initialized => Start::Resume(record),
        _ => {
            let arguments = state.get(&arguments_key(id))?.unwrap_or_default().into_owned();
            Start::Initialize(record, arguments)
        }
    })
}

/// Ends a start: the application runs and will not be initialised again.
pub fn set_running(
    state: &mut (impl StateAccess + ?Sized),
    mut record: AppRecord,
    height: Height,
) -> Result<(), StoreError> {
    if !record.initialized {
        state.remove(&arguments_key(&record.id))?;
    }
    record.initialized = true;
    record.status = AppStatus::Running;
    record.updated_at = height;
    put(state, &record);
    Ok(())
}

/// Begins a stop.
pub fn stop(
    state: &mut (impl StateRead + ?Sized),
    sender: &AccountId,
    id: &AppId,
) -> Result<Stop, ModuleError> {
    let record = require_owned(state, sender, id)?;
    Ok(match record.status {
        AppStatus::Running => Stop::Stop(record),
        AppStatus::Installed | AppStatus::Error { .. } => Stop::AlreadyStopped,
    })
}

/// Ends a stop. An error of `stop` is kept for people to see and does not keep the application running.
pub fn set_stopped(
    state: &mut (impl StateAccess + ?Sized),
    mut record: AppRecord,
    height: Height,
    error: Option<String>,
) {
    record.status = match error {
        Some(message) => AppStatus::Error { message },
        None => AppStatus::Installed,
    };
    record.updated_at = height;
    put(state, &record);
}

/// Replaces the code of an application by a newer version; `migrate` is the caller's.
pub fn upgrade(
    state: &mut (impl StateAccess + ?Sized),
    sender: &AccountId,
    height: Height,
    release: Release<'_>,
) -> Result<Upgrade, ModuleError> {
    check_release(&release)?;
    let from = require_owned(state, sender, &release.manifest.id)?;
    let mut to = AppRecord::new(&release, *sender, from.installed_at);
    let (old_version, new_version) =
        (parse_version(&from.id, &from.version)?, parse_version(&to.id, &to.version)?);
    // Build metadata does not make a version newer.
    if new_version.cmp_precedence(&old_version).is_le() {
        return Err(AppError::NotAnUpgrade { id: from.id, installed: from.version, new: to.version }.into());
    }
    check(state, &to)?;
    check_dependents_accept(state, &to, &new_version)?;
    to.initialized = from.initialized;
    to.updated_at = height;
    to.status = match from.status {
        AppStatus::Running => AppStatus::Running,
        AppStatus::Installed | AppStatus::Error { .. } => AppStatus::Installed,
    };
    unlink(state, &from)?;
    link(state, &to);
    put(state, &to);
    state.set(&StateKey::app_code(&to.id), release.wasm);
    Ok(Upgrade { from, to })
}

/// Checks that an application may be removed.
pub fn check_uninstall(
    state: &mut (impl StateRead + ?Sized),
    sender: &AccountId,
    id: &AppId,
) -> Result<AppRecord, ModuleError> {
    let record = require_owned(state, sender, id)?;
    if record.status == AppStatus::Running {
        return Err(AppError::StillRunning { id: id.clone() }.into());
    }
    check_free(state, id)?;
    Ok(record)
}

/// Removes at most `limit` entries of an application's storage. `cursor` begins empty and says how far it came: what
/// is removed is passed over for nothing otherwise. Returns how many there were; fewer than `limit` means all are gone.
pub fn clear_storage(
    state: &mut (impl StateAccess + ?Sized),
    id: &AppId,
    cursor: &mut Vec<u8>,
    limit: usize,
) -> Result<usize, StoreError> {
    let prefix = StateKey::app_storage(id, &[]);
    let end = StateKey::end_of(&prefix);
    let from = if cursor.is_empty() { &prefix } else { &*cursor };
    let entries = state.scan(from, &end, Order::Ascending, limit)?;
    entries.iter().try_for_each(|(key, _)| state.remove(key))?;
    if let Some((last, _)) = entries.last() {
        *cursor = [last.as_slice(), &[0]].concat();
    }
    Ok(entries.len())
}

/// Removes what is left of an application after [`clear_storage`]; its balance goes to the owner.
pub fn finish_uninstall(
    state: &mut (impl StateAccess + ?Sized),
    record: &AppRecord,
) -> Result<(), ModuleError> {
    let account = app_account(&record.id);
    let balance = accounts::account(state, &account)?.balance;
    accounts::transfer(state, &account, &record.owner, balance)?;
    unlink(state, record)?;
    for key in [
        StateKey::app(&record.id),
        StateKey::app_code(&record.id),
        arguments_key(&record.id),
        storage_bytes_key(&record.id),
    ] {
        state.remove(&key)?;
    }
    Ok(())
}
