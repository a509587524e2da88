//! What a node does beside its work: snapshots for newcomers, and removing what it need not keep.
//!
//! One thread, lowest in importance: it takes bounded steps, and what it misses it does later.

use purlin_chain::ChainError;
use purlin_primitives::{Height, TimestampMs};
use purlin_state::{KeyValueStore, StoreError};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::core::Core;
use super::{StartError, pipeline};
use crate::config::Settings;
use crate::snapshot::{MakeError, SnapshotFile, make};

/// Time between two looks at what there is to do.
const PAUSE: Duration = Duration::from_millis(250);
/// Bytes of removed blocks after which their disk space is taken back from the store, which rewrites its files for it.
const RECLAIM_BYTES: u64 = 16 << 20;
/// Blocks that a step removes while the database is over its budget; what they gave is known afterwards.
const BUDGET_STEP_BLOCKS: u64 = 64;
const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// What the operator wants.
#[derive(Debug, Clone, Default)]
pub(super) struct UpkeepRules {
    snapshot_blocks: Option<u64>,
    keep_blocks: Option<u64>,
    keep_days: Option<u64>,
    disk_bytes_max: Option<u64>,
}

impl UpkeepRules {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            snapshot_blocks: settings.snapshot_blocks,
            keep_blocks: settings.keep_blocks,
            keep_days: settings.keep_days,
            disk_bytes_max: settings.disk_bytes_max,
        }
    }
}

pub(super) struct Upkeep<S> {
    core: Arc<Core<S>>,
    rules: UpkeepRules,
    /// Multiple of `snapshot_blocks` for which a snapshot was made or given up.
    snapshot_done: u64,
    /// Bytes removed whose disk space is not taken back, and from which height on.
    removed: u64,
    removed_from: Option<Height>,
}

impl<S: KeyValueStore> Upkeep<S> {
    pub(super) fn new(core: Arc<Core<S>>, rules: UpkeepRules) -> Self {
        Self { core, rules, snapshot_done: 0, removed: 0, removed_from: None }
    }

    /// Works until the node stops.
    pub(super) fn run(mut self) {
        if self.rules.snapshot_blocks.is_some()
            && let Err(error) = self.core.snapshots.load(self.core.chain.genesis_id())
        {
            tracing::warn!(%error, "the folder of snapshots cannot be used; none are served");
            self.rules.snapshot_blocks = None;
        }
        self.snapshot_done = self.core.snapshots.get(None).map_or(0, |file| file.height().get());
        while !self.core.stopping() {
            self.snapshot();
            if let Err(error) = self.prune(crate::clock::system_time()) {
                self.core.fail(format_args!("removing old blocks failed: {error}"));
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    /// Makes the snapshot of the highest multiple that has a block after it, unless that was done.
    fn snapshot(&mut self) {
        let Some(every) = self.rules.snapshot_blocks else { return };
        let chain = &self.core.chain;
        let head = self.core.head.read().height.get();
        let due = head.saturating_sub(1) / every * every;
        let oldest = chain.head().oldest_proof;
        if due <= self.snapshot_done || Height::new(due) < oldest {
            return;
        }
        self.snapshot_done = due;
        let height = Height::new(due);
        match self.make(height) {
            Ok(()) | Err(MakeError::Stopped | MakeError::NoCertificate { .. }) => {}
            Err(MakeError::Chain(ChainError::Store(StoreError::Pruned { .. }))) => {
                tracing::info!(%height, "blocks come faster than a snapshot can be made; the next one is tried");
            }
            Err(MakeError::Chain(ChainError::Store(error @ StoreError::Corrupt { .. }))) => {
                self.core.fail(error);
            }
            Err(error) => tracing::warn!(%height, %error, "a snapshot could not be made"),
        }
    }

    fn make(&self, height: Height) -> Result<(), MakeError> {
        let chain = &self.core.chain;
        let path = self.core.snapshots.path_of(height);
        let state = chain.state_at(height)?;
        let made = make(chain, height, state, &path, |_| !self.core.stopping())?;
        let io = |source| crate::SnapshotFileError::Io { path: path.clone(), operation: "keep", source };
        self.core.snapshots.add(SnapshotFile::open(&path)?).map_err(io)?;
        tracing::info!(%height, entries = made.entries, bytes = made.bytes, "a snapshot for newcomers was made");
        Ok(())
    }

    /// Removes some of what is too old, and takes back disk space.
    fn prune(&mut self, now: TimestampMs) -> Result<(), ChainError> {
        let core = Arc::clone(&self.core);
        loop {
            let below = self.wanted_below(now)?;
            let from = core.chain.history().oldest_block;
            let step = if below > from { core.chain.prune_history(below)? } else { None };
            let Some(step) = step else { break };
            self.removed += step.bytes;
            self.removed_from.get_or_insert(from);
            tracing::debug!(oldest = %step.oldest_block, records = step.records, "old blocks were removed");
            if self.removed >= RECLAIM_BYTES {
                self.reclaim()?;
            }
            if core.stopping() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn reclaim(&mut self) -> Result<(), ChainError> {
        let from = self.removed_from.take().unwrap_or(Height::ZERO);
        let to = self.core.chain.history().oldest_block;
        self.core.chain.reclaim_history(from, to)?;
        self.removed = 0;
        Ok(())
    }

    /// Returns the oldest block that should be kept.
    fn wanted_below(&mut self, now: TimestampMs) -> Result<Height, ChainError> {
        let chain = &self.core.chain;
        let (head, oldest) = (self.core.head.read().height, chain.history().oldest_block);
        let mut below = Height::ZERO;
        if let Some(keep) = self.rules.keep_blocks {
            below = below.max(head.next().saturating_sub(Height::new(keep)));
        }
        if let Some(days) = self.rules.keep_days {
            let since = now.get().saturating_sub(days.saturating_mul(DAY_MS));
            below = below.max(first_since(chain, (oldest, head), TimestampMs::new(since))?);
        }
        if let Some(most) = self.rules.disk_bytes_max
            && let Some(used) = chain.store().disk_bytes()?
            && used.saturating_sub(self.removed) > most
        {
            // One step at a time: what it gives is known afterwards.
            below = below.max(oldest.saturating_add(Height::new(BUDGET_STEP_BLOCKS)));
        }
        Ok(below)
    }
}

/// Finds the first block from a range whose time is not before `since`; the end when there is none. Times ascend.
fn first_since<S: KeyValueStore>(
    chain: &purlin_chain::Chain<S>,
    (mut low, mut high): (Height, Height),
    since: TimestampMs,
) -> Result<Height, ChainError> {
    while low < high {
        let middle = Height::new(low.get() + (high.get() - low.get()) / 2);
        match chain.header(middle)? {
            Some(header) if header.time < since => low = middle.next(),
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Starts the thread.
pub(super) fn start<S: KeyValueStore>(
    core: &Arc<Core<S>>,
    rules: UpkeepRules,
) -> Result<JoinHandle<()>, StartError> {
    let (core, upkeep) = (Arc::clone(core), Upkeep::new(Arc::clone(core), rules));
    let thread = std::thread::Builder::new().name("purlin-upkeep".to_owned());
    thread.spawn(move || pipeline::guarded(&core, "upkeep", || upkeep.run())).map_err(StartError::Thread)
}

#[cfg(test)]
mod tests;
