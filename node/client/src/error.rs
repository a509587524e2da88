//! How a request fails.

use purlin_abi::schema::SchemaError;
use purlin_api::{ErrorCode, Problem};

/// Says why a request gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection, or it broke before an answer.
    #[error("no node answers at {endpoint}: {reason}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What the operating system or the protocol said.
        reason: String,
    },
    /// The connection stands, and the answer does not come.
    #[error("{endpoint} did not answer in {seconds} s")]
    Timeout {
        /// Where.
        endpoint: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The node refused; see its code and hint.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// Something answers that is not a Purlin node of this version.
    #[error("{endpoint} gave an answer that cannot be read: {reason}")]
    BadAnswer {
        /// Where.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The application has no such method, or the arguments do not fit its schema.
    #[error(transparent)]
    Arguments(#[from] SchemaError),
}

impl ClientError {
    /// Returns the node's code, when it refused with a known one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(problem) => problem.error_code(),
            _ => None,
        }
    }
}
