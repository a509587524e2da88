//! What routes answer, and that streams lose nothing.

mod common;

use common::{BINARY, JSON, Setup, body, increment, increment_action, key};
use purlin_api::{HexBytes, PeerView, ValidatorState, ValidatorView};
use purlin_primitives::Amount;
use purlin_rpc::testing::Blocks;
use purlin_rpc::{NodeError, RpcLimits};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_transaction_from_submission_to_receipt() {
    let setup = Setup::new().await;
    let transaction = increment(1, 0, 2);
    let id = transaction.body.id().to_string();
    let answer =
        setup.send("POST", "/api/v1/transactions?wait=committed", BINARY, transaction.encode()).await;
    assert_eq!(answer.status, 200);
    let view = answer.json();
    assert_eq!(view["id"], id);
    assert_eq!(view["place"]["state"], "committed");
    assert_eq!(view["place"]["height"], 1);
    assert_eq!(view["body"]["actions"][0]["arguments_json"], json!({"by": 2}));
    assert_eq!(view["receipt"]["outcome"]["status"], "succeeded");
    assert_eq!(view["receipt"]["outcome"]["outputs"][0]["value"], 2);
    assert_eq!(view["receipt"]["events"][0]["data"], json!({"by": 2}));
    // Asking again after a lost answer gives the same.
    let again = setup.send("POST", "/api/v1/transactions?wait=committed", BINARY, transaction.encode()).await;
    assert_eq!(again.json(), view);
    assert_eq!(setup.get(&format!("/api/v1/transactions/{id}")).await.json(), view);

    let as_json = json!({"transaction": HexBytes(increment(1, 1, 3).encode())}).to_string();
    let answer = setup.send("POST", "/api/v1/transactions", JSON, as_json).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json()["id"], increment(1, 1, 3).body.id().to_string());
    let account = setup.get(&format!("/api/v1/accounts/{}", transaction.body.sender)).await.json();
    assert_eq!((&account["nonce"], &account["balance"]), (&json!(2), &json!("1000000")));
}

#[tokio::test]
async fn waiting_ends_with_the_block_or_the_time() {
    let setup = Setup::new().await;
    setup.node.set_blocks(Blocks::Manual);
    let transaction = increment(1, 0, 2);
    let path = "/api/v1/transactions?wait=committed&timeout_ms=50";
    let detail = setup.send("POST", path, BINARY, transaction.encode()).await.problem(504, "wait_timeout");
    assert!(detail.contains(&transaction.body.id().to_string()), "{detail}");
    let pending = setup.get(&format!("/api/v1/transactions/{}", transaction.body.id())).await.json();
    assert_eq!(pending["place"]["state"], "pending");
    assert!(pending.get("receipt").is_none());
    let path = format!("/api/v1/transactions/{}?wait=committed", transaction.body.id());
    let (answer, _) = tokio::join!(setup.get(&path), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        setup.node.make_block()
    });
    assert_eq!(answer.json()["place"]["state"], "committed");
}

#[tokio::test]
async fn a_batch_has_one_result_for_each() {
    let setup = Setup::new().await;
    let parts = [
        increment(1, 0, 1).encode(),
        b"junk".to_vec(),
        increment(1, 5, 1).encode(),
        increment(2, 0, 1).encode(),
    ];
    let mut bytes = Vec::new();
    for part in &parts {
        bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    let result = setup.send("POST", "/api/v1/transactions/batch", BINARY, bytes).await.json();
    assert_eq!(result["accepted"], 2);
    assert_eq!(result["results"][0]["id"], increment(1, 0, 1).body.id().to_string());
    assert_eq!(result["results"][1]["problem"]["code"], "malformed_transaction");
    assert_eq!(result["results"][2]["problem"]["code"], "nonce_gap");
    assert_eq!(result["results"][3]["id"], increment(2, 0, 1).body.id().to_string());
    let list = json!({"transactions": [HexBytes(increment(3, 0, 1).encode())]}).to_string();
    assert_eq!(setup.send("POST", "/api/v1/transactions/batch", JSON, list).await.json()["accepted"], 1);
}

#[tokio::test]
async fn queries_take_json_parameters_and_borsh() {
    let setup = Setup::new().await;
    let increment = increment(1, 0, 40);
    setup.send("POST", "/api/v1/transactions?wait=committed", BINARY, increment.encode()).await;
    let path = "/api/v1/apps/counter/queries/plus";
    let by_name = setup.send("POST", path, JSON, r#"{"arguments": {"by": 2}}"#).await.json();
    assert_eq!((&by_name["value"], &by_name["height"]), (&json!(42), &json!(1)));
    assert_eq!(by_name["borsh"], "0x2a00000000000000");
    for (kind, sent) in [
        (JSON, r#"{"arguments": [2]}"#.as_bytes()),
        (JSON, br#"{"arguments_borsh": "0x0200000000000000"}"#),
        (BINARY, &[2, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        assert_eq!(setup.send("POST", path, kind, sent.to_vec()).await.json(), by_name);
    }
    assert_eq!(setup.get(&format!("{path}?by=2&~height=1")).await.json(), by_name);
    assert_eq!(setup.get("/api/v1/apps/counter/queries/value").await.json()["value"], 40);
    assert_eq!(setup.send("POST", "/api/v1/apps/counter/queries/value", "", "").await.json()["value"], 40);
    let state = setup.get("/api/v1/apps/counter/state/count").await.json();
    assert_eq!((&state["decoded"], &state["value"]), (&json!(40), &json!("0x2800000000000000")));
    assert_eq!(setup.get("/api/v1/apps/counter/state/0x636f756e74").await.json(), state);
    let proven = setup.get("/api/v1/apps/counter/state/count?proof=true").await.json();
    assert_eq!((&proven["decoded"], &proven["proof"]["header"]["height"]), (&json!(40), &json!(2)));
    let absent = setup.get("/api/v1/apps/counter/state/other?proof=true").await.json();
    assert!(absent.get("value").is_none() && absent["proof"]["merkle"].is_string());
}

#[tokio::test]
async fn simulation_changes_nothing() {
    let setup = Setup::new().await;
    let unsigned = borsh::to_vec(&body(1, 77, vec![increment_action(5)])).unwrap();
    let result = setup.send("POST", "/api/v1/transactions/simulate", BINARY, unsigned.clone()).await.json();
    assert_eq!(result["receipt"]["outcome"]["outputs"][0]["value"], 5);
    assert_eq!(result["receipt"]["gas_used"], 1000);
    let as_json = json!({"body": HexBytes(unsigned)}).to_string();
    assert_eq!(setup.send("POST", "/api/v1/transactions/simulate", JSON, as_json).await.json(), result);
    assert_eq!(setup.get("/api/v1/apps/counter/queries/value").await.json()["value"], 0);
}

#[tokio::test]
async fn pages_go_through_everything_once() {
    let setup = Setup::new().await;
    for nonce in 0..7 {
        setup.send("POST", "/api/v1/transactions", BINARY, increment(1, nonce, nonce).encode()).await;
    }
    let (mut heights, mut path) = (Vec::new(), "/api/v1/blocks?limit=3".to_owned());
    loop {
        let page = setup.get(&path).await.json();
        heights
            .extend(page["blocks"].as_array().unwrap().iter().map(|block| block["height"].as_u64().unwrap()));
        let Some(next) = page["next"].as_u64() else { break };
        path = format!("/api/v1/blocks?limit=3&before={next}");
    }
    assert_eq!(heights, [7, 6, 5, 4, 3, 2, 1]);
    let (mut amounts, mut path) = (Vec::new(), "/api/v1/apps/counter/events?limit=2".to_owned());
    loop {
        let page = setup.get(&path).await.json();
        amounts.extend(
            page["events"].as_array().unwrap().iter().map(|event| event["data"]["by"].as_u64().unwrap()),
        );
        if page["more"] == false {
            break;
        }
        path = format!("/api/v1/apps/counter/events?limit=2&after={}", page["next"].as_str().unwrap());
    }
    assert_eq!(amounts, [0, 1, 2, 3, 4, 5, 6]);
    let block = setup.get("/api/v1/blocks/3").await.json();
    assert_eq!(setup.get(&format!("/api/v1/blocks/{}", block["id"].as_str().unwrap())).await.json(), block);
    assert_eq!(setup.get("/api/v1/blocks/latest").await.json()["header"]["height"], 7);
    assert_eq!(setup.get("/api/v1/apps").await.json()["apps"][0]["id"], "counter");
    assert_eq!(setup.get("/api/v1/apps/counter/schema").await.json()["name"], "Counter");
    assert_eq!(setup.get("/api/v1/openapi.json").await.json()["openapi"], "3.1.0");
    let metrics = setup.get("/metrics").await;
    assert!(metrics.kind.starts_with("text/plain"));
    for name in ["purlin_height 7", "purlin_rpc_requests_total{status=\"2xx\"}", "purlin_rpc_connections"] {
        assert!(metrics.text().contains(name), "{name} is missing");
    }
}

#[tokio::test]
async fn peers_are_listed() {
    let setup = Setup::new().await;
    assert_eq!(setup.get("/api/v1/peers").await.json(), json!({"peers": []}));
    setup.node.add_peer(PeerView {
        id: "12D3KooWA".into(),
        addresses: vec!["/ip4/192.0.2.1/tcp/7421".into()],
        outbound: true,
        agent: "purlin/0.1.0".into(),
        score: -3,
        ping_us: Some(1_250),
        relayed: false,
    });
    let expected = json!({"peers": [{
        "id": "12D3KooWA", "addresses": ["/ip4/192.0.2.1/tcp/7421"], "outbound": true, "agent": "purlin/0.1.0",
        "score": -3, "ping_us": 1250, "relayed": false,
    }]});
    assert_eq!(setup.get("/api/v1/peers").await.json(), expected);
    assert_eq!(setup.get("/api/v1/status").await.json()["peers"], 1);
}

#[tokio::test]
async fn validators_go_through_pages_once() {
    let setup = Setup::new().await;
    for seed in 1..=5 {
        let public_key = key(seed).public_key();
        setup.node.add_validator(ValidatorView {
            account: public_key.account_id(),
            public_key,
            power: 10,
            stake: Amount::new(10),
            unbonding: Amount::ZERO,
            status: ValidatorState::Active,
            jailed_until_epoch: None,
            missed_turns: 0,
            own: seed == 1,
        });
    }
    let (mut accounts, mut own, mut path) = (Vec::new(), 0, "/api/v1/validators?limit=2".to_owned());
    loop {
        let page = setup.get(&path).await.json();
        assert_eq!((&page["total_power"], &page["epoch_end"]), (&json!(50), &json!(600)));
        for validator in page["validators"].as_array().unwrap() {
            assert_eq!((&validator["status"], &validator["stake"]), (&json!("active"), &json!("10")));
            accounts.push(validator["account"].as_str().unwrap().to_lowercase());
            own += usize::from(validator["own"] == true);
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/validators?limit=2&after={next}");
    }
    assert_eq!((accounts.len(), own), (5, 1));
    assert!(accounts.is_sorted(), "{accounts:?}");
    setup.node.set_fault(Some(NodeError::Stopping));
    setup.get("/api/v1/validators").await.problem(503, "stopping");
}

#[tokio::test]
async fn a_stream_resumes_where_the_client_stopped() {
    let setup = Setup::new().await;
    let submit = async |nonce: u64| {
        let answer =
            setup.send("POST", "/api/v1/transactions", BINARY, increment(1, nonce, nonce).encode()).await;
        assert_eq!(answer.status, 202);
    };
    submit(0).await;
    submit(1).await;
    let mut live = setup.stream("/api/v1/events/stream", None).await;
    assert_eq!(live.block().await.unwrap(), "id: 2.4294967295\nretry: 1000");
    submit(2).await;
    let (event, id, data) = live.next().await.unwrap();
    assert_eq!((event.as_str(), id.as_str(), &data["data"]["by"]), ("event", "3.0", &json!(2)));
    drop(live);
    submit(3).await;
    submit(4).await;
    let mut resumed = setup.stream("/api/v1/apps/counter/events/stream", Some(&id)).await;
    submit(5).await;
    for by in 3..6 {
        let (_, id, data) = resumed.next().await.unwrap();
        assert_eq!((id, &data["data"]["by"]), (format!("{}.0", by + 1), &json!(by)));
    }
    // More than one page, from the beginning.
    for nonce in 6..130 {
        submit(nonce).await;
    }
    let mut all = setup.stream("/api/v1/events/stream?after=0.0&topic=incremented", None).await;
    for by in 0..130 {
        assert_eq!(all.next().await.unwrap().2["data"]["by"], by);
    }
    let mut blocks = setup.stream("/api/v1/blocks/stream?after=100", None).await;
    for height in 101..=130 {
        let (event, id, data) = blocks.next().await.unwrap();
        assert_eq!((event.as_str(), id, &data["height"]), ("block", height.to_string(), &json!(height)));
    }
}

#[tokio::test]
async fn only_who_asks_for_it_is_told_what_left_the_chain() {
    let setup = Setup::new().await;
    setup.send("POST", "/api/v1/transactions", BINARY, increment(1, 0, 7).encode()).await;
    let mut patient = setup.stream("/api/v1/events/stream?after=0.0", None).await;
    let mut newest = setup.stream("/api/v1/events/stream?after=0.0&unfinalised=true", None).await;
    for stream in [&mut patient, &mut newest] {
        let (event, id, data) = stream.next().await.unwrap();
        assert_eq!((event.as_str(), id.as_str(), &data["data"]["by"]), ("event", "1.0", &json!(7)));
        assert!(data.get("removed").is_none() && data.get("resume").is_none());
    }
    setup.node.take_back();
    let (event, id, data) = newest.next().await.unwrap();
    // Who is cut off now reads on before it.
    assert!(id.starts_with("0.4294967295@0x"), "{id}");
    assert_eq!((event.as_str(), &data["removed"], &data["resume"]), ("removed", &json!(true), &json!(id)));
    assert_eq!(data["data"]["by"], 7);
    setup.send("POST", "/api/v1/transactions", BINARY, increment(1, 1, 8).encode()).await;
    for stream in [&mut patient, &mut newest] {
        let (event, id, data) = stream.next().await.unwrap();
        assert_eq!((event.as_str(), id.as_str(), &data["data"]["by"]), ("event", "2.0", &json!(8)));
    }
    // By pages as well; no stream is there to be told first.
    let setup = Setup::new().await;
    setup.send("POST", "/api/v1/transactions", BINARY, increment(1, 0, 7).encode()).await;
    setup.node.take_back();
    assert!(setup.get("/api/v1/events").await.json()["events"][0].get("removed").is_none());
    let page = setup.get("/api/v1/events?unfinalised=true").await.json();
    assert_eq!(
        (page["events"][0]["removed"].clone(), page["events"].as_array().unwrap().len()),
        (json!(true), 1)
    );
    setup.get("/api/v1/events?unfinalised=maybe").await.problem(400, "bad_request");
    setup.get(&format!("/api/v1/events?after=1.0@{}", "0x12")).await.problem(400, "bad_request");
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive_with_its_cursor_and_ends_with_the_server() {
    let limits = RpcLimits { keep_alive: Duration::from_millis(50), ..RpcLimits::default() };
    let mut setup = Setup::with(limits).await;
    setup.send("POST", "/api/v1/transactions", BINARY, increment(1, 0, 1).encode()).await;
    let mut stream = setup.stream("/api/v1/events/stream?topic=other&after=0.0", None).await;
    assert_eq!(stream.block().await.unwrap(), "id: 0.0\nretry: 1000");
    assert_eq!(stream.block().await.unwrap(), ": keep-alive\nid: 1.4294967295");
    setup.stop().await;
    while let Some(block) = stream.block().await {
        assert!(block.starts_with(": keep-alive"), "{block}");
    }
}

#[tokio::test]
async fn a_stream_of_blocks_after_the_last_height_that_can_be_waits() {
    let limits = RpcLimits { keep_alive: Duration::from_millis(50), ..RpcLimits::default() };
    let setup = Setup::with(limits).await;
    setup.send("POST", "/api/v1/transactions", BINARY, increment(1, 0, 1).encode()).await;
    let mut stream = setup.stream("/api/v1/blocks/stream?after=18446744073709551615", None).await;
    assert_eq!(stream.block().await.unwrap(), "id: 18446744073709551615\nretry: 1000");
    assert_eq!(stream.block().await.unwrap(), ": keep-alive\nid: 18446744073709551615");
}

#[tokio::test]
async fn a_stop_lets_open_requests_finish() {
    let mut setup = Setup::new().await;
    setup.node.set_query_delay(Duration::from_millis(300));
    let query = {
        let (address, token) = (setup.address, setup.admin.clone());
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = format!(
                "GET /api/v1/apps/counter/queries/value HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    setup.stop().await;
    let answer = query.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
