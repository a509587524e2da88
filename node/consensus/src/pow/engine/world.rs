//! Some nodes with real headers and real work, and blocks that are right unless a test says otherwise.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;
use crate::port::{Head, Proposal};
use crate::pow::tree::tests::rules;
use crate::pow::{DoubleSha256, search};
use purlin_primitives::{Block, Hash32, Seal};

/// Work that a miner does in a step.
const NONCES_PER_STEP: u64 = 128;
const STEP_MS: u64 = 50;

pub(super) struct Node {
    pub(super) engine: PowEngine,
    pub(super) chain: Vec<BlockHeader>,
    /// Blocks that the driver holds: validated or mined, not stored.
    held: BTreeMap<BlockId, BlockHeader>,
    timers: BTreeMap<TimerId, u64>,
    searching: Option<(BlockHeader, u64)>,
    inputs: VecDeque<Input>,
    pub(super) hash_rate: u64,
    pub(super) notices: Vec<PowNotice>,
    pub(super) blames: Vec<String>,
    pub(super) requests: usize,
    pub(super) held_max: usize,
    /// How much its clock is ahead of the world's, in milliseconds.
    pub(super) clock_ahead_ms: u64,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) nodes: Vec<Node>,
    /// Which nodes reach each other: those with the same number.
    pub(super) group: Vec<usize>,
    /// All blocks ever mined; their bodies can be had from whoever is reached.
    headers: BTreeMap<BlockId, BlockHeader>,
    pub(super) withheld: BTreeSet<BlockId>,
    pub(super) invalid: BTreeSet<BlockId>,
    /// Whether reorganisations are more than a driver can do.
    pub(super) too_large: bool,
    pub(super) window: u64,
    salt: u64,
}

impl World {
    pub(super) fn new(nodes: usize, window: u64) -> Self {
        let mut world = Self {
            now: 1_000_000,
            nodes: Vec::new(),
            group: Vec::new(),
            headers: BTreeMap::new(),
            withheld: BTreeSet::new(),
            invalid: BTreeSet::new(),
            too_large: false,
            window,
            salt: 0,
        };
        for _ in 0..nodes {
            world.join(Mining::On { renew_after_ms: 2_000 });
        }
        world
    }

    pub(super) fn config(window: u64, mining: Mining) -> PowConfig {
        PowConfig { rules: rules(window), mining, body_timeout_ms: 3_000 }
    }

    /// Adds a node with an empty chain, in the first group.
    pub(super) fn join(&mut self, mining: Mining) -> usize {
        let config = Self::config(self.window, mining);
        let engine = PowEngine::new(config, Box::new(DoubleSha256), History::default()).unwrap();
        let mut node = Node {
            engine,
            chain: Vec::new(),
            held: BTreeMap::new(),
            timers: BTreeMap::new(),
            searching: None,
            inputs: VecDeque::new(),
            hash_rate: 1,
            notices: Vec::new(),
            blames: Vec::new(),
            requests: 0,
            held_max: 0,
            clock_ahead_ms: 0,
        };
        node.inputs.push_back(node.start());
        self.nodes.push(node);
        self.group.push(0);
        self.nodes.len() - 1
    }

    /// Starts a node again on its chain: everything that is not stored is gone.
    pub(super) fn restart(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let kept = self.window as usize + crate::pow::MEDIAN_TIME_BLOCKS;
        let history = History {
            headers: node.chain[node.chain.len().saturating_sub(kept)..].to_vec(),
            first_time: node.chain.first().map(|header| header.time),
            oldest_state: node.engine.headers().final_height(),
        };
        let config = Self::config(self.window, Mining::On { renew_after_ms: 2_000 });
        node.engine = PowEngine::new(config, Box::new(DoubleSha256), history).unwrap();
        node.held.clear();
        node.timers.clear();
        node.searching = None;
        node.inputs = VecDeque::from([node.start()]);
    }

    pub(super) fn head(&self, at: usize) -> BlockId {
        self.nodes[at].head().id
    }

    pub(super) fn heights(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.chain.len() as u64).collect()
    }

    /// Lets time pass until a condition holds; fails when it never does.
    pub(super) fn run_until(&mut self, steps_max: usize, done: impl Fn(&Self) -> bool) {
        for _ in 0..steps_max {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("nothing came of it: heights {:?}", self.heights());
    }

    pub(super) fn step(&mut self) {
        self.now += STEP_MS;
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            let due: Vec<TimerId> =
                node.timers.iter().filter(|(_, when)| **when <= self.now).map(|(timer, _)| *timer).collect();
            for timer in due {
                node.timers.remove(&timer);
                node.inputs.push_back(Input::TimerElapsed { timer });
            }
            if let Some((header, from)) = &mut node.searching {
                let nonces = *from..*from + NONCES_PER_STEP * node.hash_rate;
                *from = nonces.end;
                if let Some(nonce) = search(&DoubleSha256, header, nonces) {
                    let mut header = header.clone();
                    let Seal::Pow { target, .. } = header.seal else { panic!("{header:?}") };
                    header.seal = Seal::Pow { target, nonce };
                    self.headers.insert(header.id(), header.clone());
                    node.held.insert(header.id(), header.clone());
                    node.searching = None;
                    node.inputs.push_back(Input::Pow(PowInput::Mined { header: Box::new(header) }));
                }
            }
        }
        self.settle();
    }

    /// Carries out everything until all is quiet.
    pub(super) fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for at in 0..self.nodes.len() {
                while let Some(input) = self.nodes[at].inputs.pop_front() {
                    quiet = false;
                    self.give(at, input);
                }
            }
            if quiet {
                return;
            }
        }
    }

    pub(super) fn give(&mut self, at: usize, input: Input) {
        let now = TimestampMs::new(self.now + self.nodes[at].clock_ahead_ms);
        for effect in self.nodes[at].engine.handle(now, input) {
            self.carry_out(at, effect);
        }
        let node = &mut self.nodes[at];
        node.held_max = node.held_max.max(node.held.len());
    }

    pub(super) fn reaches(&self, one: usize, other: usize) -> bool {
        one != other && self.group[one] == self.group[other]
    }

    /// Tells a node what a peer gives as its head.
    pub(super) fn announce(&mut self, from: usize, to: usize) {
        if let Some(header) = self.nodes[from].chain.last().cloned() {
            let headers = vec![header];
            self.nodes[to]
                .inputs
                .push_back(Input::Pow(PowInput::Headers { from: vec![from as u8], headers }));
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        let reached: Vec<usize> = (0..self.nodes.len()).filter(|other| self.reaches(at, *other)).collect();
        let node = &mut self.nodes[at];
        match effect {
            Effect::BuildProposal { height, time, seal, .. } => {
                self.salt += 1;
                let header = node.next_header(height, time, seal, self.salt);
                let proposal = Proposal { id: header.id(), header, anchored: false };
                node.inputs.push_back(Input::ProposalBuilt { proposal, more_waiting: false });
            }
            Effect::Pow(PowEffect::Mine { header }) => node.searching = Some((*header, 0)),
            Effect::Pow(PowEffect::StopMining) => node.searching = None,
            Effect::Pow(PowEffect::Validate { header, ancestor, .. }) => {
                let block = header.id();
                assert!(ancestor.get() <= node.chain.len() as u64);
                if self.withheld.contains(&block) || !self.headers.contains_key(&block) {
                    return;
                }
                // Executed on its parent, which is stored or held by now.
                let parent = header.parent;
                let known = node.held.contains_key(&parent)
                    || node.chain.iter().any(|header| header.id() == parent)
                    || parent == rules(0).genesis;
                if !known {
                    return;
                }
                let verdict = if self.invalid.contains(&block) {
                    Verdict::Invalid { reason: "a test says so".into() }
                } else {
                    node.held.insert(block, (*header).clone());
                    Verdict::Valid { header }
                };
                node.inputs.push_back(Input::BlockValidated { block, verdict });
            }
            Effect::Pow(PowEffect::Discard { blocks }) => {
                blocks.iter().for_each(|block| drop(node.held.remove(block)));
            }
            Effect::Commit { block, certificate: None } => {
                node.append(block);
                let (head, header) = (node.head(), Box::new(node.chain.last().unwrap().clone()));
                node.inputs.push_back(Input::Committed { head, header, validators: Default::default() });
            }
            Effect::Pow(PowEffect::Reorganize { ancestor, branch }) => {
                if self.too_large {
                    node.inputs.push_back(Input::Pow(PowInput::Stayed));
                    return;
                }
                let depth = node.chain.len() as u64 - ancestor.get();
                assert!(depth <= self.window, "deeper than the window: {depth}");
                node.chain.truncate(ancestor.get() as usize);
                branch.into_iter().for_each(|block| node.append(block));
                let head = node.head().id;
                node.inputs.push_back(Input::Pow(PowInput::Reorganized { head }));
            }
            Effect::Pow(PowEffect::RequestHeaders { from }) => {
                node.requests += 1;
                let peer = usize::from(from[0]);
                if !reached.contains(&peer) {
                    return;
                }
                // From where the chains part, or else from where this one is final.
                let lowest = node.engine.headers().final_height().get() as usize;
                let (own, chain) = (&self.nodes[at].chain, &self.nodes[peer].chain);
                let common = own.iter().zip(chain).take_while(|(one, other)| one == other).count();
                let headers = chain.iter().skip(common.max(lowest)).take(HEADERS_PER_ANSWER_MAX);
                let headers = headers.cloned().collect();
                self.nodes[at].inputs.push_back(Input::Pow(PowInput::Headers { from, headers }));
            }
            Effect::Publish(Announcement::Message { bytes }) => {
                assert!(bytes.len() <= MESSAGE_BYTES_MAX);
                for other in reached {
                    let from = vec![at as u8];
                    self.nodes[other].inputs.push_back(Input::Message { from, bytes: bytes.clone() });
                }
            }
            Effect::Publish(Announcement::Block { block }) => assert!(self.headers.contains_key(&block)),
            Effect::SetTimer { timer, after_ms } => {
                assert!(after_ms > 0);
                node.timers.insert(timer, self.now + after_ms);
            }
            Effect::CancelTimer { timer } => drop(node.timers.remove(&timer)),
            Effect::Report(Notice::Pow(notice)) => node.notices.push(notice),
            Effect::Blame { reason, .. } => node.blames.push(reason),
            other => panic!("{other:?}"),
        }
    }
}

impl Node {
    pub(super) fn head(&self) -> Head {
        match self.chain.last() {
            Some(header) => {
                Head { height: header.height, id: header.id(), time: header.time, anchored: false }
            }
            None => {
                let (id, time) = (rules(0).genesis, rules(0).genesis_time);
                Head { height: Height::ZERO, id, time, anchored: false }
            }
        }
    }

    /// Lets its miners rest.
    pub(super) fn rest(&mut self) {
        self.hash_rate = 0;
    }

    fn start(&self) -> Input {
        let head = self.head();
        Input::Started { head, uncertified: None, validators: Default::default(), records: Vec::new() }
    }

    pub(super) fn next_header(
        &self,
        height: Height,
        time: TimestampMs,
        seal: Seal,
        salt: u64,
    ) -> BlockHeader {
        assert_eq!(height, self.head().height.next());
        let mut root = [0; 32];
        root[..8].copy_from_slice(&salt.to_le_bytes());
        let transactions_root = if salt == 0 { Block::transactions_root(&[]) } else { Hash32::new(root) };
        BlockHeader {
            chain_id: rules(0).chain_id,
            height,
            parent: self.head().id,
            time,
            proposer: Default::default(),
            transactions_root,
            state_root: Hash32::ZERO,
            receipts_root: Hash32::ZERO,
            seal,
        }
    }

    /// Stores a block; it must be held, and fit.
    fn append(&mut self, block: BlockId) {
        let header = self.held.remove(&block).expect("only what was found valid is stored");
        assert_eq!(header.parent, self.head().id);
        assert_eq!(header.height, self.head().height.next());
        self.chain.push(header);
    }
}
