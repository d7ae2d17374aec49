use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use shiori_sdk::{Date, DateRange, UserId};
use tokio::time::timeout;

use super::{DiaryHead, DiaryRecord, DiaryStore, StoreError, SummaryStore};
use crate::summary::Annotations;

/// Reads diaries together with what the summaries say of their days. An engine that stores both
/// answers in one step; [`DaysOfTwoStores`] asks two stores.
///
/// A diary does not depend on the summaries: where these cannot be read, the annotations are `None`,
/// and the log says why.
#[async_trait]
pub trait DayStore: Send + Sync + fmt::Debug {
    /// The diary of a date, as [`DiaryStore::get`] returns it, with the day's annotations.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the diaries cannot be read.
    async fn day(
        &self,
        user: UserId,
        date: Date,
    ) -> Result<Option<(DiaryRecord, Option<Annotations>)>, StoreError>;

    /// The diaries of a range, as [`DiaryStore::list`] returns them, with the range's annotations.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the diaries cannot be read.
    async fn days(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<(Vec<DiaryHead>, Option<Annotations>), StoreError>;

    /// The annotations of a range.
    async fn annotations(&self, user: UserId, range: DateRange) -> Option<Annotations>;
}

/// How long a diary waits for its annotations. They take a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it waits after annotations could not be read, so that an engine that does not answer
/// delays reads little. It is enough to connect again.
const PATIENCE_AFTER_FAILURE: Duration = Duration::from_millis(250);

/// Reads the diaries from one store and the annotations from another.
#[derive(Debug)]
pub struct DaysOfTwoStores {
    diaries: Arc<dyn DiaryStore>,
    summaries: Arc<dyn SummaryStore>,
    /// Whether the last annotations could not be read.
    is_failing: AtomicBool,
}

impl DaysOfTwoStores {
    /// A reader of these two stores.
    pub fn new(diaries: Arc<dyn DiaryStore>, summaries: Arc<dyn SummaryStore>) -> Self {
        Self { diaries, summaries, is_failing: AtomicBool::new(false) }
    }

    async fn read_annotations(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Annotations, StoreError> {
        let weeks = self.summaries.week_statuses(user, range).await?;
        let tags = self.summaries.emotion_tags(user, range).await?;
        Ok(Annotations { weeks, tags })
    }
}

#[async_trait]
impl DayStore for DaysOfTwoStores {
    async fn day(
        &self,
        user: UserId,
        date: Date,
    ) -> Result<Option<(DiaryRecord, Option<Annotations>)>, StoreError> {
        let Some(record) = self.diaries.get(user, date).await? else { return Ok(None) };
        let annotations = self.annotations(user, one_day(date)).await;
        Ok(Some((record, annotations)))
    }

    async fn days(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<(Vec<DiaryHead>, Option<Annotations>), StoreError> {
        let heads = self.diaries.list(user, range).await?;
        Ok((heads, self.annotations(user, range).await))
    }

    async fn annotations(&self, user: UserId, range: DateRange) -> Option<Annotations> {
        let patience =
            if self.is_failing.load(Relaxed) { PATIENCE_AFTER_FAILURE } else { PATIENCE };
        let read = timeout(patience, self.read_annotations(user, range)).await;
        let read =
            read.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".into())));
        self.is_failing.store(matches!(read, Err(StoreError::Unavailable(_))), Relaxed);
        if_readable(read)
    }
}

/// The annotations, unless they cannot be read: a warning in the log, and `None`.
pub(super) fn if_readable(read: Result<Annotations, StoreError>) -> Option<Annotations> {
    read.inspect_err(|error| {
        let source = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(%error, source, "a diary is read without summary status and emotion");
    })
    .ok()
}

/// The range that consists of this date.
pub(crate) fn one_day(date: Date) -> DateRange {
    DateRange::new(date, date).expect("a date is not after itself")
}
