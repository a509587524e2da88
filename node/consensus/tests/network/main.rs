//! Many engines under a seeded network: agreement, one signature per height, round and kind, and progress.

mod world;

use world::{CALM, World};

#[test]
fn four_engines_decide_blocks() {
    let mut world = World::new(1, &[1, 1, 1, 1], 1, CALM);
    world.submit(2);
    let ms = world.run_to(&[0, 1, 2, 3, 4], 10, 10_000);
    assert!(ms > 9 * 50, "idle blocks came every {} ms", ms / 10);
    assert_eq!(world.conflicts(), 0);
    assert!(world.nodes.iter().all(|node| node.notices.is_empty()));
}
