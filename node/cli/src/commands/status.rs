//! `purlin status`.

use crate::context::Context;
use crate::error::CliError;

/// Asks the node how it is.
pub(crate) fn run(context: &Context) -> Result<(), CliError> {
    let connection = context.connect()?;
    let status = connection.run(connection.client.status())?;
    context.output.result(
        || serde_json::json!(status),
        || {
            let validator = status.validator.map_or("none here".into(), |account| account.to_string());
            [
                format!("chain       {} ({})", status.chain_id, status.engine),
                format!("height      {}", status.height),
                format!("block       {}", status.head_id),
                format!("state root  {}", status.state_root),
                format!("validator   {validator}"),
                format!("waiting     {} transactions", status.mempool.transactions),
                format!(
                    "version     {}, up {} s, at {}",
                    status.version,
                    status.uptime_seconds,
                    connection.client.endpoint()
                ),
            ]
            .join("\n")
        },
    );
    Ok(())
}
