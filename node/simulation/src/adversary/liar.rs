//! Lies about where it is and what it has, to those who catch up.

use purlin_primitives::{Block, BlockId, Certificate, Height, Signature, TimestampMs, Vote, VoteKind};
use purlin_sync::{
    BlockAnnouncement, BodyPart, CertifiedHeader, EncodedTransaction, InboundId, Request, Response, Topic,
};
use std::collections::BTreeMap;

use super::{Behaviour, Sent, Situation};
use crate::link::Output;
use crate::random::Random;

/// Questions that it remembers until it answers.
const QUESTIONS_MAX: usize = 256;
/// Blocks that it made up and can show.
const FORGED_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Liar {
    questions: BTreeMap<InboundId, Request>,
    forged: BTreeMap<BlockId, Block>,
}

impl Liar {
    /// Makes up a block that would be right, were it not that nobody else signed it.
    fn forge(&mut self, at: &Situation<'_>) -> CertifiedHeader {
        let chain = at.chain;
        let account = at.key.public_key().account_id();
        let time = TimestampMs::new(chain.tip().time.get() + 7);
        let header = chain.next_header(time, account, purlin_primitives::Seal::FIRST_ROUND, &[]);
        let (block, height) = (header.id(), header.height);
        let vote = Vote {
            chain_id: header.chain_id.clone(),
            height,
            round: 0,
            kind: VoteKind::Precommit,
            block: Some(block),
        };
        let signatures = vec![at.key.sign_vote(vote).into()];
        while self.forged.len() >= FORGED_MAX {
            self.forged.pop_first();
        }
        self.forged.insert(block, Block { header: header.clone(), transactions: Vec::new() });
        CertifiedHeader { header, certificate: Some(Certificate { block, height, round: 0, signatures }) }
    }

    fn lie(
        &mut self,
        random: &mut Random,
        at: &Situation<'_>,
        request: Option<Request>,
        truth: Vec<u8>,
    ) -> Vec<u8> {
        if random.percent(5) {
            return truth.iter().take(truth.len() / 2).copied().collect();
        }
        let (Some(request), Ok(response)) = (request, Response::decode(&truth)) else { return truth };
        match (request, response) {
            (_, Response::Status(mut status)) => {
                let ahead = if random.percent(70) { 1 } else { random.between(2, 1_000) };
                status.height = status.height.saturating_add(Height::new(ahead));
                status.final_height = status.height;
                status.head = BlockId::new(purlin_primitives::Hash32::new(random.bytes()));
                Response::Status(status).encode()
            }
            (_, Response::Headers(mut headers)) => {
                match random.between(0, 4) {
                    0 => headers.reverse(),
                    1 => {
                        if let Some(last) = headers.last_mut() {
                            last.header.state_root = purlin_primitives::Hash32::new(random.bytes());
                        }
                    }
                    2 => {
                        // Any of them: the last one shows the others, whose own certificates nobody needs before.
                        let at = random.below(headers.len().max(1));
                        let certificate = headers.get_mut(at).and_then(|one| one.certificate.as_mut());
                        certificate.into_iter().for_each(|one| one.signatures.truncate(1));
                    }
                    _ => {
                        let head = at.chain.tip().height;
                        if headers.last().is_some_and(|last| last.header.height == head) {
                            headers.push(self.forge(at));
                        }
                    }
                }
                Response::Headers(headers).encode()
            }
            (Request::Headers { .. }, Response::Unavailable) => {
                Response::Headers(vec![self.forge(at)]).encode()
            }
            (Request::Blocks { blocks, .. }, response) => {
                if let Some(block) = blocks.first().filter(|id| self.forged.contains_key(id)) {
                    let part = BodyPart { block: *block, first: 0, total: 0, transactions: Vec::new() };
                    return Response::Blocks(vec![part]).encode();
                }
                match response {
                    Response::Blocks(mut parts) if random.percent(60) => {
                        let cut = random.percent(50);
                        for part in &mut parts {
                            if cut {
                                part.transactions.clear();
                                part.total = 0;
                            } else {
                                part.transactions.iter_mut().for_each(sign_wrongly);
                            }
                        }
                        Response::Blocks(parts).encode()
                    }
                    other => other.encode(),
                }
            }
            (_, response) => response.encode(),
        }
    }
}

/// Spoils what neither the transaction's id nor the block's covers.
fn sign_wrongly(transaction: &mut EncodedTransaction) {
    if let Ok(mut decoded) = transaction.decode() {
        let mut bytes = *decoded.signature.as_bytes();
        bytes.reverse();
        decoded.signature = Signature::new(bytes);
        *transaction = EncodedTransaction::new(&decoded);
    }
}

impl Behaviour for Liar {
    fn hear_request(&mut self, id: InboundId, bytes: &[u8]) {
        while self.questions.len() >= QUESTIONS_MAX {
            self.questions.pop_first();
        }
        if let Ok(request) = Request::decode(bytes) {
            self.questions.insert(id, request);
        }
    }

    fn send(&mut self, random: &mut Random, at: &Situation<'_>, output: Output) -> Vec<Sent> {
        match output {
            Output::Answer { id, bytes: Some(truth) } => {
                let request = self.questions.remove(&id);
                let bytes =
                    Some(if random.percent(70) { self.lie(random, at, request, truth) } else { truth });
                vec![Sent::Output(Output::Answer { id, bytes })]
            }
            // Where it says it is when it asks where another is.
            Output::Ask { peer, id, bytes } => {
                let bytes = match Request::decode(&bytes) {
                    Ok(Request::Status(mut status)) if random.percent(70) => {
                        status.height = status.height.next();
                        status.final_height = status.height;
                        Request::Status(status).encode()
                    }
                    _ => bytes,
                };
                vec![Sent::Output(Output::Ask { peer, id, bytes })]
            }
            other => vec![Sent::Output(other)],
        }
    }

    fn act(&mut self, random: &mut Random, at: &Situation<'_>) -> Vec<Sent> {
        if !random.percent(3) || at.peers.is_empty() {
            return Vec::new();
        }
        let bytes = BlockAnnouncement::Certified(self.forge(at)).encode();
        vec![Sent::Gossip { to: vec![*random.pick(at.peers)], topic: Topic::Blocks, bytes }]
    }
}
