use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::{pacing::Pacing, watch::SummaryWatch};
use crate::{
    client::Client,
    transport::{
        deadline,
        error::{Error, ErrorKind, Result},
        request::Request,
        retry::PollingPolicy,
    },
    types::{MAX_LONG_POLL, Revision, Summary, SummaryAndText, SummaryId, SummaryStatus},
};

/// A requested summary. Its [id](SummaryHandle::id) is valid in other processes, too: pass it to
/// [`Summaries::handle`](crate::Summaries::handle).
#[derive(Debug, Clone)]
pub struct SummaryHandle {
    client: Client,
    id: SummaryId,
}

impl SummaryHandle {
    pub(super) fn new(client: Client, id: SummaryId) -> Self {
        Self { client, id }
    }

    /// The id of the summary.
    pub fn id(&self) -> SummaryId {
        self.id
    }

    /// The current summary. Sends one request and does not wait.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::NotFound`] if the user has no such summary.
    pub async fn poll(&self) -> Result<Summary> {
        self.fetch(&Request::get(self.path())).await
    }

    /// Waits for a final status, at most until the deadline of the polling policy: 180 s by default.
    ///
    /// # Errors
    ///
    /// As [`SummaryHandle::wait_for`].
    pub async fn wait(&self) -> Result<Summary> {
        self.wait_for(self.client.options().polling.deadline).await
    }

    /// Waits for a final status, at most this long. It keeps waiting while the server is
    /// temporarily unavailable. A failed or cancelled summary is not an error: check its status.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::Timeout`] at the deadline; use its
    /// [`summary_id`](Error::summary_id) to resume waiting. [`ErrorKind::NotFound`] if the user has
    /// no such summary.
    pub async fn wait_for(&self, timeout: Duration) -> Result<Summary> {
        let polling = self.client.options().polling;
        let deadline = deadline::after(timeout);
        let mut known = None;
        let mut pacing = Pacing::default();
        loop {
            let started_at = Instant::now();
            // The first poll returns the current summary at once. The server does not wait past the
            // deadline.
            let wait = match known {
                None => Duration::ZERO,
                Some(_) => long_poll(&polling).min(deadline.saturating_duration_since(started_at)),
            };
            let polled = timeout_at(deadline, self.poll_changed(known, wait, None)).await;
            let is_changed = match polled {
                Err(_) => return Err(self.timed_out()),
                Ok(Ok(SummaryAndText { summary, .. })) if summary.status.is_final() => {
                    return Ok(summary);
                }
                Ok(Ok(SummaryAndText { summary, .. })) => {
                    known.replace(summary.revision) != Some(summary.revision)
                }
                Ok(Err(error)) if error.is_retryable() => {
                    tracing::debug!(%error, "polling the summary failed, still waiting");
                    false
                }
                Ok(Err(error)) => return Err(error),
            };
            let pause = pacing.pause(&polling, is_changed, wait, started_at.elapsed());
            if deadline::after(pause) >= deadline {
                return Err(self.timed_out());
            }
            // Even a sleep of zero would wait for the next tick of the runtime's timer.
            if !pause.is_zero() {
                deadline::sleep(pause).await;
            }
        }
    }

    /// A stream of steps: the current summary, then one step after every change of status and
    /// progress, and of the text while it is written. It ends after a final status. It reads the
    /// server's event stream, reconnects if that breaks, and polls if it is not available.
    pub fn watch(&self) -> SummaryWatch {
        SummaryWatch::new(self.clone())
    }

    /// Cancels the summary.
    ///
    /// # Errors
    ///
    /// [`Error`] with code `summary_final` if it is already final, [`ErrorKind::NotFound`] if the
    /// user has no such summary.
    pub async fn cancel(&self) -> Result<()> {
        match self.client.send(&Request::delete(self.path())).await {
            Ok(_) => Ok(()),
            // An earlier attempt may have been applied and its response lost.
            Err(failed) if failed.maybe_applied && failed.error.status_code() == Some(409) => {
                let is_cancelled = self.poll().await?.status == SummaryStatus::Cancelled;
                if is_cancelled { Ok(()) } else { Err(failed.into()) }
            }
            Err(failed) => Err(failed.error.with_summary_id(self.id)),
        }
    }

    /// The summary as soon as its revision differs from `known`, or after `wait`. Without a known
    /// revision, the current summary. With the number of a text, also as soon as there is a later
    /// text.
    pub(super) async fn poll_changed(
        &self,
        known: Option<Revision>,
        wait: Duration,
        text_after: Option<u32>,
    ) -> Result<SummaryAndText> {
        let mut request = Request::get(self.path()).server_wait(wait);
        if let Some(known) = known {
            request = request.query("wait", &wait.as_secs_f64()).query("after", &known);
        }
        if let Some(number) = text_after {
            request = request.query("text_after", &number);
        }
        self.fetch(&request).await
    }

    async fn fetch<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        let response = self.client.send(request).await;
        response.map_err(|failed| failed.error.with_summary_id(self.id))?.data()
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn path(&self) -> String {
        format!("/api/diary/summary/{}", self.id)
    }

    fn timed_out(&self) -> Error {
        Error::new(ErrorKind::Timeout).with_retryable().with_summary_id(self.id)
    }
}

/// The policy's long-poll duration, within the server's limit.
pub(super) fn long_poll(policy: &PollingPolicy) -> Duration {
    policy.long_poll.min(MAX_LONG_POLL)
}
