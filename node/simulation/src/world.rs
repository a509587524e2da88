//! The clock, the queue of events, and the nodes.

use purlin_chain::Executor;
use purlin_primitives::{
    AccountId, Amount, ConsensusRules, Genesis, GenesisAccount, GenesisValidator, Height, Parameters,
    PosRules, TimestampMs,
};
use purlin_service::Part;
use purlin_sync::{NetworkEvent, RequestId};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bug::Bug;
use crate::checks::Evidence;
use crate::client::{Client, Turn, client_key};
use crate::ledger::{Checked, Ledger, Violation};
use crate::network::{Parcel, Wires};
use crate::node::{START_MS, SimNode, validator_key};
use crate::plan::{Fault, Plan, Weather};
use crate::random::Random;
use crate::report::Statistics;
use crate::trace::Trace;

/// How often an adversary acts of its own accord, in microseconds.
const ADVERSARY_US: u64 = 150_000;
/// More than any healthy run has.
const EVENTS_MAX: u64 = 5_000_000;

pub(crate) enum Event {
    /// A part of a node does one unit of work.
    Step { node: usize, life: u64, part: Part },
    /// A timer of a node goes off.
    Timer { node: usize, life: u64 },
    /// Something reaches a node.
    Arrive { node: usize, life: u64, parcel: Parcel },
    /// A request had no answer in time.
    Expire { node: usize, life: u64, id: RequestId },
    /// A fault of the plan begins.
    Fault(usize),
    /// A fault of the plan ends.
    Over(usize),
    /// A node starts again.
    Restart { node: usize, life: u64 },
    /// A ban of a peer ends.
    Pardon { node: usize, peer: usize },
    /// It is a client's turn.
    Client(usize),
    /// It is an adversary's turn.
    Adversary(usize),
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) bug: Option<Bug>,
    pub(crate) now_us: u64,
    sequence: u64,
    events: u64,
    queue: BTreeMap<(u64, u64), Event>,
    /// Decides delays and the order of steps.
    pub(crate) random: Random,
    client_random: Random,
    disk_random: Random,
    pub(crate) genesis: Genesis,
    executor: Arc<dyn Executor>,
    pub(crate) nodes: Vec<SimNode>,
    pub(crate) weather: Weather,
    pub(crate) wires: Wires,
    pub(crate) ledger: Ledger,
    pub(crate) evidence: Evidence,
    /// When the first honest node had the block of each height from 1, in milliseconds.
    pub(crate) finals_ms: Vec<u64>,
    /// Who is deaf while everything else is healthy, since when, in milliseconds.
    pub(crate) deaf: Option<(usize, u64)>,
    pub(crate) clients: Vec<Client>,
    accounts: Vec<AccountId>,
    /// Whether clients begin new transactions.
    pub(crate) begins: bool,
    pub(crate) healed: bool,
    pub(crate) statistics: Statistics,
    pub(crate) trace: Trace,
}

/// Returns what the chain of a plan starts from. One unit of stake is one of power.
fn genesis_of(plan: &Plan) -> Genesis {
    const FUNDS: Amount = Amount::new(1_000_000);
    let validators = (0..plan.validators).map(validator_key);
    let rules = PosRules {
        epoch_blocks: plan.epoch_blocks,
        // Longer than a run: a node that was away trusts what it finds, without an operator's checkpoint.
        unbonding_epochs: 100,
        block_reward: Amount::new(plan.block_reward),
        missed_turns_max: plan.missed_turns_max,
        ..PosRules::default()
    };
    let account = |account: AccountId| GenesisAccount { account, balance: FUNDS };
    let funded = (0..plan.clients).map(client_key).chain(validators.clone());
    Genesis {
        chain_id: "simulation".parse().expect("it is a good name"),
        time: TimestampMs::new(START_MS - 10_000),
        validators: validators
            .map(|key| GenesisValidator { public_key: key.public_key(), power: 100 })
            .collect(),
        accounts: funded.map(|key| account(key.public_key().account_id())).collect(),
        parameters: Parameters { consensus: ConsensusRules::Pos(rules), ..Parameters::default() },
    }
}

impl World {
    pub(crate) fn new(
        plan: Plan,
        executor: Arc<dyn Executor>,
        bug: Option<Bug>,
        trace: Trace,
    ) -> Result<Self, Violation> {
        let genesis = genesis_of(&plan);
        let seed = plan.seed;
        let made = (0..plan.nodes()).map(|index| SimNode::new(&plan, &genesis, index, bug));
        let nodes = made.collect::<Result<Vec<_>, _>>().map_err(|error| Violation::new("start", error))?;
        let clients: Vec<Client> = (0..plan.clients).map(Client::new).collect();
        let mut world = Self {
            bug,
            now_us: 0,
            sequence: 0,
            events: 0,
            queue: BTreeMap::new(),
            random: Random::new(seed, 2),
            client_random: Random::new(seed, 3),
            disk_random: Random::new(seed, 4),
            executor,
            weather: plan.weather,
            wires: Wires::new(nodes.len(), Random::new(seed, 5)),
            ledger: Ledger::new(genesis.clone()),
            evidence: Evidence::default(),
            finals_ms: Vec::new(),
            deaf: None,
            accounts: clients.iter().map(|client| client.account).collect(),
            clients,
            begins: true,
            healed: false,
            statistics: Statistics::default(),
            trace,
            genesis,
            nodes,
            plan,
        };
        for node in 0..world.nodes.len() {
            world.start(node)?;
        }
        for index in 0..world.plan.faults.len() {
            let at = world.plan.faults[index].0 * 1000;
            world.at(at, Event::Fault(index));
        }
        for client in 0..world.clients.len() {
            world.after(100_000 * client as u64, Event::Client(client));
        }
        for (node, kind) in world.plan.adversaries.clone() {
            world.statistics.adversary(kind);
            world.after(ADVERSARY_US, Event::Adversary(node));
        }
        Ok(world)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_us / 1000
    }

    pub(crate) fn at(&mut self, at_us: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((at_us.max(self.now_us), self.sequence), event);
    }

    pub(crate) fn after(&mut self, us: u64, event: Event) {
        self.at(self.now_us + us, event);
    }

    /// Handles events until `done`, at most for a time; says whether it was done.
    pub(crate) fn run_until(&mut self, ms_max: u64, done: impl Fn(&Self) -> bool) -> Result<bool, Violation> {
        let until = self.now_us + ms_max * 1000;
        while !done(self) {
            let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) else {
                self.now_us = until;
                return Ok(false);
            };
            let ((at, _), event) = entry.remove_entry();
            self.now_us = at;
            self.events += 1;
            if self.events > EVENTS_MAX {
                return Err(Violation::new("bounded work", format!("over {EVENTS_MAX} events")));
            }
            self.handle(event)?;
        }
        Ok(true)
    }

    fn handle(&mut self, event: Event) -> Checked {
        match event {
            Event::Step { node, life, part } => self.step(node, life, part),
            Event::Timer { node, life } => self.timer(node, life),
            Event::Arrive { node, life, parcel } => self.arrive(node, life, parcel),
            Event::Expire { node, life, id } => self.expire(node, life, id),
            Event::Fault(index) => self.begin_fault(index),
            Event::Over(index) => self.end_fault(index),
            Event::Restart { node, life } if self.nodes[node].life == life => self.start(node),
            Event::Restart { .. } => Ok(()),
            Event::Pardon { node, peer } => {
                self.wires.pardon(node, peer);
                self.connect(node, peer)
            }
            Event::Client(client) => self.client(client),
            Event::Adversary(node) => self.adversary(node),
        }
    }

    /// Returns the node of a life, when it still runs and is not stalled; what comes while it is stalled is put off.
    fn is_awake(&mut self, node: usize, life: u64, event: impl FnOnce() -> Event) -> bool {
        let one = &self.nodes[node];
        if one.life != life || one.running.is_none() {
            return false;
        }
        let until = one.stalled_until_us;
        if until > self.now_us {
            self.at(until, event());
            return false;
        }
        true
    }

    fn step(&mut self, node: usize, life: u64, part: Part) -> Checked {
        if !self.is_awake(node, life, || Event::Step { node, life, part }) {
            return Ok(());
        }
        let one = &mut self.nodes[node];
        one.tell_clock(self.now_us);
        let now = one.time(self.now_us);
        if let Some(running) = &mut one.running {
            running.scheduled[part as usize] = false;
            self.trace.mix(self.now_us, &[node as u64, part as u64]);
            running.node.step(now, part);
        }
        self.stepped(node)
    }

    fn timer(&mut self, node: usize, life: u64) -> Checked {
        if !self.is_awake(node, life, || Event::Timer { node, life }) {
            return Ok(());
        }
        let one = &mut self.nodes[node];
        let now = one.time(self.now_us);
        if let Some(running) = &mut one.running {
            running.timer_us = None;
            if running.node.next_timer().is_some_and(|at| at <= now.elapsed) {
                self.trace.mix(self.now_us, &[node as u64, 7]);
                running.node.step(now, Part::Driver);
            }
            running.node.tick(now);
        }
        self.stepped(node)
    }

    /// Looks at a node that did something, carries what it said, and lets it go on.
    pub(crate) fn stepped(&mut self, node: usize) -> Checked {
        self.carry(node)?;
        self.check(node)?;
        self.poke(node);
        Ok(())
    }

    /// Schedules what a node can do.
    pub(crate) fn poke(&mut self, node: usize) {
        let mut events = Vec::new();
        let one = &mut self.nodes[node];
        let (life, write_us) = (one.life, one.write_us);
        let Some(running) = one.running.as_mut().filter(|running| !running.node.is_stopped()) else { return };
        for part in Part::ALL {
            if running.scheduled[part as usize] || !running.node.is_ready(part) {
                continue;
            }
            running.scheduled[part as usize] = true;
            let us = match part {
                Part::Driver => self.random.between(20, 300),
                Part::Exchange => self.random.between(10, 200),
                Part::Checker => self.random.between(100, 2_000),
                Part::Builder => self.random.between(300, 6_000),
                Part::Committer => self.random.between(300, 6_000) + write_us,
            };
            events.push((self.now_us + us, Event::Step { node, life, part }));
        }
        let timers = [running.node.next_timer(), running.node.next_tick()];
        if let Some(next) = timers.into_iter().flatten().min() {
            let at = (running.booted_us + next.as_micros() as u64).max(self.now_us);
            if running.timer_us.is_none_or(|known| at < known) {
                running.timer_us = Some(at);
                events.push((at, Event::Timer { node, life }));
            }
        }
        for (at, event) in events {
            self.at(at, event);
        }
    }

    pub(crate) fn start(&mut self, node: usize) -> Checked {
        if self.nodes[node].full || self.nodes[node].running.is_some() {
            return Ok(());
        }
        let (genesis, executor) = (&self.genesis, &self.executor);
        let one = &mut self.nodes[node];
        if let Err(error) = one.start(self.now_us, genesis, executor) {
            if !one.is_honest() {
                return Ok(());
            }
            return Err(Violation::new("start", format!("node {node} does not start: {error}")));
        }
        self.trace.mix(self.now_us, &[node as u64, 8]);
        self.trace.line(self.now_us, || format!("node {node} starts"));
        self.check_kept(node)?;
        for peer in 0..self.nodes.len() {
            self.connect(node, peer)?;
        }
        self.stepped(node)
    }

    pub(crate) fn crash(&mut self, node: usize) -> Checked {
        if self.nodes[node].running.is_none() {
            return Ok(());
        }
        self.trace.mix(self.now_us, &[node as u64, 9]);
        self.trace.line(self.now_us, || format!("node {node} loses power"));
        self.clients.iter_mut().for_each(|client| client.lost(node));
        let crashed = self.nodes[node].crash(&mut self.disk_random);
        crashed.map_err(|error| Violation::new("storage", error))?;
        for peer in 0..self.nodes.len() {
            self.disconnect(node, peer)?;
        }
        Ok(())
    }

    fn restart_after(&mut self, node: usize, ms: u64) {
        let life = self.nodes[node].life;
        self.after(ms * 1000, Event::Restart { node, life });
    }

    fn begin_fault(&mut self, index: usize) -> Checked {
        if self.healed {
            return Ok(());
        }
        let fault = self.plan.faults[index].1.clone();
        self.statistics.fault(fault.name());
        self.trace.line(self.now_us, || format!("fault: {fault:?}"));
        match fault {
            Fault::Crash { node, for_ms } => {
                self.crash(node)?;
                self.restart_after(node, for_ms);
            }
            Fault::PowerCut { for_ms } => {
                for node in 0..self.nodes.len() {
                    self.crash(node)?;
                }
                for node in 0..self.nodes.len() {
                    self.restart_after(node, for_ms + 3 * node as u64);
                }
            }
            Fault::OneWayCut { from, to, for_ms } => {
                self.wires.cut(from, to);
                self.after(for_ms * 1000, Event::Over(index));
            }
            Fault::Partition { groups, for_ms, breaks } => {
                for from in 0..groups.len() {
                    for to in 0..groups.len() {
                        if groups[from] == groups[to] {
                            continue;
                        }
                        self.wires.cut(from, to);
                        if breaks {
                            self.disconnect(from, to)?;
                        }
                    }
                }
                self.after(for_ms * 1000, Event::Over(index));
            }
            Fault::SlowDisk { node, for_ms, write_ms } => {
                self.nodes[node].write_us = write_ms * 1000;
                self.after(for_ms * 1000, Event::Over(index));
            }
            Fault::FullDisk { node, for_ms } => {
                let one = &mut self.nodes[node];
                one.full = true;
                one.disk.set_full(true);
                if let Some(running) = &one.running {
                    running.store.fill();
                }
                self.after(for_ms * 1000, Event::Over(index));
            }
            Fault::ClockSkew { node, by_ms } => self.nodes[node].skew_ms += by_ms,
            Fault::Stall { node, for_ms } => {
                self.nodes[node].stalled_until_us = self.now_us + for_ms * 1000;
            }
            Fault::Deaf { node, for_ms } => {
                self.wires.deafen(node);
                self.after(for_ms * 1000, Event::Over(index));
            }
        }
        Ok(())
    }

    fn end_fault(&mut self, index: usize) -> Checked {
        if self.healed {
            return Ok(());
        }
        match self.plan.faults[index].1.clone() {
            Fault::OneWayCut { from, to, .. } => self.wires.mend(from, to),
            Fault::Partition { groups, breaks, .. } => {
                for from in 0..groups.len() {
                    for to in 0..groups.len() {
                        if groups[from] == groups[to] {
                            continue;
                        }
                        self.wires.mend(from, to);
                        if breaks {
                            self.connect(from, to)?;
                        }
                    }
                }
            }
            Fault::SlowDisk { node, .. } => self.nodes[node].write_us = 0,
            Fault::Deaf { node, .. } => self.wires.open_ears(node),
            Fault::FullDisk { node, .. } => return self.make_room(node),
            Fault::Crash { .. } | Fault::PowerCut { .. } | Fault::ClockSkew { .. } | Fault::Stall { .. } => {}
        }
        Ok(())
    }

    /// Ends the fault of a full disk; a node that could not write is crashed and started again.
    fn make_room(&mut self, node: usize) -> Checked {
        self.nodes[node].full = false;
        self.nodes[node].disk.set_full(false);
        self.crash(node)?;
        self.start(node)
    }

    /// Ends all faults.
    pub(crate) fn heal(&mut self) -> Checked {
        self.healed = true;
        self.weather = Weather::CALM;
        self.trace.line(self.now_us, || "everything heals".to_owned());
        self.wires.mend_all();
        for node in 0..self.nodes.len() {
            let one = &mut self.nodes[node];
            (one.write_us, one.stalled_until_us) = (0, 0);
            one.skew_ms = one.skew_ms.clamp(-50, 50);
            if one.full {
                self.make_room(node)?;
            }
            let stopped = |running: &crate::node::Running| running.node.is_stopped();
            if self.nodes[node].running.as_ref().is_some_and(stopped) {
                self.crash(node)?;
            }
            self.start(node)?;
        }
        for node in 0..self.nodes.len() {
            for peer in 0..self.nodes.len() {
                self.connect(node, peer)?;
            }
            self.poke(node);
        }
        Ok(())
    }

    fn client(&mut self, index: usize) -> Checked {
        let random = &mut self.client_random;
        let running: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.nodes[*node].is_honest() && self.nodes[*node].running.is_some())
            .collect();
        let node = (!running.is_empty()).then(|| *random.pick(&running));
        let asked = node.and_then(|node| Some((node, &mut self.nodes[node].running.as_mut()?.node)));
        let turn = Turn {
            now_us: self.now_us,
            chain_id: &self.genesis.chain_id,
            accounts: &self.accounts,
            node: asked,
            bug: self.bug,
            begins: self.begins,
            app: self.plan.app,
        };
        self.clients[index].turn(random, &self.ledger, turn)?;
        let think_ms = random.between(20, self.plan.think_ms);
        self.after(think_ms * 1000, Event::Client(index));
        match node {
            Some(node) => self.stepped(node),
            None => Ok(()),
        }
    }

    fn adversary(&mut self, node: usize) -> Checked {
        self.after(ADVERSARY_US, Event::Adversary(node));
        let one = &mut self.nodes[node];
        let (Some(adversary), Some(running)) = (&mut one.adversary, &one.running) else { return Ok(()) };
        let sent = adversary.act(running.node.chain(), &running.link.connected());
        self.send_all(node, sent)
    }

    /// Gives an event to a node's inbox; gossip that has no room is lost, the rest comes again.
    pub(crate) fn deliver(&mut self, node: usize, event: NetworkEvent) {
        let Some(running) = &self.nodes[node].running else { return };
        if let Err(event) = running.inbox.deliver(event) {
            if matches!(event, NetworkEvent::Gossip { .. }) {
                self.statistics.overflows += 1;
                return;
            }
            let life = self.nodes[node].life;
            self.after(5_000, Event::Arrive { node, life, parcel: Parcel::Event(event) });
        }
    }

    /// Returns the lowest height that all honest nodes have reported, and the highest.
    pub(crate) fn heights(&self) -> (Height, Height) {
        let honest = self.nodes.iter().filter(|node| node.is_honest());
        let heights: Vec<Height> = honest.map(|node| node.reported.0).collect();
        let lowest = heights.iter().min().copied().unwrap_or_default();
        (lowest, heights.iter().max().copied().unwrap_or_default())
    }
}
