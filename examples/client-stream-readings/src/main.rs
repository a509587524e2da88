//! Streams a CSV of readings into `smart-factory` in batches, goes on where it stopped, and prints the alerts.
//!
//! Alerts go to standard output, progress to standard error. Ends with 0, with 1 when something failed, and with 3
//! when `--windows` was given and the alerts do not match the labelled windows well enough.
#![forbid(unsafe_code)]

mod factory;
mod home;
mod series;
mod windows;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use purlin_abi::{AppId, DeviceId};
use purlin_client::Client;
use std::path::PathBuf;
use std::process::ExitCode;

use factory::{Factory, Happening};
use series::Series;
use windows::Windows;

/// Exit code when the alerts do not match the windows.
const EXIT_MISSED: u8 = 3;

/// Streams a CSV of readings into smart-factory.
#[derive(Debug, Parser)]
struct Args {
    /// CSV with the columns `timestamp` (UTC, `2013-12-02 21:15:00`) and `value`
    csv: PathBuf,
    /// Machine that measured; registered as a device and added to the factory
    #[arg(long, value_name = "DEVICE")]
    machine: DeviceId,
    /// The application
    #[arg(long, value_name = "APP", default_value = "smart-factory")]
    app: AppId,
    /// Key that signs: the device's owner or operator, by its name in the node's folder
    #[arg(long, value_name = "KEY", env = "PURLIN_FROM", default_value = "alice")]
    from: String,
    /// File with the key as 64 hexadecimal digits, instead of --from
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Folder of the node [default: ~/.purlin]
    #[arg(long, value_name = "DIR", env = "PURLIN_HOME")]
    home: Option<PathBuf>,
    /// Node to talk to, unix:PATH or http://HOST:PORT [default: the one running in the home folder]
    #[arg(long, value_name = "ADDRESS", env = "PURLIN_NODE")]
    node: Option<String>,
    /// Access token, for nodes over http
    #[arg(long, env = "PURLIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Readings in one transaction
    #[arg(long, value_name = "COUNT", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    batch: u16,
    /// Stop after so many readings; the next run goes on there
    #[arg(long, value_name = "COUNT")]
    stop_after: Option<usize>,
    /// JSON with labelled windows, by file name: prints the alerts beside them
    #[arg(long, value_name = "FILE")]
    windows: Option<PathBuf>,
    /// With --windows: least windows in which an alert must have been raised
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    found_min: usize,
    /// With --windows: most alerts that may have been raised outside all windows
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    outside_max: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<ExitCode> {
    // Everything local first, so that a wrong file name sends nothing.
    let series = Series::read(&args.csv)?;
    let windows = args.windows.as_ref().map(|path| Windows::read(path, &args.csv)).transpose()?;
    let homes = home::candidates(args.home.clone());
    let key = match &args.key_file {
        Some(path) => home::read_key(path)?,
        None => home::find_key(&homes, &args.from)?,
    };
    let endpoint = match &args.node {
        Some(text) => text.parse()?,
        None => home::find_node(&homes)?,
    };
    let factory = Factory { client: Client::new(endpoint, args.token.clone()), app: args.app.clone(), key };

    stream(&args, &series, &factory).await?;
    let alerts = factory.alerts(&args.machine).await?;
    let Some(windows) = windows else { return Ok(ExitCode::SUCCESS) };
    println!();
    let score = windows.print(&alerts);
    if score.found >= args.found_min && score.outside <= args.outside_max {
        return Ok(ExitCode::SUCCESS);
    }
    println!("expected at least {} windows and at most {} alerts outside", args.found_min, args.outside_max);
    Ok(ExitCode::from(EXIT_MISSED))
}

/// Sends what the factory does not have yet.
async fn stream(args: &Args, series: &Series, factory: &Factory) -> Result<()> {
    let last = factory.last_reading(&args.machine).await.context("cannot ask where to go on")?;
    let known = last.map_or(0, |last| series.readings.partition_point(|reading| reading.time <= last.time));
    let rest = &series.readings[known..];
    let rest = &rest[..rest.len().min(args.stop_after.unwrap_or(usize::MAX))];
    if series.skipped > 0 {
        eprintln!(
            "{}: {} lines are not later than the line before and are left out",
            args.csv.display(),
            series.skipped
        );
    }
    if let Some(last) = last {
        eprintln!(
            "going on after {}: {known} of {} readings are known",
            series::text(last.time),
            series.readings.len()
        );
    }
    let progress = ProgressBar::new(series.readings.len() as u64).with_position(known as u64);
    progress.set_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} readings, {per_sec}, {eta} left")
            .context("the progress bar's template is valid")?,
    );
    let mut gas = 0;
    for batch in rest.chunks(usize::from(args.batch)) {
        let report = factory.report(&args.machine, batch).await.with_context(|| {
            let position = progress.position();
            format!("stopped after {position} readings; run the same command again to go on")
        })?;
        ensure!(
            report.summary.last_time == batch.last().map(|reading| reading.time),
            "the factory's last reading is not the one just sent: somebody else reports for this machine"
        );
        gas += report.gas_used;
        for happening in &report.happenings {
            progress.suspend(|| println!("{}", line(happening)));
        }
        progress.inc(batch.len() as u64);
    }
    progress.finish_and_clear();
    let blocks = rest.len().div_ceil(usize::from(args.batch));
    println!("{} readings sent in {blocks} transactions, {gas} gas", rest.len());
    Ok(())
}

fn line(happening: &Happening) -> String {
    match happening {
        Happening::Raised(alert) => format!(
            "{}  alert {} raised: {:?} at {}, usual is {}; began about {}",
            series::text(alert.time),
            alert.alert,
            alert.direction,
            series::decimal(alert.value_milli),
            series::decimal(alert.mean_milli),
            series::text(alert.since),
        ),
        Happening::Cleared(alert) => format!(
            "{}  alert {} cleared, was {} deviations away",
            series::text(alert.time),
            alert.alert,
            series::decimal(i64::from(alert.peak_milli)),
        ),
    }
}
