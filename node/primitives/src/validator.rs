//! Who may decide, and the certificate that enough of them did.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_abi::{AccountId, Height};

use crate::{BlockHeader, BlockId, ChainId, PublicKey, Signature, SignedVote, Vote, VoteKind};

/// One of those who decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Validator {
    /// Its signing key.
    pub public_key: PublicKey,
    /// Its account: who proposes and is rewarded.
    pub account: AccountId,
    /// Its weight; at least 1.
    pub power: u64,
}

/// Largest sum of powers: sums and thrice the sums fit into 64 bits.
pub const TOTAL_POWER_MAX: u64 = u64::MAX / 8;
/// Most validators of a chain.
pub const VALIDATORS_MAX: usize = 256;

/// Those who decide at one height, in ascending order of public key.
#[derive(Debug, Clone, PartialEq, Eq, Default, BorshSerialize)]
pub struct ValidatorSet(Vec<Validator>);

/// Says why validators are no set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValidatorSetError {
    /// More than [`VALIDATORS_MAX`].
    #[error("{count} validators; at most {VALIDATORS_MAX} are allowed")]
    TooMany {
        /// Found.
        count: usize,
    },
    /// One key twice.
    #[error("validator {public_key} is listed twice")]
    Twice {
        /// Which.
        public_key: PublicKey,
    },
    /// Bytes that are no point of the curve.
    #[error("validator {public_key} is no public key: its bytes are no point of secp256k1")]
    NoKey {
        /// Which.
        public_key: PublicKey,
    },
    /// No weight.
    #[error("validator {public_key} has no power")]
    NoPower {
        /// Which.
        public_key: PublicKey,
    },
    /// More than [`TOTAL_POWER_MAX`] together.
    #[error("the validators have more than {TOTAL_POWER_MAX} power together")]
    TooMuchPower,
}

impl ValidatorSet {
    /// Sorts and checks.
    pub fn new(mut validators: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        if validators.len() > VALIDATORS_MAX {
            return Err(ValidatorSetError::TooMany { count: validators.len() });
        }
        validators.sort_by_key(|validator| validator.public_key);
        let mut total = 0u64;
        for (position, validator) in validators.iter().enumerate() {
            let public_key = validator.public_key;
            if position > 0 && validators[position - 1].public_key == public_key {
                return Err(ValidatorSetError::Twice { public_key });
            }
            if validator.power == 0 {
                return Err(ValidatorSetError::NoPower { public_key });
            }
            total = total.saturating_add(validator.power);
        }
        if total > TOTAL_POWER_MAX {
            return Err(ValidatorSetError::TooMuchPower);
        }
        Ok(Self(validators))
    }

    /// Returns the validators in ascending order of public key.
    pub fn validators(&self) -> &[Validator] {
        &self.0
    }

    /// Returns the sum of all powers.
    pub fn total_power(&self) -> u64 {
        self.0.iter().map(|validator| validator.power).sum()
    }

    /// Finds a validator.
    pub fn get(&self, public_key: &PublicKey) -> Option<&Validator> {
        let found = self.0.binary_search_by_key(public_key, |validator| validator.public_key);
        found.ok().map(|position| &self.0[position])
    }

    /// Says whether `power` is more than two thirds.
    pub fn is_quorum(&self, power: u64) -> bool {
        power.saturating_mul(3) > self.total_power().saturating_mul(2)
    }

    /// Returns who proposes at a height and round; `None` when the set is empty.
    ///
    /// Turn `height + round` points at `total * frac(turn * (sqrt(5) - 1) / 2)` on the line of all powers: a Weyl
    /// sequence, which gives everybody turns in proportion to power and spreads them evenly, with no memory of
    /// earlier turns (H. Niederreiter, Random Number Generation and Quasi-Monte Carlo Methods, 1992, ch. 3).
    pub fn proposer(&self, height: Height, round: u32) -> Option<&Validator> {
        /// 2^64 times the golden ratio's fraction.
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let turn = height.get().wrapping_add(u64::from(round));
        let fraction = turn.wrapping_mul(STEP);
        let mut point = ((u128::from(fraction) * u128::from(self.total_power())) >> 64) as u64;
        self.0.iter().find(|validator| {
            let here = point < validator.power;
            point = point.saturating_sub(validator.power);
            here
        })
    }
}

impl BorshDeserialize for ValidatorSet {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let validators = Vec::<Validator>::deserialize_reader(reader)?;
        let sorted = validators.is_sorted_by(|a, b| a.public_key < b.public_key);
        let set = Self::new(validators);
        let fault = |text: String| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, text);
        if !sorted {
            return Err(fault("validators are not in ascending order".to_owned()));
        }
        set.map_err(|error| fault(error.to_string()))
    }
}

/// One validator's signature of a block: of its precommit.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BlockSignature {
    /// Whose.
    pub public_key: PublicKey,
    /// Of [`Certificate::vote`].
    pub signature: Signature,
}

impl From<SignedVote> for BlockSignature {
    fn from(signed: SignedVote) -> Self {
        Self { public_key: signed.public_key, signature: signed.signature }
    }
}

/// Shows that enough validators precommitted a block in one round; kept beside the block, not in it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certificate {
    /// Which block.
    pub block: BlockId,
    /// Its height.
    pub height: Height,
    /// The round in which they precommitted.
    pub round: u32,
    /// In ascending order of public key.
    pub signatures: Vec<BlockSignature>,
}

/// Says why a certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not in order, or one twice.
    #[error("the certificate's signatures are not in ascending order of public key")]
    Unsorted,
    /// Too many to look at.
    #[error("the certificate has {count} signatures; at most {VALIDATORS_MAX} are allowed")]
    TooMany {
        /// Found.
        count: usize,
    },
    /// A signature is wrong.
    #[error("the signature of {public_key} is not valid for this block")]
    BadSignature {
        /// Whose it claims to be.
        public_key: PublicKey,
    },
    /// By somebody else.
    #[error("{public_key} signed the certificate and is not a validator at this height")]
    NotValidator {
        /// Who.
        public_key: PublicKey,
    },
    /// Not enough.
    #[error("the certificate's signatures have {signed} of {total} power; more than two thirds are needed")]
    NoQuorum {
        /// Power that signed.
        signed: u64,
        /// Power of all.
        total: u64,
    },
}

impl Certificate {
    /// Returns what every signature signs.
    pub fn vote(&self, chain_id: &ChainId) -> Vote {
        Vote {
            chain_id: chain_id.clone(),
            height: self.height,
            round: self.round,
            kind: VoteKind::Precommit,
            block: Some(self.block),
        }
    }

    /// Says whether it speaks of this block.
    pub fn is_for(&self, header: &BlockHeader) -> bool {
        self.height == header.height && self.block == header.id()
    }

    /// Checks order and every signature, not whose they are.
    pub fn verify_signatures(&self, chain_id: &ChainId) -> Result<(), CertificateError> {
        self.check_order()?;
        let digest = self.vote(chain_id).signing_hash();
        let wrong = self
            .signatures
            .iter()
            .find(|signed| signed.public_key.verify_digest(&digest, &signed.signature).is_none());
        match wrong {
            Some(signed) => Err(CertificateError::BadSignature { public_key: signed.public_key }),
            None => Ok(()),
        }
    }

    /// Checks that nobody signed twice, so that powers can be added.
    fn check_order(&self) -> Result<(), CertificateError> {
        let count = self.signatures.len();
        if count > VALIDATORS_MAX {
            return Err(CertificateError::TooMany { count });
        }
        if !self.signatures.is_sorted_by(|a, b| a.public_key < b.public_key) {
            return Err(CertificateError::Unsorted);
        }
        Ok(())
    }

    /// Checks that validators with more than two thirds of the power signed. About 55 us per signature.
    pub fn verify(&self, chain_id: &ChainId, validators: &ValidatorSet) -> Result<(), CertificateError> {
        self.check_order()?;
        let mut signed_power = 0;
        for signed in &self.signatures {
            let public_key = signed.public_key;
            let validator =
                validators.get(&public_key).ok_or(CertificateError::NotValidator { public_key })?;
            signed_power += validator.power;
        }
        if !validators.is_quorum(signed_power) {
            let total = validators.total_power();
            return Err(CertificateError::NoQuorum { signed: signed_power, total });
        }
        self.verify_signatures(chain_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;
    use std::collections::BTreeMap;

    fn set(powers: &[u64]) -> (Vec<SecretKey>, ValidatorSet) {
        let keys: Vec<SecretKey> =
            (1..=powers.len()).map(|n| SecretKey::from_bytes(&[n as u8; 32]).unwrap()).collect();
        let validator = |(key, power): (&SecretKey, &u64)| Validator {
            public_key: key.public_key(),
            account: key.public_key().account_id(),
            power: *power,
        };
        let set = ValidatorSet::new(keys.iter().zip(powers).map(validator).collect()).unwrap();
        (keys, set)
    }

    #[test]
    fn turns_are_in_proportion_to_power_and_spread() {
        let (keys, validators) = set(&[1, 2, 5]);
        let mut turns = BTreeMap::new();
        for height in 1..=8_000 {
            *turns.entry(validators.proposer(Height::new(height), 0).unwrap().public_key).or_insert(0u32) +=
                1;
        }
        for (key, share) in keys.iter().zip([1_000u32, 2_000, 5_000]) {
            assert!(turns[&key.public_key()].abs_diff(share) <= 8, "{turns:?}");
        }
        // Equal powers: nobody fails twice in a row.
        let (_, validators) = set(&[7; 4]);
        for round in 0..1_000 {
            let at = |round| validators.proposer(Height::new(5), round).unwrap().public_key;
            assert_ne!(at(round), at(round + 1));
        }
    }

    #[test]
    fn a_certificate_needs_more_than_two_thirds() {
        let (keys, validators) = set(&[1; 4]);
        let chain_id: ChainId = "test".parse().unwrap();
        let mut certificate =
            Certificate { block: BlockId::ZERO, height: Height::new(3), round: 1, signatures: Vec::new() };
        let vote = certificate.vote(&chain_id);
        let mut all: Vec<BlockSignature> =
            keys.iter().map(|key| key.sign_vote(vote.clone()).into()).collect();
        all.sort_by_key(|signed| signed.public_key);
        certificate.signatures = all[..2].to_vec();
        assert!(matches!(
            certificate.verify(&chain_id, &validators),
            Err(CertificateError::NoQuorum { signed: 2, total: 4 })
        ));
        certificate.signatures = all[..3].to_vec();
        certificate.verify(&chain_id, &validators).unwrap();
        let twice = vec![all[0].clone(), all[0].clone(), all[1].clone()];
        assert_eq!(
            Certificate { signatures: twice, ..certificate.clone() }.verify(&chain_id, &validators),
            Err(CertificateError::Unsorted)
        );
        // A precommit of another round is no signature of this one.
        let error = Certificate { round: 0, ..certificate }.verify(&chain_id, &validators).unwrap_err();
        assert!(matches!(error, CertificateError::BadSignature { .. }));
    }
}
