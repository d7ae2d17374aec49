//! The writer's thread.
//!
//! A commit costs one sync of the disk, independent of its size. So the writer takes all waiting
//! steps, runs each in a savepoint, commits them together, and returns the outcomes after the
//! commit. A single step does not wait for others.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::{Connection, ErrorCode};

use super::{
    connection::{Database, Statements},
    step::{self, Busy, Message, Step},
};
use crate::store::StoreError;

/// Maximum steps in one commit. Measured: 8 and 256 are slower.
const BATCH: usize = 64;

/// Maximum waiting steps, 16 commits of them; further ones are rejected.
const QUEUE: usize = 1024;

/// The writer's thread and its queue.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    is_failing: Arc<AtomicBool>,
    busy: Busy,
}

impl Writer {
    /// Starts the thread with a connection to a migrated file.
    pub(super) fn start(database: Database, connection: Connection) -> Result<Self, StoreError> {
        let (queue, steps) = bounded(QUEUE);
        let is_failing = Arc::new(AtomicBool::new(false));
        let mut committer = Committer {
            database,
            connection: Some(connection),
            is_failing: Arc::clone(&is_failing),
        };
        let busy = Busy::default();
        let counted = busy.clone();
        let thread = thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || committer.run_all(&steps, &counted))
            .map_err(|error| StoreError::Unavailable(error.into()))?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)), is_failing, busy })
    }

    /// See [`SqliteStore::write`](super::SqliteStore::write).
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        step::run(&self.queue, work).await
    }

    /// Checks that the writer can lock the file. If the last write failed, it must also write
    /// something.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let is_failing = Arc::clone(&self.is_failing);
        let probe = move |connection: &Connection| {
            // Read on the writer's thread, so that it is the outcome of the previous step.
            if is_failing.load(Ordering::Relaxed) {
                connection.run("UPDATE write_probe SET filler = zeroblob(?)", [PROBE_BYTES])?;
                connection.run("UPDATE write_probe SET filler = zeroblob(0)", [])?;
            }
            Ok(())
        };
        self.run(probe).await
    }

    /// 1 while the thread runs steps, otherwise 0.
    pub(super) fn busy(&self) -> usize {
        self.busy.get()
    }

    /// The number of waiting steps.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Ends the thread after the waiting steps. Blocks.
    pub(super) fn close(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // Fails if the thread has ended.
            let _ = self.queue.send(Message::Close);
            let _ = thread.join();
        }
    }
}

/// After a failure, the writer is ready again if it can write this much: a long diary.
const PROBE_BYTES: u32 = 64 * 1024;

struct Committer {
    database: Database,
    /// `None` after an error that may have broken the connection.
    connection: Option<Connection>,
    /// Whether the last step that wrote, or tried to, failed because of the engine.
    is_failing: Arc<AtomicBool>,
}

impl Committer {
    fn run_all(&mut self, steps: &Receiver<Message>, busy: &Busy) {
        while let Ok(Message::Step(first)) = steps.recv() {
            let _busy = busy.enter();
            let mut batch = vec![first];
            let mut is_closing = false;
            while batch.len() < BATCH && !is_closing {
                match steps.try_recv() {
                    Ok(Message::Step(step)) => batch.push(step),
                    Ok(Message::Close) => is_closing = true,
                    Err(_) => break,
                }
            }
            batch.retain(|step| step.is_wanted());
            self.commit(batch);
            if is_closing {
                return;
            }
        }
    }

    /// Runs the steps and returns their outcomes. A failed step does not affect the others.
    fn commit(&mut self, mut batch: Vec<Box<dyn Step>>) {
        if batch.len() > 1 && self.commit_together(&mut batch) {
            for step in batch {
                step.answer();
            }
            return;
        }
        for mut step in batch {
            self.commit_alone(&mut *step);
            step.answer();
        }
    }

    /// Runs the steps in one transaction, each in a savepoint. Returns false if the whole
    /// transaction failed and nothing of it is stored.
    fn commit_together(&mut self, steps: &mut [Box<dyn Step>]) -> bool {
        let connection = match self.begin() {
            Ok(connection) => connection,
            Err(error) => {
                // Running each step alone would only wait for the same lock.
                for step in steps {
                    step.fail((&error).into());
                }
                self.recover(&error);
                return true;
            }
        };
        let changes_before = connection.total_changes();
        match run_in_savepoints(connection, steps) {
            Ok(true) => {
                let has_written = connection.total_changes() > changes_before;
                self.note(has_written, steps.iter().any(|step| step.is_unavailable()));
                true
            }
            Ok(false) => false,
            Err(error) => {
                self.recover(&error);
                false
            }
        }
    }

    fn commit_alone(&mut self, step: &mut dyn Step) {
        let committed = self.begin().and_then(|connection| {
            let changes_before = connection.total_changes();
            let has_succeeded = step.run(connection);
            if connection.is_autocommit() {
                // The engine has rolled the step back, so it has failed, even if it returned a
                // success.
                if has_succeeded {
                    step.fail(StoreError::Unavailable("the transaction was rolled back".into()));
                }
                return Ok(false);
            }
            connection.run(if has_succeeded { "COMMIT" } else { "ROLLBACK" }, [])?;
            Ok(has_succeeded && connection.total_changes() > changes_before)
        });
        let has_written = committed.unwrap_or_else(|error| {
            step.fail((&error).into());
            self.recover(&error);
            false
        });
        self.note(has_written, step.is_unavailable());
    }

    fn begin(&mut self) -> rusqlite::Result<&Connection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.database.open_for_writing()?,
        };
        let connection = self.connection.insert(connection);
        connection.run("BEGIN IMMEDIATE", [])?;
        Ok(connection)
    }

    /// After an error of the whole transaction: rolls it back, or drops the connection; the next
    /// step then opens a new one.
    fn recover(&mut self, error: &rusqlite::Error) {
        tracing::warn!(error = %StoreError::from(error), code = ?error.sqlite_error(), "SQLite transaction failed");
        let is_harmless = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::ConstraintViolation)
        );
        let is_clean = self.connection.as_ref().is_some_and(|connection| {
            connection.is_autocommit() || connection.run("ROLLBACK", []).is_ok()
        });
        if !(is_harmless && is_clean) {
            self.connection = None;
        }
    }

    fn note(&self, has_written: bool, has_failed: bool) {
        if has_written || has_failed {
            self.is_failing.store(has_failed, Ordering::Relaxed);
        }
    }
}

/// Runs and commits the steps in the open transaction. Returns false if the engine has rolled it
/// back, which happens after a full disk, a failed read or write, or `RAISE(ROLLBACK)`. Continuing
/// would then commit the following steps one by one and lose the previous ones.
fn run_in_savepoints(
    connection: &Connection,
    steps: &mut [Box<dyn Step>],
) -> rusqlite::Result<bool> {
    for step in steps {
        connection.run("SAVEPOINT step", [])?;
        let has_succeeded = step.run(connection);
        if connection.is_autocommit() {
            return Ok(false);
        }
        if !has_succeeded {
            connection.run("ROLLBACK TO step", [])?;
        }
        connection.run("RELEASE step", [])?;
    }
    connection.run("COMMIT", [])?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::Pin,
        sync::mpsc,
        time::{Duration, Instant},
    };

    use futures_util::{FutureExt, future::join_all};
    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::{
        super::{SqliteStore, open_temporary},
        *,
    };

    type Outcome = Result<(), StoreError>;

    /// A store with a table of numbers.
    async fn store() -> (SqliteStore, TempDir) {
        let (store, dir) = open_temporary().await;
        let create = "CREATE TABLE note (n INTEGER PRIMARY KEY, text BLOB) STRICT";
        store.write(|connection| Ok(connection.execute_batch(create)?)).await.expect("created");
        (store, dir)
    }

    fn insert(connection: &Connection, n: i64) -> Outcome {
        connection.run("INSERT INTO note (n) VALUES (?)", [n])?;
        Ok(())
    }

    fn insert_large(connection: &Connection, n: i64) -> Outcome {
        connection.run("INSERT INTO note (n, text) VALUES (?, zeroblob(1000000))", [n])?;
        Ok(())
    }

    async fn notes(store: &SqliteStore) -> Vec<i64> {
        let all = |connection: &Connection| {
            Ok(connection.all("SELECT n FROM note ORDER BY n", [], |row| row.get(0))?)
        };
        store.snapshot(all).await.expect("read")
    }

    /// A queued step. Dropping it drops its caller.
    struct Queued(Pin<Box<dyn Future<Output = Outcome>>>);

    impl Queued {
        fn is_finished(&mut self) -> bool {
            self.0.as_mut().now_or_never().is_some()
        }
    }

    fn queue(
        store: &SqliteStore,
        step: impl Fn(&Connection) -> Outcome + Send + 'static,
    ) -> Queued {
        let store = store.clone();
        let mut queued = Queued(Box::pin(async move { store.write(step).await }));
        assert!(!queued.is_finished());
        queued
    }

    async fn outcomes(queued: Vec<Queued>) -> Vec<Outcome> {
        join_all(queued.into_iter().map(|queued| queued.0)).await
    }

    /// A step that runs until it is released.
    struct Held {
        release: mpsc::Sender<()>,
        is_running: mpsc::Receiver<()>,
        step: Queued,
    }

    impl Held {
        fn queue(store: &SqliteStore, n: i64) -> Self {
            let (release, released) = mpsc::channel();
            let (runs, is_running) = mpsc::channel();
            let step = queue(store, move |connection| {
                insert(connection, n)?;
                let _ = runs.send(());
                let _ = released.recv();
                Ok(())
            });
            Self { release, is_running, step }
        }

        fn wait_until_it_runs(&self) {
            self.is_running.recv_timeout(Duration::from_secs(60)).expect("the step runs");
        }

        async fn release(self) {
            drop(self.release);
            self.step.0.await.expect("stored");
        }
    }

    #[tokio::test]
    async fn waiting_steps_are_committed_together_before_they_return() {
        let (store, _dir) = store().await;
        let alone = Held::queue(&store, 0);
        alone.wait_until_it_runs();
        let mut first = queue(&store, |connection| insert(connection, 1));
        let last = Held::queue(&store, 2);
        alone.release().await;
        last.wait_until_it_runs();
        // The first step has run, but is neither visible nor finished before the commit of both.
        assert_eq!(notes(&store).await, [0]);
        assert!(!first.is_finished());
        last.release().await;
        first.0.await.expect("stored");
        assert_eq!(notes(&store).await, [0, 1, 2]);
    }

    #[tokio::test]
    async fn a_step_that_fails_or_panics_does_not_affect_others_in_its_commit() {
        let (store, _dir) = store().await;
        let held = Held::queue(&store, 0);
        held.wait_until_it_runs();
        let queued = vec![
            queue(&store, |connection| insert(connection, 1)),
            queue(&store, |connection| {
                insert(connection, 2)?;
                Err(StoreError::Corrupt { what: "a test" })
            }),
            queue(&store, |connection| {
                insert(connection, 3)?;
                panic!("a panic of the test")
            }),
            // Violates a constraint.
            queue(&store, |connection| insert(connection, 1)),
            queue(&store, |connection| insert(connection, 4)),
        ];
        held.release().await;
        let outcomes = outcomes(queued).await;
        let stored: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(stored, [true, false, false, false, true], "{outcomes:?}");
        assert_eq!(notes(&store).await, [0, 1, 4]);

        // A single step is rolled back as well.
        let alone = store.write(|connection| {
            insert(connection, 5)?;
            panic!("a panic of the test")
        });
        let panicked: Outcome = alone.await;
        assert!(matches!(panicked, Err(StoreError::Unavailable(_))), "{panicked:?}");
        assert_eq!(notes(&store).await, [0, 1, 4]);
    }

    #[tokio::test]
    async fn if_the_engine_rolls_back_a_commit_its_other_steps_are_run_again() {
        let (store, _dir) = store().await;
        let trigger = "CREATE TRIGGER odd BEFORE INSERT ON note WHEN new.n = 13
                       BEGIN SELECT RAISE(ROLLBACK, 'odd'); END";
        store.write(move |connection| Ok(connection.execute_batch(trigger)?)).await.expect("made");
        let held = Held::queue(&store, 0);
        held.wait_until_it_runs();
        let queued = vec![
            queue(&store, |connection| insert(connection, 1)),
            queue(&store, |connection| insert(connection, 13)),
            queue(&store, |connection| insert(connection, 2)),
            // A step that ignores the rollback fails.
            queue(&store, |connection| {
                insert(connection, 3)?;
                let _ = insert(connection, 13);
                Ok(())
            }),
            queue(&store, |connection| insert(connection, 5)),
        ];
        held.release().await;
        let outcomes = outcomes(queued).await;
        let stored: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(stored, [true, false, true, false, true], "{outcomes:?}");
        assert_eq!(notes(&store).await, [0, 1, 2, 5]);
    }

    #[tokio::test]
    async fn a_full_file_rejects_large_writes_until_there_is_space() {
        let (store, _dir) = store().await;
        let limit = |pages: i64| {
            store.write(move |connection| {
                let set = format!("PRAGMA max_page_count = {pages}");
                Ok(connection.query_row(&set, [], |_| Ok(()))?)
            })
        };
        // SQLite accepts no smaller limit than the current size.
        limit(1).await.expect("set");
        for _ in 0..2 {
            let alone = store.write(|connection| insert_large(connection, 1)).await;
            assert!(matches!(alone, Err(StoreError::Unavailable(_))), "{alone:?}");
            assert!(store.ping().await.is_err(), "a full store is not ready");
        }
        let held = Held::queue(&store, 0);
        held.wait_until_it_runs();
        let queued = vec![
            queue(&store, |connection| insert(connection, 1)),
            queue(&store, |connection| insert_large(connection, 2)),
            queue(&store, |connection| insert(connection, 3)),
        ];
        held.release().await;
        let outcomes = outcomes(queued).await;
        let stored: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(stored, [true, false, true], "{outcomes:?}");
        assert_eq!(notes(&store).await, [0, 1, 3]);

        limit(1_000_000).await.expect("set");
        store.write(|connection| insert_large(connection, 2)).await.expect("enough space");
        store.ping().await.expect("ready again");
        assert_eq!(notes(&store).await, [0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn a_store_is_not_ready_after_a_failed_write_until_a_write_succeeds() {
        let (store, _dir) = store().await;
        let fail = |_: &Connection| -> Outcome { Err(StoreError::Unavailable("a test".into())) };
        store.write(fail).await.expect_err("an error");
        assert!(store.0.writer.is_failing.load(Ordering::Relaxed));
        // A step without a write does not make the store ready.
        store.write(|_| Ok(())).await.expect("done");
        assert!(store.0.writer.is_failing.load(Ordering::Relaxed));
        store.ping().await.expect("the store is ready");
        assert!(!store.0.writer.is_failing.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_full_queue_rejects_steps() {
        let (store, _dir) = store().await;
        let held = Held::queue(&store, 0);
        held.wait_until_it_runs();
        let queued: Vec<_> = (1..=i64::try_from(QUEUE).expect("few"))
            .map(|n| queue(&store, move |connection| insert(connection, n)))
            .collect();
        let rejected = store.write(|connection| insert(connection, -1)).await;
        assert!(matches!(rejected, Err(StoreError::Overloaded)), "{rejected:?}");
        held.release().await;
        assert!(outcomes(queued).await.iter().all(Result::is_ok));
        assert_eq!(notes(&store).await.len(), QUEUE + 1);
        store.write(|connection| insert(connection, -1)).await.expect("space in the queue");
    }

    #[tokio::test]
    async fn the_step_of_a_dropped_caller_is_complete_or_not_executed() {
        let (store, _dir) = store().await;
        let twice = |n: i64| {
            move |connection: &Connection| {
                insert(connection, n)?;
                insert(connection, n + 1)
            }
        };
        let held = Held::queue(&store, 0);
        held.wait_until_it_runs();
        drop(queue(&store, twice(10)));
        let mut kept = queue(&store, twice(20));
        assert!(!kept.is_finished());
        // This step has started, so it is completed.
        drop((held.release, held.step));
        kept.0.await.expect("stored");
        assert_eq!(notes(&store).await, [0, 20, 21]);
    }

    #[tokio::test]
    async fn sequential_steps_only_wait_for_their_commit() {
        let (store, _dir) = store().await;
        let started = Instant::now();
        for n in 0..50 {
            store.write(move |connection| insert(connection, n)).await.expect("stored");
        }
        // With a delay of 100 ms to collect steps, it would take five seconds.
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn closing_runs_the_waiting_steps_and_rejects_later_ones() {
        let (store, dir) = store().await;
        let held = Held::queue(&store, 0);
        held.wait_until_it_runs();
        let waiting = queue(&store, |connection| insert(connection, 1));
        let closing = tokio::spawn({
            let store = store.clone();
            async move { store.close().await }
        });
        held.release().await;
        waiting.0.await.expect("stored");
        closing.await.expect("closed");
        let rejected = store.write(|connection| insert(connection, 2)).await;
        assert!(matches!(rejected, Err(StoreError::Unavailable(_))), "{rejected:?}");
        assert!(store.ping().await.is_err());
        store.close().await;
        let reopened = SqliteStore::open(&dir.path().join("shiori.db")).await.expect("opened");
        assert_eq!(notes(&reopened).await, [0, 1]);
    }
}
