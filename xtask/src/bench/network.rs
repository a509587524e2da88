//! Four validators on this machine beside one: throughput, time to finality, bytes, memory.

use anyhow::{Context, Result, ensure};
use purlin_client::{Client, TransactionOptions};
use purlin_primitives::{Action, Amount, Gas, SecretKey, Transaction};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::load::{self, Counters};
use super::process;
use crate::cluster::Cluster;
use crate::command::root;

/// Transfers of every account in the measured load.
const ROUNDS: u64 = 4;
/// Transactions sent one after another to a quiet network.
const IDLE_PROBES: usize = 50;
/// Signatures checked to know what one processor can do.
const SIGNATURES: usize = 2_000;
/// How long all nodes may take to have a block.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// What one network did.
struct Figures {
    rate: f64,
    idle: Vec<Duration>,
    loaded: Vec<Duration>,
    wire_bytes: f64,
    cpu_us: f64,
    memory_mib: Vec<(f64, f64)>,
    blocks: f64,
}

/// Measures a network of one and one of four, and prints the table. With `soak` the second goes on for so many
/// minutes, and its memory is printed each minute.
pub(super) fn run(program: &Path, folder: &Path, accounts: usize, soak: Option<u64>) -> Result<()> {
    println!(
        "\n## Networks on loopback: token transfers from {accounts} accounts, {ROUNDS} each, durable blocks\n"
    );
    let keys: Vec<SecretKey> = (0..accounts).map(load::key).collect();
    let processors = std::thread::available_parallelism()?.get();
    let signatures = signatures_per_second(&keys)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut all = Vec::new();
    for validators in [1u16, 4] {
        let folder = folder.join(format!("net{validators}"));
        std::fs::create_dir_all(&folder)?;
        let (mut cluster, _) = Cluster::new(program, &folder, validators, &[])?;
        cluster.start_all()?;
        let token = root().join("apps/token").display().to_string();
        let supply = r#"{"name":"Bench","symbol":"B","decimals":0,"supply":"1000000000000"}"#;
        cluster
            .purlin(1)
            .output(&["app", "install", "--path", &token, "--args", supply, "--from", "alice"])?;
        let figures = runtime.block_on(measure(&cluster, &keys))?;
        all.push((validators, figures));
        if let Some(minutes) = soak.filter(|_| validators > 1) {
            runtime.block_on(keep_loaded(&cluster, &keys, minutes))?;
        }
        cluster.stop_all()?;
    }
    print(&all, signatures, processors);
    Ok(())
}

fn print(all: &[(u16, Figures)], signatures: f64, processors: usize) {
    println!("one processor checks {signatures:.0} signatures/s; this machine has {processors}\n");
    println!(
        "{:<11} {:>7} {:>8} {:>12} {:>22} {:>22} {:>9} {:>9} {:>7}",
        "validators",
        "tx/s",
        "vs one",
        "vs sig bound",
        "idle p50/p99 ms",
        "loaded p50/p99 ms",
        "wire B/tx",
        "CPU us/tx",
        "blocks"
    );
    let one = all.first().map_or(1.0, |(_, figures)| figures.rate);
    for (validators, figures) in all {
        // Every node checks every signature, and all share the processors.
        let bound = signatures * processors as f64 / f64::from(*validators);
        let times = |sorted: &[Duration]| {
            format!(
                "{:.0}/{:.0}",
                percentile(sorted, 50).as_secs_f64() * 1e3,
                percentile(sorted, 99).as_secs_f64() * 1e3
            )
        };
        println!(
            "{validators:<11} {:>7.0} {:>7.2}x {:>11.2}x {:>22} {:>22} {:>9.0} {:>9.0} {:>7.0}",
            figures.rate,
            figures.rate / one,
            figures.rate / bound,
            times(&figures.idle),
            times(&figures.loaded),
            figures.wire_bytes,
            figures.cpu_us,
            figures.blocks
        );
    }
    println!("\nmemory of each node before and after the load, MiB:");
    for (validators, figures) in all {
        let cells: Vec<String> =
            figures.memory_mib.iter().map(|(before, after)| format!("{before:.0} -> {after:.0}")).collect();
        println!("{validators:<11} {}", cells.join("   "));
    }
    println!(
        "\nTime to finality is from sending to the answer that it is committed. Wire bytes are what passed over loopback,\n\
         all nodes together; the load reaches the nodes through unix sockets. The load generator shares the processors."
    );
}

async fn measure(cluster: &Cluster, keys: &[SecretKey]) -> Result<Figures> {
    let clients: Vec<Client> = (1..=cluster.len()).map(|node| cluster.client(node)).collect();
    let first = clients.first().context("a network has nodes")?;
    load::fund(first, keys).await?;
    cluster.reach(cluster.height(1)?, BLOCK_TIMEOUT)?;

    let mut idle = Vec::new();
    let mut prober = Prober::new(clients.clone());
    for _ in 0..IDLE_PROBES {
        idle.push(prober.probe().await?);
    }
    idle.sort();

    let status = first.status().await?;
    let mut signed = Vec::new();
    for nonce in 0..ROUNDS {
        signed.push(load::sign_all(keys, &status.chain_id, nonce, status.height)?);
    }
    let ids: Vec<u32> = (1..=cluster.len()).filter_map(|node| cluster.process(node)).collect();
    let memory = || ids.iter().map(|id| process::resident_mib(*id)).collect::<Result<Vec<f64>>>();
    let cpu = || ids.iter().map(|id| process::cpu_time(*id)).sum::<Result<Duration>>();
    let (memory_before, cpu_before, wire_before) = (memory()?, cpu()?, process::loopback_bytes()?);
    let before = Counters::read(first).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let probing = tokio::spawn(probe_until(prober, Arc::clone(&stop)));
    let start = Instant::now();
    let total = signed.len() * keys.len();
    send_rounds(&clients, &signed).await?;
    let after = load::wait_for(first, before.committed + total as f64).await?;
    let seconds = start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let mut loaded = probing.await??;
    loaded.sort();
    ensure!(after.failed == before.failed, "transfers failed, so the figure means nothing");
    // The others may be a block behind.
    cluster.reach(cluster.height(1)?, BLOCK_TIMEOUT)?;
    let (cpu, wire) = (cpu()? - cpu_before, process::loopback_bytes()? - wire_before);
    Ok(Figures {
        rate: total as f64 / seconds,
        idle,
        loaded,
        wire_bytes: wire as f64 / total as f64,
        cpu_us: cpu.as_secs_f64() * 1e6 / total as f64,
        memory_mib: memory_before.into_iter().zip(memory()?).collect(),
        blocks: after.blocks - before.blocks,
    })
}

/// Sends each node its share of the accounts, so that an account's transactions reach one node in order.
async fn send_rounds(clients: &[Client], rounds: &[Vec<Vec<u8>>]) -> Result<()> {
    let senders: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(index, client)| {
            let share = |round: &Vec<Vec<u8>>| {
                let size = round.len().div_ceil(clients.len());
                round.chunks(size).nth(index).map(<[_]>::to_vec).unwrap_or_default()
            };
            let rounds: Vec<Vec<Vec<u8>>> = rounds.iter().map(share).collect();
            let client = client.clone();
            tokio::spawn(async move {
                for round in rounds {
                    load::submit_batched(&client, &round).await?;
                }
                Ok::<(), anyhow::Error>(())
            })
        })
        .collect();
    for sender in senders {
        sender.await??;
    }
    Ok(())
}

/// Keeps a network busy and prints its memory.
async fn keep_loaded(cluster: &Cluster, keys: &[SecretKey], minutes: u64) -> Result<()> {
    println!("\n{minutes} minutes of load on {} validators, MiB of each node:", cluster.len());
    let clients: Vec<Client> = (1..=cluster.len()).map(|node| cluster.client(node)).collect();
    let start = Instant::now();
    let (mut sent, mut nonce, mut shown) = (0usize, ROUNDS, 0u64);
    while start.elapsed() < Duration::from_secs(minutes * 60) {
        let status = clients[0].status().await?;
        let before = Counters::read(&clients[0]).await?;
        let signed = load::sign_all(keys, &status.chain_id, nonce, status.height)?;
        send_rounds(&clients, &[signed]).await?;
        load::wait_for(&clients[0], before.committed + keys.len() as f64).await?;
        (sent, nonce) = (sent + keys.len(), nonce + 1);
        let minute = start.elapsed().as_secs() / 60;
        if minute > shown {
            shown = minute;
            let cells = (1..=cluster.len())
                .filter_map(|node| cluster.process(node))
                .map(|id| Ok(format!("{:>6.0}", process::resident_mib(id)?)))
                .collect::<Result<Vec<String>>>()?;
            println!("{minute:>4} min {} {sent:>9} transactions", cells.join(" "));
        }
    }
    Ok(())
}

/// Sends one transaction after another, to each node in turn, and measures until it is final.
struct Prober {
    clients: Vec<Client>,
    next: usize,
    key: SecretKey,
}

impl Prober {
    fn new(clients: Vec<Client>) -> Self {
        Self { clients, next: 0, key: load::key(usize::MAX) }
    }

    async fn probe(&mut self) -> Result<Duration> {
        let client = &self.clients[self.next % self.clients.len()];
        let actions = vec![Action::Transfer { to: self.key.public_key().account_id(), amount: Amount::ZERO }];
        let options = TransactionOptions { gas_limit: Some(Gas::new(1_000_000)), ..Default::default() };
        // Signed with the nonce of the node that has it final already.
        let signed: Transaction = client.sign(&self.key, actions, &options).await?;
        let start = Instant::now();
        client.submit_and_wait(&signed).await?;
        Ok(start.elapsed())
    }
}

async fn probe_until(mut prober: Prober, stop: Arc<AtomicBool>) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        times.push(prober.probe().await?);
    }
    Ok(times)
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

/// Checks signatures on one thread, as a node does.
fn signatures_per_second(keys: &[SecretKey]) -> Result<f64> {
    let chain_id = "dev-net".parse().expect("a valid name");
    let keys: Vec<SecretKey> = keys.iter().cycle().take(SIGNATURES).cloned().collect();
    let signed = load::sign_all(&keys, &chain_id, 0, purlin_primitives::Height::ZERO)?;
    let decoded = signed.iter().map(|bytes| Ok(Transaction::decode(bytes)?)).collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    for transaction in decoded {
        transaction.verify(&chain_id)?;
    }
    Ok(SIGNATURES as f64 / start.elapsed().as_secs_f64())
}
