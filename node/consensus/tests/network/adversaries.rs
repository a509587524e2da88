//! Validators that break the rules, each with a name.

use super::world::{CALM, Weather, World, key};
use super::{EQUAL, UNEQUAL, for_seeds, seeds};
use purlin_primitives::Equivocation;

/// Equivocator: two processes with one key that know nothing of each other, both talking to everybody (S. Bano et
/// al., Twins: BFT Systems Made Robust, 2022).
#[test]
fn twins_are_found_by_everybody() {
    for_seeds(seeds(0..30), |seed| {
        let mut world = World::new(seed, EQUAL, 0, Weather { delay_ms: (1, 30), ..CALM });
        let twin = world.add(Some(key(0)));
        world.nodes[0].faulty = true;
        world.nodes[twin].faulty = true;
        // Different blocks, so different proposals and votes, whenever it is its turn.
        world.submit(0);
        world.submit(twin);
        let offender = key(0).public_key();
        for _ in 0..60 {
            world.run_for(500);
            if (1..4).all(|node| !world.nodes[node].evidence.is_empty()) {
                break;
            }
            world.submit(0);
            world.submit(twin);
        }
        for node in 1..4 {
            let evidence = &world.nodes[node].evidence;
            assert!(!evidence.is_empty(), "node {node} saw nothing");
            assert!(evidence.iter().all(|found| *found.offender() == offender));
        }
        let height = world.height(1);
        world.run_to(&[1, 2, 3], height + 3, 20_000);
    });
}

/// Late equivocator: the second signature appears when its height is long decided.
#[test]
fn a_contradiction_is_found_after_the_height_is_decided() {
    use purlin_primitives::{BlockId, Hash32, Height, Vote, VoteKind};
    let mut world = World::new(2, EQUAL, 0, CALM);
    world.run_to(&[0, 1, 2, 3], 8, 20_000);
    world.nodes[0].faulty = true;
    let vote = Vote {
        chain_id: super::world::chain_id(),
        height: Height::new(4),
        round: 0,
        kind: VoteKind::Prevote,
        block: Some(BlockId::new(Hash32::new([6; 32]))),
    };
    let signed = key(0).sign_vote(vote);
    let bytes = [&[1, 1][..], &borsh::to_vec(&signed).unwrap()].concat();
    for _ in 0..2 {
        (1..4).for_each(|node| world.inject(2, node, bytes.clone()));
    }
    for node in 1..4 {
        let [Equivocation::Votes { first, second }] = &world.nodes[node].evidence[..] else {
            panic!("{:?}", world.nodes[node].evidence)
        };
        assert!(first.vote.height == Height::new(4) && second.vote.height == Height::new(4));
    }
}

/// Silent proposer: it is never there when it is its turn.
#[test]
fn a_silent_proposer_costs_a_round() {
    for_seeds(seeds(0..10), |seed| {
        let mut world = World::new(seed, UNEQUAL, 0, CALM);
        world.crash(0);
        world.nodes[0].group = 9;
        let ms = world.run_to(&[1, 2, 3, 4, 5, 6], 15, 60_000);
        assert!(ms < 30_000, "{ms} ms");
        let missed = world.nodes[1].notices.len();
        assert!(missed > 0, "its turn never came");
        let seals = world.headers(1).filter(|header| header.seal != purlin_primitives::Seal::FIRST_ROUND);
        assert!(seals.count() > 0, "headers say who missed a turn");
    });
}
