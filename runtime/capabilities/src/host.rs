//! What a node provides for one guest call.

use purlin_abi::{
    AccountId, Amount, AppId, CallOutcome, DeviceFilter, DeviceId, DeviceRecord, Gas, Height, StorageEntry,
    TimestampMs,
};
use purlin_engine::HostFault;

/// The state and context of one call of one application. The runtime has checked sizes, the right to write
/// and gas before it calls; a method need not do so again.
///
/// A method that fails gives [`HostFault::Failure`] for a verdict that every node comes to (a quota, a limit
/// of the transaction), and [`HostFault::Node`] for trouble of this node.
pub trait Host: Send + 'static {
    /// Who called: the transaction's sender, or the calling application's account.
    fn caller(&self) -> AccountId;

    /// The application that runs.
    fn app_id(&self) -> &AppId;

    /// The account of an application, installed or not.
    fn app_account(&self, app: &AppId) -> AccountId;

    /// Height of the block, or of the state that a query reads.
    fn block_height(&self) -> Height;

    /// Time of that block.
    fn block_time(&self) -> TimestampMs;

    /// Blocks on top after which a block of this chain counts as final; 0 where each is final at once.
    fn confirmation_depth(&self) -> u64;

    /// Native amount that came with the call.
    fn deposit(&self) -> Amount;

    /// Whether this is a query: the runtime then refuses every write.
    fn read_only(&self) -> bool;

    /// Takes a line for the node's log; level 0 is an error, 4 a trace. No effect on state.
    fn log(&mut self, level: u8, text: &str);

    /// Reads a key of the application.
    ///
    /// # Errors
    /// See the trait.
    fn storage_get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, HostFault>;

    /// Writes a key of the application.
    ///
    /// # Errors
    /// See the trait; the storage quota is the host's to enforce.
    fn storage_set(&mut self, key: &[u8], value: &[u8]) -> Result<(), HostFault>;

    /// Removes a key of the application; tells whether it was there.
    ///
    /// # Errors
    /// See the trait.
    fn storage_remove(&mut self, key: &[u8]) -> Result<bool, HostFault>;

    /// Lists entries with `from <= key < to`, in key order or its reverse; an empty `to` means no upper end.
    /// At most `limit`, and no more once [`purlin_abi::limits::SCAN_BYTES_MAX`] is reached, or `steps_max` entries
    /// were found or passed over.
    ///
    /// # Errors
    /// See the trait.
    fn storage_scan(
        &mut self,
        from: &[u8],
        to: &[u8],
        descending: bool,
        limit: u32,
        steps_max: u32,
    ) -> Result<StorageScan, HostFault>;

    /// Records an event of the application.
    ///
    /// # Errors
    /// See the trait; the number of events in a transaction is the host's to limit.
    fn emit(&mut self, topic: &str, payload: &[u8]) -> Result<(), HostFault>;

    /// Returns an account's native balance.
    ///
    /// # Errors
    /// See the trait.
    fn balance(&mut self, account: &AccountId) -> Result<Amount, HostFault>;

    /// Moves native currency from the application's account; false when it has too little.
    ///
    /// # Errors
    /// See the trait.
    fn transfer(&mut self, to: &AccountId, amount: Amount) -> Result<bool, HostFault>;

    /// Reads a device's record.
    ///
    /// # Errors
    /// See the trait.
    fn device(&mut self, id: &DeviceId) -> Result<Option<DeviceRecord>, HostFault>;

    /// Lists devices in id order; `filter.limit` is between 1 and
    /// [`purlin_abi::limits::DEVICE_LIST_MAX`]. Refuses once `examined_max` index entries were read.
    ///
    /// # Errors
    /// See the trait.
    fn devices(&mut self, filter: &DeviceFilter, examined_max: u32) -> Result<DeviceList, HostFault>;

    /// Runs another application. The guest's store owns the host, so the host is handed over and back. What
    /// the callee did wrong is in the report's outcome; depth and re-entrancy are the host's to check.
    fn call_app(self, call: AppCall) -> (Self, Result<AppCallReport, HostFault>)
    where
        Self: Sized;
}

/// Entries of an application's storage, and what finding them took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageScan {
    /// In the order asked for.
    pub entries: Vec<StorageEntry>,
    /// Removed entries that were passed over, each charged as one that is returned.
    pub removed: usize,
    /// Bytes read for nothing, charged as if they were returned.
    pub removed_bytes: usize,
}

/// Devices that match a filter, and what finding them took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceList {
    /// In id order.
    pub devices: Vec<DeviceRecord>,
    /// Index entries read, each charged as one device: a filter whose fields seldom meet finds little and
    /// reads much.
    pub examined: u32,
}

/// A call of one application by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppCall {
    /// The callee.
    pub app: AppId,
    /// Its method: the export of a call, or the name behind `query_` of a query.
    pub method: String,
    /// Borsh arguments.
    pub arguments: Vec<u8>,
    /// Native amount to move to the callee's account with the call.
    pub deposit: Amount,
    /// Gas that the callee may use.
    pub gas: Gas,
    /// Whether the callee may only read.
    pub query: bool,
}

/// How a call of another application ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppCallReport {
    /// Its result, or why it had no effect.
    pub outcome: CallOutcome,
    /// Gas it used, charged to the caller; never more than it was given.
    pub gas_used: Gas,
}
