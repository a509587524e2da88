use purlin_abi::GasSchedule;
use purlin_chain::Policy;
use purlin_modules::apps::{self, AppRecord, AppStatus};
use purlin_package::{Package, UnpackedPackage};
use purlin_primitives::{Action, FailureCode, Gas, Outcome, Parameters, app_account};

use super::support::*;

const MANUAL: &str = r#", "auto_start": false"#;

fn record(chain: &TestChain, name: &str) -> AppRecord {
    apps::require(&mut &*chain.state(), &app(name)).unwrap()
}

fn start(name: &str) -> Action {
    Action::StartApp { app: app(name) }
}

fn stop(name: &str) -> Action {
    Action::StopApp { app: app(name) }
}

fn uninstall(name: &str) -> Action {
    Action::UninstallApp { app: app(name) }
}

#[test]
fn an_application_lives_from_install_to_uninstall() {
    let mut chain = TestChain::new();
    chain.good(0, vec![install(&package("one", "1.0.0", MANUAL), b"hello")]);
    assert_eq!(record(&chain, "one").status, AppStatus::Installed);
    assert_eq!(chain.bad(0, vec![call("one", "emit", b"")]).code, FailureCode::AppNotRunning);
    assert_eq!(chain.query("one", "get", b"init").unwrap_err().code, FailureCode::AppNotRunning);

    chain.good(0, vec![start("one")]);
    assert_eq!(chain.query("one", "get", b"init").unwrap(), b"hello");
    chain.good(0, vec![call("one", "set", b"\x04initchanged"), start("one")]);
    assert_eq!(chain.query("one", "get", b"init").unwrap(), b"changed", "starting twice is starting once");

    chain.good(0, vec![stop("one"), stop("one")]);
    assert_eq!(record(&chain, "one").status, AppStatus::Installed);
    chain.good(0, vec![start("one")]);
    assert_eq!(chain.query("one", "get", b"init").unwrap(), b"changed", "a restart does not initialise");
    assert_eq!(chain.query("one", "get", b"before").unwrap(), b"i", "`stop` ran");

    chain.good(0, vec![pay("one", "emit", b"", 50), stop("one")]);
    let owner = chain.balance(&account(0));
    chain.good(0, vec![uninstall("one")]);
    assert_eq!(chain.balance(&account(0)), owner - FEE.get() + 50, "the balance goes to the owner");
    assert_eq!(chain.balance(&app_account(&app("one"))), 0);
    let about_one = |key: &[u8]| key.windows(3).any(|part| part == b"one");
    assert!(!chain.entries().iter().any(|(_, key, _)| about_one(key)), "nothing is left of it");
    assert_eq!(chain.bad(0, vec![call("one", "emit", b"")]).code, FailureCode::AppNotFound);

    // The name is free again, and finds nothing of what was.
    chain.good(1, vec![install(&package("one", "1.0.0", ""), b"new")]);
    assert_eq!(chain.query("one", "get", b"init").unwrap(), b"new");
    assert_eq!(chain.query("one", "get", b"before").unwrap_err().code, FailureCode::AppError);
}

#[test]
fn a_step_that_fails_changes_nothing() {
    let mut chain = TestChain::new();
    let failure = chain.bad(0, vec![install(&package("one", "1.0.0", ""), b"so bad")]);
    assert_eq!((failure.code, failure.app.clone()), (FailureCode::AppError, Some(app("one"))), "{failure:?}");
    chain.good(0, vec![install(&package("one", "1.0.0", MANUAL), b"so bad")]);
    assert_eq!(chain.bad(0, vec![start("one")]).code, FailureCode::AppError);
    assert!(!record(&chain, "one").initialized);
    chain.good(0, vec![uninstall("one"), install(&package("one", "1.0.0", ""), b"good")]);

    // An upgrade whose migration fails leaves the old code, state and version.
    let failure = chain.bad(0, vec![upgrade(&package("one", "1.1.0", ""), b"so bad")]);
    assert_eq!(failure.code, FailureCode::AppError);
    assert_eq!(record(&chain, "one").version, "1.0.0");
    chain.good(0, vec![upgrade(&package("one", "1.1.0", ""), b"+more")]);
    let migrated = chain.query("one", "get", b"migrated").unwrap();
    assert_eq!(migrated, [&5u32.to_le_bytes()[..], b"1.0.0+more"].concat(), "borsh of the old version first");
    assert_eq!(record(&chain, "one").version, "1.1.0");
    assert_eq!(record(&chain, "one").status, AppStatus::Running);
}

#[test]
fn an_error_of_stop_is_kept_and_does_not_prevent_it() {
    let mut chain = TestChain::new();
    chain.install("one");
    chain.good(0, vec![call("one", "set", b"\x07no-stop")]);
    let body = chain.body(0, vec![stop("one")]);
    let block = chain.block(&[signed(0, body)]);
    assert!(block.receipts[0].succeeded());
    assert!(block.diagnostics[0].text.contains("one is stopped although its `stop` failed"));
    let AppStatus::Error { message } = record(&chain, "one").status else { panic!("the error is kept") };
    assert!(message.starts_with("app_error: init"), "{message}");
    assert_eq!(chain.bad(0, vec![call("one", "emit", b"")]).code, FailureCode::AppNotRunning);
    chain.good(0, vec![start("one")]);
    assert_eq!(
        chain.query("one", "get", b"before").unwrap_err().code,
        FailureCode::AppError,
        "what the failed `stop` wrote is undone"
    );
}

#[test]
fn bad_packages_and_foreign_hands_are_refused() {
    let mut chain = TestChain::new();
    chain.good(0, vec![install(&package("base", "1.2.0", ""), b"")]);
    let needs = |text: &str| format!(r#", "dependencies": [{{"id": "base", "version": "{text}"}}]"#);
    chain.good(0, vec![install(&package("user", "1.0.0", &needs("^1.2")), b"")]);
    let round = r#", "dependencies": [{"id": "user", "version": "*"}]"#;
    let nothing = "(module (memory (export \"memory\") 1) (func (export \"x\")))";
    let plain = |version: &str| package_of("plain", version, MANUAL, nothing);
    chain.good(0, vec![install(&plain("1.0.0"), b"x")]);
    let cases = [
        ("garbage", 1, install(b"garbage", b""), FailureCode::BadPackage, ""),
        ("taken", 1, install(&package("base", "9.0.0", ""), b""), FailureCode::AppExists, "base"),
        (
            "old",
            1,
            install(&package("new", "1.0.0", &needs("^2")), b""),
            FailureCode::MissingDependency,
            "1.2.0",
        ),
        ("uninstall", 0, uninstall("base"), FailureCode::BadLifecycle, "running"),
        ("foreign start", 1, start("base"), FailureCode::NotOwner, "base"),
        ("foreign stop", 1, stop("base"), FailureCode::NotOwner, "base"),
        ("foreign upgrade", 1, upgrade(&package("base", "1.3.0", ""), b""), FailureCode::NotOwner, "base"),
        ("same version", 0, upgrade(&package("base", "1.2.0", ""), b""), FailureCode::NotAnUpgrade, "1.2.0"),
        ("breaks user", 0, upgrade(&package("base", "2.0.0", ""), b""), FailureCode::HasDependents, "user"),
        (
            "circle",
            0,
            upgrade(&package("base", "1.3.0", round), b""),
            FailureCode::CircularDependency,
            "base -> user -> base",
        ),
        ("unknown", 0, upgrade(&package("none", "1.3.0", ""), b""), FailureCode::AppNotFound, "none"),
        ("nobody's start", 0, start("none"), FailureCode::AppNotFound, "none"),
        ("arguments for nothing", 0, start("plain"), FailureCode::BadLifecycle, "initialize"),
        ("nothing migrates", 0, upgrade(&plain("1.1.0"), b"x"), FailureCode::BadLifecycle, "never started"),
    ];
    for (name, sender, action, code, text) in cases {
        let failure = chain.bad(sender, vec![action]);
        assert_eq!(failure.code, code, "{name}: {failure:?}");
        assert!(failure.message.contains(text), "{name}: {failure:?}");
    }
    chain.good(0, vec![stop("base")]);
    let failure = chain.bad(0, vec![uninstall("base")]);
    assert_eq!(failure.code, FailureCode::HasDependents);
    assert!(failure.message.contains("user"), "{failure:?}");
    chain.good(0, vec![stop("user"), uninstall("user"), uninstall("base")]);
}

#[test]
fn records_changed_and_undone_in_one_transaction_are_not_remembered() {
    // A cache of decoded records outlived the roll-back of the transaction that had changed them.
    let mut chain = TestChain::new();
    chain.install("one");
    let failing = chain.body(0, vec![stop("one"), call("one", "emit", b"")]);
    let calling = chain.body(1, vec![call("one", "emit", b"")]);
    let block = chain.block(&[signed(0, failing), signed(1, calling)]);
    assert!(!block.receipts[0].succeeded());
    assert!(block.receipts[1].succeeded(), "{:?}", block.receipts[1]);
    let replaced = chain.body(0, vec![upgrade(&package("one", "1.1.0", ""), b""), call("one", "none", b"")]);
    let asking = chain.body(1, vec![call("one", "emit", b"")]);
    let block = chain.block(&[signed(0, replaced), signed(1, asking)]);
    assert!(!block.receipts[0].succeeded() && block.receipts[1].succeeded());
    assert_eq!(record(&chain, "one").version, "1.0.0");
}

#[test]
fn an_upgrade_takes_effect_in_its_own_block() {
    let mut chain = TestChain::new();
    chain.install("one");
    let other = "(module (memory (export \"memory\") 1) (func (export \"newer\")))";
    let transactions: Vec<_> = [
        (0, call("one", "emit", b"")),
        (1, call("one", "newer", b"")),
        (2, upgrade(&package_of("one", "2.0.0", "", other), b"")),
        (3, call("one", "newer", b"")),
        (4, call("one", "emit", b"")),
    ]
    .map(|(sender, action)| (if sender == 2 { 0 } else { sender }, action))
    .into_iter()
    .scan(0, |own, (sender, action)| {
        let mut body = chain.body(sender, vec![action]);
        if sender == 0 {
            body.nonce += *own;
            *own += 1;
        }
        Some(signed(sender, body))
    })
    .collect();
    let block = chain.block(&transactions);
    let worked: Vec<bool> = block.receipts.iter().map(|receipt| receipt.succeeded()).collect();
    assert_eq!(worked, [true, false, true, true, false]);
}

#[test]
fn removing_much_storage_costs_by_the_entry() {
    let mut chain = TestChain::new();
    chain.install("one");
    // 600 entries, 60 in each transaction.
    for round in 0..10u16 {
        let actions = (0..60u16)
            .map(|n| call("one", "set", &[&[2][..], &(round * 60 + n).to_le_bytes(), &[1]].concat()))
            .collect();
        chain.good(0, actions);
    }
    chain.good(0, vec![stop("one")]);
    let mut body = chain.body(0, vec![uninstall("one")]);
    body.gas_limit = Gas::new(40_000_000);
    assert_eq!(chain.bad_body(0, body).code, FailureCode::OutOfGas);
    chain.good(0, vec![uninstall("one")]);
    assert!(chain.execute(&[], Policy::Refuse).unwrap().changes.is_empty());
}

/// What is wrong at the end of a package was paid for by its compressed size once, as if nothing had been unpacked.
#[test]
fn a_refused_package_costs_what_unpacking_it_took() {
    let mut chain = TestChain::new();
    let whole = package("one", "1.0.0", "");
    let cut = &whole[..whole.len() - 20];
    let (unpacked_bytes, refused) = UnpackedPackage::read(cut, usize::MAX);
    assert!(refused.is_err() && unpacked_bytes > cut.len());
    let price = GasSchedule::V1.hash_byte * unpacked_bytes as u64;
    let receipt = chain.send(0, vec![install(cut, b"")]);
    assert!(
        matches!(&receipt.outcome, Outcome::Failed { failure, .. } if failure.code == FailureCode::BadPackage)
    );
    assert!(receipt.gas_used.get() > price, "{:?}", receipt.gas_used);

    let mut body = chain.body(0, vec![install(cut, b"")]);
    body.gas_limit = Gas::new(receipt.gas_used.get() - price / 2);
    assert_eq!(chain.bad_body(0, body).code, FailureCode::OutOfGas);
}

/// What is refused after the module was looked at was paid for as if it had not been.
#[test]
fn a_refused_module_costs_what_looking_at_it_takes() {
    let mut chain = TestChain::new();
    let receipt = chain.send(0, vec![install(&package("one", "1.0.0", r#", "placement": "edge""#), b"")]);
    let Outcome::Failed { failure, .. } = &receipt.outcome else { panic!("no place for it here") };
    assert_eq!(failure.code, FailureCode::BadPackage);
    let good = chain.send(0, vec![install(&package("one", "1.0.0", ""), b"")]);
    assert!(good.outcome == Outcome::Succeeded { outputs: vec![Vec::new()] }, "{good:?}");
    let facts = Package::read(&package("one", "1.0.0", "")).unwrap().facts;
    let compiled = GasSchedule::V1.compile_step * facts.compile_steps;
    let (refused, accepted) = (receipt.gas_used.get(), good.gas_used.get() - compiled);
    assert!(facts.compile_steps > 0 && refused > accepted * 9 / 10, "{refused} and {accepted}");
}

/// 80 kB of wasm took the compiler 50 s, and 30 kB of another shape over a minute, which stopped every node: compiling has a
/// deadline, and what cannot be executed is no verdict.
#[test]
fn what_would_take_long_to_compile_costs_more_than_a_block_has() {
    let locals = "i64 ".repeat(2_000);
    let loops = "(loop (br_if 0 (i32.wrap_i64 (local.get 0))))".repeat(5_000);
    let sets: String = (0..2_000).map(|n| format!("(local.set {n} (i64.load (i32.const {n})))")).collect();
    let gets: String = (0..2_000).map(|n| format!("(i64.store (i32.const {n}) (local.get {n}))")).collect();
    let jump = |n: usize| {
        format!("(local.set {} (i64.const {n})) (br_if 0 (i32.wrap_i64 (local.get 0)))", n % 499 + 1)
    };
    let jumps = format!("(block {})", (0..2_000).map(jump).collect::<String>());
    for inside in [loops, jumps] {
        let bomb = format!(
            r#"(module (memory (export "memory") 1) (func (export "run") (local {locals}) {sets} {inside} {gets}))"#
        );
        let mut chain = TestChain::new();
        let mut body = chain.body(0, vec![install(&package_of("bomb", "1.0.0", "", &bomb), b"")]);
        body.gas_limit = Parameters::default().block_gas_limit;
        let receipt = chain.send_body(0, body);
        let Outcome::Failed { failure, .. } = &receipt.outcome else {
            panic!("it was compiled: {receipt:?}")
        };
        assert_eq!(failure.code, FailureCode::OutOfGas, "{}", failure.message);
    }
}
