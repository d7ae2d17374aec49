//! Revisions of diaries in MongoDB, one document each.
//!
//! A revision is inserted before the save or deletion that replaces its text. If that write is then
//! lost to another one, or never happens, the revision is still the text of its version.

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mongodb::{
    Collection, IndexModel,
    bson::{self, DateTime, doc, oid::ObjectId},
    options::{Hint, IndexOptions},
};
use serde::{Deserialize, Serialize};
use shiori_sdk::{Date, Timestamp, UserId, Version};

use super::{
    MongoStore,
    document::{
        DiaryDocument, byte_number, corrupt, date_number, key_filter, stored_document,
        version_number,
    },
    operation::is_duplicate,
};
use crate::store::{HistoryPolicy, RevisionHead, RevisionRecord, RevisionStore, StoreError};

/// The name of the collection.
pub(super) const COLLECTION: &str = "revisions";

/// A stored revision. The content is JSON text.
#[derive(Serialize, Deserialize)]
pub(super) struct RevisionDocument {
    user: bson::Uuid,
    date: i32,
    #[serde(flatten)]
    head: HeadDocument,
    content: String,
}

/// A stored revision without its text.
#[derive(Serialize, Deserialize)]
struct HeadDocument {
    version: i64,
    title: String,
    bytes: i64,
    saved_at: DateTime,
    replaced_at: DateTime,
}

/// The id of a document.
#[derive(Deserialize)]
struct Id {
    #[serde(rename = "_id")]
    id: ObjectId,
}

/// The keys of the unique index. It lists the revisions of a date.
fn keys() -> bson::Document {
    doc! { "user": 1, "date": 1, "version": 1 }
}

/// The keys of the index by age.
fn age_keys() -> bson::Document {
    doc! { "replaced_at": 1 }
}

/// The indexes of the collection.
pub(super) fn indexes() -> [IndexModel; 2] {
    let unique = IndexOptions::builder().unique(true).build();
    [
        IndexModel::builder().keys(keys()).options(unique).build(),
        IndexModel::builder().keys(age_keys()).build(),
    ]
}

/// Fields of a listing.
fn head_fields() -> bson::Document {
    doc! { "_id": 0, "version": 1, "title": 1, "bytes": 1, "saved_at": 1, "replaced_at": 1 }
}

fn time(time: Timestamp) -> DateTime {
    DateTime::from_millis(time.as_millis())
}

impl MongoStore {
    /// Keeps the text of this document, which is not a tombstone. Idempotent: it may have been kept
    /// before.
    pub(super) async fn keep(
        &self,
        found: &DiaryDocument,
        policy: HistoryPolicy,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let key = doc! { "user": found.user, "date": found.date, "version": found.version };
        let update = doc! {
            "$setOnInsert": {
                "title": found.title.as_str(),
                "bytes": byte_number(found.content.len() as u64),
                "saved_at": found.text_at.unwrap_or(found.updated_at),
                "content": found.content.as_str(),
            },
            // An earlier attempt may have kept the text without replacing it.
            "$max": { "replaced_at": time(now) },
        };
        let is_added = self.operations.run_with_retry(|| async {
            let upsert = self.revisions.update_one(key.clone(), update.clone()).upsert(true);
            match upsert.await {
                Ok(updated) => Ok(updated.upserted_id.is_some()),
                // A concurrent attempt has just added it.
                Err(error) if is_duplicate(&error) => Ok(false),
                Err(error) => Err(error),
            }
        });
        if is_added.await? {
            // What is left after a failure is deleted when the date's next revision is added.
            let pruned = self.prune(found.user, found.date, policy.per_date).await;
            if let Err(error) = pruned {
                tracing::warn!(%error, "could not delete the oldest revisions of a date");
            }
        }
        Ok(())
    }

    /// Deletes the oldest revisions of a date beyond this number.
    async fn prune(&self, user: bson::Uuid, date: i32, kept: u32) -> Result<(), StoreError> {
        #[derive(Deserialize)]
        struct Oldest {
            version: i64,
        }
        let of_date = doc! { "user": user, "date": date };
        let revisions = self.revisions.clone_with_type::<Oldest>();
        let surplus = self.operations.run_with_retry(|| async {
            let find = revisions.find_one(of_date.clone()).sort(doc! { "version": -1 });
            find.projection(doc! { "_id": 0, "version": 1 })
                .hint(Hint::Keys(keys()))
                .skip(kept.into())
                .await
        });
        let Some(Oldest { version }) = surplus.await? else { return Ok(()) };
        let oldest = doc! { "user": user, "date": date, "version": { "$lte": version } };
        self.operations
            .run_with_retry(|| async { self.revisions.delete_many(oldest.clone()).await })
            .await?;
        Ok(())
    }

    /// Deletes the first documents that match the filter, in the order of an index.
    async fn delete_first(
        &self,
        filter: bson::Document,
        index: bson::Document,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let revisions = self.revisions.clone_with_type::<Id>();
        let found: Vec<Id> = self
            .operations
            .run_with_retry(|| async {
                let find = revisions.find(filter.clone()).sort(index.clone());
                let find = find.hint(Hint::Keys(index.clone())).projection(doc! { "_id": 1 });
                find.limit(limit.into()).await?.try_collect().await
            })
            .await?;
        if !found.is_empty() {
            let ids: Vec<_> = found.iter().map(|document| document.id).collect();
            // With the filter, because the text of one may have been kept again.
            let mut these = filter.clone();
            these.insert("_id", doc! { "$in": ids });
            self.operations
                .run_with_retry(|| async { self.revisions.delete_many(these.clone()).await })
                .await?;
        }
        Ok(found.len() as u64)
    }
}

#[async_trait]
impl RevisionStore for MongoStore {
    async fn revisions(
        &self,
        user: UserId,
        date: Date,
        replaced_after: Timestamp,
    ) -> Result<Vec<RevisionHead>, StoreError> {
        let mut filter = key_filter(user, date);
        filter.insert("replaced_at", doc! { "$gt": time(replaced_after) });
        let revisions = self.revisions.clone_with_type::<HeadDocument>();
        let found: Vec<HeadDocument> = self
            .operations
            .run_with_retry(|| async {
                let find = revisions.find(filter.clone()).sort(doc! { "version": -1 });
                let find = find.hint(Hint::Keys(keys())).projection(head_fields());
                find.await?.try_collect().await
            })
            .await?;
        found.into_iter().map(RevisionHead::try_from).collect()
    }

    async fn revision(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        replaced_after: Timestamp,
    ) -> Result<Option<RevisionRecord>, StoreError> {
        let mut filter = key_filter(user, date);
        filter.insert("version", version_number(version));
        filter.insert("replaced_at", doc! { "$gt": time(replaced_after) });
        let found = self
            .operations
            .run_with_retry(|| async { self.revisions.find_one(filter.clone()).await })
            .await?;
        let Some(RevisionDocument { head, content, .. }) = found else { return Ok(None) };
        let content = stored_document(&content)?;
        Ok(Some(RevisionRecord { head: head.try_into()?, content }))
    }

    async fn purge_revisions(
        &self,
        user: UserId,
        date: Option<Date>,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let mut filter = doc! { "user": bson::Uuid::from_bytes(*user.as_bytes()) };
        if let Some(date) = date {
            filter.insert("date", date_number(date));
        }
        self.delete_first(filter, keys(), limit).await
    }

    async fn expire_revisions(
        &self,
        replaced_until: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let filter = doc! { "replaced_at": { "$lte": time(replaced_until) } };
        self.delete_first(filter, age_keys(), limit).await
    }
}

impl TryFrom<HeadDocument> for RevisionHead {
    type Error = StoreError;

    fn try_from(found: HeadDocument) -> Result<Self, StoreError> {
        Ok(Self {
            version: u64::try_from(found.version).map(Version::new).map_err(|_| corrupt())?,
            title: found.title,
            bytes: u64::try_from(found.bytes).map_err(|_| corrupt())?,
            saved_at: Timestamp::from_millis(found.saved_at.timestamp_millis()),
            replaced_at: Timestamp::from_millis(found.replaced_at.timestamp_millis()),
        })
    }
}

/// The revisions of a database.
pub(super) type Revisions = Collection<RevisionDocument>;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{
        DiaryStore, NewVersion, SaveOutcome, contract::revision::first_save, mongodb::tests::open,
    };

    crate::revision_contract!([ignore = "needs MongoDB: SHIORI_TEST_MONGODB_URL"], async {
        (Arc::new(open().await), ())
    });

    async fn versions(store: &MongoStore, save: &NewVersion) -> Vec<u64> {
        let kept = store.revisions(save.user, save.date, Timestamp::UNIX_EPOCH).await;
        kept.expect("listed").iter().map(|head| head.version.get()).collect()
    }

    /// A text is kept if a server of a version without revisions has saved it, also in a document
    /// that names the session and the time of an earlier text.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs MongoDB: SHIORI_TEST_MONGODB_URL"]
    async fn a_text_of_an_older_server_is_kept() {
        let store = open().await;
        let older_writes = [
            doc! { "$unset": { "text_by": 1, "text_at": 1, "text_version": 1 } },
            doc! { "$set": { "content": r#"{"type":"doc"}"# }, "$inc": { "version": 1_i64 } },
        ];
        for older in older_writes {
            let first = first_save();
            store.save(&first).await.expect("saved");
            let key = key_filter(first.user, first.date);
            store.diaries.update_one(key, older).await.expect("as an older server writes");
            let found = store.find(first.user, first.date).await.expect("read").expect("there");
            let current = Version::new(found.version.unsigned_abs());
            let second = NewVersion { expected: Some(current), ..first.clone() };
            let saved = store.save(&second).await.expect("a response");
            assert!(matches!(saved, SaveOutcome::Saved(_)), "{saved:?}");
            assert_eq!(versions(&store, &first).await, [current.get()]);
            let kept = store.revision(first.user, first.date, current, Timestamp::UNIX_EPOCH).await;
            let kept = kept.expect("read").expect("kept");
            assert_eq!(kept.content.as_json(), found.content);
        }
    }

    /// A server that ends between revision and save leaves the text of the current version. The next
    /// save keeps it once, and from its own time.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs MongoDB: SHIORI_TEST_MONGODB_URL"]
    async fn a_revision_without_its_save_is_harmless() {
        let store = open().await;
        let first = first_save();
        store.save(&first).await.expect("saved");
        let found = store.find(first.user, first.date).await.expect("read").expect("there");
        for _ in 0..2 {
            store.keep(&found, first.history, first.now).await.expect("kept");
        }
        assert_eq!(versions(&store, &first).await, [1]);
        let current = store.get(first.user, first.date).await.expect("read").expect("there");
        assert_eq!((current.head.version.get(), current.content), (1, first.content.clone()));
        let session = shiori_sdk::SessionId::new();
        let now = first.now + first.history.max_age;
        let second = NewVersion { session, expected: Some(Version::new(1)), now, ..first.clone() };
        let saved = store.save(&second).await.expect("a response");
        assert!(matches!(saved, SaveOutcome::Saved(_)), "{saved:?}");
        let until = first.history.expired_until(now);
        store.expire_revisions(until, 100).await.expect("expired");
        let kept = store.revisions(first.user, first.date, until).await.expect("listed");
        assert_eq!(kept.len(), 1, "the age of a revision begins when its text is replaced");
        assert_eq!((kept[0].version.get(), kept[0].replaced_at), (1, now));
    }
}
