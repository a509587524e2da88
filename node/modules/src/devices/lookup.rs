//! Finding devices.

use purlin_abi::{DeviceFilter, DeviceRecord, limits};
use purlin_primitives::DeviceId;
use purlin_state::{Order, StateKey, StatePrefix, StoreError};

use super::error::DeviceError;
use super::registry::{
    INDEX_AREA, INDEX_CAPABILITY, INDEX_KIND, INDEX_OWNER, device, owner_value, record_of,
};
use crate::access::StateRead;
use crate::module::ModuleError;

/// What a look-up found and what it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DevicePage {
    /// In id order; fewer than asked for means there are no more.
    pub devices: Vec<DeviceRecord>,
    /// Entries read, for metering.
    pub examined: u32,
}

/// Finds devices that match every given field, revoked ones included, in id order.
///
/// Every field has an index in id order. Of one field, entries are read in order; of several, the furthest of
/// them says where the others go on, so that only common ids are loaded.
pub fn list(state: &mut (impl StateRead + ?Sized), filter: &DeviceFilter) -> Result<DevicePage, ModuleError> {
    list_within(state, filter, limits::DEVICES_EXAMINED_MAX)
}

/// As [`list`], and refuses once `examined_max` index entries were read.
pub fn list_within(
    state: &mut (impl StateRead + ?Sized),
    filter: &DeviceFilter,
    examined_max: u32,
) -> Result<DevicePage, ModuleError> {
    let limit = match filter.limit {
        0 => limits::DEVICE_LIST_MAX,
        limit => limit.min(limits::DEVICE_LIST_MAX),
    } as usize;
    let Some(prefixes) = index_prefixes(filter) else {
        return Ok(DevicePage::default());
    };
    // One zero byte after an id is the first key behind it.
    let start = filter.after.as_ref().map_or_else(Vec::new, |id| [id.as_str().as_bytes(), &[0]].concat());
    match prefixes.as_slice() {
        [] => list_all(state, &start, limit),
        [prefix] => list_index(state, prefix, &start, limit),
        several => list_common(state, several, start, limit, examined_max),
    }
}

/// Returns one key prefix per given field; `None` when a field has a value that no device can have.
fn index_prefixes(filter: &DeviceFilter) -> Option<Vec<Vec<u8>>> {
    let texts =
        [(INDEX_AREA, &filter.area), (INDEX_KIND, &filter.kind), (INDEX_CAPABILITY, &filter.capability)];
    let mut prefixes = Vec::new();
    if let Some(owner) = &filter.owner {
        prefixes.push(StateKey::device_index(INDEX_OWNER, &owner_value(owner), None));
    }
    for (index, text) in texts {
        let Some(text) = text else { continue };
        if super::label::problem(text).is_some() {
            return None;
        }
        prefixes.push(StateKey::device_index(index, text.as_bytes(), None));
    }
    Some(prefixes)
}

fn list_all(
    state: &mut (impl StateRead + ?Sized),
    start: &[u8],
    limit: usize,
) -> Result<DevicePage, ModuleError> {
    let prefix = [StatePrefix::Device as u8];
    let from = [&prefix[..], start].concat();
    let entries = state.scan(&from, &StateKey::end_of(&prefix), Order::Ascending, limit)?;
    let devices = entries.iter().map(|(_, bytes)| record_of(bytes)).collect::<Result<Vec<_>, _>>()?;
    Ok(DevicePage { examined: devices.len() as u32, devices })
}

fn list_index(
    state: &mut (impl StateRead + ?Sized),
    prefix: &[u8],
    start: &[u8],
    limit: usize,
) -> Result<DevicePage, ModuleError> {
    let from = [prefix, start].concat();
    let entries = state.scan(&from, &StateKey::end_of(prefix), Order::Ascending, limit)?;
    let load = |(key, _): &(Vec<u8>, Vec<u8>)| load(state, &key[prefix.len()..]);
    let devices = entries.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    Ok(DevicePage { examined: devices.len() as u32, devices })
}

fn list_common(
    state: &mut (impl StateRead + ?Sized),
    prefixes: &[Vec<u8>],
    start: Vec<u8>,
    limit: usize,
    examined_max: u32,
) -> Result<DevicePage, ModuleError> {
    let mut page = DevicePage::default();
    // Lowest id that may still match, and how many indexes in a row agree that it exists.
    let mut candidate = start;
    let mut agreed = 0;
    let mut turn = 0;
    while page.devices.len() < limit {
        if page.examined == examined_max {
            return Err(DeviceError::TooManyExamined { max: examined_max }.into());
        }
        page.examined += 1;
        let prefix = &prefixes[turn];
        turn = (turn + 1) % prefixes.len();
        let from = [&prefix[..], &candidate].concat();
        let found = state.scan(&from, &StateKey::end_of(prefix), Order::Ascending, 1)?;
        let Some((key, _)) = found.first() else { break };
        let id = &key[prefix.len()..];
        if id == candidate {
            agreed += 1;
        } else {
            candidate = id.to_vec();
            agreed = 1;
        }
        if agreed == prefixes.len() {
            page.devices.push(load(state, &candidate)?);
            candidate.push(0);
            agreed = 0;
        }
    }
    Ok(page)
}

fn load(state: &mut (impl StateRead + ?Sized), id: &[u8]) -> Result<DeviceRecord, StoreError> {
    let damaged = |detail: &str| StoreError::Corrupt { place: "device index".into(), detail: detail.into() };
    let id: DeviceId = std::str::from_utf8(id)
        .ok()
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| damaged("a key does not end with a device id"))?;
    device(state, &id)?.ok_or_else(|| damaged("an entry names a device that is not there"))
}
