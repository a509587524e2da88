use purlin_abi::{DeviceFilter, DeviceKey, DeviceRecord, DeviceStatus, KeyAlgorithm};
use purlin_primitives::{Action, DeviceId, FailureCode};

use super::support::*;

pub(crate) const DESCRIPTION: &str = r#"{"@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Press 1", "@type": "Press",
    "securityDefinitions": {"none": {"scheme": "nosec"}}, "security": "none",
    "properties": {"temperature": {"type": "number"}}}"#;

fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

pub(crate) fn device_key(n: u8) -> DeviceKey {
    DeviceKey { algorithm: KeyAlgorithm::Secp256k1, bytes: key(n).public_key().as_bytes().to_vec() }
}

fn register(name: &str, n: u8) -> Action {
    Action::RegisterDevice {
        id: id(name),
        description: DESCRIPTION.into(),
        area: "hall-2/line-1".into(),
        tags: vec!["old".into()],
        key: device_key(n),
    }
}

#[test]
fn applications_see_registered_devices() {
    let mut chain = TestChain::new();
    chain.install("one");
    chain.good(1, vec![register("press-1", 10), register("press-2", 11)]);
    let read = |chain: &TestChain, name: &str| {
        chain
            .query("one", "device", name.as_bytes())
            .map(|bytes| borsh::from_slice::<DeviceRecord>(&bytes).unwrap())
    };
    let record = read(&chain, "press-1").unwrap();
    assert_eq!((record.name.as_str(), record.kind.as_str(), record.owner), ("Press 1", "Press", account(1)));
    assert_eq!(record.registered_at.get(), chain.height);
    assert_eq!(
        read(&chain, "press-3").unwrap_err().code,
        FailureCode::AppError,
        "absent is not an error of the host"
    );
    let filter = DeviceFilter {
        area: Some("hall-2".into()),
        capability: Some("temperature".into()),
        ..Default::default()
    };
    let bytes = chain.query("one", "devices", &borsh::to_vec(&filter).unwrap()).unwrap();
    let names: Vec<_> =
        borsh::from_slice::<Vec<DeviceRecord>>(&bytes).unwrap().into_iter().map(|d| d.id).collect();
    assert_eq!(names, [id("press-1"), id("press-2")]);

    chain.good(
        1,
        vec![
            Action::RotateDeviceKey { id: id("press-1"), key: device_key(12) },
            Action::TransferDevice { id: id("press-1"), to: account(2) },
        ],
    );
    chain.good(2, vec![Action::RevokeDevice { id: id("press-1") }]);
    let record = read(&chain, "press-1").unwrap();
    assert_eq!(
        (record.status, record.owner, record.key),
        (DeviceStatus::Revoked, account(2), device_key(12))
    );
}

#[test]
fn refused_devices_leave_only_fee_and_nonce() {
    let mut chain = TestChain::new();
    chain.good(1, vec![register("press-1", 10), register("press-2", 11)]);
    chain.good(1, vec![Action::RevokeDevice { id: id("press-2") }]);
    let mut bad_field = register("press-3", 12);
    if let Action::RegisterDevice { description, .. } = &mut bad_field {
        *description = description.replace("\"number\"", "\"float\"");
    }
    let cases = [
        ("again", 1, register("press-1", 12), FailureCode::DeviceExists, "press-1"),
        ("by somebody else", 2, register("press-1", 12), FailureCode::DeviceExists, "press-1"),
        ("a used key", 2, register("press-3", 10), FailureCode::BadDeviceKey, "press-1"),
        ("a revoked key", 1, register("press-3", 11), FailureCode::BadDeviceKey, "press-2"),
        (
            "a bad description",
            1,
            bad_field,
            FailureCode::BadDeviceDescription,
            "/properties/temperature/type",
        ),
        ("foreign", 2, Action::RevokeDevice { id: id("press-1") }, FailureCode::NotOwner, "press-1"),
        ("unknown", 1, Action::RevokeDevice { id: id("press-9") }, FailureCode::DeviceNotFound, "press-9"),
        (
            "revoked",
            1,
            Action::RotateDeviceKey { id: id("press-2"), key: device_key(13) },
            FailureCode::DeviceRevoked,
            "press-2",
        ),
    ];
    for (name, sender, action, code, text) in cases {
        // A good action before it is undone as well.
        let first = register("innocent", 14);
        let failure = chain.bad(sender, vec![first, action]);
        assert_eq!(failure.code, code, "{name}: {failure:?}");
        assert!(failure.message.contains(text), "{name}: {failure:?}");
    }
    chain.good(3, vec![register("innocent", 14)]);
}
