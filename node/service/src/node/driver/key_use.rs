//! Notices when the validator's key is used elsewhere, and says when this node may sign.

use purlin_consensus::{Input, PeerMessage, TimerId};
use purlin_primitives::{BlockHeader, Certificate, Height, PublicKey};
use purlin_state::KeyValueStore;
use std::time::Duration;

use super::{Driver, Halt, Now};
use crate::sign_state::SignStep;

/// Ends the two times below.
pub(super) const WATCH: TimerId = TimerId(u32::MAX);
/// How long a validator whose record of signatures is incomplete collects what peers have of them. They are asked in
/// turn, every two seconds.
const COLLECT: Duration = Duration::from_secs(6);
/// How long it then listens for new ones. Longer than a height takes to decide: who has the key signs meanwhile.
const LISTEN: Duration = Duration::from_secs(10);

/// Where a signature stands among all of a key.
type Position = (Height, u32, SignStep);

/// What is known of the use of this node's key by others.
#[derive(Debug, Default)]
pub(super) struct KeyUse {
    /// The last signature of the key that is not on record here.
    elsewhere: Option<Position>,
    phase: Phase,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Catching up; nothing is signed.
    #[default]
    Behind,
    /// Asking what the key signed.
    Collecting,
    /// Waiting whether it signs more.
    Listening,
    /// Signing.
    Signing,
}

impl<S: KeyValueStore> Driver<S> {
    /// Notices a signature of this node's key in a certificate. On a block made since this node started, another node
    /// uses the key. On an older one the record of what was signed is incomplete.
    pub(super) fn check_own_signature(
        &mut self,
        header: &BlockHeader,
        certificate: &Certificate,
    ) -> Result<(), Halt> {
        let Some((key, _)) = self.parts.signing else { return Ok(()) };
        if !certificate.signatures.iter().any(|signature| signature.public_key == key) {
            return Ok(());
        }
        let position = (certificate.height, certificate.round, SignStep::Precommit);
        let live = self.started.is_some_and(|started| header.time > started);
        self.seen(key, position, live)
    }

    /// Notices votes of this node's key that it did not give, of heights to come.
    pub(super) fn check_own_votes(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        let Some((key, _)) = self.parts.signing else { return Ok(()) };
        // What cannot be read is blamed on its sender by the engine.
        let Ok(message) = PeerMessage::decode(bytes) else { return Ok(()) };
        for own in message.signatures().iter().filter(|one| one.public_key == key) {
            let step = own.kind.map_or(SignStep::Proposal, SignStep::from);
            if own.height > self.entered {
                self.seen(key, (own.height, own.round, step), false)?;
            }
        }
        Ok(())
    }

    /// Takes a signature of the key; `live` says that it was made while this node ran.
    fn seen(&mut self, key: PublicKey, position: Position, live: bool) -> Result<(), Halt> {
        let on_record = self.parts.signing.as_ref().map(|(_, signed)| signed.lock().position());
        if Some(position) <= on_record || Some(position) <= self.key_use.elsewhere {
            return Ok(());
        }
        let (height, round, step) = position;
        if live || matches!(self.key_use.phase, Phase::Listening | Phase::Signing) {
            return Err(Halt(format!(
                "there is a {step} of height {height} in round {round} by this validator's key {key} that this node did \
                 not give: another node uses the key; stop one of them before both sign different blocks and lose their \
                 stake"
            )));
        }
        if self.key_use.elsewhere.is_none() {
            tracing::warn!(
                %key, %height,
                "this validator's key signed what is not on record here: the folder is older than the last signature, or \
                 another node uses the key; staying silent for {} s after catching up, to see",
                (COLLECT + LISTEN).as_secs()
            );
        }
        self.key_use.elsewhere = Some(position);
        Ok(())
    }

    /// This node is where the chain is: it signs, unless its key may be in use elsewhere.
    pub(super) fn caught_up(&mut self, now: Now) -> Result<(), Halt> {
        if self.key_use.phase == Phase::Behind {
            if self.key_use.elsewhere.is_some() {
                self.key_use.phase = Phase::Collecting;
                self.timers.insert(WATCH, now.elapsed + COLLECT);
            } else {
                self.sign_from_now();
            }
        }
        Ok(())
    }

    /// A time of watching is over.
    pub(super) fn watched(&mut self, now: Now) {
        if self.key_use.phase == Phase::Collecting {
            self.key_use.phase = Phase::Listening;
            self.timers.insert(WATCH, now.elapsed + LISTEN);
        } else {
            self.sign_from_now();
        }
    }

    fn sign_from_now(&mut self) {
        self.key_use.phase = Phase::Signing;
        let above = self.key_use.elsewhere.map_or(Height::ZERO, |(height, ..)| height);
        if self.parts.signing.is_some() {
            tracing::info!(%above, "caught up: this validator signs from now on");
        }
        self.inputs.push_back(Input::SigningAllowed { above });
    }
}
