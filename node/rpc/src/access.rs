//! Decides who may do what, before anything else looks at a request.

use axum::http::{HeaderMap, Method, header};
use purlin_api::ErrorCode;

use crate::error::ApiError;
use crate::{Scope, TokenStore};

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Loopback TCP: every local user reaches it, so tokens decide.
    Tcp,
    /// The unix socket: the file's mode decided already.
    Unix,
}

/// Returns the scope that a route needs; `None` for the open ones. Unknown routes need `read`, so that strangers
/// learn nothing.
fn required(method: &Method, path: &str) -> Option<Scope> {
    match path {
        "/livez" | "/readyz" => None,
        "/api/v1/transactions" | "/api/v1/transactions/batch" if method == Method::POST => {
            Some(Scope::Submit)
        }
        _ => Some(Scope::Read),
    }
}

/// Refuses a request without the right token.
pub(crate) fn check(
    listener: Listener,
    tokens: &TokenStore,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    if listener == Listener::Unix {
        return Ok(());
    }
    let Some(required) = required(method, path) else { return Ok(()) };
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Err(ApiError::new(ErrorCode::MissingToken, "the request has no Authorization header"));
    };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let Some(token) = token else {
        return Err(ApiError::new(ErrorCode::MissingToken, "the Authorization header is not `Bearer TOKEN`"));
    };
    match tokens.check(token) {
        None => Err(ApiError::new(ErrorCode::UnknownToken, "the token is not known to this node")),
        Some(scope) if scope < required => Err(ApiError::new(
            ErrorCode::ScopeTooSmall,
            format!("{method} {path} needs the scope `{required}`; the token has `{scope}`"),
        )),
        Some(_) => Ok(()),
    }
}
