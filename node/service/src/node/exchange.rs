//! Talks to peers: spreads transactions, blocks and votes, answers requests, catches up.
//!
//! Like the driver it has no thread and no clock of its own, so that a simulation runs the same code. What it
//! decides is in `purlin-sync`; this is the glue between those plans, the network, the chain and the driver.

mod heaviest;
mod subjectivity;
mod votes;

use purlin_api::ErrorCode;
use purlin_primitives::{
    Block, BlockHeader, BlockId, Certificate, Height, Transaction, TransactionId, VerifiedTransaction,
};
use purlin_rpc::SubmitError;
use purlin_state::KeyValueStore;
use purlin_sync::{
    Assemblies, AssemblyOutput, BlockAnnouncement, BlockSync, BlockSyncOptions, Budget, CertifiedHeader,
    Checked as HeaderChecked, CompactBlock, GossipId, GossipVerdict, HeaderCheck, HeaderFault, LocalHead,
    Network, NetworkEvent, Offence, Origin, PeerId, Planner, Refusal, RelayOutput, Request, RequestFailure,
    RequestId, RequestIds, Response, Server, Status, SyncOutput, SyncRule, SyncedBlock, Topic,
    TransactionGossip, TransactionLookup, TransactionRelay,
};
use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use self::heaviest::Heaviest;
use self::votes::{PULL_MS, Proposals, Pull, Signing};
use super::core::Core;
use super::driver::{AHEAD_MAX as AHEAD_GIVEN_MAX, Halt, Outgoing};
use super::evidence::Reporter;
use super::inbox::{Checked, Event, Inbox};
use super::pipeline::Message;
use super::source::{Recent, Source};
use super::stepped::QueueLengths;
use super::workers::Workers;

/// Most gossiped batches of transactions that wait for their verdict; older ones run out by themselves.
const JUDGING_MAX: usize = 1_024;
/// Heights above the next one whose announcements are passed on: this node may be a little behind.
const AHEAD_MAX: u64 = 2;

/// Names who is behind a certified block that the plan delivered: [`Outgoing::Blame`] then speaks of the block. With the
/// count of [`Exchange::taken_back`], so that whoever gives it next does not answer for this copy.
fn plan_as_peer(block: &BlockId, taken_back: u64) -> Vec<u8> {
    [b"plan:", block.as_bytes().as_slice(), &taken_back.to_be_bytes()].concat()
}

fn block_of_plan(peer: &[u8]) -> Option<(BlockId, u64)> {
    let (hash, taken_back) = peer.strip_prefix(b"plan:")?.split_first_chunk::<32>()?;
    let block = BlockId::new(purlin_primitives::Hash32::new(*hash));
    Some((block, u64::from_be_bytes(taken_back.try_into().ok()?)))
}

pub(super) struct Exchange<S> {
    core: Arc<Core<S>>,
    network: Arc<dyn Network>,
    inbox: Arc<Inbox>,
    workers: Arc<Workers>,
    reporter: Option<Reporter>,
    blocks: BlockSync,
    assemblies: Assemblies,
    relay: TransactionRelay,
    server: Server,
    recent: Recent,
    /// A final block of the next height whose body is on its way, and who told.
    final_next: Option<(CertifiedHeader, PeerId)>,
    /// Blocks that the plan delivered, given to the driver one height at a time.
    delivered: VecDeque<SyncedBlock>,
    /// Height last given to the driver.
    given: Height,
    /// How often a block that was given turned out to be wrong, with all that was given after it.
    taken_back: u64,
    /// Number of batches at the workers.
    judging: usize,
    peers: BTreeSet<PeerId>,
    /// Asks for votes that gossip lost: whom last, and when next.
    pull: Pull,
    pulls: RequestIds,
    proposals: Proposals,
    signing: Signing,
    heaviest: Heaviest,
}

impl<S: KeyValueStore> Exchange<S> {
    pub(super) fn new(
        core: Arc<Core<S>>,
        network: Arc<dyn Network>,
        inbox: Arc<Inbox>,
        workers: Arc<Workers>,
        reporter: Option<Reporter>,
    ) -> Self {
        let genesis = core.chain.genesis();
        let chain_id = genesis.chain_id.clone();
        let block_bytes_max = usize::try_from(genesis.parameters.block_bytes_max).unwrap_or(usize::MAX);
        let options = BlockSyncOptions {
            chain_id: chain_id.clone(),
            genesis: core.chain.genesis_id(),
            rule: if core.heads.is_some() { SyncRule::Heaviest } else { SyncRule::Certified },
            block_bytes_max,
        };
        let head = local_head(&core);
        Self {
            network,
            inbox,
            workers,
            reporter,
            blocks: BlockSync::new(options, head),
            assemblies: Assemblies::new(chain_id, block_bytes_max),
            relay: TransactionRelay::new(),
            server: Server::new(Budget::default()),
            recent: Recent::default(),
            final_next: None,
            delivered: VecDeque::new(),
            given: head.height,
            taken_back: 0,
            judging: 0,
            peers: BTreeSet::new(),
            pull: Pull::default(),
            pulls: RequestIds::new(Planner::Driver),
            proposals: Proposals::default(),
            signing: Signing::default(),
            heaviest: Heaviest::default(),
            core,
        }
    }

    /// Says whether something waits that should not wait long.
    pub(super) fn is_busy(&self) -> bool {
        self.relay.held() != (0, 0) || !self.assemblies.is_empty() || !self.delivered.is_empty()
    }

    /// Counts what it keeps.
    pub(super) fn count(&self, lengths: &mut QueueLengths) {
        lengths.delivered = self.delivered.len();
        lengths.assemblies = self.assemblies.len();
        (lengths.announcing, lengths.fetching) = self.relay.held();
        (lengths.headers, lengths.body_bytes) = self.blocks.held();
        (lengths.shown_blocks, lengths.shown_messages) = self.recent.lengths();
        (lengths.announced, lengths.proposed) = self.proposals.lengths();
    }

    /// Takes one event. `now_ms` is a clock that does not go back.
    pub(super) fn step(&mut self, now_ms: u64, event: Event) -> Result<(), Halt> {
        match event {
            Event::Network(event) => self.network_event(now_ms, event),
            Event::Outgoing(outgoing) => self.outgoing(now_ms, outgoing),
            Event::Admitted(transaction) => {
                let found = self.assemblies.found(now_ms, &transaction);
                self.assembled(now_ms, found)?;
                let out = self.relay.admitted(now_ms, &transaction, Origin::Client);
                self.relayed(out);
                Ok(())
            }
            Event::Checked(checked) => self.checked(now_ms, *checked),
        }
    }

    /// Time passes.
    pub(super) fn tick(&mut self, now_ms: u64) -> Result<(), Halt> {
        let own = self.own_status();
        let out = self.blocks.tick(now_ms, &own);
        self.synced(now_ms, out)?;
        let out = self.assemblies.tick(now_ms);
        self.assembled(now_ms, out)?;
        let out = self.relay.tick(now_ms);
        self.relayed(out);
        self.server.tick(now_ms);
        *self.core.sync.lock() = self.progress();
        self.give_next(now_ms)?;
        self.pull_votes(now_ms);
        self.allow_signing(now_ms);
        Ok(())
    }

    fn network_event(&mut self, now_ms: u64, event: NetworkEvent) -> Result<(), Halt> {
        match event {
            NetworkEvent::Connected { peer } => {
                self.peers.insert(peer.clone());
                let own = self.own_status();
                let out = self.blocks.connected(now_ms, peer.clone(), &own);
                self.synced(now_ms, out)?;
                let out = self.relay.connected(now_ms, peer);
                self.relayed(out);
            }
            NetworkEvent::Disconnected { peer } => {
                self.peers.remove(&peer);
                let own = self.own_status();
                let out = self.blocks.disconnected(now_ms, &peer, &own);
                self.synced(now_ms, out)?;
                let out = self.assemblies.disconnected(now_ms, &peer);
                self.assembled(now_ms, out)?;
                let out = self.relay.disconnected(now_ms, &peer);
                self.relayed(out);
            }
            NetworkEvent::Gossip { topic: Topic::Consensus, from, id, bytes } => {
                let verdict = match self.core.heads {
                    Some(_) => self.take_header(&from, bytes)?,
                    None => self.take_vote(now_ms, &from, &bytes)?,
                };
                self.network.judge(id, verdict);
            }
            NetworkEvent::Gossip { topic: Topic::Blocks, from, id, bytes } => {
                let verdict = match BlockAnnouncement::decode(&bytes) {
                    Ok(announcement) => self.announcement(now_ms, id, &from, announcement)?,
                    Err(_) => Some(GossipVerdict::Reject),
                };
                if let Some(verdict) = verdict {
                    self.network.judge(id, verdict);
                }
            }
            NetworkEvent::Gossip { topic: Topic::Transactions, from, id, bytes } => {
                match TransactionGossip::decode(&bytes) {
                    Ok(gossip) => {
                        let out = self.relay.gossiped(now_ms, &from, id, gossip);
                        self.relayed(out);
                    }
                    Err(_) => self.network.judge(id, GossipVerdict::Reject),
                }
            }
            NetworkEvent::Request { from, id, bytes } => {
                let source = Source { core: &*self.core, recent: &self.recent, last_header: Cell::default() };
                let answer = self.server.answer(now_ms, &from, &bytes, &source);
                let answer = answer.map_err(|error| Halt(error.to_string()))?;
                self.network.respond(id, answer.response);
                if let Some(offence) = answer.offence {
                    self.network.report(&from, offence);
                }
                if let Some(status) = answer.status {
                    let own = self.own_status();
                    let out = self.blocks.told(now_ms, &from, status, &own);
                    self.synced(now_ms, out)?;
                }
                if let Some(height) = answer.reached.filter(|reached| *reached > self.core.head.read().height)
                {
                    let own = self.own_status();
                    let out = self.blocks.announced(now_ms, &from, height, &own);
                    self.synced(now_ms, out)?;
                }
            }
            NetworkEvent::Response { id, from, outcome } => self.answered(now_ms, id, &from, outcome)?,
        }
        Ok(())
    }

    fn answered(
        &mut self,
        now_ms: u64,
        id: RequestId,
        from: &PeerId,
        outcome: Result<Vec<u8>, RequestFailure>,
    ) -> Result<(), Halt> {
        let outcome = outcome.and_then(|bytes| {
            Response::decode(&bytes).map_err(|_| {
                self.network.report(from, Offence::Malformed);
                RequestFailure::Protocol
            })
        });
        match Planner::of(id) {
            Planner::Blocks => {
                let own = self.own_status();
                let mut check = Check { core: &*self.core };
                let out = self.blocks.answered(now_ms, id, outcome, &mut check, &own);
                self.synced(now_ms, out)
            }
            Planner::Assemblies => {
                let pool = Pooled { core: &*self.core };
                let out = self.assemblies.answered(now_ms, id, outcome, &pool);
                self.assembled(now_ms, out)
            }
            Planner::Transactions => {
                let out = self.relay.answered(now_ms, id, outcome);
                self.relayed(out);
                Ok(())
            }
            Planner::Driver if self.core.heads.is_some() => {
                self.headers_answered(id, outcome);
                Ok(())
            }
            Planner::Driver => self.pulled(now_ms, id, outcome),
            Planner::Snapshots => Ok(()),
        }
    }

    fn announcement(
        &mut self,
        now_ms: u64,
        id: GossipId,
        from: &PeerId,
        announcement: BlockAnnouncement,
    ) -> Result<Option<GossipVerdict>, Halt> {
        match announcement {
            BlockAnnouncement::Proposed(compact) if self.core.heads.is_some() => {
                self.mined_announced(now_ms, from, compact).map(Some)
            }
            // Nothing is certified there.
            BlockAnnouncement::Certified(_) if self.core.heads.is_some() => Ok(Some(GossipVerdict::Reject)),
            BlockAnnouncement::Proposed(compact) => self.proposed(now_ms, id, from, compact),
            BlockAnnouncement::Certified(certified) => self.certified(now_ms, from, certified).map(Some),
        }
    }

    fn certified(
        &mut self,
        now_ms: u64,
        from: &PeerId,
        certified: CertifiedHeader,
    ) -> Result<GossipVerdict, Halt> {
        let head = self.core.head.read().height;
        let height = certified.header.height;
        if height <= head {
            return Ok(GossipVerdict::Ignore);
        }
        let mut verdict = GossipVerdict::Ignore;
        // Keys of long ago could sign another past: what the plan may not give, gossip may not either.
        if height == head.next() && self.core.sync_problem.lock().is_none() {
            let checked =
                Check { core: &*self.core }.check(&certified.header, certified.certificate.as_ref());
            verdict = match checked {
                Err(_) => return Ok(GossipVerdict::Reject),
                Ok(_) => GossipVerdict::Relay,
            };
            let id = certified.header.id();
            self.final_next = Some((certified, from.clone()));
            self.give_final();
            if self.final_next.is_some() {
                let out = self.assemblies.wanted(now_ms, id, std::slice::from_ref(from));
                self.assembled(now_ms, out)?;
            }
        }
        let own = self.own_status();
        let out = self.blocks.announced(now_ms, from, height, &own);
        self.synced(now_ms, out)?;
        Ok(verdict)
    }

    /// Gives the driver a final block of the next height, when its body is here.
    fn give_final(&mut self) {
        if self.core.sync_problem.lock().is_some() {
            return;
        }
        let Some((certified, from)) = &self.final_next else { return };
        let id = certified.header.id();
        let (Some(block), Some(certificate)) = (self.recent.block(&id), &certified.certificate) else {
            return;
        };
        if self.contradicts(certificate) {
            return;
        }
        let block = Box::new((*block).clone());
        let message =
            Message::Certified { block, certificate: certificate.clone(), from: from.as_bytes().to_vec() };
        // A driver that is too busy decides by itself, or the plan fetches it.
        drop(self.core.messages.try_send(message));
        self.final_next = None;
    }

    fn checked(&mut self, now_ms: u64, checked: Checked) -> Result<(), Halt> {
        self.judging = self.judging.saturating_sub(1);
        let Checked { from, gossip, admitted, postponed, stale, forged, same } = checked;
        if let Some(id) = gossip {
            let verdict = match (forged.is_empty(), !admitted.is_empty() && same) {
                (false, _) => GossipVerdict::Reject,
                (true, true) => GossipVerdict::Relay,
                (true, false) => GossipVerdict::Ignore,
            };
            self.network.judge(id, verdict);
        } else if !forged.is_empty() {
            self.network.report(&from, Offence::Invalid);
        }
        for transaction in &admitted {
            let found = self.assemblies.found(now_ms, transaction);
            self.assembled(now_ms, found)?;
            let out = self.relay.admitted(now_ms, transaction, Origin::Peer);
            self.relayed(out);
        }
        stale.into_iter().for_each(|id| self.relay.refused(id));
        postponed.into_iter().chain(forged).for_each(|id| self.relay.postponed(id));
        Ok(())
    }

    fn outgoing(&mut self, now_ms: u64, outgoing: Outgoing) -> Result<(), Halt> {
        match outgoing {
            Outgoing::Message(bytes) => {
                self.recent.keep_message(self.core.head.read().height.next(), &bytes);
                self.network.publish(Topic::Consensus, bytes);
            }
            Outgoing::Proposed(block) => {
                let transactions = block.transactions.iter().map(|one| one.body.id()).collect();
                let compact = CompactBlock { header: block.header.clone(), transactions };
                self.recent.keep(block);
                self.network.publish(Topic::Blocks, BlockAnnouncement::Proposed(compact).encode());
            }
            Outgoing::Final { block, certificate } => {
                let header = block.header.clone();
                let height = header.height;
                self.recent.decided(height);
                self.pull.due_ms = now_ms + PULL_MS;
                self.assemblies.decided(height);
                for id in self.proposals.decided(height) {
                    self.network.judge(id, GossipVerdict::Ignore);
                }
                if self.final_next.as_ref().is_some_and(|(next, _)| next.header.height <= height) {
                    self.final_next = None;
                }
                let caught_up = self.blocks.progress().is_none_or(|progress| progress.target <= height);
                if caught_up {
                    let certified = CertifiedHeader { header, certificate };
                    self.network.publish(Topic::Blocks, BlockAnnouncement::Certified(certified).encode());
                }
                let own = self.own_status();
                let out = self.blocks.moved(now_ms, local_head(&self.core), &own);
                self.synced(now_ms, out)?;
                self.give_next(now_ms)?;
            }
            Outgoing::WantBranch { block, from } => self.want_branch(now_ms, block, from)?,
            Outgoing::WantHeaders { from } => self.want_headers(from),
            Outgoing::Moved => self.moved(now_ms)?,
            Outgoing::BadBody(block) if self.core.heads.is_some() => self.bad_body(&block.header.id()),
            Outgoing::Blame { peer, reason } if self.core.heads.is_some() => {
                self.blame(now_ms, peer, &reason)?;
            }
            Outgoing::Want { block, height } => {
                if let Some(known) = self.recent.block(&block) {
                    drop(self.core.messages.try_send(Message::Body(Box::new((*known).clone()))));
                } else if height > self.core.head.read().height {
                    let peers: Vec<PeerId> = self.network.peers().into_iter().map(|peer| peer.id).collect();
                    let out = self.assemblies.wanted(now_ms, block, &peers);
                    self.assembled(now_ms, out)?;
                }
            }
            Outgoing::BadBody(block) => {
                let id = block.header.id();
                // Whoever gave an earlier copy has answered for it.
                let same = |kept: &SyncedBlock| kept.id == id && kept.transactions == block.transactions;
                if self.delivered.iter().any(same) {
                    tracing::debug!(block = %id, "a peer gave a wrong body");
                    self.take_back(now_ms, &id, Refusal::Body)?;
                }
            }
            Outgoing::Blame { peer, reason } => {
                if let Some((block, taken_back)) = block_of_plan(&peer) {
                    tracing::warn!(%block, reason, "a block from a peer is refused");
                    if taken_back == self.taken_back {
                        self.take_back(now_ms, &block, Refusal::Header)?;
                    }
                } else if let Some(peer) = PeerId::new(peer) {
                    tracing::debug!(%peer, reason, "a peer sent what no honest node sends");
                    self.network.report(&peer, Offence::Invalid);
                }
            }
            Outgoing::Evidence(evidence) => {
                let Some(reporter) = &self.reporter else { return Ok(()) };
                match reporter.report(&self.core, *evidence) {
                    Ok(transaction) => {
                        let out = self.relay.admitted(now_ms, &transaction, Origin::Client);
                        self.relayed(out);
                    }
                    Err(error) => tracing::warn!(%error, "evidence could not be submitted"),
                }
            }
        }
        Ok(())
    }

    fn synced(&mut self, now_ms: u64, outputs: Vec<SyncOutput>) -> Result<(), Halt> {
        for output in outputs {
            match output {
                SyncOutput::Ask { peer, id, request } => self.ask(&peer, id, &request),
                SyncOutput::Deliver(block) => self.keep_delivered(*block),
                SyncOutput::Report { peer, offence } => self.network.report(&peer, offence),
                SyncOutput::OtherChain { peer, genesis } => {
                    tracing::info!(%peer, theirs = %genesis, ours = %self.core.chain.genesis_id(), "a peer is on another chain");
                }
            }
        }
        self.give_next(now_ms)
    }

    /// Keeps a block that the plan delivered. After a peer was found lying it begins again below what it delivered before.
    fn keep_delivered(&mut self, block: SyncedBlock) {
        let height = block.certified.header.height;
        self.delivered.retain(|kept| kept.certified.header.height < height);
        self.delivered.push_back(block);
    }

    /// Has a block that was delivered fetched again, with all that stand on it.
    fn take_back(&mut self, now_ms: u64, block: &BlockId, refusal: Refusal) -> Result<(), Halt> {
        let Some(at) = self.delivered.iter().position(|kept| kept.id == *block) else { return Ok(()) };
        let before = self.delivered[at].certified.header.height.get().saturating_sub(1);
        self.delivered.truncate(at);
        self.given = self.given.min(Height::new(before));
        self.taken_back += 1;
        let own = self.own_status();
        let out = self.blocks.refused(now_ms, block, refusal, &own);
        self.synced(now_ms, out)
    }

    /// Gives the driver what the plan delivered, as far as it can use it now.
    fn give_next(&mut self, now_ms: u64) -> Result<(), Halt> {
        match self.core.heads {
            Some(_) => self.give_branch(now_ms),
            None => {
                self.give_certified();
                Ok(())
            }
        }
    }

    /// Gives the driver the next blocks of the plan, a few more than it can store at once.
    fn give_certified(&mut self) {
        self.check_trust();
        if self.core.sync_problem.lock().is_some() {
            return;
        }
        let head = self.core.head.read().height;
        while self.delivered.front().is_some_and(|next| next.certified.header.height <= head) {
            self.delivered.pop_front();
        }
        self.given = self.given.max(head);
        for next in &self.delivered {
            let wanted = self.given.next();
            let height = next.certified.header.height;
            if height < wanted {
                continue;
            }
            if height > wanted || wanted.get() > head.get() + AHEAD_GIVEN_MAX {
                return;
            }
            let Some(certificate) = next.certified.certificate.clone() else { return };
            if self.contradicts(&certificate) {
                return;
            }
            let block =
                Block { header: next.certified.header.clone(), transactions: next.transactions.clone() };
            let from = plan_as_peer(&next.id, self.taken_back);
            let message = Message::Certified { block: Box::new(block), certificate, from };
            if self.core.messages.try_send(message).is_err() {
                return;
            }
            self.given = wanted;
        }
    }

    fn assembled(&mut self, _now_ms: u64, outputs: Vec<AssemblyOutput>) -> Result<(), Halt> {
        for output in outputs {
            match output {
                AssemblyOutput::Ask { peer, id, request } => self.ask(&peer, id, &request),
                AssemblyOutput::Complete(complete) => {
                    let transactions = complete.transactions.iter().map(|one| one.transaction().clone());
                    let block = Block { header: complete.header, transactions: transactions.collect() };
                    self.recent.keep(Arc::new(block.clone()));
                    // A driver that is too busy asks again.
                    drop(self.core.messages.try_send(Message::Body(Box::new(block))));
                    self.give_final();
                }
                AssemblyOutput::GaveUp { block } => {
                    tracing::debug!(%block, "nobody gave the body of a block")
                }
                AssemblyOutput::Report { peer, offence } => self.network.report(&peer, offence),
            }
        }
        Ok(())
    }

    fn relayed(&mut self, outputs: Vec<RelayOutput>) {
        for output in outputs {
            match output {
                RelayOutput::Publish(message) => self.network.publish(Topic::Transactions, message.encode()),
                RelayOutput::Ask { peer, id, request } => self.ask(&peer, id, &request),
                RelayOutput::Report { peer, offence } => self.network.report(&peer, offence),
                RelayOutput::Judge { gossip, verdict } => self.network.judge(gossip, verdict),
                RelayOutput::Admit { from, gossip, transactions, known } => {
                    self.admit(from, gossip, transactions, known);
                }
            }
        }
    }

    /// Has the workers verify and admit what a peer sent.
    fn admit(
        &mut self,
        from: PeerId,
        gossip: Option<GossipId>,
        transactions: Vec<Transaction>,
        known: Vec<Transaction>,
    ) {
        let ids: Vec<TransactionId> = transactions.iter().map(|one| one.body.id()).collect();
        let (core, inbox) = (Arc::clone(&self.core), Arc::clone(&self.inbox));
        let job = move || {
            let checked = check(&core, from, gossip, transactions, &known);
            // There is always room for it.
            drop(inbox.put(Event::Checked(Box::new(checked))));
        };
        if self.judging < JUDGING_MAX && self.workers.run(job).is_ok() {
            self.judging += 1;
            return;
        }
        ids.into_iter().for_each(|id| self.relay.postponed(id));
        if let Some(id) = gossip {
            self.network.judge(id, GossipVerdict::Ignore);
        }
    }

    fn ask(&self, peer: &PeerId, id: RequestId, request: &Request) {
        self.network.request(peer, id, request.encode());
    }

    fn own_status(&self) -> Status {
        own_status(&self.core)
    }
}

/// Says where this node is.
pub(super) fn own_status<S: KeyValueStore>(core: &Core<S>) -> Status {
    let LocalHead { height, id, work, final_height } = local_head(core);
    Status {
        genesis: core.chain.genesis_id(),
        height,
        head: id,
        work,
        final_height,
        oldest_block: core.chain.history().oldest_block,
        snapshot: core.snapshots.get(None).map(|file| file.height()),
    }
}

fn local_head<S: KeyValueStore>(core: &Core<S>) -> LocalHead {
    let head = core.head.read();
    let (work, final_height) = match &core.heads {
        Some(heads) => (heads.work().to_be_bytes(), heads.irreversible(head.height)),
        None => ([0; 32], head.height),
    };
    LocalHead { height: head.height, id: head.block, work, final_height }
}

/// Verifies and admits transactions of a peer; runs on a worker.
fn check<S: KeyValueStore>(
    core: &Core<S>,
    from: PeerId,
    gossip: Option<GossipId>,
    transactions: Vec<Transaction>,
    known: &[Transaction],
) -> Checked {
    let (admitted, postponed, stale, forged) = Default::default();
    let mut checked = Checked { from, gossip, admitted, postponed, stale, forged, same: true };
    for transaction in transactions {
        let id = transaction.body.id();
        let Ok(verified) = core.verify(transaction) else {
            checked.forged.push(id);
            continue;
        };
        match core.admit(verified.clone()) {
            Ok(_) => checked.admitted.push(verified),
            Err(SubmitError::Refused {
                code: ErrorCode::NonceUsed | ErrorCode::TransactionExpired, ..
            }) => {
                checked.stale.push(id);
            }
            Err(_) => checked.postponed.push(id),
        }
    }
    let pool = &core.pool.lock().mempool;
    checked.same = known.iter().all(|one| pool.get(&one.body.id()).is_some_and(|it| it.transaction() == one));
    checked
}

/// Checks headers by what this node knows of the validators.
struct Check<'a, S> {
    core: &'a Core<S>,
}

impl<S: KeyValueStore> HeaderCheck for Check<'_, S> {
    fn check(
        &mut self,
        header: &BlockHeader,
        certificate: Option<&Certificate>,
    ) -> Result<HeaderChecked, HeaderFault> {
        let fault = |reason: String| HeaderFault { reason };
        if let Some(heads) = &self.core.heads {
            // What its target must be is known to the engine, which has its ancestors.
            let work = heads.check_work(header);
            return work.map(|()| HeaderChecked::Later).map_err(|reason| fault(reason.to_owned()));
        }
        let Some(certificate) = certificate else { return Err(fault("it has no certificate".to_owned())) };
        if !certificate.is_for(header) {
            return Err(fault("the certificate is for another block".to_owned()));
        }
        if header.height != self.core.head.read().height.next() {
            // Blocks in between may change who decides; the engine checks it when its turn comes.
            return Ok(HeaderChecked::Later);
        }
        let Ok(validators) = self.core.validators(header.height) else { return Ok(HeaderChecked::Later) };
        certificate
            .verify(&header.chain_id, &validators)
            .map(|()| HeaderChecked::Verified)
            .map_err(|error| fault(error.to_string()))
    }

    fn id_at(&self, height: Height) -> Option<BlockId> {
        if height == Height::ZERO {
            return Some(self.core.chain.genesis_id());
        }
        self.core.chain.header(height).ok().flatten().map(|header| header.id())
    }
}

/// Finds transactions in the pool.
struct Pooled<'a, S> {
    core: &'a Core<S>,
}

impl<S: KeyValueStore> TransactionLookup for Pooled<'_, S> {
    fn get(&self, id: &TransactionId) -> Option<VerifiedTransaction> {
        self.core.pool.lock().mempool.get(id).cloned()
    }
}
