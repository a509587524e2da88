//! The Tendermint algorithm for one height, through malachite's consensus core; nothing of malachite shows outside.
//!
//! Malachite is a coroutine that yields effects and is resumed with answers. Signing and checking signatures are
//! answered in place; everything else becomes an [`Outcome`]. Its one use of a clock, the start time of a height,
//! is read only when a target time is set, which is never done here.

mod context;

use arc_malachitebft_core_consensus as malachite;
use arc_malachitebft_core_types as types;
use borsh::{BorshDeserialize, BorshSerialize};
use malachite::{Effect as Yielded, Input, Resumable, Resume};
use purlin_primitives::{
    BlockId, Certificate, ChainId, Equivocation, Hash32, Height, PublicKey, Signature, SignedProposal,
    SignedVote, ValidatorSet, VoteKind,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use types::Round;

use self::context::{
    Address, MaybeSigned, Purlin, Validators, Value, core_polka, core_proposal, core_round, core_vote,
    is_divergence, our_round,
};
use super::message::{Message, PolkaCertificate, RoundCertificate};
use super::record::{Entry, Record};
use crate::port::{SignError, VoteSigner};

/// What a timer of a round is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub(crate) enum TimerKind {
    Propose = 1,
    Prevote = 2,
    Precommit = 3,
    Rebroadcast = 4,
}

/// What changes the state of the algorithm, and so is recorded.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub(crate) enum Step {
    /// A vote, its signature checked.
    Vote(SignedVote) = 1,
    /// A proposal, its signature checked. Of no effect before its block is known.
    Proposal(SignedProposal) = 2,
    /// A certificate, to be checked.
    Polka(PolkaCertificate) = 3,
    /// A timer went off.
    Timeout { kind: TimerKind, round: u32 } = 4,
    /// A block was built or validated.
    Block { round: u32, proposer: PublicKey, block: BlockId, valid: bool } = 5,
}

/// What the algorithm wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    CancelTimers,
    CancelTimer {
        kind: TimerKind,
    },
    SetTimer {
        kind: TimerKind,
        round: u32,
    },
    RoundStarted {
        round: u32,
    },
    Publish(Message),
    /// The body of this block is needed by peers.
    Announce {
        block: BlockId,
    },
    /// Build a block for this round.
    Build {
        round: u32,
    },
    Decided(Certificate),
    /// A signature was refused; nothing was sent.
    Refused {
        detail: String,
    },
    /// The last input was a certificate, and is wrong.
    Wrong {
        reason: String,
    },
    /// Votes that a certificate was made of, their signatures checked.
    Seen(Vec<SignedVote>),
    /// Contradicting signatures that the algorithm noticed.
    Evidence(Vec<Equivocation>),
    /// The node must stop.
    Halt {
        reason: String,
    },
    /// A step failed in a way that can be survived.
    Fault {
        detail: String,
    },
}

/// What is kept beside the algorithm's state while it runs.
struct Desk {
    context: Purlin,
    validators: Validators,
    /// What was checked or signed during this step, so that nothing is checked twice.
    checked: BTreeSet<(Hash32, PublicKey, [u8; 64])>,
    /// Steps that are on record already, while they are replayed.
    recorded: Vec<Step>,
    outcomes: Vec<Outcome>,
}

/// The algorithm at one height.
pub(crate) struct Tendermint {
    state: malachite::State<Purlin>,
    desk: Desk,
}

/// Signs; `None` for a node that does not vote.
pub(crate) type Signer<'a> = Option<&'a mut dyn VoteSigner>;

impl Tendermint {
    /// Makes the algorithm for a height; it acts after [`Tendermint::start`]. The set must not be empty.
    pub(crate) fn new(
        chain_id: ChainId,
        height: Height,
        set: Arc<ValidatorSet>,
        key: Option<PublicKey>,
    ) -> Self {
        let context = Purlin { chain_id };
        let validators = Validators::new(set);
        let params = malachite::Params {
            address: Address(key),
            threshold_params: types::ThresholdParams::default(),
            // The other mode would take every proposed value for valid.
            value_payload: types::ValuePayload::ProposalAndParts,
            enabled: key.is_some(),
        };
        let height = context::Height(height.get());
        // Messages of other heights never get here, so its queue stays empty.
        let state = malachite::State::new(context.clone(), height, validators.clone(), params, 1, 1);
        let (checked, recorded, outcomes) = Default::default();
        let desk = Desk { context, validators, checked, recorded, outcomes };
        Self { state, desk }
    }

    /// Enters round 0, after replaying what was recorded before a crash.
    ///
    /// Replay gives the recorded steps again, in order. What was signed is taken from the records, not signed again;
    /// votes that the records lead to and do not hold were never sent, and are signed now.
    pub(crate) fn start(&mut self, records: &[Step], mut signer: Signer<'_>) -> Vec<Outcome> {
        let inputs: Vec<Input<Purlin>> = records.iter().map(|step| self.input(step)).collect();
        self.state.index_wal_entries(&inputs);
        self.desk.recorded = records.to_vec();
        let start = Input::StartHeight(
            self.state.height(),
            self.desk.validators.clone(),
            !records.is_empty(),
            None,
            types::VoteExtensionPolicy::Disabled,
        );
        self.process(start, &mut signer);
        for input in inputs {
            self.process(input, &mut signer);
        }
        self.state.reset_entries_index();
        self.desk.recorded.clear();
        std::mem::take(&mut self.desk.outcomes)
    }

    /// Takes a step. Signatures of votes and proposals were checked by the caller.
    pub(crate) fn step(&mut self, step: &Step, mut signer: Signer<'_>) -> Vec<Outcome> {
        match step {
            Step::Vote(vote) => {
                self.desk.trust(vote.vote.signing_hash(), vote.public_key, vote.signature);
            }
            Step::Proposal(proposal) => {
                let digest = proposal.proposal.signing_hash();
                self.desk.trust(digest, proposal.public_key, proposal.signature);
            }
            Step::Polka(_) | Step::Timeout { .. } | Step::Block { .. } => {}
        }
        let input = self.input(step);
        self.finish(input, &mut signer)
    }

    /// Takes a round certificate, which is checked here and recorded as the votes it is made of.
    pub(crate) fn round_certificate(
        &mut self,
        certificate: &RoundCertificate,
        mut signer: Signer<'_>,
    ) -> Vec<Outcome> {
        self.finish(Input::RoundCertificate(core_round(certificate)), &mut signer)
    }

    /// Proposes a block that was built here for this round.
    pub(crate) fn propose(&mut self, round: u32, block: BlockId, mut signer: Signer<'_>) -> Vec<Outcome> {
        let (height, round, value) = (self.state.height(), Round::new(round), Value(block));
        let value = malachite::LocallyProposedValue { height, round, value };
        self.finish(Input::Propose(value), &mut signer)
    }

    /// Says whether this node is expected to propose in the current round and has not.
    pub(crate) fn awaits_proposal(&self) -> bool {
        let driver = &self.state.driver;
        driver.step_is_propose() && driver.proposer_address() == Some(driver.address())
    }

    /// Takes the contradicting signatures that were found so far.
    pub(crate) fn take_evidence(&mut self) -> Vec<Equivocation> {
        let driver = &mut self.state.driver;
        let (votes, proposals) = (driver.take_vote_evidence(), driver.take_proposal_evidence());
        self.desk.context.equivocations(&malachite::MisbehaviorEvidence { proposals, votes })
    }

    fn input(&self, step: &Step) -> Input<Purlin> {
        match step {
            Step::Vote(vote) => Input::Vote(core_vote(vote)),
            Step::Proposal(proposal) => Input::Proposal(core_proposal(proposal)),
            Step::Polka(certificate) => Input::PolkaCertificate(core_polka(certificate)),
            Step::Timeout { kind, round } => {
                let kind = match kind {
                    TimerKind::Propose => types::TimeoutKind::Propose,
                    TimerKind::Prevote => types::TimeoutKind::Prevote,
                    TimerKind::Precommit => types::TimeoutKind::Precommit,
                    TimerKind::Rebroadcast => types::TimeoutKind::Rebroadcast,
                };
                Input::TimeoutElapsed(types::Timeout::new(Round::new(*round), kind))
            }
            Step::Block { round, proposer, block, valid } => {
                let value = malachite::ProposedValue {
                    height: self.state.height(),
                    round: Round::new(*round),
                    valid_round: Round::Nil,
                    proposer: Address(Some(*proposer)),
                    value: Value(*block),
                    validity: types::Validity::from_bool(*valid),
                };
                Input::ProposedValue(value, types::ValueOrigin::Consensus)
            }
        }
    }

    fn finish(&mut self, input: Input<Purlin>, signer: &mut Signer<'_>) -> Vec<Outcome> {
        self.process(input, signer);
        std::mem::take(&mut self.desk.outcomes)
    }

    fn process(&mut self, input: Input<Purlin>, signer: &mut Signer<'_>) {
        let Self { state, desk } = self;
        let result: Result<(), malachite::Error<Purlin>> = malachite::process!(
            input: input,
            state: state,
            metrics: &(),
            with: effect => Ok::<_, std::convert::Infallible>(desk.answer(effect, signer))
        );
        desk.checked.clear();
        match result {
            Ok(()) => {}
            Err(error) if is_divergence(&error) => desk.outcomes.push(Outcome::Halt {
                reason: format!("the records of this height contradict themselves: {error}"),
            }),
            Err(error) => desk.outcomes.push(Outcome::Fault { detail: error.to_string() }),
        }
    }
}

impl Desk {
    fn trust(&mut self, digest: Hash32, key: PublicKey, signature: Signature) {
        self.checked.insert((digest, key, *signature.as_bytes()));
    }

    /// Answers one effect; those that do not concern signatures are collected.
    fn answer(&mut self, effect: Yielded<Purlin>, signer: &mut Signer<'_>) -> Resume<Purlin> {
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
enum Need {
    /// Prevotes of two thirds of the power.
    Prevotes,
    /// Precommits of two thirds.
    Precommits,
    /// Any votes of one third.
    Third,
}

/// Says what is wrong with the votes of a polka or round certificate: one per validator, all signed, and enough.
fn certificate_fault(votes: &[SignedVote], need: Need, set: &ValidatorSet) -> Option<String> {
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
