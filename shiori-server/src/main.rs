//! The server's binary: reads the settings, listens, and stops on SIGTERM or Ctrl-C.

use std::{
    error::Error,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{ArgMatches, Args, Parser, Subcommand};
use shiori_sdk::AccountInfo;
use shiori_server::{Config, Server, Settings, Users, migrate, raise_descriptor_limit};
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
    /// Inspect the settings
    #[command(subcommand)]
    Config(Inspect),
    /// Migrate the databases and exit
    Migrate,
    /// Copy the embedded database to a new file and exit; a server may use the database meanwhile
    #[cfg(feature = "embedded")]
    Backup {
        /// The new file
        path: PathBuf,
    },
    /// List, change or delete accounts; servers may run meanwhile
    #[command(subcommand)]
    User(User),
}

#[derive(Subcommand)]
enum Inspect {
    /// Print the effective settings with their sources, and what is wrong with them. Nothing is
    /// changed. The exit code is 1 if there is an error
    Check,
}

#[derive(Subcommand)]
enum User {
    /// Print id, e-mail address, time of the signup and nickname of every account, separated by tabs
    List,
    /// Replace a password by a random one, print it, and end all sessions of the account
    ResetPassword {
        /// The e-mail address of the account
        email: String,
    },
    /// Delete an account with everything that is stored of it
    Delete {
        /// The e-mail address of the account
        email: String,
        /// Confirms that it cannot be undone
        #[arg(long, required = true)]
        yes: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let (cli, matches) = process::parse();
    match Box::pin(run(cli, &matches)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            process::report("shiori-server", &*error);
            ExitCode::FAILURE
        }
    }
}

/// Runs a command of an operator on the accounts.
async fn manage(command: User, config: Config) -> Result<(), Box<dyn Error>> {
    let users = Users::open(config).await?;
    let mut out = io::stdout().lock();
    match command {
        User::List => {
            let mut after = None;
            loop {
                let page = users.list(after).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.user_id);
                for AccountInfo { user_id, email, nickname, created_at } in page {
                    writeln!(out, "{user_id}\t{email}\t{created_at}\t{nickname}")?;
                }
            }
        }
        User::ResetPassword { email } => {
            writeln!(out, "{}", users.reset_password(&email).await?.reveal())?;
        }
        User::Delete { email, yes: _ } => {
            users.delete(&email).await?;
            writeln!(
                out,
                "The account is deleted. A running server, or the next one, erases its data."
            )?;
        }
    }
    users.close().await;
    Ok(())
}

async fn run(cli: Cli, matches: &ArgMatches) -> Result<(), Box<dyn Error>> {
    let mut settings = cli.settings;
    let file = cli.config.as_deref();
    if let Some(path) = file {
        settings = settings.or(Settings::from_file(path)?);
    }
    let findings = || {
        let mut findings = settings.check();
        findings.warnings.extend(process::unknown_variables());
        findings
    };
    if let Some(Command::Config(Inspect::Check)) = cli.command {
        let all = Settings::augment_args(clap::Command::new("shiori-server"));
        return findings().print(&process::effective(&all, matches, file)?);
    }
    process::start_log(settings.log.as_deref(), settings.log_format.unwrap_or_default())?;
    if let Err(error) = raise_descriptor_limit() {
        tracing::warn!(%error, "could not raise the limit of open files");
    }
    if cli.command.is_none() {
        findings().log();
    }

    let listen = settings.listen();
    let config = settings.into_config()?;
    match cli.command {
        Some(Command::Migrate) => return Ok(migrate(&config).await?),
        #[cfg(feature = "embedded")]
        Some(Command::Backup { path }) => return Ok(shiori_server::back_up(&config, &path).await?),
        Some(Command::User(command)) => return manage(command, config).await,
        Some(Command::Config(Inspect::Check)) | None => {}
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
