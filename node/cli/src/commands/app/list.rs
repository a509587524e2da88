//! `purlin app list` and `purlin app info`.

use purlin_api::AppStatus;
use purlin_primitives::AppId;
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;
use crate::output::table;

/// Lists the applications, all pages.
pub(crate) fn list(context: &Context) -> Result<(), CliError> {
    let connection = context.connect()?;
    let mut apps = Vec::new();
    let mut after = None;
    loop {
        let page = connection.run(connection.client.apps(after.as_ref()))?;
        apps.extend(page.apps);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    context.output.result(
        || json!(apps),
        || {
            if apps.is_empty() {
                return "no application is installed; make one with `purlin app new NAME`".into();
            }
            let rows: Vec<Vec<String>> = apps
                .iter()
                .map(|app| {
                    let status = status_text(app.status).to_string();
                    let owner = app.owner.to_string();
                    vec![app.id.to_string(), app.version.clone(), status, owner, app.permissions.join(" ")]
                })
                .collect();
            table(&["APP", "VERSION", "STATUS", "OWNER", "PERMISSIONS"], &rows)
        },
    );
    Ok(())
}

/// Arguments of `purlin app info`.
#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// The application
    app: AppId,
}

/// Shows one application and what can be asked of it.
pub(crate) fn info(args: InfoArgs, context: &Context) -> Result<(), CliError> {
    let connection = context.connect()?;
    let app = connection.run(connection.client.app(&args.app))?;
    // An application in another language may carry no schema; all else is still worth showing.
    let schema = connection.run(connection.client.schema(&args.app)).ok();
    context.output.result(
        || {
            let methods = schema.as_ref().map(|schema| {
                let lines = schema
                    .methods
                    .iter()
                    .map(|method| json!({ "signature": method.to_string(), "doc": method.doc }));
                lines.collect::<Vec<_>>()
            });
            json!({ "app": app, "methods": methods })
        },
        || {
            let mut lines = vec![
                format!("{} {}  {}", app.id, app.version, status_text(app.status)),
                format!("  {}", app.description),
                format!("  owner        {}", app.owner),
                format!("  account      {}", app.account),
                format!("  permissions  {}", app.permissions.join(", ")),
                format!("  storage      {} of {} bytes", app.storage_bytes, app.limits.storage_bytes),
                format!("  package      {}", app.package_id),
                format!("  installed    block {}, changed block {}", app.installed_at, app.updated_at),
            ];
            lines.extend(app.status_detail.iter().map(|detail| format!("  reason       {detail}")));
            if let Some(schema) = &schema {
                lines.push("  methods".into());
                for method in &schema.methods {
                    lines.push(format!("    {method}"));
                    lines.extend(
                        method
                            .doc
                            .lines()
                            .next()
                            .filter(|doc| !doc.is_empty())
                            .map(|doc| format!("      {doc}")),
                    );
                }
            }
            lines.retain(|line| !line.trim().is_empty());
            lines.join("\n")
        },
    );
    Ok(())
}

fn status_text(status: AppStatus) -> &'static str {
    match status {
        AppStatus::Installed => "installed",
        AppStatus::Running => "running",
        AppStatus::Error => "error",
    }
}
