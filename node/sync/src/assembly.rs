//! Completes announced blocks: from the pool what is there, from those who announced them the rest.

use std::collections::BTreeMap;

use purlin_primitives::{BlockHeader, BlockId, ChainId, Height, TransactionId, VerifiedTransaction};

use crate::compact::CompactBlock;
use crate::limits::TRANSACTION_IDS_MAX;
use crate::message::{EncodedTransaction, Request, Response};
use crate::network::{Offence, PeerId, RequestFailure, RequestId};
use crate::requests::{Planner, RequestIds};

/// Most blocks being completed; the oldest gives way, but never one that is needed to one that is only announced.
pub const ASSEMBLIES_MAX: usize = 32;
/// Most peers remembered as having a block.
pub const SOURCES_MAX: usize = 8;
/// Time after which a block that is not complete is forgotten, in milliseconds.
pub const ASSEMBLY_EXPIRY_MS: u64 = 60_000;
/// Time after which somebody else is asked, in milliseconds.
pub const ASSEMBLY_TIMEOUT_MS: u64 = 3_000;

/// Finds transactions that were verified before; the pool.
pub trait TransactionLookup {
    /// Returns a transaction.
    fn get(&self, id: &TransactionId) -> Option<VerifiedTransaction>;
}

/// A block whose transactions are those its header commits to, and have good signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssembledBlock {
    /// The block's id.
    pub id: BlockId,
    /// Its header; not checked.
    pub header: BlockHeader,
    /// In order.
    pub transactions: Vec<VerifiedTransaction>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssemblyOutput {
    /// Ask a peer.
    Ask {
        /// Whom.
        peer: PeerId,
        /// For the answer.
        id: RequestId,
        /// What.
        request: Request,
    },
    /// A block is complete, and forgotten here.
    Complete(Box<AssembledBlock>),
    /// A block was given up.
    GaveUp {
        /// Which.
        block: BlockId,
    },
    /// Hold something against a peer.
    Report {
        /// Whom.
        peer: PeerId,
        /// What.
        offence: Offence,
    },
}

#[derive(Debug)]
struct Assembly {
    since_ms: u64,
    /// Whether it is needed, and not only announced.
    wanted: bool,
    /// `None` while only the id is known.
    header: Option<BlockHeader>,
    ids: Vec<TransactionId>,
    found: Vec<Option<VerifiedTransaction>>,
    /// Where each missing one belongs.
    missing: BTreeMap<TransactionId, Vec<u32>>,
    bytes: usize,
    /// Who has it; the first is asked next.
    sources: Vec<PeerId>,
    asked: Option<(RequestId, PeerId, u64, Vec<u32>)>,
}

/// Completes announced blocks. Pure; `now_ms` is a clock that does not go back.
///
/// Transactions that are fetched are verified here, about 60 us each.
#[derive(Debug)]
pub struct Assemblies {
    chain_id: ChainId,
    block_bytes_max: usize,
    under_way: BTreeMap<BlockId, Assembly>,
    requests: RequestIds,
    out: Vec<AssemblyOutput>,
}

impl Assemblies {
    /// Starts with none. `block_bytes_max` bounds each block's transactions.
    pub fn new(chain_id: ChainId, block_bytes_max: usize) -> Self {
        Self {
            chain_id,
            block_bytes_max,
            under_way: BTreeMap::new(),
            requests: RequestIds::new(Planner::Assemblies),
            out: Vec::new(),
        }
    }

    /// A peer announced a block. The driver has checked what can be known of its header.
    pub fn announced(
        &mut self,
        now_ms: u64,
        peer: &PeerId,
        compact: CompactBlock,
        pool: &dyn TransactionLookup,
    ) -> Vec<AssemblyOutput> {
        if compact.is_consistent() {
            let id = compact.id();
            self.begin(now_ms, id, peer, false);
            self.learn(id, compact, pool);
        } else {
            self.report(peer, Offence::Invalid);
        }
        self.finish(now_ms)
    }

    /// A block is needed of which only the id is known, and who should have it.
    pub fn wanted(&mut self, now_ms: u64, block: BlockId, peers: &[PeerId]) -> Vec<AssemblyOutput> {
        for peer in peers.iter().take(SOURCES_MAX) {
            self.begin(now_ms, block, peer, true);
        }
        self.finish(now_ms)
    }

    /// A transaction arrived otherwise.
    pub fn found(&mut self, now_ms: u64, transaction: &VerifiedTransaction) -> Vec<AssemblyOutput> {
        for assembly in self.under_way.values_mut() {
            assembly.put(transaction);
        }
        self.finish(now_ms)
    }

    /// A request of this planner ended; see [`Planner::of`].
    pub fn answered(
        &mut self,
        now_ms: u64,
        id: RequestId,
        outcome: Result<Response, RequestFailure>,
        pool: &dyn TransactionLookup,
    ) -> Vec<AssemblyOutput> {
        let asked = |assembly: &Assembly| assembly.asked.as_ref().is_some_and(|(other, ..)| *other == id);
        let found = self.under_way.iter_mut().find(|(_, assembly)| asked(assembly));
        if let Some((block, assembly)) = found
            && let Some((_, peer, _, positions)) = assembly.asked.take()
        {
            let block = *block;
            self.take_answer(block, &peer, &positions, outcome, pool);
        }
        self.finish(now_ms)
    }

    /// A peer is gone.
    pub fn disconnected(&mut self, now_ms: u64, peer: &PeerId) -> Vec<AssemblyOutput> {
        for assembly in self.under_way.values_mut() {
            assembly.drop_source(peer);
        }
        self.finish(now_ms)
    }

    /// Blocks up to this height are decided: others of these heights are of no use.
    pub fn decided(&mut self, height: Height) {
        self.under_way.retain(|_, assembly| match &assembly.header {
            Some(header) => header.height > height,
            None => true,
        });
    }

    /// Time passes.
    pub fn tick(&mut self, now_ms: u64) -> Vec<AssemblyOutput> {
        for assembly in self.under_way.values_mut() {
            if let Some((_, peer, at, _)) = &assembly.asked
                && now_ms >= at.saturating_add(ASSEMBLY_TIMEOUT_MS)
            {
                let peer = peer.clone();
                assembly.asked = None;
                assembly.put_last(&peer);
            }
        }
        let expired = |one: &Assembly| now_ms >= one.since_ms.saturating_add(ASSEMBLY_EXPIRY_MS);
        let old: Vec<BlockId> =
            self.under_way.iter().filter(|(_, one)| expired(one)).map(|(id, _)| *id).collect();
        old.into_iter().for_each(|block| self.give_up(block));
        self.finish(now_ms)
    }

    /// Returns how many blocks are being completed.
    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Says whether none is.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    fn report(&mut self, peer: &PeerId, offence: Offence) {
        self.out.push(AssemblyOutput::Report { peer: peer.clone(), offence });
    }

    fn give_up(&mut self, block: BlockId) {
        if self.under_way.remove(&block).is_some() {
            self.out.push(AssemblyOutput::GaveUp { block });
        }
    }

    /// Begins to complete a block, when there is room, or notes who else has it.
    fn begin(&mut self, now_ms: u64, block: BlockId, peer: &PeerId, wanted: bool) {
        if !self.under_way.contains_key(&block) && self.under_way.len() >= ASSEMBLIES_MAX {
            // Those that were only announced first.
            let may_go = self.under_way.iter().filter(|(_, one)| wanted || !one.wanted);
            let oldest = may_go.min_by_key(|(_, one)| (one.wanted, one.since_ms)).map(|(id, _)| *id);
            let Some(oldest) = oldest else { return };
            self.give_up(oldest);
        }
        let assembly = self.under_way.entry(block).or_insert_with(|| Assembly {
            since_ms: now_ms,
            wanted,
            header: None,
            ids: Vec::new(),
            found: Vec::new(),
            missing: BTreeMap::new(),
            bytes: 0,
            sources: Vec::new(),
            asked: None,
        });
        assembly.wanted |= wanted;
        if !assembly.sources.contains(peer) && assembly.sources.len() < SOURCES_MAX {
            assembly.sources.push(peer.clone());
        }
    }

    /// Takes a consistent compact block for one that is under way.
    fn learn(&mut self, block: BlockId, compact: CompactBlock, pool: &dyn TransactionLookup) {
        let Some(assembly) = self.under_way.get_mut(&block) else { return };
        if assembly.header.is_some() {
            return;
        }
        assembly.header = Some(compact.header);
        assembly.found = vec![None; compact.transactions.len()];
        for (position, id) in (0u32..).zip(&compact.transactions) {
            assembly.missing.entry(*id).or_default().push(position);
        }
        let known: Vec<_> = compact.transactions.iter().filter_map(|id| pool.get(id)).collect();
        known.iter().for_each(|transaction| assembly.put(transaction));
        assembly.ids = compact.transactions;
    }

    fn take_answer(
        &mut self,
        block: BlockId,
        peer: &PeerId,
        positions: &[u32],
        outcome: Result<Response, RequestFailure>,
        pool: &dyn TransactionLookup,
    ) {
        let wants_header = positions.is_empty();
        let offence = match outcome {
            Ok(Response::Compact(compact)) if wants_header => {
                if compact.id() == block && compact.is_consistent() {
                    return self.learn(block, compact, pool);
                }
                Some(Offence::Lied)
            }
            Ok(Response::BlockTransactions(transactions)) if !wants_header => {
                self.take_transactions(block, positions, transactions).err()
            }
            // It announced the block, but need not have all of it yet.
            Ok(Response::Unavailable) | Err(_) => {
                if let Some(assembly) = self.under_way.get_mut(&block) {
                    assembly.drop_source(peer);
                }
                None
            }
            Ok(_) => Some(Offence::Lied),
        };
        if let Some(offence) = offence {
            self.report(peer, offence);
            if let Some(assembly) = self.under_way.get_mut(&block) {
                assembly.drop_source(peer);
            }
        }
    }

    fn take_transactions(
        &mut self,
        block: BlockId,
        positions: &[u32],
        transactions: Vec<EncodedTransaction>,
    ) -> Result<(), Offence> {
        let Some(assembly) = self.under_way.get_mut(&block) else { return Ok(()) };
        if transactions.is_empty() || transactions.len() > positions.len() {
            return Err(Offence::Lied);
        }
        for (position, encoded) in positions.iter().zip(transactions) {
            let transaction = encoded.decode().map_err(|_| Offence::Malformed)?;
            if assembly.ids.get(*position as usize) != Some(&transaction.body.id()) {
                return Err(Offence::Lied);
            }
            // Ids do not cover signatures: the block may be right and this copy wrong.
            let verified = transaction.verify(&self.chain_id).map_err(|_| Offence::Invalid)?;
            assembly.put(&verified);
        }
        Ok(())
    }

    /// Ends every input: hands over what is complete, asks for what is missing.
    fn finish(&mut self, now_ms: u64) -> Vec<AssemblyOutput> {
        let too_large = |one: &Assembly| one.bytes > self.block_bytes_max;
        let large: Vec<BlockId> =
            self.under_way.iter().filter(|(_, one)| too_large(one)).map(|(id, _)| *id).collect();
        large.into_iter().for_each(|block| self.give_up(block));
        let complete = |one: &Assembly| one.header.is_some() && one.missing.is_empty();
        let done: Vec<BlockId> =
            self.under_way.iter().filter(|(_, one)| complete(one)).map(|(id, _)| *id).collect();
        for id in done {
            if let Some(Assembly { header: Some(header), found, .. }) = self.under_way.remove(&id) {
                let transactions = found.into_iter().flatten().collect();
                let block = AssembledBlock { id, header, transactions };
                self.out.push(AssemblyOutput::Complete(Box::new(block)));
            }
        }
        for (block, assembly) in &mut self.under_way {
            if assembly.asked.is_some() {
                continue;
            }
            let Some(peer) = assembly.sources.first().cloned() else { continue };
            let positions = assembly.wanted_positions();
            let block = *block;
            let request = match assembly.header {
                None => Request::Compact { block },
                Some(_) => Request::BlockTransactions { block, positions: positions.clone() },
            };
            let id = self.requests.give();
            assembly.asked = Some((id, peer.clone(), now_ms, positions));
            self.out.push(AssemblyOutput::Ask { peer, id, request });
        }
        std::mem::take(&mut self.out)
    }
}

impl Assembly {
    fn put(&mut self, transaction: &VerifiedTransaction) {
        for position in self.missing.remove(&transaction.id()).unwrap_or_default() {
            self.bytes += transaction.size_bytes();
            self.found[position as usize] = Some(transaction.clone());
        }
    }

    /// The first missing ones, in order.
    fn wanted_positions(&self) -> Vec<u32> {
        let missing = |position: &u32| self.found[*position as usize].is_none();
        (0..self.found.len() as u32).filter(missing).take(TRANSACTION_IDS_MAX).collect()
    }

    fn drop_source(&mut self, peer: &PeerId) {
        self.sources.retain(|other| other != peer);
        if self.asked.as_ref().is_some_and(|(_, asked, ..)| asked == peer) {
            self.asked = None;
        }
    }

    fn put_last(&mut self, peer: &PeerId) {
        if let Some(at) = self.sources.iter().position(|other| other == peer) {
            let peer = self.sources.remove(at);
            self.sources.push(peer);
        }
    }
}

#[cfg(test)]
mod tests;
