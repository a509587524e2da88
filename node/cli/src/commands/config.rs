//! `purlin config`: settings, and where each comes from.

use purlin_service::{Home, SETTINGS, Settings, environment_name, set_in_file};
use serde_json::json;

use super::node_args::{NodeArgs, config_error};
use crate::connection::DEV_FOLDER;
use crate::context::Context;
use crate::error::CliError;
use crate::output::table;

/// What can be done with settings.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Print every setting, its value and where it came from
    Show(ShowArgs),
    /// Write a setting into the configuration file
    Set(SetArgs),
}

/// Arguments of `purlin config show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The development chain's settings
    #[arg(long)]
    dev: bool,
}

/// Arguments of `purlin config set`.
#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// The setting, such as chain.block_interval_ms
    key: String,
    /// Its new value
    value: String,
    /// In the development chain's configuration
    #[arg(long)]
    dev: bool,
}

/// Runs a command.
pub(crate) fn run(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::Show(args) => show(args, context),
        Command::Set(args) => set(args, context),
    }
}

fn home(dev: bool, context: &Context) -> Home {
    if dev { Home::new(context.home.join(DEV_FOLDER)) } else { Home::new(&context.home) }
}

fn show(args: ShowArgs, context: &Context) -> Result<(), CliError> {
    let layers = args.node.layers(&home(args.dev, context))?;
    let resolved = Settings::explain(&layers);
    context.output.result(
        || {
            let rows = resolved.iter().map(|setting| {
                json!({ "key": setting.key, "value": setting.value, "origin": setting.origin.to_string(), "environment": environment_name(setting.key) })
            });
            json!(rows.collect::<Vec<_>>())
        },
        || {
            let rows: Vec<Vec<String>> = resolved
                .iter()
                .map(|setting| {
                    let doc = SETTINGS.iter().find(|known| known.key == setting.key).map_or("", |known| known.doc);
                    vec![setting.key.into(), setting.value.clone(), setting.origin.to_string(), doc.into()]
                })
                .collect();
            table(&["SETTING", "VALUE", "FROM", ""], &rows)
        },
    );
    Ok(())
}

fn set(args: SetArgs, context: &Context) -> Result<(), CliError> {
    let path = home(args.dev, context).config();
    set_in_file(&path, &args.key, &args.value).map_err(config_error)?;
    context.output.result(
        || json!({ "key": args.key, "value": args.value, "file": path }),
        || format!("{} = {} in {}; it holds from the next start on", args.key, args.value, path.display()),
    );
    Ok(())
}
