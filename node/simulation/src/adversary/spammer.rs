//! Sends as much as it can: transactions that pay nothing, wrong ones, bytes that are no message, votes about rounds
//! that never come, requests by the dozen.

use purlin_modules::accounts;
use purlin_primitives::{
    Action, Amount, BlockId, Gas, Hash32, Height, SecretKey, Transaction, TransactionBody, TransactionId,
    Vote, VoteKind,
};
use purlin_service::development_key;
use purlin_sync::{EncodedTransaction, Request, RequestId, Topic, TransactionGossip};

use super::{Behaviour, Sent, Situation};
use crate::link::Output;
use crate::random::Random;

/// Transactions of one batch.
const BATCH: usize = 12;
/// Accounts that it sends from; they have nothing.
const ACCOUNTS: u64 = 60;
/// Transactions of each account in a burst: all together more than a pool has room for.
const BURST: u64 = 5;
/// Turns between bursts.
const BURST_TURNS: u64 = 30;

#[derive(Default)]
pub(super) struct Spammer {
    requests: u64,
    rounds: u32,
    turns: u64,
}

fn spam(at: &Situation<'_>, account: u64, further: u64, blocks: u64) -> Transaction {
    let key: SecretKey = development_key(&format!("simulation-spam-{account}"));
    let sender = key.public_key().account_id();
    let nonce = accounts::account(&mut &*at.chain.state(), &sender).map_or(0, |account| account.nonce);
    key.sign_transaction(TransactionBody {
        chain_id: at.chain.genesis().chain_id.clone(),
        sender,
        nonce: nonce + further,
        expires_at: at.chain.head().height.saturating_add(Height::new(blocks)),
        gas_limit: Gas::new(1_000_000),
        fee: Amount::ZERO,
        access: Vec::new(),
        actions: vec![Action::Transfer { to: sender, amount: Amount::ZERO }],
    })
}

/// Fills pools beyond their limit at once.
fn burst(at: &Situation<'_>) -> Vec<u8> {
    let all = (0..ACCOUNTS).flat_map(|account| (0..BURST).map(move |further| (account, further)));
    let batch = all.map(|(account, further)| EncodedTransaction::new(&spam(at, account, further, 40)));
    TransactionGossip::Whole(batch.collect()).encode()
}

fn transaction(random: &mut Random, at: &Situation<'_>) -> Transaction {
    let (account, further) = (random.between(0, ACCOUNTS - 1), random.between(0, 9));
    let mut transaction = spam(at, account, further, random.between(2, 40));
    if random.percent(10) {
        // The signature is of another body.
        transaction.body.nonce += 1;
    }
    transaction
}

impl Behaviour for Spammer {
    fn act(&mut self, random: &mut Random, at: &Situation<'_>) -> Vec<Sent> {
        self.turns += 1;
        let to = at.peers.to_vec();
        let mut sent = Vec::new();
        let mut gossip = |topic, bytes| sent.push(Sent::Gossip { to: to.clone(), topic, bytes });
        if self.turns % BURST_TURNS == BURST_TURNS / 2 {
            gossip(Topic::Transactions, burst(at));
        }
        // Signatures cost time: a batch now and then.
        if self.turns.is_multiple_of(4) {
            let batch = (0..BATCH).map(|_| EncodedTransaction::new(&transaction(random, at))).collect();
            gossip(Topic::Transactions, TransactionGossip::Whole(batch).encode());
            let ids = (0..64).map(|_| TransactionId::new(Hash32::new(random.bytes()))).collect();
            gossip(Topic::Transactions, TransactionGossip::Ids(ids).encode());
        }
        let topic = *random.pick(&Topic::ALL);
        let size = if random.percent(5) { topic.bytes_max() + 1 } else { random.between(0, 200) as usize };
        if random.percent(10) {
            gossip(topic, (0..size).map(|at| at as u8).collect());
        }
        for _ in 0..3 {
            self.rounds += 1 + random.between(0, 50) as u32;
            let vote = at.key.sign_vote(Vote {
                chain_id: at.chain.genesis().chain_id.clone(),
                height: at.chain.head().height.next().saturating_add(Height::new(random.between(0, 2))),
                round: self.rounds,
                kind: if random.percent(50) { VoteKind::Prevote } else { VoteKind::Precommit },
                block: Some(BlockId::new(Hash32::new(random.bytes()))),
            });
            let bytes = borsh::to_vec(&vote).expect("writing to memory cannot fail");
            gossip(Topic::Consensus, [&[1, 1][..], &bytes].concat());
        }
        for peer in at.peers {
            for _ in 0..4 {
                self.requests += 1;
                let request = match random.between(0, 3) {
                    0 => Request::Headers { from: Height::new(1), count: 256 },
                    1 => Request::PoolDigest { from: TransactionId::new(Hash32::ZERO) },
                    2 => Request::Consensus { height: at.chain.head().height.next() },
                    _ => Request::Compact { block: at.chain.head().block },
                };
                // Far above what its own node gives out.
                let id = RequestId((0xff << 56) + self.requests);
                sent.push(Sent::Output(Output::Ask { peer: *peer, id, bytes: request.encode() }));
            }
        }
        sent
    }
}
