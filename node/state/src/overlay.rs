//! Collects the writes of a block over a state that does not change.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::merge::{ScanLimits, Scanned, merge_scan};
use crate::reader::{Changes, Entry, Order, StateReader};
use crate::store::StoreError;

/// A point of an [`Overlay`] to go back to. Checkpoints nest: rolling back to an outer one invalidates the
/// inner ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkpoint(usize);

/// What the state below holds under a key.
#[derive(Debug)]
enum Base {
    Unread,
    Read(Option<Vec<u8>>),
}

/// What was written here under a key.
#[derive(Debug)]
enum Written {
    Nothing,
    Value(Vec<u8>),
    Removal,
}

#[derive(Debug)]
struct Slot {
    key: Arc<[u8]>,
    base: Base,
    written: Written,
    /// Whether `ordered` or `unordered` names this slot.
    listed: bool,
}

#[derive(Debug)]
struct JournalEntry {
    slot: u32,
    previous: Written,
}

/// A writable view of a state: reads fall through to the base, writes stay here.
///
/// Every key is read from the base at most once, so a block sees one value whatever happens below. A checkpoint
/// costs nothing; a write costs one journal entry; rolling back costs one step per write undone. Point
/// operations are hash look-ups; keys are put in order only when something scans.
///
/// ```
/// use purlin_state::{EmptyState, Order, Overlay};
/// let mut overlay = Overlay::new(std::sync::Arc::new(EmptyState));
/// overlay.set(b"a", b"1");
/// let before = overlay.checkpoint();
/// overlay.set(b"a", b"2");
/// overlay.set(b"b", b"3");
/// overlay.rollback(before);
/// assert_eq!(overlay.get(b"a")?, Some(&b"1"[..]));
/// assert_eq!(overlay.scan(b"a", b"z", Order::Ascending, 10)?.len(), 1);
/// # Ok::<(), purlin_state::StoreError>(())
/// ```
pub struct Overlay {
    base: Arc<dyn StateReader>,
    slots: Vec<Slot>,
    // Never iterated: results must not depend on the hasher's seed, which keeps hostile keys from colliding.
    by_key: HashMap<Arc<[u8]>, u32>,
    /// The slot found last: who writes a key has most often just read it, and comparing is cheaper than hashing.
    last: u32,
    ordered: BTreeMap<Arc<[u8]>, u32>,
    unordered: Vec<u32>,
    journal: Vec<JournalEntry>,
}

impl Overlay {
    /// Starts with no writes.
    pub fn new(base: Arc<dyn StateReader>) -> Self {
        Self {
            base,
            slots: Vec::new(),
            by_key: HashMap::new(),
            last: 0,
            ordered: BTreeMap::new(),
            unordered: Vec::new(),
            journal: Vec::new(),
        }
    }

    /// Returns the state below.
    pub fn base(&self) -> &Arc<dyn StateReader> {
        &self.base
    }

    /// Returns a value, or `None` when the key is not there.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        let index = self.read(key)?;
        Ok(self.slots[index as usize].current())
    }

    /// Says whether a key is there.
    pub fn contains(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.get(key)?.is_some())
    }

    /// Writes a value.
    pub fn set(&mut self, key: &[u8], value: impl Into<Vec<u8>>) {
        let index = match self.find(key) {
            Some(index) => index,
            None => self.add(key, Base::Unread),
        };
        self.write(index, Written::Value(value.into()));
    }

    /// Removes a key and says whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        let index = self.read(key)?;
        let present = self.slots[index as usize].current().is_some();
        if present {
            self.write(index, Written::Removal);
        }
        Ok(present)
    }

    /// Returns at most `limit` entries with `from <= key < to`, in order, writes included.
    pub fn scan(
        &mut self,
        from: &[u8],
        to: &[u8],
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        Ok(self.scan_within(from, to, order, ScanLimits::entries(limit))?.entries)
    }

    /// As [`Overlay::scan`], and tells what was passed over: the same on every node that executes the block.
    pub fn scan_within(
        &mut self,
        from: &[u8],
        to: &[u8],
        order: Order,
        limits: ScanLimits,
    ) -> Result<Scanned, StoreError> {
        self.put_in_order();
        let slots = &self.slots;
        merge_scan(&*self.base, &self.ordered, from, to, order, limits, |index| {
            match &slots[*index as usize].written {
                Written::Nothing => None,
                Written::Value(value) => Some(Some(value)),
                Written::Removal => Some(None),
            }
        })
    }

    /// Marks this point, for [`Overlay::rollback`].
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint(self.journal.len())
    }

    /// Undoes every write since `checkpoint`. What was read stays known.
    pub fn rollback(&mut self, checkpoint: Checkpoint) {
        debug_assert!(checkpoint.0 <= self.journal.len(), "the checkpoint was rolled back before");
        while self.journal.len() > checkpoint.0 {
            let Some(entry) = self.journal.pop() else { return };
            self.slots[entry.slot as usize].written = entry.previous;
        }
    }

    /// Gives up the possibility to roll back, and the memory that it takes; for after a transaction.
    pub fn settle(&mut self) {
        self.journal.clear();
    }

    /// Returns what differs from the base. A write of the value that was there before is left out, so that the
    /// state root depends on the resulting state only, not on how it came about; keys written without having
    /// been read are read now to tell.
    pub fn into_changes(self) -> Result<Changes, StoreError> {
        Ok(self.into_changes_and_previous()?.0)
    }

    /// Returns what differs from the base, as [`Overlay::into_changes`], and what the base holds under the
    /// same keys.
    pub fn into_changes_and_previous(mut self) -> Result<(Changes, Changes), StoreError> {
        let mut new = Vec::new();
        let mut old = Vec::new();
        // Drops the other owners of the keys first.
        self.by_key = HashMap::new();
        self.ordered = BTreeMap::new();
        for slot in self.slots {
            let now = match slot.written {
                Written::Nothing => continue,
                Written::Value(value) => Some(value),
                Written::Removal => None,
            };
            let before = match slot.base {
                Base::Read(value) => value,
                Base::Unread => self.base.get(&slot.key)?,
            };
            if now != before {
                let key = slot.key.to_vec();
                old.push((key.clone(), before));
                new.push((key, now));
            }
        }
        Ok((new.into_iter().collect(), old.into_iter().collect()))
    }

    fn find(&mut self, key: &[u8]) -> Option<u32> {
        if self.slots.get(self.last as usize).is_some_and(|slot| *slot.key == *key) {
            return Some(self.last);
        }
        let index = *self.by_key.get(key)?;
        self.last = index;
        Some(index)
    }

    fn read(&mut self, key: &[u8]) -> Result<u32, StoreError> {
        if let Some(index) = self.find(key) {
            let slot = &mut self.slots[index as usize];
            if matches!((&slot.written, &slot.base), (Written::Nothing, Base::Unread)) {
                slot.base = Base::Read(self.base.get(key)?);
            }
            return Ok(index);
        }
        let value = self.base.get(key)?;
        Ok(self.add(key, Base::Read(value)))
    }

    fn add(&mut self, key: &[u8], base: Base) -> u32 {
        let index = u32::try_from(self.slots.len()).expect("gas bounds the keys of a block far below 2^32");
        let key: Arc<[u8]> = key.into();
        self.slots.push(Slot { key: key.clone(), base, written: Written::Nothing, listed: false });
        self.by_key.insert(key, index);
        self.last = index;
        index
    }

    fn write(&mut self, index: u32, written: Written) {
        let slot = &mut self.slots[index as usize];
        if !slot.listed {
            slot.listed = true;
            self.unordered.push(index);
        }
        let previous = std::mem::replace(&mut slot.written, written);
        self.journal.push(JournalEntry { slot: index, previous });
    }

    fn put_in_order(&mut self) {
        for index in self.unordered.drain(..) {
            self.ordered.insert(self.slots[index as usize].key.clone(), index);
        }
    }
}

impl Slot {
    fn current(&self) -> Option<&[u8]> {
        match (&self.written, &self.base) {
            (Written::Value(value), _) => Some(value),
            (Written::Removal, _) => None,
            (Written::Nothing, Base::Read(value)) => value.as_deref(),
            (Written::Nothing, Base::Unread) => unreachable!("read() fills the base of an unwritten slot"),
        }
    }
}

impl std::fmt::Debug for Overlay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay")
            .field("keys", &self.slots.len())
            .field("writes", &self.journal.len())
            .finish_non_exhaustive()
    }
}
