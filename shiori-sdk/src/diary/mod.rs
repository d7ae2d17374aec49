//! Diaries: read, list, save with conflict detection, delete, archive.

mod attempt;
mod conflict;
mod conflict_retry;
mod entry;
mod known;
mod read;
mod revision;
mod save;
mod versions;
mod watch;
mod week;

use std::{convert::Infallible, time::Duration};

use reqwest::{
    StatusCode,
    header::{HeaderValue, IF_NONE_MATCH},
};

use crate::{
    client::Client,
    transport::{
        deadline,
        error::{Conflict, Error, ErrorKind, Result},
        request::{FailedRequest, Request},
    },
    types::{
        ArchiveReceipt, ArchiveRequest, ConflictBody, Date, DateRange, DayView, Diary, DiaryEntry,
        Draft, SaveId, Version, limits::MAX_RANGE_DAYS,
    },
};
pub(crate) use attempt::Attempt;
#[cfg(feature = "replica")]
pub(crate) use conflict::merge_titles;
pub use conflict::{
    ConflictResolver, FailOnConflict, MergeBlocks, Overwrite, Resolution, resolve_with,
};
use conflict_retry::ConflictRetry;
pub use entry::{Entry, FilledEntry};
pub use read::DiaryRead;
pub use save::{Outcome, RetryReport, Save, Saved};
pub use watch::DiaryWatch;
pub use week::{DayMeta, WeekMeta, Weeks};

impl Client {
    /// Diaries.
    pub fn diaries(&self) -> Diaries {
        Diaries { client: self.clone() }
    }
}

/// Diaries. Created by [`Client::diaries`].
#[derive(Debug, Clone)]
pub struct Diaries {
    client: Client,
}

/// The precondition of a save: the state of the diary that the save replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precondition {
    /// The date has no diary.
    IfAbsent,
    /// The date's diary has this version.
    IfVersion(Version),
}

impl Precondition {
    /// The diary is unchanged since it was read.
    pub fn unchanged_since(diary: Option<&Diary>) -> Self {
        diary.map(|diary| diary.version).into()
    }

    fn version(self) -> Option<Version> {
        match self {
            Self::IfAbsent => None,
            Self::IfVersion(version) => Some(version),
        }
    }
}

/// The precondition of a conflict's [`expected`](Conflict::expected) version.
impl From<Option<Version>> for Precondition {
    fn from(version: Option<Version>) -> Self {
        version.map_or(Self::IfAbsent, Self::IfVersion)
    }
}

/// The result of [`Diaries::get_if_changed`].
#[derive(Debug, Clone)]
pub enum Change {
    /// Version, summary status and emotion are unchanged.
    Unchanged,
    /// The current diary; `None` if it was deleted.
    Changed(Option<Diary>),
}

impl Change {
    /// Whether the diary is unchanged.
    pub fn is_unchanged(&self) -> bool {
        matches!(self, Self::Unchanged)
    }
}

impl Diaries {
    /// The diary of a date; `None` if the date has none.
    ///
    /// # Errors
    ///
    /// [`Error`] if the request fails or the client is not signed in.
    pub async fn get(&self, date: Date) -> Result<Option<Diary>> {
        let response = self.client.send(&Request::get(path(date))).await?;
        Ok(response.data::<DayView>()?.into_diary())
    }

    /// The diary of a date if its version, summary status or emotion differs from those of `known`.
    /// It sends the [`etag`](Diary::etag) of `known`; if nothing has changed, the response has no
    /// content.
    ///
    /// Without an `etag`, or while the server cannot read the summaries, the whole diary is read.
    ///
    /// # Errors
    ///
    /// [`Error`] if the request fails or the client is not signed in.
    pub async fn get_if_changed(&self, known: &Diary) -> Result<Change> {
        let mut request = Request::get(path(known.date));
        if let Some(etag) = &known.etag {
            let etag = HeaderValue::from_str(etag)
                .map_err(|error| Error::new(ErrorKind::InvalidRequest).with_source(error))?;
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = self.client.send(&request).await?;
        if response.status == StatusCode::NOT_MODIFIED {
            return Ok(Change::Unchanged);
        }
        Ok(Change::Changed(response.data::<DayView>()?.into_diary()))
    }

    /// Saves a draft if the precondition holds. [`Save`] sets what happens otherwise; by default,
    /// it fails with the conflict.
    pub fn save(&self, date: Date, draft: Draft, precondition: Precondition) -> Save {
        Save::new(self.client.clone(), date, draft, precondition)
    }

    /// Reads a date's diary, changes it and saves it. If another save happens in between, it
    /// applies the change to the new version instead. If the date has no diary, the closure
    /// receives an empty draft.
    ///
    /// The closure may run several times, each time on the draft of the current diary. It does not
    /// run again if its result may have been saved; the request is then repeated with the same save
    /// id, which makes it idempotent.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::Conflict`] if the conflict policy permits no other save, or
    /// if an earlier request may have been applied and the server can no longer recognise it,
    /// because too many saves have followed: [`Error::was_sent`] is then
    /// [`WasSent::Maybe`](crate::WasSent::Maybe). Any other kind if reading or saving fails.
    pub async fn update<F, Fut>(&self, date: Date, mut change: F) -> Result<Saved>
    where
        F: FnMut(Draft) -> Fut + Send,
        Fut: Future<Output = Draft> + Send,
    {
        self.update_or_create(date, |current| change(current.unwrap_or_default())).await
    }

    /// The diary of a date, which may be absent, to be changed and saved.
    pub fn entry<'a>(&self, date: Date) -> Entry<'a> {
        Entry::new(self.clone(), date)
    }

    /// As [`update`](Self::update), but passes `None` to the closure if the date has no diary.
    async fn update_or_create<F, Fut>(&self, date: Date, mut change: F) -> Result<Saved>
    where
        F: FnMut(Option<Draft>) -> Fut + Send,
        Fut: Future<Output = Draft> + Send,
    {
        let infallible = |current| {
            let draft = change(current);
            async { Ok::<_, Infallible>(draft.await) }
        };
        let Ok(saved) = self.try_update(date, infallible).await?;
        Ok(saved)
    }

    /// Reads, changes and saves, and repeats this after a conflict. If the closure fails, nothing
    /// is saved and its error is the inner result.
    async fn try_update<F, Fut, E>(&self, date: Date, mut change: F) -> Result<Result<Saved, E>>
    where
        F: FnMut(Option<Draft>) -> Fut + Send,
        Fut: Future<Output = Result<Draft, E>> + Send,
        E: Send,
    {
        let mut retry = ConflictRetry::new(self.client.options().conflict);
        let save_id = SaveId::new();
        let mut current = self.get(date).await?;
        loop {
            let draft = match change(current.as_ref().map(Diary::to_draft)).await {
                Ok(draft) => draft,
                Err(error) => return Ok(Err(error)),
            };
            if let Some(diary) = &current
                && (&diary.title, &diary.content) == (&draft.title, &draft.content)
            {
                return Ok(Ok(Saved::skipped(diary, draft, retry.report_without_save())));
            }
            let precondition = Precondition::unchanged_since(current.as_ref());
            let attempt = self.client.attempt_save(date, &draft, precondition, save_id, false);
            let rejected = match attempt.await? {
                Attempt::Saved { receipt, is_created } => {
                    let outcome = Outcome::of(&receipt, is_created, false);
                    return Ok(Ok(Saved::new(date, draft, receipt, outcome, retry.report())));
                }
                Attempt::Conflict(rejected) => rejected,
            };
            current = match retry.next_pause(&rejected) {
                None => {
                    let base = current.map(|Diary { title, content, .. }| Draft { title, content });
                    let (error, conflict) = retry.conflict(rejected, draft, base);
                    return Err(error.with_conflict(conflict));
                }
                Some(Duration::ZERO) => rejected.current,
                // After a pause the diary in the conflict is stale, and saving over it would
                // conflict.
                Some(pause) => {
                    deadline::sleep(pause).await;
                    self.get(date).await?
                }
            };
        }
    }

    /// Lists the diaries of a range by date, without their contents. The range may have any length;
    /// the SDK sends one request for every 366 days.
    ///
    /// # Errors
    ///
    /// [`Error`] if a request fails or the client is not signed in.
    pub async fn list(&self, range: DateRange) -> Result<Vec<DiaryEntry>> {
        let mut entries = Vec::new();
        let mut next = Some(range.start());
        while let Some(start) = next.filter(|start| *start <= range.end()) {
            let end = start
                .plus_days(i64::from(MAX_RANGE_DAYS) - 1)
                .unwrap_or(range.end())
                .min(range.end());
            let request = Request::get("/api/diary").query("start", &start).query("end", &end);
            let page: Vec<DiaryEntry> = self.client.send(&request).await?.data()?;
            entries.extend(page);
            next = end.plus_days(1);
        }
        Ok(entries)
    }

    /// Deletes a date's diary if it has this version. Its text remains in the
    /// [`revisions`](Self::revisions) of the date until it expires there or is purged.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::Conflict`] if it has another version, [`ErrorKind::NotFound`]
    /// if the date has none.
    pub async fn delete(&self, date: Date, version: Version) -> Result<()> {
        let request = Request::delete(path(date)).query("version", &version);
        match self.client.send(&request).await {
            Ok(_) => Ok(()),
            // An earlier attempt was applied and its response was lost.
            Err(failed) if failed.maybe_applied && failed.error.kind() == ErrorKind::NotFound => {
                Ok(())
            }
            Err(failed) => Err(with_conflict(failed, version)),
        }
    }

    /// Archives or restores a date's diary if it has this version. Returns the new version.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::Conflict`] if it has another version, [`ErrorKind::NotFound`]
    /// if the date has none.
    pub async fn archive(&self, date: Date, version: Version, archived: bool) -> Result<Version> {
        // Idempotent: the server recognises a repeated request by the version that the first one
        // created.
        let request = Request::post(format!("{}/archive", path(date)))
            .idempotent()
            .json(&ArchiveRequest { archived, version })?;
        match self.client.send(&request).await {
            Ok(response) => Ok(response.data::<ArchiveReceipt>()?.version),
            Err(failed) => {
                let current = conflict_body(&failed).and_then(|body| body.current);
                let is_applied = current.is_some_and(|diary| {
                    failed.maybe_applied
                        && diary.version == version.next()
                        && diary.is_archived == archived
                });
                if is_applied { Ok(version.next()) } else { Err(with_conflict(failed, version)) }
            }
        }
    }
}

fn path(date: Date) -> String {
    format!("/api/diary/{date}")
}

/// The body of a conflict response; `None` for any other failure.
fn conflict_body(failed: &FailedRequest) -> Option<ConflictBody> {
    if failed.error.is_conflict() { failed.data() } else { None }
}

/// The error of a request without a draft, with the conflict attached if it is one.
fn with_conflict(failed: FailedRequest, expected: Version) -> Error {
    let Some(ConflictBody { current }) = conflict_body(&failed) else { return failed.into() };
    failed.error.with_conflict(Conflict {
        ours: Draft::default(),
        base: None,
        expected: Some(expected),
        current,
        attempt: 1,
    })
}
