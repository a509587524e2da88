//! A chain of nothing but staking, and what must hold of it at any time.

use purlin_abi::GasSchedule;
use purlin_primitives::{
    AccountId, Action, Amount, BlockId, ChainId, ConsensusRules, Equivocation, FailureCode, Genesis,
    GenesisAccount, GenesisValidator, Height, Parameters, PosRules, PublicKey, Seal, SecretKey, TimestampMs,
    ValidatorSet, Vote, VoteKind,
};
use purlin_state::{StateKey, StatePrefix};
use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::*;
use crate::accounts::{self, AccountRecord, Accounts};
use crate::{MemoryState, StateAccess};

pub(super) const KEYS: usize = 6;
/// What everybody has beside the stake.
pub(super) const FUNDS: Amount = Amount::new(1_000);

pub(super) fn rules() -> PosRules {
    PosRules {
        epoch_blocks: 4,
        unbonding_epochs: 2,
        stake_min: Amount::new(20),
        stake_per_power: Amount::new(10),
        validators_max: 4,
        block_reward: Amount::ZERO,
        slash_equivocation_bp: 500,
        missed_turns_max: 2,
        jail_epochs: 2,
    }
}

pub(super) fn key(n: usize) -> &'static SecretKey {
    static ALL: OnceLock<Vec<SecretKey>> = OnceLock::new();
    &ALL.get_or_init(|| (1..=KEYS as u8).map(|n| SecretKey::from_bytes(&[n; 32]).unwrap()).collect())[n]
}

pub(super) fn public(n: usize) -> PublicKey {
    static ALL: OnceLock<Vec<PublicKey>> = OnceLock::new();
    ALL.get_or_init(|| (0..KEYS).map(|n| key(n).public_key()).collect())[n]
}

pub(super) fn account(n: usize) -> AccountId {
    static ALL: OnceLock<Vec<AccountId>> = OnceLock::new();
    ALL.get_or_init(|| (0..KEYS).map(|n| public(n).account_id()).collect())[n]
}

pub(super) fn chain_id() -> ChainId {
    "test".parse().unwrap()
}

pub(super) fn parameters(rules: PosRules) -> Parameters {
    Parameters { consensus: ConsensusRules::Pos(rules), ..Parameters::default() }
}

pub(super) fn genesis(powers: &[u64], rules: PosRules) -> Genesis {
    let validator = |(n, power): (usize, &u64)| GenesisValidator { public_key: public(n), power: *power };
    Genesis {
        chain_id: chain_id(),
        time: TimestampMs::ZERO,
        validators: powers.iter().enumerate().map(validator).collect(),
        accounts: (0..KEYS).map(|n| GenesisAccount { account: account(n), balance: FUNDS }).collect(),
        parameters: parameters(rules),
    }
}

/// Two precommits of one round for different blocks.
pub(super) fn equivocation(n: usize, height: u64) -> Equivocation {
    let sign = |block| {
        key(n).sign_vote(Vote {
            chain_id: chain_id(),
            height: Height::new(height),
            round: 0,
            kind: VoteKind::Precommit,
            block: Some(BlockId::new(purlin_primitives::Hash32::new([block; 32]))),
        })
    };
    Equivocation::votes(sign(1), sign(2))
}

pub(super) fn bond(n: usize, amount: u128) -> Action {
    Action::Bond { validator: public(n), amount: Amount::new(amount) }
}

pub(super) fn unbond(amount: u128) -> Action {
    Action::Unbond { amount: Amount::new(amount) }
}

pub(super) fn report(n: usize, height: u64) -> Action {
    Action::ReportEquivocation { evidence: equivocation(n, height) }
}

pub(super) struct TestChain {
    pub(super) state: MemoryState,
    pub(super) rules: PosRules,
    pub(super) parameters: Parameters,
    /// Of the block that is being made.
    pub(super) height: u64,
}

impl TestChain {
    pub(super) fn new(powers: &[u64], rules: PosRules) -> Self {
        let genesis = genesis(powers, rules.clone());
        let mut state = MemoryState::default();
        Accounts.genesis(&mut state, &genesis).unwrap();
        Staking.genesis(&mut state, &genesis).unwrap();
        let chain = Self { state, rules, parameters: genesis.parameters, height: 1 };
        chain.check();
        chain
    }

    /// Applies an action in a copy, as a checkpoint would: a failure leaves the state alone.
    pub(super) fn apply(&mut self, sender: usize, action: &Action) -> Result<(), (FailureCode, String)> {
        assert!(Staking.price(&GasSchedule::V1, action).is_some());
        let context = ModuleContext {
            chain_id: &chain_id(),
            parameters: &self.parameters,
            sender: account(sender),
            height: Height::new(self.height),
            time: TimestampMs::ZERO,
        };
        let mut copy = self.state.clone();
        match Staking.apply(&mut copy, &context, action) {
            Ok(()) => {
                self.state = copy;
                self.check();
                Ok(())
            }
            Err(error) => {
                let failure = error.into_failure().unwrap();
                Err((failure.code, failure.message))
            }
        }
    }

    pub(super) fn good(&mut self, sender: usize, action: &Action) {
        self.apply(sender, action).unwrap();
    }

    /// Applies what must fail with a code and a text.
    pub(super) fn bad(&mut self, sender: usize, action: &Action, code: FailureCode, text: &str) {
        let before = self.state.clone();
        let (found, message) = self.apply(sender, action).unwrap_err();
        assert_eq!(found, code, "{message}");
        assert!(message.contains(text), "{message}");
        assert_eq!(self.state, before);
    }

    /// Ends the block, proposed in `round` by whose turn it is.
    pub(super) fn end(&mut self, round: u32) {
        let height = Height::new(self.height);
        let proposer = self.deciding(self.height).proposer(height, round).unwrap().account;
        let (time, seal) = (TimestampMs::ZERO, Seal::Pos { round });
        let end = BlockEnd { height, time, proposer, seal, parameters: &self.parameters };
        Staking.end_block(&mut self.state, &end).unwrap();
        self.height += 1;
        self.check();
    }

    /// Ends blocks until `height` is the one being made.
    pub(super) fn run_to(&mut self, height: u64) {
        while self.height < height {
            self.end(0);
        }
    }

    pub(super) fn deciding(&mut self, height: u64) -> ValidatorSet {
        validators_at(&mut self.state, Height::new(height)).unwrap()
    }

    /// Returns the validators at a height by number and power.
    pub(super) fn powers_at(&mut self, height: u64) -> Vec<(usize, u64)> {
        let set = self.deciding(height);
        (0..KEYS).filter_map(|n| set.get(&public(n)).map(|found| (n, found.power))).collect()
    }

    pub(super) fn record(&mut self, n: usize) -> Option<ValidatorRecord> {
        validator(&mut self.state, &account(n)).unwrap()
    }

    pub(super) fn stake(&mut self, n: usize) -> u128 {
        self.record(n).map_or(0, |record| record.stake.get())
    }

    pub(super) fn balance(&mut self, n: usize) -> u128 {
        accounts::account(&mut self.state, &account(n)).unwrap().balance.get()
    }

    pub(super) fn supply(&mut self) -> u128 {
        accounts::supply(&mut self.state).unwrap().get()
    }

    fn entries<T: borsh::BorshDeserialize>(&self, prefix: StatePrefix) -> Vec<(Vec<u8>, T)> {
        let own = self.state.entries().iter().filter(|(key, _)| key[0] == prefix as u8);
        own.map(|(key, value)| (key.clone(), borsh::from_slice(value).unwrap())).collect()
    }

    pub(super) fn sets(&self) -> Vec<(u64, ValidatorSet)> {
        let height = |key: &[u8]| u64::from_be_bytes(key[1..].try_into().unwrap());
        let sets = self.entries(StatePrefix::ValidatorSet);
        sets.into_iter().map(|(key, set)| (height(&key), set)).collect()
    }

    /// Checks what must hold between any two steps.
    fn check(&self) {
        let records: Vec<(Vec<u8>, ValidatorRecord)> = self.entries(StatePrefix::Validator);
        let accounts: Vec<(Vec<u8>, AccountRecord)> = self.entries(StatePrefix::Account);
        let mut sum: u128 = accounts.iter().map(|(_, record)| record.balance.get()).sum();
        let mut queue = BTreeSet::new();
        let mut order = BTreeSet::new();
        for (key, record) in &records {
            assert_eq!(*key, StateKey::validator(&record.account));
            assert_eq!(record.public_key.account_id(), record.account);
            sum += record.stake.get() + record.unbonding_total().get();
            if record.status == ValidatorStatus::Active {
                assert!(record.stake == Amount::ZERO || record.stake >= self.rules.stake_min, "{record:?}");
            }
            if record.is_candidate() {
                order.insert(StateKey::validator_by_stake(record.stake, &record.public_key));
            }
            assert!(record.unbonding.is_sorted_by(|a, b| a.release_at < b.release_at), "{record:?}");
            assert!(record.unbonding.len() as u64 <= self.rules.unbonding_epochs + 2, "{record:?}");
            let waits = record.unbonding.iter();
            queue.extend(waits.map(|entry| StateKey::unbonding(entry.release_at, Some(&record.account))));
        }
        let supply = accounts::supply(&mut self.state.clone()).unwrap().get();
        assert_eq!(sum, supply, "what is there is the supply");
        let keys = |prefix: StatePrefix| -> BTreeSet<Vec<u8>> {
            self.state.entries().keys().filter(|key| key[0] == prefix as u8).cloned().collect()
        };
        assert_eq!(keys(StatePrefix::Unbonding), queue);
        assert_eq!(keys(StatePrefix::ValidatorByStake), order);
        let sets = self.sets();
        assert!(sets.len() as u64 <= self.rules.unbonding_epochs + 3, "{}", sets.len());
        for (_, set) in &sets {
            // Reading one checks its order and that nobody is there twice.
            assert!((1..=self.rules.validators_max as usize).contains(&set.validators().len()));
        }
    }
}

/// Writes an account's balance as if it had always been there.
pub(super) fn grant(chain: &mut TestChain, n: usize, amount: u128) {
    accounts::mint(&mut chain.state, &account(n), Amount::new(amount)).unwrap();
}

/// Forgets everything an account has at stake, as damage would.
pub(super) fn lose_record(chain: &mut TestChain, n: usize) {
    chain.state.remove(&StateKey::validator(&account(n))).unwrap();
}
