//! `purlin status`.

use indicatif::{ProgressBar, ProgressStyle};
use purlin_api::{Status, SyncState};
use purlin_primitives::Height;
use std::time::{Duration, Instant};

use super::validator;
use crate::connection::Connection;
use crate::context::Context;
use crate::error::{CliError, ExitKind};
use crate::output::Output;

/// How often a waiting command asks.
const POLL: Duration = Duration::from_millis(250);
/// Answers in a row that say that nothing is missing before that is believed: a node that has peers and has not heard
/// from them yet knows of nothing that is missing.
const SETTLED_ANSWERS: u32 = 4;
/// Answers in a row that name a problem before waiting is given up: other peers may be connected by then.
const PROBLEM_ANSWERS: u32 = 20;
/// Time between two lines about progress where no bar can be drawn.
const NOTE_INTERVAL: Duration = Duration::from_secs(5);

/// Arguments of `purlin status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Wait until the node has peers and no block is missing
    #[arg(long)]
    wait: bool,
    /// Wait until this block is there
    #[arg(long, value_name = "HEIGHT")]
    wait_height: Option<u64>,
    /// Longest wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

/// Asks the node how it is.
pub(crate) fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    let (status, connection) = if args.wait || args.wait_height.is_some() {
        wait(args, context)?
    } else {
        let connection = context.connect()?;
        (connection.run(connection.client.status())?, connection)
    };
    context.output.result(|| serde_json::json!(status), || text(&status, &connection));
    Ok(())
}

fn text(status: &Status, connection: &Connection) -> String {
    let validator = status.validator.map_or("none here".into(), |account| account.to_string());
    let endpoint = connection.client.endpoint();
    let mut lines = vec![
        format!("chain       {} ({})", status.chain_id, status.engine),
        format!("height      {}, {}", status.height, progress_text(status)),
    ];
    if let Some(pow) = &status.pow {
        lines.push(format!(
            "final       {}, a block is final with {} blocks on top",
            status.final_height, pow.confirmations
        ));
        lines.push(format!(
            "difficulty  {} hashes a block, wanted every {} ms",
            pow.difficulty, pow.block_time_ms
        ));
        lines.push(format!("work        {}", short_number(&pow.work)));
    }
    lines.extend([
        format!("block       {}", status.head_id),
        format!("state root  {}", status.state_root),
        format!("{}   {validator}", if status.pow.is_some() { "miner    " } else { "validator" }),
        format!("peers       {}", status.peers),
        format!("waiting     {} transactions", status.mempool.transactions),
        format!("version     {}, up {} s, at {endpoint}", status.version, status.uptime_seconds),
    ]);
    if status.oldest_block > Height::new(1) {
        lines.push(format!("oldest      block {}; older ones are not kept here", status.oldest_block));
    }
    if let Some(checkpoint) = &status.checkpoint {
        lines.push(format!("checkpoint  {checkpoint}"));
    }
    if let Some(problem) = &status.sync_problem {
        lines.push(format!("problem     {problem}"));
    }
    lines.join("\n")
}

/// Drops the zeros that a number begins with: `0x1f3a`.
fn short_number(text: &str) -> String {
    let digits = text.trim_start_matches("0x").trim_start_matches('0');
    format!("0x{}", if digits.is_empty() { "0" } else { digits })
}

/// Says how far the node is: `syncing 120 of 500`.
fn progress_text(status: &Status) -> String {
    match (status.sync, status.sync_target) {
        (SyncState::Synced, _) => "nothing is known to be missing".into(),
        (SyncState::Syncing, Some(target)) => format!("syncing {} of {target}", status.height),
        (SyncState::Syncing, None) => "syncing".into(),
        (SyncState::Snapshot, _) => match &status.snapshot {
            Some(snapshot) => {
                let (percent, tenth) = (snapshot.permille / 10, snapshot.permille % 10);
                format!("fetching the state of block {}: {percent}.{tenth} %", snapshot.height)
            }
            None => "looking for a snapshot".into(),
        },
    }
}

/// Says what is being waited for, with the position to show and its end.
fn wait_text(status: &Status, goal: Option<u64>) -> (u64, u64, String) {
    if status.sync == SyncState::Snapshot {
        let done = status.snapshot.map_or(0, |snapshot| snapshot.permille);
        return (u64::from(done), 1000, format!("{}, peers: {}", progress_text(status), status.peers));
    }
    let height = status.height.get();
    let target = status.sync_target.map(Height::get).max(goal).unwrap_or(height).max(height);
    let text = if status.peers == 0 && status.sync == SyncState::Synced {
        format!("block {height}, no peers yet")
    } else {
        format!("block {height} of {target}, peers: {}", status.peers)
    };
    (height, target, text)
}

/// Asks until the goal is reached. A node that does not answer yet is waited for as well.
fn wait(args: &Args, context: &Context) -> Result<(Status, Connection), CliError> {
    let timeout = Duration::from_secs(args.timeout);
    let started = Instant::now();
    let mut progress = Progress::new(context.output, args.wait_height)?;
    let (mut settled, mut problems, mut alone) = (0, 0, None);
    loop {
        let answer = context.connect().and_then(|connection| {
            let status = connection.run(connection.client.status())?;
            Ok((status, connection))
        });
        let (status, connection) = match answer {
            Ok(answer) => answer,
            // It starts, or goes over from a snapshot to its chain.
            Err(error) if error.kind == ExitKind::Unreachable && started.elapsed() < timeout => {
                std::thread::sleep(POLL);
                continue;
            }
            Err(error) => {
                progress.finish();
                return Err(error);
            }
        };
        problems = if status.sync_problem.is_some() { problems + 1 } else { 0 };
        if let Some(problem) = status.sync_problem.as_ref().filter(|_| problems >= PROBLEM_ANSWERS) {
            progress.finish();
            return Err(CliError::new(ExitKind::CheckFailed, format!("the node does not sync: {problem}")));
        }
        if args.wait && status.peers == 0 && alone.is_none() && status.sync != SyncState::Snapshot {
            // Any node that mines makes blocks by itself.
            let mines = status.pow.is_some() && status.validator.is_some();
            alone = Some(mines || validator::decides_alone(&connection)?);
        }
        // Whoever decides alone waits for nobody.
        let alone = status.peers == 0 && alone == Some(true);
        let nothing_missing = status.sync == SyncState::Synced && (status.peers > 0 || alone);
        settled = if nothing_missing { settled + 1 } else { 0 };
        let synced = !args.wait || settled >= SETTLED_ANSWERS || (settled > 0 && alone);
        let high = args.wait_height.is_none_or(|height| status.height >= Height::new(height));
        if synced && high {
            progress.finish();
            return Ok((status, connection));
        }
        if started.elapsed() >= timeout {
            progress.finish();
            let peers = status.peers;
            return Err(CliError::new(
                ExitKind::CheckFailed,
                format!(
                    "the node is not there after {} s: height {}, {}, peers: {peers}",
                    args.timeout,
                    status.height,
                    progress_text(&status)
                ),
            )
            .hint("`purlin peers` shows who is connected; wait longer with --timeout SECONDS"));
        }
        progress.show(&status);
        connection.pause(POLL);
    }
}

/// Shows how far the node is: a bar in a terminal, else a line now and then.
struct Progress {
    output: Output,
    bar: Option<ProgressBar>,
    goal: Option<u64>,
    noted: Option<Instant>,
}

impl Progress {
    fn new(output: Output, goal: Option<u64>) -> Result<Self, CliError> {
        let bar = if output.has_progress_bar() {
            let style = ProgressStyle::with_template("{bar:40} {msg} {per_sec}, {eta} left")
                .map_err(|error| CliError::failure(format!("the progress bar's template: {error}")))?;
            Some(ProgressBar::new(0).with_style(style))
        } else {
            None
        };
        Ok(Self { output, bar, goal, noted: None })
    }

    fn show(&mut self, status: &Status) {
        let (height, target, message) = wait_text(status, self.goal);
        if let Some(bar) = &self.bar {
            if bar.length() == Some(0) || height < bar.position() {
                // Speed and time left are those of this wait.
                bar.set_length(target);
                bar.set_position(height);
                bar.reset_eta();
            }
            bar.set_length(target);
            bar.set_position(height);
            bar.set_message(message);
        } else if self.noted.is_none_or(|noted| noted.elapsed() >= NOTE_INTERVAL) {
            self.output.note(message);
            self.noted = Some(Instant::now());
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_api::{ChainParameters, MempoolStatus};
    use purlin_primitives::{BlockId, Hash32, Parameters, TimestampMs};

    fn status(height: u64, target: Option<u64>, peers: u32) -> Status {
        Status {
            version: "0.1.0".into(),
            chain_id: "dev".parse().unwrap(),
            genesis_id: BlockId::ZERO,
            height: Height::new(height),
            head_id: BlockId::ZERO,
            head_time: TimestampMs::ZERO,
            state_root: Hash32::ZERO,
            final_height: Height::new(height),
            engine: "pos".into(),
            pow: None,
            validator: None,
            sync: if target.is_some() { SyncState::Syncing } else { SyncState::Synced },
            sync_target: target.map(Height::new),
            snapshot: None,
            sync_problem: None,
            oldest_block: Height::new(1),
            checkpoint: None,
            peers,
            uptime_seconds: 1,
            mempool: MempoolStatus::default(),
            parameters: ChainParameters::from(&Parameters::default()),
        }
    }

    #[test]
    fn work_is_shown_without_leading_zeros() {
        assert_eq!(short_number("0x0000"), "0x0");
        assert_eq!(short_number("0x001f00"), "0x1f00");
    }

    #[test]
    fn progress_names_where_the_node_is_and_where_it_goes() {
        assert_eq!(progress_text(&status(120, Some(500), 3)), "syncing 120 of 500");
        assert_eq!(
            wait_text(&status(120, Some(500), 3), None),
            (120, 500, "block 120 of 500, peers: 3".into())
        );
        assert_eq!(
            wait_text(&status(120, None, 3), Some(130)),
            (120, 130, "block 120 of 130, peers: 3".into())
        );
        assert_eq!(wait_text(&status(0, None, 0), None), (0, 0, "block 0, no peers yet".into()));
    }
}
