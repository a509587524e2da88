//! Reading the event log, where blocks stay and where they may leave the chain.

use purlin_api::EventCursor;
use purlin_chain::EventPage;
use purlin_primitives::{BlockId, Height};
use purlin_rpc::{EventFilter, EventRecord, EventRecords, EventScope, NodeError};
use purlin_state::{KeyValueStore, StoreError};
use std::collections::BTreeMap;

use crate::node::core::Core;
use crate::node::heads::{Heads, TakenBack};

/// How often a page is read again because the chain went over to another branch meanwhile.
const TRIES_MAX: usize = 3;

fn position(height: Height, index: u32) -> EventCursor {
    EventCursor { height, index, block: None }
}

/// Returns the cursor after which a log goes on at a place.
fn before(place: purlin_chain::EventCursor) -> EventCursor {
    match (place.index.checked_sub(1), place.height.checked_sub(Height::new(1))) {
        (Some(index), _) => position(place.height, index),
        (None, Some(height)) => EventCursor::end_of(height),
        (None, None) => EventCursor::default(),
    }
}

fn read<S: KeyValueStore>(
    core: &Core<S>,
    filter: &EventFilter,
    after: EventCursor,
    limit: usize,
) -> Result<EventPage, NodeError> {
    let from = purlin_chain::EventCursor { height: after.height, index: after.index }.next();
    let filter = purlin_chain::EventFilter { app: filter.app.clone(), topic: filter.topic.clone() };
    core.chain.events(from, &filter, limit).map_err(|error| core.fault(error))
}

/// Cuts off what lies above a height.
fn cut(page: &mut EventPage, height: Height) {
    let end = purlin_chain::EventCursor::start_of(height.next());
    if page.next > end {
        page.events.retain(|record| record.cursor < end);
        (page.next, page.complete) = (end, true);
    }
}

fn record(record: purlin_chain::EventRecord, cursor: EventCursor) -> EventRecord {
    EventRecord { cursor, transaction: record.transaction, event: record.event, removed: None }
}

/// Reads on where blocks stay.
pub(super) fn stable<S: KeyValueStore>(
    core: &Core<S>,
    filter: &EventFilter,
    after: EventCursor,
    limit: usize,
) -> Result<EventRecords, NodeError> {
    let mut page = read(core, filter, after, limit)?;
    cut(&mut page, *core.heights.borrow());
    let next = before(page.next);
    let events = page.events.into_iter().map(|one| {
        let cursor = position(one.cursor.height, one.cursor.index);
        record(one, cursor)
    });
    Ok(EventRecords {
        events: events.collect(),
        next: if after.is_after(&next) { after } else { next },
        more: !page.complete,
    })
}

/// Reads on where blocks may leave the chain: what left it since comes first.
pub(super) fn unstable<S: KeyValueStore>(
    core: &Core<S>,
    heads: &Heads,
    filter: &EventFilter,
    after: EventCursor,
    limit: usize,
) -> Result<EventRecords, NodeError> {
    for _ in 0..TRIES_MAX {
        // A reorganisation takes back the head, so whoever finds it in place afterwards has read of one branch.
        let head = core.chain.head();
        // Whether the driver has noted what left the chain up to here; asked before looking for it.
        let told = core.head.read().block == head.block;
        let gone = match after.block {
            Some(block) if id_at(core, after.height)? != Some(block) => Some(block),
            _ => None,
        };
        let answer = match gone {
            Some(block) => match taken_back(heads, &block) {
                Some(taken) => removed(&taken, filter, after, limit),
                // Another reorganisation came in between.
                None if id_at(core, head.height)? != Some(head.block) => continue,
                // The driver tells of the change of the head when it has noted it.
                None if !told => EventRecords { events: Vec::new(), next: after, more: false },
                // Long ago, or never.
                None => return Err(NodeError::CursorGone { height: after.height, block }),
            },
            None => on(core, filter, after, limit)?,
        };
        if id_at(core, head.height)? == Some(head.block) {
            return Ok(answer);
        }
    }
    // The next change of the head wakes whoever waits.
    Ok(EventRecords { events: Vec::new(), next: after, more: true })
}

fn taken_back(heads: &Heads, block: &BlockId) -> Option<TakenBack> {
    heads.journal.lock().taken_back(block)
}

fn id_at<S: KeyValueStore>(core: &Core<S>, height: Height) -> Result<Option<BlockId>, NodeError> {
    if height == Height::ZERO {
        return Ok(Some(core.chain.genesis_id()));
    }
    let header = core.chain.header(height).map_err(|error: StoreError| core.fault(error))?;
    Ok(header.map(|header| header.id()))
}

fn on<S: KeyValueStore>(
    core: &Core<S>,
    filter: &EventFilter,
    after: EventCursor,
    limit: usize,
) -> Result<EventRecords, NodeError> {
    let mut page = read(core, filter, after, limit)?;
    let shown = match filter.scope {
        EventScope::Final => *core.heights.borrow(),
        EventScope::Unfinalised => core.newest(),
    };
    cut(&mut page, shown);
    let mut ids = BTreeMap::new();
    let mut in_block = |cursor: EventCursor| -> Result<EventCursor, NodeError> {
        let known = ids.get(&cursor.height).copied();
        let id = match known {
            Some(id) => id,
            None => id_at(core, cursor.height)?,
        };
        ids.insert(cursor.height, id);
        Ok(EventCursor { block: id, ..cursor })
    };
    let mut events = Vec::with_capacity(page.events.len());
    for one in page.events {
        let cursor = in_block(position(one.cursor.height, one.cursor.index))?;
        events.push(record(one, cursor));
    }
    let next = before(page.next);
    let next = if after.is_after(&next) { after } else { in_block(next)? };
    Ok(EventRecords { events, next, more: !page.complete })
}

/// Takes back what was told up to a cursor, newest first.
fn removed(taken: &TakenBack, filter: &EventFilter, after: EventCursor, limit: usize) -> EventRecords {
    let wanted = purlin_chain::EventFilter { app: filter.app.clone(), topic: filter.topic.clone() };
    let (ancestor, ancestor_id) = taken.ancestor;
    let mut events = Vec::new();
    for (at, (block, told)) in taken.blocks.iter().enumerate() {
        // The block below, on the branch that was left or shared by both.
        let (below, below_id) = match taken.blocks.get(at + 1) {
            Some((id, _)) => (Height::new(ancestor.get() + (taken.blocks.len() - at - 1) as u64), *id),
            None => (ancestor, ancestor_id),
        };
        for one in told.iter().rev() {
            let cursor = position(one.cursor.height, one.cursor.index);
            if cursor.is_after(&after) || !wanted.accepts(&one.event) {
                continue;
            }
            if events.len() >= limit {
                // The last one said where to read on.
                let next = events.last().and_then(|last: &EventRecord| last.removed).unwrap_or(after);
                return EventRecords { events, next, more: true };
            }
            let resume = match cursor.index.checked_sub(1) {
                Some(index) => position(cursor.height, index).in_block(*block),
                None => EventCursor::end_of(below).in_block(below_id),
            };
            events
                .push(EventRecord { removed: Some(resume), ..record(one.clone(), cursor.in_block(*block)) });
        }
    }
    EventRecords { events, next: EventCursor::end_of(ancestor).in_block(ancestor_id), more: true }
}
