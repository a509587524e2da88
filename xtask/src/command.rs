//! Running other programs and saying so.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::setup;

/// The repository's folder.
pub(crate) fn root() -> PathBuf {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map(Path::to_path_buf).unwrap_or(xtask)
}

/// Cargo, in the repository's folder.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command with its output shown; an error names it.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let shown = shown(&command);
    let status = command.status().with_context(|| format!("could not start: {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// Runs a command and returns its standard output; an error holds what it printed.
pub(crate) fn capture(mut command: Command) -> Result<String> {
    let shown = shown(&command);
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("could not start: {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    }
    Ok(text(&output.stdout))
}

/// Runs a step, saying what it is and how long it took.
pub(crate) fn step<T>(what: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("== {what}");
    let start = Instant::now();
    let result = action().with_context(|| format!("step failed: {what}"));
    println!("-- {what}: {:.1} s", start.elapsed().as_secs_f64());
    result
}

/// Builds packages of this workspace, or with none named all targets of all, in the profile that everything
/// shares; returns the folder of the binaries.
pub(crate) fn build(packages: &[&str]) -> Result<PathBuf> {
    let mut command = cargo(&["build", "--locked"]);
    if packages.is_empty() {
        command.args(["--workspace", "--all-targets"]);
    }
    for package in packages {
        command.args(["--package", package]);
    }
    run(command)?;
    let metadata: serde_json::Value =
        serde_json::from_str(&capture(cargo(&["metadata", "--no-deps", "--format-version", "1"]))?)?;
    let target = metadata["target_directory"].as_str().context("cargo metadata names no target folder")?;
    Ok(PathBuf::from(target).join("debug"))
}

/// The programs that a command runs.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Programs {
    /// Use the programs in this folder instead of building them
    #[arg(long, value_name = "DIR", global = true)]
    binaries: Option<PathBuf>,
}

impl Programs {
    /// Returns the folder with the programs of these packages; builds them, and installs what that takes, unless a
    /// folder was named.
    pub(crate) fn folder(&self, packages: &[&str]) -> Result<PathBuf> {
        if let Some(folder) = &self.binaries {
            return folder.canonicalize().with_context(|| format!("no folder {}", folder.display()));
        }
        setup::ensure()?;
        build(packages)
    }

    /// Returns the path of `purlin`.
    pub(crate) fn purlin(&self) -> Result<PathBuf> {
        let program = self.folder(&["purlin-cli"])?.join("purlin");
        ensure!(program.is_file(), "there is no program {}", program.display());
        Ok(program)
    }
}

/// Packs the application `apps/NAME` with `program`.
pub(crate) fn build_app(program: &Path, name: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.args(["app", "build", "--quiet", "--path"]).arg(root().join("apps").join(name));
    capture(command).map(drop)
}

/// Runs `action` in a folder of its own, which stays when it fails.
pub(crate) fn in_folder<T>(name: &str, action: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let mut folder = tempfile::Builder::new().prefix(&format!("purlin-{name}-")).tempdir()?;
    let result = action(folder.path());
    if result.is_err() {
        folder.disable_cleanup(true);
        println!("homes and logs are kept in {}", folder.path().display());
    }
    result
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
