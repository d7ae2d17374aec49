//! The threads for reads.

use std::{
    io,
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::Connection;

use super::{
    connection::{Database, Statements},
    step::{self, Busy, Message, Step},
};
use crate::store::StoreError;

/// Maximum waiting steps; further ones are rejected. This is a fraction of a second of work.
const QUEUE: usize = 1024;

/// Several threads, each with a connection, that share one queue.
#[derive(Debug)]
pub(super) struct Readers {
    queue: Sender<Message>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    busy: Busy,
}

impl Readers {
    pub(super) fn start(database: &Database, count: usize) -> Result<Self, StoreError> {
        let (queue, steps) = bounded(QUEUE);
        let busy = Busy::default();
        let start = |_| {
            let (database, busy) = (database.clone(), busy.clone());
            let mut reader = Reader { database, connection: None, busy };
            let steps = steps.clone();
            thread::Builder::new()
                .name("sqlite-reader".to_owned())
                .spawn(move || reader.run_all(&steps))
        };
        let threads: io::Result<Vec<_>> = (0..count).map(start).collect();
        let threads = threads.map_err(|error| StoreError::Unavailable(error.into()))?;
        Ok(Self { queue, threads: Mutex::new(threads), busy })
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        step::run(&self.queue, work).await
    }

    /// The number of threads that run steps.
    pub(super) fn busy(&self) -> usize {
        self.busy.get()
    }

    /// The number of waiting steps.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Ends the threads after the waiting steps. Blocks.
    pub(super) fn close(&self) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in threads.iter() {
            // Fails if all of them have ended.
            let _ = self.queue.send(Message::Close);
        }
        for thread in threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Reader {
    database: Database,
    /// `None` before the first step and after an error.
    connection: Option<Connection>,
    busy: Busy,
}

impl Reader {
    fn run_all(&mut self, steps: &Receiver<Message>) {
        while let Ok(Message::Step(mut step)) = steps.recv() {
            if step.is_wanted() {
                let busy = self.busy.clone();
                let _busy = busy.enter();
                if let Err(error) = self.run(&mut *step) {
                    step.fail(error.into());
                }
                if step.is_unavailable() {
                    self.connection = None;
                }
                step.answer();
            }
        }
    }

    /// All statements of the step read the same snapshot of the file.
    fn run(&mut self, step: &mut dyn Step) -> rusqlite::Result<()> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.database.open_for_reading()?,
        };
        let connection = self.connection.insert(connection);
        connection.run("BEGIN", [])?;
        step.run(connection);
        if connection.is_autocommit() {
            return Ok(());
        }
        connection.run("ROLLBACK", []).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use rusqlite::Connection;
    use shiori_sdk::{Date, DateRange};

    use super::super::{LONG_READERS, READERS, SqliteStore, open_temporary};
    use crate::store::StoreError;

    type Outcome = Result<(), StoreError>;

    fn year() -> DateRange {
        let date = |month, day| Date::new(2026, month, day).expect("a real date");
        DateRange::new(date(1, 1), date(12, 31)).expect("ordered")
    }

    fn count(connection: &Connection) -> Result<i64, StoreError> {
        Ok(connection.query_row("SELECT count(*) FROM login_attempts", [], |row| row.get(0))?)
    }

    async fn insert(store: &SqliteStore, key: u8) {
        let insert = move |connection: &Connection| -> Outcome {
            let sql = "INSERT INTO login_attempts (key, attempts, window_ends_at) VALUES (?, 1, 1)";
            connection.execute(sql, [[key; 32]])?;
            Ok(())
        };
        store.write(insert).await.expect("stored");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn long_ranges_do_not_delay_short_reads() {
        let (store, _dir) = open_temporary().await;
        let (release, released) = mpsc::channel::<()>();
        let released = std::sync::Arc::new(std::sync::Mutex::new(released));
        let (runs, running) = mpsc::channel();
        let long: Vec<_> = (0..2 * LONG_READERS)
            .map(|_| {
                let (store, released, runs) = (store.clone(), released.clone(), runs.clone());
                tokio::spawn(async move {
                    let wait = move |_: &Connection| -> Outcome {
                        let _ = runs.send(());
                        let _ = released.lock().map(|released| released.recv());
                        Ok(())
                    };
                    store.snapshot_of(year(), wait).await
                })
            })
            .collect();
        for _ in 0..LONG_READERS {
            running.recv_timeout(Duration::from_secs(60)).expect("the step runs");
        }
        // More reads than readers, while the long reads are blocked.
        for _ in 0..2 * READERS {
            assert_eq!(store.snapshot(count).await.expect("read"), 0);
        }
        assert!(long.iter().all(|read| !read.is_finished()));
        drop(release);
        for read in long {
            read.await.expect("no panic").expect("read");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_statements_of_a_read_use_one_snapshot() {
        let (store, _dir) = open_temporary().await;
        insert(&store, 1).await;
        let (begun, has_begun) = mpsc::channel();
        let (go_on, gone_on) = mpsc::channel::<()>();
        let reading = tokio::spawn({
            let store = store.clone();
            async move {
                let twice = move |connection: &Connection| {
                    let first = count(connection)?;
                    let _ = begun.send(());
                    let _ = gone_on.recv();
                    Ok((first, count(connection)?))
                };
                store.snapshot(twice).await
            }
        });
        has_begun.recv_timeout(Duration::from_secs(60)).expect("the step runs");
        insert(&store, 2).await;
        drop(go_on);
        assert_eq!(reading.await.expect("no panic").expect("read"), (1, 1));
        assert_eq!(store.snapshot(count).await.expect("read"), 2);
    }

    #[tokio::test]
    async fn a_thread_continues_after_a_read_that_fails_or_panics() {
        let (store, _dir) = open_temporary().await;
        for _ in 0..2 * READERS {
            let failed: Outcome =
                store.snapshot(|connection| Ok(connection.execute_batch("SELECT none")?)).await;
            assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
            let panicked: Outcome = store.snapshot(|_| panic!("a panic of the test")).await;
            assert!(matches!(panicked, Err(StoreError::Unavailable(_))), "{panicked:?}");
            let written = store
                .snapshot(|connection| Ok(connection.execute_batch("DELETE FROM login_attempts")?));
            assert!(written.await.is_err(), "readers cannot write");
        }
        assert_eq!(store.snapshot(count).await.expect("read"), 0);
    }
}
