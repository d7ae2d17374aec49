use async_trait::async_trait;
use rusqlite::Connection;
use shiori_sdk::{Date, DateRange, UserId};

use super::{SqliteStore, diary, summary};
use crate::{
    store::{DayStore, DiaryHead, DiaryRecord, StoreError, day::if_readable, one_day},
    summary::Annotations,
};

#[async_trait]
impl DayStore for SqliteStore {
    async fn day(
        &self,
        user: UserId,
        date: Date,
    ) -> Result<Option<(DiaryRecord, Option<Annotations>)>, StoreError> {
        self.snapshot(move |connection| {
            let Some(record) = diary::record(connection, user, date)? else { return Ok(None) };
            Ok(Some((record, if_readable(annotations(connection, user, one_day(date))))))
        })
        .await
    }

    async fn days(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<(Vec<DiaryHead>, Option<Annotations>), StoreError> {
        self.snapshot_of(range, move |connection| {
            let heads = diary::heads(connection, user, range)?;
            Ok((heads, if_readable(annotations(connection, user, range))))
        })
        .await
    }

    async fn annotations(&self, user: UserId, range: DateRange) -> Option<Annotations> {
        let read = self.snapshot_of(range, move |connection| annotations(connection, user, range));
        if_readable(read.await)
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

    /// A diary does not depend on its annotations.
    #[tokio::test]
    async fn a_diary_is_read_without_its_annotations() {
        let (store, _dir) = open_temporary().await;
        let (user, date) = (UserId::new(), Date::new(2026, 2, 16).expect("a real day"));
        let save = NewVersion {
            user,
            date,
            title: "제목".to_owned(),
            content: Document::from_text("글"),
            expected: None,
            save_id: None,
            now: Timestamp::from_millis(1_771_200_000_000),
        };
        store.save(&save).await.expect("saved");
        let rename = |from: &'static str, to: &'static str| {
            let store = store.clone();
            async move {
                let rename = format!("ALTER TABLE {from} RENAME TO {to}");
                let renamed = store.write(move |connection| Ok(connection.execute_batch(&rename)?));
                renamed.await.expect("renamed");
            }
        };
        let shared = Arc::new(store.clone());
        let two = DaysOfTwoStores::new(shared.clone(), shared);
        let days: [&dyn DayStore; 2] = [&store, &two];
        for table in ["summary", "emotion_tag"] {
            rename(table, "gone").await;
            for days in days {
                let (record, notes) = days.day(user, date).await.expect("read").expect("there");
                assert_eq!((record.content, notes), (save.content.clone(), None), "{table}");
                let (heads, notes) = days.days(user, one_day(date)).await.expect("read");
                assert_eq!((heads.len(), notes), (1, None), "{table}");
                assert_eq!(days.annotations(user, one_day(date)).await, None, "{table}");
            }
            rename("gone", table).await;
            for days in days {
                assert!(days.annotations(user, one_day(date)).await.is_some(), "{table}");
            }
        }
    }

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
        let statuses = |found: &Option<(DiaryRecord, Option<Annotations>)>| {
            let (record, notes) = found.as_ref()?;
            let notes = notes.as_ref().expect("readable");
            Some(notes.status(record.head.date, record.head.version))
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
        let weeks = notes.as_ref().expect("readable").weeks.len();
        assert_eq!((heads.len(), weeks), (3, 1));
        assert_eq!((heads, notes), two.days(user, range).await.expect("read"));
    }
}
