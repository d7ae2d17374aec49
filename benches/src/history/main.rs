//! Checks the guarantees of Shiori: many clients call servers while faults are injected, and a checker
//! decides whether the responses that they received are possible. `benches/README.md` describes the
//! method.

mod anomaly;
mod api;
mod check;
mod clients;
mod engines;
mod faults;
#[cfg(test)]
mod generator;
#[cfg(test)]
mod mutations;
mod options;
mod private_engines;
mod proxy;
mod record;
mod register;
mod report;
mod run;
mod site;
mod small_disk;
mod summaries;
mod timeline;

use std::{
    env,
    error::Error,
    fs,
    path::Path,
    process::{ExitCode, exit},
};

use clap::Parser;
use shiori_benches::{process, runtime};

use crate::{options::Options, record::Record};

/// Any failure that ends the program.
type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The exit code if the program fails; 1 means anomalies.
const FAILED: u8 = 2;

#[allow(clippy::print_stderr)] // the errors of a program
fn main() -> ExitCode {
    let runtime = runtime();
    let outcome = match env::args().nth(1).as_deref() {
        Some(process::SERVER) => end(&runtime.block_on(process::run_server())),
        Some(process::WORKER) => end(&runtime.block_on(process::run_worker())),
        _ => runtime.block_on(run(&Options::parse())),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("history: {error}");
        ExitCode::from(FAILED)
    })
}

/// Ends a server or worker process, without waiting for the thread that reads standard input.
#[allow(clippy::print_stderr)] // the errors of a program
fn end(outcome: &Result<()>) -> ! {
    if let Err(error) = outcome {
        eprintln!("history: {error}");
    }
    exit(i32::from(outcome.is_err()))
}

async fn run(options: &Options) -> Result<ExitCode> {
    let (history, faults, anomalies) = if let Some(file) = &options.of {
        let history = read(file)?;
        let anomalies = check::check(&history);
        (history, Vec::new(), anomalies)
    } else {
        let recorded = run::run(options).await?;
        let anomalies = check::check(&recorded.history);
        let faults = report::faults(&recorded);
        report::write(options, &recorded, &faults, &anomalies)?;
        (recorded.history, faults, anomalies)
    };
    report::print(&history, &faults, &anomalies);
    Ok(if anomalies.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A recorded history.
fn read(file: &Path) -> Result<Vec<Record>> {
    fs::read_to_string(file)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
