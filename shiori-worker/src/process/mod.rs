//! Settings, log, signals and error output of the binaries.

mod log;
mod secrets;
mod settings;

use std::error::Error;

pub use self::{
    log::{LogError, LogFormat, log_lines, start_log},
    secrets::{SecretFileError, is_guessable, secret_or_file},
    settings::{
        Findings, InvalidConfiguration, default_of, description_of, effective, parse,
        unknown_variables,
    },
};

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
