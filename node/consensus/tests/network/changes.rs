//! Validator sets that change from height to height.

use super::world::{CALM, World, key, validators};
use super::{EQUAL, for_seeds, seeds};
use purlin_primitives::{Validator, ValidatorSet};
use std::sync::Arc;

fn only(n: usize) -> Arc<ValidatorSet> {
    let public_key = key(n).public_key();
    let validator = Validator { public_key, account: public_key.account_id(), power: 5 };
    Arc::new(ValidatorSet::new(vec![validator]).unwrap())
}

#[test]
fn one_becomes_four_and_one_again() {
    for_seeds(seeds(0..20), |seed| {
        let mut world = World::new(seed, EQUAL, 1, CALM);
        let four = Arc::clone(&world.sets[&0]);
        world.sets.insert(0, only(1));
        world.sets.insert(4, four);
        world.sets.insert(8, only(2));
        world.sets.insert(11, Arc::new(validators(&[1, 1, 1, 1])));
        let all = [0, 1, 2, 3, 4];
        for height in 1..=15 {
            (0..4).for_each(|node| world.submit(node));
            world.run_to(&all, height, 20_000);
        }
        for (height, signatures) in [(1, 1..=1), (3, 1..=1), (4, 3..=4), (7, 3..=4), (8, 1..=1), (11, 3..=4)]
        {
            let count = world.certificate(4, height).signatures.len();
            assert!(signatures.contains(&count), "height {height} has {count} signatures");
        }
        assert_eq!(world.conflicts(), 0);
    });
}
