//! What application code meets when it runs natively: the rules of the runtime, in memory.

use std::cell::{RefCell, RefMut};
use std::ops::Bound;
use std::rc::Rc;

use purlin_abi::host::{
    ACCOUNTS, APPS, CRYPTO, DEVICES, EVENTS, EXPORT_INITIALIZE, EXPORT_MIGRATE, EXPORT_STOP,
};
use purlin_abi::host::{QUERY_PREFIX, STORAGE, permission_of};
use purlin_abi::test_host::GAS_LIMIT_DEFAULT;
use purlin_abi::{
    AccountId, Amount, AppId, CallFailure, CallOutcome, DeviceFilter, DeviceId, DeviceRecord, Event,
    FailureCode, Gas, Hash32, Height, StorageEntry, TimestampMs, limits,
};
use purlin_sdk::log::Level;
use purlin_sdk::native::{self, Ended, NativeHost};
use purlin_sdk::storage::Order;

use super::world::{Frame, World};
use super::{crypto, devices};

/// Returns the account of an application.
pub(super) fn app_account(app: &AppId) -> AccountId {
    let preimage = [b"purlin.app.account.v1:", app.as_str().as_bytes()].concat();
    let hash = crypto::keccak256(&preimage);
    AccountId::new(hash.as_bytes()[12..].try_into().expect("32 - 12 is 20"))
}

/// One call to be made.
pub(super) struct Invocation {
    pub(super) app: AppId,
    pub(super) entry: Entry,
    pub(super) caller: AccountId,
    pub(super) arguments: Vec<u8>,
    pub(super) deposit: Amount,
}

/// Where a call enters an application.
pub(super) enum Entry {
    /// A method by name.
    Call(String),
    /// A query by name, without prefix.
    Query(String),
    /// A life-cycle export; the application may lack it, unless there are arguments for it.
    Lifecycle { export: &'static str, with_arguments: bool },
}

fn failure(code: FailureCode, message: impl Into<String>) -> CallFailure {
    CallFailure::new(code, message)
}

/// Runs a call; when it fails, nothing of it stays.
pub(super) fn invoke(world: &Rc<RefCell<World>>, call: Invocation) -> CallOutcome {
    let checkpoint = world.borrow().checkpoint();
    let outcome = run(world, call);
    if outcome.is_err() {
        world.borrow_mut().rollback(&checkpoint);
    }
    outcome
}

fn run(world: &Rc<RefCell<World>>, call: Invocation) -> CallOutcome {
    let Invocation { app, entry, caller, arguments, deposit } = call;
    let (dispatch, export, read_only, optional) = {
        let mut world = world.borrow_mut();
        let Some(installed) = world.apps.get(&app) else {
            return Err(failure(FailureCode::AppNotFound, format!("application {app} is not installed")));
        };
        let (export, query, optional) = match &entry {
            Entry::Lifecycle { export, .. } => ((*export).to_string(), false, true),
            Entry::Query(method) => (format!("{QUERY_PREFIX}{method}"), true, false),
            Entry::Call(method) => (method.clone(), false, false),
        };
        if !installed.running && !optional {
            return Err(failure(FailureCode::AppNotRunning, format!("application {app} is stopped")));
        }
        let lifecycle = [EXPORT_INITIALIZE, EXPORT_MIGRATE, EXPORT_STOP].contains(&export.as_str());
        if matches!(entry, Entry::Call(_)) && (lifecycle || export.starts_with(QUERY_PREFIX)) {
            return Err(unknown_method(&app, &export));
        }
        if arguments.len() > limits::INPUT_BYTES_MAX {
            return Err(too_large("arguments", arguments.len(), limits::INPUT_BYTES_MAX).in_app(&app));
        }
        let dispatch = installed.dispatch;
        if deposit > Amount::ZERO && !world.transfer(caller, app_account(&app), deposit) {
            let balance = world.balance(&caller);
            let message = format!("{caller} has {balance}, which is less than the deposit of {deposit}");
            return Err(failure(FailureCode::InsufficientBalance, message));
        }
        let read_only = query || world.frames.last().is_some_and(|frame| frame.read_only);
        world.frames.push(Frame {
            app: app.clone(),
            caller,
            input: arguments,
            output: Vec::new(),
            deposit,
            read_only,
        });
        (dispatch, export, read_only, optional)
    };
    debug_assert!(read_only || !matches!(entry, Entry::Query(_)), "queries are read-only");
    let ended = native::run(Rc::new(Host(world.clone())), || dispatch(&export));
    let frame = world.borrow_mut().frames.pop().expect("every call pushes one frame");
    match ended {
        Ok(true) => Ok(frame.output),
        Ok(false) if matches!(entry, Entry::Lifecycle { with_arguments: true, .. }) => {
            let message = format!("{app} has no `{export}`, so there may be no arguments for it");
            Err(failure(FailureCode::BadLifecycle, message))
        }
        Ok(false) if optional => Ok(Vec::new()),
        Ok(false) => Err(unknown_method(&app, &export)),
        Err(Ended::Fail { code, message, data }) => Err(CallFailure {
            code: FailureCode::AppError,
            app: Some(app),
            message: cut(message),
            app_code: Some(code),
            app_error: data,
        }),
        Err(Ended::Abort { message }) => Err(failure(FailureCode::Panic, cut(message)).in_app(&app)),
        Err(Ended::Trap(failure)) => Err(failure.in_app(&app)),
    }
}

fn unknown_method(app: &AppId, export: &str) -> CallFailure {
    failure(FailureCode::UnknownMethod, format!("application {app} has no export {export:?}")).in_app(app)
}

fn too_large(what: &str, size: usize, max: usize) -> CallFailure {
    failure(FailureCode::LimitExceeded, format!("{what}: {size} bytes; at most {max} are allowed"))
}

fn cut(mut message: String) -> String {
    let end =
        (0..=limits::MESSAGE_BYTES_MAX.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
    message.truncate(end.unwrap_or_default());
    message
}

/// The host of one call; nested calls get one of their own over the same world.
struct Host(Rc<RefCell<World>>);

impl Host {
    fn world(&self) -> RefMut<'_, World> {
        self.0.borrow_mut()
    }

    fn frame<T>(&self, read: impl FnOnce(&mut Frame) -> T) -> T {
        read(self.world().frames.last_mut().expect("application code runs inside a frame"))
    }

    /// Traps unless the manifest asks for the capability. The runtime refuses such a package at install.
    fn require(&self, module: &'static str) {
        let permission = permission_of(module).expect("modules are named by the ABI");
        let app = self.app_id();
        let granted =
            self.world().apps[&app].manifest.permissions.iter().any(|granted| granted == permission);
        if !granted {
            let advice = format!("{app} uses {permission:?}; add it to \"permissions\" in its manifest.json");
            native::trap(failure(FailureCode::NotGranted, advice));
        }
    }

    fn refuse_in_query(&self, what: &str) {
        if self.frame(|frame| frame.read_only) {
            native::trap(failure(FailureCode::WriteInQuery, format!("{what} is not allowed inside a query")));
        }
    }

    fn limit(&self, what: &str, size: usize, max: usize) {
        if size > max {
            native::trap(too_large(what, size, max));
        }
    }

    /// Traps when storage would take more than the manifest's limit.
    fn set(&self, key: &[u8], value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        self.refuse_in_query("writing to storage");
        self.limit("storage key", key.len(), limits::STORAGE_KEY_BYTES_MAX);
        let app = self.app_id();
        let mut world = self.world();
        let before = world.set(&app, key, value);
        let (usage, quota) = (world.usage(&app), world.apps[&app].manifest.limits.storage_bytes);
        drop(world);
        if usage > quota {
            let message = format!("storage would take {usage} bytes; the manifest's limit is {quota}");
            native::trap(failure(FailureCode::StorageQuota, message));
        }
        before
    }

    fn nested(&self, app: &AppId, entry: Entry, arguments: &[u8], deposit: Amount) -> CallOutcome {
        self.require(APPS);
        let name = match &entry {
            Entry::Call(method) | Entry::Query(method) => method,
            Entry::Lifecycle { .. } => unreachable!("applications cannot name life-cycle exports"),
        };
        self.limit("method name", name.len(), limits::METHOD_NAME_BYTES_MAX);
        self.limit("arguments", arguments.len(), limits::INPUT_BYTES_MAX);
        let (depth, on_stack) = {
            let world = self.world();
            (world.frames.len(), world.frames.iter().any(|frame| frame.app == *app))
        };
        if on_stack {
            native::trap(failure(FailureCode::Reentrancy, format!("{app} is on the call stack already")));
        }
        if depth >= limits::CALL_DEPTH_MAX {
            let message =
                format!("calls are {depth} deep; no more than {} are allowed", limits::CALL_DEPTH_MAX);
            return Err(failure(FailureCode::CallDepth, message).in_app(app));
        }
        let caller = app_account(&self.app_id());
        invoke(
            &self.0,
            Invocation { app: app.clone(), entry, caller, arguments: arguments.to_vec(), deposit },
        )
    }
}

impl NativeHost for Host {
    fn input(&self) -> Vec<u8> {
        self.frame(|frame| frame.input.clone())
    }

    fn output(&self, bytes: &[u8]) {
        self.limit("result", bytes.len(), limits::OUTPUT_BYTES_MAX);
        self.frame(|frame| frame.output = bytes.to_vec());
    }

    fn caller(&self) -> AccountId {
        self.frame(|frame| frame.caller)
    }

    fn app_id(&self) -> AppId {
        self.frame(|frame| frame.app.clone())
    }

    fn app_account(&self, app: &AppId) -> AccountId {
        app_account(app)
    }

    fn block_height(&self) -> Height {
        self.world().block.0
    }

    fn block_time(&self) -> TimestampMs {
        self.world().block.1
    }

    fn confirmation_depth(&self) -> u64 {
        self.world().confirmation_depth
    }

    fn gas_left(&self) -> Gas {
        // Native code is not metered.
        GAS_LIMIT_DEFAULT
    }

    fn deposit(&self) -> Amount {
        self.frame(|frame| frame.deposit)
    }

    fn log(&self, level: Level, text: &str) {
        let app = self.app_id();
        let mut world = self.world();
        if world.log.len() < limits::LOG_LINES_MAX {
            world.log.push(format!("{app} {level:?}: {text}"));
        }
    }

    fn storage_get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.require(STORAGE);
        self.limit("storage key", key.len(), limits::STORAGE_KEY_BYTES_MAX);
        let app = self.app_id();
        self.world().get(&app, key).cloned()
    }

    fn storage_set(&self, key: &[u8], value: &[u8]) {
        self.require(STORAGE);
        self.limit("storage value", value.len(), limits::STORAGE_VALUE_BYTES_MAX);
        self.set(key, Some(value.to_vec()));
    }

    fn storage_remove(&self, key: &[u8]) -> bool {
        self.require(STORAGE);
        self.set(key, None).is_some()
    }

    fn storage_scan(&self, from: &[u8], to: &[u8], limit: u32, order: Order) -> Vec<StorageEntry> {
        self.require(STORAGE);
        self.limit("storage key", from.len().max(to.len()), limits::STORAGE_KEY_BYTES_MAX);
        let app = self.app_id();
        let world = self.world();
        let end = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(to) };
        let Some(entries) = world.storage_of(&app).filter(|_| to.is_empty() || from < to) else {
            return Vec::new();
        };
        let range = entries.range::<[u8], _>((Bound::Included(from), end));
        let limit = limit.min(limits::SCAN_ENTRIES_MAX) as usize;
        let mut bytes = 0;
        let fits = |(key, value): &(&Vec<u8>, &Vec<u8>)| {
            bytes += key.len() + value.len();
            bytes <= limits::SCAN_BYTES_MAX
        };
        let entry =
            |(key, value): (&Vec<u8>, &Vec<u8>)| StorageEntry { key: key.clone(), value: value.clone() };
        match order {
            Order::Ascending => range.take(limit).take_while(fits).map(entry).collect(),
            Order::Descending => range.rev().take(limit).take_while(fits).map(entry).collect(),
        }
    }

    fn emit(&self, topic: &str, payload: &[u8]) {
        self.require(EVENTS);
        self.refuse_in_query("emitting an event");
        if topic.is_empty() {
            native::trap(failure(FailureCode::BadArgument, "the topic is empty"));
        }
        self.limit("event topic", topic.len(), limits::EVENT_TOPIC_BYTES_MAX);
        self.limit("event payload", payload.len(), limits::EVENT_PAYLOAD_BYTES_MAX);
        let app = self.app_id();
        let mut world = self.world();
        world.events.push(Event { app, topic: topic.to_string(), payload: payload.to_vec() });
        let count = world.events.len();
        drop(world);
        if count > limits::EVENTS_PER_TRANSACTION_MAX {
            let max = limits::EVENTS_PER_TRANSACTION_MAX;
            native::trap(failure(
                FailureCode::LimitExceeded,
                format!("more than {max} events in one transaction"),
            ));
        }
    }

    fn balance(&self, account: &AccountId) -> Amount {
        self.require(ACCOUNTS);
        self.world().balance(account)
    }

    fn transfer(&self, to: &AccountId, amount: Amount) -> bool {
        self.require(ACCOUNTS);
        self.refuse_in_query("a transfer");
        let from = app_account(&self.app_id());
        self.world().transfer(from, *to, amount)
    }

    fn call(&self, app: &AppId, method: &str, arguments: &[u8], deposit: Amount, _gas: Gas) -> CallOutcome {
        self.refuse_in_query("a call that may write");
        self.nested(app, Entry::Call(method.to_string()), arguments, deposit)
    }

    fn query(&self, app: &AppId, method: &str, arguments: &[u8], _gas: Gas) -> CallOutcome {
        self.nested(app, Entry::Query(method.to_string()), arguments, Amount::ZERO)
    }

    fn device(&self, id: &DeviceId) -> Option<DeviceRecord> {
        self.require(DEVICES);
        self.world().devices.get(id).cloned()
    }

    fn devices(&self, filter: &DeviceFilter) -> Vec<DeviceRecord> {
        self.require(DEVICES);
        devices::list(&self.world().devices, filter)
    }

    fn sha256(&self, data: &[u8]) -> Hash32 {
        self.require(CRYPTO);
        crypto::sha256(data)
    }

    fn keccak256(&self, data: &[u8]) -> Hash32 {
        self.require(CRYPTO);
        crypto::keccak256(data)
    }

    fn blake3(&self, data: &[u8]) -> Hash32 {
        self.require(CRYPTO);
        crypto::blake3(data)
    }

    fn secp256k1_verify(&self, hash: &Hash32, signature: &[u8; 64], key: &[u8; 33]) -> bool {
        self.require(CRYPTO);
        crypto::secp256k1_verify(hash, signature, key)
    }

    fn secp256k1_recover(&self, hash: &Hash32, signature: &[u8; 65]) -> Option<[u8; 33]> {
        self.require(CRYPTO);
        crypto::secp256k1_recover(hash, signature)
    }

    fn ed25519_verify(&self, message: &[u8], signature: &[u8; 64], key: &[u8; 32]) -> bool {
        self.require(CRYPTO);
        crypto::ed25519_verify(message, signature, key)
    }

    fn p256_verify(&self, hash: &Hash32, signature: &[u8; 64], key: &[u8; 33]) -> bool {
        self.require(CRYPTO);
        crypto::p256_verify(hash, signature, key)
    }
}
