//! Brings in what nearly every application uses: `use purlin_sdk::prelude::*;`.

pub use crate::abi::{
    AccountId, Amount, AppId, DeviceFilter, DeviceId, DeviceRecord, DeviceStatus, FailureCode, Gas, Hash32,
    Height, TimestampMs,
};
pub use crate::{
    AppError, CallError, Event, Guest, Item, Map, OrderedMap, Schema, Set, State, Vector, accounts, app,
    context, crypto, devices,
};
pub use alloc::borrow::ToOwned;
pub use alloc::boxed::Box;
pub use alloc::string::{String, ToString};
pub use alloc::vec::Vec;
pub use alloc::{format, vec};
