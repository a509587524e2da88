//! The state of a native chain, and how a failed call is undone.

use std::collections::BTreeMap;

use purlin_abi::test_host::{BLOCK_INTERVAL_MS, EmittedEvent, GENESIS_TIME};
use purlin_abi::{AccountId, Amount, AppId, DeviceId, DeviceRecord, Event, Height, Manifest, TimestampMs};

/// Runs an export of an application; see [`purlin_sdk::App::dispatch`].
pub(crate) type Dispatch = fn(&str) -> bool;

/// An installed application.
#[derive(Clone)]
pub(super) struct AppEntry {
    pub(super) owner: AccountId,
    pub(super) manifest: Manifest,
    pub(super) dispatch: Dispatch,
    pub(super) running: bool,
}

/// A call in progress.
pub(super) struct Frame {
    pub(super) app: AppId,
    pub(super) caller: AccountId,
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    pub(super) deposit: Amount,
    pub(super) read_only: bool,
}

/// How to undo one change.
enum Undo {
    Storage { app: AppId, key: Vec<u8>, value: Option<Vec<u8>> },
    Balance { account: AccountId, amount: Amount },
}

/// Where to roll back to.
pub(super) struct Checkpoint {
    journal: usize,
    events: usize,
}

/// Height and time of the head, and of the block that comes next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    head: (Height, TimestampMs),
    chosen: Option<(Height, TimestampMs)>,
}

impl Clock {
    fn new() -> Self {
        Self { head: (Height::ZERO, GENESIS_TIME), chosen: None }
    }

    /// What the next block has.
    pub(super) fn next(&self) -> (Height, TimestampMs) {
        let (height, time) = self.head;
        self.chosen.unwrap_or((height.next(), time.saturating_add(TimestampMs::new(BLOCK_INTERVAL_MS))))
    }

    /// What a query sees.
    pub(super) fn view(&self) -> (Height, TimestampMs) {
        self.chosen.unwrap_or(self.head)
    }

    /// Chooses what the next block has.
    pub(super) fn choose(&mut self, height: Option<Height>, time: Option<TimestampMs>) -> Result<(), String> {
        let next = self.next();
        let (height, time) = (height.unwrap_or(next.0), time.unwrap_or(next.1));
        if height <= self.head.0 {
            return Err(format!("height {height} is not above the head, which is {}", self.head.0));
        }
        if time < self.head.1 {
            return Err(format!("time {time} is before that of the head, which is {}", self.head.1));
        }
        self.chosen = Some((height, time));
        Ok(())
    }

    /// Makes blocks.
    pub(super) fn advance(&mut self, blocks: u64) -> Result<(), String> {
        let Some(after_first) = blocks.checked_sub(1) else { return Ok(()) };
        let (height, time) = self.next();
        let height = height.checked_add(Height::new(after_first));
        let passed = after_first.checked_mul(BLOCK_INTERVAL_MS).map(TimestampMs::new);
        let time = passed.and_then(|passed| time.checked_add(passed));
        let (Some(height), Some(time)) = (height, time) else {
            return Err(format!("{blocks} blocks lead past the last height or time there is"));
        };
        self.head = (height, time);
        self.chosen = None;
        Ok(())
    }
}

/// Everything a native chain knows.
pub(super) struct World {
    pub(super) apps: BTreeMap<AppId, AppEntry>,
    pub(super) devices: BTreeMap<DeviceId, DeviceRecord>,
    pub(super) clock: Clock,
    /// Block of the transaction or query that runs.
    pub(super) block: (Height, TimestampMs),
    /// Blocks on top that make a block final.
    pub(super) confirmation_depth: u64,
    /// Calls in progress, the outermost first.
    pub(super) frames: Vec<Frame>,
    /// Events of the running transaction.
    pub(super) events: Vec<Event>,
    /// Events of all blocks.
    pub(super) history: Vec<EmittedEvent>,
    /// Log lines of the running transaction.
    pub(super) log: Vec<String>,
    storage: BTreeMap<AppId, BTreeMap<Vec<u8>, Vec<u8>>>,
    /// Bytes of keys and values, by application.
    usage: BTreeMap<AppId, u64>,
    balances: BTreeMap<AccountId, Amount>,
    journal: Vec<Undo>,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = Clock::new();
        Self {
            apps: BTreeMap::new(),
            devices: BTreeMap::new(),
            clock,
            block: clock.view(),
            confirmation_depth: 0,
            frames: Vec::new(),
            events: Vec::new(),
            history: Vec::new(),
            log: Vec::new(),
            storage: BTreeMap::new(),
            usage: BTreeMap::new(),
            balances: BTreeMap::new(),
            journal: Vec::new(),
        }
    }

    pub(super) fn checkpoint(&self) -> Checkpoint {
        Checkpoint { journal: self.journal.len(), events: self.events.len() }
    }

    /// Undoes every change since the checkpoint, the last one first.
    pub(super) fn rollback(&mut self, checkpoint: &Checkpoint) {
        self.events.truncate(checkpoint.events);
        for undo in self.journal.split_off(checkpoint.journal).into_iter().rev() {
            match undo {
                Undo::Storage { app, key, value } => {
                    self.put(&app, key, value);
                }
                Undo::Balance { account, amount } => {
                    self.balances.insert(account, amount);
                }
            }
        }
    }

    /// Forgets how to undo: the transaction is over.
    pub(super) fn commit(&mut self) {
        self.journal.clear();
    }

    pub(super) fn storage_of(&self, app: &AppId) -> Option<&BTreeMap<Vec<u8>, Vec<u8>>> {
        self.storage.get(app)
    }

    pub(super) fn get(&self, app: &AppId, key: &[u8]) -> Option<&Vec<u8>> {
        self.storage.get(app)?.get(key)
    }

    /// Sets or removes a key and returns what it held.
    pub(super) fn set(&mut self, app: &AppId, key: &[u8], value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let before = self.put(app, key.to_vec(), value);
        self.journal.push(Undo::Storage { app: app.clone(), key: key.to_vec(), value: before.clone() });
        before
    }

    fn put(&mut self, app: &AppId, key: Vec<u8>, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let size =
            |value: &Option<Vec<u8>>| value.as_ref().map_or(0, |value| (key.len() + value.len()) as u64);
        let added = size(&value);
        let entries = self.storage.entry(app.clone()).or_default();
        let before = match value {
            Some(value) => entries.insert(key.clone(), value),
            None => entries.remove(&key),
        };
        let usage = self.usage.entry(app.clone()).or_default();
        *usage = *usage + added - size(&before);
        before
    }

    /// Returns the bytes that an application's keys and values take.
    pub(super) fn usage(&self, app: &AppId) -> u64 {
        self.usage.get(app).copied().unwrap_or_default()
    }

    pub(super) fn clear_storage(&mut self, app: &AppId) {
        self.storage.remove(app);
        self.usage.remove(app);
    }

    pub(super) fn balance(&self, account: &AccountId) -> Amount {
        self.balances.get(account).copied().unwrap_or_default()
    }

    fn set_balance(&mut self, account: AccountId, amount: Amount) {
        let before = self.balances.insert(account, amount).unwrap_or_default();
        self.journal.push(Undo::Balance { account, amount: before });
    }

    /// Makes native units; `false` when all units together would leave the range of an amount.
    pub(super) fn mint(&mut self, account: AccountId, amount: Amount) -> bool {
        let total = self.balances.values().try_fold(amount, |sum, balance| sum.checked_add(*balance));
        if total.is_some() {
            self.set_balance(account, self.balance(&account).saturating_add(amount));
        }
        total.is_some()
    }

    /// Moves native units; `false` when there are too few.
    pub(super) fn transfer(&mut self, from: AccountId, to: AccountId, amount: Amount) -> bool {
        let Some(rest) = self.balance(&from).checked_sub(amount) else { return false };
        self.set_balance(from, rest);
        let sum = self.balance(&to).checked_add(amount).expect("all units together fit, so one account's do");
        self.set_balance(to, sum);
        true
    }
}
