//! Reading one height while blocks are being stored.

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use purlin_primitives::Height;
use purlin_state::{Changes, Column, Entry, FlatState, KeyValueStore, Order, StateReader, StoreError};

use crate::records::{self, UndoRun};

/// A committed height. Once the next block is about to be stored, it names what that block replaces, so a reader
/// of this height never sees the new values: it reads the store first and lets the old values win.
///
/// Readers keep alive the links after theirs and nothing before, so old values leave memory with the last reader
/// that needs them.
#[derive(Debug, Default)]
pub(crate) struct Link {
    next: OnceLock<(Arc<Changes>, Arc<Link>)>,
}

impl Link {
    /// Names the values that the next block replaces; called before that block is written.
    pub(crate) fn extend(&self, previous: Arc<Changes>) -> Arc<Link> {
        self.next.get_or_init(|| (previous, Arc::new(Link::default()))).1.clone()
    }

    /// What later blocks replaced, oldest block first.
    fn replaced(&self) -> impl Iterator<Item = &Changes> {
        let mut link = self;
        std::iter::from_fn(move || {
            let (previous, next) = link.next.get()?;
            link = next;
            Some(&**previous)
        })
    }
}

impl Drop for Link {
    /// Frees a long chain one by one: nested drops would use a stack frame per block.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some((_, link)) = next {
            next = Arc::into_inner(link).and_then(|mut link| link.next.take());
        }
    }
}

/// State at the height that was the head when it was taken.
#[derive(Debug)]
pub(crate) struct Snapshot<S> {
    flat: FlatState<Arc<S>>,
    link: Arc<Link>,
}

impl<S: KeyValueStore> Snapshot<S> {
    pub(crate) fn new(store: Arc<S>, link: Arc<Link>) -> Self {
        Self { flat: FlatState::new(store), link }
    }
}

impl<S: KeyValueStore> StateReader for Snapshot<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        // The order matters: whatever block this read has seen, its link is set by now.
        let value = self.flat.get(key)?;
        match self.link.replaced().find_map(|previous| previous.get(key)) {
            Some(old) => Ok(old.clone()),
            None => Ok(value),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, limit: usize) -> Result<Vec<Entry>, StoreError> {
        scan_with_old(&self.flat, from, to, order, limit, |from, to| {
            let mut old = Changes::new();
            for previous in self.link.replaced() {
                for (key, value) in previous.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
                    old.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            Ok(old)
        })
    }
}

/// Says whether the undo records of a height are still those that were there when a reader was made.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// Oldest height whose records are kept.
    pub(crate) oldest: Arc<AtomicU64>,
    /// Reorganisations so far.
    pub(crate) generation: Arc<AtomicU64>,
    /// Reorganisations when the reader was made.
    pub(crate) taken: u64,
}

impl Kept {
    /// Says why what was read about a height may be wrong or missing; `None` while it is what it was.
    pub(crate) fn outdated(&self, height: Height) -> Option<StoreError> {
        let oldest = Height::new(self.oldest.load(Ordering::SeqCst));
        if height < oldest {
            return Some(StoreError::Pruned { height, oldest });
        }
        let reorganized = self.generation.load(Ordering::SeqCst) != self.taken;
        reorganized.then_some(StoreError::Reorganized { height })
    }
}

/// State at a height before the head, from the undo records.
pub(crate) struct HistoricState<S> {
    store: Arc<S>,
    /// State at `head`.
    newer: Snapshot<S>,
    height: Height,
    head: Height,
    kept: Kept,
}

impl<S: KeyValueStore> HistoricState<S> {
    pub(crate) fn new(store: Arc<S>, newer: Snapshot<S>, height: Height, head: Height, kept: Kept) -> Self {
        Self { store, newer, height, head, kept }
    }

    /// Blocks whose effects this state does not have.
    fn later(&self) -> impl Iterator<Item = Height> {
        (self.height.get() + 1..=self.head.get()).map(Height::new)
    }

    /// Refuses what was read from records that may have been removed or replaced meanwhile, and errors that come
    /// of it.
    fn checked<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        self.kept.outdated(self.height).map_or(read, Err)
    }

    fn get_unchecked(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        for height in self.later() {
            let mut run = self.run_at(height, key)?;
            if let Ok(at) = run.binary_search_by(|(other, _)| other.as_slice().cmp(key)) {
                return Ok(run.swap_remove(at).1);
            }
        }
        self.newer.get(key)
    }

    /// Returns the run of a block that may hold `key`.
    fn run_at(&self, height: Height, key: &[u8]) -> Result<UndoRun, StoreError> {
        let end = [records::undo_key(height, key).as_slice(), &[0]].concat();
        let from = records::height_key(height);
        match self.store.scan(Column::Undo, &from, Some(&end), Order::Descending, 1)?.pop() {
            Some((key, bytes)) => records::decode(Column::Undo, &key, &bytes),
            None => Ok(UndoRun::new()),
        }
    }

    /// Adds the entries of a block within a range, unless an older block has one.
    fn collect(&self, height: Height, from: &[u8], to: &[u8], old: &mut Changes) -> Result<(), StoreError> {
        const PAGE: usize = 64;
        let mut run = self.run_at(height, from)?;
        let end = records::undo_key(height, to);
        let mut cursor = [records::undo_key(height, from).as_slice(), &[0]].concat();
        let mut page = Vec::new().into_iter();
        loop {
            for (key, value) in run {
                if key.as_slice() >= from && key.as_slice() < to {
                    old.entry(key).or_insert(value);
                }
            }
            if page.len() == 0 {
                let next = self.store.scan(Column::Undo, &cursor, Some(&end), Order::Ascending, PAGE)?;
                if let Some((last, _)) = next.last() {
                    cursor = [last.as_slice(), &[0]].concat();
                }
                page = next.into_iter();
            }
            match page.next() {
                Some((key, bytes)) => run = records::decode(Column::Undo, &key, &bytes)?,
                None => return Ok(()),
            }
        }
    }
}

impl<S: KeyValueStore> StateReader for HistoricState<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.checked(self.get_unchecked(key))
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let entries = scan_with_old(&self.newer, from, to, order, limit, |from, to| {
            let mut old = Changes::new();
            for height in self.later() {
                self.collect(height, from, to, &mut old)?;
            }
            Ok(old)
        });
        self.checked(entries)
    }
}

/// Scans `base` in pages and lets older values win. `old` gives those of a range and is asked after the page of
/// that range was read.
fn scan_with_old(
    base: &dyn StateReader,
    from: &[u8],
    to: &[u8],
    order: Order,
    limit: usize,
    old: impl Fn(&[u8], &[u8]) -> Result<Changes, StoreError>,
) -> Result<Vec<Entry>, StoreError> {
    let (mut from, mut to) = (from.to_vec(), to.to_vec());
    let mut out = Vec::new();
    while out.len() < limit && from < to {
        let page = base.scan(&from, &to, order, limit)?;
        // The part of the range that this page is about, and the part that is left.
        let (part, rest) = match page.last() {
            Some((last, _)) if page.len() == limit => match order {
                Order::Ascending => {
                    let next = [last.as_slice(), &[0]].concat();
                    ((from, next.clone()), (next, to))
                }
                Order::Descending => ((last.clone(), to), (from, last.clone())),
            },
            _ => ((from, to), (Vec::new(), Vec::new())),
        };
        let old = old(&part.0, &part.1)?;
        if old.is_empty() {
            out.extend(page);
        } else {
            let mut entries: Changes = page.into_iter().map(|(key, value)| (key, Some(value))).collect();
            entries.extend(old);
            let present = entries.into_iter().filter_map(|(key, value)| Some((key, value?)));
            match order {
                Order::Ascending => out.extend(present),
                Order::Descending => out.extend(present.rev()),
            }
        }
        (from, to) = rest;
    }
    out.truncate(limit);
    Ok(out)
}
