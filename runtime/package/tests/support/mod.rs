//! Makes packages by hand, well-formed and hostile: a second implementation of the format, byte by byte.

#![allow(dead_code, reason = "each test file uses its own part")]

use flate2::{Compression, GzBuilder};
use purlin_abi::Manifest;
use purlin_package::parse_manifest;
use sha2::{Digest, Sha256};
use std::io::Write;

/// A manifest with every required field and no other.
pub(crate) const MANIFEST: &str = r#"{"id": "hello", "name": "Hello", "version": "1.0.0", "abi": 1}"#;
/// The smallest module that passes: a memory and one method.
pub(crate) const MODULE: &str = r#"(module (memory (export "memory") 1) (func (export "run")))"#;

/// Compiles WebAssembly text.
pub(crate) fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("the test's own module is wrong: {error}\n{text}"))
}

/// The manifest of [`MANIFEST`] after a change.
pub(crate) fn manifest_with(change: impl FnOnce(&mut Manifest)) -> Manifest {
    let mut manifest = parse_manifest(MANIFEST.as_bytes()).unwrap();
    change(&mut manifest);
    manifest
}

/// One entry of an archive.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) header: [u8; 512],
    pub(crate) content: Vec<u8>,
    pub(crate) padding: u8,
}

/// A regular file as any ustar tool would write it.
pub(crate) fn entry(path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
    let mut header = [0; 512];
    header[124..135].copy_from_slice(format!("{:011o}", content.as_ref().len()).as_bytes());
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let entry = Entry { header, content: content.as_ref().to_vec(), padding: 0 };
    entry.with(0, path)
}

impl Entry {
    /// Overwrites header bytes and corrects the checksum.
    pub(crate) fn with(mut self, offset: usize, bytes: impl AsRef<[u8]>) -> Self {
        self.header[offset..offset + bytes.as_ref().len()].copy_from_slice(bytes.as_ref());
        self.header[148..156].fill(b' ');
        let sum: u32 = self.header.iter().map(|byte| u32::from(*byte)).sum();
        self.header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self
    }

    /// Sets the type byte.
    pub(crate) fn kind(self, kind: u8) -> Self {
        self.with(156, [kind])
    }

    /// Says another size than the content has.
    pub(crate) fn claiming(self, bytes: u64) -> Self {
        self.with(124, format!("{bytes:011o}"))
    }

    /// Overwrites header bytes and leaves the checksum wrong.
    pub(crate) fn damaged(mut self, offset: usize, byte: u8) -> Self {
        self.header[offset] = byte;
        self
    }
}

/// Entries without an end marker.
pub(crate) fn tar_open(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend_from_slice(&entry.header);
        bytes.extend_from_slice(&entry.content);
        bytes.resize(bytes.len().next_multiple_of(512), entry.padding);
    }
    bytes
}

/// A complete archive.
pub(crate) fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = tar_open(entries);
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Compresses with a plain header.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A manifest that lists these files.
pub(crate) fn manifest_listing(files: &[(&str, &[u8])]) -> String {
    let listed: Vec<String> =
        files.iter().map(|(path, content)| format!("{path:?}: \"{}\"", sha256_hex(content))).collect();
    MANIFEST.replace('}', &format!(", \"files\": {{{}}}}}", listed.join(", ")))
}

/// Lower-case hexadecimal SHA-256.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The entries of an acceptable package with these files beside the module.
pub(crate) fn entries_with(extra: &[(&str, &[u8])]) -> Vec<Entry> {
    let module = wat(MODULE);
    let files: Vec<(&str, &[u8])> =
        [("contract.wasm", module.as_slice())].into_iter().chain(extra.iter().copied()).collect();
    let manifest = manifest_listing(&files);
    [entry("manifest.json", manifest)]
        .into_iter()
        .chain(files.iter().map(|(path, content)| entry(path, content)))
        .collect()
}

/// An acceptable package, plus entries that make it unacceptable.
pub(crate) fn package_plus(entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    let all: Vec<Entry> = entries_with(&[]).into_iter().chain(entries).collect();
    gzip(&tar(&all))
}

/// Bytes that hardly compress, the same on every run.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
