//! Who calls, when, and with what. Needs no permission.

use purlin_abi::{AccountId, Amount, AppId, Gas, Height, TimestampMs};

use crate::host;

/// Returns who called: the transaction's sender, or the account of the calling application.
pub fn caller() -> AccountId {
    host::caller()
}

/// Returns this application's name.
pub fn app_id() -> AppId {
    host::app_id()
}

/// Returns this application's own account.
pub fn account() -> AccountId {
    host::app_account(&host::app_id())
}

/// Returns the account of an application, whether installed or not.
pub fn app_account(app: &AppId) -> AccountId {
    host::app_account(app)
}

/// Returns the height of the block that this call is in; in a query, of the state it reads.
pub fn block_height() -> Height {
    host::block_height()
}

/// Returns the time of that block, in milliseconds.
pub fn block_time() -> TimestampMs {
    host::block_time()
}

/// Returns how many blocks must stand on a block before this chain counts it as final: 0 under proof of stake, where
/// each block is final at once; the genesis' `confirmations` under proof of work.
///
/// What a call does in block `h` may be taken back until block `h + confirmation_depth()` is there. An application whose
/// effect leaves the chain (a machine that starts, a payment elsewhere) keeps the height and acts when it is that deep.
pub fn confirmation_depth() -> u64 {
    host::confirmation_depth()
}

/// Returns the gas left in this call.
pub fn gas_left() -> Gas {
    host::gas_left()
}

/// Returns the native amount that came with this call; it is in the application's account already. Zero except in
/// methods marked `payable`.
pub fn deposit() -> Amount {
    host::deposit()
}
