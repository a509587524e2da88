//! Watches whether the chain goes on.

use anyhow::{Result, anyhow};
use purlin_client::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Longest time in which no node had a new final block.
    pub(super) longest_gap: Duration,
    /// Final blocks from the beginning to the end.
    pub(super) blocks: u64,
    /// From the beginning to the end.
    pub(super) time: Duration,
}

/// A thread that asks all nodes for their height.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Seen>>,
}

impl Watch {
    /// Begins to watch.
    pub(super) fn start(nodes: Vec<Client>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(watch(&nodes, &told)))
        });
        Self { stop, thread }
    }

    /// Ends and returns what was seen.
    pub(super) fn finish(self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the watching thread panicked"))?
    }
}

async fn watch(nodes: &[Client], stop: &AtomicBool) -> Seen {
    let start = Instant::now();
    let (mut first, mut highest, mut last_change) = (None, 0, start);
    let mut longest_gap = Duration::ZERO;
    loop {
        for node in nodes {
            // A node that does not answer is dead or starting.
            if let Ok(Ok(status)) = tokio::time::timeout(Duration::from_secs(1), node.status()).await
                && status.height.get() > highest
            {
                highest = status.height.get();
                first.get_or_insert(highest);
                longest_gap = longest_gap.max(last_change.elapsed());
                last_change = Instant::now();
            }
        }
        if stop.load(Ordering::Relaxed) {
            let longest_gap = longest_gap.max(last_change.elapsed());
            return Seen { longest_gap, blocks: highest - first.unwrap_or(highest), time: start.elapsed() };
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
