//! `cargo xtask crash`: kill -9 during a stream of transactions, many times, and see that nothing was lost.

use anyhow::{Context, Result, ensure};
use purlin_client::{Client, Endpoint, TransactionOptions};
use purlin_primitives::{Action, Amount, SecretKey, TransactionId};
use sha2::{Digest, Sha256};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::command::{Programs, run as run_command};
use crate::node::Purlin;

/// Accounts that send at the same time.
const SENDERS: usize = 8;
/// Transactions of earlier rounds that each round looks up again.
const SAMPLE: usize = 50;

/// Arguments of `cargo xtask crash`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    programs: Programs,
    /// How often to kill the node
    #[arg(long, default_value_t = 50)]
    times: u32,
    /// Chooses the moments of the kills
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Kills, restarts, looks up what was acknowledged, and replays the chain at the end.
pub(crate) fn run(args: &Args) -> Result<()> {
    let program = args.programs.purlin()?;
    let folder = tempfile::Builder::new().prefix("purlin-crash-").tempdir()?;
    let purlin = Purlin::new(program, folder.path().to_path_buf());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{} kills, seed {}", args.times, args.seed);
    let mut acknowledged: Vec<TransactionId> = Vec::new();
    for round in 0..args.times {
        let node = purlin.start(&["dev", "--api", "off"], &folder.path().join("node.log"))?;
        let client = Client::new(Endpoint::Unix(folder.path().join("dev/purlin.sock")), None);
        // Everything of the round before, and some of all rounds.
        let recent = acknowledged.iter().rev().take(2_000);
        let sample = acknowledged.iter().step_by((acknowledged.len() / SAMPLE).max(1));
        let looked_up: Vec<TransactionId> = recent.chain(sample).copied().collect();
        runtime.block_on(look_up(&client, &looked_up)).with_context(|| format!("after kill {round}"))?;

        let done = Arc::new(Mutex::new(Vec::new()));
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| runtime.spawn(send_until_cut_off(client.clone(), key(sender), done.clone())))
            .collect();
        std::thread::sleep(moment(args.seed, round));
        node.kill()?;
        for sender in senders {
            runtime.block_on(sender)?;
        }
        let fresh = std::mem::take(&mut *done.lock().unwrap_or_else(PoisonError::into_inner));
        println!(
            "kill {:>3}: {:>5} acknowledged, {:>6} in all",
            round + 1,
            fresh.len(),
            acknowledged.len() + fresh.len()
        );
        acknowledged.extend(fresh);
    }
    ensure!(!acknowledged.is_empty(), "no transaction was acknowledged, so nothing was tested");
    let node = purlin.start(&["dev", "--api", "off"], &folder.path().join("node.log"))?;
    let client = Client::new(Endpoint::Unix(folder.path().join("dev/purlin.sock")), None);
    runtime.block_on(look_up(&client, &acknowledged))?;
    node.stop()?;
    println!("all {} acknowledged transactions are there; executing every block again", acknowledged.len());
    let replay: Command = purlin.command(&["doctor", "--dev", "--replay", "--api", "off"]);
    run_command(replay).context("the replay differs from what is stored")?;
    println!("{} kills: nothing lost, the replayed state root equals the stored one", args.times);
    Ok(())
}

async fn look_up(client: &Client, ids: &[TransactionId]) -> Result<()> {
    for id in ids {
        let found = client.transaction(id).await.with_context(|| format!("acknowledged transaction {id}"))?;
        ensure!(
            found.receipt.is_some_and(|receipt| receipt.succeeded()),
            "transaction {id} lost its receipt"
        );
    }
    Ok(())
}

/// Sends one transaction after another and notes those that the node says are committed.
async fn send_until_cut_off(client: Client, key: SecretKey, done: Arc<Mutex<Vec<TransactionId>>>) {
    let options =
        TransactionOptions { gas_limit: Some(purlin_primitives::Gas::new(1_000_000)), ..Default::default() };
    let to = key.public_key().account_id();
    loop {
        let actions = vec![Action::Transfer { to, amount: Amount::ZERO }];
        let Ok(transaction) = client.sign(&key, actions, &options).await else { return };
        match client.submit_and_wait(&transaction).await {
            Ok(committed) => done.lock().unwrap_or_else(PoisonError::into_inner).push(committed.id),
            Err(_) => return,
        }
    }
}

fn key(sender: usize) -> SecretKey {
    let seed: [u8; 32] = Sha256::digest(format!("purlin crash sender {sender}")).into();
    SecretKey::from_bytes(&seed).expect("a hash is a key but once in 2^128")
}

/// Between 50 and 1,000 ms after the start, by seed and round.
fn moment(seed: u64, round: u32) -> Duration {
    let digest = Sha256::digest(format!("{seed} {round}"));
    let number = u64::from(u16::from_le_bytes([digest[0], digest[1]]));
    Duration::from_millis(50 + number * 950 / u64::from(u16::MAX))
}
