//! The Tendermint algorithm for one height, through malachite's consensus core; nothing of malachite shows outside.
//!
//! Malachite is a coroutine that yields effects and is resumed with answers. Signing and checking signatures are
//! answered in place; everything else becomes an [`Outcome`]. Its one use of a clock, the start time of a height,
//! is read only when a target time is set, which is never done here.

mod context;
mod convert;
mod desk;

use arc_malachitebft_core_consensus as malachite;
use arc_malachitebft_core_types as types;
use borsh::{BorshDeserialize, BorshSerialize};
use malachite::Input;
use purlin_primitives::{
    BlockId, Certificate, ChainId, Equivocation, Height, PublicKey, SignedProposal, SignedVote, ValidatorSet,
};
use std::sync::Arc;
use types::Round;

use self::context::{Address, Purlin, Validators, Value};
use self::convert::{core_polka, core_proposal, core_round, core_vote};
use self::desk::Desk;
pub(super) use self::desk::{Need, certificate_fault};
use super::message::{Message, PolkaCertificate, RoundCertificate};
use crate::port::VoteSigner;

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
            Err(error @ malachite::Error::ReplayDivergence(..)) => desk.outcomes.push(Outcome::Halt {
                reason: format!("the records of this height contradict themselves: {error}"),
            }),
            Err(error) => desk.outcomes.push(Outcome::Fault { detail: error.to_string() }),
        }
    }
}
