//! Defines what host and guest agree on: ids, host functions, limits and failure codes, version 1.
//!
//! The crate is `no_std` with `alloc` and depends on no other crate of the workspace, so that a guest, a
//! node and a tool in another repository can share it. Everything hashed, signed, stored or passed over the
//! guest boundary is borsh; the `json` feature adds the forms that people and the HTTP API see.
//!
//! ```
//! use purlin_abi::{AccountId, AppId};
//! let app: AppId = "token".parse()?;
//! let owner: AccountId = "0x00000000000000000000000000000000000000aa".parse()?;
//! assert_eq!(app.as_str(), "token");
//! assert_eq!(owner.as_bytes()[19], 0xaa);
//! # Ok::<(), purlin_abi::ParseIdError>(())
//! ```
//!
//! Nouns: [`AccountId`] (20 bytes, a key or an application), [`AppId`] (a name that survives upgrades),
//! [`DeviceId`], [`Amount`], [`Gas`], [`Height`], [`TimestampMs`]; [`FailureCode`] names every way a call can
//! end badly; [`host::FUNCTIONS`] is the list of imports a guest may ask for; [`limits`] bounds all of it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod call;
mod device;
mod event;
mod failure;
mod gas;
pub mod host;
mod id;
pub mod limits;
#[cfg(feature = "json")]
mod manifest;
mod quantity;
#[cfg(feature = "json")]
pub mod schema;
#[cfg(feature = "std")]
pub mod test_host;

pub use call::{CallFailure, CallOutcome, StorageEntry};
pub use device::{DeviceFilter, DeviceKey, DeviceRecord, DeviceStatus, KeyAlgorithm};
pub use event::Event;
pub use failure::FailureCode;
pub use gas::GasSchedule;
pub use id::{AccountId, AppId, DeviceId, Hash32, ParseIdError};
#[cfg(feature = "json")]
pub use manifest::{Dependency, Limits, Manifest, Placement};
pub use quantity::{Amount, Gas, Height, ParseAmountError, TimestampMs};

/// Version of the guest ABI that this crate describes; a manifest must name it.
pub const ABI_VERSION: u32 = 1;
