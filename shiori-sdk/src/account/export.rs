//! The export of everything that the server stores about the user.

use std::{
    fmt,
    io::{self, BufRead},
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::time::timeout;

use super::Account;
use crate::{
    client::Client,
    transport::{
        deadline,
        error::{Error, ErrorKind, Result, WasSent},
        request::{Request, describe},
    },
    types::{ExportEnd, ExportRecord},
};

/// A response without bytes for this long is considered broken. The server reads a page of diaries in
/// milliseconds, and repeats a failed read for a few seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// Maximum size of a line. A diary at its size limit takes 1 MiB, twice as much if its JSON is a
/// string.
const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;

impl Account {
    /// Exports everything that the server stores about the user, as a stream: a header, the account,
    /// the diaries by date, the results of weekly summaries, and an end with the counts. It takes
    /// constant memory for any number of diaries.
    ///
    /// Nothing is sent until the stream is polled. The stream ends after the [end](ExportEnd) of the
    /// export, or after the first error. An export that is cut off is always an error.
    ///
    /// It contains no [revisions](crate::Diaries::revisions). Each diary is one version of that diary.
    /// The export as a whole is not a snapshot: a diary that is saved meanwhile is exported before or
    /// after that save, and so is one that is deleted.
    ///
    /// # Errors
    ///
    /// The items are [`Error`]s of kind [`ErrorKind::RateLimited`] if the user already has two
    /// exports in progress on the server, [`ErrorKind::Disconnected`] or [`ErrorKind::Timeout`] if
    /// the export was cut off, and [`ErrorKind::InvalidExport`] if the server is newer than this
    /// crate and writes another format.
    ///
    /// ```no_run
    /// # use std::io::Write;
    /// use futures_util::StreamExt;
    ///
    /// # async fn example(client: shiori_sdk::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut file = std::io::BufWriter::new(std::fs::File::create("export.ndjson")?);
    /// let mut records = client.account().export();
    /// while let Some(record) = records.next().await {
    ///     writeln!(file, "{}", serde_json::to_string(&record?)?)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn export(&self) -> Export {
        let reading = Reading { client: self.client.clone(), state: State::NotSent };
        Export(Box::pin(stream::unfold(reading, |mut reading| async move {
            let record = reading.next().await?;
            Some((record, reading))
        })))
    }
}

/// The records of an export, as a [`Stream`]. Created by [`Account::export`].
#[must_use = "a stream does nothing until it is polled"]
pub struct Export(Pin<Box<dyn Stream<Item = Result<ExportRecord>> + Send>>);

impl Stream for Export {
    type Item = Result<ExportRecord>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Export")
    }
}

struct Reading {
    client: Client,
    state: State,
}

enum State {
    NotSent,
    Open(Box<Body>),
    Finished,
}

/// The body of the response.
struct Body {
    response: reqwest::Response,
    /// Bytes that were received and not parsed yet.
    received: Vec<u8>,
    /// The number of these bytes that contain no line feed.
    searched: usize,
    check: Check,
}

impl Reading {
    /// The next record; `None` after the end or an error.
    async fn next(&mut self) -> Option<Result<ExportRecord>> {
        let next = match mem::replace(&mut self.state, State::Finished) {
            State::Finished => return None,
            State::NotSent => match open(&self.client).await {
                Ok(response) => {
                    let (received, check) = (Vec::new(), Check::default());
                    let mut body = Box::new(Body { response, received, searched: 0, check });
                    let next = body.next().await;
                    self.state = State::Open(body);
                    next
                }
                Err(error) => Err(error),
            },
            State::Open(mut body) => {
                let next = body.next().await;
                self.state = State::Open(body);
                next
            }
        };
        if next.as_ref().map_or(true, |next| matches!(next, Some(ExportRecord::End(_)))) {
            self.state = State::Finished;
        }
        next.transpose()
    }
}

/// Sends the request until a response begins, as the retry policy permits.
async fn open(client: &Client) -> Result<reqwest::Response> {
    let retry = client.options().retry;
    let mut attempt = 1;
    loop {
        let request = Request::get("/api/user/export");
        let error = match client.open(&request, "application/x-ndjson").await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        if !error.is_retryable() || attempt >= retry.attempts {
            return Err(error.with_attempts(attempt));
        }
        let wait = retry.backoff(attempt).max(error.retry_after().unwrap_or_default());
        if wait > client.options().call_timeout {
            return Err(error.with_attempts(attempt));
        }
        deadline::sleep(wait).await;
        attempt += 1;
    }
}

impl Body {
    /// The next record; `None` if the response is complete and had an end.
    async fn next(&mut self) -> Result<Option<ExportRecord>> {
        loop {
            let unsearched = &self.received[self.searched..];
            if let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=self.searched + at).collect();
                self.searched = 0;
                return self.check.read(&line).map(Some);
            }
            self.searched = self.received.len();
            if self.received.len() > MAX_LINE_BYTES {
                return Err(Error::new(ErrorKind::InvalidExport).with_source("a line is too long"));
            }
            let chunk = timeout(IDLE_TIMEOUT, self.response.chunk()).await.map_err(|_| {
                Error::new(ErrorKind::Timeout).with_sent(WasSent::Maybe).with_retryable()
            })?;
            // A response that ends without an end record was cut off, even if it is valid HTTP.
            let cut_off =
                || Error::new(ErrorKind::Disconnected).with_sent(WasSent::Maybe).with_retryable();
            match chunk {
                Ok(Some(chunk)) => self.received.extend_from_slice(&chunk),
                Ok(None) => return Err(cut_off()),
                Err(error) => return Err(cut_off().with_source(error.without_url())),
            }
        }
    }
}

/// Checks the order of the records, and counts them.
#[derive(Default)]
struct Check {
    has_header: bool,
    counted: ExportEnd,
}

impl Check {
    /// Parses a line.
    fn read(&mut self, line: &[u8]) -> Result<ExportRecord> {
        let invalid =
            |reason: &'static str| Error::new(ErrorKind::InvalidExport).with_source(reason);
        let record: ExportRecord = serde_json::from_slice(line)
            .map_err(|error| Error::new(ErrorKind::InvalidExport).with_source(describe(&error)))?;
        match &record {
            ExportRecord::Header(header) if !header.is_readable() => {
                return Err(invalid("another format, or a newer version of it"));
            }
            ExportRecord::Header(_) => self.has_header = true,
            _ if !self.has_header => return Err(invalid("the first line is not a header")),
            ExportRecord::End(end) => {
                let found = ExportEnd { unreadable: end.unreadable, ..self.counted };
                if *end != found {
                    return Err(invalid("lines are missing: the counts of the end differ"));
                }
            }
            other => self.counted.count(other),
        }
        Ok(record)
    }
}

/// Reads the lines of an export from a file, as an iterator. After the end of the export or the
/// first error, it returns `None`.
///
/// ```
/// use shiori_sdk::{ExportReader, ErrorKind};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = r#"{"header":{"format":"shiori-export","version":1,"exported_at":"2026-02-16T00:00:00Z"}}
/// {"end":{"diaries":0,"reflections":0,"emotions":0,"unreadable":0}}
/// "#;
/// assert_eq!(ExportReader::new(file.as_bytes()).collect::<Result<Vec<_>, _>>()?.len(), 2);
///
/// // Without its last line, the export is incomplete.
/// let first_line = file.lines().next().unwrap_or_default();
/// let last = ExportReader::new(first_line.as_bytes()).last().ok_or("no line")?;
/// assert_eq!(last.unwrap_err().kind(), ErrorKind::InvalidExport);
/// # Ok(())
/// # }
/// ```
pub struct ExportReader<R> {
    /// `None` after the end or an error.
    lines: Option<R>,
    check: Check,
}

impl<R: BufRead> ExportReader<R> {
    /// A reader of these lines.
    pub fn new(lines: R) -> Self {
        Self { lines: Some(lines), check: Check::default() }
    }

    fn read(&mut self, lines: &mut R) -> Result<ExportRecord> {
        let mut line = Vec::new();
        let limit = MAX_LINE_BYTES as u64;
        let read = io::Read::take(&mut *lines, limit).read_until(b'\n', &mut line);
        let reason = match read {
            Err(error) => return Err(Error::new(ErrorKind::InvalidExport).with_source(error)),
            Ok(0) => "it is incomplete: the end is missing",
            Ok(_) if line.len() as u64 == limit => "a line is too long",
            Ok(_) => return self.check.read(&line),
        };
        Err(Error::new(ErrorKind::InvalidExport).with_source(reason))
    }
}

impl<R: BufRead> Iterator for ExportReader<R> {
    /// A record, or an [`Error`] of kind [`ErrorKind::InvalidExport`].
    type Item = Result<ExportRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut lines = self.lines.take()?;
        let record = self.read(&mut lines);
        if record.as_ref().is_ok_and(|record| !matches!(record, ExportRecord::End(_))) {
            self.lines = Some(lines);
        }
        Some(record)
    }
}

impl<R> fmt::Debug for ExportReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExportReader")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ExportHeader, Timestamp};

    fn lines(records: &[ExportRecord]) -> String {
        let line = |record| serde_json::to_string(record).expect("JSON") + "\n";
        records.iter().map(line).collect()
    }

    fn kinds(text: &str) -> Vec<Result<(), ErrorKind>> {
        let read = ExportReader::new(text.as_bytes());
        read.map(|record| record.map(drop).map_err(|error| error.kind())).collect()
    }

    #[test]
    fn an_export_is_complete_or_an_error() {
        let header = ExportRecord::Header(ExportHeader::new(Timestamp::from_millis(0)));
        let end = ExportRecord::End(ExportEnd::default());
        let invalid = Err(ErrorKind::InvalidExport);
        let whole = lines(&[header.clone(), ExportRecord::Unknown {}, end.clone()]);
        assert_eq!(kinds(&whole), [Ok(()), Ok(()), Ok(())]);
        assert_eq!(kinds(&format!("{whole}more")), [Ok(()), Ok(()), Ok(())]);
        assert_eq!(kinds(&lines(std::slice::from_ref(&header))), [Ok(()), invalid]);
        assert_eq!(kinds(&whole[..whole.len() - 3]), [Ok(()), Ok(()), invalid]);
        assert_eq!(kinds(&lines(&[end])), [invalid]);
        assert_eq!(kinds(""), [invalid]);
        let mut later = ExportHeader::new(Timestamp::from_millis(0));
        later.version += 1;
        assert_eq!(kinds(&lines(&[ExportRecord::Header(later)])), [invalid]);
        let wrong = ExportEnd { diaries: 1, ..ExportEnd::default() };
        assert_eq!(kinds(&lines(&[header, ExportRecord::End(wrong)])), [Ok(()), invalid]);
    }

    #[test]
    fn an_error_does_not_quote_the_line() {
        let text = r#"{"header":{"format":"비밀","version":"비밀"}}"#;
        let error =
            ExportReader::new(text.as_bytes()).next().expect("an item").expect_err("invalid");
        assert!(!format!("{error} {error:?}").contains("비밀"), "{error:?}");
    }
}
