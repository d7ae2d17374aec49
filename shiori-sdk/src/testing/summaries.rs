//! Summaries. They only change when [`SummaryClock`](super::SummaryClock) steps them.

use std::{collections::BTreeMap, mem, time::Duration};

use hyper::{StatusCode, header::LOCATION};

use super::{
    diaries::Diaries,
    request::{ApiRequest, parse_date},
    response::{ApiError, ApiResponse},
};
use crate::types::{
    Date, DateRange, DayEmotion, DiarySummaryStatus, Distribution, Emotion, ErrorCode,
    ExportedReflection, FailureKind, MissingDates, PartialText, Progress, Reflection, Revision,
    Summary, SummaryFailure, SummaryHint, SummaryId, SummaryReceipt, SummaryRequest, SummaryStatus,
    Timestamp, UserId, Version, Week, limits::MAX_UNFINISHED_SUMMARIES,
};

/// The engine of every reflection.
const ENGINE: &str = "fake/1";

/// When clients that do not long-poll should poll.
const POLL_AFTER: Duration = Duration::from_secs(1);

/// When a client with too many unfinished summaries should retry.
const TOO_MANY_RETRY_AFTER: Duration = Duration::from_secs(10);

/// Every requested summary.
#[derive(Default)]
pub(super) struct Summaries {
    rows: Vec<Row>,
    /// The completed ones, in the order of their completion.
    completed: Vec<SummaryId>,
    /// The text that every summary is completed with as soon as it is requested.
    pub(super) auto_complete: Option<String>,
    /// If true, diaries in responses have neither summary status nor emotion.
    pub(super) are_unavailable: bool,
}

struct Row {
    user: UserId,
    week: Week,
    versions_read: BTreeMap<Date, Version>,
    summary: Summary,
    /// The text so far of the current or of an earlier run.
    text: Option<PartialText>,
}

impl Row {
    /// The text so far of the current run.
    fn text(&self) -> Option<&PartialText> {
        self.text.as_ref().filter(|text| text.revision == self.summary.revision)
    }
}

impl Summaries {
    /// Deletes everything of a user whose account was deleted.
    pub(super) fn erase(&mut self, user: UserId) {
        let (erased, kept) =
            mem::take(&mut self.rows).into_iter().partition(|row| row.user == user);
        self.rows = kept;
        let erased: Vec<Row> = erased;
        self.completed.retain(|id| erased.iter().all(|row| row.summary.id != *id));
    }

    pub(super) fn request(
        &mut self,
        user: UserId,
        request: &ApiRequest,
        diaries: &Diaries,
        now: Timestamp,
    ) -> Result<ApiResponse, ApiError> {
        let body: SummaryRequest<String> = request.body()?;
        let week = week(DateRange::new(parse_date(&body.start)?, parse_date(&body.end)?).ok())?;
        let versions = diaries.versions(user, week.dates());
        if versions.len() < Week::DAYS {
            let missing_dates = week.dates().filter(|date| !versions.contains_key(date)).collect();
            let data = MissingDates { missing_dates };
            return Err(ApiError::new(422, ErrorCode::WeekIncomplete).with_data(&data));
        }
        let latest = self.latest_completed(user, week);
        if let Some(row) = latest.filter(|row| !body.force && row.versions_read == versions) {
            return Ok(receipt(&row.summary, StatusCode::OK));
        }
        let is_unfinished = |row: &&Row| row.user == user && !row.summary.status.is_final();
        let unfinished: Vec<_> = self.rows.iter().filter(is_unfinished).collect();
        if let Some(row) = unfinished.iter().find(|row| row.week == week) {
            return Ok(receipt(&row.summary, StatusCode::ACCEPTED));
        }
        if unfinished.len() >= MAX_UNFINISHED_SUMMARIES as usize {
            let error = ApiError::new(429, ErrorCode::TooManySummaries);
            return Err(error.with_retry_after(TOO_MANY_RETRY_AFTER));
        }
        let summary = queued(week, now);
        let (id, response) = (summary.id, receipt(&summary, StatusCode::ACCEPTED));
        self.rows.push(Row { user, week, versions_read: BTreeMap::new(), summary, text: None });
        if let Some(text) = self.auto_complete.clone() {
            self.complete(id, text, |_| Emotion::Neutral, diaries, now);
        }
        Ok(response)
    }

    /// The status of each summary of a user.
    pub(super) fn hints(&self, user: UserId) -> impl Iterator<Item = SummaryHint> {
        let rows = self.rows.iter().filter(move |row| row.user == user);
        rows.map(|Row { summary, .. }| SummaryHint {
            id: summary.id,
            status: summary.status,
            revision: summary.revision,
        })
    }

    pub(super) fn cancel(
        &mut self,
        user: UserId,
        id: SummaryId,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let summary = &mut self.find(user, id)?.summary;
        if summary.status.is_final() {
            return Err(ApiError::new(409, ErrorCode::SummaryFinal));
        }
        summary.finish(SummaryStatus::Cancelled, now);
        Ok(())
    }

    pub(super) fn reflection(
        &self,
        user: UserId,
        request: &ApiRequest,
        diaries: &Diaries,
    ) -> Result<ApiResponse, ApiError> {
        let week = week(Some(request.range()?))?;
        let reflection = self.latest_completed(user, week).and_then(|row| {
            Some(Reflection {
                summary_id: row.summary.id,
                start: week.start(),
                end: week.end(),
                reflection: row.summary.reflection.clone()?,
                emotions: row.summary.emotions.clone(),
                truncated: Vec::new(),
                generated_at: row.summary.finished_at?,
                stale: row.versions_read != diaries.versions(user, week.dates()),
                engine: row.summary.engine.clone()?,
            })
        });
        Ok(ApiResponse::ok(&reflection))
    }

    /// The unfinished summaries, in the order of their requests.
    pub(super) fn unfinished(&self) -> Vec<SummaryId> {
        let summaries = self.rows.iter().map(|row| &row.summary);
        let unfinished = summaries.filter(|summary| !summary.status.is_final());
        unfinished.map(|summary| summary.id).collect()
    }

    /// From queued to running: reads the current versions of the diaries. The summary fails if one
    /// was deleted. Returns whether the summary is running.
    pub(super) fn start(&mut self, id: SummaryId, diaries: &Diaries, now: Timestamp) -> bool {
        let Some(row) = self.row(id).filter(|row| row.summary.status == SummaryStatus::Queued)
        else {
            return false;
        };
        let versions = diaries.versions(row.user, row.week.dates());
        if versions.len() < Week::DAYS {
            row.summary.fail(FailureKind::WeekIncomplete, now);
            return false;
        }
        row.versions_read = versions;
        row.summary.step(SummaryStatus::Running);
        row.summary.attempts += 1;
        row.summary.started_at = row.summary.started_at.or(Some(now));
        true
    }

    /// The row if it is running, or queued and can be started.
    fn started(&mut self, id: SummaryId, diaries: &Diaries, now: Timestamp) -> Option<&mut Row> {
        self.start(id, diaries, now);
        self.running(id)
    }

    fn running(&mut self, id: SummaryId) -> Option<&mut Row> {
        self.row(id).filter(|row| row.summary.status == SummaryStatus::Running)
    }

    pub(super) fn set_progress(&mut self, id: SummaryId, progress: Progress) -> bool {
        self.running(id).map(|row| row.summary.progress = Some(progress)).is_some()
    }

    pub(super) fn write(&mut self, id: SummaryId, text: String) -> bool {
        let Some(row) = self.running(id) else { return false };
        let number = row.text().map_or(0, |text| text.number).saturating_add(1);
        row.text = Some(PartialText { revision: row.summary.revision, number, text });
        true
    }

    pub(super) fn complete(
        &mut self,
        id: SummaryId,
        reflection: String,
        emotion: impl Fn(Date) -> Emotion,
        diaries: &Diaries,
        now: Timestamp,
    ) -> bool {
        let Some(row) = self.started(id, diaries, now) else { return false };
        let day = |date: &Date| {
            let label = emotion(*date);
            let weights = Emotion::ALL.map(|one| if one == label { 1.0 } else { 0.0 });
            let distribution = Distribution::from_weights(weights);
            DayEmotion { date: *date, label, confidence: 1.0, distribution }
        };
        row.summary.emotions = row.versions_read.keys().map(day).collect();
        row.summary.reflection = Some(reflection);
        row.summary.engine = Some(ENGINE.to_owned());
        row.summary.finish(SummaryStatus::Completed, now);
        self.completed.push(id);
        true
    }

    pub(super) fn fail(
        &mut self,
        id: SummaryId,
        kind: FailureKind,
        diaries: &Diaries,
        now: Timestamp,
    ) -> bool {
        self.started(id, diaries, now).map(|row| row.summary.fail(kind, now)).is_some()
    }

    /// From running back to queued.
    pub(super) fn requeue(&mut self, id: SummaryId, kind: FailureKind) -> bool {
        let Some(row) = self.running(id) else { return false };
        row.summary.step(SummaryStatus::Queued);
        row.summary.failure = Some(failure(kind));
        true
    }

    fn row(&mut self, id: SummaryId) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.summary.id == id)
    }

    /// The user's summary; other users' summaries are not found.
    fn find(&mut self, user: UserId, id: SummaryId) -> Result<&mut Row, ApiError> {
        self.row(id).filter(|row| row.user == user).ok_or_else(ApiError::not_found)
    }

    /// The current state of the user's summary.
    pub(super) fn view(&mut self, user: UserId, id: SummaryId) -> Result<Summary, ApiError> {
        self.find(user, id).map(|row| row.summary.clone())
    }

    /// The text so far of the user's running summary.
    pub(super) fn partial_text(&self, user: UserId, id: SummaryId) -> Option<PartialText> {
        let row = self.rows.iter().find(|row| row.user == user && row.summary.id == id)?;
        row.text().cloned()
    }

    /// The reflections of a user for an export, by week, the oldest first.
    pub(super) fn exported(&self, user: UserId) -> Vec<ExportedReflection> {
        let exported = |row: &Row| {
            let summary = &row.summary;
            Some(ExportedReflection {
                summary_id: summary.id,
                start: summary.start,
                end: summary.end,
                reflection: summary.reflection.clone()?,
                engine: ENGINE.to_owned(),
                emotion_engine: ENGINE.to_owned(),
                emotions: summary.emotions.clone(),
                truncated: summary.truncated.clone(),
                generated_at: summary.finished_at?,
            })
        };
        let mut reflections: Vec<_> = self.completed(user).filter_map(exported).collect();
        reflections.reverse();
        reflections.sort_by_key(|reflection| reflection.start);
        reflections
    }

    /// The user's completed summaries, the newest first.
    fn completed(&self, user: UserId) -> impl Iterator<Item = &Row> {
        let row = |id: &SummaryId| self.rows.iter().find(|row| row.summary.id == *id);
        self.completed.iter().rev().filter_map(row).filter(move |row| row.user == user)
    }

    /// The newest completed summary of exactly this week.
    fn latest_completed(&self, user: UserId, week: Week) -> Option<&Row> {
        self.completed(user).find(|row| row.week == week)
    }

    /// The date's emotion according to the newest completed summary.
    pub(super) fn emotion(&self, user: UserId, date: Date) -> Option<Emotion> {
        self.tag(user, date).map(|day| day.label)
    }

    /// The date's emotion with its distribution.
    pub(super) fn tag(&self, user: UserId, date: Date) -> Option<DayEmotion> {
        let tag = |row: &Row| row.summary.emotions.iter().find(|day| day.date == date).copied();
        self.completed(user).find_map(tag)
    }

    /// The status of a diary with this version according to the newest summary that covers it.
    pub(super) fn diary_status(
        &self,
        user: UserId,
        date: Date,
        version: Version,
    ) -> DiarySummaryStatus {
        let covers = |row: &&Row| {
            row.user == user
                && row.week.contains(date)
                && row.summary.status != SummaryStatus::Cancelled
        };
        let Some(row) = self.rows.iter().rev().find(covers) else {
            return DiarySummaryStatus::None;
        };
        let is_current = row.versions_read.get(&date) == Some(&version);
        DiarySummaryStatus::covered_by(row.summary.status, is_current)
    }
}

impl Summary {
    /// Sets the next status, with a new revision and without the results of the last run.
    fn step(&mut self, status: SummaryStatus) {
        self.status = status;
        self.revision = self.revision.next();
        self.progress = None;
        self.failure = None;
    }

    fn finish(&mut self, status: SummaryStatus, now: Timestamp) {
        self.step(status);
        self.finished_at = Some(now);
    }

    fn fail(&mut self, kind: FailureKind, now: Timestamp) {
        self.finish(SummaryStatus::Failed, now);
        self.failure = Some(failure(kind));
    }
}

fn queued(week: Week, now: Timestamp) -> Summary {
    Summary {
        id: SummaryId::new(),
        start: week.start(),
        end: week.end(),
        status: SummaryStatus::Queued,
        revision: Revision::new(1),
        attempts: 0,
        requested_at: now,
        started_at: None,
        finished_at: None,
        reflection: None,
        engine: None,
        emotions: Vec::new(),
        truncated: Vec::new(),
        failure: None,
        progress: None,
    }
}

fn week(range: Option<DateRange>) -> Result<Week, ApiError> {
    let week = range.and_then(|range| Week::from_range(range).ok());
    week.ok_or_else(|| ApiError::new(400, ErrorCode::InvalidRange))
}

fn receipt(summary: &Summary, status: StatusCode) -> ApiResponse {
    let poll_after_ms = u64::try_from(POLL_AFTER.as_millis()).unwrap_or(u64::MAX);
    let receipt = SummaryReceipt { id: summary.id, status: summary.status, poll_after_ms };
    let location = format!("/api/diary/summary/{}", summary.id);
    let response = ApiResponse::with_status(status, &receipt).with_header(LOCATION, &location);
    if status == StatusCode::ACCEPTED { response.with_retry_after(POLL_AFTER) } else { response }
}

fn failure(kind: FailureKind) -> SummaryFailure {
    SummaryFailure { kind, message: kind.as_str().to_owned() }
}
