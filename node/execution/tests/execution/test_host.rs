use purlin_abi::test_host::{
    BLOCK_INTERVAL_MS, GENESIS_TIME, PROTOCOL_VERSION, Report, Request, Response, read_frame, write_frame,
};
use purlin_capabilities::{Backend, RuntimeConfig};
use purlin_execution::TestHost;
use purlin_primitives::{AccountId, Amount, FailureCode, Gas, Height, TimestampMs, app_account};

use super::support::{OBEDIENT, app, forward};

const OWNER: AccountId = AccountId::new([1; 20]);
const OTHER: AccountId = AccountId::new([2; 20]);

fn host() -> TestHost {
    let config =
        RuntimeConfig { backend: Backend::CraneliftNone, instances_max: 16, ..RuntimeConfig::default() };
    TestHost::new(&config, "purlin test").unwrap()
}

fn manifest(version: &str) -> String {
    format!(
        r#"{{"id": "one", "name": "One", "version": "{version}", "abi": 1,
            "permissions": ["storage", "events", "accounts", "apps", "devices"]}}"#
    )
}

fn wasm() -> Vec<u8> {
    wat::parse_str(OBEDIENT).unwrap()
}

fn install(host: &mut TestHost) -> Report {
    report(host.handle(Request::Install {
        owner: OWNER,
        manifest: manifest("1.0.0"),
        wasm: wasm(),
        arguments: b"hello".to_vec(),
    }))
}

fn report(response: Response) -> Report {
    match response {
        Response::Report(report) => report,
        other => panic!("expected a report, got {other:?}"),
    }
}

fn call(method: &str, arguments: &[u8], deposit: u128) -> Request {
    Request::Call {
        caller: OTHER,
        app: app("one"),
        method: method.into(),
        arguments: arguments.to_vec(),
        deposit: Amount::new(deposit),
        gas_limit: None,
    }
}

fn query(method: &str, arguments: &[u8]) -> Request {
    Request::Query {
        caller: OTHER,
        app: app("one"),
        method: method.into(),
        arguments: arguments.to_vec(),
        gas_limit: None,
    }
}

#[test]
fn tests_can_do_what_users_do() {
    let mut host = host();
    let hello = host.handle(Request::Hello { version: PROTOCOL_VERSION });
    assert_eq!(hello, Response::Hello { version: PROTOCOL_VERSION, host: "purlin test".into() });
    let installed = install(&mut host);
    assert_eq!(installed.outcome, Ok(Vec::new()));
    assert_eq!(installed.height, Height::new(1));
    assert_eq!(installed.time.get(), GENESIS_TIME.get() + BLOCK_INTERVAL_MS);
    let value = Request::StorageGet { app: app("one"), key: b"init".to_vec() };
    assert_eq!(host.handle(value), Response::Value(Some(b"hello".to_vec())));

    assert_eq!(host.handle(Request::Fund { account: OTHER, amount: Amount::new(50) }), Response::Done);
    let paid = report(host.handle(call("emit", b"x", 20)));
    assert_eq!((paid.events.len(), paid.height), (1, Height::new(2)));
    let balance = Request::Balance { account: app_account(&app("one")) };
    assert_eq!(host.handle(balance), Response::Balance(Amount::new(20)));
    assert_eq!(
        host.handle(Request::AppAccount { app: app("one") }),
        Response::Account(app_account(&app("one")))
    );
    let failed = report(host.handle(call("set_and_trap", b"\x01ab", 20)));
    assert_eq!(failed.outcome.unwrap_err().code, FailureCode::Unreachable);
    assert!(failed.diagnostic.unwrap().contains("backtrace"));
    let Response::Events(events) = host.handle(Request::Events { from: 0, limit: 0 }) else { panic!() };
    assert_eq!((events.len(), events[0].height, events[0].position), (1, Height::new(2), 0));
    assert_eq!(host.handle(Request::Events { from: 1, limit: 5 }), Response::Events(Vec::new()));
    assert_eq!(host.handle(Request::Events { from: u64::MAX, limit: 5 }), Response::Events(Vec::new()));

    let Response::Answer(answer) = host.handle(query("get", b"init")) else { panic!() };
    assert_eq!(answer.outcome.unwrap(), b"hello");
    let upgraded = report(host.handle(Request::Upgrade {
        owner: OWNER,
        manifest: manifest("1.1.0"),
        wasm: wasm(),
        arguments: Vec::new(),
    }));
    assert_eq!(upgraded.outcome, Ok(Vec::new()));
    let Response::Entries(entries) =
        host.handle(Request::StorageScan { app: app("one"), from: Vec::new(), limit: 9 })
    else {
        panic!()
    };
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_slice()).collect();
    assert_eq!(keys, [b"init".as_slice(), b"migrated"]);
    for request in [
        Request::Stop { owner: OWNER, app: app("one") },
        Request::Start { owner: OWNER, app: app("one") },
        Request::Stop { owner: OWNER, app: app("one") },
        Request::Uninstall { owner: OWNER, app: app("one") },
    ] {
        assert_eq!(report(host.handle(request)).outcome, Ok(Vec::new()));
    }
}

#[test]
fn applications_see_how_deep_a_block_must_lie() {
    let guest = r#"(module
        (import "purlin.core.v1" "confirmation_depth" (func $depth (result i64)))
        (import "purlin.core.v1" "output" (func $output (param i32 i32)))
        (memory (export "memory") 1)
        (func (export "initialize"))
        (func $tell (i64.store (i32.const 0) (call $depth)) (call $output (i32.const 0) (i32.const 8)))
        (func (export "query_depth") (call $tell))
        (func (export "depth") (call $tell)))"#;
    let mut host = host();
    let installed = report(host.handle(Request::Install {
        owner: OWNER,
        manifest: manifest("1.0.0"),
        wasm: wat::parse_str(guest).unwrap(),
        arguments: Vec::new(),
    }));
    assert_eq!(installed.outcome, Ok(Vec::new()));
    let told = |host: &mut TestHost| {
        let Response::Answer(answer) = host.handle(query("depth", b"")) else { panic!() };
        let called = report(host.handle(call("depth", b"", 0))).outcome.unwrap();
        assert_eq!(answer.outcome.unwrap(), called);
        called
    };
    assert_eq!(told(&mut host), 0_u64.to_le_bytes());
    assert_eq!(host.handle(Request::SetConfirmationDepth { blocks: 6 }), Response::Done);
    assert_eq!(told(&mut host), 6_u64.to_le_bytes());
}

#[test]
fn time_is_in_the_hands_of_tests() {
    let mut host = host();
    install(&mut host);
    let block = |height: u64, time: u64| Response::Block {
        height: Height::new(height),
        time: TimestampMs::new(time),
    };
    let start = GENESIS_TIME.get();
    assert_eq!(host.handle(Request::Block), block(1, start + 1_000));
    assert_eq!(host.handle(Request::Advance { blocks: 3 }), block(4, start + 4_000));
    assert_eq!(host.handle(Request::Advance { blocks: 0 }), block(4, start + 4_000));
    let set = |height, time: Option<u64>| Request::SetBlock { height, time: time.map(TimestampMs::new) };
    assert_eq!(host.handle(set(None, Some(start + 9_000))), block(5, start + 9_000));
    assert_eq!(host.handle(set(Some(Height::new(10)), None)), block(10, start + 9_000));
    let Response::Answer(answer) = host.handle(query("context", b"")) else { panic!() };
    assert_eq!(answer.outcome.unwrap()[36..], 10u64.to_le_bytes());
    let made = report(host.handle(call("context", b"", 0)));
    assert_eq!((made.height, made.time.get()), (Height::new(10), start + 9_000));
    assert_eq!(host.handle(Request::Block), block(10, start + 9_000));
    for bad in [
        set(Some(Height::new(10)), None),
        set(None, Some(start)),
        Request::Advance { blocks: u64::MAX },
        Request::Hello { version: 999 },
        Request::Fund { account: OWNER, amount: Amount::MAX },
    ] {
        // The second time there is too much.
        let first = host.handle(bad.clone());
        let second = if first == Response::Done { host.handle(bad) } else { first };
        assert!(matches!(second, Response::Refused { .. }), "{second:?}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_what_fails_is_reported() {
    let mut host = host();
    let refused = host.handle(Request::Install {
        owner: OWNER,
        manifest: "{".into(),
        wasm: wasm(),
        arguments: Vec::new(),
    });
    assert!(
        matches!(&refused, Response::Refused { message } if message.contains("manifest.json")),
        "{refused:?}"
    );
    assert_eq!(report(host.handle(call("emit", b"", 0))).outcome.unwrap_err().code, FailureCode::AppNotFound);
    install(&mut host);
    assert_eq!(install(&mut host).outcome.unwrap_err().code, FailureCode::AppExists);
    let poor = report(host.handle(call("emit", b"", 1)));
    assert_eq!(poor.outcome.unwrap_err().code, FailureCode::InsufficientBalance);
    let again = report(host.handle(call("call", &forward("one", "emit", b"", 0, 0), 0)));
    assert_eq!(again.outcome.unwrap_err().code, FailureCode::Reentrancy);
    let spin = Request::Call {
        caller: OTHER,
        app: app("one"),
        method: "spin".into(),
        arguments: b"\x01ab".to_vec(),
        deposit: Amount::ZERO,
        gas_limit: Some(Gas::new(3_000_000)),
    };
    let spun = report(host.handle(spin));
    assert_eq!((spun.outcome.unwrap_err().code, spun.gas_used), (FailureCode::OutOfGas, Gas::new(3_000_000)));
}

#[test]
fn it_is_served_over_a_pipe() {
    let requests =
        [Request::Hello { version: PROTOCOL_VERSION }, Request::Block, Request::Advance { blocks: 2 }];
    let mut input = Vec::new();
    requests.iter().for_each(|request| write_frame(&mut input, request).unwrap());
    let mut output = Vec::new();
    host().serve(input.as_slice(), &mut output).unwrap();
    let mut reader = output.as_slice();
    let mut responses = Vec::new();
    while let Some(response) = read_frame::<_, Response>(&mut reader).unwrap() {
        responses.push(response);
    }
    assert_eq!(responses.len(), 3);
    assert!(matches!(responses[2], Response::Block { height, .. } if height == Height::new(2)));
}
