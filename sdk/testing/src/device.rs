//! Devices for tests.

use ed25519_dalek::SigningKey;
use purlin_abi::{DeviceId, DeviceKey, KeyAlgorithm};
use serde_json::json;
use sha3::{Digest, Keccak256};

/// Describes a device to be registered in a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestDevice {
    /// Its name.
    pub id: DeviceId,
    /// `title` of its Thing Description.
    pub name: String,
    /// `@type` of its Thing Description.
    pub kind: String,
    /// Names of its properties.
    pub capabilities: Vec<String>,
    /// Where it is; may be empty.
    pub area: String,
    /// Free labels.
    pub tags: Vec<String>,
}

impl TestDevice {
    /// Describes a temperature sensor. Panics when `id` is not a device id.
    pub fn new(id: &str) -> Self {
        let id: DeviceId = id.parse().unwrap_or_else(|error| panic!("{error}"));
        Self {
            name: id.to_string(),
            id,
            kind: "TemperatureSensor".into(),
            capabilities: vec!["temperature".into()],
            area: String::new(),
            tags: Vec::new(),
        }
    }

    /// Returns the device's Ed25519 signing key, which is made from its id.
    pub fn signing_key(&self) -> SigningKey {
        let seed = Keccak256::digest([b"purlin.testing.device:", self.id.as_str().as_bytes()].concat());
        SigningKey::from_bytes(&seed.into())
    }

    /// Returns the key under which it is registered.
    pub fn key(&self) -> DeviceKey {
        let bytes = self.signing_key().verifying_key().to_bytes().to_vec();
        DeviceKey { algorithm: KeyAlgorithm::Ed25519, bytes }
    }

    /// Returns its Thing Description.
    pub fn description(&self) -> String {
        let properties: serde_json::Map<String, serde_json::Value> =
            self.capabilities.iter().map(|name| (name.clone(), json!({ "type": "number" }))).collect();
        json!({
            "@context": "https://www.w3.org/2022/wot/td/v1.1",
            "title": self.name,
            "@type": self.kind,
            "securityDefinitions": { "nosec_sc": { "scheme": "nosec" } },
            "security": ["nosec_sc"],
            "properties": properties,
        })
        .to_string()
    }
}
