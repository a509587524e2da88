//! The rules that the native chain shares with the runtime.
#![allow(clippy::unwrap_used, reason = "this is test code")]

mod probe;

use probe::{ALL, Note, ProbeError, Step, install, probe, result, write_manifest};
use purlin_sdk::abi::{
    AccountId, Amount, AppId, CallOutcome, DeviceRecord, DeviceStatus, FailureCode, Height, StorageEntry,
    TimestampMs, limits,
};
use purlin_testing::{Backend, Chain, Installed, TestDevice};

probe!(First, "first");
probe!(Second, "second");
probe!(Third, "third");
probe!(Bare, "bare");
probe!(Small, "small");
probe!(Old, "versioned-1");
probe!(New, "versioned-2");
probe!(Dependent, "dependent");

fn chain() -> Chain {
    Chain::start(Backend::Native)
}

fn set(key: &str, value: &str) -> Step {
    Step::Set(key.into(), value.into())
}

fn call(app: &str, steps: Vec<Step>) -> Step {
    Step::Call { app: app.into(), steps, deposit: 0 }
}

fn code(outcome: &CallOutcome) -> FailureCode {
    outcome.as_ref().expect_err("it must fail").code
}

fn keys<A: purlin_sdk::App>(app: &Installed<A>) -> Vec<String> {
    app.dump().into_iter().map(|entry| String::from_utf8(entry.key).unwrap()).collect()
}

#[test]
fn a_failed_nested_call_undoes_only_itself() {
    let chain = chain();
    let first = install::<First>(&chain, "first");
    let second = install::<Second>(&chain, "second");
    let inner = vec![set("inner", "1"), Step::Emit(b"inner".to_vec()), Step::Fail(7)];
    let steps = [set("before", "1"), call("second", inner), set("after", "1"), Step::Emit(b"outer".to_vec())];
    let outcome = first.by(chain.account("alice")).run(&steps);
    let inner: CallOutcome = result(&outcome, 1);
    let failure = inner.unwrap_err();
    assert_eq!((failure.code, failure.app_code), (FailureCode::AppError, Some(7)));
    assert_eq!(failure.message, "told to fail with 7");
    assert_eq!(borsh::from_slice::<ProbeError>(&failure.app_error).unwrap(), ProbeError(7));
    assert_eq!(failure.app.as_ref().map(AppId::as_str), Some("second"));
    assert_eq!(keys(&first), ["after", "before"]);
    assert_eq!(keys(&second), [""; 0]);
    assert_eq!(first.last_events::<Note>(), [Note(b"outer".to_vec())]);
    assert_eq!(second.last_events::<Note>(), []);
}

#[test]
fn a_failed_call_undoes_the_nested_ones() {
    let chain = chain();
    let first = install::<First>(&chain, "first");
    let second = install::<Second>(&chain, "second");
    let outcome =
        first.by(chain.account("alice")).run(&[call("second", vec![set("inner", "1")]), Step::Fail(1)]);
    assert_eq!(code(&outcome), FailureCode::AppError);
    assert_eq!((keys(&first).len(), keys(&second).len()), (0, 0));
    // Overwritten and removed values come back too.
    let client = first.by(chain.account("alice"));
    client.run(&[set("a", "1"), set("b", "1")]).unwrap();
    let before = first.dump();
    client
        .run(&[set("a", "2"), Step::Remove(b"b".to_vec()), set("a", "3"), set("c", "1"), Step::Fail(1)])
        .unwrap_err();
    assert_eq!(first.dump(), before);
}

#[test]
fn calling_an_app_on_the_stack_traps() {
    let chain = chain();
    let first = install::<First>(&chain, "first");
    let second = install::<Second>(&chain, "second");
    let client = first.by(chain.account("alice"));
    assert_eq!(code(&client.run(&[call("first", Vec::new())])), FailureCode::Reentrancy);
    // The callee traps; the outer call sees it and goes on.
    let inner = vec![set("inner", "1"), call("first", Vec::new())];
    let outcome = client.run(&[call("second", inner), set("after", "1")]);
    assert_eq!(code(&result::<CallOutcome>(&outcome, 0)), FailureCode::Reentrancy);
    assert_eq!((keys(&first), keys(&second).len()), (vec!["after".to_string()], 0));
    let ask = [Step::Query { app: "first".into(), steps: Vec::new() }];
    assert_eq!(code(&client.ask(&ask)), FailureCode::Reentrancy);
}

#[test]
fn nested_calls_see_the_calling_app_as_caller() {
    let chain = chain();
    let first = install::<First>(&chain, "first");
    let second = install::<Second>(&chain, "second");
    let alice = chain.account("alice");
    let outcome = first.by(alice).run(&[Step::Context, call("second", vec![Step::Context])]);
    type Context = (AccountId, AppId, AccountId, Height, TimestampMs, Amount);
    let outer: Context = result(&outcome, 0);
    assert_eq!((outer.0, outer.1.as_str(), outer.2), (alice, "first", first.account()));
    let inner: Context = result(&result::<CallOutcome>(&outcome, 1), 0);
    assert_eq!((inner.0, inner.1.as_str(), inner.2), (first.account(), "second", second.account()));
}

#[test]
fn queries_write_nothing() {
    let chain = chain();
    let first = install::<First>(&chain, "first");
    install::<Second>(&chain, "second");
    let alice = chain.account("alice");
    let client = first.by(alice);
    let writes = [
        set("a", "1"),
        Step::Remove(b"a".to_vec()),
        Step::Emit(Vec::new()),
        Step::Transfer(alice, 0),
        call("second", Vec::new()),
    ];
    for write in writes {
        let outcome = client.ask(std::slice::from_ref(&write));
        assert_eq!(code(&outcome), FailureCode::WriteInQuery, "{write:?}");
        // A query made by a call is one, too, and so is what it queries.
        let query = Step::Query { app: "second".into(), steps: vec![set("b", "1")] };
        let outcome = client.run(&[query]);
        assert_eq!(code(&result::<CallOutcome>(&outcome, 0)), FailureCode::WriteInQuery);
    }
    assert_eq!(keys(&first).len(), 0);
    let height = chain.block().0;
    assert!(client.ask(&[Step::Get(b"a".to_vec())]).is_ok());
    assert_eq!(chain.block().0, height, "a query makes no block");
}

#[test]
fn limits_hold() {
    let chain = chain();
    let first = install::<First>(&chain, "first");
    let client = first.by(chain.account("alice"));
    let fits = [
        Step::Set(vec![1; limits::STORAGE_KEY_BYTES_MAX], vec![0; limits::STORAGE_VALUE_BYTES_MAX]),
        Step::Emit(vec![0; limits::EVENT_PAYLOAD_BYTES_MAX - 4]),
    ];
    for step in fits {
        assert!(client.run(&[step]).is_ok());
    }
    let too_large = [
        Step::Set(vec![1; limits::STORAGE_KEY_BYTES_MAX + 1], Vec::new()),
        Step::Set(vec![1], vec![0; limits::STORAGE_VALUE_BYTES_MAX + 1]),
        Step::Get(vec![1; limits::STORAGE_KEY_BYTES_MAX + 1]),
        Step::Emit(vec![0; limits::EVENT_PAYLOAD_BYTES_MAX - 3]),
        Step::EmitLongTopic,
        Step::CallMethod("second".into(), "m".repeat(limits::METHOD_NAME_BYTES_MAX + 1)),
    ];
    for step in too_large {
        assert_eq!(code(&client.run(std::slice::from_ref(&step))), FailureCode::LimitExceeded, "{step:?}");
    }
    let events = vec![Step::Emit(Vec::new()); limits::EVENTS_PER_TRANSACTION_MAX];
    assert!(client.run(&events).is_ok());
    let one_more = [&events[..], &events[..1]].concat();
    assert_eq!(code(&client.run(&one_more)), FailureCode::LimitExceeded);
    let long = vec![Step::Log("x".repeat(limits::INPUT_BYTES_MAX))];
    assert_eq!(code(&client.run(&long)), FailureCode::LimitExceeded);
}

#[test]
fn calls_go_no_deeper_than_allowed() {
    probe!(D1, "depth-1");
    probe!(D2, "depth-2");
    probe!(D3, "depth-3");
    probe!(D4, "depth-4");
    probe!(D5, "depth-5");
    probe!(D6, "depth-6");
    probe!(D7, "depth-7");
    probe!(D8, "depth-8");
    probe!(D9, "depth-9");
    let chain = chain();
    let first = install::<D1>(&chain, "depth-1");
    install::<D2>(&chain, "depth-2");
    install::<D3>(&chain, "depth-3");
    install::<D4>(&chain, "depth-4");
    install::<D5>(&chain, "depth-5");
    install::<D6>(&chain, "depth-6");
    install::<D7>(&chain, "depth-7");
    install::<D8>(&chain, "depth-8");
    install::<D9>(&chain, "depth-9");
    let chained =
        (2..=9).rev().fold(Vec::new(), |steps, number| vec![call(&format!("depth-{number}"), steps)]);
    let mut outcome = first.by(chain.account("alice")).run(&chained);
    for _ in 2..=8 {
        outcome = result(&outcome, 0);
        assert!(outcome.is_ok());
    }
    let ninth: CallOutcome = result(&outcome, 0);
    assert_eq!(code(&ninth), FailureCode::CallDepth);
}

#[test]
fn permissions_are_asked_for() {
    let chain = chain();
    write_manifest::<Bare>("bare", "1.0.0", &[], "");
    let bare = chain.install::<Bare>(chain.account("owner"), Vec::new());
    let client = bare.by(chain.account("alice"));
    assert!(client.run(&[Step::Context, Step::Log("free".into())]).is_ok());
    let uses = [
        (set("a", "1"), "storage"),
        (Step::Scan { from: vec![], to: vec![], limit: 1, descending: false }, "storage"),
        (Step::Emit(Vec::new()), "events"),
        (Step::Balance(AccountId::ZERO), "accounts"),
        (call("bare", Vec::new()), "apps"),
        (Step::Device("press-1".into()), "devices"),
        (Step::Sha256(Vec::new()), "crypto"),
    ];
    for (step, permission) in uses {
        let failure = client.run(&[step]).unwrap_err();
        assert_eq!(failure.code, FailureCode::NotGranted);
        assert!(failure.message.contains(&format!("{permission:?}")), "{}", failure.message);
    }
    assert_eq!(ALL.len(), 6);
}

#[test]
fn storage_has_a_quota() {
    let chain = chain();
    write_manifest::<Small>("small", "1.0.0", ALL, r#","limits":{"storage_bytes":100}"#);
    let small = chain.install::<Small>(chain.account("owner"), Vec::new());
    let client = small.by(chain.account("alice"));
    assert!(client.run(&[Step::Set(b"k".to_vec(), vec![0; 99])]).is_ok());
    assert_eq!(code(&client.run(&[set("l", "")])), FailureCode::StorageQuota);
    assert!(
        client.run(&[Step::Remove(b"k".to_vec()), set("l", "")]).is_ok(),
        "what was removed is free again"
    );
    assert_eq!(keys(&small), ["l"]);
}

#[test]
fn scans_go_both_ways_and_stop_at_the_limits() {
    let chain = chain();
    let first = install::<First>(&chain, "first");
    let client = first.by(chain.account("alice"));
    client.run(&["a", "b", "c", "d"].map(|key| set(key, key))).unwrap();
    let scan = |from: &str, to: &str, limit: u32, descending: bool| {
        let step = Step::Scan { from: from.into(), to: to.into(), limit, descending };
        let entries: Vec<StorageEntry> = result(&client.ask(&[step]), 0);
        entries.into_iter().map(|entry| String::from_utf8(entry.key).unwrap()).collect::<String>()
    };
    assert_eq!(scan("", "", 10, false), "abcd");
    assert_eq!(scan("b", "d", 10, false), "bc");
    assert_eq!(scan("b", "", 2, true), "dc");
    assert_eq!(scan("b", "d", 10, true), "cb");
    assert_eq!(scan("d", "b", 10, false), "");
    assert_eq!(scan("", "", 0, false), "");
    let large: Vec<Step> = (0..6).map(|key| Step::Set(vec![b'x', key], vec![0; 60_000])).collect();
    large.iter().for_each(|step| drop(client.run(std::slice::from_ref(step)).unwrap()));
    let step = Step::Scan { from: b"x".to_vec(), to: b"y".to_vec(), limit: 10, descending: false };
    // The answer of the whole call must stay below the limit of results, so it is looked at inside.
    assert_eq!(code(&client.ask(&[step.clone(), step])), FailureCode::LimitExceeded);
}

#[test]
fn deposits_and_transfers_move_native_units() {
    let chain = chain();
    let first = install::<First>(&chain, "first");
    let [alice, bob] = ["alice", "bob"].map(|name| chain.account(name));
    chain.fund(alice, 100);
    assert_eq!(code(&first.by(alice).run_with(&[], 101)), FailureCode::InsufficientBalance);
    let outcome = first.by(alice).run_with(&[Step::Transfer(bob, 10), Step::Transfer(bob, 91)], 100);
    assert!(result::<bool>(&outcome, 0));
    assert!(!result::<bool>(&outcome, 1), "the app has 90");
    assert_eq!([alice, bob, first.account()].map(|account| chain.balance(account)), [0, 10, 90]);
    chain.fund(alice, 5);
    first.by(alice).run_with(&[Step::Transfer(bob, 50), Step::Fail(1)], 5).unwrap_err();
    assert_eq!([alice, bob, first.account()].map(|account| chain.balance(account)), [5, 10, 90]);
}

#[test]
fn panics_and_unknown_methods_are_told() {
    let chain = chain();
    let first = install::<First>(&chain, "first");
    let client = first.by(chain.account("alice"));
    let failure = client.run(&[set("a", "1"), Step::Panic("out of cheese".into())]).unwrap_err();
    assert_eq!(failure.code, FailureCode::Panic);
    assert!(failure.message.starts_with("out of cheese, at "), "{}", failure.message);
    assert_eq!(keys(&first).len(), 0);
    for method in ["nothing", "", "initialize", "migrate", "stop", "query_run"] {
        assert_eq!(code(&client.method(method)), FailureCode::UnknownMethod, "{method:?}");
    }
    let missing: CallOutcome = result(&client.run(&[call("nobody", Vec::new())]), 0);
    assert_eq!(code(&missing), FailureCode::AppNotFound);
    client.run(&[Step::Log("hello".into())]).unwrap();
    assert_eq!(chain.diagnostic().as_deref(), Some("first Info: hello"));
}

#[test]
fn applications_see_how_deep_a_block_must_lie() {
    let chain = chain();
    let first = install::<First>(&chain, "first");
    let client = first.by(chain.account("alice"));
    assert_eq!(result::<u64>(&client.ask(&[Step::ConfirmationDepth]), 0), 0);
    chain.set_confirmation_depth(6);
    assert_eq!(result::<u64>(&client.ask(&[Step::ConfirmationDepth]), 0), 6);
    assert_eq!(result::<u64>(&client.run(&[Step::ConfirmationDepth]), 0), 6);
}

#[test]
fn time_and_height_are_the_tests_own() {
    let chain = chain();
    let first = install::<First>(&chain, "first");
    let client = first.by(chain.account("alice"));
    let block = |outcome: &CallOutcome| {
        let context: (AccountId, AppId, AccountId, Height, TimestampMs, Amount) = result(outcome, 0);
        (context.3.get(), context.4.get())
    };
    let (height, time) = chain.block();
    assert_eq!(block(&client.ask(&[Step::Context])), (height.get(), time.get()));
    assert_eq!(block(&client.run(&[Step::Context])), (height.get() + 1, time.get() + 1_000));
    let later = time.get() + 1_000_000;
    chain.set_time(later);
    assert_eq!(block(&client.ask(&[Step::Context])), (height.get() + 2, later));
    assert_eq!(block(&client.run(&[Step::Context])), (height.get() + 2, later));
    chain.set_height(500);
    assert_eq!(block(&client.run(&[Step::Context])), (500, later + 1_000));
    chain.advance(10);
    assert_eq!(block(&client.ask(&[Step::Context])), (510, later + 11_000));
    chain.advance(0);
    assert_eq!(chain.block().0, Height::new(510));
}

#[test]
#[should_panic(expected = "is before that of the head")]
fn time_does_not_go_back() {
    let chain = chain();
    chain.set_time(chain.block().1.get() - 1);
}

#[test]
#[should_panic(expected = "is not above the head")]
fn height_does_not_stand_still() {
    let chain = chain();
    chain.advance(5);
    chain.set_height(5);
}

#[test]
fn events_keep_their_order_and_block() {
    let chain = chain();
    let first = install::<First>(&chain, "first");
    let client = first.by(chain.account("alice"));
    for number in 0..300_u16 {
        client.run(&[Step::Emit(number.to_be_bytes().to_vec())]).unwrap();
    }
    client.run(&[Step::Emit(b"lost".to_vec()), Step::Fail(1)]).unwrap_err();
    let events = chain.events();
    assert_eq!(events.len(), 300, "all pages, and only of successful calls");
    assert!(events.iter().enumerate().all(|(index, event)| event.position == index as u64));
    assert!(events.windows(2).all(|pair| pair[0].height < pair[1].height));
    assert_eq!(first.events::<Note>()[299], Note(299_u16.to_be_bytes().to_vec()));
}

#[test]
fn the_device_registry_is_read() {
    let chain = chain();
    let first = install::<First>(&chain, "first");
    let [alice, bob] = ["alice", "bob"].map(|name| chain.account(name));
    let press = TestDevice { area: "hall-2/line-1".into(), ..TestDevice::new("press-1") };
    let oven = TestDevice { area: "hall-22".into(), ..TestDevice::new("oven-1") };
    chain.register_device(alice, &press);
    chain.register_device(bob, &oven);
    let client = first.by(alice);
    let record: Option<DeviceRecord> = result(&client.ask(&[Step::Device("press-1".into())]), 0);
    let record = record.unwrap();
    assert_eq!(
        (record.owner, record.name.as_str(), record.kind.as_str()),
        (alice, "press-1", "TemperatureSensor")
    );
    assert_eq!((record.capabilities, record.key), (vec!["temperature".to_string()], press.key()));
    let list = |owner: Option<AccountId>, area: Option<&str>, after: Option<&str>, limit: u32| {
        let (area, after) = (area.map(Into::into), after.map(Into::into));
        let records: Vec<DeviceRecord> =
            result(&client.ask(&[Step::Devices { owner, area, after, limit }]), 0);
        records.into_iter().map(|record| record.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, None, 0), ["oven-1", "press-1"]);
    assert_eq!(list(None, None, None, 1), ["oven-1"]);
    assert_eq!(list(None, None, Some("oven-1"), 1), ["press-1"]);
    assert_eq!(list(Some(bob), None, None, 0), ["oven-1"]);
    assert_eq!(list(None, Some("hall-2"), None, 0), ["press-1"], "hall-22 is not in hall-2");
    chain.transfer_device(alice, &press, bob);
    chain.revoke_device(bob, &press);
    let record: Option<DeviceRecord> = result(&client.ask(&[Step::Device("press-1".into())]), 0);
    let record = record.unwrap();
    assert_eq!((record.owner, record.status), (bob, DeviceStatus::Revoked));
}

#[test]
#[should_panic(expected = "not_owner")]
fn only_the_owner_revokes_a_device() {
    let chain = chain();
    let press = TestDevice::new("press-1");
    chain.register_device(chain.account("alice"), &press);
    chain.revoke_device(chain.account("bob"), &press);
}

#[test]
fn an_app_stops_starts_and_goes() {
    let chain = chain();
    let first = install::<First>(&chain, "first");
    let client = first.by(chain.account("alice"));
    chain.fund(chain.account("alice"), 10);
    client.run_with(&[], 10).unwrap();
    assert_eq!(first.clone().uninstall().unwrap_err().code, FailureCode::BadLifecycle);
    first.stop().unwrap();
    assert_eq!(keys(&first), ["stopped"]);
    assert_eq!(code(&client.run(&[])), FailureCode::AppNotRunning);
    first.start().unwrap();
    assert!(client.run(&[]).is_ok());
    first.stop().unwrap();
    first.clone().uninstall().unwrap();
    assert_eq!(code(&client.run(&[])), FailureCode::AppNotFound);
    assert_eq!(first.dump(), []);
    assert_eq!(chain.balance(chain.account("owner")), 10, "its balance goes to its owner");
}

#[test]
fn an_app_that_is_needed_stays() {
    let chain = chain();
    let owner = chain.account("owner");
    let needs = r#","dependencies":[{"id":"third","version":"^1.0"}]"#;
    write_manifest::<Dependent>("dependent", "1.0.0", ALL, needs);
    let refused = chain.try_install::<Dependent>(owner, Vec::new()).unwrap_err();
    assert_eq!(refused.code, FailureCode::MissingDependency);
    let third = install::<Third>(&chain, "third");
    chain.install::<Dependent>(owner, Vec::new());
    third.stop().unwrap();
    let refused = third.uninstall().unwrap_err();
    assert_eq!(refused.code, FailureCode::HasDependents);
    assert!(refused.message.contains("dependent"), "{}", refused.message);
}

#[test]
fn an_upgrade_migrates_or_leaves_everything() {
    let chain = chain();
    write_manifest::<Old>("versioned", "1.0.0", ALL, "");
    write_manifest::<New>("versioned", "1.1.0", ALL, "");
    let owner = chain.account("owner");
    let old = chain.install::<Old>(owner, vec![set("kept", "1")]);
    assert_eq!(old.clone().upgrade::<Old>(Vec::new()).unwrap_err().code, FailureCode::NotAnUpgrade);
    let refused = old.clone().upgrade::<New>(vec![set("lost", "1"), Step::Fail(3)]).unwrap_err();
    assert_eq!((refused.code, refused.app_code), (FailureCode::AppError, Some(3)));
    assert_eq!(keys(&old), ["kept"]);
    let new = old.upgrade::<New>(vec![set("added", "1")]).unwrap();
    assert_eq!(keys(&new), ["added", "kept", "migrated from"]);
    assert_eq!(new.storage("migrated from"), Some(b"1.0.0".to_vec()));
    assert_eq!(new.upgrade::<New>(Vec::new()).unwrap_err().code, FailureCode::NotAnUpgrade);
}

#[test]
fn a_failed_start_leaves_no_app() {
    let chain = chain();
    write_manifest::<First>("first", "1.0.0", ALL, "");
    let owner = chain.account("owner");
    let refused =
        chain.try_install::<First>(owner, vec![set("a", "1"), Step::Panic("no".into())]).unwrap_err();
    assert_eq!(refused.code, FailureCode::Panic);
    let first = chain.install::<First>(owner, Vec::new());
    assert_eq!(first.dump(), []);
    assert_eq!(chain.try_install::<First>(owner, Vec::new()).unwrap_err().code, FailureCode::AppExists);
}
