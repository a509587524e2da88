//! Builds packages: the same input gives the same bytes, on every machine and on every day.

use flate2::{Compression, GzBuilder};
use k256::ecdsa::SigningKey;
use purlin_abi::Manifest;
use purlin_abi::limits::{MANIFEST_BYTES_MAX, PACKAGE_ENTRIES_MAX, PACKAGE_UNPACKED_BYTES_MAX};
use std::io::Write;

use crate::archive::{ArchiveError, Files, Paths, file_bytes_max};
use crate::identity::{package_identity, sha256};
use crate::manifest::{ManifestError, parse_manifest};
use crate::package::{Package, PackageError};
use crate::path::{MANIFEST_PATH, SIGNATURE_PATH, check_path};
use crate::signature::{secret_key_from, sign};
use crate::ustar::{BLOCK_BYTES, Header, padding_bytes};

/// Compression level; part of the format, since the bytes of a package must not depend on who built it.
const LEVEL: u32 = 9;
/// "Unknown" in the gzip header, so that it says nothing of the machine.
const OPERATING_SYSTEM: u8 = 255;

/// Collects the files of a package and writes it.
///
/// Deterministic: entries sorted by path, no times and owners, mode 0644, ustar only, gzip header and level
/// fixed. Whatever [`Package::read`] would refuse is refused here, with the same error.
#[derive(Debug, Clone)]
pub struct PackageBuilder {
    manifest: Manifest,
    files: Files,
    paths: Paths,
    key: Option<SigningKey>,
}

impl PackageBuilder {
    /// Starts with the text of a `manifest.json`; its `files` are replaced by those that are added.
    pub fn new(manifest_json: &[u8]) -> Result<Self, PackageError> {
        Ok(Self::from_manifest(parse_manifest(manifest_json)?))
    }

    /// Starts with a manifest; its `files` are replaced by those that are added.
    pub fn from_manifest(manifest: Manifest) -> Self {
        Self { manifest, files: Files::new(), paths: Paths::default(), key: None }
    }

    /// Adds a file: `contract.wasm`, `schema.json`, `README.md`, `LICENSE*`, or one under `ui/`.
    pub fn file(&mut self, path: &str, content: Vec<u8>) -> Result<&mut Self, PackageError> {
        let path = check_path(path.as_bytes()).map_err(ArchiveError::from)?;
        if matches!(path, MANIFEST_PATH | SIGNATURE_PATH) {
            return Err(ManifestError::ListsItself { path: path.to_owned() }.into());
        }
        // Manifest and signature are entries as well.
        if self.files.len() + 2 >= PACKAGE_ENTRIES_MAX {
            return Err(ArchiveError::TooManyEntries.into());
        }
        check_file_size(path, content.len(), file_bytes_max(path))?;
        let packed_bytes: usize = self.files.values().map(Vec::len).sum();
        if packed_bytes + content.len() > PACKAGE_UNPACKED_BYTES_MAX {
            return Err(ArchiveError::UnpackedTooLarge.into());
        }
        self.paths.claim(path)?;
        self.files.insert(path.to_owned(), content);
        Ok(self)
    }

    /// Signs the package with a secp256k1 key, 32 bytes big-endian; wiped from memory with the builder.
    pub fn sign_with(&mut self, secret_key: &[u8; 32]) -> Result<&mut Self, PackageError> {
        self.key = Some(secret_key_from(secret_key)?);
        Ok(self)
    }

    /// Writes the package, and reads it back the way a node will.
    pub fn build(&self) -> Result<Vec<u8>, PackageError> {
        let mut manifest = self.manifest.clone();
        manifest.files = self.files.iter().map(|(path, content)| (path.clone(), sha256(content))).collect();
        let mut manifest_json =
            serde_json::to_vec_pretty(&manifest).expect("a manifest has only string keys");
        manifest_json.push(b'\n');
        check_file_size(MANIFEST_PATH, manifest_json.len(), MANIFEST_BYTES_MAX)?;

        let mut entries: Vec<(&str, &[u8])> =
            self.files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
        entries.push((MANIFEST_PATH, &manifest_json));
        let signature = self.key.as_ref().map(|key| sign(&package_identity(&manifest), key));
        if let Some(signature) = &signature {
            entries.push((SIGNATURE_PATH, signature));
        }
        entries.sort_unstable();

        let bytes = compress(&archive(&entries)?);
        Package::read(&bytes)?;
        Ok(bytes)
    }
}

fn check_file_size(path: &str, bytes: usize, max: usize) -> Result<(), ArchiveError> {
    if bytes > max {
        return Err(ArchiveError::FileTooLarge { path: path.to_owned(), bytes: bytes as u64, max });
    }
    Ok(())
}

fn archive(entries: &[(&str, &[u8])]) -> Result<Vec<u8>, ArchiveError> {
    let mut archive = Vec::new();
    for (path, content) in entries {
        archive.extend_from_slice(&Header::encode(path, content.len())?);
        archive.extend_from_slice(content);
        archive.resize(archive.len() + padding_bytes(content.len()), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK_BYTES, 0);
    Ok(archive)
}

fn compress(archive: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .operating_system(OPERATING_SYSTEM)
        .write(Vec::new(), Compression::new(LEVEL));
    encoder.write_all(archive).expect("writing to memory cannot fail");
    encoder.finish().expect("writing to memory cannot fail")
}
