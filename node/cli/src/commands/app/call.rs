//! `purlin app call` and `purlin app query`.

use purlin_abi::schema::AppSchema;
use purlin_api::{ErrorCode, HexBytes, OutcomeView, QueryRequest};
use purlin_primitives::{AccountId, Action, Amount, AppId};
use serde_json::{Value, json};

use super::arguments;
use crate::connection::{Connection, SendArgs, place};
use crate::context::Context;
use crate::error::{CliError, ExitKind};

/// Arguments of `purlin app call`.
#[derive(Debug, clap::Args)]
pub(crate) struct CallArgs {
    /// The application
    app: AppId,
    /// The method; `purlin app info APP` lists them
    method: String,
    /// The method's arguments, as '{"by":2}' or as --by 2, and options: --from KEY, --deposit AMOUNT, --gas-limit GAS,
    /// --fee AMOUNT, --passphrase-file FILE. An argument with an option's name is --arg.NAME
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    rest: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct CallOptions {
    #[command(flatten)]
    send: SendArgs,
    /// Native units that go to the application with the call
    #[arg(long, value_name = "AMOUNT")]
    deposit: Option<Amount>,
}

/// Calls a method and prints its result.
pub(crate) fn call(args: CallArgs, context: &Context) -> Result<(), CliError> {
    let (options, method_arguments, context) = arguments::split::<CallOptions>(&args.rest, context)?;
    let connection = context.connect()?;
    let schema = schema(&connection, &args.app)?;
    let method = schema.call(&args.method).map_err(|error| CliError::usage(error.to_string()))?;
    let arguments = method_arguments.encode(args.app.as_str(), method)?;
    let action = Action::CallApp {
        app: args.app.clone(),
        method: args.method.clone(),
        arguments,
        deposit: options.deposit.unwrap_or_default(),
    };
    let committed = connection.send(vec![action], &options.send)?;
    let Some(receipt) = &committed.receipt else { return Ok(()) };
    let result = match &receipt.outcome {
        OutcomeView::Succeeded { outputs } => outputs
            .first()
            .and_then(|output| method.returns.decode(output.borsh.as_slice()).ok())
            .unwrap_or(Value::Null),
        OutcomeView::Failed { .. } => Value::Null,
    };
    context.output.result(
        || json!({ "transaction": committed.id, "result": result, "gas_used": receipt.gas_used, "events": receipt.events, "place": committed.place }),
        || {
            let mut lines = vec![shown(&result)];
            lines.extend(receipt.events.iter().map(|event| {
                let data = event.data.as_ref().map_or_else(|| event.payload.to_string(), Value::to_string);
                format!("event {} {data}", event.topic)
            }));
            lines.push(format!("{}, {} gas, transaction {}", place(&committed), receipt.gas_used, committed.id));
            lines.retain(|line| !line.is_empty());
            lines.join("\n")
        },
    );
    Ok(())
}

/// Arguments of `purlin app query`.
#[derive(Debug, clap::Args)]
pub(crate) struct QueryArgs {
    /// The application
    app: AppId,
    /// The query; `purlin app info APP` lists them
    method: String,
    /// The query's arguments, as '{"owner":"0x.."}' or as --owner 0x.., and the option --caller ACCOUNT. An argument
    /// with an option's name is --arg.NAME
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    rest: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct QueryOptions {
    /// Ask in the name of this account
    #[arg(long, value_name = "ACCOUNT")]
    caller: Option<AccountId>,
}

/// Asks and prints the answer.
pub(crate) fn query(args: QueryArgs, context: &Context) -> Result<(), CliError> {
    let (options, method_arguments, context) = arguments::split::<QueryOptions>(&args.rest, context)?;
    let connection = context.connect()?;
    let schema = schema(&connection, &args.app)?;
    let method = schema.query(&args.method).map_err(|error| CliError::usage(error.to_string()))?;
    let request = QueryRequest {
        arguments_borsh: Some(HexBytes(method_arguments.encode(args.app.as_str(), method)?)),
        caller: options.caller,
        ..QueryRequest::default()
    };
    let answer = connection.run(connection.client.query(&args.app, &args.method, &request))?;
    if let Some(failure) = answer.failure {
        return Err(CliError {
            kind: ExitKind::Refused,
            code: Some(failure.code),
            message: format!("{}: {}", args.app, failure.message),
            hint: answer.diagnostic,
        });
    }
    let borsh = answer.borsh.unwrap_or_default();
    let result = method.returns.decode(borsh.as_slice()).map_err(|error| {
        CliError::failure(format!("the answer does not fit the application's schema: {error}"))
    })?;
    context.output.result(
        || json!({ "result": result, "height": answer.height, "gas_used": answer.gas_used }),
        || shown(&result),
    );
    Ok(())
}

/// Fetches the schema that says how arguments are encoded.
fn schema(connection: &Connection, app: &AppId) -> Result<AppSchema, CliError> {
    connection.run(connection.client.schema(app)).map_err(|error| {
        if error.code.as_deref() == Some(ErrorCode::AppNotFound.as_str()) {
            error.hint("`purlin app list` shows what is installed")
        } else {
            error
        }
    })
}

/// Prints texts without quotes, nothing for nothing, and compound values as indented JSON.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => {
            serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
        }
        other => other.to_string(),
    }
}
