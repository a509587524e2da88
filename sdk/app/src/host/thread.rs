//! The thread's native host.

use alloc::string::ToString;
use alloc::vec::Vec;
use std::panic::panic_any;

use purlin_abi::{
    AccountId, Amount, AppId, CallOutcome, DeviceFilter, DeviceId, DeviceRecord, Gas, Hash32, Height,
    StorageEntry, TimestampMs,
};

use crate::log::Level;
use crate::native::{Ended, host};
use crate::storage::Order;

pub(crate) fn input() -> Vec<u8> {
    host().input()
}

pub(crate) fn output(bytes: &[u8]) {
    host().output(bytes);
}

pub(crate) fn fail(code: u32, message: &str, data: &[u8]) -> ! {
    panic_any(Ended::Fail { code, message: message.to_string(), data: data.to_vec() })
}

pub(crate) fn abort(message: &str) -> ! {
    panic_any(Ended::Abort { message: message.to_string() })
}

pub(crate) fn caller() -> AccountId {
    host().caller()
}

pub(crate) fn app_id() -> AppId {
    host().app_id()
}

pub(crate) fn app_account(app: &AppId) -> AccountId {
    host().app_account(app)
}

pub(crate) fn block_height() -> Height {
    host().block_height()
}

pub(crate) fn block_time() -> TimestampMs {
    host().block_time()
}

pub(crate) fn confirmation_depth() -> u64 {
    host().confirmation_depth()
}

pub(crate) fn gas_left() -> Gas {
    host().gas_left()
}

pub(crate) fn deposit() -> Amount {
    host().deposit()
}

pub(crate) fn log(level: Level, text: &str) {
    host().log(level, text);
}

pub(crate) fn storage_get(key: &[u8]) -> Option<Vec<u8>> {
    host().storage_get(key)
}

pub(crate) fn storage_set(key: &[u8], value: &[u8]) {
    host().storage_set(key, value);
}

pub(crate) fn storage_remove(key: &[u8]) -> bool {
    host().storage_remove(key)
}

pub(crate) fn storage_scan(from: &[u8], to: &[u8], limit: u32, order: Order) -> Vec<StorageEntry> {
    host().storage_scan(from, to, limit, order)
}

pub(crate) fn emit(topic: &str, payload: &[u8]) {
    host().emit(topic, payload);
}

pub(crate) fn balance(account: &AccountId) -> Amount {
    host().balance(account)
}

pub(crate) fn transfer(to: &AccountId, amount: Amount) -> bool {
    host().transfer(to, amount)
}

pub(crate) fn call(app: &AppId, method: &str, arguments: &[u8], deposit: Amount, gas: Gas) -> CallOutcome {
    host().call(app, method, arguments, deposit, gas)
}

pub(crate) fn query(app: &AppId, method: &str, arguments: &[u8], gas: Gas) -> CallOutcome {
    host().query(app, method, arguments, gas)
}

pub(crate) fn device(id: &DeviceId) -> Option<DeviceRecord> {
    host().device(id)
}

pub(crate) fn devices(filter: &DeviceFilter) -> Vec<DeviceRecord> {
    host().devices(filter)
}

pub(crate) fn sha256(data: &[u8]) -> Hash32 {
    host().sha256(data)
}

pub(crate) fn keccak256(data: &[u8]) -> Hash32 {
    host().keccak256(data)
}

pub(crate) fn blake3(data: &[u8]) -> Hash32 {
    host().blake3(data)
}

pub(crate) fn secp256k1_verify(hash: &Hash32, signature: &[u8; 64], key: &[u8; 33]) -> bool {
    host().secp256k1_verify(hash, signature, key)
}

pub(crate) fn secp256k1_recover(hash: &Hash32, signature: &[u8; 65]) -> Option<[u8; 33]> {
    host().secp256k1_recover(hash, signature)
}

pub(crate) fn ed25519_verify(message: &[u8], signature: &[u8; 64], key: &[u8; 32]) -> bool {
    host().ed25519_verify(message, signature, key)
}

pub(crate) fn p256_verify(hash: &Hash32, signature: &[u8; 64], key: &[u8; 33]) -> bool {
    host().p256_verify(hash, signature, key)
}
