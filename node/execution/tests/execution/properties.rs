use proptest::prelude::*;
use purlin_chain::Policy;
use purlin_modules::accounts::{self, AccountRecord};
use purlin_primitives::{Action, Amount, Gas, TransactionBody, VerifiedTransaction};
use purlin_state::{StatePrefix, StateReader};

use super::support::*;

/// Sums every stored balance.
fn total(state: &dyn StateReader) -> u128 {
    let (from, to) = ([StatePrefix::Account as u8], [StatePrefix::Account as u8 + 1]);
    let entries = state.scan(&from, &to, purlin_state::Order::Ascending, usize::MAX).unwrap();
    entries.iter().map(|(_, bytes)| borsh::from_slice::<AccountRecord>(bytes).unwrap().balance.get()).sum()
}

fn action() -> impl Strategy<Value = Action> {
    let name = prop_oneof![Just("one"), Just("two"), Just("none")];
    let amount = prop_oneof![4 => 0..300_000u128, 1 => any::<u128>()];
    let method =
        prop_oneof![Just("emit"), Just("set_and_fail"), Just("set_and_trap"), Just("context"), Just("none")];
    prop_oneof![
        (0..6u8, amount.clone())
            .prop_map(|(to, amount)| Action::Transfer { to: account(to), amount: Amount::new(amount) }),
        (name.clone(), method.clone(), amount.clone())
            .prop_map(|(name, method, deposit)| pay(name, method, b"\x01ab", deposit)),
        (name.clone(), name.clone(), method, amount.clone(), amount.clone()).prop_map(
            |(name, inner, method, kept, sent)| {
                pay(name, "call", &forward(inner, method, b"\x01ab", sent, 0), kept)
            }
        ),
        (name.clone(), 0..6u8, amount).prop_map(|(name, to, amount)| {
            call(name, "pay", &[account(to).as_bytes().as_slice(), &amount.to_le_bytes()].concat())
        }),
        name.clone().prop_map(|name| Action::StopApp { app: app(name) }),
        name.clone().prop_map(|name| Action::StartApp { app: app(name) }),
        name.clone().prop_map(|name| Action::UninstallApp { app: app(name) }),
        name.prop_map(|name| install(&package(name, "1.0.0", ""), b"")),
    ]
}

type Plan = Vec<(u8, u128, u64, Vec<Action>)>;

fn plan() -> impl Strategy<Value = Plan> {
    let transaction = (0..5u8, 0..100u128, 300_000..400_000_000u64, prop::collection::vec(action(), 1..4));
    prop::collection::vec(transaction, 1..12)
}

fn build(chain: &TestChain, plan: &Plan) -> Vec<VerifiedTransaction> {
    let mut nonces = [0; 5];
    plan.iter()
        .map(|(sender, fee, gas, actions)| {
            let mut body = TransactionBody { fee: Amount::new(*fee), ..chain.body(*sender, actions.clone()) };
            body.gas_limit = Gas::new(*gas);
            body.nonce += nonces[usize::from(*sender)];
            nonces[usize::from(*sender)] += 1;
            signed(*sender, body)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_unit_is_made_or_lost(plans in prop::collection::vec(plan(), 1..3)) {
        let mut chain = TestChain::new();
        chain.install("one");
        chain.install("two");
        let supply = accounts::supply(&mut &*chain.state()).unwrap().get();
        prop_assert_eq!(supply, 5 * FUNDS.get());
        for plan in plans {
            let transactions = build(&chain, &plan);
            let built = chain.execute(&transactions, Policy::LeaveOut).unwrap();
            let included: Vec<_> = built.included.iter().map(|at| transactions[*at].clone()).collect();
            // What one node builds, another accepts, with the same result.
            let block = chain.block(&included);
            prop_assert_eq!(&block.changes, &built.changes);
            prop_assert_eq!(&block.receipts, &built.receipts);
            prop_assert_eq!(total(&*chain.state()), supply);
        }
    }
}

#[test]
fn the_same_block_gives_the_same_result_on_every_thread() {
    let mut chain = TestChain::new();
    chain.install("one");
    chain.install("two");
    let plan: Plan = (0..40u8)
        .map(|n| {
            let inner = forward(
                "two",
                if n % 3 == 0 { "set_and_fail" } else { "emit" },
                &[1, n, n],
                u128::from(n),
                0,
            );
            let actions = vec![
                call("one", "set", &[1, n, n, n]),
                pay("one", "call", &inner, 100),
                Action::Transfer { to: account(n % 5), amount: Amount::new(u128::from(n)) },
            ];
            (n % 5, 3, 50_000_000, actions)
        })
        .collect();
    let transactions = build(&chain, &plan);
    let expected = chain.execute(&transactions, Policy::Refuse).unwrap();
    assert_eq!(expected.receipts.len(), 40);
    // Another executor has nothing cached; threads share one.
    let fresh = executor(purlin_capabilities::Backend::CraneliftNone);
    std::thread::scope(|scope| {
        let work = |executor: purlin_execution::NodeExecutor| {
            let (chain, transactions, expected) = (&chain, &transactions, &expected);
            move || {
                use purlin_chain::Executor;
                for _ in 0..5 {
                    let block = executor
                        .execute_block(chain.state(), &chain.context(), transactions, Policy::Refuse)
                        .unwrap();
                    assert_eq!(block.changes, expected.changes);
                    assert_eq!(block.receipts, expected.receipts);
                }
            }
        };
        let threads: Vec<_> = [&chain.executor, &chain.executor, &fresh, &fresh]
            .map(|executor| scope.spawn(work(executor.clone())))
            .into();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
