//! Defines the HTTP API's requests, answers and error codes, shared by server and client.
//!
//! ```
//! use purlin_api::{ErrorCode, Problem};
//! let problem = Problem::new(ErrorCode::AppNotFound, "no application `tokn` is installed");
//! assert_eq!(problem.status, 404);
//! assert_eq!(problem.error_code(), Some(ErrorCode::AppNotFound));
//! ```
//!
//! Every JSON name is snake_case; ids and bytes are `0x` hexadecimal, amounts decimal strings, heights, gas and
//! times numbers. Types whose names end in `View` mirror a type of `purlin-primitives` or `purlin-abi`.
#![forbid(unsafe_code)]

mod account;
mod app;
mod block;
mod device;
mod event;
mod hex;
mod network;
mod problem;
mod status;
mod transaction;
mod validator;

pub use account::AccountView;
pub use app::{
    AppLimits, AppPage, AppStatus, AppView, DependencyView, ProofView, QueryRequest, QueryResult, StateView,
};
pub use block::{BlockPage, BlockSummary, BlockTransaction, BlockView, HeaderView};
pub use device::{DeviceKeyView, DevicePage, DeviceView};
pub use event::{EventCursor, EventPage, EventView, ParseCursorError};
pub use hex::{HexBytes, ParseHexError};
pub use network::{PeerList, PeerView};
pub use problem::{ErrorCode, PROBLEM_CONTENT_TYPE, Problem};
pub use status::{ChainParameters, MempoolStatus, PowStatus, SnapshotProgressView, Status, SyncState};
pub use transaction::{
    ActionOutput, ActionView, BatchItem, BatchResult, BodyView, FailureView, OutcomeView, ReceiptEvent,
    ReceiptView, SimulateRequest, SimulateResult, SubmitBatchRequest, SubmitRequest, Submitted,
    TransactionPlace, TransactionView,
};
pub use validator::{ValidatorPage, ValidatorState, ValidatorView};
