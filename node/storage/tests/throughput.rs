//! What storing a block costs, stage by stage; run with --ignored --nocapture.
#![allow(clippy::unwrap_used, reason = "a test's helpers panic where its assertions would")]

#[path = "../../chain/tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::*;
use purlin_chain::ExecutedBlock;
use purlin_primitives::{AccountId, Action, Amount, Block, Outcome, Receipt, TransactionId};
use purlin_state::{Changes, Overlay, StateKey, StateReader};
use purlin_storage::{RocksStore, StorageOptions};
use std::sync::Arc;

const ACCOUNTS: u64 = 10_000;
const TRANSFERS: usize = 2_000;

fn account(n: u64) -> AccountId {
    let mut random = Random(n + 1);
    AccountId::new(std::array::from_fn(|_| random.below(256) as u8))
}

/// Changes of a block of token transfers: two accounts and two balances each.
fn transfers(state: Arc<dyn StateReader>, random: &mut Random) -> (Changes, Changes) {
    let mut overlay = Overlay::new(state);
    for _ in 0..TRANSFERS {
        for _ in 0..2 {
            let account = account(random.below(ACCOUNTS));
            let balance = StateKey::app_storage(&app(0), &[b"balances:", &account.as_bytes()[..]].concat());
            for (key, length) in [(StateKey::account(&account), 24), (balance, 16)] {
                let mut value = overlay.get(&key).unwrap().map_or(vec![0; length], <[u8]>::to_vec);
                value[0] = value[0].wrapping_add(1);
                overlay.set(&key, value);
            }
        }
    }
    overlay.into_changes_and_previous().unwrap()
}

#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_blocks_of_token_transfers() {
    let directory = tempfile::tempdir_in(".").unwrap();
    let store = RocksStore::open(directory.path(), &StorageOptions::default()).unwrap();
    let chain = open(store);
    let signed = transaction(
        1,
        vec![
            Action::Transfer { to: AccountId::ZERO, amount: Amount::new(1) },
            call(&app(0), "emit", vec![0; 100]),
        ],
    );
    let mut random = Random(1);
    println!("per transfer, of {TRANSFERS} in a block over {ACCOUNTS} accounts:");
    for round in 0..30u64 {
        let (block, mut executed) = next_block(&chain, chain.state(), Vec::new());
        let started = Instant::now();
        (executed.changes, executed.previous) = transfers(chain.state(), &mut random);
        let overlay = started.elapsed();
        let keys = executed.changes.len();
        let event =
            purlin_primitives::Event { app: app(0), topic: "transferred".into(), payload: vec![1; 60] };
        let receipts = (0..TRANSFERS as u64).map(|n| {
            let mut id = [round as u8; 32];
            let mut bytes = Random(round * 1_000_000 + n + 1);
            id.iter_mut().for_each(|byte| *byte = bytes.below(256) as u8);
            Receipt {
                transaction: TransactionId::new(purlin_primitives::Hash32::new(id)),
                outcome: Outcome::Succeeded { outputs: vec![Vec::new()] },
                gas_used: Default::default(),
                fee: Amount::ZERO,
                events: vec![event.clone()],
            }
        });
        let executed = ExecutedBlock { receipts: receipts.collect(), ..executed };
        let ids: Vec<_> = executed.receipts.iter().map(|receipt| receipt.transaction).collect();
        let header = chain.next_header(block.header.time, block.header.proposer, block.header.seal, &ids);
        let block = Block { header, transactions: vec![signed.clone(); TRANSFERS] };
        let started = Instant::now();
        let pending = chain.begin(block, executed).unwrap();
        let begin = started.elapsed();
        let started = Instant::now();
        let sealed = chain.seal(pending).unwrap();
        let seal = started.elapsed();
        let started = Instant::now();
        chain.commit(sealed, None).unwrap();
        let commit = started.elapsed();
        if round % 5 == 4 {
            let each = |spent: std::time::Duration| spent.as_secs_f64() * 1e6 / TRANSFERS as f64;
            println!(
                "block {round}: {keys} keys; overlay {:.1} us, begin {:.1}, seal {:.1} ({:.1} per key), commit {:.1}",
                each(overlay),
                each(begin),
                each(seal),
                seal.as_secs_f64() * 1e6 / keys as f64,
                each(commit)
            );
        }
    }
    println!("{:?}", chain.store().usage().unwrap());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().filter(|line| line.starts_with("VmRSS")).for_each(|line| println!("{line}"));
}
