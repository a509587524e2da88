//! Turns every failure into Problem Details.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use purlin_api::{ErrorCode, PROBLEM_CONTENT_TYPE, Problem};

use crate::{NodeError, SubmitError};

/// An error answer.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Problem>);

impl ApiError {
    /// Makes the error of a code.
    pub(crate) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(code, detail)))
    }

    /// Replaces the hint.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = hint.into();
        self
    }

    /// Returns what the client sees.
    pub(crate) fn into_problem(self) -> Problem {
        *self.0
    }
}

impl From<NodeError> for ApiError {
    fn from(error: NodeError) -> Self {
        let code = match &error {
            NodeError::Stopping => ErrorCode::Stopping,
            NodeError::NotReady { .. } => ErrorCode::NotReady,
            NodeError::Busy { .. } => ErrorCode::Busy,
            NodeError::BlockPruned { .. } => ErrorCode::BlockPruned,
            NodeError::HeightUnavailable { .. } => ErrorCode::HeightUnavailable,
            NodeError::CursorGone { .. } => ErrorCode::CursorGone,
            NodeError::TooBroad { detail } => {
                return Self::new(ErrorCode::BadRequest, detail).with_hint("ask for less: narrow the filter");
            }
            NodeError::Fault { detail } => {
                // Paths and backend messages are for the operator, not for clients.
                tracing::error!(%detail, "a request failed inside the node");
                return Self::new(
                    ErrorCode::Internal,
                    "the node could not answer because of a fault of its own",
                );
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Refused { code, detail } => Self::new(code, detail),
            SubmitError::Node(error) => error.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).expect("a problem has only strings and numbers");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_CONTENT_TYPE));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
