//! The schema must describe the module that it comes with: a form for a method that is not there would fail
//! only when somebody uses it.

use purlin_abi::host;
use purlin_abi::schema::{AppSchema, MethodKind};

use super::{ModuleFacts, WasmError};

/// Reads a schema and checks that every method in it is an export.
pub(crate) fn check_schema(json: &[u8], facts: &ModuleFacts) -> Result<AppSchema, WasmError> {
    let schema = AppSchema::parse(json)?;
    for method in &schema.methods {
        let name = method.name.as_str();
        let (exists, export) = match method.kind {
            MethodKind::Call => (contains(&facts.calls, name), name.to_owned()),
            MethodKind::Query => (contains(&facts.queries, name), format!("{}{name}", host::QUERY_PREFIX)),
            MethodKind::Init => (facts.initialize, host::EXPORT_INITIALIZE.to_owned()),
            MethodKind::Migrate => (facts.migrate, host::EXPORT_MIGRATE.to_owned()),
            MethodKind::Stop => (facts.stop, host::EXPORT_STOP.to_owned()),
        };
        if !exists {
            return Err(WasmError::SchemaWithoutExport {
                method: name.to_owned(),
                kind: method.kind,
                export,
            });
        }
    }
    Ok(schema)
}

fn contains(sorted: &[String], name: &str) -> bool {
    sorted.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
}
