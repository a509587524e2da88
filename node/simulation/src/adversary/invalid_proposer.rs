//! Proposes blocks that break one rule each.

use purlin_primitives::{
    AccountId, Block, BlockId, Hash32, Height, Seal, SignedProposal, TimestampMs, Transaction, TransactionId,
};
use purlin_sync::{BlockAnnouncement, CompactBlock, EncodedTransaction, InboundId, Request, Response, Topic};
use std::collections::BTreeMap;

use super::{Behaviour, Sent, Situation};
use crate::link::Output;
use crate::random::Random;

/// Blocks and questions that it remembers.
const MEMORY_MAX: usize = 64;

#[derive(Default)]
pub(super) struct InvalidProposer {
    /// What it proposes instead of a block that its node built.
    instead: BTreeMap<BlockId, BlockId>,
    blocks: BTreeMap<BlockId, (CompactBlock, Vec<Transaction>)>,
    questions: BTreeMap<InboundId, Request>,
    /// Proposals whose block was not announced yet.
    held: Vec<SignedProposal>,
}

/// Finds a transaction that is in the chain already.
fn used_transaction(random: &mut Random, at: &Situation<'_>) -> Option<Transaction> {
    let head = at.chain.head().height.get();
    (0..6).find_map(|_| {
        let height = Height::new(random.between(1, head.max(1)));
        at.chain.block(height).ok().flatten().and_then(|block| block.transactions.first().cloned())
    })
}

impl InvalidProposer {
    /// Breaks a rule of a block.
    fn spoil(&mut self, random: &mut Random, at: &Situation<'_>, mut compact: CompactBlock) -> CompactBlock {
        let mut added = Vec::new();
        let random_hash = Hash32::new(random.bytes());
        let header = &mut compact.header;
        match random.between(0, 10) {
            0 => header.state_root = random_hash,
            1 => header.receipts_root = random_hash,
            2 => header.parent = BlockId::new(random_hash),
            3 => header.height = header.height.next(),
            4 => header.time = TimestampMs::new(header.time.get() + 3_600_000),
            5 => header.time = at.chain.tip().time,
            6 => header.proposer = AccountId::ZERO,
            7 => header.seal = Seal::Pos { round: 9 },
            8 => {
                // Nobody has it.
                compact.transactions.push(TransactionId::new(random_hash));
            }
            choice => {
                if let Some(mut used) = used_transaction(random, at) {
                    if choice == 10 && random.percent(50) {
                        used.body.nonce += 1;
                    }
                    compact.transactions.push(used.body.id());
                    added.push(used);
                } else {
                    header.state_root = random_hash;
                }
            }
        }
        compact.header.transactions_root = Block::transactions_root(&compact.transactions);
        while self.blocks.len() >= MEMORY_MAX {
            self.blocks.pop_first();
        }
        self.blocks.insert(compact.id(), (compact.clone(), added));
        compact
    }

    fn translate(&self, at: &Situation<'_>, signed: SignedProposal) -> Sent {
        let mut proposal = signed.proposal;
        if let Some(other) = self.instead.get(&proposal.block) {
            proposal.block = *other;
        }
        let signed = at.key.sign_proposal(proposal);
        let body = borsh::to_vec(&signed).expect("writing to memory cannot fail");
        let bytes = [&[1, 2][..], &body].concat();
        Sent::Output(Output::Publish { topic: Topic::Consensus, bytes })
    }

    fn answer(&self, request: &Request) -> Option<Response> {
        match request {
            Request::Compact { block } => {
                let (compact, _) = self.blocks.get(block)?;
                Some(Response::Compact(compact.clone()))
            }
            Request::BlockTransactions { block, positions } => {
                let (compact, added) = self.blocks.get(block)?;
                let find = |position: &u32| {
                    let id = compact.transactions.get(*position as usize)?;
                    added.iter().find(|one| one.body.id() == *id).map(EncodedTransaction::new)
                };
                let found: Vec<EncodedTransaction> = positions.iter().map_while(find).collect();
                Some(if found.is_empty() {
                    Response::Unavailable
                } else {
                    Response::BlockTransactions(found)
                })
            }
            _ => None,
        }
    }
}

impl Behaviour for InvalidProposer {
    fn hear_request(&mut self, id: InboundId, bytes: &[u8]) {
        while self.questions.len() >= MEMORY_MAX {
            self.questions.pop_first();
        }
        if let Ok(request) = Request::decode(bytes) {
            self.questions.insert(id, request);
        }
    }

    fn send(&mut self, random: &mut Random, at: &Situation<'_>, output: Output) -> Vec<Sent> {
        match output {
            Output::Answer { id, bytes } => {
                let other = self.questions.remove(&id).and_then(|request| self.answer(&request));
                let bytes = other.map(|response| response.encode()).or(bytes);
                vec![Sent::Output(Output::Answer { id, bytes })]
            }
            Output::Publish { topic: Topic::Blocks, bytes } => {
                let Ok(BlockAnnouncement::Proposed(compact)) = BlockAnnouncement::decode(&bytes) else {
                    return vec![Sent::Output(Output::Publish { topic: Topic::Blocks, bytes })];
                };
                let id = compact.id();
                let known = self.instead.get(&id).and_then(|other| self.blocks.get(other));
                let spoilt = match known.map(|(compact, _)| compact.clone()) {
                    Some(spoilt) => spoilt,
                    None => {
                        let spoilt = self.spoil(random, at, compact);
                        while self.instead.len() >= MEMORY_MAX {
                            self.instead.pop_first();
                        }
                        self.instead.insert(id, spoilt.id());
                        spoilt
                    }
                };
                let bytes = BlockAnnouncement::Proposed(spoilt).encode();
                let mut sent = vec![Sent::Output(Output::Publish { topic: Topic::Blocks, bytes })];
                let held = std::mem::take(&mut self.held);
                sent.extend(held.into_iter().map(|signed| self.translate(at, signed)));
                sent
            }
            Output::Publish { topic: Topic::Consensus, bytes } => {
                let signed = match &bytes[..] {
                    [1, 2, body @ ..] => borsh::from_slice::<SignedProposal>(body).ok(),
                    _ => None,
                };
                match signed.filter(|signed| signed.public_key == at.key.public_key()) {
                    None => vec![Sent::Output(Output::Publish { topic: Topic::Consensus, bytes })],
                    Some(signed) if self.instead.contains_key(&signed.proposal.block) => {
                        vec![self.translate(at, signed)]
                    }
                    Some(signed) => {
                        if self.held.len() < MEMORY_MAX {
                            self.held.push(signed);
                        }
                        Vec::new()
                    }
                }
            }
            other => vec![Sent::Output(other)],
        }
    }
}
