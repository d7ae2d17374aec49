//! The worker's binary: reads the settings, takes summaries from the queue in Redis, and stops on
//! SIGTERM or Ctrl-C.

use std::{error::Error, io::IsTerminal, path::PathBuf, process::ExitCode};

use clap::Parser;
use shiori_worker::Settings;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

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
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let mut settings = cli.settings;
    if let Some(path) = cli.config {
        settings = settings.or(Settings::from_file(path)?);
    }
    let filter = EnvFilter::try_new(settings.log.as_deref().unwrap_or("info"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();

    // Rust's own hook prints the message, and that of a failed slice quotes the text it cut.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panicked");
    }));

    let worker = settings.into_worker()?;
    let shutdown = CancellationToken::new();
    let working = tokio::spawn(worker.run(shutdown.clone()));
    tracing::info!("working");
    stop_signal().await?;
    tracing::info!("stopping");
    shutdown.cancel();
    working.await?;
    tracing::info!("stopped");
    Ok(())
}

#[cfg(unix)]
async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn stop_signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// The error and what led to it, on one line.
#[allow(clippy::print_stderr)] // the log may not have been set up
fn report(error: &dyn Error) {
    let mut line = format!("shiori-worker: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    eprintln!("{line}");
}
