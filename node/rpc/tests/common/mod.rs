//! A server over a fake node, and a bare HTTP client that shows answers as they are.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions; these are called by them")]

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use purlin_primitives::{
    Action, Amount, AppId, ChainId, Gas, Height, SecretKey, Transaction, TransactionBody,
};
use purlin_rpc::testing::FakeNode;
use purlin_rpc::{Node, RpcLimits, Scope, Server, ServerConfig, TokenStore};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running server.
pub(crate) struct Setup {
    pub(crate) node: Arc<FakeNode>,
    pub(crate) address: SocketAddr,
    pub(crate) socket: PathBuf,
    pub(crate) read: String,
    pub(crate) submit: String,
    pub(crate) admin: String,
    pub(crate) home: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl Setup {
    pub(crate) async fn new() -> Self {
        Self::with(RpcLimits::default()).await
    }

    pub(crate) async fn with(limits: RpcLimits) -> Self {
        let home = tempfile::tempdir().unwrap();
        let tokens = home.path().join("tokens.json");
        let store = TokenStore::open(&tokens).unwrap();
        let [read, submit, admin] = [Scope::Read, Scope::Submit, Scope::Admin]
            .map(|scope| store.create(scope.as_str(), scope).unwrap());
        let socket = home.path().join("node.sock");
        let tcp = Some("127.0.0.1:0".parse().unwrap());
        let server = Server::bind(ServerConfig { tcp, unix: Some(socket.clone()), tokens, limits }).unwrap();
        let address = server.tcp_address().unwrap();
        let node = FakeNode::new("test");
        let (stop, stopped) = oneshot::channel::<()>();
        let served: Arc<dyn Node> = node.clone();
        let task = tokio::spawn(server.serve(served, async {
            let _ = stopped.await;
        }));
        Self { node, address, socket, read, submit, admin, home, stop: Some(stop), task: Some(task) }
    }

    /// Stops the server and waits for it.
    pub(crate) async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), self.task.take().unwrap()).await;
        ended.expect("the server must stop").unwrap();
    }

    /// Sends a request over TCP with the admin token.
    pub(crate) async fn send(&self, method: &str, path: &str, kind: &str, body: impl Into<Bytes>) -> Answer {
        self.send_as(Some(&self.admin), method, path, kind, body).await
    }

    /// Sends a request over TCP with a token, or without.
    pub(crate) async fn send_as(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        kind: &str,
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        Answer::of(exchange(TcpStream::connect(self.address).await.unwrap(), request).await).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "").await
    }

    /// Opens a stream and reads its frames as text.
    pub(crate) async fn stream(&self, path: &str, last_event_id: Option<&str>) -> Frames {
        let mut request = Request::builder()
            .uri(path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", self.read));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let response = exchange(TcpStream::connect(self.address).await.unwrap(), request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Frames { body: response.into_body(), buffer: String::new() }
    }

    pub(crate) async fn get_unix(&self, path: &str) -> Answer {
        let request = Request::builder().uri(path).header("host", "localhost").body(Full::new(Bytes::new()));
        Answer::of(exchange(UnixStream::connect(&self.socket).await.unwrap(), request.unwrap()).await).await
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Response<Incoming>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = tokio::time::timeout(Duration::from_secs(20), sender.send_request(request));
    answer.await.expect("the server must answer").unwrap()
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    async fn of(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let kind = parts.headers.get("content-type").map_or("", |value| value.to_str().unwrap()).to_owned();
        let body = body.collect().await.unwrap().to_bytes();
        Self { status: parts.status.as_u16(), kind, headers: parts.headers, body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// Checks that it is a problem with this status and code, complete, and returns its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(
            (self.status, self.kind.as_str()),
            (status, "application/problem+json"),
            "{}",
            self.text()
        );
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:purlin:problem:{code}"));
        for field in ["title", "detail", "hint"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {problem}");
        }
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// Messages of a stream.
pub(crate) struct Frames {
    body: Incoming,
    buffer: String,
}

impl Frames {
    /// Returns the next message that carries data, as (event, id, data); `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
            };
            if !field("data").is_empty() {
                let data = serde_json::from_str(field("data")).unwrap();
                return Some((field("event").into(), field("id").into(), data));
            }
        }
    }

    /// Returns the next block of lines, comments included.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let block = block.to_owned();
                self.buffer = rest.to_owned();
                return Some(block);
            }
            let frame = tokio::time::timeout(Duration::from_secs(10), self.body.frame()).await;
            let frame = frame.expect("the stream must go on or end")?.ok()?;
            self.buffer.push_str(std::str::from_utf8(frame.data_ref()?).unwrap());
        }
    }
}

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32]).unwrap()
}

pub(crate) fn body(seed: u8, nonce: u64, actions: Vec<Action>) -> TransactionBody {
    TransactionBody {
        chain_id: "test".parse::<ChainId>().unwrap(),
        sender: key(seed).public_key().account_id(),
        nonce,
        expires_at: Height::new(1000),
        gas_limit: Gas::new(1_000_000),
        fee: Amount::ZERO,
        access: Vec::new(),
        actions,
    }
}

pub(crate) fn increment_action(by: u64) -> Action {
    let app: AppId = "counter".parse().unwrap();
    Action::CallApp {
        app,
        method: "increment".into(),
        arguments: borsh::to_vec(&by).unwrap(),
        deposit: Amount::ZERO,
    }
}

/// A signed call of `counter.increment`.
pub(crate) fn increment(seed: u8, nonce: u64, by: u64) -> Transaction {
    key(seed).sign_transaction(body(seed, nonce, vec![increment_action(by)]))
}

pub(crate) const BINARY: &str = "application/octet-stream";
pub(crate) const JSON: &str = "application/json";
