//! Revisions: texts that a save or a deletion has replaced.

use std::collections::VecDeque;

use super::{
    diaries::{Diaries, StoredDiary},
    request::ApiRequest,
    response::{ApiError, ApiResponse},
};
use crate::types::{
    DiaryRevision, RevisionEntry, SessionId, Timestamp, UserId, Version,
    limits::{MAX_REVISIONS, REVISION_AGE, REVISION_TTL},
};

/// The session that saved a text, and when. No session for a text of
/// [`FakeShiori::inject_conflicts`](super::FakeShiori::inject_conflicts).
#[derive(Clone, Copy)]
pub(super) struct TextSource {
    pub(super) by: Option<SessionId>,
    pub(super) at: Timestamp,
}

impl TextSource {
    /// Whether a save of this session keeps the text.
    pub(super) fn is_kept_by(self, session: Option<SessionId>, now: Timestamp) -> bool {
        self.by.is_none() || self.by != session || self.at < now - REVISION_AGE
    }
}

/// The revisions of one date, oldest first.
#[derive(Default)]
pub(super) struct Revisions(VecDeque<DiaryRevision>);

impl Revisions {
    /// Keeps the text of a diary, and removes the oldest revisions beyond the limit.
    pub(super) fn keep(&mut self, diary: &StoredDiary, version: Version, now: Timestamp) {
        self.0.push_back(DiaryRevision {
            date: diary.date,
            version,
            title: diary.draft.title.clone(),
            content: diary.draft.content.clone(),
            saved_at: diary.text.at,
            replaced_at: now,
        });
        while self.0.len() > MAX_REVISIONS as usize {
            self.0.pop_front();
        }
    }

    /// The revisions that have not expired, newest first.
    fn current(&self, now: Timestamp) -> impl Iterator<Item = &DiaryRevision> {
        self.0.iter().rev().filter(move |revision| revision.replaced_at > now - REVISION_TTL)
    }
}

impl Diaries {
    pub(super) fn revisions(
        &self,
        user: UserId,
        request: &ApiRequest,
        now: Timestamp,
    ) -> Result<ApiResponse, ApiError> {
        let revisions = self.revisions_of(user, request.date()?);
        let current = revisions.into_iter().flat_map(|revisions| revisions.current(now));
        let entry = |revision: &DiaryRevision| RevisionEntry {
            version: revision.version,
            title: revision.title.clone(),
            bytes: revision.content.as_json().len() as u64,
            saved_at: revision.saved_at,
            replaced_at: revision.replaced_at,
        };
        Ok(ApiResponse::ok(&current.map(entry).collect::<Vec<_>>()))
    }

    pub(super) fn revision(
        &self,
        user: UserId,
        request: &ApiRequest,
        now: Timestamp,
    ) -> Result<ApiResponse, ApiError> {
        let (date, version) = request.revision()?;
        let revisions = self.revisions_of(user, date);
        let mut current = revisions.into_iter().flat_map(|revisions| revisions.current(now));
        let found = current.find(|revision| revision.version == version);
        found.map(ApiResponse::ok).ok_or_else(ApiError::not_found)
    }

    /// Deletes the revisions of the date in the path, or of all dates without one.
    pub(super) fn purge_revisions(
        &mut self,
        user: UserId,
        request: &ApiRequest,
    ) -> Result<ApiResponse, ApiError> {
        let date = if request.parameter.is_empty() { None } else { Some(request.date()?) };
        for revisions in self.revisions_of_all(user, date) {
            *revisions = Revisions::default();
        }
        Ok(ApiResponse::done())
    }
}
