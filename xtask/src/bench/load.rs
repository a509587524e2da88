//! Token transfers from many accounts through the API into durable blocks.

use anyhow::{Context, Result, bail, ensure};
use purlin_client::{Client, Endpoint, TransactionOptions};
use purlin_primitives::{AccountId, Action, Amount, AppId, ChainId, Gas, Height, SecretKey, TransactionBody};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{anvil, process};
use crate::command::root;
use crate::node::{Purlin, RunningNode};

/// Gas of one token transfer with room to spare.
const TRANSFER_GAS: Gas = Gas::new(3_000_000);
/// Transactions of one batch request.
pub(super) const BATCH: usize = 500;
/// How long the node may take to commit what was accepted.
pub(super) const COMMIT_TIMEOUT: Duration = Duration::from_secs(300);

/// How transactions are sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Load {
    /// One per request, over several connections.
    Single,
    /// Many per request, over one connection.
    Batched,
}

/// The loads, in the order in which they are run.
pub(super) const LOADS: [Load; 2] = [Load::Single, Load::Batched];

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Single => "one per request",
            Self::Batched => "batched",
        }
    }
}

/// Runs both loads and prints their tables, beside those of `anvil` where that program is given.
pub(super) fn run(
    program: &Path,
    folder: &Path,
    accounts: usize,
    connections: usize,
    anvil: Option<&Path>,
) -> Result<()> {
    println!(
        "\n## One node: token transfers from {accounts} accounts, {connections} connections, durable blocks\n"
    );
    let peer = anvil.map(|anvil| anvil::run(anvil, accounts, connections)).transpose()?;
    let purlin = Purlin::new(program.to_path_buf(), folder.join("load"));
    let log = folder.join("load.log");
    let node = purlin.start(&["dev", "--api", "127.0.0.1:0", "--json", "--log", "warn"], &log)?;
    let api = ready_address(&std::fs::read_to_string(&log)?)?;
    let token = purlin.json(&["token", "create", "bench", "--scope", "admin"])?;
    let token = token["token"].as_str().context("token create prints the token")?.to_string();
    let path = root().join("apps/token").display().to_string();
    purlin.output(&[
        "app",
        "install",
        "--path",
        &path,
        "--args",
        r#"{"name":"Bench","symbol":"B","decimals":0,"supply":"1000000000000"}"#,
    ])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let client = Client::new(api.parse::<Endpoint>()?, Some(token));
        measure(&client, &node, accounts, connections, peer.as_deref()).await
    })?;
    node.stop()
}

pub(crate) fn ready_address(log: &str) -> Result<String> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|line| line["api"].as_str().map(String::from))
        .with_context(|| format!("the node did not say where its API is:\n{log}"))
}

async fn measure(
    client: &Client,
    node: &RunningNode,
    accounts: usize,
    connections: usize,
    peer: Option<&[anvil::Measured]>,
) -> Result<()> {
    let status = client.status().await?;
    let keys: Vec<SecretKey> = (0..accounts).map(key).collect();
    fund(client, &keys).await?;
    println!("{:<26} {:>9} {:>9} {:>14} {:>12}", "", "tx/s", "of anvil", "node CPU us/tx", "failed");
    let mut stages = Vec::new();
    for (nonce, load) in LOADS.into_iter().enumerate() {
        let name = load.name();
        let signed = sign_all(&keys, &status.chain_id, nonce as u64, status.height)?;
        let before = Counters::read(client).await?;
        let cpu = process::cpu_time(node.id())?;
        let start = Instant::now();
        match load {
            Load::Single => submit_single(client, signed, connections).await?,
            Load::Batched => submit_batched(client, &signed).await?,
        }
        let after = wait_for(client, before.committed + accounts as f64).await?;
        let seconds = start.elapsed().as_secs_f64();
        let cpu = process::cpu_time(node.id())? - cpu;
        let rate = accounts as f64 / seconds;
        let failed = after.failed - before.failed;
        let anvil = peer.and_then(|peer| peer.get(nonce));
        let ratio = anvil.map_or_else(|| "-".to_owned(), |anvil| format!("{:.2}x", rate / anvil.rate));
        let cpu = cpu.as_secs_f64() * 1e6 / accounts as f64;
        println!("{name:<26} {rate:>9.0} {ratio:>9} {cpu:>14.0} {failed:>12}");
        if let Some(anvil) = anvil {
            let (name, cpu) = ("  anvil, block per second", anvil.cpu.as_secs_f64() * 1e6);
            println!("{name:<26} {:>9.0} {:>9} {cpu:>14.0} {:>12}", anvil.rate, "1.00x", 0);
        }
        ensure!(failed == 0.0, "{failed} transfers failed, so the figure means nothing");
        stages.push((name, before, after));
    }
    if peer.is_none() {
        println!("\nfor the ratio to anvil in the same run: {}", anvil::HINT);
    }
    println!("\nus per transaction and stage:\n");
    println!(
        "{:<18} {}",
        "",
        stages[0].2.stages.keys().map(|stage| format!("{stage:>10}")).collect::<String>()
    );
    for (name, before, after) in &stages {
        let cells = after.stages.iter().map(|(stage, seconds)| {
            let spent = seconds - before.stages.get(stage).copied().unwrap_or_default();
            format!("{:>10.1}", spent * 1e6 / accounts as f64)
        });
        println!("{name:<18} {}", cells.collect::<String>());
    }
    println!(
        "\nblocks: {} and {}; memory after the load: {:.0} MiB",
        stages[0].2.blocks - stages[0].1.blocks,
        stages[1].2.blocks - stages[1].1.blocks,
        process::resident_mib(node.id())?
    );
    Ok(())
}

/// Gives every account tokens, many transfers to a transaction.
pub(crate) async fn fund(client: &Client, keys: &[SecretKey]) -> Result<()> {
    let seed: [u8; 32] = Sha256::digest("purlin.development.key:alice").into();
    let alice = SecretKey::from_bytes(&seed)?;
    for chunk in keys.chunks(60) {
        let actions = chunk.iter().map(|key| transfer(key.public_key().account_id(), 1_000)).collect();
        let options = TransactionOptions { gas_limit: Some(Gas::new(400_000_000)), ..Default::default() };
        let transaction = client.sign(&alice, actions, &options).await?;
        let committed = client.submit_and_wait(&transaction).await?;
        let succeeded = committed.receipt.as_ref().is_some_and(|receipt| receipt.succeeded());
        ensure!(succeeded, "funding failed: {:?}", committed.receipt);
    }
    Ok(())
}

fn transfer(to: AccountId, amount: u128) -> Action {
    let app: AppId = "token".parse().expect("a valid id");
    let arguments = borsh::to_vec(&(to, Amount::new(amount))).expect("writing to memory cannot fail");
    Action::CallApp { app, method: "transfer".into(), arguments, deposit: Amount::ZERO }
}

/// Signs one transfer per account, to its neighbour.
pub(crate) fn sign_all(
    keys: &[SecretKey],
    chain_id: &ChainId,
    nonce: u64,
    height: Height,
) -> Result<Vec<Vec<u8>>> {
    let accounts: Vec<AccountId> = keys.iter().map(|key| key.public_key().account_id()).collect();
    let signed = keys.iter().enumerate().map(|(index, key)| {
        let body = TransactionBody {
            chain_id: chain_id.clone(),
            sender: accounts[index],
            nonce,
            expires_at: Height::new(height.get() + 50_000),
            gas_limit: TRANSFER_GAS,
            fee: Amount::ZERO,
            access: Vec::new(),
            actions: vec![transfer(accounts[(index + 1) % accounts.len()], 1)],
        };
        key.sign_transaction(body).encode()
    });
    Ok(signed.collect())
}

async fn submit_single(client: &Client, signed: Vec<Vec<u8>>, connections: usize) -> Result<()> {
    let signed = Arc::new(signed);
    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..connections)
        .map(|_| {
            let (client, signed, next) = (client.clone(), signed.clone(), next.clone());
            tokio::spawn(async move {
                while let Some(bytes) = signed.get(next.fetch_add(1, Ordering::Relaxed)) {
                    client.submit_bytes(bytes.clone()).await?;
                }
                Ok::<(), purlin_client::ClientError>(())
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    Ok(())
}

pub(crate) async fn submit_batched(client: &Client, signed: &[Vec<u8>]) -> Result<()> {
    for batch in signed.chunks(BATCH) {
        let result = client.submit_batch(batch).await?;
        if let Some(problem) = result.results.iter().find_map(|item| item.problem.as_ref()) {
            bail!("a transfer was refused: {}", problem.detail);
        }
    }
    Ok(())
}

/// The node's counters that the tables need.
#[derive(Debug, Clone)]
pub(crate) struct Counters {
    pub(crate) committed: f64,
    pub(super) failed: f64,
    pub(super) blocks: f64,
    /// Seconds by stage.
    pub(crate) stages: BTreeMap<String, f64>,
}

impl Counters {
    /// Asks the node.
    pub(crate) async fn read(client: &Client) -> Result<Self> {
        let text = client.metrics().await?;
        let value = |name: &str| -> Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            Ok(line.with_context(|| format!("the node has no metric {name}"))?.parse()?)
        };
        let mut stages = BTreeMap::new();
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("purlin_stage_seconds_sum{stage=\"") else { continue };
            let (stage, seconds) = rest.split_once("\"} ").context("a metric line")?;
            stages.insert(stage.to_string(), seconds.parse()?);
        }
        Ok(Self {
            committed: value("purlin_transactions_committed_total")?,
            failed: value("purlin_transactions_failed_total")?,
            blocks: value("purlin_blocks_total")?,
            stages,
        })
    }
}

pub(crate) async fn wait_for(client: &Client, committed: f64) -> Result<Counters> {
    let deadline = Instant::now() + COMMIT_TIMEOUT;
    loop {
        let counters = Counters::read(client).await?;
        if counters.committed >= committed {
            return Ok(counters);
        }
        ensure!(
            Instant::now() < deadline,
            "only {} of {committed} transactions were committed",
            counters.committed
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn key(index: usize) -> SecretKey {
    let seed: [u8; 32] = Sha256::digest(format!("purlin bench account {index}")).into();
    SecretKey::from_bytes(&seed).expect("a hash is a key but once in 2^128")
}
