//! What executing a block carries along.

use purlin_abi::{GasSchedule, limits};
use purlin_capabilities::HostFault;
use purlin_chain::BlockContext;
use purlin_primitives::{
    AccountId, AppId, CallFailure, ChainId, Event, FailureCode, Height, Parameters, TimestampMs,
};
use purlin_state::{Checkpoint, Overlay, StateKey, StateReader, StoreError};
use std::collections::HashMap;
use std::sync::Arc;

use crate::diagnostics::Diagnostics;
use crate::entry::AppEntry;
use crate::executor::Shared;

/// The state of a block under execution, and of the transaction in it. Travels through guest calls by value.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) overlay: Overlay,
    pub(crate) schedule: GasSchedule,
    pub(crate) chain_id: ChainId,
    pub(crate) parameters: Arc<Parameters>,
    pub(crate) height: Height,
    pub(crate) time: TimestampMs,
    /// Who sent the transaction.
    pub(crate) sender: AccountId,
    /// Applications that the transaction may touch; empty means any.
    access: Vec<AppId>,
    pub(crate) events: Vec<Event>,
    /// Applications on the call stack, outermost first.
    pub(crate) stack: Vec<Arc<AppEntry>>,
    pub(crate) diagnostics: Diagnostics,
    /// Entries seen in this block. Never iterated.
    apps: HashMap<AppId, Arc<AppEntry>>,
    /// The one of them that was called last: a block often calls one application many times.
    last_app: Option<Arc<AppEntry>>,
    /// Whether this transaction wrote records, so that going back invalidates `apps`.
    records_changed: bool,
    /// Room for building keys.
    key: Vec<u8>,
}

/// A point of a session to go back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionCheckpoint {
    overlay: Checkpoint,
    events: usize,
}

impl Session {
    pub(crate) fn new(
        shared: Arc<Shared>,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        schedule: GasSchedule,
    ) -> Box<Self> {
        Box::new(Self {
            shared,
            overlay: Overlay::new(state),
            schedule,
            chain_id: context.chain_id.clone(),
            parameters: context.parameters.clone(),
            height: context.height,
            time: context.time,
            sender: AccountId::ZERO,
            access: Vec::new(),
            events: Vec::new(),
            stack: Vec::new(),
            diagnostics: Diagnostics::default(),
            apps: HashMap::new(),
            last_app: None,
            records_changed: false,
            key: Vec::new(),
        })
    }

    /// Begins a transaction.
    pub(crate) fn begin(&mut self, sender: AccountId, access: &[AppId]) {
        self.overlay.settle();
        self.sender = sender;
        self.access.clear();
        self.access.extend_from_slice(access);
        self.events.clear();
        self.stack.clear();
        self.diagnostics = Diagnostics::default();
        self.records_changed = false;
    }

    pub(crate) fn checkpoint(&self) -> SessionCheckpoint {
        SessionCheckpoint { overlay: self.overlay.checkpoint(), events: self.events.len() }
    }

    /// Undoes every write and event since `checkpoint`.
    pub(crate) fn rollback(&mut self, checkpoint: SessionCheckpoint) {
        self.overlay.rollback(checkpoint.overlay);
        self.events.truncate(checkpoint.events);
        if self.records_changed {
            self.forget_apps();
        }
    }

    /// Returns an installed application, or `None`.
    pub(crate) fn app(&mut self, id: &AppId) -> Result<Option<Arc<AppEntry>>, StoreError> {
        if let Some(entry) = self.last_app.as_ref().filter(|entry| entry.record.id == *id) {
            return Ok(Some(entry.clone()));
        }
        if let Some(entry) = self.apps.get(id) {
            self.last_app = Some(entry.clone());
            return Ok(Some(entry.clone()));
        }
        let Some(bytes) = self.overlay.get(&StateKey::app(id))? else { return Ok(None) };
        let entry = self.shared.entries.get(id, bytes)?;
        self.apps.insert(id.clone(), entry.clone());
        self.last_app = Some(entry.clone());
        Ok(Some(entry))
    }

    /// Must follow every change of a record.
    pub(crate) fn record_changed(&mut self, id: &AppId) {
        self.apps.remove(id);
        self.last_app = None;
        self.records_changed = true;
    }

    fn forget_apps(&mut self) {
        self.apps.clear();
        self.last_app = None;
    }

    /// Checks the transaction's access list.
    pub(crate) fn check_access(&self, app: &AppId) -> Result<(), CallFailure> {
        if self.access.is_empty() || self.access.contains(app) {
            return Ok(());
        }
        let message =
            format!("app {app} is not in the transaction's access list; add it, or leave the list empty");
        Err(CallFailure::new(FailureCode::AccessList, message))
    }

    /// Runs `work` with a key in an application's storage.
    pub(crate) fn with_storage_key<R>(
        &mut self,
        app: &AppEntry,
        key: &[u8],
        work: impl FnOnce(&mut Self, &[u8]) -> R,
    ) -> R {
        let mut full = std::mem::take(&mut self.key);
        full.clear();
        full.extend_from_slice(&app.storage_prefix);
        full.extend_from_slice(key);
        let result = work(self, &full);
        self.key = full;
        result
    }

    /// Adds an event.
    pub(crate) fn emit(&mut self, app: &AppId, topic: &str, payload: &[u8]) -> Result<(), HostFault> {
        if self.events.len() >= limits::EVENTS_PER_TRANSACTION_MAX {
            let max = limits::EVENTS_PER_TRANSACTION_MAX;
            let message = format!("the transaction emits more than {max} events");
            return Err(HostFault::failure(FailureCode::LimitExceeded, message));
        }
        self.events.push(Event { app: app.clone(), topic: topic.into(), payload: payload.into() });
        Ok(())
    }
}
