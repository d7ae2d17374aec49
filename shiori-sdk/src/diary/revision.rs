//! Texts that a save or a deletion has replaced.

use super::{Diaries, Precondition, Saved, path};
use crate::{
    transport::{error::Result, request::Request},
    types::{Date, DiaryRevision, RevisionEntry, Version},
};

impl Diaries {
    /// Lists the revisions of a date without their contents, newest first: the texts that saves or
    /// deletions have replaced. A date without a diary may have some.
    ///
    /// The server keeps a replaced text if another session has saved it, or if it is older than
    /// [`REVISION_AGE`](crate::limits::REVISION_AGE). It keeps the text of a deleted diary in any case. By
    /// default, a date has at most [`MAX_REVISIONS`](crate::limits::MAX_REVISIONS) revisions, which
    /// are deleted after [`REVISION_TTL`](crate::limits::REVISION_TTL).
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the request fails or the client is not signed in.
    pub async fn revisions(&self, date: Date) -> Result<Vec<RevisionEntry>> {
        self.client.send(&Request::get(revisions_path(date))).await?.data()
    }

    /// The text that a date's diary had as this version, if it is one of the
    /// [`revisions`](Self::revisions).
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) of kind [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the
    /// date has no such revision; any other kind if the request fails.
    pub async fn revision(&self, date: Date, version: Version) -> Result<DiaryRevision> {
        let path = format!("{}/{version}", revisions_path(date));
        self.client.send(&Request::get(path)).await?.data()
    }

    /// Saves the text of a revision again as the date's diary, if the precondition holds:
    /// [`Precondition::IfAbsent`] restores a deleted diary. The replaced text becomes a revision in
    /// any case.
    ///
    /// To resolve conflicts or to set a save id, save
    /// [`DiaryRevision::to_draft`](crate::DiaryRevision::to_draft) with
    /// [`Save::keep_replaced`](crate::Save::keep_replaced).
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) of kind [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if the
    /// precondition does not hold, [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the date
    /// has no such revision; any other kind if a request fails.
    pub async fn restore(
        &self,
        date: Date,
        revision: Version,
        precondition: Precondition,
    ) -> Result<Saved> {
        let draft = self.revision(date, revision).await?.to_draft();
        self.save(date, draft, precondition).keep_replaced().send().await
    }

    /// Deletes the revisions of a date, or of all dates. The diaries do not change.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the request fails or the client is not signed in. Some may then have
    /// been deleted.
    pub async fn purge_revisions(&self, date: Option<Date>) -> Result<()> {
        let path = date.map_or_else(|| "/api/diary/revisions".to_owned(), revisions_path);
        self.client.send(&Request::delete(path)).await?;
        Ok(())
    }
}

fn revisions_path(date: Date) -> String {
    format!("{}/revisions", path(date))
}
