//! The overlay against a plain map, under random operations.
#![allow(clippy::unwrap_used, reason = "a test's helpers panic where its assertions would")]

use std::collections::BTreeMap;
use std::sync::Arc;

use purlin_state::{Changes, EmptyState, LayeredReader, Order, Overlay, ScanLimits, Scanned, StateReader};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// xorshift64*; the seed is in the message of every assertion.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    /// Few and nested keys, so that operations meet.
    fn key(&mut self) -> Vec<u8> {
        let length = 1 + self.below(3);
        (0..length).map(|_| [0, 1, 7, 0xff][self.below(4) as usize]).collect()
    }
}

fn model_scan(model: &Model, from: &[u8], to: &[u8], order: Order, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let within = model.iter().filter(|(key, _)| key.as_slice() >= from && key.as_slice() < to);
    let copy = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
    match order {
        Order::Ascending => within.take(limit).map(copy).collect(),
        Order::Descending => within.rev().take(limit).map(copy).collect(),
    }
}

fn reader(model: &Model) -> Arc<dyn StateReader> {
    let changes: Changes = model.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    Arc::new(LayeredReader::new(Arc::new(changes), Arc::new(EmptyState)))
}

#[test]
fn behaves_like_a_map_with_snapshots() {
    for seed in 1..=300 {
        let mut random = Random(seed);
        let base: Model = (0..random.below(30)).map(|n| (random.key(), vec![n as u8])).collect();
        let mut model = base.clone();
        let mut overlay = Overlay::new(reader(&base));
        let mut snapshots = Vec::new();
        for step in 0..200 {
            let at = format!("seed {seed} step {step}");
            let key = random.key();
            match random.below(10) {
                0..=2 => {
                    let value = vec![random.below(4) as u8];
                    overlay.set(&key, value.clone());
                    model.insert(key, value);
                }
                3 => assert_eq!(overlay.remove(&key).unwrap(), model.remove(&key).is_some(), "{at}"),
                4..=5 => assert_eq!(overlay.get(&key).unwrap(), model.get(&key).map(Vec::as_slice), "{at}"),
                6 => snapshots.push((overlay.checkpoint(), model.clone())),
                7 if !snapshots.is_empty() => {
                    let (checkpoint, old) =
                        snapshots.swap_remove(random.below(snapshots.len() as u64) as usize);
                    overlay.rollback(checkpoint);
                    model = old;
                    snapshots.retain(|(other, _)| *other <= checkpoint);
                }
                _ => {
                    let to = random.key();
                    let order = [Order::Ascending, Order::Descending][random.below(2) as usize];
                    let limit = random.below(8) as usize;
                    assert_eq!(
                        overlay.scan(&key, &to, order, limit).unwrap(),
                        model_scan(&model, &key, &to, order, limit),
                        "{at}: {key:?}..{to:?} {order:?} {limit}"
                    );
                }
            }
        }
        let (changes, previous) = overlay.into_changes_and_previous().unwrap();
        let mut expected = Changes::new();
        for key in base.keys().chain(model.keys()) {
            if base.get(key) != model.get(key) {
                expected.insert(key.clone(), model.get(key).cloned());
            }
        }
        assert_eq!(changes, expected, "seed {seed}: exactly what differs, nothing that was written back");
        for (key, old) in &previous {
            assert_eq!(old.as_ref(), base.get(key), "seed {seed}");
        }
        assert!(previous.keys().eq(changes.keys()), "seed {seed}");
        let layered = LayeredReader::new(Arc::new(changes), reader(&base));
        for order in [Order::Ascending, Order::Descending] {
            for limit in [0, 1, 3, 1000] {
                assert_eq!(
                    layered.scan(&[], &[0xff; 9], order, limit).unwrap(),
                    model_scan(&model, &[], &[0xff; 9], order, limit),
                    "seed {seed} layered {order:?} {limit}"
                );
            }
        }
    }
}

/// Counts what reaches the state below.
struct Counting(std::sync::atomic::AtomicUsize);

impl StateReader for Counting {
    fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, purlin_state::StoreError> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(None)
    }

    fn scan(
        &self,
        _: &[u8],
        _: &[u8],
        _: Order,
        _: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, purlin_state::StoreError> {
        Ok(Vec::new())
    }
}

#[test]
fn reads_each_key_below_once() {
    let base = Arc::new(Counting(0.into()));
    let mut overlay = Overlay::new(base.clone());
    let start = overlay.checkpoint();
    for _ in 0..3 {
        assert_eq!(overlay.get(b"absent").unwrap(), None);
        overlay.set(b"absent", b"1");
        overlay.set(b"blind", b"2");
        assert_eq!(overlay.get(b"blind").unwrap(), Some(&b"2"[..]));
        overlay.rollback(start);
    }
    assert_eq!(base.0.load(std::sync::atomic::Ordering::Relaxed), 1, "a blind write reads nothing");
    assert_eq!(overlay.get(b"blind").unwrap(), None);
    assert_eq!(base.0.load(std::sync::atomic::Ordering::Relaxed), 2);
    assert!(overlay.into_changes().unwrap().is_empty());
}

#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_token_transfer() {
    let accounts = 10_000u32;
    let base: Model = (0..accounts)
        .flat_map(|n| {
            let id = blake(n);
            [(id.clone(), vec![7; 24]), ([b"token-storage-balances:".as_slice(), &id].concat(), vec![1; 16])]
        })
        .collect();
    let base = reader(&base);
    let mut overlay = Overlay::new(base);
    let keys: Vec<(Vec<u8>, Vec<u8>)> = (0..accounts)
        .map(|n| (blake(n), [b"token-storage-balances:".as_slice(), &blake(n)].concat()))
        .collect();
    for round in 0..4 {
        let start = std::time::Instant::now();
        for n in 0..accounts as usize {
            let (from, to) = (&keys[n], &keys[(n * 7 + 13) % accounts as usize]);
            let _outer = overlay.checkpoint();
            // Sender's account: fee and nonce; then two balances read and written.
            let account = overlay.get(&from.0).unwrap().unwrap().to_vec();
            overlay.set(&from.0, account);
            let _inner = overlay.checkpoint();
            for key in [&from.1, &to.1] {
                let mut balance = overlay.get(key).unwrap().unwrap().to_vec();
                balance[0] = balance[0].wrapping_add(1);
                overlay.set(key, balance);
            }
            overlay.settle();
        }
        println!(
            "round {round}: {:.0} ns per transfer",
            start.elapsed().as_nanos() as f64 / f64::from(accounts)
        );
    }
    let start = std::time::Instant::now();
    let changes = overlay.into_changes().unwrap();
    println!("into_changes: {:.0} ns per key", start.elapsed().as_nanos() as f64 / changes.len() as f64);
}

fn blake(n: u32) -> Vec<u8> {
    let mut random = Random(u64::from(n) + 1);
    (0..20).map(|_| random.next() as u8).collect()
}

#[test]
fn a_scan_tells_what_it_passed_over() {
    let base: Model = (b'0'..=b'9').map(|digit| (vec![digit], vec![digit; 3])).collect();
    let mut overlay = Overlay::new(reader(&base));
    (b'0'..b'5').for_each(|digit| overlay.remove(&[digit]).map(drop).unwrap());
    let mut scan = |limits| overlay.scan_within(b"0", b"z", Order::Ascending, limits).unwrap();
    let keys = |scanned: &Scanned| scanned.entries.iter().map(|(key, _)| key[0]).collect::<Vec<_>>();

    let one = scan(ScanLimits::entries(1));
    assert_eq!((keys(&one), one.removed, one.removed_bytes), (vec![b'5'], 5, 5 * 4));
    let none = scan(ScanLimits { steps: 3, ..ScanLimits::entries(1) });
    assert_eq!((keys(&none), none.removed), (vec![], 3));
    let two = scan(ScanLimits { bytes: 5, ..ScanLimits::entries(9) });
    assert_eq!(keys(&two), b"56");
    let all = scan(ScanLimits::entries(100));
    assert_eq!((keys(&all), all.removed), (b"56789".to_vec(), 5));
}
