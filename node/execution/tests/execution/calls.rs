use purlin_abi::{GasSchedule, StorageEntry, limits};
use purlin_chain::Policy;
use purlin_modules::apps;
use purlin_primitives::{
    AccountId, Action, CallOutcome, FailureCode, Gas, Outcome, TransactionBody, app_account,
};

use super::support::*;

fn outcome(bytes: &[u8]) -> CallOutcome {
    borsh::from_slice(bytes).unwrap()
}

fn all(chain: &TestChain, name: &str) -> Vec<StorageEntry> {
    borsh::from_slice(&chain.query(name, "all", b"").unwrap()).unwrap()
}

#[test]
fn a_call_writes_emits_and_knows_where_it_is() {
    let mut chain = TestChain::new();
    chain.install("one");
    chain.good(1, vec![call("one", "set", b"\x03keyvalue")]);
    assert_eq!(chain.query("one", "get", b"key").unwrap(), b"value");
    let output = chain.good(1, vec![pay("one", "context", b"", 9)]);
    assert_eq!(output[..20], *account(1).as_bytes());
    assert_eq!(output[20..36], 9u128.to_le_bytes());
    assert_eq!(output[36..], chain.height.to_le_bytes());
    assert_eq!(chain.balance(&app_account(&app("one"))), 9);
    let receipt = chain.send(1, vec![call("one", "emit", b"a"), call("one", "emit", b"b")]);
    let payloads: Vec<_> = receipt.events.iter().map(|event| event.payload.as_slice()).collect();
    assert_eq!(payloads, [b"a", b"b"]);
    assert!(receipt.events.iter().all(|event| event.topic == "told" && event.app == app("one")));
}

#[test]
fn a_guest_that_ends_badly_leaves_nothing_behind() {
    let mut chain = TestChain::new();
    chain.install("one");
    let too_many = "more than 1000 events";
    let cases = [
        ("set_and_fail", FailureCode::AppError, "init"),
        ("set_and_trap", FailureCode::Unreachable, ""),
        ("set_and_panic", FailureCode::Panic, "told"),
        ("spin", FailureCode::OutOfGas, "gas"),
        ("recurse", FailureCode::StackOverflow, ""),
        ("emit_forever", FailureCode::LimitExceeded, too_many),
        ("nothing", FailureCode::UnknownMethod, "nothing"),
        ("memory", FailureCode::UnknownMethod, ""),
        ("initialize", FailureCode::UnknownMethod, "initialize"),
        ("migrate", FailureCode::UnknownMethod, "migrate"),
        ("stop", FailureCode::UnknownMethod, "stop"),
        ("query_get", FailureCode::UnknownMethod, "query_get"),
        ("", FailureCode::UnknownMethod, ""),
    ];
    for (method, code, text) in cases {
        let failure = chain.bad(1, vec![pay("one", method, b"\x03told", 5)]);
        assert_eq!(failure.code, code, "{method}: {failure:?}");
        assert_eq!(failure.app, Some(app("one")), "{method}");
        assert!(failure.message.contains(text), "{method}: {failure:?}");
    }
    let failure = chain.bad(1, vec![call("one", "set_and_fail", b"\x01ab")]);
    assert_eq!((failure.app_code, failure.app_error.as_slice()), (Some(7), &b"\x01ab"[..]));
    let failure = chain.bad(1, vec![call("one", "set", &vec![0; limits::INPUT_BYTES_MAX + 1])]);
    assert_eq!(failure.code, FailureCode::LimitExceeded);
    let failure = chain.bad(1, vec![pay("one", "emit", b"", 2_000_000)]);
    assert_eq!(failure.code, FailureCode::InsufficientBalance);
    assert_eq!(chain.bad(1, vec![call("none", "emit", b"")]).code, FailureCode::AppNotFound);
}

#[test]
fn a_message_is_cut_to_what_a_receipt_keeps() {
    let mut chain = TestChain::new();
    chain.install("one");
    let long = ["\u{1}".as_bytes(), "é".repeat(5_000).as_bytes()].concat();
    let failure = chain.bad(1, vec![call("one", "set_and_panic", &long)]);
    assert!(failure.message.len() <= limits::MESSAGE_BYTES_MAX, "{}", failure.message.len());
}

#[test]
fn queries_only_read() {
    let mut chain = TestChain::new();
    chain.install("one");
    chain.install("two");
    chain.good(0, vec![call("two", "set", b"\x01ab"), pay("one", "emit", b"", 5)]);
    let to = [account(1).as_bytes().as_slice(), &1u128.to_le_bytes()].concat();
    let writes = [
        ("set", b"\x01ab".to_vec()),
        ("emit", Vec::new()),
        ("pay", to),
        ("call", forward("two", "emit", b"", 0, 0)),
        ("call", forward("two", "set", b"\x01ab", 0, 0)),
    ];
    for (method, arguments) in writes {
        let failure = chain.query("one", method, &arguments).unwrap_err();
        assert_eq!(failure.code, FailureCode::WriteInQuery, "{method}: {failure:?}");
    }
    // Through another application too, from a query as from a call.
    for chained in [
        chain.query("one", "ask", &forward("two", "set", b"\x01ab", 0, 0)).unwrap(),
        chain.good(0, vec![call("one", "ask", &forward("two", "set", b"\x01ab", 0, 0))]),
    ] {
        let failure = outcome(&chained).unwrap_err();
        assert_eq!((failure.code, failure.app), (FailureCode::WriteInQuery, Some(app("two"))));
    }
    let read = chain.query("one", "ask", &forward("two", "get", b"a", 0, 0)).unwrap();
    assert_eq!(outcome(&read).unwrap(), b"b");
    let balance = chain.query("one", "balance", app_account(&app("one")).as_bytes()).unwrap();
    assert_eq!(balance, 5u128.to_le_bytes());
    assert_eq!(chain.query("one", "nothing", b"").unwrap_err().code, FailureCode::UnknownMethod);
    assert_eq!(chain.query("none", "get", b"").unwrap_err().code, FailureCode::AppNotFound);
}

#[test]
fn a_failed_sub_call_undoes_itself_only() {
    let mut chain = TestChain::new();
    chain.install("one");
    chain.install("two");
    chain.good(0, vec![pay("one", "emit", b"", 100)]);
    let before = all(&chain, "two");
    let failing = forward("two", "set_and_fail", b"\x01ab", 30, 0);
    let receipt = chain.send(0, vec![call("one", "call", &failing)]);
    assert!(receipt.events.is_empty(), "the callee's event is undone: {:?}", receipt.events);
    let Outcome::Succeeded { outputs } = receipt.outcome else { panic!("{receipt:?}") };
    let failure = outcome(&outputs[0]).unwrap_err();
    assert_eq!(
        (failure.code, failure.app, failure.app_code),
        (FailureCode::AppError, Some(app("two")), Some(7))
    );
    assert_eq!(all(&chain, "two"), before);
    // The caller's writes before and after are kept; the deposit went back.
    let kept: Vec<_> = all(&chain, "one").into_iter().map(|entry| entry.key).collect();
    assert_eq!(kept, [b"after".to_vec(), b"before".to_vec(), b"init".to_vec()]);
    assert_eq!(chain.balance(&app_account(&app("one"))), 100);

    let good = forward("two", "context", b"", 30, 0);
    let context = outcome(&chain.good(0, vec![call("one", "call", &good)])).unwrap();
    assert_eq!(context[..20], *app_account(&app("one")).as_bytes(), "the caller is the application");
    assert_eq!(context[20..36], 30u128.to_le_bytes());
    assert_eq!(chain.balance(&app_account(&app("two"))), 30);
    let too_much = forward("two", "context", b"", 71, 0);
    let failure = outcome(&chain.good(0, vec![call("one", "call", &too_much)])).unwrap_err();
    assert_eq!(failure.code, FailureCode::InsufficientBalance);
    for (name, method, code) in [
        ("none", "emit", FailureCode::AppNotFound),
        ("two", "none", FailureCode::UnknownMethod),
        ("two", "stop", FailureCode::UnknownMethod),
        ("two", "query_get", FailureCode::UnknownMethod),
    ] {
        let output = chain.good(0, vec![call("one", "call", &forward(name, method, b"", 0, 0))]);
        assert_eq!(outcome(&output).unwrap_err().code, code, "{name}.{method}");
    }
}

#[test]
fn re_entering_traps() {
    let mut chain = TestChain::new();
    chain.install("one");
    chain.install("two");
    let failure = chain.bad(0, vec![call("one", "call", &forward("one", "emit", b"", 0, 0))]);
    assert_eq!((failure.code, failure.app), (FailureCode::Reentrancy, Some(app("one"))));
    // Over another application, the one in the middle traps, and the first goes on.
    for (back, inner) in [("call", "emit"), ("ask", "all")] {
        let inner = forward("two", back, &forward("one", inner, b"", 0, 0), 0, 0);
        let failure = outcome(&chain.good(0, vec![call("one", "call", &inner)])).unwrap_err();
        assert_eq!((failure.code, failure.app.clone()), (FailureCode::Reentrancy, Some(app("two"))));
        assert!(failure.message.contains("one -> two -> one"), "{failure:?}");
    }
    let failure = chain.query("one", "ask", &forward("one", "all", b"", 0, 0)).unwrap_err();
    assert_eq!(failure.code, FailureCode::Reentrancy);
}

#[test]
fn calls_nest_eight_deep() {
    let mut chain = TestChain::new();
    for n in 1..=9 {
        chain.install(&format!("app-{n}"));
    }
    // Application n calls n + 1 with the rest of the chain.
    let nested = |depth: usize| {
        (2..=depth).rev().fold(Vec::new(), |inner, n| {
            let method = if n == depth { "context" } else { "call" };
            forward(&format!("app-{n}"), method, &inner, 0, 0)
        })
    };
    let unwrap = |mut bytes: Vec<u8>, levels: usize| -> CallOutcome {
        for _ in 0..levels {
            bytes = outcome(&bytes)?;
        }
        Ok(bytes)
    };
    let deepest = chain.good(0, vec![call("app-1", "call", &nested(8))]);
    let context = unwrap(deepest, 7).unwrap();
    assert_eq!(context[..20], *app_account(&app("app-7")).as_bytes());
    let deeper = chain.good(0, vec![call("app-1", "call", &nested(9))]);
    let failure = unwrap(deeper, 8).unwrap_err();
    assert_eq!((failure.code, failure.app), (FailureCode::CallDepth, Some(app("app-9"))));
}

#[test]
fn gas_is_capped_by_manifest_request_and_transaction() {
    let mut chain = TestChain::new();
    chain.install("one");
    let capped = package("two", "1.0.0", r#", "limits": {"gas_per_call": 3000000}"#);
    chain.good(0, vec![install(&capped, b"")]);
    let spin = b"\x01ab";
    let spent = |chain: &mut TestChain, action: Action| chain.send(0, vec![action]).gas_used.get();
    let direct = spent(&mut chain, call("two", "spin", spin));
    assert!((3_000_000..4_000_000).contains(&direct), "{direct}");
    let idle = spent(&mut chain, call("one", "call", &forward("two", "context", b"", 0, 0)));
    let manifest = spent(&mut chain, call("one", "call", &forward("two", "spin", spin, 0, 0)));
    assert!((3_000_000..3_000_000 + idle).contains(&manifest), "{manifest}");
    let asked = spent(&mut chain, call("one", "call", &forward("two", "spin", spin, 0, 1_000_000)));
    assert!((1_000_000..1_000_000 + idle).contains(&asked), "{asked}");
    let mut body = chain.body(0, vec![call("one", "spin", spin)]);
    body.gas_limit = Gas::new(5_000_000);
    assert_eq!(chain.send_body(0, body).gas_used.get(), 5_000_000);
}

#[test]
fn storage_has_a_quota() {
    let mut chain = TestChain::new();
    let small = package("one", "1.0.0", r#", "limits": {"storage_bytes": 100}"#);
    chain.good(0, vec![install(&small, b"")]);
    let used = |chain: &TestChain| apps::storage_bytes(&mut &*chain.state(), &app("one")).unwrap();
    let entry = |key: &str, bytes: usize| {
        let mut arguments = vec![u8::try_from(key.len()).unwrap()];
        arguments.extend(key.bytes());
        arguments.extend(vec![7; bytes]);
        call("one", "set", &arguments)
    };
    // `initialize` has kept the key `init` with nothing under it.
    assert_eq!(used(&chain), 4);
    chain.good(0, vec![entry("key", 93)]);
    assert_eq!(used(&chain), 100);
    for action in [entry("key", 94), entry("k", 0)] {
        let failure = chain.bad(0, vec![action]);
        assert_eq!(failure.code, FailureCode::StorageQuota, "{failure:?}");
    }
    chain.good(0, vec![entry("key", 93), entry("key", 20)]);
    assert_eq!(used(&chain), 27);
    assert_eq!(chain.good(0, vec![call("one", "remove", b"key")]), [1]);
    assert_eq!(chain.good(0, vec![call("one", "remove", b"key")]), [0]);
    assert_eq!(used(&chain), 4);
    // A failed sub-call gives back what it took.
    chain.install("two");
    let taken = forward("one", "set_and_fail", b"\x01abcdefgh", 0, 0);
    chain.good(0, vec![call("two", "call", &taken)]);
    assert_eq!(used(&chain), 4);
}

#[test]
fn storage_belongs_to_one_application() {
    let mut chain = TestChain::new();
    // Names of which one begins with the other, next to each other in state.
    for name in ["ab", "abc", "abd"] {
        chain.install(name);
        chain.good(0, vec![call(name, "set", b"\x01kv")]);
    }
    for name in ["ab", "abc", "abd"] {
        let keys: Vec<_> = all(&chain, name).into_iter().map(|entry| entry.key).collect();
        assert_eq!(keys, [b"init".to_vec(), b"k".to_vec()], "{name}");
    }
}

#[test]
fn an_application_pays_from_its_own_account() {
    let mut chain = TestChain::new();
    chain.install("one");
    chain.good(0, vec![pay("one", "emit", b"", 10)]);
    let order = |to: AccountId, amount: u128| [to.as_bytes().as_slice(), &amount.to_le_bytes()].concat();
    let nobody = AccountId::new([0x77; 20]);
    assert_eq!(chain.good(1, vec![call("one", "pay", &order(nobody, 4))]), [0]);
    assert_eq!(chain.good(1, vec![call("one", "pay", &order(nobody, 7))]), [1], "too little is no trap");
    assert_eq!(chain.balance(&nobody), 4);
    assert_eq!(chain.balance(&app_account(&app("one"))), 6);
}

#[test]
fn logs_and_backtraces_reach_the_diagnostics() {
    let mut chain = TestChain::new();
    chain.install("one");
    let bodies: Vec<TransactionBody> = [("say", 0), ("set_and_trap", 1), ("emit", 2)]
        .map(|(method, sender)| chain.body(sender, vec![call("one", method, b"\x01hello")]))
        .into();
    let transactions: Vec<_> = (0..).zip(bodies).map(|(sender, body)| signed(sender, body)).collect();
    let block = chain.block(&transactions);
    let texts: Vec<_> = block.diagnostics.iter().map(|d| (d.transaction, d.text.as_str())).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert_eq!(texts[0], (transactions[0].id(), "info one: \u{1}hello"));
    assert_eq!(texts[1].0, transactions[1].id());
    assert!(texts[1].1.contains("backtrace of one"), "{texts:?}");
}

/// A scan passed over what was removed in the same block for nothing, entry by entry.
#[test]
fn scans_pay_for_what_was_removed_in_their_block() {
    let mut chain = TestChain::new();
    chain.install("one");
    chain.install("two");
    let set = (0..50u8).map(|n| call("one", "set", &[1, n, 7])).collect();
    chain.good(0, set);
    let used = |actions: Vec<Action>| {
        let transaction = signed(0, chain.body(0, actions));
        let mut block = chain.execute(&[transaction], Policy::Refuse).unwrap();
        let receipt = block.receipts.remove(0);
        assert!(matches!(receipt.outcome, Outcome::Succeeded { .. }), "{receipt:?}");
        receipt.gas_used.get()
    };
    let remove: Vec<Action> = (0..50u8).map(|n| call("one", "remove", &[n])).collect();
    let scan = call("two", "ask", &forward("one", "all", b"", 0, 0));
    let removing = used(remove.clone());
    let before = used([vec![scan.clone()], remove.clone()].concat()) - removing;
    let after = used([remove, vec![scan]].concat()) - removing;
    // The same steps and bytes, but nothing is handed over.
    let steps = 50 * GasSchedule::V1.scan_entry;
    assert!(after > steps && after < before, "{after} of {before}, {steps} for the steps");
}
