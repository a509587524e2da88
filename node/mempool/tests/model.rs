//! The pool against a model that does everything by looking at everything.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use proptest::prelude::*;
use purlin_mempool::{AdmitError, Budget, Limits, Mempool, Removal};
use purlin_primitives::{
    Action, Amount, Gas, Height, SecretKey, TransactionBody, TransactionId, VerifiedTransaction,
};
use std::collections::BTreeMap;
use std::sync::OnceLock;

const SENDERS: u8 = 4;
const NONCES: u64 = 6;
const FEES: [u128; 5] = [0, 10, 11, 30, 200];
const GAS: [u64; 2] = [100, 300];
const EXPIRIES: [u64; 2] = [3, 1_000];

/// Sender, nonce, and positions in `FEES`, `GAS` and `EXPIRIES`.
type Variant = (u8, u64, usize, usize, usize);

/// Every transaction that the tests use; signing is what takes the time.
fn all() -> &'static BTreeMap<Variant, VerifiedTransaction> {
    static ALL: OnceLock<BTreeMap<Variant, VerifiedTransaction>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut map = BTreeMap::new();
        for sender in 0..SENDERS {
            for nonce in 0..NONCES {
                for variant in 0..FEES.len() * GAS.len() * EXPIRIES.len() {
                    let (fee, rest) = (variant % FEES.len(), variant / FEES.len());
                    let (gas, expiry) = (rest % GAS.len(), rest / GAS.len());
                    let made = transaction(sender, nonce, FEES[fee], GAS[gas], EXPIRIES[expiry]);
                    map.insert((sender, nonce, fee, gas, expiry), made);
                }
            }
        }
        map
    })
}

fn transaction(sender: u8, nonce: u64, fee: u128, gas: u64, expires_at: u64) -> VerifiedTransaction {
    let key = SecretKey::from_bytes(&[sender + 1; 32]).unwrap();
    let account = key.public_key().account_id();
    // Sizes differ by sender, so that the byte limit is not a second count limit.
    let actions = vec![Action::Transfer { to: account, amount: Amount::ZERO }; usize::from(sender) + 1];
    let body = TransactionBody {
        chain_id: "dev".parse().unwrap(),
        sender: account,
        nonce,
        expires_at: Height::new(expires_at),
        gas_limit: Gas::new(gas),
        fee: Amount::new(fee),
        access: vec![],
        actions,
    };
    key.sign_transaction(body).verify(&"dev".parse().unwrap()).unwrap()
}

#[derive(Clone)]
struct Entry {
    transaction: VerifiedTransaction,
    arrival: u64,
}

impl Entry {
    fn sender(&self) -> purlin_primitives::AccountId {
        self.transaction.body().sender
    }
    fn nonce(&self) -> u64 {
        self.transaction.body().nonce
    }
    fn dearer(&self, other: &Self) -> bool {
        let (a, b) = (self.transaction.body(), other.transaction.body());
        a.fee.get() * u128::from(b.gas_limit.get()) > b.fee.get() * u128::from(a.gas_limit.get())
    }
    fn same_price(&self, other: &Self) -> bool {
        !self.dearer(other) && !other.dearer(self)
    }
    fn before(&self, other: &Self) -> bool {
        self.dearer(other) || (self.same_price(other) && self.arrival < other.arrival)
    }
}

#[derive(Clone)]
struct Model {
    limits: Limits,
    entries: Vec<Entry>,
    arrivals: u64,
}

impl Model {
    fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.transaction.size_bytes()).sum()
    }

    fn of(&self, sender: purlin_primitives::AccountId) -> Vec<&Entry> {
        let mut own: Vec<_> = self.entries.iter().filter(|entry| entry.sender() == sender).collect();
        own.sort_by_key(|entry| entry.nonce());
        own
    }

    fn admit(&mut self, transaction: &VerifiedTransaction, account_nonce: u64, next: u64) -> bool {
        let new = Entry { transaction: transaction.clone(), arrival: self.arrivals };
        let own = self.of(new.sender());
        let first = own.first().map_or(account_nonce, |entry| entry.nonce());
        let expected = first + own.len() as u64;
        let body = transaction.body();
        let known = self.entries.iter().any(|entry| entry.transaction.id() == transaction.id());
        if known || body.expires_at.get() < next || body.nonce < first || body.nonce > expected {
            return false;
        }
        let mut trial = self.clone();
        if let Some(old) = own.iter().find(|entry| entry.nonce() == body.nonce) {
            let old_body = old.transaction.body();
            let gas = old_body.gas_limit.max(body.gas_limit).get();
            let scaled =
                (old_body.fee.get() * u128::from(gas)).div_ceil(u128::from(old_body.gas_limit.get()));
            if body.fee.get() < scaled + scaled.div_ceil(10).max(1) {
                return false;
            }
            trial.entries.retain(|entry| entry.transaction.id() != old.transaction.id());
        } else if own.len() >= self.limits.per_sender_max {
            return false;
        }
        trial.entries.push(new.clone());
        trial.arrivals += 1;
        while trial.entries.len() > trial.limits.transactions_max || trial.bytes() > trial.limits.bytes_max {
            let mut tails: Vec<&Entry> = trial
                .entries
                .iter()
                .filter(|entry| entry.sender() != new.sender())
                .filter(|entry| !trial.of(entry.sender()).iter().any(|other| other.nonce() > entry.nonce()))
                .collect();
            tails.sort_by(
                |a, b| if a.before(b) { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less },
            );
            let Some(cheapest) = tails.first() else { return false };
            if !new.dearer(cheapest) {
                return false;
            }
            let id = cheapest.transaction.id();
            trial.entries.retain(|entry| entry.transaction.id() != id);
        }
        *self = trial;
        true
    }

    fn take(&self, budget: Budget) -> Vec<TransactionId> {
        let mut taken: Vec<TransactionId> = Vec::new();
        let (mut gas, mut bytes) = (0, 0);
        let mut left = self.entries.clone();
        while taken.len() < budget.transactions {
            let mut heads: Vec<&Entry> = left
                .iter()
                .filter(|entry| {
                    !left.iter().any(|o| o.sender() == entry.sender() && o.nonce() < entry.nonce())
                })
                .collect();
            heads.sort_by(
                |a, b| if a.before(b) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater },
            );
            let Some(best) = heads.first().map(|entry| (*entry).clone()) else { break };
            let body = best.transaction.body();
            let fits = gas + body.gas_limit.get() <= budget.gas.get()
                && bytes + best.transaction.size_bytes() <= budget.bytes;
            if fits {
                gas += body.gas_limit.get();
                bytes += best.transaction.size_bytes();
                taken.push(best.transaction.id());
                left.retain(|entry| entry.transaction.id() != best.transaction.id());
            } else {
                left.retain(|entry| entry.sender() != best.sender());
            }
        }
        taken
    }

    fn remove_from(&mut self, sender: purlin_primitives::AccountId, nonce: u64) {
        self.entries.retain(|entry| entry.sender() != sender || entry.nonce() < nonce);
    }

    fn expire(&mut self, next: u64) {
        while let Some(entry) =
            self.entries.iter().find(|e| e.transaction.body().expires_at.get() < next).cloned()
        {
            self.remove_from(entry.sender(), entry.nonce());
        }
    }

    fn ids(&self) -> Vec<TransactionId> {
        let mut ids: Vec<_> = self.entries.iter().map(|entry| entry.transaction.id()).collect();
        ids.sort();
        ids
    }
}

#[derive(Debug, Clone)]
enum Step {
    Admit {
        sender: u8,
        ahead: u64,
        fee: usize,
        gas: usize,
        expiry: usize,
    },
    Block {
        gas: u64,
        bytes: usize,
        transactions: usize,
    },
    /// A block made elsewhere with one of the sender's nonces, perhaps for a transaction never seen here.
    Foreign {
        sender: u8,
        fee: usize,
    },
    Reject {
        pick: usize,
    },
    Height,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..SENDERS, 0..4u64, 0..FEES.len(), 0..GAS.len(), 0..EXPIRIES.len())
            .prop_map(|(sender, ahead, fee, gas, expiry)| Step::Admit { sender, ahead, fee, gas, expiry }),
        1 => (100..1_500u64, 150..2_000usize, 1..6usize)
            .prop_map(|(gas, bytes, transactions)| Step::Block { gas, bytes, transactions }),
        1 => (0..SENDERS, 0..FEES.len()).prop_map(|(sender, fee)| Step::Foreign { sender, fee }),
        1 => (0..8usize).prop_map(|pick| Step::Reject { pick }),
        1 => Just(Step::Height),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_the_model(steps in steps(), count_max in 2..9usize, bytes_max in 600..2_500usize) {
        let limits = Limits { transactions_max: count_max, bytes_max, per_sender_max: 4 };
        let mut pool = Mempool::new(limits);
        let mut model = Model { limits, entries: Vec::new(), arrivals: 0 };
        let mut nonces = [0u64; SENDERS as usize];
        let mut next = 1u64;
        let mut known = std::collections::BTreeSet::new();
        for step in steps {
            match step {
                Step::Admit { sender, ahead, fee, gas, expiry } => {
                    let account_nonce = nonces[usize::from(sender)];
                    // Mostly usable nonces, sometimes one that was used.
                    let nonce = (account_nonce + ahead).saturating_sub(1);
                    let Some(new) = all().get(&(sender, nonce, fee, gas, expiry)) else { continue };
                    let before = model.ids();
                    let result = pool.admit(new.clone(), account_nonce, Height::new(next));
                    let expected = model.admit(new, account_nonce, next);
                    prop_assert_eq!(result.is_ok(), expected, "{:?}", result);
                    if let Ok(admitted) = result {
                        known.insert(new.id());
                        for removed in &admitted.removed {
                            prop_assert!(before.contains(&removed.id), "removed one that did not wait");
                            prop_assert!(pool.get(&removed.id).is_none());
                        }
                        prop_assert_eq!(before.len() + 1 - admitted.removed.len(), model.entries.len());
                    } else if let Err(AdmitError::ReplacementFee { needed, .. }) = result {
                        prop_assert!(new.body().fee < needed);
                    }
                }
                Step::Block { gas, bytes, transactions } => {
                    let budget = Budget { gas: Gas::new(gas), bytes, transactions };
                    let block = pool.take(budget);
                    let ids: Vec<_> = block.iter().map(VerifiedTransaction::id).collect();
                    prop_assert_eq!(&ids, &model.take(budget));
                    for taken in &block {
                        let sender = all().iter().find(|(_, t)| t.id() == taken.id()).map(|(k, _)| k.0).unwrap();
                        prop_assert_eq!(nonces[usize::from(sender)], taken.body().nonce);
                        nonces[usize::from(sender)] += 1;
                    }
                    prop_assert!(pool.committed(&block).is_empty());
                    model.entries.retain(|entry| !ids.contains(&entry.transaction.id()));
                    next += 1;
                }
                Step::Foreign { sender, fee } => {
                    let nonce = nonces[usize::from(sender)];
                    let Some(foreign) = all().get(&(sender, nonce, fee, 0, 1)) else { continue };
                    for removed in pool.committed([foreign]) {
                        prop_assert_eq!(removed.reason, Removal::NonceUsed);
                        prop_assert!(removed.id != foreign.id());
                    }
                    let account = foreign.body().sender;
                    model.entries.retain(|entry| entry.sender() != account || entry.nonce() != nonce);
                    nonces[usize::from(sender)] += 1;
                }
                Step::Reject { pick } => {
                    let Some(entry) = model.entries.get(pick).cloned() else { continue };
                    let removed = pool.reject(&entry.transaction.id());
                    prop_assert_eq!(removed[0].id, entry.transaction.id());
                    prop_assert_eq!(removed[0].reason, Removal::Rejected);
                    prop_assert!(removed[1..].iter().all(|removed| removed.reason == Removal::Orphaned));
                    model.remove_from(entry.sender(), entry.nonce());
                }
                Step::Height => {
                    next += 1;
                    pool.expire(Height::new(next));
                    model.expire(next);
                }
            }
            let mut waiting: Vec<_> = known.iter().filter(|id| pool.get(id).is_some()).copied().collect();
            waiting.sort();
            prop_assert_eq!(waiting, model.ids());
            prop_assert_eq!(pool.len(), model.entries.len());
            prop_assert_eq!(pool.bytes(), model.bytes());
            prop_assert!(pool.len() <= count_max && pool.bytes() <= bytes_max);
        }
    }
}

#[test]
fn every_refusal_says_what_would_be_right() {
    let limits = Limits { transactions_max: 3, bytes_max: 100_000, per_sender_max: 2 };
    let mut pool = Mempool::new(limits);
    let next = Height::new(10);
    let tx = |sender, nonce, fee| transaction(sender, nonce, fee, 100, 1_000);
    let refused = |pool: &mut Mempool, tx: VerifiedTransaction, nonce| {
        let (len, bytes) = (pool.len(), pool.bytes());
        let error = pool.admit(tx, nonce, next).unwrap_err();
        assert_eq!((pool.len(), pool.bytes()), (len, bytes), "{error}");
        error
    };

    assert_eq!(refused(&mut pool, tx(0, 7, 50), 5), AdmitError::NonceGap { nonce: 7, expected: 5 });
    assert_eq!(refused(&mut pool, tx(0, 4, 50), 5), AdmitError::NonceUsed { nonce: 4, expected: 5 });
    let late = transaction(0, 5, 50, 100, 9);
    assert_eq!(refused(&mut pool, late, 5), AdmitError::Expired { expires_at: Height::new(9), next });

    pool.admit(tx(0, 5, 50), 5, next).unwrap();
    assert_eq!(refused(&mut pool, tx(0, 5, 50), 5), AdmitError::Duplicate { id: tx(0, 5, 50).id() });
    let needed = Amount::new(55);
    assert_eq!(
        refused(&mut pool, tx(0, 5, 54), 5),
        AdmitError::ReplacementFee { nonce: 5, fee: Amount::new(54), needed }
    );
    let replaced = pool.admit(tx(0, 5, 55), 5, next).unwrap().removed;
    assert_eq!((replaced[0].id, replaced.len()), (tx(0, 5, 50).id(), 1));
    assert_eq!(replaced[0].reason, Removal::Replaced { by: tx(0, 5, 55).id() });

    pool.admit(tx(0, 6, 60), 5, next).unwrap();
    assert_eq!(refused(&mut pool, tx(0, 7, 999), 5), AdmitError::SenderFull { max: 2 });
    pool.admit(tx(1, 0, 70), 0, next).unwrap();
    // The cheapest tail pays 60: nonce 6 of sender 0, although its nonce 5 pays less.
    assert_eq!(refused(&mut pool, tx(2, 0, 60), 0), AdmitError::PoolFull { needed: Amount::new(61) });
    let evicted = pool.admit(tx(2, 0, 61), 0, next).unwrap().removed;
    assert_eq!((evicted[0].id, evicted[0].reason), (tx(0, 6, 60).id(), Removal::Evicted));

    let small = Limits { bytes_max: 100, ..limits };
    let error = refused(&mut Mempool::new(small), tx(0, 0, 1), 0);
    assert!(matches!(error, AdmitError::TooLarge { max_bytes: 100, .. }), "{error}");
}

#[test]
fn a_pool_that_missed_a_block_catches_up() {
    let mut pool = Mempool::new(Limits::default());
    let next = Height::new(1);
    for nonce in 0..3 {
        pool.admit(transaction(0, nonce, 10, 100, 1_000), 0, next).unwrap();
    }
    let admitted = pool.admit(transaction(0, 5, 10, 100, 1_000), 5, next).unwrap();
    assert_eq!(admitted.removed.len(), 3);
    assert!(admitted.removed.iter().all(|removed| removed.reason == Removal::NonceUsed));
    assert_eq!(pool.len(), 1);
}

/// Prints the cost per transaction; run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn cost_per_transaction() {
    const COUNT: usize = 50_000;
    let made: Vec<_> = (0..COUNT)
        .map(|index| {
            let mut secret = [1; 32];
            secret[..8].copy_from_slice(&(index as u64 / 5 + 1).to_be_bytes());
            let key = SecretKey::from_bytes(&secret).unwrap();
            let account = key.public_key().account_id();
            let body = TransactionBody {
                chain_id: "dev".parse().unwrap(),
                sender: account,
                nonce: index as u64 % 5,
                expires_at: Height::new(1_000),
                gas_limit: Gas::new(1_000_000),
                fee: Amount::new(index as u128 * 7_919 % 1_000),
                access: vec![],
                actions: vec![Action::Transfer { to: account, amount: Amount::ZERO }],
            };
            key.sign_transaction(body).verify(&"dev".parse().unwrap()).unwrap()
        })
        .collect();
    let mut pool = Mempool::new(Limits::default());
    let start = std::time::Instant::now();
    for transaction in &made {
        pool.admit(transaction.clone(), 0, Height::new(1)).unwrap();
    }
    let admitted = start.elapsed();
    let budget = Budget { gas: Gas::MAX, bytes: usize::MAX, transactions: 5_000 };
    let (mut take, mut commit) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    while !pool.is_empty() {
        let start = std::time::Instant::now();
        let block = pool.take(budget);
        take += start.elapsed();
        let start = std::time::Instant::now();
        pool.committed(&block);
        commit += start.elapsed();
    }
    let us = |time: std::time::Duration| time.as_secs_f64() * 1e6 / COUNT as f64;
    println!("admit {:.2} us, take {:.2} us, commit {:.2} us", us(admitted), us(take), us(commit));
}

#[test]
fn a_pool_on_another_branch_has_what_returned_before_what_waited() {
    let limits = Limits { transactions_max: 100, bytes_max: 1_000_000, per_sender_max: 10 };
    let mut pool = Mempool::new(limits);
    let next = Height::new(5);
    let of = |sender, nonce| transaction(sender, nonce, 10, 100, 1_000);
    // Sender 0 had nonces 0 and 1 in blocks that left; 2 and 3 wait.
    for nonce in 2..4 {
        pool.admit(of(0, nonce), 2, next).unwrap();
    }
    // Of sender 1, the other branch has nonces 0 and 1: one of them another transaction than what waits.
    pool.admit(of(1, 0), 0, next).unwrap();
    pool.admit(of(1, 1), 0, next).unwrap();
    pool.admit(of(1, 2), 0, next).unwrap();
    // What sender 2 returned expires before the next block, so what waits behind it has no place.
    pool.admit(of(2, 1), 1, next).unwrap();
    let returned = vec![of(0, 0), transaction(2, 0, 10, 100, 3), of(0, 1)];
    let nonces = BTreeMap::from([(0, 0), (1, 2), (2, 0)]);
    let nonces: BTreeMap<_, u64> =
        nonces.into_iter().map(|(sender, nonce)| (of(sender, 0).body().sender, nonce)).collect();
    let removed = pool.restart(returned, |sender| Ok::<_, ()>(nonces[sender]), next).unwrap();
    let removed: BTreeMap<_, _> = removed.into_iter().map(|one| (one.id, one.reason)).collect();
    let expected = BTreeMap::from([
        (of(1, 0).id(), Removal::NonceUsed),
        (of(1, 1).id(), Removal::NonceUsed),
        (transaction(2, 0, 10, 100, 3).id(), Removal::Expired),
        (of(2, 1).id(), Removal::Orphaned),
    ]);
    assert_eq!(removed, expected);
    let budget = Budget { gas: Gas::MAX, bytes: 1_000_000, transactions: 100 };
    let mut left: Vec<_> =
        pool.take(budget).into_iter().map(|one| (one.body().sender, one.body().nonce)).collect();
    left.sort();
    let mut expected: Vec<_> = (0..4).map(|nonce| (of(0, 0).body().sender, nonce)).collect();
    expected.push((of(1, 0).body().sender, 2));
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(pool.next_nonce(&of(0, 0).body().sender, 0), 4);

    // Nothing is left of a pool whose accounts cannot be read.
    assert_eq!(pool.restart(Vec::new(), |_| Err("unreadable"), next), Err("unreadable"));
    assert!(pool.is_empty() && pool.bytes() == 0);
}
