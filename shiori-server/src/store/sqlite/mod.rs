//! The embedded stores: one SQLite file.
//!
//! Every step of a store is one closure over a connection. Steps that write run on one thread,
//! which commits many of them together (`writer`). Steps that only read run on other threads
//! (`readers`). Async code has no access to a connection.

mod account;
mod backup;
mod connection;
mod date_versions;
mod day;
mod diary;
mod migrations;
mod readers;
mod revision;
mod session;
mod step;
mod summary;
mod writer;

use std::{path::Path, sync::Arc};

use rusqlite::Connection;
use shiori_sdk::DateRange;
use tokio::task::spawn_blocking;

use self::{connection::Database, readers::Readers, writer::Writer};
use super::{
    StoreError,
    attempts::AttemptCounts,
    engine::{ConnectionUse, Engine, FailureCounts, Failures},
};
use crate::secrets::create_private_file;

/// Threads that read single rows and short ranges.
const READERS: usize = 3;

/// Threads that read long ranges.
const LONG_READERS: usize = 2;

/// Maximum days of a range that the readers of single rows read: a month.
const SHORT_RANGE_DAYS: u32 = 31;

/// All four stores in one SQLite file, with a write-ahead log. Every acknowledged write is synced
/// to the disk. Clones share the threads of the file, which end with the last clone or
/// [`SqliteStore::close`].
#[derive(Debug, Clone)]
pub struct SqliteStore(Arc<Threads>);

#[derive(Debug)]
struct Threads {
    writer: Writer,
    readers: Readers,
    /// Long ranges have separate threads, so that short reads do not wait for them.
    long_readers: Readers,
    attempts: AttemptCounts,
    failures: FailureCounts,
}

impl SqliteStore {
    /// Opens the file, creates it if it does not exist, and migrates its tables.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the file cannot be opened or migrated, or was written by a
    /// newer version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let database = Database::new(path);
        on_a_blocking_thread(move || {
            // SQLite gives its other files the same permissions.
            create_private_file(database.path())
                .map_err(|error| StoreError::Unavailable(error.into()))?;
            let connection = database.open_for_writing()?;
            migrations::apply(&connection)?;
            Ok(Self(Arc::new(Threads {
                writer: Writer::start(database.clone(), connection)?,
                readers: Readers::start(&database, READERS)?,
                long_readers: Readers::start(&database, LONG_READERS)?,
                attempts: AttemptCounts::default(),
                failures: FailureCounts::default(),
            })))
        })
        .await
    }

    /// Runs the waiting steps, then closes the connections. Later steps are rejected.
    pub async fn close(&self) {
        let threads = Arc::clone(&self.0);
        let closed = on_a_blocking_thread(move || {
            threads.long_readers.close();
            threads.readers.close();
            // The last connection to close empties the write-ahead log.
            threads.writer.close();
            Ok(())
        });
        if closed.await.is_err() {
            tracing::error!("closing the SQLite file panicked");
        }
    }

    /// Checks a reader, and the writer with everything that a commit needs.
    async fn ping(&self) -> Result<(), StoreError> {
        self.snapshot(|connection| Ok(connection.query_row("SELECT 1", [], |_| Ok(()))?)).await?;
        self.counted(self.0.writer.ping().await)
    }

    /// Runs a step in a transaction of the writer. It returns after everything that the step has
    /// read and written is durable. The step may run more than once; only its last run counts. It
    /// must return the first error of a statement, because the error may have ended the
    /// transaction.
    async fn write<T: Send + 'static>(
        &self,
        step: impl Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.counted(self.0.writer.run(step).await)
    }

    /// Runs a step on a snapshot of the file.
    async fn snapshot<T: Send + 'static>(
        &self,
        step: impl Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.counted(self.0.readers.run(step).await)
    }

    /// Runs a step that reads this range on a snapshot of the file.
    async fn snapshot_of<T: Send + 'static>(
        &self,
        range: DateRange,
        step: impl Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let is_short = range.days() <= SHORT_RANGE_DAYS;
        if is_short { self.snapshot(step).await } else { self.long_snapshot(step).await }
    }

    /// Runs a step that reads much on a snapshot of the file.
    async fn long_snapshot<T: Send + 'static>(
        &self,
        step: impl Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.counted(self.0.long_readers.run(step).await)
    }

    fn counted<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        self.0.failures.counted(outcome)
    }
}

/// Each thread has a connection.
impl Engine for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn failures(&self) -> Failures {
        self.0.failures.read()
    }

    fn connections(&self) -> Option<ConnectionUse> {
        let Threads { writer, readers, long_readers, .. } = &*self.0;
        let max = 1 + READERS + LONG_READERS;
        let in_use = writer.busy() + readers.busy() + long_readers.busy();
        let waiting = writer.waiting() + readers.waiting() + long_readers.waiting();
        Some(ConnectionUse { max, in_use, idle: max - in_use, waiting })
    }
}

async fn on_a_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let outcome = spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| Err(StoreError::Unavailable(error.into())))
}

/// A store in a directory that is removed when it is dropped.
#[cfg(test)]
async fn open_temporary() -> (SqliteStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(&dir.path().join("shiori.db")).await.expect("opened");
    (store, dir)
}
