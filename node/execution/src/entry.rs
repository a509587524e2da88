//! Applications ready to be called.

use parking_lot::Mutex;
use purlin_capabilities::Module;
use purlin_modules::apps::{AppRecord, storage_bytes_key};
use purlin_primitives::{AccountId, AppId, app_account};
use purlin_state::{StateKey, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::host::CallHost;

/// Most applications kept ready over blocks; when one more comes all are forgotten, which costs decoding.
const ENTRIES_MAX: usize = 1_024;

/// A decoded record and what is derived from it once instead of at every call.
pub(crate) struct AppEntry {
    pub(crate) record: AppRecord,
    /// The application's own account.
    pub(crate) account: AccountId,
    /// Start of every key in its storage.
    pub(crate) storage_prefix: Vec<u8>,
    /// Where the size of its storage is counted.
    pub(crate) storage_bytes_key: Vec<u8>,
    /// Its code, once it was called.
    pub(crate) module: OnceLock<Module<CallHost>>,
}

impl AppEntry {
    fn new(record: AppRecord) -> Self {
        Self {
            account: app_account(&record.id),
            storage_prefix: StateKey::app_storage(&record.id, &[]),
            storage_bytes_key: storage_bytes_key(&record.id),
            module: OnceLock::new(),
            record,
        }
    }
}

/// Keeps entries over blocks. One is used only when the record in state is, byte for byte, the one it was made
/// from: so it cannot matter which blocks or queries were executed before.
#[derive(Default)]
pub(crate) struct Entries {
    // Never iterated.
    by_id: Mutex<HashMap<AppId, Kept>>,
}

struct Kept {
    bytes: Box<[u8]>,
    entry: Arc<AppEntry>,
}

impl Entries {
    /// Returns the entry of a stored record.
    pub(crate) fn get(&self, id: &AppId, bytes: &[u8]) -> Result<Arc<AppEntry>, StoreError> {
        let mut by_id = self.by_id.lock();
        if let Some(kept) = by_id.get(id).filter(|kept| *kept.bytes == *bytes) {
            return Ok(kept.entry.clone());
        }
        let entry = Arc::new(AppEntry::new(AppRecord::decode(bytes)?));
        if by_id.len() >= ENTRIES_MAX {
            by_id.clear();
        }
        by_id.insert(id.clone(), Kept { bytes: bytes.into(), entry: entry.clone() });
        Ok(entry)
    }
}
