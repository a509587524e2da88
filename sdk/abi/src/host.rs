//! The host functions of ABI version 1: names, wasm signatures and calling conventions.
//!
//! Conventions, for every function:
//! - A byte string is passed as `(pointer, length)`, both `i32`, into the guest's exported `memory`.
//! - A function that returns bytes takes `(out pointer, capacity)` last and returns the length, or
//!   [`ABSENT`]. When the length exceeds the capacity nothing is written and the result is kept: calling the
//!   same function again at once with the same arguments delivers it, runs nothing twice and costs nothing.
//! - Fixed-size values (accounts 20 bytes, amounts 16 bytes little-endian, hashes 32 bytes) are passed as a
//!   pointer alone.
//! - A pointer or length outside memory, an oversized input, or a write inside a query traps with a code.
//! - Exports: a call method `name` is the export `name`; a query is `query_name`; `initialize`, `migrate` and
//!   `stop` are the life cycle. All are `() -> ()`: arguments come from `input`, the result goes to `output`.

/// A wasm value type in a host signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// 32-bit integer: pointers, lengths, flags.
    I32,
    /// 64-bit integer: heights, times, gas.
    I64,
}

/// Describes one importable function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostFunction {
    /// Import module: the capability.
    pub module: &'static str,
    /// Import name.
    pub name: &'static str,
    /// Wasm parameters.
    pub params: &'static [ValueType],
    /// Wasm result, if any.
    pub result: Option<ValueType>,
}

/// Returned instead of a length when there is no value.
pub const ABSENT: i32 = -1;

/// Always granted: input, output, context, logging, ending a call.
pub const CORE: &str = "purlin.core.v1";
/// The application's own key-value storage.
pub const STORAGE: &str = "purlin.storage.v1";
/// Emitting events into the receipt.
pub const EVENTS: &str = "purlin.events.v1";
/// Native balances and transfers from the application's account.
pub const ACCOUNTS: &str = "purlin.accounts.v1";
/// Calling and querying other applications.
pub const APPS: &str = "purlin.apps.v1";
/// Reading the device registry.
pub const DEVICES: &str = "purlin.devices.v1";
/// Hashes and signature checks.
pub const CRYPTO: &str = "purlin.crypto.v1";

/// Capabilities in the order of their documentation. A manifest's `permissions` names them without the
/// `purlin.` prefix and `.v1` suffix: `storage`, `events`, ... `core` needs no permission.
pub const CAPABILITIES: &[&str] = &[CORE, STORAGE, EVENTS, ACCOUNTS, APPS, DEVICES, CRYPTO];

/// Returns the permission that grants an import module: `purlin.storage.v1` -> `storage`.
pub fn permission_of(module: &str) -> Option<&str> {
    module.strip_prefix("purlin.")?.strip_suffix(".v1")
}

/// The export that initialises an application on its first start.
pub const EXPORT_INITIALIZE: &str = "initialize";
/// The export that runs after an upgrade; its input starts with the old version as a string.
pub const EXPORT_MIGRATE: &str = "migrate";
/// The export that runs before a stop.
pub const EXPORT_STOP: &str = "stop";
/// Prefix of exports that may only read.
pub const QUERY_PREFIX: &str = "query_";
/// The export that holds the guest's linear memory.
pub const EXPORT_MEMORY: &str = "memory";
/// Name of the wasm custom section that carries the application's JSON Schema.
pub const SCHEMA_SECTION: &str = "purlin.schema";

const I: ValueType = ValueType::I32;
const L: ValueType = ValueType::I64;

const fn f(
    module: &'static str,
    name: &'static str,
    params: &'static [ValueType],
    result: Option<ValueType>,
) -> HostFunction {
    HostFunction { module, name, params, result }
}

/// Every function a guest may import; see each line's comment for its arguments.
pub const FUNCTIONS: &[HostFunction] = &[
    // (out, capacity) -> length: the borsh arguments of this call.
    f(CORE, "input", &[I, I], Some(I)),
    // (pointer, length): sets the result; the last call counts.
    f(CORE, "output", &[I, I], None),
    // (code, message, length, data, length): ends the call with the application's own error. Never returns.
    f(CORE, "fail", &[I, I, I, I, I], None),
    // (message, length): ends the call as a panic. Never returns.
    f(CORE, "abort", &[I, I], None),
    // (out 20): who called: the transaction's sender, or the calling application's account.
    f(CORE, "caller", &[I], None),
    // (out, capacity) -> length: this application's name.
    f(CORE, "app_id", &[I, I], Some(I)),
    // (app, length, out 20): the account of an application, whether installed or not.
    f(CORE, "app_account", &[I, I, I], None),
    // () -> height of the block that this call is in; for a query, of the state it reads.
    f(CORE, "block_height", &[], Some(L)),
    // () -> block time in milliseconds.
    f(CORE, "block_time", &[], Some(L)),
    // () -> blocks on top after which a block counts as final; 0 where each is final at once.
    f(CORE, "confirmation_depth", &[], Some(L)),
    // () -> gas left in this call.
    f(CORE, "gas_left", &[], Some(L)),
    // (out 16): native amount that came with this call, already in the application's account.
    f(CORE, "deposit", &[I], None),
    // (level 0 error .. 4 trace, text, length): node-local log; no effect on state.
    f(CORE, "log", &[I, I, I], None),
    // (key, length, out, capacity) -> length or -1.
    f(STORAGE, "get", &[I, I, I, I], Some(I)),
    // (key, length, value, length).
    f(STORAGE, "set", &[I, I, I, I], None),
    // (key, length) -> 1 if it was there, else 0.
    f(STORAGE, "remove", &[I, I], Some(I)),
    // (from, length, to, length, limit, order 0 up / 1 down, out, capacity) -> length of borsh
    // `Vec<StorageEntry>` with from <= key < to; an empty `to` means no upper end.
    f(STORAGE, "scan", &[I, I, I, I, I, I, I, I], Some(I)),
    // (topic, length, payload, length).
    f(EVENTS, "emit", &[I, I, I, I], None),
    // (account 20, out 16).
    f(ACCOUNTS, "balance", &[I, I], None),
    // (to 20, amount 16) -> 0 done, 1 balance too small.
    f(ACCOUNTS, "transfer", &[I, I], Some(I)),
    // (app, length, method, length, args, length, deposit 16, gas or 0 for all, out, capacity) -> length of
    // borsh `CallOutcome`.
    f(APPS, "call", &[I, I, I, I, I, I, I, L, I, I], Some(I)),
    // (app, length, method, length, args, length, gas or 0 for all, out, capacity) -> length of borsh
    // `CallOutcome`.
    f(APPS, "query", &[I, I, I, I, I, I, L, I, I], Some(I)),
    // (device, length, out, capacity) -> length of borsh `DeviceRecord`, or -1.
    f(DEVICES, "get", &[I, I, I, I], Some(I)),
    // (borsh `DeviceFilter`, length, out, capacity) -> length of borsh `Vec<DeviceRecord>`.
    f(DEVICES, "list", &[I, I, I, I], Some(I)),
    // (data, length, out 32).
    f(CRYPTO, "sha256", &[I, I, I], None),
    f(CRYPTO, "keccak256", &[I, I, I], None),
    f(CRYPTO, "blake3", &[I, I, I], None),
    // (hash 32, signature 64 r||s, compressed key 33) -> 1 valid, 0 not. High s is refused.
    f(CRYPTO, "secp256k1_verify", &[I, I, I], Some(I)),
    // (hash 32, signature 65 r||s||v with v 0 or 1, out compressed key 33) -> 1 done, 0 not a signature.
    f(CRYPTO, "secp256k1_recover", &[I, I, I], Some(I)),
    // (message, length, signature 64, key 32) -> 1 valid, 0 not (RFC 8032, strict).
    f(CRYPTO, "ed25519_verify", &[I, I, I, I], Some(I)),
    // (hash 32, signature 64 r||s, compressed key 33) -> 1 valid, 0 not.
    f(CRYPTO, "p256_verify", &[I, I, I], Some(I)),
];

/// Finds a function by its import.
pub fn find(module: &str, name: &str) -> Option<&'static HostFunction> {
    FUNCTIONS.iter().find(|function| function.module == module && function.name == name)
}
