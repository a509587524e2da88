//! Executes blocks over a store in memory: one binary, because each would link the engine again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod conformance;
mod devices;
mod lifecycle;
mod properties;
mod staking;
mod support;
mod test_host;
mod transactions;
