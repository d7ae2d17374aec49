use std::{fmt, future::IntoFuture, pin::Pin, sync::Arc, time::Duration};

use tokio::time::timeout_at;

use super::{
    Precondition,
    attempt::Attempt,
    conflict::{ConflictResolver, FailOnConflict, Resolution},
    conflict_retry::ConflictRetry,
};
use crate::{
    client::Client,
    transport::{
        deadline,
        error::{Error, ErrorKind, Result, WasSent},
        retry::ConflictPolicy,
    },
    types::{Date, Diary, DiaryId, Draft, SaveId, SaveReceipt, Timestamp, Version},
};

/// A save that is not sent yet. Created by [`Diaries::save`](crate::Diaries::save); awaiting it sends
/// it.
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
#[allow(clippy::struct_field_names)] // `save_id` is the name on the wire
pub struct Save {
    client: Client,
    date: Date,
    draft: Draft,
    precondition: Precondition,
    base: Option<Draft>,
    resolver: Arc<dyn ConflictResolver>,
    policy: ConflictPolicy,
    deadline: Option<Duration>,
    /// Set by the caller. An earlier process may have sent the same save.
    save_id: Option<SaveId>,
    keep_replaced: bool,
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
            save_id: None,
            keep_replaced: false,
        }
    }

    /// Sets the diary that the draft was made from. It is the common base of the draft and the
    /// current diary, which a merge needs.
    pub fn with_base(self, base: impl Into<Draft>) -> Self {
        Self { base: Some(base.into()), ..self }
    }

    /// Sets what to do after a version conflict. Default: [`FailOnConflict`].
    pub fn on_conflict(self, resolver: impl ConflictResolver + 'static) -> Self {
        Self { resolver: Arc::new(resolver), ..self }
    }

    /// Sets the timeout of the save, including all its requests and conflicts. Default: the call
    /// timeout for each request, and the deadline of the conflict policy for conflicts.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        let policy = self.policy.with_deadline(deadline);
        Self { policy, deadline: Some(deadline), ..self }
    }

    /// Sets the id of this save, so that sending it again, for example after a crash, cannot apply
    /// it twice. Default: a new id. Drafts from a resolver are sent with the same id.
    ///
    /// If an earlier process already applied the save, the SDK reads the diary again, because the
    /// stored draft may be a merge. The outcome is [`Outcome::Replayed`], and the version and the
    /// draft are those of the current diary.
    pub fn with_save_id(self, save_id: SaveId) -> Self {
        Self { save_id: Some(save_id), ..self }
    }

    /// Keeps the replaced text as a revision, also if it is a recent text of the same session, which
    /// the server would not keep. For a save that replaces a text as a whole; autosaves would fill the
    /// history of the date.
    pub fn keep_replaced(self) -> Self {
        Self { keep_replaced: true, ..self }
    }

    /// Sends the save.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::Conflict`], with the current diary, if the resolver fails or
    /// the conflict policy permits no other save; [`ErrorKind::Timeout`] at the deadline (a save in
    /// progress may have been applied); any other kind if saving fails.
    pub async fn send(self) -> Result<Saved> {
        let Some(deadline) = self.deadline else { return self.run().await };
        timeout_at(deadline::after(deadline), self.run()).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout).with_sent(WasSent::Maybe).with_retryable())
        })
    }

    async fn run(self) -> Result<Saved> {
        let Self { client, date, draft: mut ours, mut base, resolver, policy, .. } = self;
        let Self { mut precondition, save_id: given_id, keep_replaced, .. } = self;
        // One id for all rounds: a conflict proves that the server has not applied it.
        let save_id = given_id.unwrap_or_else(SaveId::new);
        let mut retry = ConflictRetry::new(policy);
        // The draft of the resolver, after the first conflict.
        let mut resolved: Option<Draft> = None;
        loop {
            let draft = resolved.as_ref().unwrap_or(&ours);
            let attempt = client.attempt_save(date, draft, precondition, save_id, keep_replaced);
            let rejected = match attempt.await? {
                Attempt::Saved { receipt, .. }
                    if receipt.replayed && given_id.is_some() && resolved.is_none() =>
                {
                    let stored = client.diaries().get(date).await?;
                    return Ok(Saved::replayed(stored, date, ours, receipt, retry.report()));
                }
                Attempt::Saved { receipt, is_created } => {
                    let outcome = Outcome::of(&receipt, is_created, resolved.is_some());
                    let draft = resolved.unwrap_or(ours);
                    return Ok(Saved::new(date, draft, receipt, outcome, retry.report()));
                }
                Attempt::Conflict(rejected) => rejected,
            };
            let pause = retry.next_pause(&rejected).filter(|_| resolver.can_retry());
            // The drafts move into the conflict, and back before another save.
            let (error, mut conflict) = retry.conflict(rejected, ours, base);
            let Some(pause) = pause else { return Err(error.with_conflict(conflict)) };
            let mut resolution = resolver.resolve(&conflict);
            // If the resolver fails, there is no pause. Otherwise, after a pause, the diary in the
            // conflict is stale and saving over it would conflict again, so it is read first.
            if !pause.is_zero() && matches!(resolution, Resolution::Retry(_)) {
                deadline::sleep(pause).await;
                conflict.current = client.diaries().get(date).await?;
                resolution = resolver.resolve(&conflict);
            }
            let Resolution::Retry(draft) = resolution else {
                return Err(error.with_conflict(conflict));
            };
            precondition = Precondition::unchanged_since(conflict.current.as_ref());
            resolved = Some(draft);
            (ours, base) = (conflict.ours, conflict.base);
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

/// The result of a successful save.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Saved {
    /// The id of the diary.
    pub id: DiaryId,
    /// The date of the diary.
    pub date: Date,
    /// The version of the diary that has this draft.
    pub version: Version,
    /// When the version was saved.
    pub updated_at: Timestamp,
    /// The saved draft: the given one, or the one that the resolver returned. If an earlier process
    /// had already applied the save (see [`Save::with_save_id`]), the draft of the current diary.
    pub draft: Draft,
    /// How the draft was saved.
    pub outcome: Outcome,
    /// Attempts, conflicts and time.
    pub report: RetryReport,
}

/// How a draft was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The diary was created.
    Created,
    /// The expected version was replaced.
    Updated,
    /// The draft equals the current diary; nothing was sent.
    Skipped,
    /// After a conflict, the resolver's draft was saved.
    Merged,
    /// An earlier request was applied, and its response was lost.
    Replayed,
}

impl Outcome {
    pub(super) fn of(receipt: &SaveReceipt, is_created: bool, is_resolved: bool) -> Self {
        match (receipt.replayed, is_resolved, is_created) {
            (true, _, _) => Self::Replayed,
            (_, true, _) => Self::Merged,
            (_, _, true) => Self::Created,
            _ => Self::Updated,
        }
    }
}

/// The effort of a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryReport {
    /// The number of saves, not counting repeated requests of one save.
    pub attempts: u32,
    /// The number of saves that were rejected with a conflict.
    pub conflicts: u32,
    /// The time since the first save was started.
    pub elapsed: Duration,
}

impl Saved {
    pub(super) fn new(
        date: Date,
        draft: Draft,
        receipt: SaveReceipt,
        outcome: Outcome,
        report: RetryReport,
    ) -> Self {
        let SaveReceipt { id, version, updated_at, .. } = receipt;
        Self { id, date, version, updated_at, draft, outcome, report }
    }

    /// The result of a save that an earlier process may have sent with another draft. `stored` is the
    /// current diary.
    fn replayed(
        stored: Option<Diary>,
        date: Date,
        ours: Draft,
        receipt: SaveReceipt,
        report: RetryReport,
    ) -> Self {
        let Some(Diary { id, version, updated_at, title, content, .. }) = stored else {
            // It was deleted afterwards.
            return Self::new(date, ours, receipt, Outcome::Replayed, report);
        };
        let draft = Draft { title, content };
        Self { id, date, version, updated_at, draft, outcome: Outcome::Replayed, report }
    }

    /// The result of a draft that equals the current diary.
    pub(super) fn skipped(diary: &Diary, draft: Draft, report: RetryReport) -> Self {
        let Diary { id, date, version, updated_at, .. } = *diary;
        Self { id, date, version, updated_at, draft, outcome: Outcome::Skipped, report }
    }
}
