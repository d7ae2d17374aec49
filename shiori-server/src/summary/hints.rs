//! The check that the queue has a hint of every queued summary.
//!
//! A hint may be lost: with the queue's data, with a server between the insert of a row and the
//! offer, or with a worker between taking the hint and the claim. The check walks over the queued
//! rows in batches, asks the queue which of their hints it does not have, and offers only these. It
//! writes no rows, so the cost of an idle backlog is that of reading an index.
//!
//! One server at a time has the lease of the check. It is in the queue and is lost together with the
//! hints, so the holder of a new lease checks all rows without long pauses.

use std::time::Duration;

use shiori_sdk::Timestamp;
use shiori_worker::queue::{CheckLease, MAX_BATCH, QueueError};
use uuid::Uuid;

use super::Summaries;
use crate::store::{DueKind, QueuedRow, RowId, StoreError};

/// The rows of one batch: as many as the queue accepts in one step.
const BATCH: u32 = 1000;

const _: () = assert!(BATCH as usize <= MAX_BATCH);

/// The pause after the last batch of a walk, and while another server has the lease. After a flush
/// of the queue, the first hints are offered after at most this time.
const PAUSE: Duration = Duration::from_secs(1);

/// The pause between two batches, so that the check reads at most 2,000 rows per second.
const BATCH_PAUSE: Duration = Duration::from_millis(500);

/// The pause between two batches after all hints may have been lost. Not zero, so that requests do
/// not wait for the check.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(10);

/// How long the lease is valid after each batch. If the holder is killed, another server continues
/// after this time.
const LEASE: Duration = Duration::from_secs(5);

/// After all hints may have been lost, the hints of summaries that are due later are checked, too,
/// up to this time ahead. Less than the pause of unreadable rows, so that a walk reads these once.
const CATCH_UP_AHEAD: Duration = Duration::from_secs(5 * 60);

/// The state of one server's check.
#[derive(Debug)]
pub(crate) struct HintCheck {
    holder: Uuid,
    /// The current walk; `None` without the lease and after an error.
    walk: Option<Walk>,
}

/// The rows or the queue could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// One walk over the queued rows, in the order of [`QueuedRow`].
#[derive(Debug)]
struct Walk {
    started: Timestamp,
    /// The last row that was checked.
    after: QueuedRow,
    /// Whether the walk has reached the rows that are checked later. It continues with each row
    /// when the row's time comes, until the next walk starts.
    is_at_end: bool,
    /// For the first walk after all hints may have been lost: the time up to which it goes.
    catch_up_until: Option<Timestamp>,
}

impl HintCheck {
    /// A check by a new holder of the lease.
    pub(crate) fn new() -> Self {
        Self { holder: Uuid::new_v4(), walk: None }
    }

    /// The holder of the lease.
    pub(crate) fn holder(&self) -> Uuid {
        self.holder
    }
}

impl Walk {
    fn starting(now: Timestamp) -> Self {
        Self { started: now, after: QueuedRow::first(), is_at_end: false, catch_up_until: None }
    }

    fn catching_up(now: Timestamp) -> Self {
        Self { catch_up_until: Some(now + CATCH_UP_AHEAD), ..Self::starting(now) }
    }
}

impl Summaries {
    /// Checks one batch of hints if this server has the lease of the check. Returns the pause
    /// before the next batch.
    pub(crate) async fn check_hints(&self, check: &mut HintCheck) -> Result<Duration, CheckError> {
        let lease = self.0.queue.lease_check(check.holder, LEASE).await?;
        let now = self.certain_time();
        let walk = match (lease, &mut check.walk) {
            (CheckLease::Taken, walk) => {
                *walk = None;
                return Ok(PAUSE);
            }
            (CheckLease::Extended, Some(walk)) => walk,
            (_, walk) => walk.insert(Walk::catching_up(now)),
        };
        let checked = self.check_batch(walk, now).await;
        if checked.is_err() {
            // Another server may be able to read the rows.
            check.walk = None;
            self.release_check(check.holder).await;
        }
        checked
    }

    /// Ends the check of this holder, so that another server continues immediately.
    pub(crate) async fn release_check(&self, holder: Uuid) {
        if let Err(error) = self.0.queue.release_check(holder).await {
            tracing::debug!(%error, "could not release the lease of the check; it expires");
        }
    }

    async fn check_batch(&self, walk: &mut Walk, now: Timestamp) -> Result<Duration, CheckError> {
        let parts = &*self.0;
        if walk.is_at_end && now.duration_since(walk.started) >= parts.policy.hint_timeout {
            *walk = Walk::starting(now);
        }
        let until = walk.catch_up_until.unwrap_or(now);
        let rows = parts.store.list_queued(&walk.after, until, BATCH).await?;
        let has_room = self.offer_missing(&rows).await?;
        let is_full = rows.len() >= BATCH as usize;
        if let Some(last) = rows.into_iter().next_back() {
            walk.after = last;
        }
        if is_full && has_room {
            let is_catching_up = walk.catch_up_until.is_some();
            return Ok(if is_catching_up { CATCH_UP_PAUSE } else { BATCH_PAUSE });
        }
        walk.is_at_end = true;
        if !has_room {
            // Older rows have a hint. The others are checked by the next walk.
            walk.after = QueuedRow::at(now);
        } else if walk.catch_up_until.is_some() {
            walk.after = QueuedRow::at(walk.started);
        }
        walk.catch_up_until = None;
        Ok(PAUSE)
    }

    /// Offers those hints of these rows that the queue does not have. Returns whether the queue had
    /// room for all of them.
    async fn offer_missing(&self, rows: &[QueuedRow]) -> Result<bool, CheckError> {
        let parts = &*self.0;
        let ids: Vec<_> = rows.iter().filter_map(|row| row.id.summary()).collect();
        let missing = parts.queue.missing(&ids).await?;
        // The queue cannot have a hint of a row that is not a summary.
        let damaged = rows.iter().filter(|row| row.id.summary().is_none()).map(|row| &row.id);
        let unhinted: Vec<_> =
            damaged.cloned().chain(missing.into_iter().map(RowId::from)).collect();
        if unhinted.is_empty() {
            return Ok(true);
        }
        // Some may have been claimed in the meantime.
        let queued = parts.store.read_queued(&unhinted).await?;
        for row in queued.unreadable {
            self.set_aside_unreadable(DueKind::Hint, &row).await?;
        }
        let hints: Vec<_> = queued.jobs.iter().map(|job| (job.id, self.due(job))).collect();
        match parts.queue.offer_all(&hints).await {
            Ok(()) => {
                parts.metrics.hints_repeated(hints.len());
                Ok(true)
            }
            Err(QueueError::Full) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use std::{iter::repeat_with, sync::Arc};

    use futures_util::future::join_all;
    use shiori_sdk::{Date, SummaryId, UserId, Week};
    use shiori_worker::{Clock, JobQueue, ManualClock, queue::InProcessQueue};
    use tempfile::TempDir;
    use tokio::sync::Semaphore;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        changes::Changes,
        metrics::{Engines, Metrics},
        store::{SummaryStore, sqlite::SqliteStore},
        summary::{MAX_OFFERS, SummariesParts, SummaryJob, SummaryPolicy, Wakeups},
    };

    const CAPACITY: usize = 4000;

    struct Test {
        store: SqliteStore,
        queue: Arc<InProcessQueue>,
        clock: ManualClock,
        summaries: Summaries,
        dir: TempDir,
    }

    impl Test {
        async fn start() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let store = SqliteStore::open(&dir.path().join("shiori.db")).await.expect("opened");
            let clock = ManualClock::at(Timestamp::from_millis(1_771_200_000_000));
            let queue = Arc::new(InProcessQueue::new(CAPACITY, Arc::new(clock.clone())));
            let summaries = Summaries::new(SummariesParts {
                store: Arc::new(store.clone()),
                diaries: Arc::new(store.clone()),
                queue: queue.clone(),
                wakeups: Wakeups::default(),
                changes: Changes::default(),
                policy: SummaryPolicy::default(),
                clock: Arc::new(clock.clone()),
                metrics: Metrics::new(Engines::default()),
                offers: Arc::new(Semaphore::new(MAX_OFFERS)),
                jitter: rand::random,
                stopping: CancellationToken::new(),
            });
            Self { store, queue, clock, summaries, dir }
        }

        /// Inserts queued jobs, whose hints are not offered.
        async fn insert(&self, count: usize) -> Vec<SummaryJob> {
            let week = Week::starting(Date::new(2026, 2, 16).expect("a date")).expect("a week");
            let policy = SummaryPolicy::default();
            let job = || SummaryJob::new(UserId::new(), week, None, self.clock.now(), &policy);
            let jobs: Vec<_> = repeat_with(job).take(count).collect();
            // The writer accepts 1024 waiting steps.
            for jobs in jobs.chunks(500) {
                let inserts =
                    jobs.iter().map(|job| SummaryStore::insert(&self.store, job, policy.quota()));
                for inserted in join_all(inserts).await {
                    inserted.expect("inserted");
                }
            }
            jobs
        }

        /// Runs batches until the end of a walk. Returns their number.
        async fn walk(&self, check: &mut HintCheck) -> usize {
            let mut batches = 1;
            while self.summaries.check_hints(check).await.expect("checked") < PAUSE {
                batches += 1;
            }
            batches
        }

        async fn depth(&self) -> usize {
            self.queue.depth().await.expect("a response")
        }

        async fn take(&self) -> SummaryId {
            self.queue.take().await.expect("a hint")
        }

        async fn store_of(&self, job: &SummaryJob) -> SummaryJob {
            SummaryStore::get(&self.store, job.id).await.expect("read").expect("a job")
        }
    }

    fn hint_timeout() -> Duration {
        SummaryPolicy::default().hint_timeout
    }

    /// The first walk of a holder offers all hints, also those of rows that were just inserted.
    /// Later walks find lost hints, and none of them changes a row.
    #[tokio::test]
    async fn lost_hints_are_offered_again_without_writing_rows() {
        let test = Test::start().await;
        let jobs = test.insert(2500).await;
        let mut check = HintCheck::new();
        assert_eq!(test.walk(&mut check).await, 3);
        assert_eq!(test.depth().await, 2500);
        let lost = test.take().await;
        test.walk(&mut check).await;
        assert_eq!(test.depth().await, 2499, "the next walk starts after the hint timeout");
        test.clock.advance(hint_timeout());
        assert_eq!(test.walk(&mut check).await, 3);
        assert_eq!(test.queue.missing(&[lost]).await.expect("a response"), []);
        for job in [&jobs[0], &jobs[1200], &jobs[2499]] {
            assert_eq!(test.store_of(job).await, *job);
        }
    }

    /// A new row is checked once its hint timeout has passed, independent of the walks.
    #[tokio::test]
    async fn the_lost_hint_of_a_new_row_is_offered_after_the_hint_timeout() {
        let test = Test::start().await;
        let mut check = HintCheck::new();
        test.walk(&mut check).await;
        let half = hint_timeout() / 2;
        test.clock.advance(half);
        let job = &test.insert(1).await[0];
        test.clock.advance(half);
        test.walk(&mut check).await;
        assert_eq!(test.depth().await, 0, "not checked yet");
        test.clock.advance(half);
        test.walk(&mut check).await;
        assert_eq!(test.take().await, job.id);
    }

    /// Only the holder of the lease checks. The next holder does not know what the queue has lost.
    #[tokio::test]
    async fn servers_share_the_check() {
        let test = Test::start().await;
        let (mut one, mut two) = (HintCheck::new(), HintCheck::new());
        test.walk(&mut one).await;
        let jobs = test.insert(2).await;
        test.walk(&mut two).await;
        assert_eq!(test.depth().await, 0, "another holder has the lease");
        test.summaries.release_check(two.holder()).await;
        test.walk(&mut two).await;
        assert_eq!(test.depth().await, 0, "still");
        test.summaries.release_check(one.holder()).await;
        test.walk(&mut two).await;
        assert_eq!(test.depth().await, jobs.len());
        test.take().await;
        test.clock.advance(hint_timeout());
        test.walk(&mut one).await;
        assert_eq!(test.depth().await, 1, "the former holder has no lease");
        test.walk(&mut two).await;
        assert_eq!(test.depth().await, 2);
    }

    /// A summary that is due later is offered with its due time.
    #[tokio::test]
    async fn the_hint_of_a_delayed_summary_is_offered_with_its_due_time() {
        let test = Test::start().await;
        let delay = Duration::from_secs(60);
        let job = test.insert(1).await.remove(0);
        let due = test.clock.now() + delay;
        let delayed =
            SummaryJob { not_before: due, next_hint_at: due + hint_timeout(), ..job.clone() };
        let swapped = test.store.compare_and_swap(&job, &delayed, None).await;
        assert!(swapped.expect("swapped"));
        test.walk(&mut HintCheck::new()).await;
        assert_eq!(test.depth().await, 1);
        let taken = tokio::time::timeout(Duration::from_millis(300), test.queue.take()).await;
        assert!(taken.is_err(), "not due");
        test.clock.advance(delay);
        assert_eq!(test.take().await, job.id);
    }

    /// The oldest summaries have hints while the queue is full, and the others when it has room.
    #[tokio::test]
    async fn a_full_queue_is_filled_again_when_it_has_room() {
        let test = Test::start().await;
        let old = test.insert(CAPACITY).await;
        test.clock.advance(Duration::from_millis(1));
        let new = test.insert(1500).await;
        let mut check = HintCheck::new();
        test.walk(&mut check).await;
        assert_eq!(test.depth().await, CAPACITY);
        let ids: Vec<_> = new.iter().map(|job| job.id).collect();
        assert_eq!(test.queue.missing(&ids).await.expect("a response"), ids);
        for job in &old[..1000] {
            assert_eq!(test.take().await, job.id, "the oldest first");
            let cancelled = job.cancel(test.clock.now()).expect("unfinished");
            let swapped = test.store.compare_and_swap(job, &cancelled, None).await;
            assert!(swapped.expect("swapped"));
        }
        test.clock.advance(hint_timeout());
        test.walk(&mut check).await;
        assert_eq!(test.depth().await, CAPACITY);
        let missing = test.queue.missing(&ids[..1000]).await.expect("a response");
        assert_eq!(missing, ids[1000..1000], "the oldest of the others have hints");
    }

    /// Rows that cannot be read are postponed once, and delay no others.
    #[tokio::test]
    async fn unreadable_rows_are_postponed() {
        let test = Test::start().await;
        let job = &test.insert(1).await[0];
        let file = rusqlite::Connection::open(test.dir.path().join("shiori.db")).expect("opened");
        for (id, revision) in [("x'01'", 1), ("randomblob(16)", -1)] {
            let insert = format!(
                "INSERT INTO summary (id, user_id, start, status, revision, attempts,
                    requested_at, not_before, next_hint_at, versions_read)
                 VALUES ({id}, randomblob(16), 20260216, 'queued', {revision}, 0, 0, 0, 0, '{{}}')"
            );
            assert_eq!(file.execute(&insert, []).expect("inserted"), 1);
        }
        let mut check = HintCheck::new();
        for _ in 0..3 {
            test.walk(&mut check).await;
            test.clock.advance(hint_timeout());
        }
        let set_aside = test.summaries.0.metrics.encode(Timestamp::now()).expect("encoded");
        assert!(set_aside.contains("shiori_summary_rows_set_aside_total 2"), "{set_aside}");
        assert_eq!((test.depth().await, test.take().await), (1, job.id));
    }
}
