//! Looks at a message without an engine, to decide whether it is passed on.

use purlin_primitives::{BlockId, ChainId, Height, PublicKey, SignedVote, ValidatorSet, VoteKind};

use super::message::Message;

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

    /// Says whether all who signed it are among `validators`, which should be those of its height.
    pub fn is_by(&self, validators: &ValidatorSet) -> bool {
        self.signatures().iter().all(|one| validators.get(&one.public_key).is_some())
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

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_primitives::{SecretKey, Validator, Vote};

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
        assert!(seen.is_by(&validators));
        assert_eq!((seen.height(), seen.proposed()), (height, None));
        assert_eq!(seen.signatures(), [SignedAt { public_key, height, round, kind: Some(kind) }]);
        assert_eq!(seen.verify(&chain_id), Ok(()));
        let stranger = SecretKey::from_bytes(&[2; 32]).unwrap();
        let foreign = Message::Vote(stranger.sign_vote(vote.clone())).encode();
        assert!(!PeerMessage::decode(&foreign).unwrap().is_by(&validators));
        let other_chain = "other".parse().unwrap();
        assert!(seen.verify(&other_chain).is_err());
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            let seen = PeerMessage::decode(&bytes);
            assert!(seen.and_then(|seen| seen.verify(&chain_id)).is_err(), "byte {at}");
        }
    }
}
