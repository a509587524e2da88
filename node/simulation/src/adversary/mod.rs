//! Validators that break the rules, each with a name and a file: real nodes whose words are altered on their way out.

mod amnesiac;
mod equivocator;
mod flooder;
mod invalid_proposer;
mod liar;
mod replayer;
mod spammer;
mod withholder;

use purlin_chain::Chain;
use purlin_primitives::SecretKey;
use purlin_sync::{InboundId, Topic};
use std::fmt;
use std::sync::Arc;

use crate::link::Output;
use crate::random::Random;
use crate::store::SimStore;

/// How a validator misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Signs two votes or proposals of one round.
    Equivocator,
    /// Proposes and gives nobody the bodies of its blocks, nor any others.
    Withholder,
    /// Answers with heights, headers and blocks that are not so.
    Liar,
    /// Proposes blocks that break a rule.
    InvalidProposer,
    /// Sends again what was said before.
    Replayer,
    /// Sends more than its share, and what is no message.
    Spammer,
    /// Forgets at every start what it signed.
    Amnesiac,
    /// Floods gossip with what nobody proposed or signed.
    Flooder,
}

impl Kind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Equivocator,
        Self::Withholder,
        Self::Liar,
        Self::InvalidProposer,
        Self::Replayer,
        Self::Spammer,
        Self::Amnesiac,
        Self::Flooder,
    ];

    /// Returns the name used in plans and statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equivocator => "equivocator",
            Self::Withholder => "withholder",
            Self::Liar => "liar",
            Self::InvalidProposer => "invalid-proposer",
            Self::Replayer => "replayer",
            Self::Spammer => "spammer",
            Self::Amnesiac => "amnesiac",
            Self::Flooder => "flooder",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an adversary knows when it acts.
pub(crate) struct Situation<'a> {
    pub(crate) chain: &'a Chain<Arc<SimStore>>,
    pub(crate) peers: &'a [usize],
    pub(crate) key: &'a SecretKey,
}

/// What leaves an adversary.
pub(crate) enum Sent {
    /// As a node says it.
    Output(Output),
    /// Gossip to some peers only, whether or not it was sent before.
    Gossip { to: Vec<usize>, topic: Topic, bytes: Vec<u8> },
}

/// Decides what an adversary does; the default is to be honest.
pub(crate) trait Behaviour {
    /// Alters what the node says.
    fn send(&mut self, _random: &mut Random, _at: &Situation<'_>, output: Output) -> Vec<Sent> {
        vec![Sent::Output(output)]
    }

    /// Hears gossip on its way in.
    fn hear_gossip(&mut self, _topic: Topic, _bytes: &[u8]) {}

    /// Hears a request on its way in.
    fn hear_request(&mut self, _id: InboundId, _bytes: &[u8]) {}

    /// Does something of its own accord, a few times a second.
    fn act(&mut self, _random: &mut Random, _at: &Situation<'_>) -> Vec<Sent> {
        Vec::new()
    }
}

/// A validator that misbehaves.
pub(crate) struct Adversary {
    pub(crate) kind: Kind,
    key: SecretKey,
    random: Random,
    behaviour: Box<dyn Behaviour>,
}

impl Adversary {
    pub(crate) fn new(kind: Kind, node: usize, key: SecretKey, seed: u64) -> Self {
        let behaviour: Box<dyn Behaviour> = match kind {
            Kind::Equivocator => Box::new(equivocator::Equivocator),
            Kind::Withholder => Box::new(withholder::Withholder),
            Kind::Liar => Box::<liar::Liar>::default(),
            Kind::InvalidProposer => Box::<invalid_proposer::InvalidProposer>::default(),
            Kind::Replayer => Box::<replayer::Replayer>::default(),
            Kind::Spammer => Box::<spammer::Spammer>::default(),
            Kind::Amnesiac => Box::new(amnesiac::Amnesiac),
            Kind::Flooder => Box::<flooder::Flooder>::default(),
        };
        Self { kind, key, random: Random::new(seed, 100 + node as u64), behaviour }
    }

    pub(crate) fn send(
        &mut self,
        chain: &Chain<Arc<SimStore>>,
        peers: &[usize],
        outputs: Vec<Output>,
    ) -> Vec<Sent> {
        let at = Situation { chain, peers, key: &self.key };
        let (behaviour, random) = (&mut self.behaviour, &mut self.random);
        outputs.into_iter().flat_map(|output| behaviour.send(random, &at, output)).collect()
    }

    pub(crate) fn hear_gossip(&mut self, topic: Topic, bytes: &[u8]) {
        self.behaviour.hear_gossip(topic, bytes);
    }

    pub(crate) fn hear_request(&mut self, id: InboundId, bytes: &[u8]) {
        self.behaviour.hear_request(id, bytes);
    }

    pub(crate) fn act(&mut self, chain: &Chain<Arc<SimStore>>, peers: &[usize]) -> Vec<Sent> {
        self.behaviour.act(&mut self.random, &Situation { chain, peers, key: &self.key })
    }
}
