//! Random histories: balances add up to the supply after every call, and match a model kept beside the chain.
#![allow(clippy::unwrap_used, reason = "this is test code")]

use std::collections::BTreeMap;

use purlin_sdk::abi::AccountId;
use purlin_testing::{Backend, Chain, Installed};
use purlin_token::Token;

/// A small generator (Steele, Vigna: SplitMix64), so that a seed is all it takes to see a history again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// What the token must do, in its simplest form.
#[derive(Default)]
struct Model {
    balances: BTreeMap<AccountId, u128>,
    allowances: BTreeMap<(AccountId, AccountId), u128>,
    supply: u128,
}

impl Model {
    fn balance(&self, account: AccountId) -> u128 {
        self.balances.get(&account).copied().unwrap_or_default()
    }

    fn transfer(&mut self, from: AccountId, to: AccountId, amount: u128) -> bool {
        let enough = self.balance(from) >= amount;
        if enough {
            *self.balances.entry(from).or_default() -= amount;
            *self.balances.entry(to).or_default() += amount;
        }
        enough
    }
}

/// Makes one random call on both and compares whether it was allowed.
fn step(random: &mut Random, token: &Installed<Token>, model: &mut Model, people: &[AccountId]) {
    let [caller, to, from] = [(); 3].map(|()| people[random.below(people.len())]);
    let amount = match random.below(8) {
        0 => 0,
        1 => u128::MAX - u128::from(random.next() % 3),
        2 => model.balance(caller),
        3 => model.balance(caller).saturating_add(1),
        _ => u128::from(random.next() % 500),
    };
    let client = token.by(caller);
    let (allowed, expected) = match random.below(6) {
        0 => {
            let sum = model.supply.checked_add(amount).filter(|_| caller == token.owner());
            if let Some(sum) = sum {
                model.supply = sum;
                *model.balances.entry(to).or_default() += amount;
            }
            (client.mint(to, amount).is_ok(), sum.is_some())
        }
        1 => {
            let enough = model.balance(caller) >= amount;
            if enough {
                *model.balances.entry(caller).or_default() -= amount;
                model.supply -= amount;
            }
            (client.burn(amount).is_ok(), enough)
        }
        2 => {
            model.allowances.insert((caller, to), amount);
            (client.approve(to, amount).is_ok(), true)
        }
        3 | 4 => (client.transfer(to, amount).is_ok(), model.transfer(caller, to, amount)),
        _ => {
            let allowance = model.allowances.get(&(from, caller)).copied().unwrap_or_default();
            let expected = allowance >= amount && model.transfer(from, to, amount);
            if expected {
                model.allowances.insert((from, caller), allowance - amount);
            }
            (client.transfer_from(from, to, amount).is_ok(), expected)
        }
    };
    assert_eq!(allowed, expected);
}

fn check(token: &Installed<Token>, model: &Model, people: &[AccountId]) {
    let client = token.by(people[0]);
    let balances: Vec<u128> = people.iter().map(|account| client.balance_of(*account).unwrap()).collect();
    let expected: Vec<u128> = people.iter().map(|account| model.balance(*account)).collect();
    assert_eq!(balances, expected);
    assert_eq!(client.total_supply(), Ok(model.supply));
    // Bare sum: it is in range because it is the supply.
    assert_eq!(balances.iter().sum::<u128>(), model.supply, "balances add up to the supply");
    for owner in people {
        for spender in people {
            let allowance = model.allowances.get(&(*owner, *spender)).copied().unwrap_or_default();
            assert_eq!(client.allowance(*owner, *spender), Ok(allowance));
        }
    }
}

fn history(backend: Backend, seed: u64, steps: u32) -> Installed<Token> {
    println!("seed {seed}");
    let chain = Chain::start(backend);
    let people = ["alice", "bob", "carol", "dave"].map(|name| chain.account(name));
    let token = chain.install::<Token>(people[0], ("Random".into(), "RND".into(), 0, 1_000));
    let mut model = Model { supply: 1_000, ..Model::default() };
    model.balances.insert(people[0], 1_000);
    let mut random = Random(seed);
    for _ in 0..steps {
        step(&mut random, &token, &mut model, &people);
        check(&token, &model, &people);
    }
    token
}

#[test]
fn native_histories_match_the_model() {
    for seed in 1..=20 {
        history(Backend::Native, seed, 250);
    }
}

#[test]
fn wasm_histories_match_the_model_and_leave_the_same_state() {
    if purlin_testing::wasm_is_wanted() {
        for seed in 1..=3 {
            let wasm = history(Backend::Wasm, seed, 100);
            let native = history(Backend::Native, seed, 100);
            assert_eq!(wasm.dump(), native.dump(), "seed {seed}");
        }
    }
}
