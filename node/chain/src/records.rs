//! Keys and values of the stored chain; drawn in node/storage/FORMAT.md.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_primitives::{AppId, BlockId, ChainId, Event, Hash32, Height, TimestampMs, TransactionId};
use purlin_state::{Column, StoreError};

/// Transactions, receipts and events are stored in runs of this many: one look-up reads one run, and a block of
/// thousands is tens of records. Part of the format.
pub(crate) const RUN_LENGTH: usize = 64;

/// A run of undo entries ends when it has this many bytes. May change freely: readers search.
pub(crate) const UNDO_RUN_BYTES: usize = 4096;

pub(crate) const META_FORMAT: &[u8] = b"format";
pub(crate) const META_CHAIN: &[u8] = b"chain";
pub(crate) const META_GENESIS: &[u8] = b"genesis";
pub(crate) const META_HEAD: &[u8] = b"head";
/// How far back blocks are kept; absent while all are.
pub(crate) const META_HISTORY: &[u8] = b"history";
/// Progress of a snapshot that is being installed; absent in a chain.
pub(crate) const META_SNAPSHOT: &[u8] = b"snapshot";
/// Before the height of a turnover.
const META_TURNOVER: &[u8] = b"turnover";

/// Where a chain ends.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Head {
    /// Height of the last block; 0 when there is only the genesis.
    pub height: Height,
    /// Id of the last block; the genesis id at height 0.
    pub block: BlockId,
    /// Time of the last block; of the genesis at height 0.
    pub time: TimestampMs,
    /// Root of the state after the last block: `state_root` of the next header.
    pub state_root: Hash32,
    /// Root of the last block's receipts: `receipts_root` of the next header.
    pub receipts_root: Hash32,
    /// Transactions since the genesis.
    pub transactions: u64,
    /// Oldest height whose state can be read.
    pub oldest_state: Height,
    /// Oldest height whose state can be proven.
    pub oldest_proof: Height,
}

/// Which chain the data is of.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct ChainRecord {
    pub(crate) chain_id: ChainId,
    pub(crate) genesis: BlockId,
}

/// An event with where it came from.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct StoredEvent {
    pub(crate) transaction: TransactionId,
    pub(crate) position: u32,
    pub(crate) event: Event,
}

/// Entries of an undo run: keys in order, each with its value before the block.
pub(crate) type UndoRun = Vec<(Vec<u8>, Option<Vec<u8>>)>;

pub(crate) fn height_key(height: Height) -> [u8; 8] {
    height.get().to_be_bytes()
}

/// Key of a run: `height u64 BE || first u32 BE`.
pub(crate) fn run_key(height: Height, first: usize) -> [u8; 12] {
    let first = u32::try_from(first).expect("a block has fewer than 2^32 entries of any kind");
    let mut key = [0; 12];
    key[..8].copy_from_slice(&height_key(height));
    key[8..].copy_from_slice(&first.to_be_bytes());
    key
}

/// Key of the proof of who decides after the first block of an epoch.
pub(crate) fn turnover_key(height: Height) -> Vec<u8> {
    [META_TURNOVER, &height_key(height)].concat()
}

pub(crate) fn header_key(height: Height) -> [u8; 9] {
    let mut key = [0; 9];
    key[..8].copy_from_slice(&height_key(height));
    key
}

/// Key of a run of transactions: `height u64 BE || 0x01 || first u32 BE`.
pub(crate) fn transactions_key(height: Height, first: usize) -> [u8; 13] {
    let run = run_key(height, first);
    let mut key = [1; 13];
    key[..8].copy_from_slice(&run[..8]);
    key[9..].copy_from_slice(&run[8..]);
    key
}

pub(crate) fn transaction_index_key(transaction: &TransactionId) -> [u8; 33] {
    let mut key = [0; 33];
    key[1..].copy_from_slice(transaction.as_bytes());
    key
}

pub(crate) fn block_index_key(block: &BlockId) -> [u8; 33] {
    let mut key = [1; 33];
    key[1..].copy_from_slice(block.as_bytes());
    key
}

/// Key of an application's events in one block: `length u8 || app id || height u64 BE`.
pub(crate) fn app_events_key(app: &AppId, height: Height) -> Vec<u8> {
    let id = app.as_str().as_bytes();
    let length = u8::try_from(id.len()).expect("an application id has at most 63 characters");
    [&[length], id, &height_key(height)].concat()
}

/// Key of an undo run: `height u64 BE || its first state key`.
pub(crate) fn undo_key(height: Height, first: &[u8]) -> Vec<u8> {
    [&height_key(height), first].concat()
}

pub(crate) fn encode<T: BorshSerialize + ?Sized>(value: &T) -> Vec<u8> {
    borsh::to_vec(value).expect("writing to memory cannot fail")
}

/// Reads a stored record; what does not decode is damage, because we wrote it.
pub(crate) fn decode<T: BorshDeserialize>(column: Column, key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    T::try_from_slice(bytes).map_err(|error| damaged(column, key, error.to_string()))
}

pub(crate) fn damaged(column: Column, key: &[u8], detail: impl Into<String>) -> StoreError {
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    StoreError::Corrupt { place: format!("column {}, key 0x{digits}", column.name()), detail: detail.into() }
}

/// Reads the height at the start of a key.
pub(crate) fn height_of(column: Column, key: &[u8]) -> Result<Height, StoreError> {
    match key.split_first_chunk::<8>() {
        Some((height, _)) => Ok(Height::new(u64::from_be_bytes(*height))),
        None => Err(damaged(column, key, "the key is too short")),
    }
}
