//! Diaries: read, save without losing anybody's text, list, delete, archive.

mod attempt;
mod effort;
mod entry;
mod save;

use std::time::Duration;

use reqwest::{
    Method, StatusCode,
    header::{HeaderValue, IF_NONE_MATCH},
};
use serde::Deserialize;
use tokio::time::sleep;

use crate::{
    ArchiveRequest, Client, Conflict, ConflictBody, Date, DateRange, DayView, Diary, DiaryEntry,
    Draft, Error, Result, SaveId, Version,
    error::ErrorKind,
    transport::{Call, Refusal, Replay},
};
use attempt::Attempt;
use effort::Effort;
pub use entry::{Entry, FilledEntry};
pub use save::{Outcome, RetryReport, Save, Saved};

/// Days that one listing may span; longer ranges are asked for in parts.
const LISTING_DAYS: i64 = 366;

/// Diaries. Made by [`Client::diaries`].
#[derive(Debug, Clone)]
pub struct Diaries {
    client: Client,
}

/// What must stand for a save to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precondition {
    /// There is no diary of the date.
    IfAbsent,
    /// The diary of the date has this version.
    IfVersion(Version),
}

impl Precondition {
    /// That the date stands as it was read.
    pub fn unchanged_since(diary: Option<&Diary>) -> Self {
        diary.map(|diary| diary.version).into()
    }

    pub(crate) fn version(self) -> Option<Version> {
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

/// The answer to [`Diaries::get_if_changed`].
#[derive(Debug, Clone)]
pub enum Change {
    /// The diary still has the version that is known.
    Unchanged,
    /// The diary as it stands; `None` when it was deleted.
    Changed(Option<Diary>),
}

impl Change {
    /// Whether nothing has changed.
    pub fn is_unchanged(&self) -> bool {
        matches!(self, Self::Unchanged)
    }
}

impl Diaries {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// The diary of a date, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error`] when the server does not answer or nobody is signed in.
    pub async fn get(&self, date: Date) -> Result<Option<Diary>> {
        let answer = self.client.send(&Call::get(path(date))).await?;
        Ok(answer.data::<DayView>()?.into_diary())
    }

    /// The diary of a date that is known already: its content is only sent if it has changed.
    ///
    /// # Errors
    ///
    /// [`Error`] when the server does not answer or nobody is signed in.
    pub async fn get_if_changed(&self, known: &Diary) -> Result<Change> {
        let etag = HeaderValue::from_str(&format!("\"{}\"", known.version))
            .unwrap_or_else(|_| unreachable!("a quoted number is plain ASCII"));
        let call = Call::get(path(known.date)).header(IF_NONE_MATCH, etag);
        let answer = self.client.send(&call).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(Change::Unchanged);
        }
        Ok(Change::Changed(answer.data::<DayView>()?.into_diary()))
    }

    /// Saves a draft, if what the precondition says holds. What happens if not is set on the
    /// [`Save`]; the default is to fail with the conflict.
    pub fn save(&self, date: Date, draft: Draft, precondition: Precondition) -> Save {
        Save::new(self.client.clone(), date, draft, precondition)
    }

    /// Reads a date's diary, changes it and saves it; when another save comes in between, changes
    /// what stands then instead. A date without a diary begins with an empty draft.
    ///
    /// The closure may run several times, each time on a fresh draft. It is never run again when
    /// its result may have been saved: the save's id settles that.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::Conflict`] when the conflict policy is used up, or when an
    /// earlier attempt may have been applied and so many saves came after it that it cannot be told
    /// any more: [`Error::was_sent`] is then [`WasSent::Maybe`](crate::WasSent::Maybe). Any other
    /// when reading or saving fails.
    pub async fn update<F, Fut>(&self, date: Date, mut change: F) -> Result<Saved>
    where
        F: FnMut(Draft) -> Fut + Send,
        Fut: Future<Output = Draft> + Send,
    {
        let saved = self.change(date, |standing| {
            let draft = change(standing.unwrap_or_default());
            async { Some(draft.await) }
        });
        saved.await?.map_or_else(|| unreachable!("there always is a draft"), Ok)
    }

    /// The diary of a date, whether there is one or not, to be changed in steps and saved.
    pub fn entry<'a>(&self, date: Date) -> Entry<'a> {
        Entry::new(self.clone(), date)
    }

    /// Reads, changes and saves; after a conflict, again. Without a draft nothing is saved.
    async fn change<F, Fut>(&self, date: Date, mut change: F) -> Result<Option<Saved>>
    where
        F: FnMut(Option<Draft>) -> Fut + Send,
        Fut: Future<Output = Option<Draft>> + Send,
    {
        let mut effort = Effort::new(self.client.options().conflict);
        let mut standing = self.get(date).await?;
        loop {
            let before = standing.as_ref().map(Diary::to_draft);
            let Some(draft) = change(before.clone()).await else { return Ok(None) };
            if let (Some(diary), true) = (&standing, before.as_ref() == Some(&draft)) {
                return Ok(Some(Saved::skipped(diary, effort.report())));
            }
            let precondition = Precondition::unchanged_since(standing.as_ref());
            match self.client.attempt(date, &draft, precondition, SaveId::new()).await? {
                Attempt::Stored(stored) => {
                    return Ok(Some(Saved::stored(date, draft, &stored, false, effort.counted())));
                }
                Attempt::Lost(lost) => {
                    standing = match effort.lost(&lost) {
                        None => {
                            let (refusal, conflict) = effort.conflict(lost, draft, before);
                            return Err(refusal.with_conflict(conflict));
                        }
                        Some(Duration::ZERO) => lost.current,
                        // What the conflict has told is old then, and the next one certain.
                        Some(pause) => {
                            sleep(pause).await;
                            self.get(date).await?
                        }
                    };
                }
            }
        }
    }

    /// The diaries of a range, by date, without their contents. The range may be of any length;
    /// beyond 366 days it is asked for in parts.
    ///
    /// # Errors
    ///
    /// [`Error`] when the server does not answer or nobody is signed in.
    pub async fn list(&self, range: DateRange) -> Result<Vec<DiaryEntry>> {
        let mut entries = Vec::new();
        let mut next = Some(range.start());
        while let Some(start) = next.filter(|start| *start <= range.end()) {
            let end = start.plus_days(LISTING_DAYS - 1).unwrap_or(range.end()).min(range.end());
            let call = Call::get("/api/diary").query("start", &start).query("end", &end);
            let page: Vec<DiaryEntry> = self.client.send(&call).await?.data()?;
            entries.extend(page);
            next = end.plus_days(1);
        }
        Ok(entries)
    }

    /// Deletes a date's diary if it has this version.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::Conflict`] when it has another version,
    /// [`ErrorKind::NotFound`] when there is none.
    pub async fn delete(&self, date: Date, version: Version) -> Result<()> {
        let call = Call::new(Method::DELETE, path(date), Replay::Safe).query("version", &version);
        match self.client.send(&call).await {
            Ok(_) => Ok(()),
            // The first attempt has done it, and its answer was lost.
            Err(refusal) if refusal.repeated && refusal.error.kind() == ErrorKind::NotFound => {
                Ok(())
            }
            Err(refusal) => Err(with_conflict(refusal, version)),
        }
    }

    /// Puts a date's diary away or takes it back, if it has this version; the version that it has
    /// then.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::Conflict`] when it has another version,
    /// [`ErrorKind::NotFound`] when there is none.
    pub async fn archive(&self, date: Date, version: Version, archived: bool) -> Result<Version> {
        #[derive(Deserialize)]
        struct Archived {
            version: Version,
        }

        let call = Call::new(Method::POST, format!("{}/archive", path(date)), Replay::Safe)
            .json(&ArchiveRequest { archived, version });
        match self.client.send(&call).await {
            Ok(answer) => Ok(answer.data::<Archived>()?.version),
            Err(refusal) => {
                let current = conflicting(&refusal).and_then(|body| body.current);
                // Exactly what the first attempt would have left, had its answer been lost.
                let done = current.as_ref().is_some_and(|diary| {
                    refusal.repeated
                        && diary.version == version.next()
                        && diary.is_archived == archived
                });
                if done { Ok(version.next()) } else { Err(with_conflict(refusal, version)) }
            }
        }
    }
}

fn path(date: Date) -> String {
    format!("/api/diary/{date}")
}

/// What a conflict tells; `None` if the refusal is no conflict.
fn conflicting(refusal: &Refusal) -> Option<ConflictBody> {
    if refusal.error.is_conflict() { refusal.data() } else { None }
}

/// The refusal as an error that shows the conflict, if it is one.
fn with_conflict(refusal: Refusal, expected: Version) -> Error {
    let Some(ConflictBody { current }) = conflicting(&refusal) else { return refusal.into() };
    refusal.error.with_conflict(Conflict {
        ours: Draft::default(),
        base: None,
        expected: Some(expected),
        current,
        attempt: 1,
    })
}
