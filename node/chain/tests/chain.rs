//! Blocks, heights, proofs and reads of a chain of random blocks.
#![allow(clippy::unwrap_used, reason = "a test's helpers panic where its assertions would")]

mod common;

use common::*;
use purlin_chain::{
    BlockFault, Chain, ChainError, EventCursor, EventFilter, ExecutedBlock, Opening, ReplayError,
};
use purlin_primitives::{Hash32, Height, Outcome, Seal, TimestampMs};
use purlin_state::{
    Column, Durability, KeyValueStore, MemoryStore, Order, StateKey, StoreError, Trust, WriteBatch,
};
use std::sync::Arc;

type Store = Arc<MemoryStore>;

fn grown(seed: u64, blocks: u64) -> (Store, Chain<Store>) {
    let store = Store::default();
    let chain = open(store.clone());
    (0..blocks).for_each(|_| drop(append(&chain, seed).unwrap()));
    (store, chain)
}

#[test]
fn every_height_of_the_window_stays_what_it_was() {
    for seed in 1..=6 {
        let chain = open(Store::default());
        assert_eq!(*chain.opening(), Opening::Created);
        let mut models = vec![read_all(&*chain.state())];
        let mut readers = vec![chain.state()];
        for height in 1..=30u64 {
            let at = format!("seed {seed} height {height}");
            append(&chain, seed).unwrap();
            models.push(read_all(&*chain.state()));
            readers.push(chain.state());
            let oldest = height.saturating_sub(6);
            for past in 0..=height {
                match chain.state_at(Height::new(past)) {
                    Ok(state) => {
                        assert!(past >= oldest, "{at}");
                        assert_state(&*state, &models[past as usize], &format!("{at} at {past}"));
                    }
                    Err(ChainError::Store(StoreError::Pruned { .. })) => assert!(past < oldest, "{at}"),
                    Err(error) => panic!("{at}: {error}"),
                }
            }
            assert!(matches!(chain.state_at(Height::new(height + 1)), Err(ChainError::NotYet { .. })));
        }
        for (height, reader) in readers.iter().enumerate() {
            assert_state(&**reader, &models[height], &format!("seed {seed}: reader taken at {height}"));
        }
        chain.verify_state().unwrap();
    }
}

#[test]
fn a_reader_of_a_height_that_is_pruned_meanwhile_is_told() {
    let (_, chain) = grown(3, 8);
    let old = chain.state_at(Height::new(4)).unwrap();
    let key = StateKey::account(&key().public_key().account_id());
    old.get(&key).unwrap();
    (0..4).for_each(|_| drop(append(&chain, 3).unwrap()));
    assert!(matches!(old.get(&key), Err(StoreError::Pruned { height, .. }) if height == Height::new(4)));
    assert!(matches!(old.scan(&[], &[9], Order::Ascending, 5), Err(StoreError::Pruned { .. })));
}

#[test]
fn proofs_hold_for_every_height_of_the_window() {
    let (_, chain) = grown(2, 12);
    let validators = Trust::Validators(genesis().validator_set().unwrap(), genesis().chain_id);
    for height in 6..12 {
        let model = read_all(&*chain.state_at(Height::new(height)).unwrap());
        let block = chain.header(Height::new(height + 1)).unwrap().unwrap().id();
        let absent = StateKey::app_storage(&app(0), b"nobody");
        for key in model.keys().chain([&absent]) {
            let proof = chain.proof(key, Some(Height::new(height))).unwrap();
            for trust in [&Trust::Block(block), &validators] {
                let verified = proof.verify(trust).unwrap();
                assert_eq!(verified.value.as_ref(), model.get(key));
                assert_eq!(verified.height, Height::new(height));
            }
        }
    }
    let newest = chain.proof(b"x", None).unwrap();
    assert_eq!(newest.header.height, Height::new(12));
    assert!(matches!(chain.proof(b"x", Some(Height::new(12))), Err(ChainError::NotProvableYet { .. })));
    assert!(matches!(chain.proof(b"x", Some(Height::new(13))), Err(ChainError::NotYet { .. })));
    assert!(matches!(
        chain.proof(b"x", Some(Height::new(5))),
        Err(ChainError::Store(StoreError::Pruned { .. }))
    ));
    let young = open(Store::default());
    assert!(matches!(young.proof(b"x", None), Err(ChainError::NotProvableYet { .. })));
}

#[test]
fn overlapped_blocks_give_the_same_chain_as_one_after_the_other() {
    for seed in 1..=4 {
        // The smallest window, where pruning follows the queue of waiting blocks most closely.
        let open = |store| Chain::open(store, genesis(), &TestExecutor, options(1)).unwrap();
        let expected = Store::default();
        let sequential = open(expected.clone());
        (0..16).for_each(|_| drop(append(&sequential, seed).unwrap()));
        let store = Store::default();
        let chain = open(store.clone());
        let mut state = chain.state();
        let mut pending: Option<purlin_chain::PendingBlock> = None;
        let mut sealed: Vec<purlin_chain::SealedBlock> = Vec::new();
        let commit = |sealed: purlin_chain::SealedBlock| {
            let certificate = certificate(sealed.block());
            chain.commit(sealed, Some(&certificate)).unwrap();
        };
        for height in 1..=16 {
            // Executed on the state of a block that is neither sealed nor stored.
            let transactions = random_transactions(&mut Random(seed * 1_000 + height), height, 30);
            let verified: Vec<_> = transactions
                .iter()
                .map(|transaction| transaction.clone().verify(&genesis().chain_id).unwrap())
                .collect();
            let time = TimestampMs::new(1_000 + 100 * height);
            let proposer = key().public_key().account_id();
            let context = chain.context(Height::new(height), time, proposer, Seal::FIRST_ROUND);
            let executed = purlin_chain::Executor::execute_block(
                &TestExecutor,
                state,
                &context,
                &verified,
                purlin_chain::Policy::Refuse,
            )
            .unwrap();
            if let Some(parent) = pending.take() {
                sealed.push(chain.seal(parent).unwrap());
            }
            if sealed.len() == purlin_chain::WAITING_BLOCKS_MAX {
                commit(sealed.remove(0));
            }
            let ids: Vec<_> = verified.iter().map(|transaction| transaction.id()).collect();
            let header = chain.next_header(time, proposer, Seal::FIRST_ROUND, &ids);
            let block = purlin_primitives::Block { header, transactions };
            let next = chain.begin(block, executed).unwrap();
            state = next.state();
            pending = Some(next);
        }
        sealed.push(chain.seal(pending.unwrap()).unwrap());
        sealed.into_iter().for_each(commit);
        assert!(store.dump() == expected.dump(), "seed {seed}: byte for byte");
    }
}

#[test]
fn blocks_are_sealed_and_stored_in_order_and_can_be_abandoned() {
    let chain = open(Store::default());
    let (block, executed) = next_block(&chain, chain.state(), Vec::new());
    let first = chain.begin(block.clone(), executed.clone()).unwrap();
    let twin = chain.begin(block, executed).unwrap();
    let first = chain.seal(first).unwrap();
    assert!(matches!(chain.seal(twin), Err(ChainError::OutOfOrder { .. })));
    let (block, executed) = next_block(&chain, chain.tip_state(), Vec::new());
    let second = chain.seal(chain.begin(block, executed).unwrap()).unwrap();
    assert!(matches!(chain.commit(second, None), Err(ChainError::OutOfOrder { .. })));
    drop(first);
    chain.abandon();
    assert_eq!(chain.tip(), chain.head());
    append(&chain, 1).unwrap();
    assert_eq!(chain.head().height, Height::new(1));
    for _ in 0..purlin_chain::WAITING_BLOCKS_MAX {
        let (block, executed) = next_block(&chain, chain.tip_state(), Vec::new());
        chain.seal(chain.begin(block, executed).unwrap()).unwrap();
    }
    let (block, executed) = next_block(&chain, chain.tip_state(), Vec::new());
    assert!(matches!(chain.begin(block, executed), Err(ChainError::TooManyWaiting { .. })));
}

#[test]
fn blocks_that_do_not_extend_the_chain_are_refused_and_change_nothing() {
    let (store, chain) = grown(1, 3);
    let transactions = random_transactions(&mut Random(5), 4, 9);
    let (block, executed) = next_block(&chain, chain.state(), transactions);
    let before = store.dump();
    let refuse = |change: &dyn Fn(&mut purlin_primitives::Block, &mut ExecutedBlock)| {
        let (mut block, mut executed) = (block.clone(), executed.clone());
        change(&mut block, &mut executed);
        match chain.append(block, executed, None) {
            Err(ChainError::InvalidBlock { fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    };
    let zero = Hash32::ZERO;
    assert!(matches!(refuse(&|b, _| b.header.chain_id = "other".parse().unwrap()), BlockFault::Chain { .. }));
    assert!(matches!(refuse(&|b, _| b.header.height = Height::new(5)), BlockFault::Height { .. }));
    assert!(matches!(refuse(&|b, _| b.header.parent = Default::default()), BlockFault::Parent { .. }));
    assert!(matches!(refuse(&|b, _| b.header.time = chain.head().time), BlockFault::Time { .. }));
    assert!(matches!(refuse(&|b, _| b.header.state_root = zero), BlockFault::StateRoot { .. }));
    assert!(matches!(refuse(&|b, _| b.header.receipts_root = zero), BlockFault::ReceiptsRoot { .. }));
    assert!(matches!(refuse(&|b, _| b.header.transactions_root = zero), BlockFault::TransactionsRoot { .. }));
    assert!(matches!(refuse(&|_, e| drop(e.receipts.pop())), BlockFault::ReceiptCount { .. }));
    let other = chain.block(Height::new(3)).unwrap().unwrap();
    let sealed = chain.seal(chain.begin(block.clone(), executed.clone()).unwrap()).unwrap();
    assert!(matches!(
        chain.commit(sealed, Some(&certificate(&other))),
        Err(ChainError::InvalidBlock { fault: BlockFault::Certificate { .. }, .. })
    ));
    assert!(store.dump() == before);
    chain.abandon();
    chain.append(block, executed, None).unwrap();
}

#[test]
fn undo_is_right_when_execution_hands_over_no_old_values() {
    let (expected, _) = grown(4, 6);
    let store = Store::default();
    let chain = open(store.clone());
    for height in 1..=6 {
        let transactions = random_transactions(&mut Random(4_000 + height), height, 30);
        let (block, mut executed) = next_block(&chain, chain.state(), transactions);
        executed.previous.clear();
        let certificate = certificate(&block);
        chain.append(block, executed, Some(&certificate)).unwrap();
    }
    assert!(store.dump() == expected.dump());
}

#[test]
fn everything_stored_can_be_read_again() {
    let store = Store::default();
    let chain = open(store.clone());
    let mut all_events = Vec::new();
    for height in (1..=12).map(Height::new) {
        // Enough for several runs of transactions, receipts and events.
        let transactions = random_transactions(&mut Random(height.get()), height.get(), 600);
        let (block, executed) = next_block(&chain, chain.state(), transactions);
        let certificate = certificate(&block);
        let committed = chain.append(block.clone(), executed.clone(), Some(&certificate)).unwrap();
        assert_eq!(committed.head, chain.head());
        let id = block.header.id();
        assert_eq!(chain.block(height).unwrap().unwrap(), block);
        assert_eq!(chain.block_height(&id).unwrap(), Some(height));
        assert_eq!(chain.certificate(height).unwrap().unwrap(), certificate);
        assert_eq!(chain.receipts(height).unwrap(), executed.receipts);
        let mut index = 0;
        for (position, receipt) in executed.receipts.iter().enumerate() {
            let record = chain.receipt(&receipt.transaction).unwrap().unwrap();
            assert_eq!((record.height, record.position as usize), (height, position));
            assert_eq!(&record.receipt, receipt);
            let record = chain.transaction(&receipt.transaction).unwrap().unwrap();
            assert_eq!(record.transaction, block.transactions[position]);
            let diagnostic = chain.diagnostic(&receipt.transaction).unwrap();
            let failed = matches!(receipt.outcome, Outcome::Failed { .. });
            assert_eq!(diagnostic, failed.then(|| format!("why {}", receipt.transaction)));
            for event in &receipt.events {
                all_events.push((EventCursor { height, index }, receipt.transaction, event.clone()));
                index += 1;
            }
        }
    }
    assert!(all_events.len() > 500, "the test has {} events", all_events.len());
    assert_eq!(chain.block(Height::ZERO).unwrap(), None);
    assert_eq!(chain.block(Height::new(13)).unwrap(), None);
    assert_eq!(chain.receipt(&Default::default()).unwrap(), None);

    let filters = [None, Some(app(0)), Some(app(1)), Some("absent".parse().unwrap())];
    for app in filters {
        for topic in [None, Some("alert".to_string()), Some("never".into())] {
            let filter = EventFilter { app: app.clone(), topic };
            for limit in [1, 7, 100, 1000] {
                for start in [EventCursor::default(), all_events[70].0, all_events[71].0] {
                    let mut found = Vec::new();
                    let mut cursor = start;
                    loop {
                        let page = chain.events(cursor, &filter, limit).unwrap();
                        assert!(page.events.len() <= limit);
                        assert!(page.next > cursor || page.complete);
                        found.extend(page.events.into_iter().map(|e| (e.cursor, e.transaction, e.event)));
                        cursor = page.next;
                        if page.complete {
                            break;
                        }
                    }
                    let expected: Vec<_> = all_events
                        .iter()
                        .filter(|(at, _, event)| *at >= start && filter.accepts(event))
                        .cloned()
                        .collect();
                    assert_eq!(found, expected, "{filter:?} from {start:?} by {limit}");
                    assert_eq!(cursor, EventCursor::start_of(Height::new(13)));
                }
            }
        }
    }
}

#[test]
fn diagnostics_leave_after_their_time() {
    let store = Store::default();
    let options = purlin_chain::ChainOptions { window_blocks: 2, diagnostics_blocks: 3 };
    let chain = Chain::open(store.clone(), genesis(), &TestExecutor, options).unwrap();
    let mut ids = Vec::new();
    for height in 1..=6 {
        let failing = vec![transaction(height, vec![call(&app(0), "fail", [])])];
        let (block, executed) = next_block(&chain, chain.state(), failing);
        ids.push(executed.receipts[0].transaction);
        chain.append(block, executed, None).unwrap();
    }
    let kept: Vec<bool> = ids.iter().map(|id| chain.diagnostic(id).unwrap().is_some()).collect();
    assert_eq!(kept, [false, false, true, true, true, true]);
}

#[test]
fn other_chains_and_newer_formats_are_refused_by_name() {
    let (store, _) = grown(1, 2);
    let before = store.dump();
    let reopen = |genesis| Chain::open(store.clone(), genesis, &TestExecutor, options(6)).map(drop);
    let mut other = genesis();
    other.chain_id = "other".parse().unwrap();
    let message = reopen(other).unwrap_err().to_string();
    assert!(message.contains("chain test") && message.contains("chain other"), "{message}");
    let mut other = genesis();
    other.accounts[0].balance = purlin_primitives::Amount::new(501);
    assert!(matches!(reopen(other), Err(ChainError::OtherChain { .. })));

    let set_format = |version: u32| {
        let mut batch = WriteBatch::default();
        batch.put(Column::Meta, *b"format", version.to_le_bytes());
        store.write(batch, Durability::Synced).unwrap();
    };
    for version in [1, 2, 4] {
        set_format(version);
        let message = reopen(genesis()).unwrap_err().to_string();
        assert!(message.contains(&format!("version {version}")) && message.contains("reads 3"), "{message}");
    }
    set_format(3);
    reopen(genesis()).unwrap();
    assert!(store.dump() == before, "refusing and opening write nothing");
}

fn change(store: &Store, column: Column, key: Vec<u8>, value: Option<Vec<u8>>) {
    let mut batch = WriteBatch::default();
    match value {
        Some(value) => batch.put(column, key, value),
        None => batch.delete(column, key),
    }
    store.write(batch, Durability::Synced).unwrap();
}

#[test]
fn a_damaged_tree_is_built_again_and_damaged_values_are_refused() {
    let root_key = |height: u64| [&height.to_be_bytes()[..], &[0]].concat();
    for damage in ["missing", "garbage", "another root"] {
        let (store, chain) = grown(7, 9);
        let head = chain.head();
        let model = read_all(&*chain.state());
        drop(chain);
        let value = match damage {
            "missing" => None,
            "garbage" => Some(vec![77]),
            _ => store.get(Column::TreeNodes, &root_key(5)).unwrap(),
        };
        change(&store, Column::TreeNodes, root_key(9), value);
        let chain = open(store.clone());
        assert!(matches!(chain.opening(), Opening::Repaired { .. }), "{damage}: {:?}", chain.opening());
        assert_eq!(chain.head().state_root, head.state_root);
        assert_state(&*chain.state(), &model, damage);
        assert!(matches!(
            chain.proof(b"x", Some(Height::new(8))),
            Err(ChainError::Store(StoreError::Pruned { .. }))
        ));
        append(&chain, 7).unwrap();
        let key = model.keys().next().unwrap();
        let proof = chain.proof(key, None).unwrap();
        assert_eq!(proof.value.as_ref(), model.get(key));
        (0..10).for_each(|_| drop(append(&chain, 7).unwrap()));
        // Nothing is left behind: an undamaged chain has the same nodes in the end.
        let (undamaged, _) = grown(7, 20);
        let nodes = |store: &Store| {
            store.scan(Column::TreeNodes, &[], None, Order::Ascending, usize::MAX).unwrap().len()
        };
        assert!(nodes(&store) <= nodes(&undamaged));
        drop(chain);
        assert_eq!(*open(store).opening(), Opening::Opened);

        let (store, chain) = grown(7, 9);
        let account = StateKey::account(&key_account());
        change(&store, Column::Values, account, Some(vec![1, 2, 3]));
        change(&store, Column::TreeNodes, root_key(9), None);
        drop(chain);
        let before = store.dump();
        let refused = Chain::open(store.clone(), genesis(), &TestExecutor, options(6));
        assert!(matches!(refused, Err(ChainError::Inconsistent { .. })));
        assert!(store.dump() == before);
    }
}

fn key_account() -> purlin_primitives::AccountId {
    key().public_key().account_id()
}

#[test]
fn a_head_without_its_block_is_refused() {
    for (column, key, value) in [
        (Column::Blocks, [&9u64.to_be_bytes()[..], &[0]].concat(), None),
        (Column::Blocks, [&10u64.to_be_bytes()[..], &[0]].concat(), Some(vec![1])),
        (Column::Meta, b"head".to_vec(), None),
        (Column::Meta, b"chain".to_vec(), None),
        (Column::Meta, b"format".to_vec(), None),
        (Column::Meta, b"head".to_vec(), Some(vec![1])),
    ] {
        let (store, chain) = grown(7, 9);
        drop(chain);
        change(&store, column, key.clone(), value);
        let refused = Chain::open(store, genesis(), &TestExecutor, options(6));
        assert!(
            matches!(
                refused,
                Err(ChainError::Inconsistent { .. } | ChainError::Store(StoreError::Corrupt { .. }))
            ),
            "{column:?} {key:?}"
        );
    }
}

#[test]
fn replay_agrees_and_finds_what_was_altered() {
    let (store, chain) = grown(6, 10);
    let mut seen = Vec::new();
    let report = chain.verify_from_blocks(&TestExecutor, |height| seen.push(height.get())).unwrap();
    assert_eq!((report.blocks, report.state_root), (10, chain.head().state_root));
    assert_eq!(report.transactions, chain.head().transactions);
    assert_eq!(seen, (1..=10).collect::<Vec<_>>());

    let replay = || chain.verify_from_blocks(&TestExecutor, |_| ());
    let account = StateKey::account(&key_account());
    let value = store.get(Column::Values, &account).unwrap();
    change(&store, Column::Values, account.clone(), Some(vec![0]));
    assert!(matches!(replay(), Err(ReplayError::Head { what: "state root", .. })));
    change(&store, Column::Values, account, value);
    replay().unwrap();

    let key = store.scan(Column::Receipts, &[], None, Order::Ascending, 1).unwrap().remove(0);
    let mut receipts: Vec<purlin_primitives::Receipt> = borsh::from_slice(&key.1).unwrap();
    receipts[0].gas_used = purlin_primitives::Gas::new(12_345);
    change(&store, Column::Receipts, key.0.clone(), Some(borsh::to_vec(&receipts).unwrap()));
    assert!(matches!(replay(), Err(ReplayError::Receipt { .. })));
    change(&store, Column::Receipts, key.0, Some(key.1));

    let key = store.scan(Column::Blocks, &[], None, Order::Ascending, 2).unwrap().remove(1);
    let mut transactions: Vec<purlin_primitives::Transaction> = borsh::from_slice(&key.1).unwrap();
    transactions[0].body.nonce += 1;
    change(&store, Column::Blocks, key.0, Some(borsh::to_vec(&transactions).unwrap()));
    assert!(matches!(replay(), Err(ReplayError::Transaction { .. })));
}
