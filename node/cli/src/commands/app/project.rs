//! An application's folder, and the tools it needs.

use purlin_abi::Manifest;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Attempt, CliError};

/// Wasm target of applications.
pub(super) const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// A folder with a `manifest.json` and a `Cargo.toml`.
#[derive(Debug)]
pub(super) struct Project {
    /// The folder, absolute.
    pub(super) folder: PathBuf,
    /// Its manifest.
    pub(super) manifest: Manifest,
    /// The manifest's bytes as written.
    pub(super) manifest_bytes: Vec<u8>,
}

impl Project {
    /// Reads the application in `folder`.
    pub(super) fn open(folder: &Path) -> Result<Self, CliError> {
        let folder = std::path::absolute(folder).attempt(|| format!("find {}", folder.display()))?;
        let path = folder.join("manifest.json");
        let manifest_bytes = std::fs::read(&path).map_err(|error| {
            CliError::usage(format!(
                "{} is not an application's folder: manifest.json: {error}",
                folder.display()
            ))
            .hint("go into the folder, name it with --path, or create one: purlin app new NAME")
        })?;
        let manifest = purlin_package::parse_manifest(&manifest_bytes).map_err(|error| {
            CliError::usage(format!("{}: {error}", path.display()))
                .hint("correct manifest.json and try again")
        })?;
        Ok(Self { folder, manifest, manifest_bytes })
    }

    /// Folder of what `purlin app build` makes.
    pub(super) fn output_folder(&self) -> PathBuf {
        self.folder.join("target/purlin")
    }

    /// The compiled application.
    pub(super) fn wasm_path(&self) -> PathBuf {
        self.output_folder().join(format!("{}.wasm", self.manifest.id))
    }

    /// The package.
    pub(super) fn package_path(&self) -> PathBuf {
        self.output_folder().join(format!("{}-{}.purlin.tar.gz", self.manifest.id, self.manifest.version))
    }
}

/// Checks that Rust and the wasm target are here, and says which command brings what is missing.
pub(super) fn require_toolchain(folder: &Path) -> Result<(), CliError> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", WASM_TARGET])
        .current_dir(folder)
        .output()
        .map_err(|error| {
            CliError::failure(format!(
                "Rust is needed to build applications, and rustc does not run: {error}"
            ))
            .hint("install it with rustup: see https://rustup.rs, then open a new terminal")
        })?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && libraries.is_dir() {
        return Ok(());
    }
    let hint = if command_exists("rustup") {
        format!("run: rustup target add {WASM_TARGET}")
    } else {
        format!("install the {WASM_TARGET} standard library of your Rust, for example with rustup")
    };
    Err(CliError::failure(format!("the wasm target {WASM_TARGET} is not installed")).hint(hint))
}

fn command_exists(name: &str) -> bool {
    Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
}
