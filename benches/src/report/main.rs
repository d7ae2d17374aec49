//! Measures the latency and concurrency guarantees of Shiori beside the physical floors of the same
//! machine, and writes a report. `benches/README.md` describes the method.

mod compare;
mod diarist;
mod document;
mod experiments;
mod figures;
mod floors;
mod generator;
mod load;
mod machine;
mod options;
mod output;
mod page;
mod plan;
mod plot;
mod schedule;
mod sections;
mod site;
mod statistics;
mod tables;

use std::{
    env,
    error::Error,
    process::{ExitCode, exit},
    time::Instant,
};

use clap::Parser;
use shiori_benches::{Engines, process, runtime};
use shiori_sdk::Timestamp;

use crate::{
    compare::Comparison,
    diarist::http_client,
    document::Report,
    experiments::{Context, Part},
    machine::{CpuTimes, Machine, commit, versions},
    options::Options,
    plan::Plan,
    site::Profile,
};

/// Any failure that ends the program.
type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

#[allow(clippy::print_stderr)] // the errors of a program
fn main() -> ExitCode {
    let runtime = runtime();
    match env::args().nth(1).as_deref() {
        Some(process::SERVER) => exit_with(runtime.block_on(process::run_server())),
        Some(process::WORKER) => exit_with(runtime.block_on(process::run_worker())),
        _ => match runtime.block_on(run(Options::parse())) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("report: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Ends a server or worker process, without waiting for the thread that reads standard input.
#[allow(clippy::print_stderr)] // the errors of a program
fn exit_with(outcome: Result<()>) -> ! {
    match outcome {
        Ok(()) => exit(0),
        Err(error) => {
            eprintln!("report: {error}");
            exit(1)
        }
    }
}

async fn run(options: Options) -> Result<ExitCode> {
    let old = options.compare.as_deref().map(Report::read).transpose()?;
    let report = match &options.of {
        Some(file) => Report::read(file)?,
        None => measure(&options).await?,
    };
    let comparison = old.as_ref().map(|old| Comparison::of(&old.figures, &report.figures));
    output::write(&options, &report, old.as_ref().zip(comparison.as_ref()))?;
    let is_worse = comparison.is_some_and(|comparison| !comparison.worse.is_empty());
    Ok(if is_worse { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn measure(options: &Options) -> Result<Report> {
    let (started, started_at, cpu) = (Instant::now(), Timestamp::now(), CpuTimes::now());
    let machine = Machine::describe();
    let profiles = Profile::available();
    let versions = if profiles.contains(&Profile::Distributed) {
        let engines = Engines::open().await;
        let versions = versions(Some(engines.urls())).await;
        engines.drop_all().await;
        versions?
    } else {
        versions(None).await?
    };
    let plan = Plan::new(options);
    let (mode, repeats) = (plan.mode.clone(), plan.repeats);
    let context = Context { profiles, plan, http: http_client()? };
    let parts = if options.only.is_empty() { Part::default_parts() } else { options.only.clone() };
    let figures = experiments::run(&context, &parts).await?;
    let stolen_percent = CpuTimes::now().stolen_percent_since(cpu);
    Ok(Report {
        format: Report::format(),
        mode,
        repeats,
        started_at: started_at.to_string(),
        run_seconds: started.elapsed().as_secs_f64(),
        commit: commit(),
        machine: Machine { stolen_percent, ..machine },
        versions,
        figures,
    })
}
