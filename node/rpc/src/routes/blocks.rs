//! Blocks.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use purlin_api::{BlockPage, BlockSummary, BlockTransaction, BlockView, ErrorCode, HeaderView};
use purlin_primitives::{Gas, Height};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

use super::page_size;
use crate::error::ApiError;
use crate::extract::{Json, Parameters, Segments, parse};
use crate::shared::Shared;
use crate::stream::{self, BlockCursor, Page};
use crate::{BlockRecord, BlockSelector};

/// Most blocks that one read of a stream returns.
const STREAM_PAGE: u64 = 20;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParameters {
    /// Only blocks below this height.
    before: Option<u64>,
    /// Most blocks to return, 1 to 100; 20 when absent.
    limit: Option<u64>,
}

/// Lists blocks, newest first.
#[utoipa::path(get, path = "/api/v1/blocks", tag = "blocks", params(ListParameters), responses((status = 200, body = BlockPage)))]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<BlockPage>, ApiError> {
    let limit = page_size(&shared.limits, parameters.limit)?;
    let before = parameters.before.map(Height::new);
    shared
        .blocking(move |shared| {
            let blocks = shared.node.blocks(before, limit)?;
            let next = blocks.last().map(|block| block.height).filter(|height| height.get() > 1);
            Ok(Json(BlockPage { blocks, next }))
        })
        .await
}

/// Returns a block by height, by id, or the latest.
#[utoipa::path(
    get, path = "/api/v1/blocks/{block}", tag = "blocks",
    params(("block" = String, Path, description = "Height, 0x id, or `latest`")),
    responses((status = 200, body = BlockView))
)]
pub(crate) async fn one(
    State(shared): State<Arc<Shared>>,
    Segments(text): Segments<String>,
) -> Result<Json<BlockView>, ApiError> {
    let selector = if text == "latest" {
        BlockSelector::Latest
    } else if text.bytes().all(|c| c.is_ascii_digit()) && text.len() <= 20 {
        BlockSelector::Height(Height::new(parse("block", &text)?))
    } else {
        BlockSelector::Id(parse("block", &text)?)
    };
    shared
        .blocking(move |shared| match shared.node.block(selector)? {
            Some(record) => Ok(Json(view(&record))),
            None if selector == BlockSelector::Latest => {
                Err(ApiError::new(ErrorCode::BlockNotFound, "the chain has no block yet, only its genesis"))
            }
            None => Err(ApiError::new(ErrorCode::BlockNotFound, format!("there is no block {text}"))),
        })
        .await
}

fn view(record: &BlockRecord) -> BlockView {
    let transactions =
        record.block.transactions.iter().zip(&record.receipts).map(|(transaction, receipt)| {
            BlockTransaction {
                id: receipt.transaction,
                sender: transaction.body.sender,
                actions: u32::try_from(transaction.body.actions.len()).unwrap_or(u32::MAX),
                succeeded: receipt.succeeded(),
                gas_used: receipt.gas_used,
            }
        });
    let signers = record.certificate.signatures.iter().filter_map(|signature| {
        // A stored certificate was checked; a key that is no point cannot be in it.
        signature.public_key.try_account_id().ok()
    });
    BlockView {
        id: record.id,
        header: HeaderView::from(&record.block.header),
        signers: signers.collect(),
        transactions: transactions.collect(),
        events: u32::try_from(record.receipts.iter().map(|receipt| receipt.events.len()).sum::<usize>())
            .unwrap_or(u32::MAX),
        gas_used: record.receipts.iter().fold(Gas::ZERO, |sum, receipt| sum.saturating_add(receipt.gas_used)),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamParameters {
    /// Height of the last block already seen; `Last-Event-ID` goes before it; only new blocks when both are absent.
    after: Option<String>,
}

/// Streams final blocks as server-sent events `block`, whose id is the height.
///
/// Under proof of work a final block can still leave the chain, when a branch longer than `confirmations` takes its
/// place; clients are not told of that here. The event stream tells, by its cursors.
#[utoipa::path(
    get, path = "/api/v1/blocks/stream", tag = "blocks", params(StreamParameters),
    responses((status = 200, description = "`BlockSummary` messages", body = BlockSummary, content_type = "text/event-stream"))
)]
pub(crate) async fn stream(
    State(shared): State<Arc<Shared>>,
    Parameters(parameters): Parameters<StreamParameters>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let head = shared.node.head();
    let now = BlockCursor(*head.borrow());
    let cursor = stream::start(&headers, parameters.after.as_deref(), now)?;
    stream::follow(&shared, head, cursor, |shared, BlockCursor(seen)| async move {
        shared
            .blocking(move |shared| {
                let head = shared.node.head().borrow().get();
                let mut page = Page {
                    text: String::new(),
                    next: BlockCursor(seen),
                    more: seen.get().saturating_add(STREAM_PAGE) < head,
                };
                for height in (seen.get()..head).take(STREAM_PAGE as usize).map(|height| height + 1) {
                    let height = Height::new(height);
                    let Some(summary) = shared.node.block_summary(height)? else { break };
                    stream::message(&mut page.text, "block", &height.to_string(), &summary)?;
                    page.next = BlockCursor(height);
                }
                Ok(page)
            })
            .await
    })
}
