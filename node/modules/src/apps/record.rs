//! What the chain knows of an application, and where it is kept.
//!
//! ```text
//! 0x02 app                               -> AppRecord
//! 0x03 len(app) u8, app, key             -> the application's own storage
//! 0x04 app                               -> wasm
//! 0x07 "app/arguments/" app              -> arguments of `initialize`, until it ran
//! 0x07 "app/storage-bytes/" app          -> u64: keys and values in its storage
//! 0x07 "app/dependent/" app "/" needer   -> requirement of an application that needs this one
//! ```

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_abi::Manifest;
use purlin_primitives::{AccountId, AppId, CodeHash, Hash32, Height};
use purlin_state::{StateKey, StoreError};
use std::fmt;

use super::error::AppError;
use crate::access::{StateAccess, StateRead, decode, encode};
use crate::module::ModuleError;

/// Whether an application answers calls.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum AppStatus {
    /// Installed, and not running.
    Installed,
    /// Answers calls.
    Running,
    /// Not running, because its last `stop` failed; may be started, upgraded and uninstalled like any other.
    Error {
        /// What went wrong.
        message: String,
    },
}

impl fmt::Display for AppStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Installed => "installed",
            Self::Running => "running",
            Self::Error { .. } => "stopped after an error",
        })
    }
}

/// Another application that this one calls.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AppDependency {
    /// Its name.
    pub id: AppId,
    /// Acceptable versions.
    pub requirement: String,
    /// May be missing.
    pub optional: bool,
}

/// What an application may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AppLimits {
    /// Linear memory, in pages.
    pub memory_pages: u32,
    /// Gas of one call.
    pub gas_per_call: u64,
    /// Keys and values in storage, in bytes.
    pub storage_bytes: u64,
}

/// Which life-cycle steps a module has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AppHooks {
    /// Exports `initialize`.
    pub initialize: bool,
    /// Exports `migrate`.
    pub migrate: bool,
    /// Exports `stop`.
    pub stop: bool,
}

/// What the chain knows of an installed application.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AppRecord {
    /// Its name, for good.
    pub id: AppId,
    /// Who may change it.
    pub owner: AccountId,
    /// Semantic version.
    pub version: String,
    /// Title for people.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// Who made it.
    pub author: String,
    /// SPDX expression.
    pub license: String,
    /// Guest ABI.
    pub abi: u32,
    /// SHA-256 of the canonical manifest.
    pub package: Hash32,
    /// SHA-256 of the wasm.
    pub code: CodeHash,
    /// Granted capabilities, as in the manifest.
    pub permissions: Vec<String>,
    /// What it calls.
    pub dependencies: Vec<AppDependency>,
    /// What it may use.
    pub limits: AppLimits,
    /// Which life-cycle steps its module has.
    pub hooks: AppHooks,
    /// Whether it was started with its install.
    pub auto_start: bool,
    /// Whether it answers calls.
    pub status: AppStatus,
    /// Whether `initialize` ran; it runs once.
    pub initialized: bool,
    /// Block of the install.
    pub installed_at: Height,
    /// Block of the last change by its owner.
    pub updated_at: Height,
}

/// A checked package on its way into state.
#[derive(Debug)]
pub struct Release<'a> {
    /// Its manifest, as checked by `purlin-package`.
    pub manifest: &'a Manifest,
    /// SHA-256 of the canonical manifest.
    pub identity: Hash32,
    /// The module.
    pub wasm: Vec<u8>,
    /// Which life-cycle steps the module has.
    pub hooks: AppHooks,
}

impl AppRecord {
    /// Makes the record of a newly installed package.
    pub(super) fn new(release: &Release<'_>, owner: AccountId, height: Height) -> Self {
        let manifest = release.manifest;
        Self {
            id: manifest.id.clone(),
            owner,
            version: manifest.version.clone(),
            name: manifest.name.clone(),
            description: manifest.description.clone(),
            author: manifest.author.clone(),
            license: manifest.license.clone(),
            abi: manifest.abi,
            package: release.identity,
            code: CodeHash::of(&release.wasm),
            permissions: manifest.permissions.clone(),
            dependencies: manifest
                .dependencies
                .iter()
                .map(|d| AppDependency {
                    id: d.id.clone(),
                    requirement: d.version.clone(),
                    optional: d.optional,
                })
                .collect(),
            limits: AppLimits {
                memory_pages: manifest.limits.memory_pages,
                gas_per_call: manifest.limits.gas_per_call,
                storage_bytes: manifest.limits.storage_bytes,
            },
            hooks: release.hooks,
            auto_start: manifest.auto_start,
            status: AppStatus::Installed,
            initialized: false,
            installed_at: height,
            updated_at: height,
        }
    }

    /// Decodes a stored record.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        decode("app record", bytes)
    }

    /// Says whether it answers calls, and if not, why not.
    pub fn require_running(&self) -> Result<(), AppError> {
        match &self.status {
            AppStatus::Running => Ok(()),
            other => Err(AppError::NotRunning { id: self.id.clone(), status: other.to_string() }),
        }
    }
}

fn module_key(kind: &str, app: &AppId) -> Vec<u8> {
    StateKey::module(&format!("{kind}/{app}"))
}

pub(super) fn arguments_key(app: &AppId) -> Vec<u8> {
    module_key("app/arguments", app)
}

pub(super) fn dependent_prefix(app: &AppId) -> Vec<u8> {
    StateKey::module(&format!("app/dependent/{app}/"))
}

pub(super) fn dependent_key(app: &AppId, needer: &AppId) -> Vec<u8> {
    StateKey::module(&format!("app/dependent/{app}/{needer}"))
}

/// Returns the key of the count that [`storage_bytes`] reads; for those who keep it at hand.
pub fn storage_bytes_key(app: &AppId) -> Vec<u8> {
    module_key("app/storage-bytes", app)
}

/// Returns how many bytes of keys and values an application has stored.
pub fn storage_bytes(state: &mut (impl StateRead + ?Sized), app: &AppId) -> Result<u64, StoreError> {
    storage_bytes_at(state, &storage_bytes_key(app))
}

/// Reads the count under a key that [`storage_bytes_key`] made.
pub fn storage_bytes_at(state: &mut (impl StateRead + ?Sized), key: &[u8]) -> Result<u64, StoreError> {
    match state.get(key)? {
        Some(bytes) => decode("app storage size", &bytes),
        None => Ok(0),
    }
}

/// Writes the count that [`storage_bytes`] reads.
pub fn put_storage_bytes(
    state: &mut (impl StateAccess + ?Sized),
    key: &[u8],
    bytes: u64,
) -> Result<(), StoreError> {
    if bytes == 0 {
        return state.remove(key);
    }
    state.set(key, encode(&bytes));
    Ok(())
}

/// Reads an application's record.
pub fn app(state: &mut (impl StateRead + ?Sized), id: &AppId) -> Result<Option<AppRecord>, StoreError> {
    state.get(&StateKey::app(id))?.map(|bytes| AppRecord::decode(&bytes)).transpose()
}

/// Reads a record that must be there.
pub fn require(state: &mut (impl StateRead + ?Sized), id: &AppId) -> Result<AppRecord, ModuleError> {
    app(state, id)?.ok_or_else(|| AppError::NotFound { id: id.clone() }.into())
}

/// Lists at most `limit` records in id order, starting after `after`.
pub fn list(
    state: &mut (impl StateRead + ?Sized),
    after: Option<&AppId>,
    limit: usize,
) -> Result<Vec<AppRecord>, StoreError> {
    let prefix = [purlin_state::StatePrefix::App as u8];
    let from = match after {
        Some(id) => [&StateKey::app(id)[..], &[0]].concat(),
        None => prefix.to_vec(),
    };
    let entries = state.scan(&from, &StateKey::end_of(&prefix), purlin_state::Order::Ascending, limit)?;
    entries.iter().map(|(_, bytes)| AppRecord::decode(bytes)).collect()
}

pub(super) fn put(state: &mut (impl StateAccess + ?Sized), record: &AppRecord) {
    state.set(&StateKey::app(&record.id), encode(record));
}
