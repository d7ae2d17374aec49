use std::{fmt, sync::Arc};

use async_trait::async_trait;
use shiori_sdk::{Date, DateRange, UserId};

use super::{DiaryHead, DiaryRecord, DiaryStore, StoreError, SummaryStore};
use crate::summary::Annotations;

/// Reads diaries together with what the summaries say of their days. An engine that stores both
/// answers in one step; [`DaysOfTwoStores`] asks two stores.
#[async_trait]
pub trait DayStore: Send + Sync + fmt::Debug {
    /// The diary of a date, as [`DiaryStore::get`] returns it, with the day's annotations.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a store does not answer.
    async fn day(
        &self,
        user: UserId,
        date: Date,
    ) -> Result<Option<(DiaryRecord, Annotations)>, StoreError>;

    /// The diaries of a range, as [`DiaryStore::list`] returns them, with the range's annotations.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a store does not answer.
    async fn days(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<(Vec<DiaryHead>, Annotations), StoreError>;
}

/// Reads the diaries from one store and the annotations from another.
#[derive(Debug, Clone)]
pub struct DaysOfTwoStores {
    diaries: Arc<dyn DiaryStore>,
    summaries: Arc<dyn SummaryStore>,
}

impl DaysOfTwoStores {
    /// A reader of these two stores.
    pub fn new(diaries: Arc<dyn DiaryStore>, summaries: Arc<dyn SummaryStore>) -> Self {
        Self { diaries, summaries }
    }

    async fn annotations(&self, user: UserId, range: DateRange) -> Result<Annotations, StoreError> {
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
    ) -> Result<Option<(DiaryRecord, Annotations)>, StoreError> {
        let Some(record) = self.diaries.get(user, date).await? else { return Ok(None) };
        let annotations = self.annotations(user, one_day(date)).await?;
        Ok(Some((record, annotations)))
    }

    async fn days(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<(Vec<DiaryHead>, Annotations), StoreError> {
        let heads = self.diaries.list(user, range).await?;
        Ok((heads, self.annotations(user, range).await?))
    }
}

/// The range that consists of this date.
pub(crate) fn one_day(date: Date) -> DateRange {
    DateRange::new(date, date).expect("a date is not after itself")
}
