//! Registering and changing devices.
//!
//! ```text
//! 0x05 device                                -> DeviceRecord | Thing Description (string)
//! 0x06 0x01 owner in hexadecimal 0x00 device -> 0x01
//! 0x06 0x02 type 0x00 device                 -> 0x01
//! 0x06 0x03 capability 0x00 device           -> 0x01
//! 0x06 0x04 area, and each above, 0x00 device -> 0x01
//! 0x06 0x05 algorithm, key in hexadecimal 0x00 -> device that has or had the key; never removed
//! ```

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_abi::{DeviceKey, DeviceRecord, DeviceStatus, GasSchedule};
use purlin_primitives::{AccountId, Action, DeviceId, Gas, Height};
use purlin_state::{StateKey, StoreError};
use std::collections::BTreeSet;

use super::error::DeviceError;
use super::{key, label, thing};
use crate::access::{StateAccess, StateRead, decode, encode};
use crate::module::{ModuleContext, ModuleError, NativeModule};

pub(super) const INDEX_OWNER: u8 = 1;
pub(super) const INDEX_KIND: u8 = 2;
pub(super) const INDEX_CAPABILITY: u8 = 3;
pub(super) const INDEX_AREA: u8 = 4;
const INDEX_KEY: u8 = 5;

/// A device as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DeviceEntry {
    /// What applications see; encoded first, so that they can be given it without the rest.
    pub record: DeviceRecord,
    /// Its Thing Description, as registered.
    pub description: String,
}

/// Reads a device with its description.
pub fn entry(
    state: &mut (impl StateRead + ?Sized),
    id: &DeviceId,
) -> Result<Option<DeviceEntry>, StoreError> {
    state.get(&StateKey::device(id))?.map(|bytes| decode("device", &bytes)).transpose()
}

/// Reads a device's record.
pub fn device(
    state: &mut (impl StateRead + ?Sized),
    id: &DeviceId,
) -> Result<Option<DeviceRecord>, StoreError> {
    state.get(&StateKey::device(id))?.map(|bytes| record_of(&bytes)).transpose()
}

/// Decodes the record at the start of an entry.
pub(super) fn record_of(bytes: &[u8]) -> Result<DeviceRecord, StoreError> {
    DeviceRecord::deserialize(&mut &bytes[..])
        .map_err(|error| StoreError::Corrupt { place: "device".into(), detail: error.to_string() })
}

/// Returns an owner as index keys hold it; raw bytes might contain the zero that ends a value.
pub(super) fn owner_value(owner: &AccountId) -> Vec<u8> {
    owner.as_bytes().iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

fn index_keys(record: &DeviceRecord) -> BTreeSet<Vec<u8>> {
    let id = Some(&record.id);
    let mut keys = BTreeSet::new();
    keys.insert(StateKey::device_index(INDEX_OWNER, &owner_value(&record.owner), id));
    keys.insert(StateKey::device_index(INDEX_KIND, record.kind.as_bytes(), id));
    keys.extend(
        record.capabilities.iter().map(|name| StateKey::device_index(INDEX_CAPABILITY, name.as_bytes(), id)),
    );
    keys.extend(
        label::areas_of(&record.area).map(|area| StateKey::device_index(INDEX_AREA, area.as_bytes(), id)),
    );
    keys
}

/// Writes an entry and the difference between its look-ups and those before.
fn put(
    state: &mut dyn StateAccess,
    before: Option<&DeviceRecord>,
    entry: &DeviceEntry,
) -> Result<(), StoreError> {
    let old = before.map(index_keys).unwrap_or_default();
    let new = index_keys(&entry.record);
    old.difference(&new).try_for_each(|key| state.remove(key))?;
    new.difference(&old).for_each(|key| state.set(key, vec![1]));
    state.set(&StateKey::device(&entry.record.id), encode(entry));
    Ok(())
}

/// Checks a key and reserves it for a device, for good.
fn take_key(state: &mut dyn StateAccess, id: &DeviceId, key: &DeviceKey) -> Result<(), ModuleError> {
    key::check(key)?;
    let index = StateKey::device_index(INDEX_KEY, &key::index_value(key), None);
    if let Some(bytes) = state.get(&index)? {
        return Err(DeviceError::KeyUsed { device: decode("device key", &bytes)? }.into());
    }
    state.set(&index, encode(id));
    Ok(())
}

/// Reads an entry that the sender may change.
fn require_owned(
    state: &mut dyn StateAccess,
    sender: &AccountId,
    id: &DeviceId,
) -> Result<DeviceEntry, ModuleError> {
    let found = entry(state, id)?.ok_or_else(|| DeviceError::NotFound { id: id.clone() })?;
    if found.record.owner != *sender {
        let owner = found.record.owner;
        return Err(DeviceError::NotOwner { id: id.clone(), owner, sender: *sender }.into());
    }
    if found.record.status == DeviceStatus::Revoked {
        return Err(DeviceError::Revoked { id: id.clone() }.into());
    }
    Ok(found)
}

/// Changes an owned device in `edit` and writes it.
fn change(
    state: &mut dyn StateAccess,
    context: &ModuleContext<'_>,
    id: &DeviceId,
    edit: impl FnOnce(&mut dyn StateAccess, &mut DeviceEntry) -> Result<(), ModuleError>,
) -> Result<(), ModuleError> {
    let mut entry = require_owned(state, &context.sender, id)?;
    let before = entry.record.clone();
    edit(state, &mut entry)?;
    entry.record.updated_at = context.height;
    Ok(put(state, Some(&before), &entry)?)
}

fn describe(entry: &mut DeviceEntry, description: &str) -> Result<(), DeviceError> {
    let thing = thing::read(description)?;
    entry.record.name = thing.title;
    entry.record.kind = thing.kind;
    entry.record.capabilities = thing.capabilities;
    entry.description = description.into();
    Ok(())
}

fn new_record(id: &DeviceId, owner: AccountId, key: &DeviceKey, height: Height) -> DeviceRecord {
    DeviceRecord {
        id: id.clone(),
        owner,
        name: String::new(),
        kind: String::new(),
        capabilities: Vec::new(),
        area: String::new(),
        tags: Vec::new(),
        key: key.clone(),
        status: DeviceStatus::Active,
        registered_at: height,
        updated_at: height,
    }
}

/// The device registry.
#[derive(Debug, Clone, Copy)]
pub struct Devices;

impl NativeModule for Devices {
    fn name(&self) -> &'static str {
        "devices"
    }

    fn price(&self, schedule: &GasSchedule, action: &Action) -> Option<Gas> {
        // Writes: the entry, owner, type, key, and one per capability and level of the area. Capabilities are
        // not known before the description is read, so its length stands for them: a name takes no less
        // than 16 bytes with what must stand around it.
        let write = schedule.storage_write;
        let text = |text: &str| text.len() as u64 * schedule.storage_write_byte;
        let described = |description: &str| {
            let names = (description.len() / 16).min(purlin_abi::limits::DEVICE_LABELS_MAX) as u64;
            text(description) + names * write
        };
        let placed = |area: &str| {
            text(area) + label::areas_of(area).take(label::AREA_DEPTH_MAX).count() as u64 * write
        };
        let tagged = |tags: &[String]| tags.iter().map(|tag| text(tag)).sum::<u64>();
        let cost = match action {
            Action::RegisterDevice { description, area, tags, .. } => {
                4 * write + described(description) + placed(area) + tagged(tags)
            }
            Action::UpdateDevice { description, area, tags, .. } => {
                let changed = description.as_deref().map_or(0, |text| 2 * write + described(text));
                write + changed + area.as_deref().map_or(0, placed) + tags.as_deref().map_or(0, tagged)
            }
            Action::TransferDevice { .. } => 3 * write,
            Action::RotateDeviceKey { .. } => 2 * write,
            Action::RevokeDevice { .. } => write,
            _ => return None,
        };
        Some(Gas::new(schedule.device_read + cost))
    }

    fn apply(
        &self,
        state: &mut dyn StateAccess,
        context: &ModuleContext<'_>,
        action: &Action,
    ) -> Result<(), ModuleError> {
        match action {
            Action::RegisterDevice { id, description, area, tags, key } => {
                if let Some(existing) = device(state, id)? {
                    return Err(DeviceError::Exists { id: id.clone(), owner: existing.owner }.into());
                }
                let record = new_record(id, context.sender, key, context.height);
                let mut entry = DeviceEntry { record, description: String::new() };
                describe(&mut entry, description)?;
                label::check_area(area)?;
                entry.record.area.clone_from(area);
                entry.record.tags = label::check_tags(tags)?;
                take_key(state, id, key)?;
                Ok(put(state, None, &entry)?)
            }
            Action::UpdateDevice { id, description, area, tags } => change(state, context, id, |_, entry| {
                if let Some(description) = description {
                    describe(entry, description)?;
                }
                if let Some(area) = area {
                    label::check_area(area)?;
                    entry.record.area.clone_from(area);
                }
                if let Some(tags) = tags {
                    entry.record.tags = label::check_tags(tags)?;
                }
                Ok(())
            }),
            Action::TransferDevice { id, to } => change(state, context, id, |_, entry| {
                entry.record.owner = *to;
                Ok(())
            }),
            Action::RotateDeviceKey { id, key } => change(state, context, id, |state, entry| {
                take_key(state, id, key)?;
                entry.record.key = key.clone();
                Ok(())
            }),
            Action::RevokeDevice { id } => change(state, context, id, |_, entry| {
                entry.record.status = DeviceStatus::Revoked;
                Ok(())
            }),
            _ => unreachable!("only actions on devices are priced by this module"),
        }
    }
}
