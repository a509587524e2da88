//! Joining by snapshot: before there is a chain, and with it a node.
//!
//! What is asked of whom is planned by `purlin-sync`; this is the glue between the plan, the network and the store.
//! Meanwhile the API answers how far it is, and nothing else.

use parking_lot::Mutex;
use purlin_chain::ChainError;
use purlin_primitives::{Genesis, Height};
use purlin_rpc::Server;
use purlin_state::KeyValueStore;
use purlin_storage::RocksStore;
use purlin_sync::{
    Checkpoint, GossipVerdict, NetworkEvent, Offence, Planner, Request, RequestFailure, Response,
    SnapshotOptions, SnapshotOutput, SnapshotSync, SnapshotTrust, StakeTrust, Status, TrustProblem,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

use super::inbox::Event;
use super::joining_api::JoiningApi;
use super::peers::Peers;
use super::{StartError, bind};
use crate::config::Settings;
use crate::snapshot::{InstallError, Installer};

/// How often the plan looks at the time.
const TICK: Duration = Duration::from_millis(50);
/// How long to look for a peer with a snapshot before blocks are executed instead.
const LOOK_FOR: Duration = Duration::from_secs(15);

/// How joining ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined {
    /// The store holds a chain.
    Snapshot,
    /// Nobody has a snapshot: the chain is to be started at the genesis.
    NobodyOffers,
    /// The node is to stop.
    Stopped,
}

/// How far joining is, for the API.
#[derive(Debug, Default)]
pub(super) struct JoinProgress {
    pub(super) snapshot: Option<(Height, u32)>,
    pub(super) problem: Option<TrustProblem>,
}

pub(super) struct Join<S> {
    peers: Peers,
    genesis: Genesis,
    installer: Installer<S>,
    sync: SnapshotSync,
    trust: StakeTrust,
    progress: Arc<Mutex<JoinProgress>>,
    joined: bool,
}

impl<S: KeyValueStore> Join<S> {
    /// Prepares to fetch a snapshot into a store without a chain, or to go on with one.
    pub(super) fn new(
        store: Arc<S>,
        genesis: Genesis,
        checkpoint: Option<Checkpoint>,
        options: SnapshotOptions,
        peers: Peers,
        progress: Arc<Mutex<JoinProgress>>,
    ) -> Result<Self, ChainError> {
        let (installer, resumed) = Installer::open(store, &genesis)?;
        let mut trust = StakeTrust::new(genesis.clone(), checkpoint);
        // It was trusted when it was chosen; a checkpoint may have been given since.
        let resumed = resumed.filter(|progress| trust.check(&progress.manifest).is_ok());
        if let Some(resumed) = &resumed {
            let (height, permille) = (resumed.manifest.header.height, resumed.permille());
            tracing::info!(%height, permille, "a snapshot is gone on with");
        }
        let sync = SnapshotSync::new(genesis.chain_id.clone(), resumed, options);
        Ok(Self { peers, genesis, installer, sync, trust, progress, joined: false })
    }

    /// Fetches until the store holds a chain; blocks. `stop` is asked a few times a second.
    pub(super) fn run(mut self, stop: impl Fn() -> bool) -> Result<Joined, InstallError> {
        let start = Instant::now();
        let now_ms = || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut nobody_since = None;
        tracing::info!("looking for a snapshot of the chain");
        loop {
            let event = match self.peers.inbox.wait(TICK) {
                Ok(event) => event,
                Err(()) => return Ok(Joined::Stopped),
            };
            if stop() {
                return Ok(Joined::Stopped);
            }
            if let Some(event) = event {
                self.event(now_ms(), event)?;
            }
            let out = self.sync.tick(now_ms(), &mut self.trust);
            self.carry_out(out)?;
            self.report();
            if self.joined {
                self.greet();
                return Ok(Joined::Snapshot);
            }
            match self.sync.nobody_offers() {
                true if start.elapsed() >= LOOK_FOR => {
                    let since = *nobody_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= TICK {
                        tracing::warn!("no peer has a snapshot; every block is executed instead");
                        self.installer.discard()?;
                        self.greet();
                        return Ok(Joined::NobodyOffers);
                    }
                }
                true => {}
                false => nobody_since = None,
            }
        }
    }

    /// Tells whoever listens to the network next who is connected.
    fn greet(&self) {
        for peer in self.peers.network.peers() {
            // The queue is empty enough: nobody has filled it since the last event was taken.
            drop(self.peers.inbox.put(Event::Network(NetworkEvent::Connected { peer: peer.id })));
        }
    }

    fn report(&self) {
        let mut progress = self.progress.lock();
        progress.snapshot =
            self.sync.progress().map(|progress| (progress.manifest.header.height, progress.permille()));
        let problem = self.sync.problem().cloned();
        if problem != progress.problem {
            if let Some(problem) = &problem {
                tracing::warn!(%problem, "a snapshot is not taken");
            }
            progress.problem = problem;
        }
    }

    fn event(&mut self, now_ms: u64, event: Event) -> Result<(), InstallError> {
        let Event::Network(event) = event else { return Ok(()) };
        let out = match event {
            NetworkEvent::Connected { peer } => self.sync.connected(now_ms, peer),
            NetworkEvent::Disconnected { peer } => self.sync.disconnected(now_ms, &peer),
            NetworkEvent::Gossip { id, .. } => {
                self.peers.network.judge(id, GossipVerdict::Ignore);
                return Ok(());
            }
            NetworkEvent::Request { id, bytes, .. } => {
                // Whoever asks is told that there is nothing here yet.
                let response = match Request::decode(&bytes) {
                    Ok(Request::Status(_)) => Response::Status(self.status()),
                    _ => Response::Unavailable,
                };
                self.peers.network.respond(id, Some(response.encode()));
                return Ok(());
            }
            NetworkEvent::Response { id, from, outcome } => {
                if Planner::of(id) != Planner::Snapshots {
                    return Ok(());
                }
                let outcome = outcome.and_then(|bytes| {
                    Response::decode(&bytes).map_err(|_| {
                        self.peers.network.report(&from, Offence::Malformed);
                        RequestFailure::Protocol
                    })
                });
                self.sync.answered(now_ms, id, outcome)
            }
        };
        self.carry_out(out)
    }

    fn carry_out(&mut self, outputs: Vec<SnapshotOutput>) -> Result<(), InstallError> {
        for output in outputs {
            match output {
                SnapshotOutput::Ask { peer, id, request } => {
                    self.peers.network.request(&peer, id, request.encode());
                }
                SnapshotOutput::Begin(progress) => {
                    let height = progress.manifest.header.height;
                    tracing::info!(%height, "a snapshot is fetched");
                    self.installer.begin(&progress)?;
                }
                SnapshotOutput::Store { entries, progress } => self.installer.store(entries, &progress)?,
                SnapshotOutput::Complete(manifest) => {
                    if let Err(error) = self.installer.finish(&manifest, &self.trust) {
                        // Another error, such as a full disk, says nothing about what was fetched: the next start
                        // goes on with it.
                        if error.is_about_snapshot()
                            && let Err(failed) = self.installer.discard()
                        {
                            tracing::error!(error = %failed, "what was fetched could not be removed");
                        }
                        return Err(error);
                    }
                    tracing::info!(height = %manifest.header.height, "the snapshot is complete");
                    self.joined = true;
                }
                SnapshotOutput::Report { peer, offence } => self.peers.network.report(&peer, offence),
            }
        }
        Ok(())
    }

    fn status(&self) -> Status {
        Status {
            genesis: self.genesis.id(),
            height: Height::ZERO,
            head: self.genesis.id(),
            work: [0; 32],
            final_height: Height::ZERO,
            oldest_block: Height::new(1),
            snapshot: None,
        }
    }
}

/// Fills a store without a chain from a snapshot of peers. Meanwhile the API says how far it is.
pub(super) async fn join_by_snapshot(
    settings: &Settings,
    store: RocksStore,
    genesis: &Genesis,
    peers: &Peers,
    server: Server,
) -> Result<(RocksStore, Server), StartError> {
    let progress = Arc::<Mutex<JoinProgress>>::default();
    let store = Arc::new(store);
    let join = Join::new(
        Arc::clone(&store),
        genesis.clone(),
        settings.network_checkpoint,
        SnapshotOptions::default(),
        peers.clone(),
        Arc::clone(&progress),
    )?;
    let api = JoiningApi::new(genesis.clone(), Arc::clone(&peers.network), progress);
    let (stop, mut stopped) = watch::channel(false);
    let serving = tokio::spawn(async move {
        server.serve(Arc::new(api), async move { drop(stopped.wait_for(|stop| *stop).await) }).await;
    });
    // Whoever drops this future wants no node any more.
    let dropped = Dropped::default();
    let asked = Arc::clone(&dropped.0);
    let working = tokio::task::spawn_blocking(move || join.run(|| asked.load(Ordering::Acquire)));
    let joined = working.await;
    drop(dropped);
    stop.send_replace(true);
    if let Err(error) = serving.await {
        tracing::error!(%error, "the API server panicked");
    }
    match joined.map_err(|error| StartError::Thread(std::io::Error::other(error)))?? {
        Joined::Snapshot | Joined::NobodyOffers => {}
        Joined::Stopped => return Err(StartError::Stopped),
    }
    let store = Arc::into_inner(store).expect("joining was the only other owner and has ended");
    Ok((store, bind(settings)?))
}

/// Says when it is gone.
#[derive(Default)]
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
