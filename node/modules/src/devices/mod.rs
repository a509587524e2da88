//! Devices: registration, change, look-ups.

mod error;
mod key;
mod label;
mod lookup;
mod registry;
#[cfg(test)]
mod tests;
mod thing;

pub use error::DeviceError;
pub use label::AREA_DEPTH_MAX;
pub use lookup::{DEVICES_EXAMINED_MAX, DevicePage, list};
pub use registry::{DeviceEntry, Devices, device, entry};
