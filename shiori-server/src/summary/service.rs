use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use shiori_sdk::{
    Date, DateRange, DayEmotion, DiarySummaryStatus, Emotion, FailureKind, Reflection, Revision,
    Summary, SummaryFailure, SummaryId, SummaryStatus, UserId, Version, Week,
};
use shiori_worker::{
    Clock, JobQueue,
    protocol::{Claim, ClaimedDay, Failure, Heartbeat, LeaseToken, SummaryResult},
    queue::QueueError,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{Completion, SummaryJob, SummaryPolicy, Wakeups, wakeups::Waiter};
use crate::{
    metrics::Metrics,
    store::{
        DiaryHead, DiaryRecord, DiaryStore, DueKind, InsertOutcome, ResultRecord, StoreError,
        SummaryStore, WeekStatus,
    },
};

/// How often a step is computed anew because somebody else was first. Each loss is another's
/// success, and one summary has few who step it.
const STEP_TRIES: u32 = 16;

/// How long the queue may take to accept a hint before the dispatcher is left to offer it.
const OFFER_PATIENCE: Duration = Duration::from_millis(500);

/// Those who wait read the job again at least this often, should a wake have been lost.
const REREAD: Duration = Duration::from_secs(5);

/// Asks for, steps and shows summaries.
#[derive(Debug, Clone)]
pub(crate) struct Summaries(Arc<SummariesParts>);

/// What the service stands on.
#[derive(Debug)]
pub(crate) struct SummariesParts {
    pub(crate) store: Arc<dyn SummaryStore>,
    pub(crate) diaries: Arc<dyn DiaryStore>,
    pub(crate) queue: Arc<dyn JobQueue>,
    pub(crate) wakeups: Wakeups,
    pub(crate) policy: SummaryPolicy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) stopping: CancellationToken,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Requested {
    /// It is on its way.
    Accepted(SummaryId, SummaryStatus),
    /// One is done, and no diary has changed since.
    AlreadyDone(SummaryId),
}

/// A step was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SummaryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("too many steps at once")]
    Contended,
    #[error("days without a diary")]
    Incomplete(Vec<Date>),
    #[error("too many unfinished summaries")]
    TooMany,
    #[error("no such summary")]
    NotFound,
    #[error("the summary has ended")]
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

    /// Asks for a week's summary: a job first, then a hint. Losing the hint loses nothing.
    pub(crate) async fn request(
        &self,
        user: UserId,
        week: Week,
        force: bool,
        trace: Option<String>,
    ) -> Result<Requested, SummaryError> {
        let parts = &*self.0;
        let heads = parts.diaries.list(user, week.into()).await?;
        if heads.len() < parts.policy.required_days as usize {
            let written = |date: &Date| heads.iter().any(|head| head.date == *date);
            return Err(SummaryError::Incomplete(week.dates().filter(|d| !written(d)).collect()));
        }
        if !force
            && let Some(found) = parts.store.latest_result(user, week).await?
            && found.job.versions_read == versions(&heads)
        {
            return Ok(Requested::AlreadyDone(found.job.id));
        }
        let job = SummaryJob::new(user, week, trace, parts.clock.now(), &parts.policy);
        match parts.store.insert(&job, parts.policy.max_unfinished).await? {
            InsertOutcome::Inserted => {
                parts.metrics.summary_requested();
                self.offer(&job).await;
                Ok(Requested::Accepted(job.id, job.status))
            }
            InsertOutcome::Unfinished(job) => Ok(Requested::Accepted(job.id, job.status)),
            InsertOutcome::TooMany => Err(SummaryError::TooMany),
        }
    }

    /// The user's summary as it stands; another person's is as good as none.
    pub(crate) async fn view(&self, user: UserId, id: SummaryId) -> Result<Summary, SummaryError> {
        let job = self.job(id).await?.filter(|job| job.user == user);
        let job = job.ok_or(SummaryError::NotFound)?;
        let result = match job.status {
            SummaryStatus::Completed => self.0.store.result(id).await?,
            _ => None,
        };
        Ok(to_summary(job, result))
    }

    /// The user's summary as soon as its revision is past `after`, or as it stands when the time
    /// is over or the server stops.
    pub(crate) async fn wait(
        &self,
        user: UserId,
        id: SummaryId,
        after: Revision,
        wait: Duration,
    ) -> Result<Summary, SummaryError> {
        let deadline = Instant::now() + wait;
        let mut waiter = self.0.wakeups.subscribe(id);
        loop {
            let summary = self.view(user, id).await?;
            let over = Instant::now() >= deadline || self.0.stopping.is_cancelled();
            if summary.revision > after || summary.status.is_final() || over {
                return Ok(summary);
            }
            self.woken(&mut waiter, deadline).await;
        }
    }

    /// Ends when the summary may have changed: at a wake, at the deadline, when the server stops,
    /// and now and then without a reason.
    pub(crate) async fn woken(&self, waiter: &mut Waiter, deadline: Instant) {
        let reread = (Instant::now() + REREAD).min(deadline);
        tokio::select! {
            () = waiter.woken() => {}
            () = tokio::time::sleep_until(reread) => {}
            () = self.0.stopping.cancelled() => {}
        }
    }

    pub(crate) fn subscribe(&self, id: SummaryId) -> Waiter {
        self.0.wakeups.subscribe(id)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.0.stopping.is_cancelled()
    }

    /// Calls the user's summary off.
    pub(crate) async fn cancel(&self, user: UserId, id: SummaryId) -> Result<(), SummaryError> {
        let now = self.0.clock.now();
        self.step(id, |job| {
            if job.user != user {
                return Err(SummaryError::NotFound);
            }
            job.cancel(now).map(Some).map_err(|_| SummaryError::Final)
        })
        .await
    }

    /// Gives a worker the lease under this token, and what is to be summarised as it stands now.
    pub(crate) async fn claim(
        &self,
        id: SummaryId,
        worker: &str,
        token: LeaseToken,
    ) -> Result<Claim, SummaryError> {
        let parts = &*self.0;
        for _ in 0..STEP_TRIES {
            let now = parts.clock.now();
            let job = self.job(id).await?.ok_or(SummaryError::NotClaimable)?;
            if !job.is_claimable(token, now, &parts.policy) {
                return Err(SummaryError::NotClaimable);
            }
            let records = parts.diaries.list_with_content(job.user, job.week.into()).await?;
            if records.len() < parts.policy.required_days as usize {
                let failure = SummaryFailure {
                    kind: FailureKind::WeekIncomplete,
                    message: "a diary of the week was deleted".to_owned(),
                };
                let rejected = job.reject(failure, now).map_err(|_| SummaryError::NotClaimable)?;
                self.compare_and_swap(&job, &rejected, None).await?;
                return Err(SummaryError::NotClaimable);
            }
            let read = versions(records.iter().map(|record| &record.head));
            let claimed = job
                .claim(worker.to_owned(), token, read, now, &parts.policy)
                .map_err(|_| SummaryError::NotClaimable)?;
            if self.compare_and_swap(&job, &claimed, None).await? {
                return Ok(Claim {
                    lease_token: token,
                    lease_ms: millis(parts.policy.lease),
                    attempt: claimed.attempts,
                    is_last: claimed.attempts >= parts.policy.max_attempts,
                    trace: claimed.trace,
                    days: claimed_days(records).await?,
                });
            }
        }
        Err(SummaryError::Contended)
    }

    /// A worker is still on it.
    pub(crate) async fn heartbeat(
        &self,
        id: SummaryId,
        beat: &Heartbeat,
    ) -> Result<(), SummaryError> {
        self.step(id, |job| {
            let now = self.0.clock.now();
            job.heartbeat(beat.lease_token, beat.progress, now, &self.0.policy)
                .map(Some)
                .map_err(|_| SummaryError::LeaseLost)
        })
        .await
    }

    /// Stores what a worker made, once.
    pub(crate) async fn complete(&self, result: SummaryResult) -> Result<(), SummaryError> {
        let id = result.summary_id;
        for _ in 0..STEP_TRIES {
            let now = self.0.clock.now();
            let job = self.job(id).await?.ok_or(SummaryError::LeaseLost)?;
            let next = match job.complete(result.lease_token, now) {
                Ok(Completion::Completed(next)) => next,
                Ok(Completion::AlreadyCompleted) => return Ok(()),
                Err(_) => return Err(SummaryError::LeaseLost),
            };
            let record = ResultRecord {
                reflection: result.reflection.clone(),
                engine: result.engine.clone(),
                emotion_engine: result.emotion_engine.clone(),
                emotions: result.emotion_results.clone(),
                truncated: result.truncated.clone(),
                usage: result.usage,
                generated_at: now,
            };
            if self.compare_and_swap(&job, &next, Some(&record)).await? {
                return Ok(());
            }
        }
        Err(SummaryError::Contended)
    }

    /// A worker gives up or hands back.
    pub(crate) async fn fail(&self, id: SummaryId, failure: &Failure) -> Result<(), SummaryError> {
        let parts = &*self.0;
        let jitter = rand::random();
        let told = SummaryFailure { kind: failure.kind, message: failure.message.clone() };
        let retry_after = failure.retry_after_ms.map(Duration::from_millis);
        self.step(id, |job| {
            let now = parts.clock.now();
            let (token, retryable) = (failure.lease_token, failure.retryable);
            job.fail(token, told.clone(), retryable, retry_after, jitter, now, &parts.policy)
                .map(Some)
                .map_err(|_| SummaryError::LeaseLost)
        })
        .await
    }

    /// The newest reflection on a week, if there is one.
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

    /// What the summaries say of each day in the range.
    pub(crate) async fn annotations(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Annotations, StoreError> {
        let coverage = self.0.store.week_statuses(user, range).await?;
        let tags = self.0.store.emotion_tags(user, range).await?;
        Ok(Annotations { coverage, tags })
    }

    /// Offers overdue hints again and takes back leases that ran out, at most `limit` of each;
    /// how many there were. Any number of servers may do so at once.
    pub(crate) async fn dispatch(&self, limit: u32) -> Result<usize, SummaryError> {
        let parts = &*self.0;
        let expired = parts.store.list_due(DueKind::Lease, parts.clock.now(), limit).await?;
        let mut found = expired.len();
        for job in expired {
            let taken = job.expire_lease(rand::random(), parts.clock.now(), &parts.policy);
            if let Some(next) = taken
                && self.compare_and_swap(&job, &next, None).await?
            {
                parts.metrics.lease_expired();
                tracing::warn!(summary_id = %job.id, attempts = job.attempts, "lease ran out");
            }
        }
        let overdue = parts.store.list_due(DueKind::Hint, parts.clock.now(), limit).await?;
        found += overdue.len();
        for job in overdue {
            if let Some(next) = job.reschedule_hint(parts.clock.now(), &parts.policy)
                && parts.store.compare_and_swap(&job, &next, None).await?
            {
                self.offer(&job).await;
            }
        }
        Ok(found)
    }

    pub(crate) async fn queue_depth(&self) -> Result<usize, QueueError> {
        self.0.queue.depth().await
    }

    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        self.0.store.ping().await
    }

    async fn job(&self, id: SummaryId) -> Result<Option<SummaryJob>, StoreError> {
        self.0.store.get(id).await
    }

    /// Reads, computes and swaps until nobody was in between.
    async fn step(
        &self,
        id: SummaryId,
        compute: impl Fn(&SummaryJob) -> Result<Option<SummaryJob>, SummaryError>,
    ) -> Result<(), SummaryError> {
        for _ in 0..STEP_TRIES {
            let job = self.job(id).await?.ok_or(SummaryError::NotFound)?;
            let Some(next) = compute(&job)? else { return Ok(()) };
            if self.compare_and_swap(&job, &next, None).await? {
                return Ok(());
            }
        }
        Err(SummaryError::Contended)
    }

    /// One compare-and-swap, and what follows from it: those who wait are woken, and a job that
    /// is queued again gets its hint.
    async fn compare_and_swap(
        &self,
        from: &SummaryJob,
        to: &SummaryJob,
        result: Option<&ResultRecord>,
    ) -> Result<bool, StoreError> {
        if !self.0.store.compare_and_swap(from, to, result).await? {
            return Ok(false);
        }
        self.0.wakeups.wake(to.id);
        if to.revision > from.revision {
            tracing::debug!(summary_id = %to.id, status = %to.status, revision = %to.revision, "summary stepped");
            if to.status == SummaryStatus::Queued {
                self.offer(to).await;
            }
            if to.status.is_final() {
                self.0.metrics.summary_finished(to.status);
            }
        }
        Ok(true)
    }

    async fn offer(&self, job: &SummaryJob) {
        match timeout(OFFER_PATIENCE, self.0.queue.offer(job.id, job.not_before)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(summary_id = %job.id, %error, "hint not offered; the dispatcher will");
            }
            Err(_) => {
                tracing::warn!(summary_id = %job.id, "queue too slow; the dispatcher will offer the hint");
            }
        }
    }
}

/// What the summaries say of some days.
#[derive(Debug)]
pub(crate) struct Annotations {
    coverage: Vec<WeekStatus>,
    tags: BTreeMap<Date, DayEmotion>,
}

impl Annotations {
    /// Where the day stands, given the version of its diary.
    pub(crate) fn status(&self, date: Date, version: Version) -> DiarySummaryStatus {
        let newest = self.coverage.iter().rev().find(|request| request.week.contains(date));
        match newest {
            None => DiarySummaryStatus::None,
            Some(request) => match request.status {
                SummaryStatus::Completed if request.versions_read.get(&date) == Some(&version) => {
                    DiarySummaryStatus::Completed
                }
                SummaryStatus::Completed => DiarySummaryStatus::Stale,
                SummaryStatus::Failed => DiarySummaryStatus::Failed,
                _ => DiarySummaryStatus::Pending,
            },
        }
    }

    /// The emotion that the day was last tagged with.
    pub(crate) fn emotion(&self, date: Date) -> Option<Emotion> {
        self.tags.get(&date).map(|tag| tag.label)
    }
}

fn versions<'a>(heads: impl IntoIterator<Item = &'a DiaryHead>) -> BTreeMap<Date, Version> {
    heads.into_iter().map(|head| (head.date, head.version)).collect()
}

/// The texts are taken out of the documents on a thread of their own: a week may hold megabytes.
fn claimed_days(
    records: Vec<DiaryRecord>,
) -> impl Future<Output = Result<Vec<ClaimedDay>, SummaryError>> {
    let extraction = tokio::task::spawn_blocking(move || {
        let day = |record: DiaryRecord| ClaimedDay {
            date: record.head.date,
            diary_id: record.head.id,
            version: record.head.version,
            texts: record.content.block_texts(),
            title: record.head.title,
        };
        records.into_iter().map(day).collect()
    });
    // The lease that was just given runs out by itself should this fail.
    async { extraction.await.map_err(|_| SummaryError::Contended) }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
