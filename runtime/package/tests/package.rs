//! Packages as a whole: what is built is what is read, bound by hashes, and the same on every machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use purlin_abi::{AccountId, Dependency};
use purlin_package::{
    ArchiveError, ManifestError, Package, PackageBuilder, PackageError, PathError, SIGNATURE_BYTES,
    SignatureError, canonical_manifest, package_identity, parse_manifest,
};
use std::io::Read;
use support::*;

const SECRET: [u8; 32] = [7; 32];

fn builder() -> PackageBuilder {
    let mut builder = PackageBuilder::new(MANIFEST.as_bytes()).unwrap();
    builder
        .file("ui/index.html", b"<!doctype html>".to_vec())
        .unwrap()
        .file("contract.wasm", wat(MODULE))
        .unwrap()
        .file("README.md", b"# Hello\n".to_vec())
        .unwrap();
    builder
}

#[test]
fn what_is_built_is_read_back() {
    let package = Package::read(&builder().build().unwrap()).unwrap();
    assert_eq!(package.wasm, wat(MODULE));
    assert_eq!(package.facts.calls, ["run"]);
    assert_eq!(package.files["ui/index.html"], b"<!doctype html>");
    assert_eq!(package.files.len(), 2);
    assert_eq!((package.signer, &package.schema_json), (None, &None));
    assert_eq!(package.identity, package_identity(&package.manifest));
    assert_eq!(package.manifest.files.len(), 3);
    package.check_installable().unwrap();
}

#[test]
fn building_twice_gives_the_same_bytes_in_any_order() {
    let first = builder().build().unwrap();
    let mut other = PackageBuilder::new(MANIFEST.as_bytes()).unwrap();
    other.file("README.md", b"# Hello\n".to_vec()).unwrap();
    other.file("contract.wasm", wat(MODULE)).unwrap();
    other.file("ui/index.html", b"<!doctype html>".to_vec()).unwrap();
    assert_eq!(first, other.build().unwrap());
    // Pins the format over time and machines: another value here means that nobody can reproduce a package
    // built before.
    assert_eq!(sha256_hex(&first), GOLDEN_PACKAGE);
    let mut signed = builder();
    signed.sign_with(&SECRET).unwrap();
    assert_eq!(signed.build().unwrap(), signed.build().unwrap());
}

const GOLDEN_PACKAGE: &str = "8ca0825efc0fae9948772b7ef9ecef0e72e86afad2233781df4e9ecb28d91253";

#[test]
fn the_archive_is_plain_for_other_tools() {
    let bytes = builder().build().unwrap();
    assert_eq!(&bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    let mut seen = Vec::new();
    for entry in archive.entries().unwrap().raw(true) {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header();
        assert!(header.as_ustar().is_some() && header.entry_type().is_file());
        assert_eq!((header.mtime().unwrap(), header.mode().unwrap()), (0, 0o644));
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        seen.push(String::from_utf8(entry.path_bytes().into_owned()).unwrap());
    }
    assert_eq!(seen, ["README.md", "contract.wasm", "manifest.json", "ui/index.html"]);
}

#[test]
fn what_other_tools_write_is_read() {
    let module = wat(MODULE);
    let manifest = manifest_listing(&[("contract.wasm", &module)]);
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in [("manifest.json", manifest.as_bytes()), ("contract.wasm", &module)] {
        let mut header = tar::Header::new_ustar();
        header.set_path(path).unwrap();
        header.set_size(content.len() as u64);
        header.set_mtime(1_700_000_000);
        header.set_uid(1000);
        header.set_cksum();
        archive.append(&header, content).unwrap();
    }
    let package = Package::read(&gzip(&archive.into_inner().unwrap())).unwrap();
    assert_eq!(package.wasm, module);
}

#[test]
fn long_paths_fit_or_are_refused() {
    let long = format!("ui/{}/{}", "a".repeat(100), "b".repeat(96));
    let mut ok = builder();
    let bytes = ok.file(&long, b"x".to_vec()).unwrap().build().unwrap();
    assert_eq!(Package::read(&bytes).unwrap().files[&long], b"x");
    let path = format!("ui/{}", "a".repeat(150));
    let error = builder().file(&path, Vec::new()).unwrap().build().unwrap_err();
    assert_eq!(error, ArchiveError::from(PathError::Unsplittable { path }).into());
}

#[test]
fn the_builder_refuses_what_the_reader_would() {
    let refused = |path: &str, content: Vec<u8>| builder().file(path, content).unwrap_err();
    let path_error = |error: PathError| PackageError::from(ArchiveError::from(error));
    assert_eq!(
        refused("../x", vec![]),
        path_error(PathError::Component { path: "../x".into(), component: "..".into() })
    );
    assert_eq!(refused("src/lib.rs", vec![]), path_error(PathError::Unknown { path: "src/lib.rs".into() }));
    assert_eq!(refused("README.md", vec![]), ArchiveError::Duplicate { path: "README.md".into() }.into());
    assert_eq!(
        refused("ui/INDEX.html", vec![]),
        ArchiveError::CaseCollision { path: "ui/INDEX.html".into(), other: "ui/index.html".into() }.into()
    );
    for path in ["manifest.json", "manifest.sig"] {
        assert_eq!(refused(path, vec![]), ManifestError::ListsItself { path: path.into() }.into());
    }
    assert_eq!(
        refused("ui/large", vec![0; 33 * 1024 * 1024]).to_string(),
        "\"ui/large\" has 34603008 bytes; at most 33554432 are allowed"
    );
    assert_eq!(refused("ui/large", vec![0; 32 * 1024 * 1024]), ArchiveError::UnpackedTooLarge.into());
    let zeros = builder().file("ui/zeros", vec![0; 4 * 1024 * 1024]).unwrap().build().unwrap_err();
    assert!(matches!(zeros, PackageError::Archive(ArchiveError::RatioTooHigh { .. })), "{zeros:?}");
    let empty = PackageBuilder::new(MANIFEST.as_bytes()).unwrap().build().unwrap_err();
    assert_eq!(empty, PackageError::Missing { path: "contract.wasm" });
    assert!(matches!(
        PackageBuilder::new(b"{}"),
        Err(PackageError::Manifest(ManifestError::MissingField { .. }))
    ));
    let mut many = builder();
    let error = (0..1_000).find_map(|index| many.file(&format!("ui/{index}"), noise(9)).err()).unwrap();
    assert_eq!(error, ArchiveError::TooManyEntries.into());
    many.build().expect("everything that was accepted fits");
}

#[test]
fn files_and_manifest_agree_both_ways() {
    let module = wat(MODULE);
    let read = |manifest: &str, files: &[(&str, &[u8])]| {
        let mut entries = vec![entry("manifest.json", manifest)];
        entries.extend(files.iter().map(|(path, content)| entry(path, content)));
        Package::read(&gzip(&tar(&entries)))
    };
    let listing_all = manifest_listing(&[("contract.wasm", &module), ("README.md", b"a")]);
    for (case, result, expected) in [
        ("no manifest", Package::read(&gzip(&tar(&[entry("contract.wasm", &module)]))), "no manifest.json"),
        ("no contract", read(MANIFEST, &[]), "no contract.wasm"),
        ("nothing", Package::read(&gzip(&tar(&[]))), "no manifest.json"),
        (
            "not listed",
            read(
                &manifest_listing(&[("contract.wasm", &module)]),
                &[("contract.wasm", &module), ("ui/x", b"")],
            ),
            "\"ui/x\" is in the package but not in the manifest's `files`",
        ),
        (
            "contract not listed",
            read(MANIFEST, &[("contract.wasm", &module)]),
            "\"contract.wasm\" is in the package but not",
        ),
        (
            "listed but missing",
            read(&listing_all, &[("contract.wasm", &module)]),
            "\"README.md\" is in the manifest's `files` but not in the package",
        ),
        (
            "wrong hash",
            read(&listing_all, &[("contract.wasm", &module), ("README.md", b"b")]),
            "\"README.md\" has SHA-256 0x3e23",
        ),
        ("bad manifest", read("{}", &[("contract.wasm", &module)]), "manifest.json: field `abi` is missing"),
    ] {
        let error = result.expect_err(case).to_string();
        assert!(error.contains(expected), "{case}: {error:?} does not say {expected:?}");
    }
    let bad_module = b"not wasm";
    let error = read(&manifest_listing(&[("contract.wasm", bad_module)]), &[("contract.wasm", bad_module)])
        .unwrap_err();
    assert!(
        error.to_string().starts_with("contract.wasm: these bytes are not a WebAssembly module"),
        "{error}"
    );
}

#[test]
fn the_schema_file_stands_in_for_the_modules_own() {
    let schema: &[u8] =
        br#"{"abi":1,"name":"T","methods":[{"name":"run","kind":"call","returns":{"x-borsh":"unit"}}]}"#;
    let own = MODULE.replace(
        "(func",
        &format!(
            "(@custom \"purlin.schema\" \"{}\") (func",
            String::from_utf8_lossy(schema).replace('"', "\\\"")
        ),
    );
    let build = |module: &str, file: Option<&[u8]>| {
        let mut builder = PackageBuilder::new(MANIFEST.as_bytes()).unwrap();
        builder.file("contract.wasm", wat(module)).unwrap();
        if let Some(file) = file {
            builder.file("schema.json", file.to_vec()).unwrap();
        }
        builder.build().map(|bytes| Package::read(&bytes).unwrap().schema_json)
    };
    assert_eq!(build(MODULE, None).unwrap(), None);
    assert_eq!(build(MODULE, Some(schema)).unwrap().as_deref(), Some(schema));
    assert_eq!(build(&own, None).unwrap().as_deref(), Some(schema));
    let spaced = br#"{ "methods": [{"returns": {"x-borsh":"unit"}, "kind":"call", "name":"run"}], "name": "T", "abi": 1 }"#;
    assert_eq!(build(&own, Some(spaced)).unwrap().as_deref(), Some(schema), "equal but for spaces and order");
    assert_eq!(build(&own, Some(br#"{"abi":1,"name":"T","methods":[]}"#)), Err(PackageError::SchemaConflict));
    assert!(matches!(build(MODULE, Some(b"{}")), Err(PackageError::Wasm(_))));
}

#[test]
fn the_identity_binds_meaning_not_spelling() {
    let spellings = [
        r#"{"id":"hello","name":"Hello","version":"1.0.0","abi":1,"permissions":["events","storage"],
            "dependencies":[{"id":"aa","version":"1"},{"id":"bb","version":"2","optional":false}]}"#,
        r#"{ "abi": 1, "version": "1.0.0", "id": "hello", "name": "\u0048ello", "placement": "chain", "files": {},
            "dependencies": [{"version": "2", "id": "bb"}, {"id": "aa", "version": "1"}],
            "permissions": ["storage", "events"], "auto_start": false, "description": "", "author": "", "license": "",
            "limits": {"memory_pages": 64} }"#,
    ];
    let identities = spellings.map(|text| package_identity(&parse_manifest(text.as_bytes()).unwrap()));
    assert_eq!(identities[0], identities[1]);

    let base = parse_manifest(MANIFEST.as_bytes()).unwrap();
    let dependency = Dependency { id: "aa".parse().unwrap(), version: "1".into(), optional: false };
    let changes: [&dyn Fn(&mut purlin_abi::Manifest); 14] = [
        &|m| m.id = "other".parse().unwrap(),
        &|m| m.name = "Other".into(),
        &|m| m.version = "1.0.1".into(),
        &|m| m.description = "D".into(),
        &|m| m.author = "A".into(),
        &|m| m.license = "MIT".into(),
        &|m| m.placement = purlin_abi::Placement::Edge,
        &|m| m.permissions = vec!["storage".into()],
        &|m| m.dependencies = vec![dependency.clone()],
        &|m| m.auto_start = true,
        &|m| m.limits.memory_pages += 1,
        &|m| m.limits.gas_per_call += 1,
        &|m| m.limits.storage_bytes += 1,
        &|m| m.files.extend([("ui/x".to_owned(), Default::default())]),
    ];
    let mut seen = vec![package_identity(&base)];
    for (index, change) in changes.iter().enumerate() {
        let mut manifest = base.clone();
        change(&mut manifest);
        let identity = package_identity(&manifest);
        assert!(!seen.contains(&identity), "change {index} must change the identity");
        seen.push(identity);
    }
}

#[test]
fn the_canonical_manifest_is_pinned() {
    // Borsh, field by field: a change here changes the identity of every package ever built.
    let text = r#"{"id":"ab","name":"N","version":"1.0.0","description":"D","author":"A","license":"L","abi":1,
        "permissions":["storage","apps"],"dependencies":[{"id":"cd","version":"^1","optional":true}],"auto_start":true,
        "limits":{"memory_pages":2,"gas_per_call":3,"storage_bytes":4},
        "files":{"ui/x":"0101010101010101010101010101010101010101010101010101010101010101"}}"#;
    let mut expected = Vec::new();
    let mut text_field = |text: &str| {
        expected.extend((text.len() as u32).to_le_bytes());
        expected.extend(text.as_bytes());
    };
    ["ab", "N", "1.0.0", "D", "A", "L"].into_iter().for_each(&mut text_field);
    expected.extend([1, 0, 0, 0]); // abi
    expected.push(0); // placement
    expected.extend(b"\x02\0\0\0\x04\0\0\0apps\x07\0\0\0storage");
    expected.extend(b"\x01\0\0\0\x02\0\0\0cd\x02\0\0\0^1\x01");
    expected.push(1); // auto_start
    expected.extend(b"\x02\0\0\0\x03\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0");
    expected.extend(b"\x01\0\0\0\x04\0\0\0ui/x");
    expected.extend([1; 32]);
    let manifest = parse_manifest(text.as_bytes()).unwrap();
    assert_eq!(canonical_manifest(&manifest), expected);
    let identity = sha256_hex(&[b"\x1apurlin-package-identity-v1", expected.as_slice()].concat());
    assert_eq!(package_identity(&manifest).to_string(), format!("0x{identity}"));
    assert_eq!(identity, GOLDEN_IDENTITY);
}

const GOLDEN_IDENTITY: &str = "379627811aec243ba44f67196801e10b6d31c92c8c1aa96b6ff5b626a1a38ad1";

/// A signed package, its signature file changed.
fn signed_with(change: impl FnOnce(&mut Vec<u8>)) -> Result<Package, PackageError> {
    let mut builder = builder();
    let bytes = builder.sign_with(&SECRET).unwrap().build().unwrap();
    let mut files = Vec::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.push((path, content));
    }
    let signature = files.iter_mut().find(|(path, _)| path == "manifest.sig").unwrap();
    change(&mut signature.1);
    let entries: Vec<Entry> = files.iter().map(|(path, content)| entry(path, content)).collect();
    Package::read(&gzip(&tar(&entries)))
}

#[test]
fn a_signature_is_verified() {
    let package = signed_with(|_| {}).unwrap();
    let key = k256::ecdsa::SigningKey::from_slice(&SECRET).unwrap();
    let public = key.verifying_key().to_sec1_point(true);
    assert_eq!(package.signer.unwrap().as_slice(), public.as_bytes());
    let unsigned = Package::read(&builder().build().unwrap()).unwrap();
    assert_eq!(package.identity, unsigned.identity, "signing does not change what is signed");

    for (case, change, expected) in [
        (
            "empty",
            Box::new(|s: &mut Vec<u8>| s.clear()) as Box<dyn FnOnce(&mut Vec<u8>)>,
            SignatureError::Length { bytes: 0 },
        ),
        (
            "short",
            Box::new(|s| s.truncate(SIGNATURE_BYTES - 1)),
            SignatureError::Length { bytes: SIGNATURE_BYTES - 1 },
        ),
        ("version", Box::new(|s| s[0] = 2), SignatureError::Version { found: 2 }),
        ("not a point", Box::new(|s| s[1..34].fill(0xff)), SignatureError::PublicKey),
        // The curve library also reads the tag 5: a second spelling of the same key.
        ("another spelling of the key", Box::new(|s| s[1] = 5), SignatureError::PublicKey),
        ("zero r", Box::new(|s| s[34..66].fill(0)), SignatureError::Malformed),
        ("s too large", Box::new(|s| s[66..98].fill(0xff)), SignatureError::Malformed),
        (
            "upper half",
            Box::new(|s| {
                let high = order_minus(&s[66..98]);
                s[66..98].copy_from_slice(&high);
            }),
            SignatureError::Malformed,
        ),
        ("another signature", Box::new(|s| s[40] ^= 1), SignatureError::Mismatch),
        (
            "another signer",
            Box::new(|s| {
                let other = k256::ecdsa::SigningKey::from_slice(&[8; 32]).unwrap();
                s[1..34].copy_from_slice(other.verifying_key().to_sec1_point(true).as_bytes());
            }),
            SignatureError::Mismatch,
        ),
    ] {
        assert_eq!(signed_with(change).expect_err(case), expected.into(), "{case}");
    }
    assert_eq!(builder().sign_with(&[0; 32]).unwrap_err(), SignatureError::SecretKey.into());
    assert!(!format!("{:?}", signed_builder()).contains("0707"), "a secret is never printed");
}

/// The other `s` that makes the same signature: the group order minus `s`, big-endian.
fn order_minus(s: &[u8]) -> [u8; 32] {
    const ORDER: &[u8; 64] = b"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let mut result = [0; 32];
    let mut borrow = 0;
    for index in (0..32).rev() {
        let pair = std::str::from_utf8(&ORDER[index * 2..index * 2 + 2]).unwrap();
        let difference = i32::from_str_radix(pair, 16).unwrap() - i32::from(s[index]) - borrow;
        borrow = i32::from(difference < 0);
        result[index] = difference.rem_euclid(256) as u8;
    }
    result
}

fn signed_builder() -> PackageBuilder {
    let mut builder = builder();
    builder.sign_with(&SECRET).unwrap();
    builder
}

#[test]
fn a_signature_of_another_package_is_refused() {
    let mut other = PackageBuilder::new(MANIFEST.replace("1.0.0", "1.0.1").as_bytes()).unwrap();
    other.file("contract.wasm", wat(MODULE)).unwrap().sign_with(&SECRET).unwrap();
    let other = other.build().unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(other.as_slice()));
    let signature = archive
        .entries()
        .unwrap()
        .map(Result::unwrap)
        .find(|entry| &*entry.path_bytes() == b"manifest.sig")
        .map(|mut entry| {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            content
        })
        .unwrap();
    let error = signed_with(|bytes| *bytes = signature).unwrap_err();
    assert_eq!(error, SignatureError::Mismatch.into());
    // An account is not a signer by being named: only the key counts.
    assert_ne!(AccountId::ZERO.as_bytes()[..], signed_with(|_| {}).unwrap().signer.unwrap()[..20]);
}
