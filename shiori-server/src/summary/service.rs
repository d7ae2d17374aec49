use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shiori_sdk::{
    ChangeHint, Date, FailureKind, PartialText, Reflection, Revision, Summary, SummaryAndText,
    SummaryHint, SummaryId, SummaryStatus, Timestamp, UserId, Version, Week,
};
use shiori_worker::{Clock, JobQueue, protocol::TextSoFar, queue::QueueError};
use tokio::{
    sync::Semaphore,
    task::yield_now,
    time::{Instant, timeout, timeout_at},
    try_join,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{SummaryJob, SummaryPolicy, Wakeups, wakeups::Waiter};
use crate::{
    changes::Changes,
    metrics::{AttemptOutcome, Metrics},
    store::{
        DiaryHead, DiaryStore, InsertOutcome, Page, ResultPlace, ResultRecord, StoreError,
        StoredResult, SummaryStore,
    },
};

/// Attempts of a step whose compare-and-swap fails. Each failed attempt is the success of another
/// caller, and few callers change one summary at a time.
pub(super) const MAX_CONFLICT_ATTEMPTS: u32 = 16;

/// The timeout of offering a hint. After a failure, the dispatcher offers it.
const OFFER_TIMEOUT: Duration = Duration::from_millis(500);

/// Waiters read the job and their session again after this time, in case a wake-up was lost or the
/// session has ended, also on another server.
const REREAD_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum unfinished summaries of each status that are counted for the metrics. They are counted at
/// most every 5 s, so this is the rate at which the check of the hints reads rows.
const MAX_COUNTED: u32 = 10_000;

/// The longest wait. It keeps deadlines within the range of the clock.
const MAX_WAIT: Duration = Duration::from_hours(24);

/// Requests summaries, moves them through their states, and reads them.
#[derive(Debug, Clone)]
pub(crate) struct Summaries(pub(super) Arc<SummariesParts>);

/// Maximum hints that are offered in the background. A hint takes less than a millisecond; while
/// the queue does not respond, further hints are left to the dispatcher.
pub(crate) const MAX_OFFERS: usize = 1024;

/// The dependencies of the service.
#[derive(Debug)]
pub(crate) struct SummariesParts {
    pub(crate) store: Arc<dyn SummaryStore>,
    pub(crate) diaries: Arc<dyn DiaryStore>,
    pub(crate) queue: Arc<dyn JobQueue>,
    pub(crate) wakeups: Wakeups,
    pub(crate) changes: Changes,
    pub(crate) policy: SummaryPolicy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    /// Permits of the hints that are being offered in the background; [`MAX_OFFERS`].
    pub(crate) offers: Arc<Semaphore>,
    /// Random numbers from 0 to 1, for pauses.
    pub(crate) jitter: fn() -> f64,
    pub(crate) stopping: CancellationToken,
}

/// The state of a week before a request for its summary.
#[derive(Debug)]
pub(crate) struct WeekState {
    user: UserId,
    week: Week,
    diaries: Vec<DiaryHead>,
    latest: Option<SummaryJob>,
}

/// A summary as it was read.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) summary: Summary,
    /// The number of its text so far; `None` without one.
    pub(crate) text_number: Option<u32>,
}

/// What a client that waits for a summary has received.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) revision: Revision,
    /// The number of the last text of this revision, 0 without one; `None` if the client does not
    /// wait for texts.
    pub(crate) text_number: Option<u32>,
}

/// The outcome of [`Summaries::request`].
#[derive(Debug)]
pub(crate) enum Requested {
    /// The summary is unfinished.
    Accepted(SummaryId, SummaryStatus),
    /// A completed summary has read the current versions of all diaries.
    AlreadyDone(SummaryId),
}

/// A step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SummaryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("too many concurrent steps")]
    Contended,
    #[error("unknown status")]
    UnknownStatus,
    #[error("days without a diary")]
    Incomplete(Vec<Date>),
    #[error("too many unfinished summaries")]
    TooMany,
    #[error("too many summaries of one day")]
    TooManyOnDay(u32),
    #[error("the session has ended")]
    SessionEnded,
    #[error("summary not found")]
    NotFound,
    #[error("the summary has a final status")]
    Final,
    #[error("the summary cannot be claimed")]
    NotClaimable,
    #[error("the lease is lost")]
    LeaseLost,
}

impl Summaries {
    pub(crate) fn new(parts: SummariesParts) -> Self {
        Self(Arc::new(parts))
    }

    /// Reads what a request for a week's summary depends on. With `force`, no earlier summary.
    pub(crate) async fn week(
        &self,
        user: UserId,
        week: Week,
        force: bool,
    ) -> Result<WeekState, StoreError> {
        let parts = &*self.0;
        let latest = async {
            if force {
                return Ok(None);
            }
            // Sent after the statement for the diaries, which is slower.
            yield_now().await;
            parts.store.latest_completed(user, week).await
        };
        let (diaries, latest) = try_join!(parts.diaries.list(user, week.into()), latest)?;
        Ok(WeekState { user, week, diaries, latest })
    }

    /// Requests a week's summary: inserts the job, then offers its hint. If the hint is lost, the
    /// dispatcher offers it again.
    pub(crate) async fn request(
        &self,
        state: WeekState,
        trace: Option<String>,
    ) -> Result<Requested, SummaryError> {
        let parts = &*self.0;
        let WeekState { user, week, diaries, latest } = state;
        if diaries.len() < parts.policy.required_days as usize {
            let written = |date: &Date| diaries.iter().any(|head| head.date == *date);
            return Err(SummaryError::Incomplete(week.dates().filter(|d| !written(d)).collect()));
        }
        if let Some(latest) = latest
            && latest.versions_read == versions(&diaries)
        {
            return Ok(Requested::AlreadyDone(latest.id));
        }
        let job = SummaryJob::new(user, week, trace, parts.clock.now(), &parts.policy);
        match parts.store.insert(&job, parts.policy.quota()).await? {
            InsertOutcome::Inserted => {
                parts.metrics.summary_requested();
                self.publish(&job);
                let (id, status) = (job.id, job.status);
                self.offer_in_background(job);
                Ok(Requested::Accepted(id, status))
            }
            InsertOutcome::Unfinished(job) => Ok(Requested::Accepted(job.id, job.status)),
            InsertOutcome::TooMany => Err(SummaryError::TooMany),
            InsertOutcome::TooManyOnDay(limit) => Err(SummaryError::TooManyOnDay(limit)),
        }
    }

    /// Deletes at most `limit` of a user's summaries. Returns how many it has deleted. The result of
    /// a running one is then rejected.
    pub(crate) async fn erase(&self, user: UserId, limit: u32) -> Result<u64, StoreError> {
        self.0.store.erase(user, limit).await
    }

    /// The user's summary. Other users' summaries are not found.
    pub(crate) async fn view(&self, user: UserId, id: SummaryId) -> Result<View, SummaryError> {
        let job = self.job(id).await?.filter(|job| job.user == user);
        let job = job.ok_or(SummaryError::NotFound)?;
        let result = match job.status {
            SummaryStatus::Completed => self.0.store.result(id).await?,
            _ => None,
        };
        let text_number = job.text_number.filter(|_| job.status == SummaryStatus::Running);
        Ok(View { summary: to_summary(job, result), text_number })
    }

    /// The text so far of a viewed summary; `None` if its run has ended meanwhile.
    pub(crate) async fn partial_text(
        &self,
        viewed: &Summary,
    ) -> Result<Option<PartialText>, StoreError> {
        self.0.store.partial_text(viewed.id, viewed.revision).await
    }

    /// The user's summary as soon as it is later than `known`, at the latest after `wait` or when the
    /// server stops. An error if the session ends meanwhile, within [`REREAD_INTERVAL`].
    pub(crate) async fn wait<F: Future<Output = bool>>(
        &self,
        user: UserId,
        id: SummaryId,
        known: Known,
        wait: Duration,
        is_signed_in: impl Fn() -> F,
    ) -> Result<SummaryAndText, SummaryError> {
        let deadline = Instant::now() + wait.min(MAX_WAIT);
        let mut waiter = self.0.wakeups.subscribe(id);
        loop {
            let View { summary, text_number } = self.view(user, id).await?;
            let is_over = Instant::now() >= deadline || self.is_stopping();
            let is_later = summary.revision > known.revision || summary.status.is_final();
            let text_number = known.text_number.and(text_number);
            if is_later || is_over || text_number > known.text_number {
                let partial_text = match text_number {
                    Some(_) => self.partial_text(&summary).await?,
                    None => None,
                };
                return Ok(SummaryAndText { summary, partial_text });
            }
            // The loop checks the deadline.
            let _ = timeout_at(deadline, self.changed(&mut waiter)).await;
            if !is_signed_in().await {
                return Err(SummaryError::SessionEnded);
            }
        }
    }

    /// Returns when the summary may have changed: after a wake-up, when the server stops, and at
    /// the latest after [`REREAD_INTERVAL`].
    pub(crate) async fn changed(&self, waiter: &mut Waiter) {
        // Biased, so that a simulation can be repeated.
        tokio::select! {
            biased;
            () = waiter.notified() => {}
            () = tokio::time::sleep(REREAD_INTERVAL) => {}
            () = self.0.stopping.cancelled() => {}
        }
    }

    pub(crate) fn subscribe(&self, id: SummaryId) -> Waiter {
        self.0.wakeups.subscribe(id)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.0.stopping.is_cancelled()
    }

    /// Cancels the user's summary.
    pub(crate) async fn cancel(&self, user: UserId, id: SummaryId) -> Result<(), SummaryError> {
        let now = self.0.clock.now();
        let cancelled = self.step(id, |job| {
            if job.user != user {
                return Err(SummaryError::NotFound);
            }
            // The status was written by a newer server and may be final. That server can cancel it.
            if job.status == SummaryStatus::Unknown {
                return Err(SummaryError::UnknownStatus);
            }
            job.cancel(now).map_err(|_| SummaryError::Final)
        });
        match cancelled.await {
            Err(SummaryError::Store(StoreError::Corrupt { .. })) => {
                if !self.0.store.cancel_unreadable(user, id, now).await? {
                    return Err(SummaryError::NotFound);
                }
                self.0.wakeups.wake(id);
                // The new revision is unknown.
                self.0.changes.publish(user, ChangeHint::Resync);
                self.0.metrics.summary_finished(SummaryStatus::Cancelled);
                Ok(())
            }
            other => other,
        }
    }

    /// The newest reflection on a week; `None` if no summary is completed.
    pub(crate) async fn reflection(
        &self,
        user: UserId,
        week: Week,
    ) -> Result<Option<Reflection>, StoreError> {
        let Some(found) = self.0.store.latest_result(user, week).await? else { return Ok(None) };
        let heads = self.0.diaries.list(user, week.into()).await?;
        Ok(Some(Reflection {
            summary_id: found.job.id,
            start: week.start(),
            end: week.end(),
            stale: found.job.versions_read != versions(&heads),
            reflection: found.result.reflection,
            emotions: found.result.emotions,
            truncated: found.result.truncated,
            generated_at: found.result.generated_at,
            engine: found.result.engine,
        }))
    }

    /// The results of the user's summaries after a place.
    pub(crate) async fn results_page(
        &self,
        user: UserId,
        after: &ResultPlace,
    ) -> Result<Page<StoredResult, ResultPlace>, StoreError> {
        self.0.store.results_page(user, after).await
    }

    /// The time of the summaries' clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Reads the backlog for the metrics. What cannot be read within this time keeps its last value.
    pub(crate) async fn read_backlog(&self, limit: Duration) {
        let parts = &*self.0;
        let (depth, unfinished) = tokio::join!(
            timeout(limit, parts.queue.depth()),
            timeout(limit, parts.store.unfinished(MAX_COUNTED)),
        );
        if let Ok(Ok(depth)) = depth {
            parts.metrics.backlog().set_queue_depth(depth);
        }
        if let Ok(Ok(unfinished)) = unfinished {
            parts.metrics.backlog().set_unfinished(unfinished);
        }
    }

    pub(crate) async fn queue_depth(&self) -> Result<usize, QueueError> {
        self.0.queue.depth().await
    }

    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        self.0.store.ping().await
    }

    pub(super) async fn job(&self, id: SummaryId) -> Result<Option<SummaryJob>, StoreError> {
        self.0.store.get(id).await
    }

    /// Reads the job, computes the next one and stores it by compare-and-swap. Repeats this after a
    /// conflict.
    pub(super) async fn step(
        &self,
        id: SummaryId,
        compute: impl Fn(&SummaryJob) -> Result<SummaryJob, SummaryError>,
    ) -> Result<(), SummaryError> {
        for _ in 0..MAX_CONFLICT_ATTEMPTS {
            let job = self.job(id).await?.ok_or(SummaryError::NotFound)?;
            let next = compute(&job)?;
            if self.compare_and_swap(&job, &next, None).await? {
                return Ok(());
            }
        }
        Err(SummaryError::Contended)
    }

    /// One compare-and-swap. On success, wakes the waiters and offers the hint of a requeued job.
    pub(super) async fn compare_and_swap(
        &self,
        from: &SummaryJob,
        to: &SummaryJob,
        result: Option<&ResultRecord>,
    ) -> Result<bool, StoreError> {
        if !self.0.store.compare_and_swap(from, to, result).await? {
            return Ok(false);
        }
        self.swapped(from, to).await;
        Ok(true)
    }

    /// One compare-and-swap of a heartbeat with a text. On success, wakes the waiters.
    pub(super) async fn swap_text(
        &self,
        from: &SummaryJob,
        to: &SummaryJob,
        text: &TextSoFar,
    ) -> Result<bool, StoreError> {
        let has_swapped = self.0.store.swap_text(from, to, text).await?;
        if has_swapped {
            self.swapped(from, to).await;
        }
        Ok(has_swapped)
    }

    /// What follows a step that was stored. Other servers receive ids, never a text.
    async fn swapped(&self, from: &SummaryJob, to: &SummaryJob) {
        self.0.wakeups.wake(to.id);
        if to.revision > from.revision {
            self.publish(to);
            tracing::debug!(summary_id = %to.id, status = %to.status, revision = %to.revision, "summary advanced");
            if let Some(outcome) = attempt_outcome(from, to) {
                self.0.metrics.attempt_ended(outcome);
            }
            if to.status == SummaryStatus::Queued {
                self.offer(to).await;
            }
            if to.status.is_final() {
                self.0.metrics.summary_finished(to.status);
            }
        }
    }

    /// Hints the user's clients at the job's status.
    fn publish(&self, job: &SummaryJob) {
        let SummaryJob { id, status, revision, .. } = *job;
        let hint = SummaryHint { id, status, revision };
        self.0.changes.publish(job.user, ChangeHint::Summary(hint));
    }

    /// Offers the hint of a new job without delaying the response: the row is stored, so if the
    /// hint is lost, the dispatcher offers it again.
    fn offer_in_background(&self, job: SummaryJob) {
        let Ok(permit) = self.0.offers.clone().try_acquire_owned() else {
            tracing::warn!(summary_id = %job.id, "too many hints are being offered; the dispatcher will offer it");
            return;
        };
        let this = self.clone();
        let offering = async move {
            this.offer(&job).await;
            drop(permit);
        };
        tokio::spawn(offering.in_current_span());
    }

    pub(super) async fn offer(&self, job: &SummaryJob) {
        match timeout(OFFER_TIMEOUT, self.0.queue.offer(job.id, self.due(job))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(summary_id = %job.id, %error, "could not offer the hint; the dispatcher will");
            }
            Err(_) => {
                tracing::warn!(summary_id = %job.id, "offering the hint timed out; the dispatcher will offer it again");
            }
        }
    }

    /// When the job is due, by the queue's clock.
    pub(super) fn due(&self, job: &SummaryJob) -> Timestamp {
        let (due, here, there) = (job.not_before, self.0.clock.now(), self.0.queue.now());
        // One of the differences is zero. A job that has been due for long keeps its place before
        // newer ones.
        there + due.duration_since(here) - here.duration_since(due)
    }
}

/// How the attempt of `from` ended with this step; `None` if there was none, or it continues.
fn attempt_outcome(from: &SummaryJob, to: &SummaryJob) -> Option<AttemptOutcome> {
    if from.status != SummaryStatus::Running {
        return None;
    }
    let failure = to.failure.as_ref().map(|failure| failure.kind);
    match to.status {
        SummaryStatus::Completed => Some(AttemptOutcome::Completed),
        SummaryStatus::Cancelled => Some(AttemptOutcome::Cancelled),
        SummaryStatus::Queued | SummaryStatus::Failed
            if failure == Some(FailureKind::WorkerLost) =>
        {
            Some(AttemptOutcome::Lost)
        }
        SummaryStatus::Queued => Some(AttemptOutcome::Requeued),
        SummaryStatus::Failed => Some(AttemptOutcome::Failed),
        _ => None,
    }
}

pub(super) fn versions<'a>(
    heads: impl IntoIterator<Item = &'a DiaryHead>,
) -> BTreeMap<Date, Version> {
    heads.into_iter().map(|head| (head.date, head.version)).collect()
}

fn to_summary(job: SummaryJob, result: Option<ResultRecord>) -> Summary {
    let (reflection, engine, emotions, truncated) = match result {
        Some(result) => {
            (Some(result.reflection), Some(result.engine), result.emotions, result.truncated)
        }
        None => (None, None, Vec::new(), Vec::new()),
    };
    Summary {
        id: job.id,
        start: job.week.start(),
        end: job.week.end(),
        status: job.status,
        revision: job.revision,
        attempts: job.attempts,
        requested_at: job.requested_at,
        started_at: job.started_at,
        finished_at: job.finished_at,
        reflection,
        engine,
        emotions,
        truncated,
        failure: job.failure,
        progress: job.progress,
    }
}
