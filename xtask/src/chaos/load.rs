//! Clients that send transfers to whichever node answers, and note what was acknowledged.

use anyhow::{Result, anyhow};
use purlin_api::{TransactionPlace, TransactionView};
use purlin_client::{Client, ClientError, TransactionOptions};
use purlin_primitives::{Action, Amount, Gas, SecretKey, Transaction, TransactionId};
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Pause after a node did not answer or refused.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How long one request may take before another node is asked.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Running clients.
pub(crate) struct Load {
    runtime: Runtime,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<TransactionId>>>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `senders` accounts of their own, each with one transaction at a time at one of `nodes`.
    pub(super) fn start(nodes: &[Client], senders: usize) -> Result<Self> {
        Self::start_accounts(nodes, 0..senders)
    }

    /// The same with accounts of these numbers, which no other load may have.
    pub(crate) fn start_accounts(nodes: &[Client], senders: Range<usize>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let senders = senders
            .map(|sender| {
                let send = Sender {
                    nodes: nodes.to_vec(),
                    next: sender,
                    key: key(sender),
                    stop: Arc::clone(&stop),
                    acknowledged: Arc::clone(&acknowledged),
                };
                runtime.spawn(send.run())
            })
            .collect();
        Ok(Self { runtime, stop, acknowledged, senders })
    }

    /// Number of acknowledged transactions so far.
    pub(crate) fn count(&self) -> usize {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Stops sending and returns what was acknowledged.
    pub(crate) fn finish(self) -> Result<Vec<TransactionId>> {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders {
            self.runtime.block_on(sender).map_err(|error| anyhow!("a client panicked: {error}"))?;
        }
        Ok(std::mem::take(&mut *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

struct Sender {
    nodes: Vec<Client>,
    /// Whom it asks next.
    next: usize,
    key: SecretKey,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<TransactionId>>>,
}

impl Sender {
    async fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(transaction) = self.sign().await else { continue };
            self.push_through(&transaction).await;
        }
    }

    fn node(&self) -> &Client {
        &self.nodes[self.next % self.nodes.len()]
    }

    async fn other_node(&mut self) {
        self.next += 1;
        tokio::time::sleep(RETRY_AFTER).await;
    }

    async fn sign(&mut self) -> Option<Transaction> {
        let actions = vec![Action::Transfer { to: self.key.public_key().account_id(), amount: Amount::ZERO }];
        let options = TransactionOptions { gas_limit: Some(Gas::new(1_000_000)), ..Default::default() };
        let signed =
            tokio::time::timeout(REQUEST_TIMEOUT, self.node().sign(&self.key, actions, &options)).await;
        match signed {
            Ok(Ok(transaction)) => Some(transaction),
            Ok(Err(_)) | Err(_) => {
                self.other_node().await;
                None
            }
        }
    }

    /// Sends one transaction until some node says that it is committed: a lost answer is not a lost transaction.
    async fn push_through(&mut self, transaction: &Transaction) {
        let id = transaction.body.id();
        while !self.stop.load(Ordering::Relaxed) {
            let sent = tokio::time::timeout(REQUEST_TIMEOUT, self.node().submit_and_wait(transaction)).await;
            let committed = match sent {
                Ok(Ok(_)) => true,
                // It may be in a block already.
                Ok(Err(ClientError::Refused(_))) => {
                    let found = tokio::time::timeout(REQUEST_TIMEOUT, self.node().transaction(&id)).await;
                    matches!(found, Ok(Ok(found)) if is_final(&found))
                }
                Ok(Err(_)) | Err(_) => false,
            };
            if committed {
                self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                return;
            }
            self.other_node().await;
        }
    }
}

fn is_final(transaction: &TransactionView) -> bool {
    matches!(transaction.place, TransactionPlace::Committed { is_final: true, .. })
}

fn key(sender: usize) -> SecretKey {
    let seed: [u8; 32] = Sha256::digest(format!("purlin chaos sender {sender}")).into();
    SecretKey::from_bytes(&seed).expect("a hash is a key but once in 2^128")
}
