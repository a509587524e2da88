//! Looks at a message without an engine, to decide whether it is passed on.

use purlin_primitives::{ChainId, Height, SignedVote, ValidatorSet};

use super::message::Message;

/// A message whose signatures hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspected {
    /// Height that it is about.
    pub height: Height,
    /// Whether all who signed it are among the validators asked about. Those of another height may be others.
    pub by_validators: bool,
}

/// Checks that bytes are a message of the engine and that its signatures hold, about 60 us for each of them.
///
/// # Errors
/// What is wrong, for people: no honest node sends such bytes on.
pub fn inspect_message(
    bytes: &[u8],
    chain_id: &ChainId,
    validators: &ValidatorSet,
) -> Result<Inspected, String> {
    let message = Message::decode(bytes).map_err(|error| error.to_string())?;
    let (height, votes): (Height, Vec<SignedVote>) = match message {
        Message::Vote(signed) => (signed.vote.height, vec![signed]),
        Message::Polka(certificate) => (certificate.height, certificate.votes(chain_id).collect()),
        Message::Round(certificate) => (certificate.height, certificate.votes(chain_id).collect()),
        Message::Proposal(signed) => {
            if signed.proposal.chain_id != *chain_id {
                return Err(format!("a proposal for chain {}", signed.proposal.chain_id));
            }
            signed.verify().ok_or("a proposal with a wrong signature")?;
            let by_validators = validators.get(&signed.public_key).is_some();
            return Ok(Inspected { height: signed.proposal.height, by_validators });
        }
    };
    if votes.is_empty() {
        return Err("a certificate without votes".to_owned());
    }
    for signed in &votes {
        if signed.vote.chain_id != *chain_id {
            return Err(format!("a vote for chain {}", signed.vote.chain_id));
        }
        signed.verify().ok_or("a vote with a wrong signature")?;
    }
    let by_validators = votes.iter().all(|signed| validators.get(&signed.public_key).is_some());
    Ok(Inspected { height, by_validators })
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_primitives::{SecretKey, Validator, Vote, VoteKind};

    #[test]
    fn only_what_holds_is_passed_on() {
        let key = SecretKey::from_bytes(&[1; 32]).unwrap();
        let public_key = key.public_key();
        let chain_id: ChainId = "test".parse().unwrap();
        let one = Validator { public_key, account: public_key.account_id(), power: 1 };
        let validators = ValidatorSet::new(vec![one]).unwrap();
        let vote = Vote {
            chain_id: chain_id.clone(),
            height: Height::new(3),
            round: 0,
            kind: VoteKind::Prevote,
            block: None,
        };
        let good = Message::Vote(key.sign_vote(vote.clone())).encode();
        let seen = inspect_message(&good, &chain_id, &validators).unwrap();
        assert_eq!(seen, Inspected { height: Height::new(3), by_validators: true });
        let stranger = SecretKey::from_bytes(&[2; 32]).unwrap();
        let foreign = Message::Vote(stranger.sign_vote(vote.clone())).encode();
        assert!(!inspect_message(&foreign, &chain_id, &validators).unwrap().by_validators);
        let other_chain = "other".parse().unwrap();
        assert!(inspect_message(&good, &other_chain, &validators).is_err());
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert!(inspect_message(&bytes, &chain_id, &validators).is_err(), "byte {at}");
        }
    }
}
