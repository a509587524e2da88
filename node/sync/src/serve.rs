//! Answers what other nodes ask, within a budget for each of them.

use std::collections::BTreeMap;

use purlin_primitives::{BlockId, Hash32, Height, TransactionId};

use crate::compact::CompactBlock;
use crate::limits::{
    BLOCKS_MAX, CONSENSUS_MESSAGES_MAX, DIGEST_IDS_MAX, HEADERS_MAX, RESPONSE_BYTES_MAX, TRANSACTION_IDS_MAX,
};
use crate::message::{BodyPart, CertifiedHeader, EncodedTransaction, Request, Response, Status};
use crate::network::{Offence, PeerId};

/// Bytes at which an answer is ended; what comes next must fit as well, so it lies below the cap.
const PAGE_BYTES: usize = 2 * 1024 * 1024;
/// Most bytes that a header with a full certificate takes.
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Requests refused in a row after which it is held against the peer.
const REFUSED_MAX: u32 = 100;
/// Most peers whose budgets are kept; connections are limited below that.
const PEERS_MAX: usize = 1_024;

/// What one peer may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Requests per second in the long run.
    pub requests_per_s: u64,
    /// Requests at once.
    pub requests_burst: u64,
    /// Bytes of answers per second in the long run.
    pub bytes_per_s: u64,
    /// Bytes of answers at once.
    pub bytes_burst: u64,
}

impl Default for Budget {
    /// A peer that catches up from here alone gets 16 MiB a second.
    fn default() -> Self {
        Self { requests_per_s: 50, requests_burst: 500, bytes_per_s: 16 << 20, bytes_burst: 64 << 20 }
    }
}

/// The node's data could not be read; it must stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading what a peer asked for failed: {detail}")]
pub struct SourceError {
    /// What went wrong.
    pub detail: String,
}

/// Some transactions of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodySlice {
    /// How many the block has.
    pub total: usize,
    /// From the position asked for on.
    pub transactions: Vec<EncodedTransaction>,
}

/// Reads what peers ask for. `None` means that it is not here.
pub trait BlockSource {
    /// Returns where this node is.
    fn status(&self) -> Status;

    /// Returns a header of this node's chain, with its certificate under proof of stake.
    fn header(&self, height: Height) -> Result<Option<CertifiedHeader>, SourceError>;

    /// Returns transactions of a proposed or final block from a position on: at least one if there is one, then as
    /// many as fit into `bytes_max`.
    fn body(&self, block: &BlockId, first: usize, bytes_max: usize)
    -> Result<Option<BodySlice>, SourceError>;

    /// Returns the transactions of a proposed or final block at these positions, in their order, looking at the block
    /// once: at least one if there is one, then as many as fit into `bytes_max`. Ends at a position that is not there.
    fn transactions(
        &self,
        block: &BlockId,
        positions: &[u32],
        bytes_max: usize,
    ) -> Result<Vec<EncodedTransaction>, SourceError>;

    /// Returns a proposed or final block in compact form.
    fn compact(&self, block: &BlockId) -> Result<Option<CompactBlock>, SourceError>;

    /// Returns a transaction of the pool.
    fn pooled(&self, id: &TransactionId) -> Option<EncodedTransaction>;

    /// Returns ids of transactions of the pool from one on, in ascending order.
    fn pooled_ids(&self, from: &TransactionId, limit: usize) -> Vec<TransactionId>;

    /// Returns an encoded [`SnapshotManifest`](crate::SnapshotManifest).
    fn snapshot_manifest(&self, height: Option<Height>) -> Result<Option<Vec<u8>>, SourceError>;

    /// Returns an encoded chunk of the snapshot with this state root: entries from one key hash on and not above
    /// another, at most [`crate::limits::SNAPSHOT_CHUNK_BYTES_MAX`].
    fn snapshot_chunk(
        &self,
        root: &Hash32,
        from: &Hash32,
        to: &Hash32,
    ) -> Result<Option<Vec<u8>>, SourceError>;

    /// Returns messages of the consensus engine for the height being decided.
    fn consensus(&self, height: Height) -> Vec<Vec<u8>>;
}

/// What to do about a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// For [`crate::Network::respond`]; `None` when the peer asks too much.
    pub response: Option<Vec<u8>>,
    /// To be held against the peer.
    pub offence: Option<Offence>,
    /// Where the peer is, for [`crate::BlockSync::told`].
    pub status: Option<Status>,
    /// A height that the peer has, for [`crate::BlockSync::announced`]: who asks for the votes on a block has the one
    /// before.
    pub reached: Option<Height>,
}

#[derive(Debug)]
struct Account {
    /// In thousandths, so that a millisecond adds whole numbers.
    requests: u64,
    bytes: u64,
    at_ms: u64,
    refused: u32,
}

/// Answers requests.
#[derive(Debug)]
pub struct Server {
    budget: Budget,
    accounts: BTreeMap<PeerId, Account>,
}

impl Server {
    /// Starts with a budget for each peer.
    pub fn new(budget: Budget) -> Self {
        Self { budget, accounts: BTreeMap::new() }
    }

    /// Answers one request. `now_ms` is a clock that does not go back.
    pub fn answer(
        &mut self,
        now_ms: u64,
        peer: &PeerId,
        bytes: &[u8],
        source: &dyn BlockSource,
    ) -> Result<Answer, SourceError> {
        match self.admit(now_ms, peer) {
            Admission::Admitted => {}
            Admission::Refused => return Ok(Answer::default()),
            Admission::Flooded => return Ok(Answer { offence: Some(Offence::Flooded), ..Answer::default() }),
        }
        let Ok(request) = Request::decode(bytes) else {
            return Ok(Answer { offence: Some(Offence::Malformed), ..Answer::default() });
        };
        let (status, reached) = match &request {
            Request::Status(status) => (Some(status.clone()), None),
            Request::Consensus { height } => (None, height.get().checked_sub(1).map(Height::new)),
            _ => (None, None),
        };
        let response = respond(request, source)?.encode();
        debug_assert!(response.len() <= RESPONSE_BYTES_MAX, "answers are paged");
        if let Some(account) = self.accounts.get_mut(peer) {
            account.bytes = account.bytes.saturating_sub(response.len() as u64 * 1000);
        }
        Ok(Answer { response: Some(response), offence: None, status, reached })
    }

    /// A peer is gone. Its account stays until it would be full again, so that reconnecting gains nothing.
    pub fn tick(&mut self, now_ms: u64) {
        let budget = self.budget;
        self.accounts.retain(|_, account| {
            account.refill(now_ms, &budget);
            account.requests < budget.requests_burst * 1000 || account.bytes < budget.bytes_burst * 1000
        });
    }

    fn admit(&mut self, now_ms: u64, peer: &PeerId) -> Admission {
        let budget = self.budget;
        if !self.accounts.contains_key(peer) && self.accounts.len() >= PEERS_MAX {
            return Admission::Refused;
        }
        let account = self.accounts.entry(peer.clone()).or_insert(Account {
            requests: budget.requests_burst * 1000,
            bytes: budget.bytes_burst * 1000,
            at_ms: now_ms,
            refused: 0,
        });
        account.refill(now_ms, &budget);
        // An answer may be larger than what is left: the account is empty for longer then.
        if account.requests >= 1000 && account.bytes > 0 {
            account.requests -= 1000;
            account.refused = 0;
            return Admission::Admitted;
        }
        account.refused += 1;
        if account.refused.is_multiple_of(REFUSED_MAX) { Admission::Flooded } else { Admission::Refused }
    }
}

enum Admission {
    Admitted,
    Refused,
    Flooded,
}

impl Account {
    fn refill(&mut self, now_ms: u64, budget: &Budget) {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let add = |have: u64, per_s: u64, burst: u64| {
            have.saturating_add(passed.saturating_mul(per_s)).min(burst.saturating_mul(1000))
        };
        self.requests = add(self.requests, budget.requests_per_s, budget.requests_burst);
        self.bytes = add(self.bytes, budget.bytes_per_s, budget.bytes_burst);
    }
}

/// Reads the answer to a request.
fn respond(request: Request, source: &dyn BlockSource) -> Result<Response, SourceError> {
    Ok(match request {
        Request::Status(_) => Response::Status(source.status()),
        Request::Headers { from, count } => {
            let most = (count as usize).min(HEADERS_MAX).min(RESPONSE_BYTES_MAX / HEADER_BYTES_MAX);
            let mut headers = Vec::new();
            let mut height = from;
            while headers.len() < most
                && let Some(header) = source.header(height)?
            {
                headers.push(header);
                height = height.next();
            }
            unless_empty(headers, Response::Headers)
        }
        Request::Blocks { blocks, first } => {
            unless_empty(read_bodies(&blocks, first as usize, source)?, Response::Blocks)
        }
        Request::Compact { block } => {
            source.compact(&block)?.map_or(Response::Unavailable, Response::Compact)
        }
        Request::BlockTransactions { block, positions } => {
            // Nobody who asks for what it misses repeats itself.
            let ascending = positions.is_sorted_by(|one, next| one < next);
            let found = match ascending {
                true => source.transactions(&block, &positions, PAGE_BYTES)?,
                false => Vec::new(),
            };
            unless_empty(found, Response::BlockTransactions)
        }
        Request::Transactions { ids } => {
            let mut found = Vec::new();
            let mut bytes = 0;
            for transaction in ids.iter().take(TRANSACTION_IDS_MAX).filter_map(|id| source.pooled(id)) {
                if !found.is_empty() && bytes + transaction.size_bytes() > PAGE_BYTES {
                    break;
                }
                bytes += transaction.size_bytes();
                found.push(transaction);
            }
            Response::Transactions(found)
        }
        Request::PoolDigest { from } => {
            let mut ids = source.pooled_ids(&from, DIGEST_IDS_MAX + 1);
            let next = ids.get(DIGEST_IDS_MAX).copied();
            ids.truncate(DIGEST_IDS_MAX);
            Response::PoolDigest { ids, next }
        }
        Request::SnapshotManifest { height } => {
            source.snapshot_manifest(height)?.map_or(Response::Unavailable, Response::SnapshotManifest)
        }
        Request::SnapshotChunk { root, from, to } => {
            source.snapshot_chunk(&root, &from, &to)?.map_or(Response::Unavailable, Response::SnapshotChunk)
        }
        Request::Consensus { height } => {
            let mut messages = source.consensus(height);
            let mut bytes = 0;
            messages.truncate(CONSENSUS_MESSAGES_MAX);
            messages.retain(|message| {
                bytes += message.len() + 4;
                bytes <= PAGE_BYTES
            });
            Response::Consensus(messages)
        }
    })
}

fn unless_empty<T>(list: Vec<T>, response: impl FnOnce(Vec<T>) -> Response) -> Response {
    if list.is_empty() { Response::Unavailable } else { response(list) }
}

fn read_bodies(
    blocks: &[BlockId],
    mut first: usize,
    source: &dyn BlockSource,
) -> Result<Vec<BodyPart>, SourceError> {
    let mut parts: Vec<BodyPart> = Vec::new();
    let mut left = PAGE_BYTES;
    for block in blocks.iter().take(BLOCKS_MAX) {
        let Some(body) = source.body(block, first, left)? else { break };
        let bytes: usize = body.transactions.iter().map(EncodedTransaction::size_bytes).sum();
        // A block that is begun and too large for what is left has a page of its own next.
        if bytes > left && !parts.is_empty() {
            break;
        }
        let whole = first + body.transactions.len() >= body.total;
        parts.push(BodyPart {
            block: *block,
            first: first as u32,
            total: body.total as u32,
            transactions: body.transactions,
        });
        if !whole {
            break;
        }
        left = left.saturating_sub(bytes);
        if left == 0 {
            break;
        }
        first = 0;
    }
    Ok(parts)
}

#[cfg(test)]
mod tests;
