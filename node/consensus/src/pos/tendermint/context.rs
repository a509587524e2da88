//! The types that the algorithm is generic over, made of ours, and the way back.

use arc_malachitebft_core_consensus as malachite;
use arc_malachitebft_core_types as types;
use purlin_primitives::{
    BlockId, BlockProposal, BlockSignature, Certificate, ChainId, Equivocation, PublicKey, Signature,
    SignedProposal, SignedVote, Vote, VoteKind,
};
use std::fmt;
use std::sync::Arc;
use types::{NilOrVal, Round};

use crate::pos::message::{PolkaCertificate, RoundCertificate, RoundReason, RoundVote};

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
    height: Height,
    round: Round,
    kind: types::VoteType,
    value: NilOrVal<BlockId>,
    address: Address,
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
    height: Height,
    round: Round,
    value: Value,
    pol_round: Round,
    address: Address,
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

fn kind_of(kind: types::VoteType) -> VoteKind {
    match kind {
        types::VoteType::Prevote => VoteKind::Prevote,
        types::VoteType::Precommit => VoteKind::Precommit,
    }
}

fn block_of(value: NilOrVal<BlockId>) -> Option<BlockId> {
    match value {
        NilOrVal::Nil => None,
        NilOrVal::Val(block) => Some(block),
    }
}

fn our_height(height: Height) -> purlin_primitives::Height {
    purlin_primitives::Height::new(height.0)
}

/// The round of a message, which always has one.
pub(super) fn our_round(round: Round) -> u32 {
    round.as_u32().expect("messages are made in rounds")
}

impl Purlin {
    pub(super) fn vote(&self, vote: &CoreVote) -> Vote {
        Vote {
            chain_id: self.chain_id.clone(),
            height: our_height(vote.height),
            round: our_round(vote.round),
            kind: kind_of(vote.kind),
            block: block_of(vote.value),
        }
    }

    pub(super) fn proposal(&self, proposal: &CoreProposal) -> BlockProposal {
        BlockProposal {
            chain_id: self.chain_id.clone(),
            height: our_height(proposal.height),
            round: our_round(proposal.round),
            block: proposal.value.0,
            valid_round: proposal.pol_round.as_u32(),
        }
    }

    /// Returns `None` for what was not signed.
    pub(super) fn signed_vote(&self, signed: &types::SignedVote<Self>) -> Option<SignedVote> {
        let public_key = signed.message.address.0?;
        Some(SignedVote { vote: self.vote(&signed.message), public_key, signature: signed.signature.0? })
    }

    /// Returns `None` for what was not signed.
    pub(super) fn signed_proposal(&self, signed: &types::SignedProposal<Self>) -> Option<SignedProposal> {
        let public_key = signed.message.address.0?;
        let proposal = self.proposal(&signed.message);
        Some(SignedProposal { proposal, public_key, signature: signed.signature.0? })
    }

    /// Returns `None` when a signature is missing, which none in a certificate is.
    pub(super) fn polka(&self, certificate: &types::PolkaCertificate<Self>) -> Option<PolkaCertificate> {
        let signatures = certificate.polka_signatures.iter().map(|signed| {
            Some(BlockSignature { public_key: signed.address.0?, signature: signed.signature.0? })
        });
        let mut signatures: Vec<_> = signatures.collect::<Option<_>>()?;
        signatures.sort_by_key(|signed| signed.public_key);
        let (height, round) = (our_height(certificate.height), our_round(certificate.round));
        Some(PolkaCertificate { height, round, block: certificate.value_id, signatures })
    }

    /// Returns `None` when a signature is missing, which none in a certificate is.
    pub(super) fn round(&self, certificate: &types::RoundCertificate<Self>) -> Option<RoundCertificate> {
        let votes = certificate.round_signatures.iter().map(|signed| {
            Some(RoundVote {
                kind: kind_of(signed.vote_type),
                block: block_of(signed.value_id),
                public_key: signed.address.0?,
                signature: signed.signature.0?,
            })
        });
        let reason = match certificate.cert_type {
            types::RoundCertificateType::Skip => RoundReason::Skip,
            types::RoundCertificateType::Precommit => RoundReason::Precommit,
        };
        Some(RoundCertificate {
            height: our_height(certificate.height),
            round: our_round(certificate.round),
            reason,
            votes: votes.collect::<Option<_>>()?,
        })
    }

    /// Returns our certificate, sorted, without what was not signed.
    pub(super) fn certificate(&self, certificate: &types::CommitCertificate<Self>) -> Certificate {
        let signatures = certificate.commit_signatures.iter().filter_map(|signed| {
            Some(BlockSignature { public_key: signed.address.0?, signature: signed.signature.0? })
        });
        let mut signatures: Vec<_> = signatures.collect();
        signatures.sort_by_key(|signed| signed.public_key);
        Certificate {
            block: certificate.value_id,
            height: our_height(certificate.height),
            round: our_round(certificate.round),
            signatures,
        }
    }
}

impl Purlin {
    /// Returns the contradictions in the form that others can check.
    pub(super) fn equivocations(&self, found: &malachite::MisbehaviorEvidence<Self>) -> Vec<Equivocation> {
        let votes = found.votes.iter().flat_map(|(_, pairs)| pairs).filter_map(|(one, other)| {
            Some(Equivocation::votes(self.signed_vote(one)?, self.signed_vote(other)?))
        });
        let proposals = found.proposals.iter().flat_map(|(_, pairs)| pairs).filter_map(|(one, other)| {
            Some(Equivocation::proposals(self.signed_proposal(one)?, self.signed_proposal(other)?))
        });
        votes.chain(proposals).collect()
    }
}

fn core_value(block: Option<BlockId>) -> NilOrVal<BlockId> {
    block.map_or(NilOrVal::Nil, NilOrVal::Val)
}

pub(super) fn core_vote(signed: &SignedVote) -> types::SignedVote<Purlin> {
    let kind = match signed.vote.kind {
        VoteKind::Prevote => types::VoteType::Prevote,
        VoteKind::Precommit => types::VoteType::Precommit,
    };
    let vote = CoreVote {
        height: Height(signed.vote.height.get()),
        round: Round::new(signed.vote.round),
        kind,
        value: core_value(signed.vote.block),
        address: Address(Some(signed.public_key)),
    };
    types::SignedVote::new(vote, MaybeSigned(Some(signed.signature)))
}

pub(super) fn core_proposal(signed: &SignedProposal) -> types::SignedProposal<Purlin> {
    let proposal = CoreProposal {
        height: Height(signed.proposal.height.get()),
        round: Round::new(signed.proposal.round),
        value: Value(signed.proposal.block),
        pol_round: Round::from(signed.proposal.valid_round),
        address: Address(Some(signed.public_key)),
    };
    types::SignedProposal::new(proposal, MaybeSigned(Some(signed.signature)))
}

pub(super) fn core_polka(certificate: &PolkaCertificate) -> types::PolkaCertificate<Purlin> {
    let signature = |signed: &BlockSignature| {
        types::PolkaSignature::new(Address(Some(signed.public_key)), MaybeSigned(Some(signed.signature)))
    };
    types::PolkaCertificate {
        height: Height(certificate.height.get()),
        round: Round::new(certificate.round),
        value_id: certificate.block,
        polka_signatures: certificate.signatures.iter().map(signature).collect(),
    }
}

pub(super) fn core_round(certificate: &RoundCertificate) -> types::RoundCertificate<Purlin> {
    let signature = |voted: &RoundVote| {
        let kind = match voted.kind {
            VoteKind::Prevote => types::VoteType::Prevote,
            VoteKind::Precommit => types::VoteType::Precommit,
        };
        types::RoundSignature::new(
            kind,
            core_value(voted.block),
            Address(Some(voted.public_key)),
            MaybeSigned(Some(voted.signature)),
        )
    };
    types::RoundCertificate {
        height: Height(certificate.height.get()),
        round: Round::new(certificate.round),
        cert_type: match certificate.reason {
            RoundReason::Skip => types::RoundCertificateType::Skip,
            RoundReason::Precommit => types::RoundCertificateType::Precommit,
        },
        round_signatures: certificate.votes.iter().map(signature).collect(),
    }
}

/// Whether an error of the algorithm means that replaying the records led to another vote than the recorded one.
pub(super) fn is_divergence(error: &malachite::Error<Purlin>) -> bool {
    matches!(error, malachite::Error::ReplayDivergence(..))
}
