//! Every way in which an archive is refused, each with its own error.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use purlin_abi::limits;
use purlin_package::{ArchiveError, Package, PackageError, PathError};
use support::*;

/// Reads a package that must be refused, and compares the error and a part of its message.
#[track_caller]
fn check(case: &str, bytes: &[u8], expected: impl Into<PackageError>, message: &str) {
    let expected = expected.into();
    let error = Package::read(bytes).expect_err(case);
    assert_eq!(error, expected, "{case}");
    let shown = error.to_string();
    assert!(shown.contains(message), "{case}: {shown:?} does not say {message:?}");
    assert!(!shown.contains('\n') && shown.len() < 400, "{case}: {shown:?} is not one readable line");
}

fn archive_error(error: ArchiveError) -> PackageError {
    error.into()
}

fn path_error(error: PathError) -> PackageError {
    ArchiveError::from(error).into()
}

#[test]
fn the_hand_made_package_is_fine() {
    let package = Package::read(&package_plus([])).unwrap();
    assert_eq!(package.manifest.id.as_str(), "hello");
    let extra: &[(&str, &[u8])] = &[
        ("README.md", b"# Hello"),
        ("LICENSE-MIT", b"MIT"),
        ("ui/index.html", b"<p>"),
        ("ui/a/b/c/d/e/f/g", b""),
    ];
    let package = Package::read(&gzip(&tar(&entries_with(extra)))).unwrap();
    let paths: Vec<&str> = package.files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["LICENSE-MIT", "README.md", "ui/a/b/c/d/e/f/g", "ui/index.html"]);
}

#[test]
fn entry_types_other_than_regular_files_are_refused() {
    let at = |kind| package_plus([entry("ui/x", "").kind(kind)]);
    let path = || "ui/x".to_owned();
    for (kind, expected, message) in [
        (b'1', ArchiveError::Link { path: path(), kind: "hard" }, "hard link"),
        (b'2', ArchiveError::Link { path: path(), kind: "symbolic" }, "symbolic link"),
        (b'3', ArchiveError::Device { path: path(), kind: "character device" }, "character device"),
        (b'4', ArchiveError::Device { path: path(), kind: "block device" }, "block device"),
        (b'5', ArchiveError::Folder { path: path() }, "--no-recursion"),
        (b'6', ArchiveError::Device { path: path(), kind: "named pipe" }, "named pipe"),
        (b'7', ArchiveError::EntryType { path: path(), found: b'7' }, "0x37"),
        (b'S', ArchiveError::Sparse { path: path() }, "sparse"),
        (b'x', ArchiveError::PaxExtension { entry: 3 }, "--format=ustar"),
        (b'g', ArchiveError::PaxExtension { entry: 3 }, "PAX"),
        (b'L', ArchiveError::GnuExtension { entry: 3, what: "a long name" }, "GNU"),
        (b'K', ArchiveError::GnuExtension { entry: 3, what: "a long name" }, "GNU"),
        (b'D', ArchiveError::GnuExtension { entry: 3, what: "an entry type" }, "GNU"),
    ] {
        check(&format!("type {}", kind as char), &at(kind), archive_error(expected), message);
    }
}

#[test]
fn a_symbolic_link_out_of_the_package_is_refused() {
    let link = entry("ui/secret", "").kind(b'2').with(157, "/etc/shadow");
    check(
        "symlink",
        &package_plus([link]),
        archive_error(ArchiveError::Link { path: "ui/secret".into(), kind: "symbolic" }),
        "pack a copy",
    );
}

#[test]
fn headers_that_are_not_plain_ustar_are_refused() {
    let file = || entry("ui/x", "hello");
    for (case, entry, expected, message) in [
        (
            "GNU header",
            file().with(257, "ustar  \0"),
            ArchiveError::GnuExtension { entry: 3, what: "its own header format" },
            "--format=ustar",
        ),
        (
            "binary size",
            file().with(124, [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]),
            ArchiveError::GnuExtension { entry: 3, what: "a binary size" },
            "binary size",
        ),
        ("no magic", file().with(257, [0; 8]), ArchiveError::NotUstar { entry: 3 }, "ustar"),
        ("other version", file().with(263, "01"), ArchiveError::NotUstar { entry: 3 }, "ustar"),
        ("no size", file().with(124, [0; 12]), ArchiveError::BadHeader { entry: 3, field: "size" }, "size"),
        (
            "negative size",
            file().with(124, "-0000000005"),
            ArchiveError::BadHeader { entry: 3, field: "size" },
            "size",
        ),
        (
            "decimal size",
            file().with(124, "00000000009"),
            ArchiveError::BadHeader { entry: 3, field: "size" },
            "size",
        ),
        ("hidden name", file().with(90, "x"), ArchiveError::BadHeader { entry: 3, field: "name" }, "name"),
        (
            "hidden prefix",
            file().with(400, "x"),
            ArchiveError::BadHeader { entry: 3, field: "prefix" },
            "prefix",
        ),
        (
            "link name",
            file().with(157, "x"),
            ArchiveError::BadHeader { entry: 3, field: "link name" },
            "link name",
        ),
        ("padding", file().with(500, "x"), ArchiveError::BadHeader { entry: 3, field: "padding" }, "padding"),
        (
            "checksum text",
            file().damaged(148, b'z'),
            ArchiveError::BadHeader { entry: 3, field: "checksum" },
            "checksum",
        ),
    ] {
        check(case, &package_plus([entry]), archive_error(expected), message);
    }
    let damaged = file().damaged(100, 1);
    let error = Package::read(&package_plus([damaged])).unwrap_err();
    assert!(
        matches!(&error, PackageError::Archive(ArchiveError::HeaderChecksum { entry: 3, stated, computed })
            if stated + 1 == *computed),
        "{error:?}"
    );
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    let path = |text: &str| text.to_owned();
    let dots =
        |text: &str, component: &str| PathError::Component { path: path(text), component: path(component) };
    for (text, expected, message) in [
        ("/etc/passwd", PathError::Absolute { path: path("/etc/passwd") }, "absolute"),
        ("/manifest.json", PathError::Absolute { path: path("/manifest.json") }, "absolute"),
        ("../x", dots("../x", ".."), "\"..\""),
        ("ui/../../x", dots("ui/../../x", ".."), "\"..\""),
        ("ui/..", dots("ui/..", ".."), "\"..\""),
        ("./manifest.json", dots("./manifest.json", "."), "\".\""),
        ("ui//x", dots("ui//x", ""), "\"\""),
        ("ui/", dots("ui/", ""), "\"\""),
        ("", PathError::Empty, "empty"),
        ("ui\\x", PathError::Character { path: path("ui\\x"), character: '\\' }, "'\\\\'"),
        ("ui/a\nb", PathError::Character { path: path("ui/a\nb"), character: '\n' }, "'\\n'"),
        ("ui/a\u{85}b", PathError::Character { path: path("ui/a\u{85}b"), character: '\u{85}' }, "u{85}"),
        ("C:/x", PathError::Unknown { path: path("C:/x") }, "no place"),
        ("ui", PathError::Unknown { path: path("ui") }, "no place"),
        ("src/lib.rs", PathError::Unknown { path: path("src/lib.rs") }, "no place"),
        ("Manifest.json", PathError::Unknown { path: path("Manifest.json") }, "no place"),
        ("LICENSES/MIT", PathError::Unknown { path: path("LICENSES/MIT") }, "no place"),
        (
            "ui/1/2/3/4/5/6/7/8",
            PathError::TooDeep { path: path("ui/1/2/3/4/5/6/7/8"), components: 9 },
            "at most 8",
        ),
    ] {
        check(&format!("path {text:?}"), &package_plus([entry(text, "")]), path_error(expected), message);
    }
    check(
        "not UTF-8",
        &package_plus([entry(b"ui/\xff", "")]),
        path_error(PathError::NotUtf8 { lossy: "ui/\u{fffd}".into() }),
        "UTF-8",
    );
    // The prefix field makes paths longer than a name can be.
    let long = format!("ui/{}/{}", "a".repeat(107), "b".repeat(90));
    let split = entry(&long[111..], "").with(345, &long[..110]);
    check(
        "long path",
        &package_plus([split]),
        path_error(PathError::TooLong { bytes: 201, path: long }),
        "at most 200",
    );
    check(
        "absolute by prefix",
        &package_plus([entry("x", "").with(345, "/etc")]),
        path_error(PathError::Absolute { path: "/etc/x".into() }),
        "absolute",
    );
}

#[test]
fn paths_that_collide_are_refused() {
    let plus = |paths: &[&str]| package_plus(paths.iter().map(|path| entry(path, "")));
    let path = |text: &str| text.to_owned();
    for (case, bytes, expected, message) in [
        (
            "the manifest twice",
            plus(&["manifest.json"]),
            ArchiveError::Duplicate { path: path("manifest.json") },
            "twice",
        ),
        ("a file twice", plus(&["ui/x", "ui/x"]), ArchiveError::Duplicate { path: path("ui/x") }, "twice"),
        (
            "upper and lower case",
            plus(&["ui/a.js", "ui/A.js"]),
            ArchiveError::CaseCollision { path: path("ui/A.js"), other: path("ui/a.js") },
            "upper and lower case",
        ),
        (
            "a file, then a folder",
            plus(&["ui/a", "ui/a/b"]),
            ArchiveError::FileAndFolder { file: path("ui/a"), inner: path("ui/a/b") },
            "inside it",
        ),
        (
            "a folder, then a file",
            plus(&["ui/a/b", "ui/A"]),
            ArchiveError::FileAndFolder { file: path("ui/A"), inner: path("ui/a/b") },
            "inside it",
        ),
    ] {
        check(case, &bytes, archive_error(expected), message);
    }
}

#[test]
fn sizes_are_limited() {
    check(
        "too many bytes",
        &vec![0x1f; limits::PACKAGE_BYTES_MAX + 1],
        archive_error(ArchiveError::CompressedTooLarge { bytes: limits::PACKAGE_BYTES_MAX + 1 }),
        "8388608",
    );
    check(
        "a size that is only claimed",
        &package_plus([entry("ui/x", "").claiming(8 * 1024 * 1024 * 1024 - 1)]),
        archive_error(ArchiveError::UnpackedTooLarge),
        "33554432",
    );
    // One part noise to fifteen of zeros: below the ratio, above the size.
    let part: Vec<u8> =
        noise(64 * 4 * 1024).chunks(64).flat_map(|chunk| [chunk, &[0; 960]].concat()).collect();
    let parts = (0..8).map(|index| entry(format!("ui/{index}"), &part));
    check(
        "many large files",
        &package_plus(parts),
        archive_error(ArchiveError::UnpackedTooLarge),
        "33554432",
    );
    let bomb = package_plus([entry("ui/zeros", vec![0; 4 * 1024 * 1024])]);
    check(
        "a bomb",
        &bomb,
        archive_error(ArchiveError::RatioTooHigh { compressed_bytes: bomb.len() }),
        "100 times",
    );
    let bomb = gzip(&[tar(&entries_with(&[])), vec![0; 4 * 1024 * 1024]].concat());
    check(
        "a bomb after the end",
        &bomb,
        archive_error(ArchiveError::RatioTooHigh { compressed_bytes: bomb.len() }),
        "100 times",
    );
    for (path, max) in [
        ("manifest.json", limits::MANIFEST_BYTES_MAX),
        ("contract.wasm", limits::WASM_BYTES_MAX),
        ("manifest.sig", 98),
    ] {
        let bytes = max as u64 + 1;
        check(
            path,
            &gzip(&tar(&[entry(path, noise(max + 1))])),
            archive_error(ArchiveError::FileTooLarge { path: path.into(), bytes, max }),
            &format!("at most {max}"),
        );
    }
    let many = (0..limits::PACKAGE_ENTRIES_MAX - 1).map(|index| entry(format!("ui/{index}"), noise(32)));
    check("many entries", &package_plus(many), archive_error(ArchiveError::TooManyEntries), "1000");
}

#[test]
fn nothing_may_hide_around_the_archive() {
    let entries = entries_with(&[]);
    let good = gzip(&tar(&entries));
    let after_end = |bytes: &[u8]| gzip(&[tar(&entries).as_slice(), bytes].concat());
    for (case, bytes, expected, message) in [
        (
            "a second member",
            [good.clone(), good.clone()].concat(),
            ArchiveError::SecondMember,
            "second gzip member",
        ),
        (
            "trailing bytes",
            [good.clone(), vec![0; 3]].concat(),
            ArchiveError::TrailingBytes { bytes: 3 },
            "3 bytes follow",
        ),
        ("garbage after the end", after_end(b"x"), ArchiveError::GarbageAfterEnd, "after its end"),
        (
            "garbage after zeros",
            after_end(&[vec![0; 9_000], vec![7]].concat()),
            ArchiveError::GarbageAfterEnd,
            "after its end",
        ),
        (
            "an archive after the end",
            after_end(&tar(&entries)),
            ArchiveError::GarbageAfterEnd,
            "after its end",
        ),
        (
            "one zero block",
            gzip(&[tar_open(&entries), vec![0; 512], tar(&entries)].concat()),
            ArchiveError::GarbageAfterEnd,
            "after its end",
        ),
        (
            "garbage between files",
            gzip(&tar(&[Entry { padding: 1, ..entry("README.md", "hello") }])),
            ArchiveError::GarbageInPadding { path: "README.md".into() },
            "between its files",
        ),
    ] {
        check(case, &bytes, archive_error(expected), message);
    }
    assert!(Package::read(&after_end(&[0; 9 * 1024])).is_ok(), "tar tools fill up to 10 KiB with zeros");
}

#[test]
fn gzip_fields_and_other_formats_are_refused() {
    let mut named = gzip(&tar(&entries_with(&[])));
    named[3] = 8;
    named.splice(10..10, *b"name\0");
    check("named", &named, archive_error(ArchiveError::GzipFields { flags: 8 }), "gzip -n");
    let mut method = gzip(b"x");
    method[2] = 7;
    for (case, bytes) in [
        ("nothing", vec![]),
        ("zip", b"PK\x03\x04 and so on".to_vec()),
        ("plain tar", tar(&entries_with(&[]))),
        ("other method", method),
    ] {
        check(case, &bytes, archive_error(ArchiveError::NotGzip), "purlin app build");
    }
}

#[test]
fn damaged_compression_is_refused() {
    let good = gzip(&tar(&entries_with(&[])));
    let flip_at = |index: usize| {
        let mut bytes = good.clone();
        bytes[index] ^= 0x55;
        bytes
    };
    for (case, bytes) in [
        ("content checksum", flip_at(good.len() - 8)),
        ("content length", flip_at(good.len() - 1)),
        ("block type", [&good[..10], &[0xff; 100]].concat()),
    ] {
        let error = Package::read(&bytes).unwrap_err();
        assert!(matches!(error, PackageError::Archive(ArchiveError::BadGzip { .. })), "{case}: {error:?}");
    }
}

#[test]
fn archives_that_end_early_are_refused() {
    let entries = entries_with(&[]);
    let open = tar_open(&entries);
    for (case, bytes, inside) in [
        ("no end marker", gzip(&open), "an entry's header"),
        ("half an end marker", gzip(&[open.clone(), vec![0; 512]].concat()), "the end marker"),
        ("half a header", gzip(&open[..300]), "an entry's header"),
        ("half a content", gzip(&open[..520]), "a file's content"),
        ("no padding", gzip(&open[..512 + entries[0].content.len()]), "a file's padding"),
        ("half a gzip header", gzip(&open)[..7].to_vec(), "the gzip header"),
    ] {
        check(case, &bytes, archive_error(ArchiveError::Truncated { inside }), inside);
    }
}
