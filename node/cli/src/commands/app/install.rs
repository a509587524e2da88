//! `purlin app install` and `purlin app upgrade`.

use purlin_abi::schema::{AppSchema, Method};
use purlin_package::Package;
use purlin_primitives::Action;
use serde_json::{Value, json};
use std::path::PathBuf;

use super::arguments::parse_json;
use super::project::Project;
use crate::connection::{SendArgs, place};
use crate::context::Context;
use crate::error::{Attempt, CliError};

/// Which package, and how it is sent.
#[derive(Debug, clap::Args)]
struct Source {
    /// The package [default: what `purlin app build` made of the folder]
    #[arg(value_name = "PACKAGE")]
    package: Option<PathBuf>,
    /// The application's folder
    #[arg(long, value_name = "DIR", default_value = ".", conflicts_with = "package")]
    path: PathBuf,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `purlin app install`.
#[derive(Debug, clap::Args)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    source: Source,
    /// Arguments of the application's initialisation, as JSON
    #[arg(long, value_name = "JSON")]
    args: Option<String>,
}

/// Arguments of `purlin app upgrade`.
#[derive(Debug, clap::Args)]
pub(crate) struct UpgradeArgs {
    #[command(flatten)]
    source: Source,
    /// Arguments of the application's migration, as JSON
    #[arg(long, value_name = "JSON")]
    args: Option<String>,
}

/// Installs a package.
pub(crate) fn install(args: InstallArgs, context: &Context) -> Result<(), CliError> {
    let (package, bytes) = args.source.read()?;
    let arguments = encoded(&package, args.args.as_deref(), "initialisation", AppSchema::init)?;
    let auto_start = package.manifest.auto_start;
    run(
        args.source,
        Action::InstallApp { package: bytes, arguments },
        &package,
        context,
        if auto_start { "installed and started" } else { "installed; start it with `purlin app start`" },
    )
}

/// Upgrades to a newer version.
pub(crate) fn upgrade(args: UpgradeArgs, context: &Context) -> Result<(), CliError> {
    let (package, bytes) = args.source.read()?;
    let arguments = encoded(&package, args.args.as_deref(), "migration", AppSchema::migrate)?;
    run(args.source, Action::UpgradeApp { package: bytes, arguments }, &package, context, "upgraded")
}

fn run(
    source: Source,
    action: Action,
    package: &Package,
    context: &Context,
    done: &str,
) -> Result<(), CliError> {
    let connection = context.connect()?;
    let committed = connection.send(vec![action], &source.send)?;
    let manifest = &package.manifest;
    let gas_used = committed.receipt.as_ref().map(|receipt| receipt.gas_used);
    context.output.result(
        || json!({ "id": manifest.id, "version": manifest.version, "transaction": committed.id, "gas_used": gas_used, "place": committed.place }),
        || format!("{} {} {done} ({})", manifest.id, manifest.version, place(&committed)),
    );
    Ok(())
}

impl Source {
    /// Reads the package and checks it the way a node will, so that a bad one costs no transaction.
    fn read(&self) -> Result<(Package, Vec<u8>), CliError> {
        let path = match &self.package {
            Some(path) => path.clone(),
            None => {
                let path = Project::open(&self.path)?.package_path();
                if !path.exists() {
                    return Err(CliError::usage(format!("{} is not there", path.display()))
                        .hint("build it first: purlin app build"));
                }
                path
            }
        };
        let bytes = std::fs::read(&path).attempt(|| format!("read {}", path.display()))?;
        let package = Package::read(&bytes)
            .and_then(|package| package.check_installable().map(|()| package))
            .map_err(|error| {
                CliError::usage(format!("{} cannot be installed: {error}", path.display()))
                    .hint("nothing was sent; correct the package and build it again")
            })?;
        Ok((package, bytes))
    }
}

/// Encodes arguments by the package's own schema.
fn encoded(
    package: &Package,
    json: Option<&str>,
    what: &str,
    method: impl Fn(&AppSchema) -> Option<&Method>,
) -> Result<Vec<u8>, CliError> {
    let arguments = json.map(parse_json).transpose()?;
    let schema = AppSchema::from_wasm(&package.wasm)
        .map_err(|error| CliError::usage(format!("the schema inside the wasm cannot be read: {error}")))?;
    match (schema.as_ref().and_then(method), arguments) {
        (Some(method), arguments) => {
            method.encode_arguments(&arguments.unwrap_or(Value::Null)).map_err(|error| {
                CliError::usage(format!("{what}: {error}")).hint(format!("give --args with: {method}"))
            })
        }
        (None, None) => Ok(Vec::new()),
        (None, Some(_)) => {
            Err(CliError::usage(format!("{} takes no arguments for its {what}", package.manifest.id))
                .hint("leave --args out"))
        }
    }
}
