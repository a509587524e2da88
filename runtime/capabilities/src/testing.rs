//! A host in memory, and the loop over all backends, for tests of guests and of this crate.

use std::collections::BTreeMap;
use std::sync::Arc;

use purlin_abi::{
    AccountId, Amount, AppId, CallFailure, DeviceFilter, DeviceId, DeviceRecord, Event, FailureCode, Gas,
    Hash32, Height, StorageEntry, TimestampMs, limits,
};
use purlin_engine::{Backend, EngineConfig, HostFault};

use crate::{AppCall, AppCallReport, CallReport, DeviceList, GuestCall, Host, Runtime, StorageScan};

/// Answers calls of other applications.
pub type AppCallHandler =
    Arc<dyn Fn(MemoryHost, AppCall) -> (MemoryHost, Result<AppCallReport, HostFault>) + Send + Sync>;

/// A host whose state is in public maps. Nothing is rolled back after a failure.
#[derive(Clone)]
pub struct MemoryHost {
    /// See [`Host::caller`].
    pub caller: AccountId,
    /// See [`Host::app_id`].
    pub app: AppId,
    /// See [`Host::block_height`].
    pub height: Height,
    /// See [`Host::block_time`].
    pub time: TimestampMs,
    /// See [`Host::confirmation_depth`].
    pub confirmation_depth: u64,
    /// See [`Host::deposit`].
    pub deposit: Amount,
    /// See [`Host::read_only`].
    pub read_only: bool,
    /// The application's keys and values.
    pub storage: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Events, oldest first.
    pub events: Vec<Event>,
    /// Log lines with their levels, oldest first.
    pub log: Vec<(u8, String)>,
    /// Native balances.
    pub balances: BTreeMap<AccountId, Amount>,
    /// Registered devices.
    pub devices: BTreeMap<DeviceId, DeviceRecord>,
    /// How often storage was read: shows whether something ran twice.
    pub reads: u32,
    /// Makes the next storage read a fault of the node.
    pub broken: bool,
    /// Answers calls of other applications; without one there are none.
    pub on_call: Option<AppCallHandler>,
}

impl Default for MemoryHost {
    fn default() -> Self {
        Self {
            caller: AccountId::new([0xca; 20]),
            app: AppId::new("tested").expect("a valid name"),
            height: Height::new(7),
            time: TimestampMs::new(1_700_000_000_000),
            confirmation_depth: 0,
            deposit: Amount::ZERO,
            read_only: false,
            storage: BTreeMap::new(),
            events: Vec::new(),
            log: Vec::new(),
            balances: BTreeMap::new(),
            devices: BTreeMap::new(),
            reads: 0,
            broken: false,
            on_call: None,
        }
    }
}

impl MemoryHost {
    fn own_account(&self) -> AccountId {
        self.app_account(&self.app)
    }
}

impl Host for MemoryHost {
    fn caller(&self) -> AccountId {
        self.caller
    }

    fn app_id(&self) -> &AppId {
        &self.app
    }

    /// The first bytes of the name, which is enough to tell applications apart in a test.
    fn app_account(&self, app: &AppId) -> AccountId {
        let mut bytes = [0; 20];
        for (byte, letter) in bytes.iter_mut().zip(app.as_str().bytes()) {
            *byte = letter;
        }
        AccountId::new(bytes)
    }

    fn block_height(&self) -> Height {
        self.height
    }

    fn block_time(&self) -> TimestampMs {
        self.time
    }

    fn confirmation_depth(&self) -> u64 {
        self.confirmation_depth
    }

    fn deposit(&self) -> Amount {
        self.deposit
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn log(&mut self, level: u8, text: &str) {
        self.log.push((level, text.to_owned()));
    }

    fn storage_get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, HostFault> {
        if self.broken {
            return Err(HostFault::Node("the disk is gone".into()));
        }
        self.reads += 1;
        Ok(self.storage.get(key).cloned())
    }

    fn storage_set(&mut self, key: &[u8], value: &[u8]) -> Result<(), HostFault> {
        self.storage.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn storage_remove(&mut self, key: &[u8]) -> Result<bool, HostFault> {
        Ok(self.storage.remove(key).is_some())
    }

    fn storage_scan(
        &mut self,
        from: &[u8],
        to: &[u8],
        descending: bool,
        limit: u32,
        steps_max: u32,
    ) -> Result<StorageScan, HostFault> {
        let inside = |key: &[u8]| key >= from && (to.is_empty() || key < to);
        let mut entries: Vec<_> = self
            .storage
            .iter()
            .filter(|(key, _)| inside(key))
            .map(|(key, value)| StorageEntry { key: key.clone(), value: value.clone() })
            .collect();
        if descending {
            entries.reverse();
        }
        entries.truncate(limit.min(steps_max) as usize);
        let mut bytes = 0;
        let fits = entries.iter().take_while(|entry| {
            let before = bytes;
            bytes += entry.key.len() + entry.value.len();
            before < limits::SCAN_BYTES_MAX
        });
        let count = fits.count();
        entries.truncate(count);
        Ok(StorageScan { entries, ..StorageScan::default() })
    }

    fn emit(&mut self, topic: &str, payload: &[u8]) -> Result<(), HostFault> {
        let event = Event { app: self.app.clone(), topic: topic.to_owned(), payload: payload.to_vec() };
        self.events.push(event);
        Ok(())
    }

    fn balance(&mut self, account: &AccountId) -> Result<Amount, HostFault> {
        Ok(self.balances.get(account).copied().unwrap_or_default())
    }

    fn transfer(&mut self, to: &AccountId, amount: Amount) -> Result<bool, HostFault> {
        let own = self.own_account();
        let Some(left) = self.balances.get(&own).copied().unwrap_or_default().checked_sub(amount) else {
            return Ok(false);
        };
        self.balances.insert(own, left);
        let received = self.balances.get(to).copied().unwrap_or_default().saturating_add(amount);
        self.balances.insert(*to, received);
        Ok(true)
    }

    fn device(&mut self, id: &DeviceId) -> Result<Option<DeviceRecord>, HostFault> {
        Ok(self.devices.get(id).cloned())
    }

    fn devices(&mut self, filter: &DeviceFilter, examined_max: u32) -> Result<DeviceList, HostFault> {
        if self.devices.len() > examined_max as usize {
            let message = format!("the filter examines more than {examined_max} devices");
            return Err(HostFault::failure(FailureCode::LimitExceeded, message));
        }
        let wanted = |device: &&DeviceRecord| {
            filter.owner.is_none_or(|owner| device.owner == owner)
                && filter.after.as_ref().is_none_or(|after| device.id > *after)
        };
        let devices = self.devices.values().filter(wanted).take(filter.limit as usize).cloned().collect();
        Ok(DeviceList { devices, examined: self.devices.len() as u32 })
    }

    fn call_app(self, call: AppCall) -> (Self, Result<AppCallReport, HostFault>) {
        match self.on_call.clone() {
            Some(handler) => handler(self, call),
            None => {
                let failure =
                    CallFailure::new(FailureCode::AppNotFound, format!("there is no `{}`", call.app));
                (self, Ok(AppCallReport { outcome: Err(failure), gas_used: Gas::ZERO }))
            }
        }
    }
}

/// Runs one export of a module on a host, with 10,000,000 gas and the default memory, and expects no fault.
///
/// # Panics
/// When the module does not compile, or the node rather than the guest fails.
pub fn call_once(
    runtime: &Runtime<MemoryHost>,
    wasm: &[u8],
    export: &str,
    arguments: &[u8],
    host: MemoryHost,
) -> (MemoryHost, CallReport) {
    let call = GuestCall {
        export,
        arguments: arguments.to_vec(),
        gas: Gas::new(10_000_000),
        memory_pages_max: limits::MEMORY_PAGES_DEFAULT,
    };
    let module = runtime.module(&code_of(wasm), || Ok::<_, HostFault>(wasm.to_vec()));
    let (host, report) = runtime.call(&module.expect("the module compiles"), call, host);
    (host, report.expect("the node does not fail"))
}

/// Returns the key of a module: a hash of its bytes.
pub fn code_of(wasm: &[u8]) -> Hash32 {
    Hash32::new(blake3::hash(wasm).into())
}

/// Runs `check` on a runtime of each backend: what it asserts must hold on all of them.
///
/// # Panics
/// When a runtime cannot be made.
pub fn for_each_backend<H: Host>(mut check: impl FnMut(Backend, &Runtime<H>)) {
    for backend in Backend::ALL {
        let config = EngineConfig { backend, instances_max: 16, ..EngineConfig::default() };
        check(backend, &Runtime::new(&config).expect("a runtime for tests"));
    }
}
