use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use shiori_sdk::{Date, DateRange, UserId, limits};
use tokio::{join, task::yield_now, time::timeout};

use super::{
    DiaryHead, DiaryRecord, DiaryStore, Session, SessionKey, SessionStore, StoreError, SummaryStore,
};
use crate::summary::Annotations;

/// Reads diaries together with the session of the request and the summary status and emotion of the
/// days. An engine that stores all of them reads them in one step; [`SeparateStores`] reads from
/// the stores concurrently.
///
/// Without an active session, the result is `None`. A diary does not depend on the summaries: if
/// they cannot be read, the annotations are `None`, and the error is logged.
#[async_trait]
pub trait DayStore: Send + Sync + fmt::Debug {
    /// The session, and the diary of a date of its user, as [`DiaryStore::get`] returns it, with
    /// the day's annotations. `None` without an active session.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the session or the diary cannot be read.
    async fn day(
        &self,
        session: SessionKey,
        date: Date,
    ) -> Result<Option<(Session, Option<Day>)>, StoreError>;

    /// The session, and the diaries of a range, as [`DiaryStore::list`] returns them, with the
    /// range's annotations. `None` without an active session.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the session or the diaries cannot be read.
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

/// The timeout of reading annotations. It usually takes a few milliseconds.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The timeout after a failure, so that an unavailable engine delays reads only a little. It is
/// enough to reconnect.
const TIMEOUT_AFTER_FAILURE: Duration = Duration::from_millis(250);

/// Reads sessions, diaries and annotations from separate stores.
#[derive(Debug)]
pub struct SeparateStores {
    sessions: Arc<dyn SessionStore>,
    diaries: Arc<dyn DiaryStore>,
    summaries: Arc<dyn SummaryStore>,
    /// Whether the last read of annotations failed.
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
}

impl SeparateStores {
    /// The annotations, whose statement is sent after those of the other stores. Their drivers hand
    /// over to tasks of their own before they send. The diary is usually the slowest, and sending a
    /// statement may take long: on a busy machine, the engine runs it before the sender continues.
    async fn annotations_last(&self, user: UserId, range: DateRange) -> Option<Annotations> {
        yield_now().await;
        self.annotations(user, range).await
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
            self.annotations_last(user, one_day(date)),
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
            self.annotations_last(user, range),
        );
        let Some(session) = session? else { return Ok(None) };
        Ok(Some((session, (heads?, annotations))))
    }

    async fn annotations(&self, user: UserId, range: DateRange) -> Option<Annotations> {
        let limit = if self.is_failing.load(Relaxed) { TIMEOUT_AFTER_FAILURE } else { TIMEOUT };
        let read = timeout(limit, self.summaries.annotations(user, range)).await;
        let read = read.unwrap_or_else(|_| Err(StoreError::Unavailable("timed out".into())));
        // A long range may be slow although the engine is available.
        if read.is_ok() || range.days() <= limits::MAX_RANGE_DAYS {
            self.is_failing.store(matches!(read, Err(StoreError::Unavailable(_))), Relaxed);
        }
        if_readable(read)
    }
}

/// The annotations; if they cannot be read, logs a warning and returns `None`.
pub(super) fn if_readable(read: Result<Annotations, StoreError>) -> Option<Annotations> {
    read.inspect_err(|error| {
        let source = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(%error, source, "could not read summary status and emotion; returning the diary without them");
    })
    .ok()
}

/// The range that consists of this date.
pub(crate) fn one_day(date: Date) -> DateRange {
    DateRange::new(date, date).expect("a date is not after itself")
}
