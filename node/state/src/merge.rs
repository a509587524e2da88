//! Scans a state with a layer of writes on top.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;

use crate::reader::{Entry, Order, StateReader};
use crate::store::StoreError;

/// Entries read of the base at first, and at most, whatever the limit: large values must not be read for nothing.
const PAGE_ENTRIES_MIN: usize = 4;
const PAGE_ENTRIES_MAX: usize = 32;

/// What a scan may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// Most entries returned.
    pub entries: usize,
    /// Bytes of keys and values after which no more are returned.
    pub bytes: usize,
    /// Most entries returned and removed ones passed over, together.
    pub steps: usize,
}

impl ScanLimits {
    /// At most so many entries, however large they are and whatever finding them takes.
    pub const fn entries(entries: usize) -> Self {
        Self { entries, bytes: usize::MAX, steps: usize::MAX }
    }
}

/// What a scan found, and what it went through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// In the order asked for. Fewer than asked for means the end, or that the steps were used up.
    pub entries: Vec<Entry>,
    /// Removed entries that were passed over.
    pub removed: usize,
    /// Bytes of keys and values that were read below the layer and are not valid any more.
    pub removed_bytes: usize,
}

/// Returns entries with `from <= key < to` of `base` with `layer` on top. `written` tells what the layer says about a
/// key: nothing, a value, or that it is removed.
pub(crate) fn merge_scan<'a, K, V>(
    base: &dyn StateReader,
    layer: &'a BTreeMap<K, V>,
    from: &[u8],
    to: &[u8],
    order: Order,
    limits: ScanLimits,
    written: impl Fn(&'a V) -> Option<Option<&'a Vec<u8>>>,
) -> Result<Scanned, StoreError>
where
    K: Borrow<[u8]> + Ord,
{
    let mut out = Scanned::default();
    if from >= to || limits.entries == 0 {
        return Ok(out);
    }
    let mut range = layer.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
    let next_written = || loop {
        let (key, value) = match order {
            Order::Ascending => range.next()?,
            Order::Descending => range.next_back()?,
        };
        if let Some(value) = written(value) {
            return Some((key.borrow(), value));
        }
    };
    let mut writes = std::iter::from_fn(next_written).peekable();
    let mut pages = Pages::new(base, from, to, order, limits.entries);
    let mut bytes = 0;
    while out.entries.len() < limits.entries
        && out.entries.len() + out.removed < limits.steps
        && bytes < limits.bytes
    {
        let step = match (pages.peek()?, writes.peek()) {
            (None, None) => break,
            (Some(_), None) => Step::Base,
            (None, Some(_)) => Step::Layer,
            (Some(below), Some((above, _))) => match (below.cmp(above), order) {
                (std::cmp::Ordering::Equal, _) => Step::Both,
                (std::cmp::Ordering::Less, Order::Ascending)
                | (std::cmp::Ordering::Greater, Order::Descending) => Step::Base,
                _ => Step::Layer,
            },
        };
        if matches!(step, Step::Base) {
            if let Some((key, value)) = pages.take() {
                bytes += key.len() + value.len();
                out.entries.push((key, value));
            }
            continue;
        }
        if matches!(step, Step::Both)
            && let Some((key, value)) = pages.take()
        {
            out.removed_bytes += key.len() + value.len();
        }
        match writes.next() {
            Some((key, Some(value))) => {
                bytes += key.len() + value.len();
                out.entries.push((key.to_vec(), value.clone()));
            }
            _ => out.removed += 1,
        }
    }
    Ok(out)
}

enum Step {
    Base,
    Layer,
    Both,
}

/// Reads a range of a state in pages that grow: what is read for nothing stays in proportion to what is used.
struct Pages<'a> {
    base: &'a dyn StateReader,
    from: Vec<u8>,
    to: Vec<u8>,
    order: Order,
    size: usize,
    /// Reversed: the next entry is last.
    page: Vec<Entry>,
    finished: bool,
}

impl<'a> Pages<'a> {
    fn new(base: &'a dyn StateReader, from: &[u8], to: &[u8], order: Order, limit: usize) -> Self {
        let size = limit.min(PAGE_ENTRIES_MIN);
        Self { base, from: from.to_vec(), to: to.to_vec(), order, size, page: Vec::new(), finished: false }
    }

    fn peek(&mut self) -> Result<Option<&[u8]>, StoreError> {
        if self.page.is_empty() && !self.finished {
            self.page = self.base.scan(&self.from, &self.to, self.order, self.size)?;
            self.finished = self.page.len() < self.size;
            self.size = (self.size * 2).min(PAGE_ENTRIES_MAX);
            if let Some((last, _)) = self.page.last() {
                match self.order {
                    // The least key after `last`.
                    Order::Ascending => self.from = [last.as_slice(), &[0]].concat(),
                    Order::Descending => self.to = last.clone(),
                }
            }
            self.page.reverse();
        }
        Ok(self.page.last().map(|(key, _)| key.as_slice()))
    }

    fn take(&mut self) -> Option<Entry> {
        self.page.pop()
    }
}
