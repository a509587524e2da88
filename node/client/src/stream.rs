//! Following events over lost connections.

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use purlin_api::{EventCursor, EventView};
use std::time::Duration;

use crate::client::with_parameters;
use crate::{Client, ClientError, EventQuery};

/// First pause before connecting again; doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);
/// A node sends a comment more often than this; longer silence is a dead connection.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Longest message accepted, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Gives events in order, each once, over as many connections as it takes.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    query: EventQuery,
    position: Option<EventCursor>,
    connection: Option<Connection>,
    pause: Duration,
}

#[derive(Debug)]
struct Connection {
    body: Incoming,
    buffer: BytesMut,
}

impl EventStream {
    pub(crate) fn new(client: Client, query: EventQuery) -> Self {
        Self { client, position: query.after, query, connection: None, pause: RETRY_PAUSE }
    }

    /// Returns the position after which the next event lies.
    pub fn position(&self) -> Option<EventCursor> {
        self.position
    }

    /// Waits for the next event. A lost connection is opened again after a pause; a refusal by the node ends
    /// the stream. Cancel-safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Result<EventView, ClientError> {
        loop {
            if self.connection.is_none() {
                self.connect().await?;
            }
            let Some(connection) = &mut self.connection else { continue };
            match tokio::time::timeout(SILENCE_MAX, connection.message()).await {
                Ok(Some(data)) => {
                    self.pause = RETRY_PAUSE;
                    if let Some(event) = self.accept(&data)? {
                        return Ok(event);
                    }
                }
                Ok(None) | Err(_) => self.connection = None,
            }
        }
    }

    fn accept(&mut self, data: &str) -> Result<Option<EventView>, ClientError> {
        let event: EventView =
            serde_json::from_str(data).map_err(|error| self.client.transport.bad_answer(error))?;
        // A node that resumes a little early sends some again. Where blocks can be replaced, the place says nothing.
        let seen = |position: EventCursor| !event.cursor.is_after(&position) && event.cursor.block.is_none();
        if !event.removed && self.position.is_some_and(seen) {
            return Ok(None);
        }
        self.position = Some(event.read_on());
        Ok(Some(event))
    }

    async fn connect(&mut self) -> Result<(), ClientError> {
        let path = with_parameters(
            &self.query.path("/stream"),
            &[
                ("topic", self.query.topic.clone()),
                ("after", self.position.map(|position| position.to_string())),
                self.query.finality.parameter(),
            ],
        );
        match self.client.transport.open_stream(&path, None).await {
            Ok(body) => self.connection = Some(Connection { body, buffer: BytesMut::new() }),
            Err(ClientError::Unreachable { .. } | ClientError::Timeout { .. }) => {
                tokio::time::sleep(self.pause).await;
                self.pause = (self.pause * 2).min(RETRY_PAUSE_MAX);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Connection {
    /// Returns the data of the next message, or `None` when the connection is over. Cancel-safe: what was read
    /// stays in the buffer.
    async fn message(&mut self) -> Option<String> {
        loop {
            while let Some(block) = take_block(&mut self.buffer) {
                if let Some(data) = data_of(&block) {
                    return Some(data);
                }
            }
            if self.buffer.len() > MESSAGE_BYTES_MAX {
                return None;
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(bytes) = frame.into_data() {
                self.buffer.extend_from_slice(&bytes);
            }
        }
    }
}

/// Takes everything up to the next empty line out of the buffer.
fn take_block(buffer: &mut BytesMut) -> Option<String> {
    let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
    let block = buffer.split_to(end + 2);
    Some(String::from_utf8_lossy(&block).into_owned())
}

/// Joins the `data:` lines of a block; `None` for comments and keep-alives.
fn data_of(block: &str) -> Option<String> {
    let lines: Vec<&str> = block
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(|rest| rest.strip_prefix(' ').unwrap_or(rest))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_taken_whole_and_comments_give_no_data() {
        let mut buffer = BytesMut::from(&b": hello\n\nid: 1.0\ndata: {\"a\":\ndata: 1}\n\nid: 2"[..]);
        let blocks: Vec<String> = std::iter::from_fn(|| take_block(&mut buffer)).collect();
        assert_eq!(blocks.len(), 2);
        assert_eq!(data_of(&blocks[0]), None);
        assert_eq!(data_of(&blocks[1]).as_deref(), Some("{\"a\":\n1}"));
        assert_eq!(&buffer[..], b"id: 2");
    }
}
