//! Events and the cursor that finds them again.

use purlin_primitives::{AppId, Event, Height, TransactionId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

use crate::HexBytes;

/// Position of an event in the chain's log: height of its block and zero-based index among the block's
/// events. Text form `height.index`. Reading goes on *after* a cursor, so a reader that remembers the last one
/// it handled loses and repeats nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventCursor {
    /// Height of the block.
    pub height: Height,
    /// Index among all events of that block.
    pub index: u32,
}

impl EventCursor {
    /// Returns the cursor after every event of a block.
    pub const fn end_of(height: Height) -> Self {
        Self { height, index: u32::MAX }
    }
}

/// Says that a text is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseCursorError {
    /// What was read, shortened.
    text: String,
}

impl fmt::Display for ParseCursorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a cursor; expected HEIGHT.INDEX such as 12.0", self.text)
    }
}

impl std::error::Error for ParseCursorError {}

impl FromStr for EventCursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        let read = || {
            let (height, index) = text.split_once('.')?;
            Some(Self { height: Height::new(height.parse().ok()?), index: index.parse().ok()? })
        };
        read().ok_or_else(|| ParseCursorError { text: text.chars().take(64).collect() })
    }
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.height, self.index)
    }
}

impl Serialize for EventCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventCursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An event where it lies in the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Its position, to read on from.
    #[schema(value_type = String, example = "12.0")]
    pub cursor: EventCursor,
    /// Transaction that caused it.
    #[schema(value_type = String)]
    pub transaction: TransactionId,
    /// Application that emitted it.
    #[schema(value_type = String)]
    pub app: AppId,
    /// What kind.
    pub topic: String,
    /// Borsh of its fields.
    pub payload: HexBytes,
    /// The fields by name, when the application's current schema can read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Value>,
}

impl EventView {
    /// Puts an event beside its position.
    pub fn new(cursor: EventCursor, transaction: TransactionId, event: &Event, data: Option<Value>) -> Self {
        Self {
            cursor,
            transaction,
            app: event.app.clone(),
            topic: event.topic.clone(),
            payload: HexBytes(event.payload.clone()),
            data,
        }
    }
}

/// Some events in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// In order of position.
    pub events: Vec<EventView>,
    /// Where to read on: pass it as `after`. Covers events that the filter left out.
    #[schema(value_type = String, example = "12.0")]
    pub next: EventCursor,
    /// Whether more may be there already.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_order_by_position() {
        let cursor = EventCursor { height: Height::new(12), index: 3 };
        assert_eq!(cursor.to_string(), "12.3");
        assert_eq!("12.3".parse(), Ok(cursor));
        assert!(cursor < EventCursor::end_of(Height::new(12)));
        assert!(EventCursor::end_of(Height::new(12)) < EventCursor { height: Height::new(13), index: 0 });
        for bad in ["", "12", "12.", ".3", "-1.0", "1.2.3", "a.b", "99999999999999999999.0"] {
            assert!(bad.parse::<EventCursor>().is_err(), "{bad:?} must be refused");
        }
    }
}
