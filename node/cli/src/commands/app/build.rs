//! `purlin app build`: Rust -> wasm -> package.

use purlin_package::{Package, PackageBuilder};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::project::{self, Project, WASM_TARGET};
use super::sdk;
use crate::context::Context;
use crate::error::{Attempt, CliError};

/// Linear memory kept for the guest's own stack, in bytes; Rust's default of 1 MiB would be 16 pages that
/// every call maps and few use.
const GUEST_STACK_BYTES: usize = 128 * 1024;

/// Arguments of `purlin app build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The application's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
    /// Pack this wasm instead of compiling: for applications in other languages
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,
}

/// Builds and reports.
pub(crate) fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let project = Project::open(&args.path)?;
    let built = build(&project, args.wasm.as_deref(), context)?;
    context.output.result(
        || {
            serde_json::json!({
                "id": project.manifest.id, "version": project.manifest.version,
                "package": built.package_path, "package_bytes": built.package_bytes,
                "wasm": project.wasm_path(), "wasm_bytes": built.wasm_bytes, "identity": built.identity,
            })
        },
        || {
            format!(
                "{} {}: wasm {:.1} KiB, package {:.1} KiB\n{}",
                project.manifest.id,
                project.manifest.version,
                built.wasm_bytes as f64 / 1024.0,
                built.package_bytes as f64 / 1024.0,
                shown(&built.package_path),
            )
        },
    );
    Ok(())
}

/// What a build made.
pub(super) struct Built {
    /// The package.
    pub(super) package_path: PathBuf,
    package_bytes: usize,
    wasm_bytes: usize,
    identity: String,
}

/// Compiles, packs, and reads the package back the way a node will.
pub(super) fn build(project: &Project, wasm: Option<&Path>, context: &Context) -> Result<Built, CliError> {
    let wasm = match wasm {
        Some(path) => path.to_path_buf(),
        None => compile(project, context)?,
    };
    let wasm_bytes = std::fs::read(&wasm).attempt(|| format!("read {}", wasm.display()))?;

    let mut builder = PackageBuilder::new(&project.manifest_bytes)
        .map_err(|error| CliError::usage(format!("manifest.json: {error}")))?;
    builder
        .file("contract.wasm", wasm_bytes.clone())
        .map_err(|error| CliError::failure(error.to_string()))?;
    for (inside, path) in extra_files(&project.folder)? {
        let bytes = std::fs::read(&path).attempt(|| format!("read {}", path.display()))?;
        builder
            .file(&inside, bytes)
            .map_err(|error| CliError::failure(format!("{}: {error}", path.display())))?;
    }
    let refused = |error: purlin_package::PackageError| {
        CliError::failure(format!("the package would be refused: {error}"))
            .hint("correct manifest.json or the code, and build again")
    };
    let bytes = builder.build().map_err(refused)?;
    let package = Package::read(&bytes).map_err(refused)?;

    let folder = project.output_folder();
    std::fs::create_dir_all(&folder).attempt(|| format!("create {}", folder.display()))?;
    write_atomically(&project.wasm_path(), &wasm_bytes)?;
    let package_path = project.package_path();
    write_atomically(&package_path, &bytes)?;
    Ok(Built {
        package_path,
        package_bytes: bytes.len(),
        wasm_bytes: wasm_bytes.len(),
        identity: package.identity.to_string(),
    })
}

/// Files of a package beside manifest and wasm.
fn extra_files(folder: &Path) -> Result<Vec<(String, PathBuf)>, CliError> {
    let mut files = Vec::new();
    for name in ["README.md", "LICENSE"] {
        let path = folder.join(name);
        if path.is_file() {
            files.push((name.to_string(), path));
        }
    }
    let mut pending = vec![(String::from("ui"), folder.join("ui"))];
    while let Some((inside, path)) = pending.pop() {
        if !path.is_dir() {
            continue;
        }
        let entries = std::fs::read_dir(&path).attempt(|| format!("list {}", path.display()))?;
        for entry in entries {
            let entry = entry.attempt(|| format!("list {}", path.display()))?;
            let name = format!("{inside}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                pending.push((name, entry.path()));
            } else {
                files.push((name, entry.path()));
            }
        }
    }
    files.sort();
    Ok(files)
}

fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, bytes).attempt(|| format!("write {}", partial.display()))?;
    std::fs::rename(&partial, path).attempt(|| format!("write {}", path.display()))
}

/// Runs cargo with the settings that make applications small, checked and reproducible.
fn compile(project: &Project, context: &Context) -> Result<PathBuf, CliError> {
    project::require_toolchain(&project.folder)?;
    sdk::ensure_unpacked(&project.folder)?;
    context.output.note(format!("compiling {} for {WASM_TARGET}", project.manifest.id));
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_default();
    // Panic messages carry source paths; those of this machine must not reach the package.
    // With `purlin_root` on this crate alone, another application among its dependencies gives its client and no
    // exports: see "Building" in the README of purlin-sdk.
    let rustflags = [
        "--cfg=purlin_build".to_string(),
        format!("-Clink-arg=-zstack-size={GUEST_STACK_BYTES}"),
        format!("--remap-path-prefix={}=cargo", cargo_home.display()),
        format!("--remap-path-prefix={}=app", project.folder.display()),
    ];
    // Encoding and decoding is inlined at level 2, which here makes modules smaller too: what is left of it after that
    // is less than the calls were.
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "rustc",
            "--release",
            "--lib",
            "--crate-type",
            "cdylib",
            "--target",
            WASM_TARGET,
            "--message-format",
            "json-render-diagnostics",
            "--config",
            "profile.release.package.borsh.opt-level=2",
            "--config",
            "profile.release.package.purlin-abi.opt-level=2",
            "--",
            "--cfg=purlin_root",
        ])
        .current_dir(&project.folder)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\x1f"))
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s")
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo")
        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true")
        .stderr(Stdio::inherit())
        .output()
        .attempt(|| "run cargo".into())?;
    if !output.status.success() {
        return Err(CliError::failure("the application does not compile")
            .hint("the compiler's messages are above; the first one is usually the cause"));
    }
    wasm_artifact(&output.stdout, &project.folder).ok_or_else(|| {
        CliError::failure("cargo built no wasm module")
            .hint("Cargo.toml needs: [lib] crate-type = [\"cdylib\", \"rlib\"]")
    })
}

/// Finds the module in cargo's messages: the one whose manifest lies in the application's folder.
fn wasm_artifact(messages: &[u8], folder: &Path) -> Option<PathBuf> {
    let manifest = folder.join("Cargo.toml");
    String::from_utf8_lossy(messages)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter(|message| {
            let path = message["manifest_path"].as_str().map(PathBuf::from);
            path.and_then(|path| path.canonicalize().ok()) == manifest.canonicalize().ok()
        })
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|name| name.as_str().map(PathBuf::from))
        .find(|path| path.extension().is_some_and(|extension| extension == "wasm"))
}

/// Shows a path relative to the current folder where that is shorter.
pub(super) fn shown(path: &Path) -> String {
    let current = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(current).unwrap_or(path).display().to_string()
}
