//! Results that must never move: pinned figures of a fixed scenario, equal under every backend.

use purlin_capabilities::Backend;
use purlin_package::Package;
use purlin_primitives::{Action, Amount, Gas, Hash32, Parameters, Receipt};
use std::path::{Path, PathBuf};

use super::support::*;

/// What a scenario left behind.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    gas: Vec<u64>,
    receipts: Vec<Hash32>,
    state: Vec<Hash32>,
}

impl Outcome {
    fn new() -> Self {
        Self { gas: Vec::new(), receipts: Vec::new(), state: Vec::new() }
    }

    fn add(&mut self, chain: &TestChain, receipts: &[Receipt]) {
        self.gas.extend(receipts.iter().map(|receipt| receipt.gas_used.get()));
        self.receipts.push(Receipt::root(receipts));
        self.state.push(chain.root());
    }
}

/// Installs, calls, fails in every way, nests, upgrades and removes; one block for each step.
fn scenario(backend: Backend) -> Outcome {
    let mut chain = TestChain::with(executor(backend), Parameters::default());
    let mut outcome = Outcome::new();
    outcome.state.push(chain.root());
    let nested = forward("two", "set", b"\x01xyz", 7, 0);
    let failing = forward("two", "set_and_fail", b"\x01ab", 0, 0);
    let steps: Vec<(u8, Vec<Action>)> = vec![
        (0, vec![install(&package("one", "1.0.0", ""), b"hello")]),
        (1, vec![install(&package("two", "1.0.0", r#", "auto_start": false"#), b"later")]),
        (1, vec![Action::StartApp { app: app("two") }]),
        (2, vec![Action::Transfer { to: account(3), amount: Amount::new(123_456) }]),
        (2, vec![call("one", "set", b"\x03keyvalue"), pay("one", "emit", b"payload", 50)]),
        (3, vec![call("one", "call", &nested)]),
        (3, vec![call("one", "call", &failing)]),
        (3, vec![call("one", "set_and_trap", b"\x01ab")]),
        (3, vec![call("one", "set_and_panic", b"\x01ab")]),
        (3, vec![call("one", "recurse", b"")]),
        (3, vec![call("one", "spin", b"\x01ab")]),
        (3, vec![call("one", "ask", &forward("two", "all", b"", 0, 0))]),
        (1, vec![upgrade(&package("two", "1.0.1", ""), b"!")]),
        (1, vec![Action::StopApp { app: app("two") }, Action::UninstallApp { app: app("two") }]),
    ];
    for (sender, actions) in steps {
        let mut body = chain.body(sender, actions);
        // Endless work ends soon.
        body.gas_limit = Gas::new(100_000_000);
        let receipt = chain.send_body(sender, body);
        outcome.add(&chain, &[receipt]);
    }
    outcome
}

#[test]
fn the_golden_scenario_has_its_pinned_results() {
    let outcome = scenario(Backend::CraneliftSpeed);
    let mut text = String::new();
    let lines = outcome.gas.iter().zip(&outcome.receipts).zip(&outcome.state[1..]);
    text.push_str(&format!("genesis {}\n", outcome.state[0]));
    for ((gas, receipts), state) in lines {
        text.push_str(&format!("{gas} {receipts} {state}\n"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/execution/golden.txt");
    if std::env::var_os("PURLIN_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let pinned = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        text, pinned,
        "gas, receipts or state moved. That is a change of consensus: it needs a new gas schedule or protocol \
         version. When it is meant, run the test with PURLIN_BLESS=1"
    );
}

#[test]
fn every_backend_gives_the_same_gas_receipts_and_state() {
    let expected = scenario(Backend::CraneliftSpeed);
    for backend in [Backend::CraneliftNone, Backend::Pulley] {
        assert_eq!(scenario(backend), expected, "{backend:?}");
    }
}

/// Finds the packages that `purlin app build` made of the repository's own applications.
fn built_packages() -> Vec<PathBuf> {
    let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../apps");
    let mut found = Vec::new();
    for name in std::fs::read_dir(apps).unwrap() {
        let folder = name.unwrap().path().join("target/purlin");
        let Ok(files) = std::fs::read_dir(folder) else { continue };
        let packages = files.map(|file| file.unwrap().path());
        found.extend(packages.filter(|path| path.to_string_lossy().ends_with(".purlin.tar.gz")));
    }
    found.sort();
    found
}

fn encoded(value: impl borsh::BorshSerialize) -> Vec<u8> {
    borsh::to_vec(&value).unwrap()
}

/// What an application's users do: arguments of `initialize`, and calls that must work.
fn script(id: &str) -> (Vec<u8>, Vec<(&'static str, Vec<u8>)>) {
    match id {
        "counter" => (Vec::new(), vec![("increment", encoded(2_u64)), ("increment", encoded(u64::MAX))]),
        "token" => {
            let arguments = encoded(("Token", "T", 2_u8, 1_000_u128));
            let (other, third) = (account(1), account(2));
            let calls = vec![
                ("mint", encoded((other, 50_u128))),
                ("transfer", encoded((other, 400_u128))),
                ("transfer", encoded((third, 600_u128))),
                ("approve", encoded((other, 10_u128))),
            ];
            (arguments, calls)
        }
        "smart-factory" => {
            let mut calls = vec![("add_machine", encoded("press-1"))];
            // Calm, then far out, then calm: the detector works in fixed point, which no backend may round.
            for batch in 0..6_u64 {
                let value =
                    |n: u64| if (260..300).contains(&n) { 90_000 } else { 20_000 + (n * 37 % 101) as i64 };
                let readings: Vec<(u64, i64)> =
                    (batch * 80..batch * 80 + 80).map(|n| (n, value(n))).collect();
                calls.push(("report", encoded(("press-1", readings))));
            }
            (Vec::new(), calls)
        }
        other => panic!("write a script for {other}"),
    }
}

/// Installs every application, does what its users do, and then calls every method and query with arguments
/// that mostly make no sense: a refusal is a result too.
fn tour(backend: Backend, packages: &[(Package, Vec<u8>)]) -> Outcome {
    let mut chain = TestChain::with(executor(backend), Parameters::default());
    let mut outcome = Outcome::new();
    let device = Action::RegisterDevice {
        id: "press-1".parse().unwrap(),
        description: super::devices::DESCRIPTION.into(),
        area: String::new(),
        tags: Vec::new(),
        key: super::devices::device_key(10),
    };
    chain.good(0, vec![device]);
    for (package, bytes) in packages {
        let id = &package.manifest.id;
        let (arguments, calls) = script(id.as_str());
        let mut body = chain.body(0, vec![install(bytes, &arguments), Action::StartApp { app: id.clone() }]);
        body.gas_limit = Parameters::default().block_gas_limit;
        let receipt = chain.send_body(0, body);
        assert!(receipt.succeeded(), "{id}: {:?}", receipt.outcome);
        outcome.add(&chain, &[receipt]);
        for (method, arguments) in calls {
            let receipt = chain.send(0, vec![call(id.as_str(), method, &arguments)]);
            assert!(receipt.succeeded(), "{id}.{method}: {:?}", receipt.outcome);
            outcome.add(&chain, &[receipt]);
        }
        for method in &package.facts.calls {
            for length in [0, 8, 20, 36, 52, 100] {
                let receipt = chain.send(0, vec![call(id.as_str(), method, &vec![0; length])]);
                outcome.add(&chain, &[receipt]);
            }
        }
        for method in &package.facts.queries {
            for arguments in [vec![], vec![0; 8], vec![0; 20], vec![0; 40], encoded("press-1")] {
                let result = chain.query(id.as_str(), method, &arguments);
                let bytes = borsh::to_vec(&result).unwrap();
                outcome.receipts.push(purlin_primitives::hash_domain("test.query", &bytes));
            }
        }
    }
    outcome
}

#[test]
fn the_real_applications_do_the_same_under_every_backend() {
    let packages: Vec<(Package, Vec<u8>)> = built_packages()
        .iter()
        .map(|path| {
            let bytes = std::fs::read(path).unwrap();
            (Package::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display())), bytes)
        })
        .collect();
    if std::env::var("PURLIN_APPS_BUILT").is_ok_and(|value| value == "1") {
        assert!(packages.len() >= 3, "PURLIN_APPS_BUILT is set, but there are {} packages", packages.len());
    }
    if packages.is_empty() {
        eprintln!("no application is built; `cargo xtask test` builds them first");
        return;
    }
    let expected = tour(Backend::CraneliftSpeed, &packages);
    for backend in [Backend::CraneliftNone, Backend::Pulley] {
        assert_eq!(tour(backend, &packages), expected, "{backend:?}");
    }
}
