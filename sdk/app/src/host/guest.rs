//! The wasm imports of ABI version 1; [`purlin_abi::host`] is their description.
#![allow(unsafe_code, reason = "imports are foreign functions that take pointers into this memory")]

use alloc::vec::Vec;
use borsh::BorshDeserialize;
use purlin_abi::host::ABSENT;
use purlin_abi::{
    AccountId, Amount, AppId, CallOutcome, DeviceFilter, DeviceId, DeviceRecord, Gas, Hash32, Height,
    StorageEntry, TimestampMs,
};

use crate::log::Level;
use crate::storage::Order;

mod core_v1 {
    #[link(wasm_import_module = "purlin.core.v1")]
    unsafe extern "C" {
        pub(super) fn input(out: *mut u8, capacity: usize) -> i32;
        pub(super) fn output(bytes: *const u8, length: usize);
        pub(super) fn fail(code: u32, message: *const u8, length: usize, data: *const u8, data_length: usize);
        pub(super) fn abort(message: *const u8, length: usize);
        pub(super) fn caller(out: *mut u8);
        pub(super) fn app_id(out: *mut u8, capacity: usize) -> i32;
        pub(super) fn app_account(app: *const u8, length: usize, out: *mut u8);
        pub(super) fn block_height() -> u64;
        pub(super) fn block_time() -> u64;
        pub(super) fn confirmation_depth() -> u64;
        pub(super) fn gas_left() -> u64;
        pub(super) fn deposit(out: *mut u8);
        pub(super) fn log(level: u32, text: *const u8, length: usize);
    }
}

mod storage_v1 {
    #[link(wasm_import_module = "purlin.storage.v1")]
    unsafe extern "C" {
        pub(super) fn get(key: *const u8, length: usize, out: *mut u8, capacity: usize) -> i32;
        pub(super) fn set(key: *const u8, length: usize, value: *const u8, value_length: usize);
        pub(super) fn remove(key: *const u8, length: usize) -> i32;
        pub(super) fn scan(
            from: *const u8,
            from_length: usize,
            to: *const u8,
            to_length: usize,
            limit: u32,
            order: u32,
            out: *mut u8,
            capacity: usize,
        ) -> i32;
    }
}

mod events_v1 {
    #[link(wasm_import_module = "purlin.events.v1")]
    unsafe extern "C" {
        pub(super) fn emit(topic: *const u8, length: usize, payload: *const u8, payload_length: usize);
    }
}

mod accounts_v1 {
    #[link(wasm_import_module = "purlin.accounts.v1")]
    unsafe extern "C" {
        pub(super) fn balance(account: *const u8, out: *mut u8);
        pub(super) fn transfer(to: *const u8, amount: *const u8) -> i32;
    }
}

mod apps_v1 {
    #[link(wasm_import_module = "purlin.apps.v1")]
    unsafe extern "C" {
        pub(super) fn call(
            app: *const u8,
            app_length: usize,
            method: *const u8,
            method_length: usize,
            arguments: *const u8,
            arguments_length: usize,
            deposit: *const u8,
            gas: u64,
            out: *mut u8,
            capacity: usize,
        ) -> i32;
        pub(super) fn query(
            app: *const u8,
            app_length: usize,
            method: *const u8,
            method_length: usize,
            arguments: *const u8,
            arguments_length: usize,
            gas: u64,
            out: *mut u8,
            capacity: usize,
        ) -> i32;
    }
}

mod devices_v1 {
    #[link(wasm_import_module = "purlin.devices.v1")]
    unsafe extern "C" {
        pub(super) fn get(device: *const u8, length: usize, out: *mut u8, capacity: usize) -> i32;
        pub(super) fn list(filter: *const u8, length: usize, out: *mut u8, capacity: usize) -> i32;
    }
}

mod crypto_v1 {
    #[link(wasm_import_module = "purlin.crypto.v1")]
    unsafe extern "C" {
        pub(super) fn sha256(data: *const u8, length: usize, out: *mut u8);
        pub(super) fn keccak256(data: *const u8, length: usize, out: *mut u8);
        pub(super) fn blake3(data: *const u8, length: usize, out: *mut u8);
        pub(super) fn secp256k1_verify(hash: *const u8, signature: *const u8, key: *const u8) -> i32;
        pub(super) fn secp256k1_recover(hash: *const u8, signature: *const u8, out: *mut u8) -> i32;
        pub(super) fn ed25519_verify(
            message: *const u8,
            length: usize,
            signature: *const u8,
            key: *const u8,
        ) -> i32;
        pub(super) fn p256_verify(hash: *const u8, signature: *const u8, key: *const u8) -> i32;
    }
}

/// First buffer of a read; longer results take a second, free call.
const FIRST_READ_BYTES: usize = 256;

/// Runs an import that returns bytes; `None` when it says that there is no value.
fn read(import: impl Fn(*mut u8, usize) -> i32) -> Option<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::with_capacity(FIRST_READ_BYTES);
    let mut length = import(bytes.as_mut_ptr(), bytes.capacity());
    if length == ABSENT {
        return None;
    }
    if length as usize > bytes.capacity() {
        bytes = Vec::with_capacity(length as usize);
        length = import(bytes.as_mut_ptr(), bytes.capacity());
    }
    // SAFETY: the host wrote `length` bytes, and `length` is at most the capacity: a longer result takes the
    // branch above, where the buffer is exactly as long as the result that the host keeps.
    unsafe { bytes.set_len(length as usize) };
    Some(bytes)
}

fn read_present(import: impl Fn(*mut u8, usize) -> i32) -> Vec<u8> {
    read(import).unwrap_or_default()
}

/// Decodes what the host encoded; both sides are built from the same `purlin-abi`.
fn decode<T: BorshDeserialize>(bytes: &[u8]) -> T {
    match T::try_from_slice(bytes) {
        Ok(value) => value,
        Err(_) => {
            abort("the host answered in an unknown format; rebuild with the SDK of this node's version")
        }
    }
}

pub(crate) fn input() -> Vec<u8> {
    // SAFETY: `out` points to `capacity` writable bytes.
    read_present(|out, capacity| unsafe { core_v1::input(out, capacity) })
}

pub(crate) fn output(bytes: &[u8]) {
    // SAFETY: pointer and length of a live slice.
    unsafe { core_v1::output(bytes.as_ptr(), bytes.len()) }
}

pub(crate) fn fail(code: u32, message: &str, data: &[u8]) -> ! {
    // SAFETY: pointers and lengths of live slices.
    unsafe { core_v1::fail(code, message.as_ptr(), message.len(), data.as_ptr(), data.len()) };
    core::arch::wasm32::unreachable()
}

pub(crate) fn abort(message: &str) -> ! {
    // SAFETY: pointer and length of a live slice.
    unsafe { core_v1::abort(message.as_ptr(), message.len()) };
    core::arch::wasm32::unreachable()
}

pub(crate) fn caller() -> AccountId {
    let mut bytes = [0; 20];
    // SAFETY: the host writes 20 bytes.
    unsafe { core_v1::caller(bytes.as_mut_ptr()) };
    AccountId::new(bytes)
}

pub(crate) fn app_id() -> AppId {
    // SAFETY: `out` points to `capacity` writable bytes.
    let bytes = read_present(|out, capacity| unsafe { core_v1::app_id(out, capacity) });
    match core::str::from_utf8(&bytes).ok().and_then(|text| AppId::new(text).ok()) {
        Some(app) => app,
        None => abort("the host gave a malformed app id"),
    }
}

pub(crate) fn app_account(app: &AppId) -> AccountId {
    let app = app.as_str();
    let mut bytes = [0; 20];
    // SAFETY: a live slice; the host writes 20 bytes.
    unsafe { core_v1::app_account(app.as_ptr(), app.len(), bytes.as_mut_ptr()) };
    AccountId::new(bytes)
}

pub(crate) fn block_height() -> Height {
    // SAFETY: no pointers.
    Height::new(unsafe { core_v1::block_height() })
}

pub(crate) fn block_time() -> TimestampMs {
    // SAFETY: no pointers.
    TimestampMs::new(unsafe { core_v1::block_time() })
}

pub(crate) fn confirmation_depth() -> u64 {
    // SAFETY: no pointers.
    unsafe { core_v1::confirmation_depth() }
}

pub(crate) fn gas_left() -> Gas {
    // SAFETY: no pointers.
    Gas::new(unsafe { core_v1::gas_left() })
}

pub(crate) fn deposit() -> Amount {
    let mut bytes = [0; 16];
    // SAFETY: the host writes 16 bytes.
    unsafe { core_v1::deposit(bytes.as_mut_ptr()) };
    Amount::new(u128::from_le_bytes(bytes))
}

pub(crate) fn log(level: Level, text: &str) {
    // SAFETY: pointer and length of a live slice.
    unsafe { core_v1::log(level as u32, text.as_ptr(), text.len()) }
}

pub(crate) fn storage_get(key: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: a live slice; `out` points to `capacity` writable bytes.
    read(|out, capacity| unsafe { storage_v1::get(key.as_ptr(), key.len(), out, capacity) })
}

pub(crate) fn storage_set(key: &[u8], value: &[u8]) {
    // SAFETY: pointers and lengths of live slices.
    unsafe { storage_v1::set(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
}

pub(crate) fn storage_remove(key: &[u8]) -> bool {
    // SAFETY: pointer and length of a live slice.
    unsafe { storage_v1::remove(key.as_ptr(), key.len()) == 1 }
}

pub(crate) fn storage_scan(from: &[u8], to: &[u8], limit: u32, order: Order) -> Vec<StorageEntry> {
    // SAFETY: live slices; `out` points to `capacity` writable bytes.
    let bytes = read_present(|out, capacity| unsafe {
        let order = order as u32;
        storage_v1::scan(from.as_ptr(), from.len(), to.as_ptr(), to.len(), limit, order, out, capacity)
    });
    decode(&bytes)
}

pub(crate) fn emit(topic: &str, payload: &[u8]) {
    // SAFETY: pointers and lengths of live slices.
    unsafe { events_v1::emit(topic.as_ptr(), topic.len(), payload.as_ptr(), payload.len()) }
}

pub(crate) fn balance(account: &AccountId) -> Amount {
    let mut bytes = [0; 16];
    // SAFETY: the host reads 20 bytes and writes 16.
    unsafe { accounts_v1::balance(account.as_bytes().as_ptr(), bytes.as_mut_ptr()) };
    Amount::new(u128::from_le_bytes(bytes))
}

pub(crate) fn transfer(to: &AccountId, amount: Amount) -> bool {
    let amount = amount.get().to_le_bytes();
    // SAFETY: the host reads 20 and 16 bytes.
    unsafe { accounts_v1::transfer(to.as_bytes().as_ptr(), amount.as_ptr()) == 0 }
}

pub(crate) fn call(app: &AppId, method: &str, arguments: &[u8], deposit: Amount, gas: Gas) -> CallOutcome {
    let (app, deposit) = (app.as_str(), deposit.get().to_le_bytes());
    // SAFETY: live slices, 16 bytes of deposit; `out` points to `capacity` writable bytes.
    let bytes = read_present(|out, capacity| unsafe {
        apps_v1::call(
            app.as_ptr(),
            app.len(),
            method.as_ptr(),
            method.len(),
            arguments.as_ptr(),
            arguments.len(),
            deposit.as_ptr(),
            gas.get(),
            out,
            capacity,
        )
    });
    decode(&bytes)
}

pub(crate) fn query(app: &AppId, method: &str, arguments: &[u8], gas: Gas) -> CallOutcome {
    let app = app.as_str();
    // SAFETY: live slices; `out` points to `capacity` writable bytes.
    let bytes = read_present(|out, capacity| unsafe {
        apps_v1::query(
            app.as_ptr(),
            app.len(),
            method.as_ptr(),
            method.len(),
            arguments.as_ptr(),
            arguments.len(),
            gas.get(),
            out,
            capacity,
        )
    });
    decode(&bytes)
}

pub(crate) fn device(id: &DeviceId) -> Option<DeviceRecord> {
    let id = id.as_str();
    // SAFETY: a live slice; `out` points to `capacity` writable bytes.
    let bytes = read(|out, capacity| unsafe { devices_v1::get(id.as_ptr(), id.len(), out, capacity) })?;
    Some(decode(&bytes))
}

pub(crate) fn devices(filter: &DeviceFilter) -> Vec<DeviceRecord> {
    let filter = crate::encoding::to_bytes(filter);
    // SAFETY: a live slice; `out` points to `capacity` writable bytes.
    let bytes = read_present(|out, capacity| unsafe {
        devices_v1::list(filter.as_ptr(), filter.len(), out, capacity)
    });
    decode(&bytes)
}

/// Runs a hash import.
fn hash(import: unsafe extern "C" fn(*const u8, usize, *mut u8), data: &[u8]) -> Hash32 {
    let mut out = [0; 32];
    // SAFETY: a live slice; the host writes 32 bytes.
    unsafe { import(data.as_ptr(), data.len(), out.as_mut_ptr()) };
    Hash32::new(out)
}

pub(crate) fn sha256(data: &[u8]) -> Hash32 {
    hash(crypto_v1::sha256, data)
}

pub(crate) fn keccak256(data: &[u8]) -> Hash32 {
    hash(crypto_v1::keccak256, data)
}

pub(crate) fn blake3(data: &[u8]) -> Hash32 {
    hash(crypto_v1::blake3, data)
}

pub(crate) fn secp256k1_verify(hash: &Hash32, signature: &[u8; 64], key: &[u8; 33]) -> bool {
    // SAFETY: the host reads 32, 64 and 33 bytes.
    unsafe { crypto_v1::secp256k1_verify(hash.as_bytes().as_ptr(), signature.as_ptr(), key.as_ptr()) == 1 }
}

pub(crate) fn secp256k1_recover(hash: &Hash32, signature: &[u8; 65]) -> Option<[u8; 33]> {
    let mut key = [0; 33];
    // SAFETY: the host reads 32 and 65 bytes and writes 33.
    let done = unsafe {
        crypto_v1::secp256k1_recover(hash.as_bytes().as_ptr(), signature.as_ptr(), key.as_mut_ptr()) == 1
    };
    done.then_some(key)
}

pub(crate) fn ed25519_verify(message: &[u8], signature: &[u8; 64], key: &[u8; 32]) -> bool {
    // SAFETY: a live slice; the host reads 64 and 32 bytes.
    unsafe {
        crypto_v1::ed25519_verify(message.as_ptr(), message.len(), signature.as_ptr(), key.as_ptr()) == 1
    }
}

pub(crate) fn p256_verify(hash: &Hash32, signature: &[u8; 64], key: &[u8; 33]) -> bool {
    // SAFETY: the host reads 32, 64 and 33 bytes.
    unsafe { crypto_v1::p256_verify(hash.as_bytes().as_ptr(), signature.as_ptr(), key.as_ptr()) == 1 }
}
