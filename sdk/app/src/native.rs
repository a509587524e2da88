//! The seam for tests: what application code runs against when it is not wasm.
//!
//! A test harness implements [`NativeHost`], makes it the thread's host with [`run`], and calls
//! [`App::dispatch`](crate::App::dispatch) inside. `purlin-testing` is that harness; applications do not use this module.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::rc::Rc;
use std::string::{String, ToString};
use std::sync::Once;
use std::vec::Vec;

use purlin_abi::{
    AccountId, Amount, AppId, CallFailure, CallOutcome, DeviceFilter, DeviceId, DeviceRecord, Gas, Hash32,
    Height, StorageEntry, TimestampMs,
};

use crate::log::Level;
use crate::storage::Order;

/// Stands in for the runtime, one method per import of [`purlin_abi::host::FUNCTIONS`].
///
/// Methods take `&self`: an application calls another one through [`call`](Self::call), which runs inside this
/// method and uses the same host. What the runtime would answer with a trap (a write in a query, an oversized
/// key), an implementation answers with [`trap`].
pub trait NativeHost {
    /// Returns the borsh arguments of the running call.
    fn input(&self) -> Vec<u8>;
    /// Sets the result of the running call; the last one counts.
    fn output(&self, bytes: &[u8]);
    /// Returns who called.
    fn caller(&self) -> AccountId;
    /// Returns the name of the running application.
    fn app_id(&self) -> AppId;
    /// Returns the account of an application, whether installed or not.
    fn app_account(&self, app: &AppId) -> AccountId;
    /// Returns the height of the current block.
    fn block_height(&self) -> Height;
    /// Returns the time of the current block.
    fn block_time(&self) -> TimestampMs;
    /// Returns how many blocks on top make a block final.
    fn confirmation_depth(&self) -> u64;
    /// Returns the gas that is left.
    fn gas_left(&self) -> Gas;
    /// Returns the native amount that came with the running call.
    fn deposit(&self) -> Amount;
    /// Takes a log line.
    fn log(&self, level: Level, text: &str);

    /// Reads a key of the running application.
    fn storage_get(&self, key: &[u8]) -> Option<Vec<u8>>;
    /// Writes a key.
    fn storage_set(&self, key: &[u8], value: &[u8]);
    /// Removes a key; says whether it was there.
    fn storage_remove(&self, key: &[u8]) -> bool;
    /// Returns at most `limit` entries with `from <= key < to`; an empty `to` means no upper end.
    fn storage_scan(&self, from: &[u8], to: &[u8], limit: u32, order: Order) -> Vec<StorageEntry>;

    /// Takes an event.
    fn emit(&self, topic: &str, payload: &[u8]);

    /// Returns a native balance.
    fn balance(&self, account: &AccountId) -> Amount;
    /// Transfers from the running application's account; `false` when its balance is too small.
    fn transfer(&self, to: &AccountId, amount: Amount) -> bool;

    /// Calls another application. `gas` of zero means all that is left.
    fn call(&self, app: &AppId, method: &str, arguments: &[u8], deposit: Amount, gas: Gas) -> CallOutcome;
    /// Queries another application; `method` has no `query_` prefix. `gas` of zero means all that is left.
    fn query(&self, app: &AppId, method: &str, arguments: &[u8], gas: Gas) -> CallOutcome;

    /// Reads a device record.
    fn device(&self, id: &DeviceId) -> Option<DeviceRecord>;
    /// Lists devices.
    fn devices(&self, filter: &DeviceFilter) -> Vec<DeviceRecord>;

    /// Hashes with SHA-256.
    fn sha256(&self, data: &[u8]) -> Hash32;
    /// Hashes with Keccak-256.
    fn keccak256(&self, data: &[u8]) -> Hash32;
    /// Hashes with BLAKE3.
    fn blake3(&self, data: &[u8]) -> Hash32;
    /// Checks an ECDSA signature on secp256k1; high s is refused.
    fn secp256k1_verify(&self, hash: &Hash32, signature: &[u8; 64], key: &[u8; 33]) -> bool;
    /// Recovers a compressed secp256k1 key.
    fn secp256k1_recover(&self, hash: &Hash32, signature: &[u8; 65]) -> Option<[u8; 33]>;
    /// Checks an Ed25519 signature, strictly.
    fn ed25519_verify(&self, message: &[u8], signature: &[u8; 64], key: &[u8; 32]) -> bool;
    /// Checks an ECDSA signature on P-256.
    fn p256_verify(&self, hash: &Hash32, signature: &[u8; 64], key: &[u8; 33]) -> bool;
}

/// Says how application code ended other than by returning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It returned an error of its own.
    Fail {
        /// The error's number.
        code: u32,
        /// The error's message.
        message: String,
        /// Borsh of the error.
        data: Vec<u8>,
    },
    /// It panicked.
    Abort {
        /// Message and place of the panic.
        message: String,
    },
    /// The host stopped it.
    Trap(CallFailure),
}

std::thread_local! {
    static HOST: RefCell<Option<Rc<dyn NativeHost>>> = const { RefCell::new(None) };
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs application code against a host and catches how it ends. Calls nest: each restores the host before it.
///
/// Output of panics inside goes into [`Ended::Abort`] instead of standard error.
pub fn run<R>(host: Rc<dyn NativeHost>, code: impl FnOnce() -> R) -> Result<R, Ended> {
    catch_panics_quietly();
    let _restore = Restore(HOST.with(|slot| slot.replace(Some(host))));
    DEPTH.set(DEPTH.get() + 1);
    // Unwind safety: a broken call's host state is rolled back by the harness, as the runtime does it.
    panic::catch_unwind(AssertUnwindSafe(code)).map_err(|payload| match payload.downcast::<Ended>() {
        Ok(ended) => *ended,
        Err(_) => {
            let message = PANIC.with(|slot| slot.take());
            Ended::Abort { message: message.unwrap_or_else(|| "panicked".to_string()) }
        }
    })
}

/// Ends the running application code as the host; [`run`] returns it as [`Ended::Trap`].
pub fn trap(failure: CallFailure) -> ! {
    panic::panic_any(Ended::Trap(failure))
}

struct Restore(Option<Rc<dyn NativeHost>>);

impl Drop for Restore {
    fn drop(&mut self) {
        let before = self.0.take();
        HOST.with(|slot| slot.replace(before));
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Installs, once per process, a panic hook that keeps the message of panics inside [`run`] and leaves all others
/// to the hook before it.
fn catch_panics_quietly() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if DEPTH.try_with(Cell::get).unwrap_or(0) == 0 {
                before(info);
            } else {
                let message = panic_message(info);
                PANIC.with(|slot| slot.replace(Some(message)));
            }
        }));
    });
}

fn panic_message(info: &PanicHookInfo<'_>) -> String {
    let text = info.payload_as_str().unwrap_or("panicked");
    match info.location() {
        Some(place) => std::format!("{text}, at {}:{}:{}", place.file(), place.line(), place.column()),
        None => text.to_string(),
    }
}

/// Returns the thread's host.
pub(crate) fn host() -> Rc<dyn NativeHost> {
    HOST.with(|slot| slot.borrow().clone())
        .expect("application code outside a test host: run it through purlin-testing")
}
