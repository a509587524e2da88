//! An engine that may not sign yet.

use super::*;

fn held(key: &SecretKey) -> Desk {
    let signer = MemorySigner::new(key.clone());
    let engine = PosEngine::new(PosConfig::default(), chain(), Box::new(signer.clone())).held();
    let mut desk = Desk { engine, signer, now: NOW };
    let records = Vec::new();
    let started = Input::Started { head: head(), uncertified: None, validators: four(), records };
    assert_eq!(desk.input(started), [], "no timer, no vote");
    desk
}

#[test]
fn it_is_silent_and_votes_on_what_it_heard_once_it_may() {
    let mut desk = held(&others()[0]);
    let header = header(0, 1);
    let block = header.id();
    assert_eq!(desk.propose(proposal(&proposer(0), 0, block, None)), []);
    let other = &others()[1];
    assert_eq!(desk.vote(vote(other, HEIGHT, 0, VoteKind::Prevote, Some(block))), []);
    assert_eq!(desk.input(Input::TransactionsWaiting), []);

    let effects = desk.input(Input::SigningAllowed { above: Height::ZERO });
    assert!(effects.contains(&Effect::ValidateBlock { block, height: HEIGHT }), "{effects:?}");
    assert_eq!(votes(&desk.valid(&header)), [(VoteKind::Prevote, Some(block))]);
    assert_eq!(
        votes(&desk.vote(vote(&proposer(0), HEIGHT, 0, VoteKind::Prevote, Some(block)))),
        [(VoteKind::Precommit, Some(block))]
    );
    assert_eq!(desk.input(Input::SigningAllowed { above: Height::ZERO }), [], "once");
}

#[test]
fn it_follows_certificates_and_joins_at_the_height_it_came_to() {
    let mut desk = held(&others()[0]);
    let header = header(0, 1);
    let (block, good) = (header.id(), certificate(header.id(), HEIGHT));
    let (certificate, from) = (good.clone(), vec![7]);
    let effects = desk.input(Input::Certified { header: Box::new(header.clone()), certificate, from });
    assert_eq!(effects, [Effect::ValidateBlock { block, height: HEIGHT }]);
    // Allowed in the middle of a commit, it signs nothing at the height that is decided.
    assert_eq!(desk.input(Input::SigningAllowed { above: Height::ZERO }), []);
    assert_eq!(desk.valid(&header), [Effect::Commit { block, certificate: Some(good) }]);
    let head = Head { height: HEIGHT, id: block, time: header.time, anchored: true };
    let effects = desk.input(Input::Committed { head, header: Box::new(header), validators: four() });
    assert!(!effects.is_empty(), "the rounds of the next height begin");
    assert!(matches!(desk.engine.mode, Mode::Rounds(_)));
}

#[test]
fn a_height_where_its_key_was_used_is_left_to_others() {
    let mut desk = held(&others()[0]);
    assert_eq!(desk.input(Input::SigningAllowed { above: HEIGHT }), []);
    let header = header(0, 1);
    let (block, good) = (header.id(), certificate(header.id(), HEIGHT));
    assert_eq!(desk.propose(proposal(&proposer(0), 0, block, None)), []);
    let from = vec![7];
    desk.input(Input::Certified { header: Box::new(header.clone()), certificate: good, from });
    desk.valid(&header);
    let head = Head { height: HEIGHT, id: block, time: header.time, anchored: true };
    desk.input(Input::Committed { head, header: Box::new(header), validators: four() });
    assert!(matches!(desk.engine.mode, Mode::Rounds(_)), "the next one is not");
}

#[test]
fn what_is_kept_meanwhile_has_bounds() {
    let mut desk = held(&others()[0]);
    let key = &others()[1];
    for round in 0..100 {
        assert_eq!(desk.vote(vote(key, HEIGHT, round, VoteKind::Prevote, None)), []);
    }
    assert_eq!(desk.engine.early.take(HEIGHT).len(), 8);
}

#[test]
fn who_decides_alone_does_not_wait() {
    let key = keys().remove(0);
    let public_key = key.public_key();
    let alone = Validator { public_key, account: public_key.account_id(), power: 1 };
    let engine = PosEngine::new(PosConfig::default(), chain(), Box::new(MemorySigner::new(key))).held();
    let mut engine = engine;
    let validators = Arc::new(ValidatorSet::new(vec![alone]).unwrap());
    let started = Input::Started { head: head(), uncertified: None, validators, records: vec![] };
    engine.handle(TimestampMs::new(NOW), started);
    assert!(matches!(engine.mode, Mode::Solo(_)));
}
