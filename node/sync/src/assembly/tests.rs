use super::*;
use crate::testing::{TestChain, chain_id, peer};
use proptest::prelude::*;
use purlin_primitives::Transaction;

#[derive(Default)]
struct Pool(BTreeMap<TransactionId, VerifiedTransaction>);

impl TransactionLookup for Pool {
    fn get(&self, id: &TransactionId) -> Option<VerifiedTransaction> {
        self.0.get(id).cloned()
    }
}

fn verified(transaction: &Transaction) -> VerifiedTransaction {
    transaction.clone().verify(&chain_id()).unwrap()
}

fn block(size: usize) -> (CompactBlock, Vec<Transaction>) {
    let chain = TestChain::new([size]);
    let (certified, transactions) = chain.blocks[0].clone();
    let ids = transactions.iter().map(|one| one.body.id()).collect();
    (CompactBlock { header: certified.header, transactions: ids }, transactions)
}

fn pool(transactions: &[Transaction]) -> Pool {
    Pool(transactions.iter().map(verified).map(|one| (one.id(), one)).collect())
}

fn assemblies() -> Assemblies {
    Assemblies::new(chain_id(), 1_000_000)
}

fn completed(out: &[AssemblyOutput]) -> Option<&AssembledBlock> {
    out.iter().find_map(|output| match output {
        AssemblyOutput::Complete(block) => Some(&**block),
        _ => None,
    })
}

fn ask(out: &[AssemblyOutput]) -> Option<(PeerId, RequestId, Request)> {
    out.iter().find_map(|output| match output {
        AssemblyOutput::Ask { peer, id, request } => Some((peer.clone(), *id, request.clone())),
        _ => None,
    })
}

fn blamed(out: &[AssemblyOutput], peer: &PeerId) -> Option<Offence> {
    out.iter().find_map(|output| match output {
        AssemblyOutput::Report { peer: other, offence } if other == peer => Some(*offence),
        _ => None,
    })
}

fn serve(transactions: &[Transaction], request: &Request) -> Response {
    let Request::BlockTransactions { positions, .. } = request else { panic!("{request:?}") };
    let of = |at: &u32| EncodedTransaction::new(&transactions[*at as usize]);
    Response::BlockTransactions(positions.iter().map(of).collect())
}

#[test]
fn what_the_pool_has_is_not_asked_for() {
    let (compact, transactions) = block(5);
    let out = assemblies().announced(0, &peer(1), compact.clone(), &pool(&transactions));
    assert_eq!(completed(&out).unwrap().id, compact.id());
    let mut some = assemblies();
    let out = some.announced(0, &peer(1), compact, &pool(&transactions[1..3]));
    let (_, id, request) = ask(&out).unwrap();
    assert!(matches!(&request, Request::BlockTransactions { positions, .. } if positions == &[0, 3, 4]));
    let out = some.answered(1, id, Ok(serve(&transactions, &request)), &Pool::default());
    let ids: Vec<_> = completed(&out).unwrap().transactions.iter().map(VerifiedTransaction::id).collect();
    assert_eq!(ids, transactions.iter().map(|one| one.body.id()).collect::<Vec<_>>());
    assert!(some.is_empty());
}

#[test]
fn a_made_up_list_is_blamed_at_once() {
    let (mut compact, _) = block(3);
    compact.transactions.swap(0, 1);
    let mut all = assemblies();
    let out = all.announced(0, &peer(1), compact, &Pool::default());
    assert_eq!(blamed(&out, &peer(1)), Some(Offence::Invalid));
    assert!(all.is_empty());
}

#[test]
fn wrong_transactions_are_blamed_and_another_source_is_asked() {
    let (compact, transactions) = block(3);
    let mut tampered = transactions.clone();
    tampered[1].signature = purlin_primitives::Signature::new([1; 64]);
    let mut reordered = transactions.clone();
    reordered.rotate_left(1);
    for (wrong, offence) in [(tampered, Offence::Invalid), (reordered, Offence::Lied)] {
        let mut all = assemblies();
        let out = all.announced(0, &peer(1), compact.clone(), &Pool::default());
        all.announced(0, &peer(2), compact.clone(), &Pool::default());
        let (first, id, request) = ask(&out).unwrap();
        assert_eq!(first, peer(1));
        let out = all.answered(1, id, Ok(serve(&wrong, &request)), &Pool::default());
        assert_eq!(blamed(&out, &peer(1)), Some(offence));
        let (second, id, request) = ask(&out).unwrap();
        assert_eq!(second, peer(2));
        let out = all.answered(2, id, Ok(serve(&transactions, &request)), &Pool::default());
        assert!(completed(&out).is_some());
    }
}

#[test]
fn a_block_known_by_id_only_is_learnt_and_stallers_are_passed_over() {
    let (compact, transactions) = block(2);
    let mut all = assemblies();
    let out = all.wanted(0, compact.id(), &[peer(1), peer(2)]);
    let (first, late, request) = ask(&out).unwrap();
    assert_eq!((first, request), (peer(1), Request::Compact { block: compact.id() }));
    let out = all.tick(ASSEMBLY_TIMEOUT_MS);
    let (second, id, _) = ask(&out).unwrap();
    assert_eq!(second, peer(2));
    assert_eq!(all.answered(1, late, Ok(Response::Unavailable), &Pool::default()), []);
    let (other, _) = block(3);
    let mut lied = assemblies();
    let out = lied.wanted(0, compact.id(), &[peer(1)]);
    let out = lied.answered(0, ask(&out).unwrap().1, Ok(Response::Compact(other)), &Pool::default());
    assert_eq!(blamed(&out, &peer(1)), Some(Offence::Lied));
    let out = all.answered(1, id, Ok(Response::Compact(compact)), &pool(&transactions));
    assert!(completed(&out).is_some());
}

#[test]
fn gossip_may_bring_the_rest() {
    let (compact, transactions) = block(2);
    let mut all = assemblies();
    all.announced(0, &peer(1), compact, &pool(&transactions[..1]));
    assert!(completed(&all.found(1, &verified(&transactions[1]))).is_some());
}

#[test]
fn assemblies_are_bounded_and_expire() {
    let mut all = assemblies();
    for n in 0..100u64 {
        let mut compact = block(1).0;
        compact.header.height = Height::new(n);
        all.announced(n, &peer(1), compact, &Pool::default());
        assert!(all.len() <= ASSEMBLIES_MAX);
    }
    all.decided(Height::new(95));
    assert_eq!(all.len(), 4);
    let out = all.tick(99 + ASSEMBLY_EXPIRY_MS);
    assert_eq!(out.iter().filter(|one| matches!(one, AssemblyOutput::GaveUp { .. })).count(), 4);
    assert!(all.is_empty());
    let mut small = Assemblies::new(chain_id(), 10);
    let (compact, transactions) = block(1);
    let out = small.announced(0, &peer(1), compact, &pool(&transactions));
    assert!(matches!(out[..], [AssemblyOutput::GaveUp { .. }]), "larger than a block may be");
}

#[test]
fn what_is_only_announced_gives_way_to_what_is_needed() {
    let id = |n: usize| BlockId::new(purlin_primitives::Hash32::new([n as u8; 32]));
    let gave_up = |out: &[AssemblyOutput]| {
        let blocks = out.iter().filter_map(|output| match output {
            AssemblyOutput::GaveUp { block } => Some(*block),
            _ => None,
        });
        blocks.collect::<Vec<_>>()
    };
    let (compact, _) = block(1);
    let announced = compact.id();
    let mut all = assemblies();
    all.wanted(0, id(0), &[peer(1)]);
    all.announced(1, &peer(1), compact.clone(), &Pool::default());
    for n in 1..ASSEMBLIES_MAX - 1 {
        assert_eq!(gave_up(&all.wanted(1 + n as u64, id(n), &[peer(1)])), []);
    }
    assert_eq!(all.len(), ASSEMBLIES_MAX);
    // Not the oldest one, which is needed.
    assert_eq!(gave_up(&all.wanted(100, id(200), &[peer(1)])), [announced]);
    // Now all are needed.
    assert_eq!(all.announced(101, &peer(1), compact.clone(), &Pool::default()), []);
    assert_eq!(gave_up(&all.wanted(102, id(201), &[peer(1)])), [id(0)]);
    // One that was announced first and is needed then stays like the others.
    let mut all = assemblies();
    all.announced(0, &peer(1), compact.clone(), &Pool::default());
    all.wanted(1, announced, &[peer(1)]);
    for n in 0..ASSEMBLIES_MAX as u64 {
        let mut other = compact.clone();
        other.header.height = Height::new(1_000 + n);
        assert!(!gave_up(&all.announced(2 + n, &peer(1), other, &Pool::default())).contains(&announced));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_losses_and_any_pool_end_in_the_block(
        known in proptest::collection::vec(any::<bool>(), 6),
        pages in proptest::collection::vec(1usize..4, 1..8),
        lost in proptest::collection::vec(any::<bool>(), 15),
    ) {
        let (compact, transactions) = block(6);
        let here: Vec<Transaction> =
            transactions.iter().zip(&known).filter(|(_, known)| **known).map(|(one, _)| one.clone()).collect();
        let mut all = assemblies();
        let mut now = 0;
        let mut out = all.announced(now, &peer(1), compact.clone(), &pool(&here));
        for (round, lost) in lost.into_iter().chain([false; 14]).enumerate() {
            if completed(&out).is_some() {
                break;
            }
            if let Some((_, id, request)) = ask(&out) {
                let Response::BlockTransactions(mut list) = serve(&transactions, &request) else { unreachable!() };
                list.truncate(pages[round % pages.len()]);
                now += 1;
                if !lost {
                    out = all.answered(now, id, Ok(Response::BlockTransactions(list)), &Pool::default());
                    continue;
                }
            }
            now += ASSEMBLY_TIMEOUT_MS / 2;
            out = all.tick(now);
        }
        let block = completed(&out);
        prop_assert!(block.is_some());
        let ids: Vec<_> = block.unwrap().transactions.iter().map(VerifiedTransaction::id).collect();
        prop_assert_eq!(ids, compact.transactions);
    }
}
