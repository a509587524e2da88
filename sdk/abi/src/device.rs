//! Devices as applications see them.

use alloc::string::String;
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::{AccountId, DeviceId, Height};

/// Signature scheme of a device key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum KeyAlgorithm {
    /// Ed25519; 32-byte key.
    Ed25519 = 0,
    /// NIST P-256; 33-byte compressed key.
    P256 = 1,
    /// secp256k1; 33-byte compressed key.
    Secp256k1 = 2,
}

/// A device's public key.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DeviceKey {
    /// Which scheme.
    pub algorithm: KeyAlgorithm,
    /// Encoded point: 32 bytes for Ed25519, else 33 compressed.
    pub bytes: Vec<u8>,
}

/// Whether a device may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum DeviceStatus {
    /// Its key is trusted.
    Active = 0,
    /// Taken out for good; its id and keys stay reserved.
    Revoked = 1,
}

/// What the registry knows of a device.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DeviceRecord {
    /// Its name.
    pub id: DeviceId,
    /// Who may change it.
    pub owner: AccountId,
    /// Title from its Thing Description.
    pub name: String,
    /// `@type` from its Thing Description: `TemperatureSensor`.
    pub kind: String,
    /// Names of its properties, actions and events, sorted.
    pub capabilities: Vec<String>,
    /// Where it is, by the owner's own naming: `hall-2/line-1`; empty when unknown.
    pub area: String,
    /// Free labels, sorted.
    pub tags: Vec<String>,
    /// Its current key.
    pub key: DeviceKey,
    /// Whether it may speak.
    pub status: DeviceStatus,
    /// Block in which it was registered.
    pub registered_at: Height,
    /// Block in which it last changed.
    pub updated_at: Height,
}

/// Selects devices; every given field must match. Results are in id order.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DeviceFilter {
    /// Only of this owner.
    pub owner: Option<AccountId>,
    /// Only of this type.
    pub kind: Option<String>,
    /// Only with this capability.
    pub capability: Option<String>,
    /// Only in this area or below it (`hall-2` finds `hall-2/line-1`).
    pub area: Option<String>,
    /// Only after this id: the last one of the page before.
    pub after: Option<DeviceId>,
    /// At most this many; 0 or more than the limit means the limit.
    pub limit: u32,
}
