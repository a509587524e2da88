//! Looks at a message without an engine, to decide whether it is passed on.

use purlin_primitives::{
    BlockId, ChainId, Height, PublicKey, SignedProposal, SignedVote, ValidatorSet, VoteKind,
};

use super::message::{Message, RoundReason};
use super::tendermint::{Need, certificate_fault};

/// A message of the engine as a peer sent it. Nothing of it is checked but its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerMessage(Message);

/// One signature of a [`PeerMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedAt {
    /// Whose.
    pub public_key: PublicKey,
    /// Height that it is about.
    pub height: Height,
    /// Round that it is about.
    pub round: u32,
    /// Of which vote; `None` for a proposal.
    pub kind: Option<VoteKind>,
}

impl PeerMessage {
    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong, for people: no honest node sends such bytes on.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let message = Message::decode(bytes).map_err(|error| error.to_string())?;
        let signatures = match &message {
            Message::Vote(_) | Message::Proposal(_) => 1,
            Message::Polka(certificate) => certificate.signatures.len(),
            Message::Round(certificate) => certificate.votes.len(),
        };
        if signatures == 0 { Err("a certificate without votes".to_owned()) } else { Ok(Self(message)) }
    }

    /// Returns the height that it is about.
    pub fn height(&self) -> Height {
        match &self.0 {
            Message::Vote(signed) => signed.vote.height,
            Message::Proposal(signed) => signed.proposal.height,
            Message::Polka(certificate) => certificate.height,
            Message::Round(certificate) => certificate.height,
        }
    }

    /// Returns the round of a single vote or proposal. Of certificates none: they show that others are there.
    pub fn lone_round(&self) -> Option<u32> {
        match &self.0 {
            Message::Vote(signed) => Some(signed.vote.round),
            Message::Proposal(signed) => Some(signed.proposal.round),
            Message::Polka(_) | Message::Round(_) => None,
        }
    }

    /// Returns the block that it proposes.
    pub fn proposed(&self) -> Option<BlockId> {
        match &self.0 {
            Message::Proposal(signed) => Some(signed.proposal.block),
            _ => None,
        }
    }

    /// Returns where each of its signatures stands.
    pub fn signatures(&self) -> Vec<SignedAt> {
        let at = |public_key, round, kind| SignedAt { public_key, height: self.height(), round, kind };
        match &self.0 {
            Message::Vote(one) => vec![at(one.public_key, one.vote.round, Some(one.vote.kind))],
            Message::Proposal(one) => vec![at(one.public_key, one.proposal.round, None)],
            Message::Polka(certificate) => {
                let keys = certificate.signatures.iter().map(|one| one.public_key);
                keys.map(|key| at(key, certificate.round, Some(VoteKind::Prevote))).collect()
            }
            Message::Round(certificate) => {
                let votes = certificate.votes.iter();
                votes.map(|one| at(one.public_key, certificate.round, Some(one.kind))).collect()
            }
        }
    }

    /// Checks that those who signed it may have done so and are enough, by `validators`, which should be those of its
    /// height. Looks at no signature. Whatever [`crate::PosEngine`] would blame somebody for at once is refused here,
    /// so that nobody is blamed for passing it on.
    ///
    /// # Errors
    /// What is wrong, for people: no honest node sends such bytes on.
    pub fn check(&self, chain_id: &ChainId, validators: &ValidatorSet) -> Result<(), String> {
        if let Some(stranger) = self.signatures().iter().find(|one| validators.get(&one.public_key).is_none())
        {
            return Err(format!("{} is no validator of its height", stranger.public_key));
        }
        let fault = match &self.0 {
            Message::Vote(_) => None,
            Message::Proposal(signed) => proposal_fault(signed, validators),
            Message::Polka(certificate) => {
                let votes: Vec<SignedVote> = certificate.votes(chain_id).collect();
                certificate_fault(&votes, Need::Prevotes, validators)
            }
            Message::Round(certificate) => {
                let votes: Vec<SignedVote> = certificate.votes(chain_id).collect();
                let need = match certificate.reason {
                    RoundReason::Skip => Need::Third,
                    RoundReason::Precommit => Need::Precommits,
                };
                certificate_fault(&votes, need, validators)
            }
        };
        fault.map_or(Ok(()), Err)
    }

    /// Checks its chain and its signatures, about 60 us for each of them.
    ///
    /// # Errors
    /// What is wrong, for people: no honest node sends such bytes on.
    pub fn verify(&self, chain_id: &ChainId) -> Result<(), String> {
        let votes: Vec<SignedVote> = match &self.0 {
            Message::Vote(signed) => vec![signed.clone()],
            Message::Polka(certificate) => certificate.votes(chain_id).collect(),
            Message::Round(certificate) => certificate.votes(chain_id).collect(),
            Message::Proposal(signed) => {
                if signed.proposal.chain_id != *chain_id {
                    return Err(format!("a proposal for chain {}", signed.proposal.chain_id));
                }
                return signed.verify().map(drop).ok_or_else(|| "a proposal with a wrong signature".into());
            }
        };
        for signed in &votes {
            if signed.vote.chain_id != *chain_id {
                return Err(format!("a vote for chain {}", signed.vote.chain_id));
            }
            signed.verify().ok_or("a vote with a wrong signature")?;
        }
        Ok(())
    }
}

/// Says what is wrong with a proposal by whoever signed it.
pub(super) fn proposal_fault(signed: &SignedProposal, validators: &ValidatorSet) -> Option<String> {
    let (round, valid_round) = (signed.proposal.round, signed.proposal.valid_round);
    let turn = validators.proposer(signed.proposal.height, round);
    if turn.map(|validator| validator.public_key) != Some(signed.public_key) {
        return Some(format!("round {round} is not the turn of {}", signed.public_key));
    }
    let later = valid_round.is_some_and(|valid| valid >= round);
    later.then(|| format!("a proposal of round {round} that was valid later"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_primitives::{BlockProposal, Hash32, SecretKey, Validator, Vote};

    use crate::pos::message::PolkaCertificate;

    #[test]
    fn only_what_holds_is_passed_on() {
        let key = SecretKey::from_bytes(&[1; 32]).unwrap();
        let public_key = key.public_key();
        let chain_id: ChainId = "test".parse().unwrap();
        let one = Validator { public_key, account: public_key.account_id(), power: 1 };
        let validators = ValidatorSet::new(vec![one]).unwrap();
        let (height, round, kind) = (Height::new(3), 0, VoteKind::Prevote);
        let vote = Vote { chain_id: chain_id.clone(), height, round, kind, block: None };
        let good = Message::Vote(key.sign_vote(vote.clone())).encode();
        let seen = PeerMessage::decode(&good).unwrap();
        assert_eq!(seen.check(&chain_id, &validators), Ok(()));
        assert_eq!((seen.height(), seen.proposed()), (height, None));
        assert_eq!(seen.signatures(), [SignedAt { public_key, height, round, kind: Some(kind) }]);
        assert_eq!(seen.verify(&chain_id), Ok(()));
        let stranger = SecretKey::from_bytes(&[2; 32]).unwrap();
        let foreign = Message::Vote(stranger.sign_vote(vote.clone())).encode();
        assert!(PeerMessage::decode(&foreign).unwrap().check(&chain_id, &validators).is_err());
        let other_chain = "other".parse().unwrap();
        assert!(seen.verify(&other_chain).is_err());
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            let seen = PeerMessage::decode(&bytes);
            assert!(seen.and_then(|seen| seen.verify(&chain_id)).is_err(), "byte {at}");
        }
    }

    /// Nodes passed on what their own engines blame somebody for: one validator could have all others ban each other.
    #[test]
    fn what_an_engine_would_blame_is_not_passed_on() {
        let keys: Vec<SecretKey> =
            (1..=4).map(|number| SecretKey::from_bytes(&[number; 32]).unwrap()).collect();
        let mut all: Vec<Validator> = keys
            .iter()
            .map(SecretKey::public_key)
            .map(|public_key| Validator { public_key, account: public_key.account_id(), power: 1 })
            .collect();
        all.sort_by_key(|one| one.public_key);
        let validators = ValidatorSet::new(all).unwrap();
        let chain_id: ChainId = "test".parse().unwrap();
        let (height, block) = (Height::new(3), BlockId::new(Hash32::new([9; 32])));
        let check =
            |message: Message| PeerMessage::decode(&message.encode()).unwrap().check(&chain_id, &validators);

        let turn = validators.proposer(height, 0).unwrap().public_key;
        for key in &keys {
            for valid_round in [None, Some(0)] {
                let chain_id = chain_id.clone();
                let proposal = BlockProposal { chain_id, height, round: 0, block, valid_round };
                let good = key.public_key() == turn && valid_round.is_none();
                let checked = check(Message::Proposal(key.sign_proposal(proposal)));
                assert_eq!(checked.is_ok(), good, "{checked:?}");
            }
        }
        let polka = |signers: &[usize]| {
            let signed = signers.iter().map(|at| {
                let vote = Vote {
                    chain_id: chain_id.clone(),
                    height,
                    round: 0,
                    kind: VoteKind::Prevote,
                    block: Some(block),
                };
                keys[*at].sign_vote(vote).into()
            });
            check(Message::Polka(PolkaCertificate { height, round: 0, block, signatures: signed.collect() }))
        };
        assert_eq!(polka(&[0, 1, 2]), Ok(()));
        for too_few in [&[0][..], &[0, 1], &[0, 0, 0], &[0, 1, 1]] {
            assert!(polka(too_few).is_err(), "{too_few:?}");
        }
    }
}
