//! The plug-in point for native rules.

use purlin_abi::GasSchedule;
use purlin_primitives::{AccountId, Action, CallFailure, Gas, Genesis, Height, TimestampMs};
use purlin_state::StoreError;

use crate::access::StateAccess;
use crate::accounts::{AccountError, Accounts};
use crate::apps::AppError;
use crate::devices::{DeviceError, Devices};

/// What a module may know besides state.
#[derive(Debug, Clone, Copy)]
pub struct ModuleContext {
    /// Who signed the transaction.
    pub sender: AccountId,
    /// Height of the block.
    pub height: Height,
    /// Time of the block.
    pub time: TimestampMs,
}

/// Applies a kind of action to state.
///
/// The executor asks each module in order for a price and gives the action to the first that names one, inside
/// a checkpoint: when `apply` fails, everything it wrote is undone, and so is the rest of the transaction.
/// Implementations depend on nothing but their arguments, so that every validator gets the same result, and
/// keep to keys under prefixes of their own (`StatePrefix`).
pub trait NativeModule: Send + Sync {
    /// Returns the module's name, for logs.
    fn name(&self) -> &'static str;

    /// Writes what the genesis says of this module into empty state.
    fn genesis(&self, state: &mut dyn StateAccess, genesis: &Genesis) -> Result<(), ModuleError> {
        let _ = (state, genesis);
        Ok(())
    }

    /// Returns what an action costs beside the price of every action, or `None` when it is not this module's.
    /// Depends on the action alone: it is charged before anything is read.
    fn price(&self, schedule: &GasSchedule, action: &Action) -> Option<Gas>;

    /// Applies an action that this module has priced.
    fn apply(
        &self,
        state: &mut dyn StateAccess,
        context: &ModuleContext,
        action: &Action,
    ) -> Result<(), ModuleError>;
}

/// Returns the modules of every chain: accounts, devices.
pub fn standard() -> Vec<Box<dyn NativeModule>> {
    vec![Box::new(Accounts), Box::new(Devices)]
}

/// Says why an action had no effect, or why state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// A rule of accounts.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A rule of applications.
    #[error(transparent)]
    App(#[from] AppError),
    /// A rule of devices.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A rule of a module from elsewhere.
    #[error("{}", .0.message)]
    Other(CallFailure),
    /// State cannot be read: a fault of this node, never a verdict.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ModuleError {
    /// Turns a broken rule into what the receipt says; a storage fault stays one.
    pub fn into_failure(self) -> Result<CallFailure, StoreError> {
        match self {
            Self::Account(error) => Ok(CallFailure::new(error.code(), error.to_string())),
            Self::App(error) => Ok(CallFailure::new(error.code(), error.to_string())),
            Self::Device(error) => Ok(CallFailure::new(error.code(), error.to_string())),
            Self::Other(failure) => Ok(failure),
            Self::Store(error) => Err(error),
        }
    }
}
