//! A guest written in C. Its text form is committed, so that the test needs no C compiler; where there is a
//! clang, the source is compiled as well, and must behave the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::everywhere_wasm;
use purlin_abi::FailureCode;
use purlin_capabilities::testing::MemoryHost;

fn check(wasm: &[u8]) {
    let host = MemoryHost::default();
    let ran = everywhere_wasm(wasm, "increment", &2_u64.to_le_bytes(), &host);
    assert_eq!(ran.outcome, Ok(2_u64.to_le_bytes().to_vec()));
    let ran = everywhere_wasm(wasm, "increment", &40_u64.to_le_bytes(), &ran.host);
    assert_eq!(ran.outcome, Ok(42_u64.to_le_bytes().to_vec()));
    assert_eq!(ran.host.storage[b"count".as_slice()], 42_u64.to_le_bytes());
    assert_eq!(ran.host.events.len(), 2);
    assert_eq!(ran.host.events[1].topic, "incremented");
    let query = MemoryHost { read_only: true, ..ran.host.clone() };
    let answer = everywhere_wasm(wasm, "query_count", &[], &query);
    assert_eq!(answer.outcome, Ok(42_u64.to_le_bytes().to_vec()));

    let failed = everywhere_wasm(wasm, "increment", &u64::MAX.to_le_bytes(), &ran.host);
    assert_eq!(failed.code(), Some(FailureCode::AppError));
    assert_eq!(failed.message(), "the count would overflow");
}

#[test]
fn the_committed_form_runs() {
    check(&wat::parse_str(include_str!("guests/counter.wat")).unwrap());
}

#[test]
fn the_source_compiles_and_runs_where_there_is_a_compiler() {
    let (Some(linker), true) = (linker(), clang_knows_wasm()) else {
        eprintln!("no clang with a wasm32 target here; the committed form is tested all the same");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("counter.wasm");
    let compiled = Command::new("clang")
        .args(["--target=wasm32", "-Os", "-nostdlib", "-ffreestanding", "-Wall", "-Werror"])
        .arg(format!("-fuse-ld={}", linker.display()))
        .args(["-Wl,--no-entry", "-Wl,--strip-all", "-Wl,-z,stack-size=16384", "-o"])
        .arg(&out)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/counter.c"))
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    check(&std::fs::read(out).unwrap());
}

fn clang_knows_wasm() -> bool {
    let targets = Command::new("clang").arg("--print-targets").output();
    targets.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("wasm32"))
}

/// Finds the wasm linker that comes with Rust.
fn linker() -> Option<PathBuf> {
    let ask = |argument: &[&str]| {
        let output = Command::new("rustc").args(argument).output().ok()?;
        String::from_utf8(output.stdout).ok()
    };
    let version = ask(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "))?;
    let sysroot = ask(&["--print", "sysroot"])?;
    let linker = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin/gcc-ld/wasm-ld");
    linker.exists().then_some(linker)
}
