//! Answers what the algorithm asks about signatures, and collects what else it wants.

use arc_malachitebft_core_consensus as malachite;
use arc_malachitebft_core_types as types;
use malachite::{Effect as Yielded, Input, Resumable, Resume};
use purlin_primitives::{
    Hash32, Height, PublicKey, Signature, SignedProposal, SignedVote, ValidatorSet, VoteKind,
};
use std::collections::BTreeSet;

use super::context::{MaybeSigned, Purlin, Validators};
use super::convert::our_round;
use super::{Outcome, Signer, Step, TimerKind};
use crate::port::SignError;
use crate::pos::message::Message;
use crate::pos::record::{Entry, Record};

/// What is kept beside the algorithm's state while it runs.
pub(super) struct Desk {
    pub(super) context: Purlin,
    pub(super) validators: Validators,
    /// What was checked or signed during this step, so that nothing is checked twice.
    pub(super) checked: BTreeSet<(Hash32, PublicKey, [u8; 64])>,
    /// Steps that are on record already, while they are replayed.
    pub(super) recorded: Vec<Step>,
    pub(super) outcomes: Vec<Outcome>,
}

impl Desk {
    pub(super) fn trust(&mut self, digest: Hash32, key: PublicKey, signature: Signature) {
        self.checked.insert((digest, key, *signature.as_bytes()));
    }

    /// Answers one effect; those that do not concern signatures are collected.
    pub(super) fn answer(&mut self, effect: Yielded<Purlin>, signer: &mut Signer<'_>) -> Resume<Purlin> {
        match effect {
            Yielded::SignVote(vote, resume) => {
                let ours = self.context.vote(&vote);
                let digest = ours.signing_hash();
                let signed = signer.as_mut().map(|signer| signer.sign_vote(ours));
                let signature = self.signed(
                    signed.map(|signed| signed.map(|signed| (signed.public_key, signed.signature))),
                    digest,
                );
                resume.resume_with(types::SignedMessage::new(vote, signature))
            }
            Yielded::SignProposal(proposal, resume) => {
                let ours = self.context.proposal(&proposal);
                let (digest, round) = (ours.signing_hash(), ours.round);
                let signed = signer.as_mut().map(|signer| signer.sign_proposal(ours));
                let signature = self.signed(
                    signed.map(|signed| signed.map(|signed| (signed.public_key, signed.signature))),
                    digest,
                );
                if signature.0.is_none() {
                    // The timer was cancelled when the block came; without it this node would sit in the round.
                    self.outcomes.push(Outcome::SetTimer { kind: TimerKind::Propose, round });
                }
                resume.resume_with(types::SignedMessage::new(proposal, signature))
            }
            Yielded::VerifySignature(message, key, resume) => {
                let valid = message.signature.0.is_some_and(|signature| match &message.message {
                    malachite::ConsensusMsg::Vote(vote) => {
                        let vote = self.context.vote(vote);
                        self.checked.contains(&(vote.signing_hash(), key, *signature.as_bytes()))
                            || SignedVote { vote, public_key: key, signature }.verify().is_some()
                    }
                    malachite::ConsensusMsg::Proposal(proposal) => {
                        let proposal = self.context.proposal(proposal);
                        self.checked.contains(&(proposal.signing_hash(), key, *signature.as_bytes()))
                            || SignedProposal { proposal, public_key: key, signature }.verify().is_some()
                    }
                });
                resume.resume_with(valid)
            }
            Yielded::VerifyCommitCertificate(certificate, set, _, resume) => {
                let certificate = self.context.certificate(&certificate);
                let result = certificate.verify(&self.context.chain_id, &set.set);
                resume.resume_with(result.map_err(|error| refusal(error.to_string())))
            }
            Yielded::VerifyExtendedCommitCertificate(_, _, _, _, resume) => {
                // Certificates of peers are checked and followed without the algorithm.
                resume.resume_with(Err(refusal("not used".to_owned())))
            }
            Yielded::VerifyPolkaCertificate(certificate, set, _, resume) => {
                let polka = self.context.polka(&certificate);
                let votes = polka.map(|polka| polka.votes(&self.context.chain_id).collect());
                resume.resume_with(self.check(votes, Need::Prevotes, &set.set))
            }
            Yielded::VerifyRoundCertificate(certificate, set, _, resume) => {
                let need = match certificate.cert_type {
                    types::RoundCertificateType::Skip => Need::Third,
                    types::RoundCertificateType::Precommit => Need::Precommits,
                };
                let round = self.context.round(&certificate);
                let votes = round.map(|round| round.votes(&self.context.chain_id).collect());
                resume.resume_with(self.check(votes, need, &set.set))
            }
            Yielded::ExtendVote(_, _, _, _, resume) => resume.resume_with(None),
            Yielded::VerifyVoteExtension(_, _, _, _, _, _, resume) => {
                resume.resume_with(Err(malachite::VoteExtensionError::InvalidVoteExtension))
            }
            Yielded::WalAppend(height, input, _) => {
                let new = self.step(input).filter(|step| !self.recorded.contains(step));
                if let (Some(step), Some(signer)) = (new, signer) {
                    let height = Height::new(types::Height::as_u64(&height));
                    signer.record(height, Record { height, entry: Entry::Step(step) }.encode());
                }
                Resume::Continue
            }
            other => {
                self.outcomes.extend(self.outcome(other));
                Resume::Continue
            }
        }
    }

    fn signed(
        &mut self,
        signed: Option<Result<(PublicKey, Signature), SignError>>,
        digest: Hash32,
    ) -> MaybeSigned {
        match signed {
            Some(Ok((key, signature))) => {
                self.trust(digest, key, signature);
                MaybeSigned(Some(signature))
            }
            Some(Err(SignError::Conflict { detail })) => {
                self.outcomes.push(Outcome::Refused { detail });
                MaybeSigned(None)
            }
            Some(Err(SignError::Failed { detail })) => {
                let reason =
                    format!("the record of signatures could not be written: {detail}; check the disk");
                self.outcomes.push(Outcome::Halt { reason });
                MaybeSigned(None)
            }
            None => MaybeSigned(None),
        }
    }

    /// Checks the votes of a certificate.
    fn check(
        &mut self,
        votes: Option<Vec<SignedVote>>,
        need: Need,
        set: &ValidatorSet,
    ) -> Result<(), types::CertificateError<Purlin>> {
        let Some(votes) = votes else {
            return Err(refusal("a signature is missing".to_owned()));
        };
        match certificate_fault(&votes, need, set) {
            None => {
                self.outcomes.push(Outcome::Seen(votes));
                Ok(())
            }
            Some(reason) => {
                self.outcomes.push(Outcome::Wrong { reason: reason.clone() });
                Err(refusal(reason))
            }
        }
    }

    fn outcome(&self, effect: Yielded<Purlin>) -> Option<Outcome> {
        Some(match effect {
            Yielded::CancelAllTimeouts(_) => Outcome::CancelTimers,
            Yielded::CancelTimeout(timeout, _) => Outcome::CancelTimer { kind: timer_kind(timeout.kind)? },
            Yielded::ScheduleTimeout(timeout, _) => {
                Outcome::SetTimer { kind: timer_kind(timeout.kind)?, round: our_round(timeout.round) }
            }
            Yielded::StartRound(_, round, _, _, _) => Outcome::RoundStarted { round: our_round(round) },
            Yielded::PublishConsensusMsg(message, _) => match message {
                malachite::SignedConsensusMsg::Vote(vote) => {
                    Outcome::Publish(Message::Vote(self.context.signed_vote(&vote)?))
                }
                malachite::SignedConsensusMsg::Proposal(proposal) => {
                    Outcome::Publish(Message::Proposal(self.context.signed_proposal(&proposal)?))
                }
            },
            Yielded::PublishLivenessMsg(message, _) => Outcome::Publish(match message {
                malachite::LivenessMsg::Vote(vote) => Message::Vote(self.context.signed_vote(&vote)?),
                malachite::LivenessMsg::PolkaCertificate(polka) => {
                    Message::Polka(self.context.polka(&polka)?)
                }
                malachite::LivenessMsg::SkipRoundCertificate(round) => {
                    Message::Round(self.context.round(&round)?)
                }
            }),
            Yielded::RepublishVote(vote, _) => {
                Outcome::Publish(Message::Vote(self.context.signed_vote(&vote)?))
            }
            Yielded::RepublishRoundCertificate(round, _) => {
                Outcome::Publish(Message::Round(self.context.round(&round)?))
            }
            Yielded::GetValue(_, round, _, _) => Outcome::Build { round: our_round(round) },
            Yielded::RestreamProposal(_, _, _, _, block, _) => Outcome::Announce { block },
            Yielded::Decide(certificate, _, _) => Outcome::Decided(self.context.certificate(&certificate)),
            // `Decide` came just before it.
            Yielded::Finalize(_, _, evidence, _) => Outcome::Evidence(self.context.equivocations(&evidence)),
            // Synced values never get in, and signatures are answered before.
            _ => return None,
        })
    }

    /// Returns the step that an input of the log stands for; the others are never logged.
    fn step(&self, input: Input<Purlin>) -> Option<Step> {
        Some(match input {
            Input::Vote(vote) => Step::Vote(self.context.signed_vote(&vote)?),
            Input::Proposal(proposal) => Step::Proposal(self.context.signed_proposal(&proposal)?),
            Input::PolkaCertificate(polka) => Step::Polka(self.context.polka(&polka)?),
            Input::TimeoutElapsed(timeout) => {
                Step::Timeout { kind: timer_kind(timeout.kind)?, round: our_round(timeout.round) }
            }
            Input::ProposedValue(value, _) => Step::Block {
                round: our_round(value.round),
                proposer: value.proposer.0?,
                block: value.value.0,
                valid: value.validity.is_valid(),
            },
            _ => return None,
        })
    }
}

fn refusal(detail: String) -> types::CertificateError<Purlin> {
    let detail: Box<dyn std::error::Error + Send + Sync> = detail.into();
    types::CertificateError::VerificationError(Some(detail.into()))
}

fn timer_kind(kind: types::TimeoutKind) -> Option<TimerKind> {
    match kind {
        types::TimeoutKind::Propose => Some(TimerKind::Propose),
        types::TimeoutKind::Prevote => Some(TimerKind::Prevote),
        types::TimeoutKind::Precommit => Some(TimerKind::Precommit),
        types::TimeoutKind::Rebroadcast => Some(TimerKind::Rebroadcast),
        // Only with a target time, which is never set.
        types::TimeoutKind::FinalizeHeight(_) => None,
    }
}

/// What a certificate must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pos) enum Need {
    /// Prevotes of two thirds of the power.
    Prevotes,
    /// Precommits of two thirds.
    Precommits,
    /// Any votes of one third.
    Third,
}

/// Says what is wrong with the votes of a polka or round certificate: one per validator, all signed, and enough.
pub(in crate::pos) fn certificate_fault(
    votes: &[SignedVote],
    need: Need,
    set: &ValidatorSet,
) -> Option<String> {
    let kind = match need {
        Need::Prevotes => Some(VoteKind::Prevote),
        Need::Precommits => Some(VoteKind::Precommit),
        Need::Third => None,
    };
    let mut seen = BTreeSet::new();
    let mut power = 0;
    for vote in votes {
        let Some(validator) = set.get(&vote.public_key) else {
            return Some(format!("{} is no validator", vote.public_key));
        };
        if !seen.insert(vote.public_key) {
            return Some(format!("{} is in the certificate twice", vote.public_key));
        }
        if kind.is_some_and(|kind| kind != vote.vote.kind) {
            return Some(format!("a {} of {} does not belong in it", vote.vote.kind, vote.public_key));
        }
        power += validator.power;
    }
    let enough = match need {
        Need::Prevotes | Need::Precommits => set.is_quorum(power),
        Need::Third => power.saturating_mul(3) > set.total_power(),
    };
    if !enough {
        return Some(format!("{power} of {} power is not enough", set.total_power()));
    }
    let wrong = votes.iter().find(|vote| vote.verify().is_none())?;
    Some(format!("the signature of {} is not valid", wrong.public_key))
}
