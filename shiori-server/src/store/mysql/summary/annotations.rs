//! The newest requests and emotion tags of days.

use std::collections::BTreeMap;

use shiori_sdk::{Date, DateRange, DayEmotion, UserId};
use sqlx::{FromRow, Row, mysql::MySqlRow};

use super::super::MySqlStore;
use crate::{
    store::{
        StoreError, WeekStatus,
        day::one_day,
        sql::{
            NEWEST_REQUESTS, NEWEST_TAGS, Newest, TagRow, WeekStatusRow, known_emotions,
            known_statuses, week_starts,
        },
    },
    summary::Annotations,
};

/// The rows of [`NEWEST_REQUESTS`] with its parameters, and the newest emotion tag of one date, whose
/// parameters are the user and the date. Only a tag has a confidence. Paired columns have the same
/// type, because MariaDB would convert them.
const NEWEST_OF_DAY: &str =
    "(SELECT start, status, versions_read, requested_at, id, NULL AS confidence FROM summary
      WHERE user_id = ? AND start BETWEEN ? AND ? AND status <> 'cancelled'
      ORDER BY start DESC, requested_at DESC, id DESC LIMIT ?)
     UNION ALL
     (SELECT date, label, distribution, generated_at, summary_id, confidence FROM emotion_tag
      WHERE user_id = ? AND date = ?
      ORDER BY generated_at DESC, summary_id DESC LIMIT 1)";

/// A row of [`NEWEST_OF_DAY`].
enum AnnotationRow {
    Week(WeekStatusRow),
    Tag(TagRow),
}

impl FromRow<'_, MySqlRow> for AnnotationRow {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        Ok(match row.try_get("confidence")? {
            None => Self::Week(WeekStatusRow::from_row(row)?),
            Some(confidence) => Self::Tag(TagRow {
                date: row.try_get("start")?,
                label: row.try_get("status")?,
                confidence,
                distribution: row.try_get("versions_read")?,
            }),
        })
    }
}

impl MySqlStore {
    /// The newest request of each week that overlaps the range.
    pub(super) async fn newest_statuses(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Vec<WeekStatus>, StoreError> {
        let newest = newest_requests(range);
        Ok(known_statuses(self.newest(NEWEST_REQUESTS, user, newest, week_start).await?))
    }

    /// The newest emotion tag of each day in the range.
    pub(super) async fn newest_tags(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<BTreeMap<Date, DayEmotion>, StoreError> {
        let (first, last) = (range.start().as_number(), range.end().as_number());
        let newest = Newest::new(first, last, range.days());
        let tags = self.newest(NEWEST_TAGS, user, newest, |row: &TagRow| row.date).await?;
        Ok(by_date(tags))
    }

    /// The annotations of one day, in one statement unless a week has very many summaries.
    pub(super) async fn annotations_of(
        &self,
        user: UserId,
        date: Date,
    ) -> Result<Annotations, StoreError> {
        let mut newest = newest_requests(one_day(date));
        let (first, last, limit) = newest.page().expect("no page was added yet");
        let rows: Vec<AnnotationRow> = self
            .idempotent(|mut connection| async move {
                Ok(sqlx::query_as(NEWEST_OF_DAY)
                    .bind(&user.as_bytes()[..])
                    .bind(first)
                    .bind(last)
                    .bind(limit)
                    .bind(&user.as_bytes()[..])
                    .bind(date.as_number())
                    .fetch_all(connection.raw())
                    .await?)
            })
            .await?;
        let (mut weeks, mut tags) = (Vec::new(), Vec::new());
        for row in rows {
            match row {
                AnnotationRow::Week(week) => weeks.push(week),
                AnnotationRow::Tag(tag) => tags.push(tag),
            }
        }
        newest.add(weeks, week_start);
        let weeks = self.newest(NEWEST_REQUESTS, user, newest, week_start).await?;
        Ok(Annotations { weeks: known_statuses(weeks), tags: by_date(tags) })
    }

    /// The newest row of each key, read in pages with this statement.
    async fn newest<T>(
        &self,
        statement: &'static str,
        user: UserId,
        mut newest: Newest<T>,
        key: impl Fn(&T) -> u32 + Send,
    ) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> FromRow<'r, MySqlRow> + Send + Unpin,
    {
        while let Some((first, last, limit)) = newest.page() {
            let page: Vec<T> = self
                .idempotent(|mut connection| async move {
                    Ok(sqlx::query_as(statement)
                        .bind(&user.as_bytes()[..])
                        .bind(first)
                        .bind(last)
                        .bind(limit)
                        .fetch_all(connection.raw())
                        .await?)
                })
                .await?;
            newest.add(page, &key);
        }
        Ok(newest.into_rows())
    }
}

/// The requests that [`NEWEST_REQUESTS`] reads for the days of a range.
fn newest_requests(range: DateRange) -> Newest<WeekStatusRow> {
    let (first, count) = week_starts(range);
    Newest::new(first.as_number(), range.end().as_number(), count)
}

fn week_start(row: &WeekStatusRow) -> u32 {
    row.start
}

fn by_date(tags: Vec<TagRow>) -> BTreeMap<Date, DayEmotion> {
    known_emotions(tags).into_iter().map(|day| (day.date, day)).collect()
}
