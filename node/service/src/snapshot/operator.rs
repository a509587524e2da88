//! `purlin snapshot create` and `purlin snapshot restore`.

use purlin_chain::{Chain, ChainError, ChainOptions, Contents, Installation};
use purlin_execution::NodeExecutor;
use purlin_primitives::{BlockId, ConsensusRules, Genesis, Height};
use purlin_state::RangeError;
use purlin_storage::{OpenError, RocksStore, StorageOptions};
use purlin_sync::{
    Checkpoint, Distrust, SnapshotProgress, SnapshotTrust, StakeTrust, decode_chunk, snapshot_spans,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{SnapshotFile, SnapshotFileError};
use super::install::{InstallError, Installer, is_fresh};
use super::make::{MakeError, make};
use super::shelf;
use crate::config::Settings;
use crate::home::LockError;
use crate::init::{GenesisError, read_genesis};
use crate::node::runtime_config;

/// A snapshot that was made or restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// Height of its block.
    pub height: Height,
    /// That block's id.
    pub block: BlockId,
    /// The block after it, by which others may trust it: a checkpoint for `purlin snapshot restore`.
    pub checkpoint: Checkpoint,
    /// Root of the state.
    pub state_root: purlin_primitives::Hash32,
    /// State entries; `None` where they were not counted.
    pub entries: Option<u64>,
    /// Size of the file.
    pub bytes: u64,
}

/// Says why a snapshot was not made or restored. Nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// No genesis, or a bad one.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The home cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database does not open.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// The engine does not start.
    #[error("the wasm engine does not start: {0}")]
    Engine(#[from] purlin_capabilities::EngineFault),
    /// The chain does not open.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The snapshot was not made.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// The file is of no use.
    #[error(transparent)]
    File(#[from] SnapshotFileError),
    /// The file's content does not become a chain.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Whoever made it cannot be trusted.
    #[error("the snapshot is not trusted: {0}")]
    Distrust(#[from] Distrust),
    /// A chunk does not prove what it says.
    #[error("{} is wrong: {source}; whoever made it is to blame", path.display())]
    Chunk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RangeError,
    },
    /// Chunks are missing or of another kind.
    #[error("{} is wrong: {detail}; whoever made it is to blame", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Nothing to make one of.
    #[error("{} has no chain yet: a snapshot is made after the node has run", home.display())]
    NoChain {
        /// Which home.
        home: PathBuf,
    },
    /// There is a chain already.
    #[error("{} has a chain already; nothing was changed", home.display())]
    NotEmpty {
        /// Which home.
        home: PathBuf,
    },
    /// A chain that has none.
    #[error(
        "a chain of proof of work has no snapshots, because no certificates say who to trust: its nodes execute \
         every block, with `network.sync` at `replay`"
    )]
    ProofOfWork,
    /// There is a file already.
    #[error("{} exists already; nothing was overwritten", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// The node runs and has no such snapshot.
    #[error(
        "the node runs, and has no snapshot {}; it makes one every `storage.snapshot_blocks` blocks, and \
         while it is stopped one can be made of every block of the window",
        height.map_or("yet".to_owned(), |height| format!("of block {height}"))
    )]
    NotServed {
        /// What was asked for.
        height: Option<Height>,
    },
}

/// Writes a snapshot of a home's chain to a file: while the node is stopped of any block of the window, the newest that
/// has a block after it unless said otherwise; while it runs, a copy of one that it serves. `progress` is told the
/// thousandths done. Blocks; needs a stack for guests.
pub fn create_snapshot(
    settings: &Settings,
    to: &Path,
    height: Option<Height>,
    mut progress: impl FnMut(u32),
) -> Result<SnapshotSummary, SnapshotError> {
    if to.exists() {
        return Err(SnapshotError::Exists { path: to.into() });
    }
    let genesis = read_genesis(&settings.home.genesis())?;
    refuse_proof_of_work(&genesis)?;
    let _lock = match settings.home.lock() {
        Ok(lock) => lock,
        Err(LockError::InUse { .. }) => return copy_served(settings, genesis.id(), to, height),
        Err(error) => return Err(error.into()),
    };
    // Opening a chain makes one where there is none, and then nothing can be restored there.
    let no_chain = || SnapshotError::NoChain { home: settings.home.root().into() };
    let data = settings.home.data();
    if !data.exists() {
        return Err(no_chain());
    }
    let store = RocksStore::open(data, &StorageOptions::default())?;
    if Installation::look(&store, &genesis)? == Contents::Empty {
        return Err(no_chain());
    }
    let executor = NodeExecutor::new(&runtime_config(settings))?;
    let chain = Chain::open(store, genesis, &executor, ChainOptions::default())?;
    let head = chain.head().height;
    let height = height.unwrap_or(head.saturating_sub(Height::new(1)));
    if height == Height::ZERO || height >= head {
        return Err(MakeError::TooYoung { head }.into());
    }
    let state = chain.state_at(height)?;
    let made = make(&chain, height, state, to, |permille| {
        progress(permille);
        true
    })?;
    let file = SnapshotFile::open(to)?;
    Ok(SnapshotSummary { entries: Some(made.entries), ..summary(&file) })
}

fn refuse_proof_of_work(genesis: &Genesis) -> Result<(), SnapshotError> {
    match genesis.parameters.consensus {
        ConsensusRules::Pos(_) => Ok(()),
        ConsensusRules::Pow(_) => Err(SnapshotError::ProofOfWork),
    }
}

/// Copies a file that a running node serves.
fn copy_served(
    settings: &Settings,
    genesis: BlockId,
    to: &Path,
    height: Option<Height>,
) -> Result<SnapshotSummary, SnapshotError> {
    let folder = settings.home.snapshots();
    let io = |operation| {
        let path = folder.clone();
        move |source| SnapshotFileError::Io { path, operation, source }
    };
    for path in shelf::list(&folder).map_err(io("list"))?.into_iter().rev() {
        let file = SnapshotFile::open(&path)?;
        file.check_chain(genesis)?;
        if height.is_none_or(|height| height == file.height()) {
            file.copy_to(to)?;
            return Ok(summary(&SnapshotFile::open(to)?));
        }
    }
    Err(SnapshotError::NotServed { height })
}

/// Begins the chain of a home with a snapshot from a file. The home has a genesis and no chain, and the node is stopped.
/// Every byte of the file is checked: its hash before anything is written, then who signed it, then each part against
/// the root that they signed. `progress` is told the thousandths done.
pub fn restore_snapshot(
    settings: &Settings,
    from: &Path,
    checkpoint: Option<Checkpoint>,
    mut progress: impl FnMut(u32),
) -> Result<SnapshotSummary, SnapshotError> {
    let genesis = read_genesis(&settings.home.genesis())?;
    refuse_proof_of_work(&genesis)?;
    let _lock = settings.home.lock()?;
    let file = SnapshotFile::open(from)?;
    file.check_chain(genesis.id())?;
    let content = |detail: &str| SnapshotError::Content { path: from.into(), detail: detail.into() };
    let manifest = file.manifest();
    if !manifest.is_consistent(&genesis.chain_id) {
        return Err(content("its headers do not belong together"));
    }
    let mut trust = StakeTrust::new(genesis.clone(), checkpoint.or(settings.network_checkpoint));
    trust.check(manifest)?;

    let data = settings.home.data();
    let existed = data.exists();
    let store = Arc::new(RocksStore::open(&data, &StorageOptions::default())?);
    if !is_fresh(&*store, &genesis)? {
        return Err(SnapshotError::NotEmpty { home: settings.home.root().into() });
    }
    let (installer, _) = Installer::open(store, &genesis)?;
    let restored = restore(&installer, &file, &trust, &mut progress);
    // What follows from an error must not hide it.
    if restored.is_err()
        && let Err(error) = installer.discard()
    {
        tracing::error!(%error, "what was restored could not be removed");
    }
    drop(installer);
    if restored.is_err()
        && !existed
        && let Err(error) = std::fs::remove_dir_all(&data)
    {
        tracing::error!(%error, data = %data.display(), "what was restored could not be removed");
    }
    let entries = restored?;
    Ok(SnapshotSummary { entries: Some(entries), ..summary(&file) })
}

fn restore(
    installer: &Installer<RocksStore>,
    file: &SnapshotFile,
    trust: &StakeTrust,
    progress: &mut impl FnMut(u32),
) -> Result<u64, SnapshotError> {
    let path = || file.path().to_path_buf();
    let content = |detail: &str| SnapshotError::Content { path: path(), detail: detail.into() };
    let root = file.root();
    let mut stored = SnapshotProgress::new(file.manifest().clone());
    installer.begin(&stored)?;
    let mut entries = 0;
    let spans: Vec<_> = snapshot_spans().collect();
    for from in file.chunk_starts() {
        let end = spans.iter().find(|(first, last)| (first..=last).contains(&&from)).map(|(_, last)| last);
        let end = end.ok_or_else(|| content("a chunk lies nowhere"))?;
        let read = file.chunk(&from, end);
        let bytes = read
            .map_err(|source| SnapshotFileError::Io { path: path(), operation: "read", source })?
            .ok_or_else(|| content("a chunk reaches too far"))?;
        let chunk = decode_chunk(&bytes).map_err(|error| content(&error.to_string()))?;
        chunk.verify(&root).map_err(|source| SnapshotError::Chunk { path: path(), source })?;
        if !stored.note(&chunk) {
            return Err(content("chunks do not follow each other"));
        }
        entries += chunk.entries.len() as u64;
        installer.store(chunk.entries, &stored)?;
        progress(stored.permille());
    }
    if !stored.is_complete() {
        return Err(content("chunks are missing"));
    }
    installer.finish(file.manifest(), trust)?;
    Ok(entries)
}

fn summary(file: &SnapshotFile) -> SnapshotSummary {
    let next = &file.manifest().next.header;
    SnapshotSummary {
        height: file.height(),
        block: file.manifest().header.id(),
        checkpoint: Checkpoint { height: next.height, block: next.id() },
        state_root: file.root(),
        entries: None,
        bytes: file.bytes(),
    }
}
