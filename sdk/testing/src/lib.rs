//! Runs one application test natively and as compiled wasm in the real runtime.
//!
//! [`tests!`] makes two tests of each function: `name::native` runs the application as the code that the test
//! is linked with, `name::wasm` runs `target/purlin/<id>.wasm` in the `purlin` binary. `purlin app test` builds the
//! module and starts both.
//!
//! ```ignore
//! use purlin_testing::Chain;
//! use my_counter::Counter;
//!
//! purlin_testing::tests! {
//!     fn everybody_counts(chain: &Chain) {
//!         let [alice, bob] = ["alice", "bob"].map(|name| chain.account(name));
//!         let counter = chain.install::<Counter>(alice, ());
//!         counter.by(bob).increment(2).expect("it fits");
//!         assert_eq!(counter.by(alice).count(), Ok(2));
//!     }
//! }
//! ```
//!
//! Nouns: a [`Chain`] lives for one test, and every call on it is a block; [`Installed`] is an application on it;
//! [`Installed::by`] gives the application's typed client for an account; [`TestDevice`] is a device to register.
//!
//! What differs natively: nothing is metered, so gas is `None` and no call runs out of it; a package is not built,
//! so its static checks do not run; the registry believes any Thing Description. Everything else (nested calls and
//! their rollback, re-entrancy, limits, permissions, writes in queries, balances, block height and time) follows
//! the runtime's rules. Environment: `PURLIN_BIN` names the binary, `PURLIN_TEST_NATIVE_ONLY=1` leaves the wasm
//! variants out.
#![forbid(unsafe_code)]

mod chain;
mod device;
mod native;
mod wasm;

use std::io::Write;
use std::sync::Once;

pub use chain::{Actor, Backend, Chain, Installed};
pub use device::TestDevice;
pub use purlin_abi as abi;

/// Makes two tests of each function: `name::native` and `name::wasm`.
///
/// A missing binary or module is an error of the wasm variant, never a silent pass; `PURLIN_TEST_NATIVE_ONLY=1`
/// leaves the wasm variants out and says so.
#[macro_export]
macro_rules! tests {
    ($($(#[$attribute:meta])* fn $name:ident($chain:ident: &Chain) $body:block)*) => {$(
        $(#[$attribute])*
        #[cfg(test)]
        mod $name {
            #[allow(unused_imports, reason = "not every test uses everything its file imports")]
            use super::*;

            fn body($chain: &$crate::Chain) $body

            #[test]
            fn native() {
                body(&$crate::Chain::start($crate::Backend::Native));
            }

            #[test]
            fn wasm() {
                if $crate::wasm_is_wanted() {
                    body(&$crate::Chain::start($crate::Backend::Wasm));
                }
            }
        }
    )*};
}

/// Says whether wasm variants are to run, and prints once when they are not.
pub fn wasm_is_wanted() -> bool {
    static SAID: Once = Once::new();
    let wanted = std::env::var_os(wasm::NATIVE_ONLY_VARIABLE).is_none_or(|value| value != "1");
    if !wanted {
        SAID.call_once(|| {
            // Past the capture of test output, which would hide it from whoever reads "ok". A closed stderr
            // leaves nobody to tell.
            let _ =
                writeln!(std::io::stderr(), "wasm tests are left out: {} is 1", wasm::NATIVE_ONLY_VARIABLE);
        });
    }
    wanted
}
