//! Requests: each ends once, within limits.

use crate::common::{Node, config, pair, pair_of, until};
use purlin_sync::{Network, NetworkEvent, Offence, RequestFailure, RequestId};
use std::time::Duration;

#[tokio::test]
async fn a_request_is_answered() {
    let (mut a, mut b) = pair().await;
    b.net.request(&a.id(), RequestId(1), b"how high?".to_vec());
    let (from, id, bytes) = a.request().await;
    assert_eq!((from, bytes), (b.id(), b"how high?".to_vec()));
    a.net.respond(id, Some(b"8848".to_vec()));
    assert_eq!(b.response(RequestId(1)).await, Ok(b"8848".to_vec()));
    // A second answer to the same request changes nothing.
    a.net.respond(id, Some(b"0".to_vec()));
    b.net.request(&a.id(), RequestId(2), Vec::new());
    let (_, id, _) = a.request().await;
    a.net.respond(id, None);
    assert_eq!(b.response(RequestId(2)).await, Err(RequestFailure::Busy));
    assert_eq!(a.counters().peers.requests_in, 2);
    assert_eq!(b.counters().peers.responses_in, 1);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn large_answers_pass_over_tcp_and_quic() {
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let mut first = config();
        first.listen = vec![listen.to_owned()];
        let (mut a, mut b) = pair_of(first, config()).await;
        let largest = vec![0xa5; 16 * 1024 * 1024];
        b.net.request(&a.id(), RequestId(1), vec![1; 1024 * 1024]);
        let (_, id, bytes) = a.request().await;
        assert_eq!(bytes.len(), 1024 * 1024);
        a.net.respond(id, Some(largest.clone()));
        assert_eq!(b.response(RequestId(1)).await.map(|bytes| bytes == largest), Ok(true));
        a.stop().await;
        b.stop().await;
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_on_both_sides() {
    let mut small = config();
    small.limits.request_bytes_max = 100;
    small.limits.response_bytes_max = 100;
    let (mut a, mut b) = pair_of(small, config()).await;

    // The sender knows the limit.
    a.net.request(&b.id(), RequestId(1), vec![0; 101]);
    assert_eq!(a.response(RequestId(1)).await, Err(RequestFailure::Protocol));
    // The sender does not; the receiver hangs up, and its user hears nothing.
    b.net.request(&a.id(), RequestId(2), vec![0; 101]);
    assert_eq!(b.response(RequestId(2)).await, Err(RequestFailure::Protocol));
    assert_eq!(a.counters().peers.requests_in, 0);
    // An answer above the limit of who asked is held against who answers.
    a.net.request(&b.id(), RequestId(3), vec![0; 100]);
    let (_, id, _) = b.request().await;
    b.net.respond(id, Some(vec![0; 101]));
    assert_eq!(a.response(RequestId(3)).await, Err(RequestFailure::Protocol));
    assert!(a.peer(&b.id()).unwrap().score < 0);
    // And the connection still works.
    a.net.request(&b.id(), RequestId(4), vec![0; 100]);
    let (_, id, _) = b.request().await;
    b.net.respond(id, Some(vec![0; 100]));
    assert_eq!(a.response(RequestId(4)).await, Ok(vec![0; 100]));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_silent_peer_times_out() {
    let mut second = config();
    second.limits.request_timeout = Duration::from_millis(300);
    let (mut a, mut b) = pair_of(config(), second).await;
    b.net.request(&a.id(), RequestId(1), b"?".to_vec());
    let (_, id, _) = a.request().await;
    assert_eq!(b.response(RequestId(1)).await, Err(RequestFailure::Timeout));
    a.net.respond(id, Some(b"late".to_vec()));
    b.net.request(&a.id(), RequestId(2), b"?".to_vec());
    let (_, id, _) = a.request().await;
    a.net.respond(id, Some(b"in time".to_vec()));
    assert_eq!(b.response(RequestId(2)).await, Ok(b"in time".to_vec()));
    a.stop().await;
    b.stop().await;
}

/// Returns the ends of all requests that have arrived.
fn ends(node: &mut Node) -> Vec<(RequestId, Result<Vec<u8>, RequestFailure>)> {
    node.events_now(|event| match event {
        NetworkEvent::Response { id, outcome, .. } => Some((*id, outcome.clone())),
        _ => None,
    })
}

#[tokio::test]
async fn a_disconnection_ends_each_request_once() {
    let (mut a, mut b) = pair().await;
    for id in 0..10 {
        b.net.request(&a.id(), RequestId(id), b"?".to_vec());
    }
    for _ in 0..10 {
        a.request().await;
    }
    let first = a.id();
    a.stop().await;
    b.disconnected(&first).await;
    b.net.request(&first, RequestId(10), b"?".to_vec());
    until("all have ended", || ends(&mut b).len() == 11).await;
    // Whatever else would come has come before the next answer.
    b.net.request(&first, RequestId(11), b"?".to_vec());
    until("the last has ended", || ends(&mut b).len() >= 12).await;
    let mut ids: Vec<u64> = ends(&mut b).iter().map(|(id, _)| id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..12).collect::<Vec<u64>>());
    assert!(ends(&mut b).iter().all(|(_, outcome)| *outcome == Err(RequestFailure::Disconnected)));
    b.stop().await;
}

#[tokio::test]
async fn requests_end_when_the_network_does() {
    let (mut a, mut b) = pair().await;
    let (net, first) = (b.net.clone(), a.id());
    net.request(&first, RequestId(1), b"?".to_vec());
    a.request().await;
    let service = b.service;
    service.shutdown().await.unwrap();
    net.request(&first, RequestId(2), b"?".to_vec());
    net.publish(purlin_sync::Topic::Blocks, b"into the void".to_vec());
    net.report(&first, Offence::Lied);
    assert_eq!(net.peers(), []);
    b.service = Node::start(config()).await.service;
    assert_eq!(b.response(RequestId(1)).await, Err(RequestFailure::Disconnected));
    assert_eq!(b.response(RequestId(2)).await, Err(RequestFailure::Disconnected));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_flood_of_requests_is_answered_busy_and_ends_in_a_ban() {
    let mut first = config();
    first.limits.requests_per_second = 10;
    first.limits.ban_score = -10;
    let mut second = config();
    second.limits.outstanding_per_peer_max = 1_000;
    second.limits.outstanding_max = 1_000;
    let (a, mut b) = pair_of(first, second).await;
    for id in 0..200 {
        b.net.request(&a.id(), RequestId(id), b"?".to_vec());
    }
    b.disconnected(&a.id()).await;
    until("each has an end", || ends(&mut b).len() == 200).await;
    assert!(a.counters().peers.requests_in <= 32, "at most what one peer may have under way");
    assert_eq!(a.counters().peers.bans, 1);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn this_node_does_not_ask_too_much_at_once_either() {
    let mut second = config();
    second.limits.outstanding_per_peer_max = 4;
    let (mut a, mut b) = pair_of(config(), second).await;
    for id in 0..10 {
        b.net.request(&a.id(), RequestId(id), b"?".to_vec());
    }
    until("six are refused", || ends(&mut b).len() == 6).await;
    assert!(ends(&mut b).iter().all(|(_, outcome)| *outcome == Err(RequestFailure::Busy)));
    for _ in 0..4 {
        let (_, id, _) = a.request().await;
        a.net.respond(id, Some(Vec::new()));
    }
    until("four are answered", || ends(&mut b).iter().filter(|(_, outcome)| outcome.is_ok()).count() == 4)
        .await;
    assert_eq!(a.peer(&b.id()).unwrap().score, 0);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_full_sink_answers_busy_and_loses_no_response() {
    let mut a = Node::start(config()).await;
    let mut second = config();
    second.bootstrap = vec![a.address()];
    let mut b = Node::start_with_room(second, 1).await;
    a.connected(&b.id()).await;
    until("b is connected", || b.peer(&a.id()).is_some()).await;
    a.net.request(&b.id(), RequestId(1), b"?".to_vec());
    assert_eq!(a.response(RequestId(1)).await, Err(RequestFailure::Busy));
    for id in 0..5 {
        b.net.request(&a.id(), RequestId(id), b"?".to_vec());
    }
    for _ in 0..5 {
        let (_, id, _) = a.request().await;
        a.net.respond(id, Some(b"!".to_vec()));
    }
    until("the answers arrive at the task", || b.counters().peers.responses_in == 5).await;
    b.connected(&a.id()).await;
    for id in 0..5 {
        assert_eq!(b.response(RequestId(id)).await, Ok(b"!".to_vec()));
    }
    a.stop().await;
    b.stop().await;
}
