//! Turns proven chunks into a chain, whoever brings them.

use borsh::BorshDeserialize;
use purlin_chain::{ChainError, Contents, Foundation, Installation};
use purlin_modules::staking;
use purlin_primitives::{Genesis, ValidatorSet};
use purlin_state::{Entry, KeyValueStore, Turnover};
use purlin_sync::{SnapshotManifest, SnapshotProgress};
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
        /// The block after the snapshot.
        height: purlin_primitives::Height,
    },
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

    /// Makes it a chain. `deciding` are those who signed the block after the snapshot, where that is known.
    pub(crate) fn finish(
        &self,
        manifest: &SnapshotManifest,
        deciding: Option<&ValidatorSet>,
    ) -> Result<(), InstallError> {
        let height = manifest.next.header.height;
        let state = self.installation.state();
        if let Some(deciding) = deciding {
            let found = staking::validators_at(&mut &state, height).map_err(ChainError::from)?;
            if found != *deciding {
                return Err(InstallError::OtherValidators { height });
            }
        }
        let turnovers = manifest.handovers.iter().map(|bytes| Turnover::try_from_slice(bytes));
        let head = manifest.head();
        self.installation.finish(Foundation {
            header: manifest.header.clone(),
            certificate: manifest.certificate.clone(),
            state_root: head.state_root,
            receipts_root: head.receipts_root,
            transactions: head.transactions,
            // Those that do not decode were not needed to trust it.
            turnovers: turnovers.filter_map(Result::ok).collect(),
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
