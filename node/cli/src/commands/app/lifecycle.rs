//! `purlin app start | stop | uninstall`.

use purlin_primitives::{Action, AppId};
use serde_json::json;

use crate::connection::{SendArgs, place};
use crate::context::Context;
use crate::error::CliError;

/// Which application, and how the transaction is sent.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The application
    app: AppId,
    #[command(flatten)]
    send: SendArgs,
}

/// Starts.
pub(crate) fn start(args: Args, context: &Context) -> Result<(), CliError> {
    let action = Action::StartApp { app: args.app.clone() };
    run(args, action, "is running", context)
}

/// Stops.
pub(crate) fn stop(args: Args, context: &Context) -> Result<(), CliError> {
    let action = Action::StopApp { app: args.app.clone() };
    run(args, action, "is stopped", context)
}

/// Uninstalls.
pub(crate) fn uninstall(args: Args, context: &Context) -> Result<(), CliError> {
    let action = Action::UninstallApp { app: args.app.clone() };
    run(args, action, "is gone, with all it stored", context)
}

fn run(args: Args, action: Action, done: &str, context: &Context) -> Result<(), CliError> {
    let connection = context.connect()?;
    let committed = connection.send(vec![action], &args.send)?;
    context.output.result(
        || json!({ "id": args.app, "transaction": committed.id, "place": committed.place }),
        || format!("{} {done} ({})", args.app, place(&committed)),
    );
    Ok(())
}
