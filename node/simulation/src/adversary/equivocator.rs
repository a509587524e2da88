//! Signs two votes or two proposals of one round, and shows each to some.

use purlin_primitives::{BlockId, Hash32, SignedProposal, SignedVote};
use purlin_sync::Topic;

use super::{Behaviour, Sent, Situation};
use crate::link::Output;
use crate::random::Random;

pub(super) struct Equivocator;

/// Signs something else for the same place.
fn contradict(random: &mut Random, at: &Situation<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
    let own = at.key.public_key();
    let block = BlockId::new(Hash32::new(random.bytes()));
    match bytes {
        [1, 1, body @ ..] => {
            let signed: SignedVote = borsh::from_slice(body).ok()?;
            let mut vote = signed.vote;
            vote.block = if vote.block.is_some() && random.percent(50) { None } else { Some(block) };
            let other = (signed.public_key == own).then(|| at.key.sign_vote(vote))?;
            Some([&[1, 1][..], &borsh::to_vec(&other).ok()?].concat())
        }
        [1, 2, body @ ..] => {
            let signed: SignedProposal = borsh::from_slice(body).ok()?;
            let mut proposal = signed.proposal;
            proposal.block = block;
            let other = (signed.public_key == own).then(|| at.key.sign_proposal(proposal))?;
            Some([&[1, 2][..], &borsh::to_vec(&other).ok()?].concat())
        }
        _ => None,
    }
}

impl Behaviour for Equivocator {
    fn send(&mut self, random: &mut Random, at: &Situation<'_>, output: Output) -> Vec<Sent> {
        let Output::Publish { topic: Topic::Consensus, bytes } = &output else {
            return vec![Sent::Output(output)];
        };
        if !random.percent(30) {
            return vec![Sent::Output(output)];
        }
        let Some(other) = contradict(random, at, bytes) else { return vec![Sent::Output(output)] };
        let topic = Topic::Consensus;
        if random.percent(50) {
            let to = at.peers.to_vec();
            return vec![Sent::Output(output), Sent::Gossip { to, topic, bytes: other }];
        }
        let (some, rest): (Vec<usize>, Vec<usize>) = at.peers.iter().partition(|_| random.percent(50));
        vec![
            Sent::Gossip { to: some, topic, bytes: bytes.clone() },
            Sent::Gossip { to: rest, topic, bytes: other },
        ]
    }
}
