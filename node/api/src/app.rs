//! Applications, queries and state.

use purlin_abi::{Dependency, Limits};
use purlin_primitives::{AccountId, AppId, CodeHash, Gas, Hash32, Height};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{FailureView, HeaderView, HexBytes};

/// What an application is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppStatus {
    /// Installed, takes no calls.
    Installed,
    /// Takes calls.
    Running,
    /// A life-cycle step failed.
    Error,
}

/// Another application that one calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DependencyView {
    /// Its name.
    #[schema(value_type = String)]
    pub id: AppId,
    /// Acceptable versions: `^1.2`.
    pub version: String,
    /// May be missing at install.
    pub optional: bool,
}

impl From<&Dependency> for DependencyView {
    fn from(dependency: &Dependency) -> Self {
        Self { id: dependency.id.clone(), version: dependency.version.clone(), optional: dependency.optional }
    }
}

/// What an application may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppLimits {
    /// Linear memory, in 64 KiB pages.
    pub memory_pages: u32,
    /// Gas of one call.
    pub gas_per_call: u64,
    /// Keys and values in storage, in bytes.
    pub storage_bytes: u64,
}

impl From<Limits> for AppLimits {
    fn from(limits: Limits) -> Self {
        Self {
            memory_pages: limits.memory_pages,
            gas_per_call: limits.gas_per_call,
            storage_bytes: limits.storage_bytes,
        }
    }
}

/// An installed application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppView {
    /// Its identity.
    #[schema(value_type = String)]
    pub id: AppId,
    /// Its title.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// Who made it.
    pub author: String,
    /// SPDX expression.
    pub license: String,
    /// Who may start, stop, upgrade and remove it.
    #[schema(value_type = String)]
    pub owner: AccountId,
    /// Its own account.
    #[schema(value_type = String)]
    pub account: AccountId,
    /// What it is doing.
    pub status: AppStatus,
    /// Why, with status `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_detail: Option<String>,
    /// Guest ABI.
    pub abi: u32,
    /// Capabilities it was granted.
    pub permissions: Vec<String>,
    /// Applications it calls.
    pub dependencies: Vec<DependencyView>,
    /// What it may use.
    pub limits: AppLimits,
    /// SHA-256 of its wasm.
    #[schema(value_type = String)]
    pub code_hash: CodeHash,
    /// SHA-256 of its canonical manifest.
    #[schema(value_type = String)]
    pub package_id: Hash32,
    /// Keys and values it stores now, in bytes.
    pub storage_bytes: u64,
    /// Block in which it was installed.
    #[schema(value_type = u64)]
    pub installed_at: Height,
    /// Block in which its code or status last changed.
    #[schema(value_type = u64)]
    pub updated_at: Height,
}

/// Some applications in id order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppPage {
    /// In id order.
    pub apps: Vec<AppView>,
    /// Id to pass as `after` for the following ones; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next: Option<AppId>,
}

/// A query's arguments: JSON by schema, or borsh; not both. Neither means no arguments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueryRequest {
    /// An object by parameter name, or an array in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub arguments: Option<Value>,
    /// Borsh of the parameters in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments_borsh: Option<HexBytes>,
    /// Who asks, for queries that depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub caller: Option<AccountId>,
    /// At which height; absent means the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub height: Option<Height>,
}

/// What a query answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueryResult {
    /// Height of the state it read.
    #[schema(value_type = u64)]
    pub height: Height,
    /// Borsh of the result; absent when the query failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub borsh: Option<HexBytes>,
    /// The result as JSON, when the application's schema can read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub value: Option<Value>,
    /// Why the query failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
    /// Work done.
    #[schema(value_type = u64)]
    pub gas_used: Gas,
    /// Log lines and a backtrace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostic: Option<String>,
}

/// One entry of an application's storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StateView {
    /// Which application.
    #[schema(value_type = String)]
    pub app: AppId,
    /// The key as the application wrote it.
    pub key: HexBytes,
    /// The value; absent when nothing is there, which only an answer with a proof says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<HexBytes>,
    /// The value as JSON, when the schema describes this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub decoded: Option<Value>,
    /// The entry is as it was after this block.
    #[schema(value_type = u64)]
    pub height: Height,
    /// Shows that a block commits to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofView>,
}

/// Shows that a block commits to a state entry or to its absence. Everything needed to check it offline:
/// the Merkle proof leads to `header.state_root`, the header's hash is the block id, and the certificate
/// carries the validators' signatures of the header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProofView {
    /// Full key in the state tree.
    pub state_key: HexBytes,
    /// Borsh of the Merkle proof.
    pub merkle: HexBytes,
    /// Header of the block after the entry's height; its `state_root` is the root of the proof.
    pub header: HeaderView,
    /// Borsh of the certificate of that block.
    pub certificate: HexBytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_query_field_is_refused() {
        let error = serde_json::from_str::<QueryRequest>(r#"{"argument": {}}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `argument`"), "{error}");
    }
}
