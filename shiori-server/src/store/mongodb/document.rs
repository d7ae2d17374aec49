//! The documents of diaries in MongoDB.

use mongodb::bson::{self, Bson, DateTime, doc};
use serde::{Deserialize, Serialize};
use shiori_sdk::{
    Date, DiaryId, Document, DocumentLimits, SaveId, SessionId, Timestamp, UserId, Version,
};

use crate::store::{AppliedSave, DiaryHead, DiaryRecord, StoreError, TextSource};

/// The fields of the index that covers listings, so that no documents are read.
pub(super) const LISTING: [&str; 8] =
    ["user", "date", "deleted", "title", "version", "archived", "updated_at", "_id"];

/// A stored diary. The content is JSON text, so that it round-trips byte for byte. A deleted diary
/// is a tombstone without text. It keeps the version, so that no version is used twice, and the ids
/// of the saves, so that a repeated save is recognised.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct DiaryDocument {
    #[serde(rename = "_id")]
    pub(super) id: bson::Uuid,
    pub(super) user: bson::Uuid,
    pub(super) date: i32,
    pub(super) title: String,
    pub(super) content: String,
    /// The bytes of the content; absent in documents of versions without quotas.
    #[serde(default)]
    pub(super) bytes: i64,
    pub(super) version: i64,
    pub(super) archived: bool,
    pub(super) deleted: bool,
    pub(super) updated_at: DateTime,
    /// The session that saved the current text. This and the next two are absent in documents of
    /// versions without revisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) text_by: Option<bson::Uuid>,
    /// When the current text was saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) text_at: Option<DateTime>,
    /// The version that these describe. Another one if a server of a version without revisions has
    /// changed the document afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) text_version: Option<i64>,
    /// The latest saves with an id, newest last.
    pub(super) saves: Vec<RememberedSave>,
}

/// The fields of a diary that the listing index covers.
#[derive(Deserialize)]
pub(super) struct HeadDocument {
    #[serde(rename = "_id")]
    pub(super) id: bson::Uuid,
    pub(super) date: i32,
    pub(super) title: String,
    pub(super) version: i64,
    pub(super) archived: bool,
    pub(super) updated_at: DateTime,
}

/// A user's diaries, counted by [`usage_pipeline`].
#[derive(Default, Deserialize)]
pub(super) struct UsageDocument {
    pub(super) diaries: i64,
    pub(super) bytes: i64,
    /// The diaries without a size.
    #[serde(rename = "unsized")]
    pub(super) unsized_diaries: i64,
}

/// An applied save, kept to recognise a replay.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct RememberedSave {
    pub(super) save_id: bson::Uuid,
    pub(super) version: i64,
    pub(super) updated_at: DateTime,
    pub(super) created: bool,
}

impl RememberedSave {
    pub(super) fn new(save_id: SaveId, stored: &AppliedSave) -> Self {
        Self {
            save_id: bson::Uuid::from_bytes(*save_id.as_bytes()),
            version: version_number(stored.version),
            updated_at: DateTime::from_millis(stored.updated_at.as_millis()),
            created: stored.created,
        }
    }
}

impl DiaryDocument {
    /// Who has saved the text, and when.
    pub(super) fn text_source(&self) -> TextSource {
        if self.text_version != Some(self.version) {
            return TextSource { by: None, at: None };
        }
        TextSource {
            by: self.text_by.map(|id| SessionId::from_bytes(id.bytes())),
            at: self.text_at.map(|at| Timestamp::from_millis(at.timestamp_millis())),
        }
    }

    /// The outcome of the save with this id, if it was applied.
    pub(super) fn applied(&self, save_id: Option<SaveId>) -> Option<AppliedSave> {
        let save_id = bson::Uuid::from_bytes(*save_id?.as_bytes());
        let save = self.saves.iter().find(|save| save.save_id == save_id)?;
        Some(AppliedSave {
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
        let content = stored_document(&found.content)?;
        let DiaryDocument { id, date, title, version, archived, updated_at, .. } = found;
        let head = HeadDocument { id, date, title, version, archived, updated_at }.try_into()?;
        Ok(Self { head, content })
    }
}

/// Parses a stored text. The limits were checked when it was saved, and may have changed afterwards.
pub(super) fn stored_document(json: &str) -> Result<Document, StoreError> {
    let limits = DocumentLimits { max_depth: usize::MAX, max_nodes: usize::MAX };
    Document::from_json_within(json, &limits).map_err(|_| corrupt())
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

/// Selects the document of a user's day, tombstones included.
pub(super) fn key_filter(user: UserId, date: Date) -> bson::Document {
    doc! { "user": bson::Uuid::from_bytes(*user.as_bytes()), "date": date_number(date) }
}

/// The keys of the listing index.
pub(super) fn listing_keys() -> bson::Document {
    LISTING.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))).collect()
}

/// The keys of the index that covers [`usage_pipeline`].
pub(super) fn usage_keys() -> bson::Document {
    doc! { "user": 1, "deleted": 1, "bytes": 1 }
}

/// Counts a user's diaries and their bytes.
pub(super) fn usage_pipeline(user: UserId) -> [bson::Document; 2] {
    // In the order of types, numbers are greater than null, and missing fields are not.
    let is_unsized = doc! { "$cond": [{ "$gt": ["$bytes", null] }, 0_i64, 1_i64] };
    [
        doc! { "$match": { "user": bson::Uuid::from_bytes(*user.as_bytes()), "deleted": false } },
        doc! {
            "$group": {
                "_id": null,
                "diaries": { "$sum": 1_i64 },
                "bytes": { "$sum": "$bytes" },
                "unsized": { "$sum": is_unsized },
            },
        },
    ]
}

/// The bytes of a document as JSON.
pub(super) fn byte_count(content: &Document) -> i64 {
    byte_number(content.as_json().len() as u64)
}

pub(super) fn byte_number(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A date as a YYYYMMDD number, which fits into an i32.
pub(super) fn date_number(date: Date) -> i32 {
    i32::try_from(date.as_number()).unwrap_or(i32::MAX)
}

/// MongoDB's integers are signed. A version beyond their range is converted to -1, which no diary
/// has.
pub(super) fn version_number(version: Version) -> i64 {
    i64::try_from(version.get()).unwrap_or(-1)
}

pub(super) fn corrupt() -> StoreError {
    StoreError::Corrupt { what: "a diary" }
}
