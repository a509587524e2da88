//! Applies the native rules of accounts, applications, devices and staking to state.
//!
//! Every rule is a function of state and input: nothing here reads a clock, runs a guest or keeps anything
//! between calls. What breaks a rule is a [`ModuleError`]; [`ModuleError::into_failure`] turns it into the
//! stable code of a receipt.
//!
//! ```
//! use purlin_modules::{MemoryState, accounts};
//! use purlin_primitives::{AccountId, Amount};
//! let (alice, bob) = (AccountId::new([1; 20]), AccountId::new([2; 20]));
//! let mut state = MemoryState::default();
//! accounts::credit(&mut state, &alice, Amount::new(5))?;
//! accounts::transfer(&mut state, &alice, &bob, Amount::new(2))?;
//! assert_eq!(accounts::account(&mut state, &bob)?.balance, Amount::new(2));
//! # Ok::<(), purlin_modules::ModuleError>(())
//! ```
//!
//! [`NativeModule`] is the plug-in point: [`accounts::Accounts`], [`devices::Devices`] and [`staking::Staking`]
//! implement it. The rules of [`apps`] are functions, because their steps run guests in between;
//! `purlin-execution` drives them.
#![forbid(unsafe_code)]

mod access;
pub mod accounts;
pub mod apps;
pub mod devices;
mod module;
pub mod staking;

pub use access::{MemoryState, StateAccess, StateRead};
pub use module::{BlockEnd, ModuleContext, ModuleError, NativeModule, standard};
