//! One engine and several, with real work at an easy target.
#![allow(clippy::unwrap_used, reason = "tests panic where their assertions would")]

use super::*;
use crate::pow::tree::tests::{EASIEST, child, rules, worked};
use crate::pow::{Target, Work};
use purlin_primitives::Seal;
use world::World;

#[path = "world.rs"]
mod world;

const MINING: Mining = Mining::On { renew_after_ms: 2_000 };

#[test]
fn one_miner_makes_blocks_at_about_the_wanted_rate() {
    let mut world = World::new(1, 16);
    world.nodes[0].hash_rate = 2;
    world.run_until(20_000, |world| world.heights()[0] >= 700);
    let chain = &world.nodes[0].chain;
    assert!(chain.windows(2).all(|pair| pair[0].time < pair[1].time));
    // It starts far too easy; after some half-lives of sixty blocks the rate has settled.
    let early = chain[60].time.get() - chain[0].time.get();
    let late = chain[699].time.get() - chain[639].time.get();
    assert!(early < 45_000, "the first sixty took {early} ms");
    assert!((40_000..90_000).contains(&late), "the last sixty took {late} ms");
    assert_eq!(world.nodes[0].engine.headers().final_height(), Height::new(700 - 16));
    assert!(world.nodes[0].held_max <= 1);
}

#[test]
fn a_partition_of_two_and_one_heals_to_the_heavier_branch() {
    for seed in 1..=3 {
        let mut world = World::new(3, 64);
        (0..3).for_each(|node| world.nodes[node].hash_rate = 1 + (node as u64 + seed) % 2);
        world.run_until(5_000, |world| world.heights().iter().all(|height| *height >= 10));
        world.settle();
        let common = world.nodes[0].chain.len();
        world.group = vec![0, 0, 1];
        world.run_until(20_000, |world| world.heights()[0] >= common as u64 + 50);
        assert_ne!(world.head(0), world.head(2));
        let work = |world: &World, node: usize| -> Work {
            let targets = world.nodes[node].chain.iter().map(|header| match header.seal {
                Seal::Pow { target, .. } => Target::from_compact(target).unwrap().work(),
                _ => panic!(),
            });
            targets.fold(Work::ZERO, Work::plus)
        };
        let heaviest = (0..3).max_by_key(|node| work(&world, *node)).unwrap();
        let expected = world.nodes[heaviest].chain.clone();
        world.group = vec![0, 0, 0];
        (0..3).for_each(|node| world.nodes[node].rest());
        // They meet again.
        for one in 0..3 {
            for other in (0..3).filter(|other| *other != one) {
                world.announce(one, other);
            }
        }
        world.settle();
        for node in 0..3 {
            assert!(world.nodes[node].chain == expected, "seed {seed} node {node}: {:?}", world.heights());
        }
        let reorganized = world
            .nodes
            .iter()
            .flat_map(|node| &node.notices)
            .any(|notice| matches!(notice, PowNotice::Reorganized { removed, .. } if *removed > 5));
        assert!(reorganized, "seed {seed}");
        assert!(world.nodes.iter().all(|node| node.blames.is_empty()), "seed {seed}");
        // And it goes on together.
        let height = expected.len() as u64;
        world.nodes[0].hash_rate = 2;
        world.run_until(20_000, |world| world.heights().iter().all(|reached| *reached >= height + 5));
    }
}

#[test]
fn miners_that_reach_each_other_agree_but_for_the_last_blocks() {
    let mut world = World::new(4, 32);
    world.run_until(20_000, |world| world.heights().iter().all(|height| *height >= 150));
    world.settle();
    let shortest = *world.heights().iter().min().unwrap() as usize;
    let agreed = &world.nodes[0].chain[..shortest - 6];
    assert!(world.nodes.iter().all(|node| node.chain[..shortest - 6] == *agreed));
    assert!(world.nodes.iter().all(|node| node.blames.is_empty()));
}

#[test]
fn a_fresh_node_and_one_that_restarts_catch_up() {
    let mut world = World::new(2, 32);
    world.run_until(200_000, |world| world.heights()[0] >= 1_100);
    let fresh = world.join(Mining::Off);
    world.restart(1);
    assert!(world.nodes[fresh].chain.is_empty());
    // An answer at a time, as whoever catches up sees that there is more.
    for _ in 0..3 {
        world.announce(0, fresh);
        world.settle();
    }
    assert_eq!(world.head(fresh), world.head(0));
    let node = &world.nodes[fresh];
    assert!((2..=5).contains(&node.requests), "{} requests", node.requests);
    assert!(node.held_max <= VALIDATIONS_MAX + 1, "{} blocks held", node.held_max);
    assert!(node.notices.is_empty() && node.blames.is_empty());
    // The restarted miner mines on, and what it mines is taken.
    world.nodes[0].rest();
    let height = world.heights()[0];
    world.run_until(20_000, |world| world.heights().iter().all(|reached| *reached >= height + 3));
    assert!(world.nodes.iter().all(|node| node.blames.is_empty()));
}

#[test]
fn a_branch_without_bodies_does_not_stop_the_others() {
    let mut world = World::new(2, 64);
    world.run_until(5_000, |world| world.heights().iter().all(|height| *height >= 5));
    world.settle();
    // The second works alone and keeps its first block's body to itself.
    world.group = vec![0, 1];
    world.nodes[1].hash_rate = 12;
    let fork = world.nodes[1].chain.len();
    let both = world.heights()[0] as usize;
    world.run_until(20_000, |world| {
        world.heights()[1] >= fork as u64 + 60 && world.heights()[1] > world.heights()[0] + 30
    });
    let common = world.nodes[0].chain.iter().zip(&world.nodes[1].chain).take_while(|(a, b)| a == b).count();
    assert!(common <= both);
    let secret = world.nodes[1].chain[common].id();
    world.withheld.insert(secret);
    world.group = vec![0, 0];
    world.nodes[1].rest();
    world.announce(1, 0);
    let before = world.heights()[0];
    let missing =
        |notice: &PowNotice| matches!(notice, PowNotice::BodyMissing { block, .. } if *block == secret);
    world.run_until(2_000, |world| {
        world.heights()[0] >= before + 5 && world.nodes[0].notices.iter().any(missing)
    });
    assert_ne!(world.nodes[0].chain[common].id(), secret);
    assert!(world.nodes[0].blames.is_empty(), "who has not got it is not to blame");
    // It turns up, and is asked for again.
    world.withheld.clear();
    world.nodes[0].rest();
    world.run_until(2_000, |world| world.nodes[0].chain[common].id() == secret);
    assert_eq!(world.head(0), world.head(1));
}

#[test]
fn an_invalid_block_is_left_with_all_that_follows_it() {
    let mut world = World::new(2, 32);
    world.run_until(5_000, |world| world.heights().iter().all(|height| *height >= 5));
    world.settle();
    world.group = vec![0, 1];
    world.nodes[1].hash_rate = 12;
    let fork = world.nodes[1].chain.len();
    world.run_until(20_000, |world| {
        world.heights()[1] >= fork as u64 + 25 && world.heights()[1] > world.heights()[0] + 15
    });
    let bad = world.nodes[1].chain[world.nodes[1].chain.len() - 3].id();
    world.invalid.insert(bad);
    let expected = world.nodes[1].chain[world.nodes[1].chain.len() - 4].id();
    world.group = vec![0, 0];
    (0..2).for_each(|node| world.nodes[node].rest());
    world.announce(1, 0);
    world.settle();
    // The blocks before the bad one are heavier than its own branch.
    let node = &world.nodes[0];
    assert_eq!(world.head(0), expected);
    assert_eq!(node.blames.len(), 1, "{:?}", node.blames);
    assert!(node.notices.iter().any(|n| matches!(n, PowNotice::InvalidBlock { block, .. } if *block == bad)));
    assert!(node.engine.headers().get(&bad).is_none());
    // Named again, it is refused by its header alone.
    world.announce(1, 0);
    world.settle();
    assert_eq!(world.head(0), expected);
}

#[test]
fn what_is_deeper_than_the_window_stays() {
    let mut world = World::new(2, 8);
    world.run_until(5_000, |world| world.heights().iter().all(|height| *height >= 5));
    world.settle();
    world.group = vec![0, 1];
    world.nodes[1].hash_rate = 12;
    world.run_until(50_000, |world| world.heights()[0] >= 40 && world.heights()[1] >= 60);
    world.group = vec![0, 0];
    (0..2).for_each(|node| world.nodes[node].rest());
    let before = world.head(0);
    for _ in 0..3 {
        world.announce(1, 0);
        world.settle();
    }
    assert_eq!(world.head(0), before);
    let refused = |notice: &&PowNotice| matches!(notice, PowNotice::FinalBranchRefused { .. });
    assert_eq!(
        world.nodes[0].notices.iter().filter(refused).count(),
        1,
        "reported once: {:?}",
        world.nodes[0].notices
    );
}

#[test]
fn a_branch_that_the_driver_cannot_go_over_to_is_left_without_blame() {
    let mut world = World::new(2, 64);
    world.run_until(5_000, |world| world.heights().iter().all(|height| *height >= 5));
    world.settle();
    world.group = vec![0, 1];
    world.nodes[1].hash_rate = 12;
    world.run_until(20_000, |world| world.heights()[1] > world.heights()[0] + 25);
    world.too_large = true;
    world.group = vec![0, 0];
    world.nodes[1].rest();
    let before = world.heights()[0];
    // It goes on where it is, is not asked to try again, and holds nothing against who follows the branch.
    world.announce(1, 0);
    world.run_until(2_000, |world| world.heights()[0] >= before + 3);
    world.announce(1, 0);
    world.run_until(2_000, |world| world.heights()[0] >= before + 5);
    let node = &world.nodes[0];
    let left = |notice: &&PowNotice| matches!(notice, PowNotice::BranchLeft { .. });
    assert_eq!(node.notices.iter().filter(left).count(), 1, "{:?}", node.notices);
    assert!(node.blames.is_empty() && world.heights()[0] < world.heights()[1]);
}

fn started(mining: Mining) -> PowEngine {
    let mut engine =
        PowEngine::new(World::config(16, mining), Box::new(crate::pow::DoubleSha256), History::default())
            .unwrap();
    let head = crate::port::Head {
        height: Height::ZERO,
        id: rules(0).genesis,
        time: rules(0).genesis_time,
        anchored: false,
    };
    let started =
        Input::Started { head, uncertified: None, validators: Default::default(), records: Vec::new() };
    engine.handle(NOW, started);
    engine
}

const NOW: TimestampMs = TimestampMs::new(1_000_000);

fn headers(from: &[u8], headers: Vec<BlockHeader>) -> Input {
    Input::Pow(PowInput::Headers { from: from.to_vec(), headers })
}

/// Headers on the genesis, one a second.
fn chain_of(count: usize, salt: u8) -> Vec<BlockHeader> {
    let mut tree = crate::pow::tree::tests::tree(16);
    let mut parent = rules(0).genesis;
    let mut chain = Vec::new();
    for _ in 0..count {
        let header = child(&tree, &parent, 1_000, salt);
        parent = header.id();
        let inserted = tree.insert(&crate::pow::DoubleSha256, &header, NOW, None, Body::Unknown);
        assert_eq!(inserted, Inserted::New);
        chain.push(header);
    }
    chain
}

#[test]
fn an_orphan_is_kept_and_its_ancestors_are_asked_for_once() {
    let chain = chain_of(5, 1);
    let mut engine = started(Mining::Off);
    let effects = engine.handle(NOW, headers(b"a", vec![chain[4].clone()]));
    assert_eq!(effects, [Effect::Pow(PowEffect::RequestHeaders { from: b"a".to_vec() })]);
    // The answer is of no use: there is no second question.
    assert_eq!(engine.handle(NOW, headers(b"a", vec![chain[3].clone()])), []);
    let effects = engine.handle(NOW, headers(b"b", chain[..3].to_vec()));
    let asked = effects.iter().filter(|e| matches!(e, Effect::Pow(PowEffect::Validate { .. }))).count();
    assert_eq!(asked, 5, "both orphans fit now");
    assert!(engine.orphans.is_empty());
}

#[test]
fn a_header_from_the_future_waits_for_its_time() {
    let mut header = chain_of(1, 1).remove(0);
    header.time = TimestampMs::new(NOW.get() + 7_000);
    let header = worked(header);
    let mut engine = started(Mining::Off);
    let effects = engine.handle(NOW, headers(b"a", vec![header.clone()]));
    assert_eq!(effects, [Effect::SetTimer { timer: EARLY, after_ms: 2_000 }]);
    let then = TimestampMs::new(NOW.get() + 2_000);
    let effects = engine.handle(then, Input::TimerElapsed { timer: EARLY });
    assert!(
        matches!(&effects[..], [Effect::Pow(PowEffect::Validate { header: asked, .. }), ..] if **asked == header)
    );
    for salt in 0..=255 {
        let mut far = header.clone();
        far.time = TimestampMs::new(NOW.get() + 20_000 + salt);
        engine.handle(NOW, headers(b"a", vec![worked(far)]));
    }
    assert_eq!(engine.early.len(), EARLY_HEADERS_MAX);
}

fn announced(from: &[u8], header: &BlockHeader) -> Input {
    let bytes = PowMessage::Header(Box::new(header.clone())).encode();
    Input::Message { from: from.to_vec(), bytes }
}

fn blames(effects: &[Effect]) -> Vec<&[u8]> {
    let peers = effects.iter().filter_map(|effect| match effect {
        Effect::Blame { peer, .. } => Some(&peer[..]),
        _ => None,
    });
    peers.collect()
}

#[test]
fn who_passes_on_a_wrong_header_is_not_blamed_and_who_answers_with_it_is() {
    let chain = chain_of(3, 1);
    let mut wrong = chain[1].clone();
    wrong.seal = Seal::Pow { target: EASIEST - 1, nonce: 0 };
    let wrong = worked(wrong);
    let mut engine = started(Mining::Off);
    engine.handle(NOW, headers(b"good", vec![chain[0].clone()]));
    assert_eq!(blames(&engine.handle(NOW, announced(b"relayer", &wrong))), [] as [&[u8]; 0]);
    assert_eq!(blames(&engine.handle(NOW, headers(b"liar", vec![wrong.clone()]))), [b"liar"]);
    // Kept until its parent is there, or until its time.
    let mut engine = started(Mining::Off);
    engine.handle(NOW, announced(b"relayer", &wrong));
    assert_eq!(engine.orphans.len(), 1);
    assert_eq!(blames(&engine.handle(NOW, headers(b"good", vec![chain[0].clone()]))), [] as [&[u8]; 0]);
    let mut engine = started(Mining::Off);
    engine.handle(NOW, headers(b"liar", vec![wrong.clone()]));
    assert_eq!(blames(&engine.handle(NOW, headers(b"good", vec![chain[0].clone()]))), [b"liar"]);
    // And a body that breaks a rule.
    let invalid = |block| Input::BlockValidated { block, verdict: Verdict::Invalid { reason: "no".into() } };
    let (relayed, answered) = (announced(b"a", &chain[0]), headers(b"b", vec![chain[0].clone()]));
    for (inputs, expected) in [
        (vec![relayed.clone()], [].as_slice()),
        (vec![answered.clone()], [b"b".as_slice()].as_slice()),
        (vec![relayed.clone(), answered.clone()], [b"b".as_slice()].as_slice()),
        (vec![answered, relayed], [b"b".as_slice()].as_slice()),
    ] {
        let mut engine = started(Mining::Off);
        let effects: Vec<Effect> = inputs.into_iter().flat_map(|input| engine.handle(NOW, input)).collect();
        let asked =
            |effect: &Effect| matches!(effect, Effect::Pow(PowEffect::Validate { from: Some(_), .. }));
        assert!(effects.iter().any(asked), "{effects:?}");
        assert_eq!(blames(&engine.handle(NOW, invalid(chain[0].id()))), expected);
    }
}

#[test]
fn a_miner_that_has_just_begun_raises_no_alarm_and_is_followed_later() {
    let mut world = World::new(1, 8);
    world.run_until(5_000, |world| world.heights()[0] >= 20);
    world.nodes[0].rest();
    let now = TimestampMs::new(world.now);
    let young = chain_of(2, 7);
    let next = {
        let node = &world.nodes[0];
        let time = TimestampMs::new(node.head().time.get() + 1_000);
        let tree = node.engine.headers();
        let target = tree.next_target(tree.head_entry());
        worked(node.next_header(node.head().height.next(), time, Seal::Pow { target, nonce: 0 }, 0))
    };
    let engine = &mut world.nodes[0].engine;
    let alarm = |effects: &[Effect]| {
        let report = |effect: &Effect| {
            matches!(effect, Effect::Report(Notice::Pow(PowNotice::FinalBranchRefused { .. })))
        };
        effects.iter().any(report)
    };
    assert!(!alarm(&engine.handle(now, announced(b"young", &young[1]))));
    // What it says is its chain is another matter, until it follows this one.
    assert!(alarm(&engine.handle(now, headers(b"young", young.clone()))));
    assert!(!alarm(&engine.handle(now, headers(b"young", young.clone()))));
    engine.handle(now, announced(b"young", &next));
    assert!(engine.headers().get(&next.id()).is_some() && engine.reported.is_empty());
}

#[test]
fn nonsense_is_blamed_on_who_sent_it() {
    let mut engine = started(Mining::Off);
    let good = chain_of(1, 1).remove(0);
    let mut wrong = good.clone();
    wrong.chain_id = "other".parse().unwrap();
    let encoded = PowMessage::Header(Box::new(good.clone())).encode();
    let message = |bytes: Vec<u8>| Input::Message { from: b"a".to_vec(), bytes };
    for input in [
        headers(b"a", vec![worked(wrong)]),
        headers(b"a", vec![good.clone(); HEADERS_PER_ANSWER_MAX + 1]),
        message(Vec::new()),
        message(vec![7; 40]),
        message([&encoded[..], &[0]].concat()),
        message(vec![0; 2_000]),
    ] {
        let effects = engine.handle(NOW, input.clone());
        assert!(
            matches!(&effects[..], [Effect::Blame { peer, .. }] if peer == b"a"),
            "{input:?}: {effects:?}"
        );
    }
    assert!(!engine.handle(NOW, message(encoded)).is_empty());
}

#[test]
fn miners_work_on_the_head_and_are_told_when_it_moves() {
    let mut engine = started(MINING);
    // Started by `started`: a build is under way.
    let other = chain_of(1, 1).remove(0);
    let mut world_header = other.clone();
    world_header.transactions_root = purlin_primitives::Block::transactions_root(&[]);
    world_header.seal = Seal::Pow { target: EASIEST, nonce: 0 };
    let proposal = |header: &BlockHeader| crate::port::Proposal {
        id: header.id(),
        header: header.clone(),
        anchored: false,
    };
    let built =
        |header: &BlockHeader| Input::ProposalBuilt { proposal: proposal(header), more_waiting: false };
    let effects = engine.handle(NOW, built(&world_header));
    assert!(
        matches!(&effects[..], [Effect::Pow(PowEffect::Mine { header }), Effect::SetTimer { timer: RENEW, .. }] if **header == world_header)
    );
    // A transaction does not wait while an empty block is mined; the second one does.
    let effects = engine.handle(NOW, Input::TransactionsWaiting);
    assert!(matches!(&effects[..], [Effect::BuildProposal { height, .. }] if height.get() == 1));
    assert_eq!(engine.handle(NOW, Input::TransactionsWaiting), []);
    // Somebody else is faster.
    let block = other.id();
    engine.handle(NOW, headers(b"a", vec![other.clone()]));
    let effects = engine.handle(
        NOW,
        Input::BlockValidated { block, verdict: Verdict::Valid { header: Box::new(other.clone()) } },
    );
    assert!(effects.contains(&Effect::Commit { block, certificate: None }), "{effects:?}");
    let head = crate::port::Head { height: Height::new(1), id: block, time: other.time, anchored: false };
    let committed = Input::Committed { head, header: Box::new(other), validators: Default::default() };
    let effects = engine.handle(NOW, committed);
    assert_eq!(effects, [Effect::Pow(PowEffect::StopMining)], "the build under way is waited for");
    let effects = engine.handle(NOW, built(&world_header));
    assert!(
        matches!(&effects[..], [Effect::BuildProposal { height, .. }] if height.get() == 2),
        "{effects:?}"
    );
    // A nonce for the old block comes too late, and is not taken for anything else.
    let late = worked(world_header);
    let effects = engine.handle(NOW, Input::Pow(PowInput::Mined { header: Box::new(late.clone()) }));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Commit { .. } | Effect::Publish(_))), "{effects:?}");
    assert!(engine.headers().get(&late.id()).is_some(), "a side branch like any other");
}

#[test]
fn a_driver_that_stores_what_was_not_asked_for_is_stopped() {
    let mut engine = started(Mining::Off);
    let effects = engine.handle(NOW, Input::Pow(PowInput::Reorganized { head: BlockId::ZERO }));
    assert!(matches!(&effects[..], [Effect::Halt { .. }]));
    let mut engine =
        PowEngine::new(World::config(16, MINING), Box::new(crate::pow::DoubleSha256), History::default())
            .unwrap();
    let head = crate::port::Head { height: Height::new(1), id: BlockId::ZERO, time: NOW, anchored: false };
    let input =
        Input::Started { head, uncertified: None, validators: Default::default(), records: Vec::new() };
    assert!(matches!(&engine.handle(NOW, input)[..], [Effect::Halt { .. }]));
}
