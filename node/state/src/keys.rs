//! Where everything lies in state. Numbers in keys are big-endian, so that they sort.
//!
//! ```text
//! 0x01 account(20)                       AccountRecord                  (modules/accounts)
//! 0x02 app-id                            AppRecord                      (modules/apps)
//! 0x03 len(app-id) u8, app-id, key       an application's own storage   (execution)
//! 0x04 app-id                            wasm of the application        (execution; column AppCode)
//! 0x05 device-id                         DeviceEntry                    (modules/devices)
//! 0x06 index u8, value, 0x00, device-id  device look-ups                (modules/devices)
//! 0x07 name                              module-wide values             (modules)
//! 0x08 account(20)                       ValidatorRecord                (modules/staking)
//! 0x09 !stake u128, public key(33)       candidates, most stake first   (modules/staking)
//! 0x0a height u64, account(20)           stake to be released then      (modules/staking)
//! 0x0b height u64                        ValidatorSet from there on     (modules/staking)
//! ```

use purlin_primitives::{AccountId, Amount, AppId, DeviceId, Height, PublicKey};

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
    /// Validators and what they have at stake.
    Validator = 8,
    /// Those who may be chosen as validators, most stake first.
    ValidatorByStake = 9,
    /// Stake on its way back, by the height at which it arrives.
    Unbonding = 10,
    /// Validator sets, by the first height at which they decide.
    ValidatorSet = 11,
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

    /// Key of a validator's record.
    pub fn validator(account: &AccountId) -> Vec<u8> {
        Self::with(StatePrefix::Validator, &[account.as_bytes()])
    }

    /// Key of a candidate: most stake first, then by public key.
    pub fn validator_by_stake(stake: Amount, public_key: &PublicKey) -> Vec<u8> {
        let descending = (!stake.get()).to_be_bytes();
        Self::with(StatePrefix::ValidatorByStake, &[&descending, public_key.as_bytes()])
    }

    /// Key of stake that is released at the end of a block; without an account, the prefix of all of them.
    pub fn unbonding(height: Height, account: Option<&AccountId>) -> Vec<u8> {
        let account = account.map_or(&[][..], |account| account.as_bytes());
        Self::with(StatePrefix::Unbonding, &[&height.get().to_be_bytes(), account])
    }

    /// Key of the validator set that decides from a height on.
    pub fn validator_set(from: Height) -> Vec<u8> {
        Self::with(StatePrefix::ValidatorSet, &[&from.get().to_be_bytes()])
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
