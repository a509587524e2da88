//! A small host for the SDK's own tests: one application over a map. `purlin-testing` is the full one.
#![allow(dead_code, reason = "each test file uses a part")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use purlin_sdk::abi::{
    AccountId, Amount, AppId, CallFailure, CallOutcome, DeviceFilter, DeviceId, DeviceRecord, FailureCode,
    Gas, Hash32, Height, StorageEntry, TimestampMs, limits,
};
use purlin_sdk::native::{self, Ended, NativeHost};
use purlin_sdk::storage::Order;
use purlin_sdk::{App, Transport};

/// What one application sees, and what it did.
#[derive(Default)]
pub(crate) struct Host {
    pub(crate) input: RefCell<Vec<u8>>,
    pub(crate) output: RefCell<Vec<u8>>,
    pub(crate) storage: RefCell<BTreeMap<Vec<u8>, Vec<u8>>>,
    pub(crate) events: RefCell<Vec<(String, Vec<u8>)>>,
    pub(crate) deposit: RefCell<Amount>,
    /// Limits of all scans.
    pub(crate) scans: RefCell<Vec<u32>>,
}

/// Runs code against a host.
pub(crate) fn run<R>(host: &Rc<Host>, code: impl FnOnce() -> R) -> R {
    native::run(host.clone(), code).expect("the code returns")
}

/// Runs an export with borsh arguments.
pub(crate) fn enter<A: App>(host: &Rc<Host>, export: &str, input: &[u8]) -> Result<Vec<u8>, Ended> {
    *host.input.borrow_mut() = input.to_vec();
    host.output.borrow_mut().clear();
    let known = native::run(host.clone(), || A::dispatch(export))?;
    assert!(known, "no export {export}");
    Ok(host.output.borrow().clone())
}

impl NativeHost for Host {
    fn input(&self) -> Vec<u8> {
        self.input.borrow().clone()
    }

    fn output(&self, bytes: &[u8]) {
        *self.output.borrow_mut() = bytes.to_vec();
    }

    fn caller(&self) -> AccountId {
        AccountId::new([1; 20])
    }

    fn app_id(&self) -> AppId {
        "subject".parse().expect("a valid name")
    }

    fn app_account(&self, app: &AppId) -> AccountId {
        AccountId::new([app.as_str().len() as u8; 20])
    }

    fn block_height(&self) -> Height {
        Height::new(3)
    }

    fn block_time(&self) -> TimestampMs {
        TimestampMs::new(1_000)
    }

    fn confirmation_depth(&self) -> u64 {
        12
    }

    fn gas_left(&self) -> Gas {
        Gas::new(9)
    }

    fn deposit(&self) -> Amount {
        *self.deposit.borrow()
    }

    fn log(&self, _: purlin_sdk::log::Level, _: &str) {}

    fn storage_get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.storage.borrow().get(key).cloned()
    }

    fn storage_set(&self, key: &[u8], value: &[u8]) {
        if value.len() > limits::STORAGE_VALUE_BYTES_MAX {
            native::trap(CallFailure::new(FailureCode::LimitExceeded, "value too large"));
        }
        self.storage.borrow_mut().insert(key.to_vec(), value.to_vec());
    }

    fn storage_remove(&self, key: &[u8]) -> bool {
        self.storage.borrow_mut().remove(key).is_some()
    }

    /// Keeps the byte limit of the real one, which cuts answers short.
    fn storage_scan(&self, from: &[u8], to: &[u8], limit: u32, order: Order) -> Vec<StorageEntry> {
        assert!(limit <= limits::SCAN_ENTRIES_MAX);
        self.scans.borrow_mut().push(limit);
        let storage = self.storage.borrow();
        let inside = storage
            .iter()
            .filter(|(key, _)| key.as_slice() >= from && (to.is_empty() || key.as_slice() < to));
        let mut entries: Vec<(&Vec<u8>, &Vec<u8>)> = inside.collect();
        if order == Order::Descending {
            entries.reverse();
        }
        let mut bytes = 0;
        let fits = entries.into_iter().take(limit as usize).take_while(|(key, value)| {
            bytes += key.len() + value.len();
            bytes <= limits::SCAN_BYTES_MAX
        });
        fits.map(|(key, value)| StorageEntry { key: key.clone(), value: value.clone() }).collect()
    }

    fn emit(&self, topic: &str, payload: &[u8]) {
        self.events.borrow_mut().push((topic.to_string(), payload.to_vec()));
    }

    fn balance(&self, _: &AccountId) -> Amount {
        Amount::new(5)
    }

    fn transfer(&self, _: &AccountId, amount: Amount) -> bool {
        amount <= Amount::new(5)
    }

    fn call(&self, app: &AppId, method: &str, _: &[u8], _: Amount, _: Gas) -> CallOutcome {
        Err(CallFailure::new(FailureCode::AppNotFound, method).in_app(app))
    }

    fn query(&self, app: &AppId, method: &str, _: &[u8], _: Gas) -> CallOutcome {
        Err(CallFailure::new(FailureCode::AppNotFound, method).in_app(app))
    }

    fn device(&self, _: &DeviceId) -> Option<DeviceRecord> {
        None
    }

    fn devices(&self, _: &DeviceFilter) -> Vec<DeviceRecord> {
        Vec::new()
    }

    fn sha256(&self, _: &[u8]) -> Hash32 {
        Hash32::ZERO
    }

    fn keccak256(&self, _: &[u8]) -> Hash32 {
        Hash32::ZERO
    }

    fn blake3(&self, _: &[u8]) -> Hash32 {
        Hash32::ZERO
    }

    fn secp256k1_verify(&self, _: &Hash32, _: &[u8; 64], _: &[u8; 33]) -> bool {
        false
    }

    fn secp256k1_recover(&self, _: &Hash32, _: &[u8; 65]) -> Option<[u8; 33]> {
        None
    }

    fn ed25519_verify(&self, _: &[u8], _: &[u8; 64], _: &[u8; 32]) -> bool {
        false
    }

    fn p256_verify(&self, _: &Hash32, _: &[u8; 64], _: &[u8; 33]) -> bool {
        false
    }
}

/// Calls `A` on a host, as a test harness's transport does.
pub(crate) struct Direct<A> {
    pub(crate) host: Rc<Host>,
    pub(crate) app: std::marker::PhantomData<fn() -> A>,
}

impl<A> Clone for Direct<A> {
    fn clone(&self) -> Self {
        Self { host: self.host.clone(), app: std::marker::PhantomData }
    }
}

impl<A: App> Transport for Direct<A> {
    fn call(&self, app: &AppId, method: &str, arguments: &[u8], deposit: Amount, _: Gas) -> CallOutcome {
        *self.host.deposit.borrow_mut() = deposit;
        enter::<A>(&self.host, method, arguments).map_err(|ended| match ended {
            Ended::Fail { code, message, data } => CallFailure {
                app_code: Some(code),
                app_error: data,
                ..CallFailure::new(FailureCode::AppError, message).in_app(app)
            },
            Ended::Abort { message } => CallFailure::new(FailureCode::Panic, message),
            Ended::Trap(failure) => failure,
        })
    }

    fn query(&self, app: &AppId, method: &str, arguments: &[u8], gas: Gas) -> CallOutcome {
        self.call(app, &format!("query_{method}"), arguments, Amount::ZERO, gas)
    }
}
