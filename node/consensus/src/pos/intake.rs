//! Takes messages of peers: checks them, remembers who signed what, and passes on what belongs to this height.

use purlin_primitives::ChainId;
use std::cmp::Ordering;

use super::evidence::{Look, ROUNDS_AHEAD_MAX, Signed};
use super::inspect::proposal_fault;
use super::message::Message;
use super::tendermint::Step;
use super::{Mode, PosEngine};
use crate::port::Effect;

impl PosEngine {
    pub(super) fn message(&mut self, from: &[u8], bytes: &[u8]) {
        match Message::decode(bytes) {
            Ok(Message::Vote(vote)) => self.signed_message(Some(from), Signed::Vote(vote)),
            Ok(Message::Proposal(proposal)) => self.signed_message(Some(from), Signed::Proposal(proposal)),
            Ok(Message::Polka(certificate)) => {
                if certificate.height == self.height() && self.decided.is_none() {
                    self.feed(&Step::Polka(certificate), Some(from));
                }
            }
            Ok(Message::Round(certificate)) => {
                if certificate.height == self.height() && self.decided.is_none() {
                    self.feed_round_certificate(&certificate, from);
                }
            }
            Err(error) => self.blame(Some(from), error.to_string()),
        }
    }

    /// Takes a vote or proposal; `from` is `None` for one that was kept until its height came.
    pub(super) fn signed_message(&mut self, from: Option<&[u8]>, signed: Signed) {
        let chain_id = chain_of(&signed);
        if *chain_id != self.chain_id {
            return self.blame(from, format!("a message of chain {chain_id}"));
        }
        // What this node signed it has; what somebody else signed with its key is not counted as its opinion.
        if self.own_key().as_ref() == Some(signed.public_key()) || self.head.is_none() {
            return;
        }
        match signed.height().cmp(&self.height()) {
            Ordering::Less => {
                if self.evidence.look(&signed) == Look::New {
                    self.check_and_remember(from, &signed);
                }
            }
            Ordering::Equal if self.held.is_none() => self.current_message(from, signed),
            Ordering::Equal | Ordering::Greater => {
                let key = signed.public_key();
                if self.validators.get(key).is_none() || !self.early.has_room(self.height(), &signed) {
                    return;
                }
                if signed.is_valid() {
                    self.early.keep(signed);
                } else {
                    let reason = wrong_signature(&signed);
                    self.blame(from, reason);
                }
            }
        }
    }

    fn current_message(&mut self, from: Option<&[u8]>, signed: Signed) {
        let Mode::Rounds(rounds) = &self.mode else { return };
        if self.validators.get(signed.public_key()).is_none() {
            return self.blame(from, format!("{} is no validator", signed.public_key()));
        }
        if signed.round() > rounds.round().saturating_add(ROUNDS_AHEAD_MAX) {
            return;
        }
        if let Signed::Proposal(proposal) = &signed
            && let Some(reason) = proposal_fault(proposal, &self.validators)
        {
            return self.blame(from, reason);
        }
        // Seen ones are passed on too: it may have been seen in a certificate, or its block may still be missing.
        if self.evidence.look(&signed) != Look::Seen && !self.check_and_remember(from, &signed) {
            return;
        }
        if self.decided.is_some() {
            return;
        }
        match signed {
            Signed::Vote(vote) => self.feed(&Step::Vote(vote), from),
            Signed::Proposal(proposal) => self.proposal(proposal, from),
        }
    }

    /// Checks a signature; says whether it is valid.
    fn check_and_remember(&mut self, from: Option<&[u8]>, signed: &Signed) -> bool {
        let valid = signed.is_valid();
        if valid {
            self.remember(signed.clone());
        } else {
            self.blame(from, wrong_signature(signed));
        }
        valid
    }

    /// Keeps a signature that is valid, and reports it if it contradicts another one.
    pub(super) fn remember(&mut self, signed: Signed) {
        if let Some(found) = self.evidence.add(signed) {
            self.effects.push(Effect::Evidence(Box::new(found)));
        }
    }

    pub(super) fn blame(&mut self, from: Option<&[u8]>, reason: String) {
        if let Some(from) = from {
            self.effects.push(Effect::Blame { peer: from.to_vec(), reason });
        }
    }
}

fn chain_of(signed: &Signed) -> &ChainId {
    match signed {
        Signed::Vote(signed) => &signed.vote.chain_id,
        Signed::Proposal(signed) => &signed.proposal.chain_id,
    }
}

fn wrong_signature(signed: &Signed) -> String {
    format!("the signature of {} is not valid", signed.public_key())
}
