//! A bounded pool of threads for work that keeps a processor busy.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Most jobs that wait. A job is a transaction or a slice of a batch; more are refused as busy.
const QUEUE_MAX: usize = 4_096;

type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs on a fixed number of threads, or when its owner steps it. Dropping it finishes what is queued for
/// threads.
pub(crate) struct Workers {
    jobs: Jobs,
    threads: Vec<JoinHandle<()>>,
}

enum Jobs {
    Threads(Option<SyncSender<Job>>),
    Stepped(Mutex<VecDeque<Job>>),
}

/// Says that the queue is full.
#[derive(Debug)]
pub(crate) struct QueueFull;

impl Workers {
    pub(crate) fn start(count: usize) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Vec::with_capacity(count);
        for index in 0..count.max(1) {
            let queue = Arc::clone(&queue);
            let name = format!("purlin-check-{index}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || work(&queue))?);
        }
        Ok(Self { jobs: Jobs::Threads(Some(jobs)), threads })
    }

    /// Has no threads; jobs wait for [`Workers::step`].
    pub(crate) fn stepped() -> Self {
        Self { jobs: Jobs::Stepped(Mutex::default()), threads: Vec::new() }
    }

    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) -> Result<(), QueueFull> {
        match &self.jobs {
            Jobs::Threads(None) => Err(QueueFull),
            Jobs::Threads(Some(jobs)) => match jobs.try_send(Box::new(job)) {
                Ok(()) => Ok(()),
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(QueueFull),
            },
            Jobs::Stepped(jobs) => {
                let mut jobs = jobs.lock();
                if jobs.len() >= QUEUE_MAX {
                    return Err(QueueFull);
                }
                jobs.push_back(Box::new(job));
                Ok(())
            }
        }
    }

    /// Does one waiting job here, when there are no threads that do.
    pub(crate) fn step(&self) {
        let Jobs::Stepped(jobs) = &self.jobs else { return };
        let job = jobs.lock().pop_front();
        if let Some(job) = job {
            job();
        }
    }

    /// Returns how many jobs wait for [`Workers::step`].
    pub(crate) fn waiting(&self) -> usize {
        match &self.jobs {
            Jobs::Threads(_) => 0,
            Jobs::Stepped(jobs) => jobs.lock().len(),
        }
    }
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        // Only the taking is under the lock.
        let job = queue.lock().recv();
        let Ok(job) = job else { return };
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            // The client sees its answer channel close; the thread goes on for the others.
            tracing::error!("checking a transaction panicked");
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Jobs::Threads(jobs) = &mut self.jobs {
            *jobs = None;
        }
        for thread in self.threads.drain(..) {
            // A worker may hold the last reference to what owns it, and cannot wait for itself.
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!("a checking thread panicked");
            }
        }
    }
}
