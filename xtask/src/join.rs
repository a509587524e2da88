//! `cargo xtask join`: a fresh node joins a long chain by replay, and another one by snapshot.

use anyhow::{Context, Result, ensure};
use purlin_api::Status;
use purlin_client::{Client, Endpoint};
use purlin_primitives::{BlockId, Height};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::bench::load::{self, Counters};
use crate::command::{Programs, build_app, root};
use crate::node::{Purlin, RunningNode};

/// Accounts that send; each as often as it takes.
const ACCOUNTS_MAX: usize = 10_000;
/// How long a node may take to catch up.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1_200);
/// How often a joining node is asked where it is.
const POLL: Duration = Duration::from_millis(10);

/// Arguments of `cargo xtask join`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Transfers of the chain that is joined
    #[arg(long, default_value_t = 50_000)]
    transactions: usize,
    /// Blocks between two snapshots of the node that is joined
    #[arg(long, default_value_t = 20)]
    snapshot_blocks: u64,
    /// Keep the folder with all homes and logs, and print where it is
    #[arg(long)]
    keep: bool,
}

/// A node and the way to ask it.
struct Joined {
    node: RunningNode,
    client: Client,
    seconds: f64,
    counters: Counters,
}

/// Makes the chain, joins it in both ways, compares and prints.
pub(crate) fn run(args: &Args) -> Result<()> {
    let program = args.programs.purlin()?;
    build_app(&program, "token")?;
    let mut folder = tempfile::Builder::new().prefix("purlin-join-").tempdir()?;
    folder.disable_cleanup(args.keep);
    if args.keep {
        println!("homes and logs: {}", folder.path().display());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(show(args, &program, folder.path()))
}

async fn show(args: &Args, program: &Path, folder: &Path) -> Result<()> {
    let first = Purlin::new(program.to_path_buf(), folder.join("validator"));
    first.output(&["init", "--chain", "dev-join"])?;
    let log = folder.join("validator.log");
    let snapshots = format!("storage.snapshot_blocks={}", args.snapshot_blocks);
    let node = start(&first, &log, &["--set", &snapshots])?;
    let client = client(&first);
    let load = make_chain(args, &first, &client).await?;
    let target = client.status().await?;
    println!(
        "chain: {} transfers in {} blocks, committed at {load:.0} tx/s; database {:.1} MiB",
        args.transactions,
        target.height,
        mebibytes(&first.home().join("data"))?
    );
    // The newest snapshot may still be in the making; any is good.
    let served = wait_for_snapshot(&first.home().join("snapshots")).await?;
    println!("newest snapshot: {:.2} MiB", served as f64 / f64::from(1 << 20));

    let address = network_address(&log)?;
    println!("\n{:<10} {:>9} {:>9} {:>12}  state root", "join by", "seconds", "tx/s", "database MiB");
    let mut newcomers = Vec::new();
    for method in ["replay", "snapshot"] {
        let purlin = Purlin::new(program.to_path_buf(), folder.join(method));
        let joined = join(&purlin, &first, &address, method, folder, (target.height, target.head_id)).await?;
        let status = joined.client.status().await?;
        let database = mebibytes(&purlin.home().join("data"))?;
        let rate = args.transactions as f64 / joined.seconds;
        let (seconds, root) = (joined.seconds, status.state_root);
        println!("{method:<10} {seconds:>9.2} {rate:>9.0} {database:>12.1}  {root}");
        ensure!(status.state_root == target.state_root, "the roots differ: {}", target.state_root);
        if method == "replay" {
            let of = |stage: &str| joined.counters.stages.get(stage).copied().unwrap_or_default();
            let (execution, signature) = (of("execution"), of("signature"));
            let raw = joined.counters.committed / execution;
            println!(
                "           raw execution {raw:.0} tx/s: replay runs at {:.2} of it; seconds of work by stage: \
                 signature {signature:.1}, execution {execution:.1}, root {:.1}, write {:.1}",
                rate / raw,
                of("root"),
                of("write")
            );
        }
        newcomers.push((purlin, joined));
    }
    println!("all three nodes have the same root at block {}", target.height);
    use_application(&first, &client, &newcomers).await?;
    for (_, joined) in newcomers {
        joined.node.stop()?;
    }
    node.stop()
}

/// Calls the application through the last newcomer, whose code of it came with the snapshot, and asks all for the result.
async fn use_application(first: &Purlin, validator: &Client, newcomers: &[(Purlin, Joined)]) -> Result<()> {
    let (last, _) = newcomers.last().context("nobody joined")?;
    let owner = load::key(0).public_key().account_id().to_string();
    let balance = |purlin: &Purlin| -> Result<u128> {
        let answer = purlin.json(&["app", "query", "token", "balance_of", "--owner", &owner])?;
        Ok(answer["result"].as_str().context("a balance is a decimal string")?.parse()?)
    };
    let before = balance(last)?;
    let node = format!("unix:{}", last.home().join("purlin.sock").display());
    let call = ["app", "call", "token", "transfer", "--to", &owner, "--amount", "1", "--node", &node];
    first.output(&call)?;
    let head = settled(validator).await?;
    for (purlin, joined) in newcomers {
        reach(&joined.client, (head.height, head.head_id)).await?;
        let (root, after) = (joined.client.status().await?.state_root, balance(purlin)?);
        ensure!(root == head.state_root, "after a call the roots differ: {root} and {}", head.state_root);
        ensure!(after == before + 1, "after a transfer of 1 the balance went from {before} to {after}");
    }
    println!("a token transfer through the node of the snapshot: the same balance and root on all three");
    Ok(())
}

/// Commits the transfers; returns how many per second.
async fn make_chain(args: &Args, purlin: &Purlin, client: &Client) -> Result<f64> {
    let path = root().join("apps/token").display().to_string();
    let supply = r#"{"name":"Join","symbol":"J","decimals":0,"supply":"1000000000000"}"#;
    purlin.output(&["app", "install", "--path", &path, "--args", supply])?;
    let accounts = args.transactions.clamp(1, ACCOUNTS_MAX);
    let keys: Vec<_> = (0..accounts).map(load::key).collect();
    load::fund(client, &keys).await?;
    let mut seconds = 0.0;
    let mut sent = 0;
    let mut nonce = 0;
    while sent < args.transactions {
        let count = accounts.min(args.transactions - sent);
        let status = client.status().await?;
        let signed = load::sign_all(&keys, &status.chain_id, nonce, status.height)?;
        let before = Counters::read(client).await?;
        let started = Instant::now();
        load::submit_batched(client, &signed[..count]).await?;
        load::wait_for(client, before.committed + count as f64).await?;
        seconds += started.elapsed().as_secs_f64();
        sent += count;
        nonce += 1;
    }
    settled(client).await?;
    Ok(args.transactions as f64 / seconds)
}

/// Waits for the empty block that anchors the last state.
async fn settled(client: &Client) -> Result<Status> {
    let mut status = client.status().await?;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let again = client.status().await?;
        if again.height == status.height {
            return Ok(again);
        }
        status = again;
    }
}

/// Starts a node in a fresh home and waits until it is where `target` is.
async fn join(
    purlin: &Purlin,
    first: &Purlin,
    address: &str,
    method: &str,
    folder: &Path,
    target: (Height, BlockId),
) -> Result<Joined> {
    let genesis = first.home().join("genesis.json").display().to_string();
    purlin.output(&["init", "--genesis", &genesis, "--join", address, "--sync", method])?;
    let started = Instant::now();
    let node = start(purlin, &folder.join(format!("{method}.log")), &[])?;
    let client = client(purlin);
    reach(&client, target).await?;
    let seconds = started.elapsed().as_secs_f64();
    let counters = Counters::read(&client).await?;
    Ok(Joined { node, client, seconds, counters })
}

/// Waits until a node is where `target` is.
async fn reach(client: &Client, target: (Height, BlockId)) -> Result<()> {
    let started = Instant::now();
    loop {
        // Between snapshot and chain it does not answer for a moment.
        if let Ok(status) = client.status().await
            && status.height >= target.0
        {
            ensure!(status.head_id == target.1, "the node is on another chain");
            return Ok(());
        }
        ensure!(started.elapsed() < JOIN_TIMEOUT, "the node did not catch up in {JOIN_TIMEOUT:?}");
        tokio::time::sleep(POLL).await;
    }
}

fn start(purlin: &Purlin, log: &Path, more: &[&str]) -> Result<RunningNode> {
    let listen = "network.listen=/ip4/127.0.0.1/tcp/0";
    let mut arguments = vec!["run", "--json", "--api", "off", "--log", "warn", "--set", listen];
    arguments.extend(more);
    purlin.start(&arguments, log)
}

fn client(purlin: &Purlin) -> Client {
    Client::new(Endpoint::Unix(purlin.home().join("purlin.sock")), None)
}

/// Where a node says that peers reach it.
fn network_address(log: &Path) -> Result<String> {
    let text = std::fs::read_to_string(log)?;
    text.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|line| line["network"][0].as_str().map(String::from))
        .with_context(|| format!("the node did not say where peers reach it:\n{text}"))
}

/// Waits until there is a snapshot; returns the size of the newest.
async fn wait_for_snapshot(folder: &Path) -> Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut sizes = Vec::new();
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "snapshot") {
                sizes.push((entry.file_name(), entry.metadata()?.len()));
            }
        }
        if let Some((_, bytes)) = sizes.into_iter().max() {
            return Ok(bytes);
        }
        ensure!(Instant::now() < deadline, "the node made no snapshot; give a smaller --snapshot-blocks");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Size of all files below a folder.
fn mebibytes(folder: &Path) -> Result<f64> {
    fn bytes(folder: &Path) -> Result<u64> {
        let mut sum = 0;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let data = entry.metadata()?;
            sum += if data.is_dir() { bytes(&entry.path())? } else { data.len() };
        }
        Ok(sum)
    }
    Ok(bytes(folder)? as f64 / f64::from(1 << 20))
}
