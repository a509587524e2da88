//! Events.

use alloc::string::String;
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::AppId;

/// Something an application says happened; part of the receipt, delivered by cursor.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Event {
    /// Who emitted it.
    pub app: AppId,
    /// What kind, by the application's schema.
    pub topic: String,
    /// Borsh of the event's fields.
    pub payload: Vec<u8>,
}
