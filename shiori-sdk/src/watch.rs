//! Follows a summary.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, stream};
use reqwest::{
    Response,
    header::{ACCEPT, HeaderName, HeaderValue},
};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::{Result, Summary, SummaryHandle, sse::EventReader, summary::Pacing, transport::Call};

/// The server says at least every 15 s that it is there; a stream that is silent for so long is
/// dead.
const SILENCE: Duration = Duration::from_secs(45);

/// The largest event that is read. A summary is a few thousand bytes.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// Failures in a row after which the watcher is told.
const MAX_FAILURES: u32 = 8;

/// The changes of a summary, as a [`Stream`]. Made by [`SummaryHandle::watch`].
pub struct SummaryWatch(Pin<Box<dyn Stream<Item = Result<Summary>> + Send>>);

impl SummaryWatch {
    pub(crate) fn new(handle: SummaryHandle) -> Self {
        let watcher = Watcher {
            handle,
            last: None,
            events: None,
            failures: 0,
            rests: false,
            pacing: Pacing::default(),
            ended: false,
        };
        Self(Box::pin(stream::unfold(watcher, |mut watcher| async move {
            let next = watcher.next().await?;
            Some((next, watcher))
        })))
    }
}

impl Stream for SummaryWatch {
    type Item = Result<Summary>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for SummaryWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SummaryWatch")
    }
}

struct Watcher {
    handle: SummaryHandle,
    /// What was told last.
    last: Option<Summary>,
    events: Option<EventStream>,
    failures: u32,
    /// The last stream ended without news; a poll comes before the next.
    rests: bool,
    pacing: Pacing,
    ended: bool,
}

impl Watcher {
    /// The next change; `None` after a final one or an error.
    async fn next(&mut self) -> Option<Result<Summary>> {
        if self.ended {
            return None;
        }
        loop {
            let seen = match (&self.last, &mut self.events) {
                // What stands is told first, whatever becomes of the stream.
                (None, _) => self.handle.poll().await,
                (Some(_), Some(events)) => match events.next().await {
                    Some(summary) => Ok(summary),
                    None => {
                        self.rests = !events.has_told;
                        self.events = None;
                        continue;
                    }
                },
                (Some(last), None) => {
                    let revision = last.revision;
                    if !std::mem::take(&mut self.rests) {
                        self.events = EventStream::open(&self.handle, revision.get()).await;
                    }
                    if self.events.is_some() {
                        // It begins with whatever has happened since.
                        continue;
                    }
                    self.look(revision).await
                }
            };
            match seen {
                Ok(summary) => {
                    self.failures = 0;
                    self.ended = summary.status.is_final();
                    if self.last.as_ref() != Some(&summary) {
                        if let Some(events) = &mut self.events {
                            events.has_told = true;
                        }
                        self.last = Some(summary.clone());
                        return Some(Ok(summary));
                    }
                    if self.ended {
                        return None;
                    }
                }
                Err(error) if error.is_retryable() && self.failures < MAX_FAILURES => {
                    self.failures += 1;
                    let backoff = self.handle.client().options().retry.backoff(3);
                    sleep(backoff).await;
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }

    /// Without an event stream: a long-poll, and a pause if the server does not hold it.
    async fn look(&mut self, after: crate::Revision) -> Result<Summary> {
        let hold = self.handle.client().options().polling.long_poll;
        let asked = Instant::now();
        let summary = self.handle.look(Some(after), hold).await?;
        let news = summary.revision > after;
        let pause = self.pacing.pause(&self.handle, news, hold, asked.elapsed());
        if !pause.is_zero() {
            sleep(pause).await;
        }
        Ok(summary)
    }
}

/// An open event stream.
struct EventStream {
    response: Response,
    reader: EventReader,
    ready: std::collections::VecDeque<String>,
    has_told: bool,
}

impl EventStream {
    /// Opens the stream after this revision; `None` if there is none to be had now.
    async fn open(handle: &SummaryHandle, revision: u64) -> Option<Self> {
        let shared = handle.client().shared();
        let call = Call::get(format!("{}/events", handle.path()))
            .header(ACCEPT, HeaderValue::from_static("text/event-stream"))
            .header(HeaderName::from_static("last-event-id"), HeaderValue::from(revision));
        let tokens = shared.session.tokens().await.ok()?;
        let id = Uuid::new_v4().to_string();
        let opening = shared.transport.request(&call, Some(&tokens.access), &id);
        let response =
            timeout(handle.client().options().attempt_timeout, opening).await.ok()?.ok()?;
        let is_stream = response
            .headers()
            .get("content-type")
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        (response.status().is_success() && is_stream).then(|| Self {
            response,
            reader: EventReader::new(MAX_EVENT_BYTES),
            ready: std::collections::VecDeque::new(),
            has_told: false,
        })
    }

    /// The summary that the next event tells; `None` when the stream is over.
    async fn next(&mut self) -> Option<Summary> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                if let Ok(summary) = serde_json::from_str(&event) {
                    return Some(summary);
                }
            }
            let chunk = timeout(SILENCE, self.response.chunk()).await.ok()?.ok()??;
            self.ready.extend(self.reader.push(&chunk).ok()?);
        }
    }
}
