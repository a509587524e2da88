//! Reads requests within limits; every failure is a problem that names the field or parameter.

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use purlin_api::ErrorCode;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::error::ApiError;

/// Bytes of a refused body that are read and thrown away, so that a client that is still sending sees the answer
/// instead of a reset connection.
const DRAIN_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Time spent on that.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Which kind of body a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// `application/json`.
    Json,
    /// `application/octet-stream`.
    Binary,
}

/// Decides how to read a body.
pub(crate) fn body_kind(headers: &HeaderMap) -> Result<BodyKind, ApiError> {
    let value = headers.get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"));
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/octet-stream") {
        Ok(BodyKind::Binary)
    } else if essence.eq_ignore_ascii_case("application/json") {
        Ok(BodyKind::Json)
    } else {
        let found =
            if value.is_empty() { "no content type".into() } else { format!("content type {value:?}") };
        Err(ApiError::new(ErrorCode::UnsupportedMediaType, format!("the request has {found}")))
    }
}

/// Reads a body of at most `bytes_max`, in at most `timeout`.
pub(crate) async fn read_body(
    request: Request<Body>,
    bytes_max: usize,
    timeout: Duration,
) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::new(
            ErrorCode::BodyTooLarge,
            format!("the body has more than the {bytes_max} bytes allowed here"),
        )
    };
    let waits_for_continue = request.headers().contains_key(header::EXPECT);
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
        .unwrap_or(0);
    let mut body = request.into_body();
    if declared > bytes_max as u64 {
        if !waits_for_continue {
            drain(&mut body).await;
        }
        return Err(too_large());
    }
    match tokio::time::timeout(timeout, Limited::new(&mut body, bytes_max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            drain(&mut body).await;
            Err(too_large())
        }
        Ok(Err(error)) => {
            Err(ApiError::new(ErrorCode::BadRequest, format!("the body could not be read: {error}")))
        }
        Err(_) => Err(ApiError::new(
            ErrorCode::RequestTimeout,
            format!("the body did not arrive within {} ms", timeout.as_millis()),
        )),
    }
}

async fn drain(body: &mut Body) {
    let discard = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
            left = rest;
        }
    };
    // Whether it ended or ran out of time, the answer is the same.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, discard).await;
}

/// Reads JSON; an error names the field.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        match inner.classify() {
            serde_json::error::Category::Data if path == "." => {
                ApiError::new(ErrorCode::WrongType, inner.to_string())
            }
            serde_json::error::Category::Data => {
                ApiError::new(ErrorCode::WrongType, format!("field `{path}`: {inner}"))
            }
            _ => ApiError::new(ErrorCode::MalformedJson, inner.to_string()),
        }
    })?;
    deserializer.end().map_err(|error| ApiError::new(ErrorCode::MalformedJson, error.to_string()))?;
    Ok(value)
}

/// Query parameters.
#[derive(Debug)]
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(value)| Self(value))
            .map_err(|rejection| ApiError::new(ErrorCode::BadRequest, rejection.body_text()))
    }
}

/// Segments of the path, percent-decoded, still to be parsed.
#[derive(Debug)]
pub(crate) struct Segments<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Path::<T>::from_request_parts(parts, state)
            .await
            .map(|Path(value)| Self(value))
            .map_err(|rejection| ApiError::new(ErrorCode::BadRequest, rejection.body_text()))
    }
}

/// Parses a path segment or parameter and names it when that fails.
pub(crate) fn parse<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error| ApiError::new(ErrorCode::BadRequest, format!("`{name}`: {error}")))
}

/// Answers with JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                let json = axum::http::HeaderValue::from_static("application/json");
                let mut response = Response::new(Body::from(body));
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                response
            }
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                ApiError::new(ErrorCode::Internal, "the answer could not be written as JSON").into_response()
            }
        }
    }
}
