//! The steps of a lease: claim, heartbeat, result, failure, expiry.

use std::time::Duration;

use shiori_sdk::{FailureKind, SummaryFailure, SummaryId, Timestamp};
use shiori_worker::protocol::{Claim, ClaimedDay, Heartbeat, LeaseToken, SummaryResult};
use tokio::time::sleep;

use super::{
    AttemptFailure, Completion, Summaries, SummaryError, SummaryJob,
    service::{MAX_CONFLICT_ATTEMPTS, versions},
};
use crate::store::{DiaryRecord, DueKind, ResultRecord, RowId, StoreError};

/// Maximum overdue rows in one read. More than a worker takes, because some rows may be unreadable.
const MAX_OVERDUE: u32 = 1000;

/// Bounds of the time that an early claim may wait.
const MIN_EARLY_CLAIM: Duration = Duration::from_millis(50);
const MAX_EARLY_CLAIM: Duration = Duration::from_secs(1);

/// How long an unreadable row is postponed. A newer server may be able to read it.
pub(super) const UNREADABLE_PAUSE: Duration = Duration::from_secs(600);

/// The texts of a week with at most these bytes of documents are extracted within a fraction of a
/// millisecond.
const SHORT_WEEK_BYTES: usize = 32 * 1024;

/// How long a row is postponed after its step failed.
const FAILED_PAUSE: Duration = Duration::from_secs(30);

impl Summaries {
    /// Grants the lease of a summary to a worker under this token. Returns the current diaries of
    /// the week. `patience` is the worker's; by default, that of the policy.
    pub(crate) async fn claim(
        &self,
        id: SummaryId,
        worker: &str,
        token: LeaseToken,
        patience: Option<Duration>,
    ) -> Result<Claim, SummaryError> {
        let parts = &*self.0;
        let mut has_waited = false;
        for _ in 0..MAX_CONFLICT_ATTEMPTS {
            let now = parts.clock.now();
            let job = match self.job(id).await {
                // The dispatcher reports it.
                Err(StoreError::Corrupt { .. }) => None,
                job => job?,
            };
            let job = job.ok_or(SummaryError::NotClaimable)?;
            if !job.is_claimable(token, now, &parts.policy) {
                let early = job.early_by(now);
                if !has_waited && !early.is_zero() && early <= self.early_claim() {
                    has_waited = true;
                    sleep(early).await;
                    continue;
                }
                if !early.is_zero() {
                    // The hint was taken too early. Without a new one, the job would wait for the
                    // dispatcher.
                    self.offer(&job).await;
                }
                return Err(SummaryError::NotClaimable);
            }
            let records = match parts.diaries.list_with_content(job.user, job.week.into()).await {
                Err(StoreError::Corrupt { .. }) => {
                    if self.reject_unreadable(&job).await? {
                        return Err(SummaryError::NotClaimable);
                    }
                    continue;
                }
                records => records?,
            };
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
                let patience = patience.unwrap_or(parts.policy.llm_patience.get());
                let is_overdue = claimed.is_overdue(patience, now);
                return Ok(Claim {
                    lease_token: token,
                    lease_ms: millis(parts.policy.lease),
                    attempt: claimed.attempts,
                    is_last: is_overdue || claimed.attempts >= parts.policy.max_attempts,
                    is_overdue: Some(is_overdue),
                    trace: claimed.trace,
                    days: claimed_days(records).await?,
                });
            }
        }
        Err(SummaryError::Contended)
    }

    /// At most `limit` summaries that can be claimed and have waited longer than the patience, the
    /// oldest request first.
    pub(crate) async fn overdue(
        &self,
        patience: Option<Duration>,
        limit: usize,
    ) -> Result<Vec<SummaryId>, SummaryError> {
        let parts = &*self.0;
        let now = parts.clock.now();
        let patience = patience.unwrap_or(parts.policy.llm_patience.get());
        let mut ids = parts.store.list_overdue(now - patience, now, MAX_OVERDUE).await?;
        ids.truncate(limit);
        Ok(ids)
    }

    /// How early a claim may be to wait instead of being rejected: the possible difference between
    /// two servers, and between the clocks of store and queue.
    fn early_claim(&self) -> Duration {
        (2 * self.0.clock.error()).clamp(MIN_EARLY_CLAIM, MAX_EARLY_CLAIM)
    }

    /// Fails a job with an unreadable diary, because another attempt would fail, too. Returns
    /// `false` if the diaries or the job have changed in the meantime.
    async fn reject_unreadable(&self, job: &SummaryJob) -> Result<bool, SummaryError> {
        let parts = &*self.0;
        let mut unreadable = Vec::new();
        for date in job.week.dates() {
            match parts.diaries.get(job.user, date).await {
                Err(StoreError::Corrupt { .. }) => unreadable.push(date.to_string()),
                read => drop(read?),
            }
        }
        if unreadable.is_empty() {
            return Ok(false);
        }
        let failure = SummaryFailure {
            kind: FailureKind::UnreadableDiary,
            message: format!("could not read the diary of {}", unreadable.join(", ")),
        };
        tracing::error!(summary_id = %job.id, days = unreadable.len(), "could not read diaries of a week");
        let rejected =
            job.reject(failure, parts.clock.now()).map_err(|_| SummaryError::NotClaimable)?;
        Ok(self.compare_and_swap(job, &rejected, None).await?)
    }

    /// Extends the lease, and stores the progress and the text so far.
    pub(crate) async fn heartbeat(
        &self,
        id: SummaryId,
        beat: &Heartbeat,
    ) -> Result<(), SummaryError> {
        let parts = &*self.0;
        let number = beat.text.as_ref().map(|text| text.number);
        for _ in 0..MAX_CONFLICT_ATTEMPTS {
            let job = self.job(id).await?.ok_or(SummaryError::LeaseLost)?;
            let now = parts.clock.now();
            let next = job
                .heartbeat(beat.lease_token, beat.progress, number, now, &parts.policy)
                .map_err(|_| SummaryError::LeaseLost)?;
            // The text of a delayed heartbeat is not stored again.
            let text = beat.text.as_ref().filter(|_| next.text_number != job.text_number);
            let has_swapped = match text {
                Some(text) => self.swap_text(&job, &next, text).await?,
                None => self.compare_and_swap(&job, &next, None).await?,
            };
            if has_swapped {
                return Ok(());
            }
        }
        Err(SummaryError::Contended)
    }

    /// Stores a worker's result. Idempotent under one lease.
    pub(crate) async fn complete(&self, result: SummaryResult) -> Result<(), SummaryError> {
        let id = result.summary_id;
        for _ in 0..MAX_CONFLICT_ATTEMPTS {
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

    /// Ends a worker's attempt with a failure.
    pub(crate) async fn fail(
        &self,
        id: SummaryId,
        token: LeaseToken,
        failure: &AttemptFailure,
    ) -> Result<(), SummaryError> {
        let parts = &*self.0;
        let jitter = (parts.jitter)();
        self.step(id, |job| {
            job.fail(token, failure, jitter, parts.clock.now(), &parts.policy)
                .map_err(|_| SummaryError::LeaseLost)
        })
        .await
        .map_err(lost_with_its_row)
    }

    /// Requeues or fails jobs whose lease has expired, at most `limit`. Returns the number of
    /// expired leases. Several servers may run it concurrently.
    ///
    /// A row that cannot be read or whose step fails is postponed, so that it does not block
    /// others.
    pub(crate) async fn expire_leases(&self, limit: u32) -> Result<usize, SummaryError> {
        let expired = self.0.store.list_expired(self.certain_time(), limit).await?;
        let found = expired.len();
        for row in expired.unreadable {
            self.set_aside_unreadable(DueKind::Lease, &row).await?;
        }
        for job in expired.jobs {
            if let Err(error) = self.expire(&job).await {
                tracing::warn!(summary_id = %job.id, %error, "could not expire a lease");
                // If the store is unavailable, this fails, too, and the round ends.
                self.set_aside(DueKind::Lease, &job.id.into(), FAILED_PAUSE).await?;
            }
        }
        Ok(found)
    }

    /// Postpones a row that cannot be read, and reports it.
    pub(super) async fn set_aside_unreadable(
        &self,
        kind: DueKind,
        row: &RowId,
    ) -> Result<(), StoreError> {
        tracing::error!(%row, ?kind, "could not read the row of a summary; postponed");
        self.set_aside(kind, row, UNREADABLE_PAUSE).await
    }

    /// The current time minus the error of the clock, so that no lease is expired early.
    pub(super) fn certain_time(&self) -> Timestamp {
        self.0.clock.now() - self.0.clock.error()
    }

    async fn set_aside(
        &self,
        kind: DueKind,
        row: &RowId,
        pause: Duration,
    ) -> Result<(), StoreError> {
        self.0.store.postpone(kind, row, self.0.clock.now() + pause).await?;
        self.0.metrics.summary_set_aside();
        Ok(())
    }

    /// Requeues or fails a job whose lease has expired.
    async fn expire(&self, job: &SummaryJob) -> Result<(), SummaryError> {
        let parts = &*self.0;
        let next = job.expire_lease((parts.jitter)(), self.certain_time(), &parts.policy);
        if let Some(next) = next
            && self.compare_and_swap(job, &next, None).await?
        {
            parts.metrics.lease_expired();
            tracing::warn!(summary_id = %job.id, attempts = job.attempts, "lease expired");
        }
        Ok(())
    }
}

/// For a worker, a deleted summary is a lost lease.
fn lost_with_its_row(error: SummaryError) -> SummaryError {
    match error {
        SummaryError::NotFound => SummaryError::LeaseLost,
        other => other,
    }
}

/// Extracts the texts. On a blocking thread, if they are long: a week may have megabytes of text.
async fn claimed_days(records: Vec<DiaryRecord>) -> Result<Vec<ClaimedDay>, SummaryError> {
    let extract = |records: Vec<DiaryRecord>| {
        let day = |record: DiaryRecord| ClaimedDay {
            date: record.head.date,
            diary_id: record.head.id,
            version: record.head.version,
            texts: record.content.block_texts(),
            title: record.head.title,
        };
        records.into_iter().map(day).collect()
    };
    let bytes: usize = records.iter().map(|record| record.content.as_json().len()).sum();
    if bytes <= SHORT_WEEK_BYTES {
        return Ok(extract(records));
    }
    let extraction = tokio::task::spawn_blocking(move || extract(records));
    // If this fails, the new lease expires.
    extraction.await.map_err(|_| SummaryError::Contended)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
