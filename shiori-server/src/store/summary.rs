use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use shiori_sdk::{Date, DateRange, DayEmotion, SummaryId, Timestamp, UserId, Version, Week};

use shiori_worker::protocol::TokenUsage;

use super::StoreError;
use crate::summary::SummaryJob;

/// Owns the summaries' rows, the reflections and the emotion tags.
///
/// What may follow what is decided by the pure state machine in [`crate::summary`]; the store
/// applies each step as one compare-and-swap.
#[async_trait]
pub trait SummaryStore: Send + Sync + fmt::Debug {
    /// Inserts the row, unless the user has an unfinished one for the same week, or has
    /// `max_unfinished` unfinished ones.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn insert(
        &self,
        job: &SummaryJob,
        max_unfinished: u32,
    ) -> Result<InsertOutcome, StoreError>;

    /// The row.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn get(&self, id: SummaryId) -> Result<Option<SummaryJob>, StoreError>;

    /// Replaces `from` with `to` if the row's revision and lease are still those of `from`, and
    /// stores `result` with it, all in one transaction; whether it did. If not, somebody else was
    /// first: read again.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn compare_and_swap(
        &self,
        from: &SummaryJob,
        to: &SummaryJob,
        result: Option<&ResultRecord>,
    ) -> Result<bool, StoreError>;

    /// The newest result on exactly this week.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn latest_result(
        &self,
        user: UserId,
        week: Week,
    ) -> Result<Option<CompletedSummary>, StoreError>;

    /// The result that this summary stored.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn result(&self, id: SummaryId) -> Result<Option<ResultRecord>, StoreError>;

    /// Of every week that shares a day with the range, the newest request that was not cancelled;
    /// in the order in which they were made.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn week_statuses(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Vec<WeekStatus>, StoreError>;

    /// The newest emotion tag of each day in the range.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn emotion_tags(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<BTreeMap<Date, DayEmotion>, StoreError>;

    /// At most `limit` rows of this kind, the longest overdue first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn list_due(
        &self,
        kind: DueKind,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<SummaryJob>, StoreError>;

    /// Whether the store answers.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it does not.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// What became of [`SummaryStore::insert`].
#[derive(Debug, Clone)]
pub enum InsertOutcome {
    /// The row is there.
    Inserted,
    /// The user has this unfinished one for the week.
    Unfinished(Box<SummaryJob>),
    /// The user has too many unfinished ones.
    TooMany,
}

/// What a summary made. `Debug` shows no text.
#[derive(Clone, PartialEq)]
pub struct ResultRecord {
    /// The text.
    pub reflection: String,
    /// What wrote the text.
    pub engine: String,
    /// What tagged the days.
    pub emotion_engine: String,
    /// The emotion of each day.
    pub emotions: Vec<DayEmotion>,
    /// The days of which the summariser was given less than all.
    pub truncated: Vec<Date>,
    /// What the language model took, if it told.
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

/// A result with the row that led to it.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletedSummary {
    /// The completed row.
    pub job: SummaryJob,
    /// What it made.
    pub result: ResultRecord,
}

/// What one request says of its week's days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeekStatus {
    /// The week.
    pub week: Week,
    /// Where the request is in its life.
    pub status: shiori_sdk::SummaryStatus,
    /// The version of each day's diary that it read.
    pub versions_read: BTreeMap<Date, Version>,
}

/// Which rows the dispatcher asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueKind {
    /// Queued, due, and not offered to the queue for a while.
    Hint,
    /// Running on a lease that has run out.
    Lease,
}
