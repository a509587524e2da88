//! Reads, writes and checks signed application packages.
//!
//! A package is a gzip-compressed ustar archive: `manifest.json`, `contract.wasm`, and optionally `schema.json`,
//! `README.md`, `LICENSE*`, files under `ui/` and `manifest.sig`. Bytes come from strangers: they are read as a
//! stream, held in memory only, bounded by [`purlin_abi::limits`], and every refusal is an error of its own that
//! says what is wrong and what to do.
//!
//! ```
//! use purlin_package::{Package, PackageBuilder};
//!
//! let manifest = br#"{"id": "hello", "name": "Hello", "version": "1.0.0", "abi": 1}"#;
//! let wasm = b"\0asm\x01\0\0\0\
//!     \x01\x04\x01\x60\0\0\
//!     \x03\x02\x01\0\
//!     \x05\x03\x01\0\x01\
//!     \x07\x10\x02\x06memory\x02\0\x03run\0\0\
//!     \x0a\x04\x01\x02\0\x0b";
//! let mut builder = PackageBuilder::new(manifest)?;
//! builder.file("contract.wasm", wasm.to_vec())?;
//! let bytes = builder.build()?;
//! assert_eq!(bytes, builder.build()?, "building twice gives the same bytes");
//!
//! let package = Package::read(&bytes)?;
//! assert_eq!(package.manifest.id.as_str(), "hello");
//! assert_eq!(package.facts.calls, ["run"]);
//! # Ok::<(), purlin_package::PackageError>(())
//! ```
//!
//! Nouns: [`Package`] (read and checked, lives in memory), [`PackageBuilder`] (collects files, writes bytes),
//! [`ModuleFacts`] (what the static checks of [`check_wasm`] found). The identity of a package is the hash of its
//! canonical manifest ([`package_identity`]); the manifest holds the hash of every other file.
#![forbid(unsafe_code)]

mod archive;
mod builder;
mod identity;
mod manifest;
mod package;
mod path;
mod signature;
mod text;
mod ustar;
mod wasm;

pub use archive::ArchiveError;
pub use builder::PackageBuilder;
pub use identity::{canonical_manifest, package_identity};
pub use manifest::{
    CREDIT_BYTES_MAX, DESCRIPTION_BYTES_MAX, ManifestError, NAME_BYTES_MAX, VERSION_BYTES_MAX,
    parse_manifest, permissions,
};
pub use package::{Package, PackageError, UnpackedPackage};
pub use path::{MANIFEST_PATH, PathError, SCHEMA_PATH, SIGNATURE_PATH, WASM_PATH};
pub use signature::{PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SignatureError};
pub use wasm::{FEATURES, ModuleFacts, UngrantedImport, WasmError, check_wasm};
