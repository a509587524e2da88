//! `cargo xtask test`.

use anyhow::Result;

use crate::command::{self, build, capture, cargo, root, step};
use crate::{demo, setup};

/// The applications, in dependency order.
pub(crate) const APPS: &[&str] = &["counter", "token", "smart-factory"];

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave out the demo at the end
    #[arg(long)]
    no_demo: bool,
}

/// Runs every check and stops at the first that fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    step("set-up", setup::ensure)?;
    step("format", || command::run(cargo(&["fmt", "--all", "--check"])))?;
    step("lints", || {
        command::run(cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "--deny",
            "warnings",
        ]))
    })?;
    // All targets at once: one set of features, so that nothing heavy is compiled twice.
    let binaries = step("build", || build(&[]))?;
    let purlin = binaries.join("purlin");
    step("build the applications for wasm", || {
        for app in APPS {
            let mut command = std::process::Command::new(&purlin);
            command.args(["app", "build", "--path", &format!("apps/{app}")]).current_dir(root());
            command::run(command)?;
        }
        Ok(())
    })?;
    let with_apps = |mut command: std::process::Command| {
        command.env("PURLIN_BIN", &purlin).env("PURLIN_APPS_BUILT", "1");
        command
    };
    step("unit, integration and wasm tests", || {
        if capture(cargo(&["nextest", "--version"])).is_ok() {
            command::run(with_apps(cargo(&["nextest", "run", "--workspace", "--locked", "--no-fail-fast"])))
        } else {
            command::run(with_apps(cargo(&[
                "test",
                "--workspace",
                "--lib",
                "--bins",
                "--tests",
                "--locked",
                "--no-fail-fast",
            ])))
        }
    })?;
    step("documentation tests", || {
        command::run(with_apps(cargo(&["test", "--workspace", "--doc", "--locked"])))
    })?;
    if !args.no_demo {
        step("demo", || demo::tour(&demo::Args::default(), binaries.clone()))?;
    }
    println!("every check passed");
    Ok(())
}
