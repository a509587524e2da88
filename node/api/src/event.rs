//! Events and the cursor that finds them again.

use purlin_primitives::{AppId, BlockId, Event, Height, TransactionId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

use crate::HexBytes;

/// Position of an event in the chain's log: height of its block and zero-based index among the block's
/// events. Reading goes on *after* a cursor, so a reader that remembers the last one it handled loses and repeats
/// nothing. Text form `height.index`; under proof of work `height.index@block`, because another block may take the
/// place of the one that was read: who reads on after it is told what does not count any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventCursor {
    /// Height of the block.
    pub height: Height,
    /// Index among all events of that block.
    pub index: u32,
    /// The block, where that may leave the chain.
    pub block: Option<BlockId>,
}

impl EventCursor {
    /// Returns the cursor after every event of a block.
    pub const fn end_of(height: Height) -> Self {
        Self { height, index: u32::MAX, block: None }
    }

    /// Returns the same position in a block.
    #[must_use]
    pub const fn in_block(self, block: BlockId) -> Self {
        Self { block: Some(block), ..self }
    }

    /// Says whether a position comes after another one, whatever blocks they are in.
    pub fn is_after(&self, other: &Self) -> bool {
        (self.height, self.index) > (other.height, other.index)
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
        write!(
            f,
            "{:?} is not a cursor; expected HEIGHT.INDEX such as 12.0, with @BLOCK behind it under proof of work",
            self.text
        )
    }
}

impl std::error::Error for ParseCursorError {}

impl FromStr for EventCursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        let read = || {
            let (place, block) = match text.split_once('@') {
                Some((place, block)) => (place, Some(block.parse().ok()?)),
                None => (text, None),
            };
            let (height, index) = place.split_once('.')?;
            Some(Self { height: Height::new(height.parse().ok()?), index: index.parse().ok()?, block })
        };
        read().ok_or_else(|| ParseCursorError { text: text.chars().take(128).collect() })
    }
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.height, self.index)?;
        self.block.map_or(Ok(()), |block| write!(f, "@{block}"))
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
    /// Whether it did not happen after all: it was told before, and its block left the chain. Only under proof of
    /// work; such events come newest first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
    /// Where to read on after a removed event, whose own position is on no chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub resume: Option<EventCursor>,
}

impl EventView {
    /// Returns where to read on after it.
    pub fn read_on(&self) -> EventCursor {
        self.resume.unwrap_or(self.cursor)
    }

    /// Puts an event beside its position.
    pub fn new(cursor: EventCursor, transaction: TransactionId, event: &Event, data: Option<Value>) -> Self {
        Self {
            cursor,
            transaction,
            app: event.app.clone(),
            topic: event.topic.clone(),
            payload: HexBytes(event.payload.clone()),
            data,
            removed: false,
            resume: None,
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
        let cursor = EventCursor { height: Height::new(12), index: 3, block: None };
        assert_eq!(cursor.to_string(), "12.3");
        assert_eq!("12.3".parse(), Ok(cursor));
        assert!(cursor < EventCursor::end_of(Height::new(12)));
        assert!(
            EventCursor::end_of(Height::new(12))
                < EventCursor { height: Height::new(13), index: 0, block: None }
        );
        let in_block = cursor.in_block(BlockId::ZERO);
        assert_eq!(in_block.to_string(), format!("12.3@{}", BlockId::ZERO));
        assert_eq!(in_block.to_string().parse(), Ok(in_block));
        assert!(!in_block.is_after(&cursor) && !cursor.is_after(&in_block));
        for bad in
            ["", "12", "12.", ".3", "-1.0", "1.2.3", "a.b", "99999999999999999999.0", "12.3@", "12.3@7"]
        {
            assert!(bad.parse::<EventCursor>().is_err(), "{bad:?} must be refused");
        }
    }
}
