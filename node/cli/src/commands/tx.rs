//! `purlin tx`: single transactions.

use clap::Subcommand;
use purlin_api::{ActionView, OutcomeView, ReceiptView, TransactionView};
use purlin_primitives::{Action, Amount, TransactionId};
use serde_json::{Value, json};

use super::key;
use crate::connection::{SendArgs, place};
use crate::context::Context;
use crate::error::CliError;

/// What can be done with transactions.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a transaction: what it did, its events, and this node's explanation of a failure
    Show(ShowArgs),
    /// Move native units to an account or to one of your keys
    Send(TransferArgs),
}

/// Arguments of `purlin tx show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The transaction's id
    id: TransactionId,
}

/// Arguments of `purlin tx send`.
#[derive(Debug, clap::Args)]
pub(crate) struct TransferArgs {
    /// Receiver: an account, or the name of a key
    to: String,
    /// Native units
    amount: Amount,
    #[command(flatten)]
    send: SendArgs,
}

/// Runs a command.
pub(crate) fn run(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::Show(args) => show(&args, context),
        Command::Send(args) => transfer(&args, context),
    }
}

fn show(args: &ShowArgs, context: &Context) -> Result<(), CliError> {
    let connection = context.connect()?;
    let transaction = connection.run(connection.client.transaction(&args.id))?;
    context.output.result(|| json!(transaction), || text(&transaction));
    Ok(())
}

fn transfer(args: &TransferArgs, context: &Context) -> Result<(), CliError> {
    let to = key::account(&args.to, context)?;
    let connection = context.connect()?;
    let action = Action::Transfer { to, amount: args.amount };
    let committed = connection.send(vec![action], &args.send)?;
    context.output.result(
        || json!({ "to": to, "amount": args.amount, "transaction": committed.id, "place": committed.place }),
        || format!("sent {} to {to} ({})\n{}", args.amount, place(&committed), committed.id),
    );
    Ok(())
}

fn text(transaction: &TransactionView) -> String {
    let body = &transaction.body;
    let mut lines = vec![
        format!("transaction  {}", transaction.id),
        format!("place        {}", place(transaction)),
        format!("sender       {}, nonce {}", body.sender, body.nonce),
    ];
    lines.extend(body.actions.iter().map(|action| format!("action       {}", action_text(action))));
    if let Some(receipt) = &transaction.receipt {
        receipt_lines(receipt, &mut lines);
    }
    if let Some(diagnostic) = &transaction.diagnostic {
        lines.push("explanation".into());
        lines.extend(diagnostic.lines().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

fn receipt_lines(receipt: &ReceiptView, lines: &mut Vec<String>) {
    match &receipt.outcome {
        OutcomeView::Succeeded { outputs } => {
            lines.push("outcome      succeeded".into());
            for output in outputs.iter().filter(|output| !output.borsh.0.is_empty()) {
                let value = output.value.as_ref().map_or_else(|| output.borsh.to_string(), Value::to_string);
                lines.push(format!("result       {value}"));
            }
        }
        OutcomeView::Failed { action, failure } => {
            let app = failure.app.as_ref().map(|app| format!("{app}: ")).unwrap_or_default();
            lines.push(format!(
                "outcome      failed in action {action}: {app}{} [{}]",
                failure.message, failure.code
            ));
        }
    }
    lines.push(format!("gas          {} of the limit; fee {}", receipt.gas_used, receipt.fee));
    for event in &receipt.events {
        let data = event.data.as_ref().map_or_else(|| event.payload.to_string(), Value::to_string);
        lines.push(format!("event        {} {} {data}", event.app, event.topic));
    }
}

fn action_text(action: &ActionView) -> String {
    match action {
        ActionView::Transfer { to, amount } => format!("transfer {amount} to {to}"),
        ActionView::InstallApp { package_bytes, .. } => format!("install a package of {package_bytes} bytes"),
        ActionView::StartApp { app } => format!("start {app}"),
        ActionView::StopApp { app } => format!("stop {app}"),
        ActionView::UpgradeApp { package_bytes, .. } => {
            format!("upgrade by a package of {package_bytes} bytes")
        }
        ActionView::UninstallApp { app } => format!("uninstall {app}"),
        ActionView::CallApp { app, method, arguments, arguments_json, deposit } => {
            let arguments = arguments_json.as_ref().map_or_else(|| arguments.to_string(), Value::to_string);
            let deposit = if *deposit == Amount::ZERO { String::new() } else { format!(" with {deposit}") };
            format!("call {app} {method} {arguments}{deposit}")
        }
        ActionView::RegisterDevice { id, area, .. } => format!("register device {id} in {area:?}"),
        ActionView::UpdateDevice { id, .. } => format!("update device {id}"),
        ActionView::TransferDevice { id, to } => format!("transfer device {id} to {to}"),
        ActionView::RotateDeviceKey { id, .. } => format!("rotate the key of device {id}"),
        ActionView::RevokeDevice { id } => format!("revoke device {id}"),
        ActionView::Bond { amount, .. } => format!("put {amount} at stake"),
        ActionView::Unbond { amount } => format!("take {amount} out of stake"),
        ActionView::Unjail => "return from jail".into(),
        ActionView::ReportEquivocation { offender, height, .. } => {
            format!("report that {offender} signed two things at height {height}")
        }
    }
}
