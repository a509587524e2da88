//! The device registry of a native chain.

use std::collections::{BTreeMap, BTreeSet};

use purlin_abi::{
    AccountId, CallFailure, DeviceFilter, DeviceId, DeviceKey, DeviceRecord, DeviceStatus, FailureCode,
    Height, limits,
};
use serde_json::Value;

/// What registers a device.
pub(super) struct Registration {
    pub(super) owner: AccountId,
    pub(super) id: DeviceId,
    pub(super) description: String,
    pub(super) area: String,
    pub(super) tags: Vec<String>,
    pub(super) key: DeviceKey,
}

type Registry = BTreeMap<DeviceId, DeviceRecord>;

/// Adds a device. Of the Thing Description only what the registry shows is read; that a description is valid
/// is checked by the real registry, on the wasm side.
pub(super) fn register(
    devices: &mut Registry,
    registration: Registration,
    height: Height,
) -> Result<(), CallFailure> {
    let Registration { owner, id, description, area, mut tags, key } = registration;
    let refuse = |code, message: String| Err(CallFailure::new(code, message));
    if devices.contains_key(&id) {
        return refuse(FailureCode::DeviceExists, format!("device {id} is registered already"));
    }
    if devices.values().any(|device| device.key == key) {
        return refuse(FailureCode::BadDeviceKey, format!("the key of {id} belongs to another device"));
    }
    let thing: Value = match serde_json::from_str(&description) {
        Ok(thing) => thing,
        Err(error) => return refuse(FailureCode::BadDeviceDescription, format!("is not JSON: {error}")),
    };
    let text = |field: &str| thing[field].as_str().map(str::to_string);
    let Some(name) = text("title") else {
        return refuse(FailureCode::BadDeviceDescription, "/title: expected a string".into());
    };
    let interactions = ["properties", "actions", "events"].map(|kind| thing[kind].as_object());
    let capabilities: BTreeSet<String> =
        interactions.into_iter().flatten().flat_map(|map| map.keys().cloned()).collect();
    tags.sort();
    tags.dedup();
    let record = DeviceRecord {
        id: id.clone(),
        owner,
        name,
        kind: text("@type").unwrap_or_else(|| "Thing".into()),
        capabilities: capabilities.into_iter().collect(),
        area,
        tags,
        key,
        status: DeviceStatus::Active,
        registered_at: height,
        updated_at: height,
    };
    devices.insert(id, record);
    Ok(())
}

/// Changes a device on behalf of its owner.
pub(super) fn update(
    devices: &mut Registry,
    owner: AccountId,
    id: &DeviceId,
    height: Height,
    change: impl FnOnce(&mut DeviceRecord),
) -> Result<(), CallFailure> {
    let (code, message) = match devices.get_mut(id) {
        None => (FailureCode::DeviceNotFound, format!("device {id} is not registered")),
        Some(device) if device.owner != owner => (
            FailureCode::NotOwner,
            format!("device {id} belongs to {}; {owner} may not change it", device.owner),
        ),
        Some(device) if device.status == DeviceStatus::Revoked => {
            (FailureCode::DeviceRevoked, format!("device {id} is revoked"))
        }
        Some(device) => {
            change(device);
            device.updated_at = height;
            return Ok(());
        }
    };
    Err(CallFailure::new(code, message))
}

/// Selects devices in id order.
pub(super) fn list(devices: &Registry, filter: &DeviceFilter) -> Vec<DeviceRecord> {
    let limit = match filter.limit {
        0 => limits::DEVICE_LIST_MAX,
        limit => limit.min(limits::DEVICE_LIST_MAX),
    };
    let matches = |device: &&DeviceRecord| {
        let within = |area: &String| {
            device
                .area
                .strip_prefix(area.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        filter.owner.is_none_or(|owner| device.owner == owner)
            && filter.kind.as_ref().is_none_or(|kind| device.kind == *kind)
            && filter.capability.as_ref().is_none_or(|capability| device.capabilities.contains(capability))
            && filter.area.as_ref().is_none_or(within)
            && filter.after.as_ref().is_none_or(|after| device.id > *after)
    };
    devices.values().filter(matches).take(limit as usize).cloned().collect()
}
