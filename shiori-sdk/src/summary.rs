//! Weekly summaries: request, wait, watch, cancel; and the reflections they made.

use std::time::Duration;

use reqwest::Method;
use tokio::time::{Instant, sleep};

use crate::{
    Client, Date, Error, MissingDates, Reflection, Result, Revision, Summary, SummaryId,
    SummaryReceipt, SummaryRequest, Week,
    error::ErrorKind,
    transport::{Call, Replay},
    watch::SummaryWatch,
};

/// Weekly summaries. Made by [`Client::summaries`].
#[derive(Debug, Clone)]
pub struct Summaries {
    client: Client,
}

impl Summaries {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Asks for a week's summary. The answer comes at once; the summary later, by the handle.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::RateLimited`] when too many of the caller's summaries are
    /// unfinished; any other when the request fails.
    pub async fn request(&self, week: Week) -> Result<Requested> {
        self.request_with(week, false).await
    }

    /// The same, and with `force` even if a finished summary has read the diaries as they stand.
    ///
    /// # Errors
    ///
    /// As [`Summaries::request`].
    pub async fn request_with(&self, week: Week, force: bool) -> Result<Requested> {
        let body = SummaryRequest { start: week.start(), end: week.end(), force };
        // The server returns an unfinished request for the same week instead of doubling it; but a
        // forced one that has finished meanwhile would be made a second time.
        let replay = if force { Replay::Unsafe } else { Replay::Safe };
        let call = Call::new(Method::POST, "/api/diary/summary", replay).json(&body);
        let answer = match self.client.send(&call).await {
            Ok(answer) => answer,
            Err(refusal) => {
                return match refusal.data::<MissingDates>() {
                    Some(MissingDates { missing_dates })
                        if refusal.error.kind() == ErrorKind::WeekIncomplete =>
                    {
                        Ok(Requested::Incomplete { missing: missing_dates })
                    }
                    _ => Err(refusal.into()),
                };
            }
        };
        let receipt: SummaryReceipt = answer.data()?;
        let handle = self.handle(receipt.id);
        Ok(if answer.status.as_u16() == 202 {
            Requested::Accepted(handle)
        } else {
            Requested::AlreadyDone(handle)
        })
    }

    /// The handle of a summary that was asked for before, perhaps by another process. Nothing is
    /// sent yet.
    pub fn handle(&self, id: SummaryId) -> SummaryHandle {
        SummaryHandle { client: self.client.clone(), id }
    }
}

/// What became of a summary request.
#[derive(Debug, Clone)]
pub enum Requested {
    /// It is on its way.
    Accepted(SummaryHandle),
    /// It was done already, and no diary has changed since.
    AlreadyDone(SummaryHandle),
    /// Days of the week have no diary.
    Incomplete {
        /// Those days.
        missing: Vec<Date>,
    },
}

impl Requested {
    /// The summary's handle, whether it is on its way or done.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::WeekIncomplete`] when days have no diary.
    pub fn into_handle(self) -> Result<SummaryHandle> {
        match self {
            Self::Accepted(handle) | Self::AlreadyDone(handle) => Ok(handle),
            Self::Incomplete { missing } => Err(Error::incomplete(missing)),
        }
    }
}

/// A summary that was asked for. Its [id](SummaryHandle::id) outlives the process: with it,
/// [`Summaries::handle`] resumes anywhere.
#[derive(Debug, Clone)]
pub struct SummaryHandle {
    client: Client,
    id: SummaryId,
}

impl SummaryHandle {
    /// Names the summary.
    pub fn id(&self) -> SummaryId {
        self.id
    }

    /// The summary as it stands: one request, no waiting.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::NotFound`] when the caller has no such summary.
    pub async fn poll(&self) -> Result<Summary> {
        let answer = self.client.send(&Call::get(self.path())).await;
        answer.map_err(|refusal| Error::from(refusal).with_summary_id(self.id))?.data()
    }

    /// Waits for a final status, at most as long as the polling policy says: 180 s by default.
    ///
    /// # Errors
    ///
    /// As [`SummaryHandle::wait_for`].
    pub async fn wait(&self) -> Result<Summary> {
        self.wait_for(self.client.options().polling.deadline).await
    }

    /// Waits for a final status, at most this long. Servers that restart meanwhile are waited for,
    /// too. A summary that failed or was cancelled is no error: look at its status.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::Timeout`] when the time is over; its
    /// [`summary_id`](Error::summary_id) serves to go on later. [`ErrorKind::NotFound`] when the
    /// caller has no such summary.
    pub async fn wait_for(&self, limit: Duration) -> Result<Summary> {
        let deadline = Instant::now() + limit;
        let mut after = None;
        let mut pacing = Pacing::default();
        loop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            let asked = Instant::now();
            // The first question is answered at once, and no question outlives the deadline.
            let hold = match after {
                None => Duration::ZERO,
                Some(_) => self.client.options().polling.long_poll.min(remaining),
            };
            let answer = tokio::time::timeout_at(deadline, self.look(after, hold)).await;
            let news = match answer {
                Err(_) => return Err(self.overdue()),
                Ok(Ok(summary)) if summary.status.is_final() => return Ok(summary),
                Ok(Ok(summary)) => {
                    let news = after != Some(summary.revision);
                    after = Some(summary.revision);
                    news
                }
                Ok(Err(error)) if error.is_retryable() => {
                    tracing::debug!(%error, "summary not seen, still waiting");
                    false
                }
                Ok(Err(error)) => return Err(error),
            };
            let pause = pacing.pause(self, news, hold, asked.elapsed());
            if Instant::now() + pause >= deadline {
                return Err(self.overdue());
            }
            // A pause of no length would still wait for the next tick of the runtime's timer.
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    }

    /// Every status and progress of the summary as it happens, the present one first; the stream
    /// ends after a final status. It follows the server's event stream, comes back to it when it
    /// breaks, and polls where there is none.
    pub fn watch(&self) -> SummaryWatch {
        SummaryWatch::new(self.clone())
    }

    /// Calls the summary off.
    ///
    /// # Errors
    ///
    /// [`Error`] with code `summary_final` when it has ended already,
    /// [`ErrorKind::NotFound`] when the caller has no such summary.
    pub async fn cancel(&self) -> Result<()> {
        let call = Call::new(Method::DELETE, self.path(), Replay::Safe);
        match self.client.send(&call).await {
            Ok(_) => Ok(()),
            // The first attempt may have called it off, and its answer was lost.
            Err(refusal) if refusal.repeated && refusal.error.status_code() == Some(409) => {
                let cancelled = self.poll().await?.status == crate::SummaryStatus::Cancelled;
                if cancelled { Ok(()) } else { Err(refusal.into()) }
            }
            Err(refusal) => Err(Error::from(refusal).with_summary_id(self.id)),
        }
    }

    /// The summary as soon as its revision is past `after`, or as it stands after `hold`.
    pub(crate) async fn look(&self, after: Option<Revision>, hold: Duration) -> Result<Summary> {
        let mut call = Call::get(self.path()).held(hold);
        if let Some(after) = after {
            call = call.query("wait", &hold.as_secs_f64()).query("after", &after);
        }
        let answer = self.client.send(&call).await;
        answer.map_err(|refusal| Error::from(refusal).with_summary_id(self.id))?.data()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn path(&self) -> String {
        format!("/api/diary/summary/{}", self.id)
    }

    fn overdue(&self) -> Error {
        Error::new(ErrorKind::Timeout).with_retryable().with_summary_id(self.id)
    }
}

/// When to ask again. A server that holds the question paces by itself; one that answers early
/// with nothing new does not hold questions, and is asked now and then.
#[derive(Debug, Default)]
pub(crate) struct Pacing {
    timed: u32,
}

impl Pacing {
    pub(crate) fn pause(
        &mut self,
        handle: &SummaryHandle,
        news: bool,
        hold: Duration,
        took: Duration,
    ) -> Duration {
        if news || (!hold.is_zero() && took >= hold / 2) {
            self.timed = 0;
            return Duration::ZERO;
        }
        self.timed += 1;
        handle.client.options().polling.interval(self.timed)
    }
}

/// The reflections that summaries made. Made by [`Client::reflections`].
#[derive(Debug, Clone)]
pub struct Reflections {
    client: Client,
}

impl Reflections {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// The newest reflection on a week, if there is one. It says itself whether a diary was
    /// changed since.
    ///
    /// # Errors
    ///
    /// [`Error`] when the server does not answer or nobody is signed in.
    pub async fn get(&self, week: Week) -> Result<Option<Reflection>> {
        let call = Call::get("/api/diary/reflections")
            .query("start", &week.start())
            .query("end", &week.end());
        self.client.send(&call).await?.data_or_null()
    }
}
