//! What the binaries do at their beginning and their end.

use std::{error::Error, io::IsTerminal};

use tracing_subscriber::{EnvFilter, filter::ParseError};

/// Logs to stderr what the filter lets through (default `info`), and panics by their place alone.
///
/// # Errors
///
/// [`ParseError`] when the filter is none.
pub fn start_log(filter: Option<&str>) -> Result<(), ParseError> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter.unwrap_or("info"))?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    // Rust's own hook prints the message, and that of a failed slice quotes the text it cut.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panicked");
    }));
    Ok(())
}

/// Waits for SIGTERM or Ctrl-C.
///
/// # Errors
///
/// Any error of the system when it is to tell of signals.
#[cfg(unix)]
pub async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Waits for Ctrl-C.
///
/// # Errors
///
/// Any error of the system when it is to tell of it.
#[cfg(not(unix))]
pub async fn stop_signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// Prints the error and what led to it on one line.
#[allow(clippy::print_stderr)] // the log may not have been set up
pub fn report(program: &str, error: &dyn Error) {
    let mut line = format!("{program}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    eprintln!("{line}");
}
