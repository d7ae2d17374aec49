use std::fmt;

use async_trait::async_trait;
use shiori_sdk::{Date, DateRange, DiaryId, Document, SaveId, Timestamp, UserId, Version};

use super::StoreError;

/// Owns the diaries. Title, content and version of one date live in one document and change in
/// one atomic compare-and-swap.
#[async_trait]
pub trait DiaryStore: Send + Sync + fmt::Debug {
    /// Saves if the version is the expected one, or answers as before if this `save_id` was
    /// applied already and is one of the date's last [`REMEMBERED_SAVES`](shiori_sdk::REMEMBERED_SAVES).
    /// Only saves with an id count, and a deletion of the diary forgets none of them.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer. The save may then have been applied; trying
    /// again with the same `save_id` settles it.
    async fn save(&self, save: &NewVersion) -> Result<SaveOutcome, StoreError>;

    /// The diary of a date.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn get(&self, user: UserId, date: Date) -> Result<Option<DiaryRecord>, StoreError>;

    /// The diaries of a range by date, without their contents.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn list(&self, user: UserId, range: DateRange) -> Result<Vec<DiaryHead>, StoreError>;

    /// The diaries of a range by date, contents and all. For ranges of a week, not of a year.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn list_with_content(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Vec<DiaryRecord>, StoreError>;

    /// Deletes if the version is the expected one. The text is gone. The version count stays, so
    /// that a version never names two texts, and so do the ids of the saves: a repeated save does
    /// not bring the deleted text back.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn delete(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        now: Timestamp,
    ) -> Result<DeleteOutcome, StoreError>;

    /// Puts the diary away or takes it back if the version is the expected one. The text stays,
    /// the version grows.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn archive(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        archived: bool,
        now: Timestamp,
    ) -> Result<ArchiveOutcome, StoreError>;

    /// Whether the store answers.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it does not.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// A save: the next version of a diary. `Debug` shows no text.
#[derive(Clone)]
pub struct NewVersion {
    /// Whose diary.
    pub user: UserId,
    /// Which day's.
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
    /// Names the diary.
    pub id: DiaryId,
    /// The version that the save created.
    pub version: Version,
    /// When it was saved.
    pub updated_at: Timestamp,
    /// Whether there was no diary before.
    pub created: bool,
}

/// The result of [`DiaryStore::save`].
#[derive(Debug, Clone, PartialEq)]
pub enum SaveOutcome {
    /// The save was applied.
    Saved(AppliedSave),
    /// This `save_id` was applied before, with this result.
    Replayed(AppliedSave),
    /// The version is not the expected one; nothing was changed. The current diary, if there is one.
    Conflict(Option<DiaryRecord>),
}

/// What became of [`DiaryStore::delete`].
#[derive(Debug, Clone, PartialEq)]
pub enum DeleteOutcome {
    /// The diary is gone.
    Deleted,
    /// There is none.
    NotFound,
    /// The version is another; nothing was changed.
    Conflict(DiaryRecord),
}

/// What became of [`DiaryStore::archive`].
#[derive(Debug, Clone, PartialEq)]
pub enum ArchiveOutcome {
    /// It is done; this is the new version.
    Archived(Version),
    /// There is none.
    NotFound,
    /// The version is another; nothing was changed.
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
    /// Names the diary.
    pub id: DiaryId,
    /// The day it belongs to.
    pub date: Date,
    /// The title.
    pub title: String,
    /// The version.
    pub version: Version,
    /// Whether the person has put it away.
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
