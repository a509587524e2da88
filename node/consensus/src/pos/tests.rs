//! One engine of four validators, told what the other three say.

mod held;

use super::evidence::HEIGHTS_KEPT;
use super::message::{Message, PolkaCertificate, RoundCertificate, RoundReason, RoundVote};
use super::*;
use crate::port::{SignError, TimerId, WhenEmpty};
use crate::twins::MemorySigner;
use purlin_primitives::{
    AccountId, BlockHeader, BlockProposal, Hash32, Seal, SecretKey, SignedProposal, SignedVote, Validator,
    Vote, VoteKind, hash_domain,
};

const NOW: u64 = 100_000;
const PROPOSE: TimerId = TimerId(2);
const PREVOTE: TimerId = TimerId(3);
const IDLE: TimerId = TimerId(6);
const INTERVAL: TimerId = TimerId(7);

fn chain() -> ChainId {
    "test".parse().unwrap()
}

fn keys() -> Vec<SecretKey> {
    (1..=4).map(|n| SecretKey::from_bytes(&[n; 32]).unwrap()).collect()
}

fn four() -> Arc<ValidatorSet> {
    let validator = |key: &SecretKey| {
        let public_key = key.public_key();
        Validator { public_key, account: public_key.account_id(), power: 1 }
    };
    Arc::new(ValidatorSet::new(keys().iter().map(validator).collect()).unwrap())
}

fn head() -> Head {
    Head { height: Height::new(9), id: BlockId::ZERO, time: TimestampMs::new(90_000), anchored: true }
}

const HEIGHT: Height = Height::new(10);

/// The key whose turn it is.
fn proposer(round: u32) -> SecretKey {
    let turn = four().proposer(HEIGHT, round).unwrap().public_key;
    keys().into_iter().find(|key| key.public_key() == turn).unwrap()
}

/// One that proposes in none of the first rounds, so that the engine only votes.
fn others() -> Vec<SecretKey> {
    keys().into_iter().filter(|key| key.public_key() != proposer(0).public_key()).collect()
}

fn header(round: u32, salt: u8) -> BlockHeader {
    BlockHeader {
        chain_id: chain(),
        height: HEIGHT,
        parent: head().id,
        time: TimestampMs::new(NOW),
        proposer: proposer(round).public_key().account_id(),
        transactions_root: Hash32::new([salt; 32]),
        state_root: Hash32::ZERO,
        receipts_root: Hash32::ZERO,
        seal: Seal::Pos { round },
    }
}

fn vote(key: &SecretKey, height: Height, round: u32, kind: VoteKind, block: Option<BlockId>) -> SignedVote {
    key.sign_vote(Vote { chain_id: chain(), height, round, kind, block })
}

fn proposal(key: &SecretKey, round: u32, block: BlockId, valid_round: Option<u32>) -> SignedProposal {
    key.sign_proposal(BlockProposal { chain_id: chain(), height: HEIGHT, round, block, valid_round })
}

struct Desk {
    engine: PosEngine,
    signer: MemorySigner,
    now: u64,
}

impl Desk {
    fn start(key: &SecretKey) -> (Self, Vec<Effect>) {
        Self::start_with(MemorySigner::new(key.clone()), head(), four())
    }

    fn start_with(signer: MemorySigner, head: Head, validators: Arc<ValidatorSet>) -> (Self, Vec<Effect>) {
        let engine = PosEngine::new(PosConfig::default(), chain(), Box::new(signer.clone()));
        let records = signer.crash();
        let mut desk = Self { engine, signer, now: NOW };
        let effects = desk.input(Input::Started { head, uncertified: None, validators, records });
        (desk, effects)
    }

    /// Starts as a validator whose turn it is not.
    fn voter() -> Self {
        Self::start(&others()[0]).0
    }

    fn input(&mut self, input: Input) -> Vec<Effect> {
        self.engine.handle(TimestampMs::new(self.now), input)
    }

    fn message(&mut self, message: &Message) -> Vec<Effect> {
        self.input(Input::Message { from: vec![7], bytes: message.encode() })
    }

    fn vote(&mut self, vote: SignedVote) -> Vec<Effect> {
        self.message(&Message::Vote(vote))
    }

    fn propose(&mut self, proposal: SignedProposal) -> Vec<Effect> {
        self.message(&Message::Proposal(proposal))
    }

    fn valid(&mut self, header: &BlockHeader) -> Vec<Effect> {
        let verdict = Verdict::Valid { header: Box::new(header.clone()) };
        self.input(Input::BlockValidated { block: header.id(), verdict })
    }

    fn timer(&mut self, timer: TimerId) -> Vec<Effect> {
        self.input(Input::TimerElapsed { timer })
    }

    fn built(&mut self, header: &BlockHeader) -> Vec<Effect> {
        let proposal = Proposal { header: header.clone(), id: header.id(), anchored: false };
        self.input(Input::ProposalBuilt { proposal, more_waiting: false })
    }
}

/// What was said, as kind and block.
fn votes(effects: &[Effect]) -> Vec<(VoteKind, Option<BlockId>)> {
    let said = messages(effects).into_iter().filter_map(|message| match message {
        Message::Vote(signed) => Some((signed.vote.kind, signed.vote.block)),
        _ => None,
    });
    said.collect()
}

fn messages(effects: &[Effect]) -> Vec<Message> {
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::Publish(Announcement::Message { bytes }) => Some(Message::decode(bytes).unwrap()),
        _ => None,
    });
    sent.collect()
}

fn blamed(effects: &[Effect]) -> &str {
    let [Effect::Blame { peer, reason }] = effects else { panic!("no blame: {effects:?}") };
    assert_eq!(peer, &[7]);
    reason
}

fn halted(effects: &[Effect]) -> &str {
    let Some(Effect::Halt { reason }) = effects.last() else { panic!("no halt: {effects:?}") };
    reason
}

fn certificate(block: BlockId, height: Height) -> Certificate {
    let mut signatures: Vec<purlin_primitives::BlockSignature> =
        keys()[..3].iter().map(|key| vote(key, height, 0, VoteKind::Precommit, Some(block)).into()).collect();
    signatures.sort_by_key(|signed| signed.public_key);
    Certificate { block, height, round: 0, signatures }
}

#[test]
fn a_block_is_asked_for_then_voted_for_then_committed() {
    let mut desk = Desk::voter();
    let (block, header) = (header(0, 1).id(), header(0, 1));
    let effects = desk.propose(proposal(&proposer(0), 0, block, None));
    assert_eq!(effects, [Effect::ValidateBlock { block, height: HEIGHT }]);
    let effects = desk.valid(&header);
    assert_eq!(votes(&effects), [(VoteKind::Prevote, Some(block))]);
    let kept = effects.iter().position(|effect| matches!(effect, Effect::KeepBody { .. })).unwrap();
    let sent = effects.iter().position(|effect| matches!(effect, Effect::Publish(_))).unwrap();
    assert!(kept < sent, "the body is kept before the vote is sent");

    let other = &others()[1..];
    let prevotes = [&proposer(0), &other[0]].map(|key| vote(key, HEIGHT, 0, VoteKind::Prevote, Some(block)));
    let [first, second] = prevotes.map(|prevote| desk.vote(prevote));
    assert_eq!(votes(&first), []);
    assert_eq!(votes(&second), [(VoteKind::Precommit, Some(block))]);
    let precommits =
        [&proposer(0), &other[1]].map(|key| vote(key, HEIGHT, 0, VoteKind::Precommit, Some(block)));
    let [_, effects] = precommits.map(|precommit| desk.vote(precommit));
    let Some(Effect::Commit { block: committed, certificate: Some(certificate) }) =
        effects.iter().find(|effect| matches!(effect, Effect::Commit { .. }))
    else {
        panic!("{effects:?}")
    };
    assert_eq!(*committed, block);
    certificate.verify(&chain(), &four()).unwrap();
    assert!(certificate.is_for(&header));

    let new_head = Head { height: HEIGHT, id: block, time: header.time, anchored: false };
    let effects =
        desk.input(Input::Committed { head: new_head, header: Box::new(header), validators: four() });
    let announced = Effect::Publish(Announcement::Certified { certificate: certificate.clone() });
    assert!(effects.contains(&announced), "{effects:?}");
}

#[test]
fn what_no_honest_node_sends_is_blamed() {
    let mut desk = Desk::voter();
    let stranger = SecretKey::from_bytes(&[99; 32]).unwrap();
    let (good, block) = (&others()[1], Some(header(0, 1).id()));
    let kind = VoteKind::Prevote;

    let effects = desk.input(Input::Message { from: vec![7], bytes: vec![1, 9, 9] });
    assert!(blamed(&effects).contains("not a message"));
    let mut forged = vote(good, HEIGHT, 0, kind, block);
    forged.vote.round = 1;
    assert!(blamed(&desk.vote(forged.clone())).contains("is not valid"));
    // Also when it is of a height that comes or was.
    forged.vote.height = Height::new(11);
    assert!(blamed(&desk.vote(forged)).contains("is not valid"));
    assert!(blamed(&desk.vote(vote(&stranger, HEIGHT, 0, kind, block))).contains("is no validator"));
    let mut foreign = vote(good, HEIGHT, 0, kind, block).vote;
    foreign.chain_id = "other".parse().unwrap();
    assert!(blamed(&desk.vote(good.sign_vote(foreign))).contains("chain other"));
    let out_of_turn = proposal(good, 0, block.unwrap(), None);
    assert!(blamed(&desk.propose(out_of_turn)).contains("is not the turn"));
    let odd = proposal(&proposer(4), 4, block.unwrap(), Some(4));
    let (mut desk, _) = Desk::start(keys().iter().find(|key| key.public_key() != odd.public_key).unwrap());
    assert!(blamed(&desk.propose(odd)).contains("valid later"));
}

#[test]
fn wrong_certificates_are_blamed() {
    let block = header(0, 1).id();
    let signed = |n: usize| vote(&others()[n], HEIGHT, 0, VoteKind::Prevote, Some(block));
    let polka = |votes: Vec<SignedVote>| PolkaCertificate {
        height: HEIGHT,
        round: 0,
        block,
        signatures: votes.into_iter().map(Into::into).collect(),
    };
    let mut desk = Desk::voter();
    let few = Message::Polka(polka(vec![signed(1), signed(2)]));
    assert!(blamed(&desk.message(&few)).contains("2 of 4 power is not enough"));
    let twice = Message::Polka(polka(vec![signed(1), signed(1), signed(2)]));
    assert!(blamed(&desk.message(&twice)).contains("twice"));
    let mut wrong = polka(vec![signed(0), signed(1), signed(2)]);
    wrong.signatures[1].signature = wrong.signatures[0].signature;
    assert!(blamed(&desk.message(&Message::Polka(wrong))).contains("is not valid"));

    let entry = |signed: SignedVote| RoundVote {
        kind: signed.vote.kind,
        block: signed.vote.block,
        public_key: signed.public_key,
        signature: signed.signature,
    };
    let round = |reason, votes: Vec<SignedVote>| {
        let votes = votes.into_iter().map(entry).collect();
        Message::Round(RoundCertificate { height: HEIGHT, round: 0, reason, votes })
    };
    let prevotes = round(RoundReason::Precommit, vec![signed(0), signed(1), signed(2)]);
    assert!(blamed(&desk.message(&prevotes)).contains("does not belong"));
    let skip = |n: usize| vote(&others()[n], HEIGHT, 4, VoteKind::Prevote, None);
    let votes = vec![entry(skip(1))];
    let one = RoundCertificate { height: HEIGHT, round: 4, reason: RoundReason::Skip, votes };
    assert!(blamed(&desk.message(&Message::Round(one.clone()))).contains("1 of 4 power is not enough"));
    // A third and more moves the round on.
    let two = RoundCertificate { votes: vec![entry(skip(1)), entry(skip(2))], ..one };
    let effects = desk.message(&Message::Round(two));
    let failed = Effect::Report(Notice::RoundFailed { height: HEIGHT, round: 3 });
    assert!(effects.contains(&failed), "{effects:?}");
}

#[test]
fn an_invalid_block_is_voted_against() {
    let mut desk = Desk::voter();
    let block = header(0, 1).id();
    desk.propose(proposal(&proposer(0), 0, block, None));
    let verdict = Verdict::Invalid { reason: "wrong root".to_owned() };
    let effects = desk.input(Input::BlockValidated { block, verdict });
    assert_eq!(votes(&effects), [(VoteKind::Prevote, None)]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::KeepBody { .. })));
}

#[test]
fn a_header_must_name_its_round_and_its_proposer() {
    // Another account takes the fees.
    let mut desk = Desk::voter();
    let mut wrong = header(0, 1);
    wrong.proposer = AccountId::ZERO;
    desk.propose(proposal(&proposer(0), 0, wrong.id(), None));
    assert_eq!(votes(&desk.valid(&wrong)), [(VoteKind::Prevote, None)]);

    // A block that claims a later round would have others miss turns that never came.
    let mut desk = Desk::voter();
    let later = header(3, 1);
    desk.propose(proposal(&proposer(0), 0, later.id(), None));
    assert_eq!(votes(&desk.valid(&later)), []);
    assert_eq!(votes(&desk.timer(PROPOSE)), [(VoteKind::Prevote, None)]);

    let mut desk = Desk::voter();
    let work = BlockHeader { seal: Seal::Pow { target: 1, nonce: 1 }, ..header(0, 1) };
    desk.propose(proposal(&proposer(0), 0, work.id(), None));
    assert_eq!(votes(&desk.valid(&work)), [(VoteKind::Prevote, None)]);
}

#[test]
fn old_heights_are_ignored_and_coming_ones_kept_within_bounds() {
    let mut desk = Desk::voter();
    let key = &others()[1];
    let block = Some(header(0, 1).id());
    assert_eq!(desk.vote(vote(key, Height::new(9), 0, VoteKind::Prevote, block)), []);
    assert_eq!(desk.vote(vote(key, Height::new(13), 0, VoteKind::Prevote, block)), [], "too far ahead");
    assert_eq!(desk.vote(vote(key, HEIGHT, 11, VoteKind::Prevote, block)), [], "a round too far ahead");
    for round in 0..20 {
        assert_eq!(desk.vote(vote(key, Height::new(12), round, VoteKind::Prevote, block)), []);
    }
    assert_eq!(desk.engine.early.take(Height::new(12)).len(), 8);

    // Those of the next height count when it comes.
    let next = Height::new(11);
    for key in &others()[1..] {
        desk.vote(vote(key, next, 2, VoteKind::Prevote, None));
    }
    let header = header(0, 1);
    let new_head = Head { height: HEIGHT, id: header.id(), time: header.time, anchored: true };
    let (certificate, from) = (certificate(header.id(), HEIGHT), vec![7]);
    desk.input(Input::Certified { header: Box::new(header.clone()), certificate, from });
    desk.valid(&header);
    let effects =
        desk.input(Input::Committed { head: new_head, header: Box::new(header), validators: four() });
    let failed = Effect::Report(Notice::RoundFailed { height: next, round: 1 });
    assert!(effects.contains(&failed), "two of four are in round 2: {effects:?}");
}

#[test]
fn a_proposer_waits_for_transactions_and_no_longer_than_the_idle_time() {
    let build = |when_empty| Effect::BuildProposal {
        height: HEIGHT,
        time: TimestampMs::new(NOW),
        seal: Seal::FIRST_ROUND,
        when_empty,
    };
    let (mut desk, effects) = Desk::start(&proposer(0));
    let idle_ms = PosConfig::default().idle_ms;
    assert!(effects.contains(&Effect::SetTimer { timer: IDLE, after_ms: idle_ms }), "{effects:?}");
    let propose_ms = idle_ms + PosConfig::default().propose_ms;
    assert!(effects.contains(&Effect::SetTimer { timer: PROPOSE, after_ms: propose_ms }));
    assert_eq!(desk.input(Input::TransactionsWaiting), [build(WhenEmpty::Skip)]);
    assert_eq!(desk.input(Input::TransactionsWaiting), [], "one build at a time");
    assert_eq!(desk.input(Input::ProposalSkipped { height: HEIGHT, more_waiting: false }), []);
    assert_eq!(desk.timer(IDLE), [build(WhenEmpty::Build)]);

    let header = header(0, 1);
    let block = header.id();
    let effects = desk.built(&header);
    assert!(effects.contains(&Effect::Publish(Announcement::Block { block })));
    let [Message::Vote(_), Message::Proposal(sent)] = &messages(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((sent.proposal.block, sent.proposal.round), (block, 0));
    assert_eq!(votes(&effects), [(VoteKind::Prevote, Some(block))]);
    // Both are sent again until the round is over.
    let again = messages(&desk.timer(TimerId(5)));
    assert!(again.contains(&Message::Proposal(sent.clone())) && again.len() == 2, "{again:?}");
}

#[test]
fn an_unanchored_state_is_anchored_sooner_and_the_interval_is_kept() {
    let (_, effects) =
        Desk::start_with(MemorySigner::new(proposer(0)), Head { anchored: false, ..head() }, four());
    let after_ms = PosConfig::default().anchor_after_ms;
    assert!(effects.contains(&Effect::SetTimer { timer: IDLE, after_ms }), "{effects:?}");

    // After a block, transactions wait for the interval.
    let before = Head { height: Height::new(8), ..head() };
    let (mut desk, _) = Desk::start_with(MemorySigner::new(proposer(0)), before, four());
    let header = BlockHeader { height: Height::new(9), ..header(0, 1) };
    let (certificate, from) = (certificate(header.id(), Height::new(9)), vec![7]);
    desk.input(Input::Certified { header: Box::new(header.clone()), certificate, from });
    desk.valid(&header);
    let effects = desk.input(Input::Committed { head: head(), header: Box::new(header), validators: four() });
    let after_ms = PosConfig::default().interval_ms_min;
    assert!(effects.contains(&Effect::SetTimer { timer: INTERVAL, after_ms }), "{effects:?}");
    assert_eq!(desk.input(Input::TransactionsWaiting), []);
    let effects = desk.timer(INTERVAL);
    assert!(matches!(&effects[..], [Effect::BuildProposal { when_empty: WhenEmpty::Skip, .. }]));
}

#[test]
fn a_block_built_for_another_round_is_not_proposed() {
    let (mut desk, _) = Desk::start(&proposer(0));
    desk.timer(IDLE);
    desk.timer(PROPOSE);
    assert_eq!(messages(&desk.built(&header(0, 1))), [], "its round is lost");
}

#[test]
fn fetched_blocks_are_checked_and_committed() {
    let header = header(0, 1);
    let (block, good) = (header.id(), certificate(header.id(), HEIGHT));
    let certified = |header: &BlockHeader, certificate: &Certificate| Input::Certified {
        header: Box::new(header.clone()),
        certificate: certificate.clone(),
        from: vec![7],
    };
    let mut follower = PosEngine::follower(PosConfig::default(), chain());
    let mut input = |input: Input| follower.handle(TimestampMs::new(NOW), input);
    input(Input::Started { head: head(), uncertified: None, validators: four(), records: vec![] });

    let few = Certificate { signatures: good.signatures[..2].to_vec(), ..good.clone() };
    assert!(blamed(&input(certified(&header, &few))).contains("more than two thirds"));
    let mut other = header.clone();
    other.state_root = Hash32::new([1; 32]);
    assert!(blamed(&input(certified(&other, &good))).contains("another block"));
    let late = Certificate { height: Height::new(12), ..good.clone() };
    assert_eq!(input(certified(&header, &late)), []);

    let effects = input(certified(&header, &good));
    assert_eq!(effects.last(), Some(&Effect::ValidateBlock { block, height: HEIGHT }));
    assert_eq!(input(certified(&header, &good)), [], "once");
    let verdict = Verdict::Valid { header: Box::new(header.clone()) };
    let effects = input(Input::BlockValidated { block, verdict });
    assert_eq!(effects, [Effect::Commit { block, certificate: Some(good.clone()) }]);

    // A second certified block of this height: a third of the power signed both.
    let second = certificate(other.id(), HEIGHT);
    assert!(halted(&input(certified(&other, &second))).contains("both certified"));
    assert_eq!(input(Input::TransactionsWaiting), [], "it stays stopped");
}

/// Whoever told a node that was cut off something else than the others went unpunished: the node learned of the
/// decision by its certificate, whose signatures nobody compared.
#[test]
fn a_certificate_convicts_who_told_this_node_otherwise() {
    let mut desk = Desk::voter();
    // One of those who signed the certificate, and not this node.
    let own = others()[0].public_key();
    let liar = &keys().into_iter().find(|key| key.public_key() != own).unwrap();
    let header = header(0, 1);
    let (certificate, from) = (certificate(header.id(), HEIGHT), vec![7]);
    desk.vote(vote(liar, HEIGHT, 0, VoteKind::Precommit, None));
    let effects = desk.input(Input::Certified { header: Box::new(header), certificate, from });
    let offenders: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Evidence(found) => Some(found.verify(&chain()).unwrap()),
            _ => None,
        })
        .collect();
    assert_eq!(offenders, [liar.public_key().account_id()], "{effects:?}");
}

#[test]
fn a_certified_block_that_is_invalid_here_stops_the_node() {
    let mut desk = Desk::voter();
    let header = header(0, 1);
    let (block, certificate, from) = (header.id(), certificate(header.id(), HEIGHT), vec![7]);
    desk.input(Input::Certified { header: Box::new(header), certificate, from });
    let verdict = Verdict::Invalid { reason: "wrong root".to_owned() };
    let effects = desk.input(Input::BlockValidated { block, verdict });
    assert!(halted(&effects).contains("wrong root"));
}

/// A node whose clock was behind stopped at a block that the others had decided.
#[test]
fn a_block_from_the_future_is_not_voted_for_and_taken_when_final() {
    let mut desk = Desk::voter();
    desk.now = NOW - AHEAD_MS_MAX - 1;
    let header = header(0, 1);
    let (block, good) = (header.id(), certificate(header.id(), HEIGHT));
    desk.propose(proposal(&proposer(0), 0, block, None));
    let ahead_ms = AHEAD_MS_MAX + 1;
    assert_eq!(desk.valid(&header), [Effect::Report(Notice::BlockAhead { block, ahead_ms })]);
    assert_eq!(votes(&desk.timer(PROPOSE)), [(VoteKind::Prevote, None)], "the round ends without it");
    let (certificate, from) = (good.clone(), vec![7]);
    let effects = desk.input(Input::Certified { header: Box::new(header.clone()), certificate, from });
    assert_eq!(effects.last(), Some(&Effect::ValidateBlock { block, height: HEIGHT }));
    assert_eq!(desk.valid(&header), [Effect::Commit { block, certificate: Some(good) }]);
}

/// It was refused for the whole height, and with it the chain stood: two of four held on to it.
#[test]
fn a_block_from_the_future_is_voted_for_when_the_clock_has_come_closer() {
    let mut desk = Desk::voter();
    desk.now = NOW - AHEAD_MS_MAX - 1;
    let header = header(0, 1);
    let block = header.id();
    let first = proposal(&proposer(0), 0, block, None);
    desk.propose(first.clone());
    assert_eq!(votes(&desk.valid(&header)), []);
    desk.now = NOW;
    assert_eq!(desk.propose(first), [Effect::ValidateBlock { block, height: HEIGHT }]);
    assert_eq!(votes(&desk.valid(&header)), [(VoteKind::Prevote, Some(block))]);
}

#[test]
fn a_proposer_has_no_more_than_two_blocks_of_a_round_executed() {
    let mut desk = Desk::voter();
    let headers = [1, 2, 3].map(|salt| header(0, salt));
    let asks = |effects: &[Effect], block| effects.contains(&Effect::ValidateBlock { block, height: HEIGHT });
    let [first, second, third] = headers.each_ref().map(|header| header.id());
    for (block, header) in [first, second].into_iter().zip(&headers) {
        assert!(asks(&desk.propose(proposal(&proposer(0), 0, block, None)), block));
        desk.valid(header);
    }
    assert!(!asks(&desk.propose(proposal(&proposer(0), 0, third, None)), third));
    // Others may be locked on it, so that the next proposer must propose it again.
    for key in others().iter().skip(1).chain([&proposer(0)]) {
        desk.vote(vote(key, HEIGHT, 0, VoteKind::Precommit, None));
    }
    desk.timer(TimerId(4));
    assert!(asks(&desk.propose(proposal(&proposer(1), 1, third, Some(0))), third));
}

#[test]
fn a_refused_signature_is_neither_sent_nor_counted() {
    let mut desk = Desk::voter();
    let header = header(0, 1);
    let block = header.id();
    // Somebody else signed with this key.
    let kind = VoteKind::Prevote;
    let other = Vote { chain_id: chain(), height: HEIGHT, round: 0, kind, block: None };
    desk.signer.clone().sign_vote(other).unwrap();
    desk.propose(proposal(&proposer(0), 0, block, None));
    let effects = desk.valid(&header);
    assert_eq!(votes(&effects), []);
    let refused = |effect: &Effect| matches!(effect, Effect::Report(Notice::SignatureRefused { .. }));
    assert!(effects.iter().any(refused), "{effects:?}");
    // Two others and the refused one are no two thirds.
    for key in [&proposer(0), &others()[1]] {
        assert_eq!(votes(&desk.vote(vote(key, HEIGHT, 0, kind, Some(block)))), []);
    }
    // The third makes them, and the rest of the round is signed.
    let effects = desk.vote(vote(&others()[2], HEIGHT, 0, kind, Some(block)));
    assert_eq!(votes(&effects), [(VoteKind::Precommit, Some(block))]);
    assert_eq!(votes(&desk.timer(TimerId(5))), [(VoteKind::Precommit, Some(block))]);
}

#[test]
fn a_refused_proposal_leaves_the_round_to_the_timer() {
    let (mut desk, _) = Desk::start(&proposer(0));
    let proposal = proposal(&proposer(0), 0, BlockId::ZERO, None).proposal;
    desk.signer.clone().sign_proposal(proposal).unwrap();
    desk.timer(IDLE);
    let effects = desk.built(&header(0, 1));
    assert_eq!(messages(&effects), []);
    let timer = |effect: &Effect| matches!(effect, Effect::SetTimer { timer: PROPOSE, .. });
    assert!(effects.iter().any(timer), "{effects:?}");
    assert_eq!(votes(&desk.timer(PROPOSE)), [(VoteKind::Prevote, None)]);
}

#[test]
fn a_record_that_cannot_be_written_stops_the_node() {
    let mut desk = Desk::voter();
    desk.signer.refuse_with(SignError::Failed { detail: "no space".to_owned() });
    let effects = desk.timer(PROPOSE);
    assert!(halted(&effects).contains("no space"));
    assert_eq!(messages(&effects), []);
    assert_eq!(desk.timer(PREVOTE), []);
}

/// Locked on a block in round 0, it dies, comes back, and prevotes nothing else in round 1.
#[test]
fn a_lock_survives_a_crash() {
    let key = others().into_iter().find(|key| key.public_key() != proposer(1).public_key()).unwrap();
    let rest: Vec<SecretKey> =
        keys().into_iter().filter(|other| other.public_key() != key.public_key()).collect();
    let (mut desk, _) = Desk::start(&key);
    let first = header(0, 1);
    let block = first.id();
    desk.propose(proposal(&proposer(0), 0, block, None));
    desk.valid(&first);
    let effects: Vec<Effect> = rest[..2]
        .iter()
        .flat_map(|other| desk.vote(vote(other, HEIGHT, 0, VoteKind::Prevote, Some(block))))
        .collect();
    assert_eq!(votes(&effects), [(VoteKind::Precommit, Some(block))]);

    let (mut desk, effects) = Desk::start_with(desk.signer.clone(), head(), four());
    let again = [(VoteKind::Prevote, Some(block)), (VoteKind::Precommit, Some(block))];
    assert_eq!(votes(&effects), again, "what was said is said again");
    assert!(
        effects.contains(&Effect::ValidateBlock { block, height: HEIGHT }),
        "executed again: {effects:?}"
    );
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Report(Notice::SignatureRefused { .. }))));

    // The others precommit nothing, and round 1 brings another block.
    for other in &rest {
        desk.vote(vote(other, HEIGHT, 0, VoteKind::Precommit, None));
    }
    desk.timer(TimerId(4));
    let second = header(1, 2);
    desk.propose(proposal(&proposer(1), 1, second.id(), None));
    let effects = desk.valid(&second);
    assert_eq!(votes(&effects), [(VoteKind::Prevote, None)], "it is locked on the first");
}

#[test]
fn a_block_that_was_built_before_a_crash_is_proposed_again() {
    let (mut desk, _) = Desk::start(&proposer(0));
    desk.timer(IDLE);
    let block = header(0, 1).id();
    assert!(!messages(&desk.built(&header(0, 1))).is_empty());
    let (_, effects) = Desk::start_with(desk.signer.clone(), head(), four());
    let sent = messages(&effects);
    let is_it =
        |message: &Message| matches!(message, Message::Proposal(sent) if sent.proposal.block == block);
    assert!(sent.iter().any(is_it), "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::BuildProposal { .. })));
}

#[test]
fn a_start_that_cannot_be_right_stops_the_node() {
    let start = |validators, records| {
        let signer = Box::new(MemorySigner::new(proposer(0)));
        let mut engine = PosEngine::new(PosConfig::default(), chain(), signer);
        let started = Input::Started { head: head(), uncertified: None, validators, records };
        engine.handle(TimestampMs::new(NOW), started)
    };
    assert!(halted(&start(four(), vec![vec![9, 9]])).contains("cannot be read (version 9"));
    assert!(halted(&start(four(), vec![vec![]])).contains("no bytes"));
    assert!(halted(&start(Arc::default(), vec![])).contains("no validators"));
    // A record that was forgotten too late is no harm.
    let entry = Entry::Block(record::BlockSeal { block: BlockId::ZERO, round: 0, valid: true });
    let old = Record { height: Height::new(9), entry }.encode();
    assert!(!start(four(), vec![old]).iter().any(|effect| matches!(effect, Effect::Halt { .. })));
}

/// Half of what is known of a block is nothing: it is asked for again.
#[test]
fn a_block_that_the_algorithm_does_not_know_is_asked_for() {
    let signer = MemorySigner::new(others()[0].clone());
    let block = header(0, 1).id();
    let entry = Entry::Block(record::BlockSeal { block, round: 0, valid: true });
    signer.clone().record(HEIGHT, Record { height: HEIGHT, entry }.encode());
    let unrelated =
        Vote { chain_id: chain(), height: HEIGHT, round: 9, kind: VoteKind::Prevote, block: None };
    signer.clone().sign_vote(unrelated).unwrap();
    let (mut desk, _) = Desk::start_with(signer, head(), four());
    let effects = desk.propose(proposal(&proposer(0), 0, block, None));
    assert_eq!(effects, [Effect::ValidateBlock { block, height: HEIGHT }]);
    assert_eq!(votes(&desk.valid(&header(0, 1))), [(VoteKind::Prevote, Some(block))]);
}

#[test]
fn evidence_is_reported_once_and_forgotten_in_the_end() {
    let mut desk = Desk::voter();
    let key = &others()[1];
    let block = |n: u8| Some(BlockId::new(hash_domain("test", &[n])));
    let says = |n: u8| vote(key, HEIGHT, 0, VoteKind::Precommit, block(n));
    desk.vote(says(1));
    let effects = desk.vote(says(2));
    let found: Vec<&Equivocation> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Evidence(found) => Some(&**found),
            _ => None,
        })
        .collect();
    let [found] = found[..] else { panic!("{effects:?}") };
    assert_eq!(found.verify(&chain()), Ok(key.public_key().account_id()));
    assert!(!desk.vote(says(3)).iter().any(|effect| matches!(effect, Effect::Evidence(_))));
    assert!(!desk.vote(says(2)).iter().any(|effect| matches!(effect, Effect::Evidence(_))));

    let mut pool = EvidencePool::default();
    pool.open(HEIGHT, four());
    let signed = evidence::Signed::Vote(says(1));
    assert_eq!(pool.add(signed.clone()), None);
    pool.open(Height::new(10 + HEIGHTS_KEPT), four());
    assert_eq!(pool.look(&signed), evidence::Look::Seen);
    pool.open(Height::new(11 + HEIGHTS_KEPT), four());
    assert_eq!(pool.look(&signed), evidence::Look::Irrelevant);
}

#[test]
fn one_validator_decides_alone_until_there_are_more() {
    let key = proposer(0);
    let public_key = key.public_key();
    let only = Validator { public_key, account: public_key.account_id(), power: 3 };
    let alone = Arc::new(ValidatorSet::new(vec![only]).unwrap());
    let (mut desk, effects) = Desk::start_with(MemorySigner::new(key), head(), Arc::clone(&alone));
    assert_eq!(effects, [], "anchored and nothing to do");
    let effects = desk.input(Input::TransactionsWaiting);
    assert!(matches!(&effects[..], [_, Effect::BuildProposal { when_empty: WhenEmpty::Skip, .. }]));
    let header = header(0, 1);
    let block = header.id();
    let commit = Effect::Commit { block, certificate: None };
    // The next one is built while this one becomes durable.
    let proposal = Proposal { header: header.clone(), id: block, anchored: false };
    let built = desk.input(Input::ProposalBuilt { proposal, more_waiting: true });
    assert_eq!(built[0], commit);
    desk.now += 1_000;
    let effects = desk.timer(TimerId(0));
    assert!(matches!(&effects[..], [.., Effect::BuildProposal { .. }]), "{effects:?}");
    let next = BlockHeader { height: Height::new(11), parent: block, ..header.clone() };
    assert!(!desk.built(&next).iter().any(|effect| matches!(effect, Effect::Commit { .. })));

    // With this block come three more validators: what was built ahead does not count.
    let new_head = Head { height: HEIGHT, id: block, time: header.time, anchored: false };
    let effects =
        desk.input(Input::Committed { head: new_head, header: Box::new(header), validators: four() });
    let Effect::Certify { certificate } = &effects[0] else { panic!("{effects:?}") };
    certificate.verify(&chain(), &alone).unwrap();
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Commit { .. })), "{effects:?}");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::SetTimer { timer: PROPOSE, .. })));
}

mod garbage {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Right messages with one byte changed: blamed or ignored, never counted, never a panic.
        #[test]
        fn damaged_messages_change_nothing(
            which in 0usize..4,
            at in any::<proptest::sample::Index>(),
            flip in 1u8..,
        ) {
            let block = header(0, 1).id();
            let round = if which == 3 { 3 } else { 0 };
            let prevotes: Vec<SignedVote> =
                keys().iter().map(|key| vote(key, HEIGHT, round, VoteKind::Prevote, Some(block))).collect();
            let entry = |signed: &SignedVote| RoundVote {
                kind: signed.vote.kind,
                block: signed.vote.block,
                public_key: signed.public_key,
                signature: signed.signature,
            };
            let message = match which {
                0 => Message::Vote(vote(&others()[1], HEIGHT, 0, VoteKind::Prevote, Some(block))),
                1 => Message::Proposal(proposal(&proposer(0), 0, block, None)),
                2 => Message::Polka(PolkaCertificate {
                    height: HEIGHT,
                    round: 0,
                    block,
                    signatures: prevotes[..3].iter().cloned().map(Into::into).collect(),
                }),
                _ => Message::Round(RoundCertificate {
                    height: HEIGHT,
                    round: 3,
                    reason: RoundReason::Skip,
                    votes: prevotes[..2].iter().map(entry).collect(),
                }),
            };
            let mut bytes = message.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let mut desk = Desk::voter();
            let effects = desk.input(Input::Message { from: vec![7], bytes });
            let harmless = effects.iter().all(|effect| matches!(effect, Effect::Blame { .. }));
            prop_assert!(harmless, "{effects:?}");
        }
    }
}
