//! Turns proven chunks into a chain, whoever brings them.

use borsh::BorshDeserialize;
use purlin_chain::{ChainError, Contents, Foundation, Installation};
use purlin_modules::staking;
use purlin_primitives::{Certificate, Genesis, Height};
use purlin_state::{Entry, KeyValueStore};
use purlin_sync::{SnapshotManifest, SnapshotProgress, StakeTrust};
use std::sync::Arc;

/// Says why a snapshot did not become a chain.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The store refuses, or the entries are not the state.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Signed by others than those who decide by its own state.
    #[error(
        "the snapshot's own state names other validators for block {height} than those that signed it: who made it \
         hides a change of validators"
    )]
    OtherValidators {
        /// The snapshot's block, or the one after it.
        height: Height,
    },
}

impl InstallError {
    /// Says whether what was fetched is of no use, whatever is tried.
    pub(crate) fn is_about_snapshot(&self) -> bool {
        matches!(self, Self::OtherValidators { .. } | Self::Chain(ChainError::SnapshotRoot { .. }))
    }
}

/// Stores a snapshot part by part.
#[derive(Debug)]
pub(crate) struct Installer<S> {
    installation: Installation<S>,
}

impl<S: KeyValueStore> Installer<S> {
    /// Takes a store without a chain; returns how far an unfinished snapshot in it is, with its progress. One whose
    /// record another version wrote is begun anew.
    pub(crate) fn open(
        store: Arc<S>,
        genesis: &Genesis,
    ) -> Result<(Self, Option<SnapshotProgress>), ChainError> {
        let contents = Installation::look(&*store, genesis)?;
        let installation = Installation::new(store, genesis.clone())?;
        let progress = match contents {
            Contents::Unfinished(bytes) => SnapshotProgress::try_from_slice(&bytes).ok(),
            Contents::Empty | Contents::Chain => None,
        };
        Ok((Self { installation }, progress))
    }

    /// Starts over with another snapshot.
    pub(crate) fn begin(&self, progress: &SnapshotProgress) -> Result<(), ChainError> {
        self.installation.begin(&encode(progress))
    }

    /// Stores proven entries.
    pub(crate) fn store(&self, entries: Vec<Entry>, progress: &SnapshotProgress) -> Result<(), ChainError> {
        self.installation.store(entries, &encode(progress))
    }

    /// Makes it a chain. `trust` believed the manifest last.
    pub(crate) fn finish(&self, manifest: &SnapshotManifest, trust: &StakeTrust) -> Result<(), InstallError> {
        let state = self.installation.state();
        let validators =
            |height: Height| staking::validators_at(&mut &state, height).map_err(ChainError::from);
        let height = manifest.next.header.height;
        if let Some(deciding) = trust.deciding()
            && validators(height)? != *deciding
        {
            return Err(InstallError::OtherValidators { height });
        }
        // Where trust came from a checkpoint, nobody knew until now who must have signed what is before it.
        let chain_id = &manifest.header.chain_id;
        let is_signed = |certificate: &Option<Certificate>, height: Height| -> Result<bool, ChainError> {
            let Some(certificate) = certificate else { return Ok(false) };
            Ok(certificate.verify(chain_id, &validators(height)?).is_ok())
        };
        let height = manifest.header.height;
        if !is_signed(&manifest.certificate, height)? {
            return Err(InstallError::OtherValidators { height });
        }
        let mut turnovers = Vec::new();
        for turnover in trust.turnovers() {
            if is_signed(&turnover.proof.certificate, turnover.height())? {
                turnovers.push(turnover.clone());
            }
        }
        let head = manifest.head();
        self.installation.finish(Foundation {
            header: manifest.header.clone(),
            certificate: manifest.certificate.clone(),
            state_root: head.state_root,
            receipts_root: head.receipts_root,
            transactions: head.transactions,
            turnovers,
        })?;
        Ok(())
    }

    /// Removes what was stored.
    pub(crate) fn discard(&self) -> Result<(), ChainError> {
        self.installation.discard()
    }
}

fn encode(progress: &SnapshotProgress) -> Vec<u8> {
    borsh::to_vec(progress).expect("writing to memory cannot fail")
}

/// Says whether a store has no chain yet.
pub(crate) fn is_fresh<S: KeyValueStore>(store: &S, genesis: &Genesis) -> Result<bool, ChainError> {
    Ok(Installation::look(store, genesis)? != Contents::Chain)
}
