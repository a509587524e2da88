//! Proposes blocks and gives nobody their bodies, nor anything else that it is asked for.

use purlin_sync::Topic;

use super::{Behaviour, Sent, Situation};
use crate::link::Output;
use crate::random::Random;

pub(super) struct Withholder;

impl Behaviour for Withholder {
    fn send(&mut self, random: &mut Random, _at: &Situation<'_>, output: Output) -> Vec<Sent> {
        match output {
            Output::Publish { topic: Topic::Blocks | Topic::Transactions, .. } => Vec::new(),
            // It says that it is busy, or nothing at all until the request times out.
            Output::Answer { id, .. } if random.percent(50) => {
                vec![Sent::Output(Output::Answer { id, bytes: None })]
            }
            Output::Answer { .. } => Vec::new(),
            other => vec![Sent::Output(other)],
        }
    }
}
