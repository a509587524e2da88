//! Which crate may use which (DESIGN 2): nothing points back, pure crates stay pure, and what is big and outside is
//! named in one place.

use crate::Violation;
use crate::graph::Crate;

/// Crates that take a state and an input and return a new state and effects.
pub const PURE: &[&str] = &[
    "node/primitives",
    "node/api",
    "node/state",
    "node/modules",
    "node/mempool",
    "node/consensus",
    "node/chain",
    "node/sync",
];

/// What a pure crate never names: runtimes, sockets, engines, disks, randomness.
const IMPURE: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "mio",
    "axum",
    "hyper",
    "reqwest",
    "rocksdb",
    "wasmtime",
    "libp2p",
    "rand",
    "rand_core",
    "getrandom",
    "tempfile",
];
/// What a pure crate does not even reach through others.
const IMPURE_AT_ANY_DISTANCE: &[&str] = &["tokio", "mio", "axum", "hyper", "rocksdb", "wasmtime", "libp2p"];

/// Edges between outside packages that are not followed from one pure crate: (crate, from, to).
///
/// malachite's consensus core names tokio and uses none of it: its coroutines run without a runtime. What tokio
/// reaches in turn is reached from there only.
pub(crate) const NOT_FOLLOWED: &[(&str, &str, &str)] =
    &[("node/consensus", "arc-malachitebft-core-consensus", "tokio")];

/// Packages that one crate alone may name.
const ONLY: &[(&str, &str)] = &[
    ("wasmtime", "runtime/engine"),
    ("rocksdb", "node/storage"),
    ("axum", "node/rpc"),
    ("libp2p", "node/network"),
];

/// Crates that connect to the outside; `service` and `cli` put them together.
const ADAPTERS: &[&str] = &["node/storage", "node/rpc", "node/client"];

/// What each layer may use: the folder (or one crate) and the folders (or crates) below it.
const LAYERS: &[(&str, &[&str])] = &[
    ("sdk/abi", &[]),
    ("sdk", &["sdk"]),
    ("runtime", &["runtime", "sdk/abi"]),
    ("node", &["node", "runtime", "sdk/abi"]),
    ("apps", &["sdk", "apps"]),
    ("examples", &["sdk", "runtime", "node", "apps"]),
    ("xtask", &["sdk/abi", "runtime", "node"]),
];

/// Checks that every crate uses only what its layer may. Tests may use more: they look at their own crate from above.
pub fn check_layers(crates: &[Crate]) -> Vec<Violation> {
    let mut found = Vec::new();
    for one in crates {
        let Some((layer, allowed)) = LAYERS.iter().find(|(layer, _)| is_within(&one.folder, layer)) else {
            found.push(Violation::new(
                &one.folder,
                "the crate is in no known layer",
                "put it under sdk, runtime, node, apps or examples, or give it a layer in node/tidy/src/edges.rs",
            ));
            continue;
        };
        for used in one.dependencies.iter().filter_map(|name| find(crates, name)) {
            if !allowed.iter().any(|folder| is_within(&used.folder, folder)) {
                found.push(Violation::new(
                    &one.folder,
                    format!("depends on {}", used.folder),
                    format!(
                        "{layer} may use {}; move what is shared down, or turn the edge around",
                        list(allowed)
                    ),
                ));
            }
        }
    }
    found
}

/// Checks that pure crates name and reach nothing that waits, listens, stores or guesses.
pub fn check_pure(crates: &[Crate]) -> Vec<Violation> {
    let mut found = Vec::new();
    for one in crates.iter().filter(|one| PURE.contains(&one.folder.as_str())) {
        for package in IMPURE.iter().filter(|package| one.dependencies.contains(**package)) {
            found.push(Violation::new(
                &one.folder,
                format!("names {package}"),
                "the crate is pure; take the effect as an input, or put it behind a port that an adapter implements",
            ));
        }
        let reached = IMPURE_AT_ANY_DISTANCE
            .iter()
            .filter(|package| one.reaches.contains(**package) && !one.dependencies.contains(**package));
        for package in reached {
            found.push(Violation::new(
                &one.folder,
                format!("reaches {package} through another crate"),
                format!("the crate is pure; see `cargo tree -p {} -i {package}` and cut that edge", one.name),
            ));
        }
    }
    found
}

/// Checks the "only crate that names X" rules, for tests as well.
pub fn check_only(crates: &[Crate]) -> Vec<Violation> {
    let mut found = Vec::new();
    for (package, owner) in ONLY {
        let named =
            |one: &&Crate| one.dependencies.contains(*package) || one.dev_dependencies.contains(*package);
        for one in crates.iter().filter(named).filter(|one| one.folder != *owner) {
            found.push(Violation::new(
                &one.folder,
                format!("names {package}"),
                format!("only {owner} may; use what that crate offers, or add it there"),
            ));
        }
    }
    found
}

/// Checks that adapters do not depend on each other.
pub fn check_adapters(crates: &[Crate]) -> Vec<Violation> {
    let mut found = Vec::new();
    for one in crates.iter().filter(|one| ADAPTERS.contains(&one.folder.as_str())) {
        for used in one.dependencies.iter().filter_map(|name| find(crates, name)) {
            if ADAPTERS.contains(&used.folder.as_str()) {
                found.push(Violation::new(
                    &one.folder,
                    format!("depends on {}", used.folder),
                    "adapters do not know each other; let node/service put them together",
                ));
            }
        }
    }
    found
}

/// Checks that a package is called `purlin-<folder>`; `purlin-sdk` is the one that authors write by hand.
pub fn check_names(crates: &[Crate]) -> Vec<Violation> {
    let mut found = Vec::new();
    for one in
        crates.iter().filter(|one| !one.folder.starts_with("apps/") && !one.folder.starts_with("examples/"))
    {
        let folder = one.folder.rsplit('/').next().unwrap_or_default();
        let expected =
            if one.folder == "sdk/app" { "purlin-sdk".to_owned() } else { format!("purlin-{folder}") };
        if one.name != expected {
            found.push(Violation::new(
                &one.folder,
                format!("the package is called {}", one.name),
                format!("call it {expected}"),
            ));
        }
    }
    found
}

fn find<'a>(crates: &'a [Crate], name: &str) -> Option<&'a Crate> {
    crates.iter().find(|one| one.name == name)
}

fn is_within(folder: &str, layer: &str) -> bool {
    folder.strip_prefix(layer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn list(folders: &[&str]) -> String {
    if folders.is_empty() { "no crate of the workspace".to_owned() } else { folders.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate of this folder that names these packages.
    fn naming(folder: &str, dependencies: &[&str]) -> Crate {
        let name = match folder {
            "sdk/app" => "purlin-sdk".to_owned(),
            _ => format!("purlin-{}", folder.rsplit('/').next().unwrap_or_default()),
        };
        let dependencies = dependencies.iter().map(|name| (*name).to_owned()).collect();
        Crate { name, folder: folder.to_owned(), dependencies, ..Crate::default() }
    }

    /// A workspace whose edges are all right, with the edges of one crate replaced.
    fn workspace(changed: Crate) -> Vec<Crate> {
        let mut crates = vec![
            naming("sdk/abi", &[]),
            naming("sdk/app", &["purlin-abi"]),
            naming("runtime/engine", &["purlin-abi", "wasmtime"]),
            naming("node/primitives", &["purlin-abi", "k256"]),
            naming("node/chain", &["purlin-primitives"]),
            naming("node/storage", &["purlin-chain", "rocksdb"]),
            naming("node/rpc", &["purlin-chain", "axum", "tokio"]),
            naming("node/service", &["purlin-storage", "purlin-rpc", "purlin-engine", "tokio"]),
            naming("apps/token", &["purlin-sdk"]),
        ];
        crates.retain(|one| one.folder != changed.folder);
        crates.push(changed);
        crates
    }

    fn all(crates: &[Crate]) -> Vec<String> {
        let rules = [check_layers, check_pure, check_only, check_adapters, check_names];
        rules.iter().flat_map(|rule| rule(crates)).map(|found| found.to_string()).collect()
    }

    #[track_caller]
    fn check(changed: Crate, expected: &str) {
        let found = all(&workspace(changed));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(expected), "{found:?} does not say {expected:?}");
    }

    #[test]
    fn good_edges_pass() {
        assert_eq!(all(&workspace(naming("node/mempool", &["purlin-primitives"]))), [""; 0]);
    }

    #[test]
    fn edges_that_point_back_are_found() {
        check(naming("sdk/abi", &["purlin-sdk"]), "sdk/abi: depends on sdk/app; sdk/abi may use no crate");
        check(naming("sdk/app", &["purlin-primitives"]), "sdk/app: depends on node/primitives");
        check(naming("runtime/engine", &["purlin-chain"]), "runtime/engine: depends on node/chain");
        check(naming("runtime/engine", &["purlin-sdk"]), "runtime/engine: depends on sdk/app");
        check(naming("node/service", &["purlin-sdk"]), "node/service: depends on sdk/app");
        check(naming("apps/token", &["purlin-chain"]), "apps/token: depends on node/chain; apps may use sdk");
        check(naming("tools/extra", &[]), "tools/extra: the crate is in no known layer");
        check(naming("sdk2", &[]), "sdk2: the crate is in no known layer");
    }

    #[test]
    fn impure_dependencies_are_found() {
        check(naming("node/chain", &["tokio"]), "node/chain: names tokio");
        check(naming("node/chain", &["getrandom"]), "node/chain: names getrandom");
        let mut through = naming("node/chain", &["innocent"]);
        through.reaches.insert("mio".to_owned());
        check(through, "node/chain: reaches mio through another crate");
    }

    #[test]
    fn a_second_owner_is_found_in_tests_too() {
        check(naming("node/service", &["axum"]), "node/service: names axum; only node/rpc may");
        let mut test_only = naming("node/service", &[]);
        test_only.dev_dependencies.insert("rocksdb".to_owned());
        check(test_only, "node/service: names rocksdb; only node/storage may");
    }

    #[test]
    fn adapters_that_know_each_other_are_found() {
        check(
            naming("node/rpc", &["purlin-storage"]),
            "node/rpc: depends on node/storage; adapters do not know",
        );
    }

    #[test]
    fn other_names_are_found() {
        let mut named = naming("node/mempool", &[]);
        named.name = "mempool".to_owned();
        check(named, "node/mempool: the package is called mempool; call it purlin-mempool");
    }
}
