//! A driver that carries effects out at once, under a clock that the test turns.

use super::*;
use crate::MemorySigner;
use purlin_primitives::{AccountId, Hash32, SecretKey, ValidatorSet};
use std::sync::Arc;

struct Driver {
    engine: SoloEngine,
    now: u64,
    pool: usize,
    /// Most transactions of a block.
    block_max: usize,
    tip: Head,
    headers: Vec<BlockHeader>,
    /// Built and not durable; `commit` makes the oldest durable.
    undurable: Vec<Proposal>,
    /// Whether commits are durable at once.
    fast_disk: bool,
    timers: std::collections::BTreeMap<TimerId, u64>,
    transactions: Vec<usize>,
    certified: Vec<Height>,
    notices: Vec<Notice>,
    log: Vec<&'static str>,
}

const GENESIS_TIME: u64 = 1_000;

fn started(head: Head, uncertified: Option<BlockHeader>) -> Input {
    let validators = Arc::new(ValidatorSet::default());
    Input::Started { head, uncertified: uncertified.map(Box::new), validators, records: vec![] }
}

impl Driver {
    fn new(config: SoloConfig, now: u64) -> Self {
        let tip = Head {
            height: Height::ZERO,
            id: BlockId::ZERO,
            time: TimestampMs::new(GENESIS_TIME),
            anchored: false,
        };
        let mut driver = Self {
            engine: SoloEngine::new(
                config,
                Box::new(MemorySigner::new(SecretKey::from_bytes(&[1; 32]).unwrap())),
            ),
            now,
            pool: 0,
            block_max: 100,
            tip,
            headers: vec![],
            undurable: vec![],
            fast_disk: true,
            timers: Default::default(),
            transactions: vec![],
            certified: vec![],
            notices: vec![],
            log: vec![],
        };
        driver.input(started(tip, None));
        driver
    }

    fn input(&mut self, input: Input) {
        for effect in self.engine.handle(TimestampMs::new(self.now), input) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::BuildProposal { height, time, seal, when_empty } => {
                assert_eq!(height, self.tip.height.next());
                assert!(time > self.tip.time, "block time must increase");
                self.log.push("build");
                let count = self.pool.min(self.block_max);
                self.pool -= count;
                let more_waiting = self.pool > 0;
                if count == 0 && when_empty == WhenEmpty::Skip {
                    return self.input(Input::ProposalSkipped { height, more_waiting });
                }
                let header = BlockHeader {
                    chain_id: "dev".parse().unwrap(),
                    height,
                    parent: self.tip.id,
                    time,
                    proposer: AccountId::ZERO,
                    transactions_root: Hash32::ZERO,
                    state_root: Hash32::ZERO,
                    receipts_root: Hash32::ZERO,
                    seal,
                };
                let proposal = Proposal { id: header.id(), header, anchored: count == 0 };
                self.transactions.push(count);
                self.tip = proposal.head();
                self.undurable.push(proposal.clone());
                self.input(Input::ProposalBuilt { proposal, more_waiting });
            }
            Effect::Commit { block, certificate } => {
                assert_eq!(certificate, None);
                assert!(self.undurable.iter().any(|proposal| proposal.id == block));
                self.log.push("commit");
                if self.fast_disk {
                    self.commit();
                }
            }
            Effect::Certify { certificate } => {
                let [signature] = &certificate.signatures[..] else { panic!("{certificate:?}") };
                let header = self.headers.last().expect("certified before it was durable");
                assert!(certificate.is_for(header));
                assert_eq!(signature.public_key, SecretKey::from_bytes(&[1; 32]).unwrap().public_key());
                certificate.verify_signatures(&header.chain_id).unwrap();
                self.log.push("certify");
                self.certified.push(certificate.height);
            }
            Effect::SetTimer { timer, after_ms } => {
                self.timers.insert(timer, self.now + after_ms);
            }
            Effect::CancelTimer { timer } => {
                self.timers.remove(&timer);
            }
            Effect::Publish(Announcement::Certified { .. }) => self.log.push("publish"),
            Effect::Report(notice) => self.notices.push(notice),
            other => panic!("solo must not ask for {other:?}"),
        }
    }

    fn commit(&mut self) {
        let proposal = self.undurable.remove(0);
        self.headers.push(proposal.header.clone());
        self.input(Input::Committed {
            head: proposal.head(),
            header: Box::new(proposal.header),
            validators: Arc::new(ValidatorSet::default()),
        });
    }

    fn submit(&mut self, count: usize) {
        self.pool += count;
        self.input(Input::TransactionsWaiting);
    }

    fn advance(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some((&timer, &at)) =
            self.timers.iter().min_by_key(|(_, at)| **at).filter(|(_, at)| **at <= until)
        {
            self.timers.remove(&timer);
            self.now = self.now.max(at);
            self.input(Input::TimerElapsed { timer });
        }
        self.now = until;
    }
}

fn instant() -> SoloConfig {
    SoloConfig { interval_ms_min: 0, anchor_after_ms: 200 }
}

#[test]
fn a_block_is_durable_then_certified_then_published() {
    let mut driver = Driver::new(instant(), 10_000);
    driver.submit(3);
    assert_eq!(driver.log, ["build", "commit", "certify", "publish"]);
    assert_eq!(driver.transactions, [3]);
    assert_eq!(driver.headers[0].time, TimestampMs::new(10_000));
}

#[test]
fn one_empty_block_anchors_the_state_then_all_is_quiet() {
    let mut driver = Driver::new(instant(), 10_000);
    driver.advance(10_000);
    assert_eq!(driver.transactions, [0], "the genesis state is anchored");
    driver.submit(1);
    driver.advance(199);
    assert_eq!(driver.transactions, [0, 1]);
    driver.advance(1);
    assert_eq!(driver.transactions, [0, 1, 0]);
    driver.advance(1_000_000);
    assert_eq!(driver.transactions, [0, 1, 0]);
    assert!(driver.timers.is_empty());
}

#[test]
fn a_steady_stream_needs_no_empty_blocks() {
    let mut driver = Driver::new(instant(), 10_000);
    for _ in 0..50 {
        driver.submit(1);
        driver.advance(150);
    }
    assert!(driver.transactions.iter().all(|count| *count == 1), "{:?}", driver.transactions);
}

#[test]
fn a_wanted_proof_does_not_wait_for_the_idle_time() {
    let mut driver = Driver::new(instant(), 10_000);
    driver.submit(1);
    driver.advance(1);
    driver.input(Input::AnchorWanted);
    assert_eq!(driver.transactions, [1, 0]);
    driver.input(Input::AnchorWanted);
    driver.advance(1_000);
    assert_eq!(driver.transactions, [1, 0], "nothing to anchor");
}

#[test]
fn blocks_keep_the_interval() {
    let mut driver = Driver::new(SoloConfig { interval_ms_min: 1_000, anchor_after_ms: 200 }, 10_000);
    driver.submit(1);
    driver.submit(1);
    driver.submit(1);
    driver.advance(999);
    assert_eq!(driver.transactions, [1]);
    driver.advance(1);
    assert_eq!(driver.transactions, [1, 2]);
}

#[test]
fn a_full_pool_makes_block_after_block() {
    let mut driver = Driver::new(instant(), 10_000);
    driver.submit(450);
    driver.advance(10);
    assert_eq!(driver.transactions, [100, 100, 100, 100, 50]);
    let times: Vec<_> = driver.headers.iter().map(|header| header.time.get()).collect();
    assert_eq!(times, [10_000, 10_001, 10_002, 10_003, 10_004], "never two in a millisecond, never ahead");
}

#[test]
fn runs_one_block_ahead_of_the_disk_and_no_more() {
    let mut driver = Driver::new(instant(), 10_000);
    driver.fast_disk = false;
    driver.submit(450);
    driver.advance(100);
    assert_eq!(driver.undurable.len(), 2);
    assert!(driver.certified.is_empty());
    driver.commit();
    driver.advance(100);
    assert_eq!(driver.undurable.len(), 2);
    assert_eq!(driver.certified, [Height::new(1)]);
}

#[test]
fn a_clock_set_back_stops_neither_time_nor_chain() {
    let mut driver = Driver::new(instant(), 100_000);
    driver.submit(1);
    driver.now -= 50_000;
    driver.submit(1);
    driver.submit(1);
    assert_eq!(driver.transactions, [1, 1, 1]);
    let times: Vec<_> = driver.headers.iter().map(|header| header.time.get()).collect();
    assert_eq!(times, [100_000, 100_001, 100_002]);
    assert_eq!(driver.notices, [Notice::ClockBehind { by_ms: 50_001 }], "reported once");

    driver.now = 99_500;
    driver.submit(1);
    assert_eq!(driver.transactions.len(), 3, "a small difference is waited out");
    driver.advance(503);
    assert_eq!(driver.transactions.len(), 4);
    assert_eq!(driver.headers[3].time.get(), 100_003);
}

#[test]
fn a_head_without_certificate_is_signed_at_start() {
    let mut driver = Driver::new(instant(), 10_000);
    driver.submit(1);
    let header = driver.headers[0].clone();
    let head = driver.tip;
    let mut engine =
        SoloEngine::new(instant(), Box::new(MemorySigner::new(SecretKey::from_bytes(&[1; 32]).unwrap())));
    let started = started(head, Some(header.clone()));
    let effects = engine.handle(TimestampMs::new(20_000), started);
    let Effect::Certify { certificate } = &effects[0] else { panic!("{effects:?}") };
    assert!(certificate.is_for(&header));
}

#[test]
fn a_block_waits_for_its_parent_to_be_durable() {
    let mut driver = Driver::new(instant(), 10_000);
    driver.fast_disk = false;
    driver.submit(200);
    driver.advance(10);
    assert_eq!(driver.log, ["build", "commit", "build"]);
    driver.commit();
    driver.advance(10);
    assert_eq!(driver.log[3..], ["certify", "publish", "commit"]);
}

#[test]
fn a_refused_signature_stops_the_node() {
    for error in [
        SignError::Conflict { detail: "block 7".to_owned() },
        SignError::Failed { detail: "no space".to_owned() },
    ] {
        let mut driver = Driver::new(instant(), 10_000);
        driver.submit(1);
        let header = driver.headers[0].clone();
        let signer = MemorySigner::new(SecretKey::from_bytes(&[1; 32]).unwrap());
        signer.refuse_with(error);
        let mut engine = SoloEngine::new(instant(), Box::new(signer));
        let effects = engine.handle(TimestampMs::new(20_000), started(driver.tip, Some(header)));
        assert!(matches!(&effects[..], [Effect::Halt { .. }]), "{effects:?}");
        assert_eq!(engine.handle(TimestampMs::new(20_001), Input::TransactionsWaiting), []);
    }
}

#[test]
fn transactions_that_cannot_be_included_make_no_block() {
    let mut driver = Driver::new(SoloConfig { anchor_after_ms: 1_000_000, ..instant() }, 10_000);
    driver.input(Input::TransactionsWaiting);
    assert_eq!(driver.log, ["build"]);
    assert!(driver.headers.is_empty());
}
