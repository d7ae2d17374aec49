//! The worker's command line. Without a command it runs the worker.

mod emotion;
mod summarize;
mod table;
mod tag;

use std::{error::Error, io, io::Write, path::PathBuf, sync::Arc};

use clap::{ArgMatches, Args, Parser, Subcommand};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    Settings, SettingsError,
    emotion::{EmotionEngine, EmotionModel},
    metrics::listener,
    process,
};

/// A worker of the Shiori diary: takes summary jobs from Redis and submits results to the server.
///
/// Any number of workers may run, on any machine that can connect to both. On SIGTERM a worker
/// takes no more jobs, finishes running jobs, releases jobs that exceed the drain time, and exits.
/// The commands run the models without a server or queue.
#[derive(Debug, Parser)]
#[command(name = "shiori-worker", version)]
pub struct Cli {
    /// TOML file with the same settings, in `snake_case`; flags and environment take precedence
    #[arg(long, env = "SHIORI_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Inspect the settings
    #[command(subcommand)]
    Config(Inspect),
    /// Evaluate an emotion model
    #[command(subcommand)]
    Emotion(emotion::Command),
    /// Detect the emotions of the lines, or of a TipTap document, on standard input
    Tag(tag::Arguments),
    /// Write the reflection on a week
    Summarize(summarize::Arguments),
}

#[derive(Debug, Subcommand)]
enum Inspect {
    /// Print the effective settings with their sources, and what is wrong with them. No model is
    /// loaded. The exit code is 1 if there is an error
    Check,
}

/// The choice of a command's emotion model.
#[derive(Debug, Args)]
struct Engine {
    /// The emotion model: linear, lexicon, or bert:DIRECTORY [default: from the settings]
    #[arg(long)]
    engine: Option<EmotionEngine>,
}

impl Engine {
    async fn open(self, settings: &Settings) -> Result<Arc<dyn EmotionModel>, SettingsError> {
        settings.emotion(self.engine).await
    }
}

impl Cli {
    /// Runs the worker or the command. `matches` are those of these arguments.
    ///
    /// # Errors
    ///
    /// Any failure. No message contains diary text or a secret.
    pub async fn run(self, matches: &ArgMatches) -> Result<(), Box<dyn Error>> {
        let mut settings = self.settings;
        let file = self.config.as_deref();
        if let Some(path) = file {
            settings = settings.or(Settings::from_file(path.to_owned())?);
        }
        let findings = || {
            let mut findings = settings.check();
            findings.warnings.extend(process::unknown_variables());
            findings
        };
        if let Some(Command::Config(Inspect::Check)) = self.command {
            let all = Settings::augment_args(clap::Command::new("shiori-worker"));
            return findings().print(&process::effective(&all, matches, file)?);
        }
        // A command prints its result, so by default it logs only warnings.
        let log = settings.log.as_deref().or(self.command.as_ref().map(|_| "warn"));
        process::start_log(log, settings.log_format.unwrap_or_default())?;
        if self.command.is_none() {
            findings().log();
        }
        settings = settings.with_secrets_of_files()?;
        match self.command {
            Some(Command::Config(Inspect::Check)) | None => run_worker(settings).await,
            Some(Command::Emotion(command)) => print(&command.run(&settings).await?),
            Some(Command::Tag(arguments)) => print(&arguments.run(&settings).await?),
            Some(Command::Summarize(arguments)) => print(&arguments.run(&settings).await?),
        }
    }
}

async fn run_worker(settings: Settings) -> Result<(), Box<dyn Error>> {
    let stop = process::stop_signal()?;
    // Bound first, so that a used address is an error before the models are loaded.
    let listener = match settings.metrics_listen {
        None => None,
        Some(addr) => Some(TcpListener::bind(addr).await.map_err(|error| {
            format!("could not listen on {addr}, the setting metrics_listen: {error}")
        })?),
    };
    let worker = settings.into_worker().await?;
    let _metrics = match listener {
        None => None,
        Some(listener) => {
            tracing::info!(addr = %listener.local_addr()?, "serving metrics");
            let serving = listener::serve(listener, worker.metrics());
            Some(AbortOnDropHandle::new(tokio::spawn(serving)))
        }
    };
    let shutdown = CancellationToken::new();
    let mut worker = tokio::spawn(worker.run(shutdown.clone()));
    tracing::info!("worker started");
    tokio::select! {
        // Without a signal, the worker ends only with an error.
        ended = &mut worker => ended??,
        () = stop => {
            tracing::info!("stopping");
            shutdown.cancel();
            worker.await??;
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Prints the result of a command. A closed pipe, as after `head`, is not an error.
fn print(result: &str) -> Result<(), Box<dyn Error>> {
    match io::stdout().write_all(result.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
