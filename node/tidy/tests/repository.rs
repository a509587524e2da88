//! Runs every rule on this repository.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use purlin_tidy::files::{File, root, text_files};
use purlin_tidy::graph::Crate;
use purlin_tidy::{Violation, commands, documents, edges, graph, purity, text};
use std::path::Path;
use std::sync::LazyLock;

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| text_files(&root()).unwrap());
static CRATES: LazyLock<Vec<Crate>> = LazyLock::new(|| graph::read(&root()).unwrap());

/// Crates that may hold unsafe code, and why.
const UNSAFE_ALLOWED: &[(&str, &str)] = &[
    ("sdk/app", "the guest's allocator, its imports, and pointers it hands to the host"),
    ("runtime/engine", "loading compiled code that this node made and authenticated"),
];

/// Fails with one line for each violation.
#[track_caller]
fn check(rule: &str, found: impl IntoIterator<Item = Violation>) {
    let lines: Vec<String> = found.into_iter().map(|violation| format!("  {violation}\n")).collect();
    assert!(lines.is_empty(), "{rule}\n{}", lines.concat());
}

/// Files with this ending.
fn ending(end: &str) -> impl Iterator<Item = &'static File> {
    FILES.iter().filter(move |file| file.path.ends_with(end))
}

/// The root file of every crate: its library, else its program.
fn crate_roots() -> impl Iterator<Item = (&'static Crate, &'static File)> {
    CRATES.iter().map(|one| {
        let candidates = ["src/lib.rs", "src/main.rs"].map(|file| format!("{}/{file}", one.folder));
        let find = |path: &String| FILES.iter().find(|file| file.path == *path);
        (one, candidates.iter().find_map(find).unwrap_or_else(|| panic!("{} has no root file", one.folder)))
    })
}

#[test]
fn the_repository_is_found() {
    assert!(CRATES.iter().any(|one| one.folder == "node/tidy"), "{:?}", *CRATES);
    let engine = CRATES.iter().find(|one| one.folder == "runtime/engine").unwrap();
    assert!(engine.reaches.contains("wasmtime"), "transitive dependencies are read");
    let missing: Vec<_> =
        edges::PURE.iter().filter(|pure| !CRATES.iter().any(|one| one.folder == **pure)).collect();
    assert!(missing.is_empty(), "the list of pure crates names crates that are not there: {missing:?}");
    for path in ["README.md", "node/tidy/src/lib.rs", ".ci/run"] {
        assert!(FILES.iter().any(|file| file.path == path), "{path} is not among the files");
    }
}

#[test]
fn crates_use_only_what_their_layer_may() {
    check(
        "apps use sdk, node uses runtime, runtime uses sdk/abi; nothing points back",
        edges::check_layers(&CRATES),
    );
}

#[test]
fn pure_crates_depend_on_nothing_impure() {
    check("pure crates have no runtime, socket, disk or randomness", edges::check_pure(&CRATES));
}

#[test]
fn big_dependencies_have_one_owner() {
    check("only one crate names wasmtime, rocksdb, axum, libp2p", edges::check_only(&CRATES));
}

#[test]
fn adapters_do_not_know_each_other() {
    check("storage, rpc and client are put together by service", edges::check_adapters(&CRATES));
}

#[test]
fn packages_are_named_by_their_folder() {
    check("a package is called purlin-<folder>", edges::check_names(&CRATES));
}

#[test]
fn pure_sources_name_no_effects() {
    let in_pure =
        |file: &&File| edges::PURE.iter().any(|pure| file.path.starts_with(&format!("{pure}/src/")));
    let tests = |file: &&File| file.path.ends_with("/tests.rs") || file.path.contains("/tests/");
    let sources = ending(".rs").filter(in_pure).filter(|file| !tests(file));
    check(
        "pure crates have no clock, file, socket or thread",
        sources.flat_map(|file| purity::check(&file.path, &file.text)),
    );
}

#[test]
fn source_files_are_short() {
    check("a file is one idea", ending(".rs").flat_map(|file| text::check_size(&file.path, &file.text)));
}

#[test]
fn nothing_is_left_unfinished() {
    let sources = FILES.iter().filter(|file| !file.path.ends_with(".json"));
    check("what is here is finished", sources.flat_map(|file| text::check_words(&file.path, &file.text)));
}

#[test]
fn files_say_nothing_of_one_machine() {
    let home = std::env::var("HOME").unwrap_or_default();
    // A home of "/" would be found in every path.
    let own: Vec<String> = [root().display().to_string(), home]
        .into_iter()
        .filter(|folder| folder.matches('/').count() >= 2)
        .collect();
    check(
        "the repository is the same everywhere",
        FILES.iter().flat_map(|file| text::check_machine(&file.path, &file.text, &own)),
    );
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    check("packages come from the public registry", text::check_lock(&lock));
}

#[test]
fn crates_say_what_they_do() {
    check(
        "a crate opens with its purpose",
        crate_roots().flat_map(|(_, file)| text::check_purpose(&file.path, &file.text)),
    );
}

#[test]
fn crates_forbid_unsafe_code() {
    // Applications get their exports from a macro, and `#[unsafe(no_mangle)]` is not allowed under forbid.
    let free =
        |folder: &str| folder.starts_with("apps/") || UNSAFE_ALLOWED.iter().any(|(one, _)| *one == folder);
    let bound = crate_roots().filter(|(one, _)| !free(&one.folder));
    check(
        "unsafe code is forbidden but in listed crates",
        bound.flat_map(|(_, file)| text::check_unsafe(&file.path, &file.text)),
    );
    for (folder, _) in UNSAFE_ALLOWED {
        assert!(CRATES.iter().any(|one| one.folder == *folder), "{folder} is listed and does not exist");
    }
}

#[test]
fn links_in_documents_lead_somewhere() {
    let root = root();
    let exists = |path: &str| root.join(path).exists();
    check(
        "a document points at what is there",
        ending(".md").flat_map(|file| documents::check_links(&file.path, &file.text, exists)),
    );
}

#[test]
fn commands_in_documents_exist() {
    let root = root();
    let xtask = commands::read(&root.join("xtask/src"), Path::new("main.rs"), "Task").unwrap();
    let purlin = commands::read(&root.join("node/cli/src"), Path::new("args.rs"), "Command").unwrap();
    assert!(xtask.names().contains(&"demo") && purlin.names().contains(&"app"), "{xtask:?} {purlin:?}");
    check(
        "a document names commands that exist",
        ending(".md").flat_map(|file| {
            let mut found = documents::check_commands(&file.path, &file.text, "cargo xtask", &xtask);
            found.extend(documents::check_commands(&file.path, &file.text, "purlin", &purlin));
            found
        }),
    );
}
