//! The types that the algorithm is generic over, made of ours.

use arc_malachitebft_core_types as types;
use purlin_primitives::{BlockId, ChainId, PublicKey, Signature};
use std::fmt;
use std::sync::Arc;
use types::{NilOrVal, Round};

/// Names our types, and says whose turn it is.
#[derive(Clone, Debug)]
pub(super) struct Purlin {
    pub(super) chain_id: ChainId,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Height(pub(super) u64);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl types::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

/// A validator's key. `None` is the node without a key, which is no validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address(pub(super) Option<PublicKey>);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => key.fmt(f),
            None => f.write_str("nobody"),
        }
    }
}

impl types::Address for Address {}

/// The value to agree on: the block's id alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Value(pub(super) BlockId);

impl types::Value for Value {
    type Id = BlockId;

    fn id(&self) -> BlockId {
        self.0
    }
}

/// A signature, or `None` when the signer refused: never valid, so it is neither counted nor sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MaybeSigned(pub(super) Option<Signature>);

impl PartialOrd for MaybeSigned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MaybeSigned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let bytes = |signed: &Self| signed.0.map(|signature| *signature.as_bytes());
        bytes(self).cmp(&bytes(other))
    }
}

/// Names key and signature types; nothing is encoded or signed through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scheme;

impl types::SigningScheme for Scheme {
    type DecodingError = String;
    type Signature = MaybeSigned;
    type PublicKey = PublicKey;
    type PrivateKey = ();

    fn decode_signature(bytes: &[u8]) -> Result<MaybeSigned, String> {
        let array = bytes.try_into().map_err(|_| "a signature has 64 bytes".to_owned())?;
        Ok(MaybeSigned(Some(Signature::new(array))))
    }

    fn encode_signature(signature: &MaybeSigned) -> Vec<u8> {
        signature.0.map(|signature| signature.as_bytes().to_vec()).unwrap_or_default()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<PublicKey, String> {
        PublicKey::from_bytes(bytes).map_err(|error| error.to_string())
    }

    fn encode_public_key(public_key: &PublicKey) -> Vec<u8> {
        public_key.as_bytes().to_vec()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validator {
    address: Address,
    public_key: PublicKey,
    power: u64,
}

impl types::Validator<Purlin> for Validator {
    fn address(&self) -> &Address {
        &self.address
    }

    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn voting_power(&self) -> u64 {
        self.power
    }
}

/// Our set, and its members in the form that references can be given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    pub(super) set: Arc<purlin_primitives::ValidatorSet>,
    members: Arc<[Validator]>,
}

impl Validators {
    pub(super) fn new(set: Arc<purlin_primitives::ValidatorSet>) -> Self {
        let members = set.validators().iter().map(|validator| Validator {
            address: Address(Some(validator.public_key)),
            public_key: validator.public_key,
            power: validator.power,
        });
        Self { members: members.collect(), set }
    }

    fn get(&self, key: &PublicKey) -> Option<&Validator> {
        let found = self.members.binary_search_by_key(key, |member| member.public_key);
        found.ok().map(|position| &self.members[position])
    }
}

impl types::ValidatorSet<Purlin> for Validators {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn total_voting_power(&self) -> u64 {
        self.set.total_power()
    }

    fn get_by_address(&self, address: &Address) -> Option<&Validator> {
        self.get(address.0.as_ref()?)
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.members.get(index)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CoreVote {
    pub(super) height: Height,
    pub(super) round: Round,
    pub(super) kind: types::VoteType,
    pub(super) value: NilOrVal<BlockId>,
    pub(super) address: Address,
}

impl types::Vote<Purlin> for CoreVote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<BlockId> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<BlockId> {
        self.value
    }

    fn vote_type(&self) -> types::VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Address {
        &self.address
    }

    fn extension(&self) -> Option<&types::SignedExtension<Purlin>> {
        None
    }

    fn take_extension(&mut self) -> Option<types::SignedExtension<Purlin>> {
        None
    }

    fn extend(self, _extension: types::SignedExtension<Purlin>) -> Self {
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CoreProposal {
    pub(super) height: Height,
    pub(super) round: Round,
    pub(super) value: Value,
    pub(super) pol_round: Round,
    pub(super) address: Address,
}

impl types::Proposal<Purlin> for CoreProposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &Value {
        &self.value
    }

    fn take_value(self) -> Value {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.pol_round
    }

    fn validator_address(&self) -> &Address {
        &self.address
    }
}

/// Bodies travel beside the algorithm, so it sees no parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NoPart;

impl types::ProposalPart<Purlin> for NoPart {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

impl types::Context for Purlin {
    type Address = Address;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = CoreProposal;
    type Validator = Validator;
    type ValidatorSet = Validators;
    type Timeouts = types::LinearTimeouts;
    type Value = Value;
    type Vote = CoreVote;
    type Extension = ();
    type SigningScheme = Scheme;

    fn select_proposer<'a>(&self, set: &'a Validators, height: Height, round: Round) -> &'a Validator {
        let height = purlin_primitives::Height::new(height.0);
        let turn = set.set.proposer(height, round.as_u32().unwrap_or(0)).expect("the set is not empty");
        set.get(&turn.public_key).expect("the proposer is one of the set")
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: Value,
        pol_round: Round,
        address: Address,
    ) -> CoreProposal {
        CoreProposal { height, round, value, pol_round, address }
    }

    fn new_prevote(
        &self,
        height: Height,
        round: Round,
        value: NilOrVal<BlockId>,
        address: Address,
    ) -> CoreVote {
        CoreVote { height, round, kind: types::VoteType::Prevote, value, address }
    }

    fn new_precommit(
        &self,
        height: Height,
        round: Round,
        value: NilOrVal<BlockId>,
        address: Address,
    ) -> CoreVote {
        CoreVote { height, round, kind: types::VoteType::Precommit, value, address }
    }
}
