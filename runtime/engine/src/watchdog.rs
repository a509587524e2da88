//! Advances wasmtime's epoch, so that a call that runs too long can be given up.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use wasmtime::Engine;

use crate::EngineFault;

/// A thread that ticks until this is dropped.
pub(crate) struct Watchdog {
    /// Closing it ends the thread.
    _stop: SyncSender<()>,
    limit: Duration,
    ticks: u64,
}

impl Watchdog {
    pub(crate) fn start(engine: &Engine, limit: Duration) -> Result<Self, EngineFault> {
        let tick = (limit / 8).clamp(Duration::from_millis(1), Duration::from_secs(1));
        let ticks =
            u64::try_from(limit.as_millis().div_ceil(tick.as_millis().max(1))).unwrap_or(u64::MAX / 2);
        let (stop, stopped) = sync_channel::<()>(1);
        let engine = engine.weak();
        std::thread::Builder::new()
            .name("purlin-watchdog".into())
            .spawn(move || {
                while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                    match engine.upgrade() {
                        Some(engine) => engine.increment_epoch(),
                        None => break,
                    }
                }
            })
            .map_err(|source| EngineFault::Thread { source })?;
        // The first tick may come at once.
        Ok(Self { _stop: stop, limit, ticks: ticks.saturating_add(1).min(u64::MAX / 2) })
    }

    /// Returns the time after which a call is given up.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Returns the same in ticks.
    pub(crate) fn ticks(&self) -> u64 {
        self.ticks
    }
}
