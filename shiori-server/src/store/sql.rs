//! The rows of both SQL engines, and their conversion.
//!
//! Rows may have been written by a newer server, or be damaged. An unknown status or failure is
//! read as `Unknown`, an unknown emotion is omitted, and an unreadable detail is absent. Such a row
//! can be shown; steps from an unknown status are left to the newer server. A summary without a
//! readable id, user, week, revision or due time is [`StoreError::Corrupt`].

use std::sync::LazyLock;

use serde::{Serialize, de::DeserializeOwned};
use shiori_sdk::{
    Date, DateRange, DayEmotion, FailureKind, Revision, SessionId, SummaryFailure, SummaryId,
    SummaryStatus, Timestamp, UserId, Week,
};
use shiori_worker::protocol::LeaseToken;
#[cfg(feature = "distributed")]
use sqlx::FromRow;

use super::{
    Account, AccountTask, AccountWork, DueJobs, ResultPlace, ResultRecord, RowId, StoreError,
    StoredResult, Unfinished, WeekStatus,
};
use crate::{
    auth::PasswordHash,
    summary::{Lease, SummaryJob},
};

#[cfg(feature = "distributed")]
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Corrupt { what: "a row" }
            }
            // The engine's message may quote a value, such as that of a duplicate key.
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default().into_owned();
                Self::Unavailable(format!("the engine failed with code {code}").into())
            }
            // The message may quote the URL.
            sqlx::Error::Configuration(_) => Self::Unavailable("invalid URL".into()),
            other => Self::Unavailable(other.into()),
        }
    }
}

#[cfg_attr(feature = "distributed", derive(FromRow))]
pub(super) struct AccountRow {
    pub(super) id: Vec<u8>,
    pub(super) email: String,
    pub(super) nickname: String,
    pub(super) password_hash: String,
    pub(super) created_at: i64,
}

impl TryFrom<AccountRow> for Account {
    type Error = StoreError;

    fn try_from(row: AccountRow) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let id = row.id.as_slice().try_into().map_err(|_| corrupt("an identifier"))?;
        Ok(Self {
            id: UserId::from_bytes(id),
            email: row.email.parse().map_err(|_| corrupt("an e-mail address"))?,
            nickname: row.nickname,
            password_hash: PasswordHash::parse(row.password_hash)
                .map_err(|_| corrupt("a password hash"))?,
            created_at: Timestamp::from_millis(row.created_at),
        })
    }
}

#[cfg_attr(feature = "distributed", derive(FromRow))]
pub(super) struct TaskRow {
    pub(super) user_id: Vec<u8>,
    pub(super) kind: String,
    pub(super) kept_session: Option<Vec<u8>>,
    pub(super) attempts_key: Option<Vec<u8>>,
    pub(super) created_at: i64,
    pub(super) due_at: i64,
}

impl TaskRow {
    /// The row of a task.
    pub(super) fn of(task: &AccountTask) -> Self {
        let (kept_session, attempts_key) = match &task.work {
            AccountWork::EndSessions { except } => (except.map(|id| id.as_bytes().to_vec()), None),
            AccountWork::Erase { attempts_key } => (None, Some(attempts_key.to_vec())),
        };
        Self {
            user_id: task.user.as_bytes().to_vec(),
            kind: kind(&task.work).to_owned(),
            kept_session,
            attempts_key,
            created_at: task.created_at.as_millis(),
            due_at: task.due_at.as_millis(),
        }
    }
}

/// The column `kind` of a task's row.
pub(super) fn kind(work: &AccountWork) -> &'static str {
    match work {
        AccountWork::EndSessions { .. } => "end_sessions",
        AccountWork::Erase { .. } => "erase",
    }
}

impl TryFrom<TaskRow> for AccountTask {
    type Error = StoreError;

    fn try_from(row: TaskRow) -> Result<Self, StoreError> {
        const CORRUPT: StoreError = StoreError::Corrupt { what: "an account task" };
        fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
            bytes.try_into().map_err(|_| CORRUPT)
        }
        let work = match (row.kind.as_str(), &row.attempts_key) {
            ("end_sessions", _) => {
                let except = row.kept_session.as_deref().map(fixed).transpose()?;
                AccountWork::EndSessions { except: except.map(SessionId::from_bytes) }
            }
            ("erase", Some(key)) => AccountWork::Erase { attempts_key: fixed(key)? },
            _ => return Err(CORRUPT),
        };
        Ok(Self {
            user: UserId::from_bytes(fixed(&row.user_id)?),
            work,
            created_at: Timestamp::from_millis(row.created_at),
            due_at: Timestamp::from_millis(row.due_at),
        })
    }
}

#[cfg_attr(feature = "distributed", derive(FromRow))]
pub(super) struct SummaryRow {
    pub(super) id: Vec<u8>,
    pub(super) user_id: Vec<u8>,
    pub(super) start: u32,
    pub(super) status: String,
    pub(super) revision: i64,
    pub(super) attempts: u32,
    pub(super) requested_at: i64,
    pub(super) started_at: Option<i64>,
    pub(super) finished_at: Option<i64>,
    pub(super) not_before: i64,
    pub(super) next_hint_at: i64,
    pub(super) lease_token: Option<String>,
    pub(super) lease_expires: Option<i64>,
    pub(super) lease_worker: Option<String>,
    pub(super) completed_by: Option<String>,
    pub(super) versions_read: String,
    pub(super) progress: Option<String>,
    pub(super) text_number: Option<u32>,
    pub(super) failure: Option<String>,
    pub(super) trace: Option<String>,
}

impl TryFrom<SummaryRow> for SummaryJob {
    type Error = StoreError;

    fn try_from(row: SummaryRow) -> Result<Self, StoreError> {
        let token = |text: Option<String>| text.and_then(|text| LeaseToken::parse(&text).ok());
        // A compare-and-swap compares the expiry, so a row with an expiry always has a lease. If
        // its token cannot be read, it is replaced by a new one that no worker has, so the lease
        // can only expire.
        let lease = match row.lease_expires {
            Some(expires) => Some(Lease {
                token: token(row.lease_token).unwrap_or_else(LeaseToken::new),
                expires_at: time(expires)?,
                worker: row.lease_worker.unwrap_or_default(),
            }),
            None => None,
        };
        Ok(Self {
            id: SummaryId::from_bytes(row.id.as_slice().try_into().map_err(|_| corrupt())?),
            user: UserId::from_bytes(row.user_id.as_slice().try_into().map_err(|_| corrupt())?),
            week: week(row.start)?,
            status: SummaryStatus::from(row.status.as_str()),
            revision: u64::try_from(row.revision).map(Revision::new).map_err(|_| corrupt())?,
            attempts: row.attempts,
            requested_at: Timestamp::from_millis(row.requested_at),
            started_at: row.started_at.map(Timestamp::from_millis),
            finished_at: row.finished_at.map(Timestamp::from_millis),
            not_before: time(row.not_before)?,
            next_hint_at: time(row.next_hint_at)?,
            lease,
            completed_by: token(row.completed_by),
            // Without them, the summary counts as stale.
            versions_read: parse_detail(&row.versions_read).unwrap_or_default(),
            progress: row.progress.as_deref().and_then(parse_detail),
            text_number: row.text_number,
            failure: row.failure.as_deref().and_then(parse_detail),
            trace: row.trace,
        })
    }
}

/// A result without the emotions of the days.
#[cfg_attr(feature = "distributed", derive(FromRow))]
pub(super) struct ReflectionRow {
    pub(super) reflection: String,
    pub(super) engine: String,
    pub(super) emotion_engine: String,
    pub(super) truncated: String,
    pub(super) token_usage: Option<String>,
    pub(super) generated_at: i64,
}

impl ReflectionRow {
    pub(super) fn with_tags(self, tags: Vec<TagRow>) -> ResultRecord {
        ResultRecord {
            reflection: self.reflection,
            engine: self.engine,
            emotion_engine: self.emotion_engine,
            emotions: known_emotions(tags),
            truncated: parse_detail(&self.truncated).unwrap_or_default(),
            usage: self.token_usage.as_deref().and_then(parse_detail),
            generated_at: Timestamp::from_millis(self.generated_at),
        }
    }
}

#[cfg_attr(feature = "distributed", derive(FromRow))]
pub(super) struct TagRow {
    pub(super) date: u32,
    pub(super) label: String,
    pub(super) confidence: f64,
    pub(super) distribution: String,
}

impl TagRow {
    /// The day's emotion; `None` if the label is unknown or the row cannot be read.
    fn into_known(self) -> Option<DayEmotion> {
        Some(DayEmotion {
            date: Date::from_number(self.date).ok()?,
            label: self.label.parse().ok()?,
            confidence: self.confidence,
            distribution: parse_detail(&self.distribution)?,
        })
    }
}

/// The emotions of these days, without unknown and unreadable ones.
pub(super) fn known_emotions(tags: Vec<TagRow>) -> Vec<DayEmotion> {
    tags.into_iter().filter_map(TagRow::into_known).collect()
}

/// The places of queued rows after a place, up to a time. Its parameters are the time of the place,
/// the latest time, the time of the place, its id, and the limit. The index `summary_hint` has all
/// columns of the query: `id` is the primary key.
pub(super) const LIST_QUEUED: &str = "SELECT next_hint_at, id FROM summary
     WHERE status = 'queued' AND next_hint_at >= ? AND next_hint_at <= ?
         AND (next_hint_at > ? OR id > ?)
     ORDER BY next_hint_at, id LIMIT ?";

/// The number of unfinished summaries by status, and when the oldest of each was requested. Its
/// parameters are the limits of queued and running ones, which bound the rows that are read.
pub(super) const UNFINISHED: &str = "SELECT status, COUNT(*), MIN(requested_at) FROM (
         SELECT status, requested_at FROM (
             SELECT status, requested_at FROM summary
             WHERE status = 'queued' ORDER BY next_hint_at LIMIT ?
         ) AS queued
         UNION ALL
         SELECT status, requested_at FROM (
             SELECT status, requested_at FROM summary
             WHERE status = 'running' ORDER BY lease_expires LIMIT ?
         ) AS running
     ) AS unfinished GROUP BY status";

/// The counts of the rows of [`UNFINISHED`].
pub(super) fn unfinished(rows: Vec<(String, i64, i64)>) -> Unfinished {
    let mut unfinished = Unfinished::default();
    let mut oldest = None;
    for (status, count, requested_at) in rows {
        let count = u64::try_from(count).unwrap_or_default();
        match status.as_str() {
            "queued" => unfinished.queued = count,
            _ => unfinished.running = count,
        }
        oldest = Some(oldest.map_or(requested_at, |oldest: i64| oldest.min(requested_at)));
    }
    Unfinished { oldest: oldest.map(Timestamp::from_millis), ..unfinished }
}

/// The jobs of these rows, and the ids of rows that cannot be read as a job.
pub(super) fn due_jobs(rows: Vec<SummaryRow>) -> DueJobs {
    let mut due = DueJobs::default();
    for row in rows {
        let id = RowId::new(row.id.clone());
        match SummaryJob::try_from(row) {
            Ok(job) => due.jobs.push(job),
            Err(_) => due.unreadable.push(id),
        }
    }
    due
}

/// The failure of a row that could not be read when its summary was requested again.
pub(super) fn unreadable_failure() -> Result<String, StoreError> {
    let message = "the stored summary could not be read".to_owned();
    json(&SummaryFailure { kind: FailureKind::Internal, message })
}

fn week(start: u32) -> Result<Week, StoreError> {
    let start = Date::from_number(start).map_err(|_| corrupt())?;
    Week::starting(start).map_err(|_| corrupt())
}

/// The day of a request in UTC, in days since the Unix epoch.
pub(super) fn request_day(row: &SummaryJob) -> i64 {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    row.requested_at.as_millis().div_euclid(DAY_MS)
}

pub(super) fn revision(row: &SummaryJob) -> i64 {
    revision_number(row.revision)
}

pub(super) fn revision_number(revision: Revision) -> i64 {
    i64::try_from(revision.get()).unwrap_or(i64::MAX)
}

pub(super) fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| corrupt())
}

/// A time that must be exact, for a compare-and-swap or a due time.
fn time(millis: i64) -> Result<Timestamp, StoreError> {
    let time = Timestamp::from_millis(millis);
    if time.as_millis() == millis { Ok(time) } else { Err(corrupt()) }
}

/// Parses a detail that is not required to read the row.
fn parse_detail<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

pub(super) fn corrupt() -> StoreError {
    StoreError::Corrupt { what: "a summary" }
}

/// The text so far of a run. Its parameters are the summary and the revision.
pub(super) const PARTIAL_TEXT: &str =
    "SELECT number, text FROM partial_text WHERE summary_id = ? AND revision = ?";

/// Deletes the text so far of a summary.
pub(super) const DELETE_TEXT: &str = "DELETE FROM partial_text WHERE summary_id = ?";

/// The newest requests of some weeks, without cancelled requests, the latest week first. Its
/// parameters are the user, the first and the last start, and the limit. The index
/// `summary_by_week` has the rows in this order, so that no more rows are read than returned.
pub(super) const NEWEST_REQUESTS: &str =
    "SELECT start, status, versions_read, requested_at, id FROM summary
     WHERE user_id = ? AND start BETWEEN ? AND ? AND status <> 'cancelled'
     ORDER BY start DESC, requested_at DESC, id DESC LIMIT ?";

/// The newest emotion tags of some dates, the latest date first, in the order of the index
/// `emotion_tag_by_day`. Its parameters are the user, the first and the last date, and the limit.
pub(super) const NEWEST_TAGS: &str = "SELECT date, label, confidence, distribution FROM emotion_tag
     WHERE user_id = ? AND date BETWEEN ? AND ?
     ORDER BY date DESC, generated_at DESC, summary_id DESC LIMIT ?";

/// The results of a user's summaries after a place. Its parameters are the user, the start of the
/// place, its start, time and id, and the limit. They are read in the order of the index
/// `reflection_by_week`, whose rows end with the primary key; the first condition on the start is for
/// engines that use no index for a comparison of rows.
pub(super) const RESULTS_PAGE: &str =
    "SELECT start, generated_at, summary_id, reflection, engine, emotion_engine, truncated,
        token_usage
     FROM reflection
     WHERE user_id = ? AND start >= ? AND (start, generated_at, summary_id) > (?, ?, ?)
     ORDER BY start, generated_at, summary_id LIMIT ?";

/// A row of [`RESULTS_PAGE`].
#[cfg_attr(feature = "distributed", derive(FromRow))]
pub(super) struct ResultRow {
    pub(super) start: u32,
    pub(super) summary_id: Vec<u8>,
    #[cfg_attr(feature = "distributed", sqlx(flatten))]
    pub(super) reflection: ReflectionRow,
}

impl ResultRow {
    pub(super) fn place(&self) -> ResultPlace {
        ResultPlace {
            start: self.start,
            generated_at: self.reflection.generated_at,
            id: self.summary_id.clone(),
        }
    }

    /// The result; `None` if the id or the week cannot be read.
    pub(super) fn with_tags(self, tags: Vec<TagRow>) -> Option<StoredResult> {
        Some(StoredResult {
            id: SummaryId::from_bytes(self.summary_id.as_slice().try_into().ok()?),
            week: week(self.start).ok()?,
            result: self.reflection.with_tags(tags),
        })
    }
}

/// The rows that are read for each week or date, on average. A week has at most 7 summaries that
/// are finished and kept, and an unfinished one.
const ROWS_PER_KEY: u32 = 9;

/// Reads the newest row of each key, a week or a date as a number. The rows are read in pages, the
/// latest key first, so that old rows beyond those that are kept add at most one page per key.
#[derive(Debug)]
pub(super) struct Newest<T> {
    first: u32,
    /// The last key of the next page; `None` after the last page.
    last: Option<u32>,
    limit: u32,
    rows: Vec<T>,
}

impl<T> Newest<T> {
    /// The keys of the range, which are at most this many.
    pub(super) fn new(first: u32, last: u32, keys: u32) -> Self {
        let limit = ROWS_PER_KEY.saturating_mul(keys);
        Self { first, last: Some(last), limit, rows: Vec::new() }
    }

    /// The first and the last key of the next page, and its limit; `None` after the last page.
    pub(super) fn page(&self) -> Option<(u32, u32, u32)> {
        Some((self.first, self.last?, self.limit))
    }

    /// Adds a page, in which the newest row of each key is the first.
    pub(super) fn add(&mut self, page: Vec<T>, key: impl Fn(&T) -> u32) {
        let is_full = page.len() >= self.limit as usize;
        self.last = page
            .last()
            .filter(|_| is_full)
            .and_then(|row| key(row).checked_sub(1))
            .filter(|last| *last >= self.first);
        self.rows.extend(page);
        self.rows.dedup_by_key(|row| key(row));
    }

    pub(super) fn into_rows(self) -> Vec<T> {
        self.rows
    }
}

/// The first day on which a week of a day in the range may start, and the number of these days.
pub(super) fn week_starts(range: DateRange) -> (Date, u32) {
    let first = range.start().plus_days(-6).unwrap_or(range.start());
    (first, range.days().saturating_add(6))
}

/// Finished summaries of a week that are kept. Older ones are deleted when one is finished.
pub(super) const KEPT_SUMMARIES: u32 = 5;

/// Maximum summaries that one step deletes.
pub(super) const PURGE_BATCH: u32 = 100;

/// The finished summaries of a week that are not kept. The newest completed one is kept, because it
/// has the reflection of the week, and the newest that was not cancelled, because it has the status
/// of the days. The parameters are the user and the start, three times in this order.
pub(super) static OLD_SUMMARIES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT id FROM (
            SELECT id FROM summary
            WHERE user_id = ? AND start = ? AND status IN ('completed', 'failed', 'cancelled')
            ORDER BY requested_at DESC, id DESC LIMIT {PURGE_BATCH} OFFSET {KEPT_SUMMARIES}
         ) AS older
         WHERE id <> COALESCE((
            SELECT summary_id FROM reflection WHERE user_id = ? AND start = ?
            ORDER BY generated_at DESC, summary_id DESC LIMIT 1), x'')
         AND id <> COALESCE((
            SELECT id FROM summary
            WHERE user_id = ? AND start = ? AND status IN ('completed', 'failed')
            ORDER BY requested_at DESC, id DESC LIMIT 1), x'')"
    )
});

#[cfg_attr(feature = "distributed", derive(FromRow))]
pub(super) struct WeekStatusRow {
    pub(super) start: u32,
    pub(super) status: String,
    pub(super) versions_read: String,
    pub(super) requested_at: i64,
    pub(super) id: Vec<u8>,
}

impl WeekStatusRow {
    fn into_status(self) -> Option<WeekStatus> {
        Some(WeekStatus {
            week: week(self.start).ok()?,
            status: SummaryStatus::from(self.status.as_str()),
            versions_read: parse_detail(&self.versions_read).unwrap_or_default(),
        })
    }
}

/// The statuses of these rows in the order of the requests; rows without a valid week are omitted.
pub(super) fn known_statuses(mut rows: Vec<WeekStatusRow>) -> Vec<WeekStatus> {
    rows.sort_unstable_by(|a, b| (a.requested_at, &a.id).cmp(&(b.requested_at, &b.id)));
    rows.into_iter().filter_map(WeekStatusRow::into_status).collect()
}

#[cfg(test)]
mod tests {
    use shiori_sdk::{Distribution, Emotion, FailureKind, ProgressPhase};

    use super::*;

    fn summary_row() -> SummaryRow {
        SummaryRow {
            id: SummaryId::new().as_bytes().to_vec(),
            user_id: UserId::new().as_bytes().to_vec(),
            start: 20_260_216,
            status: "running".to_owned(),
            revision: 2,
            attempts: 1,
            requested_at: 0,
            started_at: Some(1),
            finished_at: None,
            not_before: 0,
            next_hint_at: 0,
            lease_token: None,
            lease_expires: None,
            lease_worker: None,
            completed_by: None,
            versions_read: "{}".to_owned(),
            progress: Some(r#"{"phase":"writing","characters":7}"#.to_owned()),
            text_number: None,
            failure: Some(r#"{"kind":"internal","message":"실패"}"#.to_owned()),
            trace: None,
        }
    }

    #[test]
    fn a_row_with_an_unknown_status_is_readable() {
        for (name, status) in [
            ("queued", SummaryStatus::Queued),
            ("cancelled", SummaryStatus::Cancelled),
            ("paused", SummaryStatus::Unknown),
        ] {
            let row = SummaryRow { status: name.to_owned(), ..summary_row() };
            assert_eq!(SummaryJob::try_from(row).expect(name).status, status);
            let row = WeekStatusRow {
                start: 20_260_216,
                status: name.to_owned(),
                versions_read: "{}".to_owned(),
                requested_at: 0,
                id: Vec::new(),
            };
            assert_eq!(row.into_status().expect(name).status, status);
        }
    }

    #[test]
    fn a_row_with_unknown_details_is_readable() {
        for (failure, kind) in [
            (r#"{"kind":"internal","message":""}"#, Some(FailureKind::Internal)),
            (r#"{"kind":"quota","message":"","quota":9}"#, Some(FailureKind::Unknown)),
            (r#"{"reason":"quota"}"#, None),
            ("quota", None),
        ] {
            let row = SummaryRow { failure: Some(failure.to_owned()), ..summary_row() };
            let row = SummaryJob::try_from(row).expect(failure);
            assert_eq!(row.failure.map(|failure| failure.kind), kind);
        }
        for (progress, phase) in [
            (r#"{"phase":"emotions"}"#, Some(ProgressPhase::Emotions)),
            (r#"{"phase":"reviewing","characters":7,"pages":1}"#, Some(ProgressPhase::Unknown)),
            (r#"{"percent":50}"#, None),
            ("50", None),
        ] {
            let row = SummaryRow { progress: Some(progress.to_owned()), ..summary_row() };
            let row = SummaryJob::try_from(row).expect(progress);
            assert_eq!(row.progress.map(|progress| progress.phase), phase);
        }
    }

    #[test]
    fn unreadable_details_are_absent() {
        let text = || Some("?".to_owned());
        let row = SummaryRow {
            lease_token: text(),
            lease_expires: Some(7),
            lease_worker: None,
            completed_by: text(),
            versions_read: "[]".to_owned(),
            progress: text(),
            failure: text(),
            ..summary_row()
        };
        let job = SummaryJob::try_from(row).expect("readable");
        let lease = job.lease.expect("a lease");
        assert_eq!((lease.expires_at.as_millis(), lease.worker.as_str()), (7, ""));
        assert_eq!((job.completed_by, job.progress, job.failure), (None, None, None));
        assert!(job.versions_read.is_empty());
        let row = SummaryRow { lease_token: text(), lease_worker: text(), ..summary_row() };
        assert_eq!(SummaryJob::try_from(row).expect("readable").lease, None);
    }

    #[test]
    fn a_row_without_a_readable_key_is_corrupt() {
        for row in [
            SummaryRow { start: 20_260_230, ..summary_row() },
            SummaryRow { id: vec![1], ..summary_row() },
            SummaryRow { revision: -1, ..summary_row() },
            SummaryRow { not_before: i64::MAX, ..summary_row() },
            SummaryRow { lease_expires: Some(i64::MIN), ..summary_row() },
        ] {
            assert!(matches!(SummaryJob::try_from(row), Err(StoreError::Corrupt { .. })));
        }
    }

    /// The rows are pairs of a key and an age; the newest has the age 0.
    #[test]
    fn the_newest_row_of_each_key_is_read_in_pages() {
        let rows_of = |key: u32, count: u32| (0..count).map(move |age| (key, age));
        let stored: Vec<_> = [(9, 1), (7, 40), (6, 2), (5, 30)]
            .into_iter()
            .flat_map(|(k, n)| rows_of(k, n))
            .collect();
        for (first, last, expected) in
            [(1, 20, vec![9, 7, 6, 5]), (6, 8, vec![7, 6]), (10, 20, vec![]), (5, 5, vec![5])]
        {
            let mut newest = Newest::new(first, last, 1);
            let mut pages = 0;
            while let Some((first, last, limit)) = newest.page() {
                let matching = stored.iter().filter(|(key, _)| (first..=last).contains(key));
                newest.add(matching.take(limit as usize).copied().collect(), |row| row.0);
                pages += 1;
            }
            assert!(pages <= 3, "{pages}");
            let expected: Vec<_> = expected.into_iter().map(|key| (key, 0)).collect();
            assert_eq!(newest.into_rows(), expected);
        }
    }

    #[test]
    fn emotion_tags_with_unknown_labels_are_omitted() {
        let tag = |date, label: &str, distribution: &str| TagRow {
            date,
            label: label.to_owned(),
            confidence: 0.5,
            distribution: distribution.to_owned(),
        };
        let tags = || {
            vec![
                tag(20_260_216, "행복", r#"{"행복":0.3,"희망":0.7}"#),
                tag(20_260_217, "희망", r#"{"희망":1.0}"#),
                tag(20_260_218, "희망", "not JSON"),
                tag(20_260_219, "행복", "not JSON"),
                tag(20_260_230, "행복", "{}"),
            ]
        };
        let known = known_emotions(tags());
        let labels: Vec<_> = known.iter().map(|day| (day.date.day(), day.label)).collect();
        assert_eq!(labels, [(16, Emotion::Happiness)]);
        let only_happy = Distribution::from_weights(
            Emotion::ALL.map(|emotion| f64::from(u8::from(emotion == Emotion::Happiness))),
        );
        assert_eq!(known[0].distribution, only_happy);

        let row = ReflectionRow {
            reflection: "글".to_owned(),
            engine: "later/9".to_owned(),
            emotion_engine: "later/9".to_owned(),
            truncated: "[]".to_owned(),
            token_usage: Some(r#"{"tokens":9}"#.to_owned()),
            generated_at: 0,
        };
        let result = row.with_tags(tags());
        assert_eq!((result.emotions.len(), result.usage), (1, None));
    }
}
