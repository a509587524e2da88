use purlin_abi::{Dependency, Limits, Manifest, Placement};
use purlin_primitives::{AccountId, Amount, AppId, FailureCode, Hash32, Height, app_account};
use purlin_state::StateKey;

use super::*;
use crate::{MemoryState, ModuleError, StateAccess, StateRead, accounts};

const OWNER: AccountId = AccountId::new([1; 20]);
const OTHER: AccountId = AccountId::new([2; 20]);

fn id(text: &str) -> AppId {
    text.parse().unwrap()
}

fn manifest(name: &str, version: &str, needs: &[(&str, &str, bool)]) -> Manifest {
    let dependencies = needs
        .iter()
        .map(|(app, version, optional)| Dependency {
            id: id(app),
            version: version.to_string(),
            optional: *optional,
        })
        .collect();
    Manifest {
        id: id(name),
        name: name.into(),
        version: version.into(),
        description: String::new(),
        author: String::new(),
        license: String::new(),
        abi: 1,
        placement: Placement::Chain,
        permissions: vec!["storage".into()],
        dependencies,
        auto_start: false,
        limits: Limits::default(),
        files: Default::default(),
    }
}

fn release(manifest: &Manifest) -> Release<'_> {
    Release {
        manifest,
        identity: Hash32::ZERO,
        wasm: manifest.version.clone().into_bytes(),
        hooks: AppHooks::default(),
    }
}

/// Runs a step in a copy, as a checkpoint would: a failure leaves the state alone.
fn step<T>(
    state: &mut MemoryState,
    run: impl FnOnce(&mut MemoryState) -> Result<T, ModuleError>,
) -> Result<T, (FailureCode, String)> {
    let mut copy = state.clone();
    match run(&mut copy) {
        Ok(value) => {
            *state = copy;
            Ok(value)
        }
        Err(error) => {
            let failure = error.into_failure().unwrap();
            Err((failure.code, failure.message))
        }
    }
}

fn installed(state: &mut MemoryState, manifest: &Manifest) -> Result<AppRecord, (FailureCode, String)> {
    step(state, |state| install(state, &OWNER, Height::new(1), release(manifest), b"args"))
}

fn upgraded(state: &mut MemoryState, manifest: &Manifest) -> Result<Upgrade, (FailureCode, String)> {
    step(state, |state| upgrade(state, &OWNER, Height::new(2), release(manifest)))
}

fn removed(state: &mut MemoryState, sender: &AccountId, app: &str) -> Result<(), (FailureCode, String)> {
    step(state, |state| {
        let record = check_uninstall(state, sender, &id(app))?;
        let mut cursor = Vec::new();
        while clear_storage(state, &record.id, &mut cursor, 2)? > 0 {}
        finish_uninstall(state, &record)
    })
}

#[test]
fn the_life_cycle_leaves_nothing_behind() {
    let mut state = MemoryState::default();
    accounts::credit(&mut state, &OWNER, Amount::new(1)).unwrap();
    let before = state.clone();
    installed(&mut state, &manifest("base", "1.0.0", &[])).unwrap();
    installed(&mut state, &manifest("token", "1.0.0", &[("base", "^1", false)])).unwrap();
    let Start::Initialize(record, arguments) = start(&mut state, &OWNER, &id("token")).unwrap() else {
        panic!("the first start initialises")
    };
    assert_eq!(arguments, b"args");
    set_running(&mut state, record, Height::new(2)).unwrap();
    assert_eq!(start(&mut state, &OWNER, &id("token")).unwrap(), Start::AlreadyRunning);
    assert!(require(&mut state, &id("token")).unwrap().require_running().is_ok());
    let Stop::Stop(record) = stop(&mut state, &OWNER, &id("token")).unwrap() else { panic!("it runs") };
    set_stopped(&mut state, record, Height::new(3), Some("no".into()));
    assert_eq!(stop(&mut state, &OWNER, &id("token")).unwrap(), Stop::AlreadyStopped);
    let stopped = require(&mut state, &id("token")).unwrap();
    assert_eq!(stopped.status, AppStatus::Error { message: "no".into() });
    assert_eq!(stopped.require_running().unwrap_err().code(), FailureCode::AppNotRunning);
    assert!(
        matches!(start(&mut state, &OWNER, &id("token")).unwrap(), Start::Resume(_)),
        "initialised once only"
    );

    let moved = upgraded(&mut state, &manifest("token", "1.1.0", &[])).unwrap();
    assert_eq!((moved.from.version.as_str(), moved.to.version.as_str()), ("1.0.0", "1.1.0"));
    assert_eq!(moved.to.status, AppStatus::Installed);
    assert!(moved.to.initialized);
    assert_eq!(state.get(&StateKey::app_code(&id("token"))).unwrap().unwrap().as_ref(), b"1.1.0");
    assert_eq!(list(&mut state, None, 10).unwrap().len(), 2);
    assert_eq!(list(&mut state, Some(&id("base")), 10).unwrap()[0].id, id("token"));

    // The new version no longer needs `base`.
    removed(&mut state, &OWNER, "base").unwrap();
    for n in 0..5u8 {
        state.set(&StateKey::app_storage(&id("token"), &[n]), vec![n]);
    }
    put_storage_bytes(&mut state, &storage_bytes_key(&id("token")), 10).unwrap();
    assert_eq!(storage_bytes(&mut state, &id("token")).unwrap(), 10);
    accounts::credit(&mut state, &app_account(&id("token")), Amount::new(7)).unwrap();
    removed(&mut state, &OWNER, "token").unwrap();
    assert_eq!(accounts::account(&mut state, &OWNER).unwrap().balance, Amount::new(8));
    accounts::debit(&mut state, &OWNER, Amount::new(7)).unwrap();
    assert_eq!(state, before);
}

#[test]
fn what_breaks_a_rule_is_refused_and_changes_nothing() {
    let mut state = MemoryState::default();
    installed(&mut state, &manifest("base", "1.2.0", &[])).unwrap();
    installed(&mut state, &manifest("maybe", "1.0.0", &[("later", "^1", true)])).unwrap();
    installed(&mut state, &manifest("user", "1.0.0", &[("base", "^1.1", false)])).unwrap();
    let before = state.clone();
    let mut edge = manifest("edge", "1.0.0", &[]);
    edge.placement = Placement::Edge;
    let installs = [
        ("taken", manifest("base", "2.0.0", &[]), FailureCode::AppExists, "installed already"),
        (
            "missing",
            manifest("new", "1.0.0", &[("no", "*", false)]),
            FailureCode::MissingDependency,
            "needs no *",
        ),
        (
            "old",
            manifest("new", "1.0.0", &[("base", "^1.3", false)]),
            FailureCode::MissingDependency,
            "1.2.0",
        ),
        (
            "old, optional",
            manifest("new", "1.0.0", &[("base", "^2", true)]),
            FailureCode::MissingDependency,
            "1.2.0",
        ),
        (
            "itself",
            manifest("new", "1.0.0", &[("new", "*", true)]),
            FailureCode::CircularDependency,
            "new -> new",
        ),
        (
            "round",
            manifest("later", "1.0.0", &[("maybe", "*", false)]),
            FailureCode::CircularDependency,
            "later -> maybe -> later",
        ),
        ("bad version", manifest("new", "1", &[]), FailureCode::BadPackage, "version"),
        (
            "bad range",
            manifest("new", "1.0.0", &[("base", "one", false)]),
            FailureCode::BadPackage,
            "\"one\"",
        ),
        ("edge", edge, FailureCode::BadPackage, "edge"),
    ];
    for (name, manifest, code, text) in installs {
        let (found, message) = installed(&mut state, &manifest).unwrap_err();
        assert_eq!(found, code, "{name}: {message}");
        assert!(message.contains(text), "{name}: {message}");
        assert_eq!(state, before, "{name}");
    }
    let upgrades = [
        ("same", manifest("base", "1.2.0", &[]), FailureCode::NotAnUpgrade, "not newer"),
        ("build only", manifest("base", "1.2.0+7", &[]), FailureCode::NotAnUpgrade, "not newer"),
        ("pre-release", manifest("base", "1.2.0-rc.1", &[]), FailureCode::NotAnUpgrade, "not newer"),
        ("breaking", manifest("base", "2.0.0", &[]), FailureCode::HasDependents, "user needs base ^1.1"),
        (
            "round",
            manifest("base", "1.3.0", &[("user", "*", false)]),
            FailureCode::CircularDependency,
            "base -> user -> base",
        ),
        ("unknown", manifest("nobody", "1.0.0", &[]), FailureCode::AppNotFound, "not installed"),
    ];
    for (name, manifest, code, text) in upgrades {
        let (found, message) = upgraded(&mut state, &manifest).unwrap_err();
        assert_eq!(found, code, "{name}: {message}");
        assert!(message.contains(text), "{name}: {message}");
        assert_eq!(state, before, "{name}");
    }
    let (code, message) = removed(&mut state, &OWNER, "base").unwrap_err();
    assert_eq!(code, FailureCode::HasDependents);
    assert!(message.contains("user"), "{message}");
    assert_eq!(removed(&mut state, &OTHER, "user").unwrap_err().0, FailureCode::NotOwner);
    let foreign = manifest("base", "1.9.0", &[]);
    let result = step(&mut state, |state| upgrade(state, &OTHER, Height::new(2), release(&foreign)));
    assert_eq!(result.unwrap_err().0, FailureCode::NotOwner);
    for result in [
        start(&mut state, &OTHER, &id("base")).map(|_| ()),
        stop(&mut state, &OTHER, &id("base")).map(|_| ()),
    ] {
        assert_eq!(result.unwrap_err().into_failure().unwrap().code, FailureCode::NotOwner);
    }
    assert_eq!(state, before);
    let record = require(&mut state, &id("user")).unwrap();
    set_running(&mut state, record, Height::new(2)).unwrap();
    assert_eq!(removed(&mut state, &OWNER, "user").unwrap_err().0, FailureCode::BadLifecycle);
}

#[test]
fn a_closure_of_dependencies_has_a_limit() {
    let mut state = MemoryState::default();
    let name = |n: usize| format!("app-{n}");
    installed(&mut state, &manifest(&name(0), "1.0.0", &[])).unwrap();
    for n in 1..=DEPENDENCY_CLOSURE_MAX {
        installed(&mut state, &manifest(&name(n), "1.0.0", &[(&name(n - 1), "*", false)])).unwrap();
    }
    let last = manifest("last", "1.0.0", &[(&name(DEPENDENCY_CLOSURE_MAX), "*", false)]);
    assert_eq!(installed(&mut state, &last).unwrap_err().0, FailureCode::LimitExceeded);
}
