use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use shiori_sdk::{
    Date, DateRange, DayEmotion, PartialText, Revision, SummaryId, Timestamp, UserId, Version, Week,
};

use shiori_worker::protocol::{TextSoFar, TokenUsage};

use super::{Page, ResultPlace, StoreError, StoredResult};
use crate::summary::{Annotations, SummaryJob};

/// The store of summary jobs, reflections and emotion tags.
///
/// The state machine in [`crate::summary`] computes each step; the store applies it as one
/// compare-and-swap.
#[async_trait]
pub trait SummaryStore: Send + Sync + fmt::Debug {
    /// Inserts the job, unless the user has an unfinished job for the same week or has reached a
    /// quota. An unfinished job that cannot be read is failed and replaced. Only inserted jobs
    /// count, each on the day of its request. While servers have different limits of unfinished
    /// jobs, a user may reach the sum of them. After a lost connection, a request may count twice.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn insert(
        &self,
        job: &SummaryJob,
        quota: SummaryQuota,
    ) -> Result<InsertOutcome, StoreError>;

    /// The job of a summary.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn get(&self, id: SummaryId) -> Result<Option<SummaryJob>, StoreError>;

    /// Replaces `from` with `to` if the stored revision and lease expiry are those of `from`, and
    /// stores `result` in the same transaction. Returns `false` if `from` is stale; read it again.
    ///
    /// If `from` has a text so far and `to` has none, the text is deleted in the same transaction.
    ///
    /// If `to` has a final status, older finished summaries of the week are deleted, at most 100.
    /// The newest five are kept, and in any case the newest completed one and the newest that was
    /// not cancelled. A failed deletion is made up for when the next summary of the week is
    /// finished.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn compare_and_swap(
        &self,
        from: &SummaryJob,
        to: &SummaryJob,
        result: Option<&ResultRecord>,
    ) -> Result<bool, StoreError>;

    /// As [`SummaryStore::compare_and_swap`] for a heartbeat with a text so far, which replaces the
    /// stored one in the same transaction. `to` has its number.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn swap_text(
        &self,
        from: &SummaryJob,
        to: &SummaryJob,
        text: &TextSoFar,
    ) -> Result<bool, StoreError>;

    /// The text so far of the run with this revision.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn partial_text(
        &self,
        id: SummaryId,
        revision: Revision,
    ) -> Result<Option<PartialText>, StoreError>;

    /// The newest completed summary of exactly this week.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn latest_result(
        &self,
        user: UserId,
        week: Week,
    ) -> Result<Option<CompletedSummary>, StoreError>;

    /// The job of the newest completed summary of exactly this week.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn latest_completed(
        &self,
        user: UserId,
        week: Week,
    ) -> Result<Option<SummaryJob>, StoreError>;

    /// The result of this summary.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn result(&self, id: SummaryId) -> Result<Option<ResultRecord>, StoreError>;

    /// The annotations of a range: [`SummaryStore::week_statuses`] and
    /// [`SummaryStore::emotion_tags`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn annotations(&self, user: UserId, range: DateRange) -> Result<Annotations, StoreError>;

    /// The results of a user's summaries after a place, by week and time. A page has at most
    /// [`PAGE_RESULTS`](super::PAGE_RESULTS).
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable. A row that cannot be read is counted.
    async fn results_page(
        &self,
        user: UserId,
        after: &ResultPlace,
    ) -> Result<Page<StoredResult, ResultPlace>, StoreError>;

    /// The newest request of each week that overlaps the range, without cancelled requests, in the
    /// order of the requests.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn week_statuses(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Vec<WeekStatus>, StoreError>;

    /// The newest emotion tag of each day in the range.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn emotion_tags(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<BTreeMap<Date, DayEmotion>, StoreError>;

    /// At most `limit` running rows whose lease has expired, the longest expired first. A running
    /// job without an expiry time is included.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn list_expired(&self, now: Timestamp, limit: u32) -> Result<DueJobs, StoreError>;

    /// At most `limit` queued rows after this place whose hint is checked at or before `until`, in
    /// the order of their places. Only an index is read, so the rows may be unreadable.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn list_queued(
        &self,
        after: &QueuedRow,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<QueuedRow>, StoreError>;

    /// Those of the rows that are queued.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn read_queued(&self, rows: &[RowId]) -> Result<DueJobs, StoreError>;

    /// At most `limit` queued summaries that can be claimed now and were requested at or before
    /// `requested_before`, the oldest request first. Rows that cannot be read are omitted.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn list_overdue(
        &self,
        requested_before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<SummaryId>, StoreError>;

    /// The unfinished summaries of all users, counted up to `limit` of each status, those that are due
    /// or expire first. Rows that cannot be read count, too.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn unfinished(&self, limit: u32) -> Result<Unfinished, StoreError>;

    /// Makes a row due at `until`, even if it cannot be read, so that it does not block others.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn postpone(
        &self,
        kind: DueKind,
        row: &RowId,
        until: Timestamp,
    ) -> Result<(), StoreError>;

    /// Cancels the user's unfinished summary even if its row cannot be read. `false` if there is no
    /// such summary.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn cancel_unreadable(
        &self,
        user: UserId,
        id: SummaryId,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Deletes at most `limit` of the user's summaries, with reflections and emotion tags. Returns
    /// how many it has deleted; fewer than `limit` if none are left.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable. Some may then have been deleted.
    async fn erase(&self, user: UserId, limit: u32) -> Result<u64, StoreError>;

    /// Checks that the store is available.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it is not.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// The summaries that one user may request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SummaryQuota {
    /// Maximum unfinished summaries.
    pub unfinished: u32,
    /// Maximum summaries that are requested within one day in UTC; `None` if there is no limit.
    pub per_day: Option<u32>,
}

/// The unfinished summaries; see [`SummaryStore::unfinished`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// The number of queued ones.
    pub queued: u64,
    /// The number of running ones.
    pub running: u64,
    /// When the oldest of the counted ones was requested; `None` without any.
    pub oldest: Option<Timestamp>,
}

/// The outcome of [`SummaryStore::insert`].
#[derive(Debug, Clone)]
pub enum InsertOutcome {
    /// The job was inserted.
    Inserted,
    /// The user has this unfinished job for the week.
    Unfinished(Box<SummaryJob>),
    /// The user has too many unfinished jobs.
    TooMany,
    /// The user has requested too many jobs on this day; this is the limit.
    TooManyOnDay(u32),
}

/// The result of a summary. `Debug` shows no text.
#[derive(Clone, PartialEq)]
pub struct ResultRecord {
    /// The reflection.
    pub reflection: String,
    /// The engine that wrote the reflection.
    pub engine: String,
    /// The engine that classified the emotions.
    pub emotion_engine: String,
    /// The emotion of each day.
    pub emotions: Vec<DayEmotion>,
    /// The days whose text was truncated for the summariser.
    pub truncated: Vec<Date>,
    /// The token usage, if the provider reported it.
    pub usage: Option<TokenUsage>,
    /// When it was stored.
    pub generated_at: Timestamp,
}

impl fmt::Debug for ResultRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultRecord")
            .field("engine", &self.engine)
            .field("emotion_engine", &self.emotion_engine)
            .field("generated_at", &self.generated_at)
            .finish_non_exhaustive()
    }
}

/// A completed job with its result.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletedSummary {
    /// The job.
    pub job: SummaryJob,
    /// Its result.
    pub result: ResultRecord,
}

/// The status of one request, for the days of its week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeekStatus {
    /// The week.
    pub week: Week,
    /// The status.
    pub status: shiori_sdk::SummaryStatus,
    /// The diary versions that it read.
    pub versions_read: BTreeMap<Date, Version>,
}

/// The place of a queued row in the order in which hints are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedRow {
    /// When its hint is first checked, in milliseconds since the Unix epoch.
    pub next_hint_at: i64,
    /// The row.
    pub id: RowId,
}

impl QueuedRow {
    /// A place before all rows.
    pub fn first() -> Self {
        Self { next_hint_at: i64::MIN, id: RowId::new(Vec::new()) }
    }

    /// The place before all rows whose hint is first checked at this time.
    pub fn at(time: Timestamp) -> Self {
        Self { next_hint_at: time.as_millis(), id: RowId::new(Vec::new()) }
    }
}

/// The due rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueJobs {
    /// The jobs.
    pub jobs: Vec<SummaryJob>,
    /// Rows that cannot be read as a job.
    pub unreadable: Vec<RowId>,
}

impl DueJobs {
    /// The number of due rows.
    pub fn len(&self) -> usize {
        self.jobs.len() + self.unreadable.len()
    }

    /// Whether no row is due.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The stored id of a row, which may not be a valid summary id. Shown as hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct RowId(Vec<u8>);

impl RowId {
    /// The id with these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The summary; `None` if this is not the id of one.
    pub fn summary(&self) -> Option<SummaryId> {
        Some(SummaryId::from_bytes(self.0.as_slice().try_into().ok()?))
    }
}

impl From<SummaryId> for RowId {
    fn from(id: SummaryId) -> Self {
        Self(id.as_bytes().to_vec())
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(32).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowId({self})")
    }
}

/// What is done with a row when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueKind {
    /// It is queued, and its hint is checked.
    Hint,
    /// It is running, and its lease expires.
    Lease,
}
