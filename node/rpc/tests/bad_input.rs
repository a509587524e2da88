//! Everything a client can get wrong is answered by a problem that says what, and changes nothing.

mod common;

use common::{BINARY, JSON, Setup, body, increment, increment_action, key};
use purlin_rpc::{Node, NodeError, RpcLimits};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends requests and compares status and code; `names` must be in the detail.
async fn check(setup: &Setup, cases: &[(&str, &str, &str, &str, u16, &str, &str)]) {
    for (method, path, kind, sent, status, code, names) in cases {
        let answer = setup.send(method, path, kind, sent.to_string()).await;
        let detail = answer.problem(*status, code);
        assert!(detail.contains(names), "{method} {path} {sent:?}: {detail:?} does not name {names:?}");
    }
    assert_eq!(setup.node.status().height.get(), 0, "nothing may have changed");
}

#[tokio::test]
async fn routes_and_methods() {
    let setup = Setup::new().await;
    check(
        &setup,
        &[
            ("GET", "/", "", "", 404, "route_not_found", "GET /"),
            ("GET", "/api/v1/nothing", "", "", 404, "route_not_found", "/api/v1/nothing"),
            ("GET", "/api/v2/status", "", "", 404, "route_not_found", "/api/v2/status"),
            ("POST", "/api/v1/status", JSON, "{}", 405, "method_not_allowed", "POST"),
            ("DELETE", "/api/v1/blocks/1", "", "", 405, "method_not_allowed", "DELETE"),
            ("GET", "/api/v1/transactions", "", "", 405, "method_not_allowed", "GET"),
            ("POST", "/api/v1/peers", JSON, "{}", 405, "method_not_allowed", "POST"),
        ],
    )
    .await;
    let answer = setup.send("POST", "/api/v1/status", JSON, "{}").await;
    assert!(answer.headers["allow"].to_str().unwrap().contains("GET"));
}

#[tokio::test]
async fn segments_and_parameters() {
    let setup = Setup::new().await;
    check(
        &setup,
        &[
            ("GET", "/api/v1/blocks/one", "", "", 400, "bad_request", "block"),
            ("GET", "/api/v1/blocks/99999999999999999999", "", "", 400, "bad_request", "block"),
            ("GET", "/api/v1/blocks/7", "", "", 404, "block_not_found", "7"),
            ("GET", "/api/v1/blocks/latest", "", "", 404, "block_not_found", "genesis"),
            ("GET", "/api/v1/blocks?limit=0", "", "", 400, "bad_request", "limit"),
            ("GET", "/api/v1/blocks?limit=101", "", "", 400, "bad_request", "limit"),
            ("GET", "/api/v1/blocks?limit=ten", "", "", 400, "bad_request", "limit"),
            ("GET", "/api/v1/blocks?lmit=1", "", "", 400, "bad_request", "lmit"),
            ("GET", "/api/v1/accounts/0x12", "", "", 400, "bad_request", "id"),
            ("GET", "/api/v1/transactions/0x12", "", "", 400, "bad_request", "id"),
            (
                "GET",
                "/api/v1/transactions/0x1111111111111111111111111111111111111111111111111111111111111111",
                "",
                "",
                404,
                "transaction_not_found",
                "0x1111",
            ),
            ("GET", "/api/v1/apps/Not%20An%20Id", "", "", 400, "bad_request", "id"),
            ("GET", "/api/v1/apps/%ff", "", "", 400, "bad_request", ""),
            ("GET", "/api/v1/apps/missing", "", "", 404, "app_not_found", "missing"),
            ("GET", "/api/v1/apps/missing/schema", "", "", 404, "app_not_found", "missing"),
            ("GET", "/api/v1/apps/counter/state/cuont", "", "", 404, "state_not_found", "cuont"),
            ("GET", "/api/v1/apps/counter/state/0xzz", "", "", 400, "bad_request", "key"),
            ("GET", "/api/v1/apps/missing/state/count", "", "", 404, "app_not_found", "missing"),
            ("GET", "/api/v1/apps/missing/state/count?proof=true", "", "", 404, "app_not_found", "missing"),
            ("GET", "/api/v1/apps/counter/state/count?proof=maybe", "", "", 400, "bad_request", "proof"),
            ("GET", "/api/v1/events?after=12", "", "", 400, "bad_request", "after"),
            ("GET", "/api/v1/devices/pump", "", "", 404, "device_not_found", "pump"),
            ("GET", "/api/v1/devices?owner=me", "", "", 400, "bad_request", "owner"),
            ("GET", "/api/v1/validators?after=me", "", "", 400, "bad_request", "after"),
            ("GET", "/api/v1/validators?limit=101", "", "", 400, "bad_request", "limit"),
            ("GET", "/api/v1/validators?stake=1", "", "", 400, "bad_request", "stake"),
            ("GET", "/api/v1/blocks/stream?after=x", "", "", 400, "bad_request", "after"),
        ],
    )
    .await;
}

#[tokio::test]
async fn bodies() {
    let setup = Setup::new().await;
    let submit = "/api/v1/transactions";
    let batch = "/api/v1/transactions/batch";
    let query = "/api/v1/apps/counter/queries/plus";
    check(
        &setup,
        &[
            ("POST", submit, "", "x", 415, "unsupported_media_type", "no content type"),
            ("POST", submit, "text/plain", "x", 415, "unsupported_media_type", "text/plain"),
            ("POST", submit, BINARY, "x", 400, "malformed_transaction", "borsh"),
            ("POST", submit, BINARY, "", 400, "malformed_transaction", "borsh"),
            ("POST", submit, JSON, "{", 400, "malformed_json", "line 1"),
            ("POST", submit, JSON, "", 400, "malformed_json", "EOF"),
            ("POST", submit, JSON, "{} {}", 422, "wrong_type", "transaction"),
            ("POST", submit, JSON, "{}", 422, "wrong_type", "missing field `transaction`"),
            ("POST", submit, JSON, "[]", 422, "wrong_type", "expected"),
            ("POST", submit, JSON, r#"{"transaction": 5}"#, 422, "wrong_type", "field `transaction`"),
            ("POST", submit, JSON, r#"{"transaction": "0x1"}"#, 422, "wrong_type", "field `transaction`"),
            ("POST", submit, JSON, r#"{"transaction": "0x00"}"#, 400, "malformed_transaction", "borsh"),
            (
                "POST",
                submit,
                JSON,
                r#"{"transaction": "0x", "x": 1}"#,
                422,
                "wrong_type",
                "unknown field `x`",
            ),
            ("POST", submit, JSON, r#"{"transaction": "0x"} x"#, 400, "malformed_json", "trailing"),
            ("POST", "/api/v1/transactions?wait=forever", BINARY, "x", 400, "bad_request", "forever"),
            ("POST", batch, BINARY, "\u{5}\0\0\0ab", 400, "malformed_batch", "transaction 0"),
            ("POST", batch, BINARY, "ab", 400, "malformed_batch", "2 bytes"),
            ("POST", batch, JSON, r#"{"transactions": [5]}"#, 422, "wrong_type", "field `transactions[0]`"),
            ("POST", "/api/v1/transactions/simulate", BINARY, "x", 400, "malformed_transaction", "body"),
            ("POST", query, JSON, r#"{"arguments": {"by": "two"}}"#, 422, "bad_arguments", "argument `by`"),
            ("POST", query, JSON, r#"{"arguments": {"bye": 2}}"#, 422, "bad_arguments", "bye"),
            ("POST", query, JSON, r#"{"arguments": {}}"#, 422, "bad_arguments", "by"),
            (
                "POST",
                query,
                JSON,
                r#"{"arguments": {}, "arguments_borsh": "0x"}"#,
                422,
                "bad_arguments",
                "only one",
            ),
            ("POST", query, JSON, r#"{"argument": {}}"#, 422, "wrong_type", "argument"),
            ("POST", query, JSON, r#"{"height": "x"}"#, 422, "wrong_type", "field `height`"),
            ("POST", query, JSON, r#"{"arguments": [1], "height": 9}"#, 404, "height_unavailable", "9"),
            (
                "GET",
                "/api/v1/apps/counter/queries/plus?by=two",
                "",
                "",
                422,
                "bad_arguments",
                "argument `by`",
            ),
            ("GET", "/api/v1/apps/counter/queries/minus", "", "", 404, "method_not_found", "minus"),
            ("GET", "/api/v1/apps/missing/queries/plus", "", "", 404, "app_not_found", "missing"),
        ],
    )
    .await;
}

#[tokio::test]
async fn transactions_that_may_not_be() {
    let setup = Setup::new().await;
    let mut forged = increment(1, 0, 2);
    forged.body.gas_limit = purlin_primitives::Gas::new(5);
    let mut foreign = body(1, 0, vec![increment_action(1)]);
    foreign.chain_id = "other".parse().unwrap();
    let mut borrowed = body(1, 0, vec![increment_action(1)]);
    borrowed.sender = key(2).public_key().account_id();
    let cases = [
        (forged, 422, "bad_signature"),
        (key(1).sign_transaction(foreign), 422, "wrong_chain"),
        (key(1).sign_transaction(borrowed), 422, "wrong_sender"),
        (key(1).sign_transaction(body(1, 0, Vec::new())), 422, "transaction_limits"),
        (increment(1, 3, 1), 409, "nonce_gap"),
    ];
    for (transaction, status, code) in cases {
        setup.send("POST", "/api/v1/transactions", BINARY, transaction.encode()).await.problem(status, code);
    }
    assert_eq!(setup.node.status().height.get(), 0, "nothing may have changed");
    let first = increment(1, 0, 1);
    assert_eq!(setup.send("POST", "/api/v1/transactions", BINARY, first.encode()).await.status, 202);
    setup
        .send("POST", "/api/v1/transactions", BINARY, first.encode())
        .await
        .problem(409, "known_transaction");
    let again = increment(1, 0, 2);
    setup.send("POST", "/api/v1/transactions", BINARY, again.encode()).await.problem(409, "nonce_used");
}

#[tokio::test]
async fn bodies_over_the_limit_are_answered_even_while_the_client_still_sends() {
    let limits = RpcLimits {
        json_body_bytes_max: 1000,
        transaction_body_bytes_max: 1000,
        batch_body_bytes_max: 1000,
        batch_transactions_max: 2,
        ..RpcLimits::default()
    };
    let setup = Setup::with(limits).await;
    let large = vec![b' '; 8_000_000];
    for (path, kind) in [
        ("/api/v1/transactions", BINARY),
        ("/api/v1/transactions", JSON),
        ("/api/v1/transactions/batch", BINARY),
        ("/api/v1/transactions/simulate", BINARY),
        ("/api/v1/apps/counter/queries/value", JSON),
    ] {
        let detail = setup.send("POST", path, kind, large.clone()).await.problem(413, "body_too_large");
        assert!(detail.contains("1000") || detail.contains("3024"), "{detail}");
    }
    let three = [0u8; 12];
    setup
        .send("POST", "/api/v1/transactions/batch", BINARY, three.to_vec())
        .await
        .problem(413, "batch_too_long");
    // Without a length, in chunks.
    let mut stream = TcpStream::connect(setup.address).await.unwrap();
    let head = format!(
        "POST /api/v1/transactions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: {BINARY}\r\n\
         transfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        setup.admin
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000)).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{answer}");
}

#[tokio::test]
async fn slow_requests_time_out() {
    let limits = RpcLimits {
        request_timeout: Duration::from_millis(200),
        header_timeout: Duration::from_millis(300),
        ..RpcLimits::default()
    };
    let setup = Setup::with(limits).await;
    setup.node.set_query_delay(Duration::from_millis(600));
    setup.get("/api/v1/apps/counter/queries/value").await.problem(408, "request_timeout");

    let mut slow_body = TcpStream::connect(setup.address).await.unwrap();
    let head = format!(
        "POST /api/v1/transactions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: {BINARY}\r\n\
         content-length: 10\r\n\r\nabc",
        setup.admin
    );
    slow_body.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = slow_body.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request_timeout"), "{answer}");

    let mut slow_head = TcpStream::connect(setup.address).await.unwrap();
    slow_head.write_all(b"GET /livez HTT").await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(5), slow_head.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "a connection without a request must be closed");
}

#[tokio::test]
async fn a_fault_of_the_node_is_no_verdict_and_tells_no_paths() {
    let setup = Setup::new().await;
    setup.node.set_fault(Some(NodeError::Fault { detail: "cannot read /secret/path".into() }));
    let answer = setup.get("/api/v1/blocks/1").await;
    assert!(!answer.problem(500, "internal").contains("secret"));
    let answer = setup.send("POST", "/api/v1/transactions", BINARY, increment(1, 0, 1).encode()).await;
    answer.problem(500, "internal");
    setup.node.set_fault(Some(NodeError::NotReady { detail: "opening the database".into() }));
    setup.get("/readyz").await.problem(503, "not_ready");
    assert_eq!(setup.get("/livez").await.status, 200);
    setup.node.set_fault(None);
    assert_eq!(setup.get("/readyz").await.status, 200);
}
