use std::fmt;

use async_trait::async_trait;
use shiori_sdk::{
    Date, DateRange, DateVersion, DiaryId, Document, Quota, QuotaExceeded, SaveId, SessionId,
    Timestamp, UserId, Version, limits::QUOTA_STEP_BYTES,
};

use super::{DiaryPlace, HistoryPolicy, Page, RevisionStore, StoreError};

/// The store of diaries. Title, content and version of one date are one record and change in one
/// atomic compare-and-swap. What a change replaces is kept before it, see [`HistoryPolicy`].
#[async_trait]
pub trait DiaryStore: RevisionStore {
    /// Saves if the version is the expected one. If this `save_id` was already applied and is one
    /// of the date's last [`REMEMBERED_SAVES`](shiori_sdk::REMEMBERED_SAVES), returns the first
    /// outcome. Only saves with an id count; a deletion of the diary keeps their ids.
    ///
    /// A save that would exceed the quota is rejected. Concurrent saves of one user may exceed it
    /// together, because an engine may count before it writes; a save that was applied is kept.
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

    /// The versions of the dates of a range that have or had a diary, by date: at most the first
    /// `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn versions(
        &self,
        user: UserId,
        range: DateRange,
        limit: u32,
    ) -> Result<Vec<DateVersion>, StoreError>;

    /// The diaries of these dates, which are distinct and ordered. It ends when the documents have
    /// [`MAX_READ_BYTES`](shiori_sdk::limits::MAX_READ_BYTES).
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn read_many(&self, user: UserId, dates: &[Date]) -> Result<ManyDiaries, StoreError>;

    /// The diaries after a place, by date, with their contents. A page has at most
    /// [`PAGE_DIARIES`](super::PAGE_DIARIES), and ends when their documents have
    /// [`PAGE_BYTES`](super::PAGE_BYTES).
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable. A row that cannot be read is counted.
    async fn page(
        &self,
        user: UserId,
        after: DiaryPlace,
    ) -> Result<Page<DiaryRecord, DiaryPlace>, StoreError>;

    /// Deletes if the version is the expected one. The text is removed from the diary, and kept as a
    /// revision if the history is on. The version is kept, so
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
        history: HistoryPolicy,
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

    /// Deletes at most `limit` of the user's diaries, also deleted ones, but no revisions. Returns
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
    /// What the user may store.
    pub quota: DiaryQuota,
    /// The session that saves.
    pub session: SessionId,
    /// Which replaced texts are kept.
    pub history: HistoryPolicy,
    /// Whether the replaced text is kept also if it is a recent one of the same session. Without
    /// effect if the history is off.
    pub keep_replaced: bool,
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

/// What one user may store.
///
/// It is checked when a date gets a diary, and when the document of a diary grows across a multiple
/// of [`QUOTA_STEP_BYTES`], so that most saves count nothing. The documents can exceed the quota of
/// bytes by less than that for each diary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiaryQuota {
    /// Maximum number of diaries; `None` if there is no limit.
    pub diaries: Option<u64>,
    /// Maximum bytes of all documents, as JSON; `None` if there is no limit.
    pub bytes: Option<u64>,
}

impl DiaryQuota {
    /// Whether this change of one date's document, in bytes, must be counted. `before` is `None` if
    /// the date has no diary.
    pub(crate) fn is_checked(self, before: Option<u64>, after: u64) -> bool {
        match before {
            None => self.diaries.is_some() || self.bytes.is_some(),
            Some(before) => self.bytes.is_some() && step(before) < step(after),
        }
    }

    /// The smallest size of a document that can be replaced by one of this size without counting.
    #[cfg(feature = "distributed")]
    pub(crate) fn unchecked_above(self, after: u64) -> Option<u64> {
        let least = step(after) * QUOTA_STEP_BYTES;
        (self.bytes.is_some() && least > 0).then_some(least)
    }

    /// The quota that this change would exceed. `usage` is without the change.
    pub(crate) fn exceeded(
        self,
        usage: DiaryUsage,
        before: Option<u64>,
        after: u64,
    ) -> Option<QuotaExceeded> {
        let diaries = usage.diaries.saturating_add(1);
        if let Some(limit) = self.diaries.filter(|limit| before.is_none() && diaries > *limit) {
            return Some(QuotaExceeded { quota: Quota::Diaries, limit });
        }
        let bytes = usage.bytes.saturating_sub(before.unwrap_or_default()).saturating_add(after);
        let limit = self.bytes.filter(|limit| bytes > *limit)?;
        Some(QuotaExceeded { quota: Quota::DiaryBytes, limit })
    }
}

/// The number of whole steps in this size.
fn step(bytes: u64) -> u64 {
    bytes / QUOTA_STEP_BYTES
}

/// The diaries of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiaryUsage {
    /// The number of diaries.
    pub(crate) diaries: u64,
    /// The bytes of their documents.
    pub(crate) bytes: u64,
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
    /// The save would exceed this quota; nothing was changed.
    QuotaExceeded(QuotaExceeded),
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

/// The outcome of [`DiaryStore::read_many`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ManyDiaries {
    /// The diaries, by date.
    pub diaries: Vec<DiaryRecord>,
    /// The dates whose diary cannot be read.
    pub unreadable: Vec<Date>,
    /// The last dates, which were not read.
    pub rest: Vec<Date>,
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
