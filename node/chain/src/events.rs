//! The event log, read by cursor.

use purlin_primitives::{AppId, Event, Height, TransactionId};
use purlin_state::{Column, KeyValueStore, Order, StoreError};

use crate::chain::Chain;
use crate::records::{self, RUN_LENGTH, StoredEvent};

/// Most events looked at for one page; with a rare topic a page can end before it is full, with a cursor from
/// which to go on.
pub const EVENTS_EXAMINED_MAX: usize = 4096;
/// Most events of a page.
pub const EVENTS_PAGE_MAX: usize = 1000;

/// A place in the event log: the `index`-th event of a block, counted over all its transactions. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventCursor {
    /// Of the block.
    pub height: Height,
    /// Zero-based.
    pub index: u32,
}

impl EventCursor {
    /// Returns the place after this one: where a reader goes on who has seen this event.
    pub fn next(self) -> Self {
        match self.index.checked_add(1) {
            Some(index) => Self { index, ..self },
            None => Self::start_of(self.height.next()),
        }
    }

    /// Returns the first place of a block.
    pub fn start_of(height: Height) -> Self {
        Self { height, index: 0 }
    }
}

/// Which events to give; without either, all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Only of this application; found by index.
    pub app: Option<AppId>,
    /// Only with this topic; found by looking.
    pub topic: Option<String>,
}

impl EventFilter {
    /// Says whether an event passes.
    pub fn accepts(&self, event: &Event) -> bool {
        self.app.as_ref().is_none_or(|app| *app == event.app)
            && self.topic.as_ref().is_none_or(|topic| *topic == event.topic)
    }
}

/// An event and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// Its place in the log.
    pub cursor: EventCursor,
    /// The transaction that emitted it.
    pub transaction: TransactionId,
    /// That transaction's zero-based position in its block.
    pub position: u32,
    /// What was emitted.
    pub event: Event,
}

/// Some events in order, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// What passed the filter.
    pub events: Vec<EventRecord>,
    /// The first place that was not looked at; beyond the head when there is nothing more yet.
    pub next: EventCursor,
    /// Whether everything up to the head was looked at.
    pub complete: bool,
}

/// The runs of a block's events, the last one kept: events come in order.
struct Runs<'a, S> {
    store: &'a S,
    start: EventCursor,
    run: Vec<StoredEvent>,
}

impl<S: KeyValueStore> Chain<S> {
    /// Returns at most `limit` events from `from` on, of committed blocks. A page is of one branch; whoever reads
    /// on after [`Chain::reorganize`] starts again above the ancestor. Height 0 stands for the oldest that is kept; any
    /// other height that is not kept is refused with [`StoreError::BlockPruned`], so that nobody misses events unseen.
    pub fn events(
        &self,
        from: EventCursor,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<EventPage, StoreError> {
        let _stable = self.stable();
        self.check_block_kept(from.height)?;
        let head = self.head().height;
        let limit = limit.clamp(1, EVENTS_PAGE_MAX);
        let mut page = EventPage { events: Vec::new(), next: from, complete: false };
        let mut examined = 0;
        let mut runs = Runs { store: &*self.store, start: from, run: Vec::new() };
        let mut places = match &filter.app {
            Some(app) => Places::of_app(&*self.store, app, from, head),
            None => Places::of_all(&*self.store, from, head),
        };
        while page.events.len() < limit && examined < EVENTS_EXAMINED_MAX {
            let Some(cursor) = places.next()? else {
                page.next = page.next.max(EventCursor::start_of(head.next()));
                page.complete = true;
                return Ok(page);
            };
            let stored = runs.get(cursor)?;
            examined += 1;
            page.next = cursor.next();
            if filter.accepts(&stored.event) {
                let StoredEvent { transaction, position, event } = stored.clone();
                page.events.push(EventRecord { cursor, transaction, position, event });
            }
        }
        Ok(page)
    }
}

impl<S: KeyValueStore> Runs<'_, S> {
    fn get(&mut self, cursor: EventCursor) -> Result<&StoredEvent, StoreError> {
        let within = cursor.index as usize % RUN_LENGTH;
        let start = EventCursor { index: cursor.index - within as u32, ..cursor };
        let key = records::run_key(start.height, start.index as usize);
        if start != self.start || self.run.is_empty() {
            let bytes = self.store.get(Column::Events, &key)?;
            let bytes =
                bytes.ok_or_else(|| records::damaged(Column::Events, &key, "the record is missing"))?;
            self.run = records::decode(Column::Events, &key, &bytes)?;
            self.start = start;
        }
        let missing =
            || records::damaged(Column::Events, &key, format!("there is no event {}", cursor.index));
        self.run.get(within).ok_or_else(missing)
    }
}

/// Places of events in order, block by block.
struct Places<'a, S> {
    store: &'a S,
    column: Column,
    /// What every key starts with, before the height.
    prefix: Vec<u8>,
    /// Next key to read; `None` at the end.
    from: Option<Vec<u8>>,
    to: Vec<u8>,
    start: EventCursor,
    height: Height,
    waiting: std::vec::IntoIter<u32>,
}

impl<'a, S: KeyValueStore> Places<'a, S> {
    fn of_app(store: &'a S, app: &AppId, start: EventCursor, head: Height) -> Self {
        let from = records::app_events_key(app, start.height);
        let prefix = from[..from.len() - 8].to_vec();
        let to = records::app_events_key(app, head.next());
        Self::new(store, Column::EventsByApp, prefix, from, to, start)
    }

    fn of_all(store: &'a S, start: EventCursor, head: Height) -> Self {
        let first = start.index as usize - start.index as usize % RUN_LENGTH;
        let from = records::run_key(start.height, first).to_vec();
        let to = records::height_key(head.next()).to_vec();
        Self::new(store, Column::Events, Vec::new(), from, to, start)
    }

    fn new(
        store: &'a S,
        column: Column,
        prefix: Vec<u8>,
        from: Vec<u8>,
        to: Vec<u8>,
        start: EventCursor,
    ) -> Self {
        let from = (from < to).then_some(from);
        Self { store, column, prefix, from, to, start, height: start.height, waiting: Vec::new().into_iter() }
    }

    fn next(&mut self) -> Result<Option<EventCursor>, StoreError> {
        loop {
            for index in self.waiting.by_ref() {
                let cursor = EventCursor { height: self.height, index };
                if cursor >= self.start {
                    return Ok(Some(cursor));
                }
            }
            let Some(from) = self.from.take() else { return Ok(None) };
            let page = self.store.scan(self.column, &from, Some(&self.to), Order::Ascending, 1)?;
            let Some((key, bytes)) = page.into_iter().next() else { return Ok(None) };
            self.height = records::height_of(self.column, &key[self.prefix.len()..])?;
            let indexes: Vec<u32> = if self.column == Column::EventsByApp {
                records::decode(self.column, &key, &bytes)?
            } else {
                self.run_indexes(&key, &bytes)?
            };
            self.waiting = indexes.into_iter();
            self.from = Some([key.as_slice(), &[0]].concat());
        }
    }

    /// Indexes of a run of events: its key names the first, its length is in its first four bytes.
    fn run_indexes(&self, key: &[u8], bytes: &[u8]) -> Result<Vec<u32>, StoreError> {
        let first = key.last_chunk::<4>().map(|first| u32::from_be_bytes(*first));
        let count = bytes.first_chunk::<4>().map(|count| u32::from_le_bytes(*count));
        match (first, count) {
            (Some(first), Some(count)) if count as usize <= RUN_LENGTH => {
                Ok((first..first.saturating_add(count)).collect())
            }
            _ => Err(records::damaged(self.column, key, "it is not a run of events")),
        }
    }
}
