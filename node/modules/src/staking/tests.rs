use purlin_primitives::{
    AccountId, Action, Amount, ChainId, ConsensusRules, Equivocation, FailureCode, Genesis, GenesisValidator,
    Height, PosRules, PowRules, PublicKey, Seal, TOTAL_POWER_MAX, TimestampMs, hash_domain,
};
use purlin_state::StateKey;

use super::support::*;
use super::*;
use crate::accounts::{self, Accounts};
use crate::{MemoryState, StateAccess, StateRead};

#[test]
fn the_layout_is_pinned() {
    let mut chain = TestChain::new(&[5, 3], rules());
    chain.good(0, &unbond(7));
    let (id, public_key) = (account(0), public(0));
    let mut value = |key: Vec<u8>| chain.state.get(&key).unwrap().unwrap().to_vec();
    let record = value([&[0x08][..], id.as_bytes()].concat());
    let expected = [
        &public_key.as_bytes()[..],
        &id.as_bytes()[..],
        &43u128.to_le_bytes()[..],
        &[0],
        &0u32.to_le_bytes(),
        &0u64.to_le_bytes(),
        &1u32.to_le_bytes(),
        // Taken out in epoch 0: two whole epochs after it end with block 12.
        &12u64.to_le_bytes(),
        &7u128.to_le_bytes(),
    ];
    assert_eq!(record, expected.concat());
    let candidate = [&[0x09][..], &(u128::MAX - 43).to_be_bytes(), public_key.as_bytes()].concat();
    assert_eq!(value(candidate), id.as_bytes());
    assert_eq!(value([&[0x0a][..], &12u64.to_be_bytes(), id.as_bytes()].concat()), [1]);
    let set = value([&[0x0b][..], &1u64.to_be_bytes()].concat());
    assert_eq!(set.len(), 4 + 2 * (33 + 20 + 8));
    let all: Vec<u8> =
        chain.state.entries().iter().flat_map(|(k, v)| [k.clone(), v.clone()].concat()).collect();
    let found = hash_domain("purlin.test.staking.layout", &all).to_string();
    assert_eq!(found, GOLDEN, "the layout moved: that is a change of consensus");
}

/// Of every key and value in [`the_layout_is_pinned`].
const GOLDEN: &str = "0x61a9a8f5f7dea875e8464609fce3dc701cfc8b74aec175c39203b425865b5102";

#[test]
fn a_set_changes_two_blocks_after_an_epoch_and_not_before() {
    let mut chain = TestChain::new(&[5, 3], rules());
    assert_eq!(chain.powers_at(1), [(0, 5), (1, 3)]);
    chain.good(2, &bond(2, 45));
    chain.good(1, &unbond(30));
    chain.run_to(4);
    // In the last block of an epoch one can still change who is next.
    chain.good(0, &bond(0, 10));
    assert_eq!(chain.powers_at(6), [(0, 5), (1, 3)]);
    chain.end(0);
    // The state after block 4, which the header of block 5 names, says who decides from block 6 on.
    assert_eq!(chain.powers_at(5), [(0, 5), (1, 3)]);
    assert_eq!(chain.powers_at(6), [(0, 6), (2, 4)]);
    assert_eq!(chain.powers_at(7), [(0, 6), (2, 4)]);
    // An epoch without a change writes nothing.
    chain.run_to(9);
    assert_eq!(chain.sets().iter().map(|(from, _)| *from).collect::<Vec<_>>(), [1, 6]);
}

#[test]
fn those_with_the_most_stake_decide() {
    let mut chain = TestChain::new(&[2, 2], PosRules { validators_max: 3, ..rules() });
    for n in 2..6 {
        chain.good(n, &bond(n, if n == 5 { 50 } else { 20 }));
    }
    chain.run_to(5);
    // Equal stake goes by key.
    let mut by_key: Vec<usize> = (0..5).collect();
    by_key.sort_by_key(|n| public(*n));
    let mut expected = vec![(by_key[0], 2), (by_key[1], 2), (5, 5)];
    expected.sort_unstable();
    assert_eq!(chain.powers_at(6), expected);
    let listed: Vec<AccountId> =
        candidates(&mut chain.state, 10).unwrap().into_iter().map(|found| found.account).collect();
    let all: Vec<AccountId> = [5].iter().chain(&by_key).map(|n| account(*n)).collect();
    assert_eq!(listed, all);
    let records = list(&mut chain.state, None, 4).unwrap();
    let rest = list(&mut chain.state, Some(&records[3].account), 4).unwrap();
    let mut by_account: Vec<AccountId> = (0..6).map(account).collect();
    by_account.sort_unstable();
    assert_eq!(records.iter().chain(&rest).map(|record| record.account).collect::<Vec<_>>(), by_account);
}

#[test]
fn stake_comes_back_after_whole_epochs() {
    let mut chain = TestChain::new(&[5, 3], rules());
    chain.good(0, &unbond(10));
    chain.run_to(4);
    chain.good(0, &unbond(5));
    chain.run_to(5);
    chain.good(0, &unbond(1));
    chain.good(1, &unbond(30));
    assert_eq!((chain.stake(0), chain.balance(0)), (34, 1_000));
    // Both of epoch 0 are one entry.
    assert_eq!(chain.record(0).unwrap().unbonding.len(), 2);
    chain.run_to(12);
    assert_eq!(chain.balance(0), 1_000);
    chain.end(0);
    assert_eq!(chain.balance(0), 1_015);
    chain.run_to(16);
    assert_eq!(chain.balance(1), 1_000);
    chain.end(0);
    assert_eq!((chain.balance(0), chain.balance(1)), (1_016, 1_030));
    assert_eq!(chain.record(1), None, "nothing is left of who left");
    assert_eq!(chain.supply(), 6_080);
    // And may come back.
    chain.good(1, &bond(1, 20));
    assert_eq!(chain.record(1).unwrap().bonded_at, Height::new(17));
}

#[test]
fn what_breaks_a_rule_is_refused_and_changes_nothing() {
    let mut chain = TestChain::new(&[5], rules());
    let no_point: PublicKey = borsh::from_slice(&[[2; 1].as_slice(), &[0xff; 32]].concat()).unwrap();
    let by_nobody = Action::Bond { validator: no_point, amount: Amount::new(20) };
    chain.bad(1, &bond(2, 20), FailureCode::NotOwner, "only that account");
    chain.bad(1, &bond(1, 0), FailureCode::BadArgument, "zero");
    chain.bad(1, &bond(1, 19), FailureCode::StakeTooSmall, "at least 20");
    chain.bad(1, &bond(1, 1_001), FailureCode::InsufficientBalance, "1000");
    chain.bad(0, &bond(0, u128::MAX), FailureCode::Overflow, "exceeds");
    chain.bad(1, &by_nobody, FailureCode::BadArgument, "secp256k1");
    chain.bad(1, &unbond(1), FailureCode::NotValidator, "bonding");
    chain.bad(1, &Action::Unjail, FailureCode::NotValidator, "bonding");
    chain.bad(0, &unbond(0), FailureCode::BadArgument, "zero");
    chain.bad(0, &unbond(51), FailureCode::InsufficientStake, "has 50 at stake");
    chain.bad(0, &unbond(31), FailureCode::StakeTooSmall, "take out all 50");
    chain.bad(0, &unbond(50), FailureCode::LastValidator, "another one must bond");
    chain.bad(0, &Action::Unjail, FailureCode::NotJailed, "not jailed");
    chain.run_to(30);
    let forged = match equivocation(0, 29) {
        Equivocation::Votes { first, mut second } => {
            second.vote.round = 1;
            Action::ReportEquivocation { evidence: Equivocation::Votes { first, second } }
        }
        Equivocation::Proposals { .. } => unreachable!(),
    };
    chain.bad(1, &forged, FailureCode::BadEvidence, "no contradiction");
    // Two epochs of four blocks: the eight heights up to this one.
    chain.bad(1, &report(0, 22), FailureCode::EvidenceExpired, "heights from 23 to 30");
    chain.bad(1, &report(0, 31), FailureCode::EvidenceExpired, "heights from 23 to 30");
    chain.bad(1, &report(2, 29), FailureCode::NotValidator, "was not a validator at height 29");
    chain.good(1, &report(0, 23));
    chain.bad(1, &report(0, 23), FailureCode::ValidatorTombstoned, "out for good");
    chain.bad(1, &report(0, 30), FailureCode::ValidatorTombstoned, "out for good");
    chain.bad(0, &bond(0, 100), FailureCode::ValidatorTombstoned, "another key");
    chain.bad(0, &Action::Unjail, FailureCode::ValidatorTombstoned, "out for good");
}

#[test]
fn evidence_from_another_chain_proves_nothing() {
    let mut chain = TestChain::new(&[5, 5], rules());
    let here = equivocation(0, 1);
    let other: ChainId = "elsewhere".parse().unwrap();
    assert!(here.verify(&other).is_err());
    let Equivocation::Votes { first, second } = here else { unreachable!() };
    let moved = |vote: &purlin_primitives::SignedVote| {
        key(0).sign_vote(purlin_primitives::Vote { chain_id: other.clone(), ..vote.vote.clone() })
    };
    let evidence = Equivocation::votes(moved(&first), moved(&second));
    chain.bad(1, &Action::ReportEquivocation { evidence }, FailureCode::BadEvidence, "elsewhere");
}

#[test]
fn a_slash_reaches_what_is_on_its_way_back() {
    let mut chain = TestChain::new(&[100, 3], rules());
    chain.good(0, &unbond(10));
    chain.run_to(5);
    chain.good(0, &unbond(101));
    let supply = chain.supply();
    chain.good(1, &report(0, 4));
    let record = chain.record(0).unwrap();
    // A twentieth of 889, 10 and 101, each rounded up.
    assert_eq!((record.stake.get(), record.status), (844, ValidatorStatus::Tombstoned));
    let waiting: Vec<u128> = record.unbonding.iter().map(|entry| entry.amount.get()).collect();
    assert_eq!(waiting, [9, 95]);
    assert_eq!(supply - chain.supply(), 45 + 1 + 6);
    // It decides until the epoch ends, and then no longer.
    assert_eq!(chain.powers_at(9), [(0, 99), (1, 3)]);
    chain.run_to(9);
    assert_eq!(chain.powers_at(9), [(0, 99), (1, 3)]);
    assert_eq!(chain.powers_at(10), [(1, 3)]);
    // What is left can be taken out, all of it.
    chain.good(0, &unbond(844));
    chain.run_to(21);
    assert_eq!(chain.balance(0), 1_000 + 9 + 95 + 844);
    assert_eq!(chain.record(0).unwrap().status, ValidatorStatus::Tombstoned, "a tombstone stays");
    chain.bad(0, &bond(0, 100), FailureCode::ValidatorTombstoned, "out for good");
}

#[test]
fn whoever_leaves_can_be_punished_for_the_last_block_until_the_stake_is_back() {
    // In epoch 0 it asks to leave, block 5 is the last it decides, at the end of block 12 the stake is back.
    let mut chain = TestChain::new(&[10, 3], rules());
    chain.good(0, &unbond(100));
    chain.run_to(12);
    assert_eq!(chain.powers_at(5), [(0, 10), (1, 3)]);
    assert_eq!(chain.powers_at(6), [(1, 3)]);
    chain.bad(1, &report(0, 6), FailureCode::NotValidator, "height 6");
    let mut late = TestChain { state: chain.state.clone(), ..TestChain::new(&[10, 3], rules()) };
    late.height = 12;
    chain.good(1, &report(0, 5));
    chain.end(0);
    assert_eq!(chain.balance(0), 1_095);
    late.end(0);
    assert_eq!(late.balance(0), 1_100);
    late.bad(1, &report(0, 5), FailureCode::EvidenceExpired, "heights from 6 to 13");
}

#[test]
fn the_last_validators_tombstone_leaves_the_old_set() {
    let mut chain = TestChain::new(&[5], rules());
    chain.good(1, &report(0, 1));
    chain.bad(0, &unbond(47), FailureCode::LastValidator, "another one");
    chain.run_to(9);
    assert_eq!(chain.powers_at(10), [(0, 5)]);
    // Anybody who bonds takes over.
    chain.good(1, &bond(1, 20));
    chain.good(0, &unbond(47));
    chain.run_to(13);
    assert_eq!(chain.powers_at(14), [(1, 2)]);
}

#[test]
fn who_decides_without_stake_can_still_be_tombstoned() {
    // One leaves, the other is punished, nobody else qualifies: the old set stays, and with it one that has
    // nothing at stake any more, not even a record.
    let mut chain = TestChain::new(&[5, 3], rules());
    chain.good(1, &unbond(30));
    chain.good(2, &report(0, 1));
    chain.run_to(20);
    assert_eq!(chain.powers_at(20), [(0, 5), (1, 3)]);
    assert_eq!(chain.record(1), None);
    let supply = chain.supply();
    chain.good(2, &report(1, 19));
    assert_eq!(chain.supply(), supply);
    assert_eq!(chain.record(1).unwrap().status, ValidatorStatus::Tombstoned);
    chain.bad(1, &bond(1, 30), FailureCode::ValidatorTombstoned, "out for good");
}

#[test]
fn many_releases_are_spread_over_blocks() {
    let mut state = MemoryState::default();
    let many = RELEASES_MAX + 10;
    for n in 0..many as u128 {
        let id = AccountId::new([&n.to_be_bytes()[..], &[7; 4]].concat().try_into().unwrap());
        let mut record = ValidatorRecord::new(public(0), id, Height::ZERO);
        record.unbonding.push(Unbonding { release_at: Height::new(4), amount: Amount::new(n + 1) });
        state.set(&StateKey::unbonding(Height::new(4), Some(&id)), vec![1]);
        record::put(&mut state, None, &record).unwrap();
    }
    let parameters = parameters(rules());
    for (height, left) in [(3, many), (4, 10), (5, 0)] {
        let (height, time) = (Height::new(height), TimestampMs::ZERO);
        let end =
            BlockEnd { height, time, proposer: account(0), seal: Seal::FIRST_ROUND, parameters: &parameters };
        Staking.end_block(&mut state, &end).unwrap();
        assert_eq!(list(&mut state, None, usize::MAX).unwrap().len(), left, "{height}");
    }
    assert_eq!(state.entries().len(), many, "an account each, and nothing else");
}

/// Ends blocks so that validator `n` misses every turn, until it is jailed or `blocks` have passed.
fn absent(chain: &mut TestChain, n: usize, blocks: u64) -> bool {
    for _ in 0..blocks {
        let set = chain.deciding(chain.height);
        let here = |round: &u32| {
            set.proposer(Height::new(chain.height), *round).is_some_and(|found| found.account != account(n))
        };
        let round = (0..100).find(here).unwrap();
        chain.end(round);
        if chain.record(n).unwrap().status != ValidatorStatus::Active {
            return true;
        }
    }
    false
}

#[test]
fn whoever_is_absent_is_jailed_and_may_return() {
    let mut chain = TestChain::new(&[3, 3, 3], rules());
    assert!(absent(&mut chain, 1, 40));
    let jailed_at = chain.height - 1;
    let epoch = epoch_of(&chain.rules, Height::new(jailed_at));
    assert_eq!(chain.record(1).unwrap().status, ValidatorStatus::Jailed { until_epoch: epoch + 2 });
    assert_eq!(chain.record(1).unwrap().missed_turns, 3, "the third turn is above two");
    let (bound, back) = ((epoch + 1) * 4, (epoch + 2) * 4 + 1);
    chain.bad(1, &Action::Unjail, FailureCode::ValidatorJailed, &format!("from height {back} on"));
    chain.run_to(bound + 1);
    assert_eq!(chain.powers_at(bound + 1).len(), 3);
    assert_eq!(chain.powers_at(bound + 2), [(0, 3), (2, 3)]);
    chain.run_to(back - 1);
    chain.bad(1, &Action::Unjail, FailureCode::ValidatorJailed, "stays jailed");
    // More stake changes nothing about the term.
    chain.good(1, &bond(1, 10));
    chain.run_to(back);
    chain.good(1, &Action::Unjail);
    chain.bad(1, &Action::Unjail, FailureCode::NotJailed, "not jailed");
    chain.run_to(back + 4);
    assert_eq!(chain.powers_at(back + 5), [(0, 3), (1, 4), (2, 3)]);
}

#[test]
fn proposing_forgives_and_the_last_is_never_jailed() {
    let mut chain = TestChain::new(&[3, 3], rules());
    let turn = |chain: &mut TestChain, round| {
        chain.deciding(chain.height).proposer(Height::new(chain.height), round).unwrap().account
    };
    // Misses two turns in a row, then proposes in a later round of the same height: forgiven at once.
    while chain.record(1).unwrap().missed_turns < 2 {
        let round = if turn(&mut chain, 0) == account(1) { 1 } else { 0 };
        chain.end(round);
    }
    while turn(&mut chain, 0) != account(1) {
        chain.end(0);
    }
    let again = (1..50).find(|round| turn(&mut chain, *round) == account(1)).unwrap();
    chain.end(again);
    let record = chain.record(1).unwrap();
    assert_eq!((record.missed_turns, record.status), (0, ValidatorStatus::Active));
    // The other one is jailed or leaves: this one stays, whatever it misses.
    chain.good(0, &unbond(30));
    let height = chain.height.next_multiple_of(4) + 2;
    let blocks = height - chain.height;
    assert!(!absent(&mut chain, 1, blocks));
    assert_eq!(chain.powers_at(height), [(1, 3)]);
    let before = chain.record(1).unwrap().missed_turns;
    let parameters = parameters(chain.rules.clone());
    let end = BlockEnd {
        height: Height::new(height),
        time: TimestampMs::ZERO,
        proposer: AccountId::ZERO,
        seal: Seal::Pos { round: u32::MAX },
        parameters: &parameters,
    };
    Staking.end_block(&mut chain.state, &end).unwrap();
    let record = chain.record(1).unwrap();
    assert_eq!((record.missed_turns, record.status), (before + MISSED_ROUNDS_MAX, ValidatorStatus::Active));
}

#[test]
fn rewards_are_minted_until_the_supply_is_full() {
    let rules = PosRules { block_reward: Amount::new(7), ..rules() };
    let mut chain = TestChain::new(&[5], rules.clone());
    let before = (chain.supply(), chain.balance(0));
    chain.run_to(11);
    assert_eq!((chain.supply(), chain.balance(0)), (before.0 + 70, before.1 + 70));
    let room = u128::MAX - chain.supply();
    grant(&mut chain, 5, room - 10);
    let balance = chain.balance(0);
    chain.end(0);
    assert_eq!(chain.supply(), u128::MAX - 3);
    chain.end(0);
    assert_eq!((chain.supply(), chain.balance(0)), (u128::MAX - 3, balance + 7));
    // The largest stake has a power too.
    chain.good(5, &bond(5, u128::MAX - 200_000));
    let next = chain.height.next_multiple_of(4) + 1;
    chain.run_to(next);
    let powers = chain.powers_at(next + 1);
    assert!(powers.iter().map(|(_, power)| power).sum::<u64>() <= TOTAL_POWER_MAX);
    assert_eq!(powers[0], (0, 1));
}

#[test]
fn powers_keep_their_shares_where_they_are_halved() {
    let stakes: Vec<Amount> = [u128::MAX / 2, u128::MAX / 4, 1_000, 1].map(Amount::new).into();
    let powers = set::powers(&stakes, Amount::new(1));
    assert!(powers.iter().sum::<u64>() <= TOTAL_POWER_MAX);
    assert!(powers.iter().sum::<u64>() > TOTAL_POWER_MAX / 2);
    assert_eq!((powers[0] / powers[1], powers[2], powers[3]), (2, 1, 1));
    let small: Vec<Amount> = [39, 20].map(Amount::new).into();
    assert_eq!(set::powers(&small, Amount::new(10)), [3, 2]);
}

#[test]
fn sets_are_known_as_long_as_evidence_counts() {
    let mut chain = TestChain::new(&[5, 3], rules());
    let mut known = Vec::new();
    for height in 1..200 {
        known.push(chain.deciding(height));
        if height % 3 == 0 {
            chain.good(0, &bond(0, 10));
        }
        for old in height.saturating_sub(7).max(1)..=height {
            assert_eq!(chain.deciding(old), known[old as usize - 1], "{old} at {height}");
        }
        chain.end(0);
    }
}

#[test]
fn a_genesis_that_breaks_a_rule_is_refused() {
    let refused = |genesis: &Genesis, text: &str| {
        let error =
            Staking.genesis(&mut MemoryState::default(), genesis).unwrap_err().into_failure().unwrap();
        assert!(error.message.contains(text), "{}", error.message);
    };
    let with = |rules: PosRules| genesis(&[5, 3], rules);
    let cases = [
        (with(PosRules { epoch_blocks: 0, ..rules() }), "epoch_blocks: 0 is outside 1 to"),
        (with(PosRules { unbonding_epochs: 0, ..rules() }), "unbonding_epochs"),
        (with(PosRules { unbonding_epochs: 1_025, ..rules() }), "1 to 1024"),
        (with(PosRules { validators_max: 0, ..rules() }), "validators_max"),
        (with(PosRules { validators_max: 257, ..rules() }), "1 to 256"),
        (with(PosRules { validators_max: 1, ..rules() }), "2 are named"),
        (with(PosRules { slash_equivocation_bp: 10_001, ..rules() }), "0 to 10000"),
        (with(PosRules { jail_epochs: u64::MAX, ..rules() }), "jail_epochs"),
        (with(PosRules { stake_per_power: Amount::ZERO, ..rules() }), "below 1"),
        (with(PosRules { stake_min: Amount::new(9), ..rules() }), "would have no power"),
        (with(PosRules { stake_min: Amount::new(31), ..rules() }), "below stake_min, 31"),
        (genesis(&[], rules()), "at least one"),
        (genesis(&[5, 0], rules()), "has no power"),
        (genesis(&[TOTAL_POWER_MAX, 5], rules()), "power together"),
    ];
    for (genesis, text) in cases {
        refused(&genesis, text);
    }
    let mut twice = with(rules());
    twice.validators[1] = twice.validators[0].clone();
    refused(&twice, "listed twice");
    let much = PosRules { stake_per_power: Amount::MAX, stake_min: Amount::MAX, ..rules() };
    refused(&genesis(&[2], much), "too much stake");
    let no_point: PublicKey = borsh::from_slice(&[[2; 1].as_slice(), &[0xff; 32]].concat()).unwrap();
    twice.validators[1] = GenesisValidator { public_key: no_point, power: 1 };
    refused(&twice, "secp256k1");
    // Stake and balances together are the supply; its range is theirs.
    let mut rich = with(rules());
    rich.accounts[0].balance = Amount::new(u128::MAX - 5_000);
    let mut state = MemoryState::default();
    Accounts.genesis(&mut state, &rich).unwrap();
    Staking.genesis(&mut state, &with(PosRules { stake_per_power: Amount::new(20), ..rules() })).unwrap_err();
}

#[test]
fn proof_of_work_pays_and_has_no_staking() {
    let mut parameters = parameters(rules());
    parameters.consensus =
        ConsensusRules::Pow(PowRules { block_reward: Amount::new(50), ..PowRules::default() });
    let mut named = genesis(&[5], rules());
    named.parameters = parameters.clone();
    let mut state = MemoryState::default();
    let error = Staking.genesis(&mut state, &named).unwrap_err().to_string();
    assert!(error.contains("proof of work has none"), "{error}");
    named.validators.clear();
    Staking.genesis(&mut state, &named).unwrap();
    let (height, time) = (Height::new(4), TimestampMs::ZERO);
    let seal = Seal::Pow { target: 0x1f00_ffff, nonce: 7 };
    let end = BlockEnd { height, time, proposer: account(2), seal, parameters: &parameters };
    Staking.end_block(&mut state, &end).unwrap();
    assert_eq!(accounts::account(&mut state, &account(2)).unwrap().balance, Amount::new(50));
    assert_eq!(accounts::supply(&mut state).unwrap(), Amount::new(50));
    assert!(validators_at(&mut state, height).unwrap().validators().is_empty());
    let (chain_id, sender) = (chain_id(), account(2));
    let context = ModuleContext { chain_id: &chain_id, parameters: &parameters, sender, height, time };
    for action in [bond(2, 20), unbond(1), Action::Unjail, report(2, 1)] {
        let failure = Staking.apply(&mut state, &context, &action).unwrap_err().into_failure().unwrap();
        assert_eq!(failure.code, FailureCode::NoStaking);
        assert!(failure.message.contains("proof of work"), "{}", failure.message);
    }
}

#[test]
fn damage_is_a_fault_of_this_node() {
    let mut chain = TestChain::new(&[5, 3], rules());
    chain.good(0, &unbond(50));
    chain.run_to(12);
    lose_record(&mut chain, 0);
    let parameters = parameters(chain.rules.clone());
    let end = BlockEnd {
        height: Height::new(12),
        time: TimestampMs::ZERO,
        proposer: account(1),
        seal: Seal::FIRST_ROUND,
        parameters: &parameters,
    };
    let error = Staking.end_block(&mut chain.state, &end).unwrap_err();
    assert!(error.into_failure().is_err());
    // An empty state has nothing to do.
    Staking.end_block(&mut MemoryState::default(), &end).unwrap();
    assert!(chain.state.get(&StateKey::validator(&account(1))).unwrap().is_some());
}
