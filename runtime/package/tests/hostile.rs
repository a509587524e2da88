//! Random damage: nothing panics, and nothing passes for something else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use flate2::read::GzDecoder;
use proptest::prelude::*;
use purlin_package::{Package, PackageBuilder, check_wasm, parse_manifest};
use std::io::Read as _;
use std::sync::LazyLock;
use support::*;

static PACKAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut builder = PackageBuilder::new(MANIFEST.as_bytes()).unwrap();
    builder.file("contract.wasm", wat(MODULE)).unwrap();
    builder.file("ui/noise", noise(3_000)).unwrap().sign_with(&[7; 32]).unwrap();
    builder.build().unwrap()
});

/// What is inside the compression. Signed: without a signature a changed description makes another, valid package.
static ARCHIVE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut archive = Vec::new();
    GzDecoder::new(&PACKAGE[..]).read_to_end(&mut archive).unwrap();
    archive
});

/// Reads a damaged package: refused, or exactly the original.
fn check(damaged: &[u8], original: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(package) = Package::read(damaged) {
        prop_assert_eq!(package, Package::read(original).unwrap());
    }
    Ok(())
}

fn flipped(bytes: &[u8], flips: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (index, mask) in flips {
        let at = index.index(bytes.len());
        bytes[at] ^= mask;
    }
    bytes
}

fn flips() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_make_another_package(flips in flips()) {
        check(&flipped(&PACKAGE, &flips), &PACKAGE)?;
    }

    /// Behind the compression's checksum, so that the archive itself is damaged.
    #[test]
    fn flipped_archive_bytes_never_make_another_package(flips in flips()) {
        check(&gzip(&flipped(&ARCHIVE, &flips)), &gzip(&ARCHIVE))?;
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(Package::read(&bytes).is_err());
        prop_assert!(Package::read(&gzip(&bytes)).is_err());
        prop_assert!(parse_manifest(&bytes).is_err());
    }

    #[test]
    fn damaged_manifests_are_refused_or_read(flips in flips()) {
        let text = manifest_listing(&[("contract.wasm", b"x"), ("ui/a", b"y")]);
        if let Err(error) = parse_manifest(&flipped(text.as_bytes(), &flips)) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn damaged_modules_are_refused_or_read(flips in flips()) {
        let module = wat(r#"(module (import "purlin.core.v1" "output" (func $o (param i32 i32)))
            (memory (export "memory") 1) (table 2 funcref) (elem (i32.const 0) $o) (global (mut i64) (i64.const 1))
            (data (i32.const 8) "data") (func (export "run") (local i32 f64) (call $o (i32.const 0) (local.get 0))))"#);
        let manifest = parse_manifest(MANIFEST.as_bytes()).unwrap();
        if let Err(error) = check_wasm(&flipped(&module, &flips), &manifest) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

/// Not by chance but all of them: a download that stops anywhere is noticed.
#[test]
fn every_prefix_is_refused() {
    for length in 0..PACKAGE.len() {
        assert!(Package::read(&PACKAGE[..length]).is_err(), "{length} of {} bytes", PACKAGE.len());
    }
    let archive_end = ARCHIVE.len();
    for length in (0..archive_end).step_by(7) {
        assert!(Package::read(&gzip(&ARCHIVE[..length])).is_err(), "{length} of {archive_end} archive bytes");
    }
}
