//! The versions of many dates, and the diaries of chosen ones.

use futures_util::TryStreamExt;
use mongodb::{
    bson::{self, RawDocumentBuf, doc},
    options::Hint,
};
use serde::Deserialize;
use shiori_sdk::{Date, DateRange, DateVersion, UserId, Version, limits::MAX_READ_BYTES};

use super::{
    MongoStore, PAGE_BATCH,
    document::{DiaryDocument, corrupt, date_number, listing_keys},
};
use crate::store::{DiaryRecord, ManyDiaries, StoreError};

/// The fields of a version, which the listing index covers.
#[derive(Deserialize)]
struct VersionDocument {
    date: i32,
    version: i64,
    archived: bool,
    deleted: bool,
}

fn version_fields() -> bson::Document {
    doc! { "_id": 0, "date": 1, "version": 1, "archived": 1, "deleted": 1 }
}

fn filter(user: UserId, range: DateRange) -> bson::Document {
    doc! {
        "user": bson::Uuid::from_bytes(*user.as_bytes()),
        "date": { "$gte": date_number(range.start()), "$lte": date_number(range.end()) },
    }
}

impl MongoStore {
    pub(super) async fn find_versions(
        &self,
        user: UserId,
        range: DateRange,
        limit: u32,
    ) -> Result<Vec<DateVersion>, StoreError> {
        let diaries = self.diaries.clone_with_type::<VersionDocument>();
        let found: Vec<_> = self
            .operations
            .run_with_retry(|| async {
                let find = diaries.find(filter(user, range)).sort(doc! { "user": 1, "date": 1 });
                let find = find.projection(version_fields()).hint(Hint::Keys(listing_keys()));
                // All of them in one batch, so that no further request is necessary.
                find.limit(limit.into()).batch_size(limit).await?.try_collect().await
            })
            .await?;
        let read = |found: VersionDocument| {
            Ok(DateVersion {
                date: to_date(found.date)?,
                version: u64::try_from(found.version).map(Version::new).map_err(|_| corrupt())?,
                is_archived: found.archived,
                is_deleted: found.deleted,
            })
        };
        found.into_iter().map(read).collect()
    }

    pub(super) async fn find_many(
        &self,
        user: UserId,
        dates: &[Date],
    ) -> Result<ManyDiaries, StoreError> {
        let numbers: Vec<_> = dates.iter().map(|date| date_number(*date)).collect();
        let filter = doc! {
            "user": bson::Uuid::from_bytes(*user.as_bytes()),
            "date": { "$in": numbers },
            "deleted": false,
        };
        // Raw, so that one document that cannot be read does not fail the others.
        let diaries = self.diaries.clone_with_type::<RawDocumentBuf>();
        let (found, is_complete) = self
            .operations
            .run_with_retry(|| async {
                let find = diaries.find(filter.clone()).sort(doc! { "user": 1, "date": 1 });
                let mut cursor = find.batch_size(PAGE_BATCH).await?;
                let (mut found, mut bytes) = (Vec::new(), 0);
                while bytes < MAX_READ_BYTES {
                    let Some(document) = cursor.try_next().await? else { return Ok((found, true)) };
                    bytes += document.get_str("content").map_or(0, str::len);
                    found.push(document);
                }
                Ok((found, false))
            })
            .await?;
        let mut many = ManyDiaries::default();
        let mut last = None;
        for document in found {
            // The filter compares numbers, so the date is one.
            let date = to_date(document.get_i32("date").map_err(|_| corrupt())?)?;
            last = Some(date);
            let read = bson::deserialize_from_slice::<DiaryDocument>(document.as_bytes());
            match read.map_err(|_| corrupt()).and_then(DiaryRecord::try_from) {
                Ok(record) => many.diaries.push(record),
                Err(_) => many.unreadable.push(date),
            }
        }
        if !is_complete {
            many.rest = dates.iter().copied().filter(|date| Some(*date) > last).collect();
        }
        Ok(many)
    }
}

fn to_date(number: i32) -> Result<Date, StoreError> {
    let date = u32::try_from(number).ok().and_then(|date| Date::from_number(date).ok());
    date.ok_or_else(corrupt)
}

#[cfg(test)]
mod tests {
    use shiori_sdk::{Document, SessionId, Timestamp};

    use super::{super::COLLECTION, *};
    use crate::store::{DiaryQuota, DiaryStore, HistoryPolicy, NewVersion};

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs MongoDB: SHIORI_TEST_MONGODB_URL"]
    async fn versions_are_read_from_an_index() {
        let url = std::env::var("SHIORI_TEST_MONGODB_URL").expect("SHIORI_TEST_MONGODB_URL");
        let (store, user) = (MongoStore::open(&url).await.expect("opened"), UserId::new());
        let date = |day| Date::new(2026, 2, day).expect("a date");
        for day in 1..=28 {
            let save = NewVersion {
                user,
                date: date(day),
                title: "제목".to_owned(),
                content: Document::from_text("본문"),
                expected: None,
                save_id: None,
                quota: DiaryQuota::default(),
                session: SessionId::new(),
                history: HistoryPolicy::default(),
                keep_replaced: false,
                now: Timestamp::now(),
            };
            store.save(&save).await.expect("saved");
        }
        let range = DateRange::new(date(1), date(28)).expect("a range");
        let database = store.diaries.client().default_database().expect("a database");
        let explain = doc! {
            "explain": {
                "find": COLLECTION,
                "filter": filter(user, range),
                "projection": version_fields(),
                "sort": { "user": 1, "date": 1 },
                "hint": listing_keys(),
                "limit": 4097,
            },
            "verbosity": "executionStats",
        };
        let explained = database.run_command(explain).await.expect("explained");
        let stats = explained.get_document("executionStats").expect("stats");
        assert_eq!(stats.get_i32("nReturned").expect("a number"), 28);
        assert_eq!(stats.get_i32("totalDocsExamined").expect("a number"), 0);
        assert_eq!(store.versions(user, range, 4097).await.expect("listed").len(), 28);
    }
}
