//! The same load on anvil, Foundry's Ethereum node for developers: ERC-20 transfers, in memory and unsynced.

use alloy_rlp::{Encodable, Header};
use anyhow::{Context, Result, bail, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use k256::ecdsa::SigningKey;
use purlin_primitives::{AccountId, SecretKey};
use serde_json::{Value, json};
use sha3::{Digest, Keccak256};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

use super::load::{BATCH, COMMIT_TIMEOUT, LOADS, Load};
use super::process;

/// How to get the program.
pub(super) const HINT: &str = "npm install @foundry-rs/anvil, then --anvil node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil (the program itself, \
     not npm's script)";

const CHAIN: u64 = 31_337;
/// Where the token lies.
const TOKEN: [u8; 20] = [0x70; 20];
/// `transfer(address,uint256)`.
const TRANSFER: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];
const TRANSFER_GAS: u64 = 100_000;
const BLOCK_GAS: u64 = 1_000_000_000;

/// What one load did.
pub(super) struct Measured {
    pub(super) rate: f64,
    pub(super) cpu: Duration,
}

/// Runs both loads, in the order of [`LOADS`].
pub(super) fn run(program: &Path, accounts: usize, connections: usize) -> Result<Vec<Measured>> {
    let anvil = Anvil::start(program)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(measure(&anvil, accounts, connections))
}

async fn measure(anvil: &Anvil, accounts: usize, connections: usize) -> Result<Vec<Measured>> {
    let mut rpc = anvil.connect().await?;
    let keys: Vec<SecretKey> = (0..accounts).map(super::load::key).collect();
    rpc.one("anvil_setCode", json!([hex(&TOKEN), hex(&erc20())])).await?;
    for chunk in keys.chunks(BATCH) {
        let balances = chunk.iter().map(|key| {
            let slot = balance_slot(key.public_key().account_id());
            ("anvil_setStorageAt", json!([hex(&TOKEN), hex(&slot), hex(&word(&1_000u64.to_be_bytes()))]))
        });
        rpc.many(balances.collect()).await?;
    }
    let mut measured = Vec::new();
    for (nonce, load) in LOADS.into_iter().enumerate() {
        let signed = Arc::new(sign_all(&keys, nonce as u64)?);
        let first = rpc.height().await? + 1;
        let cpu = process::cpu_time(anvil.child.id())?;
        let start = Instant::now();
        match load {
            Load::Single => {
                let next = Arc::new(AtomicUsize::new(0));
                let mut workers = Vec::new();
                for _ in 0..connections {
                    let (signed, next, mut rpc) = (signed.clone(), next.clone(), anvil.connect().await?);
                    workers.push(tokio::spawn(async move {
                        while let Some(transaction) = signed.get(next.fetch_add(1, Ordering::Relaxed)) {
                            rpc.one("eth_sendRawTransaction", json!([transaction])).await?;
                        }
                        anyhow::Ok(())
                    }));
                }
                for worker in workers {
                    worker.await??;
                }
            }
            Load::Batched => {
                for chunk in signed.chunks(BATCH) {
                    let calls = chunk.iter().map(|signed| ("eth_sendRawTransaction", json!([signed])));
                    rpc.many(calls.collect()).await?;
                }
            }
        }
        rpc.wait_for(first, accounts).await?;
        let seconds = start.elapsed().as_secs_f64();
        let cpu = process::cpu_time(anvil.child.id())? - cpu;
        measured.push(Measured { rate: accounts as f64 / seconds, cpu: cpu / accounts as u32 });
        rpc.check_receipts(first).await?;
    }
    Ok(measured)
}

/// A process of anvil; killed when dropped.
struct Anvil {
    child: Child,
    address: String,
}

impl Anvil {
    fn start(program: &Path) -> Result<Self> {
        let mut start = [0; 2];
        let opened =
            std::fs::File::open(program).with_context(|| format!("no program {}", program.display()))?;
        ensure!(
            opened.take(2).read(&mut start)? == 2 && &start != b"#!",
            "{} is a script, whose processor time would be measured instead of anvil's; {HINT}",
            program.display()
        );
        let mut child = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", "0", "--gas-price", "0", "--block-base-fee-per-gas", "0"])
            // By a timer, the only way in which it got through ten thousand here; up to a second of waiting is in its
            // rate, and none in its processor time.
            .args(["--block-time", "1"])
            .args(["--chain-id", &CHAIN.to_string(), "--gas-limit", &BLOCK_GAS.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("could not start anvil")?;
        let output = child.stdout.take().context("anvil has an output")?;
        let mut anvil = Self { child, address: String::new() };
        let mut lines = BufReader::new(output).lines();
        for line in lines.by_ref() {
            if let Some(address) = line?.strip_prefix("Listening on ") {
                anvil.address = address.trim().to_owned();
                break;
            }
        }
        ensure!(!anvil.address.is_empty(), "anvil ended without listening");
        // It logs every request, and would stand still if nobody read that.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(anvil)
    }

    async fn connect(&self) -> Result<Rpc> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with the connection; its error reaches whoever waits for an answer.
        tokio::spawn(connection);
        Ok(Rpc { sender, host: self.address.clone() })
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It is gone already, or about to be; nothing else can be done about it here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// JSON-RPC 2.0 over one connection.
struct Rpc {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Rpc {
    async fn one(&mut self, method: &str, params: Value) -> Result<Value> {
        let answer = self.send(&request(0, method, params)).await?;
        result(answer)
    }

    async fn many(&mut self, calls: Vec<(&str, Value)>) -> Result<Vec<Value>> {
        let calls = calls.into_iter().enumerate().map(|(id, (method, params))| request(id, method, params));
        match self.send(&calls.collect()).await? {
            Value::Array(answers) => answers.into_iter().map(result).collect(),
            other => bail!("a batch was answered with {other}"),
        }
    }

    async fn send(&mut self, body: &Value) -> Result<Value> {
        self.sender.ready().await?;
        let request = hyper::Request::post("/")
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(body)?)))?;
        let answer = self.sender.send_request(request).await?;
        Ok(serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?)
    }

    async fn height(&mut self) -> Result<u64> {
        number(&self.one("eth_blockNumber", json!([])).await?)
    }

    /// Waits until the blocks from `height` on hold so many transactions.
    async fn wait_for(&mut self, mut height: u64, transactions: usize) -> Result<()> {
        let deadline = Instant::now() + COMMIT_TIMEOUT;
        let mut mined = 0;
        while mined < transactions as u64 {
            ensure!(Instant::now() < deadline, "anvil mined only {mined} of {transactions} transactions");
            if self.height().await? < height {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            let method = "eth_getBlockTransactionCountByNumber";
            mined += number(&self.one(method, json!([format!("{height:#x}")])).await?)?;
            height += 1;
        }
        Ok(())
    }

    /// Fails unless every transaction of a block did what it was for.
    async fn check_receipts(&mut self, height: u64) -> Result<()> {
        let receipts = self.one("eth_getBlockReceipts", json!([format!("{height:#x}")])).await?;
        let receipts = receipts.as_array().context("a list of receipts")?;
        let good = |receipt: &Value| {
            receipt["status"] == "0x1" && receipt["logs"].as_array().is_some_and(|logs| logs.len() == 1)
        };
        ensure!(!receipts.is_empty() && receipts.iter().all(good), "transfers failed on anvil: {receipts:?}");
        Ok(())
    }
}

fn request(id: usize, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn result(mut answer: Value) -> Result<Value> {
    match answer.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => bail!("anvil refused: {answer}"),
    }
}

fn number(value: &Value) -> Result<u64> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    Ok(u64::from_str_radix(digits.with_context(|| format!("no number: {value}"))?, 16)?)
}

/// Signs one transfer per account, to its neighbour, as legacy transactions (EIP-155).
fn sign_all(keys: &[SecretKey], nonce: u64) -> Result<Vec<String>> {
    let accounts: Vec<AccountId> = keys.iter().map(|key| key.public_key().account_id()).collect();
    let signed = keys.iter().enumerate().map(|(index, key)| {
        let to = accounts[(index + 1) % accounts.len()];
        let data = [&TRANSFER[..], &word(to.as_bytes()), &word(&[1])].concat();
        let fields: [&dyn Encodable; 6] =
            [&nonce, &0u64, &TRANSFER_GAS, &&TOKEN[..], &0u64, &data.as_slice()];
        let digest = Keccak256::digest(rlp(&[&fields[..], &[&CHAIN, &0u64, &0u64]].concat()));
        let (signature, recovery) =
            SigningKey::from_slice(&*key.to_bytes())?.sign_prehash_recoverable(&digest);
        let (r, s) = signature.split_bytes();
        let v = CHAIN * 2 + 35 + u64::from(recovery.to_byte());
        Ok(hex(&rlp(&[&fields[..], &[&v, &integer(&r), &integer(&s)]].concat())))
    });
    signed.collect()
}

fn rlp(fields: &[&dyn Encodable]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let payload_length = fields.iter().map(|field| field.length()).sum();
    Header { list: true, payload_length }.encode(&mut bytes);
    fields.iter().for_each(|field| field.encode(&mut bytes));
    bytes
}

/// RLP writes integers without leading zeros.
fn integer(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]
}

/// A number or address as a word of the EVM.
fn word(bytes: &[u8]) -> [u8; 32] {
    let mut word = [0; 32];
    word[32 - bytes.len()..].copy_from_slice(bytes);
    word
}

/// Where `mapping(address => uint256)` in slot 0 keeps an account's balance.
fn balance_slot(account: AccountId) -> [u8; 32] {
    Keccak256::digest([word(account.as_bytes()), [0; 32]].concat()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("0x"), |text, byte| text + &format!("{byte:02x}"))
}

/// The least that is an ERC-20 `transfer`: checks the selector and the balance, moves the amount, logs `Transfer` and
/// returns true. Less work than any compiled contract, so that the comparison favours anvil.
fn erc20() -> Vec<u8> {
    // The destinations of its two jumps are at 0x14 and 0x77.
    let check_selector = "6000 35 60e0 1c 63a9059cbb 14 6014 57 6000 6000 fd 5b";
    let take = "33 6000 52 6040 6000 20 80 54 6024 35 80 82 10 6077 57 80 91 03 90 91 55";
    let give = "6004 35 6000 52 6040 6000 20 80 54 82 01 90 55";
    let topic = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
    let log = format!("6000 52 6004 35 33 7f{topic} 6020 6000 a3");
    let end = "6001 6000 52 6020 6000 f3 5b 6000 6000 fd";
    let digits: Vec<u8> =
        [check_selector, take, give, &log, end].concat().bytes().filter(|byte| *byte != b' ').collect();
    let digit = |byte: u8| (byte as char).to_digit(16).expect("hexadecimal digits") as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
