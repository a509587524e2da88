//! A store that fails on command.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::reader::{Entry, Order};
use crate::store::{Column, Durability, KeyValueStore, StoreError, WriteBatch, WriteOperation};

/// How a write goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No room: nothing is written.
    Full,
    /// An input/output error: nothing is written.
    Failed,
    /// An input/output error is reported, but everything was written.
    FailedAfterWriting,
    /// The power goes out before the write: unsynced writes are lost, and nothing works any more.
    PowerCut,
    /// The power goes out after the write reached the disk and before it was reported.
    PowerCutAfterWriting,
}

#[derive(Debug, Default)]
struct State {
    writes: u64,
    fault: Option<(u64, Fault)>,
    dead: bool,
    /// What brings back the last synced state, applied backwards.
    unsynced: Vec<WriteOperation>,
}

/// Wraps a store and lets a chosen write fail; for tests of everything that writes.
///
/// Buffered writes can be read at once and are lost by a power cut, unless a synced write followed.
#[derive(Debug)]
pub struct FaultStore<S> {
    inner: S,
    state: Mutex<State>,
}

impl<S: KeyValueStore> FaultStore<S> {
    /// Wraps a store; nothing fails until [`FaultStore::fail_write`].
    pub fn new(inner: S) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// Lets the `n`-th write from now fail; 0 is the next one. One fault at a time.
    pub fn fail_write(&self, n: u64, fault: Fault) {
        let mut state = self.lock();
        state.fault = Some((state.writes + n, fault));
    }

    /// Turns the power off: unsynced writes are lost, and every call fails from now on.
    pub fn cut_power(&self) -> Result<(), StoreError> {
        self.die(&mut self.lock())
    }

    /// Returns how many writes were tried.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Returns what is left on the disk, for starting again.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_power(&self, operation: &'static str) -> Result<(), StoreError> {
        if self.lock().dead {
            return Err(StoreError::Backend { operation, detail: "the power is out (simulated)".into() });
        }
        Ok(())
    }

    fn die(&self, state: &mut State) -> Result<(), StoreError> {
        state.dead = true;
        let operations = state.unsynced.drain(..).rev().collect();
        self.inner.write(WriteBatch { operations }, Durability::Synced)
    }

    fn apply(&self, state: &mut State, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        if durability == Durability::Synced {
            state.unsynced.clear();
        } else {
            for operation in &batch.operations {
                let value = self.inner.get(operation.column, &operation.key)?;
                state.unsynced.push(WriteOperation { value, ..operation.clone() });
            }
        }
        self.inner.write(batch, durability)
    }
}

impl<S: KeyValueStore> KeyValueStore for FaultStore<S> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.check_power("reading")?;
        self.inner.get(column, key)
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.check_power("reading")?;
        self.inner.scan(column, from, to, order, limit)
    }

    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        self.check_power("writing")?;
        let mut state = self.lock();
        let number = state.writes;
        state.writes += 1;
        let fault = state.fault.take_if(|(at, _)| *at == number).map(|(_, fault)| fault);
        let failed = |detail: &str| Err(StoreError::Backend { operation: "writing", detail: detail.into() });
        match fault {
            None => self.apply(&mut state, batch, durability),
            Some(Fault::Full) => Err(StoreError::Full { detail: "no space left (simulated)".into() }),
            Some(Fault::Failed) => failed("input/output error (simulated)"),
            Some(Fault::FailedAfterWriting) => {
                self.apply(&mut state, batch, durability)?;
                failed("input/output error (simulated)")
            }
            Some(Fault::PowerCut) => {
                self.die(&mut state)?;
                failed("the power is out (simulated)")
            }
            Some(Fault::PowerCutAfterWriting) => {
                self.apply(&mut state, batch, Durability::Synced)?;
                self.die(&mut state)?;
                failed("the power is out (simulated)")
            }
        }
    }
}
