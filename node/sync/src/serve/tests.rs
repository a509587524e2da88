use super::*;
use crate::testing::{TestChain, genesis, peer, sized_transaction};

struct Source(TestChain);

impl BlockSource for Source {
    fn status(&self) -> Status {
        Status {
            genesis: genesis(),
            height: self.0.height(),
            head: self.0.head(),
            work: [0; 32],
            final_height: self.0.height(),
            oldest_block: Height::new(1),
            snapshot: None,
        }
    }
    fn header(&self, height: Height) -> Result<Option<CertifiedHeader>, SourceError> {
        let at = (height.get() as usize).checked_sub(1);
        Ok(at.and_then(|at| self.0.blocks.get(at)).map(|(header, _)| header.clone()))
    }
    fn body(&self, block: &BlockId, first: usize, max: usize) -> Result<Option<BodySlice>, SourceError> {
        let Some((_, body)) = self.0.blocks.iter().find(|(header, _)| header.header.id() == *block) else {
            return Ok(None);
        };
        let mut transactions: Vec<EncodedTransaction> = Vec::new();
        let mut bytes = 0;
        for one in body.iter().skip(first).map(EncodedTransaction::new) {
            bytes += one.size_bytes();
            if bytes > max && !transactions.is_empty() {
                break;
            }
            transactions.push(one);
        }
        Ok(Some(BodySlice { total: body.len(), transactions }))
    }
    fn transactions(
        &self,
        block: &BlockId,
        positions: &[u32],
        bytes_max: usize,
    ) -> Result<Vec<EncodedTransaction>, SourceError> {
        let known = self.0.blocks.iter().find(|(header, _)| header.header.id() == *block);
        let Some((_, body)) = known else { return Ok(Vec::new()) };
        let (mut found, mut bytes): (Vec<EncodedTransaction>, usize) = (Vec::new(), 0);
        for transaction in positions.iter().map_while(|at| body.get(*at as usize)) {
            let encoded = EncodedTransaction::new(transaction);
            bytes += encoded.size_bytes();
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(encoded);
        }
        Ok(found)
    }
    fn compact(&self, _: &BlockId) -> Result<Option<CompactBlock>, SourceError> {
        Ok(None)
    }
    fn pooled(&self, id: &TransactionId) -> Option<EncodedTransaction> {
        let mut all = self.0.blocks.iter().flat_map(|(_, body)| body);
        all.find(|one| one.body.id() == *id).map(EncodedTransaction::new)
    }
    fn pooled_ids(&self, _: &TransactionId, limit: usize) -> Vec<TransactionId> {
        (0..limit.min(DIGEST_IDS_MAX + 1)).map(|_| TransactionId::ZERO).collect()
    }
    fn snapshot_manifest(&self, _: Option<Height>) -> Result<Option<Vec<u8>>, SourceError> {
        Err(SourceError { detail: "the disk is gone".into() })
    }
    fn snapshot_chunk(&self, _: &Hash32, _: &Hash32, _: &Hash32) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(None)
    }
    fn consensus(&self, _: Height) -> Vec<Vec<u8>> {
        vec![vec![0; 64 * 1024]; 100]
    }
}

fn source() -> Source {
    let mut chain = TestChain::new([2, 0, 3]);
    chain.push((0..40).map(|n| sized_transaction(3, n, 200_000)).collect(), 1);
    Source(chain)
}

fn ask(server: &mut Server, now: u64, from: &PeerId, request: &Request) -> Answer {
    server.answer(now, from, &request.encode(), &source()).unwrap()
}

fn reply(request: Request) -> Response {
    let answer = ask(&mut Server::new(Budget::default()), 0, &peer(1), &request);
    Response::decode(&answer.response.unwrap()).unwrap()
}

#[test]
fn answers_are_paged_and_lead_to_the_end() {
    let source = source();
    let Response::Headers(headers) = reply(Request::Headers { from: Height::new(2), count: 9 }) else {
        panic!()
    };
    assert_eq!(headers.len(), 3);
    assert_eq!(reply(Request::Headers { from: Height::new(5), count: 9 }), Response::Unavailable);
    assert_eq!(reply(Request::Headers { from: Height::ZERO, count: 9 }), Response::Unavailable);
    let blocks: Vec<BlockId> = (1..=4).map(|height| source.0.id(height)).collect();
    let Response::Blocks(parts) = reply(Request::Blocks { blocks: blocks.clone(), first: 0 }) else {
        panic!()
    };
    assert_eq!(parts[..3].iter().map(|part| part.transactions.len()).collect::<Vec<_>>(), [2, 0, 3]);
    let mut have = parts.get(3).map_or(0, |part| part.transactions.len());
    let mut pages = 0;
    while have < 40 {
        let request = Request::Blocks { blocks: blocks[3..].to_vec(), first: have as u32 };
        let Response::Blocks(parts) = reply(request) else { panic!() };
        assert_eq!((parts.len(), parts[0].first as usize), (1, have));
        have += parts[0].transactions.len();
        pages += 1;
    }
    assert!((3..10).contains(&pages), "{pages}");
    let positions = (0..40).collect();
    let Response::BlockTransactions(list) = reply(Request::BlockTransactions { block: blocks[3], positions })
    else {
        panic!()
    };
    assert!((5..40).contains(&list.len()));
    for positions in [vec![1, 1], vec![2, 1]] {
        let answer = reply(Request::BlockTransactions { block: blocks[3], positions });
        assert_eq!(answer, Response::Unavailable);
    }
    let Response::Consensus(messages) = reply(Request::Consensus { height: Height::ZERO }) else { panic!() };
    assert!((10..40).contains(&messages.len()));
    let Response::PoolDigest { ids, next } = reply(Request::PoolDigest { from: TransactionId::ZERO }) else {
        panic!()
    };
    assert_eq!((ids.len(), next), (DIGEST_IDS_MAX, Some(TransactionId::ZERO)));
}

#[test]
fn a_peer_that_asks_too_much_gets_nothing_and_others_do() {
    let mut server = Server::new(Budget { requests_per_s: 10, requests_burst: 20, ..Budget::default() });
    let request = Request::Headers { from: Height::new(1), count: 1 };
    let mut answered = 0;
    let mut flooded = false;
    for _ in 0..300 {
        let answer = ask(&mut server, 0, &peer(1), &request);
        answered += usize::from(answer.response.is_some());
        flooded |= answer.offence == Some(Offence::Flooded);
    }
    assert_eq!((answered, flooded), (20, true));
    assert!(ask(&mut server, 0, &peer(2), &request).response.is_some());
    assert!(ask(&mut server, 99, &peer(1), &request).response.is_none());
    assert!(ask(&mut server, 100, &peer(1), &request).response.is_some());
    server.tick(1_000);
    assert_eq!(server.accounts.len(), 1, "the other one is full again");
    let mut server = Server::new(Budget { bytes_per_s: 1000, bytes_burst: 2000, ..Budget::default() });
    let large = Request::Blocks { blocks: vec![source().0.id(4)], first: 0 };
    assert!(ask(&mut server, 0, &peer(1), &large).response.is_some());
    assert!(ask(&mut server, 0, &peer(1), &request).response.is_none());
}

#[test]
fn garbage_and_damage_are_told_apart() {
    let mut server = Server::new(Budget::default());
    let answer = server.answer(0, &peer(1), &[9, 9], &source()).unwrap();
    assert_eq!(answer, Answer { offence: Some(Offence::Malformed), ..Answer::default() });
    let request = Request::SnapshotManifest { height: None }.encode();
    assert!(server.answer(0, &peer(1), &request, &source()).is_err());
    let status = source().status();
    assert_eq!(ask(&mut server, 0, &peer(1), &Request::Status(status.clone())).status, Some(status));
}
