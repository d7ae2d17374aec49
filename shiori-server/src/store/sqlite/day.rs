use async_trait::async_trait;
use rusqlite::Connection;
use shiori_sdk::{Date, DateRange, UserId};

use super::{SqliteStore, diary, summary};
use crate::{
    store::{DayStore, DiaryHead, DiaryRecord, StoreError, one_day},
    summary::Annotations,
};

#[async_trait]
impl DayStore for SqliteStore {
    async fn day(
        &self,
        user: UserId,
        date: Date,
    ) -> Result<Option<(DiaryRecord, Annotations)>, StoreError> {
        self.snapshot(move |connection| {
            let Some(record) = diary::record(connection, user, date)? else { return Ok(None) };
            Ok(Some((record, annotations(connection, user, one_day(date))?)))
        })
        .await
    }

    async fn days(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<(Vec<DiaryHead>, Annotations), StoreError> {
        self.snapshot_of(range, move |connection| {
            let heads = diary::heads(connection, user, range)?;
            Ok((heads, annotations(connection, user, range)?))
        })
        .await
    }
}

fn annotations(
    connection: &Connection,
    user: UserId,
    range: DateRange,
) -> Result<Annotations, StoreError> {
    Ok(Annotations {
        weeks: summary::week_statuses(connection, user, range)?,
        tags: summary::emotion_tags(connection, user, range)?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shiori_sdk::{DiarySummaryStatus, Document, Timestamp, Week};

    use super::*;
    use crate::{
        store::{DaysOfTwoStores, DiaryStore, NewVersion, SummaryStore, sqlite::open_temporary},
        summary::{SummaryJob, SummaryPolicy},
    };

    /// One step over both tables answers as the two stores do.
    #[tokio::test]
    async fn one_engine_answers_like_two() {
        let (store, _dir) = open_temporary().await;
        let (user, now) = (UserId::new(), Timestamp::from_millis(1_771_200_000_000));
        let day = |day| Date::new(2026, 2, day).expect("a real day");
        for n in [16, 17, 20] {
            let save = NewVersion {
                user,
                date: day(n),
                title: format!("{n}"),
                content: Document::from_text("글"),
                expected: None,
                save_id: None,
                now,
            };
            store.save(&save).await.expect("saved");
        }
        let week = Week::starting(day(17)).expect("a week");
        let row = SummaryJob::new(user, week, None, now, &SummaryPolicy::default());
        SummaryStore::insert(&store, &row, 10).await.expect("requested");

        let shared = Arc::new(store.clone());
        let two = DaysOfTwoStores::new(shared.clone(), shared);
        let statuses = |found: &Option<(DiaryRecord, Annotations)>| {
            found
                .as_ref()
                .map(|(record, notes)| notes.status(record.head.date, record.head.version))
        };
        for n in 15..=21 {
            let one = store.day(user, day(n)).await.expect("read");
            let other = two.day(user, day(n)).await.expect("read");
            assert_eq!(one, other);
            let expected = match n {
                16 => Some(DiarySummaryStatus::None),
                17 | 20 => Some(DiarySummaryStatus::Pending),
                _ => None,
            };
            assert_eq!(statuses(&one), expected, "{n}");
        }
        let range = DateRange::new(day(1), day(28)).expect("ordered");
        let (heads, notes) = store.days(user, range).await.expect("read");
        assert_eq!((heads.len(), notes.weeks.len()), (3, 1));
        assert_eq!((heads, notes), two.days(user, range).await.expect("read"));
    }
}
