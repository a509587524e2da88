//! Storage, events, balances, devices, and the convention for results that do not fit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod common;

use borsh::BorshDeserialize;
use common::{Ran, check, everywhere, module};
use purlin_abi::limits::DEVICES_EXAMINED_MAX;
use purlin_abi::{
    AccountId, Amount, DeviceFilter, DeviceId, DeviceKey, DeviceRecord, DeviceStatus, FailureCode,
    GasSchedule, Height, KeyAlgorithm, StorageEntry,
};
use purlin_capabilities::testing::MemoryHost;

const GAS: GasSchedule = GasSchedule::V1;

fn stored() -> MemoryHost {
    let mut host = MemoryHost::default();
    for (key, value) in [("a", "one"), ("b", "two"), ("bb", "three"), ("c", "")] {
        host.storage.insert(key.into(), value.into());
    }
    host
}

fn run(data: &str, body: &str, host: &MemoryHost) -> Ran {
    let wat =
        module(&format!(r#"(data (i32.const 0) "{data}") (func (export "run") (local $n i32) {body})"#));
    everywhere(&wat, "run", &[], host)
}

#[test]
fn storage_reads_writes_and_removes() {
    let ran = run(
        "abcdef",
        "(i32.store (i32.const 100)
            (call $storage_get (i32.const 0) (i32.const 1) (i32.const 120) (i32.const 10)))
         (i32.store (i32.const 104)
            (call $storage_get (i32.const 3) (i32.const 1) (i32.const 130) (i32.const 10)))
         (i32.store (i32.const 108)
            (call $storage_get (i32.const 2) (i32.const 1) (i32.const 130) (i32.const 0)))
         (call $storage_set (i32.const 3) (i32.const 2) (i32.const 0) (i32.const 6))
         (i32.store (i32.const 112) (call $storage_remove (i32.const 0) (i32.const 1)))
         (i32.store (i32.const 116) (call $storage_remove (i32.const 0) (i32.const 1)))
         (call $core_output (i32.const 100) (i32.const 23))",
        &stored(),
    );
    let result = ran.outcome.unwrap();
    let numbers: Vec<_> =
        result[..20].chunks(4).map(|four| i32::from_le_bytes(four.try_into().unwrap())).collect();
    // "one" is three long, `d` is absent, `c` is there and empty; removing works once.
    assert_eq!(numbers, [3, -1, 0, 1, 0]);
    assert_eq!(result[20..], *b"one");
    assert_eq!(ran.host.storage.get(b"de".as_slice()).unwrap(), b"abcdef");
    assert!(!ran.host.storage.contains_key(b"a".as_slice()));
}

#[test]
fn scans_have_ends_orders_and_limits() {
    for (from, to, limit, order, keys) in [
        ("", "", 10, 0, vec!["a", "b", "bb", "c"]),
        ("b", "", 10, 0, vec!["b", "bb", "c"]),
        ("b", "c", 10, 0, vec!["b", "bb"]),
        ("", "", 10, 1, vec!["c", "bb", "b", "a"]),
        ("", "", 2, 1, vec!["c", "bb"]),
        ("x", "", 10, 0, vec![]),
        ("c", "a", 10, 0, vec![]),
        ("", "", 0, 0, vec![]),
    ] {
        let body = format!(
            "(local.set $n (call $storage_scan (i32.const 0) (i32.const {}) (i32.const {}) (i32.const {})
                (i32.const {limit}) (i32.const {order}) (i32.const 1000) (i32.const 4096)))
             (call $core_output (i32.const 1000) (local.get $n))",
            from.len(),
            from.len(),
            to.len()
        );
        let ran = run(&format!("{from}{to}"), &body, &stored());
        let entries = Vec::<StorageEntry>::try_from_slice(&ran.outcome.unwrap()).unwrap();
        let found: Vec<_> = entries.iter().map(|entry| std::str::from_utf8(&entry.key).unwrap()).collect();
        assert_eq!(found, keys, "{from:?}..{to:?} limit {limit} order {order}");
    }
}

#[test]
fn a_result_that_does_not_fit_is_delivered_by_the_next_call_for_free() {
    let get = |capacity: u32| {
        format!("(call $storage_get (i32.const 0) (i32.const 2) (i32.const 200) (i32.const {capacity}))")
    };
    // Gas is read around the second call: it must cost its instructions and one entry (of `gas_left`).
    let body = format!(
        "(i32.store (i32.const 100) {})
         (i32.store (i32.const 104) (i32.load (i32.const 200)))
         (i64.store (i32.const 120) (call $core_gas_left))
         (call $core_output (i32.const 100) (i32.const 100))",
        get(2)
    );
    let once = run("bb", &body, &stored());
    let result = once.outcome.clone().unwrap();
    assert_eq!(result[..4], 5_i32.to_le_bytes(), "the length is told");
    assert_eq!(result[4..8], [0; 4], "and nothing written");

    let body = format!(
        "(i32.store (i32.const 100) {})
         (i32.store (i32.const 104) {})
         (call $core_output (i32.const 200) (i32.const 5))",
        get(4),
        get(5)
    );
    let twice = run("bb", &body, &stored());
    assert_eq!(twice.outcome.unwrap(), b"three");
    assert_eq!(twice.host.reads, 1, "the host was asked once");
    let single = run(
        "bb",
        &format!("(i32.store (i32.const 100) {}) (call $core_output (i32.const 200) (i32.const 5))", get(5)),
        &stored(),
    );
    // Constant, four constants, call, store: seven instructions, of which the call costs four, and no host price.
    assert_eq!(twice.gas.get() - single.gas.get(), 6 + 4);
}

#[test]
fn only_the_same_call_made_at_once_gets_the_kept_result() {
    let get = |key: u32, length: u32, capacity: u32| {
        format!(
            "(call $storage_get (i32.const {key}) (i32.const {length}) (i32.const 200) (i32.const {capacity}))"
        )
    };
    // Another key, another function between, and changed key bytes are new reads.
    for (between, again, reads, result) in [
        (String::new(), get(1, 1, 9), 2, "two"),
        ("(drop (call $core_block_height))".to_owned(), get(0, 1, 9), 2, "one"),
        ("(i32.store8 (i32.const 0) (i32.const 98))".to_owned(), get(0, 1, 9), 2, "two"),
        (String::new(), get(0, 1, 9), 1, "one"),
    ] {
        let body = format!("(drop {}) {between} (call $core_output (i32.const 200) {again})", get(0, 1, 1));
        let ran = run("ab", &body, &stored());
        assert_eq!(ran.outcome.unwrap(), result.as_bytes(), "{between} {again}");
        assert_eq!(ran.host.reads, reads, "{between} {again}");
    }
    // A write between must not be hidden by the kept value.
    let body = format!(
        "(drop {}) (call $storage_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 2))
         (call $core_output (i32.const 200) {})",
        get(0, 1, 1),
        get(0, 1, 9)
    );
    assert_eq!(run("ab", &body, &stored()).outcome.unwrap(), b"ab");
    // Asking again with too little is refused: it would be free work for ever.
    let body = format!("(drop {}) (drop {})", get(0, 1, 1), get(0, 1, 2));
    assert_eq!(run("ab", &body, &stored()).code(), Some(FailureCode::BadArgument));
}

#[test]
fn arguments_follow_the_same_convention() {
    let wat = module(
        r#"(func (export "run") (local $n i32)
            (local.set $n (call $core_input (i32.const 0) (i32.const 0)))
            (drop (call $core_input (i32.const 0) (local.get $n)))
            (call $core_output (i32.const 0) (local.get $n)))"#,
    );
    let arguments = vec![7; 70_000];
    let ran = everywhere(&wat, "run", &arguments, &MemoryHost::default());
    assert_eq!(ran.outcome.unwrap(), arguments);
    assert!(ran.gas.get() > GAS.instantiate + 2 * GAS.host_call + 140_000, "copied in and out");
    assert!(ran.gas.get() < GAS.instantiate + 2 * GAS.host_call + 140_100, "and not charged twice");
}

#[test]
fn storage_prices_are_golden() {
    // A function that calls another is metered: twelve instructions. A call costs three more than others.
    let base = check("").gas.get() + 12 + 3;
    for (body, host_price, instructions) in [
        (
            "(drop (call $storage_get (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 0)))",
            GAS.host_call + GAS.storage_read + 9 * GAS.storage_read_byte,
            5,
        ),
        (
            "(call $storage_set (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 91))",
            GAS.host_call + GAS.storage_write + 100 * (GAS.storage_write_byte + GAS.copy_byte),
            5,
        ),
        (
            "(drop (call $storage_remove (i32.const 0) (i32.const 9)))",
            GAS.host_call + GAS.storage_write + 9 * GAS.storage_write_byte,
            3,
        ),
        (
            "(drop (call $accounts_transfer (i32.const 0) (i32.const 64)))",
            GAS.host_call + 2 * (GAS.account + GAS.storage_write),
            3,
        ),
        ("(call $accounts_balance (i32.const 0) (i32.const 64))", GAS.host_call + GAS.account, 3),
        (
            "(i32.store8 (i32.const 0) (i32.const 97))
             (call $events_emit (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 99))",
            GAS.host_call + GAS.event + 100 * (GAS.event_byte + GAS.copy_byte),
            8,
        ),
        (
            "(drop (call $crypto_p256_verify (i32.const 0) (i32.const 0) (i32.const 0)))",
            GAS.host_call + GAS.p256_verify,
            4,
        ),
    ] {
        let ran = check(body);
        assert_eq!(ran.code(), None, "{body}");
        assert_eq!(ran.gas.get() - base, host_price + instructions, "{body}");
    }
}

#[test]
fn events_are_recorded_in_order() {
    let ran = run(
        "mintburn",
        "(call $events_emit (i32.const 0) (i32.const 4) (i32.const 4) (i32.const 2))
         (call $events_emit (i32.const 4) (i32.const 4) (i32.const 0) (i32.const 0))",
        &MemoryHost::default(),
    );
    let events: Vec<_> =
        ran.host.events.iter().map(|event| (event.topic.as_str(), event.payload.as_slice())).collect();
    assert_eq!(events, [("mint", b"bu".as_slice()), ("burn", b"".as_slice())]);
}

#[test]
fn balances_move_only_when_there_is_enough() {
    let own = AccountId::new(*b"tested\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let mut host = MemoryHost::default();
    host.balances.insert(own, Amount::new(100));
    // The receiver is twenty zero bytes at 64; the amount is at 32.
    let ran = run(
        "",
        "(i64.store (i32.const 32) (i64.const 60))
         (i32.store (i32.const 100) (call $accounts_transfer (i32.const 64) (i32.const 32)))
         (i32.store (i32.const 104) (call $accounts_transfer (i32.const 64) (i32.const 32)))
         (call $accounts_balance (i32.const 64) (i32.const 108))
         (call $core_output (i32.const 100) (i32.const 24))",
        &host,
    );
    let result = ran.outcome.unwrap();
    assert_eq!(result[..8], [0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(result[8..], 60_u128.to_le_bytes());
    assert_eq!(ran.host.balances[&own], Amount::new(40));
}

fn device(id: &str, owner: u8) -> DeviceRecord {
    DeviceRecord {
        id: DeviceId::new(id).unwrap(),
        owner: AccountId::new([owner; 20]),
        name: "Press".into(),
        kind: "Press".into(),
        capabilities: vec!["temperature".into()],
        area: "hall-1".into(),
        tags: Vec::new(),
        key: DeviceKey { algorithm: KeyAlgorithm::Ed25519, bytes: vec![1; 32] },
        status: DeviceStatus::Active,
        registered_at: Height::new(1),
        updated_at: Height::new(1),
    }
}

#[test]
fn devices_are_found_and_listed() {
    let mut host = MemoryHost::default();
    for (id, owner) in [("press-1", 1), ("press-2", 2), ("press-3", 1)] {
        host.devices.insert(DeviceId::new(id).unwrap(), device(id, owner));
    }
    let get =
        "(local.set $n (call $devices_get (i32.const 0) (i32.const 7) (i32.const 100) (i32.const 4000)))
        (call $core_output (i32.const 100) (select (local.get $n) (i32.const 0)
            (i32.gt_s (local.get $n) (i32.const 0))))";
    let found = run("press-2", get, &host).outcome.unwrap();
    assert_eq!(DeviceRecord::try_from_slice(&found).unwrap(), device("press-2", 2));
    assert_eq!(run("press-9", get, &host).outcome.unwrap(), b"");

    let filter = DeviceFilter { owner: Some(AccountId::new([1; 20])), ..DeviceFilter::default() };
    let filter = borsh::to_vec(&filter).unwrap();
    let data: String = filter.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let list = format!(
        "(local.set $n (call $devices_list (i32.const 0) (i32.const {}) (i32.const 200) (i32.const 4000)))
         (call $core_output (i32.const 200) (local.get $n))",
        filter.len()
    );
    let found = run(&data, &list, &host).outcome.unwrap();
    let found = Vec::<DeviceRecord>::try_from_slice(&found).unwrap();
    assert_eq!(found, [device("press-1", 1), device("press-3", 1)]);
}

/// A look-up that is refused has read as much as one that is not; a caller could repeat it for nothing.
#[test]
fn a_refused_look_up_costs_what_it_read() {
    let mut host = MemoryHost::default();
    for number in 0..=DEVICES_EXAMINED_MAX {
        let id = format!("press-{number}");
        host.devices.insert(DeviceId::new(&id).unwrap(), device(&id, 1));
    }
    let filter = borsh::to_vec(&DeviceFilter::default()).unwrap();
    let data: String = filter.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let list = format!(
        "(drop (call $devices_list (i32.const 0) (i32.const {}) (i32.const 200) (i32.const 4000)))",
        filter.len()
    );
    let ran = run(&data, &list, &host);
    assert_eq!(ran.code(), Some(FailureCode::LimitExceeded));
    assert!(ran.gas.get() >= u64::from(DEVICES_EXAMINED_MAX) * GAS.device_read, "{:?}", ran.gas);
}
