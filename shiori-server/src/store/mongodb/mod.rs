//! Diaries in MongoDB, one document each.
//!
//! A save is one write to one document: an insert under a unique index, or an update whose filter
//! contains the expected version. A save that keeps the text that it replaces inserts a revision
//! first.

mod date_versions;
mod document;
mod operation;
mod revision;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mongodb::{
    Client, Collection, IndexModel,
    bson::{self, Bson, DateTime, RawDocumentBuf, doc},
    error::Error,
    options::{
        Acknowledgment, ClientOptions, CollectionOptions, Hint, IndexOptions, ReadConcern,
        ReturnDocument, SelectionCriteria, WriteConcern,
    },
};
use serde::{Deserialize, de::DeserializeOwned};
use shiori_sdk::{
    Date, DateRange, DateVersion, DiaryId, QuotaExceeded, REMEMBERED_SAVES, Timestamp, UserId,
    Version,
};
use tokio::time::timeout;

use self::{
    document::{
        DiaryDocument, HeadDocument, LISTING, RememberedSave, UsageDocument, byte_count,
        byte_number, corrupt, date_number, key_filter, listing_keys, usage_keys, usage_pipeline,
        version_number,
    },
    operation::{OPERATION_TIMEOUT, Operations, back_off, is_duplicate, timed_out},
    revision::Revisions,
};
use super::{
    AppliedSave, ArchiveOutcome, DeleteOutcome, DiaryHead, DiaryPlace, DiaryRecord, DiaryStore,
    DiaryUsage, HistoryPolicy, ManyDiaries, NewVersion, PAGE_BYTES, PAGE_DIARIES, Page,
    SaveOutcome, StoreError,
    engine::{Engine, Failures},
    keeps,
};

/// The default database.
const DEFAULT_DATABASE: &str = "shiori";

const COLLECTION: &str = "diaries";

/// How long to search for a primary. An election takes longer, and requests do not wait for it.
const SELECTION_TIMEOUT: Duration = Duration::from_secs(3);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum number of connections, unless the URL sets another.
const POOL_SIZE: u32 = 64;

/// Documents that the engine sends at once while a page is read. They may have 1 MiB each.
const PAGE_BATCH: u32 = 8;

/// Attempts of a step that reads again because the document changed between write and read.
const MAX_CONFLICT_ATTEMPTS: u32 = 32;

/// The diaries in MongoDB. Writes are acknowledged by the journals of a majority, and reads return
/// only such writes.
#[derive(Clone)]
pub struct MongoStore {
    diaries: Collection<DiaryDocument>,
    revisions: Revisions,
    operations: Operations,
}

impl MongoStore {
    /// Connects to the database of this URL (default `shiori`), and creates missing indexes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the URL is invalid or the database is unavailable.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let mut options = ClientOptions::parse(url).await?;
        options.app_name.get_or_insert_with(|| "shiori-server".to_owned());
        options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
        options.server_selection_timeout.get_or_insert(SELECTION_TIMEOUT);
        options.max_pool_size.get_or_insert(POOL_SIZE);
        options.retry_writes = Some(true);
        options.retry_reads = Some(true);
        let database = options.default_database.clone();
        let client = Client::with_options(options)?;
        let database = client.database(database.as_deref().unwrap_or(DEFAULT_DATABASE));
        let durable = WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .journal(true)
            .w_timeout(OPERATION_TIMEOUT)
            .build();
        let options = CollectionOptions::builder()
            .write_concern(durable)
            .read_concern(ReadConcern::majority())
            .selection_criteria(SelectionCriteria::ReadPreference(
                mongodb::options::ReadPreference::Primary,
            ))
            .build();
        let store = Self {
            revisions: database.collection_with_options(revision::COLLECTION, options.clone()),
            diaries: database.collection_with_options(COLLECTION, options),
            operations: Operations::default(),
        };
        store.create_indexes_if_missing().await?;
        Ok(store)
    }

    async fn create_indexes_if_missing(&self) -> Result<(), StoreError> {
        let unique = IndexOptions::builder().unique(true).build();
        let one_per_day =
            IndexModel::builder().keys(doc! { "user": 1, "date": 1 }).options(unique).build();
        let listing = IndexModel::builder().keys(listing_keys()).build();
        let usage = IndexModel::builder().keys(usage_keys()).build();
        let created = async {
            self.diaries.create_indexes([one_per_day, listing, usage]).await?;
            self.revisions.create_indexes(revision::indexes()).await
        };
        timeout(OPERATION_TIMEOUT * 2, created).await.map_err(|_| timed_out())??;
        Ok(())
    }

    async fn find(&self, user: UserId, date: Date) -> Result<Option<DiaryDocument>, StoreError> {
        self.operations
            .run_with_retry(|| async { self.diaries.find_one(key_filter(user, date)).await })
            .await
    }

    /// As [`Self::find`], for a change that expects this version and was not applied. At an election, a
    /// primary does not know yet all that another one has acknowledged; so if it has an older version,
    /// it reads again when a majority has confirmed that it is the primary.
    async fn find_expected(
        &self,
        user: UserId,
        date: Date,
        expected: Option<Version>,
    ) -> Result<Option<DiaryDocument>, StoreError> {
        let found = self.find(user, date).await?;
        let version = found.as_ref().map_or(0, |found| found.version);
        if expected.is_none_or(|expected| version_number(expected) <= version) {
            return Ok(found);
        }
        self.operations
            .run_with_retry(|| async {
                let find = self.diaries.find_one(key_filter(user, date));
                find.read_concern(ReadConcern::linearizable()).max_time(OPERATION_TIMEOUT).await
            })
            .await
    }

    /// The documents of a range by date, without tombstones. With `fields`, only these, from the
    /// listing index.
    async fn range<T>(
        &self,
        user: UserId,
        range: DateRange,
        fields: Option<bson::Document>,
    ) -> Result<Vec<T>, StoreError>
    where
        T: DeserializeOwned + Send + Sync + Unpin,
    {
        let (first, last) = (date_number(range.start()), date_number(range.end()));
        let filter = doc! {
            "user": bson::Uuid::from_bytes(*user.as_bytes()),
            "date": { "$gte": first, "$lte": last },
            "deleted": false,
        };
        let diaries = self.diaries.clone_with_type::<T>();
        self.operations
            .run_with_retry(|| async {
                let mut find = diaries.find(filter.clone()).sort(doc! { "user": 1, "date": 1 });
                if let Some(fields) = fields.clone() {
                    find = find.projection(fields).hint(Hint::Keys(listing_keys()));
                }
                find.await?.try_collect().await
            })
            .await
    }

    /// Updates the document that matches the filter; returns its id, or `None` without a match.
    async fn update(
        &self,
        filter: bson::Document,
        update: bson::Document,
    ) -> Result<Option<DiaryId>, Error> {
        #[derive(Deserialize)]
        struct Id {
            #[serde(rename = "_id")]
            id: bson::Uuid,
        }
        let found = self
            .diaries
            .clone_with_type::<Id>()
            .find_one_and_update(filter, update)
            .projection(doc! { "_id": 1 })
            .return_document(ReturnDocument::After)
            .await?;
        Ok(found.map(|Id { id }| DiaryId::from_bytes(id.bytes())))
    }

    /// The quota that a save would exceed. `before` is the size of the current document; `None` if
    /// the date has no diary.
    async fn exceeded(
        &self,
        save: &NewVersion,
        before: Option<u64>,
    ) -> Result<Option<QuotaExceeded>, StoreError> {
        let after = save.content.as_json().len() as u64;
        if !save.quota.is_checked(before, after) {
            return Ok(None);
        }
        Ok(save.quota.exceeded(self.usage(save.user).await?, before, after))
    }

    /// Counts a user's diaries and their bytes. Diaries that were saved by a version without quotas
    /// have no size yet, and get one first.
    async fn usage(&self, user: UserId) -> Result<DiaryUsage, StoreError> {
        let mut counted = self.count(user).await?;
        if counted.unsized_diaries > 0 {
            let filter = doc! {
                "user": bson::Uuid::from_bytes(*user.as_bytes()),
                "deleted": false,
                "bytes": null,
            };
            let size = doc! { "$set": { "bytes": { "$strLenBytes": "$content" } } };
            self.operations
                .run_with_retry(|| async {
                    self.diaries.update_many(filter.clone(), vec![size.clone()]).await
                })
                .await?;
            counted = self.count(user).await?;
        }
        let count = |number| u64::try_from(number).map_err(|_| corrupt());
        Ok(DiaryUsage { diaries: count(counted.diaries)?, bytes: count(counted.bytes)? })
    }

    async fn count(&self, user: UserId) -> Result<UsageDocument, StoreError> {
        let counted: Option<UsageDocument> = self
            .operations
            .run_with_retry(|| async {
                self.diaries
                    .aggregate(usage_pipeline(user))
                    .with_type::<UsageDocument>()
                    .hint(Hint::Keys(usage_keys()))
                    .await?
                    .try_next()
                    .await
            })
            .await?;
        // Without diaries, there is no group.
        Ok(counted.unwrap_or_default())
    }

    /// Replaces a document or a tombstone if it still has this version and this save was not
    /// applied before. If `is_kept` is false, only a document whose text is not to be kept. With
    /// `least`, only a document of at least this many bytes.
    async fn save_over(
        &self,
        save: &NewVersion,
        version: i64,
        deleted: bool,
        is_kept: bool,
        least: Option<u64>,
    ) -> Result<Option<AppliedSave>, StoreError> {
        // No diary has the highest version, so it is a conflict.
        let Some(next) = version.checked_add(1) else { return Ok(None) };
        let mut filter = key_filter(save.user, save.date);
        filter.extend(doc! { "version": version, "deleted": deleted });
        let session = bson::Uuid::from_bytes(*save.session.as_bytes());
        let now = DateTime::from_millis(save.now.as_millis());
        if save.history.is_on() && !is_kept {
            // As `keeps`.
            let (since, until) = HistoryPolicy::recent(save.now);
            let [since, until] = [since, until].map(|it| DateTime::from_millis(it.as_millis()));
            filter.insert("text_by", session);
            filter.insert("text_at", doc! { "$gte": since, "$lte": until });
            filter.insert("text_version", version);
        }
        if let Some(least) = least {
            filter.insert("bytes", doc! { "$gte": byte_number(least) });
        }
        let stored = |id| AppliedSave {
            id,
            version: Version::new(version.unsigned_abs()).next(),
            updated_at: save.now,
            created: deleted,
        };
        let mut update = doc! {
            "$set": {
                "title": save.title.as_str(),
                "content": save.content.as_json(),
                "bytes": byte_count(&save.content),
                "version": next,
                "updated_at": now,
                "deleted": false,
                "text_by": session,
                "text_at": now,
                "text_version": next,
            },
        };
        if let Some(save_id) = save.save_id {
            let applied = RememberedSave::new(save_id, &stored(DiaryId::new()));
            filter.insert("saves.save_id", doc! { "$ne": applied.save_id });
            let applied = bson::serialize_to_bson(&applied).map_err(|_| corrupt())?;
            let kept = -i32::try_from(REMEMBERED_SAVES).unwrap_or(i32::MAX);
            update.insert("$push", doc! { "saves": { "$each": [applied], "$slice": kept } });
        }
        let operation = || self.update(filter.clone(), update.clone());
        let id = if save.save_id.is_some() {
            self.operations.run_with_retry(operation).await?
        } else {
            self.operations.run(operation).await?
        };
        Ok(id.map(stored))
    }

    /// Inserts the first save of a day; `None` if the day already has a document.
    async fn insert(&self, save: &NewVersion) -> Result<Option<AppliedSave>, StoreError> {
        let stored = AppliedSave {
            id: DiaryId::new(),
            version: Version::new(0).next(),
            updated_at: save.now,
            created: true,
        };
        let document = DiaryDocument {
            id: bson::Uuid::from_bytes(*stored.id.as_bytes()),
            user: bson::Uuid::from_bytes(*save.user.as_bytes()),
            date: date_number(save.date),
            title: save.title.clone(),
            content: save.content.as_json().to_owned(),
            bytes: byte_count(&save.content),
            version: version_number(stored.version),
            archived: false,
            deleted: false,
            updated_at: DateTime::from_millis(save.now.as_millis()),
            text_by: Some(bson::Uuid::from_bytes(*save.session.as_bytes())),
            text_at: Some(DateTime::from_millis(save.now.as_millis())),
            text_version: Some(version_number(stored.version)),
            saves: save
                .save_id
                .map(|save_id| RememberedSave::new(save_id, &stored))
                .into_iter()
                .collect(),
        };
        let operation = || async {
            match self.diaries.insert_one(&document).await {
                Ok(_) => Ok(Some(stored)),
                Err(error) if is_duplicate(&error) => Ok(None),
                Err(error) => Err(error),
            }
        };
        if save.save_id.is_some() {
            self.operations.run_with_retry(operation).await
        } else {
            self.operations.run(operation).await
        }
    }
}

impl fmt::Debug for MongoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MongoStore")
    }
}

impl Engine for MongoStore {
    fn name(&self) -> &'static str {
        "mongodb"
    }

    fn failures(&self) -> Failures {
        self.operations.failures().read()
    }
}

#[async_trait]
impl DiaryStore for MongoStore {
    async fn save(&self, save: &NewVersion) -> Result<SaveOutcome, StoreError> {
        let written = match save.expected {
            // A document that grows too much to be replaced without counting, or whose text is to be
            // kept, is read first.
            Some(_) if save.history.is_on() && save.keep_replaced => None,
            Some(version) => {
                let least = save.quota.unchecked_above(save.content.as_json().len() as u64);
                self.save_over(save, version_number(version), false, false, least).await?
            }
            None if self.exceeded(save, None).await?.is_none() => self.insert(save).await?,
            // Only a save that is neither a replay nor a conflict exceeds the quota.
            None => None,
        };
        if let Some(stored) = written {
            return Ok(SaveOutcome::Saved(stored));
        }
        for attempt in 1..=MAX_CONFLICT_ATTEMPTS {
            let found = self.find_expected(save.user, save.date, save.expected).await?;
            let replayed = found.as_ref().and_then(|found| found.applied(save.save_id));
            if let Some(stored) = replayed {
                return Ok(SaveOutcome::Replayed(stored));
            }
            let live = found.as_ref().filter(|found| !found.deleted);
            if live.map(|found| found.version) != save.expected.map(version_number) {
                let current = found.filter(|found| !found.deleted);
                let current = current.map(DiaryRecord::try_from).transpose()?;
                return Ok(SaveOutcome::Conflict(current));
            }
            let before = live.map(|found| found.content.len() as u64);
            if let Some(exceeded) = self.exceeded(save, before).await? {
                return Ok(SaveOutcome::QuotaExceeded(exceeded));
            }
            if let Some(found) = live
                && keeps(save, found.text_source())
            {
                self.keep(found, save.history, save.now).await?;
            }
            // If the version is the expected one, the document has grown or its text was to be kept,
            // or the conflicting write is not yet committed by a majority and cannot be read yet.
            let written = match found {
                None => self.insert(save).await?,
                Some(found) => {
                    self.save_over(save, found.version, found.deleted, true, None).await?
                }
            };
            if let Some(stored) = written {
                return Ok(SaveOutcome::Saved(stored));
            }
            back_off(attempt).await;
        }
        self.operations.contended()
    }

    async fn get(&self, user: UserId, date: Date) -> Result<Option<DiaryRecord>, StoreError> {
        let found = self.find(user, date).await?.filter(|found| !found.deleted);
        found.map(DiaryRecord::try_from).transpose()
    }

    async fn list(&self, user: UserId, range: DateRange) -> Result<Vec<DiaryHead>, StoreError> {
        let fields = LISTING.iter().filter(|field| !matches!(**field, "user" | "deleted"));
        let fields = fields.map(|field| ((*field).to_owned(), Bson::Int32(1))).collect();
        let heads: Vec<HeadDocument> = self.range(user, range, Some(fields)).await?;
        heads.into_iter().map(DiaryHead::try_from).collect()
    }

    async fn list_with_content(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Vec<DiaryRecord>, StoreError> {
        let found: Vec<DiaryDocument> = self.range(user, range, None).await?;
        found.into_iter().map(DiaryRecord::try_from).collect()
    }

    async fn versions(
        &self,
        user: UserId,
        range: DateRange,
        limit: u32,
    ) -> Result<Vec<DateVersion>, StoreError> {
        self.find_versions(user, range, limit).await
    }

    async fn read_many(&self, user: UserId, dates: &[Date]) -> Result<ManyDiaries, StoreError> {
        self.find_many(user, dates).await
    }

    async fn page(
        &self,
        user: UserId,
        after: DiaryPlace,
    ) -> Result<Page<DiaryRecord, DiaryPlace>, StoreError> {
        let filter = doc! {
            "user": bson::Uuid::from_bytes(*user.as_bytes()),
            "date": { "$gt": i32::try_from(after.0).unwrap_or(i32::MAX) },
            "deleted": false,
        };
        // Raw, so that one document that cannot be read does not fail the others.
        let diaries = self.diaries.clone_with_type::<RawDocumentBuf>();
        let (found, is_last) = self
            .operations
            .run_with_retry(|| async {
                let find = diaries.find(filter.clone()).sort(doc! { "user": 1, "date": 1 });
                let mut cursor = find.batch_size(PAGE_BATCH).await?;
                let (mut found, mut bytes) = (Vec::new(), 0);
                while found.len() < PAGE_DIARIES && bytes < PAGE_BYTES {
                    let Some(document) = cursor.try_next().await? else { return Ok((found, true)) };
                    bytes += document.as_bytes().len();
                    found.push(document);
                }
                Ok((found, false))
            })
            .await?;
        let mut page = Page { items: Vec::new(), unreadable: 0, next: None };
        for document in found {
            // The filter compares numbers, so the date is one.
            let date = document.get_i32("date").map_err(|_| corrupt())?;
            page.next = u32::try_from(date).ok().filter(|_| !is_last).map(DiaryPlace);
            let read = bson::deserialize_from_slice::<DiaryDocument>(document.as_bytes());
            match read.map_err(|_| corrupt()).and_then(DiaryRecord::try_from) {
                Ok(record) => page.items.push(record),
                Err(_) => page.unreadable += 1,
            }
        }
        Ok(page)
    }

    async fn delete(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        history: HistoryPolicy,
        now: Timestamp,
    ) -> Result<DeleteOutcome, StoreError> {
        let mut filter = key_filter(user, date);
        filter.extend(doc! { "version": version_number(version), "deleted": false });
        let update = doc! {
            "$set": {
                "deleted": true,
                "archived": false,
                "title": "",
                "content": "",
                "bytes": 0_i64,
                "updated_at": DateTime::from_millis(now.as_millis()),
            },
            "$inc": { "version": 1_i64 },
        };
        // Without a text to keep, nothing is read first.
        let mut is_kept = !history.is_on();
        for attempt in 1..=MAX_CONFLICT_ATTEMPTS {
            if is_kept
                && self
                    .operations
                    .run(|| self.update(filter.clone(), update.clone()))
                    .await?
                    .is_some()
            {
                return Ok(DeleteOutcome::Deleted);
            }
            let found = self.find_expected(user, date, Some(version)).await?;
            match found.filter(|found| !found.deleted) {
                None => return Ok(DeleteOutcome::NotFound),
                Some(found) if found.version != version_number(version) => {
                    return Ok(DeleteOutcome::Conflict(found.try_into()?));
                }
                Some(found) if !is_kept => {
                    self.keep(&found, history, now).await?;
                    is_kept = true;
                }
                Some(_) => back_off(attempt).await,
            }
        }
        self.operations.contended()
    }

    async fn archive(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        archived: bool,
        now: Timestamp,
    ) -> Result<ArchiveOutcome, StoreError> {
        let mut filter = key_filter(user, date);
        filter.extend(doc! { "version": version_number(version), "deleted": false });
        let update = doc! {
            "$set": {
                "archived": archived,
                "updated_at": DateTime::from_millis(now.as_millis()),
            },
            "$inc": { "version": 1_i64, "text_version": 1_i64 },
        };
        for attempt in 1..=MAX_CONFLICT_ATTEMPTS {
            if self.operations.run(|| self.update(filter.clone(), update.clone())).await?.is_some()
            {
                return Ok(ArchiveOutcome::Archived(version.next()));
            }
            let found = self.find_expected(user, date, Some(version)).await?;
            match found.filter(|found| !found.deleted) {
                None => return Ok(ArchiveOutcome::NotFound),
                Some(found) if found.version != version_number(version) => {
                    return Ok(ArchiveOutcome::Conflict(found.try_into()?));
                }
                Some(_) => back_off(attempt).await,
            }
        }
        self.operations.contended()
    }

    async fn erase(&self, user: UserId, limit: u32) -> Result<u64, StoreError> {
        #[derive(Deserialize)]
        struct Day {
            date: i32,
        }
        let user = bson::Uuid::from_bytes(*user.as_bytes());
        let diaries = self.diaries.clone_with_type::<Day>();
        let days: Vec<Day> = self
            .operations
            .run_with_retry(|| async {
                let find = diaries.find(doc! { "user": user }).sort(doc! { "user": 1, "date": 1 });
                let find = find.projection(doc! { "_id": 0, "date": 1 }).limit(limit.into());
                find.await?.try_collect().await
            })
            .await?;
        let Some(Day { date: last }) = days.last() else { return Ok(0) };
        let first_days = doc! { "user": user, "date": { "$lte": last } };
        let deleted = self.operations.run_with_retry(|| async {
            Ok(self.diaries.delete_many(first_days.clone()).await?.deleted_count)
        });
        // A repetition counts only the rest, and every found diary is deleted.
        Ok(deleted.await?.max(days.len() as u64))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let database = self.diaries.client().database("admin");
        self.operations
            .run(|| async { database.run_command(doc! { "ping": 1 }).await.map(drop) })
            .await
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use shiori_sdk::{Document, SaveId, SessionId};

    use super::*;
    use crate::store::DiaryQuota;

    /// The tests use new random users, so they can share a database.
    pub(super) async fn open() -> MongoStore {
        let url = std::env::var("SHIORI_TEST_MONGODB_URL").expect("SHIORI_TEST_MONGODB_URL");
        MongoStore::open(&url).await.expect("opened")
    }

    crate::diary_contract!([ignore = "needs MongoDB: SHIORI_TEST_MONGODB_URL"], async {
        (Arc::new(open().await) as Arc<dyn DiaryStore>, ())
    });

    fn save(user: UserId, day: u8) -> NewVersion {
        NewVersion {
            user,
            date: Date::new(2026, 2, day).expect("a date"),
            title: "제목 \0".to_owned(),
            content: Document::from_text("본문"),
            expected: None,
            save_id: None,
            quota: DiaryQuota::default(),
            session: SessionId::new(),
            history: HistoryPolicy::default(),
            keep_replaced: false,
            now: Timestamp::now(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs MongoDB: SHIORI_TEST_MONGODB_URL"]
    async fn a_listing_is_covered_by_the_index() {
        let (store, user) = (open().await, UserId::new());
        for day in 1..=28 {
            store.save(&save(user, day)).await.expect("saved");
        }
        let fields =
            doc! { "_id": 1, "date": 1, "title": 1, "version": 1, "archived": 1, "updated_at": 1 };
        let explained = store
            .diaries
            .client()
            .default_database()
            .expect("a database")
            .run_command(doc! {
                "explain": {
                    "find": COLLECTION,
                    "filter": {
                        "user": bson::Uuid::from_bytes(*user.as_bytes()),
                        "date": { "$gte": 20_260_201, "$lte": 20_260_228 },
                        "deleted": false,
                    },
                    "projection": fields,
                    "sort": { "user": 1, "date": 1 },
                    "hint": listing_keys(),
                },
                "verbosity": "executionStats",
            })
            .await
            .expect("explained");
        let stats = explained.get_document("executionStats").expect("stats");
        assert_eq!(stats.get_i32("nReturned").expect("a number"), 28);
        assert_eq!(stats.get_i32("totalDocsExamined").expect("a number"), 0);
        let range = DateRange::new(save(user, 1).date, save(user, 28).date).expect("a range");
        assert_eq!(store.list(user, range).await.expect("listed").len(), 28);
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs MongoDB: SHIORI_TEST_MONGODB_URL"]
    async fn the_usage_is_counted_from_an_index() {
        let (store, user) = (open().await, UserId::new());
        for day in 1..=28 {
            store.save(&save(user, day)).await.expect("saved");
        }
        let explained = store
            .diaries
            .client()
            .default_database()
            .expect("a database")
            .run_command(doc! {
                "explain": {
                    "aggregate": COLLECTION,
                    "pipeline": Vec::from(usage_pipeline(user)),
                    "hint": usage_keys(),
                    "cursor": {},
                },
                "verbosity": "executionStats",
            })
            .await
            .expect("explained");
        // The form of the plan depends on the version of the engine.
        let explained = explained.to_string();
        assert!(explained.contains("\"totalDocsExamined\": 0"), "{explained}");
        assert!(explained.contains("\"totalKeysExamined\": 28"), "{explained}");
        let each = save(user, 1).content.as_json().len() as u64;
        let usage = store.usage(user).await.expect("counted");
        assert_eq!(usage, DiaryUsage { diaries: 28, bytes: 28 * each });
    }

    /// Documents of a version without quotas are counted after they got their size.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs MongoDB: SHIORI_TEST_MONGODB_URL"]
    async fn documents_without_a_size_get_one() {
        let (store, user) = (open().await, UserId::new());
        let each = save(user, 1).content.as_json().len() as u64;
        for day in 1..=3 {
            store.save(&save(user, day)).await.expect("saved");
        }
        let of_user = doc! { "user": bson::Uuid::from_bytes(*user.as_bytes()) };
        let unset = doc! { "$unset": { "bytes": 1 } };
        store.diaries.update_many(of_user, unset).await.expect("as an older version wrote it");
        let quota = DiaryQuota { diaries: None, bytes: Some(3 * each) };
        let outcome = store.save(&NewVersion { quota, ..save(user, 4) }).await.expect("a response");
        assert!(matches!(outcome, SaveOutcome::QuotaExceeded(_)), "{outcome:?}");
        let counted = store.count(user).await.expect("counted");
        assert_eq!((counted.diaries, counted.unsized_diaries), (3, 0));
        let usage = store.usage(user).await.expect("counted");
        assert_eq!(usage, DiaryUsage { diaries: 3, bytes: 3 * each });
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs MongoDB: SHIORI_TEST_MONGODB_URL"]
    async fn a_tombstone_contains_no_text() {
        let (store, user) = (open().await, UserId::new());
        let first = NewVersion { save_id: Some(SaveId::new()), ..save(user, 3) };
        let SaveOutcome::Saved(stored) = store.save(&first).await.expect("saved") else {
            panic!("expected the first save to succeed")
        };
        let deleted =
            store.delete(user, first.date, stored.version, first.history, first.now).await;
        assert!(matches!(deleted, Ok(DeleteOutcome::Deleted)));
        let found = store.find(user, first.date).await.expect("read").expect("a tombstone");
        assert!(found.deleted && found.title.is_empty() && found.content.is_empty());
        assert_eq!(found.applied(first.save_id), Some(stored), "the ids of saves are kept");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_unreachable_database_is_an_error_before_the_timeout() {
        let url = "mongodb://someone:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=200";
        let error = MongoStore::open(url).await.expect_err("unreachable");
        assert!(matches!(error, StoreError::Unavailable(_)));
        assert!(!format!("{error:?}").contains("hunter2"));
        let error = MongoStore::open("mongodb://:hunter2@").await.expect_err("an invalid URL");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
