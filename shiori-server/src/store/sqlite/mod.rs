//! The embedded stores: one SQLite file.

mod account;
mod diary;
mod session;
mod summary;

use std::{path::Path, time::Duration};

use sqlx::{
    Row, SqlitePool,
    migrate::Migrator,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};

use super::StoreError;
use crate::secrets::create_private_file;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");

/// Readers at a time; writers take turns anyway.
const READERS: u32 = 4;

/// How long a step waits for its turn before the store counts as unavailable.
const PATIENCE: Duration = Duration::from_secs(10);

/// All four stores in one SQLite file: write-ahead log, and every acknowledged write synced to
/// the disk.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    /// The one connection that writes. SQLite has one writer at a time; with one connection they
    /// queue here, in order, and none ever sees `SQLITE_BUSY`.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the file, makes it if there is none, and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the file cannot be opened or migrated.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        // SQLite gives the files that it keeps beside this one the same permissions.
        create_private_file(path).map_err(|error| StoreError::Unavailable(error.into()))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // Deleted text is overwritten, not only unlinked.
            .pragma("secure_delete", "ON")
            .busy_timeout(PATIENCE);
        let pool = |connections: u32| {
            SqlitePoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        MIGRATIONS.run(&writer).await.map_err(|error| StoreError::Unavailable(error.into()))?;
        let readers = pool(READERS).connect_with(options.read_only(true)).await?;
        Ok(Self { writer, readers })
    }

    /// Closes the connections after the steps under way.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }
}

/// The 16 bytes of an identifier's column.
fn id_bytes(row: &SqliteRow, column: &str) -> Result<[u8; 16], StoreError> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| StoreError::Corrupt { what: "an identifier" })
}

/// A store in a directory that goes when it is dropped.
#[cfg(test)]
async fn open_temporary() -> (SqliteStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(&dir.path().join("shiori.db")).await.expect("opened");
    (store, dir)
}
