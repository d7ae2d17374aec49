use std::{fmt, fmt::Write, io::IsTerminal};

use clap::ValueEnum;
use serde::Deserialize;
use tracing::{Subscriber, field::Field};
use tracing_subscriber::{
    Layer,
    field::MakeExt,
    filter::{ParseError, Targets},
    fmt::{
        MakeWriter,
        format::{self, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line. The fields of the request or job are in `span`.
    Json,
}

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
pub fn start_log(filter: Option<&str>, format: LogFormat) -> Result<(), LogError> {
    let filter: Targets = filter.unwrap_or("info").parse()?;
    let lines = log_lines(format, std::io::stderr().is_terminal(), std::io::stderr);
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

/// Writes log lines in this format.
pub fn log_lines<S, W>(
    format: LogFormat,
    has_colors: bool,
    writer: W,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_ansi(has_colors).with_writer(writer);
    match format {
        LogFormat::Text => lines.fmt_fields(format::debug_fn(write_field).delimited(" ")).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let mut escaped = Escaped(writer);
    match field.name() {
        "message" => write!(escaped, "{value:?}"),
        name => write!(escaped, "{name}={value:?}"),
    }
}

/// Escapes characters with which a value could look like another line, or control a terminal.
struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, char)) = rest.char_indices().find(|(_, char)| is_unsafe(*char)) {
            self.0.write_str(&rest[..at])?;
            write!(self.0, "{}", char.escape_default())?;
            rest = &rest[at + char.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

/// Control characters, separators of lines, and characters that change the direction of a text.
fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged for this text in every position, with the span's fields.
    fn logged(format: LogFormat, text: &str) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let lines = log_lines(format, false, move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            let later = tracing::field::Empty;
            let span = tracing::info_span!("request", shown = %text, plain = text, later);
            span.record("later", tracing::field::display(text));
            span.in_scope(|| {
                tracing::info!(shown = %text, debug = ?text, plain = text, "done {text}");
            });
        });
        let bytes = captured.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("text")
    }

    const HOSTILE: &str = "a\n2026-01-01 ERROR forged\r\x1b[31m\u{9b}1m\0\x7f\u{2028}\u{202e}z";

    #[test]
    fn no_value_can_forge_a_line_of_text() {
        let log = logged(LogFormat::Text, HOSTILE);
        assert_eq!(log.matches('\n').count(), 1, "{log}");
        assert!(!log.trim_end_matches('\n').contains(is_unsafe), "{log:?}");
        assert_eq!(log.matches("forged").count(), 7, "every field is there: {log}");
    }

    #[test]
    fn harmless_text_is_unchanged() {
        let log = logged(LogFormat::Text, "하루 /a?b");
        assert!(log.contains("shown=하루 /a?b plain=\"하루 /a?b\" later=하루 /a?b"), "{log}");
        assert!(log.contains("done 하루 /a?b shown=하루 /a?b"), "{log}");
    }

    #[test]
    fn a_line_of_json_has_the_fields_and_those_of_the_span() {
        let log = logged(LogFormat::Json, HOSTILE);
        assert_eq!(log.matches('\n').count(), 1, "{log}");
        let line: serde_json::Value = serde_json::from_str(&log).expect("an object");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], format!("done {HOSTILE}"));
        assert_eq!((&line["plain"], &line["span"]["later"]), (&HOSTILE.into(), &HOSTILE.into()));
    }
}
