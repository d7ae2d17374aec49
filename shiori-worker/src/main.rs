//! The worker's binary: reads the settings, takes summaries from the queue in Redis, and stops on
//! SIGTERM or Ctrl-C.

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::Parser;
use shiori_worker::{Settings, process};
use tokio_util::sync::CancellationToken;

/// A worker of the Shiori diary: takes summary jobs from Redis, and hands results to the server.
///
/// Any number of them may run, on any machine that reaches both. On SIGTERM it takes no more,
/// finishes what it has, hands back what takes too long, and ends.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// TOML file with the same settings, in `snake_case`; flags and environment go before it
    #[arg(long, env = "SHIORI_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            process::report("shiori-worker", &*error);
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let mut settings = cli.settings;
    if let Some(path) = cli.config {
        settings = settings.or(Settings::from_file(path)?);
    }
    process::start_log(settings.log.as_deref())?;

    let worker = settings.into_worker().await?;
    let shutdown = CancellationToken::new();
    let working = tokio::spawn(worker.run(shutdown.clone()));
    tracing::info!("working");
    process::stop_signal().await?;
    tracing::info!("stopping");
    shutdown.cancel();
    working.await?;
    tracing::info!("stopped");
    Ok(())
}
