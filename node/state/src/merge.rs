//! Scans a state with a layer of writes on top.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;

use crate::reader::{Entry, Order, StateReader};
use crate::store::StoreError;

/// Returns at most `limit` entries with `from <= key < to` of `base` with `layer` on top. `written` tells what
/// the layer says about a key: nothing, a value, or that it is removed.
pub(crate) fn merge_scan<'a, K, V>(
    base: &dyn StateReader,
    layer: &'a BTreeMap<K, V>,
    from: &[u8],
    to: &[u8],
    order: Order,
    limit: usize,
    written: impl Fn(&'a V) -> Option<Option<&'a Vec<u8>>>,
) -> Result<Vec<Entry>, StoreError>
where
    K: Borrow<[u8]> + Ord,
{
    if from >= to || limit == 0 {
        return Ok(Vec::new());
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
    let mut pages = Pages::new(base, from, to, order, limit);
    let mut out = Vec::new();
    while out.len() < limit {
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
            out.extend(pages.take());
            continue;
        }
        if matches!(step, Step::Both) {
            pages.take();
        }
        if let Some((key, Some(value))) = writes.next() {
            out.push((key.to_vec(), value.clone()));
        }
    }
    Ok(out)
}

enum Step {
    Base,
    Layer,
    Both,
}

/// Reads a range of a state in pages.
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
    fn new(base: &'a dyn StateReader, from: &[u8], to: &[u8], order: Order, size: usize) -> Self {
        Self { base, from: from.to_vec(), to: to.to_vec(), order, size, page: Vec::new(), finished: false }
    }

    fn peek(&mut self) -> Result<Option<&[u8]>, StoreError> {
        if self.page.is_empty() && !self.finished {
            self.page = self.base.scan(&self.from, &self.to, self.order, self.size)?;
            self.finished = self.page.len() < self.size;
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
