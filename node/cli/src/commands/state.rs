//! `purlin state`: what an application stores, and proofs of it.

use clap::Subcommand;
use purlin_abi::schema::{AppSchema, StateKind};
use purlin_api::{HexBytes, StateView};
use purlin_primitives::{AppId, BlockId, Certificate, ConsensusRules, Height};
use purlin_state::{StateKey, StateProof, TreeProof, Trust, VerifiedValue};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

use crate::connection::Connection;
use crate::context::Context;
use crate::error::{Attempt, CliError, ExitKind};

/// Largest proof file, in bytes; a value of 64 KiB and 256 hashes take less.
const PROOF_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What can be done with state.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a value that an application stores
    Get(GetArgs),
    /// Check a proof file; needs no node
    Verify(VerifyArgs),
}

/// Arguments of `purlin state get`.
#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// The application
    app: AppId,
    /// Field of its state, or a whole storage key as text or 0x and hexadecimal digits
    key: String,
    /// Key or index inside the field, when it is a map, set or vector
    entry: Option<String>,
    /// Add a proof that a block commits to the value, or to its absence
    #[arg(long)]
    proof: bool,
    /// Write the proof to a file
    #[arg(long, value_name = "FILE", requires = "proof")]
    out: Option<PathBuf>,
}

/// Arguments of `purlin state verify`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("trust").required(true)))]
pub(crate) struct VerifyArgs {
    /// The proof file
    file: PathBuf,
    /// Trust this block: the proof must lead to it
    #[arg(long, value_name = "ID", group = "trust")]
    block: Option<BlockId>,
    /// Trust the validators of this genesis file: they must have signed the block
    #[arg(long, value_name = "FILE", group = "trust")]
    genesis: Option<PathBuf>,
}

/// A proof as a file: one line of JSON without spaces. All but `proof` says what the proof shows, for a person, and is
/// compared with it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofFile {
    app: AppId,
    key: HexBytes,
    value: Option<HexBytes>,
    height: Height,
    block: BlockId,
    /// Borsh of [`StateProof`].
    proof: HexBytes,
}

/// Runs a command.
pub(crate) fn run(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::Get(args) => get(&args, context),
        Command::Verify(args) => verify(&args, context),
    }
}

fn get(args: &GetArgs, context: &Context) -> Result<(), CliError> {
    let connection = context.connect()?;
    let key = storage_key(args, &connection)?;
    let view = connection.run(connection.client.state(&args.app, &key, args.proof))?;
    if !args.proof {
        context.output.result(|| json!(view), || shown(&view));
        return Ok(());
    }
    let file = proof_file(&view)?;
    let line = serde_json::to_string(&file).attempt(|| "write the proof as JSON".into())?;
    let Some(path) = &args.out else {
        context.output.result(|| json!(file), || line.clone());
        return Ok(());
    };
    std::fs::write(path, &line).attempt(|| format!("write {}", path.display()))?;
    context.output.result(
        || json!({ "file": path, "value": view.decoded, "height": file.height, "block": file.block }),
        || {
            let proven = format!(
                "{}\nproven by block {} as it was after height {}",
                shown(&view),
                file.block,
                file.height
            );
            format!(
                "{proven}\nproof in {}; check it with: purlin state verify {0} --genesis FILE",
                path.display()
            )
        },
    );
    Ok(())
}

/// Finds the storage key that the user means.
fn storage_key(args: &GetArgs, connection: &Connection) -> Result<Vec<u8>, CliError> {
    let Some(entry) = &args.entry else {
        if args.key.starts_with("0x") {
            let bytes: HexBytes =
                args.key.parse().map_err(|error| CliError::usage(format!("{}: {error}", args.key)))?;
            return Ok(bytes.0);
        }
        return Ok(args.key.clone().into_bytes());
    };
    let schema = connection.run(connection.client.schema(&args.app))?;
    entry_key(&schema, &args.key, entry)
}

fn entry_key(schema: &AppSchema, name: &str, entry: &str) -> Result<Vec<u8>, CliError> {
    let Some(field) = schema.state.iter().find(|field| field.name == name) else {
        let names: Vec<&str> = schema.state.iter().map(|field| field.name.as_str()).collect();
        return Err(CliError::usage(format!("{} has no state field {name}", schema.name))
            .hint(format!("it has: {}", names.join(", "))));
    };
    let mut key = format!("{name}:").into_bytes();
    match (field.kind, &field.key) {
        (StateKind::Map | StateKind::Set, Some(schema)) => {
            // Numbers are read from texts too; whatever has parts is JSON.
            let value = Value::String(entry.into());
            let encoded =
                schema.encode(&value, "the entry").or_else(|error| match serde_json::from_str(entry) {
                    Ok(value) => schema.encode(&value, "the entry"),
                    Err(_) => Err(error),
                });
            key.extend(encoded.map_err(|error| CliError::usage(error.to_string()))?);
        }
        (StateKind::Vector, _) => {
            let index: u64 = entry.parse().map_err(|_| {
                CliError::usage(format!("the entry: expected an index of the vector {name}, got {entry:?}"))
            })?;
            key.extend(index.to_be_bytes());
        }
        (StateKind::Item, _) => {
            return Err(CliError::usage(format!("{name} is a single value and has no entries"))
                .hint("leave the entry out"));
        }
        (StateKind::OrderedMap | StateKind::Map | StateKind::Set, _) => {
            return Err(CliError::usage(format!("entries of {name} are stored under sorting keys"))
                .hint(format!("give the whole key: 0x and the bytes of `{name}:` and of the sorting key")));
        }
    }
    Ok(key)
}

fn proof_file(view: &StateView) -> Result<ProofFile, CliError> {
    let bad = |what: &str| CliError::new(ExitKind::Unreachable, format!("the node's answer holds no {what}"));
    let proof = view.proof.as_ref().ok_or_else(|| bad("proof"))?;
    let path: TreeProof = borsh::from_slice(&proof.merkle.0).map_err(|_| bad("readable Merkle proof"))?;
    let certificate: Certificate =
        borsh::from_slice(&proof.certificate.0).map_err(|_| bad("readable certificate"))?;
    let proof = StateProof {
        key: proof.state_key.0.clone(),
        value: view.value.as_ref().map(|value| value.0.clone()),
        path,
        header: proof.header.clone().into(),
        certificate: Some(certificate),
    };
    Ok(ProofFile {
        app: view.app.clone(),
        key: view.key.clone(),
        value: view.value.clone(),
        height: view.height,
        block: proof.header.id(),
        proof: HexBytes(proof.encode()),
    })
}

fn verify(args: &VerifyArgs, context: &Context) -> Result<(), CliError> {
    let trust = match (&args.block, &args.genesis) {
        (Some(block), _) => Trust::Block(*block),
        (None, Some(path)) => {
            let genesis =
                purlin_service::read_genesis(path).map_err(|error| CliError::failure(error.to_string()))?;
            if let ConsensusRules::Pow(_) = genesis.parameters.consensus {
                return Err(CliError::usage(
                    "a genesis with proof of work names nobody whose signatures could show that a block is final",
                )
                .hint("ask nodes that you trust for the block, and give its id with --block ID"));
            }
            let validators = genesis.validator_set().map_err(|error| CliError::failure(error.to_string()))?;
            Trust::Validators(validators, genesis.chain_id)
        }
        (None, None) => return Err(CliError::usage("nothing to trust: give --block ID or --genesis FILE")),
    };
    let text = read_limited(&args.file)?;
    let verified = check(&text, &trust).map_err(|reason| {
        CliError::new(ExitKind::CheckFailed, format!("{} proves nothing: {reason}", args.file.display()))
            .hint("the file was altered, or is about another chain; ask the node for a new proof")
    })?;
    let (file, value) = verified;
    context.output.result(
        || {
            json!({
                "verified": true, "app": file.app, "key": file.key, "value": file.value, "height": value.height,
                "block": value.block, "block_time": value.block_time,
            })
        },
        || {
            let held = file.value.as_ref().map_or("nothing".to_string(), ToString::to_string);
            let key = readable(&file.key);
            let (app, height, block) = (&file.app, value.height, value.block);
            format!("verified: {app} {key} held {held} after height {height}, by block {block}")
        },
    );
    Ok(())
}

/// Checks a proof file; the error says why it proves nothing.
fn check(text: &str, trust: &Trust) -> Result<(ProofFile, VerifiedValue), String> {
    let file: ProofFile =
        serde_json::from_str(text).map_err(|error| format!("it is not a proof file: {error}"))?;
    // Digits in another case and the like would be read as the same; a proof has one form.
    let again = serde_json::to_value(&file).map_err(|error| error.to_string())?;
    if serde_json::from_str::<Value>(text).map_err(|error| error.to_string())? != again {
        return Err("it is not in the form that `purlin state get` writes".into());
    }
    let proof = StateProof::decode(&file.proof.0).map_err(|error| error.to_string())?;
    let verified = proof.verify(trust).map_err(|error| error.to_string())?;
    let said = (
        StateKey::app_storage(&file.app, &file.key.0),
        file.value.as_ref().map(|value| value.0.clone()),
        file.height,
        file.block,
    );
    let shown = (verified.key.clone(), verified.value.clone(), verified.height, verified.block);
    if said != shown {
        return Err("what it says is not what its proof shows".into());
    }
    Ok((file, verified))
}

fn read_limited(path: &Path) -> Result<String, CliError> {
    use std::io::Read;
    let file = std::fs::File::open(path).attempt(|| format!("open {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(PROOF_FILE_BYTES_MAX).read_to_end(&mut bytes).attempt(|| format!("read {}", path.display()))?;
    String::from_utf8(bytes).map_err(|_| {
        CliError::new(ExitKind::CheckFailed, format!("{} proves nothing: it is not text", path.display()))
    })
}

fn shown(view: &StateView) -> String {
    match (&view.decoded, &view.value) {
        (Some(Value::String(text)), _) => text.clone(),
        (Some(value), _) => value.to_string(),
        (None, Some(bytes)) => bytes.to_string(),
        (None, None) => "nothing".into(),
    }
}

fn readable(key: &HexBytes) -> String {
    match std::str::from_utf8(&key.0) {
        Ok(text) if !text.chars().any(char::is_control) => text.into(),
        _ => key.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_primitives::{
        BlockHeader, Hash32, PublicKey, Seal, SecretKey, TimestampMs, Validator, ValidatorSet,
    };
    use purlin_state::{Changes, MemoryStore, MerkleTree, StateTree, WriteBatch};
    use purlin_state::{Durability, KeyValueStore};
    use std::sync::Arc;

    fn only(public_key: PublicKey) -> ValidatorSet {
        ValidatorSet::new(vec![Validator { public_key, account: public_key.account_id(), power: 1 }]).unwrap()
    }

    /// A proof file about `counter`'s `count`, and what to trust.
    fn proven() -> (String, Vec<Trust>) {
        let app: AppId = "counter".parse().unwrap();
        let key = StateKey::app_storage(&app, b"count");
        let value = 42u64.to_le_bytes().to_vec();
        let store = Arc::new(MemoryStore::default());
        let tree = MerkleTree::new(store.clone());
        let mut changes = Changes::new();
        changes.insert(key.clone(), Some(value.clone()));
        changes.insert(vec![7; 9], Some(vec![1]));
        let mut batch = WriteBatch::default();
        let version = tree.update(&tree.empty(), Height::new(4), &changes, &mut batch).unwrap();
        store.write(batch, Durability::Synced).unwrap();
        let validator = SecretKey::from_bytes(&[9; 32]).unwrap();
        let header = BlockHeader {
            chain_id: "dev".parse().unwrap(),
            height: Height::new(5),
            parent: BlockId::ZERO,
            time: TimestampMs::new(1),
            proposer: validator.public_key().account_id(),
            transactions_root: Hash32::ZERO,
            state_root: tree.root(&version),
            receipts_root: Hash32::ZERO,
            seal: Seal::FIRST_ROUND,
        };
        let block = header.id();
        let mut certificate = Certificate { block, height: header.height, round: 0, signatures: Vec::new() };
        certificate.signatures = vec![validator.sign_vote(certificate.vote(&header.chain_id)).into()];
        let proof = StateProof {
            path: tree.prove(&version, &key).unwrap(),
            key,
            value: Some(value.clone()),
            certificate: Some(certificate),
            header,
        };
        let file = ProofFile {
            app,
            key: HexBytes(b"count".to_vec()),
            value: Some(HexBytes(value)),
            height: Height::new(4),
            block,
            proof: HexBytes(proof.encode()),
        };
        let validators = only(validator.public_key());
        let trust = vec![Trust::Block(block), Trust::Validators(validators, "dev".parse().unwrap())];
        (serde_json::to_string(&file).unwrap(), trust)
    }

    #[test]
    fn a_proof_holds_and_no_byte_of_its_file_can_be_flipped() {
        let (text, trusts) = proven();
        for trust in &trusts {
            check(&text, trust).unwrap();
            for position in 0..text.len() {
                for bit in [0, 1, 5] {
                    let mut bytes = text.clone().into_bytes();
                    bytes[position] ^= 1 << bit;
                    let Ok(flipped) = String::from_utf8(bytes) else { continue };
                    assert!(check(&flipped, trust).is_err(), "bit {bit} of byte {position} is not bound");
                }
            }
        }
    }

    #[test]
    fn another_block_or_validator_is_not_trusted() {
        let (text, _) = proven();
        let other = SecretKey::from_bytes(&[8; 32]).unwrap().public_key();
        let validators = only(other);
        assert!(check(&text, &Trust::Block(BlockId::ZERO)).is_err());
        assert!(check(&text, &Trust::Validators(validators, "dev".parse().unwrap())).is_err());
    }

    #[test]
    fn entries_are_found_by_the_schema() {
        let schema = AppSchema::parse(
            br#"{"abi":1,"name":"T","methods":[],"state":[
                {"name":"ages","kind":"map","key":{"x-borsh":"u32"},"value":{"x-borsh":"u8"}},
                {"name":"list","kind":"vector","value":{"x-borsh":"u8"}},
                {"name":"one","kind":"item","value":{"x-borsh":"u8"}}]}"#,
        )
        .unwrap();
        assert_eq!(entry_key(&schema, "ages", "5").unwrap(), b"ages:\x05\0\0\0");
        assert_eq!(entry_key(&schema, "list", "1").unwrap(), b"list:\0\0\0\0\0\0\0\x01");
        for (name, entry) in [("ages", "old"), ("list", "x"), ("one", "1"), ("none", "1")] {
            assert!(entry_key(&schema, name, entry).is_err(), "{name} {entry}");
        }
    }
}
