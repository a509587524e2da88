//! Reads the device registry. Needs the permission `devices`.

use alloc::vec::Vec;
use purlin_abi::{DeviceFilter, DeviceId, DeviceRecord};

use crate::host;

/// Returns the record of a device, or `None` when it is not registered. A revoked device has a record.
pub fn get(id: &DeviceId) -> Option<DeviceRecord> {
    host::device(id)
}

/// Lists devices in id order; at most [`DEVICE_LIST_MAX`](purlin_abi::limits::DEVICE_LIST_MAX). For the next page,
/// set `after` of the filter to the last id.
pub fn list(filter: &DeviceFilter) -> Vec<DeviceRecord> {
    host::devices(filter)
}
