//! `purlin app events`.

use purlin_api::EventView;
use purlin_client::{EventCursor, EventQuery, Finality};
use purlin_primitives::AppId;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliError;
use crate::output::Format;

/// Events shown unless told otherwise.
const LIMIT_DEFAULT: u32 = 100;

/// Arguments of `purlin app events`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The application
    app: AppId,
    /// Only this topic
    #[arg(long)]
    topic: Option<String>,
    /// Only after this position, such as 12.0
    #[arg(long, value_name = "CURSOR")]
    after: Option<EventCursor>,
    /// At most so many
    #[arg(long, default_value_t = LIMIT_DEFAULT, conflicts_with = "follow")]
    limit: u32,
    /// Under proof of work, events of blocks that are not final too; those whose block leaves the chain come again,
    /// marked as removed
    #[arg(long)]
    unfinalised: bool,
    /// Go on with new events as they come, until stopped
    #[arg(long, short)]
    follow: bool,
}

/// Prints events; with `--json` one array, or one line each when following.
pub(crate) fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let connection = context.connect()?;
    let finality = if args.unfinalised { Finality::Unfinalised } else { Finality::Final };
    let mut query =
        EventQuery { app: Some(args.app), topic: args.topic, after: args.after, limit: None, finality };
    if args.follow {
        let mut stream = connection.client.follow_events(query);
        loop {
            let event = connection.run(stream.next())?;
            context.output.result(|| json!(event), || line(&event));
        }
    }
    let mut events: Vec<EventView> = Vec::new();
    loop {
        let missing = args.limit.saturating_sub(events.len() as u32);
        query.limit = Some(missing.clamp(1, LIMIT_DEFAULT));
        let page = connection.run(connection.client.events(&query))?;
        events.extend(page.events.into_iter().take(missing as usize));
        query.after = Some(page.next);
        if !page.more || events.len() as u32 >= args.limit {
            break;
        }
    }
    match context.output.format {
        Format::Json => context.output.result(|| json!(events), String::new),
        Format::Text => events.iter().for_each(|event| context.output.result(|| Value::Null, || line(event))),
    }
    Ok(())
}

fn line(event: &EventView) -> String {
    let data = event.data.as_ref().map_or_else(|| event.payload.to_string(), Value::to_string);
    let removed = if event.removed { "removed " } else { "" };
    format!("{:<8} {removed}{} {data}", event.cursor.to_string(), event.topic)
}
