//! The worker's command line: it works, unless a command asks for something else.

mod emotion;
mod summarize;
mod table;
mod tag;

use std::{error::Error, io, io::Write, path::PathBuf, sync::Arc};

use clap::{Args, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::{
    Settings, SettingsError,
    emotion::{EmotionEngine, EmotionModel},
    process,
};

/// A worker of the Shiori diary: takes summary jobs from Redis, and hands results to the server.
///
/// Any number of them may run, on any machine that reaches both. On SIGTERM it takes no more,
/// finishes what it has, hands back what takes too long, and ends. The commands try its models
/// without server or queue.
#[derive(Debug, Parser)]
#[command(name = "shiori-worker", version)]
pub struct Cli {
    /// TOML file with the same settings, in `snake_case`; flags and environment go before it
    #[arg(long, env = "SHIORI_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell how good an emotion model is
    #[command(subcommand)]
    Emotion(emotion::Command),
    /// Read emotions off lines or a TipTap document on standard input
    Tag(tag::Arguments),
    /// Write the reflection on a week, and nothing else
    Summarize(summarize::Arguments),
}

/// The choice of a command's emotion model.
#[derive(Debug, Args)]
struct Engine {
    /// The emotion model: linear, lexicon, or bert:DIRECTORY [default: as the settings say]
    #[arg(long)]
    engine: Option<EmotionEngine>,
}

impl Engine {
    async fn open(self, settings: &Settings) -> Result<Arc<dyn EmotionModel>, SettingsError> {
        settings.emotion(self.engine).await
    }
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    ///
    /// Whatever went wrong. No message holds diary text or a secret.
    pub async fn run(self) -> Result<(), Box<dyn Error>> {
        let mut settings = self.settings;
        if let Some(path) = self.config {
            settings = settings.or(Settings::from_file(path)?);
        }
        // What a command prints is its result; the log is for what goes wrong on the way.
        let log = settings.log.as_deref().or(self.command.as_ref().map(|_| "warn"));
        process::start_log(log)?;
        match self.command {
            None => work(settings).await,
            Some(Command::Emotion(command)) => print(&command.run(&settings).await?),
            Some(Command::Tag(arguments)) => print(&arguments.run(&settings).await?),
            Some(Command::Summarize(arguments)) => print(&arguments.run(&settings).await?),
        }
    }
}

async fn work(settings: Settings) -> Result<(), Box<dyn Error>> {
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

/// Prints the result of a command. A reader who has seen enough, such as `head`, is no error.
fn print(result: &str) -> Result<(), Box<dyn Error>> {
    match io::stdout().write_all(result.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
