//! What comes back from a call.

use alloc::string::String;
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::{AppId, FailureCode};

/// Result of a call as the caller sees it: borsh bytes, or why not.
pub type CallOutcome = Result<Vec<u8>, CallFailure>;

/// Says why a call had no effect.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct CallFailure {
    /// Stable, documented code.
    pub code: FailureCode,
    /// The application in which it happened; `None` outside any application.
    pub app: Option<AppId>,
    /// One sentence for a person; never parsed by programs.
    pub message: String,
    /// The application's own error number, with [`FailureCode::AppError`].
    pub app_code: Option<u32>,
    /// The application's own error value in borsh, with [`FailureCode::AppError`].
    pub app_error: Vec<u8>,
}

impl CallFailure {
    /// Makes a failure that carries no application error.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, app: None, message: message.into(), app_code: None, app_error: Vec::new() }
    }

    /// Says in which application it happened, unless that is known already.
    pub fn in_app(mut self, app: &AppId) -> Self {
        self.app.get_or_insert_with(|| app.clone());
        self
    }
}

/// One key and value of a scan.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StorageEntry {
    /// The key as the application wrote it.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}
