//! Whatever is done in whatever order: supply, sets, order and queue stay right.

use proptest::prelude::*;
use purlin_primitives::{AccountId, Action, Amount, FailureCode, PosRules};
use std::collections::BTreeSet;

use super::support::*;
use super::*;

#[derive(Debug, Clone)]
enum Step {
    Bond(usize, u128),
    Unbond(usize, u128),
    Leave(usize),
    Unjail(usize),
    Equivocate { offender: usize, reporter: usize, blocks_ago: u64 },
    EndBlock { round: u32 },
    EndEpoch,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..KEYS;
    let amount = prop_oneof![8 => 1..200u128, 1 => any::<u128>()];
    prop_oneof![
        4 => (who.clone(), amount.clone()).prop_map(|(n, amount)| Step::Bond(n, amount)),
        3 => (who.clone(), amount).prop_map(|(n, amount)| Step::Unbond(n, amount)),
        2 => who.clone().prop_map(Step::Leave),
        2 => who.clone().prop_map(Step::Unjail),
        1 => (who.clone(), who, 0..30u64).prop_map(|(offender, reporter, blocks_ago)| Step::Equivocate {
            offender,
            reporter,
            blocks_ago
        }),
        5 => (0..6u32).prop_map(|round| Step::EndBlock { round }),
        2 => Just(Step::EndEpoch),
    ]
}

fn any_rules() -> impl Strategy<Value = PosRules> {
    let (epochs, power) = ((1..6u64, 1..4u64, 0..3u64), (1..30u128, 1..20u128));
    (epochs, power, 1..5u32, 0..10u128, 0..=10_000u32, 0..4u32).prop_map(
        |((epoch_blocks, unbonding_epochs, jail_epochs), (min, per_power), max, reward, slash, missed)| {
            PosRules {
                epoch_blocks,
                unbonding_epochs,
                stake_min: Amount::new(min.max(per_power)),
                stake_per_power: Amount::new(per_power),
                validators_max: max,
                block_reward: Amount::new(reward),
                slash_equivocation_bp: slash,
                missed_turns_max: missed,
                jail_epochs,
            }
        },
    )
}

/// Keeps what the steps so far must have led to.
struct Model {
    chain: TestChain,
    tombstoned: BTreeSet<AccountId>,
    /// First heights of the sets seen.
    seen: BTreeSet<u64>,
    supply: u128,
}

impl Model {
    fn step(&mut self, step: &Step) {
        let chain = &mut self.chain;
        match step {
            Step::Bond(n, amount) => drop(chain.apply(*n, &bond(*n, *amount))),
            Step::Unbond(n, amount) => drop(chain.apply(*n, &unbond(*amount))),
            Step::Leave(n) => {
                let stake = chain.stake(*n);
                drop(chain.apply(*n, &unbond(stake)));
            }
            Step::Unjail(n) => drop(chain.apply(*n, &Action::Unjail)),
            Step::Equivocate { offender, reporter, blocks_ago } => {
                let height = chain.height.saturating_sub(*blocks_ago);
                let had = chain
                    .record(*offender)
                    .map_or(0, |record| record.stake.get() + record.unbonding_total().get());
                match chain.apply(*reporter, &report(*offender, height)) {
                    Ok(()) => {
                        assert!(self.tombstoned.insert(account(*offender)), "punished twice");
                        let left = chain.record(*offender).unwrap();
                        let lost = had - left.stake.get() - left.unbonding_total().get();
                        let exact = had * u128::from(chain.rules.slash_equivocation_bp);
                        // Each part is rounded up by itself.
                        let parts = 1 + left.unbonding.len() as u128;
                        assert!(lost * 10_000 >= exact && lost * 10_000 < exact + parts * 10_000);
                        self.supply -= lost;
                    }
                    Err((code, _)) => assert!(matches!(
                        code,
                        FailureCode::EvidenceExpired
                            | FailureCode::NotValidator
                            | FailureCode::ValidatorTombstoned
                    )),
                }
            }
            Step::EndBlock { round } => self.end(*round),
            Step::EndEpoch => {
                let height = chain.height.next_multiple_of(chain.rules.epoch_blocks);
                while self.chain.height <= height {
                    self.end(0);
                }
            }
        }
        assert_eq!(self.chain.supply(), self.supply);
    }

    fn end(&mut self, round: u32) {
        let before = candidates(&mut self.chain.state, 1_000).unwrap().len();
        self.chain.end(round);
        self.supply += self.chain.rules.block_reward.get();
        let after = candidates(&mut self.chain.state, 1_000).unwrap().len();
        assert!(before == 0 || after > 0, "somebody stays active");
        let height = self.chain.height - 1;
        for (from, set) in self.chain.sets() {
            if !self.seen.insert(from) {
                continue;
            }
            assert!(from == height + 2 && height.is_multiple_of(self.chain.rules.epoch_blocks));
            let returns = |account: &AccountId| self.tombstoned.contains(account);
            assert!(!set.validators().iter().any(|member| returns(&member.account)));
            let least = set.validators().iter().map(|member| member.power).min().unwrap();
            assert!(least >= 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_supply_and_the_sets_stay_right(
        rules in any_rules(),
        members in 1..5usize,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let members = members.min(rules.validators_max as usize);
        let power = rules.stake_min.get().div_ceil(rules.stake_per_power.get()) as u64;
        let mut chain = TestChain::new(&vec![power + 2; members], rules);
        let supply = chain.supply();
        // The first set was chosen by the genesis: a report in block 1 comes after it.
        let mut model = Model { chain, tombstoned: BTreeSet::new(), seen: BTreeSet::from([1]), supply };
        for step in &steps {
            model.step(step);
        }
        // While somebody is active everybody else can leave, and gets everything back.
        for n in 0..KEYS {
            model.step(&Step::Leave(n));
        }
        for _ in 0..=model.chain.rules.unbonding_epochs + 1 {
            model.step(&Step::EndEpoch);
        }
        let staying = (0..KEYS).filter(|n| model.chain.stake(*n) > 0).count();
        if !candidates(&mut model.chain.state, 1).unwrap().is_empty() {
            prop_assert_eq!(staying, 1);
        }
        let waiting: usize =
            (0..KEYS).filter_map(|n| model.chain.record(n)).map(|record| record.unbonding.len()).sum();
        prop_assert_eq!(waiting, 0);
    }
}
