//! The server's binary: reads the settings, listens, and stops on SIGTERM or Ctrl-C.

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use shiori_server::{Server, Settings, migrate, raise_descriptor_limit};
use shiori_worker::process;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The Shiori diary server.
///
/// Without any settings, it runs embedded: SQLite, a worker in the process and built-in models, all
/// data in ./shiori-data.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// TOML file with the same settings, in `snake_case`; flags and environment take precedence
    #[arg(long, env = "SHIORI_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Migrate the databases and exit
    Migrate,
    /// Copy the embedded database to a new file and exit; a server may use the database meanwhile
    #[cfg(feature = "embedded")]
    Backup {
        /// The new file
        path: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            process::report("shiori-server", &*error);
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let mut settings = cli.settings;
    if let Some(path) = cli.config {
        settings = settings.or(Settings::from_file(&path)?);
    }
    process::start_log(settings.log.as_deref())?;
    if let Err(error) = raise_descriptor_limit() {
        tracing::warn!(%error, "could not raise the limit of open files");
    }

    let listen = settings.listen();
    let config = settings.into_config()?;
    match cli.command {
        Some(Command::Migrate) => return Ok(migrate(&config).await?),
        #[cfg(feature = "embedded")]
        Some(Command::Backup { path }) => return Ok(shiori_server::back_up(&config, &path).await?),
        None => {}
    }
    let stop = process::stop_signal()?;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| format!("could not listen at {listen}: {error}"))?;
    let shutdown = CancellationToken::new();
    let server = Server::start(config, listener, shutdown.clone()).await?;
    stop.await;
    shutdown.cancel();
    server.stopped().await?;
    Ok(())
}
