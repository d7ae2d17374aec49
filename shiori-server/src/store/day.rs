use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use shiori_sdk::{Date, DateRange, UserId};
use tokio::{join, time::timeout};

use super::{
    DiaryHead, DiaryRecord, DiaryStore, Session, SessionKey, SessionStore, StoreError, SummaryStore,
};
use crate::summary::Annotations;

/// Reads diaries together with the session of the request and with what the summaries say of the
/// days. An engine that stores them all does it in one step; [`SeparateStores`] asks the stores at the
/// same time.
///
/// Without a live session there is no result, whatever was read. A diary does not depend on the
/// summaries: where these cannot be read, the annotations are `None`, and the log says why.
#[async_trait]
pub trait DayStore: Send + Sync + fmt::Debug {
    /// The session, and the diary of a date of its user, as [`DiaryStore::get`] returns it, with the
    /// day's annotations. `None` without a live session.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the session or the diary cannot be read.
    async fn day(
        &self,
        session: SessionKey,
        date: Date,
    ) -> Result<Option<(Session, Option<Day>)>, StoreError>;

    /// The session, and the diaries of a range, as [`DiaryStore::list`] returns them, with the range's
    /// annotations. `None` without a live session.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the session or the diaries cannot be read.
    async fn days(
        &self,
        session: SessionKey,
        range: DateRange,
    ) -> Result<Option<(Session, Days)>, StoreError>;

    /// The annotations of a range.
    async fn annotations(&self, user: UserId, range: DateRange) -> Option<Annotations>;
}

/// A diary and its annotations.
pub type Day = (DiaryRecord, Option<Annotations>);

/// The diaries of a range and its annotations.
pub type Days = (Vec<DiaryHead>, Option<Annotations>);

/// How long a diary waits for its annotations. They take a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it waits after annotations could not be read, so that an engine that does not answer
/// delays reads little. It is enough to connect again.
const PATIENCE_AFTER_FAILURE: Duration = Duration::from_millis(250);

/// Reads sessions, diaries and annotations from a store each.
#[derive(Debug)]
pub struct SeparateStores {
    sessions: Arc<dyn SessionStore>,
    diaries: Arc<dyn DiaryStore>,
    summaries: Arc<dyn SummaryStore>,
    /// Whether the last annotations could not be read.
    is_failing: AtomicBool,
}

impl SeparateStores {
    /// A reader of these stores.
    pub fn new(
        sessions: Arc<dyn SessionStore>,
        diaries: Arc<dyn DiaryStore>,
        summaries: Arc<dyn SummaryStore>,
    ) -> Self {
        Self { sessions, diaries, summaries, is_failing: AtomicBool::new(false) }
    }

    async fn read_annotations(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Annotations, StoreError> {
        let weeks = self.summaries.week_statuses(user, range).await?;
        let tags = self.summaries.emotion_tags(user, range).await?;
        Ok(Annotations { weeks, tags })
    }
}

#[async_trait]
impl DayStore for SeparateStores {
    async fn day(
        &self,
        SessionKey { user, id, now }: SessionKey,
        date: Date,
    ) -> Result<Option<(Session, Option<Day>)>, StoreError> {
        let (session, record, annotations) = join!(
            self.sessions.get(user, id, now),
            self.diaries.get(user, date),
            self.annotations(user, one_day(date)),
        );
        let Some(session) = session? else { return Ok(None) };
        Ok(Some((session, record?.map(|record| (record, annotations)))))
    }

    async fn days(
        &self,
        SessionKey { user, id, now }: SessionKey,
        range: DateRange,
    ) -> Result<Option<(Session, Days)>, StoreError> {
        let (session, heads, annotations) = join!(
            self.sessions.get(user, id, now),
            self.diaries.list(user, range),
            self.annotations(user, range),
        );
        let Some(session) = session? else { return Ok(None) };
        Ok(Some((session, (heads?, annotations))))
    }

    async fn annotations(&self, user: UserId, range: DateRange) -> Option<Annotations> {
        let patience =
            if self.is_failing.load(Relaxed) { PATIENCE_AFTER_FAILURE } else { PATIENCE };
        let read = timeout(patience, self.read_annotations(user, range)).await;
        let read =
            read.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".into())));
        self.is_failing.store(matches!(read, Err(StoreError::Unavailable(_))), Relaxed);
        if_readable(read)
    }
}

/// The annotations, unless they cannot be read: a warning in the log, and `None`.
pub(super) fn if_readable(read: Result<Annotations, StoreError>) -> Option<Annotations> {
    read.inspect_err(|error| {
        let source = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(%error, source, "a diary is read without summary status and emotion");
    })
    .ok()
}

/// The range that consists of this date.
pub(crate) fn one_day(date: Date) -> DateRange {
    DateRange::new(date, date).expect("a date is not after itself")
}
