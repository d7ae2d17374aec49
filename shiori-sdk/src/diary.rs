//! Diaries: read, save without losing anybody's text, list, delete, archive.

use std::{fmt, future::IntoFuture, pin::Pin, sync::Arc, time::Duration};

use reqwest::{
    Method, StatusCode,
    header::{HeaderValue, IF_NONE_MATCH},
};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    ArchiveRequest, Client, Conflict, ConflictBody, ConflictPolicy, ConflictResolver, Date,
    DateRange, DayView, Diary, DiaryEntry, DiaryId, Draft, Error, FailOnConflict, Resolution,
    Result, SaveId, SaveReceipt, SaveRequest, Timestamp, Title, Version,
    error::{ErrorKind, WasSent},
    transport::{Call, Refusal, Replay},
};

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
        diary.map_or(Self::IfAbsent, |diary| Self::IfVersion(diary.version))
    }

    fn version(self) -> Option<Version> {
        match self {
            Self::IfAbsent => None,
            Self::IfVersion(version) => Some(version),
        }
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
        Save {
            client: self.client.clone(),
            date,
            draft,
            precondition,
            base: None,
            resolver: Arc::new(FailOnConflict),
            policy: self.client.shared().conflict,
            deadline: None,
            save_id: SaveId::new(),
        }
    }

    /// Reads a date's diary, changes it and saves it; when another save comes in between, changes
    /// what stands then instead. A date without a diary begins with an empty draft.
    ///
    /// The closure may run several times, each time on a fresh draft. It is never run again when
    /// its result may have been saved: the save's id settles that.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::Conflict`] when the conflict policy is used up; any other when
    /// reading or saving fails.
    pub async fn update<F, Fut>(&self, date: Date, mut change: F) -> Result<Saved>
    where
        F: FnMut(Draft) -> Fut + Send,
        Fut: Future<Output = Draft> + Send,
    {
        let mut effort = Effort::new(self.client.shared().conflict);
        let mut current = self.get(date).await?;
        loop {
            let before = current.as_ref().map_or_else(Draft::default, Diary::to_draft);
            let draft = change(before.clone()).await;
            if let (Some(diary), true) = (&current, draft == before) {
                return Ok(Saved::skipped(diary, effort.report()));
            }
            let precondition = Precondition::unchanged_since(current.as_ref());
            match self.client.attempt(date, &draft, precondition, SaveId::new()).await? {
                Attempt::Stored(stored) => {
                    return Ok(Saved::stored(date, draft, &stored, false, effort.counted()));
                }
                Attempt::Conflict(winner, refusal) => {
                    match effort.lost(self, date, winner).await? {
                        Next::Try(standing) => current = standing,
                        Next::GiveUp(standing) => {
                            return Err(effort.give_up(refusal, draft, current, standing));
                        }
                    }
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
            Err(refusal) => Err(with_conflict(refusal, Draft::default())),
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
                if done {
                    Ok(version.next())
                } else {
                    Err(with_conflict(refusal, Draft::default()))
                }
            }
        }
    }
}

/// A save to be sent. Made by [`Diaries::save`]; awaiting it sends it.
///
/// ```no_run
/// # async fn example(client: shiori_sdk::Client) -> shiori_sdk::Result<()> {
/// use shiori_sdk::{Date, MergeBlocks, Precondition, merge::OnOverlap};
///
/// let date: Date = "20260216".parse().unwrap();
/// if let Some(diary) = client.diaries().get(date).await? {
///     let mut draft = diary.to_draft();
///     draft.content.push_paragraph("저녁에는 비가 그쳤다.");
///     let saved = client
///         .diaries()
///         .save(date, draft, Precondition::IfVersion(diary.version))
///         .with_base(&diary)
///         .on_conflict(MergeBlocks { on_overlap: OnOverlap::KeepBoth })
///         .await?;
///     println!("saved as version {}", saved.version);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a save does nothing until it is sent"]
#[allow(clippy::struct_field_names)] // `save_id` is its name everywhere
pub struct Save {
    client: Client,
    date: Date,
    draft: Draft,
    precondition: Precondition,
    base: Option<Diary>,
    resolver: Arc<dyn ConflictResolver>,
    policy: ConflictPolicy,
    deadline: Option<Duration>,
    save_id: SaveId,
}

impl Save {
    /// The diary that the draft was made from: what a merge takes as the common past.
    pub fn with_base(self, base: &Diary) -> Self {
        Self { base: Some(base.clone()), ..self }
    }

    /// What to do when another save was first. Default: [`FailOnConflict`].
    pub fn on_conflict(self, resolver: impl ConflictResolver + 'static) -> Self {
        Self { resolver: Arc::new(resolver), ..self }
    }

    /// How long saving may take with all its requests and conflicts. Default: each request as long
    /// as a call of the client may, and conflicts as long as its conflict policy says.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        let policy = self.policy.with_deadline(deadline);
        Self { policy, deadline: Some(deadline), ..self }
    }

    /// Names this save, so that sending it again, after a crash for instance, cannot apply it
    /// twice. Default: a new id. A draft that a resolver made is another save with another id.
    pub fn with_save_id(self, save_id: SaveId) -> Self {
        Self { save_id, ..self }
    }

    /// Sends the save.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::Conflict`], with the winner's diary, when the resolver fails
    /// or the conflict policy is used up; [`ErrorKind::Timeout`] when the deadline is over, and then
    /// a save under way may have been applied; any other when saving fails.
    pub async fn send(self) -> Result<Saved> {
        let Some(deadline) = self.deadline else { return self.run().await };
        timeout(deadline, self.run()).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout).with_sent(WasSent::Maybe).with_retryable())
        })
    }

    async fn run(self) -> Result<Saved> {
        let diaries = self.client.diaries();
        let mut effort = Effort::new(self.policy);
        let mut draft = self.draft.clone();
        let mut precondition = self.precondition;
        let mut save_id = self.save_id;
        loop {
            match self.client.attempt(self.date, &draft, precondition, save_id).await? {
                Attempt::Stored(stored) => {
                    let merged = effort.conflicts > 0;
                    return Ok(Saved::stored(self.date, draft, &stored, merged, effort.counted()));
                }
                Attempt::Conflict(winner, refusal) => {
                    let (ours, base) = (self.draft.clone(), self.base.clone());
                    let current = match effort.lost(&diaries, self.date, winner).await? {
                        Next::Try(current) => current,
                        Next::GiveUp(current) => {
                            return Err(effort.give_up(refusal, ours, base, current));
                        }
                    };
                    let conflict = Conflict { ours, base, current, attempt: effort.conflicts };
                    precondition = Precondition::unchanged_since(conflict.current.as_ref());
                    match self.resolver.resolve(&conflict) {
                        Resolution::Fail => return Err(effort.told(refusal, conflict)),
                        Resolution::Retry(resolved) => draft = resolved,
                    }
                    save_id = SaveId::new();
                }
            }
        }
    }
}

impl IntoFuture for Save {
    type Output = Result<Saved>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Saved>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl fmt::Debug for Save {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Save")
            .field("date", &self.date)
            .field("draft", &self.draft)
            .field("precondition", &self.precondition)
            .field("save_id", &self.save_id)
            .finish_non_exhaustive()
    }
}

/// A save that is stored.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Saved {
    /// Names the diary.
    pub id: DiaryId,
    /// The day it belongs to.
    pub date: Date,
    /// The version that the save became.
    pub version: Version,
    /// When it was saved.
    pub updated_at: Timestamp,
    /// What was stored: one's own draft, or what a resolver made of it.
    pub draft: Draft,
    /// How it came to be stored.
    pub outcome: Outcome,
    /// What it took.
    pub report: RetryReport,
}

/// How a save came to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// There was no diary before.
    Created,
    /// It was saved over the version that was named.
    Updated,
    /// Nothing was to be changed, and nothing was sent.
    Skipped,
    /// Another save was first, and a resolver made a draft of both.
    Merged,
    /// An earlier attempt had been applied and its answer was lost.
    Replayed,
}

/// What a save took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryReport {
    /// Saves that were sent, not counting repeated requests of the same one.
    pub attempts: u32,
    /// How many of them met a conflict.
    pub conflicts: u32,
    /// How long it took, from the first save on.
    pub elapsed: Duration,
}

impl Saved {
    fn stored(
        date: Date,
        draft: Draft,
        stored: &Stored,
        merged: bool,
        report: RetryReport,
    ) -> Self {
        let outcome = match stored {
            Stored { receipt, .. } if receipt.replayed => Outcome::Replayed,
            _ if merged => Outcome::Merged,
            Stored { created: true, .. } => Outcome::Created,
            _ => Outcome::Updated,
        };
        let SaveReceipt { id, version, updated_at, .. } = stored.receipt;
        Self { id, date, version, updated_at, draft, outcome, report }
    }

    fn skipped(diary: &Diary, report: RetryReport) -> Self {
        Self {
            id: diary.id,
            date: diary.date,
            version: diary.version,
            updated_at: diary.updated_at,
            draft: diary.to_draft(),
            outcome: Outcome::Skipped,
            report,
        }
    }
}

/// What one save became.
enum Attempt {
    Stored(Stored),
    /// The diary as it stands, and the server's refusal.
    Conflict(Option<Diary>, Error),
}

struct Stored {
    receipt: SaveReceipt,
    created: bool,
}

impl Client {
    /// Sends one save, under one id over all its repeated requests.
    async fn attempt(
        &self,
        date: Date,
        draft: &Draft,
        precondition: Precondition,
        save_id: SaveId,
    ) -> Result<Attempt> {
        let body = SaveRequest {
            title: Title(draft.title.clone()),
            content: draft.content.clone(),
            version: precondition.version(),
            save_id: Some(save_id),
        };
        let call = Call::new(Method::POST, path(date), Replay::Safe).json(&body);
        match self.send(&call).await {
            Ok(answer) => Ok(Attempt::Stored(Stored {
                receipt: answer.data()?,
                created: answer.status == StatusCode::CREATED,
            })),
            Err(refusal) => match conflicting(&refusal) {
                Some(body) => Ok(Attempt::Conflict(body.current, refusal.error)),
                None => Err(refusal.into()),
            },
        }
    }
}

/// What follows from a conflict, and the diary as it stands.
enum Next {
    Try(Option<Diary>),
    GiveUp(Option<Diary>),
}

/// Counts and paces the saves of one logical change.
struct Effort {
    policy: ConflictPolicy,
    started: Instant,
    conflicts: u32,
}

impl Effort {
    fn new(policy: ConflictPolicy) -> Self {
        Self { policy, started: Instant::now(), conflicts: 0 }
    }

    /// A save has met a conflict. The next try is made on what the conflict has just told if this
    /// was the first, and otherwise, after a pause, on what a fresh read tells; for after a pause,
    /// what a conflict told is old and the next one certain.
    async fn lost(&mut self, diaries: &Diaries, date: Date, winner: Option<Diary>) -> Result<Next> {
        self.conflicts += 1;
        let pause = self.policy.backoff(self.conflicts);
        let late = self.started.elapsed() + pause >= self.policy.deadline;
        if self.conflicts >= self.policy.attempts || late {
            return Ok(Next::GiveUp(winner));
        }
        if pause.is_zero() {
            return Ok(Next::Try(winner));
        }
        sleep(pause).await;
        diaries.get(date).await.map(Next::Try)
    }

    fn give_up(
        &self,
        refusal: Error,
        ours: Draft,
        base: Option<Diary>,
        current: Option<Diary>,
    ) -> Error {
        self.told(refusal, Conflict { ours, base, current, attempt: self.conflicts })
    }

    /// The server's last refusal, with the whole conflict.
    fn told(&self, refusal: Error, conflict: Conflict) -> Error {
        refusal.with_conflict(conflict).with_attempts(self.conflicts)
    }

    fn report(&self) -> RetryReport {
        RetryReport {
            attempts: self.conflicts,
            conflicts: self.conflicts,
            elapsed: self.started.elapsed(),
        }
    }

    /// The report after one more save, which was stored.
    fn counted(&self) -> RetryReport {
        RetryReport { attempts: self.conflicts + 1, ..self.report() }
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
fn with_conflict(refusal: Refusal, ours: Draft) -> Error {
    match conflicting(&refusal) {
        Some(ConflictBody { current }) => {
            refusal.error.with_conflict(Conflict { ours, base: None, current, attempt: 1 })
        }
        None => refusal.into(),
    }
}
