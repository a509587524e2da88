//! Where everything lies in state.
//!
//! ```text
//! 0x01 account(20)                       AccountRecord                  (modules/accounts)
//! 0x02 app-id                            AppRecord                      (modules/apps)
//! 0x03 len(app-id) u8, app-id, key       an application's own storage   (execution)
//! 0x04 app-id                            wasm of the application        (execution; column AppCode)
//! 0x05 device-id                         DeviceEntry                    (modules/devices)
//! 0x06 index u8, value, 0x00, device-id  device look-ups                (modules/devices)
//! 0x07 name                              module-wide values             (modules)
//! ```

use purlin_primitives::{AccountId, AppId, DeviceId};

/// First byte of a state key: who owns the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StatePrefix {
    /// Accounts.
    Account = 1,
    /// Application records.
    App = 2,
    /// Application storage.
    AppStorage = 3,
    /// Application code.
    AppCode = 4,
    /// Devices.
    Device = 5,
    /// Device look-ups.
    DeviceIndex = 6,
    /// Module-wide values.
    Module = 7,
}

/// Builds state keys.
#[derive(Debug)]
pub struct StateKey;

impl StateKey {
    fn with(prefix: StatePrefix, parts: &[&[u8]]) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
        key.push(prefix as u8);
        parts.iter().for_each(|part| key.extend_from_slice(part));
        key
    }

    /// Key of an account.
    pub fn account(account: &AccountId) -> Vec<u8> {
        Self::with(StatePrefix::Account, &[account.as_bytes()])
    }

    /// Key of an application's record.
    pub fn app(app: &AppId) -> Vec<u8> {
        Self::with(StatePrefix::App, &[app.as_str().as_bytes()])
    }

    /// Key of an application's wasm.
    pub fn app_code(app: &AppId) -> Vec<u8> {
        Self::with(StatePrefix::AppCode, &[app.as_str().as_bytes()])
    }

    /// Key of one entry of an application's storage; with an empty `key`, the prefix of all of them.
    pub fn app_storage(app: &AppId, key: &[u8]) -> Vec<u8> {
        let id = app.as_str().as_bytes();
        let length = u8::try_from(id.len()).expect("an application id has at most 63 characters");
        Self::with(StatePrefix::AppStorage, &[&[length], id, key])
    }

    /// Key of a device.
    pub fn device(device: &DeviceId) -> Vec<u8> {
        Self::with(StatePrefix::Device, &[device.as_str().as_bytes()])
    }

    /// Key of a device look-up entry; see the module's table. `value` must not contain a zero byte.
    pub fn device_index(index: u8, value: &[u8], device: Option<&DeviceId>) -> Vec<u8> {
        debug_assert!(!value.contains(&0), "index values are checked on registration");
        let id = device.map_or(&[][..], |device| device.as_str().as_bytes());
        Self::with(StatePrefix::DeviceIndex, &[&[index], value, &[0], id])
    }

    /// Key of a module-wide value.
    pub fn module(name: &str) -> Vec<u8> {
        Self::with(StatePrefix::Module, &[name.as_bytes()])
    }

    /// Returns the first key after every key that starts with `prefix`.
    pub fn end_of(prefix: &[u8]) -> Vec<u8> {
        let mut end = prefix.to_vec();
        while let Some(last) = end.pop() {
            if last < 0xff {
                end.push(last + 1);
                return end;
            }
        }
        // Only for an empty or all-0xff prefix; state prefixes are below 0x10.
        vec![0xff; prefix.len() + 1]
    }
}
