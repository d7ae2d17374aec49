use std::{fmt, future::IntoFuture, pin::Pin, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    Precondition,
    attempt::{Attempt, Stored},
    effort::Effort,
};
use crate::{
    Client, ConflictPolicy, ConflictResolver, Date, Diary, DiaryId, Draft, Error, FailOnConflict,
    Resolution, Result, SaveId, SaveReceipt, Timestamp, Version,
    error::{ErrorKind, WasSent},
};

/// A save to be sent. Made by [`Diaries::save`](crate::Diaries::save); awaiting it sends it.
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
    base: Option<Draft>,
    resolver: Arc<dyn ConflictResolver>,
    policy: ConflictPolicy,
    deadline: Option<Duration>,
    save_id: SaveId,
}

impl Save {
    pub(super) fn new(
        client: Client,
        date: Date,
        draft: Draft,
        precondition: Precondition,
    ) -> Self {
        Self {
            policy: client.options().conflict,
            client,
            date,
            draft,
            precondition,
            base: None,
            resolver: Arc::new(FailOnConflict),
            deadline: None,
            save_id: SaveId::new(),
        }
    }

    /// What the draft was made from, such as the diary that was read: a merge takes it as the
    /// common past.
    pub fn with_base(self, base: impl Into<Draft>) -> Self {
        Self { base: Some(base.into()), ..self }
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
                    let merged = effort.conflicts() > 0;
                    return Ok(Saved::stored(self.date, draft, &stored, merged, effort.counted()));
                }
                Attempt::Lost(lost) => {
                    let pause = effort.lost(&lost);
                    let (refusal, mut conflict) =
                        effort.conflict(lost, self.draft.clone(), self.base.clone());
                    let Some(pause) = pause else { return Err(refusal.with_conflict(conflict)) };
                    let mut resolution = self.resolver.resolve(&conflict);
                    // Who leaves a conflict to the caller waits for nothing. For all others, what
                    // the conflict has told is old after a pause, and the next one certain.
                    if !pause.is_zero() && matches!(resolution, Resolution::Retry(_)) {
                        sleep(pause).await;
                        conflict.current = diaries.get(self.date).await?;
                        resolution = self.resolver.resolve(&conflict);
                    }
                    draft = match resolution {
                        Resolution::Retry(resolved) => resolved,
                        Resolution::Fail => return Err(refusal.with_conflict(conflict)),
                    };
                    precondition = Precondition::unchanged_since(conflict.current.as_ref());
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
    pub(super) fn stored(
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

    pub(super) fn skipped(diary: &Diary, report: RetryReport) -> Self {
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
