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
    types::{Revision, Summary},
};

/// The stream ends with an error after more consecutive failures.
const MAX_FAILURES: u32 = 8;

/// The changes of a summary, as a [`Stream`]. Created by [`SummaryHandle::watch`].
pub struct SummaryWatch(Pin<Box<dyn Stream<Item = Result<Summary>> + Send>>);

impl SummaryWatch {
    pub(super) fn new(handle: SummaryHandle) -> Self {
        let watcher = Watcher {
            handle,
            last: None,
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
    /// The last summary that was yielded.
    last: Option<Summary>,
    events: Option<SummaryEvents>,
    /// Consecutive failures.
    failures: u32,
    /// The last event stream ended without a change; poll once before opening the next.
    must_poll: bool,
    pacing: Pacing,
    is_finished: bool,
}

impl Watcher {
    /// The next change; `None` after a final status or an error.
    async fn next(&mut self) -> Option<Result<Summary>> {
        if self.is_finished {
            return None;
        }
        loop {
            let polled = match (&self.last, &mut self.events) {
                // The first item is the current summary, with or without an event stream.
                (None, _) => self.handle.poll().await,
                (Some(_), Some(events)) => match events.next().await {
                    Some(summary) => Ok(summary),
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
                Ok(summary) => {
                    self.failures = 0;
                    self.is_finished = summary.status.is_final();
                    if self.last.as_ref() != Some(&summary) {
                        if let Some(events) = &mut self.events {
                            events.has_yielded = true;
                        }
                        self.last = Some(summary.clone());
                        return Some(Ok(summary));
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

    /// Without an event stream: a long-poll, followed by a pause if the server does not support it.
    async fn poll_changed(&mut self, known: Revision) -> Result<Summary> {
        let polling = self.handle.client().options().polling;
        let wait = long_poll(&polling);
        let started_at = Instant::now();
        let summary = self.handle.poll_changed(Some(known), wait).await?;
        let is_changed = summary.revision > known;
        let pause = self.pacing.pause(&polling, is_changed, wait, started_at.elapsed());
        if !pause.is_zero() {
            deadline::sleep(pause).await;
        }
        Ok(summary)
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

    /// The summary in the next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Summary> {
        loop {
            if let Ok(summary) = serde_json::from_str(&self.stream.next().await?) {
                return Some(summary);
            }
        }
    }
}
