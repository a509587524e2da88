//! A package as a whole: archive, manifest, hashes, signature and module agree.

use purlin_abi::limits::PACKAGE_UNPACKED_BYTES_MAX;
use purlin_abi::{Hash32, Manifest, Placement};
use std::collections::BTreeMap;

use crate::archive::{ArchiveError, Files, read_archive};
use crate::identity::{package_identity, sha256};
use crate::manifest::{ManifestError, parse_manifest};
use crate::path::{MANIFEST_PATH, SCHEMA_PATH, SIGNATURE_PATH, WASM_PATH};
use crate::signature::{self, PUBLIC_KEY_BYTES, SignatureError};
use crate::text::Shown;
use crate::wasm::{ModuleFacts, WasmError, check_schema, check_wasm};

/// Says why a package is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// The archive breaks a rule.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The manifest breaks a rule.
    #[error("manifest.json: {0}")]
    Manifest(#[from] ManifestError),
    /// The module breaks a rule.
    #[error("contract.wasm: {0}")]
    Wasm(#[from] WasmError),
    /// The signature breaks a rule.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A file that every package has is not there.
    #[error("the package has no {path}; build it with `purlin app build`")]
    Missing {
        /// Which.
        path: &'static str,
    },
    /// A file that the manifest does not vouch for.
    #[error("{} is in the package but not in the manifest's `files`; build the package again", Shown(.path))]
    NotListed {
        /// Which.
        path: String,
    },
    /// A file that the manifest promises is not there.
    #[error("{} is in the manifest's `files` but not in the package; build the package again", Shown(.path))]
    ListedButMissing {
        /// Which.
        path: String,
    },
    /// A file whose content the manifest does not vouch for.
    #[error("{} has SHA-256 {found}, but the manifest says {expected}; it was changed after the build, so build the package again", Shown(.path))]
    WrongHash {
        /// Which.
        path: String,
        /// Hash in the manifest.
        expected: Hash32,
        /// Hash of the content.
        found: Hash32,
    },
    /// A `schema.json` beside a schema in the module that says something else.
    #[error(
        "schema.json differs from the schema inside contract.wasm; remove schema.json, the module's own is used"
    )]
    SchemaConflict,
    /// An application that does not run on the chain.
    #[error(
        "the manifest asks for placement \"edge\", and this node hosts \"chain\" applications only; set `placement` to \"chain\""
    )]
    EdgePlacement,
}

/// The files of a package, of which nothing was checked but the rules of archives. For those who charge for each step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedPackage(Files);

impl UnpackedPackage {
    /// Unpacks at most `unpacked_bytes_max`, and never more than `limits::PACKAGE_UNPACKED_BYTES_MAX`, beyond which
    /// it is refused as too large. Also returns how many bytes were unpacked until then.
    pub fn read(bytes: &[u8], unpacked_bytes_max: usize) -> (usize, Result<Self, PackageError>) {
        let (unpacked_bytes, files) = read_archive(bytes, unpacked_bytes_max);
        (unpacked_bytes, files.map(Self).map_err(PackageError::from))
    }

    /// Returns the size of the module; 0 when there is none.
    pub fn wasm_bytes(&self) -> usize {
        self.0.get(WASM_PATH).map_or(0, Vec::len)
    }

    /// Makes the other checks of [`Package::read`].
    pub fn check(self) -> Result<Package, PackageError> {
        Package::of(self.0)
    }
}

/// A package that has passed every check, in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// What it is and asks for.
    pub manifest: Manifest,
    /// SHA-256 of the canonical manifest, which binds all files but the signature.
    pub identity: Hash32,
    /// The module.
    pub wasm: Vec<u8>,
    /// What the static checks found in the module.
    pub facts: ModuleFacts,
    /// The JSON schema of its methods and events: the module's own, else `schema.json`.
    pub schema_json: Option<Vec<u8>>,
    /// The other files by path: `README.md`, `LICENSE*`, `schema.json` and those under `ui/`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Compressed secp256k1 key of whoever signed the identity, when somebody did.
    pub signer: Option<[u8; PUBLIC_KEY_BYTES]>,
}

impl Package {
    /// Reads a package and checks all of it but where it may run; see [`Package::check_installable`]. Needs
    /// memory for the unpacked files, at most `limits::PACKAGE_UNPACKED_BYTES_MAX`, beside the input.
    pub fn read(bytes: &[u8]) -> Result<Self, PackageError> {
        let (_, unpacked) = UnpackedPackage::read(bytes, PACKAGE_UNPACKED_BYTES_MAX);
        unpacked?.check()
    }

    fn of(mut files: Files) -> Result<Self, PackageError> {
        let manifest = files.remove(MANIFEST_PATH).ok_or(PackageError::Missing { path: MANIFEST_PATH })?;
        let manifest = parse_manifest(&manifest)?;
        let signature = files.remove(SIGNATURE_PATH);
        check_hashes(&manifest, &files)?;
        let identity = package_identity(&manifest);
        let signer = signature.map(|bytes| signature::verify(&identity, &bytes)).transpose()?;
        let wasm = files.remove(WASM_PATH).ok_or(PackageError::Missing { path: WASM_PATH })?;
        let facts = check_wasm(&wasm, &manifest)?;
        let schema_json = choose_schema(&facts, files.get(SCHEMA_PATH))?;
        Ok(Self { manifest, identity, wasm, facts, schema_json, files, signer })
    }

    /// Checks that the package may be installed on a chain. Apart from reading, because tools handle packages
    /// that run elsewhere too.
    pub fn check_installable(&self) -> Result<(), PackageError> {
        match self.manifest.placement {
            Placement::Chain => Ok(()),
            Placement::Edge => Err(PackageError::EdgePlacement),
        }
    }
}

fn check_hashes(manifest: &Manifest, files: &BTreeMap<String, Vec<u8>>) -> Result<(), PackageError> {
    for (path, content) in files {
        let expected =
            *manifest.files.get(path).ok_or_else(|| PackageError::NotListed { path: path.clone() })?;
        let found = sha256(content);
        if found != expected {
            return Err(PackageError::WrongHash { path: path.clone(), expected, found });
        }
    }
    match manifest.files.keys().find(|path| !files.contains_key(*path)) {
        Some(path) => Err(PackageError::ListedButMissing { path: path.clone() }),
        None => Ok(()),
    }
}

fn choose_schema(facts: &ModuleFacts, file: Option<&Vec<u8>>) -> Result<Option<Vec<u8>>, PackageError> {
    let Some(file) = file else { return Ok(facts.schema_json.clone()) };
    let described = check_schema(file, facts)?;
    match &facts.schema_json {
        None => Ok(Some(file.clone())),
        Some(own) if check_schema(own, facts)? == described => Ok(Some(own.clone())),
        Some(_) => Err(PackageError::SchemaConflict),
    }
}
