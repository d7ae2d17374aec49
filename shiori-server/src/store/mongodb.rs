//! Diaries in MongoDB, one document each.
//!
//! A save is one write to one document under its version: an insert that a unique index lets
//! through once, or an update that finds the expected version or nothing.

use std::{fmt, future::Future, time::Duration};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mongodb::{
    Client, Collection, IndexModel,
    bson::{self, Bson, DateTime, doc},
    error::{Error, ErrorKind, RETRYABLE_ERROR, RETRYABLE_WRITE_ERROR, WriteFailure},
    options::{
        Acknowledgment, ClientOptions, CollectionOptions, Hint, IndexOptions, ReadConcern,
        ReturnDocument, SelectionCriteria, WriteConcern,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shiori_sdk::{
    Date, DateRange, DiaryId, Document, DocumentLimits, REMEMBERED_SAVES, SaveId, Timestamp,
    UserId, Version,
};
use tokio::time::{sleep, timeout};

use super::{
    ArchiveOutcome, DeleteOutcome, DiaryHead, DiaryRecord, DiaryStore, Save, SaveOutcome,
    StoreError, Stored,
};

/// The database of a URL that names none.
const DEFAULT_DATABASE: &str = "shiori";

const COLLECTION: &str = "diaries";

/// How long one operation may take, the driver's own retry included.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a primary may be sought. An election takes longer; a request does not wait for it.
const SELECTION_TIMEOUT: Duration = Duration::from_secs(3);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections at most, unless the URL says otherwise.
const POOL_SIZE: u32 = 64;

/// How often an operation is tried whose error says that another try may help.
const TRIES: u32 = 3;

/// How often a step is computed anew because the document changed between writing and reading.
const STEP_TRIES: u32 = 32;

/// Answers a listing without a look at any document.
const LISTING: [&str; 8] =
    ["user", "date", "deleted", "title", "version", "archived", "updated_at", "_id"];

/// The diaries in a MongoDB. Writes are acknowledged by a majority's journals, and reads see no
/// write that could be lost.
#[derive(Clone)]
pub struct MongoStore {
    diaries: Collection<DiaryDocument>,
}

impl MongoStore {
    /// Connects to the database of this URL (default `shiori`), and makes its indexes if there
    /// are none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the URL is none, or the database does not answer.
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
        let store = Self { diaries: database.collection_with_options(COLLECTION, options) };
        store.make_indexes().await?;
        Ok(store)
    }

    async fn make_indexes(&self) -> Result<(), StoreError> {
        let unique = IndexOptions::builder().unique(true).build();
        let one_per_day =
            IndexModel::builder().keys(doc! { "user": 1, "date": 1 }).options(unique).build();
        let listing = IndexModel::builder().keys(listing_keys()).build();
        timeout(OPERATION_TIMEOUT * 2, self.diaries.create_indexes([one_per_day, listing]))
            .await
            .map_err(|_| timed_out())??;
        Ok(())
    }

    async fn find(&self, user: UserId, date: Date) -> Result<Option<DiaryDocument>, StoreError> {
        again(|| async { self.diaries.find_one(place(user, date)).await }).await
    }

    /// The documents of a range, as much of them as is asked for, by date.
    async fn range<T>(
        &self,
        user: UserId,
        range: DateRange,
        fields: Option<bson::Document>,
    ) -> Result<Vec<T>, StoreError>
    where
        T: DeserializeOwned + Send + Sync + Unpin,
    {
        let (first, last) = (number(range.start()), number(range.end()));
        let filter = doc! {
            "user": bson::Uuid::from_bytes(*user.as_bytes()),
            "date": { "$gte": first, "$lte": last },
            "deleted": false,
        };
        let diaries = self.diaries.clone_with_type::<T>();
        again(|| async {
            let mut find = diaries.find(filter.clone()).sort(doc! { "user": 1, "date": 1 });
            if let Some(fields) = fields.clone() {
                find = find.projection(fields).hint(Hint::Keys(listing_keys()));
            }
            find.await?.try_collect().await
        })
        .await
    }

    /// One write to a live document under its version; the id of the document if there was one.
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

    /// Saves over a document, live or what is left of a deleted one, if it still has the version
    /// and has not taken this very save before.
    async fn save_over(
        &self,
        save: &Save,
        version: i64,
        deleted: bool,
    ) -> Result<Option<Stored>, StoreError> {
        let mut filter = place(save.user, save.date);
        filter.extend(doc! { "version": version, "deleted": deleted });
        let stored = |id| Stored {
            id,
            version: Version::new(version.unsigned_abs()).next(),
            updated_at: save.now,
            created: deleted,
        };
        let mut update = doc! {
            "$set": {
                "title": save.title.as_str(),
                "content": save.content.as_json(),
                "version": version + 1,
                "updated_at": DateTime::from_millis(save.now.as_millis()),
                "deleted": false,
            },
        };
        if let Some(save_id) = save.save_id {
            let applied = AppliedSave::new(save_id, &stored(DiaryId::new()));
            filter.insert("saves.save_id", doc! { "$ne": applied.save_id });
            let applied = bson::serialize_to_bson(&applied).map_err(|_| corrupt())?;
            let kept = -i32::try_from(REMEMBERED_SAVES).unwrap_or(i32::MAX);
            update.insert("$push", doc! { "saves": { "$each": [applied], "$slice": kept } });
        }
        let run = || self.update(filter.clone(), update.clone());
        let id = if save.save_id.is_some() { again(run).await? } else { once(run).await? };
        Ok(id.map(stored))
    }

    /// The first save of a day; `None` if there is a document already.
    async fn insert(&self, save: &Save) -> Result<Option<Stored>, StoreError> {
        let stored = Stored {
            id: DiaryId::new(),
            version: Version::new(0).next(),
            updated_at: save.now,
            created: true,
        };
        let document = DiaryDocument {
            id: bson::Uuid::from_bytes(*stored.id.as_bytes()),
            user: bson::Uuid::from_bytes(*save.user.as_bytes()),
            date: number(save.date),
            title: save.title.clone(),
            content: save.content.as_json().to_owned(),
            version: signed(stored.version),
            archived: false,
            deleted: false,
            updated_at: DateTime::from_millis(save.now.as_millis()),
            saves: save
                .save_id
                .map(|save_id| AppliedSave::new(save_id, &stored))
                .into_iter()
                .collect(),
        };
        let run = || async {
            match self.diaries.insert_one(&document).await {
                Ok(_) => Ok(Some(stored)),
                Err(error) if is_duplicate(&error) => Ok(None),
                Err(error) => Err(error),
            }
        };
        if save.save_id.is_some() { again(run).await } else { once(run).await }
    }
}

impl fmt::Debug for MongoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MongoStore")
    }
}

#[async_trait]
impl DiaryStore for MongoStore {
    async fn save(&self, save: &Save) -> Result<SaveOutcome, StoreError> {
        let written = match save.expected {
            Some(version) => self.save_over(save, signed(version), false).await?,
            None => self.insert(save).await?,
        };
        if let Some(stored) = written {
            return Ok(SaveOutcome::Saved(stored));
        }
        for attempt in 0..STEP_TRIES {
            let found = self.find(save.user, save.date).await?;
            let replayed = found.as_ref().and_then(|found| found.applied(save.save_id));
            if let Some(stored) = replayed {
                return Ok(SaveOutcome::Replayed(stored));
            }
            let written = match (found, save.expected) {
                (None, None) => self.insert(save).await?,
                (None, Some(_)) => return Ok(SaveOutcome::Conflict(None)),
                (Some(left), None) if left.deleted => {
                    self.save_over(save, left.version, true).await?
                }
                (Some(left), Some(_)) if left.deleted => return Ok(SaveOutcome::Conflict(None)),
                // The winner is not yet with a majority, so that it cannot be read yet.
                (Some(found), Some(version)) if found.version == signed(version) => {
                    self.save_over(save, found.version, false).await?
                }
                (Some(found), _) => {
                    return Ok(SaveOutcome::Conflict(Some(found.try_into()?)));
                }
            };
            if let Some(stored) = written {
                return Ok(SaveOutcome::Saved(stored));
            }
            pause(attempt).await;
        }
        Err(contended())
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

    async fn delete(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        now: Timestamp,
    ) -> Result<DeleteOutcome, StoreError> {
        let mut filter = place(user, date);
        filter.extend(doc! { "version": signed(version), "deleted": false });
        let update = doc! {
            "$set": {
                "deleted": true,
                "archived": false,
                "title": "",
                "content": "",
                "saves": [],
                "updated_at": DateTime::from_millis(now.as_millis()),
            },
            "$inc": { "version": 1_i64 },
        };
        for attempt in 0..STEP_TRIES {
            if once(|| self.update(filter.clone(), update.clone())).await?.is_some() {
                return Ok(DeleteOutcome::Deleted);
            }
            match self.find(user, date).await?.filter(|found| !found.deleted) {
                None => return Ok(DeleteOutcome::NotFound),
                Some(found) if found.version != signed(version) => {
                    return Ok(DeleteOutcome::Conflict(found.try_into()?));
                }
                Some(_) => pause(attempt).await,
            }
        }
        Err(contended())
    }

    async fn archive(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        archived: bool,
        now: Timestamp,
    ) -> Result<ArchiveOutcome, StoreError> {
        let mut filter = place(user, date);
        filter.extend(doc! { "version": signed(version), "deleted": false });
        let update = doc! {
            "$set": {
                "archived": archived,
                "updated_at": DateTime::from_millis(now.as_millis()),
            },
            "$inc": { "version": 1_i64 },
        };
        for attempt in 0..STEP_TRIES {
            if once(|| self.update(filter.clone(), update.clone())).await?.is_some() {
                return Ok(ArchiveOutcome::Archived(version.next()));
            }
            match self.find(user, date).await?.filter(|found| !found.deleted) {
                None => return Ok(ArchiveOutcome::NotFound),
                Some(found) if found.version != signed(version) => {
                    return Ok(ArchiveOutcome::Conflict(found.try_into()?));
                }
                Some(_) => pause(attempt).await,
            }
        }
        Err(contended())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let database = self.diaries.client().database("admin");
        once(|| async { database.run_command(doc! { "ping": 1 }).await.map(drop) }).await
    }
}

/// A diary as MongoDB holds it. The content is JSON text, so that it comes back to the letter. A
/// deleted diary stays without its text: its version goes on counting, so that no version ever
/// names two texts.
#[derive(Clone, Serialize, Deserialize)]
struct DiaryDocument {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    user: bson::Uuid,
    date: i32,
    title: String,
    content: String,
    version: i64,
    archived: bool,
    deleted: bool,
    updated_at: DateTime,
    /// The latest saves by their id, the newest last.
    saves: Vec<AppliedSave>,
}

/// What the listing's index holds of a diary.
#[derive(Deserialize)]
struct HeadDocument {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    date: i32,
    title: String,
    version: i64,
    archived: bool,
    updated_at: DateTime,
}

/// A save that was applied, kept to recognise it should it come again.
#[derive(Clone, Serialize, Deserialize)]
struct AppliedSave {
    save_id: bson::Uuid,
    version: i64,
    updated_at: DateTime,
    created: bool,
}

impl AppliedSave {
    fn new(save_id: SaveId, stored: &Stored) -> Self {
        Self {
            save_id: bson::Uuid::from_bytes(*save_id.as_bytes()),
            version: signed(stored.version),
            updated_at: DateTime::from_millis(stored.updated_at.as_millis()),
            created: stored.created,
        }
    }
}

impl DiaryDocument {
    /// What the save with this id became, if it was applied already.
    fn applied(&self, save_id: Option<SaveId>) -> Option<Stored> {
        let save_id = bson::Uuid::from_bytes(*save_id?.as_bytes());
        let save = self.saves.iter().find(|save| save.save_id == save_id)?;
        Some(Stored {
            id: DiaryId::from_bytes(self.id.bytes()),
            version: Version::new(save.version.unsigned_abs()),
            updated_at: Timestamp::from_millis(save.updated_at.timestamp_millis()),
            created: save.created,
        })
    }
}

impl TryFrom<DiaryDocument> for DiaryRecord {
    type Error = StoreError;

    fn try_from(found: DiaryDocument) -> Result<Self, StoreError> {
        // What was stored was within the limits of its time; only its shape matters now.
        let limits = DocumentLimits { max_depth: usize::MAX, max_nodes: usize::MAX };
        let content = Document::from_json_within(&found.content, &limits).map_err(|_| corrupt())?;
        let DiaryDocument { id, date, title, version, archived, updated_at, .. } = found;
        let head = HeadDocument { id, date, title, version, archived, updated_at }.try_into()?;
        Ok(Self { head, content })
    }
}

impl TryFrom<HeadDocument> for DiaryHead {
    type Error = StoreError;

    fn try_from(found: HeadDocument) -> Result<Self, StoreError> {
        let date = u32::try_from(found.date).ok().and_then(|date| Date::from_number(date).ok());
        Ok(Self {
            id: DiaryId::from_bytes(found.id.bytes()),
            date: date.ok_or_else(corrupt)?,
            title: found.title,
            version: u64::try_from(found.version).map(Version::new).map_err(|_| corrupt())?,
            is_archived: found.archived,
            updated_at: Timestamp::from_millis(found.updated_at.timestamp_millis()),
        })
    }
}

fn place(user: UserId, date: Date) -> bson::Document {
    doc! { "user": bson::Uuid::from_bytes(*user.as_bytes()), "date": number(date) }
}

fn listing_keys() -> bson::Document {
    LISTING.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))).collect()
}

/// Dates are YYYYMMDD numbers, which fit.
fn number(date: Date) -> i32 {
    i32::try_from(date.as_number()).unwrap_or(i32::MAX)
}

/// MongoDB's integers are signed. A version beyond them is no stored one, and equals none.
fn signed(version: Version) -> i64 {
    i64::try_from(version.get()).unwrap_or(-1)
}

/// Runs an operation within its time.
async fn once<T, F>(run: impl FnOnce() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, Error>>,
{
    match timeout(OPERATION_TIMEOUT, run()).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(timed_out()),
    }
}

/// Runs an operation that may be repeated, and repeats it where the driver says that it helps.
async fn again<T, F>(mut run: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut tries = 1;
    loop {
        match timeout(OPERATION_TIMEOUT, run()).await {
            Ok(Err(error)) if tries < TRIES && may_help(&error) => {
                pause(tries).await;
                tries += 1;
            }
            Ok(answer) => return Ok(answer?),
            Err(_) => return Err(timed_out()),
        }
    }
}

fn may_help(error: &Error) -> bool {
    /// Two writes met inside the engine.
    const WRITE_CONFLICT: i32 = 112;
    let met = matches!(&*error.kind, ErrorKind::Command(command) if command.code == WRITE_CONFLICT);
    met || error.contains_label(RETRYABLE_WRITE_ERROR) || error.contains_label(RETRYABLE_ERROR)
}

fn is_duplicate(error: &Error) -> bool {
    const DUPLICATE_KEY: i32 = 11_000;
    matches!(&*error.kind, ErrorKind::Write(WriteFailure::WriteError(write)) if write.code == DUPLICATE_KEY)
}

/// Growing pauses with jitter, a few milliseconds at first.
async fn pause(attempt: u32) {
    let ceiling = Duration::from_millis(10 * u64::from(attempt.min(20) + 1));
    sleep(ceiling.mul_f64(rand::random())).await;
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        // The driver's messages may quote what was to be stored.
        let kind = match &*error.kind {
            ErrorKind::BsonDeserialization(_) | ErrorKind::Bson(_) => return corrupt(),
            ErrorKind::Command(command) => {
                format!("the command failed with {} ({})", command.code_name, command.code)
            }
            ErrorKind::Write(WriteFailure::WriteError(write)) => {
                format!("the write failed with code {}", write.code)
            }
            ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => {
                format!("the write was not acknowledged: {} ({})", concern.code_name, concern.code)
            }
            ErrorKind::Io(io) => format!("the connection failed: {}", io.kind()),
            ErrorKind::ServerSelection { .. } => "no primary can be found".to_owned(),
            ErrorKind::Authentication { .. } => "the credentials are refused".to_owned(),
            ErrorKind::InvalidArgument { .. } => "the URL or an argument is not valid".to_owned(),
            ErrorKind::DnsResolve { .. } => "the name cannot be resolved".to_owned(),
            _ => "the driver failed".to_owned(),
        };
        Self::Unavailable(kind.into())
    }
}

fn timed_out() -> StoreError {
    StoreError::Unavailable("no answer in time".into())
}

/// So many at once that there was no getting through.
fn contended() -> StoreError {
    StoreError::Unavailable("too many steps at once".into())
}

fn corrupt() -> StoreError {
    StoreError::Corrupt { what: "a diary" }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The users are fresh and random, so the tests may share a database.
    async fn open() -> MongoStore {
        let url = std::env::var("SHIORI_TEST_MONGODB_URL").expect("SHIORI_TEST_MONGODB_URL");
        MongoStore::open(&url).await.expect("opened")
    }

    crate::diary_contract!([ignore = "needs MongoDB: SHIORI_TEST_MONGODB_URL"], async {
        (Arc::new(open().await) as Arc<dyn DiaryStore>, ())
    });

    fn save(user: UserId, day: u8) -> Save {
        Save {
            user,
            date: Date::new(2026, 2, day).expect("a date"),
            title: "제목 \0".to_owned(),
            content: Document::from_text("본문"),
            expected: None,
            save_id: None,
            now: Timestamp::now(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs MongoDB: SHIORI_TEST_MONGODB_URL"]
    async fn a_listing_is_answered_by_an_index_alone() {
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
    async fn what_is_left_of_a_deleted_diary_holds_no_text() {
        let (store, user) = (open().await, UserId::new());
        let first = Save { save_id: Some(SaveId::new()), ..save(user, 3) };
        let SaveOutcome::Saved(stored) = store.save(&first).await.expect("saved") else {
            panic!("it is the first")
        };
        let deleted = store.delete(user, first.date, stored.version, first.now).await;
        assert!(matches!(deleted, Ok(DeleteOutcome::Deleted)));
        let left = store.find(user, first.date).await.expect("read").expect("left");
        assert!(left.deleted && left.title.is_empty() && left.content.is_empty());
        assert!(left.saves.is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_database_that_is_not_there_is_an_error_within_the_time() {
        let url = "mongodb://someone:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=200";
        let error = MongoStore::open(url).await.expect_err("nobody is there");
        assert!(matches!(error, StoreError::Unavailable(_)));
        assert!(!format!("{error:?}").contains("hunter2"));
        let error = MongoStore::open("mongodb://:hunter2@").await.expect_err("no URL");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
