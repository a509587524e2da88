//! Proofs of who decides from an epoch on, so that a newcomer comes from validators it trusts to those of today.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_primitives::{Height, ValidatorSet};

use crate::keys::{StateKey, StatePrefix};
use crate::proof::{ProofError, StateProof, Trust};
use crate::tree::{TreeProof, TreeProofError};

/// Shows which validators decide from the second block of an epoch on.
///
/// At the end of an epoch's last block `E` the validators of the next one are chosen; they decide from `E + 2` on. The
/// header of block `E + 1`, the first of the new epoch, has the root of the state after `E` and is signed by those who
/// decided before. One of these for each epoch therefore leads from one set of validators to the next.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Turnover {
    /// The newest set in the state after `E`, proven against the header of `E + 1`.
    pub proof: StateProof,
    /// Where that set is an older one: the proof that none was chosen at the end of `E`.
    pub none_newer: Option<TreeProof>,
}

/// Says why a turnover proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnoverError {
    /// The proof of the set does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// It is about something else than validators, or about later ones.
    #[error("it does not prove who decides from height {from} on")]
    OtherKey {
        /// What it should be about.
        from: Height,
    },
    /// A newer set may be hidden.
    #[error("it does not prove that no other validators decide from height {from} on")]
    MayHideNewer {
        /// From where.
        from: Height,
        /// What is wrong with the proof, when there is one.
        source: Option<TreeProofError>,
    },
    /// The value is no set of validators.
    #[error("it proves a value that is no set of validators")]
    NoSet,
}

impl Turnover {
    /// Returns the height of the block against which it is proven: the first of an epoch.
    pub fn height(&self) -> Height {
        self.proof.header.height
    }

    /// Checks everything against what is trusted; returns those who decide from the block after [`Self::height`] on.
    pub fn verify(&self, trust: &Trust) -> Result<ValidatorSet, TurnoverError> {
        let verified = self.proof.verify(trust)?;
        let from = self.height().next();
        let other = TurnoverError::OtherKey { from };
        let rest = verified.key.strip_prefix(&[StatePrefix::ValidatorSet as u8]);
        let Some(key) = rest.and_then(|rest| <[u8; 8]>::try_from(rest).ok()) else { return Err(other) };
        match (Height::new(u64::from_be_bytes(key)).cmp(&from), &self.none_newer) {
            (std::cmp::Ordering::Equal, None) => {}
            (std::cmp::Ordering::Less, Some(path)) => {
                let root = &self.proof.header.state_root;
                path.verify(root, &StateKey::validator_set(from), None)
                    .map_err(|source| TurnoverError::MayHideNewer { from, source: Some(source) })?;
            }
            (std::cmp::Ordering::Less, None) => {
                return Err(TurnoverError::MayHideNewer { from, source: None });
            }
            _ => return Err(other),
        }
        let set = verified.value.and_then(|value| ValidatorSet::try_from_slice(&value).ok());
        set.filter(|set| !set.validators().is_empty()).ok_or(TurnoverError::NoSet)
    }
}
