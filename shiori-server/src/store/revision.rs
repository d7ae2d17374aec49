use std::{fmt, time::Duration};

use async_trait::async_trait;
use shiori_sdk::{Date, Document, SessionId, Timestamp, UserId, Version, limits};

use super::{NewVersion, StoreError};

/// Revisions: texts of diaries that a save or a deletion has replaced. The store of the diaries adds
/// them, see [`HistoryPolicy`].
///
/// A revision is the text that the diary had as one version. It remains when the diary is deleted.
#[async_trait]
pub trait RevisionStore: Send + Sync + fmt::Debug {
    /// The revisions of a date that were replaced after this time, without their texts, newest
    /// first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn revisions(
        &self,
        user: UserId,
        date: Date,
        replaced_after: Timestamp,
    ) -> Result<Vec<RevisionHead>, StoreError>;

    /// One revision, if it was replaced after this time.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn revision(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        replaced_after: Timestamp,
    ) -> Result<Option<RevisionRecord>, StoreError>;

    /// Deletes at most `limit` of the user's revisions, of this date or of all dates. Returns how
    /// many it has deleted; fewer than `limit` if none are left.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable. Some may then have been deleted.
    async fn purge_revisions(
        &self,
        user: UserId,
        date: Option<Date>,
        limit: u32,
    ) -> Result<u64, StoreError>;

    /// Deletes at most `limit` of all users' revisions that were replaced until this time, the oldest
    /// first. Returns how many it has deleted.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable. Some may then have been deleted.
    async fn expire_revisions(
        &self,
        replaced_until: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError>;
}

/// Which replaced texts are kept as revisions. `default` keeps none.
///
/// A save keeps the text that it replaces if another session has saved that text, or if it is older
/// than [`REVISION_AGE`](limits::REVISION_AGE), or if the save requires it. So the autosaves of a session add no revisions, and
/// no second write. A deletion always keeps the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HistoryPolicy {
    /// Maximum revisions of one date, of which the oldest are deleted. 0 keeps none.
    pub per_date: u32,
    /// How long a replaced text is kept. 0 keeps none.
    pub max_age: Duration,
}

impl HistoryPolicy {
    /// Whether replaced texts are kept.
    pub(crate) fn is_on(self) -> bool {
        self.per_date > 0 && !self.max_age.is_zero()
    }

    /// Revisions that were replaced until this time are expired.
    pub(crate) fn expired_until(self, now: Timestamp) -> Timestamp {
        if self.is_on() { now - self.max_age } else { now }
    }

    /// The first and the last time of texts that are recent. Others are kept, also those of a server
    /// whose clock is far ahead.
    pub(crate) fn recent(now: Timestamp) -> (Timestamp, Timestamp) {
        (now - limits::REVISION_AGE, now + limits::REVISION_AGE)
    }
}

/// Whether this save keeps the text that it replaces.
pub(crate) fn keeps(save: &NewVersion, text: TextSource) -> bool {
    let (since, until) = HistoryPolicy::recent(save.now);
    let is_recent = text.at.is_some_and(|at| since <= at && at <= until);
    let is_autosave = text.by == Some(save.session) && is_recent;
    save.history.is_on() && (save.keep_replaced || !is_autosave)
}

/// Who has saved the current text of a diary, and when. Unknown for texts that were saved by a
/// version without revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextSource {
    pub(crate) by: Option<SessionId>,
    pub(crate) at: Option<Timestamp>,
}

/// A revision as stored. `Debug` shows no text.
#[derive(Clone, PartialEq)]
pub struct RevisionRecord {
    /// Title, version and times.
    pub head: RevisionHead,
    /// The text.
    pub content: Document,
}

impl fmt::Debug for RevisionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.head, f)
    }
}

/// A stored revision without its text. `Debug` shows no title.
#[derive(Clone, PartialEq, Eq)]
pub struct RevisionHead {
    /// The version of the diary that was replaced.
    pub version: Version,
    /// The title.
    pub title: String,
    /// The bytes of the document.
    pub bytes: u64,
    /// When the text was saved.
    pub saved_at: Timestamp,
    /// When it was replaced or deleted.
    pub replaced_at: Timestamp,
}

impl fmt::Debug for RevisionHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevisionHead")
            .field("version", &self.version)
            .field("bytes", &self.bytes)
            .field("saved_at", &self.saved_at)
            .field("replaced_at", &self.replaced_at)
            .finish_non_exhaustive()
    }
}
