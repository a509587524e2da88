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
pub use lookup::{DevicePage, list, list_within};
pub use registry::{DeviceEntry, Devices, device, entry};
