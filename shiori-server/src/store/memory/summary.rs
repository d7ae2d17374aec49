use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use async_trait::async_trait;
use shiori_sdk::{
    Date, DateRange, DayEmotion, PartialText, Revision, SummaryId, SummaryStatus, Timestamp,
    UserId, Week,
};
use shiori_worker::protocol::TextSoFar;

use super::{Effect, Fault, MemoryStore, State};
use crate::{
    store::{
        CompletedSummary, DueJobs, DueKind, InsertOutcome, PAGE_RESULTS, Page, QueuedRow,
        ResultPlace, ResultRecord, RowId, StoreError, StoredResult, SummaryQuota, SummaryStore,
        Unfinished, WeekStatus,
    },
    summary::{Annotations, SummaryJob},
};

/// Finished summaries of a week that are kept.
const KEPT: usize = 5;

/// Maximum summaries that one step deletes.
const PURGE_BATCH: usize = 100;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A summary.
#[derive(Debug)]
pub(super) struct Row {
    job: SummaryJob,
    text: Option<PartialText>,
    result: Option<ResultRecord>,
}

impl State {
    fn jobs(&self) -> impl Iterator<Item = &SummaryJob> {
        self.summaries.values().map(|row| &row.job)
    }

    fn of_week(&self, user: UserId, week: Week) -> impl Iterator<Item = &Row> {
        self.summaries.values().filter(move |row| row.job.user == user && row.job.week == week)
    }

    /// The results of a user's summaries, in the order of their places.
    fn results(&self, user: UserId) -> Vec<(ResultPlace, &SummaryJob, &ResultRecord)> {
        let rows = self.summaries.values().filter(|row| row.job.user == user);
        let mut results: Vec<_> = rows
            .filter_map(|Row { job, result, .. }| {
                let result = result.as_ref()?;
                let place = ResultPlace {
                    start: job.week.start().as_number(),
                    generated_at: result.generated_at.as_millis(),
                    id: job.id.as_bytes().to_vec(),
                };
                Some((place, job, result))
            })
            .collect();
        results.sort_by_key(|(place, ..)| order(place));
        results
    }

    fn latest(&self, user: UserId, week: Week) -> Option<CompletedSummary> {
        let latest = self.results(user).into_iter().rfind(|(_, job, _)| job.week == week);
        latest.map(|(_, job, result)| CompletedSummary { job: job.clone(), result: result.clone() })
    }

    fn insert(&mut self, job: &SummaryJob, quota: SummaryQuota) -> InsertOutcome {
        let is_unfinished = |job: &&SummaryJob| !job.status.is_final();
        let of_user = || self.jobs().filter(is_unfinished).filter(|other| other.user == job.user);
        if let Some(other) = of_user().find(|other| other.week == job.week) {
            return InsertOutcome::Unfinished(Box::new(other.clone()));
        }
        if of_user().count() >= quota.unfinished as usize {
            return InsertOutcome::TooMany;
        }
        let today = job.requested_at.as_millis().div_euclid(DAY_MS);
        let counted = self.requests.get(&job.user).filter(|(day, _)| *day == today);
        let requests = counted.map_or(0, |(_, requests)| *requests);
        if let Some(limit) = quota.per_day.filter(|limit| requests >= *limit) {
            return InsertOutcome::TooManyOnDay(limit);
        }
        self.requests.insert(job.user, (today, requests + 1));
        self.summaries.insert(job.id, Row { job: job.clone(), text: None, result: None });
        InsertOutcome::Inserted
    }

    /// Deletes finished summaries of the job's week that are not kept.
    fn purge(&mut self, job: &SummaryJob) {
        let mut finished: Vec<_> = self
            .of_week(job.user, job.week)
            .map(|row| (Reverse((row.job.requested_at, row.job.id)), row.job.status))
            .filter(|(_, status)| status.is_final())
            .collect();
        finished.sort_unstable_by_key(|(newest, _)| *newest);
        let completed = self.latest(job.user, job.week).map(|found| found.job.id);
        let newest = finished.iter().find(|(_, status)| *status != SummaryStatus::Cancelled);
        let newest = newest.map(|(Reverse((_, id)), _)| *id);
        for (Reverse((_, id)), _) in finished.into_iter().skip(KEPT).take(PURGE_BATCH) {
            if Some(id) != completed && Some(id) != newest {
                self.summaries.remove(&id);
            }
        }
    }

    fn week_statuses(&self, user: UserId, range: DateRange) -> Vec<WeekStatus> {
        let mut jobs: Vec<_> = self
            .jobs()
            .filter(|job| job.user == user && job.status != SummaryStatus::Cancelled)
            .filter(|job| job.week.start() <= range.end() && range.start() <= job.week.end())
            .collect();
        jobs.sort_unstable_by_key(|job| Reverse((job.requested_at, job.id)));
        let mut weeks = BTreeSet::new();
        jobs.retain(|job| weeks.insert(job.week.start()));
        let status = |job: &SummaryJob| WeekStatus {
            week: job.week,
            status: job.status,
            versions_read: job.versions_read.clone(),
        };
        jobs.into_iter().rev().map(status).collect()
    }

    fn emotion_tags(&self, user: UserId, range: DateRange) -> BTreeMap<Date, DayEmotion> {
        let mut results = self.results(user);
        results.sort_by_key(|(place, ..)| (place.generated_at, place.id.clone()));
        let tags = results.into_iter().flat_map(|(_, _, result)| &result.emotions);
        let tags = tags.filter(|tag| range.contains(tag.date));
        tags.map(|tag| (tag.date, *tag)).collect()
    }
}

fn order(place: &ResultPlace) -> (u32, i64, Vec<u8>) {
    (place.start, place.generated_at, place.id.clone())
}

fn place(job: &SummaryJob) -> (i64, Vec<u8>) {
    (job.next_hint_at.as_millis(), job.id.as_bytes().to_vec())
}

impl MemoryStore {
    /// Replaces `from` with `to`, with the text and the result that belong to the step.
    async fn swap(
        &self,
        name: &'static str,
        (from, to): (&SummaryJob, &SummaryJob),
        text: Option<&TextSoFar>,
        result: Option<&ResultRecord>,
    ) -> Result<bool, StoreError> {
        let expiry = |job: &SummaryJob| job.lease.as_ref().map(|lease| lease.expires_at);
        let key = |job: &SummaryJob| (job.revision, expiry(job), job.text_number);
        self.step(name, |state| {
            let Some(row) = state.summaries.get_mut(&to.id) else { return false };
            if key(&row.job) != key(from) && self.fault != Some(Fault::WeakSwap) {
                return false;
            }
            let before = std::mem::replace(&mut row.job, to.clone());
            match text {
                Some(TextSoFar { number, text }) => {
                    let (number, text) = (*number, text.clone());
                    row.text = Some(PartialText { revision: to.revision, number, text });
                }
                None if to.text_number.is_none() => row.text = None,
                None => {}
            }
            if let Some(result) = result {
                row.result = Some(result.clone());
            }
            self.steps.applied(Effect::Swapped { before: &before, after: to, result });
            if to.status.is_final() {
                state.purge(to);
            }
            true
        })
        .await
    }
}

#[async_trait]
impl SummaryStore for MemoryStore {
    async fn insert(
        &self,
        job: &SummaryJob,
        quota: SummaryQuota,
    ) -> Result<InsertOutcome, StoreError> {
        self.step("insert", |state| {
            let outcome = state.insert(job, quota);
            if matches!(outcome, InsertOutcome::Inserted) {
                self.steps.applied(Effect::Inserted(job));
            }
            outcome
        })
        .await
    }

    async fn get(&self, id: SummaryId) -> Result<Option<SummaryJob>, StoreError> {
        self.step("get_job", |state| state.summaries.get(&id).map(|row| row.job.clone())).await
    }

    async fn compare_and_swap(
        &self,
        from: &SummaryJob,
        to: &SummaryJob,
        result: Option<&ResultRecord>,
    ) -> Result<bool, StoreError> {
        self.swap("swap", (from, to), None, result).await
    }

    async fn swap_text(
        &self,
        from: &SummaryJob,
        to: &SummaryJob,
        text: &TextSoFar,
    ) -> Result<bool, StoreError> {
        self.swap("swap_text", (from, to), Some(text), None).await
    }

    async fn partial_text(
        &self,
        id: SummaryId,
        revision: Revision,
    ) -> Result<Option<PartialText>, StoreError> {
        self.step("partial_text", |state| {
            let text = state.summaries.get(&id)?.text.clone();
            text.filter(|text| text.revision == revision)
        })
        .await
    }

    async fn latest_result(
        &self,
        user: UserId,
        week: Week,
    ) -> Result<Option<CompletedSummary>, StoreError> {
        self.step("latest_result", |state| state.latest(user, week)).await
    }

    async fn latest_completed(
        &self,
        user: UserId,
        week: Week,
    ) -> Result<Option<SummaryJob>, StoreError> {
        self.step("latest_job", |state| state.latest(user, week).map(|found| found.job)).await
    }

    async fn result(&self, id: SummaryId) -> Result<Option<ResultRecord>, StoreError> {
        self.step("result", |state| state.summaries.get(&id)?.result.clone()).await
    }

    async fn annotations(&self, user: UserId, range: DateRange) -> Result<Annotations, StoreError> {
        self.step("annotations", |state| Annotations {
            weeks: state.week_statuses(user, range),
            tags: state.emotion_tags(user, range),
        })
        .await
    }

    async fn results_page(
        &self,
        user: UserId,
        after: &ResultPlace,
    ) -> Result<Page<StoredResult, ResultPlace>, StoreError> {
        self.step("results_page", |state| {
            let mut results = state.results(user);
            results.retain(|(place, ..)| order(place) > order(after));
            results.truncate(PAGE_RESULTS as usize);
            let is_full = results.len() == PAGE_RESULTS as usize;
            let next = results.last().filter(|_| is_full).map(|(place, ..)| place.clone());
            let item = |(_, job, result): (_, &SummaryJob, &ResultRecord)| StoredResult {
                id: job.id,
                week: job.week,
                result: result.clone(),
            };
            Page { items: results.into_iter().map(item).collect(), unreadable: 0, next }
        })
        .await
    }

    async fn week_statuses(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Vec<WeekStatus>, StoreError> {
        self.step("week_statuses", |state| state.week_statuses(user, range)).await
    }

    async fn emotion_tags(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<BTreeMap<Date, DayEmotion>, StoreError> {
        self.step("emotion_tags", |state| state.emotion_tags(user, range)).await
    }

    async fn list_expired(&self, now: Timestamp, limit: u32) -> Result<DueJobs, StoreError> {
        let expiry = |job: &SummaryJob| job.lease.as_ref().map(|lease| lease.expires_at);
        self.step("list_expired", |state| {
            let running = state.jobs().filter(|job| job.status == SummaryStatus::Running);
            let expired = running.filter(|job| expiry(job).is_none_or(|at| at <= now));
            let mut jobs: Vec<_> = expired.cloned().collect();
            jobs.sort_by_key(expiry);
            jobs.truncate(limit as usize);
            DueJobs { jobs, unreadable: Vec::new() }
        })
        .await
    }

    async fn list_queued(
        &self,
        after: &QueuedRow,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<QueuedRow>, StoreError> {
        let after = (after.next_hint_at, after.id.as_bytes().to_vec());
        self.step("list_queued", |state| {
            let queued = state.jobs().filter(|job| job.status == SummaryStatus::Queued);
            let due = queued.filter(|job| job.next_hint_at <= until && place(job) > after);
            let mut rows: Vec<_> = due.map(place).collect();
            rows.sort_unstable();
            rows.truncate(limit as usize);
            let row = |(next_hint_at, id)| QueuedRow { next_hint_at, id: RowId::new(id) };
            rows.into_iter().map(row).collect()
        })
        .await
    }

    async fn read_queued(&self, rows: &[RowId]) -> Result<DueJobs, StoreError> {
        self.step("read_queued", |state| {
            let ids = rows.iter().filter_map(RowId::summary);
            let jobs = ids.filter_map(|id| state.summaries.get(&id)).map(|row| row.job.clone());
            let queued = jobs.filter(|job| job.status == SummaryStatus::Queued);
            DueJobs { jobs: queued.collect(), unreadable: Vec::new() }
        })
        .await
    }

    async fn list_overdue(
        &self,
        requested_before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<SummaryId>, StoreError> {
        self.step("list_overdue", |state| {
            let queued = state.jobs().filter(|job| job.status == SummaryStatus::Queued);
            let overdue = queued.filter(|job| job.requested_at <= requested_before);
            let due = overdue.filter(|job| job.not_before <= now);
            let mut rows: Vec<_> = due.map(|job| (job.requested_at, job.id)).collect();
            rows.sort_unstable();
            rows.into_iter().take(limit as usize).map(|(_, id)| id).collect()
        })
        .await
    }

    async fn unfinished(&self, limit: u32) -> Result<Unfinished, StoreError> {
        self.step("unfinished", |state| {
            let counted = |status, due: fn(&SummaryJob) -> Option<Timestamp>| {
                let mut jobs: Vec<_> = state.jobs().filter(|job| job.status == status).collect();
                jobs.sort_by_key(|job| due(job));
                jobs.truncate(limit as usize);
                (jobs.len() as u64, jobs.iter().map(|job| job.requested_at).min())
            };
            let (queued, oldest_queued) =
                counted(SummaryStatus::Queued, |job| Some(job.next_hint_at));
            let (running, oldest_running) = counted(SummaryStatus::Running, |job| {
                job.lease.as_ref().map(|lease| lease.expires_at)
            });
            let oldest = [oldest_queued, oldest_running].into_iter().flatten().min();
            Unfinished { queued, running, oldest }
        })
        .await
    }

    async fn postpone(
        &self,
        kind: DueKind,
        row: &RowId,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.step("postpone", |state| {
            let row = row.summary().and_then(|id| state.summaries.get_mut(&id));
            let Some(Row { job, .. }) = row else { return };
            match (kind, job.status, &mut job.lease) {
                (DueKind::Hint, SummaryStatus::Queued, _) => job.next_hint_at = until,
                (DueKind::Lease, SummaryStatus::Running, Some(lease)) => lease.expires_at = until,
                _ => {}
            }
        })
        .await
    }

    /// Every row can be read.
    async fn cancel_unreadable(
        &self,
        _: UserId,
        _: SummaryId,
        _: Timestamp,
    ) -> Result<bool, StoreError> {
        self.step("cancel_unreadable", |_| false).await
    }

    async fn erase(&self, user: UserId, limit: u32) -> Result<u64, StoreError> {
        self.step("erase_summaries", |state| {
            let of_user = state.jobs().filter(|job| job.user == user).map(|job| job.id);
            let ids: Vec<_> = of_user.take(limit as usize).collect();
            for id in &ids {
                state.summaries.remove(id);
            }
            state.requests.remove(&user);
            ids.len() as u64
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.step("ping", |_| ()).await
    }
}
