//! The end of a block: rewards, releases, who decides next.

use purlin_capabilities::{Backend, RuntimeConfig};
use purlin_chain::{ExecutionFault, Executor, Policy};
use purlin_execution::NodeExecutor;
use purlin_modules::{
    BlockEnd, ModuleContext, ModuleError, NativeModule, StateAccess, StateRead, accounts, staking,
};
use purlin_primitives::{
    Action, Amount, BlockId, CallFailure, ConsensusRules, Equivocation, FailureCode, Gas, GenesisValidator,
    Hash32, Height, Parameters, PosRules, PowRules, Vote, VoteKind,
};

use super::support::*;

fn pos() -> Parameters {
    let rules = PosRules {
        epoch_blocks: 3,
        unbonding_epochs: 1,
        stake_min: Amount::new(10),
        stake_per_power: Amount::new(10),
        block_reward: Amount::new(3),
        slash_equivocation_bp: 1_000,
        ..PosRules::default()
    };
    Parameters { consensus: ConsensusRules::Pos(rules), ..Parameters::default() }
}

fn validator(n: u8) -> GenesisValidator {
    GenesisValidator { public_key: key(n).public_key(), power: 10 }
}

fn pos_chain() -> TestChain {
    TestChain::start(executor(Backend::CraneliftNone), &[validator(0), validator(1)], pos())
}

fn supply(chain: &TestChain) -> u128 {
    accounts::supply(&mut &*chain.state()).unwrap().get()
}

fn deciding(chain: &TestChain) -> usize {
    let next = Height::new(chain.height + 1);
    staking::validators_at(&mut &*chain.state(), next).unwrap().validators().len()
}

fn evidence(n: u8, height: u64) -> Action {
    let sign = |block| {
        key(n).sign_vote(Vote {
            chain_id: "test".parse().unwrap(),
            height: Height::new(height),
            round: 0,
            kind: VoteKind::Prevote,
            block: Some(BlockId::new(Hash32::new([block; 32]))),
        })
    };
    Action::ReportEquivocation { evidence: Equivocation::votes(sign(1), sign(2)) }
}

#[test]
fn a_validator_bonds_decides_is_slashed_and_gets_back_what_is_left() {
    let mut chain = pos_chain();
    let start = supply(&chain);
    assert_eq!(start, 5 * FUNDS.get() + 200);
    chain.good(2, vec![Action::Bond { validator: key(2).public_key(), amount: Amount::new(100) }]);
    assert_eq!(chain.balance(&account(2)), FUNDS.get() - FEE.get() - 100);
    // The reward comes beside the fee.
    assert_eq!(chain.balance(&PROPOSER), FEE.get() + 3);
    chain.block(&[]);
    chain.block(&[]);
    assert_eq!(deciding(&chain), 2, "block 4 is still theirs");
    chain.block(&[]);
    assert_eq!(deciding(&chain), 3);
    assert_eq!((supply(&chain), chain.balance(&PROPOSER)), (start + 12, FEE.get() + 12));
    // A failed action gives the stake back with everything else.
    let out = Action::Unbond { amount: Amount::new(20) };
    let failure = chain.failing(2, vec![out, Action::Transfer { to: account(1), amount: Amount::MAX }]);
    assert_eq!(failure.code, FailureCode::InsufficientBalance);
    let record = staking::validator(&mut &*chain.state(), &account(2)).unwrap().unwrap();
    assert_eq!((record.stake, record.unbonding.len()), (Amount::new(100), 0));
    chain.good(3, vec![evidence(2, 5)]);
    assert_eq!(supply(&chain), start + 18 - 10);
    let failure = chain.failing(3, vec![evidence(2, 6)]);
    assert_eq!(failure.code, FailureCode::ValidatorTombstoned);
    chain.good(2, vec![Action::Unbond { amount: Amount::new(90) }]);
    let before = chain.balance(&account(2));
    while chain.height < 11 {
        chain.block(&[]);
    }
    assert_eq!((deciding(&chain), chain.balance(&account(2))), (2, before));
    // Out in epoch 2, blocks 7 to 9; back after the epoch after it, with block 12.
    chain.block(&[]);
    assert_eq!(chain.balance(&account(2)), before + 90);
}

#[test]
fn a_node_that_builds_and_one_that_checks_agree_on_the_end_of_a_block() {
    let mut chain = pos_chain();
    let bond = Action::Bond { validator: key(2).public_key(), amount: Amount::new(100) };
    for round in 0..5 {
        let mut context = chain.context();
        context.seal = purlin_primitives::Seal::Pos { round };
        let transactions =
            if round == 0 { vec![signed(2, chain.body(2, vec![bond.clone()]))] } else { vec![] };
        let execute = |policy| {
            chain.executor.execute_block(chain.state(), &context, &transactions, policy).unwrap().changes
        };
        let (built, checked) = (execute(Policy::LeaveOut), execute(Policy::Refuse));
        assert_eq!(built, checked);
        assert!(!built.is_empty());
        chain.take(&built);
    }
    let missed: u32 = (0..3)
        .filter_map(|n| staking::validator(&mut &*chain.state(), &account(n)).unwrap())
        .map(|record| record.missed_turns)
        .sum();
    assert_eq!(missed, 1 + 2 + 3 + 4);
    // Trying out a transaction ends no block.
    let mut body = chain.body(3, vec![Action::Transfer { to: account(1), amount: Amount::new(1) }]);
    body.gas_limit = Gas::ZERO;
    let before = chain.root();
    chain.executor.simulate(chain.state(), &chain.context(), &body).unwrap();
    assert_eq!(chain.root(), before);
}

#[test]
fn miners_are_paid_and_cannot_stake() {
    let rules = PowRules { block_reward: Amount::new(50), ..PowRules::default() };
    let parameters = Parameters { consensus: ConsensusRules::Pow(rules), ..Parameters::default() };
    let mut chain = TestChain::start(executor(Backend::CraneliftNone), &[], parameters);
    let start = supply(&chain);
    chain.block(&[]);
    assert_eq!((supply(&chain), chain.balance(&PROPOSER)), (start + 50, 50));
    let failure = chain.failing(0, vec![Action::Unjail]);
    assert_eq!(failure.code, FailureCode::NoStaking);
}

#[test]
fn a_proof_of_stake_genesis_needs_a_validator() {
    let genesis = purlin_primitives::Genesis {
        chain_id: "test".parse().unwrap(),
        time: Default::default(),
        validators: Vec::new(),
        accounts: Vec::new(),
        parameters: Parameters::default(),
    };
    let error = executor(Backend::CraneliftNone).genesis(&genesis).unwrap_err().to_string();
    assert!(error.contains("staking") && error.contains("at least one"), "{error}");
}

/// Writes down what it saw at the end of a block; fails at height 2.
struct Witness;

const SEEN: &[u8] = b"\x07witness";

impl NativeModule for Witness {
    fn name(&self) -> &'static str {
        "witness"
    }

    fn price(&self, _: &purlin_abi::GasSchedule, _: &Action) -> Option<Gas> {
        None
    }

    fn apply(&self, _: &mut dyn StateAccess, _: &ModuleContext<'_>, _: &Action) -> Result<(), ModuleError> {
        unreachable!("it has no actions")
    }

    fn end_block(&self, state: &mut dyn StateAccess, end: &BlockEnd<'_>) -> Result<(), ModuleError> {
        if end.height == Height::new(2) {
            return Err(ModuleError::Other(CallFailure::new(FailureCode::Overflow, "two is too much")));
        }
        let seen = accounts::account(state, &end.proposer)?.balance.get();
        state.set(SEEN, [seen.to_le_bytes().as_slice(), &end.time.get().to_le_bytes()].concat());
        Ok(())
    }
}

#[test]
fn modules_see_a_block_after_its_fees_and_a_broken_rule_stops_the_node() {
    let mut modules = purlin_modules::standard();
    modules.push(Box::new(Witness));
    let config = RuntimeConfig { backend: Backend::CraneliftNone, instances_max: 4, ..Default::default() };
    let executor = NodeExecutor::with_modules(&config, modules).unwrap();
    let mut chain = TestChain::start(executor, &[validator(0)], pos());
    chain.good(1, vec![Action::Transfer { to: account(2), amount: Amount::new(1) }]);
    let state = chain.state();
    let mut state = &*state;
    let seen = StateRead::get(&mut state, SEEN).unwrap().unwrap().to_vec();
    // Fee and, because staking comes first, the reward.
    assert_eq!(seen, [(FEE.get() + 3).to_le_bytes().as_slice(), &1_000u64.to_le_bytes()].concat());
    match chain.execute(&[], Policy::Refuse) {
        Err(ExecutionFault::Engine { detail }) => {
            assert!(detail.contains("witness: two is too much"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}
