//! Gossip: what is judged good travels on, what is judged bad ends and costs.

use crate::common::{Node, config, pair, publish, until};
use purlin_sync::{GossipVerdict, Network, NetworkEvent, Topic};

#[tokio::test]
async fn two_nodes_gossip_on_every_topic_over_tcp() {
    let (mut a, mut b) = pair().await;
    for topic in Topic::ALL {
        publish(&a, topic, topic.name().as_bytes()).await;
        let (from, id) = b.gossip(topic, topic.name().as_bytes()).await;
        assert_eq!(from, a.id());
        b.judge(id, GossipVerdict::Relay);
        publish(&b, topic, b"back").await;
        a.gossip(topic, b"back").await;
    }
    let counters = b.counters();
    assert_eq!(counters.topic(Topic::Blocks).messages_in, 1);
    assert_eq!(counters.topic(Topic::Blocks).bytes_in, 6);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn two_nodes_gossip_over_quic() {
    let mut first = config();
    first.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".to_owned()];
    let (a, mut b) = crate::common::pair_of(first, config()).await;
    assert!(b.peer(&a.id()).unwrap().addresses[0].contains("quic-v1"));
    publish(&a, Topic::Consensus, b"vote").await;
    b.gossip(Topic::Consensus, b"vote").await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn the_largest_message_passes_and_a_larger_one_does_not_leave() {
    let (a, mut b) = pair().await;
    for topic in Topic::ALL {
        let largest = vec![topic as u8; topic.bytes_max()];
        publish(&a, topic, &largest).await;
        b.gossip(topic, &largest).await;
        a.net.publish(topic, vec![0; topic.bytes_max() + 1]);
        assert_eq!(a.counters().topic(topic).dropped, 1);
    }
    assert_eq!(a.peer(&b.id()).unwrap().score, 0);
    a.stop().await;
    b.stop().await;
}

/// a - b - c, and no connection between a and c.
async fn line() -> (Node, Node, Node) {
    let mut middle = Node::start(config()).await;
    let mut ends = Vec::new();
    for _ in 0..2 {
        let mut config = config();
        // The middle alone may talk to an end, so the ends never meet.
        config.allowed = vec![middle.id().to_string()];
        config.bootstrap = vec![middle.address()];
        let mut end = Node::start(config).await;
        end.connected(&middle.id()).await;
        middle.connected(&end.id()).await;
        ends.push(end);
    }
    let [a, c] = <[Node; 2]>::try_from(ends).ok().expect("two were made");
    (a, middle, c)
}

#[tokio::test]
async fn only_what_is_judged_good_travels_on() {
    let (a, mut b, mut c) = line().await;
    let verdicts = [
        (b"good".as_slice(), GossipVerdict::Relay),
        (b"useless", GossipVerdict::Ignore),
        (b"forged", GossipVerdict::Reject),
    ];
    let mut ids = Vec::new();
    for (content, verdict) in verdicts {
        publish(&a, Topic::Transactions, content).await;
        let (from, id) = b.gossip(Topic::Transactions, content).await;
        assert_eq!(from, a.id());
        ids.push((id, verdict));
    }
    let all = |event: &NetworkEvent| match event {
        NetworkEvent::Gossip { bytes, .. } => Some(bytes.clone()),
        _ => None,
    };
    assert_eq!(c.events_now(all), Vec::<Vec<u8>>::new(), "nothing travels before its verdict");
    // The good one is judged last: when it arrives, the others would have arrived too.
    for (id, verdict) in ids.into_iter().rev() {
        b.judge(id, verdict);
    }
    let (from, id) = c.gossip(Topic::Transactions, b"good").await;
    assert_eq!(from, b.id());
    c.judge(id, GossipVerdict::Relay);
    publish(&b, Topic::Transactions, b"last").await;
    c.gossip(Topic::Transactions, b"last").await;
    assert_eq!(c.events_now(all), Vec::<Vec<u8>>::new());

    assert_eq!(b.counters().topic(Topic::Transactions).rejected, 1);
    assert_eq!(b.peer(&a.id()).unwrap().score, -20);
    assert_eq!(b.peer(&c.id()).unwrap().score, 0);
    for node in [a, b, c] {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_verdict_that_never_comes_lets_go_of_the_message() {
    let (a, mut b) = pair().await;
    publish(&a, Topic::Blocks, b"forgotten").await;
    let (_, id) = b.gossip(Topic::Blocks, b"forgotten").await;
    until("it is let go", || b.counters().topic(Topic::Blocks).expired == 1).await;
    b.judge(id, GossipVerdict::Reject);
    b.net.publish(Topic::Consensus, b"behind the verdict".to_vec());
    until("the verdict was read", || b.counters().topic(Topic::Consensus).messages_out == 1).await;
    assert_eq!(b.counters().topic(Topic::Blocks).rejected, 0, "too late to count");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn the_same_bytes_arrive_once() {
    let (a, mut b) = pair().await;
    publish(&a, Topic::Consensus, b"vote").await;
    b.gossip(Topic::Consensus, b"vote").await;
    publish(&a, Topic::Consensus, b"vote").await;
    assert_eq!(a.counters().topic(Topic::Consensus).dropped, 1);
    publish(&a, Topic::Consensus, b"other vote").await;
    b.gossip(Topic::Consensus, b"other vote").await;
    assert_eq!(b.counters().topic(Topic::Consensus).messages_in, 2);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_full_sink_costs_gossip_and_nothing_else() {
    let a = Node::start(config()).await;
    let mut second = config();
    second.bootstrap = vec![a.address()];
    let mut b = Node::start_with_room(second, 1).await;
    until("b is connected", || b.peer(&a.id()).is_some()).await;
    // One place, taken by `Connected`.
    for at in 0..20_u8 {
        publish(&a, Topic::Transactions, &[at]).await;
    }
    until("all are dealt with", || b.counters().topic(Topic::Transactions).ignored == 20).await;
    b.connected(&a.id()).await;
    publish(&a, Topic::Transactions, b"after").await;
    b.gossip(Topic::Transactions, b"after").await;
    assert_eq!(b.peer(&a.id()).unwrap().score, 0, "it is not the sender's fault");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_flood_of_gossip_is_ignored_and_held_against_the_sender() {
    let mut first = config();
    first.limits.gossip_messages_per_second.transactions = 5;
    let (mut a, b) = crate::common::pair_of(first, config()).await;
    publish(&b, Topic::Transactions, b"hello").await;
    a.gossip(Topic::Transactions, b"hello").await;
    for at in 0..200_u32 {
        b.net.publish(Topic::Transactions, at.to_be_bytes().to_vec());
    }
    until("the flood is ignored", || a.counters().topic(Topic::Transactions).ignored > 100).await;
    assert!(a.counters().topic(Topic::Transactions).messages_in < 50);
    assert!(a.counters().peers.offences >= 1);
    // Another topic has its own measure.
    publish(&b, Topic::Consensus, b"vote").await;
    a.gossip(Topic::Consensus, b"vote").await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn ten_nodes_reach_each_other_through_the_mesh() {
    let mut nodes = vec![Node::start(config()).await];
    for at in 1..10 {
        let mut config = config();
        config.bootstrap = vec![nodes[at / 2].address()];
        config.limits.outbound_wanted = 2;
        config.limits.peers_wanted = 1;
        let mut node = Node::start(config).await;
        node.connected(&nodes[at / 2].id()).await;
        nodes.push(node);
    }
    publish(&nodes[9], Topic::Blocks, b"block").await;
    // Whoever has it sends it on: all judge at the same time, for nobody has all the others as neighbours.
    let relayed = nodes[..9].iter_mut().map(async |node| {
        let (_, id) = node.gossip(Topic::Blocks, b"block").await;
        node.judge(id, GossipVerdict::Relay);
    });
    futures::future::join_all(relayed).await;
    for node in nodes {
        node.stop().await;
    }
}
