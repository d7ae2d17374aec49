//! Summaries, and the clock that a test moves.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use hyper::{
    StatusCode,
    header::{LOCATION, RETRY_AFTER},
};
use serde::Deserialize;

use super::{
    Shared,
    state::State,
    wire::{ApiError, ApiRequest, ApiResponse, Route, date, not_found},
};
use crate::{
    Date, DateRange, DayEmotion, DiarySummaryStatus, Distribution, Emotion, ErrorCode, FailureKind,
    MissingDates, Progress, Reflection, Revision, Summary, SummaryFailure, SummaryId,
    SummaryReceipt, SummaryStatus, Timestamp, UserId, Version, Week,
};

/// Unfinished summaries that one person may have.
const MAX_UNFINISHED: usize = 32;

/// What the fake calls itself where a server names its model.
const ENGINE: &str = "fake/1";

/// Every summary that was requested.
#[derive(Default)]
pub(super) struct Summaries {
    rows: Vec<SummaryRecord>,
    /// Those that are completed, in the order in which they were.
    completed: Vec<SummaryId>,
    /// The reflection that completes every summary as soon as it is requested.
    auto: Option<String>,
}

struct SummaryRecord {
    user: UserId,
    week: Week,
    versions_read: BTreeMap<Date, Version>,
    summary: Summary,
}

/// The body of a summary request; its dates are read here, so that a bad one gets its own error.
#[derive(Deserialize)]
struct WeekBody {
    start: String,
    end: String,
    #[serde(default)]
    force: bool,
}

impl State {
    pub(super) fn respond_about_summaries(
        &mut self,
        user: UserId,
        request: &ApiRequest,
    ) -> Result<ApiResponse, ApiError> {
        match request.route {
            Route::RequestSummary => {
                let body: WeekBody = request.body()?;
                let week = week(DateRange::new(date(&body.start)?, date(&body.end)?).ok())?;
                self.request(user, week, body.force)
            }
            Route::Cancel => {
                let now = self.now;
                let summary = &mut self.summaries.find(user, request.id()?)?.summary;
                if summary.status.is_final() {
                    return Err(ApiError::new(409, ErrorCode::SummaryFinal));
                }
                summary.end(SummaryStatus::Cancelled, now);
                Ok(ApiResponse::done())
            }
            Route::Reflection => {
                let week = week(Some(request.range()?))?;
                Ok(ApiResponse::ok(&self.reflection(user, week)))
            }
            _ => Err(not_found()),
        }
    }

    fn request(&mut self, user: UserId, week: Week, force: bool) -> Result<ApiResponse, ApiError> {
        let versions = self.diaries.versions(user, week.dates());
        if versions.len() < Week::DAYS {
            let missing_dates = week.dates().filter(|day| !versions.contains_key(day)).collect();
            let data = MissingDates { missing_dates };
            return Err(ApiError::new(422, ErrorCode::WeekIncomplete).with_data(&data));
        }
        let latest = self.summaries.latest(user, week);
        if let Some(done) = latest.filter(|row| !force && row.versions_read == versions) {
            return Ok(receipt(&done.summary, StatusCode::OK));
        }
        let unfinished = |row: &&SummaryRecord| row.user == user && !row.summary.status.is_final();
        let unfinished = || self.summaries.rows.iter().filter(unfinished);
        if let Some(row) = unfinished().find(|row| row.week == week) {
            return Ok(receipt(&row.summary, StatusCode::ACCEPTED));
        }
        if unfinished().count() >= MAX_UNFINISHED {
            let refusal = ApiError::new(429, ErrorCode::TooManySummaries);
            return Err(refusal.with_retry_after(Duration::from_secs(10)));
        }
        let summary = Summary {
            id: SummaryId::new(),
            start: week.start(),
            end: week.end(),
            status: SummaryStatus::Queued,
            revision: Revision::new(1),
            attempts: 0,
            requested_at: self.now,
            started_at: None,
            finished_at: None,
            reflection: None,
            engine: None,
            emotions: Vec::new(),
            truncated: Vec::new(),
            failure: None,
            progress: None,
        };
        let (id, reply) = (summary.id, receipt(&summary, StatusCode::ACCEPTED));
        self.summaries.rows.push(SummaryRecord {
            user,
            week,
            versions_read: BTreeMap::new(),
            summary,
        });
        if let Some(text) = self.summaries.auto.clone() {
            self.complete(id, text, |_| Emotion::Neutral);
        }
        Ok(reply)
    }

    fn reflection(&self, user: UserId, week: Week) -> Option<Reflection> {
        let row = self.summaries.latest(user, week)?;
        Some(Reflection {
            summary_id: row.summary.id,
            start: week.start(),
            end: week.end(),
            reflection: row.summary.reflection.clone()?,
            emotions: row.summary.emotions.clone(),
            truncated: Vec::new(),
            generated_at: row.summary.finished_at?,
            stale: row.versions_read != self.diaries.versions(user, week.dates()),
            engine: row.summary.engine.clone()?,
        })
    }

    /// Starts the summary unless it is final. Returns whether it is running.
    fn start(&mut self, id: SummaryId) -> bool {
        let Some(row) = self.summaries.rows.iter().find(|row| row.summary.id == id) else {
            return false;
        };
        match row.summary.status {
            SummaryStatus::Running => return true,
            SummaryStatus::Queued => {}
            _ => return false,
        }
        let (now, versions) = (self.now, self.diaries.versions(row.user, row.week.dates()));
        let Some(row) = self.summaries.row(id) else { return false };
        if versions.len() < Week::DAYS {
            row.summary.end(SummaryStatus::Failed, now);
            row.summary.failure = Some(failure(FailureKind::WeekIncomplete));
            return false;
        }
        row.versions_read = versions;
        row.summary.step(SummaryStatus::Running);
        row.summary.attempts += 1;
        row.summary.started_at = row.summary.started_at.or(Some(now));
        true
    }

    fn complete(
        &mut self,
        id: SummaryId,
        reflection: String,
        emotion: impl Fn(Date) -> Emotion,
    ) -> bool {
        let now = self.now;
        if !self.start(id) {
            return false;
        }
        let Some(row) = self.summaries.row(id) else { return false };
        let day = |date: &Date| {
            let label = emotion(*date);
            let weights = Emotion::ALL.map(|one| if one == label { 1.0 } else { 0.0 });
            let distribution = Distribution::from_weights(weights);
            DayEmotion { date: *date, label, confidence: 1.0, distribution }
        };
        row.summary.emotions = row.versions_read.keys().map(day).collect();
        row.summary.reflection = Some(reflection);
        row.summary.engine = Some(ENGINE.to_owned());
        row.summary.end(SummaryStatus::Completed, now);
        self.summaries.completed.push(id);
        true
    }
}

impl Summaries {
    fn row(&mut self, id: SummaryId) -> Option<&mut SummaryRecord> {
        self.rows.iter_mut().find(|row| row.summary.id == id)
    }

    /// The user's summary. Other users' summaries are not found.
    fn find(&mut self, user: UserId, id: SummaryId) -> Result<&mut SummaryRecord, ApiError> {
        self.row(id).filter(|row| row.user == user).ok_or_else(not_found)
    }

    /// The user's summary.
    pub(super) fn view(&mut self, user: UserId, id: SummaryId) -> Result<Summary, ApiError> {
        self.find(user, id).map(|row| row.summary.clone())
    }

    /// The user's completed summaries, the newest first.
    fn results(&self, user: UserId) -> impl Iterator<Item = &SummaryRecord> {
        let row = |id: &SummaryId| self.rows.iter().find(|row| row.summary.id == *id);
        self.completed.iter().rev().filter_map(row).filter(move |row| row.user == user)
    }

    /// The newest result on exactly this week.
    fn latest(&self, user: UserId, week: Week) -> Option<&SummaryRecord> {
        self.results(user).find(|row| row.week == week)
    }

    /// The emotion that the day was last tagged with.
    pub(super) fn emotion(&self, user: UserId, date: Date) -> Option<Emotion> {
        let tag =
            |row: &SummaryRecord| row.summary.emotions.iter().find(|day| day.date == date).copied();
        self.results(user).find_map(tag).map(|day| day.label)
    }

    /// The summary status of a day at this version of its diary, by the newest request.
    pub(super) fn status(&self, user: UserId, date: Date, version: Version) -> DiarySummaryStatus {
        let covers = |row: &&SummaryRecord| {
            row.user == user
                && row.week.contains(date)
                && row.summary.status != SummaryStatus::Cancelled
        };
        let Some(row) = self.rows.iter().rev().find(covers) else {
            return DiarySummaryStatus::None;
        };
        match row.summary.status {
            SummaryStatus::Completed if row.versions_read.get(&date) == Some(&version) => {
                DiarySummaryStatus::Completed
            }
            SummaryStatus::Completed => DiarySummaryStatus::Stale,
            SummaryStatus::Failed => DiarySummaryStatus::Failed,
            _ => DiarySummaryStatus::Pending,
        }
    }
}

impl Summary {
    /// Sets the next status under a new revision and clears progress and failure.
    fn step(&mut self, status: SummaryStatus) {
        self.status = status;
        self.revision = self.revision.next();
        self.progress = None;
        self.failure = None;
    }

    fn end(&mut self, status: SummaryStatus, now: Timestamp) {
        self.step(status);
        self.finished_at = Some(now);
    }
}

fn week(range: Option<DateRange>) -> Result<Week, ApiError> {
    let week = range.and_then(|range| Week::from_range(range).ok());
    week.ok_or_else(|| ApiError::new(400, ErrorCode::InvalidRange))
}

fn receipt(summary: &Summary, status: StatusCode) -> ApiResponse {
    let receipt = SummaryReceipt { id: summary.id, status: summary.status, poll_after_ms: 1000 };
    let location = format!("/api/diary/summary/{}", summary.id);
    let reply = ApiResponse::with_status(&receipt, status).with_header(LOCATION, &location);
    if status == StatusCode::ACCEPTED { reply.with_header(RETRY_AFTER, "1") } else { reply }
}

fn failure(kind: FailureKind) -> SummaryFailure {
    SummaryFailure { kind, message: kind.as_str().to_owned() }
}

/// Moves summaries through their life, in the place of a worker. Made by
/// [`FakeShiori::summaries`](super::FakeShiori::summaries).
///
/// Each step says whether it was taken. A summary that has ended takes none, however it ended: a
/// worker that comes too late is refused.
#[derive(Clone)]
pub struct SummaryClock {
    shared: Arc<Shared>,
}

impl SummaryClock {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The summaries that have not ended, in the order in which they were asked for.
    pub fn unfinished(&self) -> Vec<SummaryId> {
        let state = self.shared.lock();
        let rows = state.summaries.rows.iter().map(|row| &row.summary);
        rows.filter(|summary| !summary.status.is_final()).map(|summary| summary.id).collect()
    }

    /// From queued to running: a worker takes it, and reads the diaries as they stand now. If one
    /// was deleted meanwhile, the summary fails.
    pub fn start(&self, id: SummaryId) -> bool {
        self.step(|state| {
            let status = state.summaries.row(id).map(|row| row.summary.status);
            status == Some(SummaryStatus::Queued) && state.start(id)
        })
    }

    /// Tells how far a running summary is. It is no new revision: those who watch are told, those
    /// who wait are not.
    pub fn progress(&self, id: SummaryId, progress: Progress) -> bool {
        self.step(|state| {
            let row = state.summaries.row(id);
            let running = row.filter(|row| row.summary.status == SummaryStatus::Running);
            running.map(|row| row.summary.progress = Some(progress)).is_some()
        })
    }

    /// To completed with this text, and every day neutral. A queued summary is started first.
    pub fn complete(&self, id: SummaryId, reflection: impl Into<String>) -> bool {
        self.complete_with(id, reflection, |_| Emotion::Neutral)
    }

    /// To completed with this text, and each day with the emotion that the closure says. A queued
    /// summary is started first.
    pub fn complete_with(
        &self,
        id: SummaryId,
        reflection: impl Into<String>,
        emotion: impl Fn(Date) -> Emotion,
    ) -> bool {
        self.step(|state| state.complete(id, reflection.into(), emotion))
    }

    /// Completes all that have not ended with this text; how many there were.
    pub fn complete_all(&self, reflection: &str) -> usize {
        self.unfinished().into_iter().filter(|id| self.complete(*id, reflection)).count()
    }

    /// From now on every summary is completed with this text as soon as it is asked for.
    pub fn auto_complete(&self, reflection: impl Into<String>) {
        self.shared.lock().summaries.auto = Some(reflection.into());
    }

    /// To failed for this reason, for good. A queued summary is started first.
    pub fn fail(&self, id: SummaryId, kind: FailureKind) -> bool {
        self.step(|state| {
            let now = state.now;
            let row = if state.start(id) { state.summaries.row(id) } else { None };
            row.map(|row| {
                row.summary.end(SummaryStatus::Failed, now);
                row.summary.failure = Some(failure(kind));
            })
            .is_some()
        })
    }

    /// From running back to queued: the attempt has failed for this reason, and there will be
    /// another.
    pub fn requeue(&self, id: SummaryId, kind: FailureKind) -> bool {
        self.step(|state| {
            let row = state.summaries.row(id);
            let running = row.filter(|row| row.summary.status == SummaryStatus::Running);
            running
                .map(|row| {
                    row.summary.step(SummaryStatus::Queued);
                    row.summary.failure = Some(failure(kind));
                })
                .is_some()
        })
    }

    fn step(&self, step: impl FnOnce(&mut State) -> bool) -> bool {
        let taken = step(&mut self.shared.lock());
        self.shared.changed();
        taken
    }
}

impl fmt::Debug for SummaryClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SummaryClock").field("unfinished", &self.unfinished()).finish()
    }
}
