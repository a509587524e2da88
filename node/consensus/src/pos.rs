//! Proof of stake: validators vote in rounds, and a block that two thirds of the power precommitted is final.

mod config;
mod early;
mod evidence;
mod inspect;
mod intake;
mod message;
mod record;
mod rounds;
mod tendermint;

use purlin_primitives::{
    BlockId, Certificate, ChainId, Equivocation, Height, PublicKey, SignedVote, TimestampMs, ValidatorSet,
};
use std::sync::Arc;

pub use self::config::{PosConfig, TIMEOUT_MS_MAX};
pub use self::evidence::ROUNDS_AHEAD_MAX;
pub use self::inspect::{PeerMessage, SignedAt};
pub use self::message::MESSAGE_BYTES_MAX;

use self::early::EarlyMessages;
use self::evidence::{EvidencePool, Signed};
use self::record::{Entry, Record};
use self::rounds::Rounds;
use crate::port::{
    Announcement, ConsensusEngine, Effect, EngineLengths, Head, Input, Notice, Proposal, Verdict, VoteSigner,
};
use crate::solo::SoloCore;

/// The Tendermint algorithm (E. Buchman, J. Kwon, Z. Milosevic, The latest gossip on BFT consensus, 2018): safe while
/// validators with less than a third of the power misbehave, live while more than two thirds are honest and reach
/// each other.
///
/// What is agreed on is the block's id; its body travels beside. A height goes: the proposer of the round builds a
/// block and proposes it, everybody validates and prevotes it, precommits it after two thirds prevoted it, and
/// commits it after two thirds precommitted it. What fails in time is tried again in the next round, by the next
/// proposer. When nothing waits in the pool, the proposer waits [`PosConfig::idle_ms`] before it proposes an empty
/// block.
///
/// When this node is the only validator, it decides alone by the rules of [`crate::SoloEngine`], until the set of
/// validators changes.
pub struct PosEngine {
    config: PosConfig,
    chain_id: ChainId,
    signer: Option<Box<dyn VoteSigner>>,
    /// `None` before [`Input::Started`].
    head: Option<Head>,
    /// Who decides the height after the head.
    validators: Arc<ValidatorSet>,
    mode: Mode,
    held: Option<Held>,
    /// The block of the height after the head, once it is known to be final.
    decided: Option<Decided>,
    evidence: EvidencePool,
    early: EarlyMessages,
    /// Whether transactions wait.
    waiting: bool,
    /// Whether the next block is wanted even when it is empty.
    anchor_wanted: bool,
    /// Whether a build is under way in rounds.
    building: bool,
    /// Whether the clock was already reported as behind.
    clock_reported: bool,
    halted: bool,
    /// Effects of the input being handled.
    effects: Vec<Effect>,
}

/// How far the time of a block may be ahead of this machine's clock for it to be voted for, in milliseconds. What
/// others decided is taken all the same: this clock may be the wrong one.
const AHEAD_MS_MAX: u64 = 5_000;

/// An engine that may not sign yet.
#[derive(Debug, Default)]
struct Held {
    /// What was recorded before a crash of the height after the head.
    entries: Vec<Entry>,
    /// It may sign above this height.
    until: Option<Height>,
}

/// How the height after the head is decided.
enum Mode {
    /// Not started.
    Idle,
    /// By this node alone.
    Solo(SoloCore),
    /// By votes, this node's or only those of others.
    Rounds(Box<Rounds>),
}

/// How a decision became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// By votes that arrived here.
    Rounds,
    /// By a certificate from a peer.
    Fetched,
}

#[derive(Debug)]
struct Decided {
    certificate: Certificate,
    origin: Origin,
    /// Whether the commit was asked for; before that the block is being validated.
    committing: bool,
}

impl PosEngine {
    /// Makes an engine for a validator, or for a node that may become one; it acts after [`Input::Started`].
    pub fn new(config: PosConfig, chain_id: ChainId, signer: Box<dyn VoteSigner>) -> Self {
        Self::with(config, chain_id, Some(signer))
    }

    /// Makes an engine for a node without a key: it follows the decisions of others and never votes.
    pub fn follower(config: PosConfig, chain_id: ChainId) -> Self {
        Self::with(config, chain_id, None)
    }

    fn with(config: PosConfig, chain_id: ChainId, signer: Option<Box<dyn VoteSigner>>) -> Self {
        Self {
            config,
            chain_id,
            signer,
            head: None,
            validators: Arc::default(),
            mode: Mode::Idle,
            held: None,
            decided: None,
            evidence: EvidencePool::default(),
            early: EarlyMessages::default(),
            waiting: false,
            anchor_wanted: false,
            building: false,
            clock_reported: false,
            halted: false,
            effects: Vec::new(),
        }
    }

    /// Makes it silent until [`Input::SigningAllowed`], unless it decides alone. It follows the decisions of others
    /// meanwhile.
    #[must_use]
    pub fn held(self) -> Self {
        Self { held: Some(Held::default()), ..self }
    }

    /// Signs from now on, where it is above a height.
    fn allow_signing(&mut self, above: Height) {
        let height = self.height();
        let Some(held) = &mut self.held else { return };
        held.until = Some(above);
        // A height that is decided is left by its commit.
        if height > above && matches!(self.mode, Mode::Idle) && self.decided.is_none() {
            let entries = std::mem::take(&mut held.entries);
            self.held = None;
            self.begin(&entries, None);
        }
    }

    /// Returns the height being decided.
    fn height(&self) -> Height {
        self.head.map_or(Height::ZERO, |head| head.height.next())
    }

    fn own_key(&self) -> Option<PublicKey> {
        self.signer.as_ref().map(|signer| signer.public_key())
    }

    /// Says whether this node is the one validator of a set.
    fn decides_alone(&self, validators: &ValidatorSet) -> bool {
        let [only] = validators.validators() else { return false };
        self.own_key() == Some(only.public_key)
    }

    fn halt(&mut self, reason: String) {
        self.effects.push(Effect::Halt { reason });
    }

    fn report(&mut self, notice: Notice) {
        self.effects.push(Effect::Report(notice));
    }

    fn started(&mut self, now: TimestampMs, head: Head, records: &[Vec<u8>], validators: Arc<ValidatorSet>) {
        let mut entries = Vec::new();
        for bytes in records {
            match Record::decode(bytes) {
                Ok(record) if record.height == head.height.next() => entries.push(record.entry),
                // Forgotten too late: its height is decided.
                Ok(_) => {}
                Err(detail) => {
                    return self.halt(format!(
                        "a record of votes cannot be read ({detail}), and voting without it is not safe; start the \
                         version that wrote it, and stop it when another block was committed"
                    ));
                }
            }
        }
        self.enter(now, head, validators, &entries, None);
    }

    /// Starts to decide the height after `head`.
    fn enter(
        &mut self,
        now: TimestampMs,
        head: Head,
        validators: Arc<ValidatorSet>,
        entries: &[Entry],
        interval_ms: Option<u64>,
    ) {
        let height = head.height.next();
        self.head = Some(head);
        self.validators = Arc::clone(&validators);
        self.decided = None;
        self.anchor_wanted = false;
        self.evidence.open(height, Arc::clone(&validators));
        if validators.validators().is_empty() {
            return self.halt(format!("height {height} has no validators"));
        }
        if self.decides_alone(&validators) {
            let mut core = SoloCore::take_over(
                self.config.solo(),
                head,
                std::mem::take(&mut self.building),
                self.waiting,
            );
            core.wake(now, &mut self.effects);
            self.mode = Mode::Solo(core);
            return;
        }
        if let Some(held) = &mut self.held {
            if held.until.is_none_or(|until| height <= until) {
                held.entries = entries.to_vec();
                self.mode = Mode::Idle;
                return;
            }
            self.held = None;
        }
        self.begin(entries, interval_ms);
    }

    /// Begins the rounds of the height after the head.
    fn begin(&mut self, entries: &[Entry], interval_ms: Option<u64>) {
        let height = self.height();
        self.start_rounds(height, Arc::clone(&self.validators), entries, interval_ms);
        for signed in self.early.take(height) {
            self.signed_message(None, signed);
        }
    }

    /// Takes a block that is final, and commits it as soon as it is known to be executed here.
    fn decide(&mut self, certificate: Certificate, origin: Origin) {
        if let Some(decided) = &self.decided {
            if decided.certificate.block != certificate.block {
                let (one, other, height) = (decided.certificate.block, certificate.block, certificate.height);
                self.halt(format!(
                    "blocks {one} and {other} are both certified at height {height}: a third of the validators' power \
                     signed both; the validators must agree which one counts"
                ));
            }
            return;
        }
        let (block, height) = (certificate.block, certificate.height);
        let committing = match &mut self.mode {
            Mode::Rounds(rounds) => {
                rounds.stop(&mut self.effects);
                rounds.is_executed(&block)
            }
            Mode::Solo(_) | Mode::Idle => false,
        };
        self.effects.push(if committing {
            Effect::Commit { block, certificate: Some(certificate.clone()) }
        } else {
            Effect::ValidateBlock { block, height }
        });
        self.decided = Some(Decided { certificate, origin, committing });
    }

    fn validated(&mut self, now: TimestampMs, block: BlockId, verdict: Verdict) {
        match &mut self.decided {
            Some(decided) if decided.certificate.block == block => {
                if decided.committing {
                    return;
                }
                match verdict {
                    Verdict::Valid { .. } => {
                        decided.committing = true;
                        let certificate = Some(decided.certificate.clone());
                        self.effects.push(Effect::Commit { block, certificate });
                    }
                    Verdict::Invalid { reason } => self.halt(format!(
                        "block {block} is final by the validators' signatures and invalid here: {reason}; this node \
                         runs another version, or its data is damaged"
                    )),
                }
            }
            // What is no longer wanted.
            Some(_) => {}
            None => self.validated_in_rounds(now, block, verdict),
        }
    }

    fn certified(
        &mut self,
        header: &purlin_primitives::BlockHeader,
        certificate: Certificate,
        from: Vec<u8>,
    ) {
        if certificate.height != self.height() {
            return;
        }
        if !certificate.is_for(header) {
            let reason = "the certificate is for another block".to_owned();
            return self.effects.push(Effect::Blame { peer: from, reason });
        }
        if let Err(error) = certificate.verify(&self.chain_id, &self.validators) {
            return self.effects.push(Effect::Blame { peer: from, reason: error.to_string() });
        }
        // Whoever cut this node off and told it otherwise is convicted by what it told the others.
        let (vote, own_key) = (certificate.vote(&self.chain_id), self.own_key());
        for signed in certificate.signatures.iter().filter(|signed| Some(signed.public_key) != own_key) {
            let (public_key, signature) = (signed.public_key, signed.signature);
            self.remember(Signed::Vote(SignedVote { vote: vote.clone(), public_key, signature }));
        }
        // A block of its own is on the way; if it is another one, signing it will be refused.
        if let Mode::Solo(core) = &self.mode
            && !core.is_at_rest()
        {
            return;
        }
        self.decide(certificate, Origin::Fetched);
    }

    fn committed(&mut self, now: TimestampMs, input: Input) {
        let Input::Committed { head, header, validators } = input else { return };
        let alone = self.decides_alone(&validators);
        match (&mut self.mode, self.decided.take(), &mut self.signer) {
            (Mode::Solo(core), None, Some(signer)) => {
                if alone {
                    self.head = Some(head);
                    self.validators = Arc::clone(&validators);
                    self.evidence.open(head.height.next(), Arc::clone(&validators));
                    let input = Input::Committed { head, header, validators };
                    let effects = core.handle(now, input, &mut **signer);
                    return self.effects.extend(effects);
                }
                core.certify(&header, head.id, &mut **signer, &mut self.effects);
                self.building = core.is_building();
                self.waiting = core.has_waiting();
            }
            (Mode::Rounds(rounds), decided, _) => {
                let found = rounds.take_evidence();
                if let Some(Decided { certificate, origin: Origin::Rounds, .. }) = decided {
                    self.effects.push(Effect::Publish(Announcement::Certified { certificate }));
                }
                self.report_evidence(found);
            }
            _ => {}
        }
        let interval_ms = Some(self.config.interval_ms_min);
        self.enter(now, head, validators, &[], interval_ms);
    }

    fn report_evidence(&mut self, found: Vec<Equivocation>) {
        for found in found {
            if let Some(found) = self.evidence.report(found) {
                self.effects.push(Effect::Evidence(Box::new(found)));
            }
        }
    }

    /// Hands an input to the rules for one validator.
    fn solo(&mut self, now: TimestampMs, input: Input) {
        if let (Mode::Solo(core), Some(signer), None) = (&mut self.mode, &mut self.signer, &self.decided) {
            let effects = core.handle(now, input, &mut **signer);
            self.effects.extend(effects);
        }
    }

    fn built(&mut self, now: TimestampMs, proposal: Proposal, more_waiting: bool) {
        self.waiting = more_waiting;
        if matches!(self.mode, Mode::Solo(_)) {
            self.solo(now, Input::ProposalBuilt { proposal, more_waiting });
        } else {
            self.building = false;
            self.built_in_rounds(&proposal);
        }
    }

    fn dispatch(&mut self, now: TimestampMs, input: Input) {
        match input {
            Input::Started { head, uncertified, validators, records } => {
                // Only a block that was decided alone is stored before it is signed.
                if let (Some(header), Some(signer)) = (uncertified, &mut self.signer) {
                    let mut core = SoloCore::new(self.config.solo());
                    core.certify(&header, head.id, &mut **signer, &mut self.effects);
                }
                self.started(now, head, &records, validators);
            }
            Input::TransactionsWaiting => {
                self.waiting = true;
                self.solo(now, Input::TransactionsWaiting);
            }
            Input::AnchorWanted => {
                self.anchor_wanted = true;
                self.solo(now, Input::AnchorWanted);
            }
            Input::ProposalBuilt { proposal, more_waiting } => self.built(now, proposal, more_waiting),
            Input::ProposalSkipped { height, more_waiting } => {
                self.building = false;
                self.waiting = more_waiting;
                self.solo(now, Input::ProposalSkipped { height, more_waiting });
            }
            Input::BlockValidated { block, verdict } => self.validated(now, block, verdict),
            Input::Committed { .. } => self.committed(now, input),
            Input::Certified { header, certificate, from } => self.certified(&header, certificate, from),
            Input::TimerElapsed { timer } => {
                self.solo(now, Input::TimerElapsed { timer });
                self.timer_in_rounds(timer);
            }
            Input::Message { from, bytes } => self.message(&from, &bytes),
            Input::SigningAllowed { above } => self.allow_signing(above),
            // Told to another engine only.
            Input::Pow(_) => {}
        }
    }
}

impl std::fmt::Debug for PosEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PosEngine")
            .field("head", &self.head)
            .field("decided", &self.decided)
            .field("building", &self.building)
            .field("halted", &self.halted)
            .finish_non_exhaustive()
    }
}

impl ConsensusEngine for PosEngine {
    fn name(&self) -> &'static str {
        "pos"
    }

    fn handle(&mut self, now: TimestampMs, input: Input) -> Vec<Effect> {
        if self.halted {
            return Vec::new();
        }
        self.dispatch(now, input);
        self.propose_in_rounds(now);
        if let Some(halt) = self.effects.iter().position(|effect| matches!(effect, Effect::Halt { .. })) {
            self.halted = true;
            self.effects.truncate(halt + 1);
        }
        std::mem::take(&mut self.effects)
    }

    fn lengths(&self) -> EngineLengths {
        let held = match &self.mode {
            Mode::Rounds(rounds) => rounds.held(),
            Mode::Solo(_) | Mode::Idle => 0,
        };
        EngineLengths { early: self.early.len(), evidence: self.evidence.len(), held }
    }
}

#[cfg(test)]
mod tests;
