//! Floods gossip with what nobody proposed or signed: announcements of made-up blocks, genuine certificates under
//! other headers, votes of strangers, and ids of transactions that everybody has.

use purlin_primitives::{
    Block, BlockHeader, BlockId, Hash32, Seal, SecretKey, TimestampMs, TransactionId, Vote, VoteKind,
};
use purlin_service::development_key;
use purlin_sync::{BlockAnnouncement, CertifiedHeader, CompactBlock, Topic, TransactionGossip};
use std::collections::VecDeque;

use super::{Behaviour, Sent, Situation};
use crate::link::Output;
use crate::random::Random;

/// Made-up blocks of a turn: in a few turns more than any node keeps.
const BLOCKS: usize = 6;
/// Votes of a turn; each costs everybody a check.
const VOTES: usize = 2;
/// Keys that are no validator's.
const STRANGERS: u64 = 16;
/// Ids that it remembers, and how many it repeats in a turn.
const IDS_MAX: usize = 200;
const IDS: usize = 40;

/// How far it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Says what a node that knows little might pass on, so that it is not banned.
    Careful,
    /// Says everything, also what everybody can see to be wrong.
    Reckless,
}

#[derive(Default)]
pub(super) struct Flooder {
    manner: Option<Manner>,
    strangers: Vec<SecretKey>,
    known: VecDeque<TransactionId>,
}

/// Makes up a block of the next height or of the one after it.
fn made_up(random: &mut Random, at: &Situation<'_>, ids: &[TransactionId]) -> CompactBlock {
    let time = TimestampMs::new(at.chain.tip().time.get() + random.between(1, 500));
    let proposer = at.key.public_key().account_id();
    let round = random.between(0, 2) as u32;
    let mut header = at.chain.next_header(time, proposer, Seal::Pos { round }, ids);
    header.state_root = Hash32::new(random.bytes());
    if random.percent(40) {
        header.height = header.height.next();
        header.parent = BlockId::new(Hash32::new(random.bytes()));
    }
    CompactBlock { header, transactions: ids.to_vec() }
}

/// Puts the certificate of the last block under a header that it is not for.
fn forged(random: &mut Random, certified: &CertifiedHeader) -> CertifiedHeader {
    let mut forged = certified.clone();
    forged.header.state_root = Hash32::new(random.bytes());
    forged.header.transactions_root = Block::transactions_root(&[]);
    if random.percent(50) {
        forged.header.height = forged.header.height.next();
        forged.header.parent = certified.header.id();
    }
    forged
}

/// Announces a forged header as final, and the body that it has as proposed.
fn announce(to: &[usize], forged: CertifiedHeader) -> [Sent; 2] {
    let body = CompactBlock { header: forged.header.clone(), transactions: Vec::new() };
    [BlockAnnouncement::Certified(forged), BlockAnnouncement::Proposed(body)].map(|announcement| {
        Sent::Gossip { to: to.to_vec(), topic: Topic::Blocks, bytes: announcement.encode() }
    })
}

impl Flooder {
    fn manner(&mut self, random: &mut Random) -> Manner {
        *self.manner.get_or_insert_with(
            || {
                if random.percent(50) { Manner::Careful } else { Manner::Reckless }
            },
        )
    }

    /// Chooses ids that an announced block might have.
    fn ids(&self, random: &mut Random) -> Vec<TransactionId> {
        let unknown = |random: &mut Random| TransactionId::new(Hash32::new(random.bytes()));
        match random.between(0, 3) {
            // Complete at once.
            0 | 1 => Vec::new(),
            2 if !self.known.is_empty() => vec![*random.pick(&Vec::from(self.known.clone()))],
            // Nobody has them, so the block is waited for.
            _ => vec![unknown(random), unknown(random)],
        }
    }

    fn vote(&mut self, random: &mut Random, at: &Situation<'_>, manner: Manner) -> Vec<u8> {
        if self.strangers.is_empty() {
            let key = |index| development_key(&format!("simulation-stranger-{index}"));
            self.strangers = (0..STRANGERS).map(key).collect();
        }
        let next = at.chain.head().height.next();
        let vote = random.pick(&self.strangers).sign_vote(Vote {
            chain_id: at.chain.genesis().chain_id.clone(),
            // Who decides the next height is known to everybody, and who decides the one after it is not.
            height: if manner == Manner::Reckless && random.percent(30) { next } else { next.next() },
            round: random.between(0, 3) as u32,
            kind: if random.percent(50) { VoteKind::Prevote } else { VoteKind::Precommit },
            block: Some(BlockId::new(Hash32::new(random.bytes()))),
        });
        [&[1, 1][..], &borsh::to_vec(&vote).expect("writing to memory cannot fail")].concat()
    }
}

impl Behaviour for Flooder {
    fn hear_gossip(&mut self, topic: Topic, bytes: &[u8]) {
        if topic != Topic::Transactions {
            return;
        }
        if let Ok(TransactionGossip::Whole(list)) = TransactionGossip::decode(bytes) {
            let decoded = list.iter().filter_map(|one| one.decode().ok());
            self.known.extend(decoded.map(|transaction| transaction.body.id()));
            while self.known.len() > IDS_MAX {
                self.known.pop_front();
            }
        }
    }

    fn send(&mut self, random: &mut Random, at: &Situation<'_>, output: Output) -> Vec<Sent> {
        let Output::Publish { topic: Topic::Blocks, bytes } = &output else {
            return vec![Sent::Output(output)];
        };
        let manner = self.manner(random);
        match BlockAnnouncement::decode(bytes) {
            // Before the others, of whom some have not decided yet.
            Ok(BlockAnnouncement::Certified(certified)) if manner == Manner::Reckless => {
                let mut sent = Vec::from(announce(at.peers, forged(random, &certified)));
                sent.push(Sent::Output(output));
                sent
            }
            _ => vec![Sent::Output(output)],
        }
    }

    fn act(&mut self, random: &mut Random, at: &Situation<'_>) -> Vec<Sent> {
        let manner = self.manner(random);
        let mut sent = Vec::new();
        let mut gossip = |topic, bytes| sent.push(Sent::Gossip { to: at.peers.to_vec(), topic, bytes });
        for _ in 0..BLOCKS {
            let ids = self.ids(random);
            let compact = made_up(random, at, &ids);
            gossip(Topic::Blocks, BlockAnnouncement::Proposed(compact).encode());
        }
        for _ in 0..VOTES {
            gossip(Topic::Consensus, self.vote(random, at, manner));
        }
        // Always another list: what was sent before is not passed on.
        let ids: Vec<TransactionId> =
            self.known.iter().copied().filter(|_| random.percent(50)).take(IDS).collect();
        if !ids.is_empty() {
            gossip(Topic::Transactions, TransactionGossip::Ids(ids).encode());
        }
        if manner == Manner::Reckless && random.percent(10) {
            sent.extend(
                last_certified(at).into_iter().flat_map(|last| announce(at.peers, forged(random, &last))),
            );
        }
        sent
    }
}

/// Reads the last block's header and certificate.
fn last_certified(at: &Situation<'_>) -> Option<CertifiedHeader> {
    let height = at.chain.head().height;
    let header: BlockHeader = at.chain.header(height).ok().flatten()?;
    let certificate = at.chain.certificate(height).ok().flatten()?;
    Some(CertifiedHeader { header, certificate: Some(certificate) })
}
