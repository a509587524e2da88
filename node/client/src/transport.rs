//! HTTP/1.1 over TCP or a unix socket, with connections kept alive.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use purlin_api::Problem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::{ClientError, Endpoint};

/// Idle connections kept; more are closed.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// Largest answer read, in bytes; the node's own pages are far smaller.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long to wait for an answer unless the request says otherwise.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

type Sender = SendRequest<Full<Bytes>>;

/// A body and its content type.
pub(crate) enum Content {
    Nothing,
    Json(Vec<u8>),
    Binary(Vec<u8>),
}

/// Sends requests to one endpoint.
#[derive(Debug)]
pub(crate) struct Transport {
    endpoint: Endpoint,
    token: Option<String>,
    idle: Mutex<Vec<Sender>>,
}

impl Transport {
    pub(crate) fn new(endpoint: Endpoint, token: Option<String>) -> Self {
        Self { endpoint, token, idle: Mutex::new(Vec::new()) }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a request and reads the whole answer; a status of 400 or more is a [`ClientError::Refused`].
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        content: Content,
        timeout: Duration,
    ) -> Result<Bytes, ClientError> {
        let exchange = async {
            let (answer, sender) = self.exchange(method, path, content, &[]).await?;
            let status = answer.status();
            let bytes = self.read(answer).await?;
            self.keep(sender);
            if status.is_client_error() || status.is_server_error() {
                return Err(self.problem(status, &bytes));
            }
            Ok(bytes)
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| {
            Err(ClientError::Timeout { endpoint: self.endpoint.to_string(), seconds: timeout.as_secs() })
        })
    }

    /// Opens a stream of server-sent events; the connection is closed when the body is dropped.
    pub(crate) async fn open_stream(
        &self,
        path: &str,
        last_id: Option<&str>,
    ) -> Result<Incoming, ClientError> {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last_id.map(|id| ("last-event-id", id)));
        let opening = self.exchange(Method::GET, path, Content::Nothing, &headers);
        let (answer, _) = tokio::time::timeout(TIMEOUT, opening).await.map_err(|_| {
            ClientError::Timeout { endpoint: self.endpoint.to_string(), seconds: TIMEOUT.as_secs() }
        })??;
        let status = answer.status();
        if status != StatusCode::OK {
            let bytes = self.read(answer).await?;
            return Err(self.problem(status, &bytes));
        }
        Ok(answer.into_body())
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        content: Content,
        headers: &[(&str, &str)],
    ) -> Result<(Response<Incoming>, Sender), ClientError> {
        let (kind, body) = match content {
            Content::Nothing => (None, Bytes::new()),
            Content::Json(bytes) => (Some("application/json"), bytes.into()),
            Content::Binary(bytes) => (Some("application/octet-stream"), bytes.into()),
        };
        let build = || {
            let host = match &self.endpoint {
                Endpoint::Unix(_) => "localhost",
                Endpoint::Http(authority) => authority,
            };
            let mut request = Request::builder().method(method.clone()).uri(path).header(HOST, host);
            if headers.is_empty() {
                request = request.header(ACCEPT, "application/json");
            }
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(token) = &self.token {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            if let Some(kind) = kind {
                request = request.header(CONTENT_TYPE, kind);
            }
            request.body(Full::new(body.clone())).map_err(|error| self.unreachable(error))
        };
        // A kept connection may have been closed by the node meanwhile; hyper hands the request back unsent then,
        // so that trying a new one never submits twice.
        while let Some(mut sender) = self.take_idle() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(build()?).await {
                Ok(answer) => return Ok((answer, sender)),
                Err(mut error) => {
                    if error.take_message().is_none() {
                        return Err(self.unreachable(error.into_error()));
                    }
                }
            }
        }
        let mut sender = self.connect().await?;
        let answer = sender.send_request(build()?).await.map_err(|error| self.unreachable(error))?;
        Ok((answer, sender))
    }

    async fn connect(&self) -> Result<Sender, ClientError> {
        match &self.endpoint {
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| self.unreachable(error))?;
                self.shake_hands(stream).await
            }
            Endpoint::Http(authority) => {
                let stream = TcpStream::connect(authority).await.map_err(|error| self.unreachable(error))?;
                stream.set_nodelay(true).map_err(|error| self.unreachable(error))?;
                self.shake_hands(stream).await
            }
        }
    }

    async fn shake_hands<S>(&self, stream: S) -> Result<Sender, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| self.unreachable(error))?;
        // Ends with the connection; its error reaches whoever waits for an answer.
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn read(&self, answer: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let collected = body.collect().await.map_err(|error| self.unreachable(error))?;
        Ok(collected.to_bytes())
    }

    fn take_idle(&self) -> Option<Sender> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !sender.is_closed() && idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(sender);
        }
    }

    fn problem(&self, status: StatusCode, bytes: &[u8]) -> ClientError {
        match serde_json::from_slice::<Problem>(bytes) {
            Ok(problem) => ClientError::Refused(Box::new(problem)),
            Err(_) => self.bad_answer(format!("status {status} without Problem Details")),
        }
    }

    pub(crate) fn bad_answer(&self, reason: impl ToString) -> ClientError {
        ClientError::BadAnswer { endpoint: self.endpoint.to_string(), reason: reason.to_string() }
    }

    pub(crate) fn unreachable(&self, reason: impl ToString) -> ClientError {
        ClientError::Unreachable { endpoint: self.endpoint.to_string(), reason: reason.to_string() }
    }
}
