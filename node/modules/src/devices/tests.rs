use purlin_abi::{DeviceFilter, DeviceKey, DeviceStatus, KeyAlgorithm};
use purlin_primitives::{AccountId, Action, DeviceId, FailureCode, Height, Parameters, TimestampMs};
use serde_json::json;

use super::{Devices, device, entry, list};
use crate::{MemoryState, ModuleContext, NativeModule};

const OWNER: AccountId = AccountId::new([0; 20]);
const OTHER: AccountId = AccountId::new([9; 20]);

fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

fn key(seed: u8) -> DeviceKey {
    let bytes = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes().to_vec();
    DeviceKey { algorithm: KeyAlgorithm::Ed25519, bytes }
}

fn description(kind: &str, properties: &[&str]) -> String {
    let properties: serde_json::Map<_, _> =
        properties.iter().map(|name| (name.to_string(), json!({}))).collect();
    json!({
        "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": format!("A {kind}"), "@type": kind,
        "securityDefinitions": {"none": {"scheme": "nosec"}}, "security": "none", "properties": properties
    })
    .to_string()
}

fn register(name: &str, seed: u8, kind: &str, properties: &[&str], area: &str) -> Action {
    Action::RegisterDevice {
        id: id(name),
        description: description(kind, properties),
        area: area.into(),
        tags: vec!["b".into(), "a".into()],
        key: key(seed),
    }
}

/// Applies an action in a copy, as a checkpoint would: a failure leaves the state alone.
fn apply(
    state: &mut MemoryState,
    sender: AccountId,
    height: u64,
    action: &Action,
) -> Result<(), FailureCode> {
    let context = ModuleContext {
        chain_id: &"test".parse().unwrap(),
        parameters: &Parameters::default(),
        sender,
        height: Height::new(height),
        time: TimestampMs::ZERO,
    };
    assert!(Devices.price(&purlin_abi::GasSchedule::V1, action).is_some());
    let mut copy = state.clone();
    match Devices.apply(&mut copy, &context, action) {
        Ok(()) => {
            *state = copy;
            Ok(())
        }
        Err(error) => Err(error.into_failure().unwrap().code),
    }
}

#[test]
fn a_device_lives_from_registration_to_revocation() {
    let mut state = MemoryState::default();
    apply(&mut state, OWNER, 3, &register("press-1", 1, "Press", &["heat", "force"], "hall/1")).unwrap();
    let record = device(&mut state, &id("press-1")).unwrap().unwrap();
    assert_eq!(
        (record.name.as_str(), record.kind.as_str(), record.area.as_str()),
        ("A Press", "Press", "hall/1")
    );
    assert_eq!(record.capabilities, ["force", "heat"]);
    assert_eq!(record.tags, ["a", "b"]);
    assert_eq!((record.owner, record.status), (OWNER, DeviceStatus::Active));
    assert_eq!(
        entry(&mut state, &id("press-1")).unwrap().unwrap().description,
        description("Press", &["heat", "force"])
    );

    let update = Action::UpdateDevice {
        id: id("press-1"),
        description: Some(description("Oven", &["heat"])),
        area: None,
        tags: Some(Vec::new()),
    };
    apply(&mut state, OWNER, 4, &update).unwrap();
    apply(&mut state, OWNER, 5, &Action::RotateDeviceKey { id: id("press-1"), key: key(2) }).unwrap();
    apply(&mut state, OWNER, 6, &Action::TransferDevice { id: id("press-1"), to: OTHER }).unwrap();
    apply(&mut state, OTHER, 7, &Action::RevokeDevice { id: id("press-1") }).unwrap();
    let record = device(&mut state, &id("press-1")).unwrap().unwrap();
    assert_eq!(record.capabilities, ["heat"]);
    assert!(record.tags.is_empty());
    assert_eq!((record.key, record.owner, record.status), (key(2), OTHER, DeviceStatus::Revoked));
    assert_eq!((record.registered_at, record.updated_at), (Height::new(3), Height::new(7)));

    // Look-ups follow: nothing is found under what it was.
    let mut find = |filter: DeviceFilter| list(&mut state, &filter).unwrap().devices.len();
    assert_eq!(find(DeviceFilter { kind: Some("Press".into()), ..Default::default() }), 0);
    assert_eq!(find(DeviceFilter { capability: Some("force".into()), ..Default::default() }), 0);
    assert_eq!(find(DeviceFilter { owner: Some(OWNER), ..Default::default() }), 0);
    assert_eq!(find(DeviceFilter { owner: Some(OTHER), kind: Some("Oven".into()), ..Default::default() }), 1);
}

#[test]
fn what_breaks_a_rule_is_refused_and_changes_nothing() {
    let mut state = MemoryState::default();
    apply(&mut state, OWNER, 1, &register("a", 1, "Press", &["heat"], "")).unwrap();
    apply(&mut state, OWNER, 1, &register("gone", 2, "Press", &["heat"], "")).unwrap();
    apply(&mut state, OWNER, 2, &Action::RotateDeviceKey { id: id("a"), key: key(3) }).unwrap();
    apply(&mut state, OWNER, 2, &Action::RevokeDevice { id: id("gone") }).unwrap();
    let before = state.clone();
    let described = |text: &str| Action::UpdateDevice {
        id: id("a"),
        description: Some(text.into()),
        area: None,
        tags: None,
    };
    let mut bad_area = register("b", 9, "Press", &[], "a//b");
    let rotate = |name: &str, key: DeviceKey| Action::RotateDeviceKey { id: id(name), key };
    let bad_key = DeviceKey { algorithm: KeyAlgorithm::P256, bytes: vec![2; 32] };
    let cases = [
        ("second registration", OWNER, register("a", 9, "Press", &[], ""), FailureCode::DeviceExists),
        ("by somebody else", OTHER, register("a", 9, "Press", &[], ""), FailureCode::DeviceExists),
        ("a revoked id", OWNER, register("gone", 9, "Press", &[], ""), FailureCode::DeviceExists),
        ("a key in use", OWNER, register("b", 3, "Press", &[], ""), FailureCode::BadDeviceKey),
        ("a key that was in use", OWNER, register("b", 1, "Press", &[], ""), FailureCode::BadDeviceKey),
        ("a revoked device's key", OWNER, register("b", 2, "Press", &[], ""), FailureCode::BadDeviceKey),
        ("its own key again", OWNER, rotate("a", key(3)), FailureCode::BadDeviceKey),
        ("no key", OWNER, rotate("a", bad_key), FailureCode::BadDeviceKey),
        ("a foreign owner rotates", OTHER, rotate("a", key(9)), FailureCode::NotOwner),
        ("a foreign owner revokes", OTHER, Action::RevokeDevice { id: id("a") }, FailureCode::NotOwner),
        (
            "a foreign owner takes",
            OTHER,
            Action::TransferDevice { id: id("a"), to: OTHER },
            FailureCode::NotOwner,
        ),
        ("an unknown device", OWNER, Action::RevokeDevice { id: id("no") }, FailureCode::DeviceNotFound),
        ("revoked twice", OWNER, Action::RevokeDevice { id: id("gone") }, FailureCode::DeviceRevoked),
        ("a revoked device rotates", OWNER, rotate("gone", key(9)), FailureCode::DeviceRevoked),
        ("a bad description", OWNER, described("{}"), FailureCode::BadDeviceDescription),
        ("a bad area", OWNER, std::mem::replace(&mut bad_area, described("")), FailureCode::BadArgument),
    ];
    for (name, sender, action, code) in cases {
        assert_eq!(apply(&mut state, sender, 3, &action), Err(code), "{name}");
        assert_eq!(state, before, "{name}");
    }
}

#[test]
fn lookups_agree_with_a_plain_filter() {
    let mut state = MemoryState::default();
    let areas = ["hall-2", "hall-2/line-1", "hall-20", "hall-3/line-1", ""];
    for n in 0..60u8 {
        let kind = ["Press", "Oven", "Pump"][usize::from(n % 3)];
        let capabilities: &[&str] = if n % 4 == 0 { &["heat", "force"] } else { &["heat"] };
        let owner = if n % 5 == 0 { OTHER } else { OWNER };
        let action =
            register(&format!("d{n}"), n + 1, kind, capabilities, areas[usize::from(n) % areas.len()]);
        apply(&mut state, owner, 1, &action).unwrap();
    }
    let all = list(&mut state, &DeviceFilter::default()).unwrap().devices;
    assert_eq!(all.len(), 60);
    assert!(all.is_sorted_by(|a, b| a.id < b.id));
    let text = |text: &str| Some(text.to_string());
    for owner in [None, Some(OWNER), Some(OTHER)] {
        for kind in [None, text("Press"), text("Pum"), text("Press\0")] {
            for capability in [None, text("heat"), text("force")] {
                for area in [None, text("hall-2"), text("hall-2/line-1"), text("line-1")] {
                    let mut filter = DeviceFilter {
                        owner,
                        kind: kind.clone(),
                        capability: capability.clone(),
                        area: area.clone(),
                        after: None,
                        limit: 7,
                    };
                    let below = |found: &str, area: &str| {
                        found == area || found.strip_prefix(area).is_some_and(|rest| rest.starts_with('/'))
                    };
                    let expected: Vec<_> = all
                        .iter()
                        .filter(|d| owner.is_none_or(|owner| d.owner == owner))
                        .filter(|d| kind.as_ref().is_none_or(|kind| d.kind == *kind))
                        .filter(|d| capability.as_ref().is_none_or(|name| d.capabilities.contains(name)))
                        .filter(|d| area.as_ref().is_none_or(|area| below(&d.area, area)))
                        .cloned()
                        .collect();
                    let mut found = Vec::new();
                    loop {
                        let page = list(&mut state, &filter).unwrap().devices;
                        assert!(page.len() <= 7);
                        let Some(last) = page.last() else { break };
                        filter.after = Some(last.id.clone());
                        found.extend(page);
                    }
                    assert_eq!(found, expected, "{filter:?}");
                }
            }
        }
    }
}

#[test]
fn a_lookup_that_reads_too_much_is_refused() {
    let mut state = MemoryState::default();
    // Alternating types: an intersection of type and capability steps over every device.
    for n in 0..1_100u32 {
        let name = format!("d{n:04}");
        for (index, value) in [(super::registry::INDEX_KIND, "a"), (super::registry::INDEX_CAPABILITY, "b")] {
            if (n % 2 == 0) == (value == "a") {
                let key = purlin_state::StateKey::device_index(index, value.as_bytes(), Some(&id(&name)));
                crate::StateAccess::set(&mut state, &key, vec![1]);
            }
        }
    }
    let filter = DeviceFilter { kind: Some("a".into()), capability: Some("b".into()), ..Default::default() };
    let error = list(&mut state, &filter).unwrap_err();
    assert_eq!(error.into_failure().unwrap().code, FailureCode::LimitExceeded);
}
