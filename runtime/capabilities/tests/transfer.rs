//! The benchmark's guest does what it says, with the same gas everywhere.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod common;

use common::everywhere;
use purlin_abi::AccountId;
use purlin_capabilities::testing::MemoryHost;

fn key(account: &AccountId) -> Vec<u8> {
    [b"balances:".as_slice(), account.as_bytes()].concat()
}

#[test]
fn a_transfer_moves_balances_and_tells() {
    let mut host = MemoryHost::default();
    host.storage.insert(key(&host.caller), 10_u128.to_le_bytes().to_vec());
    let to = AccountId::new([9; 20]);
    let arguments = |amount: u128| [to.as_bytes().as_slice(), &amount.to_le_bytes()].concat();
    let ran = everywhere(include_str!("guests/transfer.wat"), "transfer", &arguments(4), &host);
    assert_eq!(ran.outcome, Ok(Vec::new()));
    assert_eq!(ran.host.storage[&key(&host.caller)], 6_u128.to_le_bytes());
    assert_eq!(ran.host.storage[&key(&to)], 4_u128.to_le_bytes());
    assert_eq!(ran.host.events.len(), 1);
    assert_eq!(ran.host.events[0].topic, "transferred");

    let ran = everywhere(include_str!("guests/transfer.wat"), "transfer", &arguments(11), &host);
    assert_eq!(ran.message(), "balance too small");
    assert_eq!(ran.host.storage, host.storage);
}
