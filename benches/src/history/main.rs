//! Checks the guarantees of Shiori against the history of a run: what each client called and
//! received. `benches/README.md` describes the method.

mod anomaly;
mod check;
#[cfg(test)]
mod generator;
#[cfg(test)]
mod mutations;
mod options;
mod record;
mod register;
mod report;
mod summaries;

use std::{error::Error, fs, process::ExitCode};

use clap::Parser;

use crate::{options::Options, record::Record};

/// Any failure that ends the program.
type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

#[allow(clippy::print_stderr)] // the errors of a program
fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("history: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<ExitCode> {
    let history: Vec<Record> = fs::read_to_string(&options.of)?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let anomalies = check::check(&history);
    report::print(&history, &anomalies);
    Ok(if anomalies.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
