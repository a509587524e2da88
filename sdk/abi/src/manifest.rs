//! The manifest of a package, as JSON.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::{AppId, Hash32, limits};

/// Where an application runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// On every validator, inside transactions.
    #[default]
    Chain,
    /// On one node, on live readings. Hosted by a later version; refused at install until then.
    Edge,
}

/// Another application that this one calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// Its name.
    pub id: AppId,
    /// Acceptable versions, in Cargo's syntax: `^1.2`.
    pub version: String,
    /// May be missing at install.
    #[serde(default)]
    pub optional: bool,
}

/// What an application may use; checked against protocol caps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Linear memory, in 64 KiB pages.
    pub memory_pages: u32,
    /// Gas of one call, whatever the transaction offers.
    pub gas_per_call: u64,
    /// Keys and values in storage, in bytes.
    pub storage_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_pages: limits::MEMORY_PAGES_DEFAULT,
            gas_per_call: limits::GAS_PER_CALL_DEFAULT,
            storage_bytes: limits::STORAGE_BYTES_DEFAULT,
        }
    }
}

/// Describes a package. `runtime/package` reads it and gives the errors a person sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The application's identity.
    pub id: AppId,
    /// Its title for people.
    pub name: String,
    /// Semantic version: `1.0.0`.
    pub version: String,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// Who made it.
    #[serde(default)]
    pub author: String,
    /// SPDX expression.
    #[serde(default)]
    pub license: String,
    /// Guest ABI; must be [`crate::ABI_VERSION`].
    pub abi: u32,
    /// Where it runs.
    #[serde(default)]
    pub placement: Placement,
    /// Capabilities it asks for: `storage`, `events`, `accounts`, `apps`, `devices`, `crypto`.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Applications it calls.
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
    /// Start right after install.
    #[serde(default)]
    pub auto_start: bool,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// SHA-256 of every other file in the package, by path. Filled in by `purlin app pack`.
    #[serde(default)]
    pub files: BTreeMap<String, Hash32>,
}
