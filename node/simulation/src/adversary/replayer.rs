//! Sends again what it heard and said, in any order and to anybody.

use purlin_sync::Topic;
use std::collections::VecDeque;

use super::{Behaviour, Sent, Situation};
use crate::link::Output;
use crate::random::Random;

/// Messages that it remembers.
const MEMORY_MAX: usize = 600;

#[derive(Default)]
pub(super) struct Replayer {
    heard: VecDeque<(Topic, Vec<u8>)>,
}

impl Replayer {
    fn remember(&mut self, topic: Topic, bytes: &[u8]) {
        if self.heard.len() >= MEMORY_MAX {
            self.heard.pop_front();
        }
        self.heard.push_back((topic, bytes.to_vec()));
    }
}

impl Behaviour for Replayer {
    fn send(&mut self, _random: &mut Random, _at: &Situation<'_>, output: Output) -> Vec<Sent> {
        if let Output::Publish { topic, bytes } = &output {
            self.remember(*topic, bytes);
        }
        vec![Sent::Output(output)]
    }

    fn hear_gossip(&mut self, topic: Topic, bytes: &[u8]) {
        self.remember(topic, bytes);
    }

    fn act(&mut self, random: &mut Random, at: &Situation<'_>) -> Vec<Sent> {
        if self.heard.is_empty() || at.peers.is_empty() {
            return Vec::new();
        }
        let mut again = || {
            let (topic, bytes) = self.heard[random.below(self.heard.len())].clone();
            Sent::Gossip { to: vec![*random.pick(at.peers)], topic, bytes }
        };
        (0..8).map(|_| again()).collect()
    }
}
