//! Submitting, finding and trying out transactions.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use purlin_api::{
    ActionView, BatchItem, BatchResult, BodyView, ErrorCode, ReceiptView, SimulateRequest, SimulateResult,
    SubmitBatchRequest, SubmitRequest, Submitted, TransactionPlace, TransactionView,
};
use purlin_primitives::{Transaction, TransactionBody, TransactionId};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use utoipa::IntoParams;

use crate::error::ApiError;
use crate::extract::{BodyKind, Json, Parameters, Segments, body_kind, parse, parse_json, read_body};
use crate::shared::Shared;
use crate::{Conclusion, RpcLimits, SubmitError, TransactionRecord};

/// Bytes that JSON adds around the digits of one transaction.
const JSON_FRAME_BYTES: usize = 1024;

/// What a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wait {
    /// The transaction is in a final block.
    Committed,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitParameters {
    /// `committed`: answer when the transaction is in a final block: a durable one under proof of stake, one with
    /// enough blocks on top under proof of work.
    #[param(value_type = Option<String>, example = "committed")]
    wait: Option<Wait>,
    /// Longest time to wait, in milliseconds; 30000 when absent, at most 120000.
    timeout_ms: Option<u64>,
}

impl WaitParameters {
    /// Returns how long to wait, if at all.
    fn timeout(&self, limits: &RpcLimits) -> Option<Duration> {
        self.wait.map(|Wait::Committed| {
            let asked = self.timeout_ms.map_or(RpcLimits::WAIT_TIMEOUT_DEFAULT, Duration::from_millis);
            asked.min(limits.wait_timeout_max)
        })
    }
}

/// Submits a signed transaction: canonical bytes, or JSON. Answers 202 with its id when it waits for a block, or with
/// `wait=committed` 200 and its receipt. Submitting one again that is known is refused, except with `wait`, which then
/// waits for it.
#[utoipa::path(
    post, path = "/api/v1/transactions", tag = "transactions", params(WaitParameters),
    request_body(content((SubmitRequest = "application/json"), (String = "application/octet-stream"))),
    responses((status = 200, body = TransactionView), (status = 202, body = Submitted))
)]
pub(crate) async fn submit(
    State(shared): State<Arc<Shared>>,
    Parameters(parameters): Parameters<WaitParameters>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let limits = &shared.limits;
    let transaction = match body_kind(request.headers())? {
        BodyKind::Binary => {
            let body = read_body(request, limits.transaction_body_bytes_max, limits.request_timeout).await?;
            decode(&body)?
        }
        BodyKind::Json => {
            let bytes_max = limits.transaction_body_bytes_max * 2 + JSON_FRAME_BYTES;
            let body = read_body(request, bytes_max, limits.request_timeout).await?;
            decode(&parse_json::<SubmitRequest>(&body)?.transaction.0)?
        }
    };
    let Some(timeout) = parameters.timeout(limits) else {
        let id = shared.node.submit(transaction).await?;
        return Ok((StatusCode::ACCEPTED, Json(Submitted { id })).into_response());
    };
    let id = transaction.body.id();
    match shared.node.submit(transaction).await {
        // A client that lost the answer may ask again.
        Ok(_) | Err(SubmitError::Refused { code: ErrorCode::KnownTransaction, .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(committed(&shared, id, timeout).await?.into_response())
}

/// Submits several signed transactions in order: JSON, or for each a little-endian u32 length and its canonical
/// bytes. One that is refused does not stop the others.
#[utoipa::path(
    post, path = "/api/v1/transactions/batch", tag = "transactions",
    request_body(content((SubmitBatchRequest = "application/json"), (String = "application/octet-stream"))),
    responses((status = 200, body = BatchResult))
)]
pub(crate) async fn submit_batch(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Json<BatchResult>, ApiError> {
    let limits = &shared.limits;
    let kind = body_kind(request.headers())?;
    let body = read_body(request, limits.batch_body_bytes_max, limits.request_timeout).await?;
    let json;
    let parts: Vec<&[u8]> = match kind {
        BodyKind::Binary => split_batch(&body)?,
        BodyKind::Json => {
            json = parse_json::<SubmitBatchRequest>(&body)?;
            json.transactions.iter().map(|bytes| bytes.as_slice()).collect()
        }
    };
    if parts.len() > limits.batch_transactions_max {
        return Err(ApiError::new(
            ErrorCode::BatchTooLong,
            format!(
                "the batch has {} transactions; at most {} are allowed",
                parts.len(),
                limits.batch_transactions_max
            ),
        ));
    }
    let mut items: Vec<Option<BatchItem>> = vec![None; parts.len()];
    let (mut transactions, mut positions) =
        (Vec::with_capacity(parts.len()), Vec::with_capacity(parts.len()));
    for (position, bytes) in parts.into_iter().enumerate() {
        match decode(bytes) {
            Ok(transaction) => {
                transactions.push(transaction);
                positions.push(position);
            }
            Err(error) => items[position] = Some(refused(error)),
        }
    }
    let mut accepted = 0;
    for (result, position) in shared.node.submit_batch(transactions).await.into_iter().zip(positions) {
        items[position] = Some(match result {
            Ok(id) => {
                accepted += 1;
                BatchItem { id: Some(id), problem: None }
            }
            Err(error) => refused(error.into()),
        });
    }
    let missing =
        || refused(ApiError::new(ErrorCode::Internal, "the node gave no answer for this transaction"));
    let results = items.into_iter().map(|item| item.unwrap_or_else(missing)).collect();
    Ok(Json(BatchResult { accepted, results }))
}

fn refused(error: ApiError) -> BatchItem {
    BatchItem { id: None, problem: Some(error.into_problem()) }
}

/// Splits length-prefixed transactions without copying.
fn split_batch(mut rest: &[u8]) -> Result<Vec<&[u8]>, ApiError> {
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let cut = rest.split_first_chunk::<4>().and_then(|(length, after)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            after.split_at_checked(length)
        });
        let Some((part, after)) = cut else {
            return Err(ApiError::new(
                ErrorCode::MalformedBatch,
                format!("transaction {} is cut off: {} bytes are left", parts.len(), rest.len()),
            ));
        };
        parts.push(part);
        rest = after;
    }
    Ok(parts)
}

fn decode(bytes: &[u8]) -> Result<Transaction, ApiError> {
    Transaction::decode(bytes)
        .map_err(|error| ApiError::new(ErrorCode::MalformedTransaction, error.to_string()))
}

/// Returns a transaction from the chain or the pool, with its receipt once it is committed.
#[utoipa::path(
    get, path = "/api/v1/transactions/{id}", tag = "transactions",
    params(("id" = String, Path, description = "0x and 64 hexadecimal digits"), WaitParameters),
    responses((status = 200, body = TransactionView))
)]
pub(crate) async fn one(
    State(shared): State<Arc<Shared>>,
    Segments(text): Segments<String>,
    Parameters(parameters): Parameters<WaitParameters>,
) -> Result<Json<TransactionView>, ApiError> {
    let id: TransactionId = parse("id", &text)?;
    if let Some(timeout) = parameters.timeout(&shared.limits) {
        return committed(&shared, id, timeout).await;
    }
    shared
        .blocking(move |shared| match shared.node.transaction(id)? {
            Some(record) => view(shared, record).map(Json),
            None => Err(not_found(shared, id)),
        })
        .await
}

fn not_found(shared: &Shared, id: TransactionId) -> ApiError {
    let oldest = shared.node.status().oldest_block;
    let kept = match oldest.get() {
        0 | 1 => String::new(),
        _ => format!("; transactions of blocks before {oldest} are not kept on this node"),
    };
    ApiError::new(
        ErrorCode::TransactionNotFound,
        format!("transaction {id} is neither in the chain nor waiting{kept}"),
    )
}

async fn committed(
    shared: &Arc<Shared>,
    id: TransactionId,
    timeout: Duration,
) -> Result<Json<TransactionView>, ApiError> {
    let concluded = tokio::select! {
        concluded = tokio::time::timeout(timeout, shared.node.wait_committed(id)) => concluded,
        () = shared.stopping.cancelled() => return Err(crate::NodeError::Stopping.into()),
    };
    match concluded {
        Ok(conclusion) => match conclusion? {
            Conclusion::Committed(record) => {
                shared.blocking(move |shared| view(shared, *record).map(Json)).await
            }
            Conclusion::Dropped { reason } => Err(ApiError::new(
                ErrorCode::TransactionDropped,
                format!("transaction {id} was dropped: {reason}"),
            )),
            Conclusion::Unknown => Err(not_found(shared, id)),
        },
        Err(_) => Err(ApiError::new(
            ErrorCode::WaitTimeout,
            format!("transaction {id} is in no final block after {} ms", timeout.as_millis()),
        )),
    }
}

fn view(shared: &Shared, record: TransactionRecord) -> Result<TransactionView, ApiError> {
    let body = BodyView::from(&record.transaction.body);
    let mut view = TransactionView {
        id: record.id,
        place: TransactionPlace::Pending,
        body,
        receipt: None,
        diagnostic: None,
    };
    if let Some(inclusion) = record.inclusion {
        view.place = TransactionPlace::Committed {
            height: inclusion.height,
            block: inclusion.block,
            index: inclusion.index,
            time: inclusion.time,
            confirmations: inclusion.confirmations,
            is_final: inclusion.is_final,
        };
        view.receipt = Some(ReceiptView::new(&inclusion.receipt));
        view.diagnostic = inclusion.diagnostic;
    }
    shared.schemas.fill_transaction(&*shared.node, &mut view)?;
    Ok(view)
}

/// Runs a transaction's actions on the latest state and discards the effects: what it would do, and the gas it needs.
/// Takes the borsh of an unsigned body, as JSON or as bytes; signature, nonce, fee and expiry are not checked.
#[utoipa::path(
    post, path = "/api/v1/transactions/simulate", tag = "transactions",
    request_body(content((SimulateRequest = "application/json"), (String = "application/octet-stream"))),
    responses((status = 200, body = SimulateResult))
)]
pub(crate) async fn simulate(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Result<Json<SimulateResult>, ApiError> {
    let limits = &shared.limits;
    let bytes = match body_kind(request.headers())? {
        BodyKind::Binary => {
            read_body(request, limits.transaction_body_bytes_max, limits.request_timeout).await?.to_vec()
        }
        BodyKind::Json => {
            let bytes_max = limits.transaction_body_bytes_max * 2 + JSON_FRAME_BYTES;
            let body = read_body(request, bytes_max, limits.request_timeout).await?;
            parse_json::<SimulateRequest>(&body)?.body.0
        }
    };
    let body: TransactionBody = borsh::from_slice(&bytes).map_err(|error| {
        ApiError::new(ErrorCode::MalformedTransaction, format!("not borsh of a transaction's body: {error}"))
    })?;
    shared
        .blocking(move |shared| {
            let actions: Vec<ActionView> = body.actions.iter().map(ActionView::from).collect();
            let record = shared.node.simulate(body)?;
            let mut receipt = ReceiptView::new(&record.receipt);
            shared.schemas.fill_receipt(&*shared.node, &actions, &mut receipt)?;
            Ok(Json(SimulateResult { height: record.height, receipt, diagnostic: record.diagnostic }))
        })
        .await
}
