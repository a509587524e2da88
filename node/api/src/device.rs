//! Devices.

use purlin_abi::{DeviceKey, DeviceRecord, DeviceStatus, KeyAlgorithm};
use purlin_primitives::{AccountId, DeviceId, Height};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::HexBytes;

/// A device's public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceKeyView {
    /// `ed25519`, `p256` or `secp256k1`.
    pub algorithm: String,
    /// Encoded point: 32 bytes for Ed25519, else 33 compressed.
    pub bytes: HexBytes,
}

/// Returns the name that JSON uses for an algorithm.
pub(crate) fn algorithm_name(algorithm: KeyAlgorithm) -> &'static str {
    match algorithm {
        KeyAlgorithm::Ed25519 => "ed25519",
        KeyAlgorithm::P256 => "p256",
        KeyAlgorithm::Secp256k1 => "secp256k1",
    }
}

impl From<&DeviceKey> for DeviceKeyView {
    fn from(key: &DeviceKey) -> Self {
        Self { algorithm: algorithm_name(key.algorithm).into(), bytes: HexBytes(key.bytes.clone()) }
    }
}

/// What the registry knows of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceView {
    /// Its name.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// Who may change it.
    #[schema(value_type = String)]
    pub owner: AccountId,
    /// Title from its Thing Description.
    pub name: String,
    /// `@type` from its Thing Description.
    #[serde(rename = "type")]
    pub kind: String,
    /// Names of its properties, actions and events, sorted.
    pub capabilities: Vec<String>,
    /// Where it is.
    pub area: String,
    /// Free labels, sorted.
    pub tags: Vec<String>,
    /// Its current key.
    pub key: DeviceKeyView,
    /// `active` or `revoked`.
    #[schema(value_type = String, example = "active")]
    pub status: DeviceStatus,
    /// Block in which it was registered.
    #[schema(value_type = u64)]
    pub registered_at: Height,
    /// Block in which it last changed.
    #[schema(value_type = u64)]
    pub updated_at: Height,
    /// Its W3C WoT Thing Description; only when one device is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub description: Option<Value>,
}

impl DeviceView {
    /// Copies a record, with its description when one is at hand.
    pub fn new(record: &DeviceRecord, description: Option<Value>) -> Self {
        Self {
            id: record.id.clone(),
            owner: record.owner,
            name: record.name.clone(),
            kind: record.kind.clone(),
            capabilities: record.capabilities.clone(),
            area: record.area.clone(),
            tags: record.tags.clone(),
            key: (&record.key).into(),
            status: record.status,
            registered_at: record.registered_at,
            updated_at: record.updated_at,
            description,
        }
    }
}

/// Some devices in id order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DevicePage {
    /// In id order.
    pub devices: Vec<DeviceView>,
    /// Id to pass as `after` for the following ones; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next: Option<DeviceId>,
}
