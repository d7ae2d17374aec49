use std::fmt;

use async_trait::async_trait;
use shiori_sdk::{Date, DateRange, DiaryId, Document, SaveId, Timestamp, UserId, Version};

use super::StoreError;

/// The store of diaries. Title, content and version of one date are one record and change in one
/// atomic compare-and-swap.
#[async_trait]
pub trait DiaryStore: Send + Sync + fmt::Debug {
    /// Saves if the version is the expected one. If this `save_id` was already applied and is one
    /// of the date's last [`REMEMBERED_SAVES`](shiori_sdk::REMEMBERED_SAVES), returns the first
    /// outcome. Only saves with an id count; a deletion of the diary keeps their ids.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable. The save may then have been applied; repeat it
    /// with the same `save_id`.
    async fn save(&self, save: &NewVersion) -> Result<SaveOutcome, StoreError>;

    /// The diary of a date.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn get(&self, user: UserId, date: Date) -> Result<Option<DiaryRecord>, StoreError>;

    /// The diaries of a range by date, without their contents.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn list(&self, user: UserId, range: DateRange) -> Result<Vec<DiaryHead>, StoreError>;

    /// The diaries of a range by date, with their contents. For ranges of a week, not of a year.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn list_with_content(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Vec<DiaryRecord>, StoreError>;

    /// Deletes if the version is the expected one. The text is removed. The version is kept, so
    /// that two texts never have the same version. The ids of the saves are kept, too, so that a
    /// repeated save does not restore the deleted text.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn delete(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        now: Timestamp,
    ) -> Result<DeleteOutcome, StoreError>;

    /// Archives or restores the diary if the version is the expected one. The text does not change;
    /// the version grows.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn archive(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        archived: bool,
        now: Timestamp,
    ) -> Result<ArchiveOutcome, StoreError>;

    /// Deletes at most `limit` of the user's diaries, also deleted ones. Returns
    /// how many it has deleted; fewer than `limit` if none are left.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable. Some may then have been deleted.
    async fn erase(&self, user: UserId, limit: u32) -> Result<u64, StoreError>;

    /// Checks that the store is available.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it is not.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// A save: the next version of a diary. `Debug` shows no text.
#[derive(Clone)]
pub struct NewVersion {
    /// The user.
    pub user: UserId,
    /// The date.
    pub date: Date,
    /// The title.
    pub title: String,
    /// The text.
    pub content: Document,
    /// The expected current version; `None` if no diary is expected.
    pub expected: Option<Version>,
    /// Identifies the save across repeated requests.
    pub save_id: Option<SaveId>,
    /// The current time.
    pub now: Timestamp,
}

impl fmt::Debug for NewVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewVersion")
            .field("user", &self.user)
            .field("date", &self.date)
            .field("expected", &self.expected)
            .field("save_id", &self.save_id)
            .finish_non_exhaustive()
    }
}

/// A save that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedSave {
    /// The id of the diary.
    pub id: DiaryId,
    /// The version that the save created.
    pub version: Version,
    /// When it was saved.
    pub updated_at: Timestamp,
    /// Whether the date had no diary before.
    pub created: bool,
}

/// The result of [`DiaryStore::save`].
#[derive(Debug, Clone, PartialEq)]
pub enum SaveOutcome {
    /// The save was applied.
    Saved(AppliedSave),
    /// This `save_id` was applied before, with this result.
    Replayed(AppliedSave),
    /// The version is not the expected one; nothing was changed. Contains the current diary; `None`
    /// if the date has none.
    Conflict(Option<DiaryRecord>),
}

/// The outcome of [`DiaryStore::delete`].
#[derive(Debug, Clone, PartialEq)]
pub enum DeleteOutcome {
    /// The diary was deleted.
    Deleted,
    /// The date has no diary.
    NotFound,
    /// The version is not the expected one; nothing was changed.
    Conflict(DiaryRecord),
}

/// The outcome of [`DiaryStore::archive`].
#[derive(Debug, Clone, PartialEq)]
pub enum ArchiveOutcome {
    /// It was archived or restored; this is the new version.
    Archived(Version),
    /// The date has no diary.
    NotFound,
    /// The version is not the expected one; nothing was changed.
    Conflict(DiaryRecord),
}

/// A diary as stored. `Debug` shows no text.
#[derive(Clone, PartialEq)]
pub struct DiaryRecord {
    /// Title, version and dates.
    pub head: DiaryHead,
    /// The text.
    pub content: Document,
}

impl fmt::Debug for DiaryRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.head, f)
    }
}

/// A stored diary without its text. `Debug` shows no title.
#[derive(Clone, PartialEq, Eq)]
pub struct DiaryHead {
    /// The id of the diary.
    pub id: DiaryId,
    /// The date.
    pub date: Date,
    /// The title.
    pub title: String,
    /// The version.
    pub version: Version,
    /// Whether it is archived.
    pub is_archived: bool,
    /// When this version was saved.
    pub updated_at: Timestamp,
}

impl fmt::Debug for DiaryHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiaryHead")
            .field("id", &self.id)
            .field("date", &self.date)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
