//! A plan against peers that are honest, broken or lying, over a network that loses and delays, from seeds.

use super::*;
use crate::message::{BodyPart, EncodedTransaction};
use crate::testing::{TestChain, chain_id, genesis, key, peer};
use proptest::prelude::*;

/// How a peer behaves. Each liar has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Honest,
    /// Honest, but its answers hold one block, and one transaction of it.
    Meagre,
    /// Never answers anything but where it is.
    Staller,
    /// Says that it is far ahead.
    Boaster,
    /// Makes up headers without end that nobody certified, above the chain and below.
    Forger,
    /// Certifies with a key that is no validator's.
    Impostor,
    /// Sends headers in the wrong order, or too many.
    Shuffler,
    /// Sends bodies of other blocks.
    Swapper,
    /// Alters signatures of transactions, which ids do not cover.
    Tamperer,
    /// Has headers and no bodies.
    Hollow,
    /// Sends bodies without end.
    Stuffer,
    /// Answers with something else.
    Babbler,
}

const LIARS: [Role; 10] = [
    Role::Staller,
    Role::Boaster,
    Role::Forger,
    Role::Impostor,
    Role::Shuffler,
    Role::Swapper,
    Role::Tamperer,
    Role::Hollow,
    Role::Stuffer,
    Role::Babbler,
];

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end
    }
}

/// Knows validators up to the end of the epoch after the one that is applied.
struct Check<'a> {
    chain: &'a TestChain,
    applied: u64,
}

const EPOCH: u64 = 7;

fn is_by_validator(certified: &CertifiedHeader) -> bool {
    let certificate = certified.certificate.as_ref().unwrap();
    certificate.signatures.len() == 1
        && certificate.signatures[0].public_key == key(1).public_key()
        && certificate.verify_signatures(&chain_id()).is_ok()
}

impl HeaderCheck for Check<'_> {
    fn check(
        &mut self,
        header: &BlockHeader,
        certificate: Option<&Certificate>,
    ) -> Result<Checked, HeaderFault> {
        if header.height.get() > (self.applied / EPOCH + 1) * EPOCH {
            return Ok(Checked::Later);
        }
        let certified = CertifiedHeader { header: header.clone(), certificate: certificate.cloned() };
        match is_by_validator(&certified) {
            true => Ok(Checked::Verified),
            false => Err(HeaderFault { reason: "not by the validator".into() }),
        }
    }

    fn id_at(&self, height: Height) -> Option<BlockId> {
        (height.get() <= self.applied).then(|| self.chain.id(height.get()))
    }
}

struct World {
    now: u64,
    random: Random,
    chain: TestChain,
    /// What forgers and impostors say the chain is.
    forged: TestChain,
    sync: BlockSync,
    peers: BTreeMap<PeerId, Role>,
    on_the_way: Vec<(u64, RequestId, Result<Response, RequestFailure>)>,
    applied: u64,
    refused: bool,
    reports: Vec<(PeerId, Offence)>,
    /// Per cent of requests or answers that are lost.
    loss: u64,
    delay_max: u64,
    bodies_asked_of: BTreeMap<PeerId, usize>,
}

fn head_at(chain: &TestChain, height: u64) -> LocalHead {
    let height = Height::new(height);
    LocalHead { height, id: chain.id(height.get()), work: [0; 32], final_height: height }
}

fn options(rule: SyncRule) -> BlockSyncOptions {
    BlockSyncOptions { chain_id: chain_id(), genesis: genesis(), rule, block_bytes_max: 100_000 }
}

fn status_of(chain: &TestChain) -> Status {
    Status {
        genesis: genesis(),
        height: chain.height(),
        head: chain.head(),
        work: [0; 32],
        final_height: chain.height(),
        oldest_block: Height::new(1),
        snapshot: None,
    }
}

impl World {
    fn new(seed: u64, chain: TestChain, roles: &[Role]) -> Self {
        let mut forged = TestChain { blocks: chain.blocks[..chain.blocks.len() / 2].to_vec() };
        for n in 0..30u64 {
            forged.push(vec![crate::testing::transaction(3, n)], 77);
        }
        let head = head_at(&chain, 0);
        let peers: BTreeMap<PeerId, Role> =
            roles.iter().enumerate().map(|(n, role)| (peer(n as u8), *role)).collect();
        let mut world = Self {
            now: 0,
            random: Random(seed | 1),
            sync: BlockSync::new(options(SyncRule::Certified), head),
            chain,
            forged,
            peers: peers.clone(),
            on_the_way: Vec::new(),
            applied: 0,
            refused: false,
            reports: Vec::new(),
            loss: 0,
            delay_max: 50,
            bodies_asked_of: BTreeMap::new(),
        };
        for id in peers.into_keys() {
            let own = world.own();
            let out = world.sync.connected(0, id, &own);
            world.carry_out(out);
        }
        world
    }

    fn own(&self) -> Status {
        let mut status = status_of(&self.chain);
        status.height = Height::new(self.applied);
        status.head = self.chain.id(self.applied);
        status
    }

    fn carry_out(&mut self, out: Vec<SyncOutput>) {
        let mut queue: VecDeque<SyncOutput> = out.into();
        while let Some(output) = queue.pop_front() {
            match output {
                SyncOutput::Ask { peer, id, request } => {
                    if let Request::Blocks { blocks, .. } = &request {
                        assert!(!blocks.is_empty() && blocks.len() <= crate::limits::BLOCKS_MAX);
                        *self.bodies_asked_of.entry(peer.clone()).or_default() += 1;
                    }
                    assert_eq!(Planner::of(id), Planner::Blocks);
                    let Some(role) = self.peers.get(&peer).copied() else { continue };
                    let answer = self.answer(role, request);
                    if let Some(answer) = answer
                        && self.random.below(100) >= self.loss
                    {
                        let at = self.now + 1 + self.random.below(self.delay_max);
                        self.on_the_way.push((at, id, answer));
                        if self.random.below(20) == 0 && self.loss > 0 {
                            // Twice: the second one must not matter.
                            let again = self.on_the_way[self.on_the_way.len() - 1].clone();
                            self.on_the_way.push(again);
                        }
                    }
                }
                SyncOutput::Report { peer, offence } => self.reports.push((peer, offence)),
                SyncOutput::OtherChain { .. } => panic!("all are on one chain"),
                SyncOutput::Deliver(block) => queue.extend(self.apply(*block)),
            }
        }
        let (headers, bytes) = self.sync.held();
        assert!(headers <= HEADERS_AHEAD_MAX && bytes <= BUFFER_BYTES_MAX + 100_000);
        assert!(self.sync.asked.len() <= BODY_REQUESTS_MAX + 1 + self.peers.len());
    }

    /// What a driver does with a block.
    fn apply(&mut self, block: SyncedBlock) -> Vec<SyncOutput> {
        let height = block.certified.header.height.get();
        if height != self.applied + 1 {
            // Applied already, or delivered after one that was refused.
            assert!(height <= self.applied || self.refused, "blocks come in order");
            return Vec::new();
        }
        self.refused = false;
        let own = self.own();
        if !is_by_validator(&block.certified) {
            self.refused = true;
            return self.sync.refused(self.now, &block.id, Refusal::Header, &own);
        }
        if block.transactions.iter().any(|one| one.clone().verify(&chain_id()).is_err()) {
            self.refused = true;
            return self.sync.refused(self.now, &block.id, Refusal::Body, &own);
        }
        let expected = &self.chain.blocks[self.applied as usize];
        assert_eq!((&block.certified, &block.transactions), (&expected.0, &expected.1));
        self.applied = height;
        let own = self.own();
        self.sync.moved(self.now, head_at(&self.chain, height), &own)
    }

    fn answer(&mut self, role: Role, request: Request) -> Option<Result<Response, RequestFailure>> {
        let chain = match role {
            Role::Forger | Role::Impostor => &self.forged,
            _ => &self.chain,
        };
        let mut response = match request {
            Request::Status(_) => Response::Status(status_of(chain)),
            Request::Headers { from, count } => {
                let from = from.get() as usize - 1;
                let to = chain.blocks.len().min(from + count as usize);
                match chain.blocks.get(from..to) {
                    Some(blocks) if !blocks.is_empty() => {
                        Response::Headers(blocks.iter().map(|(header, _)| header.clone()).collect())
                    }
                    _ => Response::Unavailable,
                }
            }
            Request::Blocks { blocks, first } => bodies(chain, &blocks, first, role == Role::Meagre),
            other => panic!("{other:?} is not asked"),
        };
        match (role, &mut response) {
            (_, Response::Status(status)) => match role {
                Role::Boaster => status.height = Height::new(1_000_000),
                Role::Forger => status.height = Height::new(u64::MAX),
                _ => {}
            },
            (Role::Staller, _) => return None,
            (Role::Babbler, _) => {
                return Some(match self.random.below(4) {
                    0 => Err(RequestFailure::Protocol),
                    1 => Ok(Response::Headers(Vec::new())),
                    2 => Ok(Response::Blocks(Vec::new())),
                    _ => Ok(Response::Transactions(Vec::new())),
                });
            }
            (Role::Shuffler, Response::Headers(headers)) => match self.random.below(3) {
                0 => headers.reverse(),
                1 => headers.extend(headers.clone().into_iter().cycle().take(600)),
                _ => drop(headers.remove(0)),
            },
            (Role::Swapper, Response::Blocks(parts)) => {
                let transaction = crate::testing::transaction(9, self.random.below(9));
                for part in parts {
                    part.transactions.fill(EncodedTransaction::new(&transaction));
                }
            }
            (Role::Tamperer, Response::Blocks(parts)) => {
                for encoded in parts.iter_mut().flat_map(|part| &mut part.transactions) {
                    let mut transaction = encoded.decode().unwrap();
                    transaction.signature = purlin_primitives::Signature::new([3; 64]);
                    *encoded = EncodedTransaction::new(&transaction);
                }
            }
            (Role::Hollow, response @ Response::Blocks(_)) => *response = Response::Unavailable,
            (Role::Stuffer, Response::Blocks(parts)) => {
                parts.truncate(1);
                let part = &mut parts[0];
                let large = crate::testing::sized_transaction(3, 1, 2_000);
                part.total = 15_000;
                part.transactions = vec![EncodedTransaction::new(&large); 10];
            }
            _ => {}
        }
        Some(Ok(response))
    }

    fn step(&mut self) {
        self.now += 100;
        let own = self.own();
        let out = self.sync.tick(self.now, &own);
        self.carry_out(out);
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.on_the_way).into_iter().partition(|(at, _, _)| *at <= now);
        self.on_the_way = later;
        for (_, id, outcome) in due {
            let chain = self.chain.clone();
            let mut check = Check { chain: &chain, applied: self.applied };
            let own = self.own();
            let out = self.sync.answered(now, id, outcome, &mut check, &own);
            self.carry_out(out);
        }
    }

    #[track_caller]
    fn run(&mut self, seconds: u64) {
        let end = self.now + seconds * 1000;
        while self.now < end && self.applied < self.chain.height().get() {
            self.step();
        }
        assert_eq!(self.applied, self.chain.height().get(), "{:?} {:?}", self.peers, self.reports);
    }

    #[track_caller]
    fn check_blame(&self) {
        for (id, offence) in &self.reports {
            let honest = matches!(self.peers.get(id), Some(Role::Honest | Role::Meagre));
            // Losses look like slowness.
            assert!(!honest || *offence == Offence::Stalled, "{id} {offence:?}: {:?}", self.peers);
        }
    }

    fn blamed(&self, number: u8) -> Vec<Offence> {
        self.reports.iter().filter(|(id, _)| *id == peer(number)).map(|(_, offence)| *offence).collect()
    }
}

fn bodies(chain: &TestChain, blocks: &[BlockId], first: u32, meagre: bool) -> Response {
    let mut parts = Vec::new();
    let mut first = first as usize;
    for block in blocks {
        let Some((_, body)) = chain.blocks.iter().find(|(header, _)| header.header.id() == *block) else {
            break;
        };
        let end = if meagre { body.len().min(first + 1) } else { body.len() };
        let transactions = body[first.min(end)..end].iter().map(EncodedTransaction::new).collect();
        parts.push(BodyPart { block: *block, first: first as u32, total: body.len() as u32, transactions });
        first = 0;
        if meagre {
            break;
        }
    }
    if parts.is_empty() { Response::Unavailable } else { Response::Blocks(parts) }
}

fn chain(blocks: usize) -> TestChain {
    TestChain::new((0..blocks).map(|n| n % 4))
}

#[test]
fn an_honest_peer_is_enough() {
    for role in [Role::Honest, Role::Meagre] {
        let mut world = World::new(1, chain(60), &[role]);
        world.run(60);
        assert_eq!(world.reports, []);
        assert_eq!(world.sync.held(), (0, 0));
        assert_eq!(world.sync.progress(), None);
    }
}

#[test]
fn work_is_shared_among_peers() {
    let mut world = World::new(1, TestChain::new(vec![1; 200]), &[Role::Honest; 5]);
    world.run(60);
    assert_eq!(world.bodies_asked_of.len(), 5, "{:?}", world.bodies_asked_of);
    assert_eq!(world.reports, []);
}

#[test]
fn each_liar_beside_one_honest_peer_is_overcome() {
    for (seed, liar) in (1..).zip(LIARS) {
        for roles in [[liar, Role::Honest], [Role::Honest, liar]] {
            let mut world = World::new(seed, chain(60), &roles);
            world.run(400);
            world.check_blame();
        }
    }
}

#[track_caller]
fn check_offence(liar: Role, expected: Offence) {
    let mut world = World::new(3, chain(60), &[liar, Role::Honest]);
    world.run(400);
    for _ in 0..2_000 {
        world.step();
    }
    assert!(world.blamed(0).contains(&expected), "{liar:?}: {:?}", world.reports);
    world.check_blame();
}

#[test]
fn liars_are_blamed_for_what_they_did() {
    // One that stalls is held to account when it does so again and again, which takes nobody better.
    let mut world = World::new(3, chain(60), &[Role::Staller]);
    (0..1_000).for_each(|_| world.step());
    assert!(world.blamed(0).contains(&Offence::Stalled));
    check_offence(Role::Boaster, Offence::Lied);
    check_offence(Role::Forger, Offence::Invalid);
    check_offence(Role::Impostor, Offence::Invalid);
    check_offence(Role::Shuffler, Offence::Lied);
    check_offence(Role::Swapper, Offence::Lied);
    check_offence(Role::Tamperer, Offence::Invalid);
    check_offence(Role::Stuffer, Offence::Lied);
    check_offence(Role::Babbler, Offence::Lied);
}

#[test]
fn only_liars_mean_no_progress_and_no_growth() {
    let mut world = World::new(5, chain(60), &LIARS);
    world.peers.retain(|_, role| !matches!(role, Role::Boaster | Role::Shuffler));
    for _ in 0..5_000 {
        world.step();
    }
    assert!(world.sync.held().0 <= HEADERS_AHEAD_MAX);
}

#[test]
fn a_lone_missed_block_is_fetched_after_a_grace() {
    let mut world = World::new(1, chain(10), &[Role::Honest]);
    world.run(60);
    world.chain.push(vec![crate::testing::transaction(2, 999)], 1);
    let (now, own) = (world.now, world.own());
    let height = world.chain.height();
    let out = world.sync.announced(now, &peer(0), height, &own);
    world.carry_out(out);
    let asked = |world: &World| {
        world.sync.asked.values().any(|one| matches!(one.what, answers::Wanted::Headers { .. }))
    };
    assert!(!asked(&world), "gossip may still bring it");
    world.run(10);
    // Without the announcement the regular question brings it.
    world.chain.push(vec![crate::testing::transaction(2, 1000)], 1);
    world.run(20);
}

#[test]
fn a_second_peer_is_asked_for_headers_when_the_first_is_slow() {
    let chain = chain(12);
    let mut sync = BlockSync::new(options(SyncRule::Certified), head_at(&chain, 3));
    let own = status_of(&chain);
    let headers = |out: &[SyncOutput]| -> Vec<PeerId> {
        let asked = |one: &SyncOutput| match one {
            SyncOutput::Ask { peer, request: Request::Headers { .. }, .. } => Some(peer.clone()),
            _ => None,
        };
        out.iter().filter_map(asked).collect()
    };
    let mut out = Vec::new();
    for number in 1..=3 {
        out.extend(sync.connected(0, peer(number), &own));
        out.extend(sync.told(0, &peer(number), status_of(&chain), &own));
    }
    let first = headers(&out);
    assert_eq!(first.len(), 1);
    assert!(headers(&sync.tick(HEDGE_MS - 1, &own)).is_empty());
    let second = headers(&sync.tick(HEDGE_MS, &own));
    assert_eq!(second.len(), 1);
    assert_ne!(first, second);
    assert!(headers(&sync.tick(HEDGE_MS * 3, &own)).is_empty(), "two at once are enough");
}

#[test]
fn what_consensus_commits_meanwhile_is_not_delivered_again() {
    let mut world = World::new(1, chain(40), &[Role::Honest]);
    while world.sync.held().0 == 0 {
        world.step();
    }
    world.applied = 30;
    let (now, own) = (world.now, world.own());
    let out = world.sync.moved(now, head_at(&world.chain, 30), &own);
    world.carry_out(out);
    world.run(30);
}

#[test]
fn vanished_and_returning_peers() {
    let mut world = World::new(9, chain(80), &[Role::Honest, Role::Honest, Role::Meagre]);
    for round in 0..40u8 {
        world.step();
        let id = peer(round % 3);
        let (now, own) = (world.now, world.own());
        let out = world.sync.disconnected(now, &id, &own);
        world.carry_out(out);
        assert!(world.sync.asked.values().all(|asked| asked.peer != id));
        let out = world.sync.connected(now, id, &own);
        world.carry_out(out);
    }
    world.run(60);
    world.check_blame();
}

#[test]
fn another_chain_is_named_and_left_alone() {
    let chain = chain(3);
    let mut sync = BlockSync::new(options(SyncRule::Certified), head_at(&chain, 0));
    let own = status_of(&TestChain::default());
    sync.connected(0, peer(1), &own);
    let other = Status { genesis: BlockId::ZERO, ..status_of(&chain) };
    let out = sync.told(0, &peer(1), other, &own);
    assert_eq!(out, [SyncOutput::OtherChain { peer: peer(1), genesis: BlockId::ZERO }]);
    assert_eq!(sync.tick(5_000, &own), []);
}

struct Miner<'a>(&'a TestChain);

impl HeaderCheck for Miner<'_> {
    fn check(&mut self, _: &BlockHeader, _: Option<&Certificate>) -> Result<Checked, HeaderFault> {
        Ok(Checked::Verified)
    }
    fn id_at(&self, height: Height) -> Option<BlockId> {
        (height <= self.0.height()).then(|| self.0.id(height.get()))
    }
}

#[test]
fn a_heavier_branch_is_found_where_it_leaves_ours() {
    for (fork, ours, theirs) in [(0usize, 1usize, 3usize), (20, 15, 16), (20, 30, 9), (20, 0, 5), (3, 1, 40)]
    {
        let trunk = chain(fork);
        let (mut own, mut rival) = (trunk.clone(), trunk);
        (0..ours).for_each(|n| own.push(vec![crate::testing::transaction(4, n as u64)], 1));
        (0..theirs).for_each(|n| rival.push(vec![crate::testing::transaction(5, n as u64)], 1));
        let at = |chain: &TestChain, work: u8| LocalHead {
            work: [work; 32],
            final_height: Height::ZERO,
            ..head_at(chain, chain.height().get())
        };
        let mut sync = BlockSync::new(options(SyncRule::Heaviest), at(&own, 1));
        let heavy = Status { work: [2; 32], ..status_of(&rival) };
        let own_status = Status { work: [1; 32], ..status_of(&own) };
        let mut delivered = Vec::new();
        let mut now = 0;
        let mut queue: VecDeque<SyncOutput> = sync.connected(now, peer(1), &own_status).into();
        while delivered.len() < theirs {
            now += 50;
            assert!(now < 60_000, "fork at {fork}, {ours} against {theirs}: {}", delivered.len());
            queue.extend(sync.tick(now, &own_status));
            while let Some(output) = queue.pop_front() {
                match output {
                    SyncOutput::Ask { id, request, .. } => {
                        let response = match request {
                            Request::Status(_) => Response::Status(heavy.clone()),
                            Request::Headers { from, count } => {
                                let blocks = rival.blocks.iter().skip(from.get() as usize - 1);
                                let headers: Vec<_> =
                                    blocks.take(count as usize).map(|(header, _)| header.clone()).collect();
                                match headers.is_empty() {
                                    true => Response::Unavailable,
                                    false => Response::Headers(headers),
                                }
                            }
                            Request::Blocks { blocks, first } => bodies(&rival, &blocks, first, false),
                            other => panic!("{other:?}"),
                        };
                        queue.extend(sync.answered(now, id, Ok(response), &mut Miner(&own), &own_status));
                    }
                    SyncOutput::Deliver(block) => {
                        queue.extend(sync.stored(now, &block.id, &own_status));
                        delivered.push(block.id);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        let expected: Vec<BlockId> = (fork + 1..=fork + theirs).map(|n| rival.id(n as u64)).collect();
        assert_eq!(delivered, expected);
        let head = at(&rival, 2);
        let own_status = Status { work: [2; 32], ..own_status };
        sync.moved(now, head, &own_status);
        assert_eq!(sync.progress(), None);
    }
}

#[test]
fn what_was_stored_of_a_doubted_branch_is_no_ground_to_go_on_from() {
    let own = chain(3);
    let mut rival = own.clone();
    (0..5).for_each(|n| rival.push(vec![crate::testing::transaction(5, n)], 1));
    let head = LocalHead { work: [1; 32], final_height: Height::ZERO, ..head_at(&own, 3) };
    let own_status = Status { work: [1; 32], ..status_of(&own) };
    let heavy = Status { work: [2; 32], ..status_of(&rival) };
    let mut sync = BlockSync::new(options(SyncRule::Heaviest), head);
    let mut queue: VecDeque<SyncOutput> = sync.connected(0, peer(1), &own_status).into();
    queue.extend(sync.told(0, &peer(1), heavy.clone(), &own_status));
    let mut stored = 0;
    while let Some(output) = queue.pop_front() {
        let (id, response) = match output {
            SyncOutput::Ask { id, request: Request::Headers { from, .. }, .. } => {
                let headers = rival.blocks.iter().skip(from.get() as usize - 1);
                (id, Response::Headers(headers.map(|(header, _)| header.clone()).collect()))
            }
            SyncOutput::Ask { id, request: Request::Blocks { blocks, first }, .. } => {
                (id, bodies(&rival, &blocks, first, false))
            }
            SyncOutput::Ask { .. } => continue,
            SyncOutput::Deliver(block) => {
                stored += 1;
                queue.extend(sync.stored(0, &block.id, &own_status));
                continue;
            }
            other => panic!("{other:?}"),
        };
        queue.extend(sync.answered(0, id, Ok(response), &mut Miner(&own), &own_status));
    }
    assert_eq!((stored, sync.base.0), (5, Height::new(8)));
    sync.connected(0, peer(2), &own_status);
    sync.told(0, &peer(2), heavy, &own_status);
    let out = sync.doubted(0, &peer(1), &own_status);
    let asks = |output: &SyncOutput| {
        matches!(output, SyncOutput::Ask { peer: asked, request: Request::Headers { from, .. }, .. }
            if *asked == peer(2) && *from == Height::new(4))
    };
    assert!(out.iter().any(asks), "{out:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_mix_with_an_honest_peer_converges(
        seed in any::<u64>(),
        picks in proptest::collection::vec(0usize..LIARS.len(), 0..6),
        honest in 1usize..3,
        loss in 0u64..30,
        delay_max in 1u64..4_000,
    ) {
        let mut roles: Vec<Role> = picks.into_iter().map(|at| LIARS[at]).collect();
        roles.extend(vec![Role::Honest; honest]);
        roles.push(Role::Meagre);
        let mut world = World::new(seed, chain(40), &roles);
        world.loss = loss;
        world.delay_max = delay_max;
        world.run(3_000);
        world.check_blame();
    }
}

#[test]
fn one_boaster_among_several_does_not_decide_where_the_chain_is() {
    let head = LocalHead { height: Height::ZERO, id: genesis(), work: [0; 32], final_height: Height::ZERO };
    let options = BlockSyncOptions {
        chain_id: chain_id(),
        genesis: genesis(),
        rule: SyncRule::Certified,
        block_bytes_max: 1_000,
    };
    let status = |height: u64, oldest: u64| Status {
        genesis: genesis(),
        height: Height::new(height),
        head: genesis(),
        work: [0; 32],
        final_height: Height::new(height),
        oldest_block: Height::new(oldest),
        snapshot: None,
    };
    let own = status(0, 1);
    let told = |claims: &[(u64, u64)]| {
        let mut sync = BlockSync::new(options.clone(), head);
        for (number, (height, oldest)) in (0..).zip(claims) {
            sync.connected(0, peer(number), &own);
            sync.told(0, &peer(number), status(*height, *oldest), &own);
        }
        (sync.believed_height().map(Height::get), sync.oldest_offered().map(Height::get))
    };
    assert_eq!(told(&[]), (None, None));
    assert_eq!(told(&[(40, 1)]).0, Some(40));
    assert_eq!(told(&[(40, 1), (20, 1)]).0, Some(40), "of two either may be right: the careful one counts");
    assert_eq!(told(&[(1_000_000, 1), (40, 1), (41, 1)]).0, Some(41));
    assert_eq!(told(&[(1, 1), (40, 1), (41, 1)]).0, Some(40));
    // Pruned blocks are missed only when nobody has them.
    assert_eq!(told(&[(40, 9), (41, 7)]).1, Some(7));
    assert_eq!(told(&[(40, 9), (41, 1)]).1, None);
    assert_eq!(told(&[(1_000_000, 900_000), (0, 1), (0, 1)]).1, None, "most are where this node is");
}

/// A peer that claims a height that nobody can check, because it says that it has pruned what would show it, made a node
/// in step believe that it is behind, for ever.
#[test]
fn one_who_claims_what_cannot_be_checked_makes_nobody_late() {
    let status = |height: u64, oldest: u64| Status {
        genesis: genesis(),
        height: Height::new(height),
        head: genesis(),
        work: [0; 32],
        final_height: Height::new(height),
        oldest_block: Height::new(oldest),
        snapshot: None,
    };
    let head = head_at(&TestChain::new(vec![0; 3]), 3);
    let own = status(3, 1);
    let target = |claims: &[(u64, u64)]| {
        let mut sync = BlockSync::new(options(SyncRule::Certified), head);
        for (number, (height, oldest)) in (0..).zip(claims) {
            sync.connected(0, peer(number), &own);
            sync.told(0, &peer(number), status(*height, *oldest), &own);
        }
        sync.progress().map(|progress| progress.target.get())
    };
    assert_eq!(target(&[(1_000_000, 900_000), (3, 1), (3, 1)]), None);
    assert_eq!(target(&[(1_000_000, 900_000), (7, 1), (3, 1)]), Some(7));
    assert_eq!(target(&[(1_000_000, 1), (3, 1), (3, 1)]), Some(1_000_000), "it is asked to show it");
    assert_eq!(target(&[(50, 40), (50, 40), (3, 1)]), Some(50), "most say so: blocks are gone");
}
