//! Who may do what, and how many at once.

mod common;

use common::{BINARY, JSON, Setup, increment};
use purlin_rpc::testing::FakeNode;
use purlin_rpc::{BindError, RpcLimits, Server, ServerConfig};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn tcp_needs_a_token_with_the_right_scope() {
    let setup = Setup::new().await;
    for path in ["/api/v1/status", "/metrics", "/nowhere", "/api/v1/openapi.json"] {
        let answer = setup.send_as(None, "GET", path, "", "").await;
        answer.problem(401, "missing_token");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        setup.send_as(Some("purlin_guess"), "GET", path, "", "").await.problem(401, "unknown_token");
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(setup.send_as(None, "GET", path, "", "").await.status, 200, "{path}");
    }
    let transaction = increment(1, 0, 1).encode();
    let path = "/api/v1/transactions";
    let refused = setup.send_as(Some(&setup.read), "POST", path, BINARY, transaction.clone()).await;
    let detail = refused.problem(403, "scope_too_small");
    assert!(detail.contains("`submit`") && detail.contains("`read`"), "{detail}");
    let batch = setup.send_as(Some(&setup.read), "POST", "/api/v1/transactions/batch", BINARY, "").await;
    batch.problem(403, "scope_too_small");
    assert_eq!(setup.send_as(Some(&setup.read), "GET", "/api/v1/status", "", "").await.status, 200);
    assert_eq!(setup.send_as(Some(&setup.submit), "GET", "/api/v1/status", "", "").await.status, 200);
    assert_eq!(setup.send_as(Some(&setup.submit), "POST", path, BINARY, transaction).await.status, 202);
    assert_eq!(setup.send_as(Some(&setup.admin), "GET", "/metrics", "", "").await.status, 200);
    let simulate =
        setup.send_as(Some(&setup.read), "POST", "/api/v1/transactions/simulate", JSON, "{}").await;
    simulate.problem(422, "wrong_type");
}

#[tokio::test]
async fn the_unix_socket_needs_no_token_but_its_mode() {
    let mut setup = Setup::new().await;
    let mode = std::fs::metadata(&setup.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let status = setup.get_unix("/api/v1/status").await;
    assert_eq!(status.json()["chain_id"], "test");
    setup.get_unix("/nowhere").await.problem(404, "route_not_found");
    setup.stop().await;
    assert!(!setup.socket.exists(), "the socket file must go with the server");
}

#[tokio::test]
async fn addresses_that_cannot_be_served_are_refused_with_a_way_out() {
    let setup = Setup::new().await;
    let folder = setup.home.path();
    let config = |tcp: Option<&str>, unix: Option<std::path::PathBuf>| ServerConfig {
        tcp: tcp.map(|text| text.parse().unwrap()),
        unix,
        tokens: folder.join("tokens.json"),
        limits: RpcLimits::default(),
    };
    let error = Server::bind(config(Some("0.0.0.0:0"), None)).unwrap_err();
    assert!(matches!(error, BindError::NotLoopback { .. }) && error.to_string().contains("reverse proxy"));
    let error = Server::bind(config(Some(&setup.address.to_string()), None)).unwrap_err();
    assert!(matches!(error, BindError::PortInUse { .. }), "{error}");
    let error = Server::bind(config(None, Some(setup.socket.clone()))).unwrap_err();
    assert!(matches!(error, BindError::SocketInUse { .. }), "{error}");
    let error = Server::bind(config(None, Some(folder.join("tokens.json")))).unwrap_err();
    assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
    let error = Server::bind(config(None, Some(folder.join("x".repeat(120))))).unwrap_err();
    assert!(matches!(error, BindError::SocketPathTooLong { .. }), "{error}");
    // What a killed node left behind is taken over.
    let stale = folder.join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let server = Server::bind(config(None, Some(stale.clone()))).unwrap();
    assert_eq!(server.unix_path(), Some(stale.as_path()));
    server.serve(FakeNode::new("test"), async {}).await;
}

#[tokio::test]
async fn connections_and_streams_over_the_limit_are_told_so() {
    let limits = RpcLimits { connections_max: 3, streams_max: 1, ..RpcLimits::default() };
    let setup = Setup::with(limits).await;
    let mut stream = setup.stream("/api/v1/blocks/stream", None).await;
    assert!(stream.block().await.is_some());
    setup.get("/api/v1/events/stream").await.problem(503, "too_many_streams");
    // The stream holds one place, and two of these the others; which one comes too late is up to timing.
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(TcpStream::connect(setup.address).await.unwrap());
    }
    let mut refused = Vec::new();
    for stream in &mut idle {
        let mut answer = String::new();
        let read = tokio::time::timeout(Duration::from_millis(300), stream.read_to_string(&mut answer));
        if read.await.is_ok() {
            refused.push(answer);
        }
    }
    assert!(!refused.is_empty(), "one connection must be turned away");
    for answer in refused {
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("too_many_connections"), "{answer}");
    }
    assert_eq!(setup.get_unix("/livez").await.status, 200, "the operator is not locked out");
    drop(idle);
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut stream = TcpStream::connect(setup.address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        if stream.read_to_string(&mut answer).await.is_ok() && answer.starts_with("HTTP/1.1 200") {
            return;
        }
    }
    panic!("places of closed connections must be free again");
}
