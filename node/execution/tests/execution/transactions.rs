use purlin_abi::GasSchedule;
use purlin_chain::{ExecutionFault, Executor, InclusionError, Policy};
use purlin_primitives::{
    Action, Amount, FailureCode, Gas, Height, Outcome, Parameters, TransactionBody, VerifiedTransaction,
};

use super::support::*;

fn transfer(to: u8, amount: u128) -> Action {
    Action::Transfer { to: account(to), amount: Amount::new(amount) }
}

#[test]
fn a_transfer_moves_money_and_pays_the_proposer() {
    let mut chain = TestChain::new();
    let receipt = chain.send(0, vec![transfer(1, 300), transfer(2, 4)]);
    assert!(receipt.succeeded());
    assert_eq!(receipt.fee, FEE);
    let size = signed(0, chain.body(0, vec![transfer(1, 300), transfer(2, 4)])).size_bytes() as u64;
    let prices = GasSchedule::V1;
    let expected = prices.transaction_base
        + prices.transaction_byte * size
        + 2 * (prices.action_base + 2 * prices.account + 2 * prices.storage_write);
    assert_eq!(receipt.gas_used, Gas::new(expected));
    assert_eq!(chain.balance(&account(0)), 1_000_000 - 304 - 10);
    assert_eq!(chain.balance(&account(1)), 1_000_300);
    assert_eq!(chain.balance(&PROPOSER), 10);
    assert_eq!(chain.nonce(&account(0)), 1);
}

#[test]
fn a_failed_action_takes_all_others_with_it() {
    let mut chain = TestChain::new();
    let failure = chain.bad(0, vec![transfer(1, 300), transfer(1, u128::MAX)]);
    assert_eq!(failure.code, FailureCode::InsufficientBalance);
    let receipt = chain.send(0, vec![transfer(1, 300), transfer(1, u128::MAX)]);
    assert!(matches!(receipt.outcome, Outcome::Failed { action: 1, .. }));
}

#[test]
fn a_zero_fee_writes_nothing_for_the_proposer() {
    let mut chain = TestChain::new();
    let body = TransactionBody { fee: Amount::ZERO, ..chain.body(0, vec![transfer(1, 1)]) };
    let block = chain.block(&[signed(0, body)]);
    assert_eq!(block.changes.len(), 2, "sender and receiver");
}

#[test]
fn running_out_of_gas_costs_the_limit_and_nothing_else() {
    let mut chain = TestChain::new();
    let enough = chain.send(0, vec![transfer(1, 1)]).gas_used;
    let mut body = chain.body(0, vec![transfer(1, 1)]);
    body.gas_limit = Gas::new(enough.get() - 1);
    assert_eq!(chain.bad_body(0, body.clone()).code, FailureCode::OutOfGas);
    body.nonce += 1;
    assert_eq!(chain.send_body(0, body.clone()).gas_used, body.gas_limit);
    body.nonce += 1;
    body.gas_limit = enough;
    assert!(chain.send_body(0, body).succeeded(), "the last unit of gas may be used");
}

/// Checks that a transaction is refused, left out or not admitted, for a reason.
fn check_refused(chain: &TestChain, body: TransactionBody, expected: &InclusionError) {
    let transaction = signed(0, body);
    match chain.execute(std::slice::from_ref(&transaction), Policy::Refuse) {
        Err(ExecutionFault::InvalidBlock { reason, .. }) => assert_eq!(reason, *expected),
        other => panic!("{expected}: {other:?}"),
    }
    let block = chain.execute(std::slice::from_ref(&transaction), Policy::LeaveOut).unwrap();
    assert!(block.changes.is_empty(), "{expected}: {:?}", block.changes);
    assert_eq!((block.rejected.len(), block.included.len()), (1, 0));
    assert_eq!(block.rejected[0].reason, *expected);
    // The nonce is the pool's business.
    let admitted = chain.executor.check_admission(&*chain.state(), &chain.context(), &transaction).unwrap();
    if matches!(expected, InclusionError::NonceUsed { .. } | InclusionError::NonceGap { .. }) {
        assert_eq!(admitted, Ok(()));
    } else {
        assert_eq!(admitted, Err(expected.clone()));
    }
}

#[test]
fn what_may_not_be_in_a_block_is_left_out_or_refused() {
    let mut chain = TestChain::new();
    chain.parameters = std::sync::Arc::new(Parameters {
        fee_per_million_gas_min: Amount::new(3),
        block_gas_limit: Gas::new(2_000_001),
        block_bytes_max: 1_000,
        expiry_blocks_max: 100,
        ..Parameters::default()
    });
    let mut good = chain.body(0, vec![transfer(1, 1)]);
    good.gas_limit = Gas::new(2_000_000);
    assert!(chain.send_body(0, good.clone()).succeeded());
    good.nonce = 1;
    let with = |change: &dyn Fn(&mut TransactionBody)| {
        let mut body = good.clone();
        change(&mut body);
        body
    };
    check_refused(&chain, with(&|b| b.nonce = 0), &InclusionError::NonceUsed { nonce: 0, expected: 1 });
    check_refused(&chain, with(&|b| b.nonce = 3), &InclusionError::NonceGap { nonce: 3, expected: 1 });
    let (expires_at, height) = (Height::new(1), Height::new(2));
    check_refused(
        &chain,
        with(&|b| b.expires_at = expires_at),
        &InclusionError::Expired { expires_at, height },
    );
    let (expires_at, max) = (Height::new(103), Height::new(102));
    check_refused(
        &chain,
        with(&|b| b.expires_at = expires_at),
        &InclusionError::ExpiryTooFar { expires_at, max },
    );
    let fee = Amount::new(10_000_000);
    let balance = Amount::new(chain.balance(&account(0)));
    check_refused(&chain, with(&|b| b.fee = fee), &InclusionError::FeeUnpaid { balance, fee });
    let (fee, min, gas_limit) = (Amount::new(6), Amount::new(7), Gas::new(2_000_001));
    check_refused(
        &chain,
        with(&|b| (b.fee, b.gas_limit) = (fee, gas_limit)),
        &InclusionError::FeeTooLow { fee, min, gas_limit },
    );
    let size = signed(0, good.clone()).size_bytes() as u64;
    let min = Gas::new(GasSchedule::V1.transaction_base + GasSchedule::V1.transaction_byte * size);
    let max = Gas::new(2_000_001);
    for gas_limit in [Gas::new(min.get() - 1), Gas::new(2_000_002)] {
        check_refused(
            &chain,
            with(&|b| b.gas_limit = gas_limit),
            &InclusionError::GasLimit { gas_limit, min, max },
        );
    }
    let large = with(&|b| b.actions = vec![transfer(1, 1); 60]);
    let bytes = signed(0, large.clone()).size_bytes() as u64;
    check_refused(&chain, large, &InclusionError::TooLarge { bytes, max: 1_000 });
    assert!(chain.send_body(0, good).succeeded(), "the good one still is");
}

#[test]
fn a_block_has_room_for_so_much() {
    let mut chain = TestChain::new();
    let batch = |chain: &TestChain| -> Vec<VerifiedTransaction> {
        (0..5)
            .map(|n| {
                let mut body = chain.body(n, vec![transfer(0, 1)]);
                body.gas_limit = Gas::new(1_000_000);
                signed(n, body)
            })
            .collect()
    };
    let transactions = batch(&chain);
    let size = transactions[0].size_bytes() as u64;
    let gas = chain.execute(&transactions[..1], Policy::Refuse).unwrap().gas_used.get();
    let limits = [
        Parameters { block_transactions_max: 3, ..Parameters::default() },
        Parameters { block_bytes_max: 4 * size - 1, ..Parameters::default() },
        // Three fit by their limits: two have used less than theirs when the third comes.
        Parameters { block_gas_limit: Gas::new(2 * gas + 1_000_000), ..Parameters::default() },
    ];
    for parameters in limits {
        chain.parameters = std::sync::Arc::new(parameters);
        let block = chain.execute(&transactions, Policy::LeaveOut).unwrap();
        assert_eq!(block.included, [0, 1, 2]);
        assert!(block.rejected.iter().all(|r| r.reason == InclusionError::BlockFull), "{:?}", block.rejected);
        let refused = chain.execute(&transactions, Policy::Refuse);
        assert!(matches!(
            refused,
            Err(ExecutionFault::InvalidBlock { reason: InclusionError::BlockFull, .. })
        ));
        chain.execute(&transactions[..3], Policy::Refuse).unwrap();
    }
}

#[test]
fn nonces_follow_each_other_inside_a_block() {
    let mut chain = TestChain::new();
    let first = chain.body(0, vec![transfer(1, 1)]);
    let second = TransactionBody { nonce: 1, ..first.clone() };
    let block = [second.clone(), first.clone(), second, first].map(|body| signed(0, body));
    let built = chain.execute(&block, Policy::LeaveOut).unwrap();
    assert_eq!(built.included, [1, 2]);
    assert!(matches!(built.rejected[0].reason, InclusionError::NonceGap { .. }));
    assert!(matches!(built.rejected[1].reason, InclusionError::NonceUsed { .. }));
    assert_eq!(chain.block(&block[1..3]).receipts.len(), 2);
}

#[test]
fn an_access_list_is_kept_to() {
    let mut chain = TestChain::new();
    chain.install("one");
    chain.install("two");
    let mut body = chain.body(0, vec![call("one", "call", &forward("two", "emit", b"x", 0, 0))]);
    body.access = vec![app("one"), app("two")];
    assert!(chain.send_body(0, body.clone()).succeeded());
    body.nonce += 1;
    body.access = vec![app("one")];
    let failure = chain.bad_body(0, body.clone());
    assert_eq!((failure.code, failure.app), (FailureCode::AccessList, Some(app("one"))));
    body.access = vec![app("two")];
    for action in [
        call("one", "emit", b""),
        Action::StopApp { app: app("one") },
        Action::StartApp { app: app("one") },
        Action::UninstallApp { app: app("one") },
        upgrade(&package("one", "1.0.1", ""), b""),
        install(&package("three", "1.0.0", ""), b""),
    ] {
        body.nonce += 1;
        body.actions = vec![action];
        assert_eq!(chain.bad_body(0, body.clone()).code, FailureCode::AccessList);
    }
}

#[test]
fn simulation_tells_what_would_happen_and_changes_nothing() {
    let mut chain = TestChain::new();
    chain.install("one");
    let before = chain.entries();
    let mut body = chain.body(0, vec![call("one", "emit", b"x")]);
    body.nonce = 99;
    body.gas_limit = Gas::ZERO;
    let (simulated, _) = chain.executor.simulate(chain.state(), &chain.context(), &body).unwrap();
    assert!(simulated.succeeded());
    assert_eq!((simulated.events.len(), simulated.fee), (1, Amount::ZERO));
    assert_eq!(chain.entries(), before);
    let real = chain.send(0, vec![call("one", "emit", b"x")]);
    assert_eq!(real.gas_used, simulated.gas_used);
}

#[test]
fn a_genesis_that_makes_too_much_is_refused() {
    let mut genesis = purlin_primitives::Genesis {
        chain_id: "test".parse().unwrap(),
        time: Default::default(),
        validators: Vec::new(),
        accounts: Vec::new(),
        parameters: Parameters::default(),
    };
    for n in 0..2 {
        genesis
            .accounts
            .push(purlin_primitives::GenesisAccount { account: account(n), balance: Amount::MAX });
    }
    let executor = TestChain::new().executor;
    assert!(executor.genesis(&genesis).unwrap_err().to_string().contains("accounts"));
    genesis.accounts.clear();
    genesis.parameters.gas_schedule = 2;
    assert!(executor.genesis(&genesis).unwrap_err().to_string().contains("gas schedule 2"));
}
