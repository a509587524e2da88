//! Makes a snapshot of a chain's state.

use borsh::BorshSerialize;
use purlin_chain::{Chain, ChainError};
use purlin_primitives::{ConsensusRules, Height};
use purlin_state::{KeyValueStore, StateReader, StoreError, Turnover};
use purlin_sync::limits::SNAPSHOT_MANIFEST_BYTES_MAX;
use purlin_sync::{
    CertifiedHeader, SNAPSHOT_CHUNK_LIMITS, SnapshotManifest, chunk_after, snapshot_spans, unbonding_blocks,
};
use std::path::Path;
use std::sync::Arc;

use super::file::{SnapshotFileError, SnapshotWriter};

/// Bytes of a manifest that are left for headers and certificates of the largest size.
const HEADERS_BYTES: usize = 128 * 1024;

/// Says why a snapshot was not made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The chain cannot be read, or not at that height.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] SnapshotFileError),
    /// Nothing to make one of.
    #[error("a snapshot takes a block after it, whose header names the root; the chain is at height {head}")]
    TooYoung {
        /// Where the chain is.
        head: Height,
    },
    /// No certificates.
    #[error("block {height} has no certificate, without which nobody would believe the snapshot")]
    NoCertificate {
        /// Which block.
        height: Height,
    },
    /// The node stops.
    #[error("the node stops")]
    Stopped,
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Size of the file.
    pub bytes: u64,
    /// State entries.
    pub entries: u64,
    /// Parts.
    pub chunks: u64,
}

/// Describes the state after block `height`, which has a block after it.
pub(crate) fn manifest<S: KeyValueStore>(
    chain: &Chain<S>,
    height: Height,
) -> Result<SnapshotManifest, MakeError> {
    let head = chain.head();
    let ConsensusRules::Pos(rules) = &chain.parameters().consensus else {
        return Err(MakeError::NoCertificate { height });
    };
    if height == Height::ZERO || height >= head.height {
        return Err(MakeError::TooYoung { head: head.height });
    }
    let certified = |height: Height| -> Result<CertifiedHeader, MakeError> {
        let pruned = || StoreError::BlockPruned { height, oldest: chain.history().oldest_header };
        let header = chain.header(height).map_err(ChainError::from)?;
        let header = header.ok_or_else(pruned).map_err(ChainError::from)?;
        let certificate = chain.certificate(height).map_err(ChainError::from)?;
        if certificate.is_none() {
            return Err(MakeError::NoCertificate { height });
        }
        Ok(CertifiedHeader { header, certificate })
    };
    let CertifiedHeader { header, certificate } = certified(height)?;
    let next = certified(height.next())?;
    let mut later = 0;
    for height in (height.get() + 1..=head.height.get()).map(Height::new) {
        later += chain.receipts(height).map_err(ChainError::from)?.len() as u64;
    }
    let after = next.header.height.get().saturating_sub(unbonding_blocks(rules).saturating_add(1));
    let turnovers = chain.turnovers(Height::new(after), height).map_err(ChainError::from)?;
    Ok(SnapshotManifest {
        header,
        certificate,
        next,
        transactions: head.transactions.saturating_sub(later),
        handovers: newest(&turnovers),
    })
}

/// Encodes as many as there is room for: whoever needs older ones takes a younger checkpoint.
fn newest(turnovers: &[Turnover]) -> Vec<Vec<u8>> {
    let encode = |turnover: &Turnover| {
        let mut bytes = Vec::new();
        turnover.serialize(&mut bytes).expect("writing to memory cannot fail");
        bytes
    };
    let mut left = SNAPSHOT_MANIFEST_BYTES_MAX - HEADERS_BYTES;
    let mut list: Vec<Vec<u8>> = turnovers
        .iter()
        .rev()
        .map(encode)
        .take_while(|bytes| {
            let fits = bytes.len() + 4 <= left;
            left = left.saturating_sub(bytes.len() + 4);
            fits
        })
        .collect();
    list.reverse();
    list
}

/// Writes the state after block `height` to a file. `state` is the reader of that height. `progress` is told the
/// thousandths done, and says whether to go on.
pub(crate) fn make<S: KeyValueStore>(
    chain: &Chain<S>,
    height: Height,
    state: Arc<dyn StateReader>,
    path: &Path,
    mut progress: impl FnMut(u32) -> bool,
) -> Result<Made, MakeError> {
    let manifest = manifest(chain, height)?;
    let mut source = chain.chunks(height, state)?;
    let mut writer = SnapshotWriter::create(path, chain.genesis_id(), &manifest)?;
    let mut made = Made { bytes: 0, entries: 0, chunks: 0 };
    for (first, last) in snapshot_spans() {
        let mut from = Some(first);
        while let Some(start) = from {
            let chunk = source.chunk(&start, &last, SNAPSHOT_CHUNK_LIMITS)?;
            made.entries += chunk.entries.len() as u64;
            made.chunks += 1;
            from = chunk_after(&chunk, &last);
            writer.chunk(&chunk)?;
            let done = u32::from(u16::from_be_bytes([chunk.to.as_bytes()[0], chunk.to.as_bytes()[1]]));
            if !progress(done * 1000 / 65_535) {
                return Err(MakeError::Stopped);
            }
        }
    }
    made.bytes = writer.finish()?;
    Ok(made)
}
