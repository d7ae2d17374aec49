use async_trait::async_trait;
use shiori_sdk::{Date, DateRange, UserId};

use super::{SqliteStore, diary, session, summary};
use crate::{
    store::{Day, DayStore, Days, Session, SessionKey, StoreError, day::if_readable, one_day},
    summary::Annotations,
};

#[async_trait]
impl DayStore for SqliteStore {
    async fn day(
        &self,
        key: SessionKey,
        date: Date,
    ) -> Result<Option<(Session, Option<Day>)>, StoreError> {
        self.snapshot(move |connection| {
            let Some(session) = session::live(connection, key)? else { return Ok(None) };
            let Some(record) = diary::record(connection, key.user, date)? else {
                return Ok(Some((session, None)));
            };
            let annotations = summary::annotations(connection, key.user, one_day(date));
            Ok(Some((session, Some((record, if_readable(annotations))))))
        })
        .await
    }

    async fn days(
        &self,
        key: SessionKey,
        range: DateRange,
    ) -> Result<Option<(Session, Days)>, StoreError> {
        self.snapshot_of(range, move |connection| {
            let Some(session) = session::live(connection, key)? else { return Ok(None) };
            let heads = diary::heads(connection, key.user, range)?;
            let annotations = summary::annotations(connection, key.user, range);
            Ok(Some((session, (heads, if_readable(annotations)))))
        })
        .await
    }

    async fn annotations(&self, user: UserId, range: DateRange) -> Option<Annotations> {
        let read = self
            .snapshot_of(range, move |connection| summary::annotations(connection, user, range));
        if_readable(read.await)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use shiori_sdk::{DiarySummaryStatus, Document, SessionId, Timestamp, Week};

    use super::*;
    use crate::{
        store::{
            DiaryQuota, DiaryStore, HistoryPolicy, NewVersion, SeparateStores, SessionStore,
            SummaryStore, sqlite::open_temporary,
        },
        summary::{SummaryJob, SummaryPolicy},
    };

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// Creates a session of a new user.
    async fn sign_in(store: &SqliteStore) -> SessionKey {
        let session = Session {
            id: SessionId::new(),
            user: UserId::new(),
            generation: 1,
            is_used: false,
            rotated_at: NOW,
            created_at: NOW,
            last_seen_at: NOW,
            expires_at: NOW + Duration::from_secs(1),
            user_agent: None,
        };
        store.create(&session, 10).await.expect("created");
        SessionKey { user: session.user, id: session.id, now: NOW }
    }

    fn separate(store: &SqliteStore) -> SeparateStores {
        let shared = Arc::new(store.clone());
        SeparateStores::new(shared.clone(), shared.clone(), shared)
    }

    /// A diary does not depend on its annotations.
    #[tokio::test]
    async fn a_diary_can_be_read_if_its_annotations_cannot() {
        let (store, _dir) = open_temporary().await;
        let date = Date::new(2026, 2, 16).expect("a real day");
        let session = sign_in(&store).await;
        let user = session.user;
        let save = NewVersion {
            user,
            date,
            title: "제목".to_owned(),
            content: Document::from_text("글"),
            expected: None,
            save_id: None,
            quota: DiaryQuota::default(),
            session: session.id,
            history: HistoryPolicy::default(),
            keep_replaced: false,
            now: NOW,
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
        let separate = separate(&store);
        let days: [&dyn DayStore; 2] = [&store, &separate];
        for table in ["summary", "emotion_tag"] {
            rename(table, "gone").await;
            for days in days {
                let (_, day) = days.day(session, date).await.expect("read").expect("live");
                let (record, notes) = day.expect("a diary");
                assert_eq!((record.content, notes), (save.content.clone(), None), "{table}");
                let read = days.days(session, one_day(date)).await.expect("read");
                let (_, (heads, notes)) = read.expect("live");
                assert_eq!((heads.len(), notes), (1, None), "{table}");
                assert_eq!(days.annotations(user, one_day(date)).await, None, "{table}");
            }
            rename("gone", table).await;
            for days in days {
                assert!(days.annotations(user, one_day(date)).await.is_some(), "{table}");
            }
        }
    }

    /// With an expired or revoked session, nothing is returned.
    #[tokio::test]
    async fn nothing_is_read_without_a_live_session() {
        let (store, _dir) = open_temporary().await;
        let (live, ended) = (sign_in(&store).await, sign_in(&store).await);
        store.revoke(ended.user, ended.id).await.expect("revoked");
        let expired = SessionKey { now: NOW + Duration::from_secs(1), ..live };
        let of_another = SessionKey { user: ended.user, ..live };
        let date = Date::new(2026, 2, 16).expect("a real day");
        let separate = separate(&store);
        let days: [&dyn DayStore; 2] = [&store, &separate];
        for days in days {
            for key in [ended, expired, of_another] {
                assert_eq!(days.day(key, date).await.expect("read"), None);
                assert_eq!(days.days(key, one_day(date)).await.expect("read"), None);
            }
            let (session, day) = days.day(live, date).await.expect("read").expect("live");
            assert_eq!((session.id, session.user, day), (live.id, live.user, None));
        }
    }

    /// One step over all tables returns the same as separate stores.
    #[tokio::test]
    async fn one_engine_returns_the_same_as_separate_stores() {
        let (store, _dir) = open_temporary().await;
        let session = sign_in(&store).await;
        let (user, now) = (session.user, NOW);
        let day = |day| Date::new(2026, 2, day).expect("a real day");
        for n in [16, 17, 20] {
            let save = NewVersion {
                user,
                date: day(n),
                title: format!("{n}"),
                content: Document::from_text("글"),
                expected: None,
                save_id: None,
                quota: DiaryQuota::default(),
                session: session.id,
                history: HistoryPolicy::default(),
                keep_replaced: false,
                now,
            };
            store.save(&save).await.expect("saved");
        }
        let week = Week::starting(day(17)).expect("a week");
        let policy = SummaryPolicy::default();
        let row = SummaryJob::new(user, week, None, now, &policy);
        SummaryStore::insert(&store, &row, policy.quota()).await.expect("requested");

        let separate = separate(&store);
        let status = |found: &Option<Day>| {
            let (record, notes) = found.as_ref()?;
            let notes = notes.as_ref().expect("readable");
            Some(notes.status(record.head.date, record.head.version))
        };
        for n in 15..=21 {
            let (_, found) = store.day(session, day(n)).await.expect("read").expect("live");
            let other = separate.day(session, day(n)).await.expect("read").expect("live").1;
            assert_eq!(found, other);
            let expected = match n {
                16 => Some(DiarySummaryStatus::None),
                17 | 20 => Some(DiarySummaryStatus::Pending),
                _ => None,
            };
            assert_eq!(status(&found), expected, "{n}");
        }
        let range = DateRange::new(day(1), day(28)).expect("ordered");
        let (_, found) = store.days(session, range).await.expect("read").expect("live");
        let (heads, notes) = &found;
        let weeks = notes.as_ref().expect("readable").weeks.len();
        assert_eq!((heads.len(), weeks), (3, 1));
        let other = separate.days(session, range).await.expect("read").expect("live").1;
        assert_eq!(found, other);
    }
}
