//! Turns our messages into those of the algorithm, and back.

use arc_malachitebft_core_consensus as malachite;
use arc_malachitebft_core_types as types;
use purlin_primitives::{
    BlockId, BlockProposal, BlockSignature, Certificate, Equivocation, SignedProposal, SignedVote, Vote,
    VoteKind,
};
use types::{NilOrVal, Round};

use super::context::{Address, CoreProposal, CoreVote, Height, MaybeSigned, Purlin, Value};
use crate::pos::message::{PolkaCertificate, RoundCertificate, RoundReason, RoundVote};

fn kind_of(kind: types::VoteType) -> VoteKind {
    match kind {
        types::VoteType::Prevote => VoteKind::Prevote,
        types::VoteType::Precommit => VoteKind::Precommit,
    }
}

fn block_of(value: NilOrVal<BlockId>) -> Option<BlockId> {
    match value {
        NilOrVal::Nil => None,
        NilOrVal::Val(block) => Some(block),
    }
}

fn our_height(height: Height) -> purlin_primitives::Height {
    purlin_primitives::Height::new(height.0)
}

/// The round of a message, which always has one.
pub(super) fn our_round(round: Round) -> u32 {
    round.as_u32().expect("messages are made in rounds")
}

impl Purlin {
    pub(super) fn vote(&self, vote: &CoreVote) -> Vote {
        Vote {
            chain_id: self.chain_id.clone(),
            height: our_height(vote.height),
            round: our_round(vote.round),
            kind: kind_of(vote.kind),
            block: block_of(vote.value),
        }
    }

    pub(super) fn proposal(&self, proposal: &CoreProposal) -> BlockProposal {
        BlockProposal {
            chain_id: self.chain_id.clone(),
            height: our_height(proposal.height),
            round: our_round(proposal.round),
            block: proposal.value.0,
            valid_round: proposal.pol_round.as_u32(),
        }
    }

    /// Returns `None` for what was not signed.
    pub(super) fn signed_vote(&self, signed: &types::SignedVote<Self>) -> Option<SignedVote> {
        let public_key = signed.message.address.0?;
        Some(SignedVote { vote: self.vote(&signed.message), public_key, signature: signed.signature.0? })
    }

    /// Returns `None` for what was not signed.
    pub(super) fn signed_proposal(&self, signed: &types::SignedProposal<Self>) -> Option<SignedProposal> {
        let public_key = signed.message.address.0?;
        let proposal = self.proposal(&signed.message);
        Some(SignedProposal { proposal, public_key, signature: signed.signature.0? })
    }

    /// Returns `None` when a signature is missing, which none in a certificate is.
    pub(super) fn polka(&self, certificate: &types::PolkaCertificate<Self>) -> Option<PolkaCertificate> {
        let signatures = certificate.polka_signatures.iter().map(|signed| {
            Some(BlockSignature { public_key: signed.address.0?, signature: signed.signature.0? })
        });
        let mut signatures: Vec<_> = signatures.collect::<Option<_>>()?;
        signatures.sort_by_key(|signed| signed.public_key);
        let (height, round) = (our_height(certificate.height), our_round(certificate.round));
        Some(PolkaCertificate { height, round, block: certificate.value_id, signatures })
    }

    /// Returns `None` when a signature is missing, which none in a certificate is.
    pub(super) fn round(&self, certificate: &types::RoundCertificate<Self>) -> Option<RoundCertificate> {
        let votes = certificate.round_signatures.iter().map(|signed| {
            Some(RoundVote {
                kind: kind_of(signed.vote_type),
                block: block_of(signed.value_id),
                public_key: signed.address.0?,
                signature: signed.signature.0?,
            })
        });
        let reason = match certificate.cert_type {
            types::RoundCertificateType::Skip => RoundReason::Skip,
            types::RoundCertificateType::Precommit => RoundReason::Precommit,
        };
        Some(RoundCertificate {
            height: our_height(certificate.height),
            round: our_round(certificate.round),
            reason,
            votes: votes.collect::<Option<_>>()?,
        })
    }

    /// Returns our certificate, sorted, without what was not signed.
    pub(super) fn certificate(&self, certificate: &types::CommitCertificate<Self>) -> Certificate {
        let signatures = certificate.commit_signatures.iter().filter_map(|signed| {
            Some(BlockSignature { public_key: signed.address.0?, signature: signed.signature.0? })
        });
        let mut signatures: Vec<_> = signatures.collect();
        signatures.sort_by_key(|signed| signed.public_key);
        Certificate {
            block: certificate.value_id,
            height: our_height(certificate.height),
            round: our_round(certificate.round),
            signatures,
        }
    }
}

impl Purlin {
    /// Returns the contradictions in the form that others can check.
    pub(super) fn equivocations(&self, found: &malachite::MisbehaviorEvidence<Self>) -> Vec<Equivocation> {
        let votes = found.votes.iter().flat_map(|(_, pairs)| pairs).filter_map(|(one, other)| {
            Some(Equivocation::votes(self.signed_vote(one)?, self.signed_vote(other)?))
        });
        let proposals = found.proposals.iter().flat_map(|(_, pairs)| pairs).filter_map(|(one, other)| {
            Some(Equivocation::proposals(self.signed_proposal(one)?, self.signed_proposal(other)?))
        });
        votes.chain(proposals).collect()
    }
}

fn core_value(block: Option<BlockId>) -> NilOrVal<BlockId> {
    block.map_or(NilOrVal::Nil, NilOrVal::Val)
}

pub(super) fn core_vote(signed: &SignedVote) -> types::SignedVote<Purlin> {
    let kind = match signed.vote.kind {
        VoteKind::Prevote => types::VoteType::Prevote,
        VoteKind::Precommit => types::VoteType::Precommit,
    };
    let vote = CoreVote {
        height: Height(signed.vote.height.get()),
        round: Round::new(signed.vote.round),
        kind,
        value: core_value(signed.vote.block),
        address: Address(Some(signed.public_key)),
    };
    types::SignedVote::new(vote, MaybeSigned(Some(signed.signature)))
}

pub(super) fn core_proposal(signed: &SignedProposal) -> types::SignedProposal<Purlin> {
    let proposal = CoreProposal {
        height: Height(signed.proposal.height.get()),
        round: Round::new(signed.proposal.round),
        value: Value(signed.proposal.block),
        pol_round: Round::from(signed.proposal.valid_round),
        address: Address(Some(signed.public_key)),
    };
    types::SignedProposal::new(proposal, MaybeSigned(Some(signed.signature)))
}

pub(super) fn core_polka(certificate: &PolkaCertificate) -> types::PolkaCertificate<Purlin> {
    let signature = |signed: &BlockSignature| {
        types::PolkaSignature::new(Address(Some(signed.public_key)), MaybeSigned(Some(signed.signature)))
    };
    types::PolkaCertificate {
        height: Height(certificate.height.get()),
        round: Round::new(certificate.round),
        value_id: certificate.block,
        polka_signatures: certificate.signatures.iter().map(signature).collect(),
    }
}

pub(super) fn core_round(certificate: &RoundCertificate) -> types::RoundCertificate<Purlin> {
    let signature = |voted: &RoundVote| {
        let kind = match voted.kind {
            VoteKind::Prevote => types::VoteType::Prevote,
            VoteKind::Precommit => types::VoteType::Precommit,
        };
        types::RoundSignature::new(
            kind,
            core_value(voted.block),
            Address(Some(voted.public_key)),
            MaybeSigned(Some(voted.signature)),
        )
    };
    types::RoundCertificate {
        height: Height(certificate.height.get()),
        round: Round::new(certificate.round),
        cert_type: match certificate.reason {
            RoundReason::Skip => types::RoundCertificateType::Skip,
            RoundReason::Precommit => types::RoundCertificateType::Precommit,
        },
        round_signatures: certificate.votes.iter().map(signature).collect(),
    }
}
