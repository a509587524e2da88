//! Events, by page and by stream.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use purlin_api::{EventCursor, EventPage, EventView};
use purlin_primitives::AppId;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

use super::page_size;
use crate::error::ApiError;
use crate::extract::{Json, Parameters, Segments, parse};
use crate::schema::Budget;
use crate::shared::Shared;
use crate::stream::{self, Page};
use crate::{EventFilter, EventScope};

/// Most events that one read of a stream returns.
const STREAM_PAGE: usize = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageParameters {
    /// Only with this topic.
    topic: Option<String>,
    /// Cursor to read on from: `next` of the page before, or an event's; from the first event when absent.
    after: Option<String>,
    /// Most events to return, 1 to 100; 20 when absent.
    limit: Option<u64>,
    /// `true`: events of blocks that are not final too, under proof of work; when the block of `after` left the
    /// chain, first those told before, newest first, with `removed`. Only final ones when absent.
    unfinalised: Option<bool>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamParameters {
    /// Only with this topic.
    topic: Option<String>,
    /// Cursor of the last event already seen, `0.0` for all; `Last-Event-ID` goes before it; only new events when
    /// both are absent.
    after: Option<String>,
    /// `true`: events as soon as a block has them, under proof of work, and a message `removed` for each whose block
    /// leaves the chain again. Only final ones when absent.
    unfinalised: Option<bool>,
}

fn scope(unfinalised: Option<bool>) -> EventScope {
    if unfinalised == Some(true) { EventScope::Unfinalised } else { EventScope::Final }
}

/// Returns events of all applications in order.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(PageParameters), responses((status = 200, body = EventPage)))]
pub(crate) async fn all(
    State(shared): State<Arc<Shared>>,
    Parameters(parameters): Parameters<PageParameters>,
) -> Result<Json<EventPage>, ApiError> {
    page(&shared, None, parameters).await
}

/// Returns events of an application in order.
#[utoipa::path(
    get, path = "/api/v1/apps/{id}/events", tag = "events",
    params(("id" = String, Path, description = "App id"), PageParameters), responses((status = 200, body = EventPage))
)]
pub(crate) async fn of_app(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<String>,
    Parameters(parameters): Parameters<PageParameters>,
) -> Result<Json<EventPage>, ApiError> {
    page(&shared, Some(parse("id", &app)?), parameters).await
}

/// Streams events of all applications as server-sent events `event`, whose id is the cursor; `removed` takes one back,
/// see `unfinalised`.
#[utoipa::path(
    get, path = "/api/v1/events/stream", tag = "events", params(StreamParameters),
    responses((status = 200, description = "`EventView` messages", body = EventView, content_type = "text/event-stream"))
)]
pub(crate) async fn stream_all(
    State(shared): State<Arc<Shared>>,
    Parameters(parameters): Parameters<StreamParameters>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    follow(&shared, None, parameters, &headers)
}

/// Streams events of an application as server-sent events `event`, whose id is the cursor; `removed` takes one back,
/// see `unfinalised`.
#[utoipa::path(
    get, path = "/api/v1/apps/{id}/events/stream", tag = "events",
    params(("id" = String, Path, description = "App id"), StreamParameters),
    responses((status = 200, description = "`EventView` messages", body = EventView, content_type = "text/event-stream"))
)]
pub(crate) async fn stream_of_app(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<String>,
    Parameters(parameters): Parameters<StreamParameters>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    follow(&shared, Some(parse("id", &app)?), parameters, &headers)
}

async fn page(
    shared: &Arc<Shared>,
    app: Option<AppId>,
    parameters: PageParameters,
) -> Result<Json<EventPage>, ApiError> {
    let limit = page_size(&shared.limits, parameters.limit)?;
    let after = parameters.after.map(|text| parse("after", &text)).transpose()?.unwrap_or_default();
    let filter = EventFilter { app, topic: parameters.topic, scope: scope(parameters.unfinalised) };
    shared.blocking(move |shared| read(shared, &filter, after, limit).map(Json)).await
}

fn read(
    shared: &Shared,
    filter: &EventFilter,
    after: EventCursor,
    limit: usize,
) -> Result<EventPage, ApiError> {
    let records = shared.node.events(filter, after, limit)?;
    let mut budget = Budget::default();
    let events = records
        .events
        .into_iter()
        .map(|record| {
            let data = shared.schemas.event(&*shared.node, &record.event, &mut budget)?;
            let view = EventView::new(record.cursor, record.transaction, &record.event, data);
            Ok(EventView { removed: record.removed.is_some(), resume: record.removed, ..view })
        })
        .collect::<Result<_, ApiError>>()?;
    Ok(EventPage { events, next: records.next, more: records.more })
}

fn follow(
    shared: &Arc<Shared>,
    app: Option<AppId>,
    parameters: StreamParameters,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let scope = scope(parameters.unfinalised);
    let head = match scope {
        EventScope::Final => shared.node.head(),
        EventScope::Unfinalised => shared.node.tip(),
    };
    let now = EventCursor::end_of(*head.borrow());
    let cursor = stream::start(headers, parameters.after.as_deref(), now)?;
    let filter = Arc::new(EventFilter { app, topic: parameters.topic, scope });
    stream::follow(shared, head, cursor, move |shared, cursor| {
        let filter = Arc::clone(&filter);
        async move {
            shared
                .blocking(move |shared| {
                    let page = read(shared, &filter, cursor, STREAM_PAGE)?;
                    let mut text = String::new();
                    for event in &page.events {
                        let name = if event.removed { "removed" } else { "event" };
                        stream::message(&mut text, name, &event.read_on().to_string(), event)?;
                    }
                    Ok(Page { text, next: page.next, more: page.more })
                })
                .await
        }
    })
}
