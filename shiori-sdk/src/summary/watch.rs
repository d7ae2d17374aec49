//! Watches the changes of a summary.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Stream, stream};
use reqwest::header::HeaderName;
use tokio::time::Instant;

use super::{
    handle::{SummaryHandle, long_poll},
    pacing::Pacing,
};
use crate::{
    client::EventStream,
    transport::{deadline, error::Result, request::Request},
    types::{PartialText, Revision, Summary, SummaryAndText},
};

/// The stream ends with an error after more consecutive failures.
const MAX_FAILURES: u32 = 8;

/// A step of a [`SummaryWatch`]. `Debug` shows no text.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SummaryStep {
    /// The summary with a new status or new progress. A new revision replaces the texts before.
    Summary(Summary),
    /// The text that the running summary has written so far. It replaces the text before. Servers
    /// and workers of older versions send none.
    Text(PartialText),
}

impl SummaryStep {
    /// The summary, unless the step is a text.
    pub fn into_summary(self) -> Option<Summary> {
        match self {
            Self::Summary(summary) => Some(summary),
            Self::Text(_) => None,
        }
    }
}

/// The steps of a summary, as a [`Stream`]. Created by [`SummaryHandle::watch`].
pub struct SummaryWatch(Pin<Box<dyn Stream<Item = Result<SummaryStep>> + Send>>);

impl SummaryWatch {
    pub(super) fn new(handle: SummaryHandle) -> Self {
        let watcher = Watcher {
            handle,
            last: None,
            unread: None,
            text: None,
            events: None,
            failures: 0,
            must_poll: false,
            pacing: Pacing::default(),
            is_finished: false,
        };
        Self(Box::pin(stream::unfold(watcher, |mut watcher| async move {
            let next = watcher.next().await?;
            Some((next, watcher))
        })))
    }
}

impl Stream for SummaryWatch {
    type Item = Result<SummaryStep>;

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
    /// The last summary that was yielded.
    last: Option<Summary>,
    /// A text that was received together with the last summary.
    unread: Option<PartialText>,
    /// The revision and the number of the last text that was yielded.
    text: Option<(Revision, u32)>,
    events: Option<SummaryEvents>,
    /// Consecutive failures.
    failures: u32,
    /// The last event stream ended without a change; poll once before opening the next.
    must_poll: bool,
    pacing: Pacing,
    is_finished: bool,
}

impl Watcher {
    /// The next step; `None` after a final status or an error.
    async fn next(&mut self) -> Option<Result<SummaryStep>> {
        if self.is_finished {
            return None;
        }
        if let Some(text) = self.unread_text() {
            return Some(Ok(text));
        }
        loop {
            let polled = match (&self.last, &mut self.events) {
                // The first item is the current summary, with or without an event stream.
                (None, _) => self.handle.poll().await.map(Seen::summary),
                (Some(_), Some(events)) => match events.next().await {
                    Some(seen) => Ok(seen),
                    None => {
                        self.must_poll = !events.has_yielded;
                        self.events = None;
                        continue;
                    }
                },
                (Some(last), None) => {
                    let revision = last.revision;
                    if !mem::take(&mut self.must_poll) {
                        self.events = SummaryEvents::open(&self.handle, revision).await;
                    }
                    if self.events.is_some() {
                        // The stream starts with the changes after this revision.
                        continue;
                    }
                    self.poll_changed(revision).await
                }
            };
            match polled {
                Ok(seen) => {
                    self.failures = 0;
                    if let Some(step) = self.step(seen) {
                        if let Some(events) = &mut self.events {
                            events.has_yielded = true;
                        }
                        return Some(Ok(step));
                    }
                    if self.is_finished {
                        return None;
                    }
                }
                Err(error) if error.is_retryable() && self.failures < MAX_FAILURES => {
                    self.failures += 1;
                    let backoff = self.handle.client().options().retry.backoff(3);
                    deadline::sleep(backoff).await;
                }
                Err(error) => {
                    self.is_finished = true;
                    return Some(Err(error));
                }
            }
        }
    }

    /// The step to what was received; `None` without a change. A text that was received together
    /// with a changed summary is the step after it.
    fn step(&mut self, seen: Seen) -> Option<SummaryStep> {
        self.unread = seen.text;
        if let Some(summary) = seen.summary {
            self.is_finished = summary.status.is_final();
            if self.last.as_ref() != Some(&summary) {
                self.last = Some(summary.clone());
                return Some(SummaryStep::Summary(summary));
            }
        }
        self.unread_text()
    }

    /// The text that was received, if it belongs to the current run and was not yielded yet.
    fn unread_text(&mut self) -> Option<SummaryStep> {
        let text = self.unread.take()?;
        let current = self.last.as_ref()?.revision;
        if text.revision != current || text.number <= self.known_text(current) {
            return None;
        }
        self.text = Some((text.revision, text.number));
        Some(SummaryStep::Text(text))
    }

    /// The number of the last text of the run with this revision; 0 without one.
    fn known_text(&self, revision: Revision) -> u32 {
        self.text.filter(|(of, _)| *of == revision).map_or(0, |(_, number)| number)
    }

    /// Without an event stream: a long-poll, followed by a pause if the server does not support it.
    async fn poll_changed(&mut self, known: Revision) -> Result<Seen> {
        let polling = self.handle.client().options().polling;
        let wait = long_poll(&polling);
        let number = self.known_text(known);
        let started_at = Instant::now();
        let polled = self.handle.poll_changed(Some(known), wait, Some(number)).await?;
        let SummaryAndText { summary, partial_text: text } = polled;
        let is_changed =
            summary.revision > known || text.as_ref().is_some_and(|text| text.number > number);
        let pause = self.pacing.pause(&polling, is_changed, wait, started_at.elapsed());
        if !pause.is_zero() {
            deadline::sleep(pause).await;
        }
        Ok(Seen { summary: Some(summary), text })
    }
}

/// What a response or an event contains.
struct Seen {
    summary: Option<Summary>,
    text: Option<PartialText>,
}

impl Seen {
    fn summary(summary: Summary) -> Self {
        Self { summary: Some(summary), text: None }
    }

    /// The data of an event; `None` for events of newer servers.
    fn event(data: &str) -> Option<Self> {
        if let Ok(summary) = serde_json::from_str(data) {
            return Some(Self::summary(summary));
        }
        Some(Self { summary: None, text: Some(serde_json::from_str(data).ok()?) })
    }
}

/// An open event stream.
struct SummaryEvents {
    stream: EventStream,
    /// Whether the stream has yielded a change.
    has_yielded: bool,
}

impl SummaryEvents {
    /// Opens the stream of the changes after this revision; `None` if that fails.
    async fn open(handle: &SummaryHandle, revision: Revision) -> Option<Self> {
        let request = Request::get(format!("{}/events", handle.path()))
            .header(HeaderName::from_static("last-event-id"), revision.get().into());
        let stream = EventStream::open(handle.client(), request).await.ok()?;
        Some(Self { stream, has_yielded: false })
    }

    /// The content of the next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Seen> {
        loop {
            if let Some(seen) = Seen::event(&self.stream.next().await?) {
                return Some(seen);
            }
        }
    }
}
