//! Watches the changes of all diaries.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{
    Diaries,
    known::{Heard, Known},
    versions::Versions,
};
use crate::{
    backoff::Backoff,
    client::{Client, EventStream},
    transport::{
        deadline,
        error::{Error, ErrorKind, Result},
        request::Request,
    },
    types::{ChangeHint, Date, DateRange, DateVersion},
};

/// The versions are compared at least this often, in case a hint was lost without a notice.
const COMPARE_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// The pauses after a failed request or a lost event stream.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// An event stream that was open for this long has not failed.
const STABLE: Duration = Duration::from_secs(30);

/// If hints were lost while a stream was open, many clients of the server compare their versions. They
/// do it within this time, so that the server is not asked by all of them at once.
const SPREAD: Duration = Duration::from_millis(500);

impl Diaries {
    /// Watches all diaries of the user: a stream of the versions that any device creates, also by
    /// archiving and deleting. It begins with the current version of every date that has or had a
    /// diary.
    ///
    /// The newest version of each date is yielded at least once. Earlier ones may be skipped, and a
    /// version is never yielded after a later one of its date.
    ///
    /// The server sends hints of changes as events. Whenever a hint may have been lost, and every 5
    /// minutes, the stream compares the versions of the server with those that it has yielded. It
    /// reconnects and renews the session by itself, also after outages of any length. While the
    /// server cannot send events, it compares the versions with pauses of up to 45 seconds.
    ///
    /// Nothing is sent until the stream is polled.
    ///
    /// # Errors
    ///
    /// The stream ends after an item with an [`Error`](crate::Error): of kind [`ErrorKind::SignedOut`]
    /// if the session has ended, or any other that is not retryable.
    ///
    /// ```no_run
    /// use futures_util::StreamExt;
    ///
    /// # async fn example(client: shiori_sdk::Client) -> shiori_sdk::Result<()> {
    /// let mut changes = client.diaries().watch();
    /// while let Some(change) = changes.next().await {
    ///     let change = change?;
    ///     println!("{} has version {}", change.date, change.version);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&self) -> DiaryWatch {
        self.watch_since([])
    }

    /// As [`watch`](Self::watch), but does not yield versions that the caller already knows.
    ///
    /// # Errors
    ///
    /// As [`watch`](Self::watch).
    pub fn watch_since(&self, known: impl IntoIterator<Item = DateVersion>) -> DiaryWatch {
        let watcher = Watcher {
            client: self.client.clone(),
            login: None,
            known: Known::new(known),
            versions: Versions::new(every_date()),
            ready: VecDeque::new(),
            events: None,
            must_compare: false,
            must_spread: false,
            compare_at: Instant::now(),
            failures: 0,
            is_finished: false,
        };
        DiaryWatch(Box::pin(stream::unfold(watcher, |mut watcher| async move {
            let next = watcher.next().await?;
            Some((next, watcher))
        })))
    }
}

/// The versions of diaries as they change, as a [`Stream`]. Created by [`Diaries::watch`].
#[must_use = "a stream does nothing until it is polled"]
pub struct DiaryWatch(Pin<Box<dyn Stream<Item = Result<DateVersion>> + Send>>);

impl Stream for DiaryWatch {
    type Item = Result<DateVersion>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for DiaryWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DiaryWatch")
    }
}

struct Watcher {
    client: Client,
    /// The login whose diaries are watched; `None` before the first request.
    login: Option<Uuid>,
    known: Known,
    versions: Versions,
    /// Versions to yield.
    ready: VecDeque<DateVersion>,
    events: Option<Events>,
    must_compare: bool,
    /// Whether other clients compare at the same time.
    must_spread: bool,
    compare_at: Instant,
    /// Consecutive failures.
    failures: u32,
    is_finished: bool,
}

/// An open event stream.
struct Events {
    stream: EventStream,
    opened_at: Instant,
    /// Whether it has sent its first event.
    has_begun: bool,
}

impl Watcher {
    /// The next version; `None` after an error.
    async fn next(&mut self) -> Option<Result<DateVersion>> {
        while !self.is_finished {
            if let Some(version) = self.ready.pop_front() {
                return Some(Ok(version));
            }
            if let Err(error) = self.step().await {
                self.is_finished = true;
                return Some(Err(error));
            }
        }
        None
    }

    async fn step(&mut self) -> Result<()> {
        self.check_login()?;
        if self.must_compare {
            return self.compare().await;
        }
        let Some(events) = &mut self.events else { return self.connect().await };
        match timeout_at(self.compare_at, events.stream.next()).await {
            Err(_) => self.must_compare = true,
            Ok(Some(event)) => self.hear(&event),
            Ok(None) => {
                if events.opened_at.elapsed() >= STABLE {
                    self.failures = 0;
                }
                self.failures = self.failures.saturating_add(1);
                self.events = None;
            }
        }
        Ok(())
    }

    /// An error if the session has ended, also if another one has begun: its user may be another.
    fn check_login(&mut self) -> Result<()> {
        let current = self.client.login()?;
        if *self.login.get_or_insert(current) == current {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::SignedOut))
        }
    }

    /// Opens the event stream, whose first event makes it compare the versions. If it cannot be opened,
    /// the versions are compared anyway.
    async fn connect(&mut self) -> Result<()> {
        self.back_off().await;
        let opened = EventStream::open(&self.client, Request::get("/api/diary/events")).await;
        self.check_login()?;
        match opened {
            Ok(stream) => {
                let (opened_at, has_begun) = (Instant::now(), false);
                self.events = Some(Events { stream, opened_at, has_begun });
                // The server could be one that sends no first event.
                self.compare_at = opened_at + SPREAD;
                Ok(())
            }
            // Also after a 401: the comparison finds out whether the session has ended.
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                self.must_compare = true;
                Ok(())
            }
        }
    }

    fn hear(&mut self, event: &str) {
        match serde_json::from_str(event) {
            Ok(ChangeHint::Resync) => {
                self.must_compare = true;
                if let Some(events) = &mut self.events {
                    self.must_spread = std::mem::replace(&mut events.has_begun, true);
                }
            }
            Ok(ChangeHint::Diary(hint)) => match self.known.hear(hint) {
                Heard::Newer(version) => self.ready.push_back(version),
                Heard::Known => {}
                Heard::Unclear => self.must_compare = true,
            },
            // Later versions of the server may send other events.
            Ok(ChangeHint::Summary(_) | ChangeHint::Unknown) | Err(_) => {}
        }
    }

    /// Compares the versions of the server with those that were yielded.
    async fn compare(&mut self) -> Result<()> {
        if std::mem::take(&mut self.must_spread) {
            deadline::sleep(SPREAD.mul_f64(rand::random())).await;
        }
        let changed = self.versions.changed(&self.client).await;
        self.check_login()?;
        match changed {
            Ok(versions) => {
                let known = &mut self.known;
                self.ready.extend(versions.into_iter().filter(|version| known.list(*version)));
                self.must_compare = false;
                self.compare_at = Instant::now() + COMPARE_INTERVAL;
                if self.events.as_ref().is_some_and(|it| it.opened_at.elapsed() >= STABLE) {
                    self.failures = 0;
                }
                Ok(())
            }
            Err(error) if error.is_retryable() => {
                self.failures = self.failures.saturating_add(1);
                let wait = error.retry_after().unwrap_or_default().min(COMPARE_INTERVAL);
                deadline::sleep(wait).await;
                self.back_off().await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Pauses after a failure.
    async fn back_off(&self) {
        if self.failures > 0 {
            deadline::sleep(BACKOFF.pause(self.failures, rand::random())).await;
        }
    }
}

/// All dates.
fn every_date() -> DateRange {
    let first = Date::new(1, 1, 1).expect("the first date is valid");
    let last = Date::new(9999, 12, 31).expect("the last date is valid");
    DateRange::new(first, last).expect("the first date is not after the last")
}
