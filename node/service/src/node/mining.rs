//! Searches nonces, outside the engine.
//!
//! The driver says what to work on through [`Miner`]; a node has [`MinerThreads`], a stepped one [`StepMiner`].

use parking_lot::{Condvar, Mutex};
use purlin_consensus::pow::{PowHash, search};
use purlin_primitives::{BlockHeader, Seal};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nonces between two looks at whether to go on: about a millisecond of double SHA-256.
const CHUNK_NONCES: u64 = 4_096;
/// How often a thread that may not use the whole processor works, so that it still reacts at once.
const PACES_PER_S: u64 = 20;

/// Searches nonces for the driver, one header at a time.
pub trait Miner: Send {
    /// Searches for this header, in place of any other.
    fn mine(&mut self, header: BlockHeader);

    /// Stops searching. A nonce found before may still be reported.
    fn stop(&mut self);
}

/// Searches nothing: a node that only follows.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMiner;

impl Miner for NoMiner {
    fn mine(&mut self, _header: BlockHeader) {}

    fn stop(&mut self) {}
}

/// One header and where its search is.
struct Search {
    header: BlockHeader,
    next: AtomicU64,
}

impl Search {
    fn new(header: BlockHeader) -> Self {
        Self { header, next: AtomicU64::new(0) }
    }

    /// Looks at the next nonces that nobody has looked at.
    fn step(&self, hash: &dyn PowHash, nonces: u64) -> Option<BlockHeader> {
        let from = self.next.fetch_add(nonces, Ordering::Relaxed);
        let nonce = search(hash, &self.header, from..from.saturating_add(nonces))?;
        let Seal::Pow { target, .. } = self.header.seal else { return None };
        Some(BlockHeader { seal: Seal::Pow { target, nonce }, ..self.header.clone() })
    }
}

/// What the threads are to do.
#[derive(Default)]
struct Order {
    search: Option<Arc<Search>>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    order: Mutex<Order>,
    changed: Condvar,
    /// Counts orders, so that a thread sees without the lock that its own is old.
    generation: AtomicU64,
}

impl Shared {
    fn set(&self, search: Option<Arc<Search>>) {
        let mut order = self.order.lock();
        order.search = search;
        self.generation.fetch_add(1, Ordering::Release);
        self.changed.notify_all();
    }
}

/// Threads that search. Dropping it ends them.
pub(super) struct MinerThreads(Arc<Shared>);

impl Miner for MinerThreads {
    fn mine(&mut self, header: BlockHeader) {
        self.0.set(Some(Arc::new(Search::new(header))));
    }

    fn stop(&mut self) {
        self.0.set(None);
    }
}

impl Drop for MinerThreads {
    fn drop(&mut self) {
        self.0.order.lock().closed = true;
        self.0.set(None);
    }
}

/// How much a node mines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    pub(super) threads: usize,
    /// Most hashes per second of all threads together.
    pub(super) rate_max: Option<NonZeroU64>,
}

impl MinerThreads {
    /// Starts threads; `found` is called with a header that meets its target, once per search.
    pub(super) fn start(
        hash: Arc<dyn PowHash>,
        effort: Effort,
        found: impl Fn(BlockHeader) + Clone + Send + 'static,
    ) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let shared = Arc::<Shared>::default();
        let threads = effort.threads.max(1);
        let rate_max = effort.rate_max.map(|rate| (rate.get() / threads as u64).max(1));
        // From here on, an error ends the threads that were started.
        let miner = Self(Arc::clone(&shared));
        let mut handles = Vec::with_capacity(threads);
        for index in 0..threads {
            let (shared, hash, found) = (Arc::clone(&shared), Arc::clone(&hash), found.clone());
            let thread = std::thread::Builder::new().name(format!("purlin-mine-{index}"));
            handles.push(thread.spawn(move || work(&shared, &*hash, rate_max, &found))?);
        }
        Ok((miner, handles))
    }
}

fn work(shared: &Shared, hash: &dyn PowHash, rate_max: Option<u64>, found: &dyn Fn(BlockHeader)) {
    let chunk = rate_max.map_or(CHUNK_NONCES, |rate| (rate / PACES_PER_S).clamp(1, CHUNK_NONCES));
    loop {
        let (search, generation) = {
            let mut order = shared.order.lock();
            loop {
                if order.closed {
                    return;
                }
                if let Some(search) = &order.search {
                    break (Arc::clone(search), shared.generation.load(Ordering::Acquire));
                }
                shared.changed.wait(&mut order);
            }
        };
        let (start, mut done) = (Instant::now(), 0u64);
        while shared.generation.load(Ordering::Acquire) == generation {
            if let Some(header) = search.step(hash, chunk) {
                let mut order = shared.order.lock();
                // Of several threads that find one, the first.
                let first = shared.generation.load(Ordering::Acquire) == generation;
                if first {
                    order.search = None;
                    shared.generation.fetch_add(1, Ordering::Release);
                }
                drop(order);
                if first {
                    found(header);
                }
                break;
            }
            done += chunk;
            match rate_max {
                Some(rate) => rest(shared, generation, start, done.saturating_mul(1_000_000) / rate),
                // Everything else on this machine goes first.
                None => std::thread::yield_now(),
            }
        }
    }
}

/// Waits until the work done took its time, or there is a new order.
fn rest(shared: &Shared, generation: u64, start: Instant, until_us: u64) {
    let until = start + Duration::from_micros(until_us);
    let mut order = shared.order.lock();
    while shared.generation.load(Ordering::Acquire) == generation {
        if shared.changed.wait_until(&mut order, until).timed_out() {
            return;
        }
    }
}

/// Searches when it is told to, a number of nonces at a time: for nodes that have no thread of their own.
#[derive(Clone, Default)]
pub struct StepMiner(Arc<Mutex<Option<Arc<Search>>>>);

impl StepMiner {
    /// Looks at some more nonces; returns a header that meets its target and ends that search.
    pub fn step(&self, hash: &dyn PowHash, nonces: u64) -> Option<BlockHeader> {
        let search = self.0.lock().clone()?;
        let found = search.step(hash, nonces)?;
        *self.0.lock() = None;
        Some(found)
    }

    /// Says whether there is something to search.
    pub fn is_searching(&self) -> bool {
        self.0.lock().is_some()
    }
}

impl Miner for StepMiner {
    fn mine(&mut self, header: BlockHeader) {
        *self.0.lock() = Some(Arc::new(Search::new(header)));
    }

    fn stop(&mut self) {
        *self.0.lock() = None;
    }
}

impl std::fmt::Debug for StepMiner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepMiner").field("searching", &self.is_searching()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_consensus::pow::{DoubleSha256, meets_own_target};
    use purlin_primitives::{BlockId, Hash32, Height, TimestampMs};
    use std::sync::mpsc;

    /// With a target that one hash in 256, or none in a lifetime, meets.
    fn header(height: u64, target: u32) -> BlockHeader {
        BlockHeader {
            chain_id: "dev".parse().unwrap(),
            height: Height::new(height),
            parent: BlockId::ZERO,
            time: TimestampMs::new(1),
            proposer: Default::default(),
            transactions_root: Hash32::ZERO,
            state_root: Hash32::ZERO,
            receipts_root: Hash32::ZERO,
            seal: Seal::Pow { target, nonce: 0 },
        }
    }

    #[test]
    fn threads_find_one_nonce_per_search_and_drop_what_is_replaced() {
        let (sender, found) = mpsc::channel();
        let effort = Effort { threads: 3, rate_max: None };
        let (mut miner, threads) =
            MinerThreads::start(Arc::new(DoubleSha256), effort, move |header| drop(sender.send(header)))
                .unwrap();
        for height in 1..=20 {
            miner.mine(header(1_000, 0x0300_0001));
            miner.mine(header(height, 0x2000_ffff));
            let mined = found.recv_timeout(Duration::from_secs(20)).unwrap();
            assert_eq!(mined.height, Height::new(height));
            assert!(meets_own_target(&DoubleSha256, &mined));
        }
        assert!(found.try_recv().is_err(), "each search ends with its first nonce");
        // In the middle of a search that does not end by itself.
        miner.mine(header(1_000, 0x0300_0001));
        drop(miner);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(found.recv().is_err());
    }

    #[test]
    fn a_bounded_rate_is_kept_and_a_new_order_does_not_wait() {
        let (sender, found) = mpsc::channel();
        let effort = Effort { threads: 2, rate_max: NonZeroU64::new(200) };
        let (mut miner, threads) =
            MinerThreads::start(Arc::new(DoubleSha256), effort, move |header| drop(sender.send(header)))
                .unwrap();
        miner.mine(header(1, 0x0300_0001));
        let search = Arc::clone(miner.0.order.lock().search.as_ref().unwrap());
        let start = Instant::now();
        while search.next.load(Ordering::Relaxed) < 60 {
            assert!(start.elapsed() < Duration::from_secs(20));
            std::thread::yield_now();
        }
        // 60 nonces at 200 a second, less what both threads do before they first rest.
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
        miner.mine(header(2, 0x2100_ffff));
        let mined = found.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(mined.height, Height::new(2));
        drop(miner);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn a_stepped_search_goes_on_where_it_was() {
        let mut miner = StepMiner::default();
        assert!(miner.step(&DoubleSha256, 10).is_none());
        miner.mine(header(1, 0x2000_ffff));
        let expected = search(&DoubleSha256, &header(1, 0x2000_ffff), 0..100_000).unwrap();
        let mut steps = 0;
        let mined = loop {
            steps += 1;
            if let Some(mined) = miner.step(&DoubleSha256, 7) {
                break mined;
            }
        };
        assert_eq!(mined.seal, Seal::Pow { target: 0x2000_ffff, nonce: expected });
        assert_eq!(steps, expected / 7 + 1);
        assert!(!miner.is_searching());
        miner.mine(header(2, 0x2000_ffff));
        miner.stop();
        assert!(!miner.is_searching());
    }
}
