//! What a guest reaches through its capabilities.

use purlin_abi::{DeviceFilter, DeviceRecord, StorageEntry, limits};
use purlin_capabilities::{AppCall, AppCallReport, DeviceList, Host, HostFault, StorageScan};
use purlin_modules::{ModuleError, accounts, apps, devices};
use purlin_primitives::{
    AccountId, Amount, AppId, CallFailure, DeviceId, FailureCode, Height, TimestampMs, app_account,
};
use purlin_state::{Order, ScanLimits, StateKey, StoreError};
use std::sync::Arc;

use crate::call::{Call, CallKind, invoke};
use crate::entry::AppEntry;
use crate::session::Session;

/// One call on its way through a guest: the block's session and who called what.
pub(crate) struct CallHost {
    pub(crate) session: Box<Session>,
    pub(crate) app: Arc<AppEntry>,
    pub(crate) caller: AccountId,
    pub(crate) deposit: Amount,
    pub(crate) kind: CallKind,
}

/// A storage fault is this node's, never a verdict about the guest.
fn node(error: StoreError) -> HostFault {
    HostFault::Node(Box::new(error))
}

/// A broken rule is the guest's; a storage fault is not.
fn rule(error: ModuleError) -> HostFault {
    match error.into_failure() {
        Ok(failure) => HostFault::Failure(failure),
        Err(error) => node(error),
    }
}

/// Accounts for a change of the size of one entry, and refuses growth beyond the manifest's limit.
fn resize(session: &mut Session, app: &AppEntry, before: u64, after: u64) -> Result<(), HostFault> {
    if before == after {
        return Ok(());
    }
    let overlay = &mut session.overlay;
    let used = apps::storage_bytes_at(overlay, &app.storage_bytes_key).map_err(node)?;
    let size = used.saturating_sub(before).saturating_add(after);
    let limit = app.record.limits.storage_bytes;
    if after > before && size > limit {
        let message = format!("storage would hold {size} bytes; the manifest's limit is {limit}");
        return Err(HostFault::failure(FailureCode::StorageQuota, message));
    }
    apps::put_storage_bytes(overlay, &app.storage_bytes_key, size).map_err(node)
}

impl Host for CallHost {
    fn caller(&self) -> AccountId {
        self.caller
    }

    fn app_id(&self) -> &AppId {
        &self.app.record.id
    }

    fn app_account(&self, app: &AppId) -> AccountId {
        if *app == self.app.record.id { self.app.account } else { app_account(app) }
    }

    fn block_height(&self) -> Height {
        self.session.height
    }

    fn block_time(&self) -> TimestampMs {
        self.session.time
    }

    fn confirmation_depth(&self) -> u64 {
        self.session.parameters.consensus.confirmation_depth()
    }

    fn deposit(&self) -> Amount {
        self.deposit
    }

    fn read_only(&self) -> bool {
        self.kind == CallKind::Query
    }

    fn log(&mut self, level: u8, text: &str) {
        self.session.diagnostics.log(&self.app.record.id, level, text);
    }

    fn storage_get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, HostFault> {
        self.session.with_storage_key(&self.app, key, |session, key| {
            Ok(session.overlay.get(key).map_err(node)?.map(<[u8]>::to_vec))
        })
    }

    fn storage_set(&mut self, key: &[u8], value: &[u8]) -> Result<(), HostFault> {
        let app = &*self.app;
        self.session.with_storage_key(app, key, |session, full| {
            let old = session.overlay.get(full).map_err(node)?;
            let before = old.map_or(0, |old| (key.len() + old.len()) as u64);
            resize(session, app, before, (key.len() + value.len()) as u64)?;
            session.overlay.set(full, value);
            Ok(())
        })
    }

    fn storage_remove(&mut self, key: &[u8]) -> Result<bool, HostFault> {
        let app = &*self.app;
        self.session.with_storage_key(app, key, |session, full| {
            let Some(old) = session.overlay.get(full).map_err(node)? else { return Ok(false) };
            let before = (key.len() + old.len()) as u64;
            resize(session, app, before, 0)?;
            session.overlay.remove(full).map_err(node)
        })
    }

    fn storage_scan(
        &mut self,
        from: &[u8],
        to: &[u8],
        descending: bool,
        limit: u32,
        steps_max: u32,
    ) -> Result<StorageScan, HostFault> {
        let prefix = &self.app.storage_prefix;
        let start = [prefix.as_slice(), from].concat();
        // An empty end is the end of this application's keys, never the next application's.
        let end = if to.is_empty() { StateKey::end_of(prefix) } else { [prefix.as_slice(), to].concat() };
        let order = if descending { Order::Descending } else { Order::Ascending };
        let entries = limit.min(limits::SCAN_ENTRIES_MAX) as usize;
        // The prefix, which the application does not see, does not count.
        let bytes = limits::SCAN_BYTES_MAX + entries * prefix.len();
        let limits = ScanLimits { entries, bytes, steps: steps_max as usize };
        let scanned = self.session.overlay.scan_within(&start, &end, order, limits).map_err(node)?;
        let mut left = limits::SCAN_BYTES_MAX;
        let fits = |(key, value): &(Vec<u8>, Vec<u8>)| {
            let size = key.len() - prefix.len() + value.len();
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        };
        let own =
            |(key, value): (Vec<u8>, Vec<u8>)| StorageEntry { key: key[prefix.len()..].to_vec(), value };
        let entries = scanned.entries.into_iter().take_while(fits).map(own).collect();
        Ok(StorageScan { entries, removed: scanned.removed, removed_bytes: scanned.removed_bytes })
    }

    fn emit(&mut self, topic: &str, payload: &[u8]) -> Result<(), HostFault> {
        self.session.emit(&self.app.record.id, topic, payload)
    }

    fn balance(&mut self, account: &AccountId) -> Result<Amount, HostFault> {
        Ok(accounts::account(&mut self.session.overlay, account).map_err(node)?.balance)
    }

    fn transfer(&mut self, to: &AccountId, amount: Amount) -> Result<bool, HostFault> {
        let overlay = &mut self.session.overlay;
        if accounts::account(overlay, &self.app.account).map_err(node)?.balance < amount {
            return Ok(false);
        }
        accounts::transfer(overlay, &self.app.account, to, amount).map_err(rule)?;
        Ok(true)
    }

    fn device(&mut self, id: &DeviceId) -> Result<Option<DeviceRecord>, HostFault> {
        devices::device(&mut self.session.overlay, id).map_err(node)
    }

    fn devices(&mut self, filter: &DeviceFilter, examined_max: u32) -> Result<DeviceList, HostFault> {
        let page = devices::list_within(&mut self.session.overlay, filter, examined_max).map_err(rule)?;
        Ok(DeviceList { devices: page.devices, examined: page.examined })
    }

    fn call_app(self, request: AppCall) -> (Self, Result<AppCallReport, HostFault>) {
        let kind = if request.query { CallKind::Query } else { CallKind::Call };
        if let Err(failure) = self.check_call(&request, kind) {
            return (self, Err(HostFault::Failure(failure)));
        }
        let Self { session, app, caller, deposit, kind: own_kind } = self;
        let call = Call {
            app: &request.app,
            method: &request.method,
            arguments: request.arguments,
            caller: app.account,
            deposit: request.deposit,
            gas: request.gas,
            kind,
        };
        let (session, result) = invoke(session, call);
        let result = match result {
            Ok(report) => Ok(AppCallReport { outcome: report.outcome, gas_used: report.gas_used }),
            Err(fault) => Err(HostFault::Node(Box::new(fault))),
        };
        (Self { session, app, caller, deposit, kind: own_kind }, result)
    }
}

impl CallHost {
    /// Checks what ends the caller, not only its sub-call.
    fn check_call(&self, request: &AppCall, kind: CallKind) -> Result<(), CallFailure> {
        self.session.check_access(&request.app)?;
        if self.kind == CallKind::Query && kind == CallKind::Call {
            let message =
                format!("a query may not call `{}` of {}; query it instead", request.method, request.app);
            return Err(CallFailure::new(FailureCode::WriteInQuery, message));
        }
        if self.session.stack.iter().any(|entry| entry.record.id == request.app) {
            let path: Vec<&str> = self.session.stack.iter().map(|entry| entry.record.id.as_str()).collect();
            let message = format!(
                "{} -> {} calls an app that is waiting for its own call",
                path.join(" -> "),
                request.app
            );
            return Err(CallFailure::new(FailureCode::Reentrancy, message));
        }
        Ok(())
    }
}
