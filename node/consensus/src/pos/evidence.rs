//! Remembers who signed what, at recent heights too, and finds two signatures that exclude each other.

use purlin_primitives::{
    Equivocation, Height, PublicKey, SignedProposal, SignedVote, ValidatorSet, VoteKind,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Heights behind the current one at which a late signature can still show a contradiction.
pub(super) const HEIGHTS_KEPT: u64 = 64;
/// Rounds behind the last one of a height from which signatures are taken. The algorithm drops what is further
/// ahead as well.
pub const ROUNDS_AHEAD_MAX: u32 = 10;
/// Most signatures kept of one validator at one height: about 40 rounds. What comes after is not compared.
const SIGNATURES_MAX: usize = 128;

/// Something a validator signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signed {
    Vote(SignedVote),
    Proposal(SignedProposal),
}

/// At which point one honest key signs one thing only: round, and which vote or `None` for the proposal.
type Point = (u32, Option<VoteKind>);

impl Signed {
    pub(super) fn height(&self) -> Height {
        match self {
            Self::Vote(signed) => signed.vote.height,
            Self::Proposal(signed) => signed.proposal.height,
        }
    }

    pub(super) fn public_key(&self) -> &PublicKey {
        match self {
            Self::Vote(signed) => &signed.public_key,
            Self::Proposal(signed) => &signed.public_key,
        }
    }

    pub(super) fn round(&self) -> u32 {
        self.point().0
    }

    /// Checks the signature; about 55 us.
    pub(super) fn is_valid(&self) -> bool {
        match self {
            Self::Vote(signed) => signed.verify().is_some(),
            Self::Proposal(signed) => signed.verify().is_some(),
        }
    }

    fn point(&self) -> Point {
        match self {
            Self::Vote(signed) => (signed.vote.round, Some(signed.vote.kind)),
            Self::Proposal(signed) => (signed.proposal.round, None),
        }
    }

    /// Puts two of one key and point together when they exclude each other.
    fn against(&self, other: &Self) -> Option<Equivocation> {
        match (self, other) {
            (Self::Vote(one), Self::Vote(two)) if one.vote != two.vote => {
                Some(Equivocation::votes(one.clone(), two.clone()))
            }
            (Self::Proposal(one), Self::Proposal(two)) if one.proposal != two.proposal => {
                Some(Equivocation::proposals(one.clone(), two.clone()))
            }
            _ => None,
        }
    }
}

/// What is known of a signed message before its signature is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Not worth a check: of no known height, by no validator of it, or of a round far ahead.
    Irrelevant,
    /// The same, with the same signature, was seen and checked.
    Seen,
    /// To be checked.
    New,
}

#[derive(Debug)]
struct AtHeight {
    validators: Arc<ValidatorSet>,
    round: u32,
    signed: BTreeMap<PublicKey, BTreeMap<Point, Signed>>,
    reported: BTreeSet<(PublicKey, Point)>,
    /// Signatures and reports together.
    kept: usize,
}

/// Signatures of the current and of recent heights.
#[derive(Debug, Default)]
pub(super) struct EvidencePool {
    heights: BTreeMap<Height, AtHeight>,
    /// Of all heights together.
    kept: usize,
}

impl EvidencePool {
    /// Starts to remember a height and forgets the oldest.
    pub(super) fn open(&mut self, height: Height, validators: Arc<ValidatorSet>) {
        let (signed, reported) = Default::default();
        self.heights.entry(height).or_insert(AtHeight { validators, round: 0, signed, reported, kept: 0 });
        let oldest = Height::new(height.get().saturating_sub(HEIGHTS_KEPT));
        let recent = self.heights.split_off(&oldest);
        let forgotten = std::mem::replace(&mut self.heights, recent);
        self.kept -= forgotten.values().map(|at| at.kept).sum::<usize>();
    }

    /// Returns how many signatures and reports are kept.
    pub(super) fn len(&self) -> usize {
        self.kept
    }

    /// Tells which round a height is in.
    pub(super) fn enter_round(&mut self, height: Height, round: u32) {
        if let Some(at) = self.heights.get_mut(&height) {
            at.round = at.round.max(round);
        }
    }

    /// Says whether a message needs its signature checked.
    pub(super) fn look(&self, signed: &Signed) -> Look {
        let Some(at) = self.heights.get(&signed.height()) else { return Look::Irrelevant };
        let is_near = signed.round() <= at.round.saturating_add(ROUNDS_AHEAD_MAX);
        if !is_near || at.validators.get(signed.public_key()).is_none() {
            return Look::Irrelevant;
        }
        let before = at.signed.get(signed.public_key()).and_then(|points| points.get(&signed.point()));
        if before == Some(signed) { Look::Seen } else { Look::New }
    }

    /// Remembers a message whose signature is valid; returns the contradiction that it completes, once.
    pub(super) fn add(&mut self, signed: Signed) -> Option<Equivocation> {
        if self.look(&signed) != Look::New {
            return None;
        }
        let at = self.heights.get_mut(&signed.height())?;
        let points = at.signed.entry(*signed.public_key()).or_default();
        match points.get(&signed.point()) {
            Some(before) => {
                let found = before.against(&signed)?;
                self.report(found)
            }
            None => {
                if points.len() < SIGNATURES_MAX {
                    points.insert(signed.point(), signed);
                    at.kept += 1;
                    self.kept += 1;
                }
                None
            }
        }
    }

    /// Returns a contradiction unless one of the same key and point was returned before.
    pub(super) fn report(&mut self, found: Equivocation) -> Option<Equivocation> {
        let at = self.heights.get_mut(&found.height())?;
        let point = match &found {
            Equivocation::Votes { first, .. } => (first.vote.round, Some(first.vote.kind)),
            Equivocation::Proposals { first, .. } => (first.proposal.round, None),
        };
        let is_new = at.reported.insert((*found.offender(), point));
        at.kept += usize::from(is_new);
        self.kept += usize::from(is_new);
        is_new.then_some(found)
    }
}
