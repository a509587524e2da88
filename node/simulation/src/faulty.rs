//! Puts deliberate bugs around the engine and the executor.

use purlin_chain::{
    BlockContext, CallReport, ExecutedBlock, ExecutionFault, Executor, InclusionError, Policy, QueryRequest,
};
use purlin_consensus::{Announcement, ConsensusEngine, Effect, EngineLengths, Input, TimestampMs, Verdict};
use purlin_primitives::{
    Amount, BlockId, Certificate, Gas, Genesis, Height, Outcome, Receipt, SignedVote, TransactionBody,
    ValidatorSet, VerifiedTransaction, VoteKind,
};
use purlin_state::{Changes, StateKey, StateReader};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bug::Bug;

/// An engine with a mistake.
pub(crate) struct FaultyEngine {
    inner: Box<dyn ConsensusEngine>,
    bug: Bug,
    height: Height,
    parent_time: TimestampMs,
    validators: Arc<ValidatorSet>,
    precommits: BTreeMap<(u32, BlockId), Vec<SignedVote>>,
    /// A block that is committed past the engine.
    forced: Option<Certificate>,
    /// Whether the engine commits by itself.
    committing: bool,
}

impl FaultyEngine {
    pub(crate) fn new(inner: Box<dyn ConsensusEngine>, bug: Bug) -> Self {
        Self {
            inner,
            bug,
            height: Height::ZERO,
            parent_time: TimestampMs::ZERO,
            validators: Arc::default(),
            precommits: BTreeMap::new(),
            forced: None,
            committing: false,
        }
    }

    fn moved(&mut self, head: purlin_consensus::Head, validators: &Arc<ValidatorSet>) {
        self.height = head.height.next();
        self.parent_time = head.time;
        self.validators = Arc::clone(validators);
        self.precommits.clear();
        self.forced = None;
        self.committing = false;
    }

    /// Counts a precommit; returns a certificate once half of the power has signed.
    fn count(&mut self, bytes: &[u8]) -> Option<Certificate> {
        let [1, 1, body @ ..] = bytes else { return None };
        let signed: SignedVote = borsh::from_slice(body).ok()?;
        let (vote, block) = (&signed.vote, signed.vote.block?);
        let power = |signed: &SignedVote| self.validators.get(&signed.public_key).map_or(0, |one| one.power);
        if vote.kind != VoteKind::Precommit || vote.height != self.height || power(&signed) == 0 {
            return None;
        }
        let (height, round) = (vote.height, vote.round);
        let votes = self.precommits.entry((round, block)).or_default();
        if !votes.iter().any(|known| known.public_key == signed.public_key) {
            votes.push(signed);
        }
        let signed_power: u64 = votes.iter().map(power).sum();
        if self.forced.is_some() || self.committing || signed_power * 2 < self.validators.total_power() {
            return None;
        }
        votes.sort_by_key(|signed| signed.public_key);
        let signatures = votes.iter().cloned().map(Into::into).collect();
        Some(Certificate { block, height, round, signatures })
    }

    fn force(&mut self, certificate: Certificate, effects: &mut Vec<Effect>) {
        effects.push(Effect::ValidateBlock { block: certificate.block, height: certificate.height });
        self.forced = Some(certificate);
    }
}

impl ConsensusEngine for FaultyEngine {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn handle(&mut self, now: TimestampMs, input: Input) -> Vec<Effect> {
        let mut added = Vec::new();
        match &input {
            Input::Started { head, validators, .. } | Input::Committed { head, validators, .. } => {
                self.moved(*head, validators);
            }
            Input::Message { bytes, .. } if self.bug == Bug::QuorumOfHalf => {
                if let Some(certificate) = self.count(bytes) {
                    self.force(certificate, &mut added);
                }
            }
            Input::Certified { header, certificate, .. } if self.bug == Bug::CertificateUnchecked => {
                let free = self.forced.is_none() && !self.committing;
                if free && header.height == self.height && certificate.is_for(header) {
                    let certificate = certificate.clone();
                    self.force(certificate, &mut added);
                    return added;
                }
            }
            Input::BlockValidated { block, verdict: Verdict::Valid { .. } } => {
                let forced = self.forced.clone().filter(|forced| forced.block == *block);
                if let Some(certificate) = forced.filter(|_| !self.committing) {
                    self.committing = true;
                    added.push(Effect::Commit { block: *block, certificate: Some(certificate) });
                }
            }
            _ => {}
        }
        let forced = self.forced.is_some();
        let mut effects = self.inner.handle(now, input);
        if forced {
            effects.retain(|effect| !matches!(effect, Effect::Commit { .. }));
        }
        self.committing |= effects.iter().any(|effect| matches!(effect, Effect::Commit { .. }));
        match self.bug {
            Bug::EvidenceIgnored => effects.retain(|effect| !matches!(effect, Effect::Evidence(_))),
            Bug::StaleProposal => {
                for effect in &mut effects {
                    if let Effect::BuildProposal { time, .. } = effect {
                        *time = self.parent_time;
                    }
                }
            }
            Bug::QuorumOfHalf => {
                let own: Vec<Vec<u8>> = effects
                    .iter()
                    .filter_map(|effect| match effect {
                        Effect::Publish(Announcement::Message { bytes }) => Some(bytes.clone()),
                        _ => None,
                    })
                    .collect();
                for bytes in own {
                    if let Some(certificate) = self.count(&bytes) {
                        self.force(certificate, &mut added);
                    }
                }
            }
            _ => {}
        }
        effects.append(&mut added);
        effects
    }

    fn lengths(&self) -> EngineLengths {
        self.inner.lengths()
    }
}

/// An executor with a mistake.
pub(crate) struct FaultyExecutor {
    pub(crate) inner: Arc<dyn Executor>,
    pub(crate) bug: Bug,
    /// The node's time of day, in milliseconds.
    pub(crate) clock: Arc<AtomicU64>,
}

impl FaultyExecutor {
    fn is_overlooked(&self, transaction: &VerifiedTransaction) -> bool {
        self.bug == Bug::LostTransaction && transaction.body().sender.as_bytes()[0].is_multiple_of(3)
    }

    /// Executes what may be executed and makes up receipts of the rest.
    fn execute_all(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        transactions: &[VerifiedTransaction],
    ) -> Result<ExecutedBlock, ExecutionFault> {
        let mut executed = self.inner.execute_block(state, context, transactions, Policy::LeaveOut)?;
        let known = std::mem::take(&mut executed.receipts);
        let mut known = executed.included.iter().copied().zip(known).collect::<BTreeMap<usize, Receipt>>();
        let receipt = |(position, transaction): (usize, &VerifiedTransaction)| {
            known.remove(&position).unwrap_or_else(|| Receipt {
                transaction: transaction.id(),
                outcome: Outcome::Succeeded { outputs: Vec::new() },
                gas_used: Gas::ZERO,
                fee: Amount::ZERO,
                events: Vec::new(),
            })
        };
        executed.receipts = transactions.iter().enumerate().map(receipt).collect();
        executed.included = (0..transactions.len()).collect();
        executed.rejected.clear();
        Ok(executed)
    }
}

impl Executor for FaultyExecutor {
    fn genesis(&self, genesis: &Genesis) -> Result<Changes, ExecutionFault> {
        self.inner.genesis(genesis)
    }

    fn execute_block(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        transactions: &[VerifiedTransaction],
        policy: Policy,
    ) -> Result<ExecutedBlock, ExecutionFault> {
        if self.bug == Bug::SkippedValidity && policy == Policy::Refuse {
            return self.execute_all(state, context, transactions);
        }
        let positions: Vec<usize> = match policy {
            Policy::LeaveOut => {
                (0..transactions.len()).filter(|at| !self.is_overlooked(&transactions[*at])).collect()
            }
            Policy::Refuse => (0..transactions.len()).collect(),
        };
        let taken: Vec<VerifiedTransaction> = positions.iter().map(|at| transactions[*at].clone()).collect();
        let mut executed = self.inner.execute_block(state, context, &taken, policy)?;
        executed.included.iter_mut().for_each(|at| *at = positions[*at]);
        executed.rejected.iter_mut().for_each(|one| one.position = positions[one.position]);
        if self.bug == Bug::ClockInState {
            let now = self.clock.load(Ordering::Relaxed).to_le_bytes().to_vec();
            executed.changes.insert(StateKey::module("clock"), Some(now));
        }
        Ok(executed)
    }

    fn check_admission(
        &self,
        state: &dyn StateReader,
        context: &BlockContext,
        transaction: &VerifiedTransaction,
    ) -> Result<Result<(), InclusionError>, ExecutionFault> {
        self.inner.check_admission(state, context, transaction)
    }

    fn query(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        request: &QueryRequest,
    ) -> Result<CallReport, ExecutionFault> {
        self.inner.query(state, context, request)
    }

    fn simulate(
        &self,
        state: Arc<dyn StateReader>,
        context: &BlockContext,
        transaction: &TransactionBody,
    ) -> Result<(Receipt, Option<String>), ExecutionFault> {
        self.inner.simulate(state, context, transaction)
    }
}
