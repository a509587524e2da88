//! What is known to be final, and what must hold of it at every step.

use purlin_chain::Chain;
use purlin_modules::accounts::{self, AccountRecord};
use purlin_modules::staking;
use purlin_primitives::{
    AccountId, BlockId, Certificate, Genesis, Hash32, Height, PublicKey, SignedProposal, SignedVote,
    TransactionId, ValidatorSet, hash_domain,
};
use purlin_state::{KeyValueStore, Order, StateKey, StatePrefix, StateReader};
use std::collections::{BTreeMap, BTreeSet};

/// Says which rule does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, detail: impl Into<String>) -> Self {
        Self { invariant, detail: detail.into() }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

pub(crate) type Checked = Result<(), Violation>;

/// More accounts and validators than any run has.
const ENTRIES_MAX: usize = 10_000;
/// How far back old state is read, in blocks.
const LOOK_BACK: u64 = 3;

/// Position of a signature: key, height, round, and 0 for a proposal or the kind of the vote.
type Place = (PublicKey, Height, u32, u8);

/// The one history that all honest nodes share.
pub(crate) struct Ledger {
    genesis: Genesis,
    genesis_id: BlockId,
    /// Of heights from 1.
    blocks: Vec<BlockId>,
    included: BTreeMap<TransactionId, (Height, u32)>,
    nonces: BTreeMap<AccountId, u64>,
    sets: BTreeMap<Height, ValidatorSet>,
    certificates: BTreeSet<Hash32>,
    /// State and receipts root, and digest of accounts and validators, after a height.
    states: BTreeMap<Height, (Hash32, Hash32, Hash32)>,
    supply: u128,
    signed: BTreeMap<Place, Hash32>,
}

impl Ledger {
    pub(crate) fn new(genesis: Genesis) -> Self {
        let balances: u128 = genesis.accounts.iter().map(|account| account.balance.get()).sum();
        let stake: u128 = genesis.validators.iter().map(|validator| u128::from(validator.power)).sum();
        Self {
            genesis_id: genesis.id(),
            genesis,
            blocks: Vec::new(),
            included: BTreeMap::new(),
            nonces: BTreeMap::new(),
            sets: BTreeMap::new(),
            certificates: BTreeSet::new(),
            states: BTreeMap::new(),
            supply: balances + stake,
            signed: BTreeMap::new(),
        }
    }

    /// Returns the highest final height that anybody has.
    pub(crate) fn height(&self) -> Height {
        Height::new(self.blocks.len() as u64)
    }

    pub(crate) fn transactions(&self) -> usize {
        self.included.len()
    }

    /// Returns where a transaction is.
    pub(crate) fn place(&self, id: &TransactionId) -> Option<(Height, u32)> {
        self.included.get(id).copied()
    }

    /// Returns the next nonce of an account by all that is final.
    pub(crate) fn nonce(&self, account: &AccountId) -> u64 {
        self.nonces.get(account).copied().unwrap_or_default()
    }

    /// Returns the id of a final block.
    pub(crate) fn block(&self, height: Height) -> Option<BlockId> {
        let index = height.get().checked_sub(1)?;
        self.blocks.get(index as usize).copied()
    }

    /// Looks at a block that a node reports as final.
    pub(crate) fn observe<S: KeyValueStore>(
        &mut self,
        node: usize,
        chain: &Chain<S>,
        height: Height,
    ) -> Checked {
        let failed = |error: purlin_state::StoreError| Violation::new("storage", error.to_string());
        let header = chain.header(height).map_err(failed)?;
        let Some(header) = header else {
            return Err(Violation::new(
                "durability",
                format!("node {node} reports block {height} and has none"),
            ));
        };
        let id = header.id();
        match self.block(height) {
            Some(known) if known != id => {
                let detail = format!("at height {height} node {node} has {id}, others have {known}");
                return Err(Violation::new("agreement", detail));
            }
            Some(_) => {}
            None => {
                let Some(block) = chain.block(height).map_err(failed)? else {
                    return Err(Violation::new("durability", format!("node {node} has no body of {height}")));
                };
                let parent = self.blocks.last().copied().unwrap_or(self.genesis_id);
                if height != self.height().next() || header.parent != parent {
                    let detail = format!("block {height} of node {node} does not follow on {parent}");
                    return Err(Violation::new("validity", detail));
                }
                let set = staking::validators_at(&mut &*chain.state(), height).map_err(failed)?;
                self.sets.insert(height, set);
                self.blocks.push(id);
                for (index, transaction) in (0..).zip(&block.transactions) {
                    self.include(height, index, transaction)?;
                }
            }
        }
        let certificate = chain.certificate(height).map_err(failed)?;
        let Some(certificate) = certificate.filter(|certificate| certificate.is_for(&header)) else {
            return Err(Violation::new(
                "validity",
                format!("node {node} has no certificate of block {height}"),
            ));
        };
        self.check_certificate(node, &certificate)?;
        self.check_state(node, chain)
    }

    fn include(&mut self, height: Height, index: u32, one: &purlin_primitives::Transaction) -> Checked {
        let id = one.body.id();
        if let Some((before, _)) = self.included.insert(id, (height, index)) {
            let detail = format!("transaction {id} is in block {before} and in block {height}");
            return Err(Violation::new("exactly once", detail));
        }
        let next = self.nonces.entry(one.body.sender).or_default();
        if one.body.nonce != *next {
            let detail =
                format!("nonce {} of {} in block {height}; {next} is next", one.body.nonce, one.body.sender);
            return Err(Violation::new("nonces", detail));
        }
        *next += 1;
        Ok(())
    }

    fn check_certificate(&mut self, node: usize, certificate: &Certificate) -> Checked {
        let bytes = borsh::to_vec(certificate).expect("writing to memory cannot fail");
        if !self.certificates.insert(hash_domain("simulation", &bytes)) {
            return Ok(());
        }
        let set = &self.sets[&certificate.height];
        certificate.verify(&self.genesis.chain_id, set).map_err(|error| {
            Violation::new(
                "validity",
                format!("certificate of block {} at node {node}: {error}", certificate.height),
            )
        })
    }

    /// Compares roots between nodes, adds up what there is, and reads an older state.
    fn check_state<S: KeyValueStore>(&mut self, node: usize, chain: &Chain<S>) -> Checked {
        let (state, head) = chain.state_and_head();
        match self.states.get(&head.height) {
            Some((state_root, receipts_root, _)) => {
                if (*state_root, *receipts_root) != (head.state_root, head.receipts_root) {
                    let detail = format!(
                        "after block {} node {node} has root {}, others {state_root}",
                        head.height, head.state_root
                    );
                    return Err(Violation::new("equal roots", detail));
                }
            }
            None => {
                let digest = self.add_up(&*state, head.height)?;
                self.states.insert(head.height, (head.state_root, head.receipts_root, digest));
            }
        }
        let Some(older) =
            head.height.checked_sub(Height::new(LOOK_BACK)).filter(|_| head.height.get() % 4 == 0)
        else {
            return Ok(());
        };
        let Some((_, _, digest)) = self.states.get(&older) else { return Ok(()) };
        let read = chain.state_at(older).map_err(|error| error.to_string());
        let read = read.and_then(|state| digest_of(&*state).map_err(|error| error.to_string()));
        match read {
            Ok(found) if found == *digest => Ok(()),
            Ok(_) => {
                let detail = format!(
                    "node {node} at {} reads another state of height {older} than it had",
                    head.height
                );
                Err(Violation::new("history", detail))
            }
            Err(error) => {
                Err(Violation::new("history", format!("node {node} cannot read height {older}: {error}")))
            }
        }
    }

    /// Checks that nothing appeared or vanished but rewards and what was slashed.
    fn add_up(&mut self, state: &dyn StateReader, height: Height) -> Result<Hash32, Violation> {
        let failed = |error: purlin_state::StoreError| Violation::new("storage", error.to_string());
        let mut sum = 0u128;
        for (_, value) in entries(state, StatePrefix::Account).map_err(failed)? {
            let record: AccountRecord = borsh::from_slice(&value)
                .map_err(|error| Violation::new("storage", format!("an account: {error}")))?;
            sum += record.balance.get();
        }
        let mut slashed = false;
        for record in staking::list(&mut &*state, None, ENTRIES_MAX).map_err(failed)? {
            sum += record.stake.get() + record.unbonding_total().get();
            slashed |= record.status == staking::ValidatorStatus::Tombstoned;
        }
        let supply = accounts::supply(&mut &*state).map_err(failed)?.get();
        let purlin_primitives::ConsensusRules::Pos(rules) = &self.genesis.parameters.consensus else {
            return Err(Violation::new("supply", "the chain has no stake"));
        };
        let minted = rules.block_reward.get() * u128::from(height.get());
        let expected = self.supply + minted;
        if sum != supply || supply > expected || (supply < expected && !slashed) {
            let detail =
                format!("after block {height} there are {sum}, recorded are {supply}, {expected} were made");
            return Err(Violation::new("supply", detail));
        }
        digest_of(state).map_err(failed)
    }

    /// Looks at what an honest node publishes: one signature per place.
    pub(crate) fn audit(&mut self, own: &PublicKey, bytes: &[u8]) -> Checked {
        let Some((signer, place, digest)) = signature(bytes).filter(|(signer, ..)| signer == own) else {
            return Ok(());
        };
        let before = *self.signed.entry(place).or_insert(digest);
        if before != digest {
            let (_, height, round, kind) = place;
            let what = ["proposal", "prevote", "precommit"].get(usize::from(kind)).unwrap_or(&"vote");
            let detail = format!("{signer} signed two {what}s of height {height} in round {round}");
            return Err(Violation::new("one signature", detail));
        }
        Ok(())
    }
}

/// Reads who signed what in a message of the engine; none for certificates, which repeat signatures.
pub(crate) fn signature(bytes: &[u8]) -> Option<(PublicKey, Place, Hash32)> {
    match bytes {
        [1, 1, body @ ..] => {
            let signed: SignedVote = borsh::from_slice(body).ok()?;
            let place = (signed.public_key, signed.vote.height, signed.vote.round, signed.vote.kind as u8);
            Some((signed.public_key, place, signed.vote.signing_hash()))
        }
        [1, 2, body @ ..] => {
            let signed: SignedProposal = borsh::from_slice(body).ok()?;
            let place = (signed.public_key, signed.proposal.height, signed.proposal.round, 0);
            Some((signed.public_key, place, signed.proposal.signing_hash()))
        }
        _ => None,
    }
}

fn entries(
    state: &dyn StateReader,
    prefix: StatePrefix,
) -> Result<Vec<purlin_state::Entry>, purlin_state::StoreError> {
    let from = [prefix as u8];
    state.scan(&from, &StateKey::end_of(&from), Order::Ascending, ENTRIES_MAX)
}

fn digest_of(state: &dyn StateReader) -> Result<Hash32, purlin_state::StoreError> {
    let mut all = entries(state, StatePrefix::Account)?;
    all.extend(entries(state, StatePrefix::Validator)?);
    all.extend(entries(state, StatePrefix::AppStorage)?);
    let bytes = borsh::to_vec(&all).expect("writing to memory cannot fail");
    Ok(hash_domain("simulation", &bytes))
}
