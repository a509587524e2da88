//! Engines, a driver for each, and a network between them, under one seeded clock. Blocks are headers only.

use purlin_consensus::{
    Announcement, ConsensusEngine, Effect, Head, Input, Notice, PosConfig, PosEngine, Proposal, TimerId,
    Verdict, VoteSigner, WhenEmpty,
};
use purlin_primitives::{
    AccountId, BlockHeader, BlockId, Certificate, Equivocation, Hash32, Height, PublicKey, SecretKey,
    SignedProposal, SignedVote, TimestampMs, ValidatorSet, hash_domain,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::parts::{Random, Signer, chain_id, key, validators};

/// What the network does to messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) delay_ms: (u64, u64),
    pub(crate) loss_percent: u64,
    pub(crate) twice_percent: u64,
    /// Chance that a process dies between two effects.
    pub(crate) crash_per_mille: u64,
}

pub(crate) const CALM: Weather =
    Weather { delay_ms: (1, 20), loss_percent: 0, twice_percent: 0, crash_per_mille: 0 };

pub(crate) const CONFIG: PosConfig = PosConfig {
    interval_ms_min: 20,
    idle_ms: 200,
    anchor_after_ms: 50,
    propose_ms: 300,
    prevote_ms: 100,
    precommit_ms: 100,
    round_step_ms: 100,
    rebroadcast_ms: 200,
};

const GENESIS_TIME: u64 = 1_000;
const START: u64 = 100_000;
/// How often a driver asks a peer whether its chain is longer, and tries to fetch a body.
const SYNC_MS: u64 = 300;
const FETCH_MS: u64 = 60;

/// What a node sends another.
#[derive(Clone)]
enum Parcel {
    Engine(Vec<u8>),
    Body(BlockHeader),
    Certified(BlockHeader, Certificate),
    AskHeight(Height),
    AskBody(BlockId),
}

enum Event {
    Arrive {
        to: usize,
        from: usize,
        parcel: Parcel,
    },
    Timer {
        node: usize,
        life: u64,
        timer: TimerId,
        set: u64,
    },
    Built {
        node: usize,
        life: u64,
        height: Height,
        time: TimestampMs,
        seal: purlin_primitives::Seal,
        when_empty: WhenEmpty,
    },
    Validate {
        node: usize,
        life: u64,
        block: BlockId,
    },
    Durable {
        node: usize,
        life: u64,
        block: BlockId,
        certificate: Option<Certificate>,
    },
    Sync {
        node: usize,
    },
    Restart {
        node: usize,
    },
    Submit {
        node: usize,
    },
}

/// What survives a crash.
#[derive(Default)]
struct Disk {
    chain: Vec<(BlockHeader, Option<Certificate>)>,
    bodies: Vec<(Height, BlockHeader)>,
}

/// One process.
pub(crate) struct Node {
    engine: Option<PosEngine>,
    signer: Option<Signer>,
    account: AccountId,
    life: u64,
    disk: Disk,
    unkept: Vec<(Height, BlockHeader)>,
    bodies: BTreeMap<BlockId, BlockHeader>,
    executed: BTreeSet<BlockId>,
    wanted: BTreeSet<BlockId>,
    timers: BTreeMap<TimerId, u64>,
    pool: u64,
    /// Which of the network's groups it is in; messages pass within a group only.
    pub(crate) group: u8,
    /// Whether it breaks the rules: it may be blamed, and is not asked to agree.
    pub(crate) faulty: bool,
    /// Whether it keeps the bodies of blocks for itself.
    pub(crate) withholds: bool,
    pub(crate) evidence: Vec<Equivocation>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) restarts: usize,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) random: Random,
    pub(crate) weather: Weather,
    pub(crate) nodes: Vec<Node>,
    /// Who decides from which height on.
    pub(crate) sets: BTreeMap<u64, Arc<ValidatorSet>>,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    /// What honest nodes committed.
    pub(crate) agreed: BTreeMap<Height, BlockId>,
    /// What each key was seen to sign: height, round and kind.
    published: BTreeMap<(PublicKey, Height, u32, u8), Hash32>,
    pub(crate) trace: u64,
}

impl World {
    /// Starts `count` nodes, of which as many as there are powers are validators.
    pub(crate) fn new(seed: u64, powers: &[u64], followers: usize, weather: Weather) -> Self {
        let mut world = Self {
            now: START,
            random: Random::new(seed),
            weather,
            nodes: Vec::new(),
            sets: BTreeMap::from([(0, Arc::new(validators(powers)))]),
            queue: BTreeMap::new(),
            sequence: 0,
            agreed: BTreeMap::new(),
            published: BTreeMap::new(),
            trace: seed,
        };
        for n in 0..powers.len() {
            world.add(Some(key(n)));
        }
        for _ in 0..followers {
            world.add(None);
        }
        world
    }

    /// Adds a process; two with the same key are twins.
    pub(crate) fn add(&mut self, key: Option<SecretKey>) -> usize {
        let node = self.nodes.len();
        let account = key.as_ref().map_or(AccountId::ZERO, |key| key.public_key().account_id());
        let signer = key.map(|key| Signer { key, book: Arc::default() });
        self.nodes.push(Node {
            engine: None,
            signer,
            account,
            life: 0,
            disk: Disk::default(),
            unkept: Vec::new(),
            bodies: BTreeMap::new(),
            executed: BTreeSet::new(),
            wanted: BTreeSet::new(),
            timers: BTreeMap::new(),
            pool: 0,
            group: 0,
            faulty: false,
            withholds: false,
            evidence: Vec::new(),
            notices: Vec::new(),
            restarts: 0,
        });
        let soon = self.random.between(0, 30);
        self.after(soon, Event::Restart { node });
        let soon = self.random.between(1, SYNC_MS);
        self.after(soon, Event::Sync { node });
        node
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + ms, self.sequence), event);
    }

    fn set_of(&self, height: Height) -> Arc<ValidatorSet> {
        let (_, set) = self.sets.range(..=height.get()).next_back().unwrap();
        Arc::clone(set)
    }

    fn head(&self, node: usize) -> Head {
        let chain = &self.nodes[node].disk.chain;
        let genesis = Head {
            height: Height::ZERO,
            id: BlockId::ZERO,
            time: TimestampMs::new(GENESIS_TIME),
            anchored: false,
        };
        chain.last().map_or(genesis, |(header, _)| Head {
            height: header.height,
            id: header.id(),
            time: header.time,
            anchored: header.transactions_root == Hash32::ZERO,
        })
    }

    pub(crate) fn height(&self, node: usize) -> u64 {
        self.nodes[node].disk.chain.len() as u64
    }

    pub(crate) fn headers(&self, node: usize) -> impl Iterator<Item = &BlockHeader> {
        self.nodes[node].disk.chain.iter().map(|(header, _)| header)
    }

    pub(crate) fn conflicts(&self) -> usize {
        let signers = self.nodes.iter().filter_map(|node| node.signer.as_ref());
        signers.map(|signer| signer.book.lock().unwrap().conflicts).sum()
    }

    pub(crate) fn submit(&mut self, node: usize) {
        self.after(0, Event::Submit { node });
    }

    /// Stops a process; what was not flushed is lost.
    pub(crate) fn crash(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.engine = None;
        node.life += 1;
        if let Some(signer) = &node.signer {
            signer.book.lock().unwrap().unsynced.clear();
        }
        node.unkept.clear();
        node.bodies.clear();
        node.executed.clear();
        node.wanted.clear();
        node.timers.clear();
    }

    /// Takes back the last signatures of an input that was not carried out: the process died in between.
    fn die_while_signing(&mut self, node: usize, fresh: &[((Height, u32, u8), usize)]) {
        let Some(signer) = &self.nodes[node].signer else { return };
        let kept = self.random.between(0, fresh.len() as u64) as usize;
        let mut book = signer.book.lock().unwrap();
        for (at, _) in &fresh[kept..] {
            book.signed.remove(at);
        }
        // Records that became durable with the first one lost may also be there, or not.
        if let (Some((_, durable)), true) = (fresh.get(kept.wrapping_sub(1)), kept < fresh.len()) {
            book.records.truncate(*durable);
        }
    }

    pub(crate) fn restart_after(&mut self, node: usize, ms: u64) {
        self.after(ms, Event::Restart { node });
    }

    fn restart(&mut self, node: usize) {
        if self.nodes[node].engine.is_some() {
            return;
        }
        let head = self.head(node);
        let validators = self.set_of(head.height.next());
        let one = &mut self.nodes[node];
        one.restarts += 1;
        one.bodies = one.disk.chain.iter().map(|(header, _)| (header.id(), header.clone())).collect();
        let kept = one.disk.bodies.iter().map(|(_, header)| (header.id(), header.clone()));
        one.bodies.extend(kept);
        let mut engine = match &one.signer {
            Some(signer) => PosEngine::new(CONFIG, chain_id(), Box::new(signer.clone())),
            None => PosEngine::follower(CONFIG, chain_id()),
        };
        let last = one.disk.chain.last();
        let uncertified = last.filter(|(_, certificate)| certificate.is_none());
        let uncertified = uncertified.map(|(header, _)| Box::new(header.clone()));
        let records = one.signer.as_ref().map(|signer| signer.book.lock().unwrap().records.clone());
        let records = records.unwrap_or_default();
        let started = Input::Started { head, uncertified, validators, records };
        let effects = engine.handle(TimestampMs::new(self.now), started);
        one.engine = Some(engine);
        self.carry_out(node, effects);
        if self.nodes[node].pool > 0 {
            self.input(node, Input::TransactionsWaiting);
        }
    }

    fn input(&mut self, node: usize, input: Input) {
        let now = TimestampMs::new(self.now);
        let Some(engine) = &mut self.nodes[node].engine else { return };
        let effects = engine.handle(now, input);
        self.carry_out(node, effects);
    }

    fn carry_out(&mut self, node: usize, effects: Vec<Effect>) {
        let signer = self.nodes[node].signer.as_ref();
        let fresh = signer.map(|signer| std::mem::take(&mut signer.book.lock().unwrap().fresh));
        for (position, effect) in effects.into_iter().enumerate() {
            if self.weather.crash_per_mille > 0
                && self.random.between(1, 1_000) <= self.weather.crash_per_mille
            {
                if position == 0 {
                    self.die_while_signing(node, &fresh.unwrap_or_default());
                }
                self.crash(node);
                let ms = self.random.between(1, 2_000);
                return self.restart_after(node, ms);
            }
            self.carry_out_one(node, effect);
        }
    }

    fn carry_out_one(&mut self, node: usize, effect: Effect) {
        let life = self.nodes[node].life;
        match effect {
            Effect::BuildProposal { height, time, seal, when_empty } => {
                let ms = self.random.between(1, 20);
                self.after(ms, Event::Built { node, life, height, time, seal, when_empty });
            }
            Effect::ValidateBlock { block, height } => {
                assert_eq!(height, self.head(node).height.next());
                if self.nodes[node].bodies.contains_key(&block) {
                    let ms = self.random.between(1, 10);
                    self.after(ms, Event::Validate { node, life, block });
                } else {
                    self.nodes[node].wanted.insert(block);
                    self.after(FETCH_MS, Event::Validate { node, life, block });
                }
            }
            Effect::Commit { block, certificate } => {
                assert!(self.nodes[node].executed.contains(&block), "committed what was not executed");
                let ms = self.random.between(1, 10);
                self.after(ms, Event::Durable { node, life, block, certificate });
            }
            Effect::Certify { certificate } => {
                let last = self.nodes[node].disk.chain.last_mut().unwrap();
                assert!(certificate.is_for(&last.0));
                last.1 = Some(certificate);
            }
            Effect::KeepBody { block, height, .. } => {
                let one = &mut self.nodes[node];
                one.unkept.push((height, one.bodies[&block].clone()));
            }
            Effect::SetTimer { timer, after_ms } => {
                self.sequence += 1;
                let set = self.sequence;
                self.nodes[node].timers.insert(timer, set);
                self.after(after_ms, Event::Timer { node, life, timer, set });
            }
            Effect::CancelTimer { timer } => {
                self.nodes[node].timers.remove(&timer);
            }
            Effect::Publish(announcement) => self.publish(node, announcement),
            Effect::Blame { peer, reason } => {
                let peer = usize::from(peer[0]);
                assert!(self.nodes[peer].faulty, "node {node} blames {peer}: {reason}");
            }
            Effect::Evidence(found) => {
                found.verify(&chain_id()).unwrap();
                let faulty: Vec<_> = self.nodes.iter().filter(|node| node.faulty).collect();
                let is_theirs =
                    |node: &&Node| node.signer.as_ref().is_some_and(|s| s.public_key() == *found.offender());
                assert!(faulty.iter().any(is_theirs), "an honest node signed twice: {found:?}");
                assert!(!self.nodes[node].evidence.contains(&found), "reported twice");
                self.nodes[node].evidence.push(*found);
            }
            Effect::Report(notice) => {
                assert!(!matches!(notice, Notice::Fault { .. }), "node {node}: {notice:?}");
                self.nodes[node].notices.push(notice);
            }
            Effect::Pow(effect) => panic!("an engine of proof of stake wants {effect:?}"),
            Effect::Halt { reason } => {
                assert!(self.nodes[node].faulty, "node {node} halted: {reason}");
                self.nodes[node].engine = None;
            }
        }
    }

    fn publish(&mut self, node: usize, announcement: Announcement) {
        let one = &mut self.nodes[node];
        one.disk.bodies.append(&mut one.unkept);
        let parcel = match announcement {
            Announcement::Certified { certificate } => {
                let (header, _) = &one.disk.chain[certificate.height.get() as usize - 1];
                Parcel::Certified(header.clone(), certificate)
            }
            Announcement::Message { bytes } => {
                self.audit(&bytes);
                Parcel::Engine(bytes)
            }
            Announcement::Block { block } => match one.bodies.get(&block) {
                Some(header) => Parcel::Body(header.clone()),
                None => return,
            },
        };
        for to in 0..self.nodes.len() {
            if to != node {
                self.send(node, to, parcel.clone());
            }
        }
    }

    /// No honest key signs two things for one height, round and kind.
    fn audit(&mut self, bytes: &[u8]) {
        let (at, digest, signer) = match bytes[1] {
            1 => {
                let signed: SignedVote = borsh::from_slice(&bytes[2..]).unwrap();
                let vote = &signed.vote;
                ((vote.height, vote.round, vote.kind as u8), vote.signing_hash(), signed.public_key)
            }
            2 => {
                let signed: SignedProposal = borsh::from_slice(&bytes[2..]).unwrap();
                let proposal = &signed.proposal;
                ((proposal.height, proposal.round, 0), proposal.signing_hash(), signed.public_key)
            }
            _ => return,
        };
        self.trace =
            self.trace.rotate_left(7) ^ u64::from_le_bytes(digest.as_bytes()[..8].try_into().unwrap());
        let faulty = self.nodes.iter().filter(|node| node.faulty);
        if faulty.filter_map(|node| node.signer.as_ref()).any(|other| other.public_key() == signer) {
            return;
        }
        let before = *self.published.entry((signer, at.0, at.1, at.2)).or_insert(digest);
        assert_eq!(before, digest, "{signer} signed twice at {at:?}");
    }

    fn send(&mut self, from: usize, to: usize, parcel: Parcel) {
        if self.nodes[from].group != self.nodes[to].group || self.random.percent(self.weather.loss_percent) {
            return;
        }
        if self.nodes[from].withholds && matches!(parcel, Parcel::Body(_)) {
            return;
        }
        let copies = if self.random.percent(self.weather.twice_percent) { 2 } else { 1 };
        for _ in 0..copies {
            let (low, high) = self.weather.delay_ms;
            let ms = self.random.between(low, high);
            self.after(ms, Event::Arrive { to, from, parcel: parcel.clone() });
        }
    }

    fn arrive(&mut self, to: usize, from: usize, parcel: Parcel) {
        if self.nodes[to].engine.is_none() {
            return;
        }
        match parcel {
            Parcel::Engine(bytes) => self.input(to, Input::Message { from: vec![from as u8], bytes }),
            Parcel::Body(header) => {
                let (block, life) = (header.id(), self.nodes[to].life);
                self.nodes[to].bodies.insert(block, header);
                if self.nodes[to].wanted.remove(&block) {
                    self.after(1, Event::Validate { node: to, life, block });
                }
            }
            Parcel::Certified(header, certificate) => {
                if header.height == self.head(to).height.next() {
                    self.nodes[to].bodies.insert(header.id(), header.clone());
                    let (header, from) = (Box::new(header), vec![from as u8]);
                    self.input(to, Input::Certified { header, certificate, from });
                }
            }
            Parcel::AskHeight(height) => {
                let answer = self.nodes[to].disk.chain.get(height.get() as usize - 1).cloned();
                if let Some((header, Some(certificate))) = answer {
                    self.send(to, from, Parcel::Certified(header, certificate));
                }
            }
            Parcel::AskBody(block) => {
                if let Some(header) = self.nodes[to].bodies.get(&block).cloned() {
                    self.send(to, from, Parcel::Body(header));
                }
            }
        }
    }

    fn validate(&mut self, node: usize, block: BlockId) {
        let head = self.head(node);
        let Some(header) = self.nodes[node].bodies.get(&block).cloned() else {
            // Ask somebody, until it is here or too late.
            if self.nodes[node].wanted.contains(&block) {
                let others = self.nodes.len() as u64 - 1;
                let other = self.random.between(0, others) as usize;
                if other != node {
                    self.send(node, other, Parcel::AskBody(block));
                }
                let life = self.nodes[node].life;
                self.after(FETCH_MS, Event::Validate { node, life, block });
            }
            return;
        };
        let fits = header.parent == head.id && header.height == head.height.next() && header.time > head.time;
        let verdict = if fits {
            self.nodes[node].executed.insert(block);
            Verdict::Valid { header: Box::new(header) }
        } else {
            Verdict::Invalid { reason: "does not follow the head".to_owned() }
        };
        self.input(node, Input::BlockValidated { block, verdict });
    }

    fn built(
        &mut self,
        node: usize,
        height: Height,
        time: TimestampMs,
        seal: purlin_primitives::Seal,
        when_empty: WhenEmpty,
    ) {
        let head = self.head(node);
        let one = &mut self.nodes[node];
        if one.pool == 0 && when_empty == WhenEmpty::Skip {
            return self.input(node, Input::ProposalSkipped { height, more_waiting: false });
        }
        let content = [&one.pool.to_le_bytes()[..], &(node as u64).to_le_bytes()].concat();
        let header = BlockHeader {
            chain_id: chain_id(),
            height,
            parent: head.id,
            time,
            proposer: one.account,
            transactions_root: if one.pool == 0 { Hash32::ZERO } else { hash_domain("test", &content) },
            state_root: Hash32::ZERO,
            receipts_root: Hash32::ZERO,
            seal,
        };
        // One that is built too late to be the next one is answered all the same.
        let id = header.id();
        let anchored = one.pool == 0;
        one.bodies.insert(id, header.clone());
        one.executed.insert(id);
        let proposal = Proposal { header, id, anchored };
        self.input(node, Input::ProposalBuilt { proposal, more_waiting: false });
    }

    fn durable(&mut self, node: usize, block: BlockId, certificate: Option<Certificate>) {
        let header = self.nodes[node].bodies[&block].clone();
        let (height, head) = (header.height, self.head(node));
        assert_eq!((height, header.parent), (head.height.next(), head.id));
        let set = self.set_of(height);
        match &certificate {
            Some(certificate) => {
                assert!(certificate.is_for(&header));
                certificate.verify(&chain_id(), &set).unwrap();
            }
            None => assert_eq!(set.validators().len(), 1),
        }
        if !self.nodes[node].faulty {
            let agreed = *self.agreed.entry(height).or_insert(block);
            assert_eq!(agreed, block, "node {node} disagrees at height {height}");
        }
        let one = &mut self.nodes[node];
        one.disk.chain.push((header.clone(), certificate));
        one.disk.bodies.retain(|(at, _)| *at > height);
        one.unkept.retain(|(at, _)| *at > height);
        if header.transactions_root != Hash32::ZERO {
            one.pool = one.pool.saturating_sub(1);
        }
        let (head, validators) = (self.head(node), self.set_of(height.next()));
        self.input(node, Input::Committed { head, header: Box::new(header), validators });
    }

    /// Handles the next event; `false` when there is none before `until`.
    fn turn(&mut self, until: u64) -> bool {
        let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) else {
            return false;
        };
        let ((at, _), event) = entry.remove_entry();
        self.now = self.now.max(at);
        let alive = |world: &Self, node: usize, life: u64| {
            world.nodes[node].life == life && world.nodes[node].engine.is_some()
        };
        match event {
            Event::Arrive { to, from, parcel } => self.arrive(to, from, parcel),
            Event::Timer { node, life, timer, set } => {
                if alive(self, node, life) && self.nodes[node].timers.get(&timer) == Some(&set) {
                    self.nodes[node].timers.remove(&timer);
                    self.input(node, Input::TimerElapsed { timer });
                }
            }
            Event::Built { node, life, height, time, seal, when_empty } => {
                if alive(self, node, life) {
                    self.built(node, height, time, seal, when_empty);
                }
            }
            Event::Validate { node, life, block } => {
                if alive(self, node, life) {
                    self.validate(node, block);
                }
            }
            Event::Durable { node, life, block, certificate } => {
                if alive(self, node, life) {
                    self.durable(node, block, certificate);
                }
            }
            Event::Sync { node } => {
                let other = self.random.between(0, self.nodes.len() as u64 - 1) as usize;
                if other != node && self.nodes[node].engine.is_some() {
                    let next = self.head(node).height.next();
                    self.send(node, other, Parcel::AskHeight(next));
                }
                self.after(SYNC_MS, Event::Sync { node });
            }
            Event::Restart { node } => self.restart(node),
            Event::Submit { node } => {
                self.nodes[node].pool += 1;
                self.input(node, Input::TransactionsWaiting);
            }
        }
        true
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.turn(until) {}
        self.now = until;
    }

    /// Runs until all of `nodes` have this many blocks; says after how many milliseconds, or panics.
    pub(crate) fn run_to(&mut self, nodes: &[usize], height: u64, ms_max: u64) -> u64 {
        let (from, until) = (self.now, self.now + ms_max);
        while nodes.iter().any(|node| self.height(*node) < height) {
            if !self.turn(until) {
                let heights: Vec<u64> = (0..self.nodes.len()).map(|node| self.height(node)).collect();
                panic!("no block {height} within {ms_max} ms: {heights:?}");
            }
        }
        self.now - from
    }

    /// Lets in a message of a stranger or of a faulty node.
    pub(crate) fn inject(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        self.input(to, Input::Message { from: vec![from as u8], bytes });
    }

    pub(crate) fn certificate(&self, node: usize, height: u64) -> &Certificate {
        self.nodes[node].disk.chain[height as usize - 1].1.as_ref().unwrap()
    }
}
