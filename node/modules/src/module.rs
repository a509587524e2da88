//! The plug-in point for native rules.

use purlin_abi::GasSchedule;
use purlin_primitives::{
    AccountId, Action, CallFailure, ChainId, Gas, Genesis, Height, Parameters, Seal, TimestampMs,
};
use purlin_state::StoreError;

use crate::access::StateAccess;
use crate::accounts::{AccountError, Accounts};
use crate::apps::AppError;
use crate::devices::{DeviceError, Devices};
use crate::staking::{Staking, StakingError};

/// What a module may know besides state.
#[derive(Debug, Clone, Copy)]
pub struct ModuleContext<'a> {
    /// Which chain.
    pub chain_id: &'a ChainId,
    /// The chain's rules.
    pub parameters: &'a Parameters,
    /// Who signed the transaction.
    pub sender: AccountId,
    /// Height of the block.
    pub height: Height,
    /// Time of the block.
    pub time: TimestampMs,
}

/// What a module may know at the end of a block besides state: all of it is in the header or the genesis.
#[derive(Debug, Clone, Copy)]
pub struct BlockEnd<'a> {
    /// The block's height.
    pub height: Height,
    /// The block's time.
    pub time: TimestampMs,
    /// Who made the block and received its fees.
    pub proposer: AccountId,
    /// What the header says to the consensus engine.
    pub seal: Seal,
    /// The chain's rules.
    pub parameters: &'a Parameters,
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
        context: &ModuleContext<'_>,
        action: &Action,
    ) -> Result<(), ModuleError>;

    /// Does what is due at the end of every block, after its last transaction and after the proposer was credited
    /// the fees; modules take turns in order. There is no transaction to fail any more: an error is a fault of
    /// this node, and the block is neither made nor accepted here.
    fn end_block(&self, state: &mut dyn StateAccess, end: &BlockEnd<'_>) -> Result<(), ModuleError> {
        let _ = (state, end);
        Ok(())
    }
}

/// Returns the modules of every chain: accounts, devices, staking.
pub fn standard() -> Vec<Box<dyn NativeModule>> {
    vec![Box::new(Accounts), Box::new(Devices), Box::new(Staking)]
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
    /// A rule of staking.
    #[error(transparent)]
    Staking(#[from] StakingError),
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
            Self::Staking(error) => Ok(CallFailure::new(error.code(), error.to_string())),
            Self::Other(failure) => Ok(failure),
            Self::Store(error) => Err(error),
        }
    }
}
