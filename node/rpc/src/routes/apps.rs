//! Applications and their queries.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Request, header};
use axum::response::{IntoResponse, Response};
use purlin_abi::schema::{Method, SchemaError};
use purlin_api::{AppPage, AppView, ErrorCode, FailureView, HexBytes, QueryRequest, QueryResult};
use purlin_primitives::{AccountId, AppId, FailureCode, Gas, Height};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::IntoParams;

use super::page_size;
use crate::error::ApiError;
use crate::extract::{BodyKind, Json, Parameters, Segments, body_kind, parse, parse_json, read_body};
use crate::shared::Shared;

/// Most gas of one query, a quarter of a second's work: a query holds an instance that blocks may need. Whatever a
/// manifest grants, and ten times its default.
const QUERY_GAS_MAX: Gas = Gas::new(1_000_000_000);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParameters {
    /// Only after this id: `next` of the page before.
    after: Option<String>,
    /// Most applications to return, 1 to 100; 20 when absent.
    limit: Option<u64>,
}

/// Lists applications in id order.
#[utoipa::path(get, path = "/api/v1/apps", tag = "apps", params(ListParameters), responses((status = 200, body = AppPage)))]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<AppPage>, ApiError> {
    let limit = page_size(&shared.limits, parameters.limit)?;
    let after: Option<AppId> = parameters.after.map(|text| parse("after", &text)).transpose()?;
    shared
        .blocking(move |shared| {
            let apps = shared.node.apps(after.as_ref(), limit)?;
            let next = apps.last().filter(|_| apps.len() >= limit).map(|app| app.id.clone());
            Ok(Json(AppPage { apps, next }))
        })
        .await
}

/// Returns an application.
#[utoipa::path(
    get, path = "/api/v1/apps/{id}", tag = "apps", params(("id" = String, Path, description = "App id")),
    responses((status = 200, body = AppView))
)]
pub(crate) async fn one(
    State(shared): State<Arc<Shared>>,
    Segments(text): Segments<String>,
) -> Result<Json<AppView>, ApiError> {
    let id: AppId = parse("id", &text)?;
    shared.blocking(move |shared| shared.node.app(&id)?.map(Json).ok_or_else(|| not_installed(&id))).await
}

/// Returns an application's schema: its methods, events, errors and state, with JSON Schema types.
#[utoipa::path(
    get, path = "/api/v1/apps/{id}/schema", tag = "apps", params(("id" = String, Path, description = "App id")),
    responses((status = 200, body = Object))
)]
pub(crate) async fn schema(
    State(shared): State<Arc<Shared>>,
    Segments(text): Segments<String>,
) -> Result<Response, ApiError> {
    let id: AppId = parse("id", &text)?;
    let json = shared
        .blocking(move |shared| match shared.node.app_schema(&id)? {
            Some(json) => Ok(json),
            None if shared.node.app_code_hash(&id)?.is_none() => Err(not_installed(&id)),
            None => Err(no_schema(&id)),
        })
        .await?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response())
}

/// Runs a query. An application's refusal is an answer with `failure`, not an error.
#[utoipa::path(
    post, path = "/api/v1/apps/{id}/queries/{method}", tag = "apps",
    params(("id" = String, Path, description = "App id"), ("method" = String, Path, description = "Query")),
    request_body = QueryRequest, responses((status = 200, body = QueryResult))
)]
pub(crate) async fn query(
    State(shared): State<Arc<Shared>>,
    Segments((app, method)): Segments<(String, String)>,
    request: Request<Body>,
) -> Result<Json<QueryResult>, ApiError> {
    let app = parse("id", &app)?;
    let kind = body_kind(request.headers());
    let limits = &shared.limits;
    let body = read_body(request, limits.json_body_bytes_max, limits.request_timeout).await?;
    let question = if body.is_empty() {
        QueryRequest::default()
    } else if kind? == BodyKind::Json {
        parse_json(&body)?
    } else {
        QueryRequest { arguments_borsh: Some(HexBytes(body.to_vec())), ..QueryRequest::default() }
    };
    let caller = question.caller.unwrap_or(AccountId::ZERO);
    let arguments = match (question.arguments, question.arguments_borsh) {
        (Some(_), Some(_)) => {
            let detail = "fields `arguments` and `arguments_borsh`: only one of them may be given";
            return Err(ApiError::new(ErrorCode::BadArguments, detail));
        }
        (_, Some(borsh)) => Arguments::Borsh(borsh.0),
        (json, None) => Arguments::Json(json.unwrap_or(Value::Null)),
    };
    run(&shared, app, method, arguments, caller, question.height).await
}

/// Runs a query with its arguments as URL parameters, converted by the schema; `~height` and `~caller` are options of
/// the query itself.
#[utoipa::path(
    get, path = "/api/v1/apps/{id}/queries/{method}", tag = "apps",
    params(("id" = String, Path, description = "App id"), ("method" = String, Path, description = "Query")),
    responses((status = 200, body = QueryResult))
)]
pub(crate) async fn query_by_parameters(
    State(shared): State<Arc<Shared>>,
    Segments((app, method)): Segments<(String, String)>,
    Parameters(pairs): Parameters<Vec<(String, String)>>,
) -> Result<Json<QueryResult>, ApiError> {
    let app = parse("id", &app)?;
    let (mut caller, mut height, mut flags) = (AccountId::ZERO, None, Vec::new());
    for (name, text) in pairs {
        match name.as_str() {
            "~caller" => caller = parse("~caller", &text)?,
            "~height" => height = Some(Height::new(parse("~height", &text)?)),
            _ => flags.push((name, text)),
        }
    }
    run(&shared, app, method, Arguments::Flags(flags), caller, height).await
}

enum Arguments {
    Json(Value),
    Flags(Vec<(String, String)>),
    Borsh(Vec<u8>),
}

impl Arguments {
    fn are_none(&self) -> bool {
        match self {
            Self::Json(value) => value.is_null(),
            Self::Flags(flags) => flags.is_empty(),
            Self::Borsh(bytes) => bytes.is_empty(),
        }
    }

    fn encode(self, method: &Method) -> Result<Vec<u8>, SchemaError> {
        match self {
            Self::Borsh(bytes) => Ok(bytes),
            Self::Json(value) => method.encode_arguments(&value),
            Self::Flags(flags) => {
                let flags: Vec<(&str, &str)> =
                    flags.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
                method.encode_flags(&flags)
            }
        }
    }
}

async fn run(
    shared: &Arc<Shared>,
    app: AppId,
    method: String,
    arguments: Arguments,
    caller: AccountId,
    height: Option<Height>,
) -> Result<Json<QueryResult>, ApiError> {
    shared
        .blocking(move |shared| {
            let node = &*shared.node;
            let schema = shared.schemas.get(node, &app)?;
            let described = match &schema {
                Some(schema) => Some(schema.query(&method).map_err(|error| {
                    ApiError::new(ErrorCode::MethodNotFound, format!("`{app}`: {error}"))
                })?),
                None if node.app_code_hash(&app)?.is_none() => return Err(not_installed(&app)),
                None => None,
            };
            let arguments = match (described, arguments) {
                (_, Arguments::Borsh(bytes)) => bytes,
                (Some(described), arguments) => arguments.encode(described).map_err(|error| {
                    ApiError::new(ErrorCode::BadArguments, error.to_string())
                        .with_hint(format!("`{app}` has the query {described}"))
                })?,
                (None, arguments) if arguments.are_none() => Vec::new(),
                (None, _) => return Err(no_schema(&app)),
            };
            let gas_limit = QUERY_GAS_MAX;
            let request = purlin_chain::QueryRequest { app, method, arguments, caller, gas_limit };
            let record = node.query(&request, height)?;
            let report = record.report;
            let mut result = QueryResult {
                height: record.height,
                borsh: None,
                value: None,
                failure: None,
                gas_used: report.gas_used,
                diagnostic: report.diagnostic,
            };
            match report.outcome {
                Ok(bytes) => {
                    result.value = described.and_then(|described| described.returns.decode(&bytes).ok());
                    result.borsh = Some(HexBytes(bytes));
                }
                Err(failure) if failure.code == FailureCode::UnknownMethod && described.is_none() => {
                    return Err(ApiError::new(ErrorCode::MethodNotFound, failure.message));
                }
                Err(failure) => result.failure = Some(FailureView::from(&failure)),
            }
            Ok(Json(result))
        })
        .await
}

fn not_installed(id: &AppId) -> ApiError {
    ApiError::new(ErrorCode::AppNotFound, format!("no application `{id}` is installed"))
}

fn no_schema(id: &AppId) -> ApiError {
    ApiError::new(ErrorCode::SchemaNotFound, format!("the module of `{id}` carries no schema"))
}
