//! The identity of a package: what two packages must share to be the same.

use borsh::BorshSerialize;
use purlin_abi::{Dependency, Hash32, Limits, Manifest, Placement};
use sha2::{Digest, Sha256};

const DOMAIN: &str = "purlin-package-identity-v1";

/// Returns SHA-256 of `len(domain) as u8 || domain || bytes`, the rule of all hashes that are signed.
pub(crate) fn hash_domain(domain: &'static str, bytes: &[u8]) -> Hash32 {
    let length = u8::try_from(domain.len()).expect("domains are short literals");
    let mut hasher = Sha256::new();
    hasher.update([length]);
    hasher.update(domain.as_bytes());
    hasher.update(bytes);
    Hash32::new(hasher.finalize().into())
}

/// Returns plain SHA-256, the hash in the manifest's `files`.
pub(crate) fn sha256(bytes: &[u8]) -> Hash32 {
    Hash32::new(Sha256::digest(bytes).into())
}

/// The manifest as it is hashed: borsh of these fields in this order, defaults filled in, permissions and
/// dependencies sorted. Spaces, field order and escapes of the JSON make no difference.
#[derive(BorshSerialize)]
struct Canonical<'a> {
    id: &'a str,
    name: &'a str,
    version: &'a str,
    description: &'a str,
    author: &'a str,
    license: &'a str,
    abi: u32,
    /// 0 chain, 1 edge.
    placement: u8,
    permissions: Vec<&'a str>,
    /// Name, version requirement, optional.
    dependencies: Vec<(&'a str, &'a str, bool)>,
    auto_start: bool,
    memory_pages: u32,
    gas_per_call: u64,
    storage_bytes: u64,
    /// Path and SHA-256, in path order.
    files: Vec<(&'a str, [u8; 32])>,
}

/// Returns the canonical encoding of a manifest, whose domain-separated SHA-256 is the package's identity.
pub fn canonical_manifest(manifest: &Manifest) -> Vec<u8> {
    // Taken apart by name, so that a new field cannot be left out of the identity.
    let Manifest {
        id,
        name,
        version,
        description,
        author,
        license,
        abi,
        placement,
        permissions,
        dependencies,
        auto_start,
        limits: Limits { memory_pages, gas_per_call, storage_bytes },
        files,
    } = manifest;
    let mut permissions: Vec<&str> = permissions.iter().map(String::as_str).collect();
    permissions.sort_unstable();
    let mut dependencies: Vec<(&str, &str, bool)> = dependencies
        .iter()
        .map(|Dependency { id, version, optional }| (id.as_str(), version.as_str(), *optional))
        .collect();
    dependencies.sort_unstable();
    let canonical = Canonical {
        id: id.as_str(),
        name,
        version,
        description,
        author,
        license,
        abi: *abi,
        placement: match placement {
            Placement::Chain => 0,
            Placement::Edge => 1,
        },
        permissions,
        dependencies,
        auto_start: *auto_start,
        memory_pages: *memory_pages,
        gas_per_call: *gas_per_call,
        storage_bytes: *storage_bytes,
        files: files.iter().map(|(path, hash)| (path.as_str(), *hash.as_bytes())).collect(),
    };
    borsh::to_vec(&canonical).expect("writing to memory cannot fail")
}

/// Returns the identity of the package that has this manifest: SHA-256 of
/// `26 || "purlin-package-identity-v1" || canonical manifest`.
pub fn package_identity(manifest: &Manifest) -> Hash32 {
    hash_domain(DOMAIN, &canonical_manifest(manifest))
}
