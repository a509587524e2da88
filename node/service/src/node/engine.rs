//! Which engine a node runs, and what it starts from.

use parking_lot::Mutex;
use purlin_chain::{Chain, ChainError};
use purlin_consensus::pow::{
    DoubleSha256, HeaderRules, History, MEDIAN_TIME_BLOCKS, Mining, PowConfig, PowEngine,
};
use purlin_consensus::{ConsensusEngine, Head, Input, PosConfig, PosEngine, SignError, VoteSigner};
use purlin_primitives::{
    Block, BlockProposal, ConsensusRules, Height, PowRules, PublicKey, SecretKey, SignedProposal, SignedVote,
    ValidatorSet, Vote,
};
use purlin_state::KeyValueStore;
use std::sync::Arc;

use super::StartError;
use super::bodies::{BodyLog, FileBodies, NoBodies};
use crate::config::Settings;
use crate::metrics::{Metrics, Stage};
use crate::sign_state::{LastSigned, Signer, SigningTerms};
use crate::signing_disk::SigningDisk;

/// How long a nonce is searched for one block before it is built again with what arrived since, in milliseconds.
const RENEW_AFTER_MS: u64 = 5_000;
/// How long the body of a branch's next block is waited for before the branch is left alone for a while, in
/// milliseconds: two peers can be asked in that time, one after the other.
const BODY_TIMEOUT_MS: u64 = 7_000;

/// An engine with what it needs.
pub(super) struct Prepared {
    pub(super) engine: Box<dyn ConsensusEngine>,
    /// Where bodies are kept, and those that were.
    pub(super) kept: Box<dyn BodyLog>,
    pub(super) bodies: Vec<Block>,
    /// What the engine kept with its signatures.
    pub(super) records: Vec<Vec<u8>>,
    /// The key it signs with.
    pub(super) public_key: Option<PublicKey>,
    /// What it signed last.
    pub(super) signed: Option<Arc<Mutex<LastSigned>>>,
}

impl Prepared {
    /// An engine of a test, which keeps no records.
    pub(super) fn given(engine: Box<dyn ConsensusEngine>, public_key: Option<PublicKey>) -> Self {
        Self {
            engine,
            kept: Box::new(NoBodies),
            bodies: Vec::new(),
            records: Vec::new(),
            public_key,
            signed: None,
        }
    }

    /// The engine that the genesis names.
    pub(super) fn of_genesis<S: KeyValueStore>(
        settings: &Settings,
        disk: &dyn SigningDisk,
        chain: &Chain<S>,
        key: Option<SecretKey>,
        decides: &ValidatorSet,
        metrics: &Arc<Metrics>,
        has_peers: bool,
    ) -> Result<Self, StartError> {
        let genesis = chain.genesis();
        if let ConsensusRules::Pow(rules) = &genesis.parameters.consensus {
            let public_key = key.map(|key| key.public_key());
            let mining = match public_key {
                Some(_) if settings.mining_threads > 0 => Mining::On { renew_after_ms: RENEW_AFTER_MS },
                _ => Mining::Off,
            };
            let engine = Box::new(pow_engine(chain, rules, mining)?);
            return Ok(Self::given(engine, public_key));
        }
        let config = PosConfig {
            interval_ms_min: settings.block_interval_ms,
            idle_ms: settings.idle_ms,
            anchor_after_ms: settings.anchor_after_ms,
            ..PosConfig::default()
        };
        let chain_id = genesis.chain_id.clone();
        let Some(key) = key else {
            let engine = Box::new(PosEngine::follower(config, chain_id));
            return Ok(Self::given(engine, None));
        };
        let next = chain.head().height.next();
        let path = settings.home.bodies();
        let opened = FileBodies::open(disk, &path, next);
        let (kept, bodies) = opened.map_err(|source| StartError::Votes { path, source })?;
        let public_key = key.public_key();
        let terms = SigningTerms {
            head: chain.head().height,
            alone: decides.validators().len() == 1 && decides.get(&public_key).is_some(),
        };
        let (signer, records) =
            Signer::open_on(disk, &settings.home.signing(), chain.genesis_id(), key, terms)?;
        let signed = Some(signer.watch());
        let engine =
            PosEngine::new(config, chain_id, Box::new(Timed { signer, metrics: Arc::clone(metrics) }));
        let engine = Box::new(if has_peers { engine.held() } else { engine });
        Ok(Self { engine, kept: Box::new(kept), bodies, records, public_key: Some(public_key), signed })
    }
}

/// Starts proof of work on the chain as it is stored.
fn pow_engine<S: KeyValueStore>(
    chain: &Chain<S>,
    rules: &PowRules,
    mining: Mining,
) -> Result<PowEngine, StartError> {
    let genesis = chain.genesis();
    let head = chain.head();
    let window_blocks = chain.options().window_blocks;
    let header = |height: Height| -> Result<_, StartError> {
        let missing = || {
            let detail = format!("block {height} is missing below the head at height {}", head.height);
            ChainError::Inconsistent { detail }
        };
        Ok(chain.header(height).map_err(ChainError::from)?.ok_or_else(missing)?)
    };
    let below = Height::new(window_blocks.saturating_add(MEDIAN_TIME_BLOCKS as u64));
    let lowest = head.height.saturating_sub(below).get().max(1);
    let history = History {
        headers: (lowest..=head.height.get())
            .map(|height| header(Height::new(height)))
            .collect::<Result<_, _>>()?,
        first_time: match head.height {
            Height::ZERO => None,
            _ => Some(header(Height::new(1))?.time),
        },
        oldest_state: head.oldest_state,
    };
    let rules = HeaderRules {
        chain_id: genesis.chain_id.clone(),
        genesis: chain.genesis_id(),
        genesis_time: genesis.time,
        rules: rules.clone(),
        window_blocks,
    };
    let config = PowConfig { rules, mining, body_timeout_ms: BODY_TIMEOUT_MS };
    PowEngine::new(config, Box::new(DoubleSha256), history).map_err(StartError::Headers)
}

/// Counts how long signatures take, which wait for the disk.
struct Timed {
    signer: Signer,
    metrics: Arc<Metrics>,
}

impl VoteSigner for Timed {
    fn public_key(&self) -> PublicKey {
        *self.signer.public_key()
    }

    fn record(&mut self, height: Height, bytes: Vec<u8>) {
        self.signer.record(height, bytes);
    }

    fn sign_vote(&mut self, vote: Vote) -> Result<SignedVote, SignError> {
        self.metrics.timed(Stage::Sign, 0, || self.signer.sign_vote(vote))
    }

    fn sign_proposal(&mut self, proposal: BlockProposal) -> Result<SignedProposal, SignError> {
        self.metrics.timed(Stage::Sign, 0, || self.signer.sign_proposal(proposal))
    }
}

/// Describes where the chain is, for the engine.
pub(super) fn started<S: KeyValueStore>(
    chain: &Chain<S>,
    validators: ValidatorSet,
    records: Vec<Vec<u8>>,
) -> Result<Input, ChainError> {
    let head = chain.head();
    let header = chain.header(head.height)?;
    let anchored = header.as_ref().is_some_and(|header| header.state_root == head.state_root);
    let signed = chain.certificate(head.height)?.is_some();
    let uncertified = header.filter(|_| !signed).map(Box::new);
    let head = Head { height: head.height, id: head.block, time: head.time, anchored };
    Ok(Input::Started { head, uncertified, validators: Arc::new(validators), records })
}
