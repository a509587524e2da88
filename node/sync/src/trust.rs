//! What a node that was away, or is new, may believe: weak subjectivity.
//!
//! Whoever has got stake back can sign another past at no cost. So signatures only count when they are younger than
//! the unbonding period, seen from now: a node that trusts nothing younger than that needs a checkpoint, a recent block
//! that its operator got from somebody trustworthy.

use std::fmt;
use std::str::FromStr;

use borsh::BorshDeserialize;
use purlin_primitives::{BlockId, Certificate, ConsensusRules, Genesis, Height, PosRules, ValidatorSet};
use purlin_state::{Trust, Turnover};

use crate::blocks::HeaderFault;
use crate::snapshot::{Distrust, SnapshotManifest, SnapshotTrust};

/// A block that an operator trusts; written `HEIGHT:BLOCKID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its height; at least 1.
    pub height: Height,
    /// Its id.
    pub block: BlockId,
}

/// Says that text is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected HEIGHT:BLOCKID, as `purlin status` prints it")]
pub struct ParseCheckpointError;

impl FromStr for Checkpoint {
    type Err = ParseCheckpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (height, block) = text.split_once(':').ok_or(ParseCheckpointError)?;
        let height = height.parse::<u64>().ok().filter(|height| *height > 0).ok_or(ParseCheckpointError)?;
        let block = block.parse().map_err(|_| ParseCheckpointError)?;
        Ok(Self { height: Height::new(height), block })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.height, self.block)
    }
}

/// Says why this node cannot believe what peers show, which is not their fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustProblem {
    /// The unbonding period has passed since what this node trusts.
    #[error(
        "the newest block that this node trusts is {trusted}, and what it is offered is at {height}: more than the \
         unbonding period of {window} blocks later, so that validators who have left since could show another chain at no cost; give it \
         a recent checkpoint from a node that you trust: `purlin status` prints it there, and `purlin config set \
         network.checkpoint HEIGHT:BLOCKID` sets it here"
    )]
    TooOld {
        /// Genesis, head or checkpoint.
        trusted: Height,
        /// What is offered.
        height: Height,
        /// The unbonding period, in blocks.
        window: u64,
    },
    /// Peers have another block at the checkpoint's height.
    #[error(
        "the checkpoint says that block {height} is {checkpoint}, and peers show {found}: either they are on another \
         chain or the checkpoint is wrong; compare `purlin block show {height}` on a node that you trust"
    )]
    Contradiction {
        /// Of the checkpoint.
        height: Height,
        /// Its id.
        checkpoint: BlockId,
        /// What peers have.
        found: BlockId,
    },
    /// Nothing peers offer reaches the checkpoint.
    #[error("the snapshot of block {height} that peers offer is older than the checkpoint at {checkpoint}")]
    OlderThanCheckpoint {
        /// Of the snapshot.
        height: Height,
        /// Of the checkpoint.
        checkpoint: Height,
    },
    /// Peers do not show what leads from the trusted validators to those of the snapshot.
    #[error(
        "peers do not show who decides from block {height} on; use a younger checkpoint, as `purlin status` prints it: \
         the first block of an epoch"
    )]
    NotShown {
        /// First block of the epoch whose proof is missing.
        height: Height,
    },
    /// Old blocks are gone everywhere.
    #[error(
        "no connected peer keeps block {wanted}; the oldest that one keeps is {oldest}: connect to a node that keeps all \
         of history, or set `network.sync` to `snapshot` and begin with an empty data folder"
    )]
    HistoryGone {
        /// The next one needed.
        wanted: Height,
        /// The oldest one offered.
        oldest: Height,
    },
    /// Proof of work.
    #[error(
        "a chain of proof of work has no certificates to trust a snapshot by; set `network.sync` to `replay`"
    )]
    NoCertificates,
}

/// Returns how many blocks stake takes to be released; misbehaviour is punished for as long.
pub fn unbonding_blocks(rules: &PosRules) -> u64 {
    rules.unbonding_epochs.saturating_mul(rules.epoch_blocks)
}

/// Says why a node that trusts nothing newer than block `trusted` must not follow peers who are at `height`.
pub fn check_age(rules: &ConsensusRules, trusted: Height, height: Height) -> Result<(), TrustProblem> {
    let ConsensusRules::Pos(rules) = rules else { return Ok(()) };
    let window = unbonding_blocks(rules);
    if height.get().saturating_sub(trusted.get()) > window {
        return Err(TrustProblem::TooOld { trusted, height, window });
    }
    Ok(())
}

/// Trusts snapshots of a proof-of-stake chain: from the genesis or a checkpoint, epoch by epoch.
#[derive(Debug)]
pub struct StakeTrust {
    genesis: Genesis,
    checkpoint: Option<Checkpoint>,
    deciding: Option<ValidatorSet>,
    turnovers: Vec<Turnover>,
}

/// Validators by the height from which they decide.
struct Course {
    /// Who signs the snapshot's block.
    at_snapshot: Option<ValidatorSet>,
    /// Who signs the block after it.
    at_next: ValidatorSet,
    /// What shows it.
    turnovers: Vec<Turnover>,
}

impl StakeTrust {
    /// Trusts the genesis, and a checkpoint when there is one.
    pub fn new(genesis: Genesis, checkpoint: Option<Checkpoint>) -> Self {
        Self { genesis, checkpoint, deciding: None, turnovers: Vec::new() }
    }

    /// Returns who decides the block after the snapshot that was believed last, where that is known: the snapshot's
    /// state must say the same.
    pub fn deciding(&self) -> Option<&ValidatorSet> {
        self.deciding.as_ref()
    }

    /// Returns the handovers of the snapshot that was believed last which were verified. No others are to be shown to
    /// newcomers, who would blame this node for what is wrong with them.
    pub fn turnovers(&self) -> &[Turnover] {
        &self.turnovers
    }

    fn trusted(&self) -> Height {
        self.checkpoint.map_or(Height::ZERO, |checkpoint| checkpoint.height)
    }

    /// Returns who decides the next block and what shows it; nothing where a checkpoint says all.
    fn judge(&self, manifest: &SnapshotManifest) -> Result<(Option<ValidatorSet>, Vec<Turnover>), Distrust> {
        let ConsensusRules::Pos(rules) = &self.genesis.parameters.consensus else {
            return Err(TrustProblem::NoCertificates.into());
        };
        let (header, next) = (&manifest.header, &manifest.next.header);
        let (Some(certificate), Some(next_certificate)) = (&manifest.certificate, &manifest.next.certificate)
        else {
            return Err(wrong("a certificate is missing"));
        };
        if let Some(Checkpoint { height, block }) = self.checkpoint {
            for shown in [header, next].into_iter().filter(|shown| shown.height == height) {
                let found = shown.id();
                if found != block {
                    return Err(TrustProblem::Contradiction { height, checkpoint: block, found }.into());
                }
            }
            if next.height < height {
                let problem = TrustProblem::OlderThanCheckpoint { height: header.height, checkpoint: height };
                return Err(problem.into());
            }
            if next.height == height {
                // The header with the root is the trusted block itself, and the other one its parent.
                verify(certificate, None, &self.genesis)?;
                return Ok((None, Vec::new()));
            }
        }
        self.check_age(next.height)?;
        let course = self.follow(manifest, rules)?;
        verify(certificate, course.at_snapshot.as_ref(), &self.genesis)?;
        verify(next_certificate, Some(&course.at_next), &self.genesis)?;
        Ok((Some(course.at_next), course.turnovers))
    }

    /// Goes from the trusted validators through the turnover of every epoch to those of the snapshot.
    fn follow(&self, manifest: &SnapshotManifest, rules: &PosRules) -> Result<Course, Distrust> {
        let chain_id = &self.genesis.chain_id;
        let turnovers = manifest.handovers.iter().map(|bytes| Turnover::try_from_slice(bytes));
        let turnovers: Vec<Turnover> =
            turnovers.collect::<Result<_, _>>().map_err(|error| wrong(format!("a handover: {error}")))?;
        let of = |height: Height| turnovers.iter().find(|turnover| turnover.height() == height);
        let invalid = |error| wrong(format!("a handover does not hold: {error}"));

        let mut used = Vec::new();
        let (mut current, mut at) = match self.checkpoint {
            None => {
                let set = self.genesis.validator_set().map_err(|error| wrong(error.to_string()))?;
                (set, Height::ZERO)
            }
            Some(Checkpoint { height, block }) => {
                let turnover = of(height).ok_or(TrustProblem::NotShown { height })?;
                let found = turnover.proof.header.id();
                if found != block {
                    return Err(TrustProblem::Contradiction { height, checkpoint: block, found }.into());
                }
                let set = turnover.verify(&Trust::Block(block)).map_err(invalid)?;
                used.push(turnover.clone());
                (set, height)
            }
        };
        let epoch_blocks = rules.epoch_blocks.max(1);
        // The set after a checkpoint's block is known, the one that signed it is not needed.
        let mut at_snapshot = (at < manifest.header.height).then(|| current.clone());
        loop {
            let first = Height::new((at.get().saturating_sub(1) / epoch_blocks + 1) * epoch_blocks + 1);
            if first >= manifest.next.header.height {
                return Ok(Course { at_snapshot, at_next: current, turnovers: used });
            }
            let turnover = of(first).ok_or(TrustProblem::NotShown { height: first })?;
            let trust = Trust::Validators(current.clone(), chain_id.clone());
            let set = turnover.verify(&trust).map_err(invalid)?;
            if turnover.none_newer.is_some() && set != current {
                return Err(wrong("a handover proves validators that do not decide any more"));
            }
            if first < manifest.header.height {
                at_snapshot = Some(set.clone());
            }
            used.push(turnover.clone());
            (current, at) = (set, first);
        }
    }
}

impl SnapshotTrust for StakeTrust {
    fn check(&mut self, manifest: &SnapshotManifest) -> Result<(), Distrust> {
        (self.deciding, self.turnovers) = self.judge(manifest)?;
        Ok(())
    }

    fn check_age(&self, height: Height) -> Result<(), TrustProblem> {
        check_age(&self.genesis.parameters.consensus, self.trusted(), height)
    }
}

fn verify(
    certificate: &Certificate,
    validators: Option<&ValidatorSet>,
    genesis: &Genesis,
) -> Result<(), Distrust> {
    let held = match validators {
        Some(validators) => certificate.verify(&genesis.chain_id, validators),
        None if certificate.signatures.is_empty() => return Err(wrong("a certificate has no signature")),
        None => certificate.verify_signatures(&genesis.chain_id),
    };
    held.map_err(|error| wrong(error.to_string()))
}

fn wrong(reason: impl Into<String>) -> Distrust {
    Distrust::Wrong(HeaderFault { reason: reason.into() })
}

#[cfg(test)]
mod tests;
