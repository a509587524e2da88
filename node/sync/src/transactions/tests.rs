use super::*;
use crate::testing::{chain_id, peer, sized_transaction, transaction};

fn verified(transaction: Transaction) -> VerifiedTransaction {
    transaction.verify(&chain_id()).unwrap()
}

fn gossip(transactions: &[Transaction]) -> TransactionGossip {
    TransactionGossip::Whole(transactions.iter().map(EncodedTransaction::new).collect())
}

fn given(out: &[RelayOutput]) -> Vec<TransactionId> {
    let mut ids = Vec::new();
    for output in out {
        if let RelayOutput::Admit { transactions, .. } = output {
            ids.extend(transactions.iter().map(|one| one.body.id()));
        }
    }
    ids
}

fn verdicts(out: &[RelayOutput]) -> Vec<(GossipId, GossipVerdict)> {
    let mut verdicts = Vec::new();
    for output in out {
        if let RelayOutput::Judge { gossip, verdict } = output {
            verdicts.push((*gossip, *verdict));
        }
    }
    verdicts
}

fn made_up(number: u64) -> TransactionId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    TransactionId::new(purlin_primitives::Hash32::new(bytes))
}

fn asks(out: &[RelayOutput]) -> Vec<(RequestId, Request)> {
    let mut asks = Vec::new();
    for output in out {
        if let RelayOutput::Ask { id, request, .. } = output {
            asks.push((*id, request.clone()));
        }
    }
    asks
}

#[test]
fn what_clients_submit_is_announced_in_batches_once() {
    let mut relay = TransactionRelay::new();
    let all: Vec<_> = (0..5).map(|n| verified(transaction(1, n))).collect();
    for one in all.iter().chain(&all) {
        assert_eq!(relay.admitted(0, one, Origin::Client), []);
    }
    assert_eq!(relay.tick(BATCH_MS - 1), []);
    let list: Vec<Transaction> = all.iter().map(|one| one.transaction().clone()).collect();
    assert_eq!(relay.tick(BATCH_MS), [RelayOutput::Publish(gossip(&list))]);
    assert_eq!(relay.admitted(50, &verified(transaction(1, 9)), Origin::Peer), []);
    assert_eq!(relay.tick(1_000), [], "what peers sent is not announced again");
}

#[test]
fn large_ones_are_announced_by_id_and_batches_fit() {
    let mut relay = TransactionRelay::new();
    let large = verified(sized_transaction(1, 0, WHOLE_BYTES_MAX));
    relay.admitted(0, &large, Origin::Client);
    let out = relay.tick(BATCH_MS);
    assert_eq!(out, [RelayOutput::Publish(TransactionGossip::Ids(vec![large.id()]))]);
    let mut bytes = 0;
    for n in 0..40 {
        for output in relay.admitted(100, &verified(sized_transaction(1, n + 1, 10_000)), Origin::Client) {
            let RelayOutput::Publish(message) = output else { panic!("{output:?}") };
            assert!(message.encode().len() <= Topic::Transactions.bytes_max());
            bytes += message.encode().len();
        }
    }
    assert!(bytes > 300_000 && relay.held().0 < 8);
}

#[test]
fn each_is_given_out_once_and_refused_ones_never_again() {
    let mut relay = TransactionRelay::new();
    let (one, two) = (transaction(1, 0), transaction(1, 1));
    let message = gossip(&[one.clone(), two.clone()]);
    let out = relay.gossiped(0, &peer(1), GossipId(0), message.clone());
    assert_eq!(given(&out), [one.body.id(), two.body.id()]);
    assert_eq!(given(&relay.gossiped(0, &peer(2), GossipId(0), message.clone())), []);
    relay.refused(one.body.id());
    relay.postponed(two.body.id());
    relay.postponed(one.body.id());
    assert_eq!(given(&relay.gossiped(0, &peer(2), GossipId(0), message)), [two.body.id()]);
    assert_eq!(relay.admitted(0, &verified(one), Origin::Client), []);
    assert_eq!(relay.tick(1_000), [], "refused ones are not announced");
}

#[test]
fn garbage_takes_nothing_with_it() {
    let mut relay = TransactionRelay::new();
    let one = EncodedTransaction::new(&transaction(1, 0));
    let garbage = borsh::from_slice(&borsh::to_vec(&[7_u8; 9][..]).unwrap()).unwrap();
    let good = TransactionGossip::Whole(vec![one.clone()]);
    let bad = TransactionGossip::Whole(vec![one, garbage]);
    let blame = RelayOutput::Report { peer: peer(1), offence: Offence::Malformed };
    let judge = RelayOutput::Judge { gossip: GossipId(0), verdict: GossipVerdict::Ignore };
    assert_eq!(relay.gossiped(0, &peer(1), GossipId(0), bad), [judge, blame]);
    assert_eq!(given(&relay.gossiped(0, &peer(2), GossipId(0), good)).len(), 1, "it was not seen yet");
}

#[test]
fn copies_of_what_was_seen_come_along_as_known() {
    let mut relay = TransactionRelay::new();
    let (one, two) = (transaction(1, 0), transaction(1, 1));
    relay.gossiped(0, &peer(1), GossipId(0), gossip(std::slice::from_ref(&one)));
    let mut forged = one;
    forged.signature = two.signature;
    let out = relay.gossiped(0, &peer(2), GossipId(7), gossip(&[forged.clone(), two.clone()]));
    let (known, gossip) = (vec![forged], Some(GossipId(7)));
    assert_eq!(out, [RelayOutput::Admit { from: peer(2), gossip, transactions: vec![two], known }]);
}

#[test]
fn announced_ones_are_fetched_and_lies_are_blamed() {
    let mut relay = TransactionRelay::new();
    relay.connected(0, peer(1));
    let (one, two, other) = (transaction(1, 0), transaction(1, 1), transaction(1, 2));
    let ids = vec![one.body.id(), two.body.id()];
    let out = relay.gossiped(0, &peer(1), GossipId(0), TransactionGossip::Ids(ids));
    let [(id, Request::Transactions { ids })] = <[_; 1]>::try_from(asks(&out)).unwrap() else { panic!() };
    assert_eq!(ids.len(), 2);
    // One of them first, then something else.
    let part = Response::Transactions(vec![EncodedTransaction::new(&one)]);
    let out = relay.answered(1, id, Ok(part));
    assert_eq!(given(&out), [one.body.id()]);
    let [(id, Request::Transactions { ids })] = <[_; 1]>::try_from(asks(&out)).unwrap() else { panic!() };
    assert_eq!(ids, [two.body.id()]);
    let out = relay.answered(2, id, Ok(Response::Transactions(vec![EncodedTransaction::new(&other)])));
    assert_eq!(given(&out), []);
    assert!(out.contains(&RelayOutput::Report { peer: peer(1), offence: Offence::Lied }));
    assert_eq!(relay.held(), (0, 0));
}

#[test]
fn digests_bring_what_gossip_did_not() {
    let mut relay = TransactionRelay::new();
    let out = relay.connected(0, peer(1));
    let [(id, Request::PoolDigest { .. })] = <[_; 1]>::try_from(asks(&out)).unwrap() else { panic!() };
    let (one, two) = (transaction(1, 0), transaction(1, 1));
    relay.gossiped(0, &peer(1), GossipId(0), gossip(std::slice::from_ref(&two)));
    let mut ids = vec![one.body.id(), two.body.id()];
    ids.sort();
    let digest = Response::PoolDigest { ids: ids.clone(), next: Some(ids[1]) };
    let out = relay.answered(1, id, Ok(digest));
    assert_eq!(asks(&out)[0].1, Request::Transactions { ids: vec![one.body.id()] });
    // The next look goes on where this one ended.
    let out = relay.tick(1 + DIGEST_INTERVAL_MS);
    assert!(asks(&out).iter().any(|(_, request)| *request == Request::PoolDigest { from: ids[1] }));
}

#[test]
fn endless_announcements_are_bounded_and_the_vanished_forgotten() {
    let mut relay = TransactionRelay::new();
    relay.connected(0, peer(1));
    let mut judged = 0;
    for batch in 0..80 {
        let ids = (0..TRANSACTION_IDS_MAX as u64).map(|n| made_up(batch << 32 | n)).collect();
        judged += verdicts(&relay.gossiped(0, &peer(1), GossipId(batch), TransactionGossip::Ids(ids))).len();
    }
    assert_eq!(judged, 80 - announced::ANNOUNCED_MAX);
    assert_eq!(relay.held().1, WANTED_MAX);
    assert_eq!(relay.fetches.len(), 2);
    relay.disconnected(1, &peer(1));
    assert_eq!(relay.held(), (0, 0));
    for n in 0..REMEMBERED_MAX as u64 + 10 {
        relay.refused(made_up(n));
    }
    assert_eq!(relay.refused.ages.len(), REMEMBERED_MAX);
    assert_eq!(relay.refused.by_age.len(), REMEMBERED_MAX);
    assert!(!relay.refused.contains(&made_up(9)) && relay.refused.contains(&made_up(10)));
}

/// Anybody can make up ids: nodes passed on every announcement that named one they did not know.
#[test]
fn ids_are_passed_on_when_what_they_name_is_here() {
    use GossipVerdict::{Ignore, Relay};
    let mut relay = TransactionRelay::new();
    relay.connected(0, peer(1));
    relay.connected(0, peer(2));
    let (one, two) = (transaction(1, 0), transaction(1, 1));
    let ids = |list: &[TransactionId]| TransactionGossip::Ids(list.to_vec());
    let whole = |one: &Transaction| Ok(Response::Transactions(vec![EncodedTransaction::new(one)]));
    let ask = |out: &[RelayOutput]| {
        asks(out).into_iter().find(|(_, request)| matches!(request, Request::Transactions { .. })).unwrap().0
    };

    let out = relay.gossiped(0, &peer(1), GossipId(1), ids(&[one.body.id()]));
    assert_eq!(verdicts(&out), []);
    let out = relay.answered(1, ask(&out), whole(&one));
    assert_eq!(given(&out), [one.body.id()]);
    assert_eq!(verdicts(&out), [], "its signature was not checked");
    let out = relay.admitted(2, &verified(one.clone()), Origin::Peer);
    assert_eq!(verdicts(&out), [(GossipId(1), Relay)]);
    let out = relay.gossiped(3, &peer(2), GossipId(2), ids(&[one.body.id()]));
    assert_eq!(verdicts(&out), [(GossipId(2), Ignore)], "it was passed on");

    // One is right and the other made up; then one that the pool does not take; then one that nobody answers for.
    let out = relay.gossiped(4, &peer(1), GossipId(3), ids(&[made_up(1), two.body.id()]));
    let out = relay.answered(5, ask(&out), whole(&two));
    relay.admitted(6, &verified(two), Origin::Peer);
    let out = relay.answered(7, ask(&out), Ok(Response::Transactions(Vec::new())));
    assert_eq!(verdicts(&out), [(GossipId(3), Ignore)]);
    let three = transaction(1, 2);
    let out = relay.gossiped(8, &peer(1), GossipId(4), ids(&[three.body.id()]));
    relay.answered(9, ask(&out), whole(&three));
    relay.postponed(three.body.id());
    assert_eq!(verdicts(&relay.tick(10)), [(GossipId(4), Ignore)]);
    relay.gossiped(11, &peer(2), GossipId(5), ids(&[made_up(2)]));
    assert_eq!(verdicts(&relay.tick(11 + announced::ANNOUNCED_MS)), [(GossipId(5), Ignore)]);
    let out = relay.gossiped(30_000, &peer(9), GossipId(6), ids(&[made_up(3)]));
    assert_eq!(verdicts(&out), [(GossipId(6), Ignore)], "a stranger cannot be asked");
    assert_eq!(relay.announced, Announced::default());
}
