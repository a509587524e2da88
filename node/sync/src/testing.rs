//! Chains for tests.

use purlin_primitives::{
    AccountId, Action, Amount, Block, BlockHeader, BlockId, BlockSignature, Certificate, ChainId, Gas,
    Hash32, Height, Seal, SecretKey, TimestampMs, Transaction, TransactionBody, TransactionId,
};

use crate::message::CertifiedHeader;
use crate::network::PeerId;

pub(crate) const CHAIN: &str = "test";

pub(crate) fn chain_id() -> ChainId {
    CHAIN.parse().unwrap()
}

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32]).unwrap()
}

pub(crate) fn transaction(seed: u8, nonce: u64) -> Transaction {
    sized_transaction(seed, nonce, 0)
}

/// With a call whose arguments have `bytes` bytes.
pub(crate) fn sized_transaction(seed: u8, nonce: u64, bytes: usize) -> Transaction {
    let sender = key(seed).public_key().account_id();
    let action = match bytes {
        0 => Action::Transfer { to: sender, amount: Amount::new(1) },
        _ => Action::CallApp {
            app: "app".parse().unwrap(),
            method: "call".into(),
            arguments: vec![7; bytes],
            deposit: Amount::ZERO,
        },
    };
    key(seed).sign_transaction(TransactionBody {
        chain_id: chain_id(),
        sender,
        nonce,
        expires_at: Height::new(1000),
        gas_limit: Gas::new(1000),
        fee: Amount::ZERO,
        access: Vec::new(),
        actions: vec![action],
    })
}

pub(crate) fn header(height: u64, parent: BlockId, transactions: &[TransactionId]) -> BlockHeader {
    BlockHeader {
        chain_id: chain_id(),
        height: Height::new(height),
        parent,
        time: TimestampMs::new(1000 * height),
        proposer: AccountId::default(),
        transactions_root: Block::transactions_root(transactions),
        state_root: Hash32::ZERO,
        receipts_root: Hash32::ZERO,
        seal: Seal::FIRST_ROUND,
    }
}

/// Signs with one validator's key.
pub(crate) fn certify(header: &BlockHeader, seed: u8) -> CertifiedHeader {
    let mut certificate =
        Certificate { block: header.id(), height: header.height, round: 0, signatures: Vec::new() };
    let signed: BlockSignature = key(seed).sign_vote(certificate.vote(&header.chain_id)).into();
    certificate.signatures.push(signed);
    CertifiedHeader { header: header.clone(), certificate: Some(certificate) }
}

pub(crate) fn peer(number: u8) -> PeerId {
    PeerId::new(vec![number]).unwrap()
}

pub(crate) fn genesis() -> BlockId {
    BlockId::new(Hash32::new([9; 32]))
}

/// Blocks from height 1, certified by the validator with key 1.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestChain {
    pub(crate) blocks: Vec<(CertifiedHeader, Vec<Transaction>)>,
}

impl TestChain {
    /// Makes blocks with the numbers of transactions that `sizes` says.
    pub(crate) fn new(sizes: impl IntoIterator<Item = usize>) -> Self {
        let mut chain = Self::default();
        for size in sizes {
            let nonce = chain.blocks.len() as u64 * 1000;
            let transactions = (0..size as u64).map(|n| transaction(2, nonce + n)).collect();
            chain.push(transactions, 1);
        }
        chain
    }

    pub(crate) fn push(&mut self, transactions: Vec<Transaction>, signer: u8) {
        let ids: Vec<TransactionId> = transactions.iter().map(|one| one.body.id()).collect();
        let header = header(self.blocks.len() as u64 + 1, self.head(), &ids);
        self.blocks.push((certify(&header, signer), transactions));
    }

    pub(crate) fn head(&self) -> BlockId {
        self.blocks.last().map_or(genesis(), |(certified, _)| certified.header.id())
    }

    pub(crate) fn id(&self, height: u64) -> BlockId {
        match height {
            0 => genesis(),
            _ => self.blocks[height as usize - 1].0.header.id(),
        }
    }

    pub(crate) fn height(&self) -> Height {
        Height::new(self.blocks.len() as u64)
    }
}
