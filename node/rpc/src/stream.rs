//! Server-sent events. A stream reads the chain's log page by page behind a cursor and sleeps only at its end, so a
//! slow or returning client loses and repeats nothing, and a stream holds one page at most.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use purlin_api::{ErrorCode, EventCursor};
use purlin_primitives::Height;
use serde::Serialize;
use std::convert::Infallible;
use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::error::ApiError;
use crate::extract::parse;
use crate::shared::Shared;

/// Header that browsers and our client send when they connect again.
const LAST_EVENT_ID: &str = "last-event-id";
/// Milliseconds a client should wait before it connects again.
const RETRY_MS: u32 = 1_000;

/// What one read of the log gave.
pub(crate) struct Page<C> {
    /// Messages, ready to send.
    pub(crate) text: String,
    /// Where to read on.
    pub(crate) next: C,
    /// Whether to read on at once.
    pub(crate) more: bool,
}

/// A position in a log.
pub(crate) trait Cursor: Copy + Send + ToString + FromStr<Err: std::fmt::Display> + 'static {}

impl Cursor for EventCursor {}
impl Cursor for BlockCursor {}

/// Height of the last block that was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockCursor(pub(crate) Height);

impl FromStr for BlockCursor {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|height| Self(Height::new(height)))
    }
}

impl std::fmt::Display for BlockCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Decides where a stream starts: `Last-Event-ID`, else the `after` parameter, else now.
pub(crate) fn start<C: Cursor>(headers: &HeaderMap, after: Option<&str>, now: C) -> Result<C, ApiError> {
    if let Some(value) = headers.get(LAST_EVENT_ID) {
        let text = value
            .to_str()
            .map_err(|_| ApiError::new(ErrorCode::BadRequest, "`Last-Event-ID` is not plain text"))?;
        return parse("Last-Event-ID", text);
    }
    after.map_or(Ok(now), |text| parse("after", text))
}

/// Appends one message.
pub(crate) fn message<T: Serialize>(
    out: &mut String,
    event: &str,
    id: &str,
    data: &T,
) -> Result<(), ApiError> {
    let json = serde_json::to_string(data).map_err(|error| {
        tracing::error!(%error, "a message could not be written as JSON");
        ApiError::new(ErrorCode::Internal, "a message could not be written as JSON")
    })?;
    out.push_str(&format!("event: {event}\nid: {id}\ndata: {json}\n\n"));
    Ok(())
}

struct Follower<C, R> {
    shared: Arc<Shared>,
    head: watch::Receiver<Height>,
    cursor: C,
    read: R,
    state: State,
    _permit: OwnedSemaphorePermit,
}

#[derive(PartialEq, Eq)]
enum State {
    Opening,
    Reading,
    Waiting,
    Ended,
}

/// Answers with a stream that reads again whenever `head` changes, and goes on until the client or the server leaves.
pub(crate) fn follow<C, R, F>(
    shared: &Arc<Shared>,
    head: watch::Receiver<Height>,
    cursor: C,
    read: R,
) -> Result<Response, ApiError>
where
    C: Cursor,
    R: Fn(Arc<Shared>, C) -> F + Send + 'static,
    F: Future<Output = Result<Page<C>, ApiError>> + Send,
{
    let permit = Arc::clone(&shared.streams).try_acquire_owned().map_err(|_| {
        let max = shared.limits.streams_max;
        ApiError::new(ErrorCode::TooManyStreams, format!("{max} streams are open, which is the limit"))
    })?;
    let follower =
        Follower { shared: Arc::clone(shared), head, cursor, read, state: State::Opening, _permit: permit };
    let body = Body::from_stream(stream::unfold(follower, |mut follower| async {
        let text = follower.step().await?;
        Some((Ok::<Bytes, Infallible>(Bytes::from(text)), follower))
    }));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Keeps reverse proxies from holding messages back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl<C, R, F> Follower<C, R>
where
    C: Cursor,
    R: Fn(Arc<Shared>, C) -> F,
    F: Future<Output = Result<Page<C>, ApiError>>,
{
    /// Returns what to send next, or `None` at the end.
    async fn step(&mut self) -> Option<String> {
        loop {
            match self.state {
                State::Opening => {
                    self.state = State::Reading;
                    // The id makes "from now on" a position, so that a client that is cut off at once resumes there.
                    return Some(format!("id: {}\nretry: {RETRY_MS}\n\n", self.cursor.to_string()));
                }
                State::Reading => {
                    // Marked before reading, so that a block that arrives meanwhile is noticed.
                    self.head.borrow_and_update();
                    match (self.read)(Arc::clone(&self.shared), self.cursor).await {
                        Ok(page) => {
                            self.cursor = page.next;
                            self.state = if page.more { State::Reading } else { State::Waiting };
                            if !page.text.is_empty() {
                                return Some(page.text);
                            }
                        }
                        Err(error) => {
                            self.state = State::Ended;
                            let problem = error.into_problem();
                            let json = serde_json::to_string(&problem).unwrap_or_default();
                            return Some(format!("event: problem\ndata: {json}\n\n"));
                        }
                    }
                    if self.shared.stopping.is_cancelled() {
                        self.state = State::Ended;
                    }
                }
                State::Waiting => {
                    let stopping = self.shared.stopping.clone();
                    tokio::select! {
                        () = stopping.cancelled() => self.state = State::Ended,
                        changed = self.head.changed() => {
                            self.state = if changed.is_ok() { State::Reading } else { State::Ended };
                        }
                        () = tokio::time::sleep(self.shared.limits.keep_alive) => {
                            // An id without data moves the client's cursor past what its filter left out.
                            return Some(format!(": keep-alive\nid: {}\n\n", self.cursor.to_string()));
                        }
                    }
                }
                State::Ended => return None,
            }
        }
    }
}
