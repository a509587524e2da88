//! `purlin app test`: the application's own tests, natively and as wasm.

use std::path::PathBuf;
use std::process::Command;

use super::build;
use super::project::Project;
use crate::context::Context;
use crate::error::{Attempt, CliError};

/// Arguments of `purlin app test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The application's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
    /// Leave out the wasm half
    #[arg(long)]
    native_only: bool,
    /// Passed on to `cargo test`
    #[arg(last = true)]
    cargo: Vec<String>,
}

/// Builds, then runs `cargo test` with this binary as the host of the wasm half.
pub(crate) fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let project = Project::open(&args.path)?;
    build::build(&project, None, context)?;
    let host = std::env::current_exe().attempt(|| "find this program's own path".into())?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("test").args(&args.cargo).current_dir(&project.folder).env("PURLIN_BIN", host);
    if args.native_only {
        cargo.env("PURLIN_TEST_NATIVE_ONLY", "1");
    }
    let status = cargo.status().attempt(|| "run cargo".into())?;
    if status.success() {
        Ok(())
    } else {
        Err(CliError::failure(format!("the tests of {} failed", project.manifest.id)).hint(
            "the first failure is above; a test named ::wasm that fails alone means native and wasm differ",
        ))
    }
}
