//! Settings, log, signals and error output of the binaries.

mod secrets;
mod settings;

use std::{error::Error, io::IsTerminal};

use tracing_subscriber::{
    filter::{ParseError, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

pub use self::{
    secrets::{SecretFileError, is_guessable, secret_or_file},
    settings::{
        Findings, InvalidConfiguration, default_of, description_of, effective, parse,
        unknown_variables,
    },
};

/// The log could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The filter is invalid.
    #[error("invalid log filter")]
    Filter(#[from] ParseError),
    /// The process already has a log.
    #[error("the log is already started")]
    AlreadyStarted,
}

/// Starts the log on stderr. The filter is a list of levels, each for all modules or for one, e.g.
/// `info,shiori_server=debug`. Default `info`. Panics are logged without their message.
///
/// # Errors
///
/// [`LogError`] if the filter is invalid or the process already has a log.
pub fn start_log(filter: Option<&str>) -> Result<(), LogError> {
    let filter: Targets = filter.unwrap_or("info").parse()?;
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|_| LogError::AlreadyStarted)?;
    // The default hook prints the panic message, which may quote diary text, for example if slicing
    // a string fails.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "panicked");
    }));
    Ok(())
}

/// Completes at SIGTERM or Ctrl-C. The handlers are installed when this returns. Call it before the
/// process reports that it runs; otherwise an early signal kills it.
///
/// # Errors
///
/// The system's error if the handlers cannot be installed.
#[cfg(unix)]
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Completes at Ctrl-C. The handler is installed when this returns.
///
/// # Errors
///
/// The system's error if the handler cannot be installed.
#[cfg(windows)]
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}

/// Prints the error and its sources on one line to stderr.
#[allow(clippy::print_stderr)] // the log may not have been started
pub fn report(program: &str, error: &dyn Error) {
    eprintln!("{program}: {}", with_sources(error));
}

/// The error and its sources on one line.
pub fn with_sources(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    line
}
